//! The process is killed with a full spool, and again while it drains: PostHog gets every acknowledged upload, each
//! recording in its order.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Server, reelcase};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SESSIONS: u32 = 8;
const UPLOADS: u32 = 400;
const PATIENCE: Duration = Duration::from_secs(60);

/// Session and number of each upload that PostHog got, in order.
type Arrivals = Arc<Mutex<Vec<(u32, u32)>>>;

fn body(session: u32, number: u32) -> String {
    format!(
        r#"[{{"uuid":"01a1fbdb-8270-7135-{session:04x}-{number:012x}","event":"$snapshot","properties":{{"token":"phc_test","$session_id":"session-{session}","$window_id":"w","$snapshot_data":[{{"type":4,"data":{{"href":"https://shop.example/","width":8,"height":6}},"timestamp":{timestamp}}}]}}}}]"#,
        timestamp = 1_795_226_820_000_u64 + u64::from(number)
    )
}

/// Takes uploads as PostHog does, until it is dropped.
async fn posthog(listener: TcpListener, arrivals: Arrivals) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let arrivals = Arc::clone(&arrivals);
        connections.spawn(async move { take_all(stream, &arrivals).await });
    }
}

async fn take_all(stream: TcpStream, arrivals: &Arrivals) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        // As far away as PostHog is, so that some are under way whenever the process ends.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let text = String::from_utf8(body).unwrap();
        if let Some(uuid) = text.split("-7135-").nth(1) {
            let number = |digits: &str| u32::from_str_radix(digits, 16).unwrap();
            arrivals.lock().unwrap().push((number(&uuid[..4]), number(&uuid[5..17])));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"Ok\"}").await?;
    }
}

fn start(data: &Path, upstream: &str) -> Server {
    // Slowly enough that it can be killed in the middle.
    let arguments = ["--upstream", upstream, "--mode", "mirror", "--spool-rate-max", "150"];
    Server::start_with(data, "127.0.0.1:0", &arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_sends_on_all_that_it_acknowledged_in_the_order_of_each_recording() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let upstream = format!("http://{address}");
    let mut server = start(dir.path(), &upstream);
    let client = reqwest::Client::new();
    for number in 0..UPLOADS {
        let (url, body) = (format!("{}/s/", server.url), body(number % SESSIONS, number));
        assert!(client.post(url).body(body).send().await.unwrap().status().is_success());
    }
    server.kill();
    let mut server = start(dir.path(), &upstream);
    assert_eq!(server.waiting().await, u64::from(UPLOADS));

    let arrivals = Arrivals::default();
    let running = tokio::spawn(posthog(TcpListener::bind(address).await.unwrap(), Arc::clone(&arrivals)));
    for kill in 1..=3 {
        let enough = UPLOADS as usize * kill / 5;
        let until = Instant::now() + PATIENCE;
        while arrivals.lock().unwrap().len() < enough {
            assert!(Instant::now() < until, "{} arrived", arrivals.lock().unwrap().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        server = start(dir.path(), &upstream);
    }
    let until = Instant::now() + PATIENCE;
    while server.waiting().await > 0 {
        assert!(Instant::now() < until, "{} are still waiting", server.waiting().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let arrived = arrivals.lock().unwrap().clone();
    let mut first: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (session, number) in &arrived {
        let numbers = first.entry(*session).or_default();
        if !numbers.contains(number) {
            numbers.push(*number);
        }
    }
    for session in 0..SESSIONS {
        let expected: Vec<_> = (0..UPLOADS).filter(|number| number % SESSIONS == session).collect();
        assert_eq!(first[&session], expected, "session {session}");
        let id = format!("session-{session}");
        assert_eq!(server.api(&format!("/api/recordings/{id}")).await["event_count"], expected.len());
    }
    let again = arrived.len() - UPLOADS as usize;
    println!("{again} of {UPLOADS} uploads arrived twice, over three kills");
    // What was sent is written down once a second, at 150 a second.
    assert!(again <= 3 * 2 * 150, "{again} arrived again");
    running.abort();
    server.stop();
}

#[test]
fn a_posthog_that_cannot_be_is_refused_at_the_start_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let start = |upstream: &str| {
        let mut command = reelcase();
        command.args(["serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--data"]).arg(dir.path());
        command.output().unwrap()
    };
    let unknown = start("https://no-such-host.invalid");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no host no-such-host.invalid") && said.contains("hint:"), "{said}");
    assert_eq!(start("everywhere").status.code(), Some(2));
}
