//! The tests of asyncio that pass on its own event loop and not on ours, each with its reason.

use std::fmt::Write as _;

use super::outcomes::{Ended, Outcome, Outcomes};

/// Tests that fail, and why.
pub(super) struct Difference {
    /// Their module and class.
    group: &'static str,
    tests: &'static [&'static str],
    reason: &'static str,
}

/// The list.
pub(super) const DIFFERENCES: [Difference; 3] = [
    Difference {
        group: "test_events.EPollEventLoopTests",
        tests: &["test_internal_fds"],
        reason: "it looks for the self-pipe of asyncio's loop, where ours has an eventfd",
    },
    Difference {
        group: "test_events.TestPyGetEventLoop",
        tests: &[
            "test_get_event_loop_returns_running_loop",
            "test_get_event_loop_returns_running_loop2",
        ],
        reason: "it has loops tell functions in Python that they run, where ours tells those in C",
    },
    Difference {
        group: "test_unix_events.SelectorEventLoopSignalTests",
        tests: &[
            "test_add_signal_handler_install_error",
            "test_add_signal_handler_install_error2",
            "test_add_signal_handler_install_error3",
            "test_add_signal_handler_setup_error",
            "test_close",
            "test_close_on_finalizing",
            "test_handle_signal_cancelled_handler",
            "test_remove_signal_handler",
            "test_remove_signal_handler_2",
            "test_remove_signal_handler_error",
            "test_remove_signal_handler_error2",
        ],
        reason: "it puts mocks in the place of what asyncio's loop calls, where ours calls something else",
    },
];

impl Difference {
    fn explains(&self, test: &str) -> bool {
        test.rsplit_once('.')
            .is_some_and(|(group, test)| group == self.group && self.tests.contains(&test))
    }
}

/// The module of a test, by its name.
pub(super) fn module(test: &str) -> &str {
    // What a class is prepared by has a name like `setUpClass (test_events.Tests)`.
    let name = test.split_once('(').map_or(test, |(_, name)| name);
    name.split('.').next().unwrap_or(name)
}

/// The tests that did not pass, and of which no difference says why.
pub(super) fn unexplained(outcomes: &Outcomes) -> Vec<&str> {
    let tests = outcomes.tests.iter();
    tests
        .filter(|(_, ended)| ended.outcome != Outcome::Passed)
        .map(|(test, _)| test.as_str())
        .filter(|test| !DIFFERENCES.iter().any(|one| one.explains(test)))
        .collect()
}

/// What a run shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Differences that showed.
    expected: Vec<String>,
    /// Differences that showed no more.
    outdated: Vec<String>,
    /// Tests that do not pass on asyncio's own loop either.
    of_asyncio: Vec<String>,
    /// Tests that passed by themselves.
    alone: Vec<String>,
    /// Tests that failed on the loop of a peer.
    of_peer: Vec<String>,
    /// What must not be.
    pub(super) unexpected: Vec<String>,
}

impl Findings {
    /// Looks every test up, in the list and in what it did when it ran again, on our loop and on
    /// asyncio's own.
    pub(super) fn new(
        differences: &[Difference],
        outcomes: &Outcomes,
        again: &Outcomes,
        elsewhere: &Outcomes,
    ) -> Self {
        let mut findings = Self::default();
        for (test, Ended { outcome, why, .. }) in &outcomes.tests {
            let difference = differences.iter().find(|one| one.explains(test));
            let passed = |outcomes: &Outcomes| {
                let ended = outcomes.tests.get(test)?;
                Some(ended.outcome == Outcome::Passed)
            };
            let (list, line) = match (outcome, difference) {
                (Outcome::Passed, None) => continue,
                (Outcome::Passed, Some(_)) => (
                    &mut findings.outdated,
                    format!("{test} passes on this Python"),
                ),
                (Outcome::Failed, Some(difference)) => (
                    &mut findings.expected,
                    format!("{test}: {}", difference.reason),
                ),
                _ if passed(elsewhere) == Some(false) => match outcome {
                    Outcome::Failed => (&mut findings.of_asyncio, format!("{test}: {why}")),
                    _ => continue,
                },
                _ if passed(again) == Some(true) => (&mut findings.alone, format!("{test}: {why}")),
                _ => (
                    &mut findings.unexpected,
                    format!("{outcome:7}  {test}: {why}"),
                ),
            };
            list.push(line);
        }
        findings
    }

