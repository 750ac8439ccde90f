//! Recordings as tables in Parquet, for programs that ask questions of many at once.
//!
//! There are three tables, whose columns `docs/formats.md` describes: `recordings`, `events` and `snapshots`. A file holds
//! rows of whole recordings, one recording after the other, so that `snapshots` can be read back ([`SnapshotReader`]).
//!
//! The version of the tables stands in each file. Columns may be added within a version; one that changes its meaning, its
//! type or its name makes another.

mod read;
mod rows;

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};
use reelcase_format::line::{lines, split_line};
use serde_json::Value;

use crate::stream::{LeftOut, head_of_event};

pub use read::{SnapshotError, SnapshotReader, is_parquet};

/// Version of the tables.
pub const TABLES_VERSION: u32 = 1;

/// Key of a file's metadata that names its table.
const TABLE_KEY: &str = "reelcase.table";

/// Key of a file's metadata that holds the version.
const VERSION_KEY: &str = "reelcase.tables_version";

/// Bytes of rows that are gathered before they are written.
const GROUP_BYTES: usize = 24 << 20;

/// Rows that are gathered before they are written.
const GROUP_ROWS: usize = 250_000;

/// zstd's level.
const LEVEL: i32 = 3;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableName {
    /// One row for each recording.
    Recordings,
    /// One row for what somebody did, where they went, and what the page asked, said and suffered.
    Events,
    /// One row for each rrweb event, as it was recorded.
    Snapshots,
}

/// All tables, in the order in which they are written.
pub const TABLES: [TableName; 3] = [TableName::Recordings, TableName::Events, TableName::Snapshots];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
    /// Milliseconds since the epoch, in UTC.
    Moment,
}

/// A column.
#[derive(Debug, Clone, Copy)]
struct ColumnInfo {
    name: &'static str,
    kind: Kind,
    is_optional: bool,
}

const fn required(name: &'static str, kind: Kind) -> ColumnInfo {
    ColumnInfo { name, kind, is_optional: false }
}

const fn optional(name: &'static str, kind: Kind) -> ColumnInfo {
    ColumnInfo { name, kind, is_optional: true }
}

/// What all tables begin with.
const OF_ALL: [ColumnInfo; 2] = [required("project", Kind::Text), required("recording", Kind::Text)];

const RECORDINGS: [ColumnInfo; 24] = [
    OF_ALL[0],
    OF_ALL[1],
    required("start", Kind::Moment),
    required("end", Kind::Moment),
    required("duration_ms", Kind::Whole),
    required("active_ms", Kind::Whole),
    required("event_count", Kind::Whole),
    required("click_count", Kind::Whole),
    required("keypress_count", Kind::Whole),
    required("mouse_activity_count", Kind::Whole),
    required("console_log_count", Kind::Whole),
    required("console_warn_count", Kind::Whole),
    required("console_error_count", Kind::Whole),
    required("full_snapshot_count", Kind::Whole),
    required("analytics_event_count", Kind::Whole),
    required("plain_bytes", Kind::Whole),
    required("updated", Kind::Moment),
    optional("source", Kind::Text),
    optional("library", Kind::Text),
    optional("library_version", Kind::Text),
    optional("start_url", Kind::Text),
    required("urls", Kind::Text),
    required("distinct_ids", Kind::Text),
    required("person_properties", Kind::Text),
];

const EVENTS: [ColumnInfo; 16] = [
    OF_ALL[0],
    OF_ALL[1],
    optional("window", Kind::Text),
    required("time", Kind::Moment),
    required("kind", Kind::Text),
    required("name", Kind::Text),
    optional("url", Kind::Text),
    optional("method", Kind::Text),
    optional("status", Kind::Whole),
    optional("duration_ms", Kind::Whole),
    optional("level", Kind::Text),
    optional("message", Kind::Text),
    optional("node", Kind::Whole),
    optional("x", Kind::Whole),
    optional("y", Kind::Whole),
    optional("properties", Kind::Text),
];

const SNAPSHOTS: [ColumnInfo; 8] = [
    OF_ALL[0],
    OF_ALL[1],
    required("index", Kind::Whole),
    required("window", Kind::Text),
    required("time", Kind::Moment),
    required("type", Kind::Whole),
    optional("source", Kind::Whole),
    required("event", Kind::Text),
];

