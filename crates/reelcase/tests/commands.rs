//! The commands as a shell user meets them: what they print, refuse and answer.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use common::{Server, UPLOAD, a_server_with_one_recording, files_below, reelcase};

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
    assert!(report.contains("damaged: 0 recordings, 1 block, 2 events readable"), "{report}");
}

/// A store of one recording in three objects, whose second block is damaged.
async fn a_store_with_a_damaged_block(data: &Path) {
    let server = Server::start(data);
    for (number, seconds) in (0..3).zip([20, 40, 60]) {
        let event = |ms: u64| format!(r#"{{"type":5,"timestamp":{},"data":{{"tag":"t"}}}}"#, 1795226800000 + ms);
        let events = format!("{},{}", event(seconds * 1_000), event(seconds * 1_000 + 500));
        let body = format!(
            r#"[{{"uuid":"01a1fbdb-8270-7135-9b23-544ab178fe7{number}","event":"$snapshot","properties":{{
            "$session_id":"one","$window_id":"w","token":"phc_commands","distinct_id":"d","$snapshot_data":[{events}]}}}}]"#
        );
        let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        assert_eq!(server.api("/api/recordings/one/blocks").await["blocks"].as_array().unwrap().len(), number + 1);
    }
    server.stop();
    let mut objects = files_below(&data.join("objects"));
    objects.retain(|path| path.extension().is_some_and(|ending| ending == "reel"));
    objects.sort();
    let mut bytes = std::fs::read(&objects[1]).unwrap();
    let frame = bytes.windows(4).position(|four| four == b"\x28\xb5\x2f\xfd").unwrap();
    bytes[frame + 12] ^= 1;
    std::fs::write(&objects[1], bytes).unwrap();
}

/// Timestamps of the lines, with `gap` where one stands for a damaged block.
fn moments(lines: &[u8]) -> Vec<String> {
    let lines = String::from_utf8(lines.to_vec()).unwrap();
    let moment = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line[0], "w");
        let event = &line[1];
        if event["data"]["tag"] != "reelcase.gap" {
            return (event["timestamp"].as_u64().unwrap() - 1795226800000).to_string();
        }
        let payload = &event["data"]["payload"];
        assert_eq!((&payload["start_ms"], &payload["event_count"]), (&event["timestamp"], &2.into()));
        assert_eq!((&payload["windows"][0], &payload["block"]), (&"w".into(), &0.into()));
        "gap".to_owned()
    };
    lines.lines().map(moment).collect()
}

#[tokio::test]
async fn a_damaged_block_is_a_gap_of_an_export_and_never_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store_with_a_damaged_block(&data).await;
    let export = |place: &[&str], form: &str| {
        let file = dir.path().join(form);
        let mut command = reelcase();
        command.args(["export", "one", "--format", form]).args(place).arg("--output").arg(&file);
        let done = command.output().unwrap();
        let talk = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(3), "{talk}");
        let named = "missing: 2 events from 2026-11-21T02:07:20Z to 2026-11-21T02:07:20.5Z, block 0 of object ";
        assert!(talk.contains("left out: 1;") && talk.contains(named), "{talk}");
        file
    };
    let expected = ["20000", "20500", "gap", "60000", "60500"];
    let check = |place: &[&str]| {
        assert_eq!(moments(&std::fs::read(export(place, "jsonl")).unwrap()), expected);
        let reel = export(place, "reel");
        assert_eq!(moments(&zstd::decode_all(std::fs::File::open(&reel).unwrap()).unwrap()), expected);
        assert!(run(&["verify"], &reel).status.success(), "what is left is a whole file");
    };
    check(&["--data", data.to_str().unwrap()]);
    let server = Server::start(&data);
    check(&["--server", &server.url, "--token", &server.token]);
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
fn only_a_limit_of_open_files_that_hurts_is_warned_of() {
    let start_under = |open_files: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit {open_files} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_reelcase")]);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.path());
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        std::process::Command::new("kill").arg(server.id().to_string()).status().unwrap();
        let done = server.wait_with_output().unwrap();
        assert!(done.status.success() && ready.contains("ready"), "{ready}");
        String::from_utf8(done.stderr).unwrap()
    };
    for enough in ["-n 20000", "-Hn 20000 && ulimit -Sn 1024"] {
        let log = start_under(enough);
        assert!(!log.contains("WARN"), "{enough}: {log}");
    }
    let log = start_under("-n 1024");
    assert!(log.contains("only 768 connections fit") && log.contains("LimitNOFILE"), "{log}");
}

