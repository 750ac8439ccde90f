//! Recordings of any form come into a store, once each, whatever is between.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Server, corpus, reelcase, text};
use reelcase_transform::encrypted::{EncryptedWriter, Key};
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
    assert!(is_ok && said.contains("imported 3 recordings") && said.contains("1 is there already"), "{said}");
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
    assert!(!is_ok && said.contains("imported 1 recording with 1 event") && said.contains("in part"), "{said}");
    // The whole of it came to light later: two halves of one truth are not mixed.
    std::fs::write(&file, &whole).unwrap();
    let (is_ok, _, said) = import(&[]);
    assert!(!is_ok && said.contains("the store has recording one with other events"), "{said}");
    assert_eq!(ids(&data), ["one"]);
}

#[test]
fn one_file_that_cannot_be_read_costs_no_other_and_a_store_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (data, from) = (dir.path().join("data"), dir.path().join("from"));
    new_store(&data);
    std::fs::create_dir(&from).unwrap();
    std::os::unix::fs::symlink("nowhere", from.join("a.json")).unwrap();
    std::fs::write(from.join("b.json"), format!(r#"{{"sessionId":"one","events":{EVENTS}}}"#)).unwrap();
    let (is_ok, _, said) = run(&["import", text(&from), "--data", text(&data)]);
    assert!(!is_ok && said.contains("imported 1 recording with 2 events of 2 files"), "{said}");
    assert!(said.contains("a.json: cannot read ") && said.contains("No such file"), "{said}");
    assert_eq!(ids(&data), ["one"]);
    let (is_ok, _, said) = run(&["import", text(&data), "--data", text(&data)]);
    assert!(!is_ok && said.contains("data is a store") && said.contains("hint: `reelcase merge`"), "{said}");
}

#[test]
fn the_zip_of_posthogs_staff_comes_in_with_all_that_is_in_it() {
    const ID: &str = "019ac5f6-f0e5-7fcc-b32c-e48b1b64477b";
    let dir = tempfile::tempdir().unwrap();
    let (data, lines, cut) = (dir.path().join("data"), dir.path().join("lines"), dir.path().join("cut.zip"));
    let zip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/posthog-staff.zip");
    new_store(&data);
    let import = |file: &Path| run(&["import", text(file), "--data", text(&data), "--project", "phc_mine"]);
    let (is_ok, _, said) = import(&zip);
    assert!(is_ok && said.contains("imported 1 recording with 4 events"), "{said}");
    let (_, shown, _) = run(&["show", ID, "--data", text(&data)]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["project"], &shown["analytics_event_count"]), (&"phc_mine".into(), &2.into()), "{shown}");
    assert_eq!((&shown["posthog"]["click_count"], &shown["posthog"]["duration"]), (&1.into(), &12.into()), "{shown}");
    assert_eq!(shown["person"]["properties"]["email"], "ada@shop.test", "{shown}");
    assert!(import(&zip).2.contains("1 is there already"));

    assert!(run(&["convert", text(&zip), text(&lines), "--format", "jsonl"]).0);
    let bytes = std::fs::read(&zip).unwrap();
    let piped = piped(&["convert", "-", "-", "--format", "jsonl"], &bytes);
    assert_eq!((std::fs::read_to_string(&lines).unwrap(), piped.lines().count()), (piped, 4));

    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (is_ok, _, said) = import(&cut);
    let expected = format!("byte {}: the zip ends before its directory", bytes.len() / 2);
    assert!(!is_ok && said.contains("left alone") && said.contains(&expected), "{said}");
}

/// What the command prints for what it is given.
fn piped(arguments: &[&str], input: &[u8]) -> String {
    let mut command = reelcase();
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Lines that hardly compress, of a few blocks.
fn noise() -> String {
    let mut state = 7_u64;
    let mut letters = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    let mut event = |at: u64| {
        let text: String = (0..3_000).map(|_| letters()).collect();
        format!("[\"w\",{{\"type\":5,\"timestamp\":{},\"data\":{{\"tag\":\"{text}\"}}}}]\n", 1_795_226_820_000 + at)
    };
    (0..200).map(&mut event).collect()
}

/// A recording, as it is and encrypted, and the link of that.
fn encrypted(dir: &Path) -> (PathBuf, PathBuf, String) {
    let (plain, path) = (dir.join("plain.reel"), dir.join("0a.reel.enc"));
    let events = dir.join("events.jsonl");
    std::fs::write(&events, noise()).unwrap();
    assert!(run(&["convert", text(&events), text(&plain), "--id", "shop"]).0);
    let key = Key::new([9; 32]);
    let mut writer = EncryptedWriter::new(Vec::new(), &key, [3; 16]).unwrap();
    writer.write_all(&std::fs::read(&plain).unwrap()).unwrap();
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    (plain, path, format!("https://static.example.com/replay.html#file=0a.reel.enc&key={}", key.as_text()))
}

#[test]
fn text_that_never_was_a_recording_is_counted_and_json_that_ends_too_early_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    new_store(&data);
    for (text_of, expected) in [
        ("hello", "nothing"),
        ("hi\n", "nothing"),
        ("a,b\n1,2\n", "nothing"),
        ("#\tnotes", "nothing"),
        ("[{\"type\":4", "damaged"),
        ("\n\n [{\"type\":4", "damaged"),
        ("\u{1}\u{2}\u{3}\u{4}", "damaged"),
    ] {
        let file = dir.path().join("file");
        std::fs::write(&file, text_of).unwrap();
        let (_, said, _) = run(&["import", text(&file), "--data", text(&data), "--dry-run"]);
        assert!(said.starts_with(expected), "{text_of:?}: {said}");
    }
}

