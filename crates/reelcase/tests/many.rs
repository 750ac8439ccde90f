//! Ten thousand recordings are listed and exported, and what has not changed is not touched again.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::{Server, files_below, run, text};

const RECORDINGS: usize = 10_000;

/// Those of another project, which are made tables of too.
const TABLED: usize = 1_000;

/// Recordings of one upload.
const UPLOAD_RECORDINGS: usize = 500;

const DAY_MS: u64 = 86_400_000;

/// Sends recordings of two events each, of one day.
async fn send(server: &Server, project: &str, numbers: std::ops::Range<usize>, day: u64) {
    let numbers: Vec<usize> = numbers.collect();
    for numbers in numbers.chunks(UPLOAD_RECORDINGS) {
        let mut items = Vec::new();
        for number in numbers {
            let at = 1_795_226_820_000 + day * DAY_MS + *number as u64;
            let mut events = String::new();
            for later in 0..2 {
                let at = at + later;
                write!(events, r#"{{"type":5,"timestamp":{at},"data":{{"tag":"t","payload":{number}}}}},"#).unwrap();
            }
            let (events, id) = (events.trim_end_matches(','), uuid::Uuid::from_u128(*number as u128 + 1));
            items.push(format!(
                r#"{{"uuid":"{id}","event":"$snapshot","properties":{{"$session_id":"rec-{number:05}","$window_id":"w",
                "token":"{project}","distinct_id":"d","$snapshot_data":[{events}]}}}}"#
            ));
        }
        let body = format!("[{}]", items.join(","));
        let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }
}

/// What would change if a file was written, or replaced: when, and which it is.
fn states(dir: &Path) -> BTreeMap<PathBuf, (i64, i64, u64, u64)> {
    let state = |path: PathBuf| {
        let file = path.metadata().unwrap();
        (path, (file.mtime(), file.mtime_nsec(), file.ino(), file.size()))
    };
    files_below(dir).into_iter().map(state).collect()
}

/// Makes every byte of some files a zero: whoever reads them now finds nothing in them.
fn blank(files: impl Iterator<Item = PathBuf>) {
    for path in files {
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let (bytes, modified) = (file.metadata().unwrap().len(), file.metadata().unwrap().modified().unwrap());
        file.set_len(0).unwrap();
        file.set_len(bytes).unwrap();
        file.set_modified(modified).unwrap();
    }
}

fn is_recording(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("jsonl" | "parquet")) && !path.ends_with("manifest.jsonl") && !path.ends_with("tables.jsonl")
}

/// What an export is of, and how many recordings that are.
const EXPORTS: [(&str, &[&str], usize); 2] = [
    ("files", &["--format", "jsonl", "--jobs", "8"], RECORDINGS),
    ("tables", &["--format", "parquet", "--where", "project=phc_tabled"], TABLED),
];

#[tokio::test]
async fn a_second_export_of_ten_thousand_touches_nothing_and_a_third_only_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    send(&server, "phc_tabled", 0..TABLED, 0).await;
    send(&server, "phc_many", TABLED..RECORDINGS, 0).await;
    server.stop();
    let (is_ok, list) = run(&["ls", "--data", text(&data)]);
    assert!(is_ok && list.lines().count() == RECORDINGS);
    let export = |(to, how, _): (&str, &[&str], usize)| {
        let to = dir.path().join(to);
        let (is_ok, said) = run(&[&["export", "--data", text(&data), "--to", text(&to)], how].concat());
        assert!(is_ok, "{said}");
        said
    };
    let of_recordings = |to: &str| {
        let mut files = states(&dir.path().join(to));
        files.retain(|path, _| is_recording(path));
        files
    };
    for one in EXPORTS {
        let said = export(one);
        assert!(said.contains(&format!("exported {} recordings", one.2)) && said.contains("0 unchanged"), "{said}");
    }
    let first = EXPORTS.map(|(to, ..)| of_recordings(to));
    assert_eq!(first[0].len(), RECORDINGS);

    // Neither the store's blocks nor the files that were written could be read any more.
    let objects = files_below(&data.join("objects")).into_iter();
    blank(objects.filter(|path| path.extension().is_some_and(|ending| ending == "reel")));
    first.iter().for_each(|files| blank(files.keys().cloned()));
    for (one, first) in EXPORTS.into_iter().zip(&first) {
        let said = export(one);
        let unchanged = format!("{} unchanged", one.2);
        assert!(said.contains("exported 0 recordings") && said.contains(&unchanged), "{said}");
        assert!(of_recordings(one.0) == *first, "files were written again");
    }

    let server = Server::start(&data);
    send(&server, "phc_tabled", RECORDINGS..RECORDINGS + 1, 1).await;
    server.stop();
    for ((one, first), new) in EXPORTS.into_iter().zip(&first).zip([1, 3]) {
        let said = export(one);
        let unchanged = format!("{} unchanged", one.2);
        assert!(said.contains("exported 1 recording") && said.contains(&unchanged), "{said}");
        let mut now = of_recordings(one.0);
        assert_eq!(now.len(), first.len() + new);
        now.retain(|path, _| first.contains_key(path));
        assert!(now == *first, "files were written again");
    }
}
