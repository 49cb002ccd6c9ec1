//! What every tracked file keeps to, whatever language it is in.

use super::File;

/// The most lines a file may have before it needs a reason.
const LINES: usize = 700;

/// Files that are longer, each with its reason.
const LONG: [(&str, &str); 2] = [
    ("Cargo.lock", "cargo writes it"),
    ("fuzz/Cargo.lock", "cargo writes it"),
];

/// Files whose text is not ours.
const WRITTEN_BY_TOOLS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// Beginnings of paths that exist on somebody's machine only, and hosts of package registries.
///
/// They are put together here so that this file does not contain them.
const OF_A_MACHINE: [(&str, &str); 8] = [
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/op", "t/"), "a path of one machine"),
    (concat!("crates", ".io"), "a registry host"),
    (concat!("pypi", ".org"), "a registry host"),
    (concat!("python", "hosted.org"), "a registry host"),
];

/// No file names a path of somebody's machine or the host of a registry.
pub(super) fn nothing_of_a_machine(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        if WRITTEN_BY_TOOLS.contains(&file.path.as_str()) {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for (part, what) in OF_A_MACHINE.iter().filter(|(part, _)| line.contains(part)) {
                let path = &file.path;
                problems.push(format!("{path}:{}: {part} is {what}", number + 1));
            }
        }
    }
    problems
}

/// No file is longer than a reader can take in, unless a reason is given.
pub(super) fn no_long_files(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| !LONG.iter().any(|(path, _)| *path == file.path))
        .map(|file| (&file.path, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines are more than {LINES}: split it"))
        .collect()
}

/// There is one shell script, which runs the tests.
pub(super) fn no_scripts(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| {
            let first = file.text.lines().next().unwrap_or_default();
            let shell = first.starts_with("#!") && first.ends_with("sh");
            file.path != ".ci/run" && (shell || file.path.ends_with(".sh"))
        })
        .map(|file| format!("{}: make it a subcommand of xtask instead", file.path))
        .collect()
}

/// What must be there, each with a text that it must hold.
const DOCUMENTS: [(&str, &str); 4] = [
    ("ARCHITECTURE.md", "\n## "),
    ("CHANGELOG.md", "\n## ["),
    ("README.md", "\n## "),
    ("pyproject.toml", "\nreadme = \"README.md\"\n"),
];

/// The documents that every reader looks for are there, and the wheel shows one of them.
pub(super) fn documents(files: &[File]) -> Vec<String> {
    DOCUMENTS
        .iter()
        .filter(|(path, part)| {
            let text = files.iter().find(|file| file.path == *path);
            !text.is_some_and(|file| file.text.contains(part))
        })
        .map(|(path, part)| format!("{path}: it is missing, or holds no line {:?}", part.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> [File; 1] {
        [File {
            path: path.into(),
            text: text.into(),
        }]
    }

    #[test]
    fn paths_of_a_machine_and_hosts_are_found() {
        for (part, _) in OF_A_MACHINE {
            let text = format!("one\nsee {part}x\n");
            let problems = nothing_of_a_machine(&file("a.md", &text));
            assert_eq!(problems.len(), 1, "{part}");
            assert!(problems[0].starts_with("a.md:2: "), "{problems:?}");
            assert!(nothing_of_a_machine(&file("Cargo.lock", &text)).is_empty());
        }
        assert!(nothing_of_a_machine(&file("a.md", "[patch.crates-io]\n/usr/bin\n")).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        assert!(no_long_files(&file("a.rs", &"x\n".repeat(LINES))).is_empty());
        assert_eq!(
            no_long_files(&file("a.rs", &"x\n".repeat(LINES + 1))).len(),
            1
        );
        assert!(no_long_files(&file("Cargo.lock", &"x\n".repeat(LINES + 1))).is_empty());
    }

    #[test]
    fn another_script_is_found() {
        assert_eq!(no_scripts(&file("a.sh", "")).len(), 1);
        assert_eq!(no_scripts(&file("a", "#!/usr/bin/env bash\n")).len(), 1);
        assert!(no_scripts(&file("a.py", "#!/usr/bin/env python3\n")).is_empty());
        assert!(no_scripts(&file(".ci/run", "#!/usr/bin/env bash\n")).is_empty());
    }

    #[test]
    fn a_missing_document_is_found() {
        let all: Vec<File> = DOCUMENTS
            .iter()
            .flat_map(|(path, part)| file(path, &format!("# It\n{part}")))
            .collect();
        assert!(documents(&all).is_empty());
        for (at, (path, _)) in DOCUMENTS.iter().enumerate() {
            let others = all.iter().enumerate().filter(|(other, _)| *other != at);
            let mut others: Vec<File> = others
                .flat_map(|(_, other)| file(&other.path, &other.text))
                .collect();
            assert_eq!(documents(&others).len(), 1, "{path}");
            others.extend(file(path, "# It\n"));
            assert_eq!(documents(&others).len(), 1, "{path}");
        }
    }
}
