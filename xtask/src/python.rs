//! Which CPythons there are: one per minor version, from PATH and from pyenv.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::error::Error;

/// The oldest and newest minor versions of Python 3 that are built for.
const OLDEST: u8 = 10;
const NEWEST: u8 = 14;

/// Prints what [`ask`] reads. A virtual environment answers for the interpreter it came from, and
/// a build without the GIL or without `venv` answers nothing.
const QUESTION: &str = "\
import ensurepip, sys, sysconfig, venv
if sys.implementation.name == 'cpython' and not sysconfig.get_config_var('Py_GIL_DISABLED'):
    print(*sys.version_info[:3])
    print(getattr(sys, '_base_executable', None) or sys.executable)
";

/// A minor version of Python 3, such as 3.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version(u8);

impl Version {
    /// The version on which the oldest supported eventlet is tested as well.
    pub(crate) const FLOOR: Self = Self(OLDEST);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}", self.0)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minor = text
            .strip_prefix("3.")
            .and_then(|minor| minor.parse().ok())
            .ok_or("give a minor version of Python 3, such as 3.12")?;
        if (OLDEST..=NEWEST).contains(&minor) {
            return Ok(Self(minor));
        }
        Err(format!("only 3.{OLDEST} to 3.{NEWEST} are built for"))
    }
}

/// An interpreter that answered when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    version: Version,
    patch: u32,
    executable: PathBuf,
}

impl Python {
    /// Its minor version.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The file to run.
    pub(crate) fn executable(&self) -> &Path {
        &self.executable
    }

    /// What an environment made from this interpreter depends on.
    pub(crate) fn identity(&self) -> String {
        format!(
            "{}.{} {}",
            self.version,
            self.patch,
            self.executable.display()
        )
    }
}

/// All usable interpreters, oldest first.
///
/// # Errors
///
/// [`Error::NoPython`] when there is none.
pub(crate) fn all() -> Result<Vec<Python>, Error> {
    let mut seen = HashSet::new();
    let answers = candidates()
        .into_iter()
        .filter(|path| fs::canonicalize(path).is_ok_and(|real| seen.insert(real)))
        .filter_map(|path| ask(&path));
    let found = one_per_version(answers);
    if found.is_empty() {
        return Err(Error::NoPython { newest: NEWEST });
    }
    Ok(found)
}

/// Of all usable interpreters those that are wanted; all when none is named.
///
/// # Errors
///
/// [`Error::NoPython`] and [`Error::PythonMissing`].
pub(crate) fn select(wanted: &[Version]) -> Result<Vec<Python>, Error> {
    choose(all()?, wanted)
}

/// The wanted interpreter, or the newest when none is named.
///
/// # Errors
///
/// As [`select`].
pub(crate) fn newest_or(wanted: Option<Version>) -> Result<Python, Error> {
    select(wanted.as_slice())?
        .pop()
        .ok_or(Error::NoPython { newest: NEWEST })
}

fn choose(found: Vec<Python>, wanted: &[Version]) -> Result<Vec<Python>, Error> {
    let there = |version: Version| found.iter().any(|python| python.version == version);
    if let Some(missing) = wanted.iter().find(|&&version| !there(version)) {
        let versions: Vec<_> = found.iter().map(|p| p.version.to_string()).collect();
        return Err(Error::PythonMissing {
            wanted: missing.to_string(),
            found: versions.join(", "),
        });
    }
    Ok(found
        .into_iter()
        .filter(|python| wanted.is_empty() || wanted.contains(&python.version))
        .collect())
}

/// The newest patch release of each minor version; among equals the one found first.
fn one_per_version(answers: impl Iterator<Item = Python>) -> Vec<Python> {
    let mut best: BTreeMap<Version, Python> = BTreeMap::new();
    for python in answers {
        match best.get(&python.version) {
            Some(other) if other.patch >= python.patch => {}
            _ => {
                best.insert(python.version, python);
            }
        }
    }
    best.into_values().collect()
}

