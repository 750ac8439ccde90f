//! Whoever reads what a command prints or says may stop when they have enough.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Server, reelcase, run, text};

/// What a command writes to when nobody reads on.
fn unread() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

/// A store with the recording `one` of `phc_pipes`, its file, and what the file was made of.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        let event = |at: u64| format!(r#"{{"type":5,"timestamp":{},"data":{{"tag":"t"}}}}"#, 1_795_226_820_000 + at);
        let events: Vec<_> = (0..2_000).map(event).collect();
        fs::write(desk.path("one.json"), format!("[{}]", events.join(","))).unwrap();
        Server::start(&desk.path("data")).stop();
        let (json, reel) = (desk.at("one.json"), desk.at("one.reel"));
        assert!(run(&["convert", &json, &reel, "--id", "one"]).0);
        let (is_ok, said) = run(&["import", &json, "--data", &desk.at("data"), "--project", "phc_pipes"]);
        assert!(is_ok, "{said}");
        assert!(run(&["sign", "--new-key", &desk.at("mine.key")]).0);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        text(&self.path(name)).to_owned()
    }

    /// The id of the recording in the store.
    fn id(&self) -> String {
        run(&["ls", "--data", &self.at("data")]).1.split(' ').next().unwrap().to_owned()
    }
}

/// Runs a command of which nobody reads what it prints: its exit code, and what it said.
fn run_unread(arguments: &[&str]) -> (Option<i32>, String) {
    let done = reelcase().args(arguments).stdout(unread()).output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn what_has_a_name_and_is_no_file_is_written_to_and_stays_what_it_is() {
    let desk = Desk::new();
    let (id, json, data) = (desk.id(), desk.at("one.json"), desk.at("data"));
    let (pipe, link, to) = (desk.path("pipe"), desk.path("link"), desk.path("to.jsonl"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink(&to, &link).unwrap();
    for arguments in [
        &["export", &id, "--data", &data, "--format", "jsonl", "--output"][..],
        &["convert", "--format", "jsonl", &json],
    ] {
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        let (is_ok, said) = run(&[arguments, &[text(&pipe)]].concat());
        assert!(is_ok && fs::metadata(&pipe).unwrap().file_type().is_fifo(), "{said}");
        let read = reader.join().unwrap();
        assert_eq!(read.iter().filter(|byte| **byte == b'\n').count(), 2_000);
        // A link goes on leading where it led.
        fs::write(&to, "older").unwrap();
        let (is_ok, said) = run(&[arguments, &[text(&link)]].concat());
        assert!(is_ok && link.is_symlink() && fs::read(&to).unwrap() == read, "{said}");
        let (is_ok, said) = run(&[arguments, &[text(desk.dir.path())]].concat());
        assert!(
            !is_ok && said == format!("error: cannot write {}: it is a directory\n", text(desk.dir.path())),
            "{said}"
        );
    }
}

#[test]
fn a_command_whose_output_nobody_reads_on_ends_well_and_says_nothing() {
    let desk = Desk::new();
    let (data, reel, key, id) = (desk.at("data"), desk.at("one.reel"), desk.at("mine.key"), desk.id());
    let commands: [&[&str]; 13] = [
        &["show", &reel],
        &["show", &id, "--data", &data],
        &["ls", "--data", &data],
        &["ls", "--json", "--data", &data],
        &["export", &id, "--data", &data],
        &["export", &id, "--data", &data, "--format", "jsonl"],
        &["export", &id, "--data", &data, "--format", "posthog"],
        &["export", &id, "--data", &data, "--sign", &key],
        &["verify", &reel],
        &["sign", "--key", &key],
        &["keys", "phc_pipes", "--data", &data],
        &["settings", "phc_pipes", "--data", &data],
        &["exports", "ls", "--data", &data],
    ];
    for command in commands {
        assert_eq!(run_unread(command), (Some(0), String::new()), "{command:?}");
    }
    let packed = run_unread(&["pack", "-", "--data", &data]);
    let converted = run_unread(&["convert", &reel, "-", "--format", "jsonl"]);
    for (code, said) in [packed, converted] {
        assert!(code == Some(0) && !said.contains("error") && !said.contains("panicked"), "{said}");
    }
    let server = Server::start(Path::new(&data));
    let access = ["--server", &server.url, "--token", &server.token];
    let commands: [&[&str]; 4] = [&["show", &id], &["ls"], &["export", &id, "--format", "jsonl"], &["webhooks", "ls"]];
    for command in commands {
        let (code, said) = run_unread(&[command, &access].concat());
        assert!(code == Some(0) && said.is_empty(), "{command:?}: {said}");
    }
}

#[test]
fn work_goes_on_where_nobody_reads_what_is_said_of_it() {
    let desk = Desk::new();
    let key = desk.at("mine.key");
    let files: Vec<String> = (0..3).map(|number| desk.at(&format!("{number}.reel"))).collect();
    for file in &files {
        fs::copy(desk.path("one.reel"), file).unwrap();
    }
    let sign = [&["sign", "--key", &key][..], &files.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    assert_eq!(run_unread(&sign), (Some(0), String::new()));
    for file in &files {
        assert!(run(&["verify", file]).1.contains("signed by"), "{file}");
    }

    fs::create_dir(desk.path("many")).unwrap();
    for number in 0..3 {
        let file = format!(r#"{{"sessionId":"r{number}","events":[{{"type":5,"timestamp":{number},"data":{{}}}}]}}"#);
        fs::write(desk.path("many").join(format!("{number}.json")), file).unwrap();
        fs::write(desk.path("many").join(format!("{number}.reel")), "PK damaged").unwrap();
    }
    let (data, many) = (desk.at("data"), desk.at("many"));
    let imported = reelcase().args(["import", &many, "--data", &data]).stderr(unread()).status().unwrap();
    let listed = run(&["ls", "--data", &data]).1;
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let again = reelcase().args(["import", &many, "--data", &data]).output().unwrap();
    assert_eq!(imported.code(), again.status.code());
}

#[test]
fn what_is_found_counts_also_where_nobody_reads_it() {
    let desk = Desk::new();
    let reel = desk.path("one.reel");
    let bytes = fs::read(&reel).unwrap();
    fs::write(desk.path("torn.reel"), &bytes[..bytes.len() - 60]).unwrap();
    assert_eq!(run_unread(&["verify", &desk.at("one.reel"), &desk.at("torn.reel")]), (Some(1), String::new()));
}

#[test]
fn a_disk_that_is_full_is_told() {
    let desk = Desk::new();
    let reel = desk.at("one.reel");
    for command in [&["show", &reel][..], &["verify", &reel], &["convert", &reel, "-", "--format", "jsonl"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let done = reelcase().args(command).stdout(full).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("cannot write") && said.contains("No space left on device"), "{said}");
    }
}

#[tokio::test]
async fn a_server_serves_where_nobody_reads_that_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = reelcase();
    command.args(["serve", "--listen", &address, "--data", text(dir.path())]).stdout(unread());
    let mut child = command.env("REELCASE_LOG", "warn").spawn().unwrap();
    let mut reply = None;
    while reply.is_none() && child.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        reply = reqwest::get(format!("http://{address}/array/phc_x/config.js")).await.ok();
    }
    let is_running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_running && reply.is_some());
}
