//! Tells events from what else stands where events may stand.

use std::borrow::Cow;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::ZlibDecoder;
use reelcase_format::cv::plain_event;
use reelcase_format::event::{EventHead, events, kind};
use reelcase_format::id::RecordingId;
use reelcase_format::json::{latin1, member, members, number, skip_blanks, skip_value, text};
use reelcase_format::limits::Limits as UploadLimits;
use reelcase_format::upload::SNAPSHOT;
use serde_json::{Map, Value};

use super::Limits;

/// A time below this, in ms since 1970, would lie in March 1973: it is in seconds.
const SECONDS_BELOW: f64 = 1e11;

/// Most that is read of a person, and of their ids.
const PERSON_BYTES_MAX: usize = 256 << 10;
const DISTINCT_IDS_MAX: usize = 100;

/// What a value that was found is.
pub(super) enum Candidate<'a> {
    /// An event, and the window that it names itself.
    Event { json: Cow<'a, [u8]>, window: Option<String> },
    /// A `$snapshot` of a PostHog client.
    Upload(Upload),
    /// A request with a body, which may hold events.
    Body(Vec<u8>),
    /// A row of the table in which PostHog once kept snapshots.
    Row(Row),
    /// A piece of a body that was cut up to fit into such rows.
    Chunk(Chunk),
    /// None of these.
    Other,
}

/// The events of a `$snapshot` and what it says of them.
#[derive(Default)]
pub(super) struct Upload {
    pub(super) events: Vec<Vec<u8>>,
    pub(super) window: Option<String>,
    pub(super) recording: Option<RecordingId>,
    pub(super) source: Option<String>,
    pub(super) library: Option<String>,
    pub(super) library_version: Option<String>,
}

/// What is in a row, and what the row says of it.
pub(super) struct Row {
    pub(super) holds: RowHolds,
    pub(super) window: Option<String>,
    pub(super) recording: Option<RecordingId>,
}

/// See [`Row`].
pub(super) enum RowHolds {
    /// One event, on one line.
    Event(Vec<u8>),
    Chunk(Chunk),
}

/// See [`Candidate::Chunk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Names the body.
    pub(super) id: String,
    /// Which of its pieces this is.
    pub(super) index: usize,
    /// How many pieces it has.
    pub(super) count: usize,
    pub(super) data: String,
}

/// Whether a member with this name, whose value opens with this byte, holds a list of events.
pub(super) fn lists_events(key: &str, opens: Option<u8>) -> bool {
    match opens {
        Some(b'[') => {
            matches!(key, "events" | "result" | "data" | "snapshots" | "snapshot_data" | "requests" | "batch")
        }
        Some(b'{') => key == "events" || names_windows(key),
        _ => false,
    }
}

/// Whether a list of this name is that of PostHog's file, which says before it whose recording it is.
pub(super) fn is_of_posthog(key: &str) -> bool {
    matches!(key, "snapshots" | "snapshotsByWindowId")
}

/// Reads the id of a recording, if it is one.
pub(super) fn named(raw: &[u8]) -> Option<RecordingId> {
    text(raw)?.parse().ok()
}

/// Who was recorded, as PostHog's file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) distinct_ids: Vec<String>,
    pub(super) properties: Map<String, Value>,
}

/// Reads a person, unless there is none or too much of it.
pub(super) fn person(raw: &[u8]) -> Option<Person> {
    if raw.len() > PERSON_BYTES_MAX {
        return None;
    }
    let mut person: Map<String, Value> = serde_json::from_slice(raw).ok()?;
    let ids = person.get("distinct_ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let distinct_ids = ids.filter(|id| !id.is_empty()).take(DISTINCT_IDS_MAX).map(str::to_owned).collect();
    let Some(Value::Object(properties)) = person.remove("properties") else {
        return Some(Person { distinct_ids, properties: Map::new() });
    };
    Some(Person { distinct_ids, properties })
}

/// Whether the members of an object of this name are windows.
pub(super) fn names_windows(key: &str) -> bool {
    matches!(key, "snapshotsByWindowId" | "snapshot_data_by_window_id")
}

/// Reads a window id, which some writers number.
pub(super) fn window_id(raw: &[u8], limits: &Limits) -> Option<String> {
    let id = match text(raw) {
        Some(id) => id.into_owned(),
        None => number(raw).map(|number| number.to_string())?,
    };
    (id.len() <= limits.window_id_bytes_max).then_some(id)
}

/// Decides what a checked value is.
pub(super) fn candidate<'a>(raw: &'a [u8], limits: &Limits) -> Candidate<'a> {
    match raw.first() {
        Some(b'{') => object(raw, limits),
        Some(b'"') => string(raw, limits),
        _ => Candidate::Other,
    }
}

/// Appends an event as it is kept: on one line, without what compresses parts of it, and with its time in ms.
pub(super) fn append(json: &[u8], limits: &Limits, out: &mut Vec<u8>) {
    let upload = UploadLimits {
        nesting_max: limits.nesting_max,
        field_bytes_max: limits.event_bytes_max,
        ..UploadLimits::default()
    };
    match seconds(json) {
        Some((from, to, seconds)) => {
            let mut event = json[..from].to_vec();
            event.extend_from_slice(format!("{}", seconds * 1000.0).as_bytes());
            event.extend_from_slice(&json[to..]);
            plain_event(&event, &upload, &mut upload.fields_bytes_max.clone(), out);
        }
        None => {
            plain_event(json, &upload, &mut upload.fields_bytes_max.clone(), out);
        }
    }
}

