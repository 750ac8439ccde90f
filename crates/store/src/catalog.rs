//! The catalog: what exists, where it is stored, and who is in it, in a database that can be queried.
//!
//! **The objects are the truth; the catalog follows.** Each object is entered by one [`CatalogCommit`], in one
//! transaction and in the order of the objects' sequence numbers. Entering an object a second time changes nothing, so
//! after a crash everything from [`Catalog::next_object_seq`] on is simply entered again, and a catalog that was lost
//! is rebuilt by entering all objects that are left into an empty one: [`Catalog::dump`] of both is then equal.
//!
//! **A recording's summary is the merge of the summaries of those objects that hold its live blocks.** Compaction thus
//! needs no special case: its object brings a summary and replaces blocks, and with the last block of an object goes
//! what that object said. The rule holds however many of the older objects are already swept.
//!
//! An object without live blocks is dead; [`Catalog::dead_objects`] names it until [`Catalog::forget_object`]. Blocks
//! of no
//! recording keep their object alive, until another object carries them.
//!
//! **Persons are sets of distinct ids, and the order in which changes arrive does not matter.** A merge is a union. A
//! property is what the latest `$set` by event time says, or else the earliest `$set_once`; equal times are settled by
//! the value itself.

mod commit;
mod damage;
mod dump;
mod forget;
mod notes;
mod parts;
mod persons;
mod query;
mod rows;
mod sqlite;

use async_trait::async_trait;
use reelcase_format::block::{BlockHash, BlockKind, Keyframe};
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::reel::BlockRef;
use reelcase_format::summary::Summary;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::notes::Kept;

pub use sqlite::SqliteCatalog;

/// Most recordings on one [`Page`]; a larger [`ListQuery::limit`] counts as this one.
pub const PAGE_RECORDINGS_MAX: usize = 200;

