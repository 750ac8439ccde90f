//! What the process does when its surroundings fail: full disks, wrong directories, orders to stop, restarts under
//! clients that give up, a large inbox at the start.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::load::{Answer, Client, Ledger, gzip, size, templates, upload_until, window_of};
use common::{Server, SmallDisk, reelcase};
use reelcase_store::{Accepted, ItemKind, ItemRef, Store, StoreOptions, SystemClock};

/// Back by itself, once there is room, within this.
const BACK: Duration = Duration::from_secs(5);
/// Open requests and what waits are done with, once the server was told to stop, within this.
const DRAINED: Duration = Duration::from_secs(30);

/// One upload of one event, `plain_bytes` long on the wire and little once compressed.
fn upload(session: &str, marker: u64, plain_bytes: usize) -> Vec<u8> {
    let filler = noise(plain_bytes);
    let json = serde_json::json!([{
        "uuid": uuid::Uuid::new_v4().to_string(), "event": "$snapshot",
        "properties": {
            "$session_id": session, "$window_id": window_of(marker), "token": "phc_outage", "distinct_id": "d",
            "$snapshot_data": [{"type": 5, "timestamp": 1_795_226_820_000_u64 + marker, "data": {"tag": filler}}],
        },
    }]);
    json.to_string().into_bytes()
}

/// Letters that hardly pack, so that they take room wherever they wait.
fn noise(count: usize) -> String {
    let mut state = 1_u64;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    });
    letters.take(count).filter(|letter| *letter != '\\').collect()
}

/// Writes until the disk is full.
fn fill(path: &Path) {
    let mut filler = std::fs::File::create(path).unwrap();
    for piece in [1 << 20, 64 << 10, 4 << 10, 1] {
        while std::io::Write::write_all(&mut filler, &vec![7; piece]).is_ok() {}
    }
}

