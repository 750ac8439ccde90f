//! Rewrites finished recordings: their many small blocks become few large ones, which compress far better.
//!
//! **A compaction replaces blocks by blocks with the same lines.** Its object is drafted in a file that has no name
//! yet, then placed among the objects, then entered; the index says which blocks of which objects it replaces, so
//! entering it again, after a crash or into an empty catalog, has the same outcome. Until it is entered the old blocks
//! count.
//!
//! What is replaced is always all that one object holds of a recording, a *part*, because figures are kept by part.
//! What a part replaced is said again by the part that replaces it, as long as those objects exist: otherwise a catalog
//! rebuilt after one of several generations was swept would count an earlier one twice.
//!
//! Memory is bounded by blocks, not by recordings: lines are merged lazily, one block is built and compressed at a
//! time, and the draft is a file. One compaction runs at a time, on a thread of its own, and lets sealing go first.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use reelcase_format::block::{BlockBuilder, BlockError, BlockKind, BlockLimits, decode_block};
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::line::lines;
use reelcase_format::reel::{BlockRef, RecordingEntry};
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use crate::catalog::{BlockRow, Candidate, ObjectKind, ObjectRow, Part};
use crate::entry;
use crate::merge::{LineMerge, runs};
use crate::objects::{Listed, ObjectError, object_id};
use crate::step::Step;
use crate::store::{Store, StoreError};

mod draft;
mod pack;

use draft::Draft;
use pack::Packer;

/// Most recordings that are looked at for one object.
const RECORDINGS_MAX: usize = 1_000;
/// Once an object has this many bytes, the next recording begins another one.
const OBJECT_BYTES_TARGET: u64 = 64 << 20;
/// Once the entries of an object's index take this many bytes, likewise: well below what a reader accepts.
const INDEX_BYTES_TARGET: usize = 32 << 20;
/// Bytes of lines that may be open at once while merging. Blocks that overlap more are merged in several runs.
const OPEN_BYTES_MAX: u64 = 128 << 20;
/// A compacted part of at most this many bytes of lines is always rewritten together with what came later.
const REWRITE_BYTES_FREE: u64 = 16 << 20;
/// A larger one only if it has at most so many times the lines that came later: rewriting stays in proportion.
const REWRITE_FACTOR: u64 = 2;
/// Objects kept for blocks of no recording alone are worth an object of their own once there are this many.
const CARRY_OBJECTS_MIN: usize = 64;
/// Most objects whose blocks of no recording are carried by one object.
const CARRY_OBJECTS_MAX: usize = 4_096;
/// What could not be compacted is tried again after this long.
const RETRY_MS: i64 = 6 * 60 * 60 * 1_000;

/// What compacting and sweeping did since the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactionFigures {
    /// Recordings rewritten.
    pub recordings: u64,
    /// Objects written.
    pub objects_written: u64,
    /// Bytes of the blocks that were replaced.
    pub bytes_before: u64,
    /// Bytes of the objects that were written.
    pub bytes_after: u64,
    /// Recordings with damage that was left where it is.
    pub recordings_damaged: u64,
    /// Objects deleted.
    pub objects_swept: u64,
    /// Bytes of the objects that were deleted.
    pub bytes_swept: u64,
    /// What went wrong the last time. None once it went well.
    pub last_error: Option<String>,
}

/// Held while compacting or sweeping. Remembers what is not to be tried over and over.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    recordings_left: HashMap<(ProjectKey, RecordingId), Left>,
    objects_left: HashMap<String, i64>,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    updated_at_ms: i64,
    tried_at_ms: i64,
}

impl Compactor {
    fn forget_old(&mut self, now_ms: i64) {
        self.recordings_left.retain(|_, left| now_ms - left.tried_at_ms < RETRY_MS);
        self.objects_left.retain(|_, tried_at_ms| now_ms - *tried_at_ms < RETRY_MS);
    }

    /// Whether something was added since the recording was left.
    fn is_open(&self, candidate: &Candidate) -> bool {
        let left = self.recordings_left.get(&(candidate.project.clone(), candidate.id.clone()));
        left.is_none_or(|left| left.updated_at_ms != candidate.updated_at_ms)
    }
}

/// A draft, and what became of the candidates it was made of.
struct Drafted {
    draft: Draft,
    recordings: u64,
    bytes_before: u64,
    /// Recordings and objects with damage. The rest of a recording may be in the draft all the same.
    recordings_left: Vec<Candidate>,
    objects_left: Vec<String>,
}

impl Store {
    /// Compacts every recording that is finished: that nothing was added to for as long as the options say.
    pub async fn compact_due(self: &Arc<Self>) -> Result<(), StoreError> {
        self.compact_idle_since(self.now_ms() - self.options.compact_idle_ms).await
    }

