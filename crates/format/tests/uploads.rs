//! Decodes every captured upload of real posthog-js clients and compares what comes out with what an independent decoder
//! found; then damages bodies and expects errors, never panics.

// A test that cannot go on stops where it is, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use reelcase_format::cv::{CvOutcome, plain_event};
use reelcase_format::event::{EventHead, events};
use reelcase_format::id::UploadId;
use reelcase_format::json;
use reelcase_format::limits::Limits;
use reelcase_format::line::{lines, split_line, write_line};
use reelcase_format::upload::{Wire, inflate, rescan, scan};
use serde::Deserialize;

const TYPE_NAMES: [&str; 7] =
    ["DomContentLoaded", "Load", "FullSnapshot", "IncrementalSnapshot", "Meta", "Custom", "Plugin"];

const SOURCE_NAMES: [&str; 17] = [
    "Mutation",
    "MouseMove",
    "MouseInteraction",
    "Scroll",
    "ViewportResize",
    "Input",
    "TouchMove",
    "MediaInteraction",
    "StyleSheetRule",
    "CanvasMutation",
    "Font",
    "Log",
    "Drag",
    "StyleDeclaration",
    "Selection",
    "AdoptedStyleSheet",
    "CustomElement",
];

#[derive(Deserialize)]
struct Manifest {
    captures: Vec<Capture>,
}

#[derive(Deserialize)]
struct Capture {
    file: String,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    per_session: BTreeMap<String, Session>,
}

/// What one session holds; the same fields in the manifest and as counted here.
#[derive(Deserialize, Debug, Default, PartialEq)]
struct Session {
    rrweb_events: u64,
    by_type: BTreeMap<String, u64>,
    incremental_by_source: BTreeMap<String, u64>,
    clicks: u64,
    input_events: u64,
    rrweb_json_bytes: usize,
    first_ts: i64,
    last_ts: i64,
    snapshot_messages: u64,
    analytics_events: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body_base64: String,
}

impl Session {
    fn count(&mut self, event: &[u8]) {
        let head = EventHead::read(event).unwrap();
        let timestamp_ms = head.timestamp_ms();
        self.first_ts = if self.rrweb_events == 0 { timestamp_ms } else { self.first_ts.min(timestamp_ms) };
        self.last_ts = self.last_ts.max(timestamp_ms);
        self.rrweb_events += 1;
        self.rrweb_json_bytes += event.len();
        *self.by_type.entry(TYPE_NAMES[usize::from(head.kind)].to_owned()).or_default() += 1;
        if let Some(source) = head.source {
            *self.incremental_by_source.entry(SOURCE_NAMES[usize::from(source)].to_owned()).or_default() += 1;
        }
        self.clicks += u64::from(head.source == Some(2) && head.interaction == Some(2));
        self.input_events += u64::from(head.source == Some(5));
    }
}

fn corpus() -> PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/posthog-js");
    assert!(corpus.is_dir(), "the captures of posthog-js are missing: expected them in {}", corpus.display());
    corpus
}

fn manifest(corpus: &Path) -> Manifest {
    serde_json::from_slice(&fs::read(corpus.join("manifest.json")).unwrap()).unwrap()
}

/// The requests of a capture that carry items, and their bodies.
fn posts(corpus: &Path, file: &str) -> Vec<(Request, Vec<u8>)> {
    let capture = zstd::decode_all(fs::File::open(corpus.join(file)).unwrap()).unwrap();
    let requests = capture.lines().map(|line| serde_json::from_str::<Request>(&line.unwrap()).unwrap());
    // Flag requests are no uploads: they ask, and tell nothing that is kept.
    let uploads = requests.filter(|request| {
        request.method == "POST" && !request.path.contains("/flags") && !request.path.contains("/decide")
    });
    uploads
        .map(|request| {
            let body = STANDARD.decode(&request.body_base64).unwrap();
            (request, body)
        })
        .collect()
}

/// Counts one capture per session, each upload once.
fn count_capture(posts: &[(Request, Vec<u8>)]) -> BTreeMap<String, Session> {
    let limits = Limits::default();
    let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
    let mut seen: HashSet<UploadId> = HashSet::new();
    for (request, body) in posts {
        let compression = request.query.split('&').find_map(|pair| pair.strip_prefix("compression="));
        let content_type = request.headers.get("content-type").map(String::as_str);
        let json = inflate(&Wire { body, content_type, compression }, &limits).unwrap();
        let upload = scan(&json, &limits).unwrap();
        let again = rescan(&json, &limits).unwrap();
        let mut budget = limits.fields_bytes_max;
        for (item, again) in upload.items.iter().zip(&again.items) {
            assert_eq!((item.upload_id(), item.raw), (again.upload_id(), again.raw));
            assert_eq!(item.refusal, None, "{}", String::from_utf8_lossy(item.raw));
            assert!(item.token.is_some() || upload.token.is_some());
            assert!(item.timestamp_ms.is_some() || item.offset_ms.is_some());
            if !seen.insert(item.upload_id()) {
                continue;
            }
            let Some(session_id) = &item.session_id else { continue };
            let session = sessions.entry(session_id.clone()).or_default();
            let Some(data) = item.data else {
                *session.analytics_events.entry(item.name.clone()).or_default() += 1;
                continue;
            };
            session.snapshot_messages += 1;
            assert_eq!(events(data).count(), item.event_count);
            let listed: Vec<_> = events(data).map(|raw| (raw, EventHead::read(raw))).collect();
            assert_eq!(again.events, listed);
            for raw in events(data) {
                count_event(raw, &limits, &mut budget, session);
            }
        }
    }
    sessions
}

