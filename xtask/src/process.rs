//! Running other programs: shown before they start, bounded in time.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// The command line for people: what runs and with what, not where it is.
fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn start_error(command: &Command) -> impl FnOnce(std::io::Error) -> Error {
    let program = command.get_program().to_string_lossy().into_owned();
    move |source| Error::Start { program, source }
}

fn checked(command: &Command, status: ExitStatus) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: display(command),
        status,
    })
}

/// Shows the command on standard error, then runs it to its end.
///
/// # Errors
///
/// [`Error::Start`] when it cannot be started, [`Error::Failed`] when its exit code is not zero.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    eprintln!("+ {}", display(command));
    let status = command.status().map_err(start_error(command))?;
    checked(command, status)
}

/// As [`run`], but ends the program when `limit` has passed.
///
/// # Errors
///
/// As [`run`], and [`Error::TooLong`].
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<(), Error> {
    eprintln!("+ {}", display(command));
    let mut child = command.spawn().map_err(start_error(command))?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().map_err(start_error(command))? {
            return checked(command, status);
        }
        if Instant::now() >= end {
            // A child that has just ended cannot be killed, which is as good.
            let _ = child.kill();
            child.wait().map_err(start_error(command))?;
            return Err(Error::TooLong {
                command: display(command),
                limit,
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the command silently and gives what it wrote to standard output.
///
/// # Errors
///
/// As [`run`]; what it wrote to standard error is passed on.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(start_error(command))?;
    checked(command, output.status)?;
    String::from_utf8(output.stdout).map_err(|error| Error::Output {
        command: display(command),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(code: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", code]);
        command
    }

    #[test]
    fn an_exit_code_other_than_zero_is_an_error() {
        assert!(run(&mut shell("exit 0")).is_ok());
        assert!(matches!(
            run(&mut shell("exit 3")),
            Err(Error::Failed { .. })
        ));
        assert!(matches!(
            run(&mut Command::new("no-such-program-anywhere")),
            Err(Error::Start { .. })
        ));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let limit = Duration::from_millis(100);
        let begin = Instant::now();
        let result = run_within(limit, &mut shell("exec sleep 60"));
        assert!(matches!(result, Err(Error::TooLong { .. })));
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert!(run_within(Duration::from_secs(30), &mut shell("exit 0")).is_ok());
    }

    #[test]
    fn standard_output_is_given_back() {
        assert_eq!(output(&mut shell("echo one")).unwrap(), "one\n");
        assert!(output(&mut shell("echo one; exit 1")).is_err());
    }
}
