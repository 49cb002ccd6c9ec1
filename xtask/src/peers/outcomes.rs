//! How each test ended, as `tests/peers/record.py` notes it, a JSON object a line.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::error::Error;

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
