//! Uploads until they are recordings: Reelcase to the last block in the catalog, against the ordinary capture server
//! and the steps of PostHog's consumer after it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::Settings;
use crate::lines::ingest::{copy_of, prepared};
use crate::load::{self, Load};
use crate::process::Server;
use crate::report::{Row, median, number, times};
use crate::workload::{Workload, captures};
use crate::yardstick;

const CONNECTIONS: usize = 64;

/// How long sealing may take after the last upload.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the consumer prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consumed {
    cpu_seconds: f64,
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let captures = captures(&settings.corpus)?;
    let workload = Workload::of(&captures, settings.uploads, 3)?;
    let requests = load::uploads(workload.uploads.iter().map(|upload| &upload.body));
    let plain_mb = workload.plain_bytes as f64 / 1e6;
    let scratch = settings.directory()?;
    let messages = scratch.path().join("messages");
    write_messages(&workload, &messages)?;
    let prepared = prepared(settings)?;
    let (mut ours, mut ordinary, mut consumer) = (vec![], vec![], vec![]);
    for _ in 0..settings.rounds {
        let data = copy_of(&prepared, settings)?;
        let server = Server::reelcase(&settings.binary, data.path())?;
        let before = server.process.cpu_seconds()?;
        let answers = Load::once(server.address, CONNECTIONS, &requests).send()?;
        ensure!(answers.refused == 0, "{} uploads were refused", answers.refused);
        wait_until_sealed(&server)?;
        ours.push(server.process.cpu_seconds()? - before);
        let server = Server::party("yardstick", &[])?;
        let before = server.process.cpu_seconds()?;
        Load::once(server.address, CONNECTIONS, &requests).send()?;
        ordinary.push(server.process.cpu_seconds()? - before);
        consumer.push(consume(&messages)?);
    }
    let (ours, ordinary, consumer) = (median(ours), median(ordinary), median(consumer));
    let against = ordinary + consumer;
    let parts = format!("{ordinary:.1} s + {consumer:.1} s of Node for {} MB", number(plain_mb));
    let rates = (number(plain_mb / ours), format!("{} ({parts})", number(plain_mb / against)));
    Ok(vec![Row::compared("P2", rates.0, rates.1, times(against / ours))])
}

/// Waits until nothing is left in the inbox.
pub(crate) fn wait_until_sealed(server: &Server) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while items_waiting(server)? > 0 {
        if Instant::now() > deadline {
            bail!("uploads still wait after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// How many events of the client protocol wait to be sealed.
pub(crate) fn items_waiting(server: &Server) -> anyhow::Result<u64> {
    let text = fetch(server, "/metrics")?;
    let count = text.lines().find_map(|line| line.strip_prefix("reelcase_items_waiting "));
    Ok(count.context("no such metric")?.trim().parse()?)
}

/// Asks for something over a connection of its own.
pub(crate) fn fetch(server: &Server, path: &str) -> anyhow::Result<String> {
    let mut stream = std::net::TcpStream::connect(server.address)?;
    let token = &server.token;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}

/// What the ordinary server would have put into a queue.
fn write_messages(workload: &Workload, path: &Path) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for upload in &workload.uploads {
        let message = yardstick::message_of(&upload.body)?;
        file.write_all(&u32::try_from(message.len())?.to_le_bytes())?;
        file.write_all(&message)?;
    }
    Ok(file.flush()?)
}

fn consume(messages: &Path) -> anyhow::Result<f64> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("consumer");
    if !dir.join("node_modules/snappy").exists() {
        let installed = Command::new("npm").args(["install", "--no-audit", "--no-fund"]).current_dir(&dir).status()?;
        ensure!(installed.success(), "cannot install snappy for the consumer");
    }
    let mut node = Command::new("node");
    node.arg("--max-old-space-size=8192").arg(dir.join("consumer.mjs")).arg(messages).stderr(Stdio::inherit());
    let output = node.output().context("cannot run node")?;
    ensure!(output.status.success(), "the consumer failed");
    Ok(serde_json::from_slice::<Consumed>(&output.stdout)?.cpu_seconds)
}
