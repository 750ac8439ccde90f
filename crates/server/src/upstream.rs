//! The PostHog behind this server: what goes on to it, what comes back, and what is kept of it on the way.
//!
//! Which of it happens is the *mode* of a project. Where all projects have the same, nobody looks into a request before
//! it goes on; where they differ, its body is read first, to see whose it is.

mod bounded;
mod copy;
mod documents;
mod drain;
mod mirror;
pub mod modes;
mod overrides;
mod pins;
mod relay;
mod tunnel;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use reelcase_format::id::ProjectKey;
use reelcase_upstream::{Cache, CheckError, Client, Hosts, Route, TlsError, Waits};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

pub(crate) use documents::config_of;
pub(crate) use drain::drain;
pub use modes::Mode;
pub(crate) use modes::Modes;
pub(crate) use relay::is_from_posthog;
pub(crate) use tunnel::Tunnel;

use crate::access::COOKIE_NAME;
use crate::capture::{self, Received, body, query_value};
use crate::cors;
use crate::error::Failure;
use crate::listen::Peer;
use crate::router::{ClientPath, client_path, in_place_of_posthog};
use crate::state::App;

use overrides::Overrides;

/// Copies that may be on their way to the inbox at once. They hold what `body-bytes-in-flight-max` counts.
const COPIES_MAX: u32 = 4_096;

/// The PostHog behind the server, and how to deal with it.
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// Where it is.
    pub hosts: Hosts,
    /// The mode of projects that have none of their own.
    pub mode: Mode,
    /// How long it is waited for.
    pub waits: Waits,
    /// Certificates in PEM form that are trusted besides those of the system.
    pub roots_pem: Option<Vec<u8>>,
    /// Longest body that is sent on. What is kept here has the limit of an upload.
    pub body_bytes_max: usize,
    /// What becomes of PostHog's word that a quota is used up.
    pub quota_limited: QuotaLimited,
    /// Where scripts and config are kept over a restart. `None` keeps them in memory alone.
    pub cache_dir: Option<std::path::PathBuf>,
    /// Bytes of scripts and config that are kept.
    pub cache_bytes_max: u64,
    /// Longest script or config that is kept.
    pub cache_document_bytes_max: usize,
    /// How many requests of the spool may be on their way at once.
    pub spool_requests_max: usize,
    /// How many of them may be sent in a second.
    pub spool_rate_max: u32,
    /// Connections that may be handed over to WebSocket at once. They count among all connections besides.
    pub tunnels_max: usize,
    /// Whether to look at PostHog before the first client does.
    pub is_checked: bool,
}

/// What becomes of `quota_limited` in PostHog's replies, on which clients stop recording for a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotaLimited {
    /// Clients see it, and send neither to PostHog nor to us for a minute.
    Pass,
    /// It is taken out, and clients go on. PostHog throws away what it gets; it is kept here.
    Hide,
}

impl UpstreamOptions {
    /// The defaults for a PostHog.
    pub fn new(hosts: Hosts) -> Self {
        Self {
            hosts,
            mode: Mode::Tee,
            waits: Waits {
                connect: Duration::from_secs(5),
                reply: Duration::from_secs(30),
                piece: Duration::from_secs(60),
            },
            roots_pem: None,
            body_bytes_max: 64 << 20,
            quota_limited: QuotaLimited::Pass,
            cache_dir: None,
            cache_bytes_max: 64 << 20,
            cache_document_bytes_max: 8 << 20,
            spool_requests_max: 16,
            spool_rate_max: 1_000,
            tunnels_max: 1_000,
            is_checked: true,
        }
    }
}

/// See the module's page.
pub(crate) struct Upstream {
    pub(crate) options: UpstreamOptions,
    pub(crate) modes: Modes,
    pub(crate) counts: Counts,
    client: Client,
    cache: Arc<Cache>,
    /// Whether the last config that settings were to be laid over was not handed on.
    pub(crate) is_config_refused: AtomicBool,
    /// The last script that was not handed on, and why, as long as it holds.
    pub(crate) refused_script: Mutex<Option<String>>,
    /// What last went wrong between here and PostHog, and when, milliseconds since the epoch.
    last_error: Mutex<Option<(String, i64)>>,
    /// Whether the last request got no reply.
    is_away: AtomicBool,
    /// What `Via` says of this process.
    instance: String,
    /// One place for each copy that is not kept yet.
    copies: Arc<Semaphore>,
    /// One place for each connection that may be handed over to another protocol.
    tunnels: Arc<Semaphore>,
}