#[test]
fn a_directory_without_a_store_is_named_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["ls", "rebuild"] {
        let refused = run(&[command, "--data"], dir.path());
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(message.contains("there is no store in") && message.contains("hint: "), "{command}: {message}");
        assert_eq!(files_below(dir.path()), [] as [std::path::PathBuf; 0], "{command} makes none");
    }
}

#[tokio::test]
async fn a_store_that_lost_its_id_is_one_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    a_server_with_one_recording(dir.path()).await.stop();
    std::fs::remove_file(dir.path().join("store-id")).unwrap();
    let listed = run(&["ls", "--data"], dir.path());
    assert!(listed.status.success() && listed.stdout.starts_with(b"one "), "{listed:?}");
}

#[test]
fn a_server_that_is_refused_leaves_no_store_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("file"));
    std::fs::write(&file, "").unwrap();
    for (listen, data, told) in [
        ("0.0.0.0:0", &data, "refusing to listen on 0.0.0.0:0 without a secret"),
        ("localhost", &data, "write HOST:PORT, such as 127.0.0.1:8787"),
        ("localhost:0", &file, "it is a file, not a directory"),
    ] {
        let refused = run(&["serve", "--listen", listen, "--data"], data);
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && message.contains(told), "{listen}: {message}");
    }
    assert!(!data.exists());
}

#[tokio::test]
async fn what_is_exported_may_be_read_by_whoever_the_umask_says() {
    let dir = tempfile::tempdir().unwrap();
    a_server_with_one_recording(&dir.path().join("data")).await.stop();
    for (umask, expected) in [("022", 0o644), ("077", 0o600)] {
        let to = dir.path().join(umask);
        std::fs::create_dir(&to).unwrap();
        let export = r#"umask "$1" && "$0" export one --data data --output "$1/one.html" && "$0" export --data data --to "$1/all""#;
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", export, env!("CARGO_BIN_EXE_reelcase"), umask]).current_dir(dir.path());
        assert!(shell.status().unwrap().success());
        let mut files = files_below(&to);
        files.retain(|path| !path.ends_with(".lock"));
        assert_eq!(files.len(), 4, "{files:?}");
        for file in files {
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "{}", file.display());
        }
    }
}

#[tokio::test]
async fn conditions_and_ids_that_cannot_be_are_refused_in_plain_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = a_server_with_one_recording(dir.path()).await;
    let refused = |arguments: &[&str]| {
        let mut command = reelcase();
        let refused =
            command.args(arguments).args(["--server", &server.url, "--token", &server.token]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(refused.stderr).unwrap()
    };
    let message = refused(&["delete", "--yes", "--where", "colour=red"]);
    assert!(message.contains(": unknown field `colour`, expected one of `") && message.contains("`url`"), "{message}");
    assert_eq!((message.matches("colour").count(), message.contains("deserialize")), (1, false), "{message}");
    let message = refused(&["delete", "--yes", "--where", "errors_min=many"]);
    assert!(message.contains(": errors_min: invalid digit"), "a flaw of a value says of which: {message}");
    let message = refused(&["delete", "--yes", "--where", "url=/a", "--where", "url=/b"]);
    assert!(message.contains(": duplicate field `url`") && message.matches("url").count() == 1, "{message}");
    assert!(refused(&["show", "a b/?"]).contains("404"), "{}", refused(&["show", "a b/?"]));
}

