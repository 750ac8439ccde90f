//! The process is killed again and again, at random and at every named step, under real uploads of posthog-js. What was
//! acknowledged is there once; nothing is there twice.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::Server;
use common::load::{Ledger, Template, size, templates, upload_until};
use reelcase_store::abort::{ABORT_POINTS, TIDYING_ABORT_POINTS};
use tokio::task::JoinSet;

const CONNECTIONS: u64 = 32;
/// Browsers give up some twenty seconds after the first refused connection. Serving again takes a fraction of a second;
/// the rest is room for busy machines and slow disks.
const RESTART_MAX: Duration = Duration::from_secs(10);

/// Clients that upload until they are told to stop.
struct Load {
    ledger: Arc<Ledger>,
    stopping: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(connections: u64, server: &Server, templates: &Arc<Vec<Template>>) -> Self {
        let (ledger, stopping) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
        let mut clients = JoinSet::new();
        for client in 0..connections {
            let url = server.url.clone();
            clients.spawn(upload_until(client, url, templates.clone(), ledger.clone(), stopping.clone()));
        }
        Self { ledger, stopping, clients }
    }

    async fn stop(self) -> Arc<Ledger> {
        self.stopping.store(true, Relaxed);
        self.clients.join_all().await;
        self.ledger
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_lose_and_double_nothing_acknowledged() {
    let (kills, acks) = (size("REELCASE_KILLS", 50), size("REELCASE_KILL_ACKS", 100_000));
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let address = server.url.trim_start_matches("http://").to_owned();
    let load = Load::start(CONNECTIONS, &server, &Arc::new(templates()));
    let mut restarts = Vec::new();
    for kill in 0..kills {
        // Spread unevenly, so that kills come at all moments of filling, sealing and starting.
        let next = (acks * kill + acks * (kill * 7 % 10) / 10) / kills;
        while load.ledger.acked.load(Relaxed) < next {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill();
        let down = Instant::now();
        server = Server::start_on(dir.path(), &address);
        restarts.push(down.elapsed());
        assert!(down.elapsed() < RESTART_MAX, "kill {kill}: serving after {:?}", down.elapsed());
    }
    while load.ledger.acked.load(Relaxed) < acks {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ledger = load.stop().await;
    restarts.sort();
    println!("{kills} kills, {} uploads acknowledged", ledger.acked.load(Relaxed));
    println!(
        "serving again after {:?} (median), {:?} (slowest)",
        restarts[restarts.len() / 2],
        restarts.last().unwrap()
    );
    ledger.check(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_every_named_step_lose_and_double_nothing_acknowledged() {
    let rounds = size("REELCASE_STEP_ROUNDS", 3);
    let templates = Arc::new(templates());
    // Few at a time, since most of a round is waiting for what waits to be due.
    for points in ABORT_POINTS.chunks(5) {
        let mut dying = JoinSet::new();
        points.iter().for_each(|point| drop(dying.spawn(die_at(point, rounds, templates.clone(), &[]))));
        dying.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_while_recordings_are_compacted_and_swept_lose_and_double_nothing() {
    // Uploads go from one recording to the next within a second, and each is compacted as soon as it is over.
    const HURRIED: &[(&str, &str)] = &[("REELCASE_COMPACT_IDLE_S", "1"), ("REELCASE_TEST_SWEEP_GRACE_MS", "100")];
    let rounds = size("REELCASE_STEP_ROUNDS", 2);
    let templates = Arc::new(templates());
    let mut dying = JoinSet::new();
    TIDYING_ABORT_POINTS.iter().for_each(|point| drop(dying.spawn(die_at(point, rounds, templates.clone(), HURRIED))));
    dying.join_all().await;
}

/// How long before a kill an upload was answered by PostHog whose copy may not be here. The copy takes milliseconds.
const LAST_MOMENT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_front_of_posthog_lose_and_double_nothing_there_and_here_what_each_mode_says() {
    let (kills, acks) = (size("REELCASE_UPSTREAM_KILLS", 4), size("REELCASE_UPSTREAM_KILL_ACKS", 1_500));
    for mode in ["tee", "mirror"] {
        let (dir, posthog_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Another one plays PostHog.
        let posthog = Server::start(posthog_dir.path());
        let arguments = ["--upstream", &posthog.url, "--mode", mode, "--spool-rate-max", "100000"];
        let mut server = Server::start_with(dir.path(), "127.0.0.1:0", &arguments);
        let address = server.url.trim_start_matches("http://").to_owned();
        let load = Load::start(CONNECTIONS, &server, &Arc::new(templates()));
        let mut killed = Vec::new();
        for kill in 1..=kills {
            while load.ledger.acked.load(Relaxed) < acks * kill / (kills + 1) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.kill();
            killed.push(Instant::now());
            server = Server::start_with(dir.path(), &address, &arguments);
        }
        while load.ledger.acked.load(Relaxed) < acks {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ledger = load.stop().await;
        let stopped = Instant::now();
        while server.waiting().await > 0 {
            assert!(stopped.elapsed() < Duration::from_secs(60), "{} are still waiting", server.waiting().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let missing = ledger.missing(&server).await;
        println!("{mode}: {kills} kills, {} uploads answered, {} not here", ledger.acked.load(Relaxed), missing.len());
        for (marker, acked_at) in missing {
            assert_eq!(mode, "tee", "upload {marker} was acknowledged by this server");
            let is_of_the_last_moment = |at: &Instant| *at + LAST_MOMENT > acked_at && acked_at + LAST_MOMENT > *at;
            assert!(
                killed.iter().any(is_of_the_last_moment),
                "upload {marker} is not here, though nothing happened to it"
            );
        }
        ledger.check(&posthog).await;
        server.stop();
        posthog.stop();
    }
}

/// Ends the process at `point` in each of so many lives, each time a little later, and then looks at what is there.
async fn die_at(
    point: &'static str,
    rounds: u64,
    templates: Arc<Vec<Template>>,
    settings: &'static [(&'static str, &'static str)],
) {
    let dir = tempfile::tempdir().unwrap();
    let armed = |point: &str, count: u64| {
        let mut env = vec![("REELCASE_TEST_SEGMENT_BYTES", "65536".to_owned())];
        env.push(("REELCASE_ABORT_AT", format!("{point}:{count}")));
        env.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        env
    };
    let mut server = Server::start_armed(dir.path(), "127.0.0.1:0", &armed(point, 1));
    let address = server.url.trim_start_matches("http://").to_owned();
    let load = Load::start(3, &server, &templates);
    for round in 2..=rounds + 1 {
        let died = server.wait(Duration::from_secs(30)).await;
        assert!(died.is_some_and(|status| !status.success()), "{point} was not reached in life {round}");
        let armed = if round <= rounds { armed(point, round) } else { armed("", 1) };
        server = Server::start_armed(dir.path(), &address, &armed);
    }
    let ledger = load.stop().await;
    println!("{point}: {} uploads acknowledged", ledger.acked.load(Relaxed));
    ledger.check(&server).await;
    server.stop();
}