/// What PostHog answered, since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Replies by the first digit of their status, from 1; at 0 requests that got none.
    replies: [AtomicU64; 6],
    pub(crate) quota_limited: AtomicU64,
    pub(crate) documents_from_cache: AtomicU64,
    pub(crate) documents_while_away: AtomicU64,
    /// Documents that our settings were laid over, and those that they could not be.
    pub(crate) documents_overridden: AtomicU64,
    pub(crate) documents_refused: AtomicU64,
    /// Scripts that are not what was pinned.
    pub(crate) scripts_refused: AtomicU64,
    /// Uploads that PostHog got from the spool, and those it refused for good.
    pub(crate) spool_sent: AtomicU64,
    pub(crate) spool_refused: AtomicU64,
    /// Times that sending had to be tried again.
    pub(crate) spool_retried: AtomicU64,
    /// Until when nothing is sent, by lane, milliseconds since the epoch.
    pub(crate) spool_paused_until_ms: [AtomicU64; 2],
    /// When PostHog last answered, and last did not, milliseconds since the epoch; 0 for never.
    pub(crate) answered_at_ms: AtomicU64,
    pub(crate) away_at_ms: AtomicU64,
}

/// A request that is to go on.
pub(crate) struct Onward {
    method: Method,
    uri: http::Uri,
    headers: HeaderMap,
}

impl Upstream {
    pub(crate) fn new(options: UpstreamOptions) -> Result<Self, TlsError> {
        let client = Client::new(options.waits.clone(), options.roots_pem.as_deref())?;
        Ok(Self {
            modes: Modes::new(options.mode),
            counts: Counts::default(),
            client,
            cache: Arc::new(Cache::open(options.cache_dir.clone(), options.cache_bytes_max)),
            is_config_refused: AtomicBool::new(false),
            refused_script: Mutex::default(),
            last_error: Mutex::default(),
            is_away: AtomicBool::new(false),
            instance: format!("reelcase-{}", uuid::Uuid::new_v4().simple()),
            copies: Arc::new(Semaphore::new(COPIES_MAX as usize)),
            tunnels: Arc::new(Semaphore::new(options.tunnels_max)),
            options,
        })
    }

    /// Looks at PostHog before the first client does.
    pub(crate) async fn check(&self) -> Result<(), CheckError> {
        if self.options.is_checked {
            reelcase_upstream::check(&self.client, &self.options.hosts, &self.instance).await?;
        }
        Ok(())
    }

    /// What last went wrong between here and PostHog, and when.
    pub(crate) fn last_error(&self) -> Option<(String, i64)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_error(&self, what: String, now_ms: i64) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((what, now_ms));
    }

    /// Waits until every copy is kept.
    pub(crate) async fn finish(&self) {
        drop(self.copies.acquire_many(COPIES_MAX).await);
    }

    fn route<'a>(&'a self, app: &App, peer: Peer) -> Route<'a> {
        let is_https = app.options.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
        Route {
            peer: peer.0,
            scheme: if is_https { "https" } else { "http" },
            instance: &self.instance,
            own_cookie: COOKIE_NAME,
        }
    }
}

impl Counts {
    /// Replies whose status begins with this digit; 0 for requests without a reply.
    pub(crate) fn replies(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
        names.into_iter().zip(&self.replies).map(|(name, count)| (name, count.load(Relaxed)))
    }

    fn count(&self, status: Option<http::StatusCode>, now_ms: i64) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(count) = self.replies.get(class) {
            count.fetch_add(1, Relaxed);
        }
        let at = if status.is_some() { &self.answered_at_ms } else { &self.away_at_ms };
        at.store(now_ms.unsigned_abs(), Relaxed);
    }
}

/// Answers a request of a client in the mode of its project.
pub(crate) async fn answer(app: &Arc<App>, upstream: &Upstream, request: Request) -> Response {
    let headers = request.headers().clone();
    let is_client_path = client_path(request.uri().path()).is_some();
    let mut reply = match decide(app, upstream, request).await {
        Ok(reply) => reply,
        Err(failure) => {
            let mut reply = failure.into_response();
            cors::allow(&headers, reply.headers_mut());
            return reply;
        }
    };
    // An answer of some machine in between, which a page could not tell from a broken connection without them.
    if is_client_path && !reply.headers().contains_key(http::header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        cors::allow(&headers, reply.headers_mut());
    }
    reply
}

