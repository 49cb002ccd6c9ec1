//! Unpacking what packagers made.

use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::process;
use crate::python::Python;

/// Python, unlike `tar`, is there anyway. Releases that have the filter warn where it is not used.
const UNPACK: &str = "\
import sys, tarfile
options = {'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}
with tarfile.open(sys.argv[1]) as archive:
    members = [each for each in archive if each.name.startswith(sys.argv[3])]
    archive.extractall(sys.argv[2], members=members, **options)
";

/// Unpacks the files of a tar archive whose paths in it begin with `beginning` into a directory.
///
/// # Errors
///
/// Whatever keeps Python from reading the one or from writing to the other.
pub(crate) fn unpack(
    python: &Python,
    archive: &Path,
    directory: &Path,
    beginning: &str,
) -> Result<(), Error> {
    let mut command = Command::new(python.executable());
    command.args(["-c", UNPACK]).arg(archive).arg(directory);
    process::output(command.arg(beginning)).map(drop)
}
