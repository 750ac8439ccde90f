//! What the house keeps to: which crate may use which, under which licences, once each, in files one can read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Longest source file, in lines.
const FILE_LINES_MAX: usize = 1_000;

/// Written from `--help`, and looked up in rather than read.
const REFERENCE: &str = "docs/commands.md";

/// Which crates of ours each may name; edges point down this list only.
const EDGES: &[(&str, &[&str])] = &[
    ("reelcase-format", &[]),
    ("reelcase-transform", &["reelcase-format"]),
    ("reelcase-store", &["reelcase-format"]),
    ("reelcase-upstream", &[]),
    ("reelcase-server", &["reelcase-store", "reelcase-upstream", "reelcase-transform", "reelcase-format"]),
    ("reelcase", &["reelcase-server", "reelcase-upstream", "reelcase-store", "reelcase-transform", "reelcase-format"]),
    (
        "reelcase-bench",
        &[
            "reelcase",
            "reelcase-server",
            "reelcase-upstream",
            "reelcase-store",
            "reelcase-transform",
            "reelcase-format",
        ],
    ),
];

/// What `crates/format` and `crates/transform` may not use: they read no clock, open no file, wait for nothing.
const IMPURE: &[&str] = &["tokio", "hyper", "axum", "rusqlite", "object_store", "reqwest", "async-trait", "libc"];

/// Licences that ask for no more than a notice, or (MPL) for changes to their own files.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Libraries that would cost megabytes, or disagree with themselves, in two versions.
const ONCE: &[&str] = &[
    "axum",
    "bytes",
    "clap",
    "flate2",
    "http",
    "hyper",
    "libsqlite3-sys",
    "object_store",
    "reqwest",
    "rusqlite",
    "rustls",
    "serde",
    "serde_json",
    "tokio",
    "tower",
    "tracing",
    "utoipa",
    "zstd-safe",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let ids: BTreeSet<&str> = metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
    metadata["packages"].as_array().unwrap().iter().filter(move |package| ids.contains(text(&package["id"])))
}

/// Names of what a package uses outside its tests.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies.filter(|dependency| text(&dependency["kind"]) != "dev").map(|dependency| text(&dependency["name"]))
}

/// Ids of the packages that end up in the command, or take part in building it.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let by_id: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(&node["id"]), node)).collect();
    let command = members(metadata).find(|package| package["name"] == "reelcase").unwrap();
    let mut found = BTreeSet::new();
    let mut next = vec![text(&command["id"])];
    while let Some(id) = next.pop() {
        if !found.insert(id) {
            continue;
        }
        for dependency in by_id[id]["deps"].as_array().unwrap() {
            let is_for_tests = |kind: &Value| text(&kind["kind"]) == "dev";
            if !dependency["dep_kinds"].as_array().unwrap().iter().all(is_for_tests) {
                next.push(text(&dependency["pkg"]));
            }
        }
    }
    found
}

/// Whether one of the alternatives of an SPDX expression asks only for licences of the list.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let is_listed = |licence: &str| LICENCES.contains(&licence.trim_matches([' ', '(', ')']));
    if expression.contains('(') {
        // As it is always written: alternatives in parentheses, all of which must be met.
        expression.split(" AND ").all(|part| part.split(" OR ").any(is_listed))
    } else {
        expression.split(" OR ").any(|alternative| alternative.split(" AND ").all(is_listed))
    }
}

fn tracked_files() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let files: Vec<PathBuf> = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    assert!(files.len() > 50, "`git ls-files` lists the sources");
    files
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = members(&metadata).map(|package| text(&package["name"])).collect();
    for package in members(&metadata) {
        let name = text(&package["name"]);
        let edges = EDGES.iter().find(|(of, _)| *of == name).unwrap_or_else(|| panic!("{name} has no place in EDGES"));
        for used in dependencies(package).filter(|used| ours.contains(used)) {
            assert!(edges.1.contains(&used), "{name} must not use {used}");
        }
        if matches!(name, "reelcase-format" | "reelcase-transform") {
            let impure: Vec<_> = dependencies(package).filter(|used| IMPURE.contains(used)).collect();
            assert!(impure.is_empty(), "{name} is pure and must not use {impure:?}");
        }
    }
}

