//! Sending stored blocks, against nginx sending files of the same bytes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use serde::Deserialize;

use crate::Settings;
use crate::lines::full::fetch;
use crate::lines::storage::record;
use crate::load::{self, Load};
use crate::process::{Process, Server, free_address, wait_for};
use crate::report::{Row, median, number, percent};
use crate::workload::{Workload, captures};

const CONNECTIONS: usize = 16;

/// Requests of one turn, for small and for large blocks.
const REQUESTS: [usize; 2] = [20_000, 4_000];

/// Blocks of fewer stored bytes than this count as small.
const SMALL_BYTES: std::ops::Range<u64> = 16 << 10..128 << 10;

/// Blocks of more stored bytes than this count as large.
const LARGE_BYTES: std::ops::Range<u64> = 256 << 10..u64::MAX;

#[derive(Deserialize)]
struct Page {
    recordings: Vec<Recording>,
}

#[derive(Deserialize)]
struct Recording {
    id: String,
}

#[derive(Deserialize)]
struct Blocks {
    blocks: Vec<Block>,
}

#[derive(Deserialize)]
struct Block {
    stored_bytes: u64,
    url: String,
}

/// What a server does in a CPU second.
struct Rate {
    requests: f64,
    bytes: f64,
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let data = settings.directory()?;
    tokio::runtime::Runtime::new()?.block_on(record(data.path(), &captures(&settings.corpus)?))?;
    let server = Server::reelcase(&settings.binary, data.path())?;
    let blocks = blocks(&server)?;
    let mut rates = Vec::new();
    for (sizes, count) in [SMALL_BYTES, LARGE_BYTES].into_iter().zip(REQUESTS) {
        let chosen: Vec<&Block> = blocks.iter().filter(|block| sizes.contains(&block.stored_bytes)).collect();
        ensure!(!chosen.is_empty(), "no block of {sizes:?} bytes");
        rates.push(compare(settings, &server, &chosen, count)?);
    }
    let (small, large) = (&rates[0], &rates[1]);
    let gigabytes = |rate: &Rate| format!("{:.2}", rate.bytes / 1e9);
    let ratio = |(ours, nginx): &(Rate, Rate)| percent(ours.requests / nginx.requests);
    Ok(vec![
        Row::compared("P9", number(small.0.requests), number(small.1.requests), ratio(small)),
        Row::compared("P9b", gigabytes(&large.0), gigabytes(&large.1), ratio(large)),
    ])
}

/// The blocks of all recordings.
fn blocks(server: &Server) -> anyhow::Result<Vec<Block>> {
    let page: Page = serde_json::from_str(&fetch(server, "/api/recordings?limit=200")?)?;
    let mut blocks = Vec::new();
    for recording in page.recordings {
        let list = fetch(server, &format!("/api/recordings/{}/blocks", recording.id))?;
        blocks.extend(serde_json::from_str::<Blocks>(&list)?.blocks);
    }
    Ok(blocks)
}

fn compare(settings: &Settings, server: &Server, blocks: &[&Block], count: usize) -> anyhow::Result<(Rate, Rate)> {
    let requests = blocks.iter().map(|block| load::get(&block.url, &server.token));
    let requests = Arc::new(requests.collect::<Vec<_>>());
    let dir = settings.directory()?;
    for (index, block) in blocks.iter().enumerate() {
        // What the bytes are makes no difference to sendfile, how many there are does.
        std::fs::write(dir.path().join(format!("{index}.zst")), vec![0; usize::try_from(block.stored_bytes)?])?;
    }
    let nginx = nginx(dir.path())?;
    let files = (0..blocks.len()).map(|index| load::get(&format!("/{index}.zst"), ""));
    let files = Arc::new(files.collect::<Vec<_>>());
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        ours.push(rate(&server.process, server.address, &requests, count)?);
        theirs.push(rate(&nginx.0, nginx.1, &files, count)?);
    }
    nginx.0.stop("-TERM")?;
    Ok((middle(&ours), middle(&theirs)))
}

fn middle(rates: &[Rate]) -> Rate {
    let of = |value: fn(&Rate) -> f64| median(rates.iter().map(value));
    Rate { requests: of(|rate| rate.requests), bytes: of(|rate| rate.bytes) }
}

fn rate(
    process: &Process,
    address: std::net::SocketAddr,
    requests: &Arc<Vec<Bytes>>,
    request_count: usize,
) -> anyhow::Result<Rate> {
    let before = process.cpu_seconds()?;
    let answers = Load { request_count, ..Load::once(address, CONNECTIONS, requests) }.send()?;
    let cpu_seconds = process.cpu_seconds()? - before;
    ensure!(answers.refused == 0, "{} requests failed", answers.refused);
    Ok(Rate { requests: request_count as f64 / cpu_seconds, bytes: answers.answer_bytes as f64 / cpu_seconds })
}

fn nginx(dir: &Path) -> anyhow::Result<(Process, std::net::SocketAddr)> {
    let address = free_address()?;
    let path = dir.display();
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log /dev/null; events {{ }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
         client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path}; uwsgi_temp_path {path};\n\
         scgi_temp_path {path}; server {{ listen {address}; root {path}; }} }}\n"
    );
    std::fs::write(dir.join("nginx.conf"), config)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    let process = Process::start(&mut command).context("nginx is needed: apt-get install nginx-light")?;
    wait_for(address)?;
    Ok((process, address))
}

/// Uploads for a server that is to be busy.
pub(crate) fn uploads(settings: &Settings, seed: u64) -> anyhow::Result<Arc<Vec<Bytes>>> {
    let workload = Workload::of(&captures(&settings.corpus)?, settings.uploads / 2, seed)?;
    Ok(load::uploads(workload.uploads.iter().map(|upload| &upload.body)))
}
