//! Python environments under the target directory, made anew only when what they are made of changed.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::process;
use crate::python::Python;
use crate::workspace::Workspace;

/// An environment that holds what its recipe asked for.
#[derive(Debug)]
pub(crate) struct Venv {
    directory: PathBuf,
}

/// What an environment is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe<'a> {
    /// The interpreter.
    pub(crate) python: &'a Python,
    /// Requirements files, later ones narrowing earlier ones.
    pub(crate) requirements: &'a [PathBuf],
    /// The wheel under test.
    pub(crate) wheel: Option<&'a Path>,
}

impl Venv {
    /// Gives the environment of this purpose, making or mending it when its recipe changed.
    ///
    /// Other requirements, another interpreter or other dependencies of the wheel make it anew.
    /// A wheel that differs in its content alone is installed over the old one, which pip removes
    /// file by file.
    ///
    /// # Errors
    ///
    /// Whatever keeps `venv` or pip from working.
    pub(crate) fn ensure(
        workspace: &Workspace,
        purpose: &str,
        recipe: Recipe<'_>,
    ) -> Result<Self, Error> {
        let version = recipe.python.version();
        let directory = workspace.made(&format!("venvs/{purpose}-{version}"));
        Self::ensure_at(workspace, directory, recipe)
    }

    /// As [`Venv::ensure`], in a directory of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`Venv::ensure`].
    pub(crate) fn ensure_at(
        workspace: &Workspace,
        directory: PathBuf,
        recipe: Recipe<'_>,
    ) -> Result<Self, Error> {
        let mut base = vec![recipe.python.identity().into_bytes()];
        for file in recipe.requirements {
            base.push(read(file)?);
        }
        let mut contents = base.clone();
        if let Some(wheel) = recipe.wheel {
            base.push(read(&workspace.path("pyproject.toml"))?);
            contents.push(read(wheel)?);
        }
        let stamps = Stamps {
            base: digest(&base),
            contents: digest(&contents),
        };
        let venv = Self { directory };
        match stamps.compare(&venv.stamp()) {
            Change::None => {}
            Change::Contents => {
                venv.forget()?;
                let mut pip = venv.pip_install();
                pip.args(["--force-reinstall", "--no-deps"]);
                process::run(pip.args(recipe.wheel))?;
                stamps.write(&venv.stamp())?;
            }
            Change::Base => {
                venv.make(recipe)?;
                stamps.write(&venv.stamp())?;
            }
        }
        Ok(venv)
    }

    fn make(&self, recipe: Recipe<'_>) -> Result<(), Error> {
        remove(&self.directory)?;
        let mut venv = Command::new(recipe.python.executable());
        process::run(venv.args(["-m", "venv"]).arg(&self.directory))?;
        let mut pip = self.pip_install();
        for file in recipe.requirements {
            pip.arg("--requirement").arg(file);
        }
        process::run(pip.args(recipe.wheel))
    }

    fn pip_install(&self) -> Command {
        let mut command = self.command("python");
        command.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            // It takes half of the time, and of most packages little is imported.
            "--no-compile",
        ]);
        command
    }

    /// The record of the recipe; written last, so that a half-made environment has none.
    fn stamp(&self) -> PathBuf {
        self.directory.join("recipe")
    }

    fn forget(&self) -> Result<(), Error> {
        fs::remove_file(self.stamp()).map_err(Error::file(self.stamp()))
    }

    /// The directory of the environment.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The interpreter.
    pub(crate) fn python(&self) -> PathBuf {
        self.bin().join("python")
    }

    fn bin(&self) -> PathBuf {
        self.directory
            .join(if cfg!(windows) { "Scripts" } else { "bin" })
    }

    /// A program of the environment, run as if the environment were activated.
    pub(crate) fn command(&self, program: &str) -> Command {
        let bin = self.bin();
        let mut command = Command::new(bin.join(program));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let entries = std::iter::once(bin).chain(std::env::split_paths(&path));
        if let Ok(joined) = std::env::join_paths(entries) {
            command.env("PATH", joined);
        }
        command
            .env("VIRTUAL_ENV", &self.directory)
            .env_remove("PYTHONHOME")
            .env_remove("PYTHONPATH");
        command
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    None,
    Contents,
    Base,
}

/// Digests of a recipe: of all of it, and of all but the content of the wheel.
#[derive(Debug)]
struct Stamps {
    base: u64,
    contents: u64,
}

impl Stamps {
    fn compare(&self, file: &Path) -> Change {
        let old = fs::read_to_string(file).unwrap_or_default();
        let mut lines = old.lines();
        let (base, contents) = (lines.next(), lines.next());
        if base != Some(&self.base.to_string()) {
            Change::Base
        } else if contents != Some(&self.contents.to_string()) {
            Change::Contents
        } else {
            Change::None
        }
    }

    fn write(&self, file: &Path) -> Result<(), Error> {
        let text = format!("{}\n{}\n", self.base, self.contents);
        fs::write(file, text).map_err(Error::file(file))
    }
}

fn digest(parts: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(Error::file(file))
}

/// Removes a directory with all in it; that it is not there is no error.
///
/// # Errors
///
/// [`Error::File`] when it is there and cannot be removed.
pub(crate) fn remove(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(directory)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_that_changed_is_noticed() {
        let file = std::env::temp_dir().join(format!("xtask-recipe-{}", std::process::id()));
        let stamps = |base, contents| Stamps { base, contents };
        assert_eq!(stamps(1, 2).compare(&file), Change::Base);
        stamps(1, 2).write(&file).unwrap();
        assert_eq!(stamps(1, 2).compare(&file), Change::None);
        assert_eq!(stamps(1, 3).compare(&file), Change::Contents);
        assert_eq!(stamps(2, 2).compare(&file), Change::Base);
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        let whole = digest(&[b"ab".to_vec(), b"c".to_vec()]);
        assert_ne!(whole, digest(&[b"a".to_vec(), b"bc".to_vec()]));
        assert_eq!(whole, digest(&[b"ab".to_vec(), b"c".to_vec()]));
    }
}
