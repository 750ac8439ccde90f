//! The web app, the player's document, and the links that lead to them.
//!
//! Pages hold no recordings, so they need no access; what they ask the API for does. What was recorded on strangers'
//! pages is drawn in a document with an origin of its own, which `/player/frame` opens below itself as a `data:` URL. The
//! policy of that shell is written when the web app is built, since it names the shell's scripts by their hashes.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LOCATION, REFERRER_POLICY, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use crate::capture::query_value;
use crate::error::Failure;
use crate::scripts::accepts;
use crate::state::App;

/// Codings in which the build of the web app lays files beside themselves, the smallest first, and how such files end.
const PACKED: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

const APP_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-src 'self' data:; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// That of pages that links lead to, where `{ancestors}` says who may have them in a frame.
pub(crate) const SHARE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-src 'self' data:; \
     object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}";

/// Where the head of a page that links lead to gets its title.
const HEAD_PLACE: &str = "<title>Reelcase</title>";

const PLAYGROUND_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
     object-src 'none'; base-uri 'none'; frame-ancestors 'self'";

/// Stands in where the web app brings no policy for its player: then there is nothing to play with, either.
const PLAYER_POLICY: &str = "default-src 'none'; sandbox";

const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Reelcase</title>\
    <h1>The web app is not in this build</h1><p>Capture and the API work. To build the app: <code>make web</code>, \
    then build the binary again.</p>";

/// The built web app.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Web;

/// Every page, without state.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(start))
        .route("/start", get(app_page))
        .route("/recordings", get(app_page))
        .route("/recordings/{*rest}", get(app_page))
        .route("/collections", get(app_page))
        .route("/collections/{collection}", get(app_page))
        .route("/doctor", get(app_page))
        .route("/settings", get(app_page))
        .route("/playground", get(playground))
        .route("/assets/{*path}", get(asset))
        .route("/favicon.svg", get(root_file))
        .route("/favicon.ico", get(root_file))
        .route("/player/frame", get(player_frame))
        .route("/player/{*path}", get(asset))
        .route("/project/{key}/replay/{id}", get(replay_link))
}

/// Whether the web app is in this binary.
pub(crate) fn has_web_app() -> bool {
    Web::get("index.html").is_some()
}

/// Says that there is no such page: to a person in the app, which leads on from there, to a program as an error.
pub(crate) fn missing(app: &App, path: &str, request: &HeaderMap) -> Response {
    let accepts = request.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    let is_person = accepts.is_some_and(|accepted| accepted.contains("text/html"));
    // Only what somebody could have typed: nothing that looks like a file, an escape or an answer of the API.
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte));
    if !is_person || !is_plain || path.starts_with("/api/") || !has_web_app() {
        return Failure::NotFound("page").into_response();
    }
    let mut page = mounted("index.html", &app.options.path_prefix, APP_POLICY);
    *page.status_mut() = StatusCode::NOT_FOUND;
    page
}

/// The app; with `?token=`, trades the token for a cookie first, so that it stays in no history and no referrer.
async fn start(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let Some(token) = query.as_deref().and_then(|query| query_value(query, "token")) else {
        return app_page(State(app)).await;
    };
    if !app.access.opens(&token) {
        return Failure::NoAccess.into_response();
    }
    let is_https = app.options.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let mut reply = redirect(&format!("{}/", app.options.path_prefix));
    if let Ok(cookie) = HeaderValue::from_str(&app.access.set_cookie(&app.options.path_prefix, is_https)) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}

async fn app_page(State(app): State<Arc<App>>) -> Response {
    mounted("index.html", &app.options.path_prefix, APP_POLICY)
}

async fn playground(State(app): State<Arc<App>>) -> Response {
    mounted("playground.html", &app.options.path_prefix, PLAYGROUND_POLICY)
}

