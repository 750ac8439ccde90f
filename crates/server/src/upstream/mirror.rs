//! Uploads that are answered here, and sent on from here.
//!
//! The client hears 200 once its upload is durable, and PostHog gets it from the spool: see [`super::drain`].

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::request::Parts};
use reelcase_store::{Lane, Onward};
use reelcase_upstream::Route;

use super::{Upstream, relay};
use crate::capture::{self, Ok200, body};
use crate::cors;
use crate::error::Failure;
use crate::router::{ClientPath, Target, client_path};
use crate::state::App;

/// The headers that PostHog is told from the spool. Others are of the moment.
const TOLD: [&str; 11] = [
    "accept-language",
    "authorization",
    "content-encoding",
    "content-type",
    "origin",
    "referer",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Answers an upload once it is durable. Anything else is PostHog's to answer.
pub(super) async fn mirror(
    app: &Arc<App>,
    upstream: &Upstream,
    route: Route<'_>,
    request: Request,
) -> Result<Response, Failure> {
    let is_upload = client_path(request.uri().path()) == Some(ClientPath::Capture);
    let bytes_max = app.options.limits.body_bytes_max;
    if !is_upload || body::announced_bytes(request.headers()).is_some_and(|announced| announced > bytes_max) {
        // What the inbox cannot hold goes straight on.
        return relay::tee(app, upstream, route, request).await;
    }
    let (parts, body) = request.into_parts();
    let mut reply = if parts.method == Method::OPTIONS {
        Json(Ok200::default()).into_response()
    } else {
        let held = body::of(&parts, body, bytes_max, app).await?;
        capture::mirror(app, &parts, held, onward(&parts, route)?).await?
    };
    cors::allow(&parts.headers, reply.headers_mut());
    Ok(reply)
}

fn onward(parts: &Parts, route: Route<'_>) -> Result<Onward, Failure> {
    let target = &parts.extensions.get::<Target>().ok_or(Failure::NotFound("page"))?.0;
    let is_recording = target.path().split('/').rfind(|part| !part.is_empty()) == Some("s");
    Ok(Onward {
        method: parts.method.to_string(),
        target: target.to_string(),
        headers: told(&route.onward(&parts.headers)),
        lane: if is_recording { Lane::Recordings } else { Lane::Events },
    })
}

fn told(headers: &HeaderMap) -> Vec<(String, String)> {
    let told =
        headers.iter().filter(|(name, _)| TOLD.contains(&name.as_str()) || name.as_str().starts_with("x-posthog-"));
    told.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}
