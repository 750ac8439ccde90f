//! One request to PostHog, and its reply.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, ETAG};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use reelcase_upstream::{Copied, ReplyBody, Route, headers};

use super::bounded::Bounded;
use super::copy::UploadCopy;
use super::{Onward, QuotaLimited, Upstream, documents};
use crate::capture::body::check_announced;
use crate::error::Failure;
use crate::router::{ClientPath, Target, client_path};
use crate::state::App;

/// Replies to uploads are this short. A longer one is not looked into.
const REPLY_BYTES_MAX: usize = 4 << 10;

const QUOTA_LIMITED: &str = "quota_limited";

/// Says of a reply that it is PostHog's, and not to be touched.
#[derive(Debug, Clone, Copy)]
struct FromPosthog;

/// Whether a reply is PostHog's.
pub(crate) fn is_from_posthog(reply: &Response) -> bool {
    reply.extensions().get::<FromPosthog>().is_some()
}

/// Sends a request on, and keeps nothing of it.
pub(super) async fn pass(
    app: &Arc<App>,
    upstream: &Upstream,
    route: Route<'_>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let onward = upstream.onward(&parts, route)?;
    if documents::is_document(&parts) {
        return documents::answer(app, upstream, &parts, onward).await;
    }
    check_announced(&parts.headers, upstream.options.body_bytes_max)?;
    let (body, fate) = Bounded::new(body, upstream.options.body_bytes_max, &app.options.timeouts);
    match upstream.send(app, onward, body).await {
        Ok(reply) => Ok(finished(reply.map(Body::new))),
        Err(failure) => Err(fate.failure(upstream.options.body_bytes_max).unwrap_or(failure)),
    }
}

/// Sends a request on, and keeps a copy of what is in it if it is an upload.
pub(super) async fn tee(
    app: &Arc<App>,
    upstream: &Upstream,
    route: Route<'_>,
    request: Request,
) -> Result<Response, Failure> {
    let is_upload = client_path(request.uri().path()) == Some(ClientPath::Capture);
    if !is_upload || request.method() == Method::OPTIONS {
        return pass(app, upstream, route, request).await;
    }
    let (parts, body) = request.into_parts();
    let mut onward = upstream.onward(&parts, route)?;
    check_announced(&parts.headers, upstream.options.body_bytes_max)?;
    if upstream.options.quota_limited == QuotaLimited::Hide {
        // What is to be taken out has to be readable.
        onward.headers.remove(ACCEPT_ENCODING);
    }
    let (body, fate) = Bounded::new(body, upstream.options.body_bytes_max, &app.options.timeouts);
    let (body, rest) = Copied::new(body, UploadCopy::new(app, parts));
    match upstream.send(app, onward, body).await {
        Ok(reply) => upstream.look_for_quota(reply).await.map(finished),
        Err(failure) => {
            // The client will come back, or not: what it has sent so far, and is still sending, is kept.
            rest.drain().await;
            Err(fate.failure(upstream.options.body_bytes_max).unwrap_or(failure))
        }
    }
}

impl Upstream {
    /// What is to go on of a request.
    pub(super) fn onward(&self, parts: &Parts, route: Route<'_>) -> Result<Onward, Failure> {
        let target = parts.extensions.get::<Target>().ok_or(Failure::NotFound("page"))?;
        let base = self.options.hosts.of(target.0.path());
        let uri = base.uri(&target.0).ok_or(Failure::NotFound("page"))?;
        Ok(Onward { method: parts.method.clone(), uri, headers: route.onward(&parts.headers) })
    }

    /// Sends a request, and counts what comes of it.
    pub(super) async fn send<B>(&self, app: &App, onward: Onward, body: B) -> Result<Response<ReplyBody>, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<reelcase_upstream::BoxError>,
    {
        let Onward { method, uri, headers } = onward;
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        match self.client.send(request).await {
            Ok(mut reply) => {
                if self.is_away.swap(false, Relaxed) {
                    tracing::info!("PostHog answers again");
                }
                self.counts.count(Some(reply.status()), app.clock.now_ms());
                headers::back(reply.headers_mut());
                Ok(reply)
            }
            Err(error) => {
                self.counts.count(None, app.clock.now_ms());
                self.note_error(described(&error), app.clock.now_ms());
                // Once, and not for every request of an outage.
                if !self.is_away.swap(true, Relaxed) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "PostHog does not answer");
                }
                Err(Failure::UpstreamAway)
            }
        }
    }

    /// Takes note when PostHog says that a quota is used up, and takes that out where it is to be hidden.
    async fn look_for_quota(&self, reply: Response<ReplyBody>) -> Result<Response, Failure> {
        let is_short = reply.body().size_hint().exact().is_some_and(|bytes| bytes <= REPLY_BYTES_MAX as u64);
        let is_plain = !reply.headers().contains_key(CONTENT_ENCODING);
        let is_hidden = self.options.quota_limited == QuotaLimited::Hide;
        if !is_plain || !(is_short || is_hidden) {
            return Ok(reply.map(Body::new));
        }
        let (mut parts, body) = reply.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(|_| Failure::UpstreamAway)?.to_bytes();
        if !body.windows(QUOTA_LIMITED.len()).any(|window| window == QUOTA_LIMITED.as_bytes()) {
            return Ok(Response::from_parts(parts, Body::from(body)));
        }
        self.counts.quota_limited.fetch_add(1, Relaxed);
        match is_hidden.then(|| without_quota(&body)).flatten() {
            Some(body) => {
                parts.headers.remove(CONTENT_LENGTH);
                parts.headers.remove(ETAG);
                Ok(Response::from_parts(parts, Body::from(body)))
            }
            None => Ok(Response::from_parts(parts, Body::from(body))),
        }
    }
}

/// An error with what caused it.
fn described(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn without_quota(body: &[u8]) -> Option<Vec<u8>> {
    let mut reply: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    reply.remove(QUOTA_LIMITED)?;
    serde_json::to_vec(&reply).ok()
}

/// Lets PostHog's reply through as it is, but for one thing: it must never become a document of this origin, whose
/// pages may read every recording. Scripts, fetches and images are not affected.
pub(super) fn finished(mut reply: Response) -> Response {
    reply.headers_mut().append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    reply.extensions_mut().insert(FromPosthog);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_quota_is_taken_out_of_a_reply() {
        let hidden = without_quota(br#"{"status":"Ok","quota_limited":["recordings"]}"#).unwrap();
        assert_eq!(hidden, br#"{"status":"Ok"}"#);
        assert_eq!(without_quota(b"quota_limited"), None);
    }
}
