//! Runs the server: on a store, or on files.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use reelcase_format::id::ProjectKey;
use reelcase_server::{BoundServer, ConfigError, Secret, ServerOptions, WebhookOptions};
use reelcase_store::{Store, StoreOptions, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::convert;
use crate::encrypted::KeyArgs;

mod exports;
mod limits;
mod signed;
mod upstream;

use limits::LimitArgs;
use signed::Signatures;
use upstream::UpstreamArgs;

/// Exit code after a second signal. Nothing is lost: no step of this program relies on being finished.
const STOPPED_TWICE: i32 = 130;

/// `reelcase serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The data directory; made where there is none.
    #[arg(long, env = "REELCASE_DATA", default_value = "data")]
    data: PathBuf,
    /// Where to listen. Other addresses than loopback need a secret.
    #[arg(
        long,
        env = "REELCASE_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8787",
        value_parser = listen_address
    )]
    listen: SocketAddr,
    /// Let any well-formed project key record, creating its project. On by default on loopback only.
    #[arg(long, env = "REELCASE_ACCEPT_ANY_KEY")]
    accept_any_key: bool,
    /// Create a project with this key, if there is none. May be given several times; in the environment, with commas.
    #[arg(long = "project", env = "REELCASE_PROJECTS", value_name = "KEY", value_delimiter = ',')]
    projects: Vec<ProjectKey>,
    /// What opens the recordings to people. Made up on loopback, and kept in DIR/secret.
    #[arg(long, env = "REELCASE_SECRET", hide_env_values = true, conflicts_with = "secret_file")]
    secret: Option<String>,
    /// A file with the secret.
    #[arg(long, env = "REELCASE_SECRET_FILE")]
    secret_file: Option<PathBuf>,
    /// Path below which a reverse proxy mounts the server, such as /replay.
    #[arg(long, env = "REELCASE_PATH_PREFIX", default_value = "")]
    path_prefix: String,
    /// Address under which browsers reach the server, where it differs from --listen.
    #[arg(long, env = "REELCASE_PUBLIC_URL")]
    public_url: Option<String>,
    /// Folder of further posthog-js releases, one folder each: the npm package, its dist/, or the scripts themselves.
    #[arg(long, env = "REELCASE_STATIC_DIR")]
    static_dir: Option<PathBuf>,
    /// Folder below which scheduled exports lie that go to no bucket [default: DATA/exports].
    #[arg(long, env = "REELCASE_EXPORTS_DIR", value_name = "DIR")]
    exports_dir: Option<PathBuf>,
    /// Keep analytics events that belong to no recording, too. They are stored in the objects, as lines of their own.
    #[arg(long, env = "REELCASE_KEEP_ALL_EVENTS")]
    keep_all_events: bool,
    /// Let webhooks lead to private addresses, and without TLS: for receivers in your own network.
    #[arg(long, env = "REELCASE_WEBHOOKS_ALLOW_PRIVATE")]
    webhooks_allow_private: bool,
    /// Seconds without uploads after which a recording is finished, and rewritten into large blocks. Sooner than 2100,
    /// recordings that go on are rewritten more than once.
    #[arg(
        long,
        env = "REELCASE_COMPACT_IDLE_S",
        value_name = "SECONDS",
        default_value_t = 2_100,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    compact_idle_s: u32,
    /// Log as JSON, one object a line.
    #[arg(long, env = "REELCASE_LOG_JSON")]
    log_json: bool,
    #[command(flatten)]
    upstream: UpstreamArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// `reelcase open`.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// The files. Those that are no .reel files are converted first.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = listen_address)]
    listen: SocketAddr,
    #[command(flatten)]
    key: KeyArgs,
}

/// Takes an address, or a name of this machine; of its addresses the one that is written with dots.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: &str| format!("{why}; write HOST:PORT, such as 127.0.0.1:8787");
    let found = text.to_socket_addrs().map_err(|error| wrong(&error.to_string()))?;
    found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| wrong("the name has no address"))
}

/// Serves a store until told to stop, then seals what waits.
pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    start_logging(args.log_json);
    check_before_anything_is_made(&args)?;
    // The address comes first: a browser whose connection waits until the store is open loses nothing, and one that is
    // refused gives up after some twenty seconds.
    let listener = TcpListener::bind(args.listen).await;
    let mut options = StoreOptions {
        command: "reelcase serve".to_owned(),
        maintains_itself: true,
        compact_idle_ms: i64::from(args.compact_idle_s) * 1_000,
        ..StoreOptions::new(&args.data)
    };
    args.limits.apply_to_store(&mut options)?;
    shrink_for_tests(&mut options);
    args.upstream.apply_to_store(&mut options)?;
    take_small_pages();
    let store = Store::open(options, Arc::new(SystemClock)).await;
    let store = store.with_context(|| format!("cannot open the store in {}", args.data.display()))?;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    let mut options = ServerOptions {
        listen: args.listen,
        secret: secret(&args)?,
        accept_any_key: args.accept_any_key.then_some(true),
        projects: args.projects,
        path_prefix: args.path_prefix,
        public_url: args.public_url,
        static_dir: args.static_dir,
        exports_dir: std::path::absolute(args.exports_dir.unwrap_or_else(|| args.data.join("exports")))?,
        keep_all_events: args.keep_all_events,
        upstream: args.upstream.options(&args.data)?,
        webhooks: WebhookOptions {
            file: Some(args.data.join("webhooks.json")),
            allow_private: args.webhooks_allow_private,
        },
        ..ServerOptions::default()
    };
    args.limits.apply_to_server(&mut options);
    run(options, listener, store).await
}

