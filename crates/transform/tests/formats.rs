//! There and back again: what each form keeps of a recording, and what is said of a file that is damaged or cut off.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::io::{Read, Write};
use std::path::Path;

use proptest::prelude::*;
use reelcase_format::event::EventHead;
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::format::{FORMATS, Format};
use reelcase_transform::html::{HtmlWriter, ReelInHtml, is_html};
use reelcase_transform::reel::{ReelOptions, ReelReadLimits, ReelReader};
use reelcase_transform::stream::{
    DEFAULT_WINDOW, Event, Header, LeftOut, ReadError, ReadEvents, ReadReport, WriteEvents, Written, is_event,
};
use reelcase_transform::tables::{SnapshotError, SnapshotReader, Tables};
use serde_json::{Value, json};

/// Window and event, for each event.
type Found = Vec<(String, String)>;

fn options() -> ReelOptions {
    ReelOptions {
        project: "phc_formats".parse().unwrap(),
        recording: Some("mine".parse().unwrap()),
        creator: "test".to_owned(),
        level: 1,
    }
}

fn header() -> Header {
    Header { recording: Some("mine".parse().unwrap()), ..Header::default() }
}

fn write_with(format: Format, header: &Header, events: &[(String, String)]) -> (Vec<u8>, Written) {
    let mut file = Vec::new();
    let mut writer = format.writer(&mut file, &options()).unwrap();
    for (window, json) in events {
        assert!(is_event(json.as_bytes()), "{json}");
        writer.push(header, &Event { window, json: json.as_bytes() }).unwrap();
    }
    let written = writer.finish(header).unwrap();
    (file, written)
}

fn write(format: Format, events: &[(String, String)]) -> Vec<u8> {
    write_with(format, &header(), events).0
}

fn reader(file: &[u8]) -> Result<Box<dyn ReadEvents + '_>, ReadError> {
    if is_html(file) {
        let reel = Owned(reel_in(file));
        return Ok(Box::new(ReelReader::open(reel, None, ReelReadLimits::default())?));
    }
    match ForeignReader::new(file, Limits::default()) {
        Err(ReadError::AlreadyReel) => Ok(Box::new(ReelReader::open(Slice(file), None, ReelReadLimits::default())?)),
        read => Ok(Box::new(read?)),
    }
}

/// The reel in a page.
fn reel_in(page: &[u8]) -> Vec<u8> {
    let mut reel = Vec::new();
    ReelInHtml::new(page).read_to_end(&mut reel).unwrap();
    reel
}

/// Bytes as what a reel is read from.
struct Owned(Vec<u8>);

impl reelcase_format::reel::Source for Owned {
    fn file_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> std::io::Result<std::borrow::Cow<'_, [u8]>> {
        self.0.as_slice().read(offset, len).map(|bytes| bytes.into_owned().into())
    }
}

/// A slice as what a reel is read from.
struct Slice<'a>(&'a [u8]);

impl reelcase_format::reel::Source for Slice<'_> {
    fn file_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> std::io::Result<std::borrow::Cow<'_, [u8]>> {
        self.0.read(offset, len)
    }
}

fn read(file: &[u8]) -> (Found, ReadReport) {
    let mut reader = reader(file).unwrap();
    let mut found = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        found.push((event.window.to_owned(), String::from_utf8(event.json.to_vec()).unwrap()));
    }
    (found, reader.report().clone())
}