/// What the server asks of its database. Every method is one transaction of its own.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// The sequence number after that of the newest object which was entered; 0 in an empty catalog.
    async fn next_object_seq(&self) -> Result<u64, CatalogError>;

    /// Enters one object. Objects are entered in the order of their sequence numbers.
    async fn commit(&self, commit: CatalogCommit) -> Result<Committed, CatalogError>;

    /// All objects that were entered and not forgotten, by sequence number.
    async fn objects(&self) -> Result<Vec<ObjectRow>, CatalogError>;

    /// Objects without a live block since `dead_since_ms` or longer, by sequence number.
    async fn dead_objects(&self, dead_since_ms: i64) -> Result<Vec<ObjectRow>, CatalogError>;

    /// Objects that would be dead but for blocks of no recording, oldest first. Those that the compactor wrote for
    /// nothing else are left out: carrying them again would gain nothing.
    async fn objects_to_carry(&self, limit: usize) -> Result<Vec<ObjectRow>, CatalogError>;

    /// Forgets a dead object, once its file is gone. Does nothing when it is unknown, or has live blocks.
    async fn forget_object(&self, key: &str) -> Result<(), CatalogError>;

    /// Forgets a recording, whose blocks are dead from then on. Says whether there was one. A catalog made anew knows it
    /// again until the objects that held it are swept.
    async fn forget_recording(&self, project: &ProjectKey, id: &RecordingId, now_ms: i64)
    -> Result<bool, CatalogError>;

    /// For each upload, whether an object holds it already.
    async fn sealed_uploads(&self, project: &ProjectKey, uploads: &[UploadId]) -> Result<Vec<bool>, CatalogError>;

    /// Forgets the uploads that were sealed before `sealed_before_ms`, and says how many those were. A client that
    /// sends one of them again is not recognised any more.
    async fn forget_uploads(&self, sealed_before_ms: i64) -> Result<u64, CatalogError>;

    /// One page of recordings, newest first unless the query says otherwise.
    async fn list(&self, query: ListQuery) -> Result<Page, CatalogError>;

    /// How many recordings a query finds, whatever its limit and cursor.
    async fn count(&self, query: ListQuery) -> Result<u64, CatalogError>;

    /// Recordings to which nothing was added after `until_ms`: those after `after`, in the order of their last addition.
    async fn ended(&self, after: EndedAt, until_ms: i64, limit: usize) -> Result<Vec<EndedAt>, CatalogError>;

    /// One recording, if the project has it.
    async fn get(&self, project: &ProjectKey, id: &RecordingId) -> Result<Option<RecordingRow>, CatalogError>;

    /// The recordings of this id in all projects, by project key: one at most, unless two projects chose the same id.
    async fn find(&self, id: &RecordingId) -> Result<Vec<RecordingRow>, CatalogError>;

    /// The live blocks of a recording by start, then object, then position in the object.
    async fn blocks(&self, project: &ProjectKey, id: &RecordingId) -> Result<Vec<BlockRow>, CatalogError>;

    /// Recordings that nothing was added to since `idle_since_ms` and that have blocks in batch objects, those idle for
    /// longest first.
    async fn compaction_candidates(&self, idle_since_ms: i64, limit: usize) -> Result<Vec<Candidate>, CatalogError>;

    /// Recordings that share a compacted object with blocks of deleted ones, those of the oldest objects first.
    async fn erasure_candidates(&self, limit: usize) -> Result<Vec<Candidate>, CatalogError>;

    /// Whether any object may hold blocks of a deleted recording.
    async fn is_erasing(&self) -> Result<bool, CatalogError>;

    /// The parts that a recording consists of now, by object.
    async fn parts(&self, project: &ProjectKey, id: &RecordingId) -> Result<Vec<Part>, CatalogError>;

    /// What is kept of a recording beside its objects.
    async fn notes(&self, project: &ProjectKey, id: &RecordingId) -> Result<Option<Kept>, CatalogError>;

    /// Writes what is kept of a recording. One that was deleted is forgotten, and not entered again.
    async fn put_notes(&self, kept: Kept, now_ms: i64) -> Result<(), CatalogError>;

    /// All that one file of notes holds.
    async fn notes_of_shard(&self, shard: u8) -> Result<Vec<Kept>, CatalogError>;

    /// Makes `kept` all that one file of notes holds.
    async fn put_notes_of_shard(&self, shard: u8, kept: Vec<Kept>, now_ms: i64) -> Result<(), CatalogError>;

    /// Which files of notes hold anything.
    async fn shards_noted(&self) -> Result<Vec<u8>, CatalogError>;

    /// Recordings that were deleted, those longest ago first.
    async fn deleted_recordings(&self) -> Result<Vec<DeletedRecording>, CatalogError>;

    /// The tags of a project's recordings, or of all, by name.
    async fn tags(&self, project: Option<&ProjectKey>) -> Result<Vec<TagCount>, CatalogError>;

    /// All projects, by key.
    async fn projects(&self) -> Result<Vec<Project>, CatalogError>;

    /// The project with this key.
    async fn project(&self, key: &ProjectKey) -> Result<Option<Project>, CatalogError>;

    /// Creates a project, or leaves the one that has the key as it is, and returns what is there now.
    async fn create_project(&self, project: Project) -> Result<Project, CatalogError>;

    /// Gives a project another name. Does nothing where there is none.
    async fn rename_project(&self, key: &ProjectKey, name: &str) -> Result<(), CatalogError>;

    /// The person whom this distinct id belongs to.
    async fn person(&self, project: &ProjectKey, distinct_id: &str) -> Result<Option<Person>, CatalogError>;

    /// Adds to the counts of what was dropped.
    async fn add_drops(&self, drops: &[DropCount]) -> Result<(), CatalogError>;

    /// What was dropped since the catalog exists, by reason.
    async fn drops(&self) -> Result<Vec<DropCount>, CatalogError>;

    /// Reads a setting.
    async fn setting(&self, name: &str) -> Result<Option<String>, CatalogError>;

    /// All settings, by name.
    async fn settings(&self) -> Result<Vec<(String, String)>, CatalogError>;

    /// Writes a setting.
    async fn set_setting(&self, name: &str, value: &str) -> Result<(), CatalogError>;

    /// All that can be rebuilt from objects, in an order that depends on nothing else. For comparing two catalogs.
    async fn dump(&self) -> Result<Value, CatalogError>;

    /// Finishes what was begun, tidies the files and ends the threads. Later calls fail with [`CatalogError::Closed`].
    async fn close(&self) -> Result<(), CatalogError>;
}

/// Why the catalog did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file is no database, or not a whole one. The recordings are safe in their objects.
    #[error("the catalog is damaged: {reason}: {path}\nhint: restart the server; it makes a new one from the objects")]
    Damaged {
        /// The database file.
        path: String,
        /// What SQLite says.
        reason: String,
    },
    /// Written by a newer release. Upgrade, or rebuild with this one.
    #[error("the catalog has version {found}, newer than the newest supported, {newest}: {path}")]
    TooNew {
        /// The version of the file.
        found: u32,
        /// The version this release writes.
        newest: u32,
        /// The database file.
        path: String,
    },
    /// The cursor is not one that a page ended with.
    #[error("the cursor is not one this catalog gave out")]
    BadCursor,
    /// The catalog was closed.
    #[error("the catalog is closed")]
    Closed,
    /// The database refused: the disk is full, read-only or gone. Trying again may help.
    #[error("the catalog cannot be used: {reason}: {path}")]
    Unavailable {
        /// The database file.
        path: String,
        /// What SQLite says.
        reason: String,
    },
}

