//! eventlet's own test suite, as it is published, on one of its hubs or on ours.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::exceptions::{EXCEPTIONS, Verdict};
use super::outcomes::{Notes, Outcomes};
use super::release::Release;
use crate::error::Error;
use crate::hub::Hub;
use crate::python::Python;
use crate::venv::{Recipe, Venv};
use crate::workspace::Workspace;

const RELEASE: Release = Release {
    package: "eventlet",
    name: "eventlet-0.41.3",
};

/// What pytest goes by. It would look further up if it found nothing here.
///
/// A signal would never reach a test that hangs in native code, so a thread ends its process.
const SETTINGS: &str = "\
[pytest]
addopts = --quiet --tb=short --no-header --disable-warnings -p no:cacheprovider -p record
timeout = 60
timeout_method = thread
";

/// No file of tests takes that long unless it hangs where pytest's own limit cannot reach.
const FILE_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The files that say most about a hub in little time.
const FAST: [&str; 19] = [
    "api_test.py",
    "asyncio_test.py",
    "convenience_test.py",
    "debug_test.py",
    "event_test.py",
    "green_select_test.py",
    "greenio_test.py",
    "greenpool_test.py",
    "greenthread_test.py",
    "hub_test.py",
    "not_asyncio_test.py",
    "queue_test.py",
    "semaphore_test.py",
    "socket_test.py",
    "test__refcount.py",
    "thread_test.py",
    "timeout_test.py",
    "timeout_with_statement_test.py",
    "timer_test.py",
];

/// How much of the suite is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// What `cargo xtask test` has time for.
    Fast,
}

/// A run of the suite.
#[derive(Debug)]
pub(crate) struct Suite<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) python: &'a Python,
    /// The wheel whose hub is ours.
    pub(crate) wheel: &'a Path,
    pub(crate) hub: Hub,
    pub(crate) part: Part,
    /// The archive, where it need not be fetched.
    pub(crate) sdist: Option<&'a Path>,
}

impl Suite<'_> {
    /// Runs the tests and shows how they ended.
    ///
    /// # Errors
    ///
    /// [`Error::Peers`] where one ended otherwise than it should, and whatever keeps them from
    /// being run.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let (workspace, python) = (self.workspace, self.python);
        let recipe = Recipe {
            python,
            requirements: &[workspace.path("tests/peers/eventlet-requirements.txt")],
            wheel: Some(self.wheel),
        };
        let venv = Venv::ensure(workspace, "peers-eventlet", recipe)?;
        let tree = self.unpack(&venv)?;
        let begin = Instant::now();
        let mut all = Outcomes::default();
        for file in self.files(&tree)? {
            all.tests.extend(self.run_file(&venv, &tree, &file)?.tests);
        }
        let verdict = Verdict::new(&EXCEPTIONS, self.hub, &all);
        print!("{}", verdict.text());
        println!(
            "\n{} on CPython {}, hub {}: {} in {} s; unexpected: {}",
            RELEASE.name,
            python.version(),
            self.hub,
            all.counts(),
            begin.elapsed().as_secs(),
            verdict.unexpected.len(),
        );
        if verdict.unexpected.is_empty() {
            return Ok(());
        }
        Err(Error::Peers)
    }

    /// Unpacks the tests, and puts what they need beside them.
    fn unpack(&self, venv: &Venv) -> Result<PathBuf, Error> {
        let (workspace, python) = (self.workspace, self.python);
        let run = format!("eventlet-{}-{}", python.version(), self.hub);
        let tree = RELEASE.unpack(workspace, python, venv, self.sdist, &run, &["tests/"])?;
        let write = |name: &str, content: &str| {
            let file = tree.join(name);
            fs::write(&file, content).map_err(Error::file(&file))
        };
        write("pytest.ini", SETTINGS)?;
        // What that package of Python 2 did is in the module `signal` now; but a test asks for it.
        write("itimer.py", "")?;
        Ok(tree)
    }

    /// The names of the files to run.
    fn files(&self, tree: &Path) -> Result<Vec<String>, Error> {
        let directory = tree.join("tests");
        let mut files: Vec<String> = fs::read_dir(&directory)
            .map_err(Error::file(&directory))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_test(name))
            .filter(|name| self.part == Part::All || FAST.contains(&name.as_str()))
            .collect();
        files.sort();
        Ok(files)
    }

    /// Runs one file, in a fresh process after each test that ended its own.
    fn run_file(&self, venv: &Venv, tree: &Path, file: &str) -> Result<Outcomes, Error> {
        let test = format!("tests/{file}");
        let notes = format!("{test}.notes");
        let mut pytest = self.pytest(venv, tree, &test, &notes);
        let notes = Notes {
            file: tree.join(notes),
            log: None,
            limit: FILE_LIMIT,
        };
        notes.gather(&mut pytest)
    }

    fn pytest(&self, venv: &Venv, tree: &Path, test: &str, notes: &str) -> Command {
        let mut command = venv.command("python");
        command.current_dir(tree);
        command.args(["-X", "faulthandler", "-m", "pytest"]);
        command.arg("--notes").arg(notes).arg(test);
        command.env("PYTHONPATH", self.workspace.path("tests/peers"));
        command.env("EVENTLET_HUB", self.hub.setting());
        command.env_remove("PYTEST_ADDOPTS");
        let ipv6 = TcpListener::bind("[::1]:0").is_ok();
        command.env("eventlet_test_ipv6", if ipv6 { "1" } else { "0" });
        command
    }
}

/// What pytest takes for a file of tests.
fn is_test(name: &str) -> bool {
    name.ends_with("_test.py") || (name.starts_with("test_") && name.ends_with(".py"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_tests_are_told_by_their_names() {
        for name in FAST {
            assert!(is_test(name), "{name}");
        }
        assert!(is_test("test__event.py") && is_test("wsgi_test.py"));
        for name in ["__init__.py", "conftest.py", "mock.py", "test_server.key"] {
            assert!(!is_test(name), "{name}");
        }
    }
}
