//! What a file is, by its first bytes.

use std::io::{self, Read};

use crate::encrypted::is_encrypted;
use crate::foreign::is_reel;
use crate::html::{HTML_MAGIC_BYTES, is_html};
use crate::tables::is_parquet;
use crate::zip::is_zip;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A `.reel` file.
    Reel,
    /// A page with a reel in it.
    Page,
    /// A table in Parquet.
    Table,
    /// A zip.
    Zip,
    /// A `.reel` file that nobody reads without its key.
    Encrypted,
    /// Whatever [`ForeignReader`](crate::foreign::ForeignReader) makes of it.
    Other,
}

impl Kind {
    /// Bytes of a file that tell.
    pub const MAGIC_BYTES: u64 = HTML_MAGIC_BYTES as u64;

    /// What begins with these bytes.
    pub fn of(magic: &[u8]) -> Self {
        match magic.get(..4).is_some_and(is_reel) {
            true => Self::Reel,
            false if is_html(magic) => Self::Page,
            false if is_parquet(magic) => Self::Table,
            false if is_zip(magic) => Self::Zip,
            false if is_encrypted(magic) => Self::Encrypted,
            false => Self::Other,
        }
    }

    /// What a file is that is read from its beginning.
    pub fn read(file: impl Read) -> io::Result<Self> {
        let mut magic = Vec::new();
        file.take(Self::MAGIC_BYTES).read_to_end(&mut magic)?;
        Ok(Self::of(&magic))
    }
}
