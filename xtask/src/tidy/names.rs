//! Names that belong to others: the bare project name is taken, for crates and for distributions.

use super::File;

/// Put together so that no search for the bare name finds this line.
const BARE: &str = concat!("ev", "io");

/// No manifest and no requirement uses the bare name for a package.
pub(super) fn no_bare_name(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let is_bare: fn(&str) -> bool = match name {
            "Cargo.toml" | "pyproject.toml" => in_manifest,
            _ if name.starts_with("requirements") => in_requirements,
            _ => continue,
        };
        for (number, line) in file.text.lines().enumerate() {
            if is_bare(line) {
                let path = &file.path;
                problems.push(format!(
                    "{path}:{}: the name {BARE} belongs to another project: add a suffix",
                    number + 1
                ));
            }
        }
    }
    problems
}

/// `name = "x"`, `package = "x"` or `x = ...`, in TOML.
fn in_manifest(line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else {
        return line.contains(&format!("dependencies.{BARE}]"));
    };
    let named = matches!(key.trim(), "name" | "package") && value.trim() == format!("\"{BARE}\"");
    let key = key.trim().trim_matches('"');
    let dependency = key == BARE
        || key
            .strip_prefix(BARE)
            .is_some_and(|rest| rest.starts_with('.'));
    let renamed = value.contains(&format!("package = \"{BARE}\""));
    named || dependency || renamed
}

/// `x`, `x==1` or `x[extra]`, in a requirements file.
fn in_requirements(line: &str) -> bool {
    line.trim().strip_prefix(BARE).is_some_and(|rest| {
        !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, template: &str) -> usize {
        let file = File {
            path: path.into(),
            text: template.replace('@', BARE),
        };
        no_bare_name(&[file]).len()
    }

    #[test]
    fn the_bare_name_is_found() {
        for line in [
            "name = \"@\"",
            "@ = \"0.1\"",
            "@.workspace = true",
            "[dependencies.@]",
            "x = { package = \"@\", version = \"1\" }",
        ] {
            assert_eq!(found("crates/a/Cargo.toml", line), 1, "{line}");
        }
        assert_eq!(found("pyproject.toml", "name = \"@\""), 1);
        for line in ["@", "@==1.0", "@[x]>=2"] {
            assert_eq!(found("tests/requirements.txt", line), 1, "{line}");
        }
    }

    #[test]
    fn longer_names_are_fine() {
        for line in [
            "name = \"@-timers\"",
            "@-timers = \"0.1\"",
            "@-timers.workspace = true",
        ] {
            assert_eq!(found("Cargo.toml", line), 0, "{line}");
        }
        assert_eq!(found("requirements.txt", "@-x\n@x==1\n"), 0);
        assert_eq!(found("a.rs", "name = \"@\""), 0);
    }
}