fn count_event(raw: &[u8], limits: &Limits, budget: &mut usize, session: &mut Session) {
    let had_cv = EventHead::read(raw).unwrap().cv.is_some();
    let (mut event, mut line) = (Vec::new(), Vec::new());
    let outcome = plain_event(raw, limits, budget, &mut event);
    assert_eq!(outcome, if had_cv { CvOutcome::Undone } else { CvOutcome::Plain });
    assert!(EventHead::read(&event).unwrap().cv.is_none());
    write_line("w", &event, &mut line);
    assert_eq!(lines(&line).map(split_line).collect::<Vec<_>>(), [Some(("w".into(), &event[..]))]);
    session.count(&event);
}

#[test]
fn every_captured_session_is_decoded_in_full() {
    let corpus = corpus();
    let mut session_count = 0;
    for capture in manifest(&corpus).captures {
        let mut counted = count_capture(&posts(&corpus, &capture.file));
        for (id, expected) in capture.expected.per_session {
            assert_eq!(counted.remove(&id), Some(expected), "session {id} of {}", capture.file);
            session_count += 1;
        }
        counted.retain(|_, session| session.rrweb_events > 0);
        assert!(counted.is_empty(), "{} holds sessions that the manifest does not name: {counted:?}", capture.file);
    }
    assert!(session_count > 0);
}

/// Everything that is done to an upload, with whatever comes out thrown away.
fn decode_all(body: &[u8], content_type: Option<&str>, compression: Option<&str>) {
    let limits = Limits { nesting_max: 100, ..Limits::default() };
    if let Ok(json) = inflate(&Wire { body, content_type, compression }, &limits) {
        scan_all(&json, &limits);
    }
}

fn scan_all(json: &[u8], limits: &Limits) {
    // It is for text that was checked, but what it makes of any other is nothing to fall over.
    let _ = rescan(json, limits);
    let Ok(upload) = scan(json, limits) else { return };
    let mut budget = limits.fields_bytes_max;
    for item in upload.items {
        item.upload_id();
        for raw in item.data.into_iter().flat_map(events) {
            let mut line = Vec::new();
            plain_event(raw, limits, &mut budget, &mut line);
            assert!(!line.contains(&b'\n'));
            EventHead::read(&line);
        }
    }
}

/// A small upload of the current client, with compressed events in it.
fn sample() -> (Vec<u8>, Vec<u8>) {
    let corpus = corpus();
    let posts = posts(&corpus, "todo-react.ndjson.zst");
    let bodies = posts.into_iter().filter(|(request, _)| request.path.starts_with("/s")).map(|(_, body)| body);
    let body = bodies.min_by_key(Vec::len).unwrap();
    let json = inflate(&Wire { body: &body, ..Wire::default() }, &Limits::default()).unwrap().into_owned();
    (body, json)
}

#[test]
fn cut_uploads_are_errors() {
    let (body, json) = sample();
    let limits = Limits::default();
    for end in (0..body.len()).step_by(7) {
        assert!(inflate(&Wire { body: &body[..end], ..Wire::default() }, &limits).is_err());
    }
    for end in (0..json.len()).step_by(7) {
        assert!(scan(&json[..end], &limits).is_err());
    }
}

#[test]
fn flipped_bits_never_panic() {
    let (body, json) = sample();
    let limits = Limits::default();
    for at in (0..body.len()).step_by(3) {
        let mut damaged = body.clone();
        damaged[at] ^= 1 << (at % 8);
        decode_all(&damaged, None, None);
    }
    for at in (0..json.len()).step_by(json.len() / 2_000 + 1) {
        let mut damaged = json.clone();
        damaged[at] ^= 1 << (at % 8);
        scan_all(&damaged, &limits);
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), form in any::<bool>(), lz in any::<bool>()) {
        let content_type = form.then_some("application/x-www-form-urlencoded");
        decode_all(&body, content_type, lz.then_some("lz64"));
        scan_all(&body, &Limits::default());
    }

    #[test]
    fn any_text_never_panics(text in "(data=)?[A-Za-z0-9+/=_ -]{0,200}", lz in any::<bool>()) {
        decode_all(text.as_bytes(), None, lz.then_some("lz64"));
    }

    #[test]
    fn anything_like_json_never_panics(text in r#"[\[{]([\[\]{},: \n]|"event":|"\$snapshot"|"properties":|"\$snapshot_data":|"type":3|"cv":"2024-10"|"\\u001f"|"batch":|12|null){0,40}"#) {
        scan_all(text.as_bytes(), &Limits::default());
    }

    #[test]
    fn what_was_checked_is_walked_to_the_same_end(text in r#"("([a"]|\\["\\n]|\\u00e9|é){0,40}"|[0-9]{1,3}|\[("\\"",|\{"\\\\":"a"\},){0,9}1\])"#, rest in r#"["\\,\]a]{0,9}"#) {
        let text = format!("{text}{rest}");
        if let Ok(end) = json::skip_value(text.as_bytes(), 0, 100) {
            prop_assert_eq!(json::skip_known(text.as_bytes(), 0), Ok(end));
        }
    }

    #[test]
    fn what_serde_reads_is_json_here_too(text in r#"[\[{]([\[\]{},:]|"[a\\n]{0,3}"|-?[01.e]{1,3}|null|true){0,12}[\]}]"#) {
        let ours = json::skip_value(text.as_bytes(), 0, 100).is_ok_and(|end| end == text.len());
        prop_assert!(!ours || json::skip_known(text.as_bytes(), 0) == Ok(text.len()));
        prop_assert_eq!(ours, serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok());
    }
}