/// Whether a commit changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The object is entered now.
    Entered,
    /// The object was entered before; nothing changed.
    AlreadyEntered,
}

/// What an object was written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// The sealer: what many recordings were sending at the time, in small blocks.
    Batch,
    /// The compactor: finished recordings, in large blocks.
    Compacted,
}

/// A stored file of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Position in the order in which objects are entered.
    pub seq: u64,
    /// Names the object; what [`BlockRef::object`] means.
    pub key: String,
    /// What wrote it.
    pub kind: ObjectKind,
    /// Length of the file.
    pub stored_bytes: u64,
    /// How many recordings it holds blocks of.
    pub recording_count: u64,
}

/// Everything that one object changes.
#[derive(Debug, Clone)]
pub struct CatalogCommit {
    /// The object.
    pub object: ObjectRow,
    /// What it holds of each recording.
    pub recordings: Vec<RecordingDelta>,
    /// Its blocks. Each belongs to one of `recordings`.
    pub blocks: Vec<BlockRow>,
    /// How many blocks it holds that belong to no recording.
    pub project_block_count: u64,
    /// Keys of the objects whose blocks of no recording are in this one. Those that are not known are passed over.
    pub carried: Vec<String>,
    /// The uploads its blocks hold.
    pub uploads: Vec<SealedUpload>,
    /// What it says of persons.
    pub persons: Vec<PersonChange>,
    /// When the object was made, server clock.
    pub now_ms: i64,
}

/// When something was last added to a recording, and a place in the order of that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedAt {
    /// When, server clock.
    pub updated_at_ms: i64,
    /// The recording's id.
    pub recording: String,
    /// Key of its project.
    pub project: String,
}

/// What one object holds of one recording.
#[derive(Debug, Clone)]
pub struct RecordingDelta {
    /// The project it belongs to; created when it is unknown.
    pub project: ProjectKey,
    /// The recording; created when it is unknown.
    pub id: RecordingId,
    /// Summary of the blocks in this object, in a compacted object too.
    pub summary: Summary,
    /// When the last upload in it was sealed, server clock.
    pub updated_at_ms: i64,
    /// Its blocks of earlier objects that are now superfluous. Those that are not known are passed over.
    pub replaces: Vec<BlockRef>,
}

/// A recording that may be compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The project it belongs to.
    pub project: ProjectKey,
    /// Its id.
    pub id: RecordingId,
    /// When something was last added, server clock.
    pub updated_at_ms: i64,
    /// Length of all its live blocks.
    pub stored_bytes: u64,
}

/// What one object holds of a recording, as long as any of it is live.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The object.
    pub object: ObjectRow,
    /// The figures of the part.
    pub summary: Summary,
    /// The uploads in it that are not forgotten.
    pub uploads: Vec<UploadId>,
    /// Whether the object also holds blocks of a deleted recording.
    pub is_to_erase: bool,
    /// Blocks of objects that still exist and whose lines are in this part, not in those blocks.
    pub replaces: Vec<BlockRef>,
    /// The live blocks, by position in the object.
    pub blocks: Vec<BlockRow>,
}

/// Where one block is, and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRow {
    /// The project it belongs to.
    pub project: ProjectKey,
    /// The recording it belongs to.
    pub recording: RecordingId,
    /// [`ObjectRow::key`] of the object that holds it.
    pub object: String,
    /// Position among the blocks of the object.
    pub block: u32,
    /// Where its zstd frame starts in the object.
    pub offset: u64,
    /// Length of the zstd frame.
    pub stored_bytes: u64,
    /// Length of its lines.
    pub plain_bytes: u64,
    /// Earliest timestamp, client clock.
    pub start_ms: i64,
    /// Latest timestamp, client clock.
    pub end_ms: i64,
    /// How many lines it holds.
    pub event_count: u64,
    /// The windows with events in it.
    pub windows: Vec<String>,
    /// Where playback may start.
    pub keyframes: Vec<Keyframe>,
    /// What its lines are.
    pub kind: BlockKind,
    /// BLAKE3 of the zstd frame.
    pub hash: BlockHash,
}

