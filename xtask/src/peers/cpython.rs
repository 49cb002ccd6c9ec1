//! The tests of asyncio that a CPython brings along, on its own event loop, on ours, or on one of others.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::differences;
use super::eventlet::Part;
use super::findings::{Findings, unexplained};
use super::outcomes::{Notes, Outcomes};
use crate::error::Error;
use crate::python::Python;
use crate::venv::{self, Recipe, Venv};
use crate::workspace::Workspace;

/// What prints where the tests are, or fails.
const WHERE: &str = "import test.test_asyncio as tests; print(*tests.__path__)";

/// No module of tests takes that long unless it hangs where its own limit cannot reach.
const MODULE_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The modules that say most about a loop in little time.
const FAST: [&str; 13] = [
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_runners",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_sslproto",
    "test_streams",
    "test_timeouts",
    "test_unix_events",
];

/// What the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Loop {
    /// the loop of this project
    Ours,
    /// asyncio's own
    Stdlib,
    /// the loop on libuv
    Uvloop,
    /// another loop in Rust
    Rloop,
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Stdlib => "stdlib",
            Self::Uvloop => "uvloop",
            Self::Rloop => "rloop",
        })
    }
}

/// A run of the tests.
#[derive(Debug)]
pub(crate) struct OfAsyncio<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) python: &'a Python,
    pub(crate) event_loop: Loop,
    pub(crate) part: Part,
    /// A regular expression of Python's that the names of tests have to match.
    pub(crate) matching: Option<&'a str>,
}

impl OfAsyncio<'_> {
    /// Makes the environment and runs the tests in it.
    ///
    /// # Errors
    ///
    /// As [`OfAsyncio::run_in`], and whatever keeps the environment from being made.
    pub(crate) fn run(&self, wheel: &Path) -> Result<(), Error> {
        let requirements = self.workspace.path("tests/peers/cpython-requirements.txt");
        let recipe = Recipe {
            python: self.python,
            requirements: &[requirements],
            wheel: Some(wheel),
        };
        let venv = Venv::ensure(self.workspace, "peers-cpython", recipe)?;
        self.run_in(&venv)
    }

    /// Runs the tests and shows how they ended.
    ///
    /// One that fails is run again by itself, and on the loop of the standard library.
    ///
    /// # Errors
    ///
    /// [`Error::NoTests`], [`Error::Peers`] where one fails on our loop alone, and whatever keeps
    /// them from being run.
    pub(crate) fn run_in(&self, venv: &Venv) -> Result<(), Error> {
        let (python, event_loop) = (self.python.version(), self.event_loop);
        let modules = self.modules(venv)?;
        let directory = format!("peers/cpython-{python}-{event_loop}");
        let directory = self.workspace.made(&directory);
        venv::remove(&directory)?;
        fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
        let run = Run {
            script: self.workspace.path("tests/peers/cpython.py"),
            venv,
            directory,
        };
        let begin = Instant::now();
        let mut all = Outcomes::default();
        for module in &modules {
            let selection = Selection {
                label: module.clone(),
                modules: BTreeSet::from([module.as_str()]),
                options: match self.matching {
                    Some(pattern) => vec!["--match".into(), pattern.into()],
                    None => Vec::new(),
                },
            };
            let ended = run.outcomes(event_loop, &selection, Output::Kept)?;
            all.tests.extend(ended.tests);
        }
        let took = begin.elapsed().as_secs();
        let findings = if event_loop == Loop::Ours {
            let open = unexplained(&all, differences::reason);
            let again = run.again(Loop::Ours, &open, Output::Shown)?;
            let elsewhere = run.again(Loop::Stdlib, &open, Output::Kept)?;
            Findings::new(differences::reason, &all, &again, &elsewhere)
        } else {
            Findings::of_peer(&all)
        };
        print!("{}", findings.text());
        println!(
            "\nasyncio's own tests on CPython {python}, loop {event_loop}: {} in {took} s; \
             those that make a loop: {}; unexpected: {}",
            all.counts(),
            all.with_loop().counts(),
            findings.unexpected.len(),
        );
        if findings.unexpected.is_empty() {
            return Ok(());
        }
        Err(Error::Peers)
    }

    /// Whether the interpreter brings its tests along; some distributions split them off.
    pub(crate) fn is_there(&self, venv: &Venv) -> bool {
        self.modules(venv).is_ok()
    }

    /// The names of the modules to run.
    fn modules(&self, venv: &Venv) -> Result<Vec<String>, Error> {
        let missing = || Error::NoTests {
            python: self.python.version().to_string(),
        };
        let mut question = venv.command("python");
        question.args(["-c", WHERE]).stderr(Stdio::null());
        let answer = question.output().map_err(|_| missing())?;
        if !answer.status.success() {
            return Err(missing());
        }
        let directory = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
        let mut modules: Vec<String> = fs::read_dir(&directory)
            .map_err(Error::file(&directory))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| Some(name.strip_suffix(".py")?.to_owned()))
            .filter(|name| name.starts_with("test_"))
            .filter(|name| self.part == Part::All || FAST.contains(&name.as_str()))
            .collect();
        modules.sort();
        Ok(modules)
    }
}

/// Which tests a process runs.
struct Selection<'a> {
    /// What the files of the run are named after.
    label: String,
    modules: BTreeSet<&'a str>,
    options: Vec<OsString>,
}

/// Where what the tests print goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    /// To a file beside the notes.
    Kept,
    Shown,
}

/// What the processes of a run have in common.
struct Run<'a> {
    script: PathBuf,
    venv: &'a Venv,
    directory: PathBuf,
}

impl Run<'_> {
    /// Runs the named tests once more, without all others.
    fn again(&self, event_loop: Loop, tests: &[&str], output: Output) -> Result<Outcomes, Error> {
        if tests.is_empty() {
            return Ok(Outcomes::default());
        }
        let names = "again";
        let file = self.directory.join(names);
        fs::write(&file, tests.join("\n")).map_err(Error::file(&file))?;
        let modules = tests.iter().map(|test| differences::module(test));
        let selection = Selection {
            label: format!("again-{event_loop}"),
            modules: modules.collect(),
            options: vec!["--only".into(), names.into()],
        };
        self.outcomes(event_loop, &selection, output)
    }

    /// Runs tests, in a fresh process after each that ended its own.
    fn outcomes(
        &self,
        event_loop: Loop,
        selection: &Selection<'_>,
        output: Output,
    ) -> Result<Outcomes, Error> {
        let name = format!("{}.notes", selection.label);
        let file = self.directory.join(&name);
        let mut python = self.venv.command("python");
        python.current_dir(&self.directory).arg(&self.script);
        python.args(["--loop", &event_loop.to_string(), "--notes"]);
        python.arg(&name).args(&selection.options);
        python.args(&selection.modules);
        for variable in ["PYTHONASYNCIODEBUG", "PYTHONWARNINGS", "EVENTLET_HUB"] {
            python.env_remove(variable);
        }
        let notes = Notes {
            log: (output == Output::Kept).then(|| file.with_extension("log")),
            file,
            limit: MODULE_LIMIT,
        };
        notes.gather(&mut python)
    }
}
