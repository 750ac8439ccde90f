//! Salvages what can be read of an object whose index cannot: its blocks say of themselves what they are.
//!
//! What is found becomes an object of its own, under the next free number. The number of the damaged one is not used
//! again: others may say which blocks of it they replace, and without an index nobody knows which those are. So lines
//! that a recording has elsewhere are left out, by comparing them. That also makes it harmless to be cut short: whoever
//! salvages an object a second time finds nothing new in it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use reelcase_format::block::{BlockBuilder, BlockHash, BlockKind, BlockLimits, EncodedBlock, decode_block};
use reelcase_format::event::EventHead;
use reelcase_format::id::{ProjectKey, RecordingId, UploadId};
use reelcase_format::line::{lines, split_line};
use reelcase_format::reel::{
    BlockEntry, Finished, RecordingEntry, ReelError, ReelHeader, ReelLimits, ReelWriter, Source, recover,
};
use reelcase_format::summary::{Counted, Summarizer};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;

use crate::catalog::{BlockRow, Catalog, ObjectKind};
use crate::merge::timestamp_of;
use crate::objects::{Listed, ObjectError, Objects};
use crate::seal::{CREATOR, SEAL_LEVEL};
use crate::store::{StoreError, head_of};
use crate::{adopt, entry};

/// What became of an object whose index could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// The object, which is set aside as `*.damaged`.
    pub object: String,
    /// The object that what was found of it makes. `None` where nothing was, or nothing that is not elsewhere.
    pub into: Option<String>,
    /// Blocks that were found.
    pub block_count: u64,
    /// Lines of these that were nowhere else.
    pub event_count: u64,
    /// What could not be read, and where.
    pub damage: Vec<String>,
}

/// Finds what can be read of `object`, makes the object `into` of it where that is anything new, and sets `object`
/// aside. Everything else is in the catalog already.
pub(crate) async fn salvage(
    objects: &Objects,
    catalog: &dyn Catalog,
    object: &Listed,
    into: Listed,
) -> Result<Salvaged, StoreError> {
    let source = FileSource::new(objects.open(&object.id)?).map_err(ObjectError::Sync)?;
    let found = tokio::task::spawn_blocking(move || recover(&source, &ReelLimits::default())).await;
    let found = found.map_err(|error| ObjectError::Sync(io::Error::other(error)))?;
    let mut draft = Draft::begin(objects, &into.id).await?;
    for entry in &found.blocks {
        draft.add(objects, catalog, object, entry).await?;
    }
    let (event_count, is_empty) = (draft.event_count, draft.is_empty);
    let finished = draft.finish().await?;
    let damage = found.damage.iter().map(|damage| format!("byte {}: {}", damage.offset, damage.what)).collect();
    let salvaged = Salvaged {
        object: object.id.clone(),
        into: (!is_empty).then(|| into.id.clone()),
        block_count: found.blocks.len() as u64,
        event_count,
        damage,
    };
    if is_empty {
        objects.set_aside(&object.id).await?;
        return Ok(salvaged);
    }
    // The new one first: cut short here, the next rebuild finds both, and nothing new in the damaged one.
    objects.place_unfinished(&into.id).await?;
    objects.set_aside(&object.id).await?;
    let placed = Listed { stored_bytes: finished.file_bytes, ..into };
    adopt::enter(objects, catalog, &placed, &finished.index).await?;
    Ok(salvaged)
}

/// The new object while it takes shape.
struct Draft {
    writer: ReelWriter,
    file: tokio::fs::File,
    recordings: BTreeMap<(ProjectKey, RecordingId), Part>,
    event_count: u64,
    is_empty: bool,
}

/// What there is of one recording.
#[derive(Default)]
struct Part {
    summarizer: Summarizer,
    ordinals: Vec<u32>,
    uploads: BTreeSet<UploadId>,
    end_ms: i64,
}

impl Draft {
    async fn begin(objects: &Objects, object: &str) -> Result<Self, StoreError> {
        let header = ReelHeader { object: object.to_owned(), creator: CREATOR.to_owned(), other: Map::new() };
        let (writer, bytes) = ReelWriter::new(header)?;
        let path = objects.unfinished(std::path::Path::new(""));
        let file = tokio::fs::File::create(&path).await.map_err(ObjectError::Sync)?;
        let mut draft = Self { writer, file, recordings: BTreeMap::new(), event_count: 0, is_empty: true };
        draft.write(&bytes).await?;
        Ok(draft)
    }

    /// Adds what is new in a block.
    async fn add(
        &mut self,
        objects: &Objects,
        catalog: &dyn Catalog,
        object: &Listed,
        entry: &BlockEntry,
    ) -> Result<(), StoreError> {
        let head = &entry.head;
        let frame = objects.read(&object.id, entry.offset, head.stored_bytes).await?;
        let plain = decode_block(&frame, head, &BlockLimits::default()).map_err(ReelError::from)?;
        if head.recording.is_none() && is_sealed(catalog, entry).await? {
            return Ok(());
        }
        let known = known_lines(objects, catalog, entry).await?;
        let fresh: Vec<&[u8]> = lines(&plain).filter(|line| !known.contains(&BlockHash::of(line))).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let block = if known.is_empty() || fresh.len() as u64 == head.event_count {
            EncodedBlock::from_parts(head.clone(), &frame)
        } else {
            block_of(entry, &fresh)
        };
        let (ordinal, bytes) = self.writer.push_block(block.map_err(ReelError::from)?)?;
        self.write(&bytes).await?;
        (self.is_empty, self.event_count) = (false, self.event_count + fresh.len() as u64);
        let Some(recording) = &head.recording else { return Ok(()) };
        let part = self.recordings.entry((head.project.clone(), recording.clone())).or_default();
        part.ordinals.push(ordinal);
        part.uploads.extend(&head.uploads);
        part.end_ms = part.end_ms.max(head.end_ms);
        fresh.iter().for_each(|line| part.count(head.kind, line));
        Ok(())
    }

