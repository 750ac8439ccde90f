//! A running server, and what clients send to it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reelcase_server::{BoundServer, Secret, ServerOptions};
use reelcase_store::inbox::InboxOptions;
use reelcase_store::{Store, StoreOptions, SystemClock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const SESSION: &str = "01a1fbdb-5cf7-798e-bff9-d7633f6d7075";
pub(crate) const SECRET: &str = "a-secret-for-tests";
/// Where the recorded page lives, as opposed to the server.
pub(crate) const PAGE: &str = "https://shop.example";
/// Longer than anything here takes; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a segment of the inbox, and so about the longest body that these servers take.
const SEGMENT_BYTES: u64 = 2 << 20;

/// A server of its own for one test.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) login_url: String,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
    pub(crate) dir: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

pub(crate) async fn site() -> Site {
    site_with(|_| ()).await
}

/// A server with other settings than the defaults.
pub(crate) async fn site_with(change: impl FnOnce(&mut ServerOptions)) -> Site {
    site_with_store(change, |_| ()).await
}

pub(crate) async fn site_with_store(
    change: impl FnOnce(&mut ServerOptions),
    change_store: impl FnOnce(&mut StoreOptions),
) -> Site {
    site_in(tempfile::tempdir().unwrap(), change, change_store).await
}

/// A server that takes the largest uploads there are.
pub(crate) async fn roomy_site() -> Site {
    site_with_store(|_| (), |store| store.inbox = InboxOptions::default()).await
}

/// A server on a directory that may hold a store already.
pub(crate) async fn site_in(
    dir: tempfile::TempDir,
    change: impl FnOnce(&mut ServerOptions),
    change_store: impl FnOnce(&mut StoreOptions),
) -> Site {
    let mut store_options = StoreOptions::new(dir.path());
    // Each server writes its inbox full of zeroes first, which small uploads need not wait for.
    store_options.inbox.segment_bytes = SEGMENT_BYTES;
    change_store(&mut store_options);
    let store = Store::open(store_options, Arc::new(SystemClock)).await.unwrap();
    let mut options = ServerOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        secret: Some(Secret::new(SECRET).unwrap()),
        ..ServerOptions::default()
    };
    change(&mut options);
    let server = BoundServer::bind(options, store.clone()).await.unwrap();
    let (address, login_url) = (server.address(), server.login_url());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.serve(async { stopped.await.unwrap_or_default() }));
    Site { address, store, login_url, stop: Some(stop), running: Some(running), dir }
}

impl Site {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are, and reads until the server ends the connection.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        answer
    }

    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Reply {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut bytes = format!("{} {target} HTTP/1.1\r\n", parts.method).into_bytes();
        if !parts.headers.contains_key("host") {
            bytes.extend(format!("host: {}\r\n", self.address).into_bytes());
        }
        if !parts.headers.contains_key("transfer-encoding") {
            bytes.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
        }
        for (name, value) in &parts.headers {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        bytes.extend(b"connection: close\r\n\r\n");
        bytes.extend(body);
        parse(&self.exchange(&bytes).await)
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        let request = Request::post(path).header("content-type", content_type).header("origin", PAGE);
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Vec::new()).unwrap()).await
    }

    /// Gets with the secret.
    pub(crate) async fn read(&self, path: &str) -> Reply {
        let request = Request::get(path).header("authorization", format!("Bearer {SECRET}"));
        self.send(request.body(Vec::new()).unwrap()).await
    }

    /// Uploads and insists on being told that it is kept.
    pub(crate) async fn keep(&self, body: impl Into<Vec<u8>>) {
        let reply = self.post("/s/", "text/plain", body).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }

    pub(crate) async fn recording(&self, session: &str) -> Value {
        self.read(&format!("/api/recordings/{session}")).await.json()
    }

    pub(crate) async fn event_count(&self, session: &str) -> Value {
        self.recording(session).await["event_count"].clone()
    }

    /// The ids of all recordings.
    pub(crate) async fn recordings(&self) -> Vec<String> {
        self.store.seal_all().await.unwrap();
        let page = self.read("/api/recordings").await.json();
        let ids = page["recordings"].as_array().unwrap().iter();
        let mut ids: Vec<_> = ids.map(|recording| recording["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// The recorded lines, byte for byte.
    pub(crate) async fn lines(&self, session: &str) -> Vec<Vec<u8>> {
        let reply = self.read(&format!("/api/recordings/{session}/export?format=jsonl")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }

    /// The analytics events that are kept with a recording.
    pub(crate) async fn events(&self, session: &str) -> Vec<Value> {
        let list = self.read(&format!("/api/recordings/{session}/blocks")).await.json();
        let mut events = Vec::new();
        for block in list["blocks"].as_array().unwrap().iter().filter(|block| block["kind"] == "events") {
            let lines = self.read(block["url"].as_str().unwrap()).await.text();
            events.extend(lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        events
    }

    pub(crate) async fn metrics(&self) -> String {
        self.read("/metrics").await.text()
    }

    /// What doctor says of one thing.
    pub(crate) async fn check(&self, name: &str) -> Value {
        let report = self.read("/api/doctor").await.json();
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone()
    }

    /// Stops the server and closes the store; the directory remains.
    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.running.take().unwrap()).await.unwrap().unwrap();
        self.store.close().await.unwrap();
        self.dir
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The stable name of what went wrong.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Reads one answer.
pub(crate) fn parse(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.map(|line| line.split_once(": ").unwrap());
    let headers: HeaderMap = pairs
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        });
    let rest = &bytes[end + 4..];
    let body = match headers.get("content-length") {
        Some(length) => rest[..length.to_str().unwrap().parse::<usize>().unwrap().min(rest.len())].to_vec(),
        None if headers.get("transfer-encoding").is_some() => unchunked(rest),
        None => rest.to_vec(),
    };
    Reply { status, headers, body }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line_end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line_end]).unwrap(), 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&bytes[line_end + 2..line_end + 2 + length]);
        bytes = &bytes[line_end + 4 + length..];
    }
    body
}