const EVENTS: &str = r#"[{"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
    {"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]"#;

#[test]
fn rrweb_json_is_converted_from_a_file_and_through_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    std::fs::write(&json, EVENTS).unwrap();
    let done = reelcase().arg("convert").arg(&json).arg(&reel).args(["--id", "mine"]).output().unwrap();
    let talk = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(0), 0));
    assert_eq!(talk, "converted 2 events of 1 window over 0.0 s: recording mine\n");
    assert!(run(&["verify"], &reel).status.success());
    let stdin = std::fs::File::open(&json).unwrap();
    let piped = reelcase().args(["convert", "-", "-", "--id", "mine"]).stdin(stdin).output().unwrap();
    assert_eq!(piped.stdout, std::fs::read(&reel).unwrap());
}

#[test]
fn what_cannot_be_converted_is_named_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    let convert = |text: &[u8]| {
        std::fs::write(&json, text).unwrap();
        let done = reelcase().arg("convert").arg(&json).arg(&reel).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap(), reel.exists())
    };
    let (code, message, is_there) = convert(b"[]");
    assert!(code == Some(1) && message.contains("events.json: there are no rrweb events in it") && !is_there);
    let (code, message, is_there) = convert(b"hello");
    assert!(code == Some(1) && message.contains("byte 0, event 0: expected a value") && !is_there, "{message}");
    // What was read before the damage is kept, and the exit code tells.
    let (code, message, is_there) = convert(&EVENTS.as_bytes()[..EVENTS.len() - 9]);
    assert!(code == Some(1) && message.contains("damaged at byte") && is_there, "{message}");
    let packed = zstd::encode_all(std::fs::File::open(&reel).unwrap(), 1).unwrap();
    let (code, message, _) = convert(&packed);
    assert!(code == Some(1) && message.contains("there is a .reel file in it"), "{message}");
    let refused = reelcase().args(["convert", "-", "-", "--id", "a/b"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_name_that_says_no_form_is_refused_with_those_that_do() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("events.json");
    std::fs::write(&json, EVENTS).unwrap();
    let convert = |name: &str, more: &[&str]| {
        let to = dir.path().join(name);
        let done = reelcase().arg("convert").arg(&json).arg(&to).args(more).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap(), std::fs::read(&to).ok())
    };
    let (code, said, file) = convert("shop.xyz", &[]);
    assert!(code == Some(1) && file.is_none(), "{said}");
    for expected in ["shop.xyz does not say which form", ".reel, .html, .jsonl, .jsonl.gz, ", "hint: --format"] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(convert("shop.xyz", &["--format", "jsonl"]).2.unwrap().starts_with(b"["));
    assert_eq!(convert("shop", &[]).2, convert("shop.reel", &[]).2, "without an ending it is a .reel file");
    let (_, said, _) = convert("nowhere/shop.reel", &[]);
    assert!(said.ends_with("nowhere: No such file or directory (os error 2)\n"), "{said}");
    let exported = reelcase().args(["export", "one", "--data", "none", "--output", "one.gif"]).output().unwrap();
    let said = String::from_utf8(exported.stderr).unwrap();
    assert!(said.contains("one.gif does not say"), "{said}");
}

#[tokio::test]
async fn files_of_both_kinds_open_together() {
    let dir = tempfile::tempdir().unwrap();
    let (json, reel) = (dir.path().join("events.json"), dir.path().join("events.reel"));
    std::fs::write(&json, EVENTS).unwrap();
    assert!(reelcase().arg("convert").arg(&json).arg(&reel).args(["--id", "mine"]).status().unwrap().success());
    let server = Server::open(&[&json, &reel]);
    let found = server.api("/api/recordings").await;
    let recordings = found["recordings"].as_array().unwrap();
    assert_eq!(recordings.len(), 2);
    assert!(recordings.iter().any(|recording| recording["id"] == "mine"));
    assert!(recordings.iter().all(|recording| recording["event_count"] == 2));
}

