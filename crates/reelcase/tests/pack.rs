//! Stores on a stick, and stores that become one.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::path::Path;

use common::{Server, corpus, run, text};
use serde_json::{Value, json};

/// What a store lists, by id, without what depends on when it was written.
fn list(data: &Path) -> Vec<Value> {
    let mut rows: Vec<Value> = run(&["ls", "--json", "--data", text(data)])
        .1
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            for name in ["stored_bytes", "updated_at_ms", "is_live"] {
                row.as_object_mut().unwrap().remove(name);
            }
            row
        })
        .collect();
    rows.sort_by_key(|row| row["id"].to_string());
    rows
}

fn lines(data: &Path, id: &str) -> String {
    run(&["export", id, "--data", text(data), "--format", "jsonl"]).1
}

async fn post(server: &Server, path: &str, body: Value) {
    let url = format!("{}{path}", server.url);
    let reply = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    assert!(reply.status().is_success());
}

/// One event of a recording, sealed by itself.
async fn send(server: &Server, id: &str, marker: u64) {
    let event =
        json!({ "type": 5, "data": { "tag": "n", "payload": marker }, "timestamp": 1_795_226_820_000 + marker });
    let properties = json!({ "token": "phc_test", "distinct_id": "ada", "$session_id": id, "$window_id": "w",
        "$snapshot_data": [event] });
    let uuid = format!("01a1fbdb-8270-7135-{marker:04x}-{:012x}", id.as_bytes()[0]);
    post(server, "/s/", json!([{ "event": "$snapshot", "uuid": uuid, "properties": properties }])).await;
    server.api(&format!("/api/recordings/{id}")).await;
}

#[tokio::test]
async fn a_store_is_carried_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, packed) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("all.reel"));
    let server = Server::start(&from);
    let manifest: Value = serde_json::from_slice(&std::fs::read(corpus("posthog-js/manifest.json")).unwrap()).unwrap();
    for capture in manifest["captures"].as_array().unwrap().iter().step_by(5) {
        server.send_capture(capture).await;
    }
    send(&server, "mine", 1).await;
    let identify = json!({ "event": "$identify", "uuid": "01a1fbdb-8270-7135-9b23-000000000009", "api_key": "phc_test",
        "properties": { "distinct_id": "ada@example.org", "$anon_distinct_id": "ada", "$set": { "plan": "paid" } } });
    post(&server, "/e/", identify).await;
    server.stop();
    Server::start(&to).stop();

    let (is_ok, said) = run(&["pack", text(&packed), "--data", text(&from)]);
    assert!(is_ok, "{said}");
    assert!(run(&["verify", text(&packed)]).0);
    let (is_ok, said) = run(&["unpack", text(&packed), "--data", text(&to)]);
    assert!(is_ok, "{said}");
    let (sent, came) = (list(&from), list(&to));
    assert!(sent.len() > 8);
    assert_eq!(sent, came);
    for row in &sent {
        let id = row["id"].as_str().unwrap();
        assert!(lines(&from, id) == lines(&to, id), "{id}");
    }
    let mine = came.iter().find(|row| row["id"] == "mine").unwrap();
    assert_eq!(mine["person"]["properties"]["plan"], "paid", "who somebody is was said outside of recordings");
    let (is_ok, said) = run(&["unpack", text(&packed), "--data", text(&to)]);
    assert!(is_ok && said.contains("imported 0 recordings"), "{said}");
    let none = dir.path().join("none.reel");
    let (is_ok, said) = run(&["pack", text(&none), "--data", text(&from), "--where", "url=/nowhere"]);
    assert!(is_ok && said.contains("packed 0 recordings"), "{said}");
}

#[tokio::test]
async fn two_stores_become_one_whichever_had_what_and_however_often() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let server = Server::start(&one);
    send(&server, "a", 1).await;
    send(&server, "a", 2).await;
    send(&server, "b", 1).await;
    server.stop();
    let server = Server::start(&two);
    send(&server, "a", 2).await;
    send(&server, "a", 3).await;
    send(&server, "c", 1).await;
    server.stop();
    let before = list(&two);
    let (is_ok, said) = run(&["merge", text(&two), "--data", text(&one)]);
    assert!(is_ok && said.contains("merged 2 recordings; 0 are there already"), "{said}");
    let merged = list(&one);
    let counts: Vec<_> = merged.iter().map(|row| (row["id"].clone(), row["event_count"].clone())).collect();
    assert_eq!(json!(counts), json!([["a", 3], ["b", 1], ["c", 1]]));
    assert_eq!(lines(&one, "a").lines().count(), 3);
    for again in 0..2 {
        let (is_ok, said) = run(&["merge", text(&two), "--data", text(&one)]);
        assert!(is_ok && said.contains("merged 0 recordings; 2 are there already"), "{again}: {said}");
        assert_eq!(list(&one), merged, "{again}");
    }
    assert_eq!(list(&two), before, "the other store is only read");
    let (is_ok, said) = run(&["merge", text(&one), "--data", text(&two)]);
    assert!(is_ok, "{said}");
    assert_eq!(list(&two), merged, "and the other way round it comes to the same");
}

