//! Writes a recording as the uploads that a PostHog client would have sent: `$snapshot` events for `/s/`.
//!
//! PostHog takes the session and the window of an upload from its first event, so each holds one window. How events are
//! cut into uploads depends on nothing but the events, and an upload's id is made of what is in it: whoever sends the same
//! recording again sends the same uploads. Events that are large are compressed as posthog-js does (`cv`).

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use reelcase_format::event::{EventHead, kind, source};
use reelcase_format::id::RecordingId;
use reelcase_format::json::members;
use serde_json::{Value, json};

use crate::stream::Event;
use crate::time::iso;

/// Bytes of events after which posthog-js sends what it has.
const UPLOAD_BYTES: usize = 900 << 10;

/// Bytes of events of all windows that wait to be sent.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Bytes of an event from which on compressing it alone is worth it.
const LARGE_EVENT_BYTES: usize = 16 << 10;

/// Bytes of a body that PostHog's capture takes.
pub const BODY_BYTES_MAX: usize = 20 << 20;

/// The members of a mutation that posthog-js compresses.
const MUTATION_PARTS: [&[u8]; 4] = [b"texts", b"attributes", b"removes", b"adds"];

/// The tag of the event that says by how much times were shifted.
pub const SHIFT_TAG: &str = "reelcase.shift";

/// What all uploads of a recording say.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The project's key.
    pub token: String,
    /// The session.
    pub recording: RecordingId,
    /// Who was recorded.
    pub distinct_id: String,
    /// `web` or `mobile`.
    pub source: String,
    /// The library that recorded it.
    pub library: Option<String>,
    /// The version of that library.
    pub library_version: Option<String>,
    /// What is added to the time of each event.
    pub shift_ms: i64,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// gzip of JSON.
    pub body: Vec<u8>,
    /// Events in it.
    pub event_count: u64,
}

/// Cuts the events of a recording, in the order of time, into uploads.
#[derive(Debug)]
pub struct UploadCutter {
    sender: Sender,
    waiting: BTreeMap<String, Waiting>,
    waiting_bytes: usize,
    has_begun: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Events with commas between.
    events: Vec<u8>,
    event_count: u64,
    last_ms: i64,
}

impl UploadCutter {
    /// Begins with nothing.
    pub fn new(sender: Sender) -> Self {
        Self { sender, waiting: BTreeMap::new(), waiting_bytes: 0, has_begun: false }
    }

    /// Takes the next event, and hands out uploads that are full.
    pub fn push(&mut self, event: &Event<'_>) -> Vec<Upload> {
        let mut full = Vec::new();
        let moment_ms = EventHead::read(event.json).map_or(0, |head| head.timestamp_ms());
        if !self.has_begun && self.sender.shift_ms != 0 {
            let payload = json!({"shift_ms": self.sender.shift_ms, "start_ms": moment_ms});
            let note = json!({"type": kind::CUSTOM, "timestamp": moment_ms,
                "data": {"tag": SHIFT_TAG, "payload": payload}});
            self.add(event.window, note.to_string().as_bytes(), moment_ms, &mut full);
        }
        self.has_begun = true;
        self.add(event.window, event.json, moment_ms, &mut full);
        full
    }

    /// Hands out the rest.
    pub fn finish(mut self) -> Vec<Upload> {
        let windows: Vec<_> = self.waiting.keys().cloned().collect();
        windows.iter().filter_map(|window| self.take(window)).collect()
    }

    fn add(&mut self, window: &str, json: &[u8], moment_ms: i64, full: &mut Vec<Upload>) {
        let json = shifted(json, self.sender.shift_ms);
        let json = compressed(&json).unwrap_or(json);
        let held_bytes = self.waiting.get(window).map_or(0, |waiting| waiting.events.len());
        if held_bytes > 0 && held_bytes + json.len() > UPLOAD_BYTES {
            full.extend(self.take(window));
        }
        let waiting = self.waiting.entry(window.to_owned()).or_default();
        if waiting.event_count > 0 {
            waiting.events.push(b',');
        }
        waiting.events.extend_from_slice(&json);
        waiting.event_count += 1;
        waiting.last_ms = moment_ms.saturating_add(self.sender.shift_ms);
        self.waiting_bytes += json.len();
        if self.waiting_bytes > WAITING_BYTES_MAX {
            let largest = self.waiting.iter().max_by_key(|(_, waiting)| waiting.events.len());
            let largest = largest.map(|(window, _)| window.clone());
            full.extend(largest.and_then(|window| self.take(&window)));
        }
    }

