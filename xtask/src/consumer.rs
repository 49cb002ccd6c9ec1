//! The crates as somebody else would use them: packaged, unpacked elsewhere, and built into a bridge.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::archive;
use crate::error::Error;
use crate::process::run;
use crate::python::Python;
use crate::venv;
use crate::workspace::Workspace;

/// The crates that are published.
pub(crate) const PUBLISHED: [&str; 4] = ["evio-reactor", "evio-timers", "evio-bridge", "evio-loop"];

/// Packages the published crates, builds what was packaged, then builds and runs the bridge in `tests/consumer` on them.
///
/// # Errors
///
/// Whatever keeps a crate from being packaged, or the bridge from being built or from working.
pub(crate) fn check(workspace: &Workspace, python: &Python) -> Result<(), Error> {
    let packages = package(workspace)?;
    let outside = outside(workspace);
    unpack(workspace, &packages, &outside, python)?;
    verify(workspace, &outside)?;
    let source = workspace.path("tests/consumer");
    let bridge = outside.join("consumer");
    copy_changed(&source, &bridge)?;
    // The versions that the workspace was tested with; cargo drops what the bridge does not need.
    copy_file(&workspace.path("Cargo.lock"), &bridge.join("Cargo.lock"))?;
    let library = build(workspace, &outside, &bridge, python)?;
    copy_file(&library, &bridge.join("consumer.so"))?;
    run(Command::new(python.executable())
        .current_dir(&bridge)
        .arg("run.py"))
}

/// A directory of this workspace's own, outside of it, so that cargo finds no workspace above.
fn outside(workspace: &Workspace) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    workspace.root().hash(&mut hasher);
    let name = format!("evio-consumer-{:016x}", hasher.finish());
    std::env::temp_dir().join(name)
}

/// A packaged crate.
struct Package<'a> {
    name: &'a str,
    /// The name with the version, which is the directory in the file.
    stem: String,
}

/// Makes the `.crate` files.
///
/// Cargo's own verification is left out: it unpacks into its home, where a package of the same
/// version that was verified before is taken for the same package.
fn package(workspace: &Workspace) -> Result<Vec<Package<'_>>, Error> {
    let mut cargo = workspace.cargo();
    cargo.args(["package", "--quiet", "--no-verify", "--allow-dirty"]);
    for name in PUBLISHED {
        cargo.args(["--package", name]);
    }
    run(&mut cargo)?;
    let packages = workspace.metadata()["packages"].as_array();
    let packages = packages.into_iter().flatten().filter_map(|package| {
        let name = package["name"].as_str()?;
        let stem = format!("{name}-{}", package["version"].as_str()?);
        PUBLISHED.contains(&name).then_some(Package { name, stem })
    });
    Ok(packages.collect())
}

/// Unpacks each file to `outside/<crate>`.
fn unpack(
    workspace: &Workspace,
    packages: &[Package<'_>],
    outside: &Path,
    python: &Python,
) -> Result<(), Error> {
    let fresh = outside.join("unpacked");
    venv::remove(&fresh)?;
    fs::create_dir_all(&fresh).map_err(Error::file(&fresh))?;
    for Package { name, stem } in packages {
        let file = workspace.made(&format!("package/{stem}.crate"));
        archive::unpack(python, &file, &fresh, stem)?;
        copy_changed(&fresh.join(stem), &outside.join(name))?;
    }
    Ok(())
}

/// Builds the unpacked crates, each against the others as they were packaged.
fn verify(workspace: &Workspace, outside: &Path) -> Result<(), Error> {
    let mut manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {PUBLISHED:?}\n");
    manifest += "exclude = [\"consumer\", \"unpacked\"]\n\n[patch.crates-io]\n";
    for name in PUBLISHED {
        manifest += &format!("{name} = {{ path = {name:?} }}\n");
    }
    write_changed(manifest.as_bytes(), &outside.join("Cargo.toml"))?;
    copy_file(&workspace.path("Cargo.lock"), &outside.join("Cargo.lock"))?;
    let mut cargo = workspace.cargo();
    cargo.current_dir(outside).args(["check", "--workspace"]);
    run(cargo.arg("--target-dir").arg(workspace.made("consumer")))
}

/// Builds the bridge and gives its shared library.
fn build(
    workspace: &Workspace,
    outside: &Path,
    bridge: &Path,
    python: &Python,
) -> Result<PathBuf, Error> {
    let target = workspace.made("consumer");
    let mut cargo = workspace.cargo();
    cargo.current_dir(bridge).arg("build");
    cargo.arg("--target-dir").arg(&target);
    for name in ["evio-reactor", "evio-timers"] {
        let path = outside.join(name);
        cargo.arg("--config");
        cargo.arg(format!("patch.crates-io.{name}.path={path:?}"));
    }
    run(cargo.env("PYO3_PYTHON", python.executable()))?;
    let prefix = std::env::consts::DLL_PREFIX;
    let suffix = std::env::consts::DLL_SUFFIX;
    Ok(target.join(format!("debug/{prefix}consumer{suffix}")))
}

/// Makes `to` hold what `from` holds, leaving alone the files that are the same already, by whose
/// age cargo decides what to build again.
fn copy_changed(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::file(to))?;
    for entry in fs::read_dir(from).map_err(Error::file(from))?.flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_changed(&from, &to)?;
        } else {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Error> {
    write_changed(&fs::read(from).map_err(Error::file(from))?, to)
}

fn write_changed(content: &[u8], to: &Path) -> Result<(), Error> {
    if fs::read(to).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(to, content).map_err(Error::file(to))
}
