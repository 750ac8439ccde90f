//! The store as a whole: accepts uploads, seals them, and reads recordings back.
//!
//! There is one way to read: what waits of a recording is sealed first, then its blocks are read. Sealing one
//! recording out of turn costs little, and spares every reader a second kind of source.

mod entrance;
mod error;
mod read;
mod sealer;
mod sender;
mod unsorted;

pub use error::{AcceptError, StoreError};
pub use sender::Parcel;
pub use unsorted::UnsortedFigures;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::ObjectStore;
use reelcase_format::block::BlockHead;
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::limits::Limits;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::adopt::{self, Adopted};
use crate::catalog::{BlockRow, Catalog, SqliteCatalog};
use crate::clock::Clock;
use crate::compact::{CompactionFigures, Compactor};
use crate::inbox::{DiskFiles, Files, Inbox, InboxError, InboxOptions};
use crate::known::KnownBlocks;
use crate::lock::StoreLock;
use crate::newer::{self, NewerObject};
use crate::notes::{self, Noted};
use crate::objects::{ObjectError, Objects, object_id};
use crate::pending::{GroupKey, PendingIndex};
use crate::recent::RecentFrames;
use crate::record::{self, Accepted, ItemRef};
use crate::settings::Settings;
use crate::spool::{Spool, SpoolOptions};
use crate::step::{Step, StepHook};
use crate::{abort_point, entry, maintain, seal};
pub(crate) use read::damaged;
use unsorted::UnsortedQueue;

/// Objects that are entered before the store opens. With more, as after the loss of the catalog, it opens at once and
/// enters them while it takes uploads.
const ADOPT_BEFORE_OPENING_MAX: usize = 256;

/// Where a store lies and how it behaves.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The data directory.
    pub dir: PathBuf,
    /// What this process is, for whoever finds the store held: `reelcase serve`.
    pub command: String,
    /// What one upload may be.
    pub limits: Limits,
    /// The inbox.
    pub inbox: InboxOptions,
    /// Events of the client protocol that may wait to be sealed, each taking some 150 bytes of memory. Beyond it
    /// uploads are asked to come back.
    pub pending_items_max: usize,
    /// A recording that is new, or comes back, is sealed this soon, ms.
    pub seal_age_first_ms: i64,
    /// A recording that goes on is sealed this often, ms.
    pub seal_age_ms: i64,
    /// A recording with this many bytes of uploads waiting is sealed at once.
    pub seal_bytes: u64,
    /// Whether finished recordings are compacted and dead objects swept without being asked.
    pub maintains_itself: bool,
    /// A recording is finished when nothing was added to it for this long, ms. Clients begin another one after 30
    /// minutes, and send what they have within a few more.
    pub compact_idle_ms: i64,
    /// How long a block can still be read after another has replaced it, ms: whoever plays the recording then asks for
    /// the list again.
    pub sweep_grace_ms: i64,
    /// How much may wait to be sent on to PostHog. `None` where nothing is.
    pub spool: Option<SpoolOptions>,
    /// Called between the steps of compacting and sweeping, by tests.
    pub on_step: Option<StepHook>,
}

impl StoreOptions {
    /// The defaults, for a store in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            command: "reelcase".to_owned(),
            limits: Limits::default(),
            inbox: InboxOptions::default(),
            pending_items_max: 1_000_000,
            seal_age_first_ms: 1_000,
            seal_age_ms: 30_000,
            seal_bytes: 4 << 20,
            maintains_itself: false,
            compact_idle_ms: 35 * 60 * 1_000,
            sweep_grace_ms: 10 * 60 * 1_000,
            spool: None,
            on_step: None,
        }
    }
}

/// What became of an accepted upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Events of the client protocol that were new.
    pub new_items: usize,
    /// Events that were waiting already: a retry.
    pub repeated_items: usize,
    /// Events of recordings that were deleted, which are not taken.
    pub deleted_items: usize,
}