/// A store with one recording, of which something is said.
async fn store_of_which_something_is_said(data: &Path) {
    let server = Server::start(data);
    send(&server, "mine", 1).await;
    let ask = |method: reqwest::Method, path: &str, body: Value| {
        let url = format!("{}/api/recordings/mine/{path}", server.url);
        let request = reqwest::Client::new().request(method, url).bearer_auth(&server.token);
        request.header("content-type", "application/json").body(body.to_string()).send()
    };
    let said = json!({
        "text": "the cart </script> jumps", "tags": ["jump"], "at_ms": 1_795_226_820_001_i64, "author": "Ada"
    });
    assert!(ask(reqwest::Method::POST, "comments", said).await.unwrap().status().is_success());
    let notes = json!({ "tags": ["cart", "rage"], "is_pinned": true });
    assert!(ask(reqwest::Method::PATCH, "notes", notes).await.unwrap().status().is_success());
    server.stop();
}

/// Comments, tags and pin of the one recording in a store.
fn said_in(data: &Path) -> Value {
    let rows = list(data);
    assert_eq!(rows.len(), 1);
    json!([rows[0]["comment_count"], rows[0]["tags"], rows[0]["is_pinned"]])
}

#[tokio::test]
async fn what_was_said_leaves_where_it_is_asked_for_and_comes_in_once() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    store_of_which_something_is_said(&from).await;
    Server::start(&to).stop();
    let export = |name: &str, more: &[&str]| {
        let file = dir.path().join(name);
        let (is_ok, said) =
            run(&[&["export", "mine", "--data", text(&from), "--output", text(&file)][..], more].concat());
        assert!(is_ok, "{said}");
        file
    };
    let import = |file: &Path| {
        let (is_ok, said) = run(&["import", text(file), "--data", text(&to)]);
        assert!(is_ok, "{said}");
        said
    };
    import(&export("plain.reel", &[]));
    assert_eq!(said_in(&to), json!([0, [], false]), "nobody asked for it");
    let said = import(&export("said.reel", &["--comments"]));
    assert!(said.contains("3 comments and tags came along"), "{said}");
    let all = json!([1, ["cart", "jump", "rage"], false]);
    assert_eq!(said_in(&to), all, "and a pin is of its store");
    assert!(!import(&export("said.html", &["--comments"])).contains("came along"), "it is there already");
    assert_eq!(said_in(&to), all);

    let elsewhere = dir.path().join("elsewhere");
    Server::start(&elsewhere).stop();
    let (is_ok, said) = run(&["import", text(&dir.path().join("said.html")), "--data", text(&elsewhere)]);
    assert!(is_ok, "{said}");
    assert_eq!(said_in(&elsewhere), all);

    let (is_ok, said) = run(&["export", "mine", "--data", text(&from), "--format", "jsonl", "--comments"]);
    assert!(!is_ok && said.contains("jsonl has no place for comments and tags"), "{said}");
}

#[tokio::test]
async fn what_was_said_is_signed_with_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to, file, key] = ["from", "to", "said.reel", "mine.key"].map(|name| dir.path().join(name));
    store_of_which_something_is_said(&from).await;
    let public = run(&["sign", "--new-key", text(&key)]).1;
    let public = public.lines().find(|line| line.starts_with("ed25519:")).unwrap();
    let export = |access: &[&str]| {
        let arguments = ["export", "mine", "--comments", "--sign", text(&key), "--output", text(&file)];
        let (is_ok, said) = run(&[&arguments[..], access].concat());
        assert!(is_ok, "{said}");
        let (is_ok, said) = run(&["verify", text(&file), "--signed-by", public]);
        assert!(is_ok && said.contains("whole: 1 recording"), "{said}");
        std::fs::read(&file).unwrap()
    };
    let of_store = export(&["--data", text(&from)]);
    let server = Server::start(&from);
    let of_server = export(&["--server", &server.url, "--token", &server.token]);
    assert!(of_store == of_server);
    Server::start(&to).stop();
    let (is_ok, said) = run(&["import", text(&file), "--data", text(&to), "--signed-by", public]);
    assert!(is_ok && said.contains("3 comments and tags came along"), "{said}");
    assert_eq!(said_in(&to), json!([1, ["cart", "jump", "rage"], false]));

    // Words that were put into somebody's mouth are no longer signed.
    let mut bytes = of_server;
    let at = bytes.windows(4).position(|four| four == b"SIGN").unwrap();
    bytes[at - 40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (is_ok, said) = run(&["import", text(&file), "--data", text(&to), "--signed-by", public]);
    assert!(!is_ok && said.contains("it is damaged, or was changed since it was signed"), "{said}");
}

