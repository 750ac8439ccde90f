//! Which path leads where.
//!
//! Our own pages and API have fixed paths. Everything clients of PostHog ask for is found by the *end* of its path,
//! so that a server mounted below a prefix, or reached through somebody's rewriting proxy, works without settings.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::Service;

use crate::capture::sorter;
use crate::error::Failure;
use crate::state::App;
use crate::{access, api, capture, cors, pages, remote_config, scripts, share, upstream};

/// What a client of PostHog asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientPath<'a> {
    Capture,
    Flags,
    Config { key: &'a str },
    ConfigScript { key: &'a str },
    BundleWithConfig { key: &'a str },
    Script { version: Option<&'a str>, file: &'a str },
}

/// The policy of every answer that brings none of its own.
const INERT_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// Everything the server answers.
pub(crate) struct Routes {
    router: Router,
    prefix: String,
    has_upstream: bool,
}

impl Routes {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let (prefix, has_upstream) = (app.options.path_prefix.clone(), app.upstream.is_some());
        let sorted = || from_fn_with_state(app.clone(), sorter::sort_before);
        let router = api::routes()
            .route_layer(sorted())
            .route_layer(from_fn_with_state(app.clone(), access::require))
            .merge(pages::routes())
            .merge(share::routes().route_layer(sorted()))
            .route("/health", get(health))
            .route("/openapi.json", get(api::openapi_document))
            .method_not_allowed_fallback(other_method)
            .fallback(client)
            .with_state(app);
        Self { router, prefix, has_upstream }
    }

    /// Answers one request.
    ///
    /// What is done here to all of them is no layer of the router, which would cost each of them more than it does: and
    /// the path has to be tidy before a route is chosen by it.
    pub(crate) fn answer(&self, request: Request) -> impl Future<Output = Response> + use<> {
        let answering = self.router.clone().call(tidy(request, &self.prefix, self.has_upstream));
        async move {
            let mut reply = answering.await.unwrap_or_else(|never| match never {});
            make_inert(&mut reply);
            reply
        }
    }
}

/// Makes an answer that is no page of ours into nothing a browser could run, whatever it holds and however it was
/// asked for: recorded HTML must never become a document of this origin.
fn make_inert(reply: &mut Response) {
    if upstream::is_from_posthog(reply) {
        return;
    }
    let headers = reply.headers_mut();
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(INERT_POLICY));
}

async fn health() -> impl IntoResponse {
    axum::Json(serde_json::json!({ "status": "ok" }))
}

/// Most of our own paths are read and nothing else. Some of them end like those of clients, which send.
async fn other_method(app: State<Arc<App>>, request: Request) -> Response {
    if app.upstream.is_some() || client_path(request.uri().path()).is_some() {
        return client(app, request).await;
    }
    let mut reply = Failure::MethodNotAllowed.into_response();
    // The router knows which methods the path has, and says so where nobody else does.
    reply.headers_mut().remove(ALLOW);
    reply
}

/// Answers what clients of PostHog ask for: PostHog itself where it is behind us, or we in its place.
async fn client(State(app): State<Arc<App>>, request: Request) -> Response {
    match &app.upstream {
        Some(upstream) => upstream::answer(&app, upstream, request).await,
        None => in_place_of_posthog(&app, request).await,
    }
}

/// Answers what clients of PostHog ask for; anything else is not found.
pub(crate) async fn in_place_of_posthog(app: &Arc<App>, request: Request) -> Response {
    let uri = request.uri().clone();
    let headers = request.headers().clone();
    let Some(path) = client_path(uri.path()) else {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        return if reads {
            pages::missing(app, uri.path(), &headers)
        } else {
            Failure::NotFound("page").into_response()
        };
    };
    let mut reply = if request.method() == Method::OPTIONS {
        axum::Json(capture::Ok200::default()).into_response()
    } else {
        answer(app, path, request, &headers).await.unwrap_or_else(IntoResponse::into_response)
    };
    cors::allow(&headers, reply.headers_mut());
    reply
}

async fn answer(
    app: &Arc<App>,
    path: ClientPath<'_>,
    request: Request,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        ClientPath::Capture => capture::capture(app, request).await,
        ClientPath::Flags => remote_config::flags(app, request).await,
        _ if !reads => Err(Failure::MethodNotAllowed),
        ClientPath::Config { key } => remote_config::config(app, key, headers).await,
        ClientPath::ConfigScript { key } => remote_config::config_script(app, key, headers).await,
        ClientPath::BundleWithConfig { key } => remote_config::bundle_with_config(app, key, headers).await,
        ClientPath::Script { version, file } => {
            scripts::script(app, version, file, request.uri().query(), headers).await
        }
    }
}