#[test]
fn everything_linked_has_a_permissive_licence() {
    let metadata = metadata();
    let linked = linked(&metadata);
    let packages = metadata["packages"].as_array().unwrap();
    let unfit: Vec<String> = packages
        .iter()
        .filter(|package| linked.contains(text(&package["id"])) && !is_permissive(text(&package["license"])))
        .map(|package| format!("{} {}: {}", text(&package["name"]), text(&package["version"]), package["license"]))
        .collect();
    assert!(unfit.is_empty(), "{unfit:#?}");
}

#[test]
fn licences_are_told_apart() {
    assert!(is_permissive("MIT OR GPL-3.0") && is_permissive("(Apache-2.0 OR MIT) AND BSD-3-Clause"));
    assert!(!is_permissive("(MIT OR Apache-2.0) AND GPL-3.0") && !is_permissive("GPL-3.0-only"));
    assert!(!is_permissive("MIT AND GPL-3.0") && !is_permissive(""));
}

#[test]
fn everything_the_web_bundle_is_made_of_has_a_permissive_licence() {
    let lock = std::fs::read(root().join("web/package-lock.json")).unwrap();
    let lock: Value = serde_json::from_slice(&lock).unwrap();
    let unfit: Vec<String> = lock["packages"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, package)| !path.is_empty() && package["dev"] != true)
        .filter(|(_, package)| !is_permissive(text(&package["license"])))
        .map(|(path, package)| format!("{path}: {}", package["license"]))
        .collect();
    assert!(unfit.is_empty(), "{unfit:#?}");
}

#[test]
fn big_libraries_are_there_once() {
    let metadata = metadata();
    let linked = linked(&metadata);
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        if linked.contains(text(&package["id"])) {
            versions.entry(text(&package["name"])).or_default().insert(text(&package["version"]));
        }
    }
    for name in ONCE {
        let found = versions.get(name).map_or(0, BTreeSet::len);
        assert!(found <= 1, "{name} is linked in {:?}", versions[name]);
    }
}

#[test]
fn source_files_can_be_read_in_one_sitting() {
    let is_source = |file: &&PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        matches!(extension, "rs" | "ts" | "svelte" | "mjs" | "css" | "html" | "md" | "sh")
    };
    let long: Vec<String> = tracked_files()
        .iter()
        .filter(is_source)
        .filter(|file| file.as_path() != Path::new(REFERENCE))
        .filter_map(|file| Some((file, std::fs::read_to_string(root().join(file)).ok()?.lines().count())))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for file in tracked_files().iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let Ok(content) = std::fs::read_to_string(root().join(file)) else { continue };
        for link in content.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let is_elsewhere = target.is_empty() || target.contains("://") || target.contains(char::is_whitespace);
            let dir = root().join(file);
            if !is_elsewhere && !dir.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn what_make_is_said_to_do_it_can() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let rules =
        makefile.lines().filter(|line| !line.starts_with(['\t', '#', '.'])).filter_map(|line| line.split_once(':'));
    let rules: BTreeSet<&str> = rules.map(|(name, _)| name).collect();
    let mut said: Vec<String> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY:"))
        .flat_map(|names| names.split_whitespace().map(str::to_owned))
        .collect();
    for file in tracked_files().iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let Ok(content) = std::fs::read_to_string(root().join(file)) else { continue };
        for before in ["`make ", "\nmake "] {
            let names = content.split(before).skip(1).filter_map(|rest| rest.split([' ', '`', '\n']).next());
            said.extend(names.map(str::to_owned));
        }
    }
    let missing: Vec<_> = said.iter().filter(|name| !rules.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "no rule for {missing:?}");
}
