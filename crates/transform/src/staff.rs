//! Reads the zip that PostHog makes of one recording for its own staff: its blocks, and the rows that ClickHouse has of it.
//!
//! | Entry | Holds |
//! | --- | --- |
//! | `data/BATCH` | zeros up to where the block lies in its batch, the block, zeros |
//! | `clickhouse/session-replay-events.json` | the recording's row: its figures, and the URLs of its blocks |
//! | `clickhouse/events.json` | the session's analytics events |
//! | `s3_prefix.txt` | where the batches lay |
//!
//! They may lie in a folder. PostHog leaves out blocks that it cannot fetch, and keeps only one of those that lay in one
//! batch, and says nothing of either; so what is there is compared with what the row names.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read};

use reelcase_format::count::counted;
use serde_json::{Map, Value};

use crate::analytics::{AnalyticsEvent, moment_ms};
use crate::foreign::rows::Rows;
use crate::foreign::{ForeignReader, Limits};
use crate::reel::Beside;
use crate::stream::{Damage, Event, Header, ReadError, ReadEvents, ReadReport};
use crate::zip::{Zip, ZipEntry, ZipError, ZipLimits};

/// Key of a recording's summary that holds PostHog's figures.
pub const FIGURES: &str = "posthog";

/// The names of the entries, behind the folder that all of them lie in.
const ROW: &str = "clickhouse/session-replay-events.json";
const EVENTS: &str = "clickhouse/events.json";
const PREFIX: &str = "s3_prefix.txt";
const DATA: &str = "data/";

/// Analytics events that are brought along, and how much they may have.
const EVENTS_MAX: usize = 100_000;
const EVENTS_BYTES_MAX: usize = 64 << 20;

/// Persons of a session, and ids of one, that are told apart.
const PERSONS_MAX: usize = 100;
const DISTINCT_IDS_MAX: usize = 100;

/// Missing blocks that are named one by one.
const MISSING_SHOWN_MAX: usize = 3;

/// Why a zip is not read.
#[derive(Debug, thiserror::Error)]
pub enum StaffError {
    /// It is damaged, or more than is read.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// It is some other zip.
    #[error("there is no recording in this zip as PostHog exports one\nhint: unpack it and name what is in it")]
    Other,
    /// It holds several of them, which would be mixed.
    #[error("there are several exports in this zip, in {one:?} and {other:?}\nhint: unpack it and pack each by itself")]
    Several {
        /// The folder of one.
        one: String,
        /// The folder of another one.
        other: String,
    },
}

/// Reads the events of the recording.
pub struct StaffReader {
    zip: Zip,
    /// Blocks that are still to be read, the last one first.
    blocks: Vec<ZipEntry>,
    current: Option<(ZipEntry, ForeignReader<'static>)>,
    events: Option<ZipEntry>,
    row: Map<String, Value>,
    session: Session,
    header: Header,
    report: ReadReport,
    window: String,
    event: Vec<u8>,
}

/// What there is in a zip.
#[derive(Default)]
struct Parts {
    folder: Option<String>,
    row: Option<ZipEntry>,
    events: Option<ZipEntry>,
    has_prefix: bool,
    blocks: Vec<ZipEntry>,
}

/// What the analytics events say of the session.
#[derive(Default)]
struct Session {
    id: Option<String>,
    event_count: u64,
    persons: BTreeMap<String, Person>,
}

/// What they say of somebody.
#[derive(Default)]
struct Person {
    distinct_ids: Vec<String>,
    properties: Map<String, Value>,
    latest_ms: i64,
}

impl StaffReader {
    /// Looks through a zip, which must be one of these.
    pub fn open(file: File, limits: &ZipLimits) -> Result<Self, StaffError> {
        let zip = Zip::open(file, limits)?;
        let Parts { row, events, mut blocks, .. } = Parts::of(&zip)?;
        blocks.sort_by(|one, other| other.name.cmp(&one.name));
        let mut reader = Self {
            zip,
            blocks,
            current: None,
            events,
            row: Map::new(),
            session: Session::default(),
            header: Header::default(),
            report: ReadReport::default(),
            window: String::new(),
            event: Vec::new(),
        };
        if let Some(row) = row {
            reader.read_row(&row);
        }
        if let Some(events) = reader.events.clone() {
            reader.read_session(&events);
        }
        reader.fill_header();
        reader.leave_out_repeated();
        Ok(reader)
    }

