//! Who may use whom: the rings point inwards, and each outside library lives in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The direct dependencies of each workspace package, without those of tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().unwrap().iter();
            let used = used.filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), used.collect())
        })
        .collect()
}

/// Every offence as a sentence; empty when all is well.
fn offences(dependencies: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let rings: [(&str, &[&str]); 6] = [
        ("patchbay-domain", &[]),
        ("patchbay-application", &["patchbay-domain"]),
        ("patchbay-rich-text", &[]),
        ("patchbay-infrastructure", &["patchbay-domain", "patchbay-application", "patchbay-rich-text"]),
        ("patchbay-interfaces", &["patchbay-domain", "patchbay-application", "patchbay-rich-text"]),
        ("patchbay-simulator", &[]),
    ];
    let homes: [(&str, &[&str]); 10] = [
        ("sqlx", &["patchbay-infrastructure", "patchbay-e2e"]),
        ("graphile_worker", &["patchbay-infrastructure"]),
        ("reqwest", &["patchbay-infrastructure", "patchbay-e2e"]),
        ("redis", &["patchbay-infrastructure"]),
        ("aes-gcm", &["patchbay-infrastructure"]),
        ("axum", &["patchbay-interfaces", "patchbay", "patchbay-simulator"]),
        ("rmcp", &["patchbay-interfaces"]),
        ("utoipa", &["patchbay-interfaces"]),
        ("pulldown-cmark", &["patchbay-rich-text"]),
        ("clap", &["patchbay", "patchbay-bench", "patchbay-simulator", "xtask"]),
    ];
    let mut found = Vec::new();
    for (ring, allowed) in rings {
        let Some(used) = dependencies.get(ring) else {
            found.push(format!("{ring} is not in the workspace"));
            continue;
        };
        for other in used.iter().filter(|name| name.starts_with("patchbay")) {
            if !allowed.contains(&other.as_str()) {
                found.push(format!("{ring} must not depend on {other}"));
            }
        }
    }
    for (library, allowed) in homes {
        for (package, used) in dependencies {
            if used.contains(library) && !allowed.contains(&package.as_str()) {
                found.push(format!("{package} must not use {library}: it lives in {}", allowed.join(", ")));
            }
        }
    }
    for outside in ["tokio", "async-trait", "futures", "tracing"] {
        for pure in ["patchbay-domain", "patchbay-rich-text"] {
            if dependencies.get(pure).is_some_and(|used| used.contains(outside)) {
                found.push(format!("{pure} must not use {outside}: it is not async and does no I/O"));
            }
        }
    }
    found
}

#[test]
fn dependencies_point_inwards_and_libraries_stay_in_their_ring() {
    let found = offences(&dependencies());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_offence_is_named() {
    let mut dependencies = dependencies();
    dependencies.get_mut("patchbay-domain").unwrap().insert("tokio".into());
    dependencies.get_mut("patchbay-interfaces").unwrap().insert("patchbay-infrastructure".into());
    dependencies.get_mut("patchbay-application").unwrap().insert("sqlx".into());
    let found = offences(&dependencies).join("\n");
    for named in [
        "patchbay-domain must not use tokio",
        "patchbay-interfaces must not depend on patchbay-infrastructure",
        "patchbay-application must not use sqlx",
    ] {
        assert!(found.contains(named), "{named} is missing in: {found}");
    }
}

#[test]
fn a_new_source_is_one_folder_and_one_registration_line() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infrastructure/src/sources.rs");
    let text = std::fs::read_to_string(sources).unwrap();
    let registered = text.lines().filter(|line| line.trim_start().starts_with(".with(")).count()
        + text.matches("Sources::default().with(").count();
    assert!(registered >= 1, "no source is registered in sources.rs");
    // Nobody else names a vendor: they go by the registry.
    for ring in ["domain", "application", "interfaces"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(ring).join("src");
        for file in rust_files(&folder) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let naming = code.lines().find(|line| {
                let line = line.trim_start();
                !line.starts_with("//") && (line.contains("\"github\"") && line.contains("=="))
            });
            assert!(naming.is_none(), "{} decides by vendor: {naming:?}", file.display());
        }
    }
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
