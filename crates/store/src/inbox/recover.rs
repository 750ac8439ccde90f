//! Reading back: which segments are there, which records they hold, and what is damaged.

use std::{collections::HashMap, io, sync::Arc};

use super::{
    Damage, DamageKind, InboxError, InboxOptions, Position, Recovery,
    files::{FileHandle, Files, read_exact},
    record::{ALIGNMENT_BYTES, HEAD_BYTES, Head, Kind, Parsed, span_bytes},
    segment::{FORMAT_VERSION, Role, Segment, SegmentName},
    stock::{Fate, Retired, Shelf, Stage, Stock, Tracked},
};

/// Segments are read through a window of this size.
const WINDOW_BYTES: usize = 256 << 10;

/// A window that the disk will not give is read again in pages of this size, to lose no more than needed.
const PAGE_BYTES: usize = 4096;

/// Finds and reads all segments, in order, and makes a stock of them.
pub(super) fn recover(
    files: Arc<dyn Files>,
    options: &InboxOptions,
    mut recovered: impl FnMut(Position, Vec<u8>),
) -> Result<(Stock, Recovery), InboxError> {
    let mut shelf = Shelf::default();
    shelf.next_sequence = 1;
    let mut recovery = Recovery::default();
    let names = list(files.as_ref())?;
    files.sync_dir().map_err(InboxError::disk("sync its directory"))?;
    for SegmentName { sequence, role, .. } in names {
        // Greater than every number used, because a file may still hold records of the number in its name.
        shelf.next_sequence = shelf.next_sequence.max(sequence + 1);
        match role {
            Role::Damaged => {}
            Role::Spare => adopt_spare(files.as_ref(), sequence, &mut shelf)?,
            Role::Log => {
                let tracked = recover_segment(files.as_ref(), sequence, &mut recovery, &mut recovered)?;
                adopt_log(tracked, &mut shelf);
            }
        }
    }
    Ok((Stock::new(files, options, shelf), recovery))
}

/// Lists our files in order of sequence number, and refuses if one is of a newer format.
fn list(files: &dyn Files) -> Result<Vec<SegmentName>, InboxError> {
    let mut names = Vec::new();
    for name in files.list().map_err(InboxError::disk("list its directory"))? {
        match SegmentName::parse(&name) {
            Some(parsed) if parsed.version > FORMAT_VERSION => {
                return Err(InboxError::TooNew { found: parsed.version, newest: FORMAT_VERSION, name });
            }
            Some(parsed) => names.push(parsed),
            None => {}
        }
    }
    names.sort_by_key(|name| name.sequence);
    Ok(names)
}

fn adopt_spare(files: &dyn Files, sequence: u64, shelf: &mut Shelf) -> Result<(), InboxError> {
    let handle = files.open(&Role::Spare.name(sequence)).map_err(InboxError::disk("open a spare segment"))?;
    let file_bytes = handle.file_bytes().map_err(InboxError::disk("measure a spare segment"))?;
    shelf.disk_bytes += file_bytes;
    // Whether it has the right size and is wanted is decided where all retired files are looked at.
    shelf.retired.push(Retired { sequence, role: Role::Spare, file_bytes, fate: Fate::Recycle });
    Ok(())
}

fn adopt_log(tracked: Tracked, shelf: &mut Shelf) {
    let Segment { sequence, segment_bytes: file_bytes, .. } = *tracked.segment;
    shelf.disk_bytes += file_bytes;
    for (offset, len) in &tracked.waiting {
        shelf.count_waiting(Position { segment: sequence, offset: *offset, len: *len });
    }
    if tracked.waiting.is_empty() {
        let fate = if tracked.is_damaged { Fate::SetAside } else { Fate::Recycle };
        shelf.retired.push(Retired { sequence, role: Role::Log, file_bytes, fate });
    } else {
        shelf.segments.insert(sequence, tracked);
    }
}

fn recover_segment(
    files: &dyn Files,
    sequence: u64,
    recovery: &mut Recovery,
    recovered: &mut impl FnMut(Position, Vec<u8>),
) -> Result<Tracked, InboxError> {
    let handle = files.open(&Role::Log.name(sequence)).map_err(InboxError::disk("open a segment"))?;
    let segment_bytes = handle.file_bytes().map_err(InboxError::disk("measure a segment"))?;
    // What is handed back counts as stored from here on, and a killed process may have left it to the page cache.
    handle.sync_data().map_err(InboxError::disk("sync a segment"))?;
    let mut waiting = HashMap::new();
    let mut scan = Scan::new(handle.as_ref(), sequence, segment_bytes);
    while let Some((position, body)) = scan.next_record() {
        waiting.insert(position.offset, position.len);
        recovery.record_count += 1;
        recovery.record_bytes += u64::from(position.len);
        recovered(position, body);
    }
    let damage = scan.damage;
    recovery.segment_count += u64::from(!waiting.is_empty() || !damage.is_empty());
    let is_damaged = damage.iter().any(|damage| damage.kind != DamageKind::Torn);
    recovery.damage.extend(damage);
    let segment = Arc::new(Segment { sequence, segment_bytes, handle });
    Ok(Tracked { segment, stage: Stage::Full, waiting, is_damaged })
}

/// A stretch without a valid record, until it is known why.
struct Hole {
    start: u64,
    /// Something in it was a record of this segment once.
    has_trace: bool,
}

/// Walks the records of one segment.
struct Scan<'a> {
    window: Window<'a>,
    sequence: u64,
    at: u64,
    hole: Option<Hole>,
    damage: Vec<Damage>,
}