#[tokio::test]
async fn full_disk_refuses_by_503_and_goes_on_by_itself_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("disk"), "size=64m");
    let small = ("REELCASE_TEST_SEGMENT_BYTES", "524288".to_owned());
    let server = Server::start_armed(&disk.0.join("data"), "127.0.0.1:0", std::slice::from_ref(&small));
    let (ledger, mut client, mut marker) = (Ledger::default(), Client::new(&server.url), 0);
    let mut slowest = Duration::ZERO;
    // Before the disk is full, so that the project is known.
    assert_eq!(client.post("/s/", &upload("before", 0, 100)).await.unwrap().status, 200);
    for cycle in 0..size("REELCASE_DISK_CYCLES", 20) {
        fill(&disk.0.join("filler"));
        let session = format!("full-{cycle}");
        let mut send = async || {
            marker += 1;
            ledger.note_sent(&session, marker, 1);
            let answer = client.post("/s/", &upload(&session, marker, 20_000)).await.unwrap();
            match answer.status {
                200 => ledger.note_acked(&session, marker),
                503 => assert!(answer.retry_after_s.is_some(), "a refusal that does not say when to come back"),
                other => panic!("answered {other}"),
            }
            answer.status
        };
        // What was set aside for uploads before the disk filled up is still written, durably.
        let mut taken = 0;
        while send().await == 200 {
            taken += 1;
            assert!(taken < 1_000, "uploads are taken on a full disk");
        }
        if cycle == 0 {
            let report = server.api("/api/doctor").await.to_string();
            assert!(report.contains("the inbox cannot write") && report.contains("\"ok\":false"), "{report}");
            // What must still be sealed cannot be shown yet, which is no fault of whoever asks.
            assert!(taken > 0, "nothing waits to be sealed");
            let asked = reqwest::Client::new().get(format!("{}/api/recordings/{session}", server.url));
            let answer = asked.bearer_auth(&server.token).send().await.unwrap();
            assert_eq!(answer.status(), 503, "{}", answer.text().await.unwrap());
            assert!(answer.headers().contains_key("retry-after"));
        }
        std::fs::remove_file(disk.0.join("filler")).unwrap();
        let freed = Instant::now();
        while send().await != 200 {
            assert!(freed.elapsed() < BACK, "cycle {cycle}: still refusing after {:?}", freed.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        slowest = slowest.max(freed.elapsed());
    }
    println!("taking uploads again {slowest:?} after there was room, at the slowest");
    ledger.check(&server).await;
    server.stop();
    let mut objects = common::files_below(&disk.0.join("data/objects"));
    objects.retain(|path| path.extension().is_some_and(|ending| ending == "reel"));
    let verified = reelcase().arg("verify").args(objects).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// How the disk of a server in front of PostHog fills up, and what its clients and PostHog notice of it.
struct FullInFront {
    posthog: Server,
    server: Server,
    client: Client,
    disk: SmallDisk,
    ledger: Ledger,
    marker: u64,
    _dir: tempfile::TempDir,
}

impl FullInFront {
    async fn start(mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Another one plays PostHog.
        let posthog = Server::start(&dir.path().join("posthog"));
        let disk = SmallDisk::mount(&dir.path().join("disk"), "size=64m");
        let settings = [
            ("REELCASE_TEST_SEGMENT_BYTES", "524288".to_owned()),
            ("REELCASE_UPSTREAM", posthog.url.clone()),
            ("REELCASE_MODE", mode.to_owned()),
        ];
        let server = Server::start_armed(&disk.0.join("data"), "127.0.0.1:0", &settings);
        let client = Client::new(&server.url);
        let mut full = Self { posthog, server, client, disk, ledger: Ledger::default(), marker: 0, _dir: dir };
        assert_eq!(full.send("before").await.status, 200);
        fill(&full.disk.0.join("filler"));
        full
    }

    async fn send(&mut self, session: &str) -> Answer {
        self.marker += 1;
        self.ledger.note_sent(session, self.marker, 1);
        let answer = self.client.post("/s/", &upload(session, self.marker, 20_000)).await.unwrap();
        if answer.status == 200 {
            self.ledger.note_acked(session, self.marker);
        }
        answer
    }

    fn free(&self) {
        std::fs::remove_file(self.disk.0.join("filler")).unwrap();
    }
}

/// Uploads that certainly do not fit into what was set aside before the disk was full.
const TOO_MANY: u64 = 200;

#[tokio::test]
async fn full_disk_changes_nothing_for_clients_and_posthog_in_tee_and_is_counted() {
    let mut full = FullInFront::start("tee").await;
    for _ in 0..TOO_MANY {
        assert_eq!(full.send("full").await.status, 200);
    }
    let until = Instant::now() + BACK;
    while !full.server.api("/api/doctor").await.to_string().contains(": store_failing") {
        assert!(Instant::now() < until, "{}", full.server.api("/api/doctor").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    full.free();
    let freed = Instant::now();
    // Nothing can be read while there is no room to seal it.
    let missing = full.ledger.missing(&full.server).await.len();
    assert!(missing > 0, "the disk was not full");
    while full.server.lines("after").await.is_empty() {
        assert!(freed.elapsed() < BACK, "no copies {:?} after there was room", freed.elapsed());
        assert_eq!(full.send("after").await.status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    full.ledger.check(&full.posthog).await;
}

#[tokio::test]
async fn full_disk_makes_clients_come_back_in_mirror_and_posthog_gets_what_was_taken() {
    let mut full = FullInFront::start("mirror").await;
    let refused = loop {
        let answer = full.send("full").await;
        assert!(full.marker < TOO_MANY, "uploads are taken on a full disk");
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503);
    assert!(refused.retry_after_s.is_some(), "a refusal that does not say when to come back");
    let refused = window_of(full.marker);
    full.free();
    let freed = Instant::now();
    while full.send("full").await.status != 200 {
        assert!(freed.elapsed() < BACK, "still refusing {:?} after there was room", freed.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while full.server.waiting().await > 0 {
        assert!(freed.elapsed() < DRAINED, "PostHog still has not got it all");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for server in [&full.server, &full.posthog] {
        full.ledger.check(server).await;
        assert!(
            server.lines("full").await.iter().all(|line| line["window"] != *refused),
            "nobody was told that it is kept"
        );
    }
}

/// Runs a server that is to refuse, and returns what it says.
fn refusal(command: &mut Command) -> String {
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    String::from_utf8(refused.stderr).unwrap()
}

#[test]
fn directories_that_cannot_be_used_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("disk"), "size=16m");
    disk.remount("ro");
    let serve = |data: &Path| {
        let mut command = reelcase();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        command
    };
    let message = refusal(&mut serve(&disk.0));
    assert!(message.contains("cannot open the store in") && message.contains("Read-only"), "{message}");

    // Somebody else's directory. The binary is copied, because that somebody may not look into ours.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, theirs) = (dir.path().join("reelcase"), dir.path().join("theirs"));
    std::fs::copy(env!("CARGO_BIN_EXE_reelcase"), &binary).unwrap();
    std::fs::create_dir(&theirs).unwrap();
    let mut as_nobody = Command::new(&binary);
    as_nobody.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&theirs).uid(65_534).gid(65_534);
    let message = refusal(&mut as_nobody);
    assert!(message.contains("cannot open the store in") && message.contains("denied"), "{message}");

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = refusal(&mut serve(&file));
    assert!(message.contains("cannot open the store in"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_under_load_it_answers_what_came_and_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let address = server.url.trim_start_matches("http://").to_owned();
    let (ledger, stopping) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    let templates = Arc::new(templates());
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let url = server.url.clone();
            tokio::spawn(upload_until(client, url, templates.clone(), ledger.clone(), stopping.clone()))
        })
        .collect();
    for _ in 0..3 {
        let before = ledger.acked.load(Relaxed);
        while ledger.acked.load(Relaxed) < before + 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.signal("-TERM");
        let ended = server.wait(DRAINED).await;
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
        server = Server::start_on(dir.path(), &address);
    }
    stopping.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    ledger.check(&server).await;

    // Half an upload holds up an orderly end; a second order does not wait for it.
    let mut slow = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut slow, b"POST /s/ HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n[{").unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal("-TERM");
    assert_eq!(server.wait(Duration::from_millis(500)).await, None, "it did not wait for the open upload");
    server.signal("-INT");
    assert_eq!(server.wait(Duration::from_secs(5)).await.and_then(|status| status.code()), Some(130));
}

/// How much faster than in browsers the retries of [`Page`] come.
const HASTE: u32 = 3;
/// What failed has got through, once the server is back, within this.
const CAUGHT_UP: Duration = Duration::from_secs(30);

/// A page that sends as posthog-js does: a failed upload waits 3 s, then 6 s, 12 s and so on, give or take a quarter;
/// one that met no server is tried three more times, one that met a 5xx ten; a 4xx is dropped. When the page is left,
/// what waits is sent once more by beacon, and nobody looks at the answer. `retrying` counts the uploads of all pages that
/// failed and wait. Says how many uploads were given up.
async fn page(
    number: u64,
    url: String,
    ledger: Arc<Ledger>,
    leaving: Arc<AtomicBool>,
    retrying: Arc<AtomicUsize>,
) -> u64 {
    struct Waiting {
        marker: u64,
        body: Vec<u8>,
        retries: u32,
        due: Instant,
    }
    let mut client = Client::new(&url);
    let (mut queue, mut sequence, mut given_up) = (Vec::<Waiting>::new(), 0, 0);
    let session = format!("page-{number}");
    while !leaving.load(Relaxed) {
        sequence += 1;
        let marker = number * 1_000_000 + sequence;
        ledger.note_sent(&session, marker, 1);
        let body = gzip(&upload(&session, marker, 300));
        queue.push(Waiting { marker, body, retries: 0, due: Instant::now() });
        for mut waiting in std::mem::take(&mut queue) {
            if waiting.due > Instant::now() {
                queue.push(waiting);
                continue;
            }
            let retry = if waiting.retries > 0 { format!("&retry_count={}", waiting.retries) } else { String::new() };
            let answer = client.post(&format!("/s/?compression=gzip-js{retry}"), &waiting.body).await;
            let tries_max = match answer.map(|answer| answer.status) {
                Ok(200) => {
                    ledger.note_acked(&session, waiting.marker);
                    retrying.fetch_sub(usize::from(waiting.retries > 0), Relaxed);
                    continue;
                }
                Ok(status @ 400..500) => panic!("answered {status}, which drops the upload for good"),
                Ok(_) => 10,
                Err(_) => 3,
            };
            if waiting.retries == tries_max {
                given_up += 1;
                retrying.fetch_sub(1, Relaxed);
                continue;
            }
            let jitter_percent = 75 + (waiting.marker * 13 + u64::from(waiting.retries)) % 51;
            let pause = Duration::from_millis(30 * jitter_percent) * 2_u32.pow(waiting.retries) / HASTE;
            waiting.due = Instant::now() + pause;
            retrying.fetch_add(usize::from(waiting.retries == 0), Relaxed);
            waiting.retries += 1;
            queue.push(waiting);
        }
        tokio::time::sleep(Duration::from_millis(2_000) / HASTE).await;
    }
    for waiting in queue {
        let _ = client.post("/s/?compression=gzip-js&beacon=1", &waiting.body).await;
        // What a beacon came to is only known from what is there in the end.
        ledger.note_acked(&session, waiting.marker);
    }
    given_up
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_retry_as_posthog_js_does_lose_nothing_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let address = server.url.trim_start_matches("http://").to_owned();
    let (ledger, leaving) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    let retrying = Arc::new(AtomicUsize::new(0));
    let open = |number| page(number, server.url.clone(), ledger.clone(), leaving.clone(), retrying.clone());
    let pages: Vec<_> = (0..24).map(|number| tokio::spawn(open(number))).collect();
    let restarts = size("REELCASE_RETRY_RESTARTS", 20);
    for restart in 0..restarts {
        // One outage at a time: a client that meets several in a row gives up by its own rules.
        let back = Instant::now();
        while retrying.load(Relaxed) > 0 && back.elapsed() < CAUGHT_UP {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(300 + restart * 137 % 600)).await;
        server.kill();
        server = Server::start_on(dir.path(), &address);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    leaving.store(true, Relaxed);
    let mut given_up = 0;
    for page in pages {
        given_up += page.await.unwrap();
    }
    println!("{restarts} restarts, {} uploads", ledger.acked.load(Relaxed));
    assert_eq!((given_up, ledger.unanswered()), (0, 0), "uploads given up, uploads without an answer");
    ledger.check(&server).await;
}

#[tokio::test]
async fn large_inbox_is_taken_over_at_once() {
    let mebibytes = size("REELCASE_INBOX_MIB", 100);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_owned();
    let filled = tokio::task::spawn_blocking(move || {
        // A runtime of its own, which ends with everything on it as a killed process does.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(fill_inbox(&data, mebibytes));
    });
    filled.await.unwrap();
    let started = Instant::now();
    let server = Server::start(dir.path());
    println!("serving {:?} after the start, with {mebibytes} MiB in the inbox", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(10), "serving after {:?}", started.elapsed());
    let mut found = 0;
    for recording in 0..4 {
        found += server.lines(&format!("large-{recording}")).await.len() as u64;
    }
    assert_eq!(found, mebibytes, "every upload of a mebibyte is there, once");
    server.stop();
}

/// Puts so many uploads of a mebibyte each into the inbox of a store that never seals them.
async fn fill_inbox(data: &Path, mebibytes: u64) {
    let hour_ms = 3_600_000;
    let options = StoreOptions {
        seal_age_first_ms: hour_ms,
        seal_age_ms: hour_ms,
        seal_bytes: u64::MAX,
        ..StoreOptions::new(data)
    };
    let store = Store::open(options, Arc::new(SystemClock)).await.unwrap();
    for marker in 0..mebibytes {
        let session = format!("large-{}", marker % 4);
        let body = upload(&session, marker, 1 << 20);
        let accepted = Accepted {
            project: "phc_outage".parse().unwrap(),
            received_at_ms: 1_795_226_820_000,
            content_type: None,
            compression: None,
            user_agent: None,
            inflated_bytes: body.len() as u64,
            body: body.into(),
            onward: None,
            items: vec![ItemRef {
                index: 0,
                kind: ItemKind::Snapshot,
                upload: *uuid::Uuid::new_v4().as_bytes(),
                recording: Some(session.parse().unwrap()),
            }],
        };
        store.accept(accepted).await.unwrap();
    }
}
