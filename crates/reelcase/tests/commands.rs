//! The commands as a shell user meets them: what they print, refuse and answer.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use common::{Server, files_below, reelcase};

const UPLOAD: &str = r#"[{"uuid":"01a1fbdb-8270-7135-9b23-544ab178fe70","event":"$snapshot","properties":{
    "$session_id":"one","$window_id":"w","token":"phc_commands","distinct_id":"d","$snapshot_data":[
    {"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
    {"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]}}]"#;

async fn a_server_with_one_recording(data: &Path) -> Server {
    let server = Server::start(data);
    let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(UPLOAD).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    server
}

fn run(arguments: &[&str], path: &Path) -> Output {
    reelcase().args(arguments).arg(path).output().unwrap()
}

#[tokio::test]
async fn a_held_store_is_refused_and_its_holder_named() {
    let dir = tempfile::tempdir().unwrap();
    let _server = a_server_with_one_recording(dir.path()).await;
    let refused = run(&["ls", "--data"], dir.path());
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(message.contains("held by process") && message.contains("reelcase serve"), "{message}");
}

#[tokio::test]
async fn a_recording_is_carried_away_verified_and_found_damaged() {
    let dir = tempfile::tempdir().unwrap();
    a_server_with_one_recording(dir.path()).await.stop();
    let file = dir.path().join("one.reel");
    let exported =
        reelcase().args(["export", "one", "--data"]).arg(dir.path()).arg("--output").arg(&file).status().unwrap();
    assert!(exported.success());
    assert!(run(&["verify"], &file).status.success());
    let lines = zstd::decode_all(std::fs::File::open(&file).unwrap()).unwrap();
    assert!(lines.starts_with(br#"["w",{"type":4,"#));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 60]).unwrap();
    let damaged = run(&["verify"], &file);
    let report = String::from_utf8(damaged.stdout).unwrap();
    assert_eq!(damaged.status.code(), Some(1));
    assert!(report.contains("damaged: 0 recordings, 1 blocks, 2 events readable"), "{report}");
}

/// A store of one recording in three objects, whose second block is damaged.
async fn a_store_with_a_damaged_block(data: &Path) {
    let server = Server::start(data);
    for (number, seconds) in (0..3).zip([20, 40, 60]) {
        let event = |ms: u64| format!(r#"{{"type":5,"timestamp":{},"data":{{"tag":"t"}}}}"#, 1795226800000 + ms);
        let events = format!("{},{}", event(seconds * 1_000), event(seconds * 1_000 + 500));
        let body = format!(
            r#"[{{"uuid":"01a1fbdb-8270-7135-9b23-544ab178fe7{number}","event":"$snapshot","properties":{{
            "$session_id":"one","$window_id":"w","token":"phc_commands","distinct_id":"d","$snapshot_data":[{events}]}}}}]"#
        );
        let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        assert_eq!(server.api("/api/recordings/one/blocks").await["blocks"].as_array().unwrap().len(), number + 1);
    }
    server.stop();
    let mut objects = files_below(&data.join("objects"));
    objects.retain(|path| path.extension().is_some_and(|ending| ending == "reel"));
    objects.sort();
    let mut bytes = std::fs::read(&objects[1]).unwrap();
    let frame = bytes.windows(4).position(|four| four == b"\x28\xb5\x2f\xfd").unwrap();
    bytes[frame + 12] ^= 1;
    std::fs::write(&objects[1], bytes).unwrap();
}

/// Timestamps of the lines, with `gap` where one stands for a damaged block.
fn moments(lines: &[u8]) -> Vec<String> {
    let lines = String::from_utf8(lines.to_vec()).unwrap();
    let moment = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line[0], "w");
        let event = &line[1];
        if event["data"]["tag"] != "reelcase.gap" {
            return (event["timestamp"].as_u64().unwrap() - 1795226800000).to_string();
        }
        let payload = &event["data"]["payload"];
        assert_eq!((&payload["start_ms"], &payload["event_count"]), (&event["timestamp"], &2.into()));
        assert_eq!((&payload["windows"][0], &payload["block"]), (&"w".into(), &0.into()));
        "gap".to_owned()
    };
    lines.lines().map(moment).collect()
}

