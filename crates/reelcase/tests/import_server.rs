//! Recordings of any form come into a running server, durably and once each, and nothing that is sent to it can hurt it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Server, corpus, files_below, reelcase, text};
use serde_json::Value;

const EVENTS: &str = r#"[{"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
    {"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]"#;

/// Runs the command; whether it succeeded, what it printed and what it said.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let done = reelcase().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.success(), text(done.stdout), text(done.stderr))
}

fn import(server: &Server, path: &Path, more: &[&str]) -> (bool, String, String) {
    run(&[&["import", text(path), "--server", &server.url, "--token", &server.token], more].concat())
}

/// The ids that a server lists, with how many events each has.
async fn listed(server: &Server) -> Vec<(String, u64)> {
    let list = server.api("/api/recordings?limit=200").await;
    let row = |row: &Value| (row["id"].as_str().unwrap().to_owned(), row["event_count"].as_u64().unwrap());
    let mut listed: Vec<_> = list["recordings"].as_array().unwrap().iter().map(row).collect();
    listed.sort();
    listed
}

fn session(id: &str) -> String {
    format!(r#"{{"sessionId":"{id}","events":{EVENTS}}}"#)
}

#[tokio::test]
async fn files_of_all_forms_come_into_a_running_server_once_and_outlast_its_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (data, from) = (dir.path().join("data"), dir.path().join("from"));
    let mut server = Server::start(&data);
    std::fs::create_dir_all(from.join("deep")).unwrap();
    std::fs::write(from.join("deep/plain.json"), session("plain")).unwrap();
    let lines = format!(r#"{{"version":"2023-04-28","data":{{"session_id":"zipped","snapshots":{EVENTS}}}}}"#);
    std::fs::write(from.join("zipped"), zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    std::fs::write(from.join("notes.txt"), "hello").unwrap();
    std::fs::write(from.join("empty.json"), "").unwrap();
    let shop = corpus("rrweb/recorded/posthog-rrweb-0.0.59-shop.json");
    assert!(run(&["convert", text(&shop), text(&from.join("shop.reel")), "--id", "shop"]).0);
    let page = from.join("page.html");
    assert!(run(&["convert", text(&shop), text(&page), "--id", "page"]).0);

    let (is_ok, plan, said) = import(&server, &from, &["--dry-run"]);
    assert!(is_ok && plan.contains("2 events, recording plain") && plan.contains("notes.txt: no recording"), "{plan}");
    assert!(said.contains("would import 4 recordings"), "{said}");
    assert_eq!(listed(&server).await, []);

    let (is_ok, _, said) = import(&server, &from, &["--project", "phc_moved"]);
    assert!(is_ok && said.contains("imported 4 recordings") && said.contains("2 hold none"), "{said}");
    server.kill();
    let server = Server::start(&data);
    let all = [("page", 428), ("plain", 2), ("shop", 428), ("zipped", 2)].map(|(id, events)| (id.to_owned(), events));
    assert_eq!(listed(&server).await, all, "what was said to be imported outlasts a kill");
    assert_eq!(server.api("/api/recordings/plain").await["project"], "phc_moved");
    let (is_ok, _, said) = import(&server, &from, &["--project", "phc_moved"]);
    assert!(is_ok && said.contains("imported 0 recordings") && said.contains("4 are there already"), "{said}");
    assert_eq!(listed(&server).await, all);
    let left = data.join("importing");
    assert!(!left.exists() || files_below(&left).is_empty(), "{:?}", files_below(&left));

    // The lines are those of the file, and a store that no server holds takes the same way.
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    assert!(run(&["convert", text(&shop), text(&there), "--id", "shop", "--format", "jsonl"]).0);
    let export = ["export", "shop", "--server", &server.url, "--token", &server.token, "--format", "jsonl", "--output"];
    assert!(run(&[&export[..], &[text(&back)]].concat()).0);
    assert!(std::fs::read(there).unwrap() == std::fs::read(back).unwrap(), "events keep their bytes");
    server.stop();
    let (is_ok, _, said) = run(&["import", text(&from), "--data", text(&data), "--project", "phc_moved"]);
    assert!(is_ok && said.contains("4 are there already"), "{said}");
}

#[tokio::test]
async fn a_server_leaves_damage_and_contradiction_alone_and_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let file = dir.path().join("one.json");
    let whole = session("one");
    std::fs::write(&file, &whole[..whole.len() - 30]).unwrap();
    let (is_ok, _, said) = import(&server, &file, &[]);
    assert!(!is_ok && said.contains("left alone") && said.contains("the file ends within an event"), "{said}");
    assert_eq!(listed(&server).await, []);
    let (is_ok, _, said) = import(&server, &file, &["--keep-partial"]);
    assert!(!is_ok && said.contains("imported 1 recording with 1 event") && said.contains("in part"), "{said}");
    std::fs::write(&file, &whole).unwrap();
    let (is_ok, _, said) = import(&server, &file, &[]);
    assert!(!is_ok && said.contains("the store has recording one with other events"), "{said}");
    // A recording that clients send at this moment is one that is there.
    let body = format!(
        r#"[{{"event":"$snapshot","properties":{{"$session_id":"live","$window_id":"w","token":"imported",
        "distinct_id":"d","$snapshot_data":{EVENTS}}}}}]"#
    );
    let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    std::fs::write(&file, session("live").replace("1795226820023", "1795226820099")).unwrap();
    let (is_ok, _, said) = import(&server, &file, &[]);
    assert!(!is_ok && said.contains("the store has recording live with other events"), "{said}");
}

