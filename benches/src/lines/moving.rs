//! Recordings out of a store and into one, against the programs that people would use for it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use reelcase_format::cv;
use reelcase_format::event::events;
use reelcase_format::json::member;
use reelcase_format::limits::Limits;
use reelcase_format::upload;

use crate::Settings;
use crate::lines::storage::compact;
use crate::process::{ended_cpu_seconds, new_store};
use crate::report::{Row, median, number, percent, times};
use crate::workload::{Capture, captures};

/// How far apart a recording's repetitions begin, ms.
const REPEAT_MS: i64 = 60_000;

/// When the recordings begin, ms since 1970. Any time does.
const BEGIN_MS: i64 = 1_795_000_000_000;

/// What is moved: the same recordings as files, and in a store.
struct Moved {
    dir: tempfile::TempDir,
    /// Bytes of the rrweb events of all recordings.
    plain_mb: f64,
}

impl Moved {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A party of a row: takes its turn, and says how many seconds that took, of processor time unless it says otherwise.
type Turn<'a> = Box<dyn FnMut() -> anyhow::Result<f64> + 'a>;

pub(crate) fn out(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let prepared = prepare(settings)?;
    let moved = &prepared;
    let lines = moved.path("all.jsonl");
    let ours = |form: &'static str| -> Turn<'_> { Box::new(move || export(settings, moved, form)) };
    let python = |what: &'static str| -> Turn<'_> { Box::new(|| mover(what, &lines, &moved.path(what))) };
    let jq: Turn<'_> = Box::new(|| {
        let out = File::create(moved.path("jq"))?;
        cpu_seconds(Command::new("jq").args(["-c", "."]).arg(&lines).stdout(out))
    });
    let [of_lines, of_jq, of_orjson] = in_turns(settings, [ours("jsonl"), jq, python("lines")])?;
    let [of_tables, of_duckdb, of_pyarrow] =
        in_turns(settings, [ours("parquet"), python("duckdb"), python("pyarrow")])?;
    let rate = |seconds: f64| number(moved.plain_mb / seconds);
    let row = |id, ours: f64, theirs: f64| Row::compared(id, rate(ours), rate(theirs), times(theirs / ours));
    Ok(vec![
        row("P10", of_lines, of_jq),
        row("P10o", of_lines, of_orjson),
        row("P10p", of_tables, of_duckdb),
        row("P10a", of_tables, of_pyarrow),
    ])
}

/// A recording as long as all of them as a `.reel` file, and a copy of that file which is on the disk as surely.
pub(crate) fn copied(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let moved = prepare(settings)?;
    let [data, file, copy] = ["long", "long.reel", "copy.reel"].map(|name| moved.path(name));
    new_store(&settings.binary, &data)?;
    run(Command::new(&settings.binary).arg("import").arg(moved.path("all.jsonl")).arg("--data").arg(&data))?;
    tokio::runtime::Runtime::new()?.block_on(compact(&data))?;
    let listed = Command::new(&settings.binary).args(["ls", "--json", "--data"]).arg(&data).output()?;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).context("no recording was imported")?;
    let id = listed["id"].as_str().unwrap_or_default().to_owned();
    let mut export = Command::new(&settings.binary);
    export.args(["export", &id, "--format", "reel", "--data"]).arg(&data).arg("--output").arg(&file);
    // Once before it counts, so that there is something to copy.
    run(&mut export)?;
    let mut cp = Command::new("sh");
    cp.args(["-c", "rm -f \"$2\" && cp \"$1\" \"$2\" && sync \"$2\"", "sh"]).args([&file, &copy]);
    let ours: Turn<'_> = Box::new(|| wall_seconds(&mut export));
    let theirs: Turn<'_> = Box::new(|| wall_seconds(&mut cp));
    let [of_export, of_copy] = in_turns(settings, [ours, theirs])?;
    let rate = |seconds: f64| number(moved.plain_mb / seconds);
    Ok(vec![Row::compared("P10r", rate(of_export), rate(of_copy), percent(of_copy / of_export))])
}

pub(crate) fn into(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let prepared = prepare(settings)?;
    let moved = &prepared;
    let mut rows = Vec::new();
    for (id, form, ending) in [("P11", "rrweb", "json"), ("P11p", "posthog", "posthog.json")] {
        // The first recording alone, as the file of another program.
        let (from, one) = (moved.path("from/0.jsonl"), moved.path(&format!("one.{ending}")));
        let convert = run(Command::new(&settings.binary).arg("convert").args([&from, &one]).args(["--format", form]));
        convert.context("cannot write the file to import")?;
        let mb = one.metadata()?.len() as f64 / 1e6;
        let ours: Turn<'_> = Box::new(|| {
            let data = settings.directory()?;
            new_store(&settings.binary, data.path())?;
            cpu_seconds(Command::new(&settings.binary).arg("import").arg(&one).arg("--data").arg(data.path()))
        });
        let theirs: Turn<'_> = Box::new(|| mover("rewrite", &one, &moved.path("rewritten")));
        let [ours, theirs] = in_turns(settings, [ours, theirs])?;
        rows.push(Row::compared(id, number(mb / ours), number(mb / theirs), times(theirs / ours)));
    }
    Ok(rows)
}