    /// The upload of what waits of a window.
    fn take(&mut self, window: &str) -> Option<Upload> {
        let Waiting { events, event_count, last_ms } = self.waiting.remove(window)?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(events.len());
        let Sender { token, recording, distinct_id, source, library, library_version, .. } = &self.sender;
        let mut properties = json!({"$session_id": recording.as_str(), "$window_id": window, "token": token,
            "distinct_id": distinct_id, "$snapshot_source": source, "$snapshot_bytes": events.len()});
        for (name, value) in [("$lib", library), ("$lib_version", library_version)] {
            if let Some(value) = value {
                properties[name] = Value::from(value.as_str());
            }
        }
        let properties = properties.to_string();
        let uuid = uuid_of(&[properties.as_bytes(), &events]);
        let head =
            format!(r#"[{{"uuid":"{uuid}","event":"$snapshot","timestamp":"{}","properties":"#, iso(last_ms as f64));
        let mut body = GzEncoder::new(Vec::new(), Compression::fast());
        let properties = properties.strip_suffix('}')?;
        let parts = [head.as_bytes(), properties.as_bytes(), br#","$snapshot_data":["#, &events, b"]}}]"];
        // What is written to memory does not fail.
        parts.iter().try_for_each(|part| body.write_all(part)).ok()?;
        Some(Upload { body: body.finish().ok()?, event_count })
    }
}

/// An id that is always the same for the same bytes.
fn uuid_of(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let hex = hasher.finalize().to_hex();
    // Version 8: made by rules of one's own.
    format!("{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// Where a part lies in the whole that it was cut from.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// The event at another time.
fn shifted(event: &[u8], shift_ms: i64) -> Vec<u8> {
    let stamp = members(event).filter(|(name, _)| name.as_ref() == b"timestamp").last();
    let Some((_, stamp)) = stamp.filter(|_| shift_ms != 0) else { return event.to_vec() };
    let text = String::from_utf8_lossy(stamp);
    let moved = match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(whole_ms), _) => whole_ms.saturating_add(shift_ms).to_string(),
        (_, Ok(parts_ms)) => (parts_ms + shift_ms as f64).to_string(),
        _ => return event.to_vec(),
    };
    let at = offset(event, stamp);
    [&event[..at], moved.as_bytes(), &event[at + stamp.len()..]].concat()
}

/// The event with its large parts compressed within it. `None` where that is not worth it.
fn compressed(event: &[u8]) -> Option<Vec<u8>> {
    let head = EventHead::read(event).filter(|head| event.len() >= LARGE_EVENT_BYTES && head.cv.is_none())?;
    let data = head.data?;
    let parts: Vec<&[u8]> = match (head.kind, head.source) {
        (kind::FULL_SNAPSHOT, _) => vec![data],
        (kind::INCREMENTAL, Some(source::MUTATION)) => {
            let is_part = |name: &[u8]| MUTATION_PARTS.contains(&name);
            members(data).filter(|(name, _)| is_part(name)).map(|(_, value)| value).collect()
        }
        _ => return None,
    };
    let end = event.iter().rposition(|byte| *byte == b'}')?;
    let (mut out, mut at) = (Vec::with_capacity(event.len() / 4), 0);
    for part in parts {
        let from = offset(event, part);
        out.extend_from_slice(&event[at..from]);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(part).ok()?;
        let characters: String = gzip.finish().ok()?.into_iter().map(char::from).collect();
        serde_json::to_writer(&mut out, &characters).ok()?;
        at = from + part.len();
    }
    out.extend_from_slice(&event[at..end]);
    out.extend_from_slice(br#","cv":"2024-10"}"#);
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn sender(shift_ms: i64) -> Sender {
        Sender {
            token: "phc_x".to_owned(),
            recording: "one".parse().unwrap(),
            distinct_id: "d\"".to_owned(),
            source: "web".to_owned(),
            library: Some("web".to_owned()),
            library_version: None,
            shift_ms,
        }
    }

    fn cut(events: &[(&str, String)], shift_ms: i64) -> Vec<Upload> {
        let mut cutter = UploadCutter::new(sender(shift_ms));
        let pushed = events.iter().flat_map(|(window, json)| cutter.push(&Event { window, json: json.as_bytes() }));
        let mut uploads: Vec<_> = pushed.collect();
        uploads.extend(cutter.finish());
        uploads
    }

    fn plain(upload: &Upload) -> Value {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&upload.body[..]).read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn event(at: i64, fill: usize) -> String {
        format!(r#"{{"type":5,"timestamp":{at},"data":{{"tag":"{}"}}}}"#, "x".repeat(fill))
    }

    #[test]
    fn each_upload_is_of_one_window_and_no_larger_than_posthog_js_makes_them() {
        let events: Vec<_> = (0..30).map(|at| (["a", "b"][at as usize % 2], event(at, 100 << 10))).collect();
        let uploads = cut(&events, 0);
        assert_eq!(uploads.len(), 4);
        assert_eq!(uploads.iter().map(|upload| upload.event_count).sum::<u64>(), 30);
        let first = plain(&uploads[0]);
        let properties = &first[0]["properties"];
        assert_eq!((&first[0]["event"], &properties["$window_id"]), (&json!("$snapshot"), &json!("a")));
        assert_eq!((&properties["distinct_id"], &properties["$session_id"]), (&json!("d\""), &json!("one")));
        assert_eq!(properties["$snapshot_data"].as_array().unwrap().len(), 8);
        assert!(properties["$snapshot_bytes"].as_u64().unwrap() <= UPLOAD_BYTES as u64);
        assert_eq!(cut(&events, 0), uploads, "the same recording makes the same uploads, ids included");
        assert_ne!(plain(&cut(&events, 1)[0])[0]["uuid"], first[0]["uuid"]);
    }

    #[test]
    fn an_event_that_is_too_large_for_others_goes_alone() {
        let uploads = cut(&[("a", event(1, 5)), ("a", event(2, 2 << 20)), ("a", event(3, 5))], 0);
        assert_eq!(uploads.iter().map(|upload| upload.event_count).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn shifted_events_say_so_first_and_keep_all_but_their_time() {
        let events =
            [("a", r#"{"timestamp":1000.5,"type":4,"data":{"timestamp":7}}"#.to_owned()), ("a", event(2_000, 1))];
        let events = plain(&cut(&events, 500)[0])[0]["properties"]["$snapshot_data"].take();
        assert_eq!(events[0]["data"], json!({"tag": SHIFT_TAG, "payload": {"shift_ms": 500, "start_ms": 1000}}));
        assert_eq!(events[1], json!({"timestamp": 1500.5, "type": 4, "data": {"timestamp": 7}}));
        assert_eq!(events[2]["timestamp"], 2500);
    }

    #[test]
    fn what_is_compressed_within_an_event_is_what_reelcase_undoes() {
        use reelcase_format::cv::{CvOutcome, plain_event};
        use reelcase_format::limits::Limits;
        let fill = "grüße ".repeat(4_000);
        let snapshot = format!(r#"{{"type":2,"data":{{"node":"{fill}"}},"timestamp":1}}"#);
        let adds = format!(r#"[{{"node":"{fill}"}}]"#);
        let mutation = format!(
            r#"{{"type":3,"data":{{"source":0,"adds":{adds},"texts":[],"isAttachIframe":true}},"timestamp":2}}"#
        );
        for event in [snapshot, mutation] {
            let packed = compressed(event.as_bytes()).unwrap();
            assert!(packed.len() < event.len() / 4);
            let mut undone = Vec::new();
            let mut budget = 1 << 20;
            assert_eq!(plain_event(&packed, &Limits::default(), &mut budget, &mut undone), CvOutcome::Undone);
            assert_eq!(String::from_utf8(undone).unwrap(), event);
        }
        assert_eq!(compressed(event(1, 1 << 20).as_bytes()), None, "PostHog's player undoes nothing else");
    }
}
