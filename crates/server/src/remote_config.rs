//! Tells posthog-js to record: the remote config in all the forms that its versions ask for.
//!
//! One document serves them all. It switches recording on, keeps bodies gzipped (without `supportedCompression` the
//! client falls back to plain JSON and a preflight for each request), and leaves everything off that would make the
//! client load further scripts.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use reelcase_format::id::ProjectKey;
use serde_json::{Value, json};

use crate::capture::{admit, body};
use crate::error::Failure;
use crate::scripts;
use crate::state::App;

const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Answers `/array/<key>/config`.
pub(crate) async fn config(app: &App, key: &str) -> Result<Response, Failure> {
    known_key(app, key).await?;
    let mut reply = Json(document()).into_response();
    config_headers(reply.headers_mut());
    Ok(reply)
}

/// Answers `/array/<key>/config.js`.
pub(crate) async fn config_script(app: &App, key: &str) -> Result<Response, Failure> {
    let key = known_key(app, key).await?;
    Ok(script(assignment(&key).into()))
}

/// Answers `/array/<key>/array.js`: the config, then the client itself.
pub(crate) async fn bundle_with_config(app: &App, key: &str) -> Result<Response, Failure> {
    let key = known_key(app, key).await?;
    let bundle = scripts::pinned_plain("array.js").ok_or(Failure::NotFound("script"))?;
    let mut text = assignment(&key).into_bytes();
    text.push(b'\n');
    text.extend_from_slice(&bundle);
    Ok(script(text.into()))
}

/// Answers `/flags` and `/decide` of every version: no flags, and the config merged in for clients that expect it
/// there.
pub(crate) async fn flags(app: &Arc<App>, request: Request) -> Result<Response, Failure> {
    let (parts, sent) = request.into_parts();
    if parts.method == Method::POST {
        // Nothing in it is needed, but a connection whose body is not read cannot be used again.
        body::read(sent, &parts.headers, app).await?;
    }
    let mut reply = document();
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

fn document() -> Value {
    json!({
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": false,
        // Absent would keep autocapture off for new visitors.
        "autocapture_opt_out": false,
        "capturePerformance": { "network_timing": true, "web_vitals": false },
        "analytics": { "endpoint": "/i/v0/e/" },
        "elementsChainAsString": true,
        "defaultIdentifiedOnly": true,
        "surveys": false,
        "heatmaps": false,
        "captureDeadClicks": false,
        "autocaptureExceptions": false,
        "siteApps": [],
        "toolbarParams": {},
        "isAuthenticated": false,
        "sessionRecording": {
            "endpoint": "/s/",
            "recorderVersion": "v2",
            "consoleLogRecordingEnabled": true,
            "sampleRate": null,
            "minimumDurationMilliseconds": null,
            "linkedFlag": null,
            "networkPayloadCapture": null,
            "recordCanvas": false,
            "urlTriggers": [],
            "urlBlocklist": [],
            "eventTriggers": [],
        },
    })
}

/// Checks the key of a path as PostHog does.
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
        other => other.map(|()| key),
    }
}

fn assignment(key: &ProjectKey) -> String {
    let config = escape_for_script(&document().to_string());
    format!(
        r#"(function(){{var k="_POSTHOG_REMOTE_CONFIG";window[k]=window[k]||{{}};window[k]["{key}"]={{config:{config},siteApps:[]}};}})();"#
    )
}

/// Makes JSON safe within a script element and within old JavaScript, where two kinds of line break end a string.
fn escape_for_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
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

    #[test]
    fn config_scripts_cannot_be_broken_out_of() {
        assert_eq!(escape_for_script("\"</script>\u{2028}\u{2029}\""), "\"\\u003c/script>\\u2028\\u2029\"");
    }

    #[test]
    fn the_config_records_and_keeps_bodies_gzipped() {
        let document = document();
        assert!(document["sessionRecording"].is_object());
        assert!(document["supportedCompression"].as_array().unwrap().contains(&json!("gzip-js")));
        assert_eq!(document["autocapture_opt_out"], json!(false));
    }
}
