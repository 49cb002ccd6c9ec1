//! How each test ended, as `tests/peers/record.py` notes it, a JSON object a line.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::error::Error;
use crate::process;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// A test that ended, and what it said if it did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) why: String,
    /// Whether it is known to have made an event loop.
    pub(super) made_loop: bool,
}

/// The tests of a file, or of all files, by their names.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) tests: BTreeMap<String, Ended>,
    /// Whether pytest came to its end.
    pub(super) complete: bool,
}

impl Outcomes {
    /// Reads the notes of one file.
    ///
    /// A test that was begun and of which nothing else is known took its process along.
    ///
    /// # Errors
    ///
    /// [`Error::Output`] where a line is no note.
    pub(super) fn read(notes: &str) -> Result<Self, Error> {
        let mut outcomes = Self::default();
        for line in notes.lines() {
            let note: Value = serde_json::from_str(line).map_err(|error| Error::Output {
                command: "pytest -p record".into(),
                problem: error.to_string(),
            })?;
            let outcome = match note["outcome"].as_str() {
                Some("complete") => {
                    outcomes.complete = true;
                    continue;
                }
                Some("passed") => Outcome::Passed,
                Some("skipped") => Outcome::Skipped,
                _ => Outcome::Failed,
            };
            let text = |key: &str| note[key].as_str().unwrap_or_default().to_owned();
            let ended = Ended {
                outcome,
                why: text("why"),
                made_loop: note["loop"].as_bool().unwrap_or_default(),
            };
            outcomes.tests.insert(text("test"), ended);
        }
        Ok(outcomes)
    }

    /// How many tests ended so.
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        let those = self.tests.values();
        those.filter(|ended| ended.outcome == outcome).count()
    }

    /// How many tests ended how, in words.
    pub(super) fn counts(&self) -> String {
        let [passed, failed, skipped] =
            [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|outcome| self.count(outcome));
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// Only the tests that made an event loop.
    pub(super) fn with_loop(&self) -> Self {
        let mut outcomes = Self {
            tests: self.tests.clone(),
            complete: self.complete,
        };
        outcomes.tests.retain(|_, ended| ended.made_loop);
        outcomes
    }
}

/// Where a process that runs tests notes how they end, and what it prints.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) file: PathBuf,
    /// Where what is printed goes, unless it is shown.
    pub(super) log: Option<PathBuf>,
    /// How long a process may take.
    pub(super) limit: Duration,
}

impl Notes {
    /// Runs tests, in a fresh process after each that ended its own.
    ///
    /// # Errors
    ///
    /// [`Error::Output`] where no test is begun, and whatever keeps the command from being run.
    pub(super) fn gather(&self, command: &mut Command) -> Result<Outcomes, Error> {
        let mut noted = 0;
        loop {
            if let Some(log) = &self.log {
                let output = File::create(log).map_err(Error::file(log))?;
                let other = output.try_clone().map_err(Error::file(log))?;
                command.stdout(output).stderr(other);
            }
            match process::run_within(self.limit, command) {
                Ok(()) | Err(Error::Failed { .. } | Error::TooLong { .. }) => {}
                Err(error) => return Err(error),
            }
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            let outcomes = Outcomes::read(&text)?;
            if outcomes.complete {
                return Ok(outcomes);
            }
            if outcomes.tests.len() == noted {
                if let Some(log) = &self.log {
                    eprint!("{}", fs::read_to_string(log).unwrap_or_default());
                }
                return Err(Error::Output {
                    command: self.file.display().to_string(),
                    problem: "the process ended before it began a test".into(),
                });
            }
            noted = outcomes.tests.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read() {
        let outcomes = Outcomes::read(concat!(
            r#"{"test": "a", "outcome": "begun", "why": "it crashed"}"#,
            "\n",
            r#"{"test": "a", "outcome": "passed", "loop": true}"#,
            "\n",
            r#"{"test": "b", "outcome": "begun", "why": "it crashed"}"#,
        ))
        .unwrap();
        assert!(!outcomes.complete);
        assert_eq!(outcomes.tests.len(), 2);
        assert_eq!(outcomes.tests["a"].outcome, Outcome::Passed);
        assert_eq!(outcomes.tests["b"].outcome, Outcome::Failed);
        assert_eq!(outcomes.tests["b"].why, "it crashed");
        assert_eq!(outcomes.count(Outcome::Failed), 1);
        assert_eq!(outcomes.with_loop().count(Outcome::Passed), 1);
        assert_eq!(outcomes.with_loop().count(Outcome::Failed), 0);
        let end = Outcomes::read(r#"{"outcome": "complete"}"#).unwrap();
        assert!(end.complete && end.tests.is_empty());
        assert!(Outcomes::read(r#"{"test": "c", "outc"#).is_err());
    }
}