/// A `$snapshot` of two events: a page, and its full snapshot.
pub(crate) fn snapshot(session: &str, uuid: &str) -> Value {
    snapshot_of(
        session,
        "w1",
        uuid,
        json!([
            { "type": 4, "data": { "href": "https://shop.example/", "width": 8, "height": 6 }, "timestamp": 1_795_226_820_022_i64 },
            { "type": 2, "data": { "node": { "type": 0, "childNodes": [], "id": 1 }, "initialOffset": { "top": 0, "left": 0 } }, "timestamp": 1_795_226_820_030_i64 },
        ]),
    )
}

pub(crate) fn snapshot_of(session: &str, window: &str, uuid: &str, data: Value) -> Value {
    json!({
        "uuid": uuid,
        "event": "$snapshot",
        "properties": {
            "$snapshot_data": data,
            "$session_id": session,
            "$window_id": window,
            "token": "phc_test",
            "distinct_id": "visitor",
        },
        "timestamp": "2026-11-21T02:07:15.600Z",
    })
}

pub(crate) fn one_snapshot() -> String {
    json!([snapshot(SESSION, &uuid(1))]).to_string()
}

/// An upload whose `$snapshot_data` is this text, byte for byte.
pub(crate) fn upload_of(session: &str, data: &[u8]) -> Vec<u8> {
    let (before, after) = (
        format!(
            r#"[{{"event":"$snapshot","properties":{{"token":"phc_test","$session_id":"{session}","$window_id":"w1","$snapshot_data":"#
        ),
        "}}]",
    );
    [before.as_bytes(), data, after.as_bytes()].concat()
}

/// Letters that hardly pack, so that they take room wherever they wait.
pub(crate) fn noise(count: u32) -> String {
    (0..count).map(|at| char::from(b'A' + (at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 26) as u8 % 26)).collect()
}

/// An id of the client's.
pub(crate) fn uuid(number: u32) -> String {
    format!("01a1fbdb-8270-7135-9b23-{number:012x}")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gunzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain)?;
    Ok(plain)
}

/// A value as posthog-js compresses it within an event: gzip, one character a byte.
pub(crate) fn compressed(value: &str) -> Value {
    gzip(value.as_bytes()).into_iter().map(char::from).collect::<String>().into()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let encode = |chunk: &[u8]| {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digits = [digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)];
        let kept = chunk.len() + 1;
        digits.into_iter().enumerate().map(move |(index, digit)| if index < kept { digit } else { '=' })
    };
    bytes.chunks(3).flat_map(encode).collect()
}
