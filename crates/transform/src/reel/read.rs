//! Reads one recording of a `.reel` file, in the order of time.

use reelcase_format::block::{BlockKind, decode_block};
use reelcase_format::event::EventHead;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::line::{lines, split_line};
use reelcase_format::reel::{BlockEntry, RecordingEntry, ReelError, ReelLimits, Source, index_of, recover};
use serde_json::Value;

use super::{NOTES, PERSON, SAID};
use crate::stream::{Damage, Event, Header, ReadError, ReadEvents, ReadReport, is_event};

/// What a file may be. Past any of these reading ends and says where, or goes on with less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReelReadLimits {
    /// Of the file's parts.
    pub reel: ReelLimits,
    /// Bytes of lines in blocks that are held at once because they overlap in time. Above it the next block waits, and
    /// the events that it should have been mixed with come before it.
    pub open_bytes_max: u64,
    /// Lines in one block that are no events and are named one by one.
    pub damage_max: usize,
}

impl Default for ReelReadLimits {
    fn default() -> Self {
        Self { reel: ReelLimits::default(), open_bytes_max: 64 << 20, damage_max: 1_000 }
    }
}

/// Reads the events of one recording. Blocks that cannot be read are left out and named.
pub struct ReelReader<S> {
    source: S,
    limits: ReelReadLimits,
    header: Header,
    report: ReadReport,
    /// Blocks that are not opened yet, latest first.
    closed: Vec<BlockEntry>,
    open: Vec<OpenBlock>,
    window: String,
    event: Vec<u8>,
}

/// A block being read.
struct OpenBlock {
    plain: Vec<u8>,
    offset: u64,
    /// Timestamp, start and end of each line, in the order of time.
    lines: Vec<(i64, usize, usize)>,
    next: usize,
}

/// Recordings and blocks of a file, whole or not.
struct Contents {
    recordings: Vec<RecordingEntry>,
    blocks: Vec<BlockEntry>,
}

impl<S: Source> ReelReader<S> {
    /// Begins to read `recording`, or the only one that the file holds.
    ///
    /// Fails where there is no such recording, where there are several and none is named, and where the file is newer
    /// than this code. A file without an index is searched for its blocks.
    pub fn open(source: S, recording: Option<&RecordingId>, limits: ReelReadLimits) -> Result<Self, ReadError> {
        let mut report = ReadReport::default();
        let contents = Contents::read(&source, &limits.reel, &mut report)?;
        let (project, id) = contents.choose(recording)?;
        let of_recording =
            |block: &BlockEntry| block.head.recording.as_ref() == Some(&id) && block.head.project == project;
        let entry = contents.recordings.iter().find(|entry| entry.id == id && entry.project == project);
        let header = header_of(id.clone(), entry);
        let mut closed: Vec<BlockEntry> = contents.blocks.into_iter().filter(of_recording).collect();
        let others = closed.extract_if(.., |block| block.head.kind != BlockKind::Lines);
        report.other_line_count = others.map(|block| block.head.event_count).sum();
        report.said_count = entry.map_or(0, said_count);
        closed.sort_by_key(|block| std::cmp::Reverse((block.head.start_ms, block.offset)));
        let (open, window, event) = (Vec::new(), String::new(), Vec::new());
        Ok(Self { source, limits, header, report, closed, open, window, event })
    }

    fn open_what_may_come_next(&mut self) {
        loop {
            let earliest_ms = self.earliest().map(|index| self.open[index].timestamp_ms());
            let open_bytes: u64 = self.open.iter().map(|block| block.plain.len() as u64).sum();
            let is_needed = |block: &mut BlockEntry| {
                let fits = open_bytes + block.head.plain_bytes <= self.limits.open_bytes_max;
                earliest_ms.is_none_or(|earliest_ms| fits && block.head.start_ms <= earliest_ms)
            };
            let Some(entry) = self.closed.pop_if(is_needed) else { return };
            match self.read_block(&entry) {
                Ok(block) if block.lines.is_empty() => {}
                Ok(block) => self.open.push(block),
                Err(error) => self.note_damage(entry.offset, format!("a block cannot be read: {error}")),
            }
        }
    }

    fn read_block(&self, entry: &BlockEntry) -> Result<OpenBlock, ReelError> {
        let limits = &self.limits.reel.block;
        let stored_bytes = usize::try_from(entry.head.stored_bytes).unwrap_or(usize::MAX);
        let ends = entry.offset.checked_add(entry.head.stored_bytes);
        if ends.is_none_or(|ends| ends > self.source.file_bytes()) || stored_bytes > limits.stored_bytes_max {
            return Err(ReelError::CutOff { part: "block" });
        }
        let frame = self.source.read(entry.offset, stored_bytes);
        let frame = frame.map_err(|error| ReelError::Unreadable(error.to_string()))?;
        Ok(OpenBlock::new(decode_block(&frame, &entry.head, limits)?, entry.offset))
    }

    fn earliest(&self) -> Option<usize> {
        (0..self.open.len()).min_by_key(|index| self.open[*index].timestamp_ms())
    }

    fn note_damage(&mut self, at: u64, what: String) {
        if self.report.damage.len() < self.limits.damage_max {
            self.report.damage.push(Damage { at, event_index: self.report.event_count, what });
        }
    }

