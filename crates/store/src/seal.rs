//! Turns waiting uploads into blocks: undoes their codings, sorts their events by time, counts and compresses them.
//!
//! Pure work on bytes, to be run off the async threads. What cannot be read is reported and never holds up the rest;
//! it cannot be sent again, since the inbox had accepted it.

use reelcase_format::block::{BlockDraft, BlockKind, EncodedBlock};
use reelcase_format::cv::{self, CvOutcome};
use reelcase_format::id::UploadId;
use reelcase_format::json;
use reelcase_format::limits::Limits;
use reelcase_format::line::{begin_line, end_line};
use reelcase_format::reel::{RecordingEntry, ReelHeader, ReelWriter};
use reelcase_format::summary::{Counted, Summarizer, Summary, UploadFacts};
use reelcase_format::upload::{self, Item, Wire};
use serde_json::Map;

use crate::catalog::{CatalogCommit, ObjectKind, ObjectRow, PersonChange};
use crate::entry;
use crate::inbox::{InboxError, Position};
use crate::objects::Listed;
use crate::pending::{GroupKey, PendingItem};
use crate::persons;
use crate::record::{self, ItemKind, RecordHead};
use crate::store::StoreError;

/// Level 6 would take some 8 % less disk until the recording is compacted, and 8 ms more for each MB of lines: as much as
/// all else that is done with them.
pub(crate) const SEAL_LEVEL: i32 = 1;

/// What names this program in the files it writes.
pub(crate) const CREATOR: &str = concat!("reelcase ", env!("CARGO_PKG_VERSION"));

/// A group is packed into blocks whenever its lines take this many bytes, so that no upload decides how much memory
/// sealing takes.
const ARENA_BYTES_MAX: usize = 12 << 20;

/// Bytes of each kind of memory that are kept from one object to the next: what the lines of a group take.
const MEMORY_KEPT_BYTES_MAX: usize = ARENA_BYTES_MAX + (4 << 20);

/// What is to become one object.
#[derive(Default)]
pub(crate) struct Gathered {
    /// The items of each recording, and at which place of `records` theirs is named.
    pub(crate) groups: Vec<(GroupKey, Vec<(PendingItem, usize)>)>,
    /// Where the records lie, each named once.
    pub(crate) records: Vec<Position>,
}

/// Reads a record into memory that another used before. `None` where it is lost.
pub(crate) type ReadRecord<'r> = dyn FnMut(Position, Vec<u8>) -> Result<Option<Vec<u8>>, InboxError> + 'r;

/// Memory that one group hands on to the next, and one object, because taking it from the system anew costs as much as
/// filling it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// For an upload as it came.
    record: Vec<u8>,
    /// For an upload whose coding is undone.
    json: Vec<u8>,
    /// For the lines of a group.
    arena: Vec<u8>,
    /// For the same in another order.
    sorted: Vec<u8>,
    /// An object was made since somebody asked.
    is_used: bool,
}

impl Memory {
    /// What is kept until the next object. What is in it is written over, which is faster than to clear it first.
    fn kept(mut self) -> Self {
        for memory in [&mut self.record, &mut self.json, &mut self.arena, &mut self.sorted] {
            memory.truncate(MEMORY_KEPT_BYTES_MAX);
            memory.shrink_to(MEMORY_KEPT_BYTES_MAX);
        }
        self.is_used = true;
        self
    }

    /// Gives everything back, unless it was used since this was called last.
    pub(crate) fn rest(&mut self) {
        if !std::mem::take(&mut self.is_used) {
            *self = Self::default();
        }
    }
}

/// An upload whose coding is undone.
struct Opened {
    head: RecordHead,
    json: Vec<u8>,
}

/// An upload whose items are found.
struct Scanned<'a> {
    head: &'a RecordHead,
    items: Vec<Item<'a>>,
    /// Bytes that its compressed fields may still inflate to.
    fields_budget: usize,
}

/// An object ready to be written.
pub(crate) struct Sealed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) commit: CatalogCommit,
    /// Events and uploads that could not be read, with the reason: stable names, for counting.
    pub(crate) drops: Vec<(&'static str, u64)>,
}

