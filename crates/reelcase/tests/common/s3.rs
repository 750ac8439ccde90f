//! A real S3 server, and a bad connection to it.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "each test uses its part, and fails by panicking")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What opens it.
pub(crate) const KEY: &str = "AKREELCASE";
pub(crate) const SECRET: &str = "not-a-secret";

/// A SeaweedFS of its own directory and ports, with a bucket `replay`. It ends with the last test that uses it.
pub(crate) struct Weed {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Weed {
    /// The one server of this process.
    pub(crate) fn get() -> Arc<Self> {
        static WEED: Mutex<Weak<Weed>> = Mutex::new(Weak::new());
        let mut there = WEED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        there.upgrade().unwrap_or_else(|| {
            let weed = Arc::new(Self::start());
            *there = Arc::downgrade(&weed);
            weed
        })
    }

    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/seaweedfs/bin/weed");
        assert!(program.exists(), "there is no S3 server to test with: make target/seaweedfs/bin/weed");
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<_> = (0..10).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(listeners);
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "s3.port",
            "filer.port.grpc",
            "s3.port.grpc",
            "admin.port",
            "admin.port.grpc",
        ];
        let mut command = Command::new(program);
        command.args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false"]);
        command.args(["-admin.ui=false", "-bucket=replay", "-s3.port.lance=0", "-s3.port.iceberg=0"]);
        command.args(names.iter().zip(&ports).map(|(name, port)| format!("-{name}={port}")));
        command.arg(format!("-dir={}", dir.path().display())).current_dir(dir.path());
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        let log = std::fs::File::create(dir.path().join("weed.log")).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).spawn().unwrap();
        let weed = Self { child, port: ports[5], _dir: dir };
        let since = Instant::now();
        while !weed.is_ready() {
            assert!(since.elapsed() < Duration::from_secs(60), "the S3 server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        weed
    }

    /// Whether its bucket is there, which is some time after it answers.
    fn is_ready(&self) -> bool {
        let url = format!("{}/replay/", self.endpoint());
        self.curl().args(["-o", "/dev/null", &url]).status().unwrap().success()
    }

    /// `curl` with what opens the bucket, failing on what is refused.
    pub(crate) fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{KEY}:{SECRET}")]);
        curl
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    /// Answered without having been passed on.
    Status(&'static str),
    /// The connection breaks before anybody saw the request.
    Reset,
    /// It is done, and nobody hears of it.
    LostReply,
    /// It is done, and half of the reply comes.
    HalfReply,
    /// It is not passed on, and the connection stays open.
    Silence,
    /// Whoever asks may not.
    Denied,
}

/// Which requests go wrong.
#[derive(Debug, Clone, Copy)]
enum Weather {
    /// One of so many, in each way in turn.
    OneOf(u64),
    /// All behind the first so many are never answered.
    SilentAfter(u64),
    /// Whoever asks may read, and nothing else.
    ReadOnly,
}

/// A connection to a server on which requests go wrong.
pub(crate) struct BadLine {
    pub(crate) endpoint: String,
    pub(crate) requests: Arc<AtomicU64>,
    /// What each was: `PUT /bucket/name`.
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl BadLine {
    /// Of `of` requests one goes wrong, in each way in turn.
    pub(crate) async fn to(weed: &Weed, of: u64) -> Self {
        Self::in_weather(weed, Weather::OneOf(of)).await
    }

    /// `count` requests go well, and the others are never answered.
    pub(crate) async fn silent_after(weed: &Weed, count: u64) -> Self {
        Self::in_weather(weed, Weather::SilentAfter(count)).await
    }

    /// What would change something is denied.
    pub(crate) async fn read_only(weed: &Weed) -> Self {
        Self::in_weather(weed, Weather::ReadOnly).await
    }

    async fn in_weather(weed: &Weed, weather: Weather) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (requests, port) = (Arc::new(AtomicU64::new(0)), weed.port);
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (counter, log) = (requests.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(one_request(stream, port, counter.clone(), log.clone(), weather));
            }
        });
        Self { endpoint, requests, asked, task }
    }

    /// What was written since this was asked for the last time.
    pub(crate) fn written(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.retain(|request| !request.starts_with("GET ") && !request.starts_with("HEAD "));
        asked
    }

    /// Requests so far.
    pub(crate) fn count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn fate(number: u64, weather: Weather) -> Fate {
    let fates = [
        Fate::Status("500 Internal Server Error"),
        Fate::LostReply,
        Fate::Reset,
        Fate::Status("503 Slow Down"),
        Fate::HalfReply,
    ];
    match weather {
        Weather::OneOf(of) if number % of == of - 1 => fates[(number / of) as usize % fates.len()],
        Weather::SilentAfter(count) if number >= count => Fate::Silence,
        _ => Fate::Well,
    }
}

async fn one_request(
    mut client: TcpStream,
    port: u16,
    counter: Arc<AtomicU64>,
    log: Arc<Mutex<Vec<String>>>,
    weather: Weather,
) -> Option<()> {
    let request = read_request(&mut client).await?;
    let first_line = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next()?).into_owned();
    let is_reading = first_line.starts_with("GET ") || first_line.starts_with("HEAD ");
    log.lock().unwrap().push(first_line);
    let fate = match fate(counter.fetch_add(1, Ordering::Relaxed), weather) {
        Fate::Well if matches!(weather, Weather::ReadOnly) && !is_reading => Fate::Denied,
        fate => fate,
    };
    match fate {
        Fate::Reset => return client.set_zero_linger().ok(),
        Fate::Status(status) => {
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return client.write_all(reply.as_bytes()).await.ok();
        }
        Fate::Silence => return std::future::pending().await,
        Fate::Denied => {
            let body = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>";
            let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            return client.write_all((head + body).as_bytes()).await.ok();
        }
        Fate::Well | Fate::LostReply | Fate::HalfReply => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    server.write_all(&request).await.ok()?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply).await.ok()?;
    match fate {
        Fate::LostReply => client.set_zero_linger().ok(),
        Fate::HalfReply => {
            client.write_all(&reply[..reply.len() / 2]).await.ok()?;
            client.set_zero_linger().ok()
        }
        _ => client.write_all(&reply).await.ok(),
    }
}

/// One request, which asks for the connection to be closed behind it.
async fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let head_end = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 2;
        }
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let body_bytes: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while request.len() < head_end + 2 + body_bytes {
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    request.splice(head_end..head_end, *b"connection: close\r\n");
    Some(request)
}