    /// Compacts every recording that nothing was added to since `idle_since_ms`.
    pub async fn compact_idle_since(self: &Arc<Self>, idle_since_ms: i64) -> Result<(), StoreError> {
        let mut compactor = self.compactor.lock().await;
        compactor.forget_old(self.now_ms());
        loop {
            let limit = RECORDINGS_MAX + compactor.recordings_left.len();
            let mut candidates = self.catalog.compaction_candidates(idle_since_ms, limit).await?;
            // A recording may be due for both reasons, and an object holds one part of each.
            for erased in self.catalog.erasure_candidates(limit).await? {
                if !candidates.iter().any(|known| (&known.project, &known.id) == (&erased.project, &erased.id)) {
                    candidates.push(erased);
                }
            }
            candidates.retain(|candidate| compactor.is_open(candidate));
            candidates.truncate(RECORDINGS_MAX);
            let carried = self.carried(&compactor, !candidates.is_empty()).await?;
            if candidates.is_empty() && carried.is_empty() || self.is_stopping() {
                return Ok(());
            }
            self.compact(&mut compactor, candidates, carried).await?;
        }
    }

    /// Compacts one recording, finished or not.
    pub async fn compact_recording(self: &Arc<Self>, project: &ProjectKey, id: &RecordingId) -> Result<(), StoreError> {
        let mut compactor = self.compactor.lock().await;
        let Some(row) = self.catalog.get(project, id).await? else { return Ok(()) };
        let (updated_at_ms, stored_bytes) = (row.updated_at_ms, row.stored_bytes);
        let candidate = Candidate { project: row.project, id: row.id, updated_at_ms, stored_bytes };
        self.compact(&mut compactor, vec![candidate], Vec::new()).await
    }

    /// What compacting and sweeping did since the store was opened.
    pub fn compaction(&self) -> CompactionFigures {
        self.figures().clone()
    }

    fn unfinished(&self) -> PathBuf {
        self.objects.unfinished(&self.options.dir)
    }

    /// The objects whose blocks of no recording the next object is to carry.
    async fn carried(&self, compactor: &Compactor, is_company: bool) -> Result<Vec<ObjectRow>, StoreError> {
        let limit = CARRY_OBJECTS_MAX + compactor.objects_left.len();
        let mut carried = self.catalog.objects_to_carry(limit).await?;
        carried.retain(|object| !compactor.objects_left.contains_key(&object.key));
        carried.truncate(CARRY_OBJECTS_MAX);
        let is_worth_it = is_company || carried.len() >= CARRY_OBJECTS_MIN || self.catalog.is_erasing().await?;
        Ok(if is_worth_it { carried } else { Vec::new() })
    }

    /// Makes one object of the first candidates, and enters it.
    async fn compact(
        self: &Arc<Self>,
        compactor: &mut Compactor,
        candidates: Vec<Candidate>,
        carried: Vec<ObjectRow>,
    ) -> Result<(), StoreError> {
        let (store, runtime) = (Arc::clone(self), Handle::current());
        let drafting = tokio::task::spawn_blocking(move || draft(&store, &runtime, candidates, carried));
        let mut drafted = drafting.await.map_err(|error| ObjectError::Sync(std::io::Error::other(error)))??;
        let now_ms = self.now_ms();
        self.figures().recordings_damaged += drafted.recordings_left.len() as u64;
        for candidate in drafted.recordings_left.drain(..) {
            let left = Left { updated_at_ms: candidate.updated_at_ms, tried_at_ms: now_ms };
            compactor.recordings_left.insert((candidate.project, candidate.id), left);
        }
        compactor.objects_left.extend(drafted.objects_left.drain(..).map(|object| (object, now_ms)));
        if drafted.draft.is_empty() {
            return Ok(());
        }
        let (recordings, bytes_before) = (drafted.recordings, drafted.bytes_before);
        let bytes_after = self.place_draft(drafted.draft).await?;
        let mut figures = self.figures();
        figures.recordings += recordings;
        figures.objects_written += 1;
        figures.bytes_before += bytes_before;
        figures.bytes_after += bytes_after;
        Ok(())
    }

    /// Gives a draft its number, its place and its entry in the catalog, and returns its length.
    async fn place_draft(&self, draft: Draft) -> Result<u64, StoreError> {
        // Only now, because nothing can be sealed meanwhile. All but the index is written and synced.
        let mut next_seq = self.next_seq.lock().await;
        let seq = match next_seq.take() {
            Some(seq) => seq,
            None => self.adopt().await?,
        };
        // The number stays taken: from here on an error does not say what was done, and whoever is next looks.
        let now_ms = self.now_ms();
        let id = object_id(&self.store_id, seq);
        let name = id.clone();
        let finished = tokio::task::spawn_blocking(move || draft.finish(&name, now_ms)).await;
        let finished = finished.map_err(|error| ObjectError::Sync(std::io::Error::other(error)))??;
        self.step(Step::Drafted);
        self.objects.place(&self.unfinished(), &id).await?;
        self.step(Step::Placed);
        let object = Listed { seq, id, stored_bytes: finished.file_bytes };
        // The persons were told of when the blocks were sealed.
        self.catalog.commit(entry::commit_of(&finished.index, &object, Vec::new())).await?;
        *next_seq = Some(seq + 1);
        self.step(Step::Entered);
        Ok(object.stored_bytes)
    }
}