#[tokio::test]
async fn a_damaged_block_is_a_gap_of_an_export_and_never_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store_with_a_damaged_block(&data).await;
    let export = |place: &[&str], form: &str| {
        let file = dir.path().join(form);
        let mut command = reelcase();
        command.args(["export", "one", "--format", form]).args(place).arg("--output").arg(&file);
        let done = command.output().unwrap();
        let talk = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(3), "{talk}");
        let named = "missing: 2 events from 2026-11-21T02:07:20Z to 2026-11-21T02:07:20.5Z, block 0 of object ";
        assert!(talk.contains("left out: 1;") && talk.contains(named), "{talk}");
        file
    };
    let expected = ["20000", "20500", "gap", "60000", "60500"];
    let check = |place: &[&str]| {
        assert_eq!(moments(&std::fs::read(export(place, "jsonl")).unwrap()), expected);
        let reel = export(place, "reel");
        assert_eq!(moments(&zstd::decode_all(std::fs::File::open(&reel).unwrap()).unwrap()), expected);
        assert!(run(&["verify"], &reel).status.success(), "what is left is a whole file");
    };
    check(&["--data", data.to_str().unwrap()]);
    let server = Server::start(&data);
    check(&["--server", &server.url, "--token", &server.token]);
}

#[tokio::test]
async fn limits_and_projects_are_settings_of_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = UPLOAD.len().to_string();
    let server = Server::start_with(dir.path(), "127.0.0.1:0", &["--body-bytes-max", &bytes, "--project", "phc_mine"]);
    let send = async |body: String| {
        reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap().status()
    };
    assert_eq!(send(UPLOAD.to_owned()).await, 200);
    assert_eq!(send(format!("{UPLOAD} ")).await, 413);
    let info = server.api("/api/info").await;
    assert!(info["projects"].as_array().unwrap().iter().any(|project| project["key"] == "phc_mine"), "{info}");
}

#[test]
fn limits_that_cannot_work_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, told) in [
        (["--body-bytes-max", "1GiB"], "--body-bytes-max can be"),
        (["--body-bytes-max", "20 elephants"], "unknown unit"),
        (["--inflated-bytes-in-flight-max", "1MiB"], "inflated-bytes-in-flight-max must be at least"),
        (["--project", "phx_personal"], "never a personal key"),
    ] {
        let mut command = reelcase();
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).arg("--data").arg(dir.path().join("store"));
        let refused = command.output().unwrap();
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && message.contains(told), "{arguments:?}: {message}");
    }
}

#[test]
fn only_a_limit_of_open_files_that_hurts_is_warned_of() {
    let start_under = |open_files: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit {open_files} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_reelcase")]);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.path());
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        std::process::Command::new("kill").arg(server.id().to_string()).status().unwrap();
        let done = server.wait_with_output().unwrap();
        assert!(done.status.success() && ready.contains("ready"), "{ready}");
        String::from_utf8(done.stderr).unwrap()
    };
    for enough in ["-n 20000", "-Hn 20000 && ulimit -Sn 1024"] {
        let log = start_under(enough);
        assert!(!log.contains("WARN"), "{enough}: {log}");
    }
    let log = start_under("-n 1024");
    assert!(log.contains("only 768 connections fit") && log.contains("LimitNOFILE"), "{log}");
}

#[test]
fn a_directory_without_a_store_is_named_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let refused = run(&["ls", "--data"], dir.path());
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("there is no store in") && message.contains("hint: "), "{message}");
}

const EVENTS: &str = r#"[{"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
    {"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]"#;

#[test]
fn rrweb_json_is_converted_from_a_file_and_through_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    std::fs::write(&json, EVENTS).unwrap();
    let done = reelcase().arg("convert").arg(&json).arg(&reel).args(["--id", "mine"]).output().unwrap();
    let talk = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(0), 0));
    assert_eq!(talk, "converted 2 events of 1 windows over 0.0 s: recording mine\n");
    assert!(run(&["verify"], &reel).status.success());
    let stdin = std::fs::File::open(&json).unwrap();
    let piped = reelcase().args(["convert", "-", "-", "--id", "mine"]).stdin(stdin).output().unwrap();
    assert_eq!(piped.stdout, std::fs::read(&reel).unwrap());
}

