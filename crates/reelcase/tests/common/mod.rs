//! A real server process for tests, and what they ask of it.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "each test uses its part, and fails by panicking")]

pub(crate) mod load;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::Value;

/// An upload of one recording, to the project `phc_commands`.
pub(crate) const UPLOAD: &str = r#"[{"uuid":"01a1fbdb-8270-7135-9b23-544ab178fe70","event":"$snapshot","properties":{
    "$session_id":"one","$window_id":"w","token":"phc_commands","distinct_id":"d","$snapshot_data":[
    {"type":4,"data":{"href":"http://site.test/","width":8,"height":6},"timestamp":1795226820022},
    {"type":2,"data":{"node":{"type":0,"id":1,"childNodes":[]},"initialOffset":{"top":0,"left":0}},"timestamp":1795226820023}]}}]"#;

/// The binary under test.
pub(crate) fn reelcase() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reelcase"))
}

/// Runs the binary: whether it went well, and all that it said.
pub(crate) fn run(arguments: &[&str]) -> (bool, String) {
    let done = reelcase().args(arguments).output().unwrap();
    (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where the corpus is; fails clearly where it is not.
pub(crate) fn corpus(part: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus").join(part);
    assert!(path.exists(), "the corpus is missing: {}", path.display());
    path
}

/// All files below a directory.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { found.extend(files_below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Server {
    /// Starts on a store and waits until it serves.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_on(data, "127.0.0.1:0")
    }

    /// Starts on a fixed address.
    pub(crate) fn start_on(data: &Path, listen: &str) -> Self {
        Self::start_with(data, listen, &[])
    }

    /// Starts with further arguments.
    pub(crate) fn start_with(data: &Path, listen: &str, arguments: &[&str]) -> Self {
        Self::spawn(reelcase().args(["serve", "--listen", listen, "--data"]).arg(data).args(arguments))
    }

    /// What waits to be sent to PostHog, in uploads.
    pub(crate) async fn waiting(&self) -> u64 {
        let spool = &self.api("/api/upstream").await["spool"];
        ["recordings", "events"].iter().map(|lane| spool[lane].as_u64().unwrap()).sum()
    }

    /// Starts on a fixed address with settings that only the environment has, and waits until it serves or has ended.
    pub(crate) fn start_armed(data: &Path, listen: &str, env: &[(&str, String)]) -> Self {
        let mut command = reelcase();
        command
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .envs(env.iter().map(|(name, value)| (name, value)));
        let (child, login) = Self::run(&mut command);
        let (url, token) = login.split_once("/?token=").unwrap_or((&login, ""));
        Self { child, url: url.to_owned(), token: token.to_owned() }
    }

    /// Opens files and waits until they are served.
    pub(crate) fn open(files: &[&Path]) -> Self {
        Self::open_with(files, &[])
    }

    /// Opens files with further arguments.
    pub(crate) fn open_with(files: &[&Path], arguments: &[&str]) -> Self {
        Self::spawn(reelcase().arg("open").args(files).args(arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        let (child, login) = Self::run(command);
        let (url, token) = login.split_once("/?token=").unwrap_or_else(|| panic!("no login link in {login:?}"));
        Self { child, url: url.to_owned(), token: token.to_owned() }
    }

    /// Runs a server until it has printed its login link, or has ended.
    fn run(command: &mut Command) -> (Child, String) {
        let mut child = command.env("REELCASE_LOG", "warn").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().rsplit(' ').next().unwrap_or_default().to_owned())
    }

    /// Waits until the process has ended by itself; `None` when it has not by then.
    pub(crate) async fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let since = Instant::now();
        while since.elapsed() < at_most {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    /// Sends a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Ends the process as a power cut of the program would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// The most memory the process ever held, bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Sends what a real client sent, as it was recorded.
    pub(crate) async fn send_capture(&self, capture: &Value) {
        let file = std::fs::File::open(corpus("posthog-js").join(capture["file"].as_str().unwrap())).unwrap();
        let mut text = String::new();
        zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
        let client = reqwest::Client::new();
        let prefix = capture["path_prefix"].as_str().unwrap();
        for request in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            if request["method"] != "POST" {
                continue;
            }
            let path = request["path"].as_str().unwrap();
            let path = path.strip_prefix(prefix).unwrap_or(path);
            let query = request["query"].as_str().unwrap();
            let body =
                base64::engine::general_purpose::STANDARD.decode(request["body_base64"].as_str().unwrap()).unwrap();
            let mut post = client.post(format!("{}{path}?{query}", self.url)).body(body);
            for (name, value) in request["headers"].as_object().unwrap() {
                if !["host", "content-length", "connection", "accept-encoding"].contains(&name.as_str()) {
                    post = post.header(name, value.as_str().unwrap());
                }
            }
            let response = post.send().await.unwrap();
            let status = response.status();
            assert_eq!(status, 200, "{} {path}: {}", capture["id"], response.text().await.unwrap());
        }
    }

    /// Reads JSON from the API.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let response = reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await;
        let response = response.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Exports a recording's lines; none where there is no such recording.
    pub(crate) async fn lines(&self, id: &str) -> Vec<Value> {
        let url = format!("{}/api/recordings/{id}/export?format=jsonl", self.url);
        let response = reqwest::Client::new().get(url).bearer_auth(&self.token).send().await.unwrap();
        if response.status().as_u16() == 404 {
            return Vec::new();
        }
        assert!(response.status().is_success(), "{id}: {}", response.status());
        let bytes = response.bytes().await.unwrap();
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Parses a line whose depth and surrogates serde would refuse, keeping what the tests look at.
fn parse_line(line: &[u8]) -> Value {
    use reelcase_format::event::EventHead;
    use reelcase_format::line::split_line;

    let (window, event) = split_line(line).unwrap();
    let head = EventHead::read(event).unwrap();
    serde_json::json!({
        "window": window, "type": head.kind, "timestamp": head.timestamp_ms(), "source": head.source,
        "interaction": head.interaction, "has_cv": head.cv.is_some(), "event_bytes": event.len(),
        "hash": uuid::Uuid::from_slice(&reelcase_format::block::BlockHash::of(event).as_bytes()[..16]).unwrap().to_string(),
    })
}

/// A small file system of its own, unmounted when dropped.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    /// Mounts one, with options of tmpfs.
    pub(crate) fn mount(at: &Path, options: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output().unwrap();
        assert!(
            mounted.status.success(),
            "this test mounts a small tmpfs, which takes root and the right to mount; run it so: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(at.to_owned())
    }

    /// Gives it other options.
    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a server that is being killed may still hold it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A server that one recording was sent to.
pub(crate) async fn a_server_with_one_recording(data: &Path) -> Server {
    let server = Server::start(data);
    let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(UPLOAD).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    server
}
