//! The own tests of libraries for asyncio, on asyncio's loop, on ours, and under our hub.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::findings::{Findings, unexplained};
use super::outcomes::{Notes, Outcome, Outcomes};
use super::release::Release;
use crate::error::Error;
use crate::python::Python;
use crate::venv::{Recipe, Venv};
use crate::workspace::Workspace;

/// No run takes that long unless it hangs where pytest's own limit cannot reach.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Whose tests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Asgiref,
    Anyio,
}

impl Library {
    fn release(self) -> Release {
        match self {
            Self::Asgiref => Release {
                package: "asgiref",
                name: "asgiref-3.12.1",
            },
            Self::Anyio => Release {
                package: "anyio",
                name: "anyio-4.16.0",
            },
        }
    }

    /// What its tests need of the archive, its settings of pytest among them.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Asgiref => &["tests/", "setup.cfg"],
            Self::Anyio => &["tests/", "pyproject.toml"],
        }
    }

    /// What pytest has to select by name.
    fn selection(self, matching: Option<&str>, ipv6: bool) -> Option<String> {
        let own = match (self, ipv6) {
            (Self::Asgiref, _) => None,
            // What is about other loops, or builds and installs the package.
            (Self::Anyio, true) => Some("not trio and not uvloop and not sourceless"),
            // Those that fail leave sockets open, of which others are told by a warning, and fail too.
            (Self::Anyio, false) => Some("not trio and not uvloop and not sourceless and not ipv6"),
        };
        match (own, matching) {
            (Some(own), Some(matching)) => Some(format!("{own} and ({matching})")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    }
}

/// Whether `localhost` is known by an address of IPv6 as well, to which something can be bound.
fn localhost_has_ipv6() -> bool {
    ("localhost", 0).to_socket_addrs().is_ok_and(|found| {
        found
            .filter(SocketAddr::is_ipv6)
            .any(|address| TcpListener::bind(address).is_ok())
    })
}

/// What the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Host {
    /// asyncio's own loop
    Stdlib,
    /// the loop of this project
    Loop,
    /// the hub of this project, beside the tests
    Hub,
    /// a green thread of that hub, in which all tests run
    Green,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdlib => "stdlib",
            Self::Loop => "loop",
            Self::Hub => "hub",
            Self::Green => "green",
        })
    }
}

/// A test that fails, and why.
struct Exception {
    library: Library,
    /// Its name, without its parameters.
    test: &'static str,
    hosts: &'static [Host],
    reason: &'static str,
}

/// The list.
const EXCEPTIONS: [Exception; 1] = [Exception {
    library: Library::Anyio,
    test: "tests/test_debugging.py::test_main_task_name",
    hosts: &[Host::Hub, Host::Green],
    reason: "it closes every loop in the process, and the hub's refuses that while the hub lives",
}];

fn reason(library: Library, host: Host, test: &str) -> Option<&'static str> {
    let name = test.split_once('[').map_or(test, |(name, _)| name);
    let mut those = EXCEPTIONS.iter();
    those
        .find(|one| one.library == library && one.hosts.contains(&host) && one.test == name)
        .map(|one| one.reason)
}

/// The files in which tests are, by the names of those.
fn files<'a>(tests: &[&'a str]) -> BTreeSet<&'a str> {
    let file = |test: &&'a str| test.split_once("::").map_or(*test, |(file, _)| file);
    tests.iter().map(file).collect()
}

/// A run of the tests.
#[derive(Debug)]
pub(crate) struct OfLibrary<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) python: &'a Python,
    pub(crate) wheel: &'a Path,
    pub(crate) library: Library,
    pub(crate) host: Host,
    /// An expression of pytest's that the names of tests have to match.
    pub(crate) matching: Option<&'a str>,
    /// The archive, where it need not be fetched.
    pub(crate) sdist: Option<&'a Path>,
}

impl OfLibrary<'_> {
    /// Runs the tests and shows how they ended.
    ///
    /// One that fails is run again on asyncio's loop, and where it passes there, by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Peers`] where one fails on our host alone, and whatever keeps them from being run.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let (workspace, python) = (self.workspace, self.python);
        let (release, host) = (self.library.release(), self.host);
        let package = release.package;
        let recipe = Recipe {
            python,
            requirements: &[workspace.path(&format!("tests/peers/{package}-requirements.txt"))],
            wheel: Some(self.wheel),
        };
        let venv = Venv::ensure(workspace, &format!("peers-{package}"), recipe)?;
        let directory = format!("{package}-{}-{host}", python.version());
        let files = self.library.files();
        let tree = release.unpack(workspace, python, &venv, self.sdist, &directory, files)?;
        let run = Run {
            of: self,
            venv: &venv,
            tree,
            ipv6: localhost_has_ipv6(),
        };
        let begin = Instant::now();
        let all = run.outcomes(host, "all", None, true)?;
        let took = begin.elapsed().as_secs();
        let findings = if host == Host::Stdlib {
            Findings::of_peer(&all)
        } else {
            let reason = |test: &str| reason(self.library, host, test);
            let open = unexplained(&all, reason);
            let elsewhere = run.again(Host::Stdlib, &open, true)?;
            let passes = |test: &&str| {
                let ended = elsewhere.tests.get(*test);
                ended.is_none_or(|ended| ended.outcome == Outcome::Passed)
            };
            let ours: Vec<&str> = open.iter().copied().filter(passes).collect();
            let again = run.again(host, &ours, false)?;
            Findings::new(reason, &all, &again, &elsewhere)
        };
        print!("{}", findings.text());
        println!(
            "\n{} on CPython {}, host {host}: {} in {took} s; those that make a loop: {}; \
             failed on asyncio's, too: {}; unexpected: {}",
            release.name,
            python.version(),
            all.counts(),
            all.with_loop().counts(),
            findings.of_asyncio.len(),
            findings.unexpected.len(),
        );
        if findings.unexpected.is_empty() {
            return Ok(());
        }
        Err(Error::Peers)
    }
}

