//! A recording of any size goes through in little memory.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Server, reelcase, text};

/// What any export or import may take.
const PEAK_BYTES_MAX: u64 = 256 << 20;

/// More than that.
const RECORDING_BYTES: u64 = 280 << 20;

/// Runs the command and returns the most memory that it ever held, as the shell's time would.
fn peak_bytes(arguments: &[&str]) -> u64 {
    let mut command = Command::new("python3");
    let measure = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]).returncode; \
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done)";
    command.args(["-c", measure]).arg(reelcase().get_program()).args(arguments).stderr(Stdio::null());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{arguments:?}");
    String::from_utf8(done.stdout).unwrap().trim().parse::<u64>().unwrap() << 10
}

/// An rrweb JSON array of a page that is taken whole now and then, with much going on between.
fn write_recording(path: &Path) {
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    let page = "a page of many words and few surprises ".repeat(40_000);
    let (mut bytes, mut at) = (0, 0_u64);
    while bytes < RECORDING_BYTES {
        let timestamp = 1_795_226_820_000 + at * 50;
        let event = match at % 400 {
            0 => format!(
                r#"{{"type":4,"timestamp":{timestamp},"data":{{"href":"http://a.test/","width":8,"height":6}}}}"#
            ),
            1 => format!(r#"{{"type":2,"timestamp":{timestamp},"data":{{"node":{{"textContent":"{at} {page}"}}}}}}"#),
            _ => format!(
                r#"{{"type":3,"timestamp":{timestamp},"data":{{"source":0,"adds":[],"texts":["{at} {}"]}}}}"#,
                &page[..3_000]
            ),
        };
        out.write_all(if at == 0 { b"[" } else { b",\n" }).unwrap();
        out.write_all(event.as_bytes()).unwrap();
        (bytes, at) = (bytes + event.len() as u64, at + 1);
    }
    out.write_all(b"]").unwrap();
    out.flush().unwrap();
}

#[test]
fn a_recording_of_280_mb_comes_in_and_goes_out_in_256_mb_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data, to) = (dir.path().join("large.json"), dir.path().join("data"), dir.path().join("to"));
    write_recording(&file);
    Server::start(&data).stop();
    let (file, data, to) = (text(&file), text(&data), text(&to));
    let mut peaks = vec![("import".to_owned(), peak_bytes(&["import", file, "--data", data]))];
    for form in ["reel", "html", "parquet"] {
        let peak = peak_bytes(&["export", "--data", data, "--to", to, "--format", form]);
        peaks.push((form.to_owned(), peak));
        std::fs::remove_dir_all(to).unwrap();
    }
    let told: Vec<_> = peaks.iter().map(|(what, bytes)| format!("{what} {} MB", bytes >> 20)).collect();
    println!("{}", told.join(", "));
    assert!(peaks.iter().all(|(_, bytes)| *bytes < PEAK_BYTES_MAX), "{}", told.join(", "));
}