    /// Analytics events, and PostHog's figures.
    pub fn beside(&self) -> Beside {
        let mut beside = Beside::default();
        let (mut held_bytes, mut left_out) = (0, 0_u64);
        let mut take = |row: &Map<String, Value>| {
            let Some(line) = event_of(row).line() else { return };
            held_bytes += line.json.len();
            match beside.events.len() < EVENTS_MAX && held_bytes <= EVENTS_BYTES_MAX {
                true => beside.events.push(line),
                false => left_out += 1,
            }
        };
        // What is damaged of it is in the report already.
        let _ = self.events.as_ref().map_or(Ok(()), |events| self.each_row(events, &mut take));
        let mut figures: Map<String, Value> =
            self.row.iter().filter(|(name, _)| !name.starts_with("block_")).map(figure).collect();
        if left_out > 0 {
            figures.insert("analytics_events_left_out".to_owned(), left_out.into());
        }
        if !figures.is_empty() {
            beside.summary.insert(FIGURES.to_owned(), figures.into());
        }
        beside
    }

    /// Calls back with each row of an entry. Fails with the place and what is wrong there.
    fn each_row(&self, entry: &ZipEntry, take: &mut dyn FnMut(&Map<String, Value>)) -> Result<(), String> {
        let mut rows = Rows::new(self.zip.read(entry).map_err(|error| error.to_string())?);
        while let Some(row) = rows.next_row()? {
            take(&row);
        }
        Ok(())
    }

    /// Reads the recording's row, and looks whether the blocks that it names are there.
    fn read_row(&mut self, entry: &ZipEntry) {
        let mut found = None;
        if let Err(what) = self.each_row(entry, &mut |row| found = found.take().or_else(|| Some(row.clone()))) {
            self.note_damage(entry, &what);
        }
        self.row = found.unwrap_or_default();
        if let Some(what) = self.missing_blocks() {
            self.note_damage(entry, &what);
        }
    }