fn event(timestamp: u64, data: &str) -> String {
    format!(r#"{{"type":3,"timestamp":{timestamp},"data":{data}}}"#)
}

fn of(window: &str, event: &str) -> (String, String) {
    (window.to_owned(), event.to_owned())
}

/// What a form brings back: it may mark events, and not all know windows.
fn expected(format: Format, events: &[(String, String)]) -> Found {
    let keeps_windows = matches!(
        format,
        Format::Reel | Format::Html | Format::Jsonl | Format::JsonlGzip | Format::JsonlZstd | Format::Posthog
    );
    let one = |(window, event): &(String, String)| {
        let open = event.strip_suffix('}').unwrap();
        let event = match format {
            Format::RrwebPacked => format!(r#"{open},"v":"v1"}}"#),
            Format::Posthog => format!(r#"{open},"windowId":{}}}"#, Value::from(window.as_str())),
            _ => event.clone(),
        };
        (if keeps_windows { window.clone() } else { DEFAULT_WINDOW.to_owned() }, event)
    };
    events.iter().map(one).collect()
}

fn whole() -> impl Iterator<Item = Format> {
    FORMATS.iter().filter(|info| info.is_whole).map(|info| info.format)
}

#[test]
fn every_form_has_one_name_and_one_ending() {
    for info in FORMATS {
        assert_eq!(info.name.parse::<Format>().unwrap(), info.format);
        assert_eq!(Format::of_file_name(&format!("01.{}", info.ending)), Some(info.format), "{}", info.ending);
        assert_eq!(info.format.info(), &info);
    }
    assert_eq!(Format::of_file_name("a.b.JSON"), Some(Format::Rrweb));
    assert_eq!((Format::of_file_name("reel"), Format::of_file_name("a.txt")), (None, None));
    let refused = "gif".parse::<Format>().unwrap_err().to_string();
    assert!(refused.contains("\"gif\"") && refused.contains("reel, html, jsonl,"), "{refused}");
}

#[test]
fn a_reel_is_read_in_the_order_of_time() {
    // Two files of one recording would overlap; within one, blocks do, since each is sorted by itself.
    let late = |at: u64| of("w", &event(10_000_000 + at, &format!("\"{}\"", "x".repeat(60_000))));
    let early = |at: u64| of("w", &event(at, &format!("\"{}\"", "y".repeat(60_000))));
    let events: Vec<_> = (0..100).map(late).chain((0..100).map(early)).collect();
    let (found, report) = read(&write(Format::Reel, &events));
    let mut sorted = events.clone();
    sorted.sort_by_key(|(_, event)| serde_json::from_str::<Value>(event).unwrap()["timestamp"].as_u64());
    assert!(found == sorted);
    assert_eq!((report.event_count, report.damage), (200, vec![]));
}

#[test]
fn one_of_several_recordings_has_to_be_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/reel/v1-two-recordings.reel");
    let file = std::fs::read(path).unwrap();
    let open = |id: Option<&str>| {
        let id = id.map(|id| id.parse().unwrap());
        ReelReader::open(Slice(&file), id.as_ref(), ReelReadLimits::default()).map(|reader| reader.header().clone())
    };
    let several = open(None).unwrap_err();
    let ReadError::SeveralRecordings { count: 2, one, other } = &several else { panic!("{several}") };
    assert!(several.to_string().contains("--recording"));
    for id in [one, other] {
        assert_eq!(open(Some(id.as_str())).unwrap().recording.as_ref(), Some(id));
    }
    assert_eq!(open(Some("nobody")).unwrap_err().to_string(), "there is no recording nobody in it");
}

#[test]
fn a_damaged_reel_gives_the_rest_and_names_the_block() {
    let events: Vec<_> = (0..300).map(|at| of("w", &event(at, &format!("\"{}\"", "x".repeat(40_000))))).collect();
    let file = write(Format::Reel, &events);
    let frames: Vec<usize> = memchr::memmem::find_iter(&file, b"\x28\xb5\x2f\xfd").collect();
    let mut damaged = file.clone();
    damaged[frames[1] + 20] ^= 1;
    let (found, report) = read(&damaged);
    assert!(found.len() > 150 && found.len() < 300, "{}", found.len());
    assert_eq!((report.damage.len(), report.damage[0].at), (1, frames[1] as u64));
    assert!(report.damage[0].what.contains("a block cannot be read"), "{}", report.damage[0]);
    let (found, report) = read(&file[..file.len() - 100]);
    assert_eq!(found.len(), 300, "without its index it is searched");
    assert!(!report.damage.is_empty());
}

#[test]
fn posthogs_file_has_what_its_player_wants() {
    let meta = r#"{"type":4,"data":{"href":"http://a/","width":8,"height":6},"timestamp":1}"#;
    let full = |at: u64| format!(r#"{{"type":2,"data":{{"node":{{}},"initialOffset":{{}}}},"timestamp":{at}}}"#);
    let own = r#"{"type":5,"windowId":"a","timestamp":5,"data":{}}"#;
    let other = r#"{"windowId":7,"type":5,"timestamp":6,"data":{"windowId":1}}"#;
    let events = [of("a", meta), of("a", &full(2)), of("b", &full(3)), of("a", &full(4)), of("a", own), of("a", other)];
    let header = Header {
        distinct_ids: vec!["d1".to_owned()],
        person_properties: json!({ "email": "ada@example.org" }).as_object().unwrap().clone(),
        ..header()
    };
    let (file, written) = write_with(Format::Posthog, &header, &events);
    assert_eq!(written.left_out, []);
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!((&file["version"], &file["data"]["id"]), (&"2023-04-28".into(), &"mine".into()));
    assert_eq!(file["data"]["person"]["name"], "ada@example.org");
    assert_eq!(file["data"]["person"]["distinct_ids"], json!(["d1"]));
    let snapshots = file["data"]["snapshots"].as_array().unwrap();
    let seen: Vec<_> = snapshots.iter().map(|event| (event["type"].as_u64(), event["timestamp"].as_u64())).collect();
    // The second full snapshot of window a gets the size of the page; that of window b is not known.
    let expected = [(4, 1), (2, 2), (2, 3), (4, 4), (2, 4), (5, 5), (5, 6)];
    assert_eq!(seen, expected.map(|(kind, at)| (Some(kind), Some(at))));
    let windows: Vec<_> = snapshots.iter().map(|event| event["windowId"].as_str().unwrap()).collect();
    assert_eq!(windows, ["a", "a", "b", "a", "a", "a", "a"]);
    assert_eq!(snapshots[6]["data"]["windowId"], 1);
}

#[test]
fn whose_a_recording_is_comes_back_from_where_it_has_a_place() {
    let header = Header {
        distinct_ids: vec!["ada".to_owned(), "anonymous".to_owned()],
        person_properties: json!({ "email": "ada@example.org", "plan": { "seats": 3 } }).as_object().unwrap().clone(),
        ..header()
    };
    for format in [Format::Posthog, Format::Reel, Format::Html] {
        let (file, _) = write_with(format, &header, &[of("a", &event(1, "1"))]);
        let mut reader = reader(&file).unwrap();
        while reader.next_event().unwrap().is_some() {}
        let found = reader.header();
        assert_eq!(found.recording, header.recording, "{format:?}");
        assert_eq!((&found.distinct_ids, &found.person_properties), (&header.distinct_ids, &header.person_properties));
    }
    // What others call an id is not that of a recording.
    let other = r#"{"id":"7","data":{"id":"8","events":[{"type":3,"timestamp":1}]}}"#;
    let mut other = reader(other.as_bytes()).unwrap();
    assert!(other.next_event().unwrap().is_some() && other.header().recording.is_none());
}

#[test]
fn no_bit_is_flipped_unnoticed_where_there_are_checksums_and_none_ends_in_a_panic() {
    let events: Vec<_> = (0..40).map(|at| of("w", &event(at, &format!("\"{}\"", at * 7_919)))).collect();
    for format in whole() {
        let file = write(format, &events);
        let has_checksums = [Format::Reel, Format::Html, Format::JsonlGzip, Format::JsonlZstd].contains(&format);
        for at in (0..file.len()).step_by(file.len() / 120 + 1) {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (at % 8);
            let Ok(mut reader) = reader(&flipped) else { continue };
            let (mut found, mut is_stopped) = (Found::new(), false);
            loop {
                match reader.next_event() {
                    Ok(Some(event)) => found.push(of(event.window, &String::from_utf8_lossy(event.json))),
                    Ok(None) => break,
                    Err(_) => {
                        is_stopped = true;
                        break;
                    }
                }
            }
            let is_named = is_stopped || !reader.report().damage.is_empty();
            assert!(is_named || !has_checksums || found == events, "{format:?}, byte {at}: {} events", found.len());
        }
    }
}

#[test]
fn a_page_with_a_damaged_character_gives_the_rest_and_names_the_block() {
    let events: Vec<_> = (0..300).map(|at| of("w", &event(at, &format!("\"{}\"", "x".repeat(40_000))))).collect();
    let mut page = write(Format::Html, &events);
    let piece = b"\n<script type=\"text/plain\" class=\"reel\">";
    let piece_at = memchr::memmem::find(&page, piece).unwrap() + piece.len();
    let block_at = memchr::memmem::find_iter(&reel_in(&page), b"\x28\xb5\x2f\xfd").nth(1).unwrap();
    page[piece_at + block_at / 3 * 4 + 20] = b'!';
    let (found, report) = read(&page);
    assert!(found.len() > 100 && found.len() < 300, "{}", found.len());
    assert!(report.damage[0].to_string().starts_with("byte "), "{:?}", report.damage);
}

/// A table of snapshots with these events of one recording.
fn table(events: &[(String, String)]) -> Vec<u8> {
    let mut tables = Tables::new([vec![], vec![], vec![]], "test").unwrap();
    tables.begin(&json!({ "project": "phc_formats", "id": "mine" })).unwrap();
    let lines: String = events.iter().map(|(window, event)| format!("[{},{event}]\n", json!(window))).collect();
    tables.lines(&lines.into_bytes().into()).unwrap();
    let ([_, _, snapshots], _) = tables.finish().unwrap();
    snapshots
}

fn read_table(bytes: &[u8]) -> Result<(Found, ReadReport), SnapshotError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let (mut table, mut found, mut report) = (SnapshotReader::open(file)?, Found::new(), ReadReport::default());
    while table.next_recording()?.is_some() {
        while let Ok(Some(event)) = table.next_event() {
            found.push(of(event.window, &String::from_utf8_lossy(event.json)));
        }
        report = table.report().clone();
    }
    Ok((found, report))
}

#[test]
fn a_table_of_snapshots_comes_back_and_says_where_it_is_cut_off() {
    let events: Vec<_> =
        (0..2_500).map(|at| of(["a", "b\"\\"][at as usize % 2], &event(at, &format!("\"grüße {at}\"")))).collect();
    let file = table(&events);
    let (found, report) = read_table(&file).unwrap();
    assert!(found == events && report.damage.is_empty());
    for cut in (8..file.len()).step_by(file.len() / 30) {
        let said = read_table(&file[..cut]).err().unwrap().to_string();
        assert!(said.starts_with(&format!("byte {cut}: ")), "{said}");
    }
}

#[test]
fn a_bit_flipped_in_a_table_of_snapshots_loses_no_row_unnoticed_and_stops_nobody() {
    let events: Vec<_> = (0..40).map(|at| of("w", &event(at, &format!("\"{}\"", at * 7_919)))).collect();
    let file = table(&events);
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (at % 8);
        let Ok((found, report)) = read_table(&flipped) else { continue };
        assert!(found.iter().all(|(_, event)| is_event(event.as_bytes())), "byte {at}");
        // There are no checksums in it: what a row says may change, but none goes or comes without a word.
        let is_named = !report.damage.is_empty() || report.skipped_count > 0;
        assert!(is_named || found.len() == events.len(), "byte {at}: {} events and no word", found.len());
    }
}

#[test]
fn forms_without_windows_say_how_many_they_mix() {
    let events = [of("a", &event(1, "1")), of("b", &event(2, "2")), of("a", &event(3, "3"))];
    let told =
        |format| write_with(format, &header(), &events).1.left_out.iter().map(LeftOut::to_string).collect::<Vec<_>>();
    assert!(told(Format::Rrweb)[0].starts_with("2 windows"), "{:?}", told(Format::Rrweb));
    assert!(told(Format::Seeds)[0].starts_with("1 event of another window"), "{:?}", told(Format::Seeds));
    assert!(told(Format::Jsonl).is_empty() && told(Format::Posthog).is_empty());
}

/// A request as posthog-js records it.
fn network(timestamp: u64, requests: &Value) -> String {
    json!({ "type": 6, "timestamp": timestamp, "data": { "plugin": "rrweb/network@1", "payload": { "requests": requests } } })
        .to_string()
}

#[test]
fn requests_become_har() {
    let requests = json!([
        {
            "name": "https://api.test/a?x=1&y#z", "entryType": "resource", "initiatorType": "fetch", "method": "POST",
            "status": 201, "timestamp": 1795226820022u64, "duration": 50, "fetchStart": 10, "domainLookupStart": 10,
            "domainLookupEnd": 12, "connectStart": 12, "connectEnd": 20, "requestStart": 22, "responseStart": 50,
            "responseEnd": 60, "requestHeaders": { "Content-Type": "application/json" }, "requestBody": "{\"q\":1}",
            "responseHeaders": { "content-type": "text/plain" }, "responseBody": "ok", "encodedBodySize": 2,
        },
        { "name": "first-paint", "entryType": "paint", "startTime": 5 },
        { "name": "https://site.test/", "entryType": "navigation", "timeOrigin": 1795226820000u64, "startTime": 0 },
    ]);
    let events = [of("w", &network(1795226821000, &requests)), of("w", &event(2, "1"))];
    let (file, written) = write_with(Format::Har, &header(), &events);
    assert_eq!(written.left_out[0].to_string(), "1 event that is no request");
    let log = &serde_json::from_slice::<Value>(&file).unwrap()["log"];
    assert_eq!((&log["version"], &log["creator"]["name"]), (&"1.2".into(), &"reelcase".into()));
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["startedDateTime"], "2026-11-21T02:07:00.022Z");
    assert_eq!(
        entries[0]["request"]["queryString"],
        json!([{ "name": "x", "value": "1" }, { "name": "y", "value": "" }])
    );
    assert_eq!(entries[0]["request"]["postData"], json!({ "mimeType": "application/json", "text": "{\"q\":1}" }));
    assert_eq!(entries[0]["response"]["content"], json!({ "size": 2, "mimeType": "text/plain", "text": "ok" }));
    assert_eq!(entries[0]["response"]["status"], 201);
    let timings = &entries[0]["timings"];
    assert_eq!((&timings["dns"], &timings["wait"], &timings["receive"]), (&2.0.into(), &28.0.into(), &10.0.into()));
    assert_eq!(entries[1]["startedDateTime"], "2026-11-21T02:07:00Z");
}

