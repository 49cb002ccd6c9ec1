//! The benchmarks: environments for us and for each peer, programs of the crates, and what runs them all.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;
use crate::process;
use crate::python::{self, Python};
use crate::venv::{Recipe, Venv};
use crate::wheel;
use crate::workspace::Workspace;

/// What is asked for, beside the Python.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// Suites or rows; all if there are none.
    pub(crate) rows: &'a [String],
    /// A rough look.
    pub(crate) quick: bool,
    /// Where the samples go.
    pub(crate) json: Option<&'a Path>,
    /// Whether the results are written into the documents.
    pub(crate) write: bool,
}

/// The environment of the release wheel, and who else lives in it.
const OURS: &str = "ours";

/// Peers, each in an environment that `benches/environments` describes.
const PEERS: [&str; 8] = [
    "eventlet",
    "gevent",
    "uvloop",
    "rloop",
    "greenback",
    "greenletio",
    "asgiref",
    "asyncio-gevent",
];

/// Benchmarks of crates that `benches/crates.py` reads: the package and the name of the benchmark.
const PROGRAMS: [(&str, &str); 2] = [("evio-timers", "wheel"), ("evio-reactor", "reactor")];

/// Measures; `false` when a row computed something wrong.
///
/// # Errors
///
/// Whatever keeps the wheel, our own environment or the programs from being made.
pub(crate) fn run(workspace: &Workspace, python: &Python, wish: Wish<'_>) -> Result<bool, Error> {
    let wheel = wheel::for_use(workspace, python)?;
    let ours = environment(workspace, python, OURS, Some(&wheel))?;
    let mut bench = ours.command("python");
    bench.arg(workspace.path("benches"));
    named(&mut bench, "--environment", OURS, &ours.python());
    for peer in PEERS {
        match environment(workspace, python, peer, None) {
            Ok(venv) => named(&mut bench, "--environment", peer, &venv.python()),
            // One that has no release for this Python is no reason to measure nothing.
            Err(error) => eprintln!("{peer} is left out: {error}"),
        }
    }
    for (package, name) in PROGRAMS {
        named(
            &mut bench,
            "--program",
            name,
            &program(workspace, package, name)?,
        );
    }
    if wish.quick {
        bench.arg("--quick");
    }
    if wish.write {
        bench.arg("--counts");
    }
    let json = workspace.made(&format!("bench-{}.json", python.version()));
    let json = wish.json.unwrap_or(&json);
    bench.arg("--json").arg(json);
    bench.arg("--").args(wish.rows);
    let good = said(process::run(&mut bench))?;
    if wish.write {
        // What draws needs no particular Python, and may not be had for an old one.
        let charts = environment(workspace, &python::newest_or(None)?, "charts", None)?;
        let mut results = charts.command("python");
        results.arg(workspace.path("benches/results.py")).arg(json);
        process::run(&mut results)?;
    }
    Ok(good)
}

/// Compares the instructions of hot rows with those that are committed, or writes them instead;
/// `false` when one has risen too far.
///
/// # Errors
///
/// Whatever keeps the wheel or its environment from being made.
pub(crate) fn check(workspace: &Workspace, python: &Python, write: bool) -> Result<bool, Error> {
    let script = workspace.path("benches/check.py");
    if !write {
        // Asked first, since a wheel takes its time.
        let mut ask = Command::new(python.executable());
        let reason = process::output(ask.arg(&script).arg("--reason"))?;
        if !reason.trim().is_empty() {
            println!("bench --check: skipped: {}", reason.trim());
            return Ok(true);
        }
    }
    let wheel = wheel::for_use(workspace, python)?;
    let ours = environment(workspace, python, OURS, Some(&wheel))?;
    let mut check = ours.command("python");
    check.arg(&script);
    if write {
        check.arg("--write");
    }
    said(process::run(&mut check))
}

/// The environment of a contender, or of what draws the charts.
fn environment(
    workspace: &Workspace,
    python: &Python,
    name: &str,
    wheel: Option<&Path>,
) -> Result<Venv, Error> {
    let file = if name == OURS { "eventlet" } else { name };
    let requirements =
        ["common", file].map(|each| workspace.path(&format!("benches/environments/{each}.txt")));
    let recipe = Recipe {
        python,
        requirements: &requirements,
        wheel,
    };
    Venv::ensure(workspace, &format!("bench-{name}"), recipe)
}

fn named(command: &mut Command, option: &str, name: &str, path: &Path) {
    let mut value = std::ffi::OsString::from(format!("{name}="));
    value.push(path);
    command.arg(option).arg(value);
}

/// Builds the benchmark of a crate and gives its path.
fn program(workspace: &Workspace, package: &str, name: &str) -> Result<PathBuf, Error> {
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--no-run", "--message-format=json", "--package"]);
    let messages = process::output(cargo.args([package, "--bench", name]))?;
    executable(&messages).ok_or_else(|| Error::Output {
        command: format!("cargo bench --package {package}"),
        problem: "it named no program".into(),
    })
}

/// The program among cargo's messages, one a line.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}

/// `false` for a program that has said itself what is wrong.
fn said(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"target/release/deps/wheel-1"}"#,
            "\nnot JSON\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            executable(messages),
            Some("target/release/deps/wheel-1".into())
        );
        assert_eq!(executable("{}"), None);
    }
}
