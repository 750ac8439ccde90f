//! Reads the table `snapshots` back, recording by recording.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use reelcase_format::id::{ProjectKey, RecordingId};

use super::{SNAPSHOTS, TABLE_KEY, TABLES_VERSION, TableName, VERSION_KEY};
use crate::stream::{Damage, Event, Header, ReadError, ReadEvents, ReadReport, is_event};

/// Rows that are read at a time.
const BATCH_ROWS: usize = 1_024;

/// Whether a file is Parquet, by its first bytes.
pub fn is_parquet(magic: &[u8]) -> bool {
    magic.starts_with(b"PAR1")
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is damaged, or of a kind that is not known here.
    #[error("byte {at}: the file cannot be read as Parquet: {what}")]
    Parquet {
        /// The end of a file that does not end as it should, or where the rows begin that cannot be read.
        at: u64,
        /// What is wrong there. The message has it, so it is no cause behind this one.
        what: ParquetError,
    },
    /// The disk failed.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
    /// Another program wrote it, or it is one of the other tables.
    #[error("it is no table of snapshots that reelcase wrote, but {0}")]
    OtherTable(String),
    /// Written by a newer release.
    #[error("its tables have version {0}, newer than the newest supported, {TABLES_VERSION}")]
    TooNew(String),
}

/// The rows of a file. Between [`next_recording`](Self::next_recording)s it reads the events of one recording.
pub struct SnapshotReader {
    file: SerializedFileReader<File>,
    group: usize,
    columns: Option<Columns>,
    /// Rows that were read and not handed out, last first.
    rows: Vec<Row>,
    current: Option<(ByteArray, ByteArray)>,
    /// What was handed out last.
    row: Option<Row>,
    window: String,
    header: Header,
    report: ReadReport,
}

/// Readers of the columns that are needed.
struct Columns {
    texts: [ColumnReader; 4],
}

struct Row {
    project: ByteArray,
    recording: ByteArray,
    window: ByteArray,
    event: ByteArray,
}

impl SnapshotReader {
    /// Opens a file, which must be a table of snapshots.
    pub fn open(file: File) -> Result<Self, SnapshotError> {
        let file_bytes = file.metadata()?.len();
        let damaged = |what| SnapshotError::Parquet { at: file_bytes, what };
        let file = guarded(|| SerializedFileReader::new(file)).map_err(damaged)?;
        let metadata = file.metadata();
        let known = metadata.file_metadata().key_value_metadata();
        let value = |key: &str| {
            let found = known.and_then(|pairs| pairs.iter().find(|pair| pair.key == key));
            found.and_then(|pair| pair.value.clone())
        };
        // What reads columns takes these for granted.
        let mut columns = metadata.row_groups().iter().flat_map(|group| group.columns());
        let lies_within = |column: &ColumnChunkMetaData| {
            let (begins, bytes) = (u64::try_from(begins(column)).ok()?, u64::try_from(column.compressed_size()).ok()?);
            begins.checked_add(bytes).filter(|ends| *ends <= file_bytes)
        };
        if !columns.all(|column| lies_within(column).is_some()) {
            return Err(damaged(ParquetError::General("a column does not lie within the file".to_owned())));
        }
        match value(TABLE_KEY) {
            Some(table) if table == TableName::Snapshots.as_str() => {}
            Some(table) => return Err(SnapshotError::OtherTable(format!("the table {table}"))),
            None => return Err(SnapshotError::OtherTable("a file of another program".to_owned())),
        }
        let version = value(VERSION_KEY).unwrap_or_default();
        if version.parse::<u32>().map_or(true, |version| version > TABLES_VERSION) {
            return Err(SnapshotError::TooNew(version));
        }
        Ok(Self {
            file,
            group: 0,
            columns: None,
            rows: Vec::new(),
            current: None,
            row: None,
            window: String::new(),
            header: Header::default(),
            report: ReadReport::default(),
        })
    }

    /// Goes on to the next recording, past what was not read of the one before. `None` at the end.
    pub fn next_recording(&mut self) -> Result<Option<(ProjectKey, RecordingId)>, SnapshotError> {
        loop {
            self.fill().map_err(|what| SnapshotError::Parquet { at: self.group_at(), what })?;
            let Some(row) = self.rows.last() else { return Ok(None) };
            let name = (row.project.clone(), row.recording.clone());
            if self.current.as_ref() == Some(&name) {
                self.rows.pop();
                continue;
            }
            let text = |value: &ByteArray| String::from_utf8_lossy(value.data()).into_owned();
            let parsed = (text(&name.0).parse::<ProjectKey>(), text(&name.1).parse::<RecordingId>());
            self.current = Some(name);
            (self.header, self.report) = (Header::default(), ReadReport::default());
            let (Ok(project), Ok(recording)) = parsed else {
                return Err(SnapshotError::OtherTable("a table that names a recording as none is named".to_owned()));
            };
            self.header.recording = Some(recording.clone());
            return Ok(Some((project, recording)));
        }
    }

