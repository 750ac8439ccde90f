//! An export says how far it is on one line of a terminal, and ends where it cannot go on, with what is to be done.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{SmallDisk, corpus, files_below, reelcase, run, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long anything here may take at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a request.
enum Answer {
    Now(String),
    Later(Duration, String),
    /// The connection stays open.
    Never,
    /// The server is gone: this request, and all that follow, find nobody.
    Gone,
}

/// A server that answers as a test wants. Returns its address.
async fn server(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    let (gone, mut is_gone) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    tokio::spawn(one_request(stream, answer.clone(), gone.clone()));
                }
                _ = is_gone.recv() => return,
            }
        }
    });
    url
}

async fn one_request(
    mut stream: TcpStream,
    answer: Arc<impl Fn(&str) -> Answer>,
    gone: tokio::sync::mpsc::Sender<()>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let said = match answer(head.split(' ').nth(1)?) {
        Answer::Now(said) => said,
        Answer::Later(after, said) => {
            tokio::time::sleep(after).await;
            said
        }
        Answer::Never => return std::future::pending().await,
        Answer::Gone => {
            gone.send(()).await.ok()?;
            gone.closed().await;
            return None;
        }
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", said.len());
    stream.write_all((head + &said).as_bytes()).await.ok()
}

/// The list of so many recordings.
fn list(count: usize) -> String {
    let row = |number| {
        format!(
            r#"{{"id":"rec-{number}","project":"phc_slow","start_ms":1795226820000,"updated_at_ms":1,"event_count":1,
            "stored_bytes":1000000,"plain_bytes":1000000}}"#
        )
    };
    format!(r#"{{"recordings":[{}],"next":null}}"#, (0..count).map(row).collect::<Vec<_>>().join(","))
}