/// Medians of what each party took.
fn in_turns<const PARTIES: usize>(
    settings: &Settings,
    mut parties: [Turn<'_>; PARTIES],
) -> anyhow::Result<[f64; PARTIES]> {
    let mut seconds = [const { Vec::new() }; PARTIES];
    for _ in 0..settings.rounds {
        for (party, seconds) in parties.iter_mut().zip(&mut seconds) {
            // Less than a tick is measured as none.
            seconds.push(party()?.max(0.01));
        }
    }
    Ok(seconds.map(median))
}

fn export(settings: &Settings, moved: &Moved, form: &str) -> anyhow::Result<f64> {
    let to = moved.path("out");
    let _ = fs::remove_dir_all(&to);
    let mut command = Command::new(&settings.binary);
    command.arg("export").arg("--data").arg(moved.path("data")).arg("--to").arg(&to).args(["--format", form]);
    cpu_seconds(&mut command)
}

fn mover(what: &str, from: &Path, to: &Path) -> anyhow::Result<f64> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = crate_dir.join("../target/tables/bin/python");
    ensure!(python.exists(), "there is no {}: make bench-deps", python.display());
    let script = crate_dir.join("movers/mover.py");
    cpu_seconds(Command::new(python).arg(script).arg(what).arg(from).arg(to))
}

/// Seconds of processor time that a command takes, its children included.
fn cpu_seconds(command: &mut Command) -> anyhow::Result<f64> {
    let before = ended_cpu_seconds()?;
    run(command)?;
    Ok(ended_cpu_seconds()? - before)
}

fn wall_seconds(command: &mut Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    run(command)?;
    Ok(begin.elapsed().as_secs_f64())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?} failed: {said}", command.get_program());
    Ok(())
}

/// Recordings as large as asked for, made of what clients sent, in a store that has compacted them.
fn prepare(settings: &Settings) -> anyhow::Result<Moved> {
    let moved = Moved { dir: settings.directory()?, plain_mb: 0.0 };
    let (from, data) = (moved.path("from"), moved.path("data"));
    fs::create_dir_all(&from)?;
    let bytes_each = settings.moved_mb * 1_000_000;
    let captured = plain_events(&captures(&settings.corpus)?);
    let mut all = BufWriter::new(File::create(moved.path("all.jsonl"))?);
    let mut plain_bytes = 0;
    for number in 0..settings.moved {
        let mut one = BufWriter::new(File::create(from.join(format!("{number}.jsonl")))?);
        let begin_ms = BEGIN_MS + number as i64 * 86_400_000 / 10;
        let (mut bytes, mut round) = (0, 0);
        while bytes < bytes_each {
            for (after_ms, head, tail) in &captured {
                let moment_ms = begin_ms + round * REPEAT_MS + after_ms % REPEAT_MS;
                let line = [b"[\"w\",", &head[..], moment_ms.to_string().as_bytes(), tail, b"]\n"].concat();
                one.write_all(&line)?;
                all.write_all(&line)?;
                bytes += line.len() as u64;
            }
            round += 1;
        }
        plain_bytes += bytes;
    }
    all.flush()?;
    new_store(&settings.binary, &data)?;
    run(Command::new(&settings.binary).arg("import").arg(&from).arg("--data").arg(&data))?;
    tokio::runtime::Runtime::new()?.block_on(compact(&data))?;
    Ok(Moved { plain_mb: plain_bytes as f64 / 1e6, ..moved })
}

/// When an event happened after the first of its capture, and what stands before and after its time.
type CutEvent = (i64, Vec<u8>, Vec<u8>);

/// The events of one capture of many, as plain JSON, cut where their time stands.
fn plain_events(captures: &[Capture]) -> Vec<CutEvent> {
    let (limits, mut cut) = (Limits::default(), Vec::new());
    for body in captures.iter().flat_map(|capture| &capture.bodies) {
        let Ok(scanned) = upload::scan(&body.json, &limits) else { continue };
        for event in scanned.items.iter().flat_map(|item| events(item.data.unwrap_or_default())) {
            let (mut plain, mut budget) = (Vec::new(), 64 << 20);
            cv::plain_event(event, &limits, &mut budget, &mut plain);
            let Some(stamp) = member(&plain, "timestamp") else { continue };
            // jq refuses half a pair of surrogates, and is to be measured.
            if plain.windows(3).any(|three| three == b"\\ud" || three == b"\\uD") {
                continue;
            }
            let at = stamp.as_ptr() as usize - plain.as_ptr() as usize;
            let end = at + stamp.len();
            cut.push((i64::try_from(body.at_ms).unwrap_or_default(), plain[..at].to_vec(), plain[end..].to_vec()));
        }
    }
    cut.sort_by_key(|(after_ms, ..)| after_ms % REPEAT_MS);
    cut
}
