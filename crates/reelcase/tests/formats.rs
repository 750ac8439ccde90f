//! Recordings in and out of other forms, one and many, as a shell user meets it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use common::{Server, corpus, files_below, reelcase, text};
use serde_json::Value;

const FORMATS: [&str; 13] = [
    "reel",
    "html",
    "jsonl",
    "jsonl-gzip",
    "jsonl-zstd",
    "rrweb",
    "rrweb-packed",
    "posthog",
    "seeds",
    "seeds-gzip",
    "har",
    "console",
    "console-csv",
];

fn run(arguments: &[&str]) -> Output {
    let done = reelcase().args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done
}

/// Sends `count` recordings, or the further events that this `round` has of them.
async fn send(server: &Server, count: usize, round: u64) {
    for number in 0..count {
        let at = 1_795_226_820_000 + round * 1_000 + number as u64 * 86_400_000;
        let events = format!(
            r#"{{"type":4,"data":{{"href":"http://site.test/{number}","width":8,"height":6}},"timestamp":{at}}},
            {{"type":6,"data":{{"plugin":"rrweb/console@1","payload":{{"level":"error","payload":["\"oh\""],"trace":[]}}}},"timestamp":{at}}},
            {{"type":2,"data":{{"node":{{"type":0,"id":1,"childNodes":[]}},"initialOffset":{{"top":0,"left":0}}}},"timestamp":{at}}}"#
        );
        let id = uuid::Uuid::from_u128(u128::from(round) << 64 | number as u128);
        let body = format!(
            r#"[{{"uuid":"{id}","event":"$snapshot","properties":{{"$session_id":"rec-{number}","$window_id":"w",
            "token":"phc_formats","distinct_id":"d","$snapshot_data":[{events}]}}}}]"#
        );
        let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        assert_eq!(server.api(&format!("/api/recordings/rec-{number}")).await["id"], format!("rec-{number}"));
    }
}

#[test]
fn a_recording_goes_through_every_form_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let recorded = corpus("rrweb/recorded/posthog-rrweb-0.0.59-shop.json");
    run(&["convert", text(&recorded), text(&file("first.reel")), "--id", "mine"]);
    run(&["convert", text(&file("first.reel")), text(&file("first.jsonl"))]);
    let lines = std::fs::read_to_string(file("first.jsonl")).unwrap();
    for format in FORMATS {
        let there = file(&format!("there-{format}"));
        run(&["convert", text(&file("first.reel")), text(&there), "--format", format]);
        if ["har", "console", "console-csv"].contains(&format) {
            continue;
        }
        run(&["convert", text(&there), text(&file("back.jsonl"))]);
        let back = std::fs::read_to_string(file("back.jsonl")).unwrap();
        let back = back.replace(r#","v":"v1"}]"#, "}]").replace(r#","windowId":"main"}]"#, "}]");
        assert!(back == lines, "{format} brings something else back");
    }
    // A reel is read from its end, so a pipe of one is kept first.
    let pipe = std::fs::File::open(file("first.reel")).unwrap();
    let piped = reelcase().args(["convert", "-", "-", "--format", "jsonl"]).stdin(pipe).output().unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), lines);
    let told = String::from_utf8(run(&["convert", text(&file("first.reel")), text(&file("a.har"))]).stderr).unwrap();
    assert!(told.contains("recording mine") && told.contains("left out: ") && told.contains("no requests"), "{told}");
}

#[test]
fn a_page_is_imported_as_the_reel_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (page, data) = (dir.path().join("visit.html"), dir.path().join("data"));
    run(&["convert", text(&corpus("rrweb/recorded/posthog-rrweb-0.0.59-shop.json")), text(&page), "--id", "mine"]);
    Server::start(&data).stop();
    let import = || String::from_utf8(run(&["import", text(&page), "--data", text(&data)]).stderr).unwrap();
    let (first, second) = (import(), import());
    assert!(first.contains("imported 1 recording with 428 events"), "{first}");
    assert!(second.contains("imported 0 recordings") && second.contains("1 is there already"), "{second}");
    let verified = String::from_utf8(run(&["verify", text(&page)]).stdout).unwrap();
    assert!(verified.contains("whole: 1 recording"), "{verified}");
}