/// Drafts an object out of the first candidates. Blocks its thread.
fn draft(
    store: &Store,
    runtime: &Handle,
    candidates: Vec<Candidate>,
    carried: Vec<ObjectRow>,
) -> Result<Drafted, StoreError> {
    let draft = Draft::begin(&store.unfinished(), &object_id(&store.store_id, 0))?;
    let (recordings_left, objects_left) = (Vec::new(), Vec::new());
    let drafted = Drafted { draft, recordings: 0, bytes_before: 0, recordings_left, objects_left };
    let mut drafter = Drafter { store, runtime, drafted };
    for candidate in candidates {
        if drafter.drafted.draft.is_full() {
            break;
        }
        drafter.add_recording(candidate)?;
    }
    drafter.carry(carried)?;
    drafter.drafted.draft.sync()?;
    Ok(drafter.drafted)
}

struct Drafter<'a> {
    store: &'a Store,
    runtime: &'a Handle,
    drafted: Drafted,
}

impl Drafter<'_> {
    fn add_recording(&mut self, candidate: Candidate) -> Result<(), StoreError> {
        let parts = self.runtime.block_on(self.store.catalog.parts(&candidate.project, &candidate.id))?;
        let chosen = choose(parts);
        let chosen_count = chosen.len();
        let mut sound = Vec::with_capacity(chosen_count);
        for part in chosen {
            if self.is_sound(&part)? {
                sound.push(part);
            }
        }
        let is_compacted = sound.iter().any(|part| part.object.kind == ObjectKind::Batch || part.is_to_erase);
        if is_compacted {
            self.rewrite(&candidate, &sound)?;
        }
        if sound.len() < chosen_count || !is_compacted {
            self.drafted.recordings_left.push(candidate);
        }
        Ok(())
    }

    /// Reads every block of a part. What cannot be read is reported, and the part stays as it is.
    fn is_sound(&self, part: &Part) -> Result<bool, StoreError> {
        for block in &part.blocks {
            self.store.check_stopping()?;
            if let Err(error) = self.runtime.block_on(self.store.read_lines(block)) {
                let (recording, error) = (&block.recording, &error as &dyn std::error::Error);
                tracing::error!(%recording, error, "a block cannot be read; it stays where it is");
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn rewrite(&mut self, candidate: &Candidate, parts: &[Part]) -> Result<(), StoreError> {
        let old: Vec<&BlockRow> = parts.iter().flat_map(|part| &part.blocks).collect();
        let mut ordinals = Vec::new();
        let mut line_count = 0;
        for kind in [BlockKind::Lines, BlockKind::Events] {
            let blocks = old.iter().filter(|block| block.kind == kind).map(|block| (*block).clone()).collect();
            for run in runs(blocks, OPEN_BYTES_MAX) {
                let mut packer = Packer::new(candidate.project.clone(), Some(candidate.id.clone()), kind);
                let mut merge = LineMerge::of_kind(self.store, run, kind);
                while let Some(chunk) = self.runtime.block_on(merge.next_chunk())? {
                    for line in lines(&chunk) {
                        line_count += 1;
                        if let Some(full) = packer.push(line) {
                            ordinals.push(self.append(full)?);
                        }
                    }
                }
                if let Some(last) = packer.finish() {
                    ordinals.push(self.append(last)?);
                }
            }
        }
        same_count(&old, line_count)?;
        let (summary, replaces, mut uploads) = joined(parts);
        uploads.sort_unstable();
        uploads.dedup();
        let updated_at_ms = Value::from(candidate.updated_at_ms);
        self.drafted.draft.push_recording(RecordingEntry {
            id: candidate.id.clone(),
            project: candidate.project.clone(),
            summary,
            blocks: ordinals,
            uploads,
            metadata: Map::from_iter([(entry::UPDATED_AT.to_owned(), updated_at_ms)]),
            replaces,
            other: Map::new(),
        });
        self.drafted.recordings += 1;
        self.drafted.bytes_before += old.iter().map(|block| block.stored_bytes).sum::<u64>();
        Ok(())
    }

    /// Takes the blocks of no recording out of objects that hold nothing else, so that these can go.
    fn carry(&mut self, objects: Vec<ObjectRow>) -> Result<(), StoreError> {
        let mut packers: BTreeMap<ProjectKey, Packer> = BTreeMap::new();
        for object in objects {
            self.store.check_stopping()?;
            if let Err(error) = self.carry_object(&object, &mut packers)? {
                let error = &error as &dyn std::error::Error;
                tracing::error!(object = object.key, error, "what it says of persons cannot be read; it stays");
                self.drafted.objects_left.push(object.key);
            }
        }
        for last in packers.into_values().filter_map(Packer::finish) {
            self.append(last)?;
        }
        Ok(())
    }

    fn carry_object(
        &mut self,
        object: &ObjectRow,
        packers: &mut BTreeMap<ProjectKey, Packer>,
    ) -> Result<Result<(), StoreError>, StoreError> {
        let (store, runtime) = (self.store, self.runtime);
        let index = match runtime.block_on(store.objects.index(&object.key, object.stored_bytes)) {
            Ok(index) => index,
            Err(error) => return Ok(Err(error.into())),
        };
        // All of it is read before any of it is packed: an object is carried whole or not at all.
        let mut read = Vec::new();
        for (block, entry) in (0u32..).zip(&index.blocks).filter(|(_, entry)| entry.head.recording.is_none()) {
            let frame = match runtime.block_on(store.objects.read(&object.key, entry.offset, entry.head.stored_bytes)) {
                Ok(frame) => frame,
                Err(error) => return Ok(Err(error.into())),
            };
            match decode_block(&frame, &entry.head, &BlockLimits::default()) {
                Ok(plain) => read.push((&entry.head, plain)),
                Err(source) => return Ok(Err(StoreError::Block { object: object.key.clone(), block, source })),
            }
        }
        for (head, plain) in read {
            let is_remembered = runtime.block_on(store.catalog.sealed_uploads(&head.project, &head.uploads))?;
            let new = || Packer::new(head.project.clone(), None, head.kind);
            let packer = packers.entry(head.project.clone()).or_insert_with(new);
            for (upload, _) in head.uploads.iter().zip(is_remembered).filter(|(_, is_remembered)| *is_remembered) {
                packer.note_upload(*upload);
            }
            for full in lines(&plain).filter_map(|line| packer.push(line)).collect::<Vec<_>>() {
                self.append(full)?;
            }
        }
        self.drafted.draft.carry(object.key.clone(), entry::carries(&index));
        Ok(Ok(()))
    }

    /// Compresses a block and writes it.
    fn append(&mut self, block: BlockBuilder) -> Result<u32, StoreError> {
        self.store.check_stopping()?;
        // Whoever is sealing an object has the processors first; a client waits for that, nobody waits for this.
        drop(self.runtime.block_on(self.store.next_seq.lock()));
        self.drafted.draft.push(block)
    }
}

/// What is rewritten of a recording: all that is in batches, or shares an object with what is to be erased, and
/// compacted parts that are small or small beside it.
fn choose(parts: Vec<Part>) -> Vec<Part> {
    let plain_bytes = |part: &Part| part.blocks.iter().map(|block| block.plain_bytes).sum::<u64>();
    let is_hot = |part: &Part| part.object.kind == ObjectKind::Batch;
    let hot_bytes: u64 = parts.iter().filter(|part| is_hot(part)).map(plain_bytes).sum();
    let bytes_max = REWRITE_BYTES_FREE.max(hot_bytes.saturating_mul(REWRITE_FACTOR));
    parts.into_iter().filter(|part| is_hot(part) || part.is_to_erase || plain_bytes(part) <= bytes_max).collect()
}

/// The figures of several parts, the blocks that one in their place replaces, and their uploads.
fn joined(parts: &[Part]) -> (reelcase_format::summary::Summary, Vec<BlockRef>, Vec<reelcase_format::id::UploadId>) {
    let mut summaries = parts.iter().map(|part| &part.summary);
    let mut summary = summaries.next().cloned().unwrap_or_default();
    summaries.for_each(|part| summary.merge(part));
    let mut replaces = Vec::new();
    for part in parts {
        replaces.extend(part.replaces.iter().cloned());
        let own = part.blocks.iter().map(|row| BlockRef { object: row.object.clone(), block: row.block });
        replaces.extend(own);
    }
    (summary, replaces, parts.iter().flat_map(|part| part.uploads.iter().copied()).collect())
}

/// Refuses to replace blocks by others with more or fewer lines, whatever the reason.
fn same_count(old: &[&BlockRow], found: u64) -> Result<(), StoreError> {
    let claimed = old.iter().map(|block| block.event_count).sum();
    match old.first() {
        Some(block) if claimed != found => Err(StoreError::Block {
            object: block.object.clone(),
            block: block.block,
            source: BlockError::Mismatch { what: "lines", claimed, found },
        }),
        _ => Ok(()),
    }
}
