//! Every recording of the rrweb corpus becomes a reel, event for event. What was there is read by another JSON parser;
//! how many events of which kind, by another program, which wrote it into the corpus's own list.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reelcase_format::event::EventHead;
use reelcase_format::line::{lines, split_line};
use reelcase_format::reel::{ReelLimits, verify};
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::reel::{ReelOptions, ReelSink};
use reelcase_transform::stream::{ReadEvents, ReadReport, copy};
use serde_json::value::RawValue;

/// The folders of the corpus: how many files there are, and how many of them are recordings. A file that is added makes
/// the count wrong, so that nobody forgets to read it.
const FOLDERS: [(&str, usize, usize); 9] = [
    ("answers", 61, 0),
    ("derived", 36, 34),
    ("exports", 10, 10),
    ("fixtures", 29, 29),
    ("fuzz", 12, 6),
    ("recorded", 26, 13),
    ("sdk", 4, 3),
    ("snapshots", 26, 0),
    ("stress", 12, 5),
];

/// Files beside recordings that are none. OpenObserve's codes are not those of rrweb.
fn is_recording(path: &str) -> bool {
    let is_answer = [".truth.json", ".expect.json", ".livedom.json", ".oracle.json", ".oracle.json.zst"];
    let holds_no_events = ["derived/empty-array.json", "sdk/openobserve-rum-0.4.1.json"];
    !path.starts_with("answers/")
        && !path.starts_with("snapshots/")
        && !is_answer.iter().any(|end| path.ends_with(end))
        && !holds_no_events.contains(&path)
}

/// Files with damage in them, and what is said about it.
const DAMAGED: [(&str, &str); 2] = [
    ("derived/lines-with-damage.jsonl", "byte 21634, event 30: expected a comma or the end of the object"),
    ("derived/truncated.json", "byte 36944, event 44: the file ends within an event"),
];

fn corpus() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/rrweb");
    assert!(path.exists(), "the corpus is missing: {}", path.display());
    path
}

/// All files of a folder, by their names below the corpus.
fn files(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(corpus().join(folder))
        .unwrap()
        .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap()))
        .collect();
    names.sort();
    names
}

fn recordings() -> Vec<String> {
    FOLDERS.iter().flat_map(|(folder, _, _)| files(folder)).filter(|path| is_recording(path)).collect()
}

/// Converts bytes and returns the reel's lines, split, and what the reader said.
fn convert(bytes: &[u8]) -> (Vec<(String, Vec<u8>)>, ReadReport) {
    let options =
        ReelOptions { project: "phc_corpus".parse().unwrap(), recording: None, creator: "test".to_owned(), level: 1 };
    let mut reel = Vec::new();
    let mut reader = ForeignReader::new(bytes, Limits::default()).unwrap();
    let written = copy(&mut reader, ReelSink::new(&mut reel, options)).unwrap();
    let found = verify(reel.as_slice(), &ReelLimits::default());
    assert!(found.damage.is_empty(), "{:?}", found.damage);
    assert_eq!(found.event_count, written.summary.event_count);
    // Stock zstd reads a reel: this is how others get at the lines.
    let plain = zstd::decode_all(reel.as_slice()).unwrap();
    let split = |line| split_line(line).map(|(window, event)| (window.into_owned(), event.to_vec())).unwrap();
    (lines(&plain).map(split).collect(), reader.report().clone())
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(corpus().join(path)).unwrap()
}

fn events(path: &str) -> Vec<Vec<u8>> {
    convert(&read(path)).0.into_iter().map(|(_, event)| event).collect()
}

/// Events without a part of their text, which somebody added to them.
fn without(events: &[Vec<u8>], added: &str) -> Vec<Vec<u8>> {
    let strip = |event: &Vec<u8>| std::str::from_utf8(event).unwrap().replace(added, "").into_bytes();
    events.iter().map(strip).collect()
}

/// Events with every character beyond ASCII escaped, as another writer of JSON writes them.
fn escaped(events: &[Vec<u8>]) -> Vec<String> {
    let escape = |character: char| {
        let units = character.encode_utf16(&mut [0; 2]).to_vec();
        units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
    };
    let event = |event: &Vec<u8>| {
        let characters = std::str::from_utf8(event).unwrap().chars();
        characters
            .map(|character| if character.is_ascii() { character.to_string() } else { escape(character) })
            .collect()
    };
    events.iter().map(event).collect()
}

/// The events of a file that is an array of them, or has one under a name, as another parser cuts them.
fn raw_events(path: &str) -> Option<Vec<Vec<u8>>> {
    let bytes = read(path);
    let bytes = if path.ends_with(".zst") { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut array: Vec<Box<RawValue>> = serde_json::from_slice(bytes)
        .or_else(|_| {
            let object: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes)?;
            serde_json::from_str(object.get("result").or(object.get("events")).map_or("", |list| list.get()))
        })
        .ok()?;
    let timestamp = |event: &RawValue| EventHead::read(event.get().as_bytes()).map(|head| head.timestamp_ms());
    if array.iter().any(|event| timestamp(event).is_none()) {
        return None;
    }
    array.sort_by_key(|event| timestamp(event));
    Some(array.iter().map(|event| event.get().as_bytes().to_vec()).collect())
}

fn without_blanks(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    reelcase_format::json::append_compact(bytes, &mut out);
    out
}