    /// Takes the earliest line out of its block. `None` at the end; `false` where it is no event.
    fn take_line(&mut self) -> Option<bool> {
        self.open_what_may_come_next();
        let index = self.earliest()?;
        let block = &mut self.open[index];
        let (_, starts, ends) = block.lines[block.next];
        block.next += 1;
        let (is_over, offset) = (block.next == block.lines.len(), block.offset);
        let found = split_line(&block.plain[starts..ends]).filter(|(_, event)| is_event(event));
        let is_found = found.is_some();
        if let Some((window, event)) = found {
            self.window.clear();
            self.window.push_str(&window);
            self.event.clear();
            self.event.extend_from_slice(event);
        }
        if is_over {
            self.open.remove(index);
        }
        if !is_found {
            self.note_damage(offset, format!("the line at plain offset {starts} of this block is no event"));
        }
        Some(is_found)
    }
}

impl<S: Source> ReadEvents for ReelReader<S> {
    fn next_event(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        loop {
            match self.take_line() {
                Some(true) => break,
                Some(false) => {}
                None => return Ok(None),
            }
        }
        self.report.event_count += 1;
        Ok(Some(Event { window: &self.window, json: &self.event }))
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn report(&self) -> &ReadReport {
        &self.report
    }
}

impl OpenBlock {
    fn new(plain: Vec<u8>, offset: u64) -> Self {
        let mut starts = 0;
        let mut found: Vec<(i64, usize, usize)> = Vec::new();
        for line in plain.split_inclusive(|byte| *byte == b'\n') {
            let ends = starts + line.len();
            if lines(line).next().is_some() {
                let head = split_line(line).and_then(|(_, event)| EventHead::read(event));
                // A line whose time cannot be read stays beside the one before it.
                let before = found.last().map_or(0, |(timestamp_ms, _, _)| *timestamp_ms);
                found.push((head.map_or(before, |head| head.timestamp_ms()), starts, ends));
            }
            starts = ends;
        }
        // The sort is stable: events of one millisecond have no other order than that of the file.
        found.sort_by_key(|(timestamp_ms, _, _)| *timestamp_ms);
        Self { plain, offset, lines: found, next: 0 }
    }

    fn timestamp_ms(&self) -> i64 {
        self.lines.get(self.next).map_or(i64::MAX, |(timestamp_ms, _, _)| *timestamp_ms)
    }
}

impl Contents {
    fn read(source: &impl Source, limits: &ReelLimits, report: &mut ReadReport) -> Result<Self, ReadError> {
        match index_of(source, limits) {
            Ok(index) => return Ok(Self { recordings: index.recordings, blocks: index.blocks }),
            Err(error @ ReelError::TooNew { .. }) => return Err(error.into()),
            Err(_) => {}
        }
        let recovered = recover(source, limits);
        for damage in recovered.damage {
            report.damage.push(Damage { at: damage.offset, event_index: 0, what: damage.what.to_string() });
        }
        Ok(Self { recordings: Vec::new(), blocks: recovered.blocks })
    }

    fn choose(&self, wanted: Option<&RecordingId>) -> Result<(ProjectKey, RecordingId), ReadError> {
        let of_blocks =
            self.blocks.iter().filter_map(|block| Some((&block.head.project, block.head.recording.as_ref()?)));
        let of_index = self.recordings.iter().map(|entry| (&entry.project, &entry.id));
        let mut found: Vec<_> = of_index.chain(of_blocks).collect();
        found.sort_unstable();
        found.dedup();
        found.retain(|(_, id)| wanted.is_none_or(|wanted| wanted == *id));
        match (found.as_slice(), wanted) {
            ([], Some(wanted)) => Err(ReadError::NoSuchRecording(wanted.clone())),
            ([], None) => Err(ReadError::NoRecording),
            ([(project, id), ..], Some(_)) | ([(project, id)], None) => Ok(((*project).clone(), (*id).clone())),
            ([(_, one), (_, other), ..], None) => {
                Err(ReadError::SeveralRecordings { count: found.len(), one: (*one).clone(), other: (*other).clone() })
            }
        }
    }
}

/// What people said of the recording, as the file lists it.
fn said_count(entry: &RecordingEntry) -> u64 {
    let list = |name| entry.metadata.get(NOTES)?.get(name)?.as_array();
    SAID.into_iter().filter_map(list).map(|list| list.len() as u64).sum()
}

fn header_of(id: RecordingId, entry: Option<&RecordingEntry>) -> Header {
    let mut header = Header { recording: Some(id), ..Header::default() };
    if let Some(entry) = entry {
        header.source.clone_from(&entry.summary.source);
        header.library.clone_from(&entry.summary.library);
        header.library_version.clone_from(&entry.summary.library_version);
        header.distinct_ids.clone_from(&entry.summary.distinct_ids);
        let known = |name| entry.metadata.get(PERSON).and_then(|person| person.get(name));
        header.person_properties = known("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        for id in known("distinct_ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !header.distinct_ids.iter().any(|there| there == id) {
                header.distinct_ids.push(id.to_owned());
            }
        }
    }
    header
}
