//! A file that is cut off, or of which a bit is flipped, in every form that can be imported: nothing of it comes in unless
//! somebody asks for what is left, and what is said names the file and the place.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Server, files_below, reelcase, text};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use reelcase_transform::encrypted::{EncryptedWriter, Key};
use serde_json::{Value, json};
use tempfile::TempDir;

/// When the first event happened. Each is a millisecond after the one before.
const START_MS: u64 = 1_795_226_820_000;

/// Events of a recording, and of one that has several blocks.
const EVENTS: u64 = 60;
const EVENTS_OF_BLOCKS: u64 = 300;

/// Which share of a file is left where it is cut off.
const CUT: f64 = 0.69;

/// A file of one form.
struct Form {
    /// Of the file, below a directory of its own.
    name: &'static str,
    bytes: Vec<u8>,
    /// Where a bit is flipped.
    flip_at: usize,
    /// Events at the beginning that are left of it, at least: where it is cut off, and where that bit is flipped.
    left: [usize; 2],
    /// What is said of it, beside the place: its name, or that of its recording.
    label: &'static str,
    /// What else the commands have to be told.
    arguments: Vec<String>,
    /// Other files that it takes, which are whole.
    beside: Vec<(&'static str, Vec<u8>)>,
    /// Whether `convert` reads it alone.
    is_alone: bool,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    CutOff,
    Flipped,
}

impl Form {
    /// One of which, whatever is done to it, this many events are left.
    fn new(name: &'static str, bytes: Vec<u8>, flip_at: usize, left: [usize; 2]) -> Self {
        let (arguments, beside) = (Vec::new(), Vec::new());
        Self { name, bytes, flip_at, left, label: name, arguments, beside, is_alone: true }
    }

    /// One of text, where a quote behind its middle turns into something else.
    fn of_text(name: &'static str, bytes: Vec<u8>, quote: &str) -> Self {
        let flip_at = behind_middle(&bytes, quote) + quote.find('"').unwrap();
        Self::new(name, bytes, flip_at, [38, 29])
    }

