//! Requests that two machines could read differently: refused, or sent on as the one that was read here; and ways to
//! lead what is sent on to another host.

use axum::http::{Request, StatusCode};
use reelcase_server::{Mode, ServerOptions, UpstreamOptions};
use reelcase_store::{SpoolOptions, StoreOptions};

use crate::site::{Site, parse, site_in};
use crate::standin::Standin;
use crate::tee::eventually;

/// Follows each request, for whoever takes it to end too early.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server in each mode that sends on, with a PostHog of its own.
struct Servers(Vec<(Mode, Standin, Site)>);

impl Servers {
    async fn start() -> Self {
        let mut servers = Vec::new();
        for mode in [Mode::Tee, Mode::Mirror, Mode::Pass] {
            let posthog = Standin::start().await;
            let upstream = UpstreamOptions { mode, ..posthog.options() };
            let server = |options: &mut ServerOptions| options.upstream = Some(upstream);
            let store = |store: &mut StoreOptions| store.spool = Some(SpoolOptions::default());
            let site = site_in(tempfile::tempdir().unwrap(), server, store).await;
            servers.push((mode, posthog, site));
        }
        Self(servers)
    }

    /// Sends a request with these headers and this body. PostHog gets it with the body `taken`; without one it is
    /// refused.
    async fn assert_read(&self, what: &str, headers: &str, body: &str, taken: Option<&str>) {
        for (mode, posthog, site) in &self.0 {
            let before = posthog.seen().len();
            let request = format!("POST /e/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}{SMUGGLED}");
            let answer = String::from_utf8(site.exchange(request.as_bytes()).await).unwrap();
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}, {mode:?}: one answer to one request: {answer}");
            let status = parse(answer.as_bytes()).status;
            let Some(taken) = taken else {
                assert!(!status.is_success(), "{what}, {mode:?}: {answer}");
                assert_eq!(posthog.seen().len(), before, "{what}, {mode:?}: {:?}", posthog.seen());
                continue;
            };
            assert_eq!(status, StatusCode::OK, "{what}, {mode:?}: {answer}");
            eventually(|| async { posthog.seen().len() > before }).await;
            assert_eq!(posthog.seen().len(), before + 1, "{what}, {mode:?}");
            let seen = posthog.seen().pop().unwrap();
            assert_eq!((seen.target.as_str(), &seen.body[..]), ("/e/", taken.as_bytes()), "{what}, {mode:?}");
            let lengths = ["content-length", "transfer-encoding"].map(|name| seen.headers.get_all(name).iter().count());
            assert_eq!(lengths.iter().sum::<usize>(), 1, "{what}, {mode:?}: {:?}", seen.headers);
        }
    }
}

