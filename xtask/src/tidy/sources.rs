//! What every Rust source keeps to: where `unsafe` may stand, and what a file begins with.

use std::path::Path;

use serde_json::Value;

use super::{File, arrows, lexer};

/// The files that may contain `unsafe`, each with the promise it keeps.
const UNSAFE_FILES: [(&str, &str); 22] = [
    ("crates/evio-py/src/cell.rs", "shares what the GIL protects"),
    (
        "crates/evio-py/src/chunks.rs",
        "stands in for CPython's arena allocator",
    ),
    ("crates/evio-py/src/clock.rs", "reads Python's own clock"),
    (
        "crates/evio-py/src/context.rs",
        "enters and leaves contexts",
    ),
    (
        "crates/evio-py/src/context/lazy.rs",
        "exchanges the variables of contexts",
    ),
    (
        "crates/evio-py/src/core/call_soon.rs",
        "makes a method that CPython calls directly",
    ),
    (
        "crates/evio-py/src/exit.rs",
        "answers the unwinder about frames",
    ),
    (
        "crates/evio-py/src/fast/floor.rs",
        "makes calls from small frames",
    ),
    ("crates/evio-py/src/fast/socket.rs", "looks into a socket"),
    (
        "crates/evio-py/src/greenlet.rs",
        "calls the C API of greenlet",
    ),
    (
        "crates/evio-py/src/handle/pool.rs",
        "keeps objects without references",
    ),
    (
        "crates/evio-py/src/hooks.rs",
        "exchanges a thread's hooks for generators",
    ),
    (
        "crates/evio-py/src/layout.rs",
        "looks for values in objects and in a thread's state",
    ),
    (
        "crates/evio-py/src/method.rs",
        "makes a class whose objects CPython calls as methods",
    ),
    ("crates/evio-py/src/stack.rs", "asks where a stack ends"),
    (
        "crates/evio-py/src/stream/sys.rs",
        "receives and sends, and finds the fields of transports",
    ),
    (
        "crates/evio-py/src/stream/sys/connection.rs",
        "makes connections, and asks sockets about them",
    ),
    (
        "crates/evio-py/src/task.rs",
        "sets a field of asyncio's tasks",
    ),
    (
        "crates/evio-py/src/watch.rs",
        "raises exceptions in other threads",
    ),
    (
        "crates/evio-reactor/benches/reactor.rs",
        "makes the bare system calls to compare with",
    ),
    (
        "crates/evio-reactor/src/sys.rs",
        "hands descriptors to the kernel by number",
    ),
    (
        "crates/evio-reactor/tests/process.rs",
        "forks, and limits system calls",
    ),
];

fn rust_files(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

fn may_be_unsafe(path: &str) -> bool {
    UNSAFE_FILES.iter().any(|(allowed, _)| *allowed == path)
}

/// The byte offsets at which `unsafe` is a word of `line`.
fn unsafe_words(line: &str) -> impl Iterator<Item = usize> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices("unsafe")
        .filter(move |(at, word)| {
            let before = line[..*at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(in_name) && !after.is_some_and(in_name)
        })
        .map(|(at, _)| at)
}

/// `unsafe` stands in the named files only.
pub(super) fn unsafe_where_allowed(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in rust_files(files).filter(|file| !may_be_unsafe(&file.path)) {
        for (number, line) in lexer::code(&file.text).lines().enumerate() {
            if unsafe_words(line).next().is_some() {
                let path = &file.path;
                problems.push(format!(
                    "{path}:{}: unsafe code is only allowed in the files that tidy names",
                    number + 1
                ));
            }
        }
    }
    problems
}

/// No file is named that has no `unsafe` any more.
pub(super) fn unsafe_is_still_there(files: &[File]) -> Vec<String> {
    let has_unsafe = |path: &str| {
        rust_files(files)
            .filter(|file| file.path == path)
            .any(|file| {
                lexer::code(&file.text)
                    .lines()
                    .any(|line| unsafe_words(line).next().is_some())
            })
    };
    UNSAFE_FILES
        .iter()
        .filter(|(path, _)| !has_unsafe(path))
        .map(|(path, _)| format!("{path}: it has no unsafe code: take it off the list in tidy"))
        .collect()
}

/// Every `unsafe` block and implementation has its reason right above it.
pub(super) fn unsafe_is_explained(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in rust_files(files) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, line) in lexer::code(&file.text).lines().enumerate() {
            let needs_reason = unsafe_words(line).any(|at| {
                let after = line[at + "unsafe".len()..].trim_start();
                after.is_empty() || after.starts_with('{') || after.starts_with("impl")
            });
            if needs_reason && !has_reason(&lines[..number]) {
                let path = &file.path;
                problems.push(format!(
                    "{path}:{}: no SAFETY comment stands right above this unsafe code",
                    number + 1
                ));
            }
        }
    }
    problems
}