/// Makes one object of several groups. Each upload is read and opened once, however many recordings it holds parts of.
pub(crate) fn seal(
    gathered: Gathered,
    read: &mut ReadRecord<'_>,
    object: ObjectRow,
    limits: &Limits,
    now_ms: i64,
    kept: &mut Memory,
) -> Result<Sealed, StoreError> {
    let header = ReelHeader { object: object.key.clone(), creator: CREATOR.to_owned(), other: Map::new() };
    let (mut writer, mut bytes) = ReelWriter::new(header)?;
    let mut persons = Vec::new();
    let mut drops = Drops::default();
    let Gathered { groups, records } = gathered;
    let mut memory = std::mem::take(kept);
    let mut take = |position: Position, record: &mut Vec<u8>, json| -> Result<_, InboxError> {
        let Some(found) = read(position, std::mem::take(record))? else { return Ok(Err("lost_record")) };
        *record = found;
        Ok(open(record, limits, json))
    };
    // Most uploads are of one recording: those are opened when it is its turn, and closed at once.
    let mut opened = Vec::with_capacity(records.len());
    for (position, is_shared) in records.iter().zip(shared(&groups, records.len())) {
        opened.push(if is_shared { Some(take(*position, &mut memory.record, Vec::new())?) } else { None });
    }
    let mut scanned: Vec<_> = opened.iter().map(|opened| opened.as_ref().map(|opened| scan(opened, limits))).collect();
    for (key, items) in groups {
        let (mut record, mut json) = (std::mem::take(&mut memory.record), std::mem::take(&mut memory.json));
        let mut sealer = GroupSealer::new(key.clone(), limits, memory);
        for items in items.chunk_by(|one, next| one.1 == next.1) {
            let place = items[0].1;
            match &mut scanned[place] {
                Some(upload) => sealer.add_all(items, upload, &mut drops),
                None => {
                    let opened = take(records[place], &mut record, std::mem::take(&mut json))?;
                    sealer.add_all(items, &mut scan(&opened, limits), &mut drops);
                    json = opened.map_or_else(|_| Vec::new(), |opened| opened.json);
                }
            }
        }
        let (summary, blocks, mut changes);
        (summary, blocks, changes, memory) = sealer.finish(&mut drops);
        (memory.record, memory.json) = (record, json);
        persons.append(&mut changes);
        let mut ordinals = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (ordinal, block_bytes) = writer.push_block(block)?;
            ordinals.push(ordinal);
            bytes.extend_from_slice(&block_bytes);
        }
        if let (Some(id), false) = (key.recording, ordinals.is_empty()) {
            writer.push_recording(RecordingEntry {
                id,
                project: key.project,
                summary,
                blocks: ordinals,
                uploads: Vec::new(),
                metadata: Map::new(),
                replaces: Vec::new(),
                other: Map::new(),
            });
        }
    }
    *kept = memory.kept();
    writer.set_metadata(entry::KIND, entry::kind_name(ObjectKind::Batch));
    writer.set_metadata(entry::SEALED_AT, now_ms);
    let finished = writer.finish()?;
    bytes.extend_from_slice(&finished.bytes);
    let object = Listed { seq: object.seq, id: object.key, stored_bytes: finished.file_bytes };
    let commit = entry::commit_of(&finished.index, &object, persons);
    Ok(Sealed { bytes, commit, drops: drops.0 })
}

/// For each record, whether several groups have items in it.
fn shared(groups: &[(GroupKey, Vec<(PendingItem, usize)>)], record_count: usize) -> Vec<bool> {
    let mut uses = vec![0; record_count];
    for (_, items) in groups {
        items.chunk_by(|one, next| one.1 == next.1).for_each(|items| uses[items[0].1] += 1);
    }
    uses.into_iter().map(|uses| uses > 1).collect()
}

fn open(record: &[u8], limits: &Limits, memory: Vec<u8>) -> Result<Opened, &'static str> {
    let (head, body) = record::decode(record).map_err(|_| "unreadable_record")?;
    let wire = Wire { body, content_type: head.content_type.as_deref(), compression: head.compression.as_deref() };
    let counted = usize::try_from(head.inflated_bytes).unwrap_or(usize::MAX);
    let limits = limits.for_taken(counted.max(limits.inflated_bytes_max));
    let json = upload::inflate_into(&wire, &limits, memory);
    let json = json.map_err(|_| "unreadable_body")?.into_owned();
    Ok(Opened { head, json })
}

fn scan<'a>(opened: &'a Result<Opened, &'static str>, limits: &Limits) -> Result<Scanned<'a>, &'static str> {
    let Opened { head, json } = opened.as_ref().map_err(|reason| *reason)?;
    let upload = upload::rescan(json, &limits.for_taken(json.len())).map_err(|_| "unreadable_body")?;
    Ok(Scanned { head, items: upload.items, fields_budget: limits.fields_bytes_max })
}