    fn missing_blocks(&self) -> Option<String> {
        let urls = self.row.get("block_urls").and_then(Value::as_array).into_iter().flatten();
        let named: BTreeSet<(&str, &str)> = urls.filter_map(Value::as_str).filter_map(batch_and_range).collect();
        let mut there: HashSet<&str> = self.blocks.iter().map(|block| last_name(&block.name)).collect();
        // One of those that lay in one batch is there.
        let missing: Vec<&str> =
            named.iter().filter(|(batch, _)| !there.remove(batch)).map(|(batch, _)| *batch).collect();
        let shown = missing.iter().take(MISSING_SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = if missing.len() > MISSING_SHOWN_MAX { ", …" } else { "" };
        let are = if missing.len() == 1 { "is" } else { "are" };
        let blocks = counted(named.len() as u64, "block");
        let what = || format!("{} of the {blocks} that it names {are} missing: {shown}{more}", missing.len());
        (!missing.is_empty()).then(what)
    }

    /// Reads of the analytics events what they say of the session and its person.
    fn read_session(&mut self, entry: &ZipEntry) {
        let mut session = Session::default();
        if let Err(what) = self.each_row(entry, &mut |row| session.note(row)) {
            self.note_damage(entry, &what);
        }
        self.report.other_line_count = session.event_count;
        self.session = session;
    }

    fn fill_header(&mut self) {
        let text = |name: &str| self.row.get(name).and_then(Value::as_str).map(str::to_owned);
        let id = text("session_id").or(self.session.id.clone());
        let mut header = Header {
            recording: id.and_then(|id| id.parse().ok()),
            source: text("snapshot_source"),
            library: text("snapshot_library"),
            ..Header::default()
        };
        header.distinct_ids.extend(self.row_distinct_id().map(str::to_owned));
        if let Some(person) = self.person() {
            for id in &person.distinct_ids {
                if !header.distinct_ids.contains(id) {
                    header.distinct_ids.push(id.clone());
                }
            }
            header.person_properties.clone_from(&person.properties);
        }
        self.header = header;
    }

    fn row_distinct_id(&self) -> Option<&str> {
        let value = self.row.get("distinct_id").or_else(|| self.row.get("any(distinct_id)"))?;
        value.as_str().filter(|id| !id.is_empty())
    }

    /// Who was recorded: the person with the row's id, or the only one there is.
    fn person(&self) -> Option<&Person> {
        let mut persons = self.session.persons.values();
        match self.row_distinct_id() {
            Some(id) => persons.find(|person| person.distinct_ids.iter().any(|one| one == id)),
            None => persons.next().filter(|_| self.session.persons.len() == 1),
        }
    }

    /// PostHog may have delivered a block twice, into two batches.
    fn leave_out_repeated(&mut self) {
        let mut seen = HashSet::new();
        let Self { zip, blocks, .. } = self;
        let is_new = |entry: &ZipEntry| match zip.read(entry).and_then(hash_of) {
            Ok(hash) => seen.insert(hash),
            // What is wrong with it is said when it is read.
            Err(_) => true,
        };
        // The first of them stays, and is last here.
        let kept: Vec<bool> = blocks.iter().rev().map(is_new).collect();
        let mut kept = kept.into_iter().rev();
        blocks.retain(|_| kept.next().unwrap_or(true));
    }

    /// Takes the next event of the block at hand, if there is one.
    fn take_event(&mut self) -> bool {
        let Some((entry, reader)) = &mut self.current else { return false };
        match reader.next_event() {
            Ok(Some(event)) => {
                self.window.clear();
                self.window.push_str(event.window);
                self.event.clear();
                self.event.extend_from_slice(event.json);
                true
            }
            Ok(None) => false,
            Err(error) => {
                let entry = entry.clone();
                self.note_damage(&entry, &error.to_string());
                false
            }
        }
    }

    /// Ends the block at hand and goes on to the next. `false` where there is none.
    fn next_block(&mut self) -> bool {
        if let Some((entry, reader)) = self.current.take() {
            let report = reader.report();
            self.report.skipped_count += report.skipped_count;
            if report.skipped_count > 0 {
                self.report.first_skipped_at.get_or_insert(entry.at);
            }
            for damage in &report.damage {
                self.note_damage(&entry, &format!("byte {}: {}", damage.at, damage.what));
            }
        }
        while let Some(entry) = self.blocks.pop() {
            let opened = self.zip.read(&entry).map_err(|error| error.to_string());
            let opened = opened
                .and_then(|block| ForeignReader::new(block, Limits::default()).map_err(|error| error.to_string()));
            match opened {
                Ok(reader) => {
                    self.current = Some((entry, reader));
                    return true;
                }
                Err(what) => self.note_damage(&entry, &what),
            }
        }
        false
    }

    fn note_damage(&mut self, entry: &ZipEntry, what: &str) {
        let what = format!("{}: {what}", entry.name);
        self.report.damage.push(Damage { at: entry.at, event_index: self.report.event_count, what });
    }
}

impl ReadEvents for StaffReader {
    fn next_event(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        while !self.take_event() {
            if !self.next_block() {
                return Ok(None);
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

impl Parts {
    fn of(zip: &Zip) -> Result<Self, StaffError> {
        let mut parts = Self::default();
        for entry in zip.entries() {
            parts.note(entry)?;
        }
        match parts.row.is_some() || (parts.has_prefix && !parts.blocks.is_empty()) {
            true => Ok(parts),
            false => Err(StaffError::Other),
        }
    }

    fn note(&mut self, entry: &ZipEntry) -> Result<(), StaffError> {
        let name = &entry.name;
        // What systems put beside files is nobody's recording.
        if last_name(name).starts_with('.') || name.starts_with("__MACOSX/") {
            return Ok(());
        }
        let folder = if let Some(folder) = below(name, ROW) {
            self.row = Some(entry.clone());
            folder
        } else if let Some(folder) = below(name, EVENTS) {
            self.events = Some(entry.clone());
            folder
        } else if let Some(folder) = below(name, PREFIX) {
            self.has_prefix = true;
            folder
        } else if let Some(folder) = name.strip_suffix(last_name(name)).and_then(|folder| below(folder, DATA)) {
            self.blocks.push(entry.clone());
            folder
        } else {
            return Ok(());
        };
        match &self.folder {
            Some(other) if other != folder => Err(StaffError::Several { one: other.clone(), other: folder.to_owned() }),
            _ => {
                self.folder = Some(folder.to_owned());
                Ok(())
            }
        }
    }
}

impl Session {
    fn note(&mut self, row: &Map<String, Value>) {
        self.event_count += 1;
        let text = |name: &str| row.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if self.id.is_none() {
            let of_properties = || {
                let properties: Value = serde_json::from_str(text("properties")?).ok()?;
                properties["$session_id"].as_str().map(str::to_owned)
            };
            self.id = text("$session_id").map(str::to_owned).or_else(of_properties);
        }
        let (Some(id), Some(distinct_id)) = (text("person_id"), text("distinct_id")) else { return };
        if !self.persons.contains_key(id) && self.persons.len() >= PERSONS_MAX {
            return;
        }
        let person = self.persons.entry(id.to_owned()).or_default();
        if person.distinct_ids.len() < DISTINCT_IDS_MAX && !person.distinct_ids.iter().any(|known| known == distinct_id)
        {
            person.distinct_ids.push(distinct_id.to_owned());
        }
        let at_ms = row.get("timestamp").and_then(moment_ms).unwrap_or_default();
        let properties = text("person_properties").and_then(|properties| serde_json::from_str(properties).ok());
        if let Some(properties) = properties.filter(|_| at_ms >= person.latest_ms) {
            (person.properties, person.latest_ms) = (properties, at_ms);
        }
    }
}

/// The folder in which something of this name lies, if it is of this name.
fn below<'a>(name: &'a str, known: &str) -> Option<&'a str> {
    name.strip_suffix(known).filter(|folder| folder.is_empty() || folder.ends_with('/'))
}

fn last_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The file and the range that a block's URL names.
fn batch_and_range(url: &str) -> Option<(&str, &str)> {
    let (path, range) = url.split_once('?')?;
    Some((last_name(path), range))
}

fn event_of(row: &Map<String, Value>) -> AnalyticsEvent<'_> {
    let column = |name: &str| row.get(name).unwrap_or(&Value::Null);
    AnalyticsEvent {
        uuid: column("uuid"),
        event: column("event"),
        timestamp: column("timestamp"),
        distinct_id: column("distinct_id"),
        properties: column("properties"),
    }
}

/// A column by the name that PostHog's API gives it: some are called `sum(click_count)`.
fn figure((name, value): (&String, &Value)) -> (String, Value) {
    let within = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    (within.unwrap_or(name).to_owned(), value.clone())
}

/// What tells one block from another, whatever the zeros around it.
fn hash_of(mut entry: impl Read) -> io::Result<blake3::Hash> {
    const PIECE_BYTES: usize = 64 << 10;
    static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
    let (mut hasher, mut zeros, mut piece) = (blake3::Hasher::new(), 0_usize, vec![0; PIECE_BYTES]);
    loop {
        let read_bytes = match entry.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read_bytes == 0 {
            return Ok(hasher.finalize());
        }
        let read = &piece[..read_bytes];
        let Some(last) = read.iter().rposition(|byte| *byte != 0) else {
            zeros += read_bytes;
            continue;
        };
        let mut from = 0;
        if hasher.count() == 0 {
            from = read.iter().position(|byte| *byte != 0).unwrap_or_default();
        } else {
            while zeros > 0 {
                hasher.update(&ZEROS[..zeros.min(PIECE_BYTES)]);
                zeros -= zeros.min(PIECE_BYTES);
            }
        }
        hasher.update(&read[from..=last]);
        zeros = read_bytes - last - 1;
    }
}
