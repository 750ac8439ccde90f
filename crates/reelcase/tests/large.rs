//! A recording of any size goes through in little memory: in by every form that is read, out by every form that is
//! written.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Server, reelcase, text};

/// What any export or import may take.
const PEAK_BYTES_MAX: u64 = 256 << 20;

/// More than that.
const RECORDING_BYTES: u64 = 290 << 20;

/// Forms that come back, and those that do not.
const TWO_WAY: [&str; 10] =
    ["reel", "html", "jsonl", "jsonl-gzip", "jsonl-zstd", "rrweb", "rrweb-packed", "posthog", "seeds", "seeds-gzip"];
const ONE_WAY: [&str; 3] = ["har", "console", "console-csv"];

/// Runs the command and returns the most memory that it ever held, as the shell's time would.
fn peak_bytes(arguments: &[&str]) -> u64 {
    let mut command = Command::new("python3");
    let measure = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]).returncode; \
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done)";
    command.args(["-c", measure]).arg(reelcase().get_program()).args(arguments).stderr(Stdio::null());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{arguments:?}");
    let printed = String::from_utf8(done.stdout).unwrap();
    printed.trim().lines().last().unwrap().parse::<u64>().unwrap() << 10
}

/// How much of a recording its blocks take when they are compressed.
#[derive(Clone, Copy)]
enum Density {
    /// Next to nothing.
    Light,
    /// Nearly all of it: texts are letters that follow no rule.
    Dense,
}

/// An rrweb JSON array of a page that is taken whole now and then, with much going on between.
fn write_recording(path: &Path, density: Density) {
    let texts = Texts::new(density);
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    let (mut bytes, mut at) = (0, 0_u64);
    while bytes < RECORDING_BYTES {
        let moment = 1_795_226_820_000 + at * 50;
        let data = match (at % 400, at % 4) {
            (0, _) => (4, r#"{"href":"http://a.test/","width":8,"height":6}"#.to_owned()),
            (1, _) => (2, format!(r#"{{"node":{{"textContent":"{}"}}}}"#, texts.some(at, 2_000_000))),
            (_, 2) => (6, console(texts.some(at, 6_000))),
            (_, 3) => (6, request(moment, texts.some(at, 6_000))),
            _ => (3, format!(r#"{{"source":0,"adds":["{}"]}}"#, texts.some(at, 6_000))),
        };
        let event = format!(r#"{{"type":{},"timestamp":{moment},"data":{}}}"#, data.0, data.1);
        out.write_all(if at == 0 { b"[" } else { b",\n" }).unwrap();
        out.write_all(event.as_bytes()).unwrap();
        (bytes, at) = (bytes + event.len() as u64, at + 1);
    }
    out.write_all(b"]").unwrap();
    out.flush().unwrap();
}

fn console(message: &str) -> String {
    format!(r#"{{"plugin":"rrweb/console@1","payload":{{"level":"log","payload":["\"{message}\""],"trace":[]}}}}"#)
}

fn request(moment: u64, body: &str) -> String {
    format!(
        r#"{{"plugin":"rrweb/network@1","payload":{{"requests":[{{"name":"http://a.test/","initiatorType":"fetch",
        "entryType":"resource","method":"GET","status":200,"timestamp":{moment},"duration":2,"responseBody":"{body}"}}]}}}}"#
    )
    .replace('\n', "")
}

/// Letters, pieces of which are texts.
struct Texts(String);

impl Texts {
    fn new(density: Density) -> Self {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(LETTERS[(state >> 58) as usize])
        };
        Self(match density {
            Density::Light => "a page of many words and few surprises ".repeat(60_000),
            Density::Dense => (0..24 << 20).map(|_| letter()).collect(),
        })
    }

    fn some(&self, at: u64, letters: usize) -> &str {
        let start = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % (self.0.len() - letters);
        &self.0[start..start + letters]
    }
}

/// What commands took at most.
#[derive(Default)]
struct Peaks(Vec<(String, u64)>);

impl Peaks {
    fn measure(&mut self, what: &str, arguments: &[&str]) {
        let peak = peak_bytes(arguments);
        println!("{what}: {} MB", peak >> 20);
        self.0.push((what.to_owned(), peak));
    }

    fn check(&self) {
        let too_much: Vec<_> = self.0.iter().filter(|(_, bytes)| *bytes >= PEAK_BYTES_MAX).collect();
        assert!(too_much.is_empty(), "{too_much:?}");
    }
}

/// Makes a store with one large recording, and another that is empty. Returns what that took, and the recording's id.
fn world(dir: &Path, density: Density) -> (Peaks, String) {
    let (file, data, other) = (dir.join("large.json"), dir.join("data"), dir.join("other"));
    write_recording(&file, density);
    Server::start(&data).stop();
    Server::start(&other).stop();
    let mut peaks = Peaks::default();
    peaks.measure("import", &["import", text(&file), "--data", text(&data)]);
    let list = reelcase().args(["ls", "--data", text(&data)]).output().unwrap();
    let id = String::from_utf8(list.stdout).unwrap().split_whitespace().next().unwrap().to_owned();
    (peaks, id)
}

#[test]
fn a_recording_of_290_mb_goes_out_and_comes_in_by_every_form_in_256_mb_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (mut peaks, id) = world(dir.path(), Density::Light);
    let (data, to) = (dir.path().join("data"), dir.path().join("to"));
    let (data, to) = (text(&data), text(&to));
    for form in TWO_WAY.into_iter().chain(ONE_WAY) {
        peaks.measure(&format!("to {form}"), &["export", &id, "--data", data, "--format", form, "--output", to]);
        if TWO_WAY.contains(&form) {
            // All of it is read and made a recording of, and then found to be there.
            peaks.measure(&format!("from {form}"), &["import", to, "--data", data, "--dry-run"]);
        }
        std::fs::remove_file(to).unwrap();
    }
    peaks.measure("to tables", &["export", "--data", data, "--to", to, "--format", "parquet"]);
    peaks.measure("from tables", &["import", to, "--data", data, "--dry-run"]);
    peaks.check();
}

#[test]
fn one_that_compression_does_not_shrink_goes_out_and_from_store_to_store_in_256_mb_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (mut peaks, id) = world(dir.path(), Density::Dense);
    let path = |name: &str| dir.path().join(name);
    let (data, other, reel, pack, page) = (path("data"), path("other"), path("a.reel"), path("pack"), path("page"));
    let (data, other, reel, pack, page) = (text(&data), text(&other), text(&reel), text(&pack), text(&page));
    peaks.measure("to reel", &["export", &id, "--data", data, "--output", reel]);
    peaks.measure("to html", &["export", &id, "--data", data, "--format", "html", "--output", page]);
    peaks.measure("pack", &["pack", pack, "--data", data]);
    peaks.measure("unpack", &["unpack", pack, "--data", other]);
    peaks.check();
}