/// Makes the first frame of a file one of format 2, with the right check.
fn raise_version(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    bytes[12] = 2;
    let check = blake3::Hasher::new().update(&bytes[8..16]).update(&bytes[32..8 + length]).finalize();
    bytes[16..32].copy_from_slice(&check.as_bytes()[..16]);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

#[tokio::test]
async fn an_object_of_a_newer_release_is_named_everywhere_and_touched_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    a_server_with_one_recording(dir.path()).await.stop();
    std::fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
    let all = || files_below(&dir.path().join("objects"));
    let object = all().into_iter().find(|path| path.extension().is_some_and(|ending| ending == "reel")).unwrap();
    // This release cannot tell how a newer one ends.
    std::fs::write(&object, [std::fs::read(&object).unwrap(), b"of tomorrow".to_vec()].concat()).unwrap();
    let newer = raise_version(&object);
    let files = all();

    let verified = run(&["verify"], &object);
    let report = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(4), "{report}");
    assert!(report.contains("of a newer release"), "{report}");
    let rebuilt = run(&["rebuild", "--data"], dir.path());
    let talk = String::from_utf8(rebuilt.stderr).unwrap();
    assert_eq!(rebuilt.status.code(), Some(4), "{talk}");
    assert!(talk.contains("is of format 2 and stays as it is; upgrade to read it"), "{talk}");

    let server = Server::start(dir.path());
    let doctor = reelcase().args(["doctor", "--server", &server.url, "--token", &server.token]).output().unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains("fail objects: objects of a newer release, of format 2: 1"), "{said}");
    let counts = reqwest::Client::new().get(format!("{}/metrics", server.url)).bearer_auth(&server.token);
    let counts = counts.send().await.unwrap().text().await.unwrap();
    assert!(counts.contains("reelcase_objects_newer 1\n"), "{counts}");
    server.stop();
    assert_eq!(std::fs::read(&object).unwrap(), newer);
    let left: Vec<_> = files.iter().filter(|path| !path.exists()).collect();
    assert!(left.is_empty(), "moved or deleted: {left:?}");
}

/// Stands in front of a server, and answers what it answers without the lines that begin with `taken`.
fn proxy_that_takes(server: &str, taken: &'static str) -> String {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let (server, listener) =
        (server.trim_start_matches("http://").to_owned(), TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut upstream) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            let end = loop {
                if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                let read = client.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            };
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            while request.len() < end + length {
                let read = client.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            let at = request.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
            request.splice(at..at, *b"connection: close\r\n");
            upstream.write_all(&request).unwrap();
            let mut reply = Vec::new();
            upstream.read_to_end(&mut reply).unwrap();
            let end = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            let head = String::from_utf8_lossy(&reply[..end]).into_owned();
            let head: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with(taken)).collect();
            let _ = client.write_all(&[head.join("\r\n").as_bytes(), &reply[end..]].concat());
        }
    });
    url
}

#[tokio::test]
async fn doctor_follows_one_upload_through_what_stands_in_front_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = a_server_with_one_recording(dir.path()).await;
    let doctor = |url: &str| {
        let output =
            reelcase().args(["doctor", "--server", &server.url, "--token", &server.token, "--url", url]).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (_, said) = doctor(&server.url);
    for line in [
        "ok   reach: Reelcase answers in",
        "ok   clock: agrees with the one here",
        "ok   config: tells pages to record",
        "ok   preflight: pages of other sites may send",
        "ok   upload: taken in",
        "ok   kept: durable, sealed into an object, and listed",
        "ok   played: every byte of it can be read, and it begins with a full snapshot",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    assert_eq!(server.api("/api/recordings/one").await["event_count"], 2, "others are where they were");
    assert_eq!(
        server.api("/api/recordings").await["recordings"].as_array().unwrap().len(),
        1,
        "the trial is forgotten"
    );

    let (code, said) = doctor(&proxy_that_takes(&server.url, "access-control-allow-origin"));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("fail preflight: OPTIONS /s/ is answered, but not so that pages of other sites may read it"),
        "{said}"
    );
    assert!(said.contains("hint: something in front takes Access-Control-Allow-Origin away"), "{said}");
    assert!(said.contains("ok   played"), "the server behind is well: {said}");

    let change = reqwest::Client::new().patch(format!("{}/api/projects/phc_commands/settings", server.url));
    let change =
        change.bearer_auth(&server.token).header("content-type", "application/json").body("{\"recording\":false}");
    assert_eq!(change.send().await.unwrap().status(), 200);
    let (code, said) = doctor(&server.url);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("fail config: tells pages of another site not to record"), "{said}");

    let (code, said) = doctor("http://127.0.0.1:1/analytics");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("warn address: ad blockers stop requests to addresses with \"analytics\" in them"), "{said}");
    assert!(said.contains("fail reach: nobody answers"), "{said}");
}

