//! What a run of tests shows of our loop, beside asyncio's own and a list of reasons.

use std::fmt::Write as _;

use super::outcomes::{Ended, Outcome, Outcomes};

/// The tests that did not pass, and of which no list says why.
pub(super) fn unexplained(
    outcomes: &Outcomes,
    reason: impl Fn(&str) -> Option<&'static str>,
) -> Vec<&str> {
    let tests = outcomes.tests.iter();
    tests
        .filter(|(_, ended)| ended.outcome != Outcome::Passed)
        .map(|(test, _)| test.as_str())
        .filter(|test| reason(test).is_none())
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
    pub(super) of_asyncio: Vec<String>,
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
        reason: impl Fn(&str) -> Option<&'static str>,
        outcomes: &Outcomes,
        again: &Outcomes,
        elsewhere: &Outcomes,
    ) -> Self {
        let mut findings = Self::default();
        for (test, Ended { outcome, why, .. }) in &outcomes.tests {
            let passed = |outcomes: &Outcomes| {
                let ended = outcomes.tests.get(test)?;
                Some(ended.outcome == Outcome::Passed)
            };
            let (list, line) = match (outcome, reason(test)) {
                (Outcome::Passed, None) => continue,
                (Outcome::Passed, Some(_)) => (
                    &mut findings.outdated,
                    format!("{test} passes on this Python"),
                ),
                (Outcome::Failed, Some(reason)) => {
                    (&mut findings.expected, format!("{test}: {reason}"))
                }
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
        listed(&[
            ("Failed", &self.of_peer),
            ("As expected", &self.expected),
            ("No differences any more", &self.outdated),
            ("Failed on asyncio's own loop, too", &self.of_asyncio),
            ("Failed, and passed by themselves", &self.alone),
            ("Unexpected", &self.unexpected),
        ])
    }
}

/// Findings under their titles, where there are any.
pub(super) fn listed(findings: &[(&str, &[String])]) -> String {
    let mut text = String::new();
    for (title, lines) in findings {
        if !lines.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{title}:\n  {}\n", lines.join("\n  "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(test: &str) -> Option<&'static str> {
        (test == "m.C.test").then_some("reason")
    }

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
                reason,
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
    fn what_no_list_explains_is_run_again() {
        for (test, outcome, again) in [
            ("m.C.test", Outcome::Failed, 0),
            ("m.D.test", Outcome::Failed, 1),
            ("m.D.test", Outcome::Skipped, 1),
            ("m.D.test", Outcome::Passed, 0),
        ] {
            let outcomes = outcomes(test, Some(outcome));
            assert_eq!(unexplained(&outcomes, reason).len(), again);
        }
    }

    #[test]
    fn only_titles_with_findings_are_shown() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(listed(&[("X", &[]), ("Y", &lines)]), "\nY:\n  a\n  b\n");
    }
}