/// The link that posthog-js makes for a recording. The key in it is of no use: the id is enough.
async fn replay_link(
    State(app): State<Arc<App>>,
    Path((_, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let Ok(id) = id.parse::<reelcase_format::id::RecordingId>() else {
        return Failure::NotFound("recording").into_response();
    };
    let second = query.as_deref().and_then(|query| query_value(query, "t")?.parse::<u64>().ok());
    let second = second.map(|second| format!("?t={second}")).unwrap_or_default();
    redirect(&format!("{}/recordings/{id}{second}", app.options.path_prefix))
}

/// The page that a link leads to. `head` is markup, and stands where the title is.
pub(crate) fn shared(app: &App, head: &str, policy: &str, status: StatusCode) -> Response {
    let page = page_at("share.html", &app.options.path_prefix);
    let page = page.map(|page| Bytes::from(String::from_utf8_lossy(&page).replacen(HEAD_PLACE, head, 1)));
    let is_built = page.is_some();
    let mut reply = html_of(page, policy);
    if is_built {
        *reply.status_mut() = status;
    }
    reply
}

/// A text as it may stand in markup, within quotes or not.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}

/// The shell of the player. Pictures, styles, fonts and media of the recorded site load only where the viewer asks.
async fn player_frame(query: RawQuery, request: HeaderMap) -> Response {
    player_frame_in(query, &request, "'self'")
}

/// The same for pages that stand in frames of others: `ancestors` names them.
pub(crate) fn player_frame_in(RawQuery(query): RawQuery, request: &HeaderMap, ancestors: &str) -> Response {
    let is_remote = query.as_deref().and_then(|query| query_value(query, "assets")).as_deref() == Some("remote");
    let file = if is_remote { "player/csp-remote.txt" } else { "player/csp.txt" };
    let policy = Web::get(file).and_then(|file| String::from_utf8(file.data.into_owned()).ok());
    let policy = policy.as_deref().map_or(PLAYER_POLICY, str::trim);
    let policy = policy.replace("frame-ancestors 'self'", &format!("frame-ancestors {ancestors}"));
    match find("player/frame.html", request) {
        Some(found) => {
            let mut reply = found.reply(request);
            page_headers(reply.headers_mut(), &policy);
            reply
        }
        None => html_of(None, &policy),
    }
}

/// Files whose names change with their content.
async fn asset(uri: Uri, request: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_hashed = path.starts_with("assets/");
    file(path, is_hashed, &request).unwrap_or_else(|| Failure::NotFound("file").into_response())
}

async fn root_file(uri: Uri, request: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    file(path, false, &request).unwrap_or_else(|| Failure::NotFound("file").into_response())
}

fn file(path: &str, is_hashed: bool, request: &HeaderMap) -> Option<Response> {
    let mut reply = find(path, request)?.reply(request);
    let headers = reply.headers_mut();
    let cache = if is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A worker obeys the policy of its own script.
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(APP_POLICY));
    // The player's document has an opaque origin, to which our own scripts are somebody else's.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Some(reply)
}

/// A file of the web app, in the smallest form that the client takes.
struct Found {
    bytes: Bytes,
    coding: Option<&'static str>,
    kind: String,
    /// Changes with the content.
    tag: String,
}

/// Looks a file up. What is packed is found by the name of what it unpacks to.
fn find(path: &str, request: &HeaderMap) -> Option<Found> {
    let is_packed = PACKED.iter().any(|(_, ending)| path.ends_with(ending));
    if is_packed || path.split(['/', '\\']).any(|part| part == "..") {
        return None;
    }
    let plain = Web::get(path)?;
    let kind = plain.metadata.mimetype().to_owned();
    let tag = plain.metadata.sha256_hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let taken = PACKED.iter().filter(|(coding, _)| accepts(request, coding));
    let packed = taken.filter_map(|(coding, ending)| Some((*coding, Web::get(&format!("{path}{ending}"))?))).next();
    let (coding, data) = packed.map_or((None, plain.data), |(coding, file)| (Some(coding), file.data));
    Some(Found { bytes: bytes_of(data), coding, kind, tag })
}

impl Found {
    fn reply(self, request: &HeaderMap) -> Response {
        let tag = format!("W/\"{}\"", self.tag);
        let is_same = request.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let mut reply = if is_same { StatusCode::NOT_MODIFIED.into_response() } else { self.bytes.into_response() };
        let headers = reply.headers_mut();
        if let Some(coding) = self.coding.filter(|_| !is_same) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        for (name, value) in [(CONTENT_TYPE, &self.kind), (ETAG, &tag)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        reply
    }
}

/// A page of the app, told where the server is mounted: the addresses in its tags are all that begin there.
fn mounted(path: &str, path_prefix: &str, policy: &str) -> Response {
    html_of(page_at(path, path_prefix), policy)
}

fn page_at(path: &str, path_prefix: &str) -> Option<Bytes> {
    let page = Web::get(path).map(|file| bytes_of(file.data))?;
    if path_prefix.is_empty() {
        return Some(page);
    }
    Some(String::from_utf8_lossy(&page).replace("=\"/", &format!("=\"{path_prefix}/")).into())
}

fn html_of(page: Option<Bytes>, policy: &str) -> Response {
    let (status, body) = match page {
        Some(page) => (StatusCode::OK, page),
        None => (StatusCode::NOT_FOUND, Bytes::from_static(NOT_BUILT.as_bytes())),
    };
    let mut reply = (status, body).into_response();
    page_headers(reply.headers_mut(), policy);
    reply
}

fn page_headers(headers: &mut HeaderMap, policy: &str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A policy that cannot be a header must not be left out in silence: the strictest one takes its place.
    let policy = HeaderValue::from_str(policy).unwrap_or(HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
}

fn redirect(to: &str) -> Response {
    let mut reply = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(to) {
        reply.headers_mut().insert(LOCATION, to);
    }
    reply.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}

fn bytes_of(data: Cow<'static, [u8]>) -> Bytes {
    match data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }
}