#[test]
fn every_file_of_the_corpus_is_known() {
    let mut found = Vec::new();
    for (folder, _, _) in FOLDERS {
        let all = files(folder);
        found.push((folder, all.len(), all.iter().filter(|path| is_recording(path)).count()));
    }
    assert_eq!(found, FOLDERS);
    let folders = std::fs::read_dir(corpus()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), FOLDERS.len(), "a folder was added to the corpus");
}

#[test]
fn every_recording_comes_back_event_for_event() {
    let mut byte_for_byte = 0;
    for path in recordings() {
        let (converted, report) = convert(&read(&path));
        let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
        let expected = DAMAGED.iter().filter(|(damaged, _)| *damaged == path).map(|(_, what)| (*what).to_owned());
        assert_eq!(damage, expected.collect::<Vec<_>>(), "{path}");
        // What is changed in the events of these is compared below.
        if ["derived/posthog-cv-2024-10.json", "derived/secrets-everywhere.json"].contains(&path.as_str()) {
            continue;
        }
        if let Some(raw) = raw_events(&path) {
            let raw: Vec<_> = raw.iter().map(|event| without_blanks(event)).collect();
            let converted: Vec<_> = converted.into_iter().map(|(_, event)| event).collect();
            assert!(raw == converted, "{path} has other events");
            byte_for_byte += 1;
        }
    }
    assert!(byte_for_byte >= 80, "only {byte_for_byte} files were compared byte for byte");
}

#[test]
fn kinds_are_as_the_corpus_lists_them() {
    let list = String::from_utf8(read("SOURCES.md")).unwrap();
    let mut compared = 0;
    for path in recordings() {
        let row = list.lines().find(|line| line.starts_with(&format!("| `{path}`"))).unwrap();
        let kinds = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let Some((_, expected)) = kinds.split_once(" events: ").filter(|(_, kinds)| !kinds.contains("packed")) else {
            continue;
        };
        let mut counts: BTreeMap<(u8, Option<u8>), usize> = BTreeMap::new();
        for event in events(&path) {
            let head = EventHead::read(&event).unwrap();
            *counts.entry((head.kind, head.source)).or_default() += 1;
        }
        let found: Vec<String> = counts
            .iter()
            .map(|((kind, source), count)| match source {
                Some(source) => format!("{kind}.{source}×{count}"),
                None => format!("{kind}×{count}"),
            })
            .collect();
        assert_eq!(found.join(", "), expected.trim(), "{path}");
        compared += 1;
    }
    assert!(compared >= 70, "only {compared} rows were compared");
}

#[test]
fn the_same_events_in_other_wrappings_are_the_same() {
    let plain = events("derived/wrapped-result-key.json");
    assert_eq!(plain.len(), 60);
    for path in ["gzip-of-array.json.gz", "nested-batches.json", "wrapped-events-key.json", "wrapped-strings.json"] {
        assert!(events(&format!("derived/{path}")) == plain, "{path}");
    }
    // The packer's mark stays, since events keep their bytes.
    const MARK: &str = r#","v":"v1""#;
    assert!(without(&events("derived/packed-and-plain-mixed.json"), MARK) == plain);
    let packed = events("recorded/rrweb-2.2.2-packed.json");
    assert!(packed.len() == 411 && packed.iter().all(|event| event.ends_with(format!("{MARK}}}").as_bytes())));
}

#[test]
fn compression_of_posthog_clients_is_undone() {
    let plain = events("recorded/posthog-rrweb-0.0.59-shop.json");
    assert!(escaped(&events("derived/posthog-cv-2024-10.json")) == escaped(&plain));
    let (lines, _) = convert(&read("derived/posthog-lines-mixed.jsonl"));
    let mut windows: Vec<&str> = lines.iter().map(|(window, _)| window.as_str()).collect();
    windows.dedup();
    assert_eq!(windows, ["0193aaaa-1111-7000-8000-000000000001", "0193aaaa-1111-7000-8000-000000000002"]);
    let events: Vec<_> = lines.into_iter().map(|(_, event)| event).collect();
    let events = without(&events, r#""windowId":"0193aaaa-1111-7000-8000-000000000001","#);
    assert!(escaped(&events) == escaped(&plain));
}

#[test]
fn requests_of_sdks_give_their_recordings() {
    let (posthog, _) = convert(&read("sdk/posthog-js-1.449.2-compressed.requests.json"));
    assert_eq!(posthog.len(), 157);
    assert!(posthog.iter().all(|(_, event)| EventHead::read(event).unwrap().cv.is_none()));
    assert_eq!(events("sdk/mixpanel-2.83.0.json").len(), 117);
    assert_eq!(events("sdk/sentry-11.12.0-plain.json").len(), 175);
}

#[test]
fn spans_that_sentry_times_in_seconds_stay_in_their_time() {
    for path in ["sdk/sentry-11.12.0-plain.json", "derived/secrets-everywhere.json"] {
        let is_span = |event: &&Vec<u8>| String::from_utf8_lossy(event).contains(r#""performanceSpan""#);
        let found: Vec<_> = events(path).into_iter().filter(|event| is_span(&event)).collect();
        assert!(!found.is_empty());
        for event in found {
            assert!(EventHead::read(&event).unwrap().timestamp > 1.7e12, "{}", String::from_utf8_lossy(&event));
        }
    }
}
