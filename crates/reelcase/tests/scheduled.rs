//! A server makes exports by itself: only what is new, past kills, and with what went wrong said where one looks.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Server, files_below, reelcase, text};
use reqwest::Method;
use serde_json::{Value, json};

async fn send(server: &Server, id: &str) {
    let body = format!(
        r#"[{{"event":"$snapshot","properties":{{"$session_id":"{id}","$window_id":"w","token":"phc_scheduled",
        "distinct_id":"d","$snapshot_data":[{{"type":5,"data":{{"tag":"t","payload":1}},"timestamp":1795226820022}}]}}}}]"#
    );
    let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 200);
}

async fn call(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, format!("{}/api/exports{path}", server.url));
    let reply = request.bearer_auth(&server.token).json(&body).send().await.unwrap();
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap_or_default())
}

/// Waits until the last run of an export is as it should be.
async fn run_that(server: &Server, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let list = server.api("/api/exports").await;
        let one = list["exports"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
        if one["is_running"] == false && is_it(&one["last_run"]) {
            return one["last_run"].clone();
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{one}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn exported(dir: &Path) -> Vec<String> {
    let files = files_below(dir);
    let names = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".reel")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_export_is_made_by_itself_when_it_is_asked_for_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&data);
    send(&server, "one").await;
    let schedule = json!({ "to": "deep/nightly", "format": "reel", "every_s": 86_400, "is_on": true });
    assert_eq!(call(&server, Method::PUT, "/nightly", schedule.clone()).await.0, 200);
    let first = run_that(&server, "nightly", |run| run["exported_count"] == 1).await;
    assert_eq!((&first["error"], &first["unchanged_count"]), (&Value::Null, &json!(0)));
    assert_eq!(first["left_out"], json!([]));
    let to = data.join("exports/deep/nightly");
    assert_eq!(exported(&to), ["one.reel"]);

    send(&server, "two").await;
    let (status, asked) = call(&server, Method::POST, "/nightly/run", Value::Null).await;
    assert_eq!((status, &asked["is_running"]), (202, &json!(true)));
    let second = run_that(&server, "nightly", |run| run["unchanged_count"] == 1).await;
    assert_eq!(second["exported_count"], 1, "what waited to be sealed is exported too");
    assert_eq!(exported(&to), ["one.reel", "two.reel"]);

    server.kill();
    let server = Server::start(&data);
    let kept = server.api("/api/exports").await["exports"][0].clone();
    assert_eq!((&kept["schedule"]["to"], &kept["last_run"]), (&json!("deep/nightly"), &second));
    let planned_ms = second["started_at_ms"].as_i64().unwrap() + 86_400_000;
    assert_eq!(kept["next_run_at_ms"].as_i64(), Some(planned_ms), "a restart is no reason to export again");
    // One that is off is made when somebody asks.
    let off =
        json!({ "to": "off", "format": "parquet", "filter": { "url": "nowhere" }, "every_s": 60, "is_on": false });
    assert_eq!(call(&server, Method::PUT, "/off", off).await.0, 200);
    assert_eq!(call(&server, Method::POST, "/off/run", Value::Null).await.0, 202);
    run_that(&server, "off", |run| run["exported_count"] == 0).await;
    let requests = json!({ "to": "requests", "format": "har", "every_s": 60, "is_on": false });
    assert_eq!(call(&server, Method::PUT, "/requests", requests).await.0, 200);
    assert_eq!(call(&server, Method::POST, "/requests/run", Value::Null).await.0, 202);
    let run = run_that(&server, "requests", |run| run["exported_count"] == 2).await;
    assert_eq!(run["left_out"], json!(["2 events that are no requests"]), "a form has no place for all");
    assert_eq!(call(&server, Method::DELETE, "/nightly", Value::Null).await.0, 204);
    assert_eq!(exported(&to).len(), 2, "what was exported stays");
    server.stop();
}

#[tokio::test]
async fn what_cannot_be_exported_says_why_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    send(&server, "one").await;
    std::fs::create_dir_all(data.join("exports")).unwrap();
    std::fs::write(data.join("exports/taken"), "a file").unwrap();
    let schedule = json!({ "to": "taken", "format": "jsonl", "every_s": 86_400, "is_on": true });
    assert_eq!(call(&server, Method::PUT, "/a", schedule).await.0, 200);
    let run = run_that(&server, "a", |run| run["error"].is_string()).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("cannot make") && error.contains("taken"), "{error}");
    std::fs::remove_file(data.join("exports/taken")).unwrap();
    assert_eq!(call(&server, Method::POST, "/a/run", Value::Null).await.0, 202);
    run_that(&server, "a", |run| run["exported_count"] == 1 && run["error"].is_null()).await;
}

#[tokio::test]
async fn what_no_export_can_be_is_refused_in_plain_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let good = json!({ "to": "a", "format": "reel", "filter": {}, "every_s": 60, "is_on": false });
    for (field, value, said) in [
        ("to", json!("/etc"), "write a folder below"),
        ("to", json!("../a"), "write a folder below"),
        ("to", json!("s3://"), "write a folder below"),
        ("format", json!("doc"), "there is no format"),
        ("every_s", json!(59), "60 to 2678400 seconds"),
        ("filter", json!({ "colour": "red" }), "colour"),
        ("filter", json!({ "limit": "1" }), "limit is no condition"),
        ("more", json!(1), "unknown field"),
    ] {
        let mut schedule = good.clone();
        schedule[field] = value;
        let (status, reply) = call(&server, Method::PUT, "/a", schedule).await;
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(said), "{status} {message}");
    }
    assert_eq!(call(&server, Method::PUT, "/A%20b", good.clone()).await.0, 400);
    assert_eq!(call(&server, Method::DELETE, "/a", Value::Null).await.0, 404);
    assert_eq!(call(&server, Method::POST, "/a/run", Value::Null).await.0, 404);
    let stranger = reqwest::get(format!("{}/api/exports", server.url)).await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert_eq!(server.api("/api/exports").await["exports"], json!([]));
}