/// A store held by this process. See the module's page.
pub struct Store {
    pub(crate) options: StoreOptions,
    clock: Arc<dyn Clock>,
    pub(crate) store_id: String,
    inbox: Arc<Inbox>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) objects: Objects,
    pending: Mutex<PendingIndex>,
    /// What nobody has looked into yet.
    unsorted: Mutex<UnsortedQueue>,
    unsorted_due: Notify,
    /// What is still to be sent on.
    spool: Mutex<Spool>,
    spooled: Notify,
    /// Held while an object is made: there is one at a time. Holds its sequence number; `None` when it is not known
    /// whether the last one was written, or what an earlier process left is not entered yet.
    pub(crate) next_seq: tokio::sync::Mutex<Option<u64>>,
    /// For whoever makes an object.
    seal_memory: Arc<Mutex<seal::Memory>>,
    /// `None` when it is not known what is written down.
    pub(crate) settings: tokio::sync::Mutex<Option<Settings>>,
    pub(crate) noted: Noted,
    /// Held while compacting or sweeping.
    pub(crate) compactor: tokio::sync::Mutex<Compactor>,
    figures: Mutex<CompactionFigures>,
    /// Why nothing can be sealed. `None` while it can.
    trouble: Mutex<Option<String>>,
    /// What a newer release wrote, and this one cannot read.
    pub(crate) newer: Mutex<Vec<NewerObject>>,
    /// The catalog does not know all objects yet.
    is_catching_up: AtomicBool,
    watchers: Mutex<HashMap<GroupKey, Arc<Notify>>>,
    pub(crate) known_blocks: KnownBlocks,
    pub(crate) recent_frames: RecentFrames,
    stopping: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _lock: StoreLock,
}

impl Store {
    /// Opens a store, creating it where there is none. Takes what an earlier process left: objects the catalog does
    /// not know are entered, uploads in the inbox wait to be sealed. A damaged catalog is set aside and made anew.
    pub async fn open(options: StoreOptions, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let dir = options.dir.clone();
        std::fs::create_dir_all(&dir).map_err(unusable(&dir))?;
        // Before anything is made or looked at, because another process may be at it.
        let lock = StoreLock::take(&dir.join("lock"), &options.command)?;
        let objects = Objects::local(&dir.join("objects"))?;
        let inbox_dir = dir.join("inbox");
        let files = DiskFiles::open(&inbox_dir).map_err(unusable(&inbox_dir))?;
        Self::open_held(options, clock, lock, Arc::new(files), objects).await
    }

    /// Opens a store whose inbox and objects are not in its directory. Everything else is as in [`Store::open`].
    pub async fn open_with(
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        inbox: Arc<dyn Files>,
        objects: Arc<dyn ObjectStore>,
    ) -> Result<Arc<Self>, StoreError> {
        std::fs::create_dir_all(&options.dir).map_err(unusable(&options.dir))?;
        let lock = StoreLock::take(&options.dir.join("lock"), &options.command)?;
        Self::open_held(options, clock, lock, inbox, Objects::remote(objects)).await
    }

    async fn open_held(
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        lock: StoreLock,
        files: Arc<dyn Files>,
        objects: Objects,
    ) -> Result<Arc<Self>, StoreError> {
        let dir = options.dir.clone();
        let store_id = adopt::store_id(&dir).map_err(unusable(&dir.join("store-id")))?;
        let (catalog, replaced) = SqliteCatalog::open_or_replace(&dir.join("catalog.sqlite"))?;
        if let Some(replaced) = replaced {
            let (aside, reason) = (replaced.aside.display().to_string(), replaced.reason.clone());
            tracing::error!(aside, reason, "the catalog was damaged; a new one is made from the objects");
            replaced.carry_over(&catalog).await?;
        }
        let mut found = Found { spool: Spool::open(&dir), ..Found::default() };
        let inbox = open_inbox(files, &options, &mut found, clock.now_ms())?;
        sync_names(&dir).map_err(unusable(&dir))?;
        let store = Arc::new(Self {
            options,
            clock,
            store_id,
            inbox: Arc::new(inbox),
            catalog: Arc::new(catalog),
            objects,
            pending: Mutex::new(found.pending),
            unsorted: Mutex::new(found.unsorted),
            unsorted_due: Notify::new(),
            spool: Mutex::new(found.spool),
            spooled: Notify::new(),
            next_seq: tokio::sync::Mutex::new(None),
            seal_memory: Arc::default(),
            settings: tokio::sync::Mutex::default(),
            noted: Noted::default(),
            compactor: tokio::sync::Mutex::default(),
            figures: Mutex::default(),
            trouble: Mutex::default(),
            newer: Mutex::default(),
            is_catching_up: AtomicBool::new(false),
            watchers: Mutex::default(),
            known_blocks: KnownBlocks::default(),
            recent_frames: RecentFrames::default(),
            stopping: watch::channel(false).0,
            tasks: Mutex::default(),
            _lock: lock,
        });
        store.load_settings().await?;
        store.load_notes().await?;
        store.take_over().await?;
        let mut tasks = vec![tokio::spawn(sealer::run(Arc::clone(&store), store.stopping.subscribe()))];
        if store.options.maintains_itself {
            tasks.push(tokio::spawn(maintain::run(Arc::clone(&store), store.stopping.subscribe())));
        }
        *locked(&store.tasks) = tasks;
        Ok(store)
    }

