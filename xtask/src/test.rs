//! All tests, from formatting to pytest and tests of others on every Python, with one table at the end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use crate::consumer;
use crate::error::Error;
use crate::hub::Hub;
use crate::peers::{Loop, OfAsyncio, Part, Suite};
use crate::process::{run, run_within};
use crate::python::{self, Python, Version};
use crate::report::Report;
use crate::tidy;
use crate::venv::{Recipe, Venv};
use crate::wheel;
use crate::workspace::Workspace;

/// No suite takes that long unless it hangs where pytest's own limit cannot reach.
const SUITE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A crate that can be worked on alone.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Layer {
    Timers,
    Reactor,
    Bridge,
    Loop,
}

impl Layer {
    fn package(self) -> &'static str {
        match self {
            Self::Timers => "evio-timers",
            Self::Reactor => "evio-reactor",
            Self::Bridge => "evio-bridge",
            Self::Loop => "evio-loop",
        }
    }
}

/// Checks one crate; `false` when something is wrong with it.
///
/// # Errors
///
/// None today; what goes wrong stands in the table.
pub(crate) fn layer(workspace: &Workspace, layer: Layer) -> Result<bool, Error> {
    let mut report = Report::default();
    rust(
        workspace,
        &mut report,
        &["--package", layer.package()],
        None,
    );
    Ok(finish(&report))
}

/// Checks everything, or runs pytest alone when there is a keyword expression.
///
/// # Errors
///
/// [`Error::NoPython`] and [`Error::PythonMissing`]; all else stands in the table.
pub(crate) fn everything(
    workspace: &Workspace,
    wanted: &[Version],
    keyword: Option<&str>,
) -> Result<bool, Error> {
    let pythons = python::select(wanted)?;
    let newest = python::newest_or(None)?;
    let mut report = Report::default();
    if keyword.is_none() {
        rust(workspace, &mut report, &["--workspace"], Some(&newest));
        report.step("tidy", || tidy::check(workspace));
        report.step("consumer", || consumer::check(workspace, &newest));
        report.step("fuzz targets", || fuzz_targets(workspace));
    }
    for python in &pythons {
        let stubs = keyword.is_none() && Some(python) == pythons.last();
        suites(workspace, &mut report, python, keyword, stubs);
    }
    Ok(finish(&report))
}

fn finish(report: &Report) -> bool {
    println!("\n{}{}", report.failures(), report.table());
    report.passed()
}

/// Formatting, lints and tests of the packages that `which` selects.
///
/// The interpreter is for PyO3's build script, which else takes whatever `python3` is.
fn rust(workspace: &Workspace, report: &mut Report, which: &[&str], python: Option<&Python>) {
    let cargo = |arguments: &[&str]| {
        let mut command = workspace.cargo();
        command.args(arguments);
        if let Some(python) = python {
            command.env("PYO3_PYTHON", python.executable());
        }
        command
    };
    let all = which == ["--workspace"];
    let format = if all { &["--all"][..] } else { which };
    report.step("fmt", || run(cargo(&["fmt", "--check"]).args(format)));
    report.step("clippy", || {
        run(cargo(&["clippy", "--all-targets"])
            .args(which)
            .args(["--", "-D", "warnings"]))
    });
    report.step("rust tests", || {
        run_within(SUITE_LIMIT, cargo(&["test", "--no-fail-fast"]).args(which))
    });
}