/// What the processes of a run have in common.
struct Run<'a> {
    of: &'a OfLibrary<'a>,
    venv: &'a Venv,
    tree: PathBuf,
    /// Whether tests of IPv6 are run.
    ipv6: bool,
}

impl Run<'_> {
    /// Runs the named tests once more, without all others.
    fn again(&self, host: Host, tests: &[&str], kept: bool) -> Result<Outcomes, Error> {
        if tests.is_empty() {
            return Ok(Outcomes::default());
        }
        self.outcomes(host, &format!("again-{host}"), Some(tests), kept)
    }

    /// Runs all tests or some; what they print is kept in a file, or shown.
    fn outcomes(
        &self,
        host: Host,
        label: &str,
        only: Option<&[&str]>,
        kept: bool,
    ) -> Result<Outcomes, Error> {
        let notes = format!("{label}.notes");
        let mut python = self.venv.command("python");
        python.current_dir(&self.tree).args(["-X", "faulthandler"]);
        python.arg(self.of.workspace.path("tests/peers/host.py"));
        python.args([&host.to_string(), "--notes", &notes]);
        // A signal would never reach a test that hangs in native code.
        python.args(["-o", "timeout=60", "-o", "timeout_method=thread"]);
        python.args(["--quiet", "--no-header", "-p", "no:cacheprovider"]);
        if let Some(selection) = self.of.library.selection(self.of.matching, self.ipv6) {
            python.args(["-k", &selection]);
        }
        if let Some(tests) = only {
            let file = self.tree.join(format!("{label}.tests"));
            fs::write(&file, tests.join("\n")).map_err(Error::file(&file))?;
            python.arg("--only").arg(&file).args(files(tests));
        }
        for variable in ["PYTHONASYNCIODEBUG", "PYTHONWARNINGS", "EVENTLET_HUB"] {
            python.env_remove(variable);
        }
        python.env_remove("PYTEST_ADDOPTS");
        let file = self.tree.join(notes);
        let notes = Notes {
            log: kept.then(|| file.with_extension("log")),
            file,
            limit: LIMIT,
        };
        notes.gather(&mut python)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_those_of_the_requirements() {
        for (library, requirements, sdist) in [
            (
                Library::Asgiref,
                include_str!("../../../tests/peers/asgiref-requirements.txt"),
                include_str!("../../../tests/peers/asgiref-sdist.txt"),
            ),
            (
                Library::Anyio,
                include_str!("../../../tests/peers/anyio-requirements.txt"),
                include_str!("../../../tests/peers/anyio-sdist.txt"),
            ),
        ] {
            let release = library.release();
            let pin = release.name.replacen('-', "==", 1);
            assert!(pin.starts_with(release.package), "{pin}");
            assert!(requirements.lines().any(|line| line == pin), "{pin}");
            assert!(sdist.contains(&format!("\n{pin} --hash=sha256:")), "{pin}");
        }
    }

    #[test]
    fn an_exception_is_of_a_library_and_of_hosts() {
        let name = "tests/test_debugging.py::test_main_task_name";
        let test = &format!("{name}[asyncio+eager]");
        assert!(reason(Library::Anyio, Host::Green, test).is_some());
        assert!(reason(Library::Anyio, Host::Hub, name).is_some());
        assert!(reason(Library::Anyio, Host::Loop, test).is_none());
        assert!(reason(Library::Asgiref, Host::Green, test).is_none());
        assert!(reason(Library::Anyio, Host::Green, &format!("{name}_too[asyncio]")).is_none());
    }

    #[test]
    fn selections_meet() {
        let selection = |library: Library, matching| library.selection(matching, true);
        assert_eq!(selection(Library::Asgiref, None), None);
        assert_eq!(
            selection(Library::Asgiref, Some("a or b")).unwrap(),
            "a or b"
        );
        let both = selection(Library::Anyio, Some("a or b")).unwrap();
        assert_eq!(
            both,
            "not trio and not uvloop and not sourceless and (a or b)"
        );
        let own = Library::Anyio.selection(None, false).unwrap();
        assert!(own.ends_with(" and not ipv6"), "{own}");
    }

    #[test]
    fn only_the_files_of_tests_are_collected_again() {
        let tests = ["tests/a.py::T::x[b::c]", "tests/a.py::y", "tests/b.py"];
        assert_eq!(files(&tests), BTreeSet::from(["tests/a.py", "tests/b.py"]));
    }
}