/// Refuses what would leave a data directory behind that nobody wanted.
fn check_before_anything_is_made(args: &ServeArgs) -> anyhow::Result<()> {
    let ServeArgs { data, listen, secret, secret_file, .. } = args;
    ensure!(!data.is_file(), "cannot open the store in {}: it is a file, not a directory", data.display());
    if !listen.ip().is_loopback() && secret.is_none() && secret_file.is_none() {
        return Err(ConfigError::OpenToTheNetwork(*listen).into());
    }
    Ok(())
}

/// Keeps the allocator from asking for huge pages. What uploads and their parts take is some kilobytes here and there,
/// and each first touch would make the kernel clear, and count, two megabytes.
fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "memory comes in huge pages");
    }
}

/// Serves files from a store that lasts as long as the command.
pub(crate) async fn open(args: OpenArgs) -> anyhow::Result<()> {
    start_logging(false);
    let dir = tempfile::tempdir()?;
    let key = args.key.key()?;
    let mut signatures = Signatures::default();
    for (number, path) in args.files.iter().enumerate() {
        let reel = convert::reel_of(path, dir.path(), key.as_ref())?;
        let placed = Store::place_object(dir.path(), &reel, number as u64).await;
        placed.with_context(|| format!("cannot open {}", path.display()))?;
        signatures.look(path, &reel)?;
        if reel != *path {
            std::fs::remove_file(&reel)?;
        }
    }
    let options = StoreOptions { command: "reelcase open".to_owned(), ..StoreOptions::new(dir.path()) };
    let store = Store::open(options, Arc::new(SystemClock)).await?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    let options = ServerOptions { listen: args.listen, signatures: signatures.known(), ..ServerOptions::default() };
    run(options, listener, store).await
}

async fn run(options: ServerOptions, listener: TcpListener, store: Arc<Store>) -> anyhow::Result<()> {
    let server = BoundServer::on(listener, options, Arc::clone(&store)).await?;
    // Before anybody can know that there is something to stop.
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    print_line!("Reelcase is ready: {}", server.login_url())?;
    let mut told_to_stop = async move || {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    let (stop, stopping) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        told_to_stop().await;
        let _ = stop.send(());
        told_to_stop().await;
        tracing::warn!("told to stop twice: what waits stays in the inbox and is sealed after the next start");
        std::process::exit(STOPPED_TWICE);
    });
    let exporting = tokio::spawn(exports::run(server.schedules(), Arc::clone(&store)));
    server.serve(async { drop(stopping.await) }).await;
    // What it is at is taken up after the next start.
    exporting.abort();
    drop(exporting.await);
    store.close().await.context("cannot seal what waits; it stays in the inbox until the next start")?;
    Ok(())
}

/// The secret that was given; on loopback, else, the one that the store keeps, so that links outlive a restart.
fn secret(args: &ServeArgs) -> anyhow::Result<Option<Secret>> {
    if let Some(text) = &args.secret {
        return Ok(Some(Secret::new(text)?));
    }
    if let Some(path) = &args.secret_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(Some(Secret::new(&text)?));
    }
    if !args.listen.ip().is_loopback() {
        return Ok(None);
    }
    kept_secret(&args.data.join("secret")).map(Some)
}

fn kept_secret(path: &Path) -> anyhow::Result<Secret> {
    use std::os::unix::fs::OpenOptionsExt;

    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        kept => {
            let kept = kept.map_err(anyhow::Error::from).and_then(|text| Ok(Secret::new(&text)?));
            let hint = "hint: delete the file and another secret is made up";
            return kept.with_context(|| format!("cannot use the secret in {}\n{hint}", path.display()));
        }
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes for a secret: {error}"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Renamed when it is whole: a start that was cut short must not leave an empty secret to the next one.
    let unfinished = path.with_extension("new");
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let written = file.and_then(|mut file| {
        writeln!(file, "{text}")?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Secret::new(&text)?)
}

/// Lets tests of a debug build have small inbox segments, so that these are full soon and small disks too, and dead
/// objects swept soon.
fn shrink_for_tests(options: &mut StoreOptions) {
    if !cfg!(debug_assertions) {
        return;
    }
    if let Ok(segment_bytes) = std::env::var("REELCASE_TEST_SEGMENT_BYTES") {
        options.inbox.segment_bytes = segment_bytes.parse().unwrap_or(options.inbox.segment_bytes);
    }
    if let Ok(grace_ms) = std::env::var("REELCASE_TEST_SWEEP_GRACE_MS") {
        options.sweep_grace_ms = grace_ms.parse().unwrap_or(options.sweep_grace_ms);
    }
}

fn start_logging(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("REELCASE_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json { builder.json().init() } else { builder.init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_may_be_a_name_of_this_machine() {
        let local = listen_address("localhost:8787").unwrap();
        assert!(local.ip().is_loopback() && local.port() == 8787, "{local}");
        assert_eq!(listen_address("[::1]:0").unwrap().to_string(), "[::1]:0");
        for wrong in ["8787", "localhost", "127.0.0.1:99999", "", "no-such-host.invalid:1"] {
            assert!(listen_address(wrong).unwrap_err().ends_with("write HOST:PORT, such as 127.0.0.1:8787"), "{wrong}");
        }
    }

    #[test]
    fn one_flipped_bit_of_the_secret_is_another_secret_or_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        kept_secret(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).unwrap();
            if let Err(error) = kept_secret(&path) {
                let error = format!("{error:#}");
                assert!(error.contains("secret") && error.contains("hint: delete the file"), "bit {bit}: {error}");
                refused += 1;
            }
            assert_eq!(std::fs::read(&path).unwrap(), flipped, "bit {bit}: written over");
        }
        assert!(refused > 0, "no damage is found");
    }
}
