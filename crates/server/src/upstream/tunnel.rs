//! A connection that is handed over to WebSocket: from then on bytes pass both ways, and nobody looks into them.
//!
//! The request goes to PostHog as any other does, without our secret and cookie. Where PostHog changes the protocol,
//! the client's connection leaves HTTP, and whoever serves it carries the bytes. Other protocols are refused: one that
//! speaks HTTP within, as `h2c` does, would lead past the modes.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use reelcase_upstream::Route;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::{Upstream, relay};
use crate::error::Failure;
use crate::state::App;

const WEBSOCKET: &str = "websocket";

/// PostHog's side of a connection that is to be handed over, for whoever serves the client's side.
#[derive(Clone)]
pub(crate) struct Tunnel(Arc<Mutex<Option<Far>>>);

/// PostHog's side, and a place among the tunnels.
struct Far {
    connection: Upgraded,
    _place: OwnedSemaphorePermit,
}

/// Whether a request asks to leave HTTP, and for WebSocket.
pub(super) fn asks_for_websocket(request: &Request) -> Result<bool, Failure> {
    let headers = request.headers();
    let lines = headers.get_all(CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    let mut names = lines.flat_map(|line| line.split(','));
    if !headers.contains_key(UPGRADE) || !names.any(|name| name.trim().eq_ignore_ascii_case("upgrade")) {
        return Ok(false);
    }
    let mut protocols = headers.get_all(UPGRADE).into_iter();
    match (protocols.next(), protocols.next()) {
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()) => Ok(()),
        _ => Err(Failure::NoUpgrade),
    }?;
    if request.method() == Method::GET { Ok(true) } else { Err(Failure::NoUpgrade) }
}

/// Asks PostHog, and hands the connection over where it agrees.
pub(super) async fn open(
    app: &Arc<App>,
    upstream: &Upstream,
    route: Route<'_>,
    request: Request,
) -> Result<Response, Failure> {
    let place = Arc::clone(&upstream.tunnels).try_acquire_owned();
    let place = place.map_err(|_| Failure::Busy { what: "too many connections are handed over", retry_after_s: 5 })?;
    let (parts, _) = request.into_parts();
    let mut onward = upstream.onward(&parts, route)?;
    ask_for_websocket(&mut onward.headers);
    let mut reply = upstream.send(app, onward, Empty::<Bytes>::new()).await?;
    if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(relay::finished(reply.map(Body::new)));
    }
    let connection = hyper::upgrade::on(&mut reply).await.map_err(|_| Failure::UpstreamAway)?;
    let mut reply = relay::finished(reply.map(|_| Body::empty()));
    ask_for_websocket(reply.headers_mut());
    let far = Far { connection, _place: place };
    reply.extensions_mut().insert(Tunnel(Arc::new(Mutex::new(Some(far)))));
    Ok(reply)
}

fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
}

impl Tunnel {
    /// Carries bytes both ways until both sides have ended, or nothing came from either for a while: at least
    /// `idle_wait`. `early` is what the client has sent already.
    pub(crate) async fn carry(self, client: TcpStream, early: Bytes, idle_wait: Duration) -> io::Result<()> {
        let Some(far) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let is_busy = AtomicBool::new(false);
        let mut client = Watched { inner: client, is_busy: &is_busy };
        let mut posthog = TokioIo::new(far.connection);
        posthog.write_all(&early).await?;
        let mut copying = pin!(copy_bidirectional(&mut client, &mut posthog));
        loop {
            tokio::select! {
                copied = &mut copying => return copied.map(drop),
                () = tokio::time::sleep(idle_wait) => {
                    if !is_busy.swap(false, Relaxed) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The client's side, which sees bytes of both.
struct Watched<'a> {
    inner: TcpStream,
    is_busy: &'a AtomicBool,
}

impl Watched<'_> {
    fn note<T>(&self, moved: Poll<T>) -> Poll<T> {
        if moved.is_ready() {
            self.is_busy.store(true, Relaxed);
        }
        moved
    }
}

impl AsyncRead for Watched<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.note(read)
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
