//! One connection, from its first byte to its last.
//!
//! hyper keeps some twenty kilobytes for each of its connections, buffers and state, also while nothing is asked. Ten
//! thousand recorders that send something every few seconds would hold two hundred megabytes of that. So hyper gets a
//! socket when there is something to read, and gives it back a moment after everything is answered: between two requests
//! that do not follow each other at once a connection is a task and a socket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Sleep;

use crate::listen::Peer;
use crate::patience::Patience;
use crate::router::Routes;
use crate::state::App;
use crate::upstream::{Tunnel, is_from_posthog};

/// Bytes of a connection's read buffer, and so the longest head of a request.
const CONNECTION_BUFFER_BYTES_MAX: usize = 16 << 10;

/// How long hyper keeps a connection on which everything is answered. Whoever has another request at hand, as a proxy
/// does, sends it by then; beginning anew would cost a tenth of answering it.
const LINGER: Duration = Duration::from_millis(20);

/// The part of all connections that is spared: once fewer are free, idle ones are closed sooner. One in this many.
const SPARED_PART: usize = 4;

/// How long a stream of PostHog's may be silent once its client has ended its side of the connection. Nearly all of them
/// have left; one that only listens any more goes on for as long as something comes.
const LEFT_WAIT: Duration = Duration::from_secs(1);

/// What all connections have in common.
pub(crate) struct Connections {
    app: Arc<App>,
    routes: Routes,
    http: http1::Builder,
    places: Arc<Semaphore>,
}

impl Connections {
    /// `places` are those for connections that are still free.
    pub(crate) fn new(app: Arc<App>, routes: Routes, places: Arc<Semaphore>) -> Self {
        let mut http = http1::Builder::new();
        // How long a client may be silent is bounded here, where it costs no timer for each request.
        http.header_read_timeout(None).max_buf_size(CONNECTION_BUFFER_BYTES_MAX);
        // A browser that leaves a page closes the connection with what it has sent on it. An upload that is here whole
        // is kept all the same, though nobody waits for the answer any more.
        http.half_close(true);
        Self { app, routes, http, places }
    }

    /// How long a connection may be idle now.
    ///
    /// Whoever closes an idle connection may meet a request that is just being sent on it, which is then lost, since
    /// browsers and proxies do not send every `POST` again. So closing is left to them, while there are connections to
    /// spare.
    fn idle_wait(&self) -> Duration {
        let timeouts = &self.app.options.timeouts;
        let is_crowded = self.places.available_permits() < self.app.options.connections_max / SPARED_PART;
        if is_crowded { timeouts.idle.min(timeouts.head) } else { timeouts.idle }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(&self, stream: TcpStream, peer: Peer) {
        let mut stopped = pin!(self.app.stopped());
        let mut patience = Patience::new(self.app.options.timeouts.head);
        let (mut stream, mut early) = (stream, Bytes::new());
        loop {
            if early.is_empty() {
                tokio::select! {
                    () = &mut stopped => return,
                    () = patience.over() => return,
                    readable = stream.readable() => {
                        if readable.is_err() {
                            return;
                        }
                    }
                }
            }
            let socket = Socket { stream, early, requests: Arc::default() };
            match self.serve_requests(socket, peer, stopped.as_mut(), &mut patience).await {
                Some(quiet) => (stream, early) = quiet,
                None => return,
            }
            patience.renew_for(self.idle_wait());
        }
    }

    /// Answers requests until no other is there. Returns the socket, and what was read of the next request already;
    /// nothing when the connection is at its end.
    async fn serve_requests(
        &self,
        socket: Socket,
        peer: Peer,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
        patience: &mut Patience,
    ) -> Option<(TcpStream, Bytes)> {
        let requests = Arc::clone(&socket.requests);
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            requests.begun.fetch_add(1, Relaxed);
            let answer = Part::of(&requests);
            let request = request.map(|body| Body::new(Asked { body, is_read: false, part: Part::of(&requests) }));
            let reply = self.routes.answer(request);
            let requests = Arc::clone(&requests);
            async move {
                let mut reply = reply.await;
                if let Some(tunnel) = reply.extensions_mut().remove() {
                    *requests.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
                }
                Ok::<_, Infallible>(Answered::body_of(reply, answer))
            }
        });
        let mut connection = Box::new(self.http.serve_connection(TokioIo::new(socket), service));
        let (mut is_stopping, mut is_heard, mut is_lingering) = (false, false, false);
        let is_quiet = poll_fn(|cx| {
            if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            // A client that went away is no news; its upload was never acknowledged.
            if Pin::new(&mut *connection).poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            if !is_heard && requests.is_any_heard.load(Relaxed) {
                is_heard = true;
                patience.renew_for(self.app.options.timeouts.head);
            }
            if requests.is_any_under_way() {
                if std::mem::take(&mut is_lingering) {
                    patience.renew_for(self.app.options.timeouts.head);
                }
                patience.renew();
                return Poll::Pending;
            }
            if requests.begun.load(Relaxed) == 0 || is_stopping || requests.is_any_cut.load(Relaxed) {
                return patience.poll_over(cx).map(|()| false);
            }
            if !std::mem::replace(&mut is_lingering, true) {
                patience.renew_for(LINGER);
            }
            patience.poll_over(cx).map(|()| true)
        });
        let is_quiet = is_quiet.await;
        let tunnel = requests.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !is_quiet && tunnel.is_none() {
            return None;
        }
        let parts = connection.into_parts();
        let Socket { stream, early, .. } = parts.io.into_inner();
        // Even if nothing is in it, what hyper read into would hold on to all of its memory.
        let early = if parts.read_buf.is_empty() { early } else { [parts.read_buf, early].concat().into() };
        let Some(tunnel) = tunnel else { return Some((stream, early)) };
        tokio::select! {
            () = stopped => {}
            carried = tunnel.carry(stream, early, self.app.options.timeouts.idle) => {
                if let Err(error) = carried {
                    tracing::debug!(%error, "a connection that was handed over broke off");
                }
            }
        }
        None
    }
}