async fn decide(app: &Arc<App>, upstream: &Upstream, mut request: Request) -> Result<Response, Failure> {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer(std::net::Ipv4Addr::UNSPECIFIED.into()));
    let route = upstream.route(app, peer);
    if route.has_been_here(request.headers()) {
        let mut reply = Failure::Loop.into_response();
        if let Ok(instance) = HeaderValue::from_str(&upstream.instance) {
            reply.headers_mut().insert(reelcase_upstream::check::INSTANCE, instance);
        }
        return Ok(reply);
    }
    let is_websocket = tunnel::asks_for_websocket(&request)?;
    keep_secret(app, &mut request)?;
    let mut key = None;
    let is_told = overrides::asks_for_config(app, request.method(), request.uri().path()).await?;
    upstream.modes.look_again(&app.store).await?;
    if upstream.modes.only().is_none() || is_told {
        (key, request) = whose(app, upstream, request).await?;
        key = key.map(|key| app.keys.project_of(key));
    }
    let mode = match upstream.modes.of(key.as_ref()) {
        Some(mode) => mode,
        // Scripts and pages are of no project. What is sent may be of one whose mode nobody knows.
        None if key.is_none() && is_of_nobody(&request) => upstream.modes.default(),
        None => return Err(Failure::LostMode),
    };
    match mode {
        Mode::Store => Ok(in_place_of_posthog(app, request).await),
        _ if is_websocket => tunnel::open(app, upstream, route, request).await,
        Mode::Pass => relay::pass(app, upstream, route, request).await,
        mode => {
            let overrides = if is_told { Overrides::of(app, key.as_ref(), &mut request).await? } else { None };
            told(app, upstream, route, request, (mode, overrides)).await
        }
    }
}

/// Lets PostHog answer, and says besides what was decided here.
async fn told(
    app: &Arc<App>,
    upstream: &Upstream,
    route: Route<'_>,
    request: Request,
    (mode, overrides): (Mode, Option<Overrides>),
) -> Result<Response, Failure> {
    if let Some(pin) = pins::of(app, upstream, request.method(), request.uri().path()).await? {
        return pins::answer(app, upstream, route, request, &pin).await;
    }
    let reply = match mode {
        Mode::Mirror => mirror::mirror(app, upstream, route, request).await?,
        _ => relay::tee(app, upstream, route, request).await?,
    };
    match overrides {
        Some(overrides) => overrides.lay_over(upstream, reply).await,
        None => Ok(reply),
    }
}

/// Keeps our secret from PostHog, where somebody opens a page or an endpoint that we do not have.
fn keep_secret(app: &App, request: &mut Request) -> Result<(), Failure> {
    let secret = app.secret.expose();
    if request.uri().query().is_some_and(|query| query.contains(secret)) {
        return Err(Failure::NotFound("page"));
    }
    let headers = request.headers_mut();
    if headers.get(AUTHORIZATION).is_some_and(|shown| shown.to_str().is_ok_and(|shown| shown.contains(secret))) {
        headers.remove(AUTHORIZATION);
    }
    Ok(())
}

/// Finds the project that a request is of: in its path, its query, or its body, which is read for that.
async fn whose(
    app: &Arc<App>,
    upstream: &Upstream,
    request: Request,
) -> Result<(Option<ProjectKey>, Request), Failure> {
    let key_in_path = match client_path(request.uri().path()) {
        Some(ClientPath::Config { key } | ClientPath::ConfigScript { key } | ClientPath::BundleWithConfig { key }) => {
            key.parse().ok()
        }
        _ => query_value(request.uri().query().unwrap_or_default(), "token").and_then(|key| key.parse().ok()),
    };
    if key_in_path.is_some() || request.method() != Method::POST {
        return Ok((key_in_path, request));
    }
    let (parts, body) = request.into_parts();
    let held = body::read(body, &parts.headers, upstream.options.body_bytes_max, app).await?;
    let bytes = held.bytes.clone();
    let key = match Received::new(&parts, held) {
        Ok(received) => capture::key_of(app, &received).await,
        Err(_) => None,
    };
    Ok((key, Request::from_parts(parts, Body::from(bytes))))
}

/// Whether a request brings nothing that could belong to a project.
fn is_of_nobody(request: &Request) -> bool {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let path = client_path(request.uri().path());
    is_read && (request.method() == Method::OPTIONS || matches!(path, None | Some(ClientPath::Script { .. })))
}
