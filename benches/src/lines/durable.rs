//! Acknowledging bodies durably, against servers whose trade that is. Reelcase looks into what it acknowledges, and knows
//! a retry; they do not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;

use crate::Settings;
use crate::lines::ingest::{copy_of, prepared};
use crate::load::{self, Load, Protocol};
use crate::process::{Process, Server, free_address, wait_for};
use crate::report::{Row, median, number, times};
use crate::workload::{Workload, captures, gunzip};

const CONNECTIONS: usize = 64;

/// Bodies that come before the measurement, so that files and connections are ready.
const WARM_UP: usize = 600;

/// Sizes of the bodies that are taken, so that their mean is about 19.5 KB.
const BODY_BYTES: std::ops::Range<usize> = 12_000..30_000;

/// Where Debian puts the programs of PostgreSQL, by version.
const POSTGRES: &str = "/usr/lib/postgresql";

pub(crate) fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let mut captures = captures(&settings.corpus)?;
    captures.iter_mut().for_each(|capture| capture.bodies.retain(|body| BODY_BYTES.contains(&body.json.len())));
    captures.retain(|capture| !capture.bodies.is_empty());
    let bodies = |count, seed| -> anyhow::Result<Vec<Bytes>> {
        // As JSON: the others need not look into what they keep, so none is asked to inflate.
        let packed = Workload::of(&captures, count, seed)?.uploads.into_iter();
        packed.map(|upload| Ok(Bytes::from(gunzip(&upload.body)?))).collect()
    };
    let (warm_up, bodies) = (bodies(WARM_UP, 5)?, bodies(settings.uploads * 2, 4)?);
    let mean_kb = bodies.iter().map(Bytes::len).sum::<usize>() as f64 / bodies.len() as f64 / 1e3;
    eprintln!("  {} bodies of {} KB", bodies.len(), number(mean_kb));
    let requests = [load::uploads(&warm_up), load::uploads(&bodies)];
    let commands = [redis_commands(&warm_up), redis_commands(&bodies)];
    let prepared = prepared(settings)?;
    let (mut ours, mut redis, mut postgres) = (vec![], vec![], vec![]);
    for _ in 0..settings.rounds {
        let data = copy_of(&prepared, settings)?;
        let server = Server::party("inbox", &["--data", &data.path().to_string_lossy()])?;
        ours.push(measure(server.address, Protocol::Http, &requests)?);
        drop(server);
        redis.push(in_redis(settings, &commands)?);
        postgres.push(in_postgres(settings, &warm_up, &bodies)?);
    }
    let (ours, redis, postgres) = (median(ours), median(redis), median(postgres));
    Ok(vec![
        Row::compared("P3", number(ours), number(redis), times(ours / redis)),
        Row::compared("P3p", number(ours), number(postgres), times(ours / postgres)),
    ])
}

/// Acknowledgements per second of what comes second; what comes first warms up.
fn measure(address: SocketAddr, protocol: Protocol, requests: &[Arc<Vec<Bytes>>; 2]) -> anyhow::Result<f64> {
    let mut per_second = 0.0;
    for requests in requests {
        let answers = Load { protocol, ..Load::once(address, CONNECTIONS, requests) }.send()?;
        ensure!(answers.refused == 0, "{} of {} bodies were refused", answers.refused, requests.len());
        per_second = answers.per_second();
    }
    Ok(per_second)
}

/// Each body as the value of a key of its own.
fn redis_commands(bodies: &[Bytes]) -> Arc<Vec<Bytes>> {
    let command = |(index, body): (usize, &Bytes)| {
        let head = format!("*3\r\n$3\r\nSET\r\n$10\r\nkey{index:07}\r\n${}\r\n", body.len());
        Bytes::from([head.as_bytes(), body, b"\r\n"].concat())
    };
    Arc::new(bodies.iter().enumerate().map(command).collect())
}

fn in_redis(settings: &Settings, commands: &[Arc<Vec<Bytes>>; 2]) -> anyhow::Result<f64> {
    let dir = settings.directory()?;
    let address = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(dir.path()).stdout(Stdio::null());
    let _server = Process::start(&mut command).context("Redis is needed: apt-get install redis-server")?;
    wait_for(address)?;
    measure(address, Protocol::Redis, commands)
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

fn in_postgres(settings: &Settings, warm_up: &[Bytes], bodies: &[Bytes]) -> anyhow::Result<f64> {
    let server = Postgres::start(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let clients = connect_all(server.address).await?;
        insert_all(&clients, warm_up).await?;
        insert_all(&clients, bodies).await
    })
}

/// Connections with the statement that each is to run.
type Clients = Vec<Arc<(tokio_postgres::Client, tokio_postgres::Statement)>>;

async fn connect_all(address: SocketAddr) -> anyhow::Result<Clients> {
    let config = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", address.port());
    let connect = || async {
        // The port is open a little before the server takes connections.
        for _ in 0..100 {
            if let Ok((client, connection)) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await {
                tokio::spawn(connection);
                return Ok(client);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("PostgreSQL does not take connections")
    };
    connect().await?.batch_execute("CREATE TABLE uploads (id bigserial PRIMARY KEY, body bytea)").await?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = connect().await?;
        let insert = client.prepare("INSERT INTO uploads (body) VALUES ($1)").await?;
        clients.push(Arc::new((client, insert)));
    }
    Ok(clients)
}

async fn insert_all(clients: &Clients, bodies: &[Bytes]) -> anyhow::Result<f64> {
    let (bodies, next) = (Arc::new(bodies.to_vec()), Arc::new(AtomicUsize::new(0)));
    let begin = Instant::now();
    let work = |client: Arc<(tokio_postgres::Client, tokio_postgres::Statement)>| {
        let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
        async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Relaxed)) {
                client.0.execute(&client.1, &[&body.as_ref()]).await?;
            }
            Ok::<_, tokio_postgres::Error>(())
        }
    };
    let tasks: Vec<_> = clients.iter().map(|client| tokio::spawn(work(Arc::clone(client)))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(bodies.len() as f64 / begin.elapsed().as_secs_f64())
}