impl TableName {
    /// What its folder and its metadata call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recordings => "recordings",
            Self::Events => "events",
            Self::Snapshots => "snapshots",
        }
    }

    fn columns(self) -> &'static [ColumnInfo] {
        match self {
            Self::Recordings => &RECORDINGS,
            Self::Events => &EVENTS,
            Self::Snapshots => &SNAPSHOTS,
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone)]
enum Cell {
    Null,
    Text(Bytes),
    Whole(i64),
}

/// Why tables cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The place they are written to failed.
    #[error("cannot write on")]
    Io(#[source] io::Error),
    /// They cannot be made.
    #[error("cannot write tables")]
    Parquet(#[source] ParquetError),
}

impl From<ParquetError> for TableError {
    fn from(error: ParquetError) -> Self {
        match error {
            // It would say twice what is wrong.
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(io) => Self::Io(*io),
                Err(inner) => Self::Parquet(ParquetError::External(inner)),
            },
            other => Self::Parquet(other),
        }
    }
}

/// Writes the three tables, recording by recording.
pub struct Tables<W: Write + Send> {
    recordings: Table<W>,
    events: Table<W>,
    snapshots: Table<W>,
    project: Bytes,
    recording: Bytes,
    index: i64,
    unreadable_count: u64,
    not_utf8_count: u64,
}

impl<W: Write + Send> Tables<W> {
    /// Begins files; `outs` are in the order of [`TABLES`].
    pub fn new(outs: [W; 3], creator: &str) -> Result<Self, TableError> {
        let [recordings, events, snapshots] = outs;
        Ok(Self {
            recordings: Table::new(recordings, TableName::Recordings, creator)?,
            events: Table::new(events, TableName::Events, creator)?,
            snapshots: Table::new(snapshots, TableName::Snapshots, creator)?,
            project: Bytes::new(),
            recording: Bytes::new(),
            index: 0,
            unreadable_count: 0,
            not_utf8_count: 0,
        })
    }

    /// Begins a recording, which `row` describes as the API does.
    pub fn begin(&mut self, row: &Value) -> Result<(), TableError> {
        let text = |name: &str| Bytes::from(row[name].as_str().unwrap_or_default().to_owned());
        (self.project, self.recording, self.index) = (text("project"), text("id"), 0);
        let cells = rows::recording(row, &self.project, &self.recording);
        self.recordings.push(cells)
    }

    /// Writes lines of it, which are in the order of time.
    pub fn lines(&mut self, chunk: &Bytes) -> Result<(), TableError> {
        for line in lines(chunk) {
            let read = split_line(line).and_then(|(window, event)| Some((window, event, head_of_event(event)?)));
            let Some((window, event, head)) = read else {
                self.unreadable_count += 1;
                continue;
            };
            let window = Bytes::copy_from_slice(window.as_bytes());
            self.snapshots.push([
                Cell::Text(self.project.clone()),
                Cell::Text(self.recording.clone()),
                Cell::Whole(self.index),
                Cell::Text(window.clone()),
                Cell::Whole(head.timestamp_ms()),
                Cell::Whole(head.kind.into()),
                head.source.map_or(Cell::Null, |source| Cell::Whole(source.into())),
                Cell::Text(utf8(chunk, event, &mut self.not_utf8_count)),
            ])?;
            self.index += 1;
            for row in rows::events(&head, event) {
                self.event(Some(&window), row)?;
            }
        }
        Ok(())
    }

    /// Writes analytics events of it, one JSON object a line.
    pub fn analytics(&mut self, chunk: &[u8]) -> Result<(), TableError> {
        for line in lines(chunk) {
            match rows::analytics(line) {
                Some((window, row)) => self.event(window.as_ref(), row)?,
                None => self.unreadable_count += 1,
            }
        }
        Ok(())
    }

    fn event(&mut self, window: Option<&Bytes>, row: rows::EventRow) -> Result<(), TableError> {
        let window = window.map_or(Cell::Null, |window| Cell::Text(window.clone()));
        self.events.push(row.cells(Cell::Text(self.project.clone()), Cell::Text(self.recording.clone()), window))
    }

