//! Many recordings of a store as one `.reel` file, which another store takes as an object.
//!
//! Blocks go into it as they are stored. The file says of each recording which uploads it holds, so that a store which has
//! some of them recognises those, and who the people in the recordings are.

use std::collections::BTreeSet;

use reelcase_format::block::{BlockBuilder, BlockKind, EncodedBlock};
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::reel::{Index, RecordingEntry, ReelHeader, ReelWriter};
use reelcase_format::summary::Summary;
use serde_json::{Map, Value, json};

use crate::catalog::{BlockRow, Part, RecordingRow};
use crate::entry::{SEALED_AT, UPDATED_AT};
use crate::export::stand_in;
use crate::notes::said::Said;
use crate::seal::{CREATOR, SEAL_LEVEL};
use crate::store::{Store, StoreError, head_of};

/// A file in the making. What its methods return is to be written in that order.
pub struct Bundle<'a> {
    store: &'a Store,
    writer: ReelWriter,
    /// Who was said to be somebody.
    told: BTreeSet<(ProjectKey, Vec<String>)>,
    /// What is to be said, by project.
    persons: Vec<(ProjectKey, i64, Vec<u8>)>,
}

/// One recording on its way into a bundle.
pub struct Bundled {
    row: RecordingRow,
    summary: Summary,
    uploads: Vec<[u8; 16]>,
    blocks: std::vec::IntoIter<BlockRow>,
    ordinals: Vec<u32>,
    gap_count: u64,
    said: Said,
}

impl Bundled {
    /// Lets the file tell what people said of the recording.
    pub fn add_said(&mut self, said: Said) {
        self.said = said;
    }
}

impl<'a> Bundle<'a> {
    /// Begins a file of recordings of `store`. Returns its first bytes too.
    pub fn new(store: &'a Store, name: &str) -> Result<(Self, Vec<u8>), StoreError> {
        let header = ReelHeader { object: name.to_owned(), creator: CREATOR.to_owned(), other: Map::new() };
        let (writer, bytes) = ReelWriter::new(header)?;
        Ok((Self { store, writer, told: BTreeSet::new(), persons: Vec::new() }, bytes))
    }

    /// Makes the file an object of a store from then on, which is to remember its uploads for a while.
    pub fn set_sealed_at(&mut self, now_ms: i64) {
        self.writer.set_metadata(SEALED_AT, now_ms);
    }

    /// Begins a recording, of which `parts` are to be in the file.
    pub fn begin(row: RecordingRow, parts: Vec<Part>) -> Bundled {
        let mut summary = Summary::default();
        let (mut uploads, mut blocks) = (BTreeSet::new(), Vec::new());
        for part in parts {
            summary.merge(&part.summary);
            uploads.extend(part.uploads);
            blocks.extend(part.blocks);
        }
        blocks.sort_by(|a, b| (a.start_ms, &a.object, a.block).cmp(&(b.start_ms, &b.object, b.block)));
        let (uploads, blocks) = (uploads.into_iter().collect(), blocks.into_iter());
        Bundled { row, summary, uploads, blocks, ordinals: Vec::new(), gap_count: 0, said: Said::default() }
    }

    /// The bytes of its next block. `None` after the last. In place of one that cannot be read, a line says so.
    pub async fn next_block(&mut self, recording: &mut Bundled) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(row) = recording.blocks.next() else { return Ok(None) };
        let block = match self.store.read_frame(&row).await {
            Ok(frame) => EncodedBlock::from_parts(head_of(&row), &frame).ok(),
            Err(StoreError::Block { .. } | StoreError::Object(_)) => None,
            Err(error) => return Err(error),
        };
        let block = match block {
            Some(block) => block,
            None => {
                recording.gap_count += 1;
                stand_in(&recording.row, &row)?
            }
        };
        let (ordinal, bytes) = self.writer.push_block(block)?;
        recording.ordinals.push(ordinal);
        Ok(Some(bytes))
    }

    /// Ends a recording. Returns how many of its blocks could not be read.
    pub fn end(&mut self, recording: Bundled) -> u64 {
        let Bundled { row, summary, uploads, ordinals, gap_count, said, .. } = recording;
        self.tell_person(&row);
        let mut metadata = Map::from_iter([(UPDATED_AT.to_owned(), Value::from(row.updated_at_ms))]);
        metadata.extend(row.person.as_ref().and_then(|person| {
            let person = serde_json::to_value(person).ok()?;
            Some(("person".to_owned(), person))
        }));
        metadata.extend(said.metadata());
        let (id, project): (RecordingId, ProjectKey) = (row.id, row.project);
        let (replaces, other) = (Vec::new(), Map::new());
        self.writer.push_recording(RecordingEntry {
            id,
            project,
            summary,
            blocks: ordinals,
            uploads,
            metadata,
            replaces,
            other,
        });
        gap_count
    }

    /// Bytes of the file so far.
    pub fn file_bytes(&self) -> u64 {
        self.writer.file_bytes()
    }

    /// The last bytes of the file, and its index.
    pub fn finish(mut self) -> Result<(Vec<u8>, Index), StoreError> {
        let mut bytes = Vec::new();
        let mut persons = std::mem::take(&mut self.persons);
        persons.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for of_project in persons.chunk_by(|a, b| a.0 == b.0) {
            let begin = || BlockBuilder::new(of_project[0].0.clone(), None, BlockKind::Events);
            let mut builder = begin();
            for (_, at_ms, line) in of_project {
                builder.push_line(*at_ms, line);
                if builder.is_full() {
                    bytes.extend(self.push(std::mem::replace(&mut builder, begin()))?);
                }
            }
            if !builder.is_empty() {
                bytes.extend(self.push(builder)?);
            }
        }
        let finished = self.writer.finish()?;
        bytes.extend(finished.bytes);
        Ok((bytes, finished.index))
    }

    fn push(&mut self, builder: BlockBuilder) -> Result<Vec<u8>, StoreError> {
        let unusable = |source| StoreError::Block { object: "a bundle".to_owned(), block: 0, source };
        Ok(self.writer.push_block(builder.encode(SEAL_LEVEL).map_err(unusable)?)?.1)
    }

    /// Keeps what is known of the person of a recording, because much of it was said outside of recordings.
    fn tell_person(&mut self, row: &RecordingRow) {
        let Some(person) = &row.person else { return };
        let Some((first, others)) = person.distinct_ids.split_first() else { return };
        if !self.told.insert((row.project.clone(), person.distinct_ids.clone())) {
            return;
        }
        let at_ms = row.updated_at_ms;
        let mut tell = |event: &str, properties: Value| {
            let line = json!({
                "kind": "event", "event": event, "timestamp": at_ms, "distinct_id": first, "properties": properties,
            });
            self.persons.push((row.project.clone(), at_ms, (line.to_string() + "\n").into_bytes()));
        };
        others.iter().for_each(|other| tell("$create_alias", json!({ "alias": other })));
        if !person.properties.is_empty() {
            tell("$set", json!({ "$set": person.properties }));
        }
    }
}
