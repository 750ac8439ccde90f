//! Recordings go into a PostHog as their pages would have sent them: to this program, and to a stand-in that knows
//! PostHog's rules and nothing of this program.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Server, corpus, reelcase, run, text};
use reelcase_format::json::{elements, member};
use serde_json::Value;

/// `standin/posthog_capture.py`.
struct Posthog {
    child: Child,
    url: String,
}

impl Posthog {
    fn start(manner: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin/posthog_capture.py");
        let mut command = Command::new("python3");
        let mut child = command.arg(script).arg(manner).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }

    async fn state(&self) -> Value {
        let reply = reqwest::get(&self.url).await.unwrap();
        serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap()
    }
}

impl Drop for Posthog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Recordings of real recorders in a store, moved in time so that each began an hour ago.
fn a_store(data: &Path, dir: &Path, count: usize) {
    Server::start(data).stop();
    let mut files = common::files_below(&corpus("rrweb/recorded"));
    let is_recording = |name: &str| name.ends_with("-shop.json");
    files.retain(|path| is_recording(path.file_name().unwrap().to_str().unwrap()));
    files.sort();
    let an_hour_ago_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64 - 3_600_000;
    for (number, path) in files.iter().take(count).enumerate() {
        let text_of = std::fs::read_to_string(path).unwrap();
        let (mut first_ms, mut lines) = (None, String::new());
        for (at, event) in elements(text_of.as_bytes()).enumerate() {
            let event = std::str::from_utf8(event).unwrap();
            let stamp = std::str::from_utf8(member(event.as_bytes(), "timestamp").unwrap()).unwrap();
            let moment_ms: i64 = stamp.parse().unwrap();
            let moved_ms = moment_ms - *first_ms.get_or_insert(moment_ms) + an_hour_ago_ms;
            let [from, to] = [stamp, &moved_ms.to_string()].map(|moment| format!("\"timestamp\":{moment}"));
            // Two windows, as if it had been looked at in two tabs.
            let window = if at % 7 == 6 { "tab-2" } else { "tab-1" };
            writeln!(lines, "[\"{window}\",{}]", event.replace(&from, &to)).unwrap();
        }
        let (file, reel) = (dir.join(format!("{number}.jsonl")), dir.join(format!("{number}.reel")));
        std::fs::write(&file, lines).unwrap();
        assert!(run(&["convert", text(&file), text(&reel), "--id", &format!("again-{number}")]).0);
        assert!(run(&["import", text(&reel), "--data", text(data)]).0);
    }
}

fn resend(data: &Path, to: &str, dir: &Path, more: &[&str]) -> Command {
    let mut command = reelcase();
    command.args(["resend", "--data", text(data), "--to", to, "--key", "phc_again", "--log"]).arg(dir.join("log"));
    command.args(more);
    command
}

fn said(command: &mut Command) -> (bool, String) {
    let done = command.output().unwrap();
    (done.status.success(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn a_posthog_that_is_not_there_is_not_looked_for_again_for_each_recording() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    a_store(&data, dir.path(), 3);
    let posthog = Posthog::start("kind");
    let url = posthog.url.clone();
    drop(posthog);
    let mut resend = reelcase();
    resend.args(["resend", "--data", text(&data), "--to", &url, "--key", "phc_x", "--log", text(&log)]);
    let done = resend.env("REELCASE_TEST_PAUSE_MS", "5").output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("\nerror: {url}/s/ failed 8 times: ")) && said.contains("refused"), "{said}");
    assert!(said.ends_with("\nhint: the same command takes it up where it ended\n"), "{said}");
    assert_eq!(said.matches(" failed 8 times").count(), 1, "{said}");
}

