//! Requests to servers that somebody named: with TLS where the address says so, trusting whom the system trusts.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use reelcase_upstream::{BoxError, Client, ReplyBody, SendError, Waits};

/// How long a server is waited for. One that takes in a large file answers when it is done with it.
const WAITS: Waits =
    Waits { connect: Duration::from_secs(20), reply: Duration::from_secs(3_600), piece: Duration::from_secs(120) };

/// See the module's page.
pub(crate) struct Web {
    client: Client,
}

/// An answer, and what is still to come of it.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What comes behind the body, once that is read.
    pub(crate) trailers: HeaderMap,
    body: ReplyBody,
}

/// Nobody is there, whatever is asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach {0}")]
pub(crate) struct Unreachable(String);

impl Web {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(WAITS, None)? })
    }

    /// Sends a request, whatever is answered.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> anyhow::Result<Reply>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let (head, body) = match self.client.send(request).await {
            Ok(reply) => Response::into_parts(reply),
            Err(SendError::Slow(wait)) => bail!("{host} did not answer within {} s", wait.as_secs()),
            Err(SendError::Unreachable(error)) => {
                let is_there = !error.is_connect();
                let error = anyhow::Error::from(error);
                let error = match is_there {
                    true => error.context(format!("the connection to {host} broke off")),
                    false => error.context(Unreachable(host)),
                };
                let is_untrusted = error.chain().any(|cause| cause.to_string().contains("invalid peer certificate"));
                let hint = "hint: SSL_CERT_FILE names the certificates that are trusted, instead of the system's";
                return Err(if is_untrusted { anyhow::anyhow!("{error:#}\n{hint}") } else { error });
            }
        };
        Ok(Reply { status: head.status, headers: head.headers, trailers: HeaderMap::new(), body })
    }
}

impl Reply {
    /// The next piece of it. `None` at its end.
    pub(crate) async fn chunk(&mut self) -> anyhow::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| anyhow::anyhow!(error)).context("the answer broke off")?;
            match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(frame) => self.trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(None)
    }

    /// All of it.
    pub(crate) async fn bytes(mut self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// How long to wait before what failed is tried again, in tests that have no time.
pub(crate) fn shortened_for_tests() -> Option<Duration> {
    if !cfg!(debug_assertions) {
        return None;
    }
    std::env::var("REELCASE_TEST_PAUSE_MS").ok()?.parse().ok().map(Duration::from_millis)
}

/// The address of a server, without a slash at the end.
pub(crate) fn base_of(address: &str) -> anyhow::Result<String> {
    let base = address.trim_end_matches('/');
    let hint = "hint: write http://127.0.0.1:8787, or https://replays.example.com";
    let uri: Uri = base.parse().with_context(|| format!("{address} is no address of a server\n{hint}"))?;
    if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        bail!("{address} is no address of a server\n{hint}");
    }
    Ok(base.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_scheme_and_host() {
        assert_eq!(base_of("https://a.test/replay/").unwrap(), "https://a.test/replay");
        for wrong in ["a.test", "a.test:80", "ftp://a.test", "", "https://"] {
            assert!(base_of(wrong).unwrap_err().to_string().contains("hint: write http"), "{wrong}");
        }
    }
}
