//! Where things are: the root, the target directory, and what cargo knows.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;
use crate::process;

/// The workspace as cargo describes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    metadata: Value,
}

impl Workspace {
    /// Asks cargo for the workspace that this program was built from.
    ///
    /// # Errors
    ///
    /// Whatever keeps `cargo metadata` from running.
    pub(crate) fn load() -> Result<Self, Error> {
        // Asked at run time first: clones that share a target directory share this binary too.
        let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let manifest = Path::new(&xtask).join("../Cargo.toml");
        let text = process::output(
            cargo()
                .args([
                    "metadata",
                    "--format-version=1",
                    "--locked",
                    "--manifest-path",
                ])
                .arg(manifest),
        )?;
        let metadata: Value = serde_json::from_str(&text).map_err(|error| unexpected(&error))?;
        let path = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .ok_or_else(|| unexpected(&format!("no {key}")))
        };
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            metadata,
        })
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or directory below the root.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// A file or directory below cargo's target directory, where all that is made goes.
    pub(crate) fn made(&self, below: &str) -> PathBuf {
        self.target.join(below)
    }

    /// What `cargo metadata` printed, dependencies included.
    pub(crate) fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// A cargo command that runs at the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }
}

fn unexpected(problem: &impl ToString) -> Error {
    Error::Output {
        command: "cargo metadata".into(),
        problem: problem.to_string(),
    }
}

/// The cargo that runs us, so that all steps use one toolchain.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
