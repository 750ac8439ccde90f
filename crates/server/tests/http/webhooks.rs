//! Other programs are told that a recording has ended, by a real receiver's account.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::site::{PATIENCE, Reply, SECRET, Site, base64, site, site_in, snapshot_of, uuid};

const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A program that takes requests, and answers with the statuses it was given, the last of them for ever.
struct Receiver {
    url: String,
    requests: Arc<Mutex<Vec<Received>>>,
}

#[derive(Clone)]
struct Received {
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> String {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head)).split_once(": ").unwrap().1.to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Receiver {
    async fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                let (head, length) = loop {
                    stream.read_buf(&mut bytes).await.unwrap();
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
                    let received = Received { head: head.to_owned(), body: Vec::new() };
                    break (received.head.clone(), received.header("content-length").parse::<usize>().unwrap());
                };
                while bytes.len() < head.len() + 4 + length {
                    stream.read_buf(&mut bytes).await.unwrap();
                }
                let body = bytes.split_off(head.len() + 4);
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(Received { head, body });
                    seen.len() - 1
                };
                let answer = answers[number.min(answers.len() - 1)];
                let reply = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    async fn once_there_are(&self, count: usize) -> Vec<Received> {
        let waiting = async {
            while self.requests().len() < count {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{} came", self.requests().len()));
        self.requests()
    }
}

async fn ask(site: &Site, method: &str, path: &str, body: Value) -> Reply {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {SECRET}"));
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    site.send(request.body(body).unwrap()).await
}

async fn webhook(site: &Site, terms: Value) -> String {
    let made = ask(site, "POST", "/api/webhooks", terms).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    made.json()["webhook"]["id"].as_str().unwrap().to_owned()
}

async fn state(site: &Site, id: &str) -> Value {
    let list = ask(site, "GET", "/api/webhooks", Value::Null).await.json();
    list["webhooks"].as_array().unwrap().iter().find(|known| known["id"] == id).unwrap().clone()
}

/// The state of a webhook once something was sent so often.
async fn once_tried(site: &Site, id: &str, count: usize) -> Value {
    let waiting = async {
        loop {
            let state = state(site, id).await;
            if state["recent"].as_array().unwrap().len() >= count {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

async fn site_for_webhooks(dir: tempfile::TempDir) -> Site {
    let file = dir.path().join("webhooks.json");
    let options = |options: &mut reelcase_server::ServerOptions| {
        options.webhooks.file = Some(file);
        options.webhooks.allow_private = true;
    };
    site_in(dir, options, |_| ()).await
}

async fn record(site: &Site, id: &str, number: u32, page: &str) {
    let event = json!([{ "type": 4, "data": { "href": page }, "timestamp": 1_795_226_820_000_i64 }]);
    site.keep(json!([snapshot_of(id, "w1", &uuid(number), event)]).to_string()).await;
    site.store.seal_all().await.unwrap();
}

/// HMAC-SHA256 by its definition (RFC 2104), with the key of `WEBHOOK_SECRET`.
fn signature_of(text: &[u8]) -> String {
    const KEY: [u8; 24] = [
        0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a, 0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c, 0xf6, 0x48,
        0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0,
    ];
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(KEY).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    format!("v1,{}", base64(&outer))
}

#[tokio::test]
async fn a_recording_that_has_ended_and_fits_is_sent_signed_and_again_until_it_is_taken() {
    let receiver = Receiver::start(&["503 Busy", "302 Found\r\nlocation: /elsewhere", "200 OK"]).await;
    let dir = tempfile::tempdir().unwrap();
    let site = site_for_webhooks(dir).await;
    record(&site, "earlier", 1, "https://shop.example/checkout").await;
    let terms = json!({ "url": receiver.url, "secret": WEBHOOK_SECRET, "query": "url=/checkout", "quiet_s": 5 });
    let id = webhook(&site, terms).await;
    record(&site, "elsewhere", 2, "https://shop.example/cart").await;
    record(&site, "wanted", 3, "https://shop.example/checkout/shipping").await;
    let first = receiver.once_there_are(1).await.remove(0);
    let body = first.json();
    assert_eq!((&body["type"], &body["data"]["id"]), (&json!("recording.ended"), &json!("wanted")));
    assert!(body["data"]["url"].as_str().unwrap().ends_with("/recordings/wanted"), "{body}");
    let signed = [first.header("webhook-id"), first.header("webhook-timestamp"), String::new()].join(".");
    assert_eq!(first.header("webhook-signature"), signature_of(&[signed.as_bytes(), &first.body].concat()));
    assert!(first.head.starts_with("POST /hook HTTP/1.1"), "{}", first.head);

    // The server goes away before the second try, and comes back.
    let waits = once_tried(&site, &id, 1).await;
    assert_eq!((&waits["pending_count"], &waits["recent"][0]["status"]), (&json!(1), &json!(503)), "{waits}");
    let site = site_for_webhooks(site.stop().await).await;
    let second = receiver.once_there_are(2).await.remove(1);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"), "by which the receiver knows it");
    assert_eq!(once_tried(&site, &id, 2).await["sent_count"], 0);

    // The third is minutes away: the file says so, and is edited here as nobody would.
    let file = site.stop().await;
    let path = file.path().join("webhooks.json");
    let mut kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(kept["webhooks"][0]["recent"][0]["error"].as_str().unwrap().contains("redirects are not followed"));
    let pending = &mut kept["webhooks"][0]["pending"][0];
    assert_eq!(pending["attempt_count"], 2);
    pending["next_at_ms"] = json!(0);
    std::fs::write(&path, kept.to_string()).unwrap();
    let site = site_for_webhooks(file).await;
    let done = once_tried(&site, &id, 3).await;
    let shown = ["pending_count", "sent_count", "given_up_count"].map(|name| done[name].clone());
    assert_eq!((shown, &done["recent"][0]["status"]), ([json!(0), json!(1), json!(0)], &json!(200)));
    let requests = receiver.requests();
    assert!(requests.iter().all(|request| request.head.starts_with("POST /hook ")), "no redirect was followed");
    assert!(requests.iter().all(|request| request.json()["data"]["id"] == "wanted"), "no other was sent");
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn a_recording_that_goes_on_after_its_end_is_sent_once_more_and_said_to_be_that() {
    let receiver = Receiver::start(&["200 OK"]).await;
    let site = site_for_webhooks(tempfile::tempdir().unwrap()).await;
    webhook(&site, json!({ "url": receiver.url, "quiet_s": 5 })).await;
    let page = "https://shop.example/";
    record(&site, "resumed", 1, page).await;
    receiver.once_there_are(1).await;
    // The file remembers it.
    let site = site_for_webhooks(site.stop().await).await;
    record(&site, "resumed", 2, page).await;
    record(&site, "another", 3, page).await;
    let mut requests = receiver.once_there_are(3).await;
    requests.sort_by_key(|request| request.json()["data"]["event_count"].as_u64());
    let told = |request: &Received| {
        [&request.json()["type"], &request.json()["data"]["id"]].map(|text| text.as_str().unwrap().to_owned())
    };
    let mut told: Vec<_> = requests.iter().map(told).collect();
    told.sort();
    let expected = [("recording.ended", "another"), ("recording.ended", "resumed"), ("recording.extended", "resumed")];
    assert_eq!(told, expected.map(|(kind, id)| [kind.to_owned(), id.to_owned()]));
    let ids: std::collections::BTreeSet<_> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), 3, "none is taken for another");
    let longest = requests.last().unwrap().json();
    assert_eq!((&longest["type"], &longest["data"]["event_count"]), (&json!("recording.extended"), &json!(2)));
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_says_what_became_of_it() {
    let receiver = Receiver::start(&["204 No Content", "404 Not Found", "410 Gone"]).await;
    let site = site_with_private().await;
    let id = webhook(&site, json!({ "url": receiver.url })).await;
    for (status, is_well) in [(204, true), (404, false)] {
        let said = ask(&site, "POST", &format!("/api/webhooks/{id}/test"), Value::Null).await.json();
        assert_eq!((&said["status"], said["error"].is_null()), (&json!(status), is_well), "{said}");
    }
    assert_eq!(receiver.requests()[0].json()["type"], "webhook.test");
    let nobody = webhook(&site, json!({ "url": "http://127.0.0.1:1/" })).await;
    let said = ask(&site, "POST", &format!("/api/webhooks/{nobody}/test"), Value::Null).await.json();
    assert!(
        said["status"].is_null() && said["error"].as_str().unwrap().starts_with("there is no connection"),
        "{said}"
    );
    assert_eq!(state(&site, &id).await["recent"].as_array().unwrap().len(), 2);
}

async fn site_with_private() -> Site {
    site_for_webhooks(tempfile::tempdir().unwrap()).await
}

#[tokio::test]
async fn a_webhook_leads_to_public_addresses_alone() {
    let site = site().await;
    for url in [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://user:word@hooks.example/",
        "ftp://hooks.example/",
        "hooks.example",
        "",
    ] {
        let refused = ask(&site, "POST", "/api/webhooks", json!({ "url": url })).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{url}");
    }
    // A name says nothing until it is resolved.
    let id = webhook(&site, json!({ "url": format!("https://localhost:{}/", site.address.port()) })).await;
    let said = ask(&site, "POST", &format!("/api/webhooks/{id}/test"), Value::Null).await.json();
    assert!(said["error"].as_str().unwrap().contains("leads to no public address"), "{said}");
}

#[tokio::test]
async fn a_webhook_is_changed_and_deleted_and_its_secret_told_once() {
    let site = site_with_private().await;
    let made = ask(&site, "POST", "/api/webhooks", json!({ "url": "http://127.0.0.1:1/" })).await.json();
    let (id, secret) = (made["webhook"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(secret.starts_with("whsec_") && secret.len() > 40);
    let path = format!("/api/webhooks/{id}");
    let changed = json!({ "query": "errors_min=1", "quiet_s": 60, "is_on": false, "secret": WEBHOOK_SECRET });
    let changed = ask(&site, "PATCH", &path, changed).await;
    assert_eq!((changed.status, &changed.json()["quiet_s"]), (StatusCode::OK, &json!(60)), "{}", changed.text());
    let list = ask(&site, "GET", "/api/webhooks", Value::Null).await.text();
    assert!(!list.contains("whsec_") && list.contains("errors_min=1"), "{list}");
    for flawed in [
        json!({ "query": "colour=red" }),
        json!({ "query": "limit=1" }),
        json!({ "quiet_s": 4 }),
        json!({ "quiet_s": 7_201 }),
        json!({ "secret": "whsec_short" }),
        json!({ "url": "x" }),
        json!({ "name": "x" }),
    ] {
        assert_eq!(ask(&site, "PATCH", &path, flawed.clone()).await.status, StatusCode::BAD_REQUEST, "{flawed}");
    }
    for _ in 1..10 {
        webhook(&site, json!({ "url": "http://127.0.0.1:1/" })).await;
    }
    let one_more = ask(&site, "POST", "/api/webhooks", json!({ "url": "http://127.0.0.1:1/" })).await;
    assert_eq!((one_more.status, one_more.code().as_str()), (StatusCode::CONFLICT, "too_many"));
    assert_eq!(ask(&site, "DELETE", &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&site, "DELETE", &path, Value::Null).await.status, StatusCode::NOT_FOUND);
    use std::os::unix::fs::PermissionsExt;
    let file = site.dir.path().join("webhooks.json");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "it holds secrets");
}
