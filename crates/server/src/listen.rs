//! Connections: accepts them, bounds how long and how many, and ends them in order.
//!
//! A connection costs a task and one small buffer, so ten thousand idle ones stay cheap. When told to stop, the server
//! stops accepting, lets open requests finish within `timeouts.shutdown`, and returns; the caller then closes the store.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use reelcase_store::catalog::CatalogError;
use reelcase_store::{Store, SystemClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::Service;

use crate::capture::create_project;
use crate::config::{ConfigError, ServerOptions};
use crate::drops::SAVE_EVERY;
use crate::router::router;
use crate::state::App;

/// Bytes of a connection's read buffer, and so the longest head of a request.
const CONNECTION_BUFFER_BYTES_MAX: usize = 16 << 10;

/// Pause after the operating system refused a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The projects that were asked for cannot be created.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
}

/// A server that has its address but answers nobody yet.
#[derive(Debug)]
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

/// Binds and serves until `shutdown`. Use [`BoundServer`] where the address must be known first.
pub async fn serve(
    options: ServerOptions,
    store: Arc<Store>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    BoundServer::bind(options, store).await?.serve(shutdown).await;
    Ok(())
}

impl BoundServer {
    /// Takes the address and checks the options.
    pub async fn bind(options: ServerOptions, store: Arc<Store>) -> Result<Self, ServeError> {
        let address = options.listen;
        let listener = TcpListener::bind(address).await.map_err(|error| ServeError::Listen { address, error })?;
        Self::on(listener, options, store).await
    }

    /// Serves on an address that was taken already, for whoever opens the store while connections wait.
    pub async fn on(listener: TcpListener, options: ServerOptions, store: Arc<Store>) -> Result<Self, ServeError> {
        let listen = options.listen;
        let mut app = App::new(options, store, Arc::new(SystemClock))?;
        let address = listener.local_addr().map_err(|error| ServeError::Listen { address: listen, error })?;
        app.options.listen = address;
        for key in &app.options.projects {
            create_project(&app, key, app.clock.now_ms()).await?;
        }
        Ok(Self { listener, address, app: Arc::new(app) })
    }

    /// The address taken, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The link that opens the web app, secret included: for the operator's terminal, never for a log.
    pub fn login_url(&self) -> String {
        format!("{}/?token={}", self.app.public_url(), self.app.secret.expose())
    }

    /// Serves until `shutdown`, then lets open requests finish.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, app, .. } = self;
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(app.options.connections_max));
        let router = router(app.clone());
        let saver = tokio::spawn(save_drops(app.clone()));
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    connections.spawn(connection(stream, app.clone(), router.clone(), graceful.watcher(), place));
                }
                Err(error) => {
                    app.metrics.connections_refused.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        app.stop();
        if tokio::time::timeout(app.options.timeouts.shutdown, graceful.shutdown()).await.is_err() {
            tracing::warn!(open = connections.len(), "closing connections that did not finish in time");
        }
        connections.shutdown().await;
        if let Err(error) = saver.await {
            tracing::warn!(%error, "cannot save the counts of what was dropped");
        }
    }
}

/// Saves what was dropped now and then, and once more at the end.
async fn save_drops(app: Arc<App>) {
    let mut is_over = false;
    while !is_over {
        is_over = tokio::time::timeout(SAVE_EVERY, app.stopped()).await.is_ok();
        if let Err(error) = app.drops.save(app.store.catalog()).await {
            tracing::warn!(%error, "cannot save the counts of what was dropped");
        }
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, app: Arc<App>, router: Router, watcher: Watcher, _place: OwnedSemaphorePermit) {
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        // Without a timer hyper ignores its own time-out in silence.
        .timer(TokioTimer::new())
        .header_read_timeout(app.options.timeouts.head)
        .max_buf_size(CONNECTION_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    app.metrics.connections_open.fetch_add(1, Relaxed);
    // A client that went away or timed out is no news; its upload was never acknowledged.
    let _ = watcher.watch(connection).await;
    app.metrics.connections_open.fetch_sub(1, Relaxed);
}
