//! What the reader of foreign forms takes, refuses and survives.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::io::{self, Read, Write};

use proptest::prelude::*;
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::stream::{DEFAULT_WINDOW, ReadError, ReadEvents, ReadReport};

const ONE: &str = r#"{"type":4,"data":{"href":"a"},"timestamp":1}"#;
const TWO: &str = r#"{"timestamp":2.5,"data":{"n":[{"x":1}]},"type":3}"#;

/// Window and event, for each event that was read.
type Found = Vec<(String, String)>;

fn read_within(source: impl Read, limits: Limits) -> Result<(Found, ReadReport), ReadError> {
    let mut reader = ForeignReader::new(source, limits)?;
    let mut found = Vec::new();
    while let Some(event) = reader.next_event()? {
        found.push((event.window.to_owned(), String::from_utf8_lossy(event.json).into_owned()));
    }
    Ok((found, reader.report().clone()))
}

fn read(bytes: &[u8]) -> (Found, ReadReport) {
    read_within(bytes, Limits::default()).unwrap()
}

fn events(bytes: &[u8]) -> Vec<String> {
    read(bytes).0.into_iter().map(|(_, event)| event).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A string that holds bytes as characters, as rrweb's packer makes it.
fn packed(json: &str) -> String {
    let characters: String = zlib(json.as_bytes()).iter().map(|byte| char::from(*byte)).collect();
    serde_json::to_string(&characters).unwrap()
}

#[test]
fn every_shape_gives_the_same_events() {
    let quoted = |json: &str| serde_json::to_string(json).unwrap();
    let list = format!("[{ONE},{TWO}]");
    for text in [
        list.clone(),
        format!("\u{feff}\n [ {ONE} ,\n {TWO} ]\n"),
        format!("[[{ONE}],[],[[{TWO}]]]"),
        format!("{ONE}\n{TWO}\n"),
        format!("{ONE}\r\n\r\n\u{feff}{TWO}"),
        format!("{ONE}{TWO}"),
        format!("{list}\n[]\n"),
        format!(r#"{{"version":1,"events":{list},"after":{{"a":[1]}}}}"#),
        format!(r#"{{"result":{list}}}"#),
        format!(r#"{{"messages":"{{}}","errors":[],"events":{{"events":{list}}}}}"#),
        format!(r#"{{"version":"2023-04-28","data":{{"id":"s","person":null,"snapshots":{list}}}}}"#),
        format!(r#"{{"version":"2022-12-02","data":{{"person":{{}},"snapshotsByWindowId":{{"main":{list}}}}}}}"#),
        format!(r#"{{"version":"2022-12-22","snapshot_data_by_window_id":{{"main":[{ONE}],"main":[{TWO}]}}}}"#),
        format!("[{},{}]", quoted(ONE), quoted(TWO)),
        format!("[{},{}]", packed(ONE), packed(TWO)),
        format!("[{},{TWO}]", packed(ONE)),
        format!(r#"{{"requests":[{{"path":"/a","body":{list}}},{{"body":[]}},{{"path":"/b"}}]}}"#),
        format!(
            r#"[{{"event":"$pageview","properties":{{}}}},{{"event":"$snapshot","properties":{{"$snapshot_data":{list},"$window_id":"main"}}}}]"#
        ),
        format!(r#"{{"api_key":"k","batch":[{{"event":"$snapshot","properties":{{"$snapshot_data":{list}}}}}]}}"#),
        format!("{{\"event_id\":\"e\"}}\n{{\"type\":\"replay_recording\"}}\n{{\"segment_id\":0}}\n{list}"),
    ] {
        let (found, report) = read(text.as_bytes());
        let expected = [(DEFAULT_WINDOW.to_owned(), ONE.to_owned()), (DEFAULT_WINDOW.to_owned(), TWO.to_owned())];
        assert_eq!(found, expected, "{text}");
        assert_eq!(report.damage, [], "{text}");
        assert_eq!(report.event_count, 2);
    }
}

#[test]
fn compression_is_found_out_and_may_be_double() {
    let list = format!("[{ONE},{TWO}]").into_bytes();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for packed in [gzip(&list), zstd(&list), zstd(&gzip(&list)), gzip(&gzip(&list))] {
        assert_eq!(events(&packed), [ONE, TWO]);
    }
    let two_members = [gzip(ONE.as_bytes()), gzip(TWO.as_bytes())].concat();
    assert_eq!(events(&two_members), [ONE, TWO]);
    let sentry = [b"{\"segment_id\":0}\n".to_vec(), zlib(&list), b"\n{\"segment_id\":1}\n[]".to_vec()].concat();
    assert_eq!(events(&sentry), [ONE, TWO]);
}

#[test]
fn windows_are_taken_from_where_they_are_named() {
    let own = r#"{"windowId":7,"type":1,"timestamp":3}"#;
    let text = format!("[\"a\",{ONE}]\n{{\"window_id\":\"b\",\"data\":[{ONE},{own}]}}\n{own}\n{ONE}");
    let windows: Vec<String> = read(text.as_bytes()).0.into_iter().map(|(window, _)| window).collect();
    assert_eq!(windows, ["a", "b", "7", "7", DEFAULT_WINDOW]);
    let by_window = format!(r#"{{"data":{{"snapshotsByWindowId":{{"w1":[{ONE}],"w2":[{TWO}]}}}}}}"#);
    let windows: Vec<String> = read(by_window.as_bytes()).0.into_iter().map(|(window, _)| window).collect();
    assert_eq!(windows, ["w1", "w2"]);
}

#[test]
fn events_keep_their_bytes() {
    let odd = r#"{ "type" : 5, "x":1.50, "data":{"s":"\ud83d\u0000\/"},"timestamp":1e3 ,"type":5}"#;
    assert_eq!(events(format!("[{odd}]").as_bytes()), [odd]);
    let mut latin = br#"[{"type":5,"data":""#.to_vec();
    latin.extend_from_slice(b"\xe9\xed\xa0\x80");
    latin.extend_from_slice(br#"","timestamp":1}]"#);
    let mut reader = ForeignReader::new(latin.as_slice(), Limits::default()).unwrap();
    assert_eq!(reader.next_event().unwrap().unwrap().json, &latin[1..latin.len() - 1]);
}

#[test]
fn what_is_no_event_is_counted_and_placed() {
    let text = format!(r#"[{ONE},null,5,"text",{{"type":3}},{{"type":"3","timestamp":1}},{TWO}]"#);
    let (found, report) = read(text.as_bytes());
    assert_eq!(found.len(), 2);
    assert_eq!((report.skipped_count, report.first_skipped_at), (5, Some(ONE.len() as u64 + 2)));
    assert!(report.damage.is_empty());
}

#[test]
fn a_damaged_line_costs_itself() {
    let text = format!("{ONE}\n{}\n{TWO}\n{{]\n{ONE}\n", &TWO[..20]);
    let (found, report) = read(text.as_bytes());
    let found: Vec<_> = found.into_iter().map(|(_, event)| event).collect();
    assert_eq!(found, [ONE, TWO, ONE]);
    let places: Vec<_> = report.damage.iter().map(|damage| damage.event_index).collect();
    assert_eq!(places, [1, 2]);
    let first = format!("{}\n{ONE}\n{TWO}", &TWO[..20]);
    assert_eq!(events(first.as_bytes()), [ONE, TWO]);
}

#[test]
fn a_file_that_ends_too_early_gives_what_it_has_and_says_where() {
    let (within, between) = ("the file ends within an event", "the file ends too early");
    for (text, at, what) in [
        (format!("[{ONE},{}", &TWO[..30]), 30, within),
        (format!("[{ONE}"), 0, between),
        (format!("[{ONE},"), 0, between),
    ] {
        let (found, report) = read(text.as_bytes());
        assert_eq!((found.len(), report.damage.len()), (1, 1), "{text}");
        assert_eq!(report.damage[0].event_index, 1);
        assert!(report.damage[0].at >= (ONE.len() + at) as u64, "{}", report.damage[0]);
        assert_eq!(report.damage[0].what, what, "{text}");
    }
    let packed = zstd::encode_all(format!("{ONE}\n{TWO}\n").repeat(5_000).as_bytes(), 1).unwrap();
    let (found, report) = read(&packed[..packed.len() - 100]);
    assert!(found.len() < 10_000);
    assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
}

#[test]
fn other_files_hold_no_events() {
    for bytes in [&b""[..], b"hello", b"\x00\xff", b"<html>", b"x\x9c", b"[]", b"{}", b"\"x\"", b"12", b"{\"a\":[1]}"] {
        assert_eq!(events(bytes), Vec::<String>::new());
    }
    let reel = b"\x5e\x2a\x4d\x18rest";
    assert!(matches!(ForeignReader::new(&reel[..], Limits::default()), Err(ReadError::AlreadyReel)));
}

#[test]
fn limits_are_named_on_both_sides() {
    let limits = |event_bytes_max| Limits { event_bytes_max, ..Limits::default() };
    let event = |bytes: usize| format!(r#"{{"type":5,"timestamp":1,"data":"{}"}}"#, "x".repeat(bytes));
    assert_eq!(read_within(event(100_000).as_bytes(), limits(200_000)).unwrap().0.len(), 1);
    let refused = read_within(format!("[{ONE},{}]", event(400_000)).as_bytes(), limits(200_000)).unwrap_err();
    assert_eq!(refused.to_string(), format!("byte {}, event 1: more than 200000 bytes in one event", ONE.len() + 2));
    let nested = |levels: usize| format!("{}{ONE}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!((events(nested(16).as_bytes()).len(), events(nested(17).as_bytes()).len()), (1, 0));
    let deep =
        |levels: usize| format!(r#"{{"type":5,"timestamp":1,"data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!((events(deep(99_999).as_bytes()).len(), events(deep(100_001).as_bytes()).len()), (1, 0));
}

#[test]
fn bombs_stop_at_the_limit() {
    let limits = Limits { event_bytes_max: 1 << 20, ..Limits::default() };
    let blanks = gzip(&[b"[\"".to_vec(), vec![b' '; 64 << 20]].concat());
    assert!(matches!(read_within(blanks.as_slice(), limits.clone()), Err(ReadError::TooLarge { .. })));
    let string = format!("[{}]", packed(&format!(r#"{{"type":5,"timestamp":1,"data":"{}"}}"#, "x".repeat(2 << 20))));
    assert_eq!(read_within(string.as_bytes(), limits).unwrap().0.len(), 0);
}

/// Hands out a few bytes at a time, as pipes do.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.1.min(out.len()).min(self.0.len());
        let (now, later) = self.0.split_at(bytes);
        out[..bytes].copy_from_slice(now);
        self.0 = later;
        Ok(bytes)
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_within(bytes.as_slice(), Limits::default());
    }

    #[test]
    fn any_json_like_text_is_survived(text in r#"([\[\]{},:"nx1\\ \n]|"type":3,|"timestamp":1|"data":|"events":|\{"type":3,"timestamp":1\}){0,60}"#) {
        let (found, report) = read_within(text.as_bytes(), Limits::default()).unwrap();
        prop_assert_eq!(found.len() as u64, report.event_count);
    }

    #[test]
    fn where_reads_end_makes_no_difference(step in 1usize..9, cut in 0usize..400) {
        let text = format!("[\"w\",{ONE}]\n{{\"window_id\":\"b\",\"data\":[{TWO},{ONE}]}}\n{TWO}\n[{},-12.5e3]", packed(ONE));
        let bytes = &text.as_bytes()[..text.len().min(cut)];
        let whole = read_within(bytes, Limits::default()).unwrap();
        prop_assert_eq!(read_within(Trickle(bytes, step), Limits::default()).unwrap(), whole);
    }
}
