//! Starting again after a kill with much in the inbox, and the size of what is started.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::Settings;
use crate::lines::full::{fetch, items_waiting};
use crate::load::{self, Load};
use crate::process::Server;
use crate::report::{Row, number};
use crate::workload::{Workload, captures};

/// Uploads made and sent at a time.
const BATCH: usize = 2_000;

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let captures = captures(&settings.corpus)?;
    let data = settings.directory()?;
    let server = Server::party("inbox", &["--data", &data.path().to_string_lossy()])?;
    let mut bytes = 0;
    for seed in 100.. {
        let workload = Workload::of(&captures, BATCH, seed)?;
        bytes += workload.body_bytes();
        let requests = load::uploads(workload.uploads.iter().map(|upload| &upload.body));
        let answers = Load::once(server.address, 64, &requests).send()?;
        ensure!(answers.refused == 0, "{} uploads were refused", answers.refused);
        if bytes >= settings.waiting_mb * 1_000_000 {
            break;
        }
    }
    server.process.stop("-KILL")?;
    let begin = Instant::now();
    let server = Server::reelcase(&settings.binary, data.path())?;
    fetch(&server, "/health")?;
    let serving = begin.elapsed().as_secs_f64();
    while items_waiting(&server)? > 0 {
        std::thread::sleep(Duration::from_millis(500));
    }
    let sealed = begin.elapsed().as_secs_f64();
    let peak = number(server.process.peak_mb()?);
    Ok(vec![
        Row::alone("P15", format!("{} ({} MB waiting)", number(serving), number(bytes as f64 / 1e6))),
        Row::alone("P15a", format!("{} (highest memory {peak} MB)", number(sealed))),
    ])
}

pub(crate) fn size(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let bytes = std::fs::metadata(&settings.binary)?.len();
    let mut rows = vec![Row::alone("P19", number(bytes as f64 / 1e6))];
    rows.extend(settings.fresh_run_minutes.map(|minutes| Row::alone("P19r", number(minutes))));
    Ok(rows)
}
