//! Wheels, built by maturin, which comes from the Python package index into an environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::process;
use crate::python::{self, Python};
use crate::report::Report;
use crate::venv::{self, Recipe, Venv};
use crate::workspace::Workspace;

/// A maturin that builds for one interpreter.
///
/// It has a cargo target directory per Python version, so that going from one to another does not
/// build everything again.
///
/// # Errors
///
/// Whatever keeps the environment from being made.
pub(crate) fn maturin(
    workspace: &Workspace,
    python: &Python,
    subcommand: &str,
) -> Result<Command, Error> {
    let tools = Venv::ensure(
        workspace,
        "tools",
        Recipe {
            python: &python::newest_or(None)?,
            requirements: &[workspace.path("xtask/requirements.txt")],
            wheel: None,
        },
    )?;
    let target = workspace.made(&format!("python/{}", python.version()));
    let mut command = tools.command("maturin");
    command
        .arg(subcommand)
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", target);
    Ok(command)
}

/// Builds the wheel that tests install and gives its path.
///
/// # Errors
///
/// Whatever keeps it from being built.
pub(crate) fn for_tests(workspace: &Workspace, python: &Python) -> Result<PathBuf, Error> {
    let out = workspace.made(&format!("wheels/test-{}", python.version()));
    build(
        workspace,
        python,
        &out,
        &["--profile", "test-wheel", "--auditwheel", "skip"],
    )
}

/// Builds the wheel that users get, for use on this machine, and gives its path.
///
/// # Errors
///
/// Whatever keeps it from being built.
pub(crate) fn for_use(workspace: &Workspace, python: &Python) -> Result<PathBuf, Error> {
    let out = workspace.made(&format!("wheels/release-{}", python.version()));
    build(
        workspace,
        python,
        &out,
        &["--release", "--auditwheel", "skip"],
    )
}

/// Builds release wheels into `dist/`; `false` when one of them failed.
///
/// # Errors
///
/// Whatever keeps the first from being tried.
pub(crate) fn release(workspace: &Workspace, pythons: &[Python]) -> Result<bool, Error> {
    let dist = workspace.path("dist");
    let mut report = Report::default();
    for python in pythons {
        let version = python.version();
        let wheel = report.step(format!("wheel {version}"), || {
            let out = workspace.made(&format!("wheels/dist-{version}"));
            let wheel = build(workspace, python, &out, &["--release"])?;
            fs::create_dir_all(&dist).map_err(Error::file(&dist))?;
            let file = dist.join(wheel.file_name().unwrap_or_default());
            fs::copy(&wheel, &file).map_err(Error::file(&file))?;
            Ok(file)
        });
        if let Some(wheel) = wheel {
            println!("{}", wheel.display());
        }
    }
    eprint!("\n{}", report.table());
    Ok(report.passed())
}

/// Builds into `out`, which then holds one wheel: this one.
fn build(
    workspace: &Workspace,
    python: &Python,
    out: &Path,
    arguments: &[&str],
) -> Result<PathBuf, Error> {
    venv::remove(out)?;
    let mut maturin = maturin(workspace, python, "build")?;
    maturin.args(arguments).arg("--locked");
    maturin.arg("--interpreter").arg(python.executable());
    process::run(maturin.arg("--out").arg(out))?;
    fs::read_dir(out)
        .map_err(Error::file(out))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Error::Output {
            command: "maturin build".into(),
            problem: "it left no wheel".into(),
        })
}