    /// Enters what an earlier process left, or leaves that to the sealer where it is much, or cannot be done now.
    async fn take_over(&self) -> Result<(), StoreError> {
        let mut next_seq = self.next_seq.lock().await;
        let from = self.catalog.next_object_seq().await?;
        match self.objects.list_from(&self.store_id, from).await {
            Ok(left) if left.len() <= ADOPT_BEFORE_OPENING_MAX => *next_seq = Some(self.adopt().await?),
            Ok(left) => {
                self.is_catching_up.store(true, Ordering::Relaxed);
                tracing::warn!(objects = left.len(), "the catalog is behind; it catches up while uploads are taken");
            }
            Err(error) => {
                self.is_catching_up.store(true, Ordering::Relaxed);
                tracing::warn!(error = &error as &dyn std::error::Error, "the objects cannot be listed yet");
            }
        }
        Ok(())
    }

    /// Enters the objects that the catalog does not know, and returns the next sequence number.
    pub(crate) async fn adopt(&self) -> Result<u64, StoreError> {
        let from = self.catalog.next_object_seq().await?;
        let left = self.objects.list_from(&self.store_id, from).await?;
        let mut all = self.left_as_newer().await?;
        all.retain(|object| object.seq < from);
        all.extend(left.iter().cloned());
        let is_waiting = |project: &ProjectKey, upload: &UploadId| self.pending().holds(project, upload);
        let mut adopted = adopt::enter_all(&self.objects, self.catalog.as_ref(), &all, &is_waiting).await?;
        self.remember_newer(std::mem::take(&mut adopted.newer)).await?;
        adopted.set_unreadable_aside(&self.objects).await?;
        self.is_catching_up.store(false, Ordering::Relaxed);
        // The number of one that was set aside is free again. It has to be taken: a number beyond it would be forgotten
        // with the next failure, and a write under it that comes late would meet nobody there.
        let newest = left.iter().rfind(|object| !adopted.set_aside.contains(&object.id));
        Ok(newest.map_or(from, |newest| newest.seq + 1))
    }

    /// Makes an upload durable. When this returns a receipt, what the client sent is on stable storage.
    pub async fn accept(self: &Arc<Self>, mut upload: Accepted) -> Result<Receipt, AcceptError> {
        let project = upload.project.clone();
        let is_deleted = |item: &ItemRef| item.recording.as_ref().is_some_and(|id| self.is_deleted(&project, id));
        let sent_items = upload.items.len();
        upload.items.retain(|item| !is_deleted(item));
        let taken_items = upload.items.len();
        {
            let pending = self.pending();
            if pending.item_count() >= self.options.pending_items_max {
                return Err(AcceptError::Busy { retry_after_s: 5 });
            }
            upload.items.retain(|item| !pending.holds(&project, &item.upload));
        }
        let receipt = Receipt {
            new_items: upload.items.len(),
            repeated_items: taken_items - upload.items.len(),
            deleted_items: sent_items - taken_items,
        };
        if upload.items.is_empty() && upload.onward.is_none() {
            return Ok(receipt);
        }
        // Whoever waits for this may leave before the answer, and what is in the inbox has to be known all the same.
        let store = Arc::clone(self);
        let entering = tokio::spawn(async move { store.enter(upload).await });
        entering.await.unwrap_or_else(|error| {
            let source = InboxError::disk("enter a record")(std::io::Error::other(error));
            Err(AcceptError::Failing { retry_after_s: 5, source })
        })?;
        Ok(receipt)
    }

