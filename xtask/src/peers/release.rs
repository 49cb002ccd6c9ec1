//! What others published: the archive of a release, with its tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::archive;
use crate::error::Error;
use crate::process;
use crate::python::Python;
use crate::venv::{self, Venv};
use crate::workspace::Workspace;

/// A release that `tests/peers/PACKAGE-sdist.txt` names, with the hash of its archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    pub(super) package: &'static str,
    /// Its directory in the archive, which is named after it.
    pub(super) name: &'static str,
}

impl Release {
    /// Gives the published archive; pip compares it with the hash.
    fn fetch(self, workspace: &Workspace, venv: &Venv) -> Result<PathBuf, Error> {
        let directory = workspace.made("peers");
        let file = format!("{}.tar.gz", self.name);
        let sdist = directory.join(&file);
        if sdist.exists() {
            return Ok(sdist);
        }
        let mut pip = venv.command("python");
        pip.args(["-m", "pip", "download", "--disable-pip-version-check"]);
        pip.args(["--quiet", "--no-deps", "--no-binary", self.package]);
        pip.args(["--require-hashes", "--requirement"]);
        pip.arg(workspace.path(&format!("tests/peers/{}-sdist.txt", self.package)));
        pip.arg("--dest").arg(&directory);
        process::run(&mut pip).map_err(|error| match error {
            Error::Failed { .. } => Error::Fetch { file },
            error => error,
        })?;
        Ok(sdist)
    }

    /// Unpacks what of the release begins so, into a fresh directory, and gives its tree.
    ///
    /// The package itself is not wanted there: that one is installed.
    ///
    /// # Errors
    ///
    /// [`Error::Fetch`] where the archive is not given and cannot be had, and whatever keeps it
    /// from being unpacked.
    pub(super) fn unpack(
        self,
        workspace: &Workspace,
        python: &Python,
        venv: &Venv,
        sdist: Option<&Path>,
        run: &str,
        beginnings: &[&str],
    ) -> Result<PathBuf, Error> {
        let sdist = match sdist {
            Some(sdist) => sdist.to_owned(),
            None => self.fetch(workspace, venv)?,
        };
        let run = workspace.made(&format!("peers/{run}"));
        venv::remove(&run)?;
        fs::create_dir_all(&run).map_err(Error::file(&run))?;
        for beginning in beginnings {
            archive::unpack(python, &sdist, &run, &format!("{}/{beginning}", self.name))?;
        }
        Ok(run.join(self.name))
    }
}