/// An upload that an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedUpload {
    /// The project it was sent to.
    pub project: ProjectKey,
    /// The recording it is part of; none when it only told who somebody is.
    pub recording: Option<RecordingId>,
    /// Its identity over retries.
    pub upload: UploadId,
}

/// What one event says of a person. Any number of these, in any order and any number of times, has one outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonChange {
    /// The project whose person it is.
    pub project: ProjectKey,
    /// When the event happened.
    pub at_ms: i64,
    /// The person's id.
    pub distinct_id: String,
    /// Another id of the same person (`$anon_distinct_id`, `alias`). Refused, as PostHog does, where either id is one
    /// that many people would share, such as `null` or `guest`.
    pub merge_with: Option<String>,
    /// Properties of which the latest wins.
    pub set: Map<String, Value>,
    /// Properties that only count where `set` never named them, and of which the earliest wins.
    pub set_once: Map<String, Value>,
}

/// In which order recordings are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// By start, the latest first; those that started at once by id.
    #[default]
    NewestFirst,
    /// The other way round.
    OldestFirst,
}

/// Which recordings to list. The default is the newest of all projects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// In which order. A cursor of one order may be used with the other, and then leads back.
    pub order: ListOrder,
    /// Of this project.
    pub project: Option<ProjectKey>,
    /// Started at or after this.
    pub from_ms: Option<i64>,
    /// Started before this.
    pub to_ms: Option<i64>,
    /// Of persons with this distinct id, or with a property that contains this text in any case.
    pub person: Option<String>,
    /// With a URL that contains this text in any case.
    pub url_contains: Option<String>,
    /// At least this long.
    pub duration_min_ms: Option<i64>,
    /// At most this long.
    pub duration_max_ms: Option<i64>,
    /// With at least this many clicks.
    pub clicks_min: Option<u64>,
    /// With at least this many key presses.
    pub keypresses_min: Option<u64>,
    /// With this id.
    pub recording: Option<RecordingId>,
    /// With at least this many console errors.
    pub errors_min: Option<u64>,
    /// With console errors, or without any.
    pub has_errors: Option<bool>,
    /// With this tag, or with a comment that has it.
    pub tag: Option<String>,
    /// Pinned, or not.
    pub is_pinned: Option<bool>,
    /// That somebody has seen, or nobody.
    pub is_seen: Option<bool>,
    /// With comments, or without any.
    pub has_comments: Option<bool>,
    /// To which something was added at or after this, server clock.
    pub live_since_ms: Option<i64>,
    /// Most recordings on the page, up to [`PAGE_RECORDINGS_MAX`]; none means that many.
    pub limit: Option<usize>,
    /// [`Page::next`] of the page before.
    pub cursor: Option<String>,
}

/// Some recordings, in the order that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The recordings.
    pub recordings: Vec<RecordingRow>,
    /// Where the next page starts; none on the last one.
    pub next: Option<String>,
}

/// One recording.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordingRow {
    /// The project it belongs to.
    pub project: ProjectKey,
    /// Its id.
    pub id: RecordingId,
    /// What was seen of it so far.
    pub summary: Summary,
    /// Length of all its live blocks.
    pub stored_bytes: u64,
    /// How many live blocks it has.
    pub block_count: u64,
    /// When something was last added, server clock. Compaction adds nothing.
    pub updated_at_ms: i64,
    /// Who is in it, as far as the client said.
    pub person: Option<Person>,
    /// What people said of it, in short.
    pub noted: NotedRow,
}

/// What a list shows of what people said of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotedRow {
    /// Those of the recording and of the comments on it, sorted.
    pub tags: Vec<String>,
    /// Whether it is pinned.
    pub is_pinned: bool,
    /// Whether somebody has watched it.
    pub is_seen: bool,
    /// How many comments there are.
    pub comment_count: u64,
}

/// A recording that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedRecording {
    /// The project it belonged to.
    pub project: ProjectKey,
    /// Its id.
    pub recording: RecordingId,
    /// When, server clock.
    pub deleted_at_ms: i64,
}

/// A tag that recordings or comments on them have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagCount {
    /// The tag.
    pub tag: String,
    /// How many recordings have it, or a comment that does.
    pub recording_count: u64,
}

/// The distinct ids that belong together, and what is known of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Sorted.
    pub distinct_ids: Vec<String>,
    /// By name.
    pub properties: Map<String, Value>,
}

/// What owns recordings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its public, write-only key.
    pub key: ProjectKey,
    /// What people call it.
    pub name: String,
    /// When it was created, or first heard of.
    pub created_at_ms: i64,
}

/// How often something was dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The stable name of the reason.
    pub reason: String,
    /// How often.
    pub count: u64,
}
