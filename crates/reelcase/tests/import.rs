//! Recordings of any form come into a store, once each, whatever is between.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::path::Path;

use common::{Server, corpus, reelcase, text};
use serde_json::Value;

const EVENTS: &str = r#"[{"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
    {"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]"#;

/// Runs the command; whether it succeeded, what it printed and what it said.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let done = reelcase().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.success(), text(done.stdout), text(done.stderr))
}

/// Makes a store that holds nothing.
fn new_store(data: &Path) {
    Server::start(data).stop();
}

fn ids(data: &Path) -> Vec<String> {
    let (is_ok, list, said) = run(&["ls", "--json", "--data", text(data)]);
    assert!(is_ok, "{said}");
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    let mut ids: Vec<_> = list.lines().map(id).collect();
    ids.sort();
    ids
}

#[test]
fn files_of_all_forms_come_in_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, from) = (dir.path().join("data"), dir.path().join("from"));
    new_store(&data);
    std::fs::create_dir_all(from.join("deep/er")).unwrap();
    std::fs::write(from.join("deep/er/plain.json"), format!(r#"{{"sessionId":"plain","events":{EVENTS}}}"#)).unwrap();
    let lines = format!(r#"{{"version":"2023-04-28","data":{{"session_id":"zipped","snapshots":{EVENTS}}}}}"#);
    std::fs::write(from.join("zipped"), zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    std::fs::write(from.join("notes.txt"), "hello").unwrap();
    std::fs::write(from.join(".hidden.json"), EVENTS).unwrap();
    let shop = corpus("rrweb/recorded/posthog-rrweb-0.0.59-shop.json");
    assert!(run(&["convert", text(&shop), text(&from.join("shop.reel")), "--id", "shop"]).0);
    std::fs::copy(from.join("shop.reel"), from.join("shop-again.reel")).unwrap();
    let import = |more: &[&str]| run(&[&["import", text(&from), "--data", text(&data)], more].concat());

    let (is_ok, plan, said) = import(&["--dry-run"]);
    assert!(is_ok && plan.contains("2 events, recording plain") && plan.contains("notes.txt: no recording"), "{plan}");
    assert!(said.contains("would import"), "{said}");
    assert_eq!(ids(&data), Vec::<String>::new());

    let (is_ok, _, said) = import(&[]);
    assert!(is_ok && said.contains("imported 3 recordings") && said.contains("1 are there already"), "{said}");
    assert_eq!(ids(&data), ["plain", "shop", "zipped"]);
    let lines = |file: &str, of: &[&str]| {
        let out = dir.path().join(file);
        assert!(run(&[of, &["--format", "jsonl"]].concat()).0);
        std::fs::read_to_string(out).unwrap()
    };
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    let there = lines("there", &["convert", text(&shop), text(&there), "--id", "shop"]);
    let back = lines("back", &["export", "shop", "--data", text(&data), "--output", text(&back)]);
    assert!(there == back, "events keep their bytes");

    let (_, _, said) = import(&[]);
    assert!(said.contains("imported 0 recordings") && said.contains("4 are there already"), "{said}");
    assert_eq!(ids(&data).len(), 3);
    assert!(!data.join("importing").exists());
}

#[test]
fn damage_and_contradiction_are_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    new_store(&data);
    let file = dir.path().join("one.json");
    let whole = format!(r#"{{"sessionId":"one","events":{EVENTS}}}"#);
    std::fs::write(&file, &whole[..whole.len() - 30]).unwrap();
    let import = |more: &[&str]| run(&[&["import", text(&file), "--data", text(&data)], more].concat());
    let (is_ok, _, said) = import(&[]);
    assert!(!is_ok && said.contains("left alone") && said.contains("the file ends within an event"), "{said}");
    assert_eq!(ids(&data), Vec::<String>::new());
    let (is_ok, _, said) = import(&["--keep-partial"]);
    assert!(is_ok && said.contains("imported 1 recordings with 1 events") && said.contains("in part"), "{said}");
    // The whole of it came to light later: two halves of one truth are not mixed.
    std::fs::write(&file, &whole).unwrap();
    let (is_ok, _, said) = import(&[]);
    assert!(!is_ok && said.contains("the store has recording one with other events"), "{said}");
    assert_eq!(ids(&data), ["one"]);
}

#[tokio::test]
async fn a_store_that_was_exported_is_merged_into_another() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other, carried) = (dir.path().join("one"), dir.path().join("other"), dir.path().join("carried"));
    new_store(&other);
    let server = Server::start(&one);
    for session in ["a", "b"] {
        let body = format!(
            r#"[{{"event":"$snapshot","properties":{{"$session_id":"{session}","$window_id":"w","token":"phc_merge",
            "distinct_id":"d","$snapshot_data":{EVENTS}}}}},{{"event":"$pageview","timestamp":"2026-11-21T02:07:00Z",
            "properties":{{"$session_id":"{session}","$window_id":"w","token":"phc_merge","distinct_id":"d"}}}}]"#
        );
        let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }
    server.stop();
    assert!(run(&["export", "--data", text(&one), "--to", text(&carried)]).0);
    let merge = || run(&["import", text(&carried), "--data", text(&other)]);
    let (is_ok, _, said) = merge();
    assert!(is_ok && said.contains("imported 2 recordings"), "{said}");
    assert!(merge().2.contains("2 are there already"));
    // Lines name no recording, but the manifest beside them does.
    assert!(run(&["export", "--data", text(&one), "--to", text(&carried), "--format", "jsonl"]).0);
    assert!(merge().2.contains("imported 0 recordings") && merge().2.contains("4 are there already"));
    let figures = |data: &Path, id: &str| {
        let (_, shown, _) = run(&["show", id, "--data", text(data)]);
        let mut shown: Value = serde_json::from_str(&shown).unwrap();
        for of_the_store in ["updated_at_ms", "stored_bytes", "is_live"] {
            shown[of_the_store].take();
        }
        shown
    };
    for session in ["a", "b"] {
        assert_eq!(figures(&one, session), figures(&other, session), "project, person and events included");
    }
    let objects: Vec<_> = common::files_below(&one.join("objects"));
    let object = objects.iter().find(|path| path.extension().is_some_and(|ending| ending == "reel")).unwrap();
    let (is_ok, _, said) = run(&["import", text(object), "--data", text(&other)]);
    assert!(!is_ok && said.contains("it is an object of a store"), "{said}");
}
