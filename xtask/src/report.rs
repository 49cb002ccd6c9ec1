//! A table of steps: what ran, how long, and how it ended; and what those said that failed.

use std::time::{Duration, Instant};

use crate::error::Error;

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Failed(String),
    Skipped(String),
}

#[derive(Debug)]
struct Step {
    name: String,
    took: Duration,
    outcome: Outcome,
}

/// The steps of a run, in the order they were taken.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
}

impl Report {
    /// Takes a step; what it made, or `None` when it failed, which is noted and stops nothing.
    pub(crate) fn step<T>(
        &mut self,
        name: impl Into<String>,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Option<T> {
        let name = name.into();
        eprintln!("\n=== {name}");
        let begin = Instant::now();
        let result = work();
        let took = begin.elapsed();
        let (made, outcome) = match result {
            Ok(made) => (Some(made), Outcome::Ok),
            Err(error) => {
                eprintln!("error: {error}");
                (None, Outcome::Failed(error.to_string()))
            }
        };
        self.steps.push(Step {
            name,
            took,
            outcome,
        });
        made
    }

    /// Notes a step that could not be taken, and why.
    pub(crate) fn skip(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.steps.push(Step {
            name: name.into(),
            took: Duration::ZERO,
            outcome: Outcome::Skipped(why.into()),
        });
    }

    /// Whether no step failed.
    pub(crate) fn passed(&self) -> bool {
        !self
            .steps
            .iter()
            .any(|step| matches!(step.outcome, Outcome::Failed(_)))
    }

    /// What the failed steps said at length, so that nobody has to look for it above.
    pub(crate) fn failures(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            if let Outcome::Failed(why) = &step.outcome
                && why.contains('\n')
            {
                text += &format!("=== {}: {}\n\n", step.name, why.trim_end());
            }
        }
        text
    }

    /// The table, with the counts in its last line.
    pub(crate) fn table(&self) -> String {
        let names = self.steps.iter().map(|step| step.name.chars().count());
        let width = names.chain([4]).max().unwrap_or(4);
        let mut text = format!("{:width$}  seconds  outcome\n", "step");
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for step in &self.steps {
            let outcome = match &step.outcome {
                Outcome::Ok => {
                    passed += 1;
                    "ok".to_owned()
                }
                Outcome::Failed(why) => {
                    failed += 1;
                    format!("FAILED  {}", why.lines().next().unwrap_or_default())
                }
                Outcome::Skipped(why) => {
                    skipped += 1;
                    format!("skipped  {why}")
                }
            };
            let seconds = step.took.as_secs_f64();
            text += &format!("{:width$}  {seconds:7.1}  {outcome}\n", step.name);
        }
        text + &format!("steps: {passed} passed, {failed} failed, {skipped} skipped\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_run_and_stands_in_the_table() {
        let mut report = Report::default();
        assert_eq!(report.step("good", || Ok(7)), Some(7));
        assert!(report.passed());
        report.skip("never", "no wheel");
        assert!(report.passed(), "a step that was skipped is no failure");
        assert_eq!(
            report.step::<()>("bad", || Err(Error::NoPython { newest: 14 })),
            None
        );
        assert!(!report.passed());
        let failures = "tests/a.py::b\nE  1 != 2\n".into();
        assert_eq!(
            report.step::<()>("tests", || Err(Error::Tests { failures })),
            None
        );
        assert_eq!(
            report.failures(),
            "=== tests: these failed:\n\ntests/a.py::b\nE  1 != 2\n\n"
        );
        let table = report.table();
        assert!(table.contains("FAILED  no CPython"), "{table}");
        assert!(table.contains("FAILED  these failed:\n"), "{table}");
        assert!(
            table.ends_with("steps: 1 passed, 2 failed, 1 skipped\n"),
            "{table}"
        );
    }
}