    /// Writes an upload to the inbox, and takes note of where it lies.
    async fn enter(&self, upload: Accepted) -> Result<(), AcceptError> {
        let (head, parts) = record::encode(upload);
        let position = self.inbox.append(parts).await?;
        // Before anybody could think that the record is done with.
        if self.options.spool.is_some() && self.spool().insert(&head, position) {
            self.spooled.notify_one();
        }
        if !self.pending().insert(&head, position, self.clock.now_ms()) {
            self.let_go_sealed(position);
        }
        self.wake_watchers(&head);
        Ok(())
    }

    /// Seals what waits of one recording, so that its blocks are all there is.
    pub async fn seal_recording(self: &Arc<Self>, project: &ProjectKey, id: &RecordingId) -> Result<(), StoreError> {
        let key = GroupKey { project: project.clone(), recording: Some(id.clone()) };
        self.seal_picked(|_| vec![key]).await
    }

    /// Seals what waits of the recordings with this id, in whatever project.
    pub async fn seal_id(self: &Arc<Self>, id: &RecordingId) -> Result<(), StoreError> {
        let id = id.clone();
        let is_wanted = move |key: &GroupKey| key.recording.as_ref() == Some(&id);
        self.seal_picked(|pending| pending.keys().into_iter().filter(is_wanted).collect()).await
    }

    /// Seals everything that waits.
    pub async fn seal_all(self: &Arc<Self>) -> Result<(), StoreError> {
        self.seal_picked(|pending| pending.keys()).await
    }

    /// Seals everything and ends the store's tasks. Later uploads fail.
    pub async fn close(self: &Arc<Self>) -> Result<(), StoreError> {
        self.stopping.send_replace(true);
        let tasks = std::mem::take(&mut *locked(&self.tasks));
        for task in tasks {
            task.await.map_err(|error| ObjectError::Sync(std::io::Error::other(error)))?;
        }
        // What cannot be sealed stays in the inbox, which is to be closed all the same.
        let sealed = self.seal_all().await;
        let inbox = Arc::clone(&self.inbox);
        tokio::task::spawn_blocking(move || inbox.close())
            .await
            .map_err(|error| ObjectError::Sync(std::io::Error::other(error)))?;
        self.catalog.close().await?;
        sealed
    }

    /// What exists and who is in it.
    pub fn catalog(&self) -> &dyn Catalog {
        self.catalog.as_ref()
    }

    /// The time of day, as this store sees it.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// What one upload may be.
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Figures of the inbox, and how many events of the client protocol wait.
    pub fn waiting(&self) -> (crate::inbox::InboxStats, usize) {
        (self.inbox.stats(), self.pending().item_count())
    }

    /// Why nothing can be sealed at the moment. Uploads stay in the inbox meanwhile.
    pub fn trouble(&self) -> Option<String> {
        locked(&self.trouble).clone()
    }

    /// Whether the catalog does not know all objects yet: what it does not list may exist.
    pub fn is_catching_up(&self) -> bool {
        self.is_catching_up.load(Ordering::Relaxed)
    }

    /// The blocks of a recording, nothing left waiting.
    pub async fn blocks(self: &Arc<Self>, project: &ProjectKey, id: &RecordingId) -> Result<Vec<BlockRow>, StoreError> {
        self.seal_recording(project, id).await?;
        Ok(self.catalog.blocks(project, id).await?)
    }

