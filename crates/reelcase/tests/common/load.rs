//! Clients that upload what posthog-js uploaded, and a ledger of what they sent and what was acknowledged.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Server, corpus};

/// Uploads of the corpus that are used, by their stored size at most: many small ones say more than few large ones.
const TEMPLATE_BYTES_MAX: usize = 2_000;
const TEMPLATES_MAX: usize = 120;
/// Uploads that go to one recording.
const UPLOADS_PER_RECORDING: u64 = 64;
/// How long a client waits for an answer, and before it tries again.
const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What a size is in CI, unless the environment variable `name` says otherwise, as `make soak` does.
pub(crate) fn size(name: &str, in_ci: u64) -> u64 {
    std::env::var(name).map_or(in_ci, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// A recorded upload, ready to be sent under other ids.
pub(crate) struct Template {
    json: String,
    session: String,
    window: String,
    uuid: String,
    pub(crate) event_count: u64,
}

impl Template {
    /// The upload as one of `session`. Its events carry `marker` as their window, so that each can be told later.
    pub(crate) fn body(&self, session: &str, marker: u64) -> Vec<u8> {
        let uuid = uuid::Uuid::new_v4().to_string();
        // The uuid goes first: in some uploads it is equal to none of the others, in none to both.
        let json = self.json.replace(&self.uuid, &uuid).replace(&self.session, session);
        gzip(json.replace(&self.window, &window_of(marker)).as_bytes())
    }
}

pub(crate) fn window_of(marker: u64) -> String {
    format!("window-{marker}")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Small uploads out of all captures.
pub(crate) fn templates() -> Vec<Template> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(corpus("posthog-js/manifest.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    for capture in manifest["captures"].as_array().unwrap() {
        let file = std::fs::File::open(corpus("posthog-js").join(capture["file"].as_str().unwrap())).unwrap();
        let mut text = String::new();
        zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
        found.extend(text.lines().filter_map(template).take(8));
        if found.len() >= TEMPLATES_MAX {
            break;
        }
    }
    assert!(found.len() >= 20, "only {} uploads of the corpus fit", found.len());
    found
}

fn template(line: &str) -> Option<Template> {
    let request: Value = serde_json::from_str(line).ok()?;
    let body = base64::engine::general_purpose::STANDARD.decode(request["body_base64"].as_str()?).ok()?;
    if body.len() > TEMPLATE_BYTES_MAX || !body.starts_with(&[0x1f, 0x8b]) {
        return None;
    }
    let mut json = String::new();
    GzDecoder::new(body.as_slice()).read_to_string(&mut json).ok()?;
    let parsed: Value = serde_json::from_str(&json).ok()?;
    let [item] = parsed.as_array()?.as_slice() else { return None };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let properties = &item["properties"];
    let (session, window) = (text(&properties["$session_id"])?, text(&properties["$window_id"])?);
    let event_count = properties["$snapshot_data"].as_array()?.len() as u64;
    let uuid = text(&item["uuid"])?;
    // One project for all, because each capture had its own.
    let json = json.replace(&text(&properties["token"])?, "phc_load");
    let is_usable = item["event"] == "$snapshot" && event_count > 0 && session != window && uuid != session;
    is_usable.then_some(Template { json, session, window, uuid, event_count })
}

/// One connection, opened again when it breaks.
pub(crate) struct Client {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

/// What the server said.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        Self { address: url.trim_start_matches("http://").to_owned(), stream: None }
    }

    /// Sends one upload. An error is what a browser knows as status 0.
    pub(crate) async fn post(&mut self, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        let answer = tokio::time::timeout(ANSWER, self.exchange(path, body)).await;
        let answer = answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    async fn exchange(&mut self, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(BufReader::new(TcpStream::connect(&self.address).await?)),
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut answer = Answer { status: 0, retry_after_s: None };
        let (mut length, mut is_last) = (0, false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                _ if line.is_empty() => break,
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("retry-after", value)) => answer.retry_after_s = value.parse().ok(),
                Some(("connection", "close")) => is_last = true,
                Some(_) => {}
                None => answer.status = line.split(' ').nth(1).unwrap().parse().unwrap(),
            }
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        if is_last {
            self.stream = None;
        }
        Ok(answer)
    }
}

/// What was sent, by recording, and what of it was acknowledged.
#[derive(Default)]
pub(crate) struct Ledger {
    sent: Mutex<BTreeMap<String, HashMap<u64, Sent>>>,
    pub(crate) acked: AtomicU64,
}

#[derive(Clone, Copy)]
struct Sent {
    event_count: u64,
    acked_at: Option<Instant>,
}

impl Ledger {
    pub(crate) fn note_sent(&self, session: &str, marker: u64, event_count: u64) {
        let sent = Sent { event_count, acked_at: None };
        self.sent.lock().unwrap().entry(session.to_owned()).or_default().insert(marker, sent);
    }

    pub(crate) fn note_acked(&self, session: &str, marker: u64) {
        self.sent.lock().unwrap().get_mut(session).unwrap().get_mut(&marker).unwrap().acked_at = Some(Instant::now());
        self.acked.fetch_add(1, Relaxed);
    }

    /// How many uploads were sent and not acknowledged.
    pub(crate) fn unanswered(&self) -> usize {
        self.sent.lock().unwrap().values().flat_map(HashMap::values).filter(|sent| sent.acked_at.is_none()).count()
    }

    /// Exports every recording and compares every event. What was acknowledged is there, all of it and once; what was
    /// not is there whole, or not at all.
    pub(crate) async fn check(&self, server: &Server) {
        let lost: Vec<_> = self.missing(server).await.into_iter().map(|(marker, _)| marker).collect();
        assert!(lost.is_empty(), "uploads that were acknowledged and are not there: {lost:?}");
    }

    /// As `check`, but answers which acknowledged uploads are not there, with the times at which they were.
    pub(crate) async fn missing(&self, server: &Server) -> Vec<(u64, Instant)> {
        let sent = self.sent.lock().unwrap().clone();
        let (mut lost, mut doubled, mut torn) = (Vec::new(), Vec::new(), Vec::new());
        for (session, uploads) in &sent {
            if uploads.values().all(|sent| sent.acked_at.is_none()) {
                continue;
            }
            let mut found: HashMap<String, u64> = HashMap::new();
            for line in server.lines(session).await {
                *found.entry(line["window"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            for (marker, sent) in uploads {
                let count = found.remove(&window_of(*marker)).unwrap_or(0);
                match (count.cmp(&sent.event_count), sent.acked_at) {
                    (Ordering::Less, _) if count > 0 => torn.push((*marker, count, sent.event_count)),
                    (Ordering::Less, Some(acked_at)) => lost.push((*marker, acked_at)),
                    (Ordering::Greater, _) => doubled.push((*marker, count, sent.event_count)),
                    _ => {}
                }
            }
            assert!(found.is_empty(), "{session} has events that nobody sent to it: {found:?}");
        }
        assert!(
            doubled.is_empty() && torn.is_empty(),
            "uploads (marker, events found, events sent): doubled {doubled:?}, torn {torn:?}"
        );
        lost
    }
}

/// Uploads one after another until told to stop; one that was not answered is sent again under the same uuid.
pub(crate) async fn upload_until(
    client: u64,
    url: String,
    templates: Arc<Vec<Template>>,
    ledger: Arc<Ledger>,
    stopping: Arc<AtomicBool>,
) {
    let mut connection = Client::new(&url);
    let mut sequence = 0;
    while !stopping.load(Relaxed) {
        let session = format!("load-{client}-{}", sequence / UPLOADS_PER_RECORDING);
        let marker = client * 1_000_000 + sequence;
        let template = &templates[(marker % templates.len() as u64) as usize];
        let body = template.body(&session, marker);
        ledger.note_sent(&session, marker, template.event_count);
        sequence += 1;
        while !stopping.load(Relaxed) {
            match connection.post("/s/?compression=gzip-js", &body).await {
                Ok(answer) if answer.status == 200 => {
                    ledger.note_acked(&session, marker);
                    break;
                }
                Ok(answer) => assert_eq!(answer.status, 503, "an upload was refused for good"),
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