/// Runs `reelcase exports`; what it prints, or what it says.
fn exports(arguments: &[&str], place: &[&str]) -> Result<Value, String> {
    let done = reelcase().arg("exports").args(arguments).args(place).output().unwrap();
    match done.status.success() {
        true => Ok(serde_json::from_slice(&done.stdout).unwrap()),
        false => Err(String::from_utf8(done.stderr).unwrap()),
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|state| state["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn exports_are_made_changed_and_carried_over_by_the_command_in_a_store_and_on_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    Server::start(&one).stop();
    let check = |place: &[&str]| {
        assert_eq!(exports(&["ls"], place).unwrap(), json!([]));
        let made =
            exports(&["add", "errors", "--to", "errors", "--where", "errors_min=1", "--every", "12h", "--off"], place);
        let expected = json!({ "to": "errors", "format": "reel", "filter": { "errors_min": "1" }, "every_s": 43_200, "is_on": false });
        assert_eq!(made.unwrap()[0]["schedule"], expected);
        let made = exports(&["add", "all", "--to", "s3://bucket/all", "--format", "parquet", "--off"], place).unwrap();
        assert_eq!((names(&made), &made[0]["schedule"]["every_s"]), (vec!["all", "errors"], &json!(86_400)));
        for (arguments, said) in [
            (&["add", "a", "--to", "../up"][..], "a: "),
            (&["add", "a", "--to", "b", "--every", "1s"], "60 to 2678400 seconds"),
            (&["add", "a", "--to", "b", "--every", "soon"], "must be a time such as 1d"),
            (&["add", "a", "--to", "b", "--where", "colour=red"], "colour"),
            (&["rm", "nobody"], "there is no such export"),
        ] {
            let refused = exports(arguments, place).unwrap_err();
            assert!(refused.contains(said), "{arguments:?}: {refused}");
        }
        assert_eq!(names(&exports(&["rm", "all"], place).unwrap()), ["errors"]);
    };
    check(&["--data", text(&one)]);
    let refused = exports(&["run", "errors"], &["--data", text(&one)]).unwrap_err();
    assert!(refused.contains("hint: --server"), "{refused}");

    let server = Server::start(&other);
    let place = ["--server", &server.url, "--token", &server.token];
    check(&place);
    exports(&["add", "gone", "--to", "gone", "--off"], &place).unwrap();
    exports(&["add", "errors", "--to", "nightly", "--off"], &["--data", text(&one)]).unwrap();
    let file = dir.path().join("exports.json");
    let kept = exports(&["ls"], &["--data", text(&one)]).unwrap();
    std::fs::write(&file, kept.to_string()).unwrap();
    let now = exports(&["apply", text(&file)], &place).unwrap();
    assert_eq!((names(&now), &now[0]["schedule"]), (vec!["errors"], &kept[0]["schedule"]));
    std::fs::write(&file, r#"[{"name":"A b","schedule":{"to":"a","format":"reel","every_s":60,"is_on":false}}]"#)
        .unwrap();
    assert!(exports(&["apply", text(&file)], &place).unwrap_err().contains("A b: "));
    assert_eq!(names(&exports(&["ls"], &place).unwrap()), ["errors"], "nothing is deleted where one is refused");

    send(&server, "one").await;
    assert_eq!(exports(&["run", "errors"], &place).unwrap()[0]["is_running"], true);
    run_that(&server, "errors", |run| run["exported_count"] == 1).await;
}

#[tokio::test]
async fn webhooks_are_made_tried_and_deleted_by_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(&dir.path().join("data"), "127.0.0.1:0", &["--webhooks-allow-private"]);
    let webhooks = |arguments: &[&str]| {
        let place = ["--server", &server.url, "--token", &server.token];
        let done = reelcase().arg("webhooks").args(arguments).args(place).output().unwrap();
        match done.status.success() {
            true => Ok(serde_json::from_slice::<Value>(&done.stdout).unwrap()),
            false => Err(String::from_utf8(done.stderr).unwrap()),
        }
    };
    // Nobody listens there.
    let made = webhooks(&["add", "http://127.0.0.1:9/", "--where", "errors_min=1", "--quiet", "60"]).unwrap();
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
    let id = made["webhook"]["id"].as_str().unwrap();
    let listed = webhooks(&["ls"]).unwrap();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["query"], &listed[0]["quiet_s"]),
        (&id.into(), &"errors_min=1".into(), &60.into())
    );
    assert!(listed.to_string().find("whsec_").is_none(), "the secret is told once");
    assert!(webhooks(&["test", id]).unwrap_err().contains("the test was not taken: "));
    assert!(webhooks(&["add", "ftp://a"]).unwrap_err().contains("does not begin with https://"));
    assert!(webhooks(&["add", "https://a.example", "--where", "colour=red"]).unwrap_err().contains("colour"));
    assert!(webhooks(&["add", "https://a.example", "--quiet", "1"]).unwrap_err().contains("quiet_s is from"));
    assert_eq!(webhooks(&["rm", id]).unwrap(), json!([]));
    assert!(webhooks(&["rm", id]).unwrap_err().contains("404"));
}