/// What stands on a terminal when all was written to it.
fn screen(written: &str, columns: usize) -> String {
    let (mut rows, mut column) = (vec![Vec::new()], 0);
    let mut rest = written.chars();
    while let Some(char) = rest.next() {
        let row = rows.last_mut().unwrap();
        match char {
            '\r' => column = 0,
            '\n' => rows.push(Vec::new()),
            '\u{1b}' => {
                assert_eq!((rest.next(), rest.next()), (Some('['), Some('K')), "only one command is needed");
                row.truncate(column);
            }
            char => {
                if column == columns {
                    rows.push(Vec::new());
                    column = 0;
                }
                let row = rows.last_mut().unwrap();
                row.resize(row.len().max(column + 1), ' ');
                row[column] = char;
                column += 1;
            }
        }
    }
    rows.into_iter().map(|row| row.into_iter().collect::<String>() + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_any_width_shows_how_far_it_is_on_one_line_that_goes_at_the_end() {
    let url = server(|path| match path.contains("/export") {
        true => Answer::Later(Duration::from_millis(700), "[\"w\",{}]\n".to_owned()),
        false => Answer::Now(list(3)),
    })
    .await;
    for (columns, told) in
        [(100, "░ 1 of 3 recordings, "), (45, "\u{1b}[K1 of 3 recordings, "), (16, "\u{1b}[K1 of 3 recordi…")]
    {
        let dir = tempfile::tempdir().unwrap();
        let command = format!(
            "stty cols {columns}; TERM=xterm {} export --server {url} --token t --format jsonl --jobs 1 --to {}",
            env!("CARGO_BIN_EXE_reelcase"),
            dir.path().join("to").display()
        );
        let done = Command::new("script").args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        let written = String::from_utf8(done.stdout).unwrap();
        assert!(written.contains(told), "{columns} columns: {written:?}");
        assert!(columns < 45 || written.contains(" left"), "{columns} columns: {written:?}");
        let screen = screen(&written, columns);
        assert!(screen.starts_with("exported 3 recor"), "{columns} columns: {screen}");
        assert!(!screen.contains("of 3") && !screen.contains('░'), "{columns} columns: {screen}");
    }
}

/// Waits for a process to end; it is killed when it does not.
async fn ended(mut child: Child) -> (Option<i32>, String) {
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end: {:?}", child.wait_with_output());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let done = child.wait_with_output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_can_end_it_while_it_exports() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // The first run ends well, and the second never does.
    let url = server(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Answer::Now(list(0)),
        _ => Answer::Never,
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = reelcase();
    command.args(["export", "--server", &url, "--token", "t", "--watch", "1", "--to"]).arg(dir.path().join("to"));
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let since = Instant::now();
    while asked.load(Ordering::Relaxed) < 3 {
        assert!(since.elapsed() < PATIENCE, "it does not look again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(ended(child).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_told_what_is_new_and_nothing_else() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let url = server(move |path| match path.contains("/export") {
        true => Answer::Now("[\"w\",{}]\n".to_owned()),
        // The list that is asked for first is of the check before the first run.
        false => Answer::Now(list(if count.fetch_add(1, Ordering::Relaxed) < 4 { 1 } else { 2 })),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = reelcase();
    command.args(["export", "--server", &url, "--token", "t", "--watch", "1", "--to"]).arg(dir.path().join("to"));
    let mut child = command.args(["--format", "jsonl"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let (first, second) = (said.next().unwrap(), said.next().unwrap());
    assert!(first.contains("exported 1 recording, ") && first.contains("; 0 unchanged"), "{first}");
    assert!(second.contains("exported 1 recording, ") && second.contains("; 1 unchanged"), "{second}");
    assert!(asked.load(Ordering::Relaxed) >= 5);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_its_server_and_does_not_try_each_of_the_others() {
    let url = server(|path| match path {
        path if path.contains("/rec-18/export") => Answer::Gone,
        path if path.contains("/export") => Answer::Now("[\"w\",{}]\n".to_owned()),
        _ => Answer::Now(list(20)),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = reelcase();
    command.args(["export", "--server", &url, "--token", "t", "--jobs", "1", "--format", "jsonl", "--to"]);
    let child = command.arg(dir.path().join("to")).stderr(Stdio::piped()).spawn().unwrap();
    let (code, said) = ended(child).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("recording rec-18 is not exported: the connection to 127.0.0.1:"), "{said}");
    assert!(said.contains("\nerror: cannot reach 127.0.0.1:"), "the next finds nobody: {said}");
    assert!(said.ends_with("\nhint: the next run goes on where this one ended\n"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
}

/// A store with copies of a real recording.
fn a_store(data: &Path, from: &Path, count: usize) {
    std::fs::create_dir_all(from).unwrap();
    common::Server::start(data).stop();
    let mut recorded = files_below(&corpus("rrweb").join("recorded"));
    recorded.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    recorded.sort_by_key(|path| path.metadata().unwrap().len());
    let events = std::fs::read_to_string(recorded.last().unwrap()).unwrap();
    for number in 0..count {
        std::fs::write(
            from.join(format!("{number}.json")),
            format!(r#"{{"sessionId":"rec-{number}","events":{events}}}"#),
        )
        .unwrap();
    }
    assert!(run(&["import", text(from), "--data", text(data)]).0);
}

#[test]
fn a_full_disk_ends_an_export_which_the_next_one_takes_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store(&data, &dir.path().join("from"), 12);
    let of_one = dir.path().join("from/0.json").metadata().unwrap().len();
    // Room for two files of lines, and for none of tables.
    for (format, room) in [("jsonl", of_one * 5 / 2), ("parquet", 24 << 10)] {
        let disk = SmallDisk::mount(&dir.path().join("disk"), &format!("size={room}"));
        let to = disk.0.join("to");
        let export = || run(&["export", "--data", text(&data), "--to", text(&to), "--format", format, "--jobs", "1"]);
        let (is_ok, said) = export();
        assert!(!is_ok && said.starts_with("error: "), "{said}");
        assert!(said.contains(&format!("cannot write in {}: No space left on device", text(&to))), "{said}");
        assert!(said.contains("\nhint: ") && said.lines().count() == 2, "it is said once: {said}");
        assert_eq!(said.matches("No space").count(), 1, "{said}");
        disk.remount("size=64m");
        let (is_ok, said) = export();
        assert!(is_ok && said.contains(if format == "jsonl" { "2 unchanged" } else { "12 recordings" }), "{said}");
    }
}

#[test]
fn a_full_disk_leaves_no_part_of_a_file_and_is_said_of_the_file_that_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store(&data, &dir.path().join("from"), 1);
    let disk = SmallDisk::mount(&dir.path().join("disk"), "size=4k");
    let (to, one) = (disk.0.join("x.reel"), dir.path().join("from/0.json"));
    for arguments in [
        &["export", "rec-0", "--data", text(&data), "--output", text(&to)][..],
        &["convert", text(&one), text(&to)],
        &["pack", text(&to), "--data", text(&data)],
    ] {
        let (is_ok, said) = run(arguments);
        let what = format!("cannot write {}: No space left on device (os error 28)\n", text(&to));
        assert!(!is_ok && said.starts_with("error: ") && said.ends_with(&what), "{said}");
        assert!(files_below(&disk.0).is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_may_only_be_read_is_named_and_nothing_is_tried_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_store(&data, &dir.path().join("from"), 2);
    let disk = SmallDisk::mount(&dir.path().join("disk"), "size=200m");
    let path = |name: &str| disk.0.join(name);
    let (to, old, theirs) = (path("to"), path("old"), path("theirs"));
    let export = |data: &Path, to: &Path| run(&["export", "--data", text(data), "--to", text(to)]);
    assert!(export(&data, &old).0);
    assert!(Command::new("cp").args(["-r", text(&data), text(&theirs)]).status().unwrap().success());
    disk.remount("ro");
    for (to, what) in [(&to, "cannot make "), (&old, "cannot write in ")] {
        let (is_ok, said) = export(&data, to);
        let expected = format!("error: {what}{}: Read-only file system (os error 30)\n", text(to));
        assert!(!is_ok && said == expected, "{said}");
    }
    let (is_ok, said) = run(&["export", "rec-0", "--data", text(&data), "--output", text(&path("x.reel"))]);
    let expected = format!("error: cannot write in {}: Read-only file system (os error 30)\n", text(&disk.0));
    assert!(!is_ok && said == expected, "{said}");
    // Whoever opens a store seals what waits in it.
    let into = dir.path().join("into");
    for arguments in [
        &["export", "--data", text(&theirs), "--to", text(&into)][..],
        &["import", text(&dir.path().join("from/0.json")), "--data", text(&theirs)],
        &["merge", text(&theirs), "--data", text(&data)],
    ] {
        let (is_ok, said) = run(arguments);
        let expected = format!("error: cannot open the store in {}: ", text(&theirs));
        assert!(!is_ok && said.starts_with(&expected) && said.contains("Read-only file system"), "{said}");
        assert!(said.contains("\nhint: opening a store writes into it"), "{said}");
    }
    assert!(!into.exists(), "nothing is left of an export of nothing");
}

#[test]
fn a_store_is_no_place_to_export_to_and_an_empty_choice_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let (data, to) = (dir.path().join("data"), dir.path().join("to"));
    common::Server::start(&data).stop();
    let (is_ok, said) = run(&["export", "--data", text(&data), "--to", text(&data)]);
    assert!(!is_ok && said.contains(" is a store\nhint: export to a directory of its own"), "{said}");
    let (is_ok, said) = run(&["export", "--data", text(&data), "--to", text(&to), "--where", "url=/checkout"]);
    assert!(is_ok && said.starts_with("note: no recording is as --where, --since and --until say\n"), "{said}");
    let (is_ok, said) = run(&["export", "--data", text(&data), "--to", text(&to)]);
    assert!(is_ok && said.starts_with("note: there is no recording\n"), "{said}");
}
