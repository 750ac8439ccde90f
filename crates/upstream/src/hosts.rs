//! The hosts of one PostHog, and which path goes to which.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Where one host of PostHog is: scheme, name, and a path that everything is below, nearly always none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

/// The hosts of one PostHog. They come from the operator alone: nothing that a client sends can name another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Takes uploads, and answers everything that has no host of its own.
    pub ingest: Base,
    /// Has scripts and config: `/static` and `/array`.
    pub assets: Base,
    /// What people look at. Nothing is sent there; it is told to people.
    pub ui: Base,
}

/// A host that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no PostHog: write us, eu, or an address like https://posthog.example")]
pub struct HostsError(String);

impl Hosts {
    /// PostHog Cloud in one of its regions.
    fn cloud(region: &str) -> Self {
        let base = |host: String| Base {
            scheme: Scheme::HTTPS,
            authority: Authority::from_maybe_shared(host).unwrap_or_else(|_| Authority::from_static("posthog.com")),
            path: String::new(),
        };
        Self {
            ingest: base(format!("{region}.i.posthog.com")),
            assets: base(format!("{region}-assets.i.posthog.com")),
            ui: base(format!("{region}.posthog.com")),
        }
    }

    /// The host that a path belongs to, as PostHog's guides for proxies have it.
    pub fn of(&self, path: &str) -> &Base {
        let is_below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        if is_below("/static") || is_below("/array") { &self.assets } else { &self.ingest }
    }
}

impl FromStr for Hosts {
    type Err = HostsError;

    /// Reads `us`, `eu`, any address of PostHog Cloud, or the one address of a PostHog of one's own.
    fn from_str(text: &str) -> Result<Self, HostsError> {
        match text {
            "us" | "eu" => return Ok(Self::cloud(text)),
            _ => {}
        }
        let base: Base = text.parse()?;
        Ok(match base.authority.host() {
            "app.posthog.com" | "us.posthog.com" | "us.i.posthog.com" | "us-assets.i.posthog.com" => Self::cloud("us"),
            "eu.posthog.com" | "eu.i.posthog.com" | "eu-assets.i.posthog.com" => Self::cloud("eu"),
            _ => Self { ingest: base.clone(), assets: base.clone(), ui: base },
        })
    }
}

impl Base {
    /// What `Host` has to say.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The name to look up, without brackets, and the port.
    pub fn host_and_port(&self) -> (&str, u16) {
        let port = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        (host, self.authority.port_u16().unwrap_or(port))
    }

    /// The full address of a path and query on this host.
    pub fn uri(&self, target: &PathAndQuery) -> Option<Uri> {
        let target = match self.path.as_str() {
            "" => target.clone(),
            path => PathAndQuery::try_from(format!("{path}{target}")).ok()?,
        };
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(target).build().ok()
    }
}

impl FromStr for Base {
    type Err = HostsError;

    fn from_str(text: &str) -> Result<Self, HostsError> {
        let wrong = || HostsError(text.to_owned());
        let parts = text.trim().parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP);
        let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'));
        let target = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        match (scheme, authority, target.query()) {
            (Some(scheme), Some(authority), None) if !authority.host().is_empty() => {
                Ok(Self { scheme, authority, path: target.path().trim_end_matches('/').to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_of_the_cloud_are_known_by_name_and_by_any_of_their_addresses() {
        let us: Hosts = "us".parse().unwrap();
        assert_eq!(us.ingest.to_string(), "https://us.i.posthog.com");
        assert_eq!(us.assets.to_string(), "https://us-assets.i.posthog.com");
        assert_eq!(us.ui.to_string(), "https://us.posthog.com");
        assert_eq!(us, "https://app.posthog.com/".parse().unwrap());
        assert_eq!("eu".parse::<Hosts>(), "https://eu-assets.i.posthog.com".parse());
    }

    #[test]
    fn scripts_and_config_go_to_the_assets_host_and_all_else_to_ingest() {
        let eu: Hosts = "eu".parse().unwrap();
        for path in ["/static/array.js", "/array/phc_a/config.js", "/static/1.2.3/lazy-recorder.js"] {
            assert_eq!(eu.of(path), &eu.assets, "{path}");
        }
        for path in ["/s/", "/e/", "/flags/", "/statically", "/api/surveys/", "/i/v0/e/", "/", "/array"] {
            assert_eq!(eu.of(path), &eu.ingest, "{path}");
        }
    }

    #[test]
    fn a_posthog_of_ones_own_has_one_address_and_may_be_below_a_path() {
        let own: Hosts = "http://posthog.internal:8000/ph/".parse().unwrap();
        assert_eq!(own.ingest, own.assets);
        assert_eq!(own.ingest.host_and_port(), ("posthog.internal", 8000));
        let uri = own.of("/s/").uri(&PathAndQuery::from_static("/s/?compression=gzip-js")).unwrap();
        assert_eq!(uri.to_string(), "http://posthog.internal:8000/ph/s/?compression=gzip-js");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in
            ["", "ap", "posthog.example", "ftp://x", "https://", "https://user@x", "https://x/?a=b", "file:///"]
        {
            assert!(wrong.parse::<Hosts>().is_err(), "{wrong:?}");
        }
    }
}