    /// Finishes the files, and says what has no place in them.
    pub fn finish(self) -> Result<([W; 3], Vec<LeftOut>), TableError> {
        let Self { unreadable_count, not_utf8_count, .. } = self;
        let outs = [self.recordings.finish()?, self.events.finish()?, self.snapshots.finish()?];
        let left_out = [
            LeftOut::of(unreadable_count, "line that is no event", "lines that are no events"),
            LeftOut::of(
                not_utf8_count,
                "event with bytes that are no UTF-8, which tables cannot hold",
                "events with bytes that are no UTF-8, which tables cannot hold",
            ),
        ];
        Ok((outs, left_out.into_iter().flatten().collect()))
    }
}

/// Part of a chunk as text, without a copy of it where it is UTF-8.
fn utf8(chunk: &Bytes, part: &[u8], not_utf8_count: &mut u64) -> Bytes {
    if std::str::from_utf8(part).is_ok() {
        return chunk.slice_ref(part);
    }
    *not_utf8_count += 1;
    String::from_utf8_lossy(part).into_owned().into()
}

/// A file of one table. Rows are gathered column by column.
struct Table<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

struct Column {
    info: ColumnInfo,
    texts: Vec<ByteArray>,
    wholes: Vec<i64>,
    /// 1 where there is a value, for columns that may have none.
    levels: Vec<i16>,
}

impl<W: Write + Send> Table<W> {
    fn new(out: W, name: TableName, creator: &str) -> Result<Self, TableError> {
        let metadata = vec![
            KeyValue::new(TABLE_KEY.to_owned(), name.as_str().to_owned()),
            KeyValue::new(VERSION_KEY.to_owned(), TABLES_VERSION.to_string()),
        ];
        let mut properties = WriterProperties::builder()
            .set_created_by(creator.to_owned())
            .set_key_value_metadata(Some(metadata))
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        if name == TableName::Snapshots {
            // No two are alike, and nobody looks for the smallest.
            let event = ColumnPath::from("event");
            properties = properties
                .set_column_dictionary_enabled(event.clone(), false)
                .set_column_statistics_enabled(event, EnabledStatistics::None);
        }
        let writer = SerializedFileWriter::new(out, Arc::new(schema(name)?), Arc::new(properties.build()))?;
        let column = |info: &ColumnInfo| Column { info: *info, texts: vec![], wholes: vec![], levels: vec![] };
        Ok(Self { writer, columns: name.columns().iter().map(column).collect(), rows: 0, bytes: 0 })
    }

    /// Adds a row, whose cells are those of the table's columns.
    fn push<const N: usize>(&mut self, cells: [Cell; N]) -> Result<(), TableError> {
        debug_assert_eq!(N, self.columns.len());
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += 8;
            if column.info.is_optional {
                column.levels.push(i16::from(!matches!(cell, Cell::Null)));
            }
            match cell {
                Cell::Null => {}
                Cell::Whole(number) => column.wholes.push(number),
                Cell::Text(text) => {
                    self.bytes += text.len();
                    column.texts.push(text.into());
                }
            }
        }
        self.rows += 1;
        if self.bytes >= GROUP_BYTES || self.rows >= GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), TableError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            let levels = column.info.is_optional.then_some(column.levels.as_slice());
            match writer.untyped() {
                ColumnWriter::ByteArrayColumnWriter(writer) => writer.write_batch(&column.texts, levels, None)?,
                ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(&column.wholes, levels, None)?,
                _ => 0,
            };
            writer.close()?;
            column.texts.clear();
            column.wholes.clear();
            column.levels.clear();
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn finish(mut self) -> Result<W, TableError> {
        self.write_group()?;
        Ok(self.writer.into_inner()?)
    }
}

/// The table's columns in Parquet's words.
fn schema(name: TableName) -> Result<Type, ParquetError> {
    let column = |info: &ColumnInfo| {
        let (physical, logical) = match info.kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Whole => (Physical::INT64, None),
            Kind::Moment => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        };
        let repetition = if info.is_optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let built = Type::primitive_type_builder(info.name, physical).with_logical_type(logical);
        built.with_repetition(repetition).build().map(Arc::new)
    };
    let columns = name.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder(name.as_str()).with_fields(columns).build()
}
