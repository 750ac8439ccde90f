//! A recording of the store as a file of any form, made a piece at a time.
//!
//! The portable file, the page around it and plain lines are made of blocks as they are stored. All other forms are
//! written from the lines.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use reelcase_format::line::{lines, split_line};
use reelcase_format::reel::ReelError;
use reelcase_store::catalog::{BlockRow, RecordingRow};
use reelcase_store::export::{Export, Form, Gap};
use reelcase_store::notes::said::Said;
use reelcase_store::{Store, StoreError};
use reelcase_transform::format::{Format, Writer};
use reelcase_transform::html::HtmlWriter;
use reelcase_transform::reel::ReelOptions;
use reelcase_transform::stream::{Event, Header, LeftOut, WriteError, WriteEvents, is_event};

/// What names this program in the files it writes.
const CREATOR: &str = concat!("reelcase ", env!("CARGO_PKG_VERSION"));

/// zstd's level in files that are made anew.
const LEVEL: i32 = 3;

/// One recording as a file.
pub struct FileExport<'a> {
    export: Export<'a>,
    rewrite: Option<Rewrite>,
    page: Option<Page>,
    left_out: Vec<LeftOut>,
}

/// A portable file on its way into a page.
struct Page {
    writer: HtmlWriter<Pieces>,
    pieces: Pieces,
}

/// Lines on their way into another form.
struct Rewrite {
    header: Header,
    writer: Writer<'static>,
    pieces: Pieces,
    /// Lines that are no events, which cannot be written in forms that others read.
    unreadable_count: u64,
}

/// What was written and not fetched yet.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<u8>>>);

impl<'a> FileExport<'a> {
    /// Begins a file. `blocks` are the recording's, as [`Store::blocks`] returns them.
    pub fn new(store: &'a Store, row: RecordingRow, blocks: Vec<BlockRow>, format: Format) -> Result<Self, StoreError> {
        let (form, rewrite, page) = match format {
            Format::Reel => (Form::Reel, None, None),
            Format::Html => (Form::Reel, None, Some(Page::new()?)),
            Format::Jsonl => (Form::Jsonl, None, None),
            _ => (Form::Jsonl, Some(Rewrite::new(&row, format)?), None),
        };
        let left_out = LeftOut::of(row.summary.analytics_event_count, "analytics event", "analytics events");
        let left_out = left_out.filter(|_| !is_all(format)).into_iter().collect();
        Ok(Self { export: Export::new(store, row, blocks, form), rewrite, page, left_out })
    }

    /// Puts what people said of the recording into the file, where its form has a place for it: see [`holds_said`].
    pub fn add_said(&mut self, said: Said) {
        self.export.add_said(said);
    }

    /// See [`Export::find_gaps`].
    pub async fn find_gaps(&mut self) -> Result<&[Gap], StoreError> {
        self.export.find_gaps().await
    }

    /// What is known to be missing from the file; all of it once the file is whole.
    pub fn gaps(&self) -> &[Gap] {
        self.export.gaps()
    }

    /// What the form has no place for. It is known once the file is whole.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The next bytes of the file. `None` at its end.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            let chunk = self.export.next_chunk().await?;
            if let Some(page) = self.page.take() {
                let (bytes, page) = page.take_in(chunk)?;
                self.page = page;
                return Ok(Some(bytes));
            }
            let Some(rewrite) = &mut self.rewrite else { return Ok(chunk) };
            let bytes = match chunk {
                Some(chunk) => rewrite.push(&chunk)?,
                None => {
                    let Some(rewrite) = self.rewrite.take() else { return Ok(None) };
                    let (bytes, left_out) = rewrite.finish()?;
                    self.left_out.extend(left_out);
                    return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
                }
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

impl Page {
    fn new() -> Result<Self, StoreError> {
        let pieces = Pieces::default();
        let writer = HtmlWriter::new(pieces.clone()).map_err(|error| failed(error.into()))?;
        Ok(Self { writer, pieces })
    }

    /// Takes some of the file, or its end. Returns what there is of the page now, and what goes on with it.
    fn take_in(mut self, chunk: Option<Vec<u8>>) -> Result<(Vec<u8>, Option<Self>), StoreError> {
        let pieces = self.pieces.clone();
        let rest = match chunk {
            Some(chunk) => self.writer.write_all(&chunk).map(|()| Some(self)),
            None => self.writer.finish().map(|_| None),
        };
        let rest = rest.map_err(|error| failed(error.into()))?;
        Ok((pieces.take(), rest))
    }
}

impl Rewrite {
    fn new(row: &RecordingRow, format: Format) -> Result<Self, StoreError> {
        let pieces = Pieces::default();
        let (project, recording) = (row.project.clone(), Some(row.id.clone()));
        let options = ReelOptions { project, recording, creator: CREATOR.to_owned(), level: LEVEL };
        let writer = format.writer(pieces.clone(), &options).map_err(|error| failed(error.into()))?;
        Ok(Self { header: header_of(row), writer, pieces, unreadable_count: 0 })
    }

    /// Writes some lines, and returns what there is of the file now.
    fn push(&mut self, chunk: &[u8]) -> Result<Vec<u8>, StoreError> {
        for line in lines(chunk) {
            match split_line(line).filter(|(_, event)| is_event(event)) {
                Some((window, json)) => {
                    self.writer.push(&self.header, &Event { window: &window, json }).map_err(failed)?;
                }
                None => self.unreadable_count += 1,
            }
        }
        Ok(self.pieces.take())
    }

    fn finish(self) -> Result<(Vec<u8>, Vec<LeftOut>), StoreError> {
        let mut left_out = self.writer.finish(&self.header).map_err(failed)?.left_out;
        let (one, several) = ("line that is no rrweb event", "lines that are no rrweb events");
        left_out.extend(LeftOut::of(self.unreadable_count, one, several));
        Ok((self.pieces.take(), left_out))
    }
}

impl Pieces {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a form has a place for what people said of the recording: the portable file has, and the page around it.
pub fn holds_said(format: Format) -> bool {
    is_all(format)
}

/// Whether a form holds blocks as they are stored, analytics events and persons among them.
fn is_all(format: Format) -> bool {
    matches!(format, Format::Reel | Format::Html)
}

fn header_of(row: &RecordingRow) -> Header {
    let known = row.person.as_ref();
    Header {
        recording: Some(row.id.clone()),
        source: row.summary.source.clone(),
        library: row.summary.library.clone(),
        library_version: row.summary.library_version.clone(),
        distinct_ids: known.map_or_else(|| row.summary.distinct_ids.clone(), |person| person.distinct_ids.clone()),
        person_properties: known.map(|person| person.properties.clone()).unwrap_or_default(),
    }
}

fn failed(error: WriteError) -> StoreError {
    match error {
        WriteError::Reel(error) => error.into(),
        // Memory takes what is written to it, and only reels refuse to be empty.
        WriteError::Io(_) | WriteError::NoEvents => ReelError::Unreadable(error.to_string()).into(),
    }
}
