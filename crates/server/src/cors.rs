//! Cross-origin headers for everything a recorded page touches: capture, config, scripts.
//!
//! The origin is reflected rather than `*`, because `sendBeacon` and old clients send credentials, which browsers
//! refuse to combine with a star. The read API never passes through here.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Which sites may load an answer without reading it.
pub(crate) const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Lets the page that sent `request` headers read the answer with `reply` headers.
pub(crate) fn allow(request: &HeaderMap, reply: &mut HeaderMap) {
    match request.get(ORIGIN) {
        Some(origin) => {
            reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            reply.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        None => {
            reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
    }
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        reply.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    reply.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    reply.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    reply.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    reply.append(VARY, HeaderValue::from_static("Origin"));
    // Pages that isolate themselves (COEP) load only what says that it may be loaded from elsewhere.
    reply.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

/// The same for an answer that was made for somebody else, whom its headers name.
pub(crate) fn allow_again(request: &HeaderMap, reply: &mut HeaderMap) {
    let is_credentialed = reply.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS);
    let Some(for_whom) = reply.get(ACCESS_CONTROL_ALLOW_ORIGIN) else { return };
    match request.get(ORIGIN) {
        Some(origin) if for_whom != "*" || is_credentialed => {
            reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_reflected_with_credentials_and_a_star_never_is() {
        let (mut request, mut reply) = (HeaderMap::new(), HeaderMap::new());
        request.insert(ORIGIN, HeaderValue::from_static("https://shop.example"));
        request.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("content-type, x-app"));
        allow(&request, &mut reply);
        assert_eq!(reply[ACCESS_CONTROL_ALLOW_ORIGIN], "https://shop.example");
        assert_eq!(reply[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(reply[ACCESS_CONTROL_ALLOW_HEADERS], "content-type, x-app");
        assert_eq!(reply[ACCESS_CONTROL_EXPOSE_HEADERS], "Retry-After");
        assert_eq!(reply[VARY], "Origin");
    }

    #[test]
    fn without_an_origin_no_credentials_are_allowed() {
        let mut reply = HeaderMap::new();
        allow(&HeaderMap::new(), &mut reply);
        assert_eq!(reply[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!reply.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
}