#[test]
fn the_console_becomes_lines_and_rows() {
    let said = |level: &str, payload: Value| {
        let payload = json!({ "level": level, "payload": payload, "trace": ["at a.js:1", "at b.js:2"] });
        let event = json!({ "type": 6, "timestamp": 1795226820022u64, "data": { "plugin": "rrweb/console@1", "payload": payload } });
        of("w", &event.to_string())
    };
    let events =
        [said("warn", json!(["\"low, \\\"very\\\"\"", "{\"a\":1}"])), said("log", json!(["\"=HYPERLINK(1)\""]))];
    let lines = String::from_utf8(write(Format::Console, &events)).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let expected = json!({
        "time": "2026-11-21T02:07:00.022Z", "timestamp": 1795226820022u64, "window": "w", "level": "warn",
        "message": "low, \"very\" {\"a\":1}", "trace": "at a.js:1\nat b.js:2",
    });
    assert_eq!((first, lines.lines().count()), (expected, 2));
    let rows = String::from_utf8(write(Format::ConsoleCsv, &events)).unwrap();
    assert!(rows.starts_with("time,timestamp,window,level,message,trace\r\n"), "{rows}");
    assert!(rows.contains(r#","low, ""very"" {""a"":1}","#), "{rows}");
    assert!(rows.contains(r#","'=HYPERLINK(1)","#), "a spreadsheet must not run it: {rows}");
}

#[test]
fn a_page_holds_its_reel_byte_for_byte_whatever_the_pieces() {
    const PIECE_BYTES: usize = 3 << 20;
    for length in [0, 1, 2, 3, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 5] {
        let reel: Vec<u8> = (0..length).map(|at| (at * 31 + at / 251) as u8).collect();
        let mut writer = HtmlWriter::new(Vec::new()).unwrap();
        // Bytes come as blocks do: in stretches of any length.
        for stretch in reel.chunks(70_001) {
            writer.write_all(stretch).unwrap();
        }
        let page = writer.finish().unwrap();
        assert!(is_html(&page));
        assert!(reel_in(&page) == reel, "{length} bytes");
        let beside = page.len() - length.div_ceil(3) * 4;
        assert!(beside <= 150_000, "{beside} bytes beside a recording of {length}");
    }
}

#[test]
fn nothing_is_a_file_too() {
    for info in FORMATS.iter().filter(|info| ![Format::Reel, Format::Html].contains(&info.format)) {
        let file = write(info.format, &[]);
        if info.media_type == "application/json" {
            serde_json::from_slice::<Value>(&file).unwrap_or_else(|error| panic!("{}: {error}", info.name));
        }
    }
}

#[test]
fn recordings_of_the_corpus_come_back_through_every_form() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/rrweb/recorded");
    for name in ["posthog-rrweb-0.0.59-shop.json", "rrweb-2.2.2-packed.json"] {
        let (events, report) = read(&std::fs::read(corpus.join(name)).unwrap());
        assert!(events.len() > 100 && report.damage.is_empty());
        let mut sorted = events.clone();
        sorted.sort_by_key(|(_, event)| EventHead::read(event.as_bytes()).unwrap().timestamp_ms());
        for format in whole() {
            let (found, report) = read(&write(format, &events));
            assert_eq!(report.damage, [], "{name} as {format:?}");
            // The mark of the packer and the window are put in once.
            let strip =
                |(_, event): &(String, String)| event.replace(r#","v":"v1""#, "").replace(r#","windowId":"main""#, "");
            let expected = if [Format::Reel, Format::Html].contains(&format) { &sorted } else { &events };
            assert!(found.iter().map(strip).eq(expected.iter().map(strip)), "{name} as {format:?}");
        }
    }
}

/// Events with all that may stand in a text, of a few windows, in the order of time.
fn any_events() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = prop_oneof![any::<String>(), r#"[\\"{}\[\],:a-z0-9\u{7f}-\u{9f}\u{2028}]{0,40}"#, "[a-f]{0,3000}"];
    let one = (prop_oneof![Just("a"), Just("b\"\\\u{1}"), Just("")], text, 0u64..3);
    proptest::collection::vec(one, 1..40).prop_map(|all| {
        let mut timestamp = 1_795_226_820_000;
        let make = |(window, text, later): (&str, String, u64)| {
            timestamp += later;
            of(window, &event(timestamp, &json!({ "text": text }).to_string()))
        };
        all.into_iter().map(make).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_a_form_holds_comes_back(events in any_events()) {
        for format in whole() {
            let (found, report) = read(&write(format, &events));
            prop_assert_eq!(&report.damage, &[], "{:?}", format);
            prop_assert_eq!(found, expected(format, &events), "{:?}", format);
        }
    }

    #[test]
    fn what_is_cut_off_is_named_and_never_invented(events in any_events(), share in 0.0f64..1.0) {
        for format in whole() {
            let file = write(format, &events);
            let cut = (file.len() as f64 * share) as usize;
            let Ok(mut reader) = reader(&file[..cut]) else { continue };
            let expected = expected(format, &events);
            let mut count = 0;
            while let Ok(Some(event)) = reader.next_event() {
                prop_assert_eq!(event.json, expected[count].1.as_bytes(), "{:?}", format);
                count += 1;
            }
            // A file of lines may end between two of them, and one of nothing is a file.
            let is_between = file[..cut].last().is_none_or(|byte| *byte == b'\n') || file.get(cut) == Some(&b'\n');
            let is_lines = format == Format::Jsonl && is_between;
            // Of a page, what stands behind the recording is no part of it.
            let is_whole_reel = format == Format::Html && reel_in(&file[..cut]) == reel_in(&file);
            prop_assert!(!reader.report().damage.is_empty() || is_lines || is_whole_reel || cut + 3 >= file.len() || cut < 4,
                "{:?} cut at {} of {} gave {} events and no word", format, cut, file.len(), count);
        }
    }
}
