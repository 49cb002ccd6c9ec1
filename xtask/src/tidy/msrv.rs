//! The oldest Rust that will do: no crate that users build may need a newer one than we state.

use serde_json::Value;

use super::arrows;

/// Everything the product is built from runs on the `rust-version` that the workspace states.
pub(super) fn of_dependencies(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut roots = Vec::new();
    let mut stated = None;
    for package in arrows::members(metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(version) = rust_version(package) else {
            problems.push(format!("{name}: it states no rust-version"));
            continue;
        };
        if *stated.get_or_insert(version) != version {
            problems.push(format!("{name}: its rust-version is not the workspace's"));
        }
        if name == "evio-py" || arrows::PURE.contains(&name) {
            roots.extend(package["id"].as_str());
        }
    }
    let Some(stated) = stated else {
        return problems;
    };
    for package in arrows::reachable(metadata, &roots) {
        let name = package["name"].as_str().unwrap_or_default();
        if rust_version(package).is_some_and(|needed| needed > stated) {
            let needed = package["rust_version"].as_str().unwrap_or_default();
            problems.push(format!(
                "{name}: it needs Rust {needed}, which is newer than the rust-version we state"
            ));
        }
    }
    problems
}

/// Major, minor and patch, where missing parts are zero.
fn rust_version(package: &Value) -> Option<[u32; 3]> {
    let mut version = [0; 3];
    for (part, text) in version
        .iter_mut()
        .zip(package["rust_version"].as_str()?.split('.'))
    {
        *part = text.parse().ok()?;
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(ours: &Value, other: &Value) -> Value {
        json!({
            "workspace_members": ["1", "2"],
            "packages": [
                {"id": "1", "name": "evio-timers", "rust_version": ours},
                {"id": "2", "name": "xtask", "rust_version": "1.85"},
                {"id": "3", "name": "slab", "rust_version": other},
            ],
            "resolve": {"nodes": [
                {"id": "1", "deps": [{"pkg": "3", "dep_kinds": [{"kind": null}]}]},
            ]},
        })
    }

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_found() {
        let ours = json!("1.85");
        for fine in [json!("1.85"), json!("1.85.0"), json!("1.51"), Value::Null] {
            let problems = of_dependencies(&workspace(&ours, &fine));
            assert!(problems.is_empty(), "{fine}: {problems:?}");
        }
        for newer in ["1.86", "1.85.1", "1.100", "2.0"] {
            let problems = of_dependencies(&workspace(&ours, &json!(newer)));
            assert_eq!(problems.len(), 1, "{newer}: {problems:?}");
        }
    }

    #[test]
    fn a_crate_that_states_another_version_or_none_is_found() {
        for ours in [Value::Null, json!("1.84")] {
            let problems = of_dependencies(&workspace(&ours, &json!("1.51")));
            assert_eq!(problems.len(), 1, "{ours}: {problems:?}");
        }
    }
}
