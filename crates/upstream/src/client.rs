//! The connection to PostHog: pooled, with TLS, under waits that have names.
//!
//! Redirects are handed back, bodies are not looked into, nothing is sent twice: whoever asked decides what to do next.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thread_local::ThreadLocal;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::resolver::{Reach, Resolver};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An open connection that nobody uses is closed after this long: before the other side does, as far as is known.
const IDLE_WAIT: Duration = Duration::from_secs(45);

/// Open connections that nobody uses, for each host and thread.
const IDLE_CONNECTIONS_MAX: usize = 512;

/// How long the system keeps a silent connection before it looks whether anybody is there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Bytes of the head of a reply, and of what is read of its body at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// How long PostHog is waited for.
#[derive(Debug, Clone)]
pub struct Waits {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the head of a reply, once the request has been sent.
    pub reply: Duration,
    /// For the next piece of a reply.
    pub piece: Duration,
}

/// No reply.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection, or it broke off.
    #[error("PostHog cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// Nothing came in time.
    #[error("PostHog did not answer within {} ms", .0.as_millis())]
    Slow(Duration),
}

/// The roots of trust cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operator's file has no certificate.
    #[error("no certificate in PEM form in the file of --upstream-ca: {0}")]
    NoCertificate(String),
    /// A certificate or setting is not usable.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Opens a connection.
type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// Connections that are open.
type Connections = Pool<Connector, UnsyncBoxBody<Bytes, BoxError>>;

/// See the module's page.
pub struct Client {
    /// Each thread has connections of its own: what comes on one of another thread would wake that thread first.
    connections: ThreadLocal<Connections>,
    connector: Connector,
    waits: Waits,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("waits", &self.waits).finish_non_exhaustive()
    }
}

impl Client {
    /// Trusts whom the system trusts, and `more_roots`, certificates in PEM form, besides.
    pub fn new(waits: Waits, more_roots: Option<&[u8]>) -> Result<Self, TlsError> {
        Self::reaching(Reach::Anywhere, waits, more_roots)
    }

    /// The same, with names that lead within `reach` alone. An address that is written as numbers is resolved by nobody:
    /// whoever asks looks at it with [`Reach::allows`].
    pub fn reaching(reach: Reach, waits: Waits, more_roots: Option<&[u8]>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots(more_roots)?).with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(reach));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(waits.connect));
        tcp.set_keepalive(Some(KEEPALIVE));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        Ok(Self { connections: ThreadLocal::new(), connector: connector.wrap_connector(tcp), waits })
    }

    /// The connections of this thread.
    fn connections(&self) -> &Connections {
        self.connections.get_or(|| {
            Pool::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_WAIT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                .http1_max_buf_size(BUFFER_BYTES_MAX)
                .build(self.connector.clone())
        })
    }

    /// Sends a request, whose address names the host, and waits for the head of the reply.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<ReplyBody>, SendError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let ((begun, connected), (done, sent)) = (oneshot::channel(), oneshot::channel());
        let request = request.map(|body| UnsyncBoxBody::new(Sent { body, begun: Some(begun), done: Some(done) }));
        let mut pending = std::pin::pin!(self.connections().request(request));
        let reply = tokio::select! {
            reply = &mut pending => Some(reply),
            // These end when the other side of the channel is dropped, too.
            begun = tokio::time::timeout(self.waits.connect, connected) => match begun {
                Ok(_) => None,
                Err(_) => return Err(SendError::Slow(self.waits.connect)),
            },
        };
        let reply = match reply {
            Some(reply) => reply,
            // The client sends at its own pace, and has limits of its own. What is bounded here begins when it is done.
            None => tokio::select! {
                reply = &mut pending => reply,
                () = later(sent, self.waits.reply) => return Err(SendError::Slow(self.waits.reply)),
            },
        };
        let reply = reply.map_err(SendError::Unreachable)?;
        Ok(reply.map(|body| ReplyBody { body, wait: self.waits.piece, patience: None }))
    }
}

/// Waits for a while once something has happened.
async fn later(what: oneshot::Receiver<()>, wait: Duration) {
    drop(what.await);
    tokio::time::sleep(wait).await;
}

fn roots(more: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let of_system = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(of_system.certs);
    if usable == 0 {
        // A small container has none of its own.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(pem) = more {
        let wrong = |error: &dyn std::fmt::Display| TlsError::NoCertificate(error.to_string());
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| wrong(&error))?;
        if found.is_empty() {
            return Err(wrong(&"it is empty"));
        }
        for certificate in found {
            roots.add(certificate)?;
        }
    }
    Ok(roots)
}

/// A body that tells when there is a connection for it, and when it was sent or given up.
struct Sent<B> {
    body: B,
    begun: Option<oneshot::Sender<()>>,
    done: Option<oneshot::Sender<()>>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sent<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.begun = None;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.done = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a reply. Fails when the next piece does not come in time.
pub struct ReplyBody {
    body: Incoming,
    wait: Duration,
    /// Only there while a piece is waited for.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.patience = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let wait = self.wait;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        ready!(patience.as_mut().poll(cx));
        self.patience = None;
        Poll::Ready(Some(Err(SendError::Slow(wait).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