#[tokio::test]
async fn lengths_that_contradict_each_other_or_are_none_are_refused() {
    let servers = Servers::start().await;
    for (what, headers) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two lengths in one", "Content-Length: 5, 6\r\n"),
        ("a sign", "Content-Length: +5\r\n"),
        ("less than nothing", "Content-Length: -5\r\n"),
        ("a unit", "Content-Length: 5b\r\n"),
        ("no length", "Content-Length: \r\n"),
        ("more than there is", "Content-Length: 99999999999999999999\r\n"),
        ("a blank before the colon", "Content-Length : 5\r\n"),
    ] {
        servers.assert_read(what, headers, "12345", None).await;
    }
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_at_its_end_is_refused() {
    let servers = Servers::start().await;
    for (what, headers) in [
        ("unknown", "Transfer-Encoding: xchunked\r\n"),
        ("chunked, and then another", "Transfer-Encoding: chunked, identity\r\n"),
        ("two headers", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("with a length", "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n"),
    ] {
        servers.assert_read(what, headers, "5\r\n12345\r\n0\r\n\r\n", None).await;
    }
}

#[tokio::test]
async fn headers_that_hide_others_are_refused() {
    let servers = Servers::start().await;
    for (what, headers) in [
        ("a folded line", "X-Folded: a\r\n b\r\nContent-Length: 5\r\n"),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n"),
        ("a carriage return alone", "X-Odd: a\rb\r\nContent-Length: 5\r\n"),
        ("a zero", "X-Odd: a\0b\r\nContent-Length: 5\r\n"),
        ("no colon", "X-Odd\r\nContent-Length: 5\r\n"),
        ("a name with a blank", "X Odd: a\r\nContent-Length: 5\r\n"),
    ] {
        servers.assert_read(what, headers, "12345", None).await;
    }
}

#[tokio::test]
async fn chunks_that_cannot_be_are_refused() {
    let servers = Servers::start().await;
    for (what, body) in [
        ("no size", "\r\n12345\r\n0\r\n\r\n"),
        ("no number", "x\r\n12345\r\n0\r\n\r\n"),
        ("a prefix", "0x5\r\n12345\r\n0\r\n\r\n"),
        ("a sign", "+5\r\n12345\r\n0\r\n\r\n"),
        ("too large a number", "fffffffffffffffff\r\n12345\r\n0\r\n\r\n"),
        ("longer than said", "5\r\n1234567\r\n0\r\n\r\n"),
        ("a line within what follows the size", "5;a\nb\r\n12345\r\n0\r\n\r\n"),
    ] {
        servers.assert_read(what, "Transfer-Encoding: chunked\r\n", body, None).await;
    }
}

#[tokio::test]
async fn what_can_be_read_in_one_way_only_is_said_anew_in_one_way_only() {
    let servers = Servers::start().await;
    for (what, headers) in [
        ("one length", "Content-Length: 5\r\n"),
        ("the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("line feeds alone", "X-Line: feed\nContent-Length: 5\n"),
    ] {
        servers.assert_read(what, headers, "12345", Some("12345")).await;
    }
    let chunks = "3\r\n123\r\n2\r\n45\r\n0\r\n\r\n";
    for (what, headers) in [
        ("chunks", "Transfer-Encoding: chunked\r\n"),
        ("chunks, and a length that does not count", "Content-Length: 99\r\nTransfer-Encoding: chunked\r\n"),
        ("the same the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
    ] {
        servers.assert_read(what, headers, chunks, Some("12345")).await;
    }
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    for (what, headers) in [
        ("a long header", format!("X-Long: {}\r\n", "x".repeat(64 << 10))),
        ("many headers", (0..1_000).map(|number| format!("X-{number}: 1\r\n")).collect()),
    ] {
        let request = format!("POST /e/ HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let reply = parse(&site.exchange(request.as_bytes()).await);
        assert_eq!(reply.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{what}");
    }
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(64 << 10));
    assert!(!parse(&site.exchange(long_target.as_bytes()).await).status.is_success());
    assert!(posthog.seen().is_empty());
}

#[tokio::test]
async fn headers_of_the_connection_stay_on_it() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let names = ["keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "x-hop", "http2-settings"];
    let request = names.iter().fold(Request::post("/e/"), |request, name| request.header(*name, "trailers"));
    let request = request.header("connection", "X-Hop").header("x-stays", "1").body(b"[]".to_vec()).unwrap();
    assert_eq!(site.send(request).await.status, StatusCode::OK);
    let seen = posthog.only();
    assert_eq!(seen.headers["x-stays"], "1");
    for name in names.iter().chain(&["connection"]) {
        assert!(!seen.headers.contains_key(*name), "{name}: {:?}", seen.headers);
    }
}

#[tokio::test]
async fn no_request_chooses_the_host_it_goes_to() {
    let (posthog, other) = (Standin::start().await, Standin::start().await);
    let site = posthog.site().await;
    let elsewhere = other.address;
    for (line, host) in [
        (format!("GET http://{elsewhere}/flags/ HTTP/1.1"), "x".to_owned()),
        ("GET /flags/ HTTP/1.1".to_owned(), elsewhere.to_string()),
        (format!("GET //{elsewhere}/flags/ HTTP/1.1"), "x".to_owned()),
        (format!("GET /\\{elsewhere}/flags/ HTTP/1.1"), "x".to_owned()),
        (format!("GET /@{elsewhere}/flags/ HTTP/1.1"), "x".to_owned()),
        (format!("GET @{elsewhere}/flags/ HTTP/1.1"), "x".to_owned()),
        (format!("CONNECT {elsewhere} HTTP/1.1"), elsewhere.to_string()),
        ("OPTIONS * HTTP/1.1".to_owned(), elsewhere.to_string()),
    ] {
        let request = format!("{line}\r\nHost: {host}\r\nX-Forwarded-Host: {elsewhere}\r\nConnection: close\r\n\r\n");
        let answer = site.exchange(request.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 "), "{line}");
        assert!(other.seen().is_empty(), "{line}: {:?}", other.seen());
        assert!(
            posthog.seen().iter().all(|seen| seen.headers["host"] == posthog.address.to_string().as_str()),
            "{line}"
        );
    }
}