impl<'a> Scan<'a> {
    fn new(handle: &'a dyn FileHandle, sequence: u64, file_bytes: u64) -> Self {
        let window = Window { handle, file_bytes, start: 0, bytes: Vec::new(), unreadable: Vec::new() };
        Self { window, sequence, at: 0, hole: None, damage: Vec::new() }
    }

    /// Finds the next whole record. After the last one `damage` is complete.
    fn next_record(&mut self) -> Option<(Position, Vec<u8>)> {
        while let Some(head) = self.next_head() {
            if head.kind == Kind::End {
                self.close_hole(head.synced_bytes);
                self.note_unreadable();
                return None;
            }
            let offset = self.at;
            let body = self.window.body(offset + HEAD_BYTES, head.body_bytes);
            let Some(body) = body.filter(|body| crc32c::crc32c(body) == head.body_crc) else {
                self.open_hole(offset, true);
                // The head is whole, so its length is true. Going on behind the body, not inside it, keeps what a
                // client wrote into a body from being looked at.
                self.at = offset.saturating_add(span_bytes(head.body_bytes));
                continue;
            };
            self.close_hole(head.synced_bytes);
            self.at = offset + span_bytes(head.body_bytes);
            return Some((Position { segment: self.sequence, offset, len: head.body_bytes }, body));
        }
        if self.hole.as_ref().is_some_and(|hole| hole.has_trace) {
            self.close_hole(0);
        }
        self.note_unreadable();
        None
    }

    /// Moves on to the next valid head.
    fn next_head(&mut self) -> Option<Head> {
        loop {
            let (sequence, start) = (self.sequence, self.at);
            let bytes = self.window.from(start)?;
            let step = ALIGNMENT_BYTES as usize;
            let mut hole = None;
            let mut found = None;
            // Whatever is within a head's length of the window's end is looked at again through the next window.
            let places = (bytes.len() - HEAD_BYTES as usize) / step + 1;
            for place in 0..places {
                let offset = start + (place * step) as u64;
                match Head::parse(bytes.get(place * step..).unwrap_or_default(), sequence, offset) {
                    Parsed::Head(head) => {
                        found = Some((offset, head));
                        break;
                    }
                    Parsed::Trace => hole = Some(true),
                    Parsed::Nothing => hole = hole.or(Some(false)),
                }
            }
            if let Some(has_trace) = hole {
                self.open_hole(start, has_trace);
            }
            self.at = found.map_or(start + (places * step) as u64, |(offset, _)| offset);
            if let Some((_, head)) = found {
                return Some(head);
            }
        }
    }

    fn open_hole(&mut self, start: u64, has_trace: bool) {
        self.hole.get_or_insert(Hole { start, has_trace }).has_trace |= has_trace;
    }

    /// Notes the hole before a valid head, and judges all holes by what this head says was durable: one that begins
    /// below `synced_bytes` was on the disk once, even if a record of its own batch came between.
    fn close_hole(&mut self, synced_bytes: u64) {
        if let Some(Hole { start, .. }) = self.hole.take() {
            self.damage.push(Damage { segment: self.sequence, offset: start, kind: DamageKind::Torn });
        }
        for damage in self.damage.iter_mut().filter(|damage| damage.offset < synced_bytes) {
            damage.kind = DamageKind::Corrupt;
        }
    }

    fn note_unreadable(&mut self) {
        for offset in std::mem::take(&mut self.window.unreadable) {
            self.damage.push(Damage { segment: self.sequence, offset, kind: DamageKind::Unreadable });
        }
        self.damage.sort_by_key(|damage| damage.offset);
    }
}

/// Part of a segment in memory.
struct Window<'a> {
    handle: &'a dyn FileHandle,
    file_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
    /// Pages that the disk would not give. They read as zeroes.
    unreadable: Vec<u64>,
}

impl Window<'_> {
    /// Gives what is in memory from `at` on: at least a head. `None` when the file has no more.
    fn from(&mut self, at: u64) -> Option<&[u8]> {
        let head_end = at.checked_add(HEAD_BYTES).filter(|end| *end <= self.file_bytes)?;
        if at < self.start || head_end > self.start + self.bytes.len() as u64 {
            let window_bytes = (self.file_bytes - at).min(WINDOW_BYTES as u64);
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(window_bytes as usize, 0);
            self.fill(at, &mut bytes);
            self.bytes = bytes;
            self.start = at;
        }
        self.bytes.get((at - self.start) as usize..)
    }

    /// Reads a body. `None` when the file is too short for it; its length is a claim and is checked before allocating.
    fn body(&mut self, at: u64, body_bytes: u32) -> Option<Vec<u8>> {
        let end = at.checked_add(u64::from(body_bytes)).filter(|end| *end <= self.file_bytes)?;
        if at >= self.start && end <= self.start + self.bytes.len() as u64 {
            return Some(self.bytes.get((at - self.start) as usize..(end - self.start) as usize)?.to_vec());
        }
        let mut body = vec![0; body_bytes as usize];
        self.fill(at, &mut body);
        Some(body)
    }

    fn fill(&mut self, at: u64, bytes: &mut [u8]) {
        if read_exact(self.handle, at, bytes).is_ok() {
            return;
        }
        for (index, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
            let offset = at + (index * PAGE_BYTES) as u64;
            if let Err(error) = read_exact(self.handle, offset, page) {
                page.fill(0);
                // A file that became shorter while it was read has lost its tail, which the scan finds by itself.
                if error.kind() != io::ErrorKind::UnexpectedEof && !self.unreadable.contains(&offset) {
                    self.unreadable.push(offset);
                }
            }
        }
    }
}
