//! Which headers go on to PostHog, and which come back.
//!
//! A header that speaks of one connection stays on that connection, also when only `Connection` says that it does. How
//! long a body is is said anew by whoever sends it, so that no two machines can read one request as two.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, DATE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, VIA,
};

/// Headers of one connection, whether or not `Connection` names them.
const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a host says of itself to browsers. Said by PostHog's host, it is not true of the one in front of it.
const OF_THE_HOST: [&str; 3] = ["alt-svc", "clear-site-data", "strict-transport-security"];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How a request came here.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// Who connected.
    pub peer: IpAddr,
    /// `http` or `https`, as far as is known.
    pub scheme: &'static str,
    /// What `Via` says of this process: a name that no other has.
    pub instance: &'a str,
    /// A cookie that is ours and nobody else's to see.
    pub own_cookie: &'a str,
}

impl Route<'_> {
    /// The headers that go on to PostHog, but for `Host`, which follows from the address.
    pub fn onward(&self, sent: &HeaderMap) -> HeaderMap {
        let named = named(sent);
        let mut onward = HeaderMap::with_capacity(sent.len() + 5);
        let stays = |name: &HeaderName| {
            *name == HOST || *name == CONTENT_LENGTH || *name == EXPECT || is_of_connection(name, &named)
        };
        for (name, value) in sent.iter().filter(|(name, _)| !stays(name)) {
            if *name != COOKIE {
                onward.append(name, value.clone());
            } else if let Some(value) = self.cookies_of_others(value) {
                onward.append(COOKIE, value);
            }
        }
        self.add_route(sent.get(HOST), &mut onward);
        onward
    }

    fn add_route(&self, host: Option<&HeaderValue>, onward: &mut HeaderMap) {
        let peer = self.peer.to_canonical().to_string();
        let known = onward.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain = known.chain([peer.as_str()]).collect::<Vec<_>>().join(", ");
        let text = |text: &str| HeaderValue::from_str(text).ok();
        if let Some(chain) = text(&chain) {
            onward.insert(FORWARDED_FOR, chain);
        }
        if let Some(peer) = text(&peer) {
            onward.entry(REAL_IP).or_insert(peer);
        }
        onward.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(self.scheme));
        if let Some(host) = host {
            onward.entry(FORWARDED_HOST).or_insert(host.clone());
        }
        if let Some(via) = text(&format!("1.1 {}", self.instance)) {
            onward.append(VIA, via);
        }
    }

    fn cookies_of_others(&self, cookies: &HeaderValue) -> Option<HeaderValue> {
        let Ok(text) = cookies.to_str() else { return None };
        let is_own = |cookie: &str| cookie.split_once('=').is_some_and(|(name, _)| name == self.own_cookie);
        let others: Vec<_> = text.split(';').map(str::trim).filter(|cookie| !is_own(cookie)).collect();
        if others.is_empty() { None } else { HeaderValue::from_str(&others.join("; ")).ok() }
    }

    /// Whether this process has sent the request on before.
    pub fn has_been_here(&self, sent: &HeaderMap) -> bool {
        let stations = sent.get_all(VIA).into_iter().filter_map(|value| value.to_str().ok());
        stations.flat_map(|line| line.split(',')).any(|station| station.trim().split(' ').nth(1) == Some(self.instance))
    }
}

/// Takes out of a reply what does not go back.
pub fn back(reply: &mut HeaderMap) {
    let named = named(reply);
    let gone = reply.keys().filter(|name| is_of_connection(name, &named) || OF_THE_HOST.contains(&name.as_str()));
    for name in gone.cloned().collect::<Vec<_>>() {
        reply.remove(name);
    }
}

/// How long a reply asks to wait: so many seconds, or until a time by the clock of whoever answered, which is read from
/// `now_ms` only where the reply does not tell it. A time that has passed is no wait.
pub fn retry_after_ms(reply: &HeaderMap, now_ms: i64) -> Option<i64> {
    let asked = reply.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(asked.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(1_000));
    }
    let until_ms = time_s(reply, &RETRY_AFTER)?.saturating_mul(1_000);
    let now_ms = time_s(reply, &DATE).map_or(now_ms, |now_s| now_s.saturating_mul(1_000));
    Some(until_ms.saturating_sub(now_ms).max(0))
}

