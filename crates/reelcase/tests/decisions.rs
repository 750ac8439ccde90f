//! Commands that show and change what was decided: settings, keys and modes, in a store and on a server alike.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use common::{Server, UPLOAD, a_server_with_one_recording, reelcase};

/// Runs a command that prints JSON; that, or what it says.
fn json_of(arguments: &[&str], place: &[&str]) -> Result<serde_json::Value, String> {
    let done = reelcase().args(arguments).args(place).output().unwrap();
    match done.status.success() {
        true => Ok(serde_json::from_slice(&done.stdout).unwrap()),
        false => Err(String::from_utf8(done.stderr).unwrap()),
    }
}

#[tokio::test]
async fn settings_are_shown_and_changed_in_a_store_and_on_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_server_with_one_recording(&data).await.stop();
    let check = |place: &[&str]| {
        let settings = |arguments: &[&str]| json_of(&[&["settings", "phc_commands"], arguments].concat(), place);
        let file = dir.path().join("settings.json");
        std::fs::write(&file, r#"{"canvas":true}"#).unwrap();
        let replaced = settings(&["--file", file.to_str().unwrap()]).unwrap();
        assert_eq!(replaced, serde_json::json!({ "canvas": true }));
        let set = ["sample_rate=0.5", "block_selector=.card", r#"url_triggers=["/a"]"#, "trigger_match=any"];
        settings(&set).unwrap();
        settings(&["--reset", "canvas", "--reset", "trigger_match"]).unwrap();
        let expected = serde_json::json!({ "sample_rate": 0.5, "block_selector": ".card", "url_triggers": ["/a"] });
        assert_eq!(settings(&[]).unwrap(), expected);
        let refused = settings(&["sample_rate=2", "canvass=true"]).unwrap_err();
        assert!(refused.contains("sample_rate: must be a number from 0 to 1"), "{refused}");
        assert!(refused.contains("canvass: is no setting; the nearest is canvas"), "{refused}");
        assert_eq!(settings(&[]).unwrap(), expected);
    };
    check(&["--data", data.to_str().unwrap()]);
    let server = Server::start(&data);
    check(&["--server", &server.url, "--token", &server.token]);
}

#[tokio::test]
async fn keys_are_shown_added_and_deleted_in_a_store_and_on_a_server() {
    let dir = tempfile::tempdir().unwrap();
    a_server_with_one_recording(dir.path()).await.stop();
    let check = |place: &[&str], next: &str| {
        let keys = |arguments: &[&str]| json_of(&[&["keys", "phc_commands"], arguments].concat(), place);
        let live = |keys: &serde_json::Value| {
            let live = keys.as_array().unwrap().iter().filter(|key| key["deleted_at_ms"].is_null());
            live.map(|key| key["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(live(&keys(&[]).unwrap()), ["phc_commands"]);
        assert_eq!(live(&keys(&["--add", next]).unwrap()), ["phc_commands", next]);
        assert_eq!(live(&keys(&["--delete", "phc_commands"]).unwrap()), [next]);
        // Any key names the project, a deleted one too.
        assert_eq!(live(&json_of(&["keys", next], place).unwrap()), [next]);
        let refused = keys(&["--delete", next]).unwrap_err();
        assert!(refused.contains("the last key") && refused.contains("hint: add another key first"), "{refused}");
        assert_eq!(live(&keys(&["--add", "phc_commands"]).unwrap()), ["phc_commands", next]);
        assert_eq!(live(&keys(&["--delete", next]).unwrap()), ["phc_commands"]);
        let made_up = keys(&["--add"]).unwrap();
        let made_up = live(&made_up).pop().unwrap();
        assert!(made_up.starts_with("phc_") && made_up.len() > 40, "{made_up}");
        keys(&["--delete", &made_up]).unwrap();
        assert!(keys(&["--delete", "phc_commands", "--even-last"]).is_ok());
        keys(&["--add", "phc_commands"]).unwrap();
        assert!(keys(&["--delete", "phc_nobodys"]).unwrap_err().contains("no such key"));
    };
    check(&["--data", dir.path().to_str().unwrap()], "phc_next");
    let server = Server::start(dir.path());
    check(&["--server", &server.url, "--token", &server.token], "phc_other");
}

#[tokio::test]
async fn modes_and_what_waits_are_shown_and_changed_in_a_store_and_on_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let start = || Server::start_with(dir.path(), "127.0.0.1:0", &["--upstream", &upstream, "--mode", "mirror"]);
    let server = start();
    let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(UPLOAD).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let place = ["--server", &server.url, "--token", &server.token];
    let shown = json_of(&["upstream"], &place).unwrap();
    assert_eq!((&shown["mode"], &shown["spool"]["recordings"]), (&"mirror".into(), &1.into()), "{shown}");
    assert_eq!(json_of(&["upstream", "phc_commands"], &place).unwrap()["mode"], "mirror");
    let chosen = json_of(&["upstream", "phc_commands", "--mode", "pass"], &place).unwrap();
    assert_eq!((&chosen["mode"], &chosen["is_own"]), (&"pass".into(), &true.into()));
    server.stop();

    let place = ["--data", dir.path().to_str().unwrap()];
    let shown = json_of(&["upstream"], &place).unwrap();
    assert_eq!(shown["projects"][0]["mode"], "pass", "{shown}");
    assert_eq!(shown["spool"]["recordings"], 1, "{shown}");
    let refused = json_of(&["upstream", "phc_commands", "--mode", "both"], &place).unwrap_err();
    assert!(refused.contains("write store, tee, mirror or pass, or default"), "{refused}");
    assert!(json_of(&["upstream", "phc_nobodys"], &place).unwrap_err().contains("no project has the key"));
    let chosen = json_of(&["upstream", "phc_commands", "--mode", "default"], &place).unwrap();
    assert_eq!((&chosen["mode"], &chosen["is_own"]), (&serde_json::Value::Null, &false.into()));

    // What waits for PostHog waits on, whatever was done to the store meanwhile.
    let listed = reelcase().args(["ls", "--data"]).arg(dir.path()).output().unwrap();
    assert!(listed.status.success());
    let server = start();
    let shown = server.api("/api/upstream").await;
    assert_eq!((&shown["projects"][0]["mode"], &shown["projects"][0]["is_own"]), (&"mirror".into(), &false.into()));
    assert_eq!(server.waiting().await, 1);
    server.stop();
    let server = Server::start(dir.path());
    let place = ["--server", &server.url, "--token", &server.token];
    assert!(json_of(&["upstream"], &place).unwrap_err().contains("hint: start it with --upstream"));
}