/// Recognises a path by its end.
pub(crate) fn client_path(path: &str) -> Option<ClientPath<'_>> {
    let mut ends = path.rsplit('/').filter(|part| !part.is_empty());
    let (last, before, third) = (ends.next()?, ends.next(), ends.next());
    match (third, before, last) {
        (Some("array"), Some(key), "config") => Some(ClientPath::Config { key }),
        (Some("array"), Some(key), "config.js") => Some(ClientPath::ConfigScript { key }),
        (Some("array"), Some(key), "array.js") => Some(ClientPath::BundleWithConfig { key }),
        // The key is missing, which is answered as such rather than as an unknown page.
        (_, Some("array"), "config") => Some(ClientPath::Config { key: "" }),
        (_, Some("array"), "config.js") => Some(ClientPath::ConfigScript { key: "" }),
        (_, Some("static"), file) => Some(ClientPath::Script { version: None, file }),
        (Some("static"), Some(version), file) => Some(ClientPath::Script { version: Some(version), file }),
        (_, _, "s" | "e" | "batch" | "capture" | "track" | "engage") => Some(ClientPath::Capture),
        (_, _, "flags" | "decide") => Some(ClientPath::Flags),
        _ => None,
    }
}

/// What the client asked for, as it wrote it, but for our prefix: this is what PostHog is to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Target(pub(crate) PathAndQuery);

/// Squeezes slashes, drops the last one, and takes off the prefix.
fn tidy(mut request: Request, prefix: &str, has_upstream: bool) -> Request {
    if has_upstream && let Some(target) = target(request.uri(), prefix) {
        request.extensions_mut().insert(Target(target));
    }
    if let Some(uri) = tidy_uri(request.uri(), prefix) {
        *request.uri_mut() = uri;
    }
    request
}

fn target(uri: &Uri, prefix: &str) -> Option<PathAndQuery> {
    let target = uri.path_and_query()?;
    match target.as_str().strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() && rest.starts_with('/') => rest.parse().ok(),
        Some("") => Some(PathAndQuery::from_static("/")),
        _ => Some(target.clone()),
    }
}

/// Nothing where it is tidy, or would be none any more.
fn tidy_uri(uri: &Uri, prefix: &str) -> Option<Uri> {
    if prefix.is_empty() && !uri.path().contains("//") && !uri.path().ends_with('/') {
        return None;
    }
    let mut path = String::with_capacity(uri.path().len());
    for part in uri.path().split('/').filter(|part| !part.is_empty()) {
        path.push('/');
        path.push_str(part);
    }
    if let Some(rest) = path.strip_prefix(prefix)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        path = rest.to_owned();
    }
    if path.is_empty() {
        path.push('/');
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    path.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidied(path: &str, prefix: &str) -> String {
        let uri = path.parse().unwrap();
        tidy_uri(&uri, prefix).unwrap_or(uri).to_string()
    }

    #[test]
    fn slashes_are_squeezed_and_the_prefix_comes_off() {
        assert_eq!(tidied("/s/", ""), "/s");
        assert_eq!(tidied("//s//?compression=gzip-js", ""), "/s?compression=gzip-js");
        assert_eq!(tidied("/replay/s/", "/replay"), "/s");
        assert_eq!(tidied("/replay", "/replay"), "/");
        assert_eq!(tidied("/replayed/s", "/replay"), "/replayed/s");
        assert_eq!(tidied("/", ""), "/");
    }

    #[test]
    fn what_posthog_is_asked_is_what_the_client_wrote_but_for_the_prefix() {
        let target = |path: &str| target(&path.parse().unwrap(), "/replay").unwrap().to_string();
        assert_eq!(target("/replay/s/?compression=gzip-js"), "/s/?compression=gzip-js");
        assert_eq!(target("/replay//flags/?v=2"), "//flags/?v=2");
        assert_eq!(target("/replay"), "/");
        assert_eq!(target("/replayed/s/"), "/replayed/s/");
    }

    #[test]
    fn capture_paths_are_known_by_their_end_below_any_prefix() {
        for path in ["/s", "/e", "/i/v0/e", "/batch", "/capture", "/track", "/engage", "/ingest/s", "/a/b/i/v0/e"] {
            assert_eq!(client_path(path), Some(ClientPath::Capture), "{path}");
        }
        assert_eq!(client_path("/flags"), Some(ClientPath::Flags));
        assert_eq!(client_path("/x/decide"), Some(ClientPath::Flags));
        assert_eq!(client_path("/robots.txt"), None);
        assert_eq!(client_path("/"), None);
    }

    #[test]
    fn config_and_scripts_are_known_by_their_end_too() {
        assert_eq!(client_path("/p/array/phc_x/config"), Some(ClientPath::Config { key: "phc_x" }));
        assert_eq!(client_path("/array/phc_x/config.js"), Some(ClientPath::ConfigScript { key: "phc_x" }));
        assert_eq!(client_path("/array/phc_x/array.js"), Some(ClientPath::BundleWithConfig { key: "phc_x" }));
        assert_eq!(client_path("/array/config.js"), Some(ClientPath::ConfigScript { key: "" }));
        assert_eq!(client_path("/static/array.js"), Some(ClientPath::Script { version: None, file: "array.js" }));
        let versioned = ClientPath::Script { version: Some("1.449.2"), file: "lazy-recorder.js" };
        assert_eq!(client_path("/x/static/1.449.2/lazy-recorder.js"), Some(versioned));
    }
}