/// A header that is a time, seconds since the epoch.
pub(crate) fn time_s(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_second())
}

fn is_of_connection(name: &HeaderName, named: &[String]) -> bool {
    OF_THE_CONNECTION.contains(&name.as_str()) || named.iter().any(|other| other == name.as_str())
}

/// What `Connection` names, in lower case.
fn named(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route<'_> = Route {
        peer: IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)),
        scheme: "https",
        instance: "reelcase-1",
        own_cookie: "ours",
    };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_matters_goes_on_and_what_is_of_the_connection_stays() {
        let sent = headers(&[
            ("host", "proxy.example"),
            ("content-type", "text/plain"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("expect", "100-continue"),
            ("user-agent", "posthog-ios/3"),
            ("origin", "https://shop.example"),
            ("authorization", "Bearer key"),
        ]);
        let onward = ROUTE.onward(&sent);
        let mut names: Vec<_> = onward.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let route = ["via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
        assert_eq!(names[..4], ["authorization", "content-type", "origin", "user-agent"]);
        assert_eq!(names[4..], route);
    }

    #[test]
    fn the_client_comes_first_in_the_chain_and_the_peer_last() {
        let alone = ROUTE.onward(&headers(&[("host", "proxy.example")]));
        assert_eq!(alone["x-forwarded-for"], "203.0.113.7");
        assert_eq!(alone["x-real-ip"], "203.0.113.7");
        assert_eq!(alone["x-forwarded-proto"], "https");
        assert_eq!(alone["x-forwarded-host"], "proxy.example");
        let sent = headers(&[
            ("x-forwarded-for", "198.51.100.9"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "198.51.100.9"),
        ]);
        let behind = ROUTE.onward(&sent);
        assert_eq!(behind["x-forwarded-for"], "198.51.100.9, 203.0.113.7");
        assert_eq!(
            (&behind["x-forwarded-proto"], &behind["x-real-ip"]),
            (&"http".parse().unwrap(), &"198.51.100.9".parse().unwrap())
        );
    }

    #[test]
    fn our_own_cookie_is_never_shown_to_others() {
        let onward = |cookies| ROUTE.onward(&headers(&[("cookie", cookies)])).get("cookie").cloned();
        assert_eq!(onward("a=1; ours=secret; b=2").unwrap(), "a=1; b=2");
        assert_eq!(onward("ours=secret"), None);
    }

    #[test]
    fn a_request_that_was_here_before_is_known() {
        assert!(ROUTE.has_been_here(&ROUTE.onward(&HeaderMap::new())));
        assert!(ROUTE.has_been_here(&headers(&[("via", "1.0 fred, 1.1 reelcase-1 (x)")])));
        assert!(!ROUTE.has_been_here(&headers(&[("via", "1.1 reelcase-12")])));
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_until_a_time() {
        let wait = |asked, clock: &[(&'static str, &'static str)]| {
            retry_after_ms(&headers(&[&[("retry-after", asked)], clock].concat()), 784_111_770_000)
        };
        assert_eq!(wait("7", &[]), Some(7_000));
        assert_eq!(wait("99999999999999999999", &[]), Some(i64::MAX));
        let until = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(wait(until, &[]), Some(7_000), "by our clock, where there is no other");
        assert_eq!(wait(until, &[("date", "Sun, 06 Nov 1994 08:49:35 GMT")]), Some(2_000), "by theirs");
        assert_eq!(wait(until, &[("date", "Sun, 06 Nov 1994 08:50:00 GMT")]), Some(0), "it has passed");
        for nonsense in ["", "-1", "soon", "1.5", "Sun, 06 Nov 1994"] {
            assert_eq!(wait(nonsense, &[]), None, "{nonsense}");
        }
        assert_eq!(retry_after_ms(&HeaderMap::new(), 0), None);
    }

    #[test]
    fn replies_keep_all_but_what_is_of_the_connection_or_of_the_host() {
        let mut reply = headers(&[
            ("content-type", "application/json"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("strict-transport-security", "max-age=1; includeSubDomains"),
            ("access-control-allow-origin", "https://shop.example"),
            ("retry-after", "3"),
        ]);
        back(&mut reply);
        let mut names: Vec<_> = reply.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["access-control-allow-origin", "content-type", "retry-after"]);
    }
}