#[test]
fn what_cannot_be_converted_is_named_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    let convert = |text: &[u8]| {
        std::fs::write(&json, text).unwrap();
        let done = reelcase().arg("convert").arg(&json).arg(&reel).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap(), reel.exists())
    };
    let (code, message, is_there) = convert(b"[]");
    assert!(code == Some(1) && message.contains("events.json: there are no rrweb events in it") && !is_there);
    let (code, message, is_there) = convert(b"hello");
    assert!(code == Some(1) && message.contains("byte 0, event 0: expected a value") && !is_there, "{message}");
    // What was read before the damage is kept, and the exit code tells.
    let (code, message, is_there) = convert(&EVENTS.as_bytes()[..EVENTS.len() - 9]);
    assert!(code == Some(1) && message.contains("damaged at byte") && is_there, "{message}");
    let packed = zstd::encode_all(std::fs::File::open(&reel).unwrap(), 1).unwrap();
    let (code, message, _) = convert(&packed);
    assert!(code == Some(1) && message.contains("there is a .reel file in it"), "{message}");
    let refused = reelcase().args(["convert", "-", "-", "--id", "a/b"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn files_of_both_kinds_open_together() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    std::fs::write(&json, EVENTS).unwrap();
    assert!(reelcase().arg("convert").arg(&json).arg(&reel).args(["--id", "mine"]).status().unwrap().success());
    let server = Server::open(&[&json, &reel]);
    let found = server.api("/api/recordings").await;
    let recordings = found["recordings"].as_array().unwrap();
    assert_eq!(recordings.len(), 2);
    assert!(recordings.iter().any(|recording| recording["id"] == "mine"));
    assert!(recordings.iter().all(|recording| recording["event_count"] == 2));
}

/// Runs `reelcase settings` on the project `phc_commands`; the settings it prints, or what it says.
fn settings(place: &[&str], arguments: &[&str]) -> Result<serde_json::Value, String> {
    let done = reelcase().args(["settings", "phc_commands"]).args(arguments).args(place).output().unwrap();
    match done.status.success() {
        true => Ok(serde_json::from_slice(&done.stdout).unwrap()),
        false => Err(String::from_utf8(done.stderr).unwrap()),
    }
}

#[tokio::test]
async fn settings_are_shown_and_changed_in_a_store_and_on_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store_with_a_damaged_block(&data).await;
    let check = |place: &[&str]| {
        let file = dir.path().join("settings.json");
        std::fs::write(&file, r#"{"canvas":true}"#).unwrap();
        let replaced = settings(place, &["--file", file.to_str().unwrap()]).unwrap();
        assert_eq!(replaced, serde_json::json!({ "canvas": true }));
        let set = ["sample_rate=0.5", "block_selector=.card", r#"url_triggers=["/a"]"#, "trigger_match=any"];
        settings(place, &set).unwrap();
        settings(place, &["--reset", "canvas", "--reset", "trigger_match"]).unwrap();
        let expected = serde_json::json!({ "sample_rate": 0.5, "block_selector": ".card", "url_triggers": ["/a"] });
        assert_eq!(settings(place, &[]).unwrap(), expected);
        let refused = settings(place, &["sample_rate=2", "canvass=true"]).unwrap_err();
        assert!(refused.contains("sample_rate: must be a number from 0 to 1"), "{refused}");
        assert!(refused.contains("canvass: is no setting; the nearest is canvas"), "{refused}");
        assert_eq!(settings(place, &[]).unwrap(), expected);
    };
    check(&["--data", data.to_str().unwrap()]);
    let server = Server::start(&data);
    check(&["--server", &server.url, "--token", &server.token]);
}
