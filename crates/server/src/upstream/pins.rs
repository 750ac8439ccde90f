//! Scripts of PostHog that somebody pinned: one release is served, whichever a page asks for, and only if its bytes are
//! those that were looked at.
//!
//! A request for a script names no project. So a pin of one project holds for every page that comes through here, and
//! of two that contradict each other neither is served.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::uri::PathAndQuery;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, Limited};
use reelcase_upstream::Route;
use sha2::{Digest, Sha256};

use super::{Upstream, documents, overrides};
use crate::error::Failure;
use crate::router::{ClientPath, Target, client_path};
use crate::settings::{self, ScriptPin};
use crate::state::App;

/// The pin of the script that a request asks for.
pub(super) async fn of(
    app: &App,
    upstream: &Upstream,
    method: &Method,
    path: &str,
) -> Result<Option<ScriptPin>, Failure> {
    let Some(ClientPath::Script { file, .. }) = client_path(path) else { return Ok(None) };
    if method != Method::GET {
        return Ok(None);
    }
    let mut pins = settings::script_pins(&app.store).await?;
    pins.retain(|pin| pin.file == file);
    pins.dedup();
    match pins.as_slice() {
        [] => {
            upstream.forget_refusal(file);
            Ok(None)
        }
        [pin] => Ok(Some(pin.clone())),
        _ => Err(upstream.refuse_script(file, "projects pinned it to different releases")),
    }
}

/// Answers with the pinned release, if it is what was pinned.
pub(super) async fn answer(
    app: &Arc<App>,
    upstream: &Upstream,
    route: Route<'_>,
    mut request: Request,
    pin: &ScriptPin,
) -> Result<Response, Failure> {
    let target = format!("/static/{}/{}", pin.version, pin.file);
    let target: PathAndQuery = target.parse().map_err(|_| Failure::NotFound("script"))?;
    request.extensions_mut().insert(Target(target));
    for name in [ACCEPT_ENCODING, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.headers_mut().remove(name);
    }
    let (parts, _) = request.into_parts();
    let onward = upstream.onward(&parts, route)?;
    let reply = documents::answer(app, upstream, &parts, onward).await?;
    if reply.status() != StatusCode::OK {
        return Ok(reply);
    }
    let bytes_max = upstream.options.cache_document_bytes_max;
    let (mut parts, body) = reply.into_parts();
    let body = Limited::new(body, bytes_max).collect().await.map_err(|_| Failure::UpstreamAway)?.to_bytes();
    let script = overrides::uncompressed(&parts.headers, body, bytes_max)
        .map_err(|error| upstream.refuse_script(&pin.file, &error.to_string()))?;
    let found = hex(&Sha256::digest(&script));
    if found != pin.sha256 {
        let why = format!("release {} has the hash {found}, and {} was pinned", pin.version, pin.sha256);
        return Err(upstream.refuse_script(&pin.file, &why));
    }
    upstream.forget_refusal(&pin.file);
    parts.headers.remove(CONTENT_ENCODING);
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(script)))
}

impl Upstream {
    fn forget_refusal(&self, file: &str) {
        let mut refused = self.refused_script.lock().unwrap_or_else(PoisonError::into_inner);
        refused.take_if(|refusal| refusal.starts_with(&format!("{file}:")));
    }

    fn refuse_script(&self, file: &str, why: &str) -> Failure {
        self.counts.scripts_refused.fetch_add(1, Relaxed);
        tracing::error!(file, why, "a script of PostHog is not handed on, so nothing is recorded with it");
        let refusal = format!("{file}: {why}");
        *self.refused_script.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal.clone());
        Failure::UpstreamScript(refusal)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
