//! Standing in front of PostHog: a stand-in asked directly, through nginx as a plain proxy, through Reelcase as one, and
//! through Reelcase keeping a copy of every upload besides.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;

use crate::Settings;
use crate::lines::serving::uploads;
use crate::load::Load;
use crate::process::{Process, Server, free_address, wait_for};
use crate::report::{Row, median, number, times};

const CONNECTIONS: usize = 16;

/// Requests per second while latencies are taken: few enough that nobody queues.
const CALM_RATE: f64 = 100.0;

/// Requests of one turn while latencies are taken.
const CALM_REQUESTS: usize = 500;

/// What one party showed in one turn.
struct Turn {
    p50_ms: f64,
    p99_ms: f64,
    per_cpu_second: f64,
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let requests = uploads(settings, 17)?;
    let posthog = Server::party("bare", &[])?;
    let (data, other_data, scratch) = (settings.directory()?, settings.directory()?, settings.directory()?);
    let upstream = format!("http://{}", posthog.address);
    let ours = Server::reelcase_with(&settings.binary, data.path(), &["--upstream", &upstream])?;
    let passing = ["--upstream", upstream.as_str(), "--mode", "pass"];
    let passing = Server::reelcase_with(&settings.binary, other_data.path(), &passing)?;
    let nginx = nginx(scratch.path(), posthog.address)?;
    let (mut direct, mut plain, mut pass, mut tee) = (vec![], vec![], vec![], vec![]);
    for _ in 0..settings.rounds {
        direct.push(turn(&posthog.process, posthog.address, &requests)?);
        plain.push(turn(&nginx.0, nginx.1, &requests)?);
        pass.push(turn(&passing.process, passing.address, &requests)?);
        tee.push(turn(&ours.process, ours.address, &requests)?);
    }
    nginx.0.stop("-TERM")?;
    let middle = |turns: &[Turn], of: fn(&Turn) -> f64| median(turns.iter().map(of));
    let added = |turns: &[Turn], of| format!("{:.2}", middle(turns, of) - middle(&direct, of));
    let rate = |turns: &[Turn]| middle(turns, |turn| turn.per_cpu_second);
    let compared = |id, turns: &[Turn]| {
        Row::compared(id, number(rate(turns)), number(rate(&plain)), times(rate(turns) / rate(&plain)))
    };
    let (p50, p99) = (|turn: &Turn| turn.p50_ms, |turn: &Turn| turn.p99_ms);
    Ok(vec![
        Row::compared("P17", added(&tee, p50), added(&plain, p50), String::new()),
        Row::compared("P17s", added(&tee, p99), added(&plain, p99), String::new()),
        compared("P17c", &tee),
        compared("P17p", &pass),
    ])
}

fn turn(process: &Process, address: SocketAddr, requests: &Arc<Vec<Bytes>>) -> anyhow::Result<Turn> {
    let calm =
        Load { rate: Some(CALM_RATE), request_count: CALM_REQUESTS, ..Load::once(address, CONNECTIONS, requests) };
    let calm = calm.send()?;
    let before = process.cpu_seconds()?;
    let busy = Load::once(address, CONNECTIONS, requests).send()?;
    let cpu_seconds = process.cpu_seconds()? - before;
    ensure!(calm.refused + busy.refused == 0, "{} requests failed", calm.refused + busy.refused);
    Ok(Turn {
        p50_ms: calm.quantile_ms(0.5),
        p99_ms: calm.quantile_ms(0.99),
        per_cpu_second: requests.len() as f64 / cpu_seconds,
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