/// What was dropped while sealing, by reason.
#[derive(Default)]
struct Drops(Vec<(&'static str, u64)>);

impl Drops {
    fn count(&mut self, reason: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.0.push((reason, 1)),
        }
    }
}

/// One event of a [`Pile`].
struct Line {
    timestamp_ms: i64,
    /// Index into the windows of the group. Nothing to an analytics event.
    window: usize,
    /// Where the line begins, where the event begins in it, and where the line ends.
    span: (usize, usize, usize),
    kind: u8,
    source: Option<u8>,
    interaction: Option<u8>,
    upload: UploadId,
}

/// Lines of one kind, one after the other.
#[derive(Default)]
struct Pile {
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// Collects the events of one group, then orders them and packs them into blocks.
struct GroupSealer<'a> {
    key: GroupKey,
    limits: &'a Limits,
    recorded: Pile,
    /// Analytics events.
    events: Pile,
    /// Memory for lines in another order.
    sorted: Vec<u8>,
    windows: Vec<Window>,
    summarizer: Summarizer,
    blocks: Vec<EncodedBlock>,
    persons: Vec<PersonChange>,
}

/// A window of a group.
struct Window {
    id: String,
    /// How each of its lines begins.
    beginning: Vec<u8>,
}

impl<'a> GroupSealer<'a> {
    fn new(key: GroupKey, limits: &'a Limits, memory: Memory) -> Self {
        let Memory { arena: mut text, sorted, .. } = memory;
        text.clear();
        let (recorded, events) = (Pile { text, lines: Vec::new() }, Pile::default());
        let (windows, blocks, persons) = (Vec::new(), Vec::new(), Vec::new());
        let summarizer = Summarizer::new();
        Self { key, limits, recorded, events, sorted, windows, summarizer, blocks, persons }
    }

    /// Adds items of one upload.
    fn add_all(
        &mut self,
        items: &[(PendingItem, usize)],
        upload: &mut Result<Scanned<'_>, &'static str>,
        drops: &mut Drops,
    ) {
        for (item, _) in items {
            match upload {
                Ok(upload) => self.add(item, upload, drops),
                Err(reason) => drops.count(reason),
            }
        }
    }

    fn add(&mut self, pending: &PendingItem, upload: &mut Scanned<'_>, drops: &mut Drops) {
        let Scanned { head, items, fields_budget } = upload;
        let Some(item) = items.get(pending.index as usize) else { return drops.count("missing_item") };
        match pending.kind {
            ItemKind::Snapshot => self.add_snapshot(item, head, pending.upload, fields_budget, drops),
            ItemKind::Event | ItemKind::Person => self.add_event(item, head, pending.upload, drops),
        }
    }

    fn add_snapshot(
        &mut self,
        item: &Item<'_>,
        head: &RecordHead,
        upload: UploadId,
        fields_budget: &mut usize,
        drops: &mut Drops,
    ) {
        let session = self.key.recording.as_ref().map_or("", |id| id.as_str()).to_owned();
        let window = self.window(item.window_id.as_deref().unwrap_or(&session));
        self.summarizer.add_upload(&UploadFacts {
            source: item.source.as_deref(),
            library: item.library.as_deref().or(head.user_agent.as_deref().and_then(library_of)),
            library_version: item.library_version.as_deref(),
            distinct_id: item.distinct_id.as_deref(),
        });
        for (raw, event) in &item.events {
            let Some(event) = event else {
                drops.count("not_an_rrweb_event");
                continue;
            };
            let Pile { text, lines } = &mut self.recorded;
            let line_starts = text.len();
            let (kind, source, interaction) = (event.kind, event.source, event.interaction);
            let timestamp_ms = event.timestamp_ms();
            text.extend_from_slice(&self.windows[window].beginning);
            let event_starts = text.len();
            let outcome = cv::plain_event_of(raw, Some(event), self.limits, fields_budget, text);
            if let CvOutcome::Kept(_) = outcome {
                drops.count("kept_compressed");
            }
            end_line(text);
            let span = (line_starts, event_starts, text.len());
            lines.push(Line { timestamp_ms, window, span, kind, source, interaction, upload });
            self.pack_if_full(drops);
        }
    }

    fn add_event(&mut self, item: &Item<'_>, head: &RecordHead, upload: UploadId, drops: &mut Drops) {
        let timestamp_ms = item.timestamp_ms.unwrap_or(head.received_at_ms - item.offset_ms.unwrap_or_default());
        let Pile { text: out, lines } = &mut self.events;
        let line_starts = out.len();
        out.extend_from_slice(br#"{"kind":"event","event":"#);
        json::append_string(&item.name, out);
        out.extend_from_slice(b",\"uuid\":\"");
        out.extend_from_slice(reelcase_format::id::upload_id_to_hex(&upload).as_bytes());
        out.extend_from_slice(format!("\",\"timestamp\":{timestamp_ms}").as_bytes());
        for (name, value) in [("distinct_id", &item.distinct_id), ("window_id", &item.window_id)] {
            if let Some(value) = value {
                out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                json::append_string(value, out);
            }
        }
        for (name, raw) in [
            ("$set", json::member(item.raw, "$set")),
            ("$set_once", json::member(item.raw, "$set_once")),
            ("properties", item.properties),
        ] {
            if let Some(raw) = raw {
                out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                json::append_compact(raw, out);
            }
        }
        out.extend_from_slice(b"}\n");
        self.summarizer.add_analytics_event();
        let span = (line_starts, line_starts, out.len());
        lines.push(Line { timestamp_ms, window: 0, span, kind: 0, source: None, interaction: None, upload });
        self.pack_if_full(drops);
    }

    fn window(&mut self, id: &str) -> usize {
        self.windows.iter().position(|known| known.id == id).unwrap_or_else(|| {
            let mut beginning = Vec::new();
            begin_line(id, &mut beginning);
            self.windows.push(Window { id: id.to_owned(), beginning });
            self.windows.len() - 1
        })
    }

    fn pack_if_full(&mut self, drops: &mut Drops) {
        if self.recorded.text.len() + self.events.text.len() >= ARENA_BYTES_MAX {
            self.pack(drops);
        }
    }

    /// Orders the events by time and packs them. The analytics events go into blocks of their own.
    fn pack(&mut self, drops: &mut Drops) {
        self.recorded.sort(&mut self.sorted);
        let mut draft = self.draft(BlockKind::Lines);
        let mut block_starts = 0;
        for line in &self.recorded.lines {
            let (starts, event_starts, ends) = line.span;
            let counted = Counted {
                window: &self.windows[line.window].id,
                kind: line.kind,
                timestamp_ms: line.timestamp_ms,
                source: line.source,
                interaction: line.interaction,
                event: &self.recorded.text[event_starts..ends.saturating_sub(2)],
            };
            self.summarizer.add(&counted, ends - starts);
            draft.push(&counted, ends - starts);
            draft.note_upload(line.upload);
            if draft.is_full() {
                push_encoded(&mut draft, &self.recorded.text[block_starts..ends], &mut self.blocks, drops);
                block_starts = ends;
            }
        }
        push_encoded(&mut draft, &self.recorded.text[block_starts..], &mut self.blocks, drops);
        self.recorded.clear();
        self.pack_events(drops);
    }

    fn pack_events(&mut self, drops: &mut Drops) {
        if self.events.lines.is_empty() {
            return;
        }
        self.events.sort(&mut self.sorted);
        let mut draft = self.draft(BlockKind::Events);
        let mut block_starts = 0;
        for Line { timestamp_ms, span: (starts, _, ends), upload, .. } in &self.events.lines {
            draft.push_line(*timestamp_ms, ends - starts);
            self.persons.extend(persons::change(&self.key.project, &self.events.text[*starts..*ends]));
            draft.note_upload(*upload);
            if draft.is_full() {
                push_encoded(&mut draft, &self.events.text[block_starts..*ends], &mut self.blocks, drops);
                block_starts = *ends;
            }
        }
        push_encoded(&mut draft, &self.events.text[block_starts..], &mut self.blocks, drops);
        self.events.clear();
    }

    fn draft(&self, kind: BlockKind) -> BlockDraft {
        BlockDraft::new(self.key.project.clone(), self.key.recording.clone(), kind)
    }

    fn finish(mut self, drops: &mut Drops) -> (Summary, Vec<EncodedBlock>, Vec<PersonChange>, Memory) {
        self.pack(drops);
        let memory = Memory { arena: self.recorded.text, sorted: self.sorted, ..Memory::default() };
        (self.summarizer.finish(), self.blocks, self.persons, memory)
    }
}

impl Pile {
    /// Orders the lines by time, those of one time as they came. Most clients send them so, and then nothing moves.
    fn sort(&mut self, memory: &mut Vec<u8>) {
        if self.lines.is_sorted_by_key(|line| line.timestamp_ms) {
            return;
        }
        self.lines.sort_by_key(|line| line.timestamp_ms);
        memory.clear();
        for line in &mut self.lines {
            let (starts, event_starts, ends) = line.span;
            let moved = memory.len();
            memory.extend_from_slice(&self.text[starts..ends]);
            line.span = (moved, moved + event_starts - starts, memory.len());
        }
        std::mem::swap(&mut self.text, memory);
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.text.clear();
        self.text.shrink_to(ARENA_BYTES_MAX);
    }
}

fn push_encoded(draft: &mut BlockDraft, plain: &[u8], blocks: &mut Vec<EncodedBlock>, drops: &mut Drops) {
    if plain.is_empty() {
        return;
    }
    match draft.encode_and_restart(plain, SEAL_LEVEL) {
        Ok(block) => blocks.push(block),
        Err(_) => drops.count("block_not_encoded"),
    }
}

/// The library that a user agent names, as PostHog's capture service reads it (`events/recordings.rs`).
fn library_of(user_agent: &str) -> Option<&str> {
    user_agent.split('/').next().filter(|name| name.contains("posthog"))
}
