//! The catalog in a SQLite file.
//!
//! One thread writes, fed by a bounded queue, because SQLite has one writer at a time and queueing in front of it
//! beats waiting for its lock. A few connections read; with a write-ahead log they neither wait for the writer nor
//! hold it up. A reader is lent to a blocking thread for one query.
//!
//! `synchronous=NORMAL` may lose the last commits in a power cut, and never tears one. That is enough here: what was
//! lost is entered again from the objects, from `next_object_seq` on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    BlockRow, Candidate, Catalog, CatalogCommit, CatalogError, Committed, DeletedRecording, DropCount, EndedAt,
    ListQuery, ObjectRow, Page, Part, Person, Project, RecordingRow, TagCount, commit, damage, dump, forget, notes,
    parts, persons, query, rows,
};
use crate::notes::Kept;

/// Each migration makes a file of its index's version one of the next.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("schema-2.sql")];

/// Writes that may wait for the writer; more callers wait for room in the queue.
const WRITES_WAITING_MAX: usize = 64;

/// Connections that read at the same time.
const READERS: u32 = 4;

/// How long a connection waits for another process, such as a backup, to let go of the file.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Page caches in KiB; negative because SQLite would take a positive number for pages. They are small, because what
/// they miss the system has in memory, and there it counts once, not for each connection.
const WRITER_CACHE_KIB: i64 = -2 * 1024;
const READER_CACHE_KIB: i64 = -1024;

/// A [`Catalog`] in one SQLite file (and its `-wal` and `-shm` while it is open).
#[derive(Debug)]
pub struct SqliteCatalog {
    path: Arc<Path>,
    writer: mpsc::Sender<Job>,
    readers: Arc<Readers>,
}