/// Finds the time of an event that has it in seconds: Sentry's SDK writes its performance spans so, and would end up
/// in 1970 with them. Only these, since a time may be small for other reasons.
fn seconds(json: &[u8]) -> Option<(usize, usize, f64)> {
    let head = EventHead::read(json).filter(|head| head.kind == kind::CUSTOM && head.timestamp < SECONDS_BELOW)?;
    if member(head.data?, "tag")? != b"\"performanceSpan\"" {
        return None;
    }
    let raw = member(json, "timestamp")?;
    // The slice lies in `json`, so the difference of the addresses is its place there.
    let from = raw.as_ptr() as usize - json.as_ptr() as usize;
    Some((from, from + raw.len(), head.timestamp))
}

fn object<'a>(raw: &'a [u8], limits: &Limits) -> Candidate<'a> {
    if EventHead::read(raw).is_some() {
        let own = members(raw).find(|(key, _)| matches!(key.as_ref(), b"windowId" | b"window_id"));
        let window = own.and_then(|(_, id)| window_id(id, limits));
        return Candidate::Event { json: Cow::Borrowed(raw), window };
    }
    if let Some(properties) = member(raw, "properties") {
        let is_snapshot = member(raw, "event").and_then(text).as_deref() == Some(SNAPSHOT);
        return if is_snapshot { snapshot(properties, limits) } else { Candidate::Other };
    }
    if let Some(body) = member(raw, "bodyBase64").and_then(text) {
        return STANDARD.decode(body.as_bytes()).map_or(Candidate::Other, Candidate::Body);
    }
    if let Some(chunk) = chunk(raw) {
        return Candidate::Chunk(chunk);
    }
    if let Some(row) = row(raw, limits) {
        return Candidate::Row(row);
    }
    match member(raw, "body") {
        Some(body) if matches!(body.first(), Some(b'[' | b'{')) => Candidate::Body(body.to_vec()),
        _ => bare_snapshot(raw),
    }
}

fn chunk(raw: &[u8]) -> Option<Chunk> {
    let id = text(member(raw, "chunk_id")?)?.into_owned();
    let data = text(member(raw, "data")?)?.into_owned();
    let place = |name| member(raw, name).and_then(number).map(|number| number as usize);
    Some(Chunk { id, index: place("chunk_index")?, count: place("chunk_count")?, data })
}

fn row(raw: &[u8], limits: &Limits) -> Option<Row> {
    let snapshot = text(member(raw, "snapshot_data")?)?.into_owned().into_bytes();
    if !is_object(&snapshot, limits) {
        return None;
    }
    let holds = match chunk(&snapshot) {
        Some(chunk) => RowHolds::Chunk(chunk),
        None => EventHead::read(&snapshot).map(|_| RowHolds::Event(one_line(&snapshot, limits)))?,
    };
    let window = member(raw, "window_id").and_then(|id| window_id(id, limits));
    let recording = member(raw, "session_id").and_then(text).and_then(|id| id.parse().ok());
    Some(Row { holds, window, recording })
}

/// The data of a full snapshot, which has no time, gets the first one there is.
fn bare_snapshot(raw: &[u8]) -> Candidate<'_> {
    let has = |name| member(raw, name).is_some_and(|value| value.first() == Some(&b'{'));
    if !has("node") || !has("initialOffset") {
        return Candidate::Other;
    }
    let mut json = br#"{"type":2,"data":"#.to_vec();
    json.extend_from_slice(raw);
    json.extend_from_slice(br#","timestamp":0}"#);
    Candidate::Event { json: Cow::Owned(json), window: None }
}

fn snapshot<'a>(properties: &[u8], limits: &Limits) -> Candidate<'a> {
    let mut upload = Upload::default();
    for (key, value) in members(properties) {
        match key.as_ref() {
            b"$snapshot_data" => {
                let events = events(value).filter(|event| EventHead::read(event).is_some());
                upload.events = events.map(|event| one_line(event, limits)).collect();
            }
            b"$window_id" => upload.window = window_id(value, limits),
            b"$session_id" => upload.recording = text(value).and_then(|id| id.parse().ok()),
            b"$snapshot_source" => upload.source = text(value).map(Cow::into_owned),
            b"$lib" => upload.library = text(value).map(Cow::into_owned),
            b"$lib_version" => upload.library_version = text(value).map(Cow::into_owned),
            _ => {}
        }
    }
    Candidate::Upload(upload)
}

fn one_line(event: &[u8], limits: &Limits) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.len());
    append(event, limits, &mut out);
    out
}

/// An event that was made a string: its JSON, or what rrweb's packer makes of it, zlib with one character per byte.
fn string<'a>(raw: &[u8], limits: &Limits) -> Candidate<'a> {
    let json = match raw.get(1) {
        Some(b'x') => unpack(raw, limits),
        Some(b'{' | b' ' | b'\\') => text(raw).map(|json| json.into_owned().into_bytes()),
        _ => None,
    };
    match json.filter(|json| is_object(json, limits)).map(|json| (EventHead::read(&json).is_some(), json)) {
        Some((true, json)) => Candidate::Event { json: Cow::Owned(json), window: None },
        _ => Candidate::Other,
    }
}

fn unpack(raw: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(raw.len());
    latin1(raw, &mut packed)?;
    let mut json = Vec::new();
    // One byte past the limit, because stopping exactly at it would truncate in silence.
    let mut decoder = ZlibDecoder::new(packed.as_slice()).take(limits.event_bytes_max as u64 + 1);
    decoder.read_to_end(&mut json).ok()?;
    (json.len() <= limits.event_bytes_max).then_some(json)
}

/// Whether the text is one JSON object and nothing more.
fn is_object(json: &[u8], limits: &Limits) -> bool {
    let starts = skip_blanks(json, 0);
    json.get(starts) == Some(&b'{')
        && skip_value(json, starts, limits.nesting_max).is_ok_and(|end| skip_blanks(json, end) == json.len())
}
