//! Tells posthog-js what to record: the remote config in all the forms that its versions ask for.
//!
//! One document serves them all, made of what was decided about the project (`settings`) for each request. Where that
//! cannot be read the request fails, and the client keeps to what it was told before, or records nothing.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use reelcase_format::id::ProjectKey;
use reelcase_format::limits::Limits;
use reelcase_format::upload::{Wire, inflate};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::capture::{INLINE_BYTES_MAX, admit, body, query_value};
use crate::error::Failure;
use crate::scripts;
use crate::settings::document::{document, escape_for_script};
use crate::settings::{self, Settings};
use crate::state::App;

const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// What the body of a request for flags may inflate to. Clients send what they know of the person, a few KiB.
const FLAGS_BYTES_MAX: usize = 1 << 20;

/// Answers `/array/<key>/config`.
pub(crate) async fn config(app: &App, key: &str, request: &HeaderMap) -> Result<Response, Failure> {
    let project = known_key(app, key).await?;
    let mut reply = Json(document_for(app, &project, request).await?).into_response();
    config_headers(reply.headers_mut());
    Ok(reply)
}

/// Answers `/array/<key>/config.js`.
pub(crate) async fn config_script(app: &App, key: &str, request: &HeaderMap) -> Result<Response, Failure> {
    let project = known_key(app, key).await?;
    Ok(script(assignment(key, &document_for(app, &project, request).await?).into()))
}

/// Answers `/array/<key>/array.js`: the config, then the client itself.
pub(crate) async fn bundle_with_config(app: &App, key: &str, request: &HeaderMap) -> Result<Response, Failure> {
    let project = known_key(app, key).await?;
    let bundle = scripts::pinned_plain("array.js").ok_or(Failure::NotFound("script"))?;
    let mut text = assignment(key, &document_for(app, &project, request).await?).into_bytes();
    text.push(b'\n');
    text.extend_from_slice(&bundle);
    Ok(script(text.into()))
}

/// Answers `/flags` and `/decide` of every version: no flags, and the config merged in for clients that expect it
/// there. Whoever names no project of ours is told not to record.
pub(crate) async fn flags(app: &Arc<App>, request: Request) -> Result<Response, Failure> {
    let (parts, sent) = request.into_parts();
    let body = match parts.method {
        Method::POST => body::read(sent, &parts.headers, app.options.limits.body_bytes_max, app).await?,
        _ => body::Held::default(),
    };
    let mut reply = match project_of(app, &parts, &body.bytes).await? {
        Some(project) => document_for(app, &project, &parts.headers).await?,
        None => document(&Settings { recording: Some(false), ..Settings::default() }),
    };
    if let Value::Object(members) = &mut reply {
        members.extend([
            ("featureFlags".to_owned(), json!({})),
            ("featureFlagPayloads".to_owned(), json!({})),
            ("flags".to_owned(), json!({})),
            ("errorsWhileComputingFlags".to_owned(), json!(false)),
            ("config".to_owned(), json!({ "enable_collect_everything": true })),
        ]);
    }
    Ok(Json(reply).into_response())
}

/// The config of a project for the page that asks.
async fn document_for(app: &App, project: &ProjectKey, request: &HeaderMap) -> Result<Value, Failure> {
    Ok(document(&settings::for_site(settings::read(&app.store, project).await?.settings, request)))
}

/// The project that a request for flags names, where it names one of ours.
async fn project_of(app: &Arc<App>, parts: &Parts, body: &Bytes) -> Result<Option<ProjectKey>, Failure> {
    let query = parts.uri.query().unwrap_or_default();
    let coding = Coding {
        content_type: parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned),
        compression: query_value(query, "compression"),
    };
    let sent = body.clone();
    let named = match query_value(query, "token") {
        Some(key) => Some(key),
        None if body.is_empty() => None,
        // What nearly all clients send; a page waits for the answer, and need not wait for large uploads too.
        None if body.len() <= INLINE_BYTES_MAX => token_in(&sent, &coding),
        None => app.heavy_work(move || token_in(&sent, &coding)).await?,
    };
    let Some(Ok(key)) = named.map(|key| key.parse::<ProjectKey>()) else { return Ok(None) };
    match admit(app, &key, app.clock.now_ms()).await {
        Err(Failure::UnknownKey(_) | Failure::DeletedKey { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// How a body is coded.
struct Coding {
    content_type: Option<String>,
    compression: Option<String>,
}

/// The key in the body of a request for flags; web clients call it `token`, others `api_key`.
fn token_in(body: &[u8], coding: &Coding) -> Option<String> {
    #[derive(Deserialize)]
    struct Sent {
        token: Option<String>,
        api_key: Option<String>,
    }
    let limits = Limits { inflated_bytes_max: FLAGS_BYTES_MAX, ..Limits::default() };
    let wire = Wire { body, content_type: coding.content_type.as_deref(), compression: coding.compression.as_deref() };
    let sent: Sent = serde_json::from_slice(&inflate(&wire, &limits).ok()?).ok()?;
    sent.token.or(sent.api_key)
}

/// Checks the key of a path as PostHog does, and finds its project.
async fn known_key(app: &App, key: &str) -> Result<ProjectKey, Failure> {
    if key.is_empty() {
        return Err(Failure::NoKey);
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Err(Failure::BadKeyCharacters);
    }
    let key: ProjectKey = key.parse().map_err(|_| Failure::NoSuchProject)?;
    match admit(app, &key, app.clock.now_ms()).await {
        Err(Failure::UnknownKey(_)) => Err(Failure::NoSuchProject),
        other => other,
    }
}

/// What a page looks for is filed under the key that it asked with, whatever the project is called.
fn assignment(key: &str, document: &Value) -> String {
    let config = escape_for_script(&document.to_string());
    format!(
        r#"(function(){{var k="_POSTHOG_REMOTE_CONFIG";window[k]=window[k]||{{}};window[k]["{key}"]={{config:{config},siteApps:[]}};}})();"#
    )
}

fn script(text: Bytes) -> Response {
    let mut reply = text.into_response();
    config_headers(reply.headers_mut());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/javascript"));
    reply
}

fn config_headers(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, CACHE);
    headers.insert(VARY, HeaderValue::from_static("Referer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::document::default_document;

    #[test]
    fn the_config_records_and_keeps_bodies_gzipped() {
        let document = default_document();
        assert!(document["sessionRecording"].is_object());
        assert!(document["supportedCompression"].as_array().unwrap().contains(&json!("gzip-js")));
        assert_eq!(document["autocapture_opt_out"], json!(false));
    }
}
