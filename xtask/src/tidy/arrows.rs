//! Which crate may depend on which: a picture of the layers, kept true.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// What a crate may depend on.
struct Rule {
    package: &'static str,
    /// Crates of this workspace, in tests and benchmarks too.
    inside: &'static [&'static str],
    /// Crates of others, outside of tests and benchmarks.
    others: &'static [&'static str],
}

const RULES: [Rule; 6] = [
    Rule {
        package: "evio-reactor",
        inside: &[],
        others: &["libc", "polling", "rustix", "slab", "thiserror"],
    },
    Rule {
        package: "evio-timers",
        inside: &[],
        others: &["slab"],
    },
    Rule {
        package: "evio-bridge",
        inside: &[],
        others: &["futures-channel", "thiserror"],
    },
    Rule {
        package: "evio-loop",
        inside: &["evio-reactor", "evio-timers"],
        others: &[],
    },
    Rule {
        package: "evio-py",
        inside: &["evio-bridge", "evio-loop"],
        others: &["cc", "libc", "pyo3", "pyo3-build-config"],
    },
    Rule {
        package: "xtask",
        inside: &[],
        others: &["clap", "serde_json", "thiserror"],
    },
];

/// Crates that know nothing of Python.
pub(super) const PURE: [&str; 4] = ["evio-reactor", "evio-timers", "evio-bridge", "evio-loop"];

/// The packages of the workspace itself.
pub(super) fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members = &metadata["workspace_members"];
    packages(metadata).filter(|package| {
        members
            .as_array()
            .is_some_and(|ids| ids.contains(&package["id"]))
    })
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Manifests name only what the rules allow.
pub(super) fn declared(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in members(metadata) {
        let name = text(package, "name");
        let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
            problems.push(format!(
                "{name}: no rule says what it may depend on: add one"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = text(dependency, "name");
            let ours = RULES.iter().any(|rule| rule.package == other);
            let allowed = if ours {
                rule.inside.contains(&other)
            } else {
                text(dependency, "kind") == "dev" || rule.others.contains(&other)
            };
            if !allowed {
                problems.push(format!("{name}: it may not depend on {other}"));
            }
        }
    }
    problems
}

/// No pure crate reaches Python through another crate either.
pub(super) fn python_below_pure_crates(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in members(metadata) {
        let name = text(package, "name");
        if !PURE.contains(&name) {
            continue;
        }
        for below in reachable(metadata, &[text(package, "id")]) {
            let other = text(below, "name");
            if other.starts_with("pyo3") || other == "evio-py" {
                problems.push(format!(
                    "{name}: it may not depend on {other}, even indirectly"
                ));
            }
        }
    }
    problems
}

/// The packages that the given ones are built from, themselves included.
pub(super) fn reachable<'a>(metadata: &'a Value, roots: &[&'a str]) -> Vec<&'a Value> {
    let nodes: HashMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| (text(node, "id"), node))
        .collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut waiting = roots.to_vec();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).and_then(|node| node["deps"].as_array());
        for dependency in dependencies.into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
            if kinds.clone().any(|kind| kind["kind"] != "dev") {
                waiting.push(text(dependency, "pkg"));
            }
        }
    }
    packages(metadata)
        .filter(|package| seen.contains(text(package, "id")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(name: &str, dependencies: &Value) -> Value {
        json!({
            "workspace_members": ["1"],
            "packages": [
                {"id": "1", "name": name, "dependencies": dependencies},
                {"id": "2", "name": "slab", "dependencies": []},
                {"id": "3", "name": "pyo3-ffi", "dependencies": []},
            ],
            "resolve": {"nodes": [
                {"id": "1", "deps": [{"pkg": "2", "dep_kinds": [{"kind": null}]}]},
                {"id": "2", "deps": [{"pkg": "3", "dep_kinds": [{"kind": null}]}]},
                {"id": "3", "deps": []},
            ]},
        })
    }

    #[test]
    fn an_arrow_that_is_not_in_the_picture_is_found() {
        let slab = json!([{"name": "slab", "kind": null}]);
        assert!(declared(&workspace("evio-timers", &slab)).is_empty());
        let proptest = json!([{"name": "proptest", "kind": "dev"}]);
        assert!(declared(&workspace("evio-timers", &proptest)).is_empty());
        for (package, dependency, kind) in [
            ("evio-timers", "polling", Value::Null),
            ("evio-timers", "polling", json!("build")),
            ("evio-timers", "evio-reactor", json!("dev")),
            ("evio-loop", "evio-bridge", Value::Null),
            ("evio-loop", "slab", Value::Null),
            ("evio-py", "evio-timers", Value::Null),
            ("evio-new", "slab", Value::Null),
        ] {
            let dependencies = json!([{"name": dependency, "kind": kind}]);
            let problems = declared(&workspace(package, &dependencies));
            assert_eq!(problems.len(), 1, "{package} -> {dependency}: {problems:?}");
        }
    }

    #[test]
    fn python_behind_another_crate_is_found() {
        let problems = python_below_pure_crates(&workspace("evio-timers", &json!([])));
        assert_eq!(problems.len(), 1, "{problems:?}");
        let mut metadata = workspace("evio-timers", &json!([]));
        metadata["resolve"]["nodes"][1]["deps"][0]["dep_kinds"][0]["kind"] = json!("dev");
        assert!(python_below_pure_crates(&metadata).is_empty());
        assert!(python_below_pure_crates(&workspace("evio-py", &json!([]))).is_empty());
    }
}
