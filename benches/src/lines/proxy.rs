//! Standing in front of PostHog: a stand-in asked directly, through nginx as a plain proxy, through Reelcase as one, and
//! through Reelcase keeping a copy of every upload besides.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;

use crate::Settings;
use crate::lines::full::wait_until_sealed;
use crate::lines::ingest::{copy_of, prepared};
use crate::lines::serving::uploads;
use crate::load::Load;
use crate::process::{Process, Server, free_address, wait_for};
use crate::report::{Row, median, number, times};

const CONNECTIONS: usize = 16;

/// Requests per second while latencies are taken: few enough that nobody queues.
const CALM_RATE: f64 = 100.0;

/// Requests of one turn while latencies are taken.
const CALM_REQUESTS: usize = 500;

/// How often the uploads are sent in a busy turn: a system counts processor time in steps of 10 ms.
const BUSY_TIMES: usize = 4;

/// What one party showed in one turn.
struct Turn {
    p50_ms: f64,
    p99_ms: f64,
    per_cpu_second: f64,
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let posthog = Server::party("bare", &[])?;
    let prepared = prepared(settings)?;
    let (data, other_data, scratch) = (copy_of(&prepared, settings)?, settings.directory()?, settings.directory()?);
    let upstream = format!("http://{}", posthog.address);
    let ours = Server::reelcase_with(&settings.binary, data.path(), &["--upstream", &upstream])?;
    let passing = ["--upstream", upstream.as_str(), "--mode", "pass"];
    let passing = Server::reelcase_with(&settings.binary, other_data.path(), &passing)?;
    let nginx = nginx(scratch.path(), posthog.address)?;
    let (mut direct, mut plain, mut pass, mut tee) = (vec![], vec![], vec![], vec![]);
    let requests = uploads(settings, 17)?;
    for _ in 0..settings.rounds {
        direct.push(turn(&posthog.process, posthog.address, &requests, || Ok(()))?);
        plain.push(turn(&nginx.0, nginx.1, &requests, || Ok(()))?);
        pass.push(turn(&passing.process, passing.address, &requests, || Ok(()))?);
        tee.push(turn(&ours.process, ours.address, &requests, || wait_until_sealed(&ours))?);
    }
    nginx.0.stop("-TERM")?;
    let middle = |turns: &[Turn], of: fn(&Turn) -> f64| median(turns.iter().map(of));
    let added = |turns: &[Turn], of| format!("{:.2}", middle(turns, of) - middle(&direct, of));
    let plain_rate = middle(&plain, |turn| turn.per_cpu_second);
    let compared = |id, rate: f64| Row::compared(id, number(rate), number(plain_rate), times(rate / plain_rate));
    let (p50, p99) = (|turn: &Turn| turn.p50_ms, |turn: &Turn| turn.p99_ms);
    Ok(vec![
        Row::compared("P17", added(&tee, p50), added(&plain, p50), String::new()),
        Row::compared("P17s", added(&tee, p99), added(&plain, p99), String::new()),
        compared("P17c", middle(&tee, |turn| turn.per_cpu_second)),
        compared("P17p", middle(&pass, |turn| turn.per_cpu_second)),
    ])
}

/// `settle` waits until a party has nothing left to do.
fn turn(
    process: &Process,
    address: SocketAddr,
    requests: &Arc<Vec<Bytes>>,
    settle: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<Turn> {
    let once = || Load::once(address, CONNECTIONS, requests);
    let calm = Load { rate: Some(CALM_RATE), request_count: CALM_REQUESTS, ..once() }.send()?;
    settle()?;
    let before = process.cpu_seconds()?;
    let busy = Load { request_count: requests.len() * BUSY_TIMES, ..once() }.send()?;
    let cpu_seconds = process.cpu_seconds()? - before;
    ensure!(calm.refused + busy.refused == 0, "{} requests failed", calm.refused + busy.refused);
    Ok(Turn {
        p50_ms: calm.quantile_ms(0.5),
        p99_ms: calm.quantile_ms(0.99),
        per_cpu_second: (requests.len() * BUSY_TIMES) as f64 / cpu_seconds,
    })
}

/// nginx as PostHog's guide for proxies has it, with kept connections.
fn nginx(dir: &Path, posthog: SocketAddr) -> anyhow::Result<(Process, SocketAddr)> {
    let address = free_address()?;
    let path = dir.display();
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log /dev/null; events {{ }}\n\
         http {{ access_log off; keepalive_requests 1000000; client_max_body_size 64m; client_body_buffer_size 1m;\n\
         client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path}; uwsgi_temp_path {path};\n\
         scgi_temp_path {path}; upstream posthog {{ server {posthog}; keepalive 64; keepalive_requests 1000000; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://posthog; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host {posthog}; proxy_set_header X-Real-IP $remote_addr;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n"
    );
    std::fs::write(dir.join("nginx.conf"), config)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    let process = Process::start(&mut command).context("nginx is needed: apt-get install nginx-light")?;
    wait_for(address)?;
    Ok((process, address))
}
