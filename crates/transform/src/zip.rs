//! Reads the entries of a zip. Their names are names: nothing is ever written where they say.
//!
//! Every limit is checked in the directory before the first entry is opened, and an entry that turns out to be other than
//! the directory says ends there. Entries that lie in each other, which is how a small zip holds petabytes, are refused.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder, ZipFileHeaderRecord,
    ZipVerifier,
};

/// How a zip begins that holds something, and one that holds nothing.
const MAGICS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// What is read of the file at a time.
const READ_BYTES: usize = 64 << 10;

/// Whether a file that begins with these bytes is a zip.
pub fn is_zip(magic: &[u8]) -> bool {
    MAGICS.iter().any(|known| magic.starts_with(known))
}

/// What a zip may be. One that is more is refused before anything is inflated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipLimits {
    /// Entries.
    pub entries_max: u64,
    /// Bytes of one entry once it is inflated.
    pub entry_bytes_max: u64,
    /// Bytes of all entries once they are inflated.
    pub total_bytes_max: u64,
}

impl Default for ZipLimits {
    fn default() -> Self {
        Self { entries_max: 20_000, entry_bytes_max: 4 << 30, total_bytes_max: 64 << 30 }
    }
}

/// Why a zip cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// It is cut off, or its directory is damaged.
    #[error("byte {at}: {what}")]
    Damaged {
        /// Where, in bytes.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// More than any recording needs.
    #[error("the zip has more than {limit} {what}")]
    TooLarge {
        /// The most that would have been taken.
        limit: u64,
        /// What there is too much of.
        what: &'static str,
    },
    /// One has to be entered with a password.
    #[error("byte {at}: {name} is encrypted with a password\nhint: unpack the zip and pack it again without one")]
    Encrypted {
        /// Where the entry begins, in bytes.
        at: u64,
        /// What it is called.
        name: String,
    },
    /// The disk failed.
    #[error("cannot read the zip")]
    Io(#[from] io::Error),
}

/// An entry of a zip.
#[derive(Debug, Clone)]
pub struct ZipEntry {
    /// What it is called, folders included.
    pub name: String,
    /// Where it begins in the file, in bytes.
    pub at: u64,
    /// Its length once it is inflated, as the directory says.
    pub plain_bytes: u64,
    method: CompressionMethod,
    place: ZipArchiveEntryWayfinder,
}

/// A zip that was looked through.
pub struct Zip {
    file: Arc<File>,
    archive: ZipArchive<FileReader>,
    entries: Vec<ZipEntry>,
}

impl Zip {
    /// Reads the directory.
    pub fn open(file: File, limits: &ZipLimits) -> Result<Self, ZipError> {
        let file_bytes = file.metadata()?.len();
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file.try_clone()?, &mut buffer);
        let archive = archive.map_err(|error| no_directory(error, file_bytes))?;
        let mut zip = Self { file: Arc::new(file), archive, entries: Vec::new() };
        zip.read_directory(&mut buffer, limits)?;
        zip.check_places()?;
        Ok(zip)
    }

    /// What is in it, folders left out, in the order of the directory.
    pub fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// Inflates an entry. Reading fails where it is not what the directory says of it.
    pub fn read(&self, entry: &ZipEntry) -> io::Result<Box<dyn Read>> {
        let found = self.archive.get_entry(entry.place).map_err(unusable)?;
        let (at, ends) = found.compressed_data_range();
        let part = Part { file: self.file.clone(), at, ends };
        let inflated: Box<dyn Read> = match entry.method {
            CompressionMethod::STORE => Box::new(part),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new_with_buf(part, vec![0; READ_BYTES])),
            other => {
                let what = format!("it is compressed by method {}, and 0 and 8 are read", other.as_u16());
                return Err(io::Error::new(ErrorKind::Unsupported, what));
            }
        };
        Ok(Box::new(Checked(found.verifying_reader(inflated))))
    }

    fn read_directory(&mut self, buffer: &mut [u8], limits: &ZipLimits) -> Result<(), ZipError> {
        let (claimed_count, directory_at) = (self.archive.entries_hint(), self.archive.directory_offset());
        let damaged = |what: String| ZipError::Damaged { at: directory_at, what };
        let (mut count, mut total_bytes) = (0, 0_u64);
        let mut records = self.archive.entries(buffer);
        while let Some(record) = records.next_entry().map_err(|error| damaged(said(&error)))? {
            count += 1;
            total_bytes = total_bytes.saturating_add(record.uncompressed_size_hint());
            limits.check(count, record.uncompressed_size_hint(), total_bytes)?;
            if record.is_dir() {
                continue;
            }
            let entry = ZipEntry::of(&record);
            if record.flags().is_encrypted() {
                return Err(ZipError::Encrypted { at: entry.at, name: entry.name });
            }
            self.entries.push(entry);
        }
        match count == claimed_count {
            true => Ok(()),
            false => Err(damaged(format!("the directory says that it has {claimed_count} entries, and has {count}"))),
        }
    }

    /// Checks that each entry has its bytes for itself.
    fn check_places(&self) -> Result<(), ZipError> {
        let mut places = vec![(self.archive.directory_offset(), u64::MAX, "the directory")];
        for entry in &self.entries {
            let found = self.archive.get_entry(entry.place);
            let damaged = |error| ZipError::Damaged { at: entry.at, what: format!("{}: {}", entry.name, said(&error)) };
            places.push((entry.at, found.map_err(damaged)?.compressed_data_range().1, entry.name.as_str()));
        }
        places.sort_unstable();
        for two in places.windows(2) {
            let ((_, ends, name), (at, _, next)) = (two[0], two[1]);
            if ends > at {
                return Err(ZipError::Damaged { at, what: format!("{name} and {next} lie in each other") });
            }
        }
        Ok(())
    }
}