/// What went wrong inside of a transaction, before it is known which file that was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A value that this catalog did not write.
    #[error("{0}")]
    Unreadable(String),
    #[error("bad cursor")]
    BadCursor,
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<reelcase_format::id::IdError> for Failure {
    fn from(error: reelcase_format::id::IdError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

enum Job {
    Run(Box<dyn FnOnce(&mut Connection) + Send>),
    Close(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl SqliteCatalog {
    /// Opens the catalog, or creates it where there is no file. Blocks.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CatalogError> {
        let path: Arc<Path> = path.into().into();
        let mut connection = connect(&path, WRITER_CACHE_KIB).map_err(|error| explain(&path, error.into()))?;
        migrate(&mut connection, &path)?;
        let mut idle = Vec::new();
        for _ in 0..READERS {
            idle.push(connect(&path, READER_CACHE_KIB).map_err(|error| explain(&path, error.into()))?);
        }
        let (writer, jobs) = mpsc::channel(WRITES_WAITING_MAX);
        thread::Builder::new()
            .name("catalog-writer".to_owned())
            .spawn(move || write(connection, jobs))
            .map_err(|error| CatalogError::Unavailable { path: show(&path), reason: error.to_string() })?;
        let readers = Arc::new(Readers { idle: Mutex::new(idle), permits: Arc::new(Semaphore::new(READERS as usize)) });
        Ok(Self { path, writer, readers })
    }

    /// Deletes the files of a closed catalog, so that the next [`SqliteCatalog::open`] starts an empty one. Tolerates
    /// that they are gone.
    pub fn delete(path: &Path) -> std::io::Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            match std::fs::remove_file(PathBuf::from(file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs one transaction on the writer. It commits if `change` succeeds, even when the caller stops waiting.
    async fn write<T, F>(&self, change: F) -> Result<T, CatalogError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (done, outcome) = oneshot::channel();
        let job = Job::Run(Box::new(move |connection| {
            let changed = in_transaction(connection, TransactionBehavior::Immediate, change);
            // Nobody listens when the caller was cancelled; the change stands all the same.
            let _ = done.send(changed);
        }));
        self.writer.send(job).await.map_err(|_| CatalogError::Closed)?;
        let changed = outcome.await.map_err(|_| CatalogError::Closed)?;
        changed.map_err(|failure| self.explain(failure))
    }

    /// Runs one transaction on a reader; all its statements see the same state.
    async fn read<T, F>(&self, look: F) -> Result<T, CatalogError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (path, readers) = (Arc::clone(&self.path), Arc::clone(&self.readers));
        let permit = Arc::clone(&readers.permits).acquire_owned().await.map_err(|_| CatalogError::Closed)?;
        let seen = tokio::task::spawn_blocking(move || {
            // The permit stays with the query, which goes on when the caller stops waiting.
            let _permit = permit;
            let mut connection = match readers.take() {
                Some(connection) => connection,
                // An earlier query panicked and took its connection with it.
                None => connect(&path, READER_CACHE_KIB).map_err(|error| explain(&path, error.into()))?,
            };
            let seen = in_transaction(&mut connection, TransactionBehavior::Deferred, look);
            readers.put(connection);
            Ok(seen)
        });
        seen.await.map_err(|_| CatalogError::Closed)??.map_err(|failure| self.explain(failure))
    }

    /// Names the file; damage is remembered for the next start.
    fn explain(&self, failure: Failure) -> CatalogError {
        let error = explain(&self.path, failure);
        if matches!(error, CatalogError::Damaged { .. }) {
            damage::suspect(&self.path);
        }
        error
    }
}

impl Readers {
    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn next_object_seq(&self) -> Result<u64, CatalogError> {
        self.read(rows::next_object_seq).await
    }

    async fn commit(&self, commit: CatalogCommit) -> Result<Committed, CatalogError> {
        self.write(move |db| commit::enter(db, commit)).await
    }

    async fn objects(&self) -> Result<Vec<ObjectRow>, CatalogError> {
        self.read(rows::objects).await
    }

    async fn dead_objects(&self, dead_since_ms: i64) -> Result<Vec<ObjectRow>, CatalogError> {
        self.read(move |db| rows::dead_objects(db, dead_since_ms)).await
    }

    async fn objects_to_carry(&self, limit: usize) -> Result<Vec<ObjectRow>, CatalogError> {
        self.read(move |db| rows::objects_to_carry(db, limit)).await
    }

    async fn forget_object(&self, key: &str) -> Result<(), CatalogError> {
        let key = key.to_owned();
        self.write(move |db| rows::forget_object(db, &key)).await
    }

    async fn forget_recording(
        &self,
        project: &ProjectKey,
        id: &RecordingId,
        now_ms: i64,
    ) -> Result<bool, CatalogError> {
        let (project, id) = (project.clone(), id.clone());
        self.write(move |db| forget::recording(db, &project, &id, now_ms)).await
    }

    async fn sealed_uploads(&self, project: &ProjectKey, uploads: &[UploadId]) -> Result<Vec<bool>, CatalogError> {
        let (project, uploads) = (project.clone(), uploads.to_vec());
        self.read(move |db| rows::sealed_uploads(db, &project, &uploads)).await
    }

    async fn forget_uploads(&self, sealed_before_ms: i64) -> Result<u64, CatalogError> {
        self.write(move |db| rows::forget_uploads(db, sealed_before_ms)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page, CatalogError> {
        self.read(move |db| query::list(db, &query)).await
    }

    async fn count(&self, query: ListQuery) -> Result<u64, CatalogError> {
        self.read(move |db| query::count_of(db, &query)).await
    }

    async fn ended(&self, after: EndedAt, until_ms: i64, limit: usize) -> Result<Vec<EndedAt>, CatalogError> {
        self.read(move |db| query::ended(db, &after, until_ms, limit)).await
    }

    async fn get(&self, project: &ProjectKey, id: &RecordingId) -> Result<Option<RecordingRow>, CatalogError> {
        let (project, id) = (project.clone(), id.clone());
        self.read(move |db| query::get(db, &project, &id)).await
    }

    async fn find(&self, id: &RecordingId) -> Result<Vec<RecordingRow>, CatalogError> {
        let id = id.clone();
        self.read(move |db| query::find(db, &id)).await
    }

    async fn blocks(&self, project: &ProjectKey, id: &RecordingId) -> Result<Vec<BlockRow>, CatalogError> {
        let (project, id) = (project.clone(), id.clone());
        self.read(move |db| rows::blocks(db, &project, &id)).await
    }

    async fn compaction_candidates(&self, idle_since_ms: i64, limit: usize) -> Result<Vec<Candidate>, CatalogError> {
        self.read(move |db| parts::candidates(db, idle_since_ms, limit)).await
    }

    async fn erasure_candidates(&self, limit: usize) -> Result<Vec<Candidate>, CatalogError> {
        self.read(move |db| parts::erasure_candidates(db, limit)).await
    }

    async fn is_erasing(&self) -> Result<bool, CatalogError> {
        self.read(notes::is_erasing).await
    }

    async fn notes(&self, project: &ProjectKey, id: &RecordingId) -> Result<Option<Kept>, CatalogError> {
        let (project, id) = (project.clone(), id.clone());
        self.read(move |db| notes::of(db, &project, &id)).await
    }

    async fn put_notes(&self, kept: Kept, now_ms: i64) -> Result<(), CatalogError> {
        self.write(move |db| notes::put(db, &kept, now_ms)).await
    }

    async fn notes_of_shard(&self, shard: u8) -> Result<Vec<Kept>, CatalogError> {
        self.read(move |db| notes::of_shard(db, shard)).await
    }

    async fn put_notes_of_shard(&self, shard: u8, kept: Vec<Kept>, now_ms: i64) -> Result<(), CatalogError> {
        self.write(move |db| notes::put_shard(db, shard, &kept, now_ms)).await
    }

    async fn shards_noted(&self) -> Result<Vec<u8>, CatalogError> {
        self.read(notes::shards).await
    }

    async fn deleted_recordings(&self) -> Result<Vec<DeletedRecording>, CatalogError> {
        self.read(notes::deleted).await
    }

    async fn tags(&self, project: Option<&ProjectKey>) -> Result<Vec<TagCount>, CatalogError> {
        let project = project.cloned();
        self.read(move |db| notes::tags(db, project.as_ref())).await
    }

    async fn parts(&self, project: &ProjectKey, id: &RecordingId) -> Result<Vec<Part>, CatalogError> {
        let (project, id) = (project.clone(), id.clone());
        self.read(move |db| parts::parts(db, &project, &id)).await
    }

    async fn projects(&self) -> Result<Vec<Project>, CatalogError> {
        self.read(rows::projects).await
    }

    async fn project(&self, key: &ProjectKey) -> Result<Option<Project>, CatalogError> {
        let key = key.clone();
        self.read(move |db| rows::project(db, &key)).await
    }

    async fn create_project(&self, project: Project) -> Result<Project, CatalogError> {
        self.write(move |db| rows::create_project(db, project)).await
    }

    async fn rename_project(&self, key: &ProjectKey, name: &str) -> Result<(), CatalogError> {
        let (key, name) = (key.clone(), name.to_owned());
        self.write(move |db| rows::rename_project(db, &key, &name)).await
    }

    async fn person(&self, project: &ProjectKey, distinct_id: &str) -> Result<Option<Person>, CatalogError> {
        let (project, distinct_id) = (project.clone(), distinct_id.to_owned());
        self.read(move |db| persons::by_distinct_id(db, &project, &distinct_id)).await
    }

    async fn add_drops(&self, drops: &[DropCount]) -> Result<(), CatalogError> {
        let drops = drops.to_vec();
        self.write(move |db| rows::add_drops(db, &drops)).await
    }

    async fn drops(&self) -> Result<Vec<DropCount>, CatalogError> {
        self.read(rows::drops).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, CatalogError> {
        let name = name.to_owned();
        self.read(move |db| rows::setting(db, &name)).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, CatalogError> {
        self.read(rows::settings).await
    }

    async fn set_setting(&self, name: &str, value: &str) -> Result<(), CatalogError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |db| rows::set_setting(db, &name, &value)).await
    }

    async fn dump(&self) -> Result<Value, CatalogError> {
        self.read(dump::dump).await
    }

    async fn close(&self) -> Result<(), CatalogError> {
        // Running queries give their connections back first. The last connection to close removes the write-ahead log,
        // and that has to be the writer's.
        if let Ok(all) = self.readers.permits.acquire_many(READERS).await {
            self.readers.permits.close();
            drop(all);
        }
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let (done, closed) = oneshot::channel();
        if self.writer.send(Job::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
        Ok(())
    }
}

/// The writer's thread. Ends when the catalog is closed or dropped.
fn write(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Run(run) => run(&mut connection),
            Job::Close(done) => {
                // Without this, SQLite would never collect the statistics that its planner uses.
                if let Err(error) = connection.execute_batch("PRAGMA optimize") {
                    tracing::warn!(%error, "the catalog's statistics could not be renewed");
                }
                drop(connection);
                let _ = done.send(());
                return;
            }
        }
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn connect(path: &Path, cache_kib: i64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "cache_size", cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Brings the file to the newest version, in one transaction: a file is of one version or the other.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), CatalogError> {
    let newest = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found = in_transaction(connection, TransactionBehavior::Immediate, |db| {
        let found: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        for migration in MIGRATIONS.iter().skip(done) {
            db.execute_batch(migration)?;
        }
        if found < newest {
            db.pragma_update(None, "user_version", newest)?;
        }
        Ok(found)
    });
    match found {
        Ok(found) if found > newest => Err(CatalogError::TooNew { found, newest, path: show(path) }),
        Ok(_) => Ok(()),
        Err(failure) => Err(explain(path, failure)),
    }
}

fn explain(path: &Path, failure: Failure) -> CatalogError {
    let (path, reason) = (show(path), failure.to_string());
    let error = match failure {
        Failure::BadCursor => return CatalogError::BadCursor,
        Failure::Unreadable(_) => return CatalogError::Damaged { path, reason },
        Failure::Sqlite(error) => error,
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch) => {
            CatalogError::Damaged { path, reason }
        }
        // A table is missing, or already there, in a file whose version says otherwise.
        Some(ErrorCode::Unknown) => CatalogError::Damaged { path, reason },
        _ => CatalogError::Unavailable { path, reason },
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