#[tokio::test]
async fn the_store_and_the_server_export_every_form_alike() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    send(&server, 1, 0).await;
    let export =
        |place: &[&str], format: &str| run(&[&["export", "rec-0", "--format", format][..], place].concat()).stdout;
    let from_server: Vec<Vec<u8>> =
        FORMATS.map(|format| export(&["--server", &server.url, "--token", &server.token], format)).into();
    server.stop();
    for (format, sent) in FORMATS.iter().zip(&from_server) {
        assert!(!sent.is_empty());
        let kept = export(&["--data", text(&data)], format);
        assert!(kept == *sent || ["reel", "html"].contains(format), "{format}");
    }
    let posthog: Value = serde_json::from_slice(&from_server[7]).unwrap();
    assert_eq!(posthog["data"]["person"]["distinct_ids"][0], "d");
    assert_eq!(posthog["data"]["snapshots"][0]["windowId"], "w");
    assert!(String::from_utf8_lossy(&from_server[12]).contains(r#","error","oh","#));
}

/// Exports all from a server; what it said.
fn export_all(server: &Server, to: &Path, more: &[&str]) -> String {
    let place = ["export", "--server", &server.url, "--token", &server.token, "--to", text(to)];
    String::from_utf8(run(&[&place, more].concat()).stderr).unwrap()
}

#[tokio::test]
async fn a_second_run_exports_only_what_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let to = dir.path().join("to");
    send(&server, 5, 0).await;
    let told = export_all(&server, &to, &["--format", "jsonl"]);
    assert!(told.contains("exported 5 recordings") && told.contains("0 unchanged"), "{told}");
    let first = to.join("phc_formats/2026-11-21/rec-0.jsonl");
    let modified = std::fs::metadata(&first).unwrap().modified().unwrap();
    let told = export_all(&server, &to, &["--format", "jsonl"]);
    assert!(told.contains("exported 0 recordings") && told.contains("5 unchanged"), "{told}");
    assert_eq!(std::fs::metadata(&first).unwrap().modified().unwrap(), modified);
    send(&server, 1, 1).await;
    let told = export_all(&server, &to, &["--format", "jsonl"]);
    assert!(told.contains("exported 1 recording") && told.contains("4 unchanged"), "{told}");
    assert_eq!(std::fs::read_to_string(&first).unwrap().lines().count(), 6);
    let checked =
        Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&to).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let manifest = std::fs::read_to_string(to.join("manifest.jsonl")).unwrap();
    let counts: Vec<_> =
        manifest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event_count"].as_u64()).collect();
    assert_eq!(counts, [6, 3, 3, 3, 3].map(Some));
    // What is asked for decides; another form is another file beside the first.
    let told = export_all(&server, &to, &["--format", "har", "--where", "url=site.test/3", "--since", "2026-11-23"]);
    assert!(told.contains("exported 1 recording") && told.contains("6 files"), "{told}");
    assert!(to.join("phc_formats/2026-11-24/rec-3.har").exists());
    let wrong =
        ["export", "--server", &server.url, "--token", &server.token, "--to", text(&to), "--where", "colour=red"];
    let refused = reelcase().args(wrong).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("colour"));
    server.stop();
    let data = dir.path().join("data");
    let told =
        String::from_utf8(run(&["export", "--data", text(&data), "--to", text(&to), "--format", "jsonl"]).stderr)
            .unwrap();
    assert!(told.contains("exported 0 recordings") && told.contains("5 unchanged"), "the store says the same: {told}");
}

/// What a file is, and when it was written: one that is written anew is another, whatever is in it.
fn state(file: &Path) -> (Vec<u8>, SystemTime, u64) {
    let there = std::fs::metadata(file).unwrap();
    (std::fs::read(file).unwrap(), there.modified().unwrap(), there.ino())
}

#[tokio::test]
async fn a_run_that_finds_nothing_new_leaves_the_books_of_a_directory_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    send(&server, 3, 0).await;
    for (format, books) in [("jsonl", &["manifest.jsonl", "SHA256SUMS"][..]), ("parquet", &["tables.jsonl"])] {
        let to = dir.path().join(format);
        export_all(&server, &to, &["--format", format]);
        let states = || books.iter().map(|book| state(&to.join(book))).collect::<Vec<_>>();
        let before = states();
        let told = export_all(&server, &to, &["--format", format]);
        assert!(told.contains("exported 0 recordings") && told.contains("3 unchanged"), "{told}");
        assert!(states() == before, "{format}");
    }
}

/// Sends an analytics event of a recording.
async fn send_analytics(server: &Server, recording: &str) {
    let body = format!(
        r#"[{{"uuid":"{}","event":"$pageview","timestamp":"2026-11-21T02:07:00Z","properties":{{"$session_id":"{recording}",
        "token":"phc_formats","distinct_id":"d"}}}}]"#,
        uuid::Uuid::from_u128(1 << 100)
    );
    let sent = reqwest::Client::new().post(format!("{}/e/", server.url)).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    assert_eq!(server.api(&format!("/api/recordings/{recording}")).await["analytics_event_count"], 1);
}