    /// A block that was asked for lately, whatever recording it is of.
    pub fn known_block(&self, object: &str, block: u32) -> Option<Arc<BlockRow>> {
        self.known_blocks.get(object, block).filter(|row| !self.is_deleted(&row.project, &row.recording))
    }

    /// A block of a recording, live or, for a while, replaced: whoever plays the recording may have an old list.
    pub async fn block(
        &self,
        project: &ProjectKey,
        id: &RecordingId,
        object: &str,
        block: u32,
    ) -> Result<Option<Arc<BlockRow>>, StoreError> {
        if self.is_deleted(project, id) {
            return Ok(None);
        }
        self.known_blocks.remember(self.catalog.blocks(project, id).await?);
        let is_asked = |row: &Arc<BlockRow>| row.project == *project && row.recording == *id;
        if let Some(row) = self.known_block(object, block).filter(is_asked) {
            return Ok(Some(row));
        }
        let Ok(Some(stored_bytes)) = self.objects.stored_bytes(object).await else { return Ok(None) };
        let index = self.objects.index(object, stored_bytes).await?;
        Ok(entry::block_of(&index, object, block).map(Arc::new).filter(is_asked))
    }

    /// Forgets a recording and what waits of it. Its blocks are dead from then on, and swept like others. Says whether
    /// there was one.
    pub async fn forget_recording(
        self: &Arc<Self>,
        project: &ProjectKey,
        id: &RecordingId,
    ) -> Result<bool, StoreError> {
        self.seal_recording(project, id).await?;
        Ok(self.catalog.forget_recording(project, id, self.now_ms()).await?)
    }

    /// Wakes when something of the recording is accepted from now on.
    pub fn subscribe(&self, project: &ProjectKey, id: &RecordingId) -> Arc<Notify> {
        let key = GroupKey { project: project.clone(), recording: Some(id.clone()) };
        let mut watchers = locked(&self.watchers);
        // Those that nobody else holds are watched no more.
        watchers.retain(|_, watcher| Arc::strong_count(watcher) > 1);
        Arc::clone(watchers.entry(key).or_default())
    }

    /// Makes the catalog anew from the objects, and new objects of what can be read of those without an index. The
    /// store must not be open.
    pub async fn rebuild(dir: &Path, command: &str) -> Result<Adopted, StoreError> {
        let _lock = StoreLock::take(&dir.join("lock"), command)?;
        let path = dir.join("catalog.sqlite");
        let (catalog, replaced) = SqliteCatalog::open_anew(&path)?;
        let aside = replaced.aside.clone();
        replaced.carry_over(&catalog).await?;
        let objects = Objects::local(&dir.join("objects"))?;
        Settings::read(&objects, None).await?.apply(&catalog).await?;
        // What was deleted must not be entered again.
        notes::enter_into(&objects, &catalog).await?;
        let listed = objects.list().await?;
        // Whether the newest was finished is for the next start to say, which knows what waits in the inbox.
        let mut adopted = adopt::enter_all(&objects, &catalog, &listed, &|_, _| false).await?;
        let next_seq = listed.last().map_or(0, |newest| newest.seq + 1);
        adopted.salvage_unreadable(&objects, &catalog, next_seq).await?;
        newer::remember(&catalog, &adopted.newer).await?;
        catalog.close().await?;
        SqliteCatalog::delete(&aside)
            .map_err(|source| StoreError::Directory { path: aside.display().to_string(), source })?;
        Ok(adopted)
    }

    /// Lays a `.reel` file into a new store's directory, to be entered when the store is opened. `number` counts the
    /// files from 0, and is the order in which they are entered.
    pub async fn place_object(dir: &Path, file: &Path, number: u64) -> Result<(), StoreError> {
        let unusable = |source| StoreError::Directory { path: file.display().to_string(), source };
        let store_id = adopt::store_id(dir).map_err(unusable)?;
        let objects = Objects::local(&dir.join("objects"))?;
        let id = object_id(&store_id, number);
        Settings::begin(&objects, &store_id).await?;
        // However large it is, it is never in memory.
        let (from, unfinished) = (file.to_owned(), objects.unfinished(dir));
        let to = unfinished.clone();
        let copied = tokio::task::spawn_blocking(move || {
            let mut copy = std::fs::File::create(&to)?;
            let stored_bytes = std::io::copy(&mut std::fs::File::open(&from)?, &mut copy)?;
            copy.sync_all()?;
            std::io::Result::Ok(stored_bytes)
        });
        let stored_bytes = copied.await.map_err(std::io::Error::other).flatten().map_err(unusable)?;
        objects.place(&unfinished, &id).await?;
        objects.index(&id, stored_bytes).await?;
        Ok(())
    }