#[test]
fn what_is_for_others_is_named_and_costs_the_rest_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (binary, data, from) = (path("reelcase"), path("data"), path("from"));
    // Somebody else runs it. The binary is copied, because that somebody may not look into ours.
    std::fs::copy(env!("CARGO_BIN_EXE_reelcase"), &binary).unwrap();
    std::fs::create_dir_all(from.join("closed")).unwrap();
    let event = r#"[{"type":4,"timestamp":1795226820000,"data":{"href":"http://a.test/","width":1,"height":1}}]"#;
    for name in ["a.json", "b.json", "closed/c.json", "z.json"] {
        std::fs::write(from.join(name), format!(r#"{{"sessionId":"{}","events":{event}}}"#, &name[..1])).unwrap();
    }
    Server::start(&data).stop();
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(from.join("b.json"), closed.clone()).unwrap();
    std::fs::set_permissions(from.join("closed"), closed).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Command::new("chown").args(["-R", "65534", text(&data)]).status().unwrap().success());
    for keeps in [&[][..], &["--keep-partial"]] {
        let mut import = Command::new(&binary);
        import.args(["import", text(&from), "--data", text(&data)]).args(keeps).uid(65_534).gid(65_534);
        let done = import.output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{said}");
        for name in ["b.json", "closed"] {
            let path = from.join(name);
            let what = format!("left alone: {0}: cannot read {0}: Permission denied (os error 13)\n", path.display());
            assert!(said.contains(&what), "{said}");
        }
        assert!(said.contains(" 2 left alone, 0 in part\n"), "{said}");
        assert!(!said.contains("hint: --keep-partial") && !said.contains("missing"), "neither helps nor holds: {said}");
    }
    assert_eq!(ids(&data).len(), 2);
}

#[tokio::test]
async fn an_encrypted_file_opens_with_its_key_which_nobody_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, file, link) = encrypted(dir.path());
    let key = link.rsplit('=').next().unwrap();
    let lines_of = |file: &Path, more: &[&str]| {
        let (is_ok, lines, said) = run(&[&["convert", text(file), "-", "--format", "jsonl"], more].concat());
        assert!(!said.contains(key), "{said}");
        (is_ok, lines, said)
    };
    let expected = lines_of(&plain, &[]).1;
    for given in [key, link.as_str()] {
        assert_eq!(lines_of(&file, &["--key", given]).1, expected);
    }
    let of_pipe = piped(&["convert", "-", "-", "--format", "jsonl", "--key", key], &std::fs::read(&file).unwrap());
    assert_eq!(of_pipe, expected);
    let of_environment =
        reelcase().env("REELCASE_KEY", key).args(["convert", text(&file), "-", "--format", "jsonl"]).output();
    assert_eq!(of_environment.unwrap().stdout, expected.as_bytes());
    let other = Key::new([8; 32]).as_text();
    for (given, said_of_it) in [
        (&[][..], "hint: --key takes its key"),
        (&["--key", &other], "the key does not fit this file"),
        (&["--key", "s3cret-and-wrong"], "--key is no key"),
    ] {
        let (is_ok, _, said) = lines_of(&file, given);
        assert!(!is_ok && said.contains(said_of_it), "{said}");
        assert!(!said.contains(&other) && !said.contains("s3cret"), "{said}");
    }

    let server = Server::open_with(&[&file], &["--key", &link]);
    let opened = server.api("/api/recordings").await;
    assert_eq!(opened["recordings"][0]["id"], "shop", "{opened}");
}

#[test]
fn an_encrypted_file_is_imported_and_what_is_left_of_one_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file, link) = encrypted(dir.path());
    let data = dir.path().join("data");
    new_store(&data);
    let whole = std::fs::read(&file).unwrap();
    let cut = dir.path().join("cut.reel.enc");
    std::fs::write(&cut, &whole[..whole.len() - 20_000]).unwrap();
    assert!(whole.len() > 1 << 20);
    let import = |file: &Path, more: &[&str]| run(&[&["import", text(file), "--data", text(&data)], more].concat());

    let (is_ok, _, said) = import(&file, &[]);
    assert!(!is_ok && said.contains("it is encrypted; import it with --key"), "{said}");
    let (is_ok, _, said) = import(&cut, &["--key", &link]);
    assert!(!is_ok && said.contains("was changed, or the file is cut off"), "{said}");
    assert_eq!(ids(&data), Vec::<String>::new());
    let (is_ok, _, said) = import(&cut, &["--key", &link, "--keep-partial"]);
    assert!(!is_ok && said.contains("1 in part"), "{said}");
    let (is_ok, lines, said) = run(&["convert", text(&cut), "-", "--format", "jsonl", "--key", &link]);
    assert!(!is_ok && !lines.is_empty() && said.contains("damaged at byte "), "{said}");

    let data = dir.path().join("other");
    new_store(&data);
    let (is_ok, _, said) = run(&["import", text(&file), "--data", text(&data), "--key", &link]);
    assert!(is_ok && said.contains("imported 1 recording"), "{said}");
    assert_eq!(ids(&data), ["shop"]);
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
