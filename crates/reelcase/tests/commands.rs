//! The commands as a shell user meets them: what they print, refuse and answer.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::path::Path;
use std::process::Output;

use common::{Server, reelcase};

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
    let done = reelcase().arg("convert").arg(&json).arg("--output").arg(&reel).args(["--id", "mine"]).output().unwrap();
    let talk = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(0), 0));
    assert_eq!(talk, "converted 2 events of 1 windows over 0.0 s: recording mine\n");
    assert!(run(&["verify"], &reel).status.success());
    let stdin = std::fs::File::open(&json).unwrap();
    let piped = reelcase().args(["convert", "-", "--output", "-", "--id", "mine"]).stdin(stdin).output().unwrap();
    assert_eq!(piped.stdout, std::fs::read(&reel).unwrap());
}

#[test]
fn what_cannot_be_converted_is_named_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    let convert = |text: &[u8]| {
        std::fs::write(&json, text).unwrap();
        let done = reelcase().arg("convert").arg(&json).arg("--output").arg(&reel).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap(), reel.exists())
    };
    let (code, message, is_there) = convert(b"[]");
    assert!(code == Some(1) && message.contains("events.json: there are no rrweb events in it") && !is_there);
    let (code, message, is_there) = convert(b"hello");
    assert!(code == Some(1) && message.contains("byte 0, event 0: expected a value") && !is_there, "{message}");
    // What was read before the damage is kept, and the exit code tells.
    let (code, message, is_there) = convert(&EVENTS.as_bytes()[..EVENTS.len() - 9]);
    assert!(code == Some(1) && message.contains("damaged at byte") && is_there, "{message}");
    let (code, message, _) = convert(&std::fs::read(&reel).unwrap());
    assert!(code == Some(1) && message.contains("this is a .reel file already"), "{message}");
    let refused = reelcase().args(["convert", "-", "--output", "-", "--id", "a/b"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn files_of_both_kinds_open_together() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    std::fs::write(&json, EVENTS).unwrap();
    assert!(
        reelcase().arg("convert").arg(&json).arg("-o").arg(&reel).args(["--id", "mine"]).status().unwrap().success()
    );
    let server = Server::open(&[&json, &reel]);
    let found = server.api("/api/recordings").await;
    let recordings = found["recordings"].as_array().unwrap();
    assert_eq!(recordings.len(), 2);
    assert!(recordings.iter().any(|recording| recording["id"] == "mine"));
    assert!(recordings.iter().all(|recording| recording["event_count"] == 2));
}
