//! Recordings come out of PostHog's API whatever it answers, once each, with all that belongs to them.
//!
//! The PostHog is `standin/posthog_api.py`, which knows nothing of this program, and then this program itself.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Server, corpus, reelcase};
use serde_json::Value;

const KEY: &str = "phx_a_personal_key";

struct Posthog {
    child: Child,
    url: String,
}

impl Posthog {
    fn start(mode: &str) -> Self {
        Self::start_on(mode, "0")
    }

    fn start_on(mode: &str, port: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin/posthog_api.py");
        let mut command = Command::new("python3");
        command.arg(script).args([mode, port]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }

    async fn get(&self, path: &str) -> Value {
        let reply = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap()
    }

    fn import(&self, data: &Path, more: &[&str]) -> Command {
        let mut command = reelcase();
        command.args(["import", "posthog", "--host", &self.url, "--project", "4711", "--key", KEY, "--data"]).arg(data);
        command.args(["--since", "2025-01-01", "--until", "2026-01-01"]).args(more);
        command
    }
}

impl Drop for Posthog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether it succeeded, and what it printed and said.
fn run(command: &mut Command) -> (bool, String) {
    let done = command.output().unwrap();
    (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

fn new_store(data: &Path) {
    Server::start(data).stop();
}

/// The lines of all recordings of a store, by id, and what is told of each.
async fn all(data: &Path) -> BTreeMap<String, (Vec<Value>, Value)> {
    let server = Server::start(data);
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = server.api(&format!("/api/recordings?limit=200{cursor}")).await;
        for row in page["recordings"].as_array().unwrap() {
            let id = row["id"].as_str().unwrap().to_owned();
            let url = format!("{}/api/recordings/{id}/export?format=jsonl", server.url);
            let text = reqwest::Client::new().get(url).bearer_auth(&server.token).send().await.unwrap();
            let text = text.text().await.unwrap();
            found.insert(id, (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), row.clone()));
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    server.stop();
    found
}

/// The analytics events of a recording.
async fn events(server: &Server, id: &str) -> Vec<Value> {
    let list = server.api(&format!("/api/recordings/{id}/blocks")).await;
    let mut events = Vec::new();
    for block in list["blocks"].as_array().unwrap().iter().filter(|block| block["kind"] == "events") {
        let url = format!("{}{}", server.url, block["url"].as_str().unwrap());
        let text =
            reqwest::Client::new().get(url).bearer_auth(&server.token).send().await.unwrap().text().await.unwrap();
        events.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    events
}

fn check(expected: &Value, found: &BTreeMap<String, (Vec<Value>, Value)>, is_missing: impl Fn(&Value) -> bool) {
    let mut wrong = Vec::new();
    for (id, recording) in expected.as_object().unwrap() {
        let more = &recording["more"];
        match found.get(id) {
            None if is_missing(more) => {}
            None => wrong.push(format!("{id} is missing")),
            Some(_) if is_missing(more) => wrong.push(format!("{id} is there")),
            Some((lines, row)) => {
                if Value::Array(lines.clone()) != recording["lines"] {
                    wrong.push(format!("{id} has {} other lines", lines.len()));
                }
                let listed = &recording["row"];
                for (ours, theirs) in [
                    (&row["posthog"]["event_count"], &listed["event_count"]),
                    (&row["posthog"]["start_time"], &listed["start_time"]),
                    (&row["analytics_event_count"], &recording["events"].as_array().unwrap().len().into()),
                    (&row["person"]["properties"]["email"], &"ada@example.org".into()),
                    (&row["project"], &"phc_of_posthog".into()),
                ] {
                    if ours != theirs {
                        wrong.push(format!("{id} has {ours}, not {theirs}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn all_that_posthog_has_comes_in_through_limits_failures_and_replies_that_break_off() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    new_store(&data);
    let posthog = Posthog::start("stormy");
    let (is_ok, said) = run(&mut posthog.import(&data, &["--jobs", "4"]));
    assert!(!is_ok, "one recording has a block that never comes: {said}");
    assert!(said.contains("1 of its 2 blocks is missing in PostHog's answers"), "{said}");
    assert!(said.contains("event_count 5 here, 8 there"), "{said}");
    assert!(said.contains("imported 137 recordings"), "{said}");
    assert!(said.contains("136 have the events and bytes that PostHog counts, 1 has others"), "{said}");
    assert!(said.contains("1 deleted, 1 left alone, 0 failed"), "{said}");
    let expected = posthog.get("/expected").await;
    let is_missing = |more: &Value| more["deleted"] == true || more["torn"] == true;
    check(&expected, &all(&data).await, is_missing);
    assert!(std::fs::read_dir(&data).unwrap().all(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        !name.starts_with("importing")
    }));

    for (expected, there) in [("imported 1 recording with 5 events", 137), ("imported 0 recordings", 138)] {
        let done = posthog.import(&data, &["--keep-partial"]).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(3), "also where it was imported before: {said}");
        assert!(said.contains(expected) && said.contains(&format!("{there} are there already")), "{said}");
        assert!(said.contains("0 left alone, 0 failed, 1 in part"), "{said}");
        let in_part = "imported in part: recording 019b0008-0000-7000-8000-000000000008: 1 of its 2 blocks is missing";
        assert_eq!(said.contains(in_part), there == 137, "{said}");
    }
    let server = Server::start(&data);
    let id = expected.as_object().unwrap().iter().find(|(_, recording)| recording["more"]["events"] == 2300).unwrap().0;
    let events = events(&server, id).await;
    assert_eq!(events.len(), 2300);
    assert_eq!((&events[7]["properties"]["n"], &events[7]["window_id"]), (&7.into(), &"window-a".into()));
    let person = server.api(&format!("/api/recordings/{id}")).await["person"].clone();
    assert!(person["distinct_ids"].as_array().unwrap().contains(&"ada".into()), "{person}");
    server.stop();
}

#[tokio::test]
async fn a_dry_run_says_what_there_is_and_fetches_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let posthog = Posthog::start("calm");
    let (is_ok, said) = run(&mut posthog.import(&dir.path().join("none"), &["--dry-run"]));
    assert!(is_ok && said.contains("139 recordings of ") && said.contains("at least 280 requests"), "{said}");
    assert!(said.contains("without 2 of unknown size"), "{said}");
    let log = posthog.get("/log").await;
    assert_eq!(log.as_array().unwrap().len(), 2, "two pages: {log}");
    let mut wrong_key = posthog.import(&dir.path().join("none"), &["--dry-run"]);
    let (is_ok, said) = run(wrong_key.args(["--key", "phx_another"]));
    assert!(!is_ok, "{said}");
}

#[tokio::test]
async fn an_import_that_is_killed_is_taken_up_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    new_store(&data);
    let posthog = Posthog::start("slow");
    let mut kills = 0;
    loop {
        let asked = posthog.get("/log").await.as_array().unwrap().len();
        let mut import = posthog.import(&data, &["--keep-partial", "--no-events"]);
        // The range stays that of the first run.
        let mut child = import.stderr(Stdio::null()).spawn().unwrap();
        let since = Instant::now();
        let is_done = loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(3), "one recording has a block that never comes");
                break true;
            }
            let now = posthog.get("/log").await.as_array().unwrap().len();
            if kills < 4 && now >= asked + 60 || since.elapsed() > Duration::from_secs(60) {
                break false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        if is_done {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 1, "it was done before it could be killed");
    check_lines_only(&posthog.get("/expected").await, &all(&data).await);
    let log = posthog.get("/log").await;
    let ranges = log.as_array().unwrap().iter().filter(|path| path.as_str().unwrap().contains("source=blob_v2&"));
    let mut asked = BTreeMap::new();
    ranges.for_each(|path| *asked.entry(path.to_string()).or_insert(0) += 1);
    // Two were on their way at each kill; and one of a range is asked for again and again.
    let again = asked.values().filter(|count| **count > 1).count();
    assert!(again <= 2 * kills + 2, "{again} ranges were fetched again after {kills} kills");
}

#[tokio::test]
async fn an_import_ends_with_its_posthog_and_does_not_try_each_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    new_store(&data);
    let mut posthog = Posthog::start("slow");
    let import = |posthog: &Posthog| {
        let mut import = posthog.import(&data, &["--jobs", "4"]);
        import.env("REELCASE_TEST_PAUSE_MS", "5").stderr(Stdio::piped());
        import
    };
    let child = import(&posthog).spawn().unwrap();
    let since = Instant::now();
    while posthog.get("/log").await.as_array().unwrap().len() < 80 {
        assert!(since.elapsed() < Duration::from_secs(60), "it asks for nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    posthog.child.kill().unwrap();
    posthog.child.wait().unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(!said.contains("is not imported"), "the others are not tried: {said}");
    let (_, end) = said.split_once("\nerror: ").unwrap();
    let place = format!("{}/api/projects/4711/", posthog.url);
    assert!(end.starts_with(&place) && end.contains(" failed 8 times: ") && end.contains("refused"), "{said}");
    assert!(end.ends_with("\nhint: the same command goes on where this one ended\n"), "{said}");
    assert_eq!(end.lines().count(), 2, "{said}");

    let (is_ok, said) = run(&mut import(&posthog));
    assert!(
        !is_ok && said.contains("\nerror: ") && said.contains("\nhint: the same command"),
        "nor are any now: {said}"
    );
    assert_eq!(said.lines().filter(|line| line.contains(" failed 8 times: ")).count(), 1, "{said}");

    let back = Posthog::start_on("calm", posthog.url.rsplit(':').next().unwrap());
    let (_, said) = run(&mut import(&back));
    let there: u64 = said.split(" are there already").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(there > 5 && said.contains("0 failed"), "{said}");
    check_lines_only(&back.get("/expected").await, &all(&data).await);
}

fn check_lines_only(expected: &Value, found: &BTreeMap<String, (Vec<Value>, Value)>) {
    for (id, recording) in expected.as_object().unwrap() {
        if recording["more"]["deleted"] == true || recording["more"]["torn"] == true {
            continue;
        }
        assert!(Value::Array(found[id].0.clone()) == recording["lines"], "{id}");
    }
}

#[tokio::test]
async fn what_this_program_hands_out_it_takes_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    new_store(&to);
    let server = Server::start(&from);
    let manifest: Value = serde_json::from_slice(&std::fs::read(corpus("posthog-js/manifest.json")).unwrap()).unwrap();
    // Old clients say of an event how long ago it was, not when: sent on another day, it is one of that day.
    let is_old = |capture: &&Value| capture["kinds"].as_array().unwrap().contains(&"old-client".into());
    for capture in manifest["captures"].as_array().unwrap().iter().step_by(4).filter(|capture| !is_old(capture)) {
        server.send_capture(capture).await;
    }
    // What waits is not in the figures of the list yet, and stopping seals it.
    server.stop();
    let server = Server::start(&from);
    let projects = server.api("/api/projects").await;
    for project in projects.as_array().unwrap().iter().map(|project| project["key"].as_str().unwrap()) {
        let mut import = reelcase();
        import.args(["import", "posthog", "--host", &server.url, "--project", project, "--key", &server.token]);
        import.args(["--until", "2030-01-01", "--data"]).arg(&to);
        let (is_ok, said) = run(&mut import);
        assert!(is_ok && said.contains(" 0 have others"), "{said}");
        assert!(said.contains(&format!("into project {project}")), "{said}");
    }
    server.stop();
    let (sent, came) = (all(&from).await, all(&to).await);
    let with_events: Vec<_> = sent.iter().filter(|(_, (lines, _))| !lines.is_empty()).collect();
    assert!(with_events.len() > 5);
    for (id, (lines, row)) in with_events {
        let (came_lines, came_row) = &came[id];
        assert!(lines == came_lines, "{id}");
        for name in ["start_ms", "end_ms", "click_count", "analytics_event_count", "start_url", "source", "library"] {
            assert_eq!(row[name], came_row[name], "{id}: {name}");
        }
        assert_eq!(row["person"]["properties"], came_row["person"]["properties"], "{id}");
    }
}