/// Whether the fuzz targets still fit the models that they share with the tests.
fn fuzz_targets(workspace: &Workspace) -> Result<(), Error> {
    let mut cargo = workspace.cargo();
    cargo.args(["check", "--no-default-features"]);
    cargo.args(["--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    run(cargo.arg(workspace.made("fuzz")))
}

/// Everything on one Python, up to and including pytest and the tests of others.
fn suites(
    workspace: &Workspace,
    report: &mut Report,
    python: &Python,
    keyword: Option<&str>,
    stubs: bool,
) {
    let version = python.version();
    let mut environments = vec![("latest", stubs)];
    if version == Version::FLOOR {
        environments.push(("floor", false));
    }
    let wheel = report.step(format!("wheel {version}"), || {
        wheel::for_tests(workspace, python)
    });
    for (eventlet, stubs) in environments {
        let pytest = format!("pytest {version} {eventlet}");
        let Some(wheel) = &wheel else {
            report.skip(pytest, "there is no wheel to test");
            continue;
        };
        let environment = report.step(format!("environment {version} {eventlet}"), || {
            let mut requirements = vec![
                workspace.path("tests/requirements.txt"),
                workspace.path(&format!("tests/requirements-{eventlet}.txt")),
            ];
            if eventlet == "latest" {
                // Programs on the loop and the hub, of which one release of eventlet is enough.
                requirements.push(workspace.path("tests/requirements-programs.txt"));
            }
            let recipe = Recipe {
                python,
                requirements: &requirements,
                wheel: Some(wheel),
            };
            Venv::ensure(workspace, eventlet, recipe)
        });
        let Some(venv) = environment else {
            report.skip(pytest, "there is no environment to test in");
            continue;
        };
        if stubs {
            report.step(format!("stubtest {version}"), || stubtest(workspace, &venv));
        }
        report.step(pytest, || run_pytest(workspace, &venv, keyword));
        if keyword.is_none() && eventlet == "latest" {
            tests_of_asyncio(workspace, report, python, &venv);
        }
    }
    if keyword.is_none() {
        let peers = format!("peers {version}");
        match &wheel {
            Some(wheel) => {
                report.step(peers, || fast_suite(workspace, python, wheel).run());
            }
            None => report.skip(peers, "there is no wheel to test"),
        }
    }
}

/// What there is time for of asyncio's own tests, where the interpreter has them.
fn tests_of_asyncio(workspace: &Workspace, report: &mut Report, python: &Python, venv: &Venv) {
    let step = format!("asyncio's tests {}", python.version());
    let suite = OfAsyncio {
        workspace,
        python,
        event_loop: Loop::Ours,
        part: Part::Fast,
        matching: None,
    };
    if suite.is_there(venv) {
        report.step(step, || suite.run_in(venv));
    } else {
        report.skip(step, "this CPython comes without its package `test`");
    }
}

/// What there is time for of eventlet's own tests.
fn fast_suite<'a>(workspace: &'a Workspace, python: &'a Python, wheel: &'a Path) -> Suite<'a> {
    Suite {
        workspace,
        python,
        wheel,
        hub: Hub::Ours,
        part: Part::Fast,
        sdist: None,
    }
}

/// Compares the type stubs with what is installed.
fn stubtest(workspace: &Workspace, venv: &Venv) -> Result<(), Error> {
    let mut command = venv.command("python");
    command.current_dir(workspace.root());
    command.args(["-m", "mypy.stubtest", "eventlet_asyncio"]);
    run(command.args(["--mypy-config-file", "pyproject.toml"]))
}

fn run_pytest(workspace: &Workspace, venv: &Venv, keyword: Option<&str>) -> Result<(), Error> {
    let failures = workspace.made("failures.txt");
    fs::write(&failures, "").map_err(Error::file(&failures))?;
    let mut command = venv.command("python");
    command.current_dir(workspace.root());
    command.args(["-m", "pytest", "tests", "--failures"]);
    command.arg(&failures);
    match keyword {
        // Without workers, which would keep the stacks of a test that hangs to themselves.
        Some(keyword) => command.args(["-k", keyword]),
        // With them, such a test takes its worker along and not the rest of the suite.
        None => command.args(["--numprocesses", "2"]),
    };
    let ended = run_within(SUITE_LIMIT, &mut command);
    match fs::read_to_string(&failures).map_err(Error::file(&failures))? {
        none if none.is_empty() => ended,
        failures => Err(Error::Tests { failures }),
    }
}