#[tokio::test]
async fn every_event_arrives_once_past_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other) = (dir.path().join("data"), dir.path().join("other"));
    a_store(&data, dir.path(), 3);
    let receiver = Server::start(&other);
    // Killed again and again, until a run has the time to end.
    let mut time = Duration::from_millis(40);
    loop {
        let mut child = resend(&data, &receiver.url, dir.path(), &[]).stderr(Stdio::null()).spawn().unwrap();
        let since = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if since.elapsed() > time => break None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if let Some(status) = status {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        time = time * 3 / 2;
    }
    let (is_ok, told) = said(&mut resend(&data, &receiver.url, dir.path(), &[]));
    assert!(is_ok && told.contains("sent 0 recordings") && told.contains("3 were sent before"), "{told}");
    // What is sent again, because somebody lost the log, is known by its id.
    std::fs::remove_file(dir.path().join("log")).unwrap();
    let (is_ok, told) = said(&mut resend(&data, &receiver.url, dir.path(), &[]));
    assert!(is_ok && told.contains("sent 3 recordings"), "{told}");
    let mut arrived = Vec::new();
    for number in 0..3 {
        arrived.push(receiver.lines(&format!("again-{number}")).await);
    }
    receiver.stop();
    let sender = Server::start(&data);
    for (number, arrived) in arrived.iter().enumerate() {
        let there = sender.lines(&format!("again-{number}")).await;
        let sorted = |lines: &[Value]| {
            let mut lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
            lines.sort();
            lines
        };
        assert!(there.len() > 20 && sorted(&there) == sorted(arrived), "recording {number}");
    }
}

#[tokio::test]
async fn posthogs_rules_are_kept_and_its_moods_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store(&data, dir.path(), 2);
    let posthog = Posthog::start("moody");
    let (is_ok, told) = said(&mut resend(&data, &posthog.url, dir.path(), &[]));
    assert!(is_ok && told.contains("sent 2 recordings"), "{told}");
    let state = posthog.state().await;
    let uploads = state["uploads"].as_array().unwrap();
    assert_eq!((&state["refused"], &state["dropped"]), (&serde_json::json!([]), &0.into()));
    assert!(uploads.len() >= 4 && state["requests"].as_u64().unwrap() > uploads.len() as u64);
    let ids: BTreeSet<_> = uploads.iter().map(|upload| upload["uuid"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), uploads.len(), "each once");
    let windows: BTreeSet<_> = uploads.iter().map(|upload| upload["window"].as_str().unwrap()).collect();
    assert_eq!(windows, BTreeSet::from(["tab-1", "tab-2"]));
}

#[tokio::test]
async fn what_is_too_old_is_left_alone_or_moved_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    Server::start(&data).stop();
    let file = dir.path().join("old.json");
    let old = r#"{"sessionId":"old","events":[{"type":4,"timestamp":1695226820000,"data":{"href":"http://a.test/","width":8,"height":6}},
        {"type":5,"timestamp":1695226830000,"data":{"tag":"t"}}]}"#;
    std::fs::write(&file, old).unwrap();
    assert!(run(&["import", text(&file), "--data", text(&data)]).0);
    let posthog = Posthog::start("kind");
    let (is_ok, told) = said(&mut resend(&data, &posthog.url, dir.path(), &["old"]));
    assert!(!is_ok && told.contains("it began 2023-09-20") && told.contains("hint: --shift-to-now"), "{told}");
    let (is_ok, told) = said(&mut resend(&data, &posthog.url, dir.path(), &["old", "--shift-to-now"]));
    assert!(is_ok && told.contains("3 events in 1 upload"), "{told}");
    let state = posthog.state().await;
    let events = &state["uploads"][0]["events"];
    let moment = |at: usize| events[at]["timestamp"].as_i64().unwrap();
    assert_eq!(events[0]["data"]["payload"]["start_ms"], 1_695_226_820_000_u64, "the true time stays readable");
    assert_eq!((state["dropped"].as_u64(), moment(2) - moment(1)), (Some(0), 10_000));
}

#[tokio::test]
async fn a_posthog_that_keeps_nothing_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store(&data, dir.path(), 1);
    let posthog = Posthog::start("quota");
    let (is_ok, told) = said(&mut resend(&data, &posthog.url, dir.path(), &[]));
    assert!(!is_ok && told.contains("quota of recordings is used up"), "{told}");
    assert_eq!(posthog.state().await["requests"], 1, "it stops at once");
}
