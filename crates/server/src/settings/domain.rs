//! Which sites may be recorded.
//!
//! As with PostHog: where sites are listed, a page is told to record only if the host of its `Origin` or `Referer` is
//! among them. Mobile applications have neither, and are known by their name.

use axum::http::HeaderMap;
use axum::http::header::{ORIGIN, REFERER, USER_AGENT};

/// How PostHog's libraries for applications begin their user agent.
const APPLICATIONS: [&str; 4] = ["posthog-android", "posthog-ios", "posthog-react-native", "posthog-flutter"];

/// Whether whoever sent `request` may be told to record. With no `domains`, everybody may.
pub fn admits(domains: &[String], request: &HeaderMap) -> bool {
    if domains.is_empty() {
        return true;
    }
    let text = |name| request.get(name).and_then(|value| value.to_str().ok());
    let hosts: Vec<_> = [text(ORIGIN), text(REFERER)].into_iter().flatten().filter_map(host_of).collect();
    let is_listed =
        |host: &String| domains.iter().filter_map(|domain| host_of(domain)).any(|domain| fits(&domain, host));
    let agent = text(USER_AGENT).unwrap_or_default();
    hosts.iter().any(is_listed) || APPLICATIONS.iter().any(|application| agent.starts_with(application))
}

/// The host that an address names, in small letters, without scheme, port and path.
pub(super) fn host_of(address: &str) -> Option<String> {
    let rest = match address.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return None,
        None => address,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*') => host,
        _ => authority,
    };
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-*_[:]".contains(&byte) || !byte.is_ascii());
    is_host.then(|| host.to_lowercase())
}

/// Whether `host` is what `pattern` says, in which `*` stands for anything.
fn fits(pattern: &str, host: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = host.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(domains: &[&str], headers: &[(&'static str, &str)]) -> bool {
        let domains: Vec<_> = domains.iter().map(ToString::to_string).collect();
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        admits(&domains, &headers)
    }

    #[test]
    fn a_site_is_known_by_the_host_of_its_origin_or_its_referrer() {
        let shop = ["https://shop.example", "https://*.shop.example"];
        for from in ["https://shop.example", "http://SHOP.example:8080", "https://a.b.shop.example"] {
            assert!(admitted(&shop, &[("origin", from)]), "{from}");
            assert!(admitted(&shop, &[("referer", &format!("{from}/cart?x=https://other"))]), "{from}");
        }
        for from in ["https://other.example", "https://shop.example.evil", "https://notshop.example", "null", ""] {
            assert!(!admitted(&shop, &[("origin", from)]), "{from}");
        }
        assert!(!admitted(&shop, &[]), "a page that does not say where it is is not one of ours");
        assert!(admitted(&[], &[]), "nothing is listed, so everybody may");
    }

    #[test]
    fn applications_have_no_site() {
        let android = ("user-agent", "posthog-android/3.4.0");
        assert!(admitted(&["https://shop.example"], &[android]));
        assert!(!admitted(&["https://shop.example"], &[("user-agent", "Mozilla/5.0 posthog-android/3.4.0")]));
    }

    #[test]
    fn what_is_listed_may_be_a_host_an_origin_or_a_pattern() {
        for good in
            ["shop.example", "https://shop.example/", "http://localhost:3000", "*.example", "https://*", "[::1]:80"]
        {
            assert!(host_of(good).is_some(), "{good}");
        }
        for bad in ["ftp://shop.example", "https://", "a b.example", "user@shop.example", "/cart"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }
}