/// Whether the comment that ends these lines, attributes aside, gives a reason.
///
/// Where the formatter has put the `unsafe` on a line of its own, the beginning of its statement
/// is passed over.
fn has_reason(above: &[&str]) -> bool {
    let begun = above.last().is_some_and(|line| line.ends_with(" ="));
    above
        .iter()
        .rev()
        .skip(usize::from(begun))
        .map(|line| line.trim_start())
        .skip_while(|line| line.starts_with("#["))
        .take_while(|line| line.starts_with("//"))
        .any(|line| line.starts_with("// SAFETY: "))
}

/// Every crate root forbids unsafe code, or denies it where a named file of that crate needs it.
pub(super) fn roots_forbid_unsafe(metadata: &Value, files: &[File], root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let targets = arrows::members(metadata)
        .flat_map(|package| package["targets"].as_array().into_iter().flatten());
    for target in targets {
        let kind = target["kind"][0].as_str().unwrap_or_default();
        if !["lib", "cdylib", "rlib", "bin", "proc-macro"].contains(&kind) {
            continue;
        }
        let path = Path::new(target["src_path"].as_str().unwrap_or_default());
        let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        let text = files
            .iter()
            .find(|file| file.path == path)
            .map_or("", |file| &file.text);
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let level = if UNSAFE_FILES
            .iter()
            .any(|(file, _)| file.starts_with(directory))
        {
            "#![deny(unsafe_code)]"
        } else {
            "#![forbid(unsafe_code)]"
        };
        if !text.lines().any(|line| line == level) {
            problems.push(format!("{path}: the crate root has no {level}"));
        }
    }
    problems
}

/// Every file begins with a line that says what it is.
pub(super) fn modules_say_what_they_are(files: &[File]) -> Vec<String> {
    rust_files(files)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{}: it does not begin with a //! line", file.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(path: &str, text: &str) -> [File; 1] {
        [File {
            path: path.into(),
            text: text.into(),
        }]
    }

    #[test]
    fn unsafe_in_any_other_file_is_found() {
        let found = |text| unsafe_where_allowed(&file("crates/a/src/b.rs", text)).len();
        assert_eq!(found("let x = unsafe { f() };"), 1);
        assert_eq!(found("unsafe impl Send for X {}"), 1);
        assert_eq!(found("// unsafe\n\"unsafe\"; unsafe_code"), 0);
        assert_eq!(unsafe_where_allowed(&file("a.md", "unsafe")).len(), 0);
    }

    #[test]
    fn a_named_file_without_unsafe_is_found() {
        let all: Vec<File> = UNSAFE_FILES
            .iter()
            .flat_map(|(path, _)| file(path, "unsafe impl Send for X {}"))
            .collect();
        assert_eq!(unsafe_is_still_there(&all).len(), 0);
        assert_eq!(unsafe_is_still_there(&all[1..]).len(), 1);
        assert_eq!(unsafe_where_allowed(&all).len(), 0);
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        let found = |text| unsafe_is_explained(&file("a.rs", text)).len();
        assert_eq!(found("unsafe { f() }"), 1);
        assert_eq!(found("// f is fine\nunsafe { f() }"), 1);
        assert_eq!(found("// SAFETY: f is fine.\n\nunsafe { f() }"), 1);
        assert_eq!(found("// SAFETY: one.\nunsafe { f() }\nunsafe { g() }"), 1);
        assert_eq!(found("unsafe impl Send for X {}"), 1);
        assert_eq!(
            found("// SAFETY: f is fine,\n// always.\nlet x = unsafe { f() };"),
            0
        );
        assert_eq!(
            found("// SAFETY: f is fine.\n#[cold]\nunsafe impl Send for X {}"),
            0
        );
        assert_eq!(
            found("// SAFETY: f is fine.\nlet x =\n    unsafe { f() };"),
            0
        );
        assert_eq!(found("let x =\n    unsafe { f() };"), 1);
        assert_eq!(found("unsafe fn f() {}"), 0);
    }

    #[test]
    fn a_root_without_its_attribute_is_found() {
        let found = |kind: &str, text: &str| {
            let metadata = json!({
                "workspace_members": ["1"],
                "packages": [{"id": "1", "targets": [
                    {"kind": [kind], "src_path": "/ws/crates/a/src/lib.rs"},
                ]}],
            });
            let files = file("crates/a/src/lib.rs", text);
            roots_forbid_unsafe(&metadata, &files, Path::new("/ws")).len()
        };
        assert_eq!(found("lib", "//! A.\n#![forbid(unsafe_code)]\n"), 0);
        assert_eq!(found("lib", "//! A.\n"), 1);
        assert_eq!(found("lib", "//! A.\n// #![forbid(unsafe_code)]\n"), 1);
        assert_eq!(found("bin", "//! A.\n#![deny(unsafe_code)]\n"), 1);
        assert_eq!(found("bench", "//! A.\n"), 0);
    }

    #[test]
    fn a_module_without_its_line_is_found() {
        assert_eq!(
            modules_say_what_they_are(&file("a.rs", "//! A.\n")).len(),
            0
        );
        assert_eq!(
            modules_say_what_they_are(&file("a.rs", "use b;\n")).len(),
            1
        );
        assert_eq!(
            modules_say_what_they_are(&file("a.py", "import b\n")).len(),
            0
        );
    }
}
