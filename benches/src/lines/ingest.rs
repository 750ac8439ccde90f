//! Taking uploads: what each costs, what it could cost at least, and how soon it is answered.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use bytes::Bytes;
use libdeflater::Decompressor;
use reelcase_format::limits::Limits;
use reelcase_format::upload;
use tempfile::TempDir;

use crate::Settings;
use crate::load::{self, Answers, Load};
use crate::process::{Server, thread_cpu_seconds};
use crate::report::{Row, median, number, percent, times};
use crate::workload::{Workload, captures, gunzip};

const CONNECTIONS: usize = 64;

/// Uploads that come before the measurement, so that caches are warm and files prepared.
const WARM_UP: usize = 400;

/// What one turn of one server found.
struct Turn {
    per_cpu_second: f64,
    answers: Answers,
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let captures = captures(&settings.corpus)?;
    let workload = Workload::of(&captures, settings.uploads, 1)?;
    let requests = load::uploads(workload.uploads.iter().map(|upload| &upload.body));
    let warm_up = Workload::of(&captures, WARM_UP, 2)?;
    let warm_up = load::uploads(warm_up.uploads.iter().map(|upload| &upload.body));
    let (mut ours, mut ordinary, mut bare, mut paced, mut roof) = (vec![], vec![], vec![], vec![], vec![]);
    let prepared = prepared(settings)?;
    for _ in 0..settings.rounds {
        let data = copy_of(&prepared, settings)?;
        let inbox = || Server::party("inbox", &["--data", &data.path().to_string_lossy()]);
        let turn = take(&inbox()?, &warm_up, Load::once, &requests)?;
        let rate = turn.answers.per_second() / 2.0;
        ours.push(turn);
        ordinary.push(take(&Server::party("yardstick", &[])?, &warm_up, Load::once, &requests)?);
        bare.push(take(&Server::party("bare", &[])?, &warm_up, Load::once, &requests)?);
        drop(data);
        let data = copy_of(&prepared, settings)?;
        let inbox = || Server::party("inbox", &["--data", &data.path().to_string_lossy()]);
        let slower = |address, connections, requests: &Arc<Vec<Bytes>>| Load {
            rate: Some(rate),
            ..Load::once(address, connections, requests)
        };
        paced.push(take(&inbox()?, &warm_up, slower, &requests)?);
        roof.push(Costs::measure(&workload, data.path())?);
    }
    let rate = |turns: &[Turn]| median(turns.iter().map(|turn| turn.per_cpu_second));
    let wall = |turns: &[Turn]| median(turns.iter().map(|turn| turn.answers.per_second()));
    let slowest = |turns: &[Turn]| median(turns.iter().map(|turn| turn.answers.quantile_ms(0.99)));
    let bare_seconds = 1.0 / rate(&bare);
    let part = |of: fn(&Costs) -> f64| median(roof.iter().map(of));
    let parts = [bare_seconds, part(|c| c.inflate), part(|c| c.scan), part(|c| c.log)];
    let possible = 1.0 / parts.iter().sum::<f64>();
    let kb = |bytes: u64| number(bytes as f64 / workload.uploads.len() as f64 / 1e3);
    eprintln!(
        "  {} uploads of {} recordings, {} KB each, {} KB of JSON, {} KB of plain events",
        workload.uploads.len(),
        workload.recording_count,
        kb(workload.body_bytes()),
        kb(workload.sent_json_bytes),
        kb(workload.plain_bytes)
    );
    Ok(vec![
        Row::compared(
            "P1",
            format!("{} ({}/s in all)", number(rate(&ours)), number(wall(&ours))),
            format!("{} ({}/s in all)", number(rate(&ordinary)), number(wall(&ordinary))),
            times(rate(&ours) / rate(&ordinary)),
        ),
        Row::compared(
            "P1r",
            number(rate(&ours)),
            format!("{} = 1 s / ({} µs)", number(possible), parts.map(|part| number(part * 1e6)).join(" + ")),
            percent(rate(&ours) / possible),
        ),
        Row::alone("P4", number(slowest(&paced))),
        Row::alone("P4s", number(slowest(&ours))),
    ])
}