    /// Of another loop it is only shown what fails.
    pub(super) fn of_peer(outcomes: &Outcomes) -> Self {
        let failed = |(_, ended): &(&String, &Ended)| ended.outcome == Outcome::Failed;
        let tests = outcomes.tests.iter().filter(failed);
        Self {
            of_peer: tests
                .map(|(test, ended)| format!("{test}: {}", ended.why))
                .collect(),
            ..Self::default()
        }
    }

    /// The findings, the gravest last.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (title, lines) in [
            ("Failed", &self.of_peer),
            ("As expected", &self.expected),
            ("No differences any more", &self.outdated),
            ("Failed on asyncio's own loop, too", &self.of_asyncio),
            ("Failed, and passed by themselves", &self.alone),
            ("Unexpected", &self.unexpected),
        ] {
            if !lines.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n{title}:\n  {}\n", lines.join("\n  "));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [Difference; 1] = [Difference {
        group: "m.C",
        tests: &["test"],
        reason: "reason",
    }];

    fn outcomes(test: &str, outcome: Option<Outcome>) -> Outcomes {
        let ended = |outcome| Ended {
            outcome,
            why: "why".to_owned(),
            made_loop: true,
        };
        Outcomes {
            tests: outcome
                .map(|outcome| (test.to_owned(), ended(outcome)))
                .into_iter()
                .collect(),
            complete: true,
        }
    }

    #[test]
    fn only_what_fails_on_our_loop_alone_is_unexpected() {
        use Outcome::{Failed, Passed, Skipped};
        for (test, outcome, again, elsewhere, shown) in [
            ("m.C.test", Failed, None, None, [1, 0, 0, 0, 0]),
            ("m.C.test", Passed, None, None, [0, 1, 0, 0, 0]),
            ("m.C.test", Skipped, None, Some(Passed), [0, 0, 0, 0, 1]),
            (
                "m.C.test2",
                Failed,
                Some(Failed),
                Some(Passed),
                [0, 0, 0, 0, 1],
            ),
            (
                "m.C.test2",
                Failed,
                Some(Failed),
                Some(Failed),
                [0, 0, 1, 0, 0],
            ),
            ("m.C.test2", Failed, None, None, [0, 0, 0, 0, 1]),
            (
                "m.C.test2",
                Failed,
                Some(Passed),
                Some(Passed),
                [0, 0, 0, 1, 0],
            ),
            (
                "m.D.test",
                Skipped,
                Some(Skipped),
                Some(Passed),
                [0, 0, 0, 0, 1],
            ),
            ("m.D.test", Skipped, Some(Skipped), Some(Skipped), [0; 5]),
            ("m.D.test", Passed, None, None, [0; 5]),
        ] {
            let outcomes = |outcome| outcomes(test, outcome);
            let findings = Findings::new(
                &LIST,
                &outcomes(Some(outcome)),
                &outcomes(again),
                &outcomes(elsewhere),
            );
            let counts = [
                &findings.expected,
                &findings.outdated,
                &findings.of_asyncio,
                &findings.alone,
                &findings.unexpected,
            ]
            .map(Vec::len);
            assert_eq!(counts, shown, "{test} {outcome}");
        }
    }

    #[test]
    fn what_no_difference_explains_is_run_again() {
        let listed = "test_events.EPollEventLoopTests.test_internal_fds";
        for (test, outcome, again) in [
            (listed, Outcome::Failed, 0),
            ("test_events.Tests.test", Outcome::Failed, 1),
            ("test_events.Tests.test", Outcome::Skipped, 1),
            ("test_events.Tests.test", Outcome::Passed, 0),
        ] {
            assert_eq!(unexplained(&outcomes(test, Some(outcome))).len(), again);
        }
    }

    #[test]
    fn a_test_is_found_in_its_module() {
        for name in [
            "test_events.Tests.test_x",
            "test_events",
            "setUpClass (test_events.Tests)",
        ] {
            assert_eq!(module(name), "test_events");
        }
    }
}
