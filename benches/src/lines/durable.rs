//! Acknowledging bodies durably, against servers whose trade that is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;

use crate::Settings;
use crate::load::{self, Load, Protocol};
use crate::process::{Process, Server, free_address, wait_for};
use crate::report::{Row, median, number, times};
use crate::workload::{Workload, captures};

const CONNECTIONS: usize = 64;

/// Sizes of the bodies that are taken, so that their mean is about 19.5 KB.
const BODY_BYTES: std::ops::Range<usize> = 12_000..30_000;

/// Where Debian puts the programs of PostgreSQL, by version.
const POSTGRES: &str = "/usr/lib/postgresql";

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let workload = Workload::of(&captures(&settings.corpus)?, settings.uploads * 2, 4)?;
    let bodies: Vec<Bytes> = workload.uploads.into_iter().map(|upload| upload.body).collect();
    let bodies: Vec<Bytes> = bodies.into_iter().filter(|body| BODY_BYTES.contains(&body.len())).collect();
    ensure!(!bodies.is_empty(), "no body is of the size wanted");
    let mean_kb = bodies.iter().map(Bytes::len).sum::<usize>() as f64 / bodies.len() as f64 / 1e3;
    eprintln!("  {} bodies of {} KB", bodies.len(), number(mean_kb));
    let requests = load::uploads(&bodies);
    let commands = redis_commands(&bodies);
    let (mut ours, mut redis, mut postgres) = (vec![], vec![], vec![]);
    for _ in 0..settings.rounds {
        let data = settings.directory()?;
        let server = Server::party("inbox", &["--data", &data.path().to_string_lossy()])?;
        let answers = Load::once(server.address, CONNECTIONS, &requests).send()?;
        ensure!(answers.refused == 0, "{} uploads were refused", answers.refused);
        ours.push(answers.per_second());
        drop(server);
        redis.push(in_redis(settings, &commands)?);
        postgres.push(in_postgres(settings, &bodies)?);
    }
    let (ours, redis, postgres) = (median(ours), median(redis), median(postgres));
    Ok(vec![
        Row::compared("P3", number(ours), number(redis), times(ours / redis)),
        Row::compared("P3p", number(ours), number(postgres), times(ours / postgres)),
    ])
}

/// Each body as the value of a key of its own.
fn redis_commands(bodies: &[Bytes]) -> Arc<Vec<Bytes>> {
    let command = |(index, body): (usize, &Bytes)| {
        let head = format!("*3\r\n$3\r\nSET\r\n$10\r\nkey{index:07}\r\n${}\r\n", body.len());
        Bytes::from([head.as_bytes(), body, b"\r\n"].concat())
    };
    Arc::new(bodies.iter().enumerate().map(command).collect())
}

fn in_redis(settings: &Settings, commands: &Arc<Vec<Bytes>>) -> anyhow::Result<f64> {
    let dir = settings.directory()?;
    let address = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(dir.path()).stdout(Stdio::null());
    let _server = Process::start(&mut command).context("Redis is needed: apt-get install redis-server")?;
    wait_for(address)?;
    let answers = Load { protocol: Protocol::Redis, ..Load::once(address, CONNECTIONS, commands) }.send()?;
    ensure!(answers.refused == 0, "Redis refused {} commands", answers.refused);
    Ok(answers.per_second())
}

/// A PostgreSQL of its own, ended with its directory.
struct Postgres {
    programs: PathBuf,
    dir: tempfile::TempDir,
    address: SocketAddr,
    _process: Process,
}

impl Postgres {
    fn start(settings: &Settings) -> anyhow::Result<Self> {
        let needed = || "PostgreSQL is needed: apt-get install postgresql";
        let mut versions: Vec<_> = std::fs::read_dir(POSTGRES).with_context(needed)?.flatten().collect();
        versions.sort_by_key(|version| version.file_name());
        let programs = versions.last().with_context(needed)?.path().join("bin");
        let dir = settings.directory()?;
        let address = free_address()?;
        if is_root()? {
            let given = Command::new("chown").arg("postgres").arg(dir.path()).status()?;
            ensure!(given.success(), "there is no user postgres");
        }
        let path = dir.path().join("data");
        let mut init = as_postgres(&programs.join("initdb"))?;
        let made = init.args(["--auth=trust", "-U", "postgres", "-D"]).arg(&path).stdout(Stdio::null()).status()?;
        ensure!(made.success(), "initdb failed");
        let mut command = as_postgres(&programs.join("postgres"))?;
        command.arg("-D").arg(&path).args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-k"]);
        command.arg(dir.path()).stderr(Stdio::null());
        let process = Process::start(&mut command)?;
        wait_for(address)?;
        Ok(Self { programs, dir, address, _process: process })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killing the process that was started would leave its children behind.
        if let Ok(mut command) = as_postgres(&self.programs.join("pg_ctl")) {
            let _ = command.args(["stop", "-m", "fast", "-D"]).arg(self.dir.path().join("data")).output();
        }
    }
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> anyhow::Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program).current_dir("/");
    Ok(command)
}

fn is_root() -> anyhow::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

fn in_postgres(settings: &Settings, bodies: &[Bytes]) -> anyhow::Result<f64> {
    let server = Postgres::start(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(insert_all(server.address, bodies))
}

async fn insert_all(address: SocketAddr, bodies: &[Bytes]) -> anyhow::Result<f64> {
    let config = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", address.port());
    let connect = || async {
        // The port is open a little before the server takes connections.
        for _ in 0..100 {
            if let Ok((client, connection)) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await {
                tokio::spawn(connection);
                return Ok(client);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        anyhow::bail!("PostgreSQL does not take connections")
    };
    connect().await?.batch_execute("CREATE TABLE uploads (id bigserial PRIMARY KEY, body bytea)").await?;
    let bodies: Arc<Vec<Bytes>> = Arc::new(bodies.to_vec());
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = connect().await?;
        let insert = client.prepare("INSERT INTO uploads (body) VALUES ($1)").await?;
        clients.push((client, insert));
    }
    let begin = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|(client, insert)| {
            let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some(body) = bodies.get(next.fetch_add(1, Relaxed)) {
                    client.execute(&insert, &[&body.as_ref()]).await?;
                }
                Ok::<_, tokio_postgres::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(bodies.len() as f64 / begin.elapsed().as_secs_f64())
}
