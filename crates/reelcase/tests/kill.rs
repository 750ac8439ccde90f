//! The process is killed again and again under load. What was acknowledged is there once; nothing is there twice.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Server;
use flate2::Compression;
use flate2::write::GzEncoder;

const KILLS: usize = 50;
const CLIENTS: u64 = 16;
/// Serving again must not take longer (`D1`: browsers give up about 21 s after the first refused connection).
const RESTART_MAX: Duration = Duration::from_secs(3);

/// What a client knows: each event it sent, and whether the server said 200.
type Ledger = HashMap<String, Vec<(u64, bool)>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let address = server.url.trim_start_matches("http://").to_owned();
    let stopping = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let ledger = Arc::new(Mutex::new(Ledger::new()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (url, stopping) = (server.url.clone(), stopping.clone());
            tokio::spawn(upload_until(client, url, stopping, acked.clone(), ledger.clone()))
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for round in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(40 + (round as u64 * 37) % 260)).await;
        server.kill();
        let down = Instant::now();
        server = Server::start_on(dir.path(), &address);
        slowest = slowest.max(down.elapsed());
        assert!(down.elapsed() < RESTART_MAX, "kill {round}: serving after {:?}", down.elapsed());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stopping.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    println!("slowest restart: {slowest:?}");
    compare(&server, &ledger).await;
    assert!(acked.load(Ordering::Relaxed) > 1_000, "only {} uploads got through", acked.load(Ordering::Relaxed));
}

/// Sends uploads one after another; one that was not answered is sent again with the same uuid, as posthog-js does.
async fn upload_until(
    client: u64,
    url: String,
    stopping: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    ledger: Arc<Mutex<Ledger>>,
) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let mut sequence = 0;
    while !stopping.load(Ordering::Relaxed) {
        sequence += 1;
        let session = format!("kill-{client}-{}", sequence / 50);
        let marker = client * 1_000_000 + sequence;
        ledger.lock().unwrap().entry(session.clone()).or_default().push((marker, false));
        let body = body(&session, marker);
        for _ in 0..3 {
            let sent = http.post(format!("{url}/s/")).header("content-type", "text/plain").body(body.clone()).send();
            match sent.await {
                Ok(response) if response.status() == 200 => {
                    acked.fetch_add(1, Ordering::Relaxed);
                    let mut ledger = ledger.lock().unwrap();
                    let entry = ledger.get_mut(&session).unwrap().iter_mut().find(|(known, _)| *known == marker);
                    entry.unwrap().1 = true;
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

fn body(session: &str, marker: u64) -> Vec<u8> {
    let now = 1_795_226_820_000 + marker;
    let json = serde_json::json!([{
        "uuid": uuid::Uuid::new_v4().to_string(), "event": "$snapshot",
        "properties": {
            "$session_id": session, "$window_id": "w", "token": "phc_kill", "distinct_id": "d", "$lib": "web",
            "$snapshot_data": [{"type": 5, "timestamp": now, "data": {"tag": "marker", "payload": marker}}],
        },
    }]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json.to_string().as_bytes()).unwrap();
    gzip.finish().unwrap()
}

async fn compare(server: &Server, ledger: &Ledger) {
    let mut lost = 0;
    let mut doubled = 0;
    for (session, sent) in ledger {
        if sent.iter().all(|(_, acked)| !acked) {
            continue;
        }
        let mut found: HashMap<i64, u64> = HashMap::new();
        for line in server.lines(session).await {
            *found.entry(line["timestamp"].as_i64().unwrap() - 1_795_226_820_000).or_default() += 1;
        }
        for (marker, acked) in sent {
            let count = found.get(&i64::try_from(*marker).unwrap()).copied().unwrap_or(0);
            lost += u64::from(*acked && count == 0);
            doubled += u64::from(count > 1);
        }
    }
    assert_eq!((lost, doubled), (0, 0), "acknowledged events lost, events doubled");
}
