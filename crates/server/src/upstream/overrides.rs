//! What was decided about a project, laid over what PostHog tells its pages: in `tee` and `mirror`.
//!
//! Where nothing was decided, nobody looks into a document and it stays what PostHog sent, byte for byte. Where
//! something was, PostHog is asked for its document uncompressed, the cache keeps it as it came, and the settings are
//! laid over it for each request. It fails closed: a document that they cannot be laid over is not handed on, because
//! it might mask less than was asked for.

use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, EXPIRES,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use reelcase_format::id::ProjectKey;

use super::Upstream;
use crate::error::Failure;
use crate::router::{ClientPath, client_path};
use crate::settings::document::{DocumentError, apply, apply_to_script, is_config_document};
use crate::settings::{self, Settings};
use crate::state::App;

/// How long a document with something laid over it may be kept: a change is to arrive soon.
const FRESH_S: i64 = 300;

/// Headers that are of the document as PostHog sent it.
const OF_THE_ORIGINAL: [HeaderName; 9] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    ETAG,
    LAST_MODIFIED,
    AGE,
    EXPIRES,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
];

/// What tells a page what to record, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A document of its own.
    Config,
    /// A script that holds it.
    Script,
    /// A reply with flags, which holds it for old clients alone.
    Flags,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Overrides {
    form: Form,
    /// What is laid over. `None` where that cannot be known: whose the request is, or what was decided.
    settings: Option<Settings>,
    /// What the client has already.
    known: Option<HeaderValue>,
}

/// Whether a request asks what to record, and somebody may have decided about that.
pub(super) async fn asks_for_config(app: &App, method: &Method, path: &str) -> Result<bool, Failure> {
    Ok(form_of(method, path).is_some() && settings::is_anything_decided(&app.store).await?)
}

fn form_of(method: &Method, path: &str) -> Option<Form> {
    let is_read = method == Method::GET;
    match client_path(path)? {
        ClientPath::Config { .. } if is_read => Some(Form::Config),
        ClientPath::ConfigScript { .. } | ClientPath::BundleWithConfig { .. } if is_read => Some(Form::Script),
        ClientPath::Flags if is_read || method == Method::POST => Some(Form::Flags),
        _ => None,
    }
}

impl Overrides {
    /// What is to be laid over the answer to a request, which is changed so that the answer can be read. `None` where
    /// nothing is.
    pub(super) async fn of(
        app: &App,
        key: Option<&ProjectKey>,
        request: &mut Request,
    ) -> Result<Option<Self>, Failure> {
        let Some(form) = form_of(request.method(), request.uri().path()) else { return Ok(None) };
        let settings = match key {
            Some(key) => match settings::read(&app.store, key).await {
                Ok(kept) if kept.settings == Settings::default() => return Ok(None),
                Ok(kept) => Some(settings::for_site(kept.settings, request.headers())),
                Err(settings::SettingsError::Unreadable(_)) => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let headers = request.headers_mut();
        let known = headers.get(IF_NONE_MATCH).cloned();
        // The client's conditions are of what is made here.
        for name in [ACCEPT_ENCODING, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE] {
            headers.remove(name);
        }
        Ok(Some(Self { form, settings, known }))
    }

    /// Lays the settings over PostHog's answer.
    pub(super) async fn lay_over(self, upstream: &Upstream, reply: Response) -> Result<Response, Failure> {
        // Anything else tells a page nothing to record.
        if reply.status() != StatusCode::OK {
            return Ok(reply);
        }
        let bytes_max = upstream.options.cache_document_bytes_max;
        let (mut parts, body) = reply.into_parts();
        let laid_over = match Limited::new(body, bytes_max).collect().await {
            Ok(body) => self.changed(&parts.headers, body.to_bytes(), bytes_max),
            Err(error) if error.is::<LengthLimitError>() => Err(DocumentError::TooLarge(bytes_max)),
            Err(_) => return Err(Failure::UpstreamAway),
        };
        let body = match laid_over {
            Ok(body) => body,
            Err(error) => {
                upstream.counts.documents_refused.fetch_add(1, Relaxed);
                upstream.is_config_refused.store(true, Relaxed);
                tracing::error!(%error, "a document of PostHog is not handed on: what was decided cannot be laid over it");
                return Err(Failure::UpstreamConfig(error));
            }
        };
        upstream.counts.documents_overridden.fetch_add(1, Relaxed);
        upstream.is_config_refused.store(false, Relaxed);
        let is_known = self.set_headers(&mut parts.headers, &body);
        if is_known {
            parts.status = StatusCode::NOT_MODIFIED;
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    fn changed(&self, headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Vec<u8>, DocumentError> {
        let plain = uncompressed(headers, body, bytes_max)?;
        let Some(settings) = &self.settings else {
            // A reply with flags alone switches nothing on.
            return match self.form {
                Form::Flags if !is_config_document(&plain)? => Ok(plain),
                _ => Err(DocumentError::Undecided),
            };
        };
        match self.form {
            Form::Config | Form::Flags => apply(settings, &plain),
            Form::Script => {
                let script = String::from_utf8(plain).map_err(|_| DocumentError::NoConfig)?;
                apply_to_script(settings, &script).map(String::into_bytes)
            }
        }
    }

    /// Makes the headers those of what is sent. Says whether the client has it already.
    fn set_headers(&self, headers: &mut HeaderMap, body: &[u8]) -> bool {
        OF_THE_ORIGINAL.iter().for_each(|name| drop(headers.remove(name)));
        if self.form == Form::Flags {
            return false;
        }
        let rules = headers.get(CACHE_CONTROL).and_then(|rules| rules.to_str().ok()).unwrap_or_default();
        if !["no-store", "no-cache", "private"].iter().any(|rule| rules.contains(rule)) {
            let fresh_s = max_age_s(rules).map_or(FRESH_S, |fresh_s| fresh_s.min(FRESH_S));
            if let Ok(rules) = HeaderValue::from_str(&format!("public, max-age={fresh_s}")) {
                headers.insert(CACHE_CONTROL, rules);
            }
        }
        headers.append(VARY, HeaderValue::from_static("Origin, Referer"));
        let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", &blake3::hash(body).to_hex()[..16])) else {
            return false;
        };
        let is_known = self.known.as_ref() == Some(&tag);
        headers.insert(ETAG, tag);
        is_known
    }
}

/// Undoes the coding that PostHog chose although nobody asked for one.
pub(super) fn uncompressed(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Vec<u8>, DocumentError> {
    let coding = headers.get(CONTENT_ENCODING).map_or(Ok("identity"), |coding| coding.to_str());
    match coding.map(|coding| coding.trim().to_ascii_lowercase()).as_deref() {
        Ok("" | "identity") => Ok(body.into()),
        Ok("gzip" | "x-gzip") => {
            let mut plain = Vec::new();
            let mut reader = MultiGzDecoder::new(&body[..]).take(bytes_max as u64 + 1);
            reader.read_to_end(&mut plain).map_err(|error| DocumentError::NotJson(error.to_string()))?;
            if plain.len() > bytes_max { Err(DocumentError::TooLarge(bytes_max)) } else { Ok(plain) }
        }
        other => Err(DocumentError::Coded(other.unwrap_or("unknown").to_owned())),
    }
}

fn max_age_s(rules: &str) -> Option<i64> {
    rules.split(',').find_map(|rule| rule.trim().strip_prefix("max-age=")?.parse().ok())
}
