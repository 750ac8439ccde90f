//! Recordings go to a bucket of S3 and come back from one, over a connection on which requests go wrong, and past kills.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;
#[path = "common/s3.rs"]
mod s3;

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::{Server, corpus, files_below, reelcase, run, text};
use s3::{BadLine, KEY, SECRET, Weed};
use serde_json::Value;

/// The command with what opens the bucket.
fn with_bucket(arguments: &[&str], endpoint: &str) -> Command {
    let mut command = reelcase();
    command.args(arguments).env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.env("AWS_ENDPOINT_URL", endpoint).env("HOME", "/nonexistent");
    command
}

/// Runs it: whether it went well, and what it said.
fn run_with(arguments: &[&str], endpoint: &str) -> (bool, String) {
    let done = with_bucket(arguments, endpoint).output().unwrap();
    (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

fn new_store(data: &Path) {
    Server::start(data).stop();
}

/// A store of `count` recordings of a few kilobytes.
fn a_store(data: &Path, from: &Path, count: usize) {
    new_store(data);
    std::fs::create_dir_all(from).unwrap();
    let start_ms = 1_795_226_820_000_u64;
    for number in 0..count {
        let mut events = String::new();
        for at in 0..20 {
            let timestamp = start_ms + number as u64 * 1_000 + at;
            let payload = format!("{number} {at} {}", "noise ".repeat(at as usize));
            let data = format!(r#"{{"tag":"t","payload":"{payload}"}}"#);
            write!(events, r#"{{"type":5,"timestamp":{timestamp},"data":{data}}},"#).unwrap();
        }
        let events = events.trim_end_matches(',');
        let file = format!(r#"{{"sessionId":"r{number:03}","events":[{events}]}}"#);
        std::fs::write(from.join(format!("{number}.json")), file).unwrap();
    }
    let (is_ok, said) = run(&["import", text(from), "--data", text(data), "--project", "phc_bucket"]);
    assert!(is_ok && said.contains(&format!("imported {count} recordings")), "{said}");
}

/// The lines of every recording of a store, by id.
fn all_lines(data: &Path, dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (is_ok, said) = run(&["export", "--data", text(data), "--to", text(dir), "--format", "jsonl"]);
    assert!(is_ok, "{said}");
    let mut files = files_below(dir);
    files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl") && !path.ends_with("manifest.jsonl"));
    files.sort();
    files.iter().map(|path| (path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_goes_to_a_bucket_and_comes_back_over_a_bad_line() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let path = |name: &str| dir.path().join(name);
    let (data, back, to) = (path("data"), path("back"), "s3://replay/there-and-back");
    a_store(&data, &path("from"), 40);
    // One large enough to be uploaded in parts.
    let noise = corpus("rrweb").join("recorded");
    let mut large = files_below(&noise);
    large.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    large.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    assert!(run(&["import", text(&large[0]), "--data", text(&data), "--project", "phc_bucket"]).0);
    let line = BadLine::to(&weed, 5).await;
    let export = || run_with(&["export", "--data", text(&data), "--to", to, "--format", "jsonl"], &line.endpoint);

    let (is_ok, said) = export();
    assert!(is_ok && said.contains("exported 41 recordings"), "{said}");
    assert!(line.count() > 50, "{} requests", line.count());
    let before = line.count();
    let (is_ok, said) = export();
    assert!(is_ok && said.contains("exported 0 recordings, 0.0 MB; 41 unchanged"), "{said}");
    assert!(line.count() - before < 12, "nothing of what is there is asked for one by one");

    new_store(&back);
    let import = || run_with(&["import", to, "--data", text(&back)], &line.endpoint);
    let (is_ok, said) = import();
    assert!(is_ok && said.contains("imported 41 recordings") && said.contains("0 left alone"), "{said}");
    assert!(all_lines(&data, &path("one")) == all_lines(&back, &path("other")), "every event came back");
    let before = line.count();
    let (is_ok, said) = import();
    assert!(is_ok && said.contains("imported 0 recordings") && said.contains("41 are there already"), "{said}");
    assert!(line.count() - before < 8, "what the manifest says is there is not fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_nothing_new_writes_nothing_to_the_bucket() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let data = dir.path().join("data");
    a_store(&data, &dir.path().join("from"), 3);
    let line = BadLine::silent_after(&weed, u64::MAX).await;
    for (format, to) in [("reel", "s3://replay/unchanged/files"), ("parquet", "s3://replay/unchanged/tables")] {
        let export = || {
            let said = run_with(&["export", "--data", text(&data), "--to", to, "--format", format], &line.endpoint);
            (said, line.written())
        };
        let ((is_ok, said), written) = export();
        assert!(is_ok && said.contains("exported 3 recordings") && written.len() >= 4, "{said} {written:?}");
        let ((is_ok, said), written) = export();
        assert!(is_ok && said.contains("3 unchanged"), "{said}");
        assert!(written.is_empty(), "{format}: the books stay as they are: {written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_may_only_be_read_is_read_and_refuses_an_export_once() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let (data, into) = (dir.path().join("data"), dir.path().join("into"));
    a_store(&data, &dir.path().join("from"), 3);
    let line = BadLine::read_only(&weed).await;
    for (format, to) in [("reel", "s3://replay/closed/files"), ("parquet", "s3://replay/closed/tables")] {
        let arguments = ["export", "--data", text(&data), "--to", to, "--format", format];
        let (is_ok, said) = run_with(&arguments, &line.endpoint);
        assert!(!is_ok && said.starts_with(&format!("error: cannot write {to}/")), "{said}");
        assert!(said.contains(": Access Denied.\nhint: AWS_ACCESS_KEY_ID"), "{said}");
        assert_eq!(said.matches("Access Denied").count(), 1, "the other recordings are not tried: {said}");
        assert!(run_with(&arguments, &weed.endpoint()).0);
        let (is_ok, said) = run_with(&arguments, &line.endpoint);
        assert!(is_ok && said.contains("3 unchanged"), "nothing is to be written: {said}");
    }
    new_store(&into);
    let (is_ok, said) = run_with(&["import", "s3://replay/closed/files", "--data", text(&into)], &line.endpoint);
    assert!(is_ok && said.contains("imported 3 recordings"), "{said}");
}

/// Whether a process has a file of this directory open, be it one without a name.
fn has_open_below(child: &Child, dir: &Path) -> bool {
    let open = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok()).any(|file| file.starts_with(dir))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_to_a_bucket_that_is_killed_goes_on_where_it_was() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let (data, to) = (dir.path().join("data"), "s3://replay/killed/below");
    a_store(&data, &dir.path().join("from"), 120);
    let arguments = ["export", "--data", text(&data), "--to", to, "--jobs", "1"];
    let line = BadLine::silent_after(&weed, 100).await;
    let temporary = dir.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = with_bucket(&arguments, &line.endpoint);
    let mut child = command.env("TMPDIR", &temporary).stderr(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    while line.count() <= 100 {
        assert!(since.elapsed() < Duration::from_secs(60), "only {} requests are made", line.count());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(has_open_below(&child, &temporary), "a file is on its way");
    child.kill().unwrap();
    child.wait().unwrap();
    let left = files_below(&temporary);
    assert!(left.is_empty(), "nothing is left among the temporary files: {left:?}");

    let into = dir.path().join("into");
    new_store(&into);
    let (_, said) = run_with(&["import", to, "--data", text(&into), "--dry-run"], &weed.endpoint());
    let there = said.lines().filter(|line| line.starts_with("new")).count();
    assert!((50..100).contains(&there), "{there} are in the bucket: {said}");
    let (is_ok, said) = run_with(&arguments, &weed.endpoint());
    let expected = [format!("exported {} recordings", 120 - there), format!("{there} unchanged")];
    assert!(is_ok && expected.iter().all(|expected| said.contains(expected)), "{there} were there: {said}");
}

#[test]
fn tables_in_a_bucket_follow_the_store_and_are_read_back() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let (data, to) = (dir.path().join("data"), "s3://replay/tables");
    a_store(&data, &dir.path().join("from"), 3);
    let arguments = ["export", "--data", text(&data), "--to", to, "--format", "parquet"];
    let (is_ok, said) = run_with(&arguments, &weed.endpoint());
    assert!(is_ok && said.contains("3 recordings in 1 part in s3://replay/tables/tables.jsonl"), "{said}");
    std::fs::write(dir.path().join("from/late.json"), r#"{"sessionId":"late","events":[{"type":4,"timestamp":1795226820000,"data":{"href":"http://a.test/","width":1,"height":1}}]}"#).unwrap();
    let late = dir.path().join("from/late.json");
    assert!(run(&["import", text(&late), "--data", text(&data), "--project", "phc_bucket"]).0);
    let (is_ok, said) = run_with(&arguments, &weed.endpoint());
    assert!(is_ok && said.contains("4 recordings in 1 part"), "the small part is written anew: {said}");
    let back = dir.path().join("back");
    new_store(&back);
    let (is_ok, said) = run_with(&["import", to, "--data", text(&back)], &weed.endpoint());
    assert!(is_ok && said.contains("imported 4 recordings"), "{said}");
}

/// Puts a file into the bucket.
fn put(weed: &Weed, dir: &Path, name: &str, bytes: &[u8]) {
    let file = dir.join("put");
    std::fs::write(&file, bytes).unwrap();
    let url = format!("{}/replay/{name}", weed.endpoint());
    assert!(weed.curl().args(["-T", text(&file), &url]).status().unwrap().success());
}

fn block(window: &str, from: u64, count: u64) -> Vec<u8> {
    let mut lines = String::new();
    for at in from..from + count {
        let timestamp = 1_795_226_820_000 + at;
        writeln!(lines, r#"["{window}",{{"type":5,"timestamp":{timestamp},"data":{{"tag":"{window}{at}"}}}}]"#)
            .unwrap();
    }
    snap::raw::Encoder::new().compress_vec(lines.as_bytes()).unwrap()
}

fn counts(data: &Path) -> Vec<(String, u64)> {
    let (_, list) = run(&["ls", "--json", "--data", text(data)]);
    let rows = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut rows: Vec<_> =
        rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row["event_count"].as_u64().unwrap())).collect();
    rows.sort();
    rows
}

/// Two batches of three recordings. One has two windows, and its last block names it.
fn posthog_batches() -> [(&'static str, Vec<u8>); 2] {
    let mut names_it = String::new();
    let payload = r#"{"currentSessionId":"01a1-named","currentWindowId":"a2","nextSessionId":"x","nextWindowId":"y"}"#;
    for (window, data) in
        [("a1", "{}".to_owned()), ("a2", format!(r#"{{"tag":"$session_ending","payload":{payload}}}"#))]
    {
        writeln!(names_it, r#"["{window}",{{"type":5,"timestamp":1795226829000,"data":{data}}}]"#).unwrap();
    }
    let names_it = snap::raw::Encoder::new().compress_vec(names_it.as_bytes()).unwrap();
    [
        ("30d/1795226820000-0123456789abcdef", [block("a1", 0, 5), block("b", 10, 3), block("c", 20, 2)].concat()),
        ("30d/1795226830000-fedcba9876543210", [block("b", 30, 4), block("a2", 40, 1), names_it].concat()),
    ]
}

#[test]
fn blocks_of_posthogs_bucket_come_in_by_clickhouses_word_or_by_walking() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let batches = posthog_batches();
    for (name, batch) in &batches {
        put(&weed, dir.path(), &format!("posthog/{name}"), batch);
    }
    let (walked, listed) = (dir.path().join("walked"), dir.path().join("listed"));
    new_store(&walked);
    let (is_ok, said) = run_with(&["import", "s3://replay/posthog", "--data", text(&walked)], &weed.endpoint());
    assert!(is_ok && said.contains("imported 3 recordings with 17 events"), "{said}");
    let found = counts(&walked);
    assert!(found.contains(&("01a1-named".to_owned(), 8)), "windows that share a block are one recording: {found:?}");
    assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 17);

    let mut rows = String::new();
    let mut at = 0;
    for (id, block) in [("one", block("a1", 0, 5)), ("two", block("b", 10, 3))] {
        let (name, last) = (batches[0].0, at + block.len() - 1);
        let url = format!("s3://elsewhere/posthog/{name}?range=bytes={at}-{last}");
        writeln!(rows, r#"{{"session_id":"{id}","block_urls":["{url}"]}}"#).unwrap();
        at = last + 1;
    }
    let last = block("b", 30, 4).len() - 1;
    let url = format!("s3://elsewhere/posthog/{}?range=bytes=0-{last}", batches[1].0);
    writeln!(rows, r#"{{"session_id":"two","block_url":"{url}"}}"#).unwrap();
    std::fs::write(dir.path().join("rows"), rows).unwrap();
    let blocks = dir.path().join("rows");
    new_store(&listed);
    let arguments = ["import", "s3://replay", "--blocks", text(&blocks), "--data", text(&listed)];
    let (is_ok, said) = run_with(&arguments, &weed.endpoint());
    assert!(is_ok, "{said}");
    assert_eq!(counts(&listed), [("one".to_owned(), 5), ("two".to_owned(), 7)]);
}

/// A row that says which blocks a recording has: names of objects and the ranges in them.
fn row(id: &str, blocks: &[(&str, Range<usize>)]) -> String {
    let url = |(name, range): &(&str, Range<usize>)| {
        format!("\"s3://elsewhere/{name}?range=bytes={}-{}\"", range.start, range.end - 1)
    };
    let urls: Vec<_> = blocks.iter().map(url).collect();
    format!("{{\"session_id\":\"{id}\",\"block_urls\":[{}]}}\n", urls.join(","))
}

#[test]
fn blocks_that_are_not_there_cost_their_recordings_and_no_others() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let (a, b, c) = (block("a", 0, 5), block("b", 10, 3), block("c", 20, 2));
    let batch = [&a[..], &b, &c].concat();
    let (of_a, of_b, of_c) = (0..a.len(), a.len()..a.len() + b.len(), a.len() + b.len()..batch.len());
    let there = "gaps/30d/1795226820000-0123456789abcdef";
    let gone = "gaps/30d/1795226830000-gone";
    put(&weed, dir.path(), there, &batch);
    let rows = [
        row("all-gone", &[(gone, 0..10)]),
        row("in-part", &[(there, of_a), (gone, 10..20), (gone, 20..30)]),
        row("past-the-end", &[(there, batch.len() + 5..batch.len() + 9)]),
        row("too-short", &[(there, of_c.start..of_c.end + 9)]),
        row("whole", &[(there, of_b)]),
    ];
    let blocks = dir.path().join("rows");
    std::fs::write(&blocks, rows.concat()).unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir_all(disk.join("gaps/30d")).unwrap();
    std::fs::write(disk.join(there), &batch).unwrap();
    for (from, name) in [("s3://replay", "of-bucket"), (text(&disk), "of-disk")] {
        let data = dir.path().join(name);
        new_store(&data);
        let import = |more: &[&str]| {
            let arguments = [&["import", from, "--blocks", text(&blocks), "--data", text(&data)], more].concat();
            let done = with_bucket(&arguments, &weed.endpoint()).output().unwrap();
            (done.status.code(), String::from_utf8(done.stderr).unwrap())
        };
        let (code, said) = import(&[]);
        assert_eq!((code, counts(&data)), (Some(1), vec![("whole".to_owned(), 3)]), "{said}");
        for expected in [
            format!("left alone: recording in-part: {}", if name == "of-disk" { "cannot read " } else { from }),
            format!("{gone} is not there, and 1 more of its pieces is missing"),
            format!("{there} ends "),
            "4 left alone".to_owned(),
            format!("missing, or too short: {from}/{gone}\n"),
        ] {
            let expected = if name == "of-disk" {
                expected.replace(" is not there", ": No such file or directory (os error 2)")
            } else {
                expected
            };
            assert!(said.contains(&expected), "{expected}: {said}");
        }
        assert_eq!(said.matches(&format!("too short: {from}/{gone}")).count(), 1, "each is named once: {said}");

        let (code, said) = import(&["--keep-partial"]);
        let found = counts(&data);
        assert_eq!((code, found), (Some(1), vec![("in-part".to_owned(), 5), ("whole".to_owned(), 3)]), "{said}");
        assert!(said.contains("imported in part: recording in-part: "), "{said}");
    }
    // Keys are looked up in one place, and not in a part of what was named.
    let arguments = ["import", "s3://replay", text(&disk), "--blocks", text(&blocks), "--data", text(dir.path())];
    let (is_ok, said) = run_with(&arguments, &weed.endpoint());
    assert!(!is_ok && said.starts_with("error: --blocks reads one place, and 2 are named\nhint: "), "{said}");
    // Where nothing is left alone, and parts are missing, the code says so.
    std::fs::write(&blocks, rows[1].as_str()).unwrap();
    let data = dir.path().join("only-parts");
    new_store(&data);
    let arguments = ["import", "s3://replay", "--blocks", text(&blocks), "--data", text(&data), "--keep-partial"];
    for times in 0..2 {
        let done = with_bucket(&arguments, &weed.endpoint()).output().unwrap();
        assert_eq!(done.status.code(), Some(3), "also where it was imported before: {times}");
    }
}

/// A bucket with one object, and a list of it that goes on for hundreds of pages. Its lists are counted.
fn bucket_of_many(object: &'static str, bytes: Vec<u8>) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let lists = Arc::new(AtomicU64::new(0));
    let counter = lists.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head: Vec<String> =
                BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let range =
                head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
            let (status, more, body) = match range {
                Some(range) => {
                    let (start, last) = range.split_once('-').unwrap();
                    let (start, last): (usize, usize) = (start.parse().unwrap(), last.parse().unwrap());
                    let more = format!("content-range: bytes {start}-{last}/{}\r\n", bytes.len());
                    ("206 Partial Content", more, bytes[start..=last].to_vec())
                }
                None => {
                    assert!(head[0].contains("list-type=2"), "{head:?}");
                    let page = counter.fetch_add(1, Relaxed);
                    let next = if page < 300 {
                        format!("<NextContinuationToken>{page}</NextContinuationToken>")
                    } else {
                        String::new()
                    };
                    let found = format!(
                        "<Key>{object}-{page}</Key><LastModified>2026-11-21T02:07:00.000Z</LastModified><ETag>\"e\"</ETag><Size>9</Size>"
                    );
                    let list = format!(
                        "<ListBucketResult><IsTruncated>{}</IsTruncated>{next}<Contents>{found}</Contents></ListBucketResult>",
                        page < 300
                    );
                    ("200 OK", String::new(), list.into_bytes())
                }
            };
            let head = format!(
                "HTTP/1.1 {status}\r\n{more}etag: \"e\"\r\nlast-modified: Sat, 21 Nov 2026 02:07:00 GMT\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            std::io::Write::write_all(&mut stream, &[head.as_bytes(), &body].concat()).unwrap();
        }
    });
    (endpoint, lists)
}

#[test]
fn a_list_of_blocks_costs_no_list_of_the_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (block("a", 0, 5), block("b", 10, 3));
    let name = "30d/1795226820000-0123456789abcdef";
    let (endpoint, lists) = bucket_of_many(name, [&a[..], &b].concat());
    let (blocks, data) = (dir.path().join("rows"), dir.path().join("data"));
    let rows = [row("one", &[(name, 0..a.len())]), row("two", &[(name, a.len()..a.len() + b.len())])];
    std::fs::write(&blocks, rows.concat()).unwrap();
    new_store(&data);
    let arguments = ["import", "s3://many", "--blocks", text(&blocks), "--data", text(&data)];
    let (is_ok, said) = run_with(&arguments, &endpoint);
    assert!(is_ok, "{said}");
    assert_eq!(counts(&data), [("one".to_owned(), 5), ("two".to_owned(), 3)]);
    assert_eq!(lists.load(Relaxed), 1, "one page says that there is something");
}

#[test]
fn an_encrypted_object_is_taken_by_the_signature_beside_it() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let path = |name: &str| dir.path().join(name);
    let (data, site, key, into) = (path("data"), path("site"), path("mine.key"), path("into"));
    a_store(&data, &path("from"), 2);
    let (is_ok, shared) = run(&["share", "r000", "--data", text(&data), "--to", text(&site)]);
    assert!(is_ok, "{shared}");
    let link = shared.lines().find(|line| line.contains("&key=")).unwrap();
    let files = files_below(&site);
    let file = files.iter().find(|path| path.to_str().unwrap().ends_with(".enc")).unwrap();
    let public = run(&["sign", "--new-key", text(&key)]).1;
    let public = public.lines().find(|line| line.starts_with("ed25519:")).unwrap();
    assert!(run(&["sign", text(file), "--key", text(&key)]).0);
    let up = |file: &Path| {
        let name = format!("site/{}", file.file_name().unwrap().to_str().unwrap());
        put(&weed, dir.path(), &name, &std::fs::read(file).unwrap());
    };
    files.iter().for_each(|file| up(file));
    new_store(&into);
    let arguments = ["import", "s3://replay/site", "--data", text(&into), "--key", link, "--signed-by", public];
    let (is_ok, said) = run_with(&arguments, &weed.endpoint());
    assert!(!is_ok && said.contains("it is encrypted, and there is no signature beside it"), "{said}");
    assert!(said.contains("1 holds none, 1 left alone"), "the page is no recording: {said}");
    up(Path::new(&format!("{}.sig", text(file))));
    let (is_ok, said) = run_with(&arguments, &weed.endpoint());
    assert!(is_ok && said.contains("imported 1 recording with 20 events of 2 files"), "{said}");
}

#[test]
fn objects_of_posthog_until_2024_come_in_by_their_names_from_bucket_and_disk() {
    use std::io::Write as _;
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    let gzip = |from: u64| {
        let event = |at: u64| format!(r#"{{"type":5,"timestamp":{},"data":{{"tag":"{at}"}}}}"#, 1_795_226_820_000 + at);
        let line = format!("{{\"window_id\":\"w\",\"data\":[{},{}]}}\n", event(from), event(from + 1));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(line.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let disk = dir.path().join("disk");
    for (id, range, from) in [("01a1", "1000-2000", 0), ("01a1", "900-950", 10), ("01a2", "1-2", 20)] {
        let name = format!("session_recordings/team_id/2/session_id/{id}/data/{range}");
        put(&weed, dir.path(), &format!("v1/{name}"), &gzip(from));
        std::fs::create_dir_all(disk.join(&name).parent().unwrap()).unwrap();
        std::fs::write(disk.join(&name), gzip(from)).unwrap();
    }
    for (from, name) in [("s3://replay/v1", "of-bucket"), (text(&disk), "of-disk")] {
        let data = dir.path().join(name);
        new_store(&data);
        let (is_ok, said) = run_with(&["import", from, "--data", text(&data)], &weed.endpoint());
        assert!(is_ok, "{said}");
        assert_eq!(counts(&data), [("01a1".to_owned(), 4), ("01a2".to_owned(), 2)], "{name}");
    }
}

#[test]
fn a_bucket_that_cannot_be_used_is_named_with_the_reason() {
    let (weed, dir) = (Weed::get(), tempfile::tempdir().unwrap());
    new_store(dir.path());
    let export = |to: &str, secret: &str| {
        let arguments = ["export", "--data", text(dir.path()), "--to", to];
        let done = with_bucket(&arguments, &weed.endpoint()).env("AWS_SECRET_ACCESS_KEY", secret).output().unwrap();
        assert!(!done.status.success());
        String::from_utf8(done.stderr).unwrap()
    };
    let said = export("s3://replay/x", "wrong");
    assert!(said.contains("cannot list s3://replay/x") && said.contains("hint: AWS_ACCESS_KEY_ID"), "{said}");
    assert_eq!(said.matches("signature").count(), 2, "the server's reason, once: {said}");
    let said = export("s3://no-such-bucket/x", SECRET);
    assert!(said.contains("s3://no-such-bucket/x"), "{said}");
    let (is_ok, said) = run_with(&["import", "s3://replay/nothing-here", "--data", text(dir.path())], &weed.endpoint());
    assert!(!is_ok && said.contains("there is nothing in s3://replay/nothing-here"), "{said}");
}
