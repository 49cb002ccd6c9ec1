//! The tests of eventlet that do not pass, each with its reason, and what else a run shows.

use super::findings::listed;
use super::outcomes::{Ended, Outcome, Outcomes};
use crate::hub::Hub;

/// Tests that end otherwise than passed, and why.
pub(super) struct Exception {
    /// How their names begin.
    tests: &'static str,
    hubs: &'static [Hub],
    outcome: Outcome,
    /// Whether that is so on every machine and every Python.
    everywhere: bool,
    reason: &'static str,
}

const ALL: &[Hub] = &[Hub::Epolls, Hub::Asyncio, Hub::Ours];
const OF_ASYNCIO: &[Hub] = &[Hub::Asyncio, Hub::Ours];

/// The list. The first three are about our hub.
pub(super) const EXCEPTIONS: [Exception; 15] = [
    Exception {
        tests: "tests/greenio_test.py::TestGreenIoLong::test_multiple_readers",
        hubs: &[Hub::Ours],
        outcome: Outcome::Failed,
        everywhere: true,
        reason: "it wants several readers refused where eventlet's asyncio hub refuses them",
    },
    Exception {
        tests: "tests/hub_test.py::TestMultipleListenersCleanup",
        hubs: OF_ASYNCIO,
        outcome: Outcome::Skipped,
        everywhere: true,
        reason: "eventlet's asyncio hub refuses several readers",
    },
    Exception {
        tests: "tests/not_asyncio_test.py",
        hubs: OF_ASYNCIO,
        outcome: Outcome::Skipped,
        everywhere: true,
        reason: "it wants coroutines refused by hubs that cannot run them",
    },
    Exception {
        tests: "tests/asyncio_test.py",
        hubs: &[Hub::Epolls],
        outcome: Outcome::Skipped,
        everywhere: true,
        reason: "epolls knows no asyncio",
    },
    Exception {
        tests: "tests/greenio_test.py::TestGreenSocket::test_closure",
        hubs: &[Hub::Epolls],
        outcome: Outcome::Skipped,
        everywhere: true,
        reason: "epolls does not notice that a descriptor was closed",
    },
    Exception {
        tests: "tests/greenio_test.py::TestGreenSocket::test_connect_timeout",
        hubs: ALL,
        outcome: Outcome::Failed,
        everywhere: false,
        reason: "some networks answer for 192.0.2.1, which should never answer",
    },
    Exception {
        tests: "tests/greenio_test.py::TestGreenSocket::test_connect_ex_timeout",
        hubs: ALL,
        outcome: Outcome::Failed,
        everywhere: false,
        reason: "some networks answer for 192.0.2.1, which should never answer",
    },
    Exception {
        tests: "tests/patcher_test.py::test_patcher_existing_locks_unlocked",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: true,
        reason: "it is about the RLock of Python 2",
    },
    Exception {
        tests: "tests/wsgi_test.py::TestHttpd::test_019_fieldstorage_compat",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: false,
        reason: "it is about the module cgi of Python 3.10",
    },
    Exception {
        tests: "tests/db_pool_test.py::Test01Mysql",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: false,
        reason: "it needs MySQLdb and a server",
    },
    Exception {
        tests: "tests/db_pool_test.py::Test02Mysql",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: false,
        reason: "it needs MySQLdb and a server",
    },
    Exception {
        tests: "tests/mysqldb_test.py",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: false,
        reason: "it needs MySQLdb and a server",
    },
    Exception {
        tests: "tests/db_pool_test.py::Test01Psycopg2",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: false,
        reason: "it needs a PostgreSQL server, named by EVENTLET_DB_TEST_AUTH",
    },
    Exception {
        tests: "tests/db_pool_test.py::Test02Psycopg2",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: false,
        reason: "it needs a PostgreSQL server, named by EVENTLET_DB_TEST_AUTH",
    },
    Exception {
        tests: "tests/patcher_psycopg_test.py",
        hubs: ALL,
        outcome: Outcome::Skipped,
        everywhere: false,
        reason: "it needs a PostgreSQL server, named by EVENTLET_DB_TEST_AUTH",
    },
];

