//! The rules of the workspace that no compiler checks.
//!
//! Each rule is a function from what it looks at to the sentences that say what breaks it, with a
//! unit test that breaks it.

mod arrows;
mod lexer;
mod msrv;
mod names;
mod sources;
mod texts;

use std::fs;

use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;

/// A tracked text file.
#[derive(Debug)]
struct File {
    /// From the root, with slashes.
    path: String,
    text: String,
}

/// Checks all rules and prints what breaks them; `false` when something does.
///
/// # Errors
///
/// Whatever keeps the files from being read.
pub(crate) fn run(workspace: &Workspace) -> Result<bool, Error> {
    let problems = problems(workspace)?;
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} problems", problems.len());
    Ok(problems.is_empty())
}

/// As [`run`], with an error where something breaks a rule.
///
/// # Errors
///
/// [`Error::Untidy`], and as [`run`].
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    if run(workspace)? {
        return Ok(());
    }
    Err(Error::Untidy)
}

fn problems(workspace: &Workspace) -> Result<Vec<String>, Error> {
    let metadata = workspace.metadata();
    let files = tracked(workspace)?;
    let root = workspace.root();
    Ok([
        arrows::declared(metadata),
        arrows::python_below_pure_crates(metadata),
        msrv::of_dependencies(metadata),
        sources::roots_forbid_unsafe(metadata, &files, root),
        sources::unsafe_where_allowed(&files),
        sources::unsafe_is_still_there(&files),
        sources::unsafe_is_explained(&files),
        sources::modules_say_what_they_are(&files),
        texts::nothing_of_a_machine(&files),
        texts::no_long_files(&files),
        texts::no_scripts(&files),
        texts::documents(&files),
        names::no_bare_name(&files),
    ]
    .concat())
}

/// All files under version control that are text.
fn tracked(workspace: &Workspace) -> Result<Vec<File>, Error> {
    let mut git = std::process::Command::new("git");
    let list = process::output(git.current_dir(workspace.root()).args(["ls-files", "-z"]))?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0') {
        // One that was deleted and not committed yet is still listed, and a picture is no text.
        if let Ok(text) = fs::read_to_string(workspace.path(path)) {
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let workspace = Workspace::load().unwrap();
        assert_eq!(problems(&workspace).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_tracked_source_is_looked_at() {
        let files = tracked(&Workspace::load().unwrap()).unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/main.rs"));
        assert!(files.iter().any(|file| file.path == ".ci/run"));
    }
}