#[tokio::test]
async fn what_a_form_has_no_place_for_is_counted_over_a_run_and_said_once_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    send(&server, 3, 0).await;
    send_analytics(&server, "rec-1").await;
    let left_out = |format: &str, place: &[&str]| {
        let said = String::from_utf8(run(&[&["export", "--format", format], place].concat()).stderr).unwrap();
        let mut lines: Vec<_> =
            said.lines().filter_map(|line| Some(line.strip_prefix("left out: ")?.to_owned())).collect();
        lines.sort();
        lines
    };
    let forms = [
        ("har", &["1 analytics event", "9 events that are no requests"][..], [3, 4, 3]),
        ("console", &["1 analytics event", "6 events that are no messages of the console"], [2, 3, 2]),
        ("jsonl", &["1 analytics event"], [0, 1, 0]),
        ("reel", &[], [0, 0, 0]),
        ("html", &[], [0, 0, 0]),
    ];
    let check = |place: &[&str], name: &str| {
        for (format, expected, counts) in forms {
            let to = dir.path().join(format!("{name}-{format}"));
            assert_eq!(left_out(format, &[place, &["--to", text(&to)]].concat()), expected, "{name}");
            let manifest = std::fs::read_to_string(to.join("manifest.jsonl")).unwrap();
            let lines = manifest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let counted: Vec<_> = lines.map(|line| line["left_out_count"].as_u64().unwrap_or_default()).collect();
            assert_eq!(counted, counts, "{name}, {format}: {manifest}");
            assert_eq!(manifest.matches("left_out_count").count(), counts.iter().filter(|count| **count > 0).count());
            let again = left_out(format, &[place, &["--to", text(&to)]].concat());
            assert!(again.is_empty(), "what is not written anew leaves nothing out: {again:?}");
            // One recording alone says the same.
            let file = dir.path().join("one");
            let of_one = left_out(format, &[place, &["rec-1", "--output", text(&file)]].concat());
            assert_eq!(
                (of_one.len(), of_one.first()),
                (expected.len(), expected.first().map(|line| (*line).to_owned()).as_ref())
            );
        }
    };
    check(&["--server", &server.url, "--token", &server.token], "server");
    server.stop();
    check(&["--data", text(&data)], "store");
}

#[tokio::test]
async fn a_killed_run_is_taken_up_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let to = dir.path().join("to");
    send(&server, 25, 0).await;
    let place = ["export", "--server", &server.url, "--token", &server.token, "--jobs", "1", "--to", text(&to)];
    let mut killed = reelcase().args(place).spawn().unwrap();
    let manifest = to.join("manifest.jsonl");
    let is_under_way = || std::fs::read_to_string(&manifest).is_ok_and(|lines| lines.lines().count() > 3);
    let since = Instant::now();
    while !is_under_way() && since.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let told = export_all(&server, &to, &[]);
    let unchanged: u64 = told.split("; ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(unchanged > 3 && told.contains(&format!("exported {} recordings", 25 - unchanged)), "{told}");
    let files = files_below(&to);
    let reels: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "reel")).collect();
    assert_eq!((reels.len(), files.len()), (25, 28), "nothing unfinished is left: {files:?}");
    let verified = reelcase().arg("verify").args(reels).output().unwrap();
    assert!(verified.status.success());
}

#[tokio::test]
async fn a_watch_outlasts_a_restart_of_the_server_and_one_that_is_not_there_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, to) = (dir.path().join("data"), dir.path().join("to"));
    let server = Server::start(&data);
    let (url, token) = (server.url.clone(), server.token.clone());
    let place = ["export", "--server", &url, "--token", &token, "--to"];
    send(&server, 1, 0).await;
    let mut watch = reelcase().args(place).arg(&to).args(["--watch", "1"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(watch.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("exported 1 recording")));
    server.stop();
    assert!(said.any(|line| line.starts_with("not exported, and tried again: cannot reach ")));
    let nothing = dir.path().join("nothing");
    let refused = reelcase().args(place).arg(&nothing).output().unwrap();
    assert!(!refused.status.success() && !nothing.exists());
    let server = Server::start_on(&data, url.strip_prefix("http://").unwrap());
    send(&server, 2, 0).await;
    assert!(said.any(|line| line.contains("exported 1 recording")), "what came since is exported");
    watch.kill().unwrap();
    watch.wait().unwrap();
    server.stop();
}