    /// One of which nothing behind a flipped bit can be trusted.
    fn of_stream(name: &'static str, bytes: Vec<u8>) -> Self {
        let flip_at = at_share(&bytes, 0.6);
        Self::new(name, bytes, flip_at, [30, 25])
    }
}

/// What the command printed, what it said, and its exit code.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let done = reelcase().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// An event of `letters` characters that hardly compress.
fn event(at: u64, letters: usize) -> String {
    let mut state = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut tag = String::new();
    while tag.len() < letters {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        write!(tag, "{:016x}", state ^ (state >> 29)).unwrap();
    }
    format!(r#"{{"type":5,"timestamp":{},"data":{{"tag":"{tag}"}}}}"#, START_MS + at)
}

fn events() -> Vec<String> {
    (0..EVENTS).map(|at| event(at, 8_000)).collect()
}

fn lines(events: &[String]) -> String {
    events.iter().map(|event| format!("[\"w\",{event}]\n")).collect()
}

fn list(events: &[String]) -> String {
    format!("[{}]", events.join(","))
}

/// What `reelcase convert` makes of lines.
fn converted(dir: &Path, lines: &str, format: &str) -> Vec<u8> {
    let (from, to) = (dir.join("from.jsonl"), dir.join("to"));
    std::fs::write(&from, lines).unwrap();
    let (code, _, said) = run(&["convert", text(&from), text(&to), "--format", format, "--id", "mine"]);
    assert_eq!(code, 0, "{said}");
    std::fs::read(&to).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(bytes).unwrap();
    zlib.finish().unwrap()
}

fn snappy(events: &[String]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(lines(events).as_bytes()).unwrap()
}

fn at_share(bytes: &[u8], share: f64) -> usize {
    (bytes.len() as f64 * share) as usize
}

/// Where this stands in a file behind its middle.
fn behind_middle(bytes: &[u8], what: &str) -> usize {
    let middle = bytes.len() / 2;
    middle + bytes[middle..].windows(what.len()).position(|found| found == what.as_bytes()).unwrap()
}

/// Forms of one stream of events that `reelcase` writes.
fn own_forms(dir: &Path) -> Vec<Form> {
    let lines = lines(&events());
    let of = |format: &str| converted(dir, &lines, format);
    let seeds = of("seeds-gzip");
    let comma_at = behind_middle(&seeds, ",");
    vec![
        Form::of_text("lines.jsonl", of("jsonl"), "\"timestamp"),
        Form::of_stream("lines.jsonl.gz", of("jsonl-gzip")),
        Form::of_stream("lines.jsonl.zst", of("jsonl-zstd")),
        Form::of_text("rrweb.json", of("rrweb"), "\"timestamp"),
        Form::of_text("packed.json", of("rrweb-packed"), "\n\""),
        Form::of_text("posthog-2023.json", of("posthog"), "\"timestamp"),
        Form::of_text("seeds.json", of("seeds"), "\"timestamp"),
        Form::new("seeds-gzip.json", seeds, comma_at, [30, 20]),
    ]
}

/// Forms of blocks, of which the intact ones are left.
fn forms_of_blocks(dir: &Path) -> Vec<Form> {
    let events: Vec<_> = (0..EVENTS_OF_BLOCKS).map(|at| event(at, 40_000)).collect();
    let lines = lines(&events);
    let (reel, page) = (converted(dir, &lines, "reel"), converted(dir, &lines, "html"));
    let key = Key::new([9; 32]);
    let mut encrypted = EncryptedWriter::new(Vec::new(), &key, [3; 16]).unwrap();
    encrypted.write_all(&reel).unwrap();
    let encrypted = encrypted.finish().unwrap();
    let of = |name, bytes: Vec<u8>| {
        let flip_at = at_share(&bytes, 0.8);
        Form::new(name, bytes, flip_at, [100, 200])
    };
    let arguments = vec!["--key".to_owned(), key.as_text()];
    vec![
        of("shop.reel", reel),
        of("shop.html", page),
        // What comes before is decrypted, and nothing behind.
        Form { arguments, ..of("5b1c.reel.enc", encrypted) },
    ]
}

/// Forms of single files that others write.
fn foreign_forms() -> Vec<Form> {
    let events = events();
    let person = r#"{"id":"p","distinct_ids":["ada"]}"#;
    let posthog_2022 = format!(
        r#"{{"version":"2022-12-02","data":{{"person":{person},"snapshotsByWindowId":{{"w":{}}}}}}}"#,
        list(&events)
    );
    let (one, other) = (zlib(list(&events[..30]).as_bytes()), zlib(list(&events[30..]).as_bytes()));
    let sentry = [b"{\"segment_id\":0}\n", &one[..], b"\n{\"segment_id\":1}\n", &other].concat();
    let in_other = at_share(&sentry, 0.9);
    let rows: String = events.chunks(10).enumerate().map(|(number, events)| row(number, events)).collect();
    let zip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/posthog-staff.zip");
    vec![
        Form::of_text("posthog-2022.json", posthog_2022.into_bytes(), "\"timestamp"),
        Form::new("sentry", sentry, in_other, [30, 30]),
        Form { left: [40, 30], ..Form::of_text("rows.jsonl", rows.into_bytes(), "\"snapshot_data") },
        // Where its entries are stands at its end; the second of its two blocks lies at byte 600.
        Form::new("staff.zip", std::fs::read(zip).unwrap(), 600, [0, 2]),
    ]
}

/// A row of PostHog's table of 2023, with events of one request.
fn row(number: usize, events: &[String]) -> String {
    let utf16: Vec<u8> = "\u{feff}[".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let rest: Vec<u8> = list(events)[1..].encode_utf16().flat_map(u16::to_le_bytes).collect();
    let chunk = json!({
        "chunk_id": format!("c{number}"), "chunk_index": 0, "chunk_count": 1, "compression": "gzip-base64",
        "data": STANDARD.encode(gzip(&[utf16, rest].concat())),
    });
    let row = json!({ "session_id": "mine", "window_id": "w", "snapshot_data": chunk.to_string() });
    format!("{row}\n")
}

/// What lies in PostHog's bucket: since 2024 blocks in batches, before that files that name their recording.
fn forms_of_buckets() -> Vec<Form> {
    const NAME: &str = "batch/30d/1795226820000-0123456789abcdef";
    let events = events();
    let blocks: Vec<_> = events.chunks(10).map(snappy).collect();
    let (mut at, mut urls) = (0, Vec::new());
    for block in &blocks {
        urls.push(format!("s3://posthog/{}?range=bytes={at}-{}", &NAME[6..], at + block.len() - 1));
        at += block.len();
    }
    let rows = json!({ "session_id": "mine", "block_urls": urls }).to_string();
    // How many bytes the fifth block has.
    let fifth_at: usize = blocks[..4].iter().map(Vec::len).sum();
    let batch = Form::new(NAME, blocks.concat(), fifth_at, [40, 40]);
    let of_2023 = |events: &[String]| {
        let line = |event: &String| format!("{{\"window_id\":\"w\",\"data\":[{event}]}}\n");
        gzip(events.iter().map(line).collect::<String>().as_bytes())
    };
    let (first, second) = (of_2023(&events[..30]), of_2023(&events[30..]));
    let listed = Form {
        label: "recording mine",
        arguments: vec!["--blocks".to_owned(), "rows".to_owned()],
        beside: vec![("rows", rows.into_bytes())],
        is_alone: false,
        ..Form::new(NAME, blocks.concat(), fifth_at, [40, 40])
    };
    let old = Form {
        label: "session_id/mine/data",
        beside: vec![("v1/session_id/mine/data/1000-2000", first)],
        is_alone: false,
        ..Form::of_stream("v1/session_id/mine/data/3000-4000", second)
    };
    vec![Form { is_alone: false, ..batch }, listed, Form { left: [45, 38], ..old }]
}

/// A table of snapshots, as an export writes it.
fn table(dir: &Path, empty: &Path) -> Form {
    let (data, from, to) = (dir.join("of-table"), dir.join("events.jsonl"), dir.join("tables"));
    copy(empty, &data);
    std::fs::write(&from, lines(&events())).unwrap();
    assert_eq!(run(&["import", text(&from), "--data", text(&data)]).0, 0);
    assert_eq!(run(&["export", "--data", text(&data), "--to", text(&to), "--format", "parquet"]).0, 0);
    let bytes = std::fs::read(&files_below(&to.join("snapshots"))[0]).unwrap();
    // What is in it stands at its end; without checksums, a bit in the middle may change a letter of a text and no more.
    let last_at = bytes.len() - 1;
    Form::new("part.parquet", bytes, last_at, [0, 0])
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").args(["-r", text(from), text(to)]).status().unwrap().success());
}

/// A directory with the files of a form in it, and a store that holds nothing.
struct Case<'a> {
    form: &'a Form,
    dir: TempDir,
    /// What is wrong with it, for who reads of a failure.
    what: String,
}

impl<'a> Case<'a> {
    fn new(form: &'a Form, harm: Option<Harm>, dir: &Path, empty: &Path) -> Self {
        let what = format!("{} {harm:?}", form.name);
        let dir = tempfile::tempdir_in(dir).unwrap();
        let mut bytes = form.bytes.clone();
        match harm {
            Some(Harm::CutOff) => bytes.truncate(at_share(&bytes, CUT)),
            Some(Harm::Flipped) => bytes[form.flip_at] ^= 1,
            None => {}
        }
        for (name, bytes) in form.beside.iter().map(|(name, bytes)| (*name, bytes)).chain([(form.name, &bytes)]) {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        copy(empty, &dir.path().join("data"));
        Self { form, dir, what }
    }

    /// Runs a command where the files lie.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let done = reelcase().args(arguments).current_dir(self.dir.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }

    fn import(&self, more: &[&str]) -> (i32, String) {
        // A directory of more than this file is read as a whole.
        let input = if self.form.is_alone { self.form.name } else { self.form.name.split('/').next().unwrap() };
        let arguments = [&["import", input, "--data", "data"], more, &self.arguments()].concat();
        let (code, _, said) = self.run(&arguments);
        (code, said)
    }

    fn arguments(&self) -> Vec<&str> {
        self.form.arguments.iter().map(String::as_str).collect()
    }

    /// Timestamps of the events in the store.
    fn found(&self) -> Vec<u64> {
        let (_, list, _) = self.run(&["ls", "--json", "--data", "data"]);
        let ids: Vec<_> = list.lines().map(|row| serde_json::from_str::<Value>(row).unwrap()).collect();
        assert!(ids.len() <= 1, "{}: {list}", self.what);
        let Some(id) = ids.first().map(|row| row["id"].as_str().unwrap().to_owned()) else { return Vec::new() };
        let (_, lines, _) = self.run(&["export", &id, "--data", "data", "--format", "jsonl"]);
        timestamps(&lines)
    }
}

fn timestamps(lines: &str) -> Vec<u64> {
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()[1]["timestamp"].as_u64().unwrap()).collect()
}

fn check(form: &Form, dir: &Path, empty: &Path) {
    let case = Case::new(form, None, dir, empty);
    let (code, said) = case.import(&[]);
    let whole = case.found();
    assert!(code == 0 && !whole.is_empty(), "{}: {said}", case.what);
    for harm in [Harm::CutOff, Harm::Flipped] {
        let case = Case::new(form, Some(harm), dir, empty);
        let (what, left) = (&case.what, form.left[harm as usize]);
        let (code, said) = case.import(&[]);
        assert!(code == 1 && case.found().is_empty(), "{what} is left alone: {said}");
        assert!(said.contains("left alone: ") && said.contains(form.label), "{what} is named: {said}");
        assert!(said.contains("byte ") || said.contains("behind block "), "{what}: so is the place: {said}");

        let (code, said) = case.import(&["--keep-partial"]);
        let found = case.found();
        assert_eq!(code, if found.is_empty() { 1 } else { 3 }, "{what}: {said}");
        assert!(found.len() >= left, "{what}: {} of {} events, {said}", found.len(), whole.len());
        assert_eq!(found[..left], whole[..left], "{what}: what comes before is there");
        assert!(found.is_empty() || said.contains("imported in part: ") && said.contains(form.label), "{what}: {said}");

        if !form.is_alone {
            continue;
        }
        let arguments = [&["convert", form.name, "-", "--format", "jsonl"], &case.arguments()[..]].concat();
        let (code, lines, said) = case.run(&arguments);
        assert!(code == 1 && said.contains(form.name) && said.contains("byte "), "{what}: convert says so too: {said}");
        assert_eq!(timestamps(&lines), found, "{what}: convert keeps as much");
    }
}

#[test]
fn a_damaged_file_of_any_form_is_left_alone_or_gives_what_comes_before_and_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    Server::start(&empty).stop();
    let forms = [own_forms(dir.path()), foreign_forms(), forms_of_buckets(), forms_of_blocks(dir.path())];
    for form in forms.into_iter().flatten().chain([table(dir.path(), &empty)]) {
        check(&form, dir.path(), &empty);
    }
}