impl ZipLimits {
    fn check(&self, count: u64, entry_bytes: u64, total_bytes: u64) -> Result<(), ZipError> {
        let too_large = |limit, what| Err(ZipError::TooLarge { limit, what });
        match self {
            _ if count > self.entries_max => too_large(self.entries_max, "entries"),
            _ if entry_bytes > self.entry_bytes_max => too_large(self.entry_bytes_max, "bytes in one entry"),
            _ if total_bytes > self.total_bytes_max => too_large(self.total_bytes_max, "bytes in all its entries"),
            _ => Ok(()),
        }
    }
}

impl ZipEntry {
    fn of(record: &ZipFileHeaderRecord<'_>) -> Self {
        Self {
            name: String::from_utf8_lossy(record.file_path().as_bytes()).into_owned(),
            at: record.local_header_offset(),
            plain_bytes: record.uncompressed_size_hint(),
            method: record.compression_method(),
            place: record.wayfinder(),
        }
    }
}

/// A part of the file.
struct Part {
    file: Arc<File>,
    at: u64,
    ends: u64,
}

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.ends - self.at).unwrap_or(usize::MAX);
        let wanted = out.len().min(left);
        // Others read the same file elsewhere in between.
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let read_bytes = file.read(&mut out[..wanted])?;
        self.at += read_bytes as u64;
        Ok(read_bytes)
    }
}

/// Says in our words what an entry is not.
struct Checked(ZipVerifier<Box<dyn Read>>);

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out).map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rawzip::Error>()) {
                Some(inner) => io::Error::new(ErrorKind::InvalidData, said(inner)),
                None => error,
            }
        })
    }
}

fn no_directory(error: rawzip::Error, file_bytes: u64) -> ZipError {
    let at = error.eocd_offset();
    match error.into_kind() {
        rawzip::ErrorKind::IO(error) if error.kind() != ErrorKind::UnexpectedEof => ZipError::Io(error),
        _ => match at {
            Some(at) => ZipError::Damaged { at, what: "what ends a zip is here, and its directory is not".to_owned() },
            None => ZipError::Damaged { at: file_bytes, what: "the zip ends before its directory".to_owned() },
        },
    }
}

fn unusable(error: rawzip::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, said(&error))
}

fn said(error: &rawzip::Error) -> String {
    match error.kind() {
        rawzip::ErrorKind::InvalidChecksum { .. } => "its checksum is another one than the directory says".to_owned(),
        rawzip::ErrorKind::InvalidSize { expected, .. } => {
            format!("it is not of the {expected} bytes that the directory says")
        }
        rawzip::ErrorKind::InvalidSignature { .. } => "no entry begins there".to_owned(),
        rawzip::ErrorKind::Eof => "the zip ends within it".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
