//! Tables in Parquet follow a store, and give back what they were made of. What other programs read in them is checked by
//! `tables/check.py`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::{Server, corpus, files_below, reelcase, run, text};
use serde_json::{Value, json};

/// An upload of one recording that began on a day of November 2026.
async fn send(server: &Server, id: &str, day: i64, marker: u64) {
    let at_ms = 1_793_491_200_000 + (day - 1) * 86_400_000;
    let event = json!({ "type": 5, "data": { "tag": "n", "payload": marker }, "timestamp": at_ms + marker as i64 });
    let properties = json!({ "token": "phc_test", "distinct_id": "ada", "$session_id": id, "$window_id": "w",
        "$snapshot_data": [event] });
    let upload = json!([{ "event": "$snapshot", "uuid": format!("01a1fbdb-8270-7135-{marker:04x}-{:012x}", id.as_bytes()[0]), "properties": properties }]);
    let url = format!("{}/s/", server.url);
    let reply = reqwest::Client::new().post(url).body(upload.to_string()).send().await.unwrap();
    assert!(reply.status().is_success());
}

/// The files of the tables, below their folder, and when each was written.
fn parts(dir: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let files = files_below(dir).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    files
        .map(|path| (path.strip_prefix(dir).unwrap().to_owned(), path.metadata().unwrap().modified().unwrap()))
        .collect()
}

fn days(parts: &BTreeMap<PathBuf, SystemTime>) -> Vec<String> {
    let of_snapshots = parts.keys().filter(|path| path.starts_with("snapshots"));
    of_snapshots.map(|path| path.iter().nth(1).unwrap().to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn tables_follow_a_store_and_leave_alone_what_has_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, to) = (dir.path().join("data"), dir.path().join("to"));
    let server = Server::start(&data);
    for (id, day) in [("a", 1), ("b", 1), ("c", 2)] {
        send(&server, id, day, 1).await;
    }
    let export = || {
        run(&["export", "--server", &server.url, "--token", &server.token, "--to", text(&to), "--format", "parquet"])
    };
    // An export seals what waits.
    server.api("/api/recordings/a").await;
    server.api("/api/recordings/b").await;
    server.api("/api/recordings/c").await;
    let (is_ok, said) = export();
    assert!(is_ok && said.contains("exported 3 recordings") && said.contains("3 recordings in 2 parts"), "{said}");
    let first = parts(&to);
    assert_eq!((first.len(), days(&first)), (6, vec!["date=2026-11-01".to_owned(), "date=2026-11-02".to_owned()]));
    let (is_ok, said) = export();
    assert!(is_ok && said.contains("exported 0 recordings") && said.contains("3 unchanged"), "{said}");
    assert_eq!(parts(&to), first);

    send(&server, "a", 1, 2).await;
    send(&server, "d", 3, 1).await;
    server.api("/api/recordings/a").await;
    server.api("/api/recordings/d").await;
    let (is_ok, said) = export();
    assert!(is_ok && said.contains("4 recordings in 3 parts"), "{said}");
    let second = parts(&to);
    assert_eq!(days(&second), ["date=2026-11-01", "date=2026-11-02", "date=2026-11-03"]);
    for (path, written_at) in &first {
        let is_of_the_second = path.to_str().unwrap().contains("11-02");
        assert_eq!(second.get(path) == Some(written_at), is_of_the_second, "{}", path.display());
    }

    // A run that was killed leaves files that no manifest names, and somebody deleted one that it does.
    let gone =
        to.join(second.keys().find(|path| path.to_str().unwrap().contains("snapshots/date=2026-11-02")).unwrap());
    std::fs::remove_file(&gone).unwrap();
    let unknown = to.join("events/date=2026-11-02/part-0123456789abcdef.parquet");
    let others = to.join("events/date=2026-11-02/notes.txt");
    std::fs::write(&unknown, "half").unwrap();
    std::fs::write(&others, "mine").unwrap();
    let (is_ok, said) = export();
    assert!(is_ok && said.contains("exported 1 recording"), "{said}");
    assert!(gone.exists() && others.exists() && !unknown.exists());
    server.stop();
}

#[tokio::test]
async fn snapshots_come_back_as_the_recordings_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, tables) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("tables"));
    let server = Server::start(&from);
    let manifest: Value = serde_json::from_slice(&std::fs::read(corpus("posthog-js/manifest.json")).unwrap()).unwrap();
    for capture in manifest["captures"].as_array().unwrap().iter().step_by(3) {
        server.send_capture(capture).await;
    }
    server.stop();
    Server::start(&to).stop();
    let (is_ok, said) = run(&["export", "--data", text(&from), "--to", text(&tables), "--format", "parquet"]);
    assert!(is_ok, "{said}");
    let (is_ok, said) = run(&["import", text(&tables), "--data", text(&to)]);
    assert!(is_ok, "{said}");
    let list = |data: &Path| -> Vec<Value> {
        let rows = run(&["ls", "--json", "--data", text(data)]).1;
        rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (sent, came) = (list(&from), list(&to));
    let lines = |data: &Path, id: &str| {
        reelcase().args(["export", id, "--format", "jsonl", "--data"]).arg(data).output().unwrap().stdout
    };
    let mut compared = 0;
    for row in sent.iter().filter(|row| row["event_count"] != 0) {
        let id = row["id"].as_str().unwrap();
        let back = came.iter().find(|came| came["id"] == id).unwrap_or_else(|| panic!("{id} is missing"));
        assert_eq!((&row["project"], &row["event_count"]), (&back["project"], &back["event_count"]), "{id}");
        assert!(lines(&from, id) == lines(&to, id), "{id}");
        compared += 1;
    }
    assert!(compared > 10);
    let (is_ok, said) = run(&["import", text(&tables), "--data", text(&to)]);
    assert!(is_ok && said.contains("imported 0 recordings"), "{said}");

    let part = files_below(&tables.join("snapshots")).remove(0);
    let (is_ok, said) = run(&["convert", text(&part), text(&dir.path().join("one.jsonl"))]);
    assert!(is_ok && said.contains("converted"), "{said}");
    let bytes = std::fs::read(&part).unwrap();
    let torn = dir.path().join("torn.parquet");
    for cut in [5, bytes.len() / 2, bytes.len() - 3] {
        std::fs::write(&torn, &bytes[..cut]).unwrap();
        let (is_ok, said) = run(&["import", text(&torn), "--data", text(&to)]);
        assert!(!is_ok && said.contains("left alone") && said.contains("cannot be read as Parquet"), "{cut}: {said}");
        let (is_ok, said) = run(&["convert", text(&torn), text(&dir.path().join("one.jsonl"))]);
        let causes = said.matches("Parquet error").count() + said.matches("EOF:").count();
        assert!(!is_ok && causes == 1, "the cause, once: {said}");
    }
}
