//! Who may read: one secret opens everything, as a bearer token or through a cookie.
//!
//! The cookie holds a value derived from the secret, never the secret. Comparisons are between hashes and take the
//! same time wherever they differ. A request that changes something and leans on the cookie must come from our own
//! pages, because browsers attach cookies to anybody's forms. On loopback, a request that leans on the cookie must name
//! this machine as its host, because anybody's domain can be made to point here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::error::Failure;
use crate::state::App;

/// Name of the cookie that stands for the secret.
pub(crate) const COOKIE_NAME: &str = "reelcase_session";

/// How much of a host that is not ours is told.
const HOST_CHARACTERS_SHOWN: usize = 80;

const COOKIE_AGE_S: u32 = 30 * 24 * 3_600;

/// Checks requests against the secret without keeping it in comparable form.
pub(crate) struct Access {
    /// Whether only names of this machine are hosts of ours.
    is_local: bool,
    secret_hash: blake3::Hash,
    cookie_hash: blake3::Hash,
    cookie: String,
}

impl Access {
    /// `is_local` where the server is reached by no other name than loopback's.
    pub(crate) fn new(secret: &Secret, is_local: bool) -> Self {
        let cookie = blake3::derive_key("reelcase 2026 session cookie", secret.expose().as_bytes());
        let cookie = blake3::Hash::from_bytes(cookie).to_hex().to_string();
        Self {
            is_local,
            secret_hash: blake3::hash(secret.expose().as_bytes()),
            cookie_hash: blake3::hash(cookie.as_bytes()),
            cookie,
        }
    }

    /// Whether `token` is the secret.
    pub(crate) fn opens(&self, token: &str) -> bool {
        same(&self.secret_hash, token)
    }

    /// The `Set-Cookie` value that opens the API for this browser.
    pub(crate) fn set_cookie(&self, path_prefix: &str, is_https: bool) -> String {
        let secure = if is_https { "; Secure" } else { "" };
        let path = if path_prefix.is_empty() { "/" } else { path_prefix };
        let Self { cookie, .. } = self;
        format!("{COOKIE_NAME}={cookie}; Path={path}; Max-Age={COOKIE_AGE_S}; HttpOnly; SameSite=Lax{secure}")
    }

    /// Lets a request through, or says why not.
    pub(crate) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        if bearer(headers).is_some_and(|token| self.opens(token)) {
            return Ok(());
        }
        if !cookies(headers).any(|cookie| same(&self.cookie_hash, cookie)) {
            return Err(Failure::NoAccess);
        }
        self.check_host(headers)?;
        if method.is_safe() || is_same_origin(headers) { Ok(()) } else { Err(Failure::CrossSite) }
    }
}

impl Access {
    fn check_host(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if self.is_local && !is_loopback_name(host) {
            return Err(Failure::WrongHost(host.chars().take(HOST_CHARACTERS_SHOWN).collect()));
        }
        Ok(())
    }
}

/// Whether a `Host` header, port or none, names this machine and nothing else.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Middleware in front of the read API.
pub(crate) async fn require(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.access.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn same(expected: &blake3::Hash, given: &str) -> bool {
    blake3::hash(given.as_bytes()).as_bytes().ct_eq(expected.as_bytes()).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    match (headers.get("sec-fetch-site"), headers.get(ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        // Old browsers send only the origin; no origin at all means no browser, and then no stolen cookie.
        (None, Some(origin)) => {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            origin.is_some_and(|(_, origin)| Some(origin) == host)
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access::new(&Secret::new("a-long-secret").unwrap(), false)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn cookie_of(access: &Access) -> String {
        access.set_cookie("", false).split(';').next().unwrap().to_owned()
    }

    #[test]
    fn the_secret_opens_as_bearer_and_nothing_else_does() {
        let access = access();
        assert!(access.check(&Method::GET, &headers(&[("authorization", "Bearer a-long-secret")])).is_ok());
        for wrong in ["Bearer a-long-secreT", "Bearer ", "Basic a-long-secret", "a-long-secret"] {
            assert!(access.check(&Method::GET, &headers(&[("authorization", wrong)])).is_err(), "{wrong}");
        }
        assert!(access.check(&Method::GET, &HeaderMap::new()).is_err());
    }

    #[test]
    fn the_cookie_opens_but_is_not_the_secret() {
        let access = access();
        let cookie = cookie_of(&access);
        assert!(!cookie.contains("a-long-secret"));
        assert!(access.set_cookie("", true).ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"));
        let among_others = format!("theme=dark; {cookie}; x=y");
        assert!(access.check(&Method::GET, &headers(&[("cookie", &among_others)])).is_ok());
        assert!(access.check(&Method::GET, &headers(&[("cookie", "reelcase_session=a-long-secret")])).is_err());
    }

    #[test]
    fn loopback_has_no_other_names() {
        for ours in ["localhost:8787", "LOCALHOST", "app.localhost:1", "127.0.0.1:8787", "127.8.8.8", "[::1]:8787"] {
            assert!(is_loopback_name(ours), "{ours}");
        }
        for other in ["", "evil.example:8787", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]"]
        {
            assert!(!is_loopback_name(other), "{other}");
        }
    }

    #[test]
    fn below_a_prefix_the_cookie_is_for_the_prefix() {
        assert!(access().set_cookie("/replay", false).contains("; Path=/replay;"));
    }

    #[test]
    fn a_change_by_cookie_must_come_from_our_own_pages() {
        let access = access();
        let cookie = cookie_of(&access);
        let post = |more: &[(&'static str, &str)]| {
            let mut pairs = vec![("cookie", cookie.as_str()), ("host", "replay.example")];
            pairs.extend_from_slice(more);
            access.check(&Method::POST, &headers(&pairs)).is_ok()
        };
        assert!(post(&[("sec-fetch-site", "same-origin")]));
        assert!(!post(&[("sec-fetch-site", "cross-site")]));
        assert!(!post(&[("sec-fetch-site", "same-site")]));
        assert!(post(&[("origin", "https://replay.example")]));
        assert!(!post(&[("origin", "https://evil.example")]));
        assert!(!post(&[("origin", "null")]));
    }
}
