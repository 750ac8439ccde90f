//! How much memory the server takes: with many recordings in progress, with nothing to do, and under bombs. And how
//! soon it is there.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use libdeflater::{CompressionLvl, Compressor};

use crate::Settings;
use crate::lines::full::{fetch, wait_until_sealed};
use crate::load::{self, Connection, Load, Protocol};
use crate::process::Server;
use crate::report::{Row, median, number, times};
use crate::workload::{Capture, captures, gzip};

/// Uploads that each of the many recordings sends.
const UPLOADS_EACH: usize = 3;

/// Uploads of all the recordings in a second: one each in ten seconds. A connection that is silent for fifteen is closed.
const UPLOADS_PER_SECOND: f64 = 1_000.0;

/// Bodies of more bytes than this come once at the beginning of a recording, not from one that goes on.
const BODY_BYTES_MAX: usize = 20_000;

/// How long a server is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(2);

/// Bombs that arrive at once.
const BOMBS: usize = 32;

/// What a bomb inflates to.
const BOMB_BYTES: usize = 512 << 20;

/// What a bomb within an event inflates to: beyond the limit of one field, 64 MiB.
const NESTED_BOMB_BYTES: usize = 80 << 20;

pub(crate) fn many(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let mut captures = captures(&settings.corpus)?;
    captures.iter_mut().for_each(|capture| capture.bodies.retain(|body| body.sent.len() <= BODY_BYTES_MAX));
    captures.retain(|capture| capture.bodies.len() >= UPLOADS_EACH);
    let captures = Arc::new(captures);
    let (mut ours, mut plain) = (vec![], vec![]);
    // The peak of a run of a minute varies little, and five rounds of two would take ten minutes.
    for _ in 0..settings.rounds.div_ceil(3) {
        let data = settings.directory()?;
        ours.push(hold(&Server::reelcase(&settings.binary, data.path())?, &captures, settings.connections)?);
        plain.push(hold(&Server::party("bare", &[])?, &captures, settings.connections)?);
    }
    let (ours, plain) = (median(ours), median(plain));
    Ok(vec![Row::compared("P5", number(ours), number(plain), times(ours / plain))])
}

/// Lets each of many connections send a recording's uploads, all of them staying open; returns the highest memory.
fn hold(server: &Server, captures: &Arc<Vec<Capture>>, connection_count: usize) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = server.address;
    runtime.block_on(async {
        let begin = Instant::now();
        let spacing = 1.0 / UPLOADS_PER_SECOND;
        let mut tasks = Vec::with_capacity(connection_count);
        for index in 0..connection_count {
            let mut connection = Connection::open(address, Protocol::Http).await?;
            let captures = Arc::clone(captures);
            tasks.push(tokio::spawn(async move {
                let capture = &captures[index % captures.len()];
                for turn in 0..UPLOADS_EACH {
                    let due = (turn * connection_count + index) as f64 * spacing;
                    tokio::time::sleep_until((begin + Duration::from_secs_f64(due)).into()).await;
                    let Some(body) = capture.bodies.get(turn) else { continue };
                    let mut compressor = Compressor::new(CompressionLvl::fastest());
                    let body = body.sent_by(1 << 40 | index as u64, &mut compressor)?;
                    let request = load::uploads([&body]);
                    let answer = connection.exchange(&request[0]).await?;
                    ensure!(answer.is_good, "an upload of {} bytes was answered {}", body.len(), answer.status);
                }
                // Handed back, so that it stays open until all are done.
                Ok(connection)
            }));
        }
        let mut open = Vec::with_capacity(connection_count);
        for task in tasks {
            open.push(task.await??);
        }
        server.process.peak_mb()
    })
}

pub(crate) fn idle(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let (mut memory, mut seconds) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        let data = settings.directory()?;
        let begin = Instant::now();
        let server = Server::reelcase(&settings.binary, data.path())?;
        fetch(&server, "/health")?;
        seconds.push(begin.elapsed().as_secs_f64());
        std::thread::sleep(REST);
        memory.push(server.process.resident_mb()?);
    }
    Ok(vec![Row::alone("P5i", number(median(memory))), Row::alone("P5s", number(median(seconds)))])
}

pub(crate) fn bombs(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let captures = captures(&settings.corpus)?;
    let ordinary = load::uploads(captures.iter().flat_map(|capture| &capture.bodies).map(|body| &body.sent).take(256));
    let flat = bomb(BOMB_BYTES)?;
    let doubled = gzip(&flat, &mut Compressor::new(CompressionLvl::default()))?;
    let nested = nested_bomb()?;
    let bombs: Vec<Bytes> = [flat, doubled, nested].into_iter().cycle().take(BOMBS).collect();
    let bombs = load::uploads(&bombs);
    let mut growth = Vec::new();
    for _ in 0..settings.rounds {
        let data = settings.directory()?;
        let server = Server::reelcase(&settings.binary, data.path())?;
        // Growth is what the bombs add to a server that has seen ordinary uploads.
        Load::once(server.address, BOMBS, &ordinary).send()?;
        wait_until_sealed(&server)?;
        server.process.forget_peak()?;
        let before = server.process.resident_mb()?;
        let answers = Load::once(server.address, BOMBS, &bombs).send()?;
        if answers.refused < BOMBS / 2 {
            bail!("only {} of {BOMBS} bombs were refused", answers.refused);
        }
        wait_until_sealed(&server)?;
        growth.push((server.process.peak_mb()? - before).max(0.0));
    }
    Ok(vec![Row::alone("P6", number(median(growth)))])
}

/// Blanks that pretend to become an upload.
fn bomb(inflated_bytes: usize) -> anyhow::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(b"[")?;
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..inflated_bytes / blanks.len() {
        encoder.write_all(&blanks)?;
    }
    Ok(Bytes::from(encoder.finish()?))
}

/// An upload that is good but for an event whose compressed part is a bomb. Its id is new each time it is wanted.
fn nested_bomb() -> anyhow::Result<Bytes> {
    let characters: String = bomb(NESTED_BOMB_BYTES)?.iter().map(|byte| char::from(*byte)).collect();
    let data = serde_json::to_string(&characters)?;
    let event = format!(
        r#"[{{"event":"$snapshot","properties":{{"token":"phc_bench","$session_id":"bomb","$window_id":"w","$snapshot_data":[{{"type":2,"timestamp":1,"cv":"2024-10","data":{data}}}]}}}}]"#
    );
    gzip(event.as_bytes(), &mut Compressor::new(CompressionLvl::default()))
}
