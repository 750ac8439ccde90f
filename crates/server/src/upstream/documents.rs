//! Scripts and config of PostHog: from the cache while they are fresh, and when PostHog is away.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::http::header::{AGE, AUTHORIZATION, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use reelcase_format::id::ProjectKey;
use reelcase_upstream::{Copied, Entry, Found, ReplyBody, Sink};
use serde_json::Value;

use super::overrides::uncompressed;
use super::relay::finished;
use super::{Onward, Upstream};
use crate::cors;
use crate::error::Failure;
use crate::listen::Peer;
use crate::router::Target;
use crate::settings::document::DocumentError;
use crate::state::{App, off_thread};

/// Whether a request asks for a document that may be kept.
pub(super) fn is_document(parts: &Parts) -> bool {
    let mut folders = parts.uri.path().split('/').filter(|part| !part.is_empty());
    let is_kept_folder = matches!(folders.next(), Some("static" | "array"));
    let is_for_all = !parts.headers.contains_key(AUTHORIZATION) && !parts.headers.contains_key(RANGE);
    parts.method == Method::GET && is_kept_folder && is_for_all
}

/// Answers a document.
pub(super) async fn answer(
    app: &Arc<App>,
    upstream: &Upstream,
    parts: &Parts,
    mut onward: Onward,
) -> Result<Response, Failure> {
    let target = onward.uri.to_string();
    let now_ms = app.clock.now_ms();
    let known = match upstream.cache.find(&target, &parts.headers, now_ms) {
        Found::Fresh(entry) => {
            upstream.counts.documents_from_cache.fetch_add(1, Relaxed);
            return Ok(served(&entry, parts, now_ms));
        }
        Found::Stale(entry) => Some(entry),
        Found::Nothing => None,
    };
    // The client's own conditions are answered from what comes: a 304 for it alone would be of no use to others.
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE] {
        onward.headers.remove(name);
    }
    if let Some(entry) = &known {
        onward.headers.extend(entry.conditions());
    }
    let reply = upstream.send(app, onward, Empty::<Bytes>::new()).await;
    match (reply, known) {
        (Ok(reply), Some(entry)) if reply.status() == StatusCode::NOT_MODIFIED => {
            let (cache, kept, headers) = (Arc::clone(&upstream.cache), Arc::clone(&entry), reply.headers().clone());
            off_thread(move || cache.renew(&kept, &headers, now_ms)).await?;
            Ok(served(&entry, parts, now_ms))
        }
        (Ok(reply), _) if !reply.status().is_server_error() => Ok(fetched(upstream, parts, &target, reply, now_ms)),
        (reply, _) => match upstream.cache.find_any(&target, &parts.headers) {
            Some(entry) => {
                upstream.counts.documents_while_away.fetch_add(1, Relaxed);
                Ok(served(&entry, parts, now_ms))
            }
            None => reply.map(|reply| finished(reply.map(Body::new))),
        },
    }
}

/// What PostHog says of a project to a page of no site, before anything is laid over it.
pub(crate) async fn config_of(app: &Arc<App>, upstream: &Upstream, key: &ProjectKey) -> Result<Value, Failure> {
    let target: PathAndQuery = format!("/array/{key}/config").parse().map_err(|_| Failure::NotFound("project"))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = Uri::from(target.clone());
    parts.extensions.insert(Target(target));
    let here = Peer(std::net::Ipv4Addr::LOCALHOST.into());
    let onward = upstream.onward(&parts, upstream.route(app, here))?;
    let reply = answer(app, upstream, &parts, onward).await?;
    if reply.status() != StatusCode::OK {
        return Err(Failure::UpstreamConfig(DocumentError::Status(reply.status().as_u16())));
    }
    let bytes_max = upstream.options.cache_document_bytes_max;
    let (parts, body) = reply.into_parts();
    let body = Limited::new(body, bytes_max).collect().await.map_err(|_| Failure::UpstreamAway)?.to_bytes();
    let config = uncompressed(&parts.headers, body, bytes_max).map_err(Failure::UpstreamConfig)?;
    serde_json::from_slice(&config).map_err(|error| Failure::UpstreamConfig(DocumentError::NotJson(error.to_string())))
}

/// A document from the cache.
fn served(entry: &Entry, parts: &Parts, now_ms: i64) -> Response {
    let is_known = entry.is_known_to(&parts.headers);
    let mut reply = Response::new(if is_known { Body::empty() } else { Body::from(entry.body.clone()) });
    *reply.headers_mut() = entry.headers();
    reply.headers_mut().insert(AGE, HeaderValue::from(entry.age_s(now_ms)));
    // It may have been kept for another site.
    cors::allow_again(&parts.headers, reply.headers_mut());
    if is_known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply.headers_mut().remove(http::header::CONTENT_LENGTH);
    }
    finished(reply)
}

/// A document that comes, and is kept when all of it has.
fn fetched(upstream: &Upstream, parts: &Parts, target: &str, reply: Response<ReplyBody>, now_ms: i64) -> Response {
    if reply.status() != StatusCode::OK {
        return finished(reply.map(Body::new));
    }
    let keeper = Keeper {
        cache: Arc::clone(&upstream.cache),
        target: target.to_owned(),
        request: parts.headers.clone(),
        reply: reply.headers().clone(),
        body: BytesMut::new(),
        bytes_left: Some(upstream.options.cache_document_bytes_max),
        now_ms,
    };
    finished(reply.map(|body| {
        let (body, _) = Copied::new(body, keeper);
        Body::new(body.map_err(axum::Error::new))
    }))
}

/// Takes a document on its way to the client.
struct Keeper {
    cache: Arc<reelcase_upstream::Cache>,
    target: String,
    request: HeaderMap,
    reply: HeaderMap,
    body: BytesMut,
    /// `None` once there was too much.
    bytes_left: Option<usize>,
    now_ms: i64,
}

impl Sink for Keeper {
    fn piece(&mut self, piece: &Bytes) {
        self.bytes_left = self.bytes_left.and_then(|left| left.checked_sub(piece.len()));
        if self.bytes_left.is_some() {
            self.body.extend_from_slice(piece);
        } else {
            self.body = BytesMut::new();
        }
    }

    fn end(&mut self, is_whole: bool) {
        if !is_whole || self.bytes_left.is_none() {
            return;
        }
        let (cache, target, now_ms) = (Arc::clone(&self.cache), std::mem::take(&mut self.target), self.now_ms);
        let (request, reply) = (std::mem::take(&mut self.request), std::mem::take(&mut self.reply));
        let body = std::mem::take(&mut self.body).freeze();
        // Nobody waits for it: what is not written is fetched again.
        drop(tokio::task::spawn_blocking(move || cache.keep(&target, &request, &reply, body, now_ms)));
    }
}