/// What is known of the requests that a hyper connection was given.
///
/// hyper has a connection to itself until nothing of them is under way: each was read to its end, its answer was written
/// to its end, and hyper waits for another. Only then the bytes that come next begin a request.
#[derive(Default)]
struct Requests {
    /// Something has come, if not a whole head.
    is_any_heard: AtomicBool,
    begun: AtomicUsize,
    /// Bodies, of requests and of answers, that are not done with.
    parts: AtomicUsize,
    /// A request was not read to its end: what follows is not another one, and hyper is about to close.
    is_any_cut: AtomicBool,
    /// The client does not take what is written.
    is_write_blocked: AtomicBool,
    /// A stream is silent, so that nothing is written by which it would show that nobody listens.
    is_stream_silent: AtomicBool,
    /// The client has ended its side while a stream was silent.
    has_client_ended: AtomicBool,
    /// What the connection is to be handed over to, once its last answer is written.
    tunnel: Mutex<Option<Tunnel>>,
}

impl Requests {
    fn is_any_under_way(&self) -> bool {
        self.parts.load(Relaxed) > 0 || self.is_write_blocked.load(Relaxed)
    }
}

/// A part of a request that is under way for as long as this is there.
struct Part(Arc<Requests>);

impl Part {
    fn of(requests: &Arc<Requests>) -> Self {
        requests.parts.fetch_add(1, Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.parts.fetch_sub(1, Relaxed);
    }
}

/// The body of a request.
struct Asked {
    body: Incoming,
    is_read: bool,
    part: Part,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_read && !self.body.is_end_stream() {
            self.part.0.is_any_cut.store(true, Relaxed);
        }
    }
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_read |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer.
struct Answered {
    body: Body,
    part: Part,
    /// Whether it may be silent for long: whoever waits for it is then looked after.
    is_stream: bool,
    /// Only there while a silent stream has a client that may have left.
    patience: Option<Pin<Box<Sleep>>>,
}

/// Nothing came on a stream whose client has ended its side.
#[derive(Debug, thiserror::Error)]
#[error("the client of a stream has left")]
struct ClientLeft;

impl Answered {
    fn body_of(reply: Response, part: Part) -> hyper::Response<Self> {
        // What has a length is a document, which is here soon or fails.
        let is_stream = is_from_posthog(&reply) && reply.body().size_hint().exact().is_none();
        reply.map(|body| Self { body, part, is_stream, patience: None })
    }
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if !self.is_stream {
            return frame;
        }
        let Part(requests) = &self.part;
        requests.is_stream_silent.store(frame.is_pending(), Relaxed);
        if frame.is_ready() || !requests.has_client_ended.load(Relaxed) {
            self.patience = None;
            return frame;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(LEFT_WAIT)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(ClientLeft))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket, behind bytes that were read from it before.
struct Socket {
    stream: TcpStream,
    early: Bytes,
    requests: Arc<Requests>,
}

impl Socket {
    fn note_write<T>(&self, written: Poll<T>) -> Poll<T> {
        self.requests.is_write_blocked.store(written.is_pending(), Relaxed);
        written
    }

    /// Looks whether the client of a silent stream has ended its side. hyper, which lets it only listen, reads nothing
    /// before the answer has ended.
    fn look_for_end(&self, cx: &mut Context<'_>) {
        let Requests { is_stream_silent, has_client_ended, .. } = &*self.requests;
        if !is_stream_silent.load(Relaxed) || has_client_ended.load(Relaxed) {
            return;
        }
        let mut byte = [0];
        if let Poll::Ready(Ok(0) | Err(_)) = self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            has_client_ended.store(true, Relaxed);
            // The stream is to be asked again.
            cx.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let filled = buffer.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            if buffer.filled().len() > filled {
                self.requests.is_any_heard.store(true, Relaxed);
            }
            return read;
        }
        self.requests.is_any_heard.store(true, Relaxed);
        let fitting = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early.split_to(fitting));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look_for_end(cx);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
