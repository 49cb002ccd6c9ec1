//! Everything that can keep a chore from being done.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a chore stopped, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The program is missing or may not be executed.
    #[error("`{program}` cannot be started ({source}): install it or put it on PATH")]
    Start {
        /// The program, as it was looked up.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The program ran and said no.
    #[error("`{}` ended with {status}: its own message stands above", short(.command))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Tests failed.
    #[error("these failed:\n\n{failures}")]
    Tests {
        /// Their names, each with the end of what it said.
        failures: String,
    },
    /// The program was ended because it ran too long.
    #[error("`{}` was ended after {} s: look above for what it was doing", short(.command), .limit.as_secs())]
    TooLong {
        /// The command line.
        command: String,
        /// How long it was given.
        limit: Duration,
    },
    /// A file or directory could not be used.
    #[error("{} cannot be used ({source}): check that it exists and may be written", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No usable interpreter at all.
    #[error(
        "no CPython 3.10 to 3.{newest} with the venv module was found on PATH or under pyenv: \
         install one, and where the distribution splits it off, its venv package too"
    )]
    NoPython {
        /// The newest minor version that would do.
        newest: u8,
    },
    /// Not the interpreter that was asked for.
    #[error(
        "CPython {wanted} was not found on PATH or under pyenv: install it with its venv module, \
         or ask for one of those that are there ({found})"
    )]
    PythonMissing {
        /// The version asked for.
        wanted: String,
        /// The versions that are there.
        found: String,
    },
    /// A program printed something else than what it is documented to print.
    #[error("`{command}` printed something unexpected ({problem}): update it")]
    Output {
        /// The command line.
        command: String,
        /// What is wrong with what it printed.
        problem: String,
    },
    /// Something could not be had from the Python package index.
    #[error(
        "{file} could not be fetched from the Python package index: see above why, \
         or get the file from elsewhere and give it by --sdist"
    )]
    Fetch {
        /// The file.
        file: String,
    },
    /// An interpreter that comes without its tests.
    #[error(
        "CPython {python} comes without its package `test`, in which the tests of asyncio are: \
         where the distribution splits it off (Debian: libpython{python}-testsuite) install it, \
         or ask for another Python"
    )]
    NoTests {
        /// Its version.
        python: String,
    },
    /// A suite of others shows something that is not on the list of exceptions.
    #[error("tests of others did not end as they should: they are listed above")]
    Peers,
    /// A rule of the workspace is broken.
    #[error("the workspace is not tidy: mend what is listed above")]
    Untidy,
}

/// The first words of a command line, as many as fit in a table.
fn short(command: &str) -> &str {
    match command.char_indices().nth(40) {
        Some((cut, _)) => &command[..command[..cut].rfind(' ').unwrap_or(cut)],
        None => command,
    }
}

impl Error {
    /// Makes the adapter that names `path` in an I/O error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_long_command_line_ends_with_a_whole_word() {
        assert_eq!(short("cargo fmt --check"), "cargo fmt --check");
        let long = "cargo clippy --all-targets --workspace -- -D warnings";
        assert_eq!(short(long), "cargo clippy --all-targets --workspace");
        assert_eq!(short(&"x".repeat(50)), "x".repeat(40));
    }
}