/// Files that look like interpreters, in the order of PATH, then pyenv's.
fn candidates() -> Vec<PathBuf> {
    let pyenv = env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".pyenv")))
        .unwrap_or_default();
    // pyenv's shims are slow scripts in front of the very files that are looked up below.
    let shims = pyenv.join("shims");
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).filter(|directory| *directory != shims);
    let versions = children(&pyenv.join("versions"))
        .into_iter()
        .map(|version| version.join("bin"));
    directories
        .chain(versions)
        .flat_map(|directory| children(&directory))
        .filter(|file| {
            file.file_name()
                .is_some_and(|name| is_interpreter(&name.to_string_lossy()))
        })
        .collect()
}

/// The sorted entries of a directory; none where it cannot be read, as is common on PATH.
fn children(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries
}

/// `python`, `python3` and `python3.12`, not `python3.12-config` nor `python2.7`.
fn is_interpreter(name: &str) -> bool {
    match name.strip_prefix("python") {
        Some("" | "3") => true,
        Some(rest) => rest
            .strip_prefix("3.")
            .and_then(|minor| minor.parse::<u8>().ok())
            .is_some_and(|minor| minor >= OLDEST),
        None => false,
    }
}

/// Runs the interpreter; `None` when it is none that can be used.
fn ask(path: &Path) -> Option<Python> {
    let output = Command::new(path)
        .args(["-I", "-c", QUESTION])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse(&String::from_utf8(output.stdout).ok()?)
}

fn parse(answer: &str) -> Option<Python> {
    let (version, executable) = answer.trim_end().split_once('\n')?;
    let (version, patch) = version.rsplit_once(' ')?;
    Some(Python {
        version: version.replace(' ', ".").parse().ok()?,
        patch: patch.parse().ok()?,
        executable: executable.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(version: &str, patch: u32, executable: &str) -> Python {
        Python {
            version: version.parse().unwrap(),
            patch,
            executable: executable.into(),
        }
    }

    #[test]
    fn versions_out_of_range_are_refused() {
        assert_eq!("3.12".parse(), Ok(Version(12)));
        for text in ["3.9", "3.15", "2.7", "3", "3.x", "3.12.1", ""] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_interpreters_are_asked() {
        for name in ["python", "python3", "python3.10", "python3.14"] {
            assert!(is_interpreter(name), "{name}");
        }
        for name in [
            "python2.7",
            "python3.9",
            "python3.12-config",
            "pythonw",
            "pip3.12",
        ] {
            assert!(!is_interpreter(name), "{name}");
        }
    }

    #[test]
    fn an_answer_is_a_version_and_a_file() {
        assert_eq!(
            parse("3 12 1\n/usr/bin/py\n"),
            Some(python("3.12", 1, "/usr/bin/py"))
        );
        for answer in ["", "3 12 1\n", "3 9 1\n/usr/bin/py\n", "Python 3.12\n"] {
            assert_eq!(parse(answer), None, "{answer:?}");
        }
    }

    #[test]
    fn the_newest_patch_release_of_each_minor_version_wins() {
        let answers = [
            python("3.12", 1, "first"),
            python("3.10", 4, "old"),
            python("3.12", 3, "second"),
            python("3.12", 3, "third"),
        ];
        let found = one_per_version(answers.into_iter());
        assert_eq!(
            found,
            [python("3.10", 4, "old"), python("3.12", 3, "second")]
        );
    }

    #[test]
    fn a_version_that_is_not_there_is_named_beside_those_that_are() {
        let found = vec![python("3.10", 4, "a"), python("3.12", 3, "b")];
        let chosen = choose(found.clone(), &[Version(12)]).unwrap();
        assert_eq!(chosen, [python("3.12", 3, "b")]);
        assert_eq!(choose(found.clone(), &[]).unwrap(), found);
        let message = choose(found, &[Version(11)]).unwrap_err().to_string();
        assert!(
            message.contains("3.11") && message.contains("3.10, 3.12"),
            "{message}"
        );
    }
}