/// What a run shows, set against the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What must not be.
    pub(super) unexpected: Vec<String>,
    /// Exceptions that have come true no more.
    pub(super) outdated: Vec<String>,
    /// Exceptions that came true.
    pub(super) expected: Vec<String>,
}

impl Verdict {
    /// Looks every test up.
    pub(super) fn new(exceptions: &[Exception], hub: Hub, outcomes: &Outcomes) -> Self {
        let mut verdict = Self::default();
        for (test, Ended { outcome, why, .. }) in &outcomes.tests {
            let exception = exceptions.iter().find(|exception| {
                exception.hubs.contains(&hub) && test.starts_with(exception.tests)
            });
            match exception {
                Some(exception) if exception.outcome == *outcome => verdict
                    .expected
                    .push(format!("{outcome:7}  {test}: {}", exception.reason)),
                Some(exception) if *outcome == Outcome::Passed && exception.everywhere => verdict
                    .outdated
                    .push(format!("{test} passes: take it off the list")),
                _ if *outcome == Outcome::Passed => {}
                _ => verdict
                    .unexpected
                    .push(format!("{outcome:7}  {test}: {why}")),
            }
        }
        verdict
    }

    /// The findings, the gravest last.
    pub(super) fn text(&self) -> String {
        listed(&[
            ("As expected", &self.expected),
            ("No exceptions any more", &self.outdated),
            ("Unexpected", &self.unexpected),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [Exception; 2] = [
        Exception {
            tests: "a::",
            hubs: &[Hub::Ours],
            outcome: Outcome::Failed,
            everywhere: true,
            reason: "reason",
        },
        Exception {
            tests: "b",
            hubs: ALL,
            outcome: Outcome::Skipped,
            everywhere: false,
            reason: "reason",
        },
    ];

    fn verdict(hub: Hub, test: &str, outcome: Outcome) -> [usize; 3] {
        let ended = Ended {
            outcome,
            why: "why".to_owned(),
            made_loop: false,
        };
        let tests = [(test.to_owned(), ended)].into();
        let complete = true;
        let verdict = Verdict::new(&LIST, hub, &Outcomes { tests, complete });
        [&verdict.expected, &verdict.outdated, &verdict.unexpected].map(Vec::len)
    }

    #[test]
    fn only_what_is_listed_may_not_pass() {
        const EXPECTED: [usize; 3] = [1, 0, 0];
        const OUTDATED: [usize; 3] = [0, 1, 0];
        const UNEXPECTED: [usize; 3] = [0, 0, 1];
        const NOTHING: [usize; 3] = [0, 0, 0];
        for (hub, test, outcome, shown) in [
            (Hub::Ours, "a::x", Outcome::Failed, EXPECTED),
            (Hub::Epolls, "a::x", Outcome::Failed, UNEXPECTED),
            (Hub::Ours, "a::x", Outcome::Skipped, UNEXPECTED),
            (Hub::Ours, "a::x", Outcome::Passed, OUTDATED),
            (Hub::Epolls, "a::x", Outcome::Passed, NOTHING),
            (Hub::Ours, "aa::x", Outcome::Failed, UNEXPECTED),
            (Hub::Ours, "b::x", Outcome::Skipped, EXPECTED),
            (Hub::Ours, "b::x", Outcome::Passed, NOTHING),
            (Hub::Ours, "c", Outcome::Passed, NOTHING),
            (Hub::Ours, "c", Outcome::Skipped, UNEXPECTED),
        ] {
            assert_eq!(verdict(hub, test, outcome), shown, "{hub} {test} {outcome}");
        }
    }

    #[test]
    fn no_exception_hides_another() {
        for (at, one) in EXCEPTIONS.iter().enumerate() {
            for other in &EXCEPTIONS[..at] {
                assert!(!one.tests.starts_with(other.tests), "{}", one.tests);
            }
        }
    }
}
