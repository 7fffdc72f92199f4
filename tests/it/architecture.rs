//! The arrows between the crates, held against what cargo says.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::DependencyKind;

/// Which of our crates each of them may use. What is absent here is a decision.
const ARROWS: &[(&str, &[&str])] = &[
    ("quillwork-domain", &[]),
    ("quillwork-text", &[]),
    ("quillwork-app", &["quillwork-domain"]),
    ("quillwork-store", &["quillwork-app", "quillwork-domain", "quillwork-test-servers"]),
    (
        "quillwork-providers",
        &["quillwork-app", "quillwork-domain", "quillwork-test-servers", "quillwork-text"],
    ),
    ("quillwork-worker", &["quillwork-app", "quillwork-domain", "quillwork-text"]),
    ("quillwork-projections", &["quillwork-app", "quillwork-domain", "quillwork-test-servers"]),
    ("quillwork-api", &["quillwork-app", "quillwork-domain", "quillwork-projections", "quillwork-text"]),
    (
        "quillwork",
        &[
            "quillwork-api",
            "quillwork-app",
            "quillwork-domain",
            "quillwork-projections",
            "quillwork-providers",
            "quillwork-store",
            "quillwork-worker",
        ],
    ),
    (
        "quillwork-tests",
        &[
            "quillwork-api",
            "quillwork-app",
            "quillwork-domain",
            "quillwork-projections",
            "quillwork-store",
            "quillwork-test-servers",
            "quillwork-text",
            "quillwork-worker",
        ],
    ),
    ("quillwork-test-servers", &[]),
    ("xtask", &["quillwork-test-servers"]),
];

/// What must not be reachable from a crate at all, directly or not.
const ABSENCES: &[(&str, &[&str])] = &[
    ("quillwork-domain", &["tokio", "sqlx", "rusqlite", "tracing", "reqwest", "axum", "apalis"]),
    ("quillwork-text", &["tokio", "reqwest", "tantivy"]),
    ("quillwork-app", &["sqlx", "rusqlite", "reqwest", "axum", "apalis", "tantivy", "redis", "moka"]),
    ("quillwork-store", &["redis", "moka"]),
    ("quillwork-worker", &["sqlx", "rusqlite", "axum", "tantivy", "redis", "moka"]),
    ("quillwork-projections", &["axum", "apalis", "tantivy", "redis", "moka"]),
    ("quillwork-api", &["apalis", "tantivy", "redis", "moka"]),
    ("quillwork-providers", &["sqlx", "rusqlite", "axum", "apalis"]),
];

fn metadata() -> cargo_metadata::Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    cargo_metadata::MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap()
}

#[test]
fn crates_use_only_what_they_may() {
    let metadata = metadata();
    let ours: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, listed, "every crate stands in the table");
    for package in metadata.workspace_packages() {
        let allowed = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()).unwrap().1;
        for dependency in
            package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str()))
        {
            assert!(
                allowed.contains(&dependency.name.as_str()),
                "{} must not use {}",
                package.name,
                dependency.name
            );
        }
    }
}

/// `cargo run -- run …` is the first command of the README.
#[test]
fn cargo_run_means_the_binary() {
    let metadata = metadata();
    let default: Vec<_> =
        metadata.workspace_default_packages().iter().map(|package| package.name.to_string()).collect();
    assert_eq!(default, ["quillwork"]);
}

#[test]
fn what_a_crate_must_not_know_is_out_of_its_reach() {
    let metadata = metadata();
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    // Without the dependencies of tests and build scripts.
    let uses: BTreeMap<_, Vec<_>> = nodes
        .iter()
        .map(|node| {
            let normal = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, normal.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    let name = |id: &cargo_metadata::PackageId| metadata[id].name.as_str().to_owned();
    for (krate, absent) in ABSENCES {
        let package =
            metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == *krate);
        let mut reached = BTreeSet::new();
        let mut next = vec![&package.unwrap().id];
        while let Some(id) = next.pop() {
            if reached.insert(id) {
                next.extend(&uses[id]);
            }
        }
        let reached: BTreeSet<String> = reached.into_iter().map(name).collect();
        for forbidden in *absent {
            assert!(!reached.contains(*forbidden), "{krate} reaches {forbidden}");
        }
    }
}
