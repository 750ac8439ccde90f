//! Looks at PostHog before the first client does: is there such a host, is it who it says it is, and is it not us?

use std::error::Error;

use bytes::Bytes;
use http::header::{HeaderName, VIA};
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use http_body_util::Empty;

use crate::client::{Client, SendError};
use crate::hosts::{Base, Hosts};

/// What is asked for. PostHog does not have it, and every Reelcase sends it on.
pub const LOOP_PATH: &str = "/.well-known/reelcase-loop";

/// Who answered that a request was there before.
pub const INSTANCE: HeaderName = HeaderName::from_static("reelcase-instance");

/// A PostHog that must not be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no such name, or nobody can tell.
    #[error("there is no host {host}: {error}\nhint: check --upstream, and the name servers of this machine")]
    UnknownHost {
        /// The name.
        host: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// Somebody answers who cannot show that he is that host.
    #[error(
        "{base} shows a certificate that is not trusted: {error}\nhint: name the authority it is from with --upstream-ca"
    )]
    BadCertificate {
        /// Where.
        base: String,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// What is sent there comes back here.
    #[error(
        "{base} leads back to this server: it would send every request to itself\nhint: --upstream is where PostHog is, not where this server is"
    )]
    Loop {
        /// Where.
        base: String,
    },
}

/// Asks each host once. One that is only away is fine: it may be back when it is needed.
pub async fn check(client: &Client, hosts: &Hosts, instance: &str) -> Result<(), CheckError> {
    check_one(client, &hosts.ingest, instance).await?;
    if hosts.assets != hosts.ingest {
        check_one(client, &hosts.assets, instance).await?;
    }
    Ok(())
}

async fn check_one(client: &Client, base: &Base, instance: &str) -> Result<(), CheckError> {
    let (host, port) = base.host_and_port();
    if let Err(error) = tokio::net::lookup_host((host, port)).await {
        return Err(CheckError::UnknownHost { host: host.to_owned(), error });
    }
    let Some(uri) = base.uri(&PathAndQuery::from_static(LOOP_PATH)) else { return Ok(()) };
    let request = Request::get(uri).header(VIA, format!("1.1 {instance}")).body(Empty::<Bytes>::new());
    let Ok(request) = request else { return Ok(()) };
    match client.send(request).await {
        Ok(reply) if reply.status() == StatusCode::LOOP_DETECTED => {
            let is_us = reply.headers().get(INSTANCE).is_some_and(|other| other.as_bytes() == instance.as_bytes());
            if is_us { Err(CheckError::Loop { base: base.to_string() }) } else { Ok(()) }
        }
        Ok(_) => Ok(()),
        Err(error) => match bad_certificate(&error) {
            Some(error) => Err(CheckError::BadCertificate { base: base.to_string(), error }),
            None => {
                tracing::warn!(%base, error = &error as &dyn Error, "PostHog does not answer; starting all the same");
                Ok(())
            }
        },
    }
}

/// What is wrong with the certificate, if that is why there is no connection.
fn bad_certificate(error: &SendError) -> Option<rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let of_tls = error.downcast_ref::<rustls::Error>();
        // An io::Error shows the cause of what it wraps, and not what it wraps.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let of_tls = of_tls.or_else(|| wrapped?.downcast_ref());
        if let Some(error @ rustls::Error::InvalidCertificate(_)) = of_tls {
            return Some(error.clone());
        }
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
