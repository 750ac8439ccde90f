//! Real uploads of real posthog-js versions, sent as recorded: each capture ends as recordings whose figures are those
//! that an independent decoder computed.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use common::{Server, corpus};
use serde_json::Value;

#[tokio::test]
async fn every_capture_ends_as_its_recordings() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let manifest: Value = serde_json::from_slice(&std::fs::read(corpus("posthog-js/manifest.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for capture in manifest["captures"].as_array().unwrap() {
        server.send_capture(capture).await;
        for (session, expected) in capture["expected"]["per_session"].as_object().unwrap() {
            wrong.extend(compare(&server, capture["id"].as_str().unwrap(), session, expected).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop();
    rebuilt_catalog_lists_the_same(dir.path());
}

/// The listing of a rebuilt catalog is that of the one it replaces, byte for byte.
fn rebuilt_catalog_lists_the_same(data: &std::path::Path) {
    let ls = || {
        let output = common::reelcase().args(["ls", "--json", "--data"]).arg(data).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<Value> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() >= 46);
        lines
    };
    let before = ls();
    assert!(common::reelcase().arg("rebuild").arg("--data").arg(data).status().unwrap().success());
    assert_eq!(before, ls());
}

async fn compare(server: &Server, capture: &str, session: &str, expected: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |name: &str, found: Value, expected: &Value| {
        if found != *expected {
            wrong.push(format!("{capture} {session}: {name} is {found}, expected {expected}"));
        }
    };
    if expected["rrweb_events"].as_u64() == Some(0) {
        return wrong;
    }
    let recording = server.api(&format!("/api/recordings/{session}")).await;
    check("event_count", recording["event_count"].clone(), &expected["rrweb_events"]);
    check("duration_ms", recording["duration_ms"].clone(), &expected["duration_ms"]);
    check("start_ms", recording["start_ms"].clone(), &expected["first_ts"]);
    check("end_ms", recording["end_ms"].clone(), &expected["last_ts"]);
    check("keypress_count", recording["keypress_count"].clone(), &expected["input_events"]);
    let level =
        |names: &[&str]| -> u64 { names.iter().filter_map(|name| expected["console_by_level"][*name].as_u64()).sum() };
    check("console_error_count", recording["console_error_count"].clone(), &level(&["error", "assert"]).into());
    check("console_warn_count", recording["console_warn_count"].clone(), &level(&["warn", "countReset"]).into());
    let mouse = |names: &[&str]| -> u64 {
        names.iter().filter_map(|name| expected["mouse_interactions"][*name].as_u64()).sum()
    };
    let clicks = mouse(&["Click", "ContextMenu", "DblClick", "TouchEnd"]);
    check("click_count", recording["click_count"].clone(), &clicks.into());
    let analytics: u64 =
        expected["analytics_events"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    check("analytics_event_count", recording["analytics_event_count"].clone(), &analytics.into());
    let lines = server.lines(session).await;
    check("lines", lines.len().into(), &expected["rrweb_events"]);
    let bytes: u64 = lines.iter().map(|line| line["event_bytes"].as_u64().unwrap()).sum();
    check("rrweb_json_bytes", bytes.into(), &expected["rrweb_json_bytes"]);
    check("compressed events", lines.iter().filter(|line| line["has_cv"] == true).count().into(), &0.into());
    let is_sorted = lines.is_sorted_by_key(|line| line["timestamp"].as_i64());
    check("sorted by time", is_sorted.into(), &true.into());
    wrong
}