    /// Where the rows begin that are being read, in bytes.
    fn group_at(&self) -> u64 {
        let groups = self.file.metadata().row_groups();
        let group = self.group.checked_sub(1).and_then(|group| groups.get(group));
        let columns = group.into_iter().flat_map(|group| group.columns());
        columns.filter_map(|column| u64::try_from(begins(column)).ok()).min().unwrap_or_default()
    }

    /// Reads rows where none are left. Once it has failed, it is not to be asked again.
    fn fill(&mut self) -> Result<(), ParquetError> {
        guarded(|| self.read_rows())
    }

    fn read_rows(&mut self) -> Result<(), ParquetError> {
        while self.rows.is_empty() {
            if self.columns.is_none() {
                if self.group == self.file.num_row_groups() {
                    return Ok(());
                }
                let group = self.file.get_row_group(self.group)?;
                let column = |name: &str| {
                    let place = SNAPSHOTS.iter().position(|column| column.name == name).unwrap_or_default();
                    group.get_column_reader(place)
                };
                let texts = [column("project")?, column("recording")?, column("window")?, column("event")?];
                self.columns = Some(Columns { texts });
                self.group += 1;
            }
            let Some(columns) = &mut self.columns else { return Ok(()) };
            self.rows = columns.rows()?;
            if self.rows.is_empty() {
                self.columns = None;
            }
        }
        Ok(())
    }
}

/// Reads with the library, which asserts some of what a sound page holds: in a damaged one that is an error like others.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let contradicts = |_| Err(ParquetError::General("a page contradicts itself".to_owned()));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(contradicts)
}

/// Where a column begins, in bytes.
fn begins(column: &ColumnChunkMetaData) -> i64 {
    column.dictionary_page_offset().unwrap_or(column.data_page_offset())
}

impl Columns {
    /// The next rows, last first.
    fn rows(&mut self) -> Result<Vec<Row>, ParquetError> {
        let mut values: [Vec<ByteArray>; 4] = Default::default();
        for (reader, values) in self.texts.iter_mut().zip(&mut values) {
            match reader {
                ColumnReader::ByteArrayColumnReader(reader) => reader.read_records(BATCH_ROWS, None, None, values)?,
                _ => return Err(ParquetError::General("a column has another type".to_owned())),
            };
        }
        let [projects, recordings, windows, events] = values;
        if [recordings.len(), windows.len(), events.len()] != [projects.len(); 3] {
            return Err(ParquetError::General("columns have different lengths".to_owned()));
        }
        let names = projects.into_iter().zip(recordings);
        let rows = names.zip(windows.into_iter().zip(events));
        Ok(rows
            .map(|((project, recording), (window, event))| Row { project, recording, window, event })
            .rev()
            .collect())
    }
}

impl ReadEvents for SnapshotReader {
    fn next_event(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        loop {
            let at = self.report.event_count;
            if let Err(error) = self.fill() {
                let what = format!("rows cannot be read: {error}");
                self.report.damage.push(Damage { at: self.group_at(), event_index: at, what });
                self.group = self.file.num_row_groups();
                self.columns = None;
                return Ok(None);
            }
            let is_same = |row: &mut Row| {
                self.current
                    .as_ref()
                    .is_some_and(|(project, recording)| row.project == *project && row.recording == *recording)
            };
            let Some(row) = self.rows.pop_if(is_same) else { return Ok(None) };
            if is_event(row.event.data()) {
                self.report.event_count += 1;
                self.window = String::from_utf8_lossy(row.window.data()).into_owned();
                let row = self.row.insert(row);
                return Ok(Some(Event { window: &self.window, json: row.event.data() }));
            }
            self.report.skipped_count += 1;
            if self.report.skipped_count == 1 {
                let what = "a row holds no event".to_owned();
                self.report.damage.push(Damage { at: self.group_at(), event_index: at, what });
            }
        }
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn report(&self) -> &ReadReport {
        &self.report
    }
}
