//! An editable build in `.venv`, and a Python prompt in it.

use std::io::{self, IsTerminal};

use crate::error::Error;
use crate::process;
use crate::python::Python;
use crate::venv::{Recipe, Venv};
use crate::wheel;
use crate::workspace::Workspace;

/// Installs the package so that edits of its Python files count at once, then opens a prompt when
/// there is a terminal to prompt on.
///
/// # Errors
///
/// Whatever keeps the build or the environment from being made.
pub(crate) fn run(workspace: &Workspace, python: &Python) -> Result<bool, Error> {
    let recipe = Recipe {
        python,
        requirements: &[
            workspace.path("tests/requirements.txt"),
            workspace.path("tests/requirements-latest.txt"),
        ],
        wheel: None,
    };
    let venv = Venv::ensure_at(workspace, workspace.path(".venv"), recipe)?;
    let mut develop = wheel::maturin(workspace, python, "develop")?;
    develop.args(["--profile", "test-wheel", "--locked"]);
    process::run(develop.env("VIRTUAL_ENV", venv.directory()))?;
    eprintln!(
        "eventlet_asyncio is installed in {}",
        venv.directory().display()
    );
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut prompt = venv.command("python");
    prompt.args(["-i", "-c", "import asyncio, eventlet, eventlet_asyncio"]);
    process::run(&mut prompt)?;
    Ok(true)
}
