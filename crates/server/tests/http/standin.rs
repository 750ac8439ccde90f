//! A stand-in for PostHog: answers as its capture service and its scripts do, keeps what it got, and misbehaves when
//! told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LOCATION, ORIGIN, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use reelcase_server::{ServerOptions, UpstreamOptions};
use tokio::task::JoinHandle;

use crate::site::{Site, site_with};

/// How it behaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Manner {
    /// As it should.
    Kind,
    /// Answers everything with this status.
    Status(u16),
    /// Answers 503, and says until when.
    AwayUntil(jiff::Timestamp),
    /// Says that the quota of recordings is used up.
    QuotaLimited,
    /// Answers after a while.
    Slow(Duration),
    /// Takes the request and ends the connection.
    Dying,
}

/// A request it got.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Vec<Seen>>>,
    manner: Arc<Mutex<Manner>>,
    streams: Arc<AtomicUsize>,
}

/// Counts a stream for as long as it is there.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

pub(crate) struct Standin {
    pub(crate) address: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

pub(crate) const SCRIPT: &str = "/* posthog-js */ window.posthog = 1;";

impl Standin {
    pub(crate) async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap()).await
    }

    /// Starts where another one was.
    pub(crate) async fn start_on(address: SocketAddr) -> Self {
        let shared =
            Shared { seen: Arc::default(), manner: Arc::new(Mutex::new(Manner::Kind)), streams: Arc::default() };
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(80 << 20)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Goes away; whoever connects is refused.
    pub(crate) async fn stop(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }

    /// What it got, but for the question that each start asks.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap().clone();
        seen.into_iter().filter(|seen| seen.target != reelcase_upstream::LOOP_PATH).collect()
    }

    /// How many streams it has somebody to send to.
    pub(crate) fn open_streams(&self) -> usize {
        self.shared.streams.load(Relaxed)
    }

    /// The only request it got.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    pub(crate) fn options(&self) -> UpstreamOptions {
        UpstreamOptions::new(format!("http://{}", self.address).parse().unwrap())
    }

    /// A server in front of it.
    pub(crate) async fn site(&self) -> Site {
        self.site_with(|_| ()).await
    }

    pub(crate) async fn site_with(&self, change: impl FnOnce(&mut UpstreamOptions)) -> Site {
        let mut upstream = self.options();
        change(&mut upstream);
        site_with(|options: &mut ServerOptions| options.upstream = Some(upstream)).await
    }
}

async fn answer(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let target = uri.to_string();
    shared.seen.lock().unwrap().push(Seen { target, headers: headers.clone(), body });
    let manner = shared.manner.lock().unwrap().clone();
    let mut reply = match manner {
        Manner::Kind if uri.path() == "/stream" => stream(shared.streams),
        Manner::Kind => kind(&uri, &headers),
        Manner::QuotaLimited => json("{\"status\":\"Ok\",\"quota_limited\":[\"recordings\"]}"),
        Manner::Slow(wait) => {
            tokio::time::sleep(wait).await;
            kind(&uri, &headers)
        }
        // The connection ends with the task.
        Manner::Dying => panic!("dying, as told"),
        Manner::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [(RETRY_AFTER, "1")], "it did not go well").into_response()
        }
        Manner::AwayUntil(time) => {
            let until = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap();
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, until)]).into_response()
        }
    };
    if let Some(origin) = headers.get(ORIGIN) {
        reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        reply.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    }
    reply.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=1"));
    reply.headers_mut().insert("x-posthog", HeaderValue::from_static("yes"));
    reply
}

fn kind(uri: &Uri, headers: &HeaderMap) -> Response {
    match uri.path() {
        "/static/array.js" | "/array/phc_test/config.js" if headers.get(IF_NONE_MATCH) == Some(&etag()) => {
            (StatusCode::NOT_MODIFIED, [(CACHE_CONTROL, "max-age=300")]).into_response()
        }
        "/static/array.js" => {
            let mut reply = SCRIPT.into_response();
            reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/javascript"));
            reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
            reply.headers_mut().insert(ETAG, etag());
            reply
        }
        "/array/phc_shop/config" | "/decide/" => config_reply(CONFIG.into()),
        "/array/phc_gzip/config" => {
            let mut reply = config_reply(crate::site::gzip(CONFIG.as_bytes()).into());
            reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            reply
        }
        "/array/phc_html/config" => config_reply("<html>sorry</html>".into()),
        "/array/phc_shop/config.js" => {
            let script =
                format!("(function(){{window.c={{}};window.c['phc_shop']={{config:{CONFIG},siteApps:[]}}}})();");
            (
                [(CONTENT_TYPE, "application/javascript"), (CACHE_CONTROL, "public, max-age=3600"), (ETAG, "\"1\"")],
                script,
            )
                .into_response()
        }
        path if path.starts_with("/static/1.") => format!("/* {path} */").into_response(),
        "/array/phc_test/config.js" => ([(CACHE_CONTROL, "max-age=0"), (ETAG, "\"1\"")], "config();").into_response(),
        "/moved" => (StatusCode::FOUND, [(LOCATION, "http://169.254.169.254/latest/meta-data")]).into_response(),
        "/page" => ([(CONTENT_TYPE, "text/html")], "<script>alert(1)</script>").into_response(),
        "/flags/" => json("{\"flags\":{\"new-checkout\":{\"enabled\":true}}}"),
        "/api/surveys/" => json("{\"surveys\":[]}"),
        _ => json("{\"status\":\"Ok\"}"),
    }
}

/// Three pieces, and then silence.
fn stream(open: Arc<AtomicUsize>) -> Response {
    open.fetch_add(1, Relaxed);
    let counted = Counted(open);
    let pieces = futures::stream::iter(0..3).then(|number| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, std::io::Error>(format!("data: {number}\n\n"))
    });
    let pieces = pieces.chain(futures::stream::pending()).inspect(move |_| {
        let _held = &counted;
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}

/// What PostHog says where its quota of recordings is used up, and what it masks.
const CONFIG: &str = r#"{"token":"phc_shop","supportedCompression":["gzip","gzip-js"],"quotaLimited":["recordings"],
    "of_tomorrow":1.50,"sessionRecording":{"endpoint":"/s/","sampleRate":"0.10","masking":{"maskAllInputs":false}}}"#;

fn config_reply(body: Bytes) -> Response {
    let rules = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=3600"), (ETAG, "\"up\"")];
    (rules, body).into_response()
}

fn etag() -> HeaderValue {
    HeaderValue::from_static("\"1\"")
}

fn json(text: &'static str) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