#[tokio::test]
async fn the_recordings_of_one_server_come_into_another_by_their_export_and_by_posthogs_api() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Server::start(&dir.path().join("one")), Server::start(&dir.path().join("other")));
    let from = dir.path().join("from");
    std::fs::create_dir(&from).unwrap();
    for id in ["a", "b"] {
        std::fs::write(from.join(id), session(id)).unwrap();
    }
    assert!(import(&one, &from, &["--project", "phc_two_servers"]).0);
    // Lines name no recording, but the manifest beside them does.
    let to = dir.path().join("to");
    let export = ["export", "--server", &one.url, "--token", &one.token, "--format", "jsonl-gzip", "--to", text(&to)];
    assert!(run(&export).0);
    let (is_ok, _, said) = import(&other, &to, &[]);
    assert!(is_ok && said.contains("imported 2 recordings"), "{said}");
    assert_eq!(other.api("/api/recordings/a").await["project"], "phc_two_servers");
    let third = Server::start(&dir.path().join("third"));
    let work = dir.path().join("work");
    let posthog = ["import", "posthog", "--host", &one.url, "--project", "phc_two_servers", "--key", &one.token];
    let into = ["--server", &third.url, "--token", &third.token, "--work", text(&work), "--until", "2030-01-01"];
    let (is_ok, _, said) = run(&[&posthog[..], &into].concat());
    assert!(is_ok && said.contains("imported 2 recordings with 4 events"), "{said}");
    assert_eq!(listed(&third).await, [("a".to_owned(), 2), ("b".to_owned(), 2)]);
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0, "what was kept of the import is gone with its end");
    let (is_ok, _, said) = run(&[&posthog[..], &into].concat());
    assert!(is_ok && said.contains("imported 0 recordings") && said.contains("2 are there already"), "{said}");
}

#[tokio::test]
async fn what_is_no_file_or_comes_from_strangers_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let client = reqwest::Client::new();
    let url = |query: &str| format!("{}/api/import{query}", server.url);
    let post = |query: &str, body: Vec<u8>| client.post(url(query)).bearer_auth(&server.token).body(body).send();
    let stranger = client.post(url("")).body(session("x")).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    for (query, body, status) in [
        ("", Vec::new(), 400),
        ("?project=a/b", session("x").into_bytes(), 400),
        ("?recording=../../x", session("x").into_bytes(), 400),
        ("?colour=red", session("x").into_bytes(), 400),
    ] {
        assert_eq!(post(query, body).await.unwrap().status(), status, "{query}");
    }
    for (body, damage) in [(b"hello".to_vec(), false), (vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0], true)] {
        let reply = post("", body).await.unwrap();
        assert_eq!(reply.status(), 200);
        let told: Value = reply.json().await.unwrap();
        assert_eq!((told["new"].as_array().unwrap().len(), told["damage"].is_string()), (0, damage), "{told}");
    }
    // One that says it is longer than any may be, and one that breaks off.
    let host = server.url.strip_prefix("http://").unwrap();
    let head = format!("POST /api/import HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n", server.token);
    let mut long = TcpStream::connect(host).unwrap();
    long.write_all(format!("{head}content-length: 99999999999999\r\n\r\nx").as_bytes()).unwrap();
    let mut answer = [0; 12];
    long.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let mut cut = TcpStream::connect(host).unwrap();
    let whole = session("cut");
    cut.write_all(format!("{head}content-length: {}\r\n\r\n{}", whole.len() + 9, whole).as_bytes()).unwrap();
    drop(cut);
    // An import that came after is answered, so those before are done with.
    assert!(post("", session("last").into_bytes()).await.unwrap().status().is_success());
    assert_eq!(listed(&server).await, [("last".to_owned(), 2)]);
    let left = || files_below(&data.join("importing"));
    for _ in 0..500 {
        if left().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a body that broke off is kept: {:?}", left());
}

/// TLS in front of a server, with a certificate that nobody else trusts.
struct Tls {
    child: Child,
    url: String,
    certificate: PathBuf,
}

impl Tls {
    fn start(dir: &Path, server: &Server) -> Self {
        let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).stderr(Stdio::null());
        assert!(openssl.status().unwrap().success());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin/tls.py");
        let mut command = Command::new("python3");
        command.arg(script).args([&certificate, &key]).arg(server.url.rsplit(':').next().unwrap());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, url: format!("https://localhost:{}", port.trim()), certificate }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_command_that_speaks_to_a_server_does_so_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let tls = Tls::start(dir.path(), &server);
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("one.json"), session("one")).unwrap();
    let (file, to, work) = (path("one.json"), path("to"), path("work"));
    let (file, to, work) = (text(&file), text(&to), text(&work));
    let trusting = |arguments: &[&str]| {
        let mut command = reelcase();
        command.args(arguments).args(["--server", &tls.url, "--token", &server.token]);
        let done = command.env("SSL_CERT_FILE", &tls.certificate).output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert!(done.status.success(), "{arguments:?}: {said}");
        said
    };
    assert!(trusting(&["import", file, "--work", work, "--project", "phc_tls"]).contains("imported 1 recording"));
    assert!(trusting(&["ls"]).contains("one"));
    assert!(trusting(&["show", "one"]).contains("\"event_count\": 2"));
    assert!(trusting(&["export", "--to", to]).contains("exported 1 recording"));
    assert!(trusting(&["keys", "phc_tls"]).contains("phc_tls"));
    assert!(trusting(&["settings", "phc_tls", "mask_all_text=true"]).contains("mask_all_text"));
    assert!(trusting(&["doctor"]).contains(&format!("One upload, by way of {}", tls.url)));
    trusting(&["delete", "one", "--yes"]);
    let refused = reelcase().args(["ls", "--server", &tls.url, "--token", &server.token]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("hint: SSL_CERT_FILE"), "{said}");
}