#[tokio::test]
async fn what_conditions_find_is_deleted_and_its_number_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let server = a_server_with_one_recording(dir.path()).await;
    let two = UPLOAD.replace("\"one\"", "\"two\"").replace("fe70", "fe71");
    let client = reqwest::Client::new();
    assert_eq!(client.post(format!("{}/s/", server.url)).body(two).send().await.unwrap().status(), 200);
    server.api("/api/recordings/one").await;
    let tag = client.patch(format!("{}/api/recordings/two/notes", server.url)).bearer_auth(&server.token);
    let tag = tag.header("content-type", "application/json").body("{\"tags\":[\"spam\"]}").send().await.unwrap();
    assert_eq!(tag.status(), 200);
    let token = server.token.clone();
    let delete = |more: &[&str]| {
        let output = reelcase().arg("delete").args(more).env("REELCASE_TOKEN", &token).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, message) = delete(&["--where", "tag=spam", "--server", &server.url]);
    assert_eq!(code, Some(1));
    assert!(message.contains("hint: --yes deletes without asking"), "{message}");
    for (conditions, said) in [("tag=none", "deleted 0 recordings\n"), ("tag=spam", "deleted 1 recording\n")] {
        let (code, stdout, message) = delete(&["--where", conditions, "--yes", "--server", &server.url]);
        assert_eq!((code, stdout.as_str()), (Some(0), said), "{message}");
    }
    assert_eq!(server.api("/api/recordings").await["recordings"][0]["id"], "one");
    server.stop();
    for (condition, flaw) in [("colour=red", "unknown field"), ("limit=1", "limit and cursor are no conditions")] {
        let (code, _, message) = delete(&["--where", condition, "--yes", "--data", data]);
        assert_eq!(code, Some(1), "{condition}");
        assert!(message.contains(flaw), "{message}");
    }
    let (code, stdout, message) = delete(&["--where", "duration_max_ms=60000", "--yes", "--data", data]);
    assert_eq!((code, stdout.as_str()), (Some(0), "deleted 1 recording\n"), "{message}");
    assert!(run(&["ls", "--json", "--data"], dir.path()).stdout.is_empty());
}

#[tokio::test]
async fn recordings_are_deleted_on_a_server_and_in_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let server = a_server_with_one_recording(dir.path()).await;
    server.api("/api/recordings/one").await;
    let token = std::fs::read_to_string(dir.path().join("secret")).unwrap();
    let delete = |more: &[&str]| {
        let output = reelcase().arg("delete").args(more).env("REELCASE_TOKEN", token.trim()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = delete(&["one", "--server", &server.url]);
    assert_eq!(code, Some(1));
    assert!(message.contains("hint: --yes deletes without asking"), "{message}");
    let (code, message) = delete(&["none", "one", "--yes", "--server", &server.url]);
    assert_eq!((code, message.as_str()), (Some(1), "error: there is no recording none\n"));
    assert_eq!(server.api("/api/recordings").await["recordings"], serde_json::json!([]));
    // Sent again, as by a client that saw no answer.
    let again = UPLOAD.replace("\"one\"", "\"two\"").replace("fe70", "fe71");
    for body in [UPLOAD, &again] {
        let sent =
            reqwest::Client::new().post(format!("{}/s/", server.url)).body(body.to_owned()).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }
    server.stop();
    let listed = || String::from_utf8(run(&["ls", "--json", "--data"], dir.path()).stdout).unwrap();
    assert!(listed().contains("\"id\":\"two\"") && !listed().contains("\"id\":\"one\""), "{}", listed());
    assert_eq!(delete(&["two", "--yes", "--data", data]), (Some(0), String::new()));
    assert_eq!(listed(), "");
}