/// A store that has taken and sealed uploads before: its log has files that are used again, as it has after its first
/// minutes, so that what is measured is not the filling of new ones with zeroes.
pub(crate) fn prepared(settings: &Settings) -> anyhow::Result<TempDir> {
    let data = settings.directory()?;
    let workload = Workload::of(&captures(&settings.corpus)?, settings.uploads * 2, 9)?;
    // As JSON they fill more files than what is measured needs.
    let bodies = workload.uploads.iter().map(|upload| Ok(Bytes::from(gunzip(&upload.body)?)));
    let bodies: Vec<Bytes> = bodies.collect::<anyhow::Result<_>>()?;
    let requests = load::uploads(&bodies);
    let server = Server::reelcase(&settings.binary, data.path())?;
    Load::once(server.address, CONNECTIONS, &requests).send()?;
    server.process.stop("-TERM")?;
    Ok(data)
}

/// The log of a prepared store, in a directory of its own.
pub(crate) fn copy_of(prepared: &TempDir, settings: &Settings) -> anyhow::Result<TempDir> {
    let data = settings.directory()?;
    std::fs::create_dir(data.path().join("inbox"))?;
    for entry in std::fs::read_dir(prepared.path().join("inbox"))? {
        let entry = entry?;
        let copy = data.path().join("inbox").join(entry.file_name());
        std::fs::copy(entry.path(), &copy)?;
        File::open(copy)?.sync_all()?;
    }
    Ok(data)
}

/// Lets a server take everything once.
fn take(
    server: &Server,
    warm_up: &Arc<Vec<Bytes>>,
    load: impl Fn(std::net::SocketAddr, usize, &Arc<Vec<Bytes>>) -> Load,
    requests: &Arc<Vec<Bytes>>,
) -> anyhow::Result<Turn> {
    Load::once(server.address, CONNECTIONS, warm_up).send()?;
    let before = server.process.cpu_seconds()?;
    let answers = load(server.address, CONNECTIONS, requests).send()?;
    let cpu_seconds = server.process.cpu_seconds()? - before;
    ensure!(answers.refused == 0, "{} of {} uploads were refused", answers.refused, answers.latencies.len());
    Ok(Turn { per_cpu_second: answers.latencies.len() as f64 / cpu_seconds, answers })
}

/// What the necessary parts of taking an upload cost by themselves, in CPU seconds.
struct Costs {
    inflate: f64,
    scan: f64,
    log: f64,
}

impl Costs {
    fn measure(workload: &Workload, dir: &Path) -> anyhow::Result<Self> {
        let bodies: Vec<_> = workload.uploads.iter().map(|upload| &upload.body).take(1_000).collect();
        let mut inflated = vec![0; 64 << 20];
        let mut decompressor = Decompressor::new();
        let (mut inflate, mut scan) = (0.0, 0.0);
        for body in &bodies {
            let begin = thread_cpu_seconds()?;
            let length = decompressor.gzip_decompress(body, &mut inflated)?;
            let middle = thread_cpu_seconds()?;
            black_box(upload::scan(&inflated[..length], &Limits::default())?);
            inflate += middle - begin;
            scan += thread_cpu_seconds()? - middle;
        }
        let count = bodies.len() as f64;
        Ok(Self { inflate: inflate / count, scan: scan / count, log: log_cost(&bodies, dir)? })
    }
}

/// Writes bodies to a file that has its room already, as many at once as there are connections, each batch synced.
fn log_cost(bodies: &[&Bytes], dir: &Path) -> anyhow::Result<f64> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(dir.join("log"))?;
    let batches: Vec<Vec<u8>> = bodies.chunks(CONNECTIONS).map(|batch| batch.concat_bodies()).collect();
    let mut at = 0;
    for batch in &batches {
        file.write_all_at(&vec![0; batch.len()], at)?;
        at += batch.len() as u64;
    }
    file.sync_all()?;
    let begin = thread_cpu_seconds()?;
    at = 0;
    for batch in &batches {
        file.write_all_at(batch, at)?;
        file.sync_data()?;
        at += batch.len() as u64;
    }
    Ok((thread_cpu_seconds()? - begin) / bodies.len() as f64)
}

trait ConcatBodies {
    fn concat_bodies(&self) -> Vec<u8>;
}

impl ConcatBodies for [&Bytes] {
    fn concat_bodies(&self) -> Vec<u8> {
        self.iter().flat_map(|body| body.iter().copied()).collect()
    }
}