    pub(crate) fn figures(&self) -> MutexGuard<'_, CompactionFigures> {
        locked(&self.figures)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends long work when the store is being closed.
    pub(crate) fn check_stopping(&self) -> Result<(), StoreError> {
        if self.is_stopping() { Err(StoreError::Stopping) } else { Ok(()) }
    }

    pub(crate) fn step(&self, step: Step) {
        abort_point!(step.name());
        if let Some(hook) = &self.options.on_step {
            hook.call(step);
        }
    }

    fn pending(&self) -> MutexGuard<'_, PendingIndex> {
        locked(&self.pending)
    }

    fn wake_watchers(&self, head: &record::RecordHead) {
        let watchers = locked(&self.watchers);
        if watchers.is_empty() {
            return;
        }
        for item in head.items() {
            let key = GroupKey { project: head.project.clone(), recording: item.recording.clone() };
            if let Some(watcher) = watchers.get(&key) {
                watcher.notify_waiters();
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.options.dir).finish_non_exhaustive()
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an earlier process left in the inbox.
#[derive(Default)]
struct Found {
    pending: PendingIndex,
    unsorted: UnsortedQueue,
    spool: Spool,
}

fn open_inbox(
    files: Arc<dyn Files>,
    options: &StoreOptions,
    found: &mut Found,
    now_ms: i64,
) -> Result<Inbox, StoreError> {
    let Found { pending, unsorted, spool } = found;
    let mut useless = Vec::new();
    let mut segments = HashSet::new();
    let mut unsent = 0_u64;
    let (inbox, recovery) =
        Inbox::open(files, options.inbox.clone(), |position, record| match record::decode(&record) {
            Ok((head, _)) => {
                segments.insert(position.segment);
                if head.items.is_none() {
                    return unsorted.push(position, now_ms);
                }
                let is_to_send = match options.spool {
                    Some(_) => spool.insert(&head, position),
                    None => {
                        unsent += u64::from(head.onward.is_some());
                        false
                    }
                };
                let is_to_seal = pending.insert(&head, position, now_ms);
                if !is_to_seal && (!is_to_send || spool.sealed(position)) {
                    useless.push(position);
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, ?position, "an inbox record cannot be read");
            }
        })?;
    useless.into_iter().for_each(|position| inbox.release(position));
    spool.keep_segments(|segment| segments.contains(&segment));
    if unsent > 0 {
        tracing::error!(uploads = unsent, "without --upstream, uploads that wait for PostHog are not sent to it");
    }
    for damage in &recovery.damage {
        tracing::warn!(?damage, "the inbox is damaged; what is readable is kept");
    }
    Ok(inbox)
}

/// A block's head, as far as decoding needs it.
pub(crate) fn head_of(row: &BlockRow) -> BlockHead {
    BlockHead {
        project: row.project.clone(),
        recording: Some(row.recording.clone()),
        kind: row.kind,
        start_ms: row.start_ms,
        end_ms: row.end_ms,
        event_count: row.event_count,
        plain_bytes: row.plain_bytes,
        stored_bytes: row.stored_bytes,
        windows: row.windows.clone(),
        keyframes: row.keyframes.clone(),
        uploads: Vec::new(),
        hash: row.hash,
        other: serde_json::Map::new(),
    }
}

/// Syncs the names in a new store's directory, and its own: a power cut must not take the inbox with its directory.
fn sync_names(dir: &Path) -> std::io::Result<()> {
    let dir = dir.canonicalize()?;
    std::fs::File::open(&dir)?.sync_all()?;
    dir.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| StoreError::Directory { path, source }
}