    async fn finish(mut self) -> Result<Finished, StoreError> {
        let mut end_ms = 0;
        for ((project, id), part) in std::mem::take(&mut self.recordings) {
            end_ms = end_ms.max(part.end_ms);
            let mut summary = part.summarizer.finish();
            summary.message_count = part.uploads.len() as u64;
            self.writer.push_recording(RecordingEntry {
                id,
                project,
                summary,
                blocks: part.ordinals,
                uploads: Vec::new(),
                metadata: Map::from_iter([(entry::UPDATED_AT.to_owned(), Value::from(part.end_ms))]),
                replaces: Vec::new(),
                other: Map::new(),
            });
        }
        self.writer.set_metadata(entry::KIND, entry::kind_name(ObjectKind::Batch));
        self.writer.set_metadata(entry::SEALED_AT, end_ms);
        let Self { writer, mut file, .. } = self;
        let finished = writer.finish()?;
        file.write_all(&finished.bytes).await.map_err(ObjectError::Sync)?;
        file.flush().await.map_err(ObjectError::Sync)?;
        file.sync_all().await.map_err(ObjectError::Sync)?;
        Ok(finished)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        Ok(self.file.write_all(bytes).await.map_err(ObjectError::Sync)?)
    }
}

impl Part {
    fn count(&mut self, kind: BlockKind, line: &[u8]) {
        if kind == BlockKind::Events {
            return self.summarizer.add_analytics_event();
        }
        let Some((window, event)) = split_line(line) else { return };
        if let Some(head) = EventHead::read(event) {
            self.summarizer.add(&Counted::new(&window, &head, event), line.len() + 1);
        }
    }
}

/// Whether all that a block of no recording holds is in another object.
async fn is_sealed(catalog: &dyn Catalog, entry: &BlockEntry) -> Result<bool, StoreError> {
    let sealed = catalog.sealed_uploads(&entry.head.project, &entry.head.uploads).await?;
    Ok(!sealed.is_empty() && sealed.iter().all(|is_sealed| *is_sealed))
}

/// Hashes of the lines that the block's recording has, wherever it overlaps the block in time.
async fn known_lines(
    objects: &Objects,
    catalog: &dyn Catalog,
    entry: &BlockEntry,
) -> Result<HashSet<BlockHash>, StoreError> {
    let head = &entry.head;
    let Some(recording) = &head.recording else { return Ok(HashSet::new()) };
    let overlaps = |row: &BlockRow| row.kind == head.kind && row.start_ms <= head.end_ms && row.end_ms >= head.start_ms;
    let mut known = HashSet::new();
    for row in catalog.blocks(&head.project, recording).await?.iter().filter(|row| overlaps(row)) {
        let frame = objects.read(&row.object, row.offset, row.stored_bytes).await?;
        // What is damaged there is not known, and so kept here.
        if let Ok(plain) = decode_block(&frame, &head_of(row), &BlockLimits::default()) {
            known.extend(lines(&plain).map(BlockHash::of));
        }
    }
    Ok(known)
}

/// A block of some of the lines of another.
fn block_of(entry: &BlockEntry, fresh: &[&[u8]]) -> Result<EncodedBlock, reelcase_format::block::BlockError> {
    let head = &entry.head;
    let mut builder = BlockBuilder::new(head.project.clone(), head.recording.clone(), head.kind);
    let mut last_ms = head.start_ms;
    for line in fresh {
        let bytes = [line, &b"\n"[..]].concat();
        let parts = if head.kind == BlockKind::Lines { split_line(line) } else { None };
        match parts.as_ref().and_then(|(window, event)| Some((window, event, EventHead::read(event)?))) {
            Some((window, event, event_head)) => {
                last_ms = event_head.timestamp_ms();
                builder.push(&Counted::new(window, &event_head, event), &bytes);
            }
            None => {
                last_ms = timestamp_of(line, head.kind).unwrap_or(last_ms);
                builder.push_line(last_ms, &bytes);
            }
        }
    }
    head.uploads.iter().for_each(|upload| builder.note_upload(*upload));
    builder.encode(SEAL_LEVEL)
}

/// A `.reel` file whose parts are read as they are wanted.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    file_bytes: u64,
}

impl FileSource {
    /// Reads `file` as long as it is now. What is appended later is not seen.
    pub fn new(file: File) -> io::Result<Self> {
        let file_bytes = file.metadata()?.len();
        Ok(Self { file, file_bytes })
    }
}

impl Source for FileSource {
    fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Cow::Owned(bytes))
    }
}
