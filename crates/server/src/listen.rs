//! Connections: accepts them, bounds how long and how many, and ends them in order.
//!
//! When told to stop, the server stops accepting, lets open requests finish within `timeouts.shutdown`, and returns; the
//! caller then closes the store. What a connection does is in `connection.rs`.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use reelcase_store::catalog::CatalogError;
use reelcase_store::{Store, StoreError, SystemClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::capture::{create_project, sorter};
use crate::config::{ConfigError, ServerOptions};
use crate::connection::Connections;
use crate::drops::SAVE_EVERY;
use crate::router::Routes;
use crate::schedules::Schedules;
use crate::state::App;
use crate::workers::Workers;
use crate::{share, upstream, webhooks};

/// Pause after the operating system refused a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who opened the connection that a request came on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What an earlier process left cannot be cleared away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The projects that were asked for cannot be created.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The PostHog behind the server must not be used.
    #[error(transparent)]
    Upstream(#[from] reelcase_upstream::CheckError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// No threads to serve with.
    #[error("cannot start the threads that serve connections: {0}")]
    Threads(std::io::Error),
}

/// A server that has its address. It answers only while it looks at the PostHog behind it, and once it serves.
pub struct BoundServer {
    address: SocketAddr,
    accepting: Accepting,
}

/// Accepts connections, and holds those that are open.
struct Accepting {
    listener: TcpListener,
    app: Arc<App>,
    connections: Arc<Connections>,
    places: Arc<Semaphore>,
    open: JoinSet<()>,
    workers: Workers,
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
        app.keys.load(&app.store).await?;
        app.store.clear_workshop()?;
        for key in &app.options.projects {
            // One that another project has, or had, makes none of its own.
            if app.keys.project_of(key.clone()) != *key {
                continue;
            }
            create_project(&app, key, app.clock.now_ms()).await?;
        }
        let workers = Workers::start().map_err(ServeError::Threads)?;
        let server = Self { address, accepting: Accepting::new(listener, Arc::new(app), workers) };
        server.look_at_upstream().await
    }

    /// Refuses a PostHog that must not be used. Whoever asks meanwhile is answered: that may be ourselves.
    async fn look_at_upstream(mut self) -> Result<Self, ServeError> {
        let app = Arc::clone(&self.accepting.app);
        if let Some(upstream) = &app.upstream {
            upstream.modes.load(&app.store).await?;
            tokio::select! {
                checked = upstream.check() => checked?,
                () = self.accepting.run() => {}
            }
        }
        Ok(self)
    }

    /// The address taken, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The link that opens the web app, secret included: for the operator's terminal, never for a log.
    pub fn login_url(&self) -> String {
        let app = &self.accepting.app;
        format!("{}/?token={}", app.public_url(), app.secret.expose())
    }

    /// The exports that are to be made again and again, for whoever makes them.
    pub fn schedules(&self) -> Arc<Schedules> {
        Arc::clone(&self.accepting.app.schedules)
    }

    /// Serves until `shutdown`, then lets open requests finish.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut accepting = self.accepting;
        let app = accepting.app.clone();
        let saver = tokio::spawn(save_drops_now_and_then(app.clone()));
        let sorter = tokio::spawn(sorter::run(app.clone()));
        let sender = tokio::spawn(upstream::drain(app.clone()));
        let caller = tokio::spawn(webhooks::run(app.clone()));
        if let Err(error) = share::tidy(&app.shares, &app.store).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "pictures of links that are over may be left");
        }
        tokio::select! {
            () = shutdown => {}
            () = accepting.run() => {}
        }
        accepting.finish().await;
        if let Err(error) = sender.await {
            tracing::warn!(%error, "sending to PostHog ended in disorder; what it does not have is sent again");
        }
        if let Err(error) = caller.await {
            tracing::warn!(%error, "calling webhooks ended in disorder; what was not sent is sent again");
        }
        for ended in [sorter.await, saver.await] {
            if let Err(error) = ended {
                tracing::warn!(%error, "a task of the server ended in disorder");
            }
        }
        save_drops(&app).await;
    }
}

impl Accepting {
    fn new(listener: TcpListener, app: Arc<App>, workers: Workers) -> Self {
        let places = Arc::new(Semaphore::new(app.options.connections_max));
        Self {
            listener,
            connections: Arc::new(Connections::new(app.clone(), Routes::new(app.clone()), places.clone())),
            places,
            open: JoinSet::new(),
            workers,
            app,
        }
    }

    /// Accepts connections for as long as it is polled.
    async fn run(&mut self) {
        loop {
            let accepted = tokio::select! {
                Some(_) = self.open.join_next() => continue,
                accepted = accept(&self.listener, &self.places) => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    let serving = serve_one(accepted, self.app.clone(), self.connections.clone());
                    self.open.spawn_on(serving, self.workers.next());
                }
                Err(error) => {
                    self.app.metrics.connections_refused.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts nothing more, and waits for what is under way.
    async fn finish(self) {
        let Self { listener, app, mut open, workers, .. } = self;
        drop(listener);
        app.stop();
        let finishing = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout(app.options.timeouts.shutdown, finishing).await.is_err() {
            tracing::warn!(open = open.len(), "closing connections that did not finish in time");
        }
        open.shutdown().await;
        if let Some(upstream) = &app.upstream {
            upstream.finish().await;
        }
        sorter::sort_waiting(&app).await;
        // Not before: copies of uploads are kept on these threads.
        drop(workers);
    }
}

impl std::fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Saves what was dropped now and then, until the server is stopping.
async fn save_drops_now_and_then(app: Arc<App>) {
    while tokio::time::timeout(SAVE_EVERY, app.stopped()).await.is_err() {
        save_drops(&app).await;
    }
}

async fn save_drops(app: &App) {
    if let Err(error) = app.drops.save(app.store.catalog()).await {
        tracing::warn!(%error, "cannot save the counts of what was dropped");
    }
}

/// A connection, and its place among those that may be open. No runtime watches it yet.
struct Accepted {
    stream: std::net::TcpStream,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(Accepted { stream: stream.into_std()?, peer: Peer(peer.ip()), _place: place })
}

/// Serves one connection to its end, and counts it meanwhile.
async fn serve_one(accepted: Accepted, app: Arc<App>, connections: Arc<Connections>) {
    let Accepted { stream, peer, _place } = accepted;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            app.metrics.connections_refused.fetch_add(1, Relaxed);
            return tracing::warn!(%error, "could not serve a connection");
        }
    };
    app.metrics.connections_open.fetch_add(1, Relaxed);
    connections.serve(stream, peer).await;
    app.metrics.connections_open.fetch_sub(1, Relaxed);
}
