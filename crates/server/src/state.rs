//! What every request can reach.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, RwLock};

use reelcase_format::id::ProjectKey;
use reelcase_store::document::Document;
use reelcase_store::{Clock, Store};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::access::Access;
use crate::capture::Budget;
use crate::collections::{Collections, Filters};
use crate::config::{ConfigError, Secret, ServerOptions};
use crate::drops::Drops;
use crate::error::Failure;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::schedules::Schedules;
use crate::scripts::PackedScripts;
use crate::share::{Passes, Shares};
use crate::upstream::Upstream;
use crate::webhooks::{Sender, Webhooks};

/// The running server, shared by all requests.
pub struct App {
    pub(crate) options: ServerOptions,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) secret: Secret,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
    pub(crate) drops: Drops,
    /// Bytes of bodies that may still come into memory.
    pub(crate) budget: Budget,
    /// Bytes that large uploads may still inflate to, all together.
    pub(crate) inflating: Budget,
    /// Places for work that would hold up an async thread: inflating and scanning large bodies.
    pub(crate) heavy: Semaphore,
    /// Held while copies of uploads are sorted.
    pub(crate) sorting: Mutex<()>,
    /// Held while a file is imported: one at a time, so that of two with the same recording one comes first.
    pub(crate) importing: Mutex<()>,
    /// Projects seen to exist, so that an upload costs no catalog read. Projects are never deleted.
    pub(crate) known_projects: RwLock<HashSet<ProjectKey>>,
    /// Which keys record into which of them.
    pub(crate) keys: Keys,
    /// Scripts that were compressed before.
    pub(crate) packed_scripts: PackedScripts,
    /// Exports that are made again and again.
    pub(crate) schedules: Arc<Schedules>,
    /// Links to recordings.
    pub(crate) shares: Shares,
    pub(crate) passes: Passes,
    /// What people arranged.
    pub(crate) collections: Document<Collections>,
    pub(crate) saved_filters: Document<Filters>,
    pub(crate) webhooks: Webhooks,
    pub(crate) sender: Sender,
    /// The PostHog behind this server.
    pub(crate) upstream: Option<Upstream>,
    stopping: watch::Sender<bool>,
}

impl App {
    /// Checks the options and prepares the state. `clock` says when uploads arrive.
    pub fn new(mut options: ServerOptions, store: Arc<Store>, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let secret = options.settle()?;
        let upstream = options.upstream.take().map(Upstream::new).transpose()?;
        let webhooks = Webhooks::new(std::mem::take(&mut options.webhooks));
        let sender = Sender::new(webhooks.reach())?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            access: Access::new(&secret, options.listen.ip().is_loopback() && options.public_url.is_none()),
            budget: Budget::new(options.body_bytes_in_flight_max),
            inflating: Budget::new(options.inflated_bytes_in_flight_max),
            heavy: Semaphore::new(threads),
            sorting: Mutex::default(),
            importing: Mutex::default(),
            known_projects: RwLock::default(),
            keys: Keys::default(),
            packed_scripts: PackedScripts::default(),
            schedules: Arc::new(Schedules::new(Arc::clone(&store), Arc::clone(&clock), options.exports_dir.clone())),
            shares: Shares::default(),
            passes: Passes::new(&secret),
            collections: Document::default(),
            saved_filters: Document::default(),
            metrics: Metrics::default(),
            drops: Drops::default(),
            webhooks,
            sender,
            upstream,
            stopping: watch::Sender::new(false),
            options,
            store,
            clock,
            secret,
        })
    }

    /// Where browsers reach the server, path prefix included, without a slash at the end.
    pub(crate) fn public_url(&self) -> String {
        let base = match &self.options.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.options.listen),
        };
        format!("{base}{}", self.options.path_prefix)
    }

    /// Runs what would hold up an async thread elsewhere, as many at once as there are processors.
    pub(crate) async fn heavy_work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let _place = self.heavy.acquire().await.map_err(|_| Failure::Stopping)?;
        off_thread(work).await
    }

    /// Tells requests that wait for something new to come to an end.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves once the server is stopping.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as the app, so the wait can only end by the value.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}

/// Runs what would hold up an async thread elsewhere.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::Stopping)
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("options", &self.options).finish_non_exhaustive()
    }
}