#[tokio::test]
async fn what_was_said_is_counted_where_it_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (from, file) = (dir.path().join("from"), dir.path().join("said.reel"));
    store_of_which_something_is_said(&from).await;
    assert!(run(&["export", "mine", "--data", text(&from), "--comments", "--output", text(&file)]).0);
    for to in ["said.jsonl", "said.html", "again.reel"] {
        let (is_ok, said) = run(&["convert", text(&file), text(&dir.path().join(to))]);
        assert!(is_ok && said.contains("\nleft out: 3 comments and tags\n"), "{to}: {said}");
    }
    let again = dir.path().join("again.reel");
    let (is_ok, said) = run(&["convert", text(&again), text(&dir.path().join("last.jsonl"))]);
    assert!(is_ok && !said.contains("left out"), "{said}");
}

#[tokio::test]
async fn what_was_said_is_packed_where_it_is_asked_for_and_merged_with_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let [from, silent, told, merged] = ["from", "silent", "told", "merged"].map(|name| dir.path().join(name));
    store_of_which_something_is_said(&from).await;
    let all = json!([1, ["cart", "jump", "rage"], false]);
    for (to, more, expected) in [(&silent, &[][..], json!([0, [], false])), (&told, &["--comments"][..], all.clone())] {
        Server::start(to).stop();
        let packed = dir.path().join("all.reel");
        assert!(run(&[&["pack", text(&packed), "--data", text(&from)][..], more].concat()).0);
        assert!(run(&["unpack", text(&packed), "--data", text(to)]).0);
        assert_eq!(said_in(to), expected);
    }
    Server::start(&merged).stop();
    for (other, came_along) in [(&silent, false), (&from, true), (&told, false), (&from, false)] {
        let (is_ok, said) = run(&["merge", text(other), "--data", text(&merged)]);
        assert!(is_ok, "{said}");
        assert_eq!(said.contains("3 comments and tags came along"), came_along, "{said}");
    }
    assert_eq!(said_in(&merged), all);
}

#[tokio::test]
async fn what_is_new_in_a_file_of_several_comes_to_the_project_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, packed) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("all.reel"));
    store_of_which_something_is_said(&from).await;
    assert!(run(&["pack", text(&packed), "--data", text(&from)]).0);
    Server::start(&to).stop();
    assert!(run(&["unpack", text(&packed), "--data", text(&to)]).0);
    let server = Server::start(&from);
    send(&server, "new", 2).await;
    server.stop();
    assert!(run(&["pack", text(&packed), "--data", text(&from), "--comments"]).0);
    for expected in ["imported 1 recording with 1 event of 1 file; 1 is there", "imported 0 recordings"] {
        let (is_ok, said) = run(&["unpack", text(&packed), "--data", text(&to)]);
        assert!(is_ok && said.contains(expected), "{said}");
        let told = |data: &Path| {
            let rows = list(data).into_iter();
            rows.map(|row| ["id", "project", "comment_count", "tags"].map(|name| row[name].clone())).collect::<Vec<_>>()
        };
        assert_eq!(told(&to), told(&from));
    }
}

#[tokio::test]
async fn what_was_said_comes_along_with_what_can_be_read_of_a_damaged_file() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, file) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("said.reel"));
    store_of_which_something_is_said(&from).await;
    let server = Server::start(&from);
    send(&server, "mine", 2).await;
    server.stop();
    assert!(run(&["pack", text(&file), "--data", text(&from), "--comments"]).0);
    let mut bytes = std::fs::read(&file).unwrap();
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let second = bytes.windows(magic.len()).enumerate().filter(|(_, four)| *four == magic).nth(1).unwrap().0;
    bytes[second + 20] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    Server::start(&to).stop();
    let (is_ok, said) = run(&["import", text(&file), "--data", text(&to)]);
    assert!(!is_ok && !said.contains("came along") && list(&to).is_empty(), "{said}");
    let (_, said) = run(&["import", text(&file), "--data", text(&to), "--keep-partial"]);
    assert!(said.contains("imported 1 recording with 1 event") && said.contains("3 comments and tags"), "{said}");
    assert_eq!(said_in(&to), json!([1, ["cart", "jump", "rage"], false]));
}
