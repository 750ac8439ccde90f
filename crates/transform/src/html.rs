//! Writes a recording as one HTML file that plays itself, and finds the recording in such a file.
//!
//! The file is a page that the build of the web app makes, with a `.reel` file in it as base64. Nothing recorded is ever
//! markup, and the page's policy names every script in it by hash and lets nothing be fetched.

use std::io::{self, BufRead, BufReader, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_embed::RustEmbed;

use crate::reel::{ReelOptions, ReelSink, WrittenReel};
use crate::stream::{Event, Header, WriteError, WriteEvents};

/// How each of these files begins. The number is the version of what stands around the recording.
const BEGINS: &[u8] = b"<!doctype html><!-- reelcase recording 1 -->";

/// Enough of a file to recognise it.
pub const HTML_MAGIC_BYTES: usize = BEGINS.len();

/// Where the recording belongs in the page that the build makes.
const PLACE: &str = "<!--recording-->\n";

/// What stands around each piece of the recording, which is a line of its own.
const PIECE_BEGINS: &[u8] = b"<script type=\"text/plain\" class=\"reel\">";
const PIECE_ENDS: &[u8] = b"</script>\n";

/// Bytes in a piece; `web/player/src/file/bytes.ts` says the same. A browser holds each piece as one string.
const PIECE_BYTES: usize = 3 << 20;

/// Longest line that is read: a piece, or the player.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// The built player.
#[derive(RustEmbed)]
#[folder = "../../web/dist/player"]
#[include = "file.txt"]
#[allow_missing = true]
struct Player;

/// Whether a file that begins with these bytes is one of these.
pub fn is_html(magic: &[u8]) -> bool {
    magic.starts_with(BEGINS)
}

/// Writes a `.reel` file into a page.
pub struct HtmlWriter<W: Write> {
    out: W,
    /// What the page has behind the recording.
    rest: Vec<u8>,
    /// Bytes of the piece so far; 0 between two of them.
    piece_bytes: usize,
    /// Up to two bytes that make no whole group of base64 yet.
    held: Vec<u8>,
    text: String,
}

impl<W: Write> HtmlWriter<W> {
    /// Begins the page. Fails where the build has no player.
    pub fn new(mut out: W) -> io::Result<Self> {
        let page = Player::get("file.txt").map(|file| file.data);
        let (before, after) = page.as_deref().and_then(around).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "this build has no player\nhint: make web, then build again")
        })?;
        out.write_all(before)?;
        Ok(Self { out, rest: after.to_vec(), piece_bytes: 0, held: Vec::new(), text: String::new() })
    }

    /// Ends the page, and hands the place back.
    pub fn finish(mut self) -> io::Result<W> {
        let held = std::mem::take(&mut self.held);
        if self.piece_bytes > 0 || !held.is_empty() {
            self.encode(&held)?;
            self.out.write_all(PIECE_ENDS)?;
        }
        self.out.write_all(&self.rest)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn encode(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.piece_bytes == 0 {
            self.out.write_all(PIECE_BEGINS)?;
        }
        self.piece_bytes += bytes.len();
        self.text.clear();
        STANDARD.encode_string(bytes, &mut self.text);
        self.out.write_all(self.text.as_bytes())
    }
}

/// The page before and after the recording.
fn around(page: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = page.windows(PLACE.len()).position(|window| window == PLACE.as_bytes())?;
    Some((&page[..at], &page[at + PLACE.len()..]))
}

impl<W: Write> Write for HtmlWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // At most what is left of the piece: the caller comes back with the rest.
        let taken = bytes.len().min(PIECE_BYTES - self.piece_bytes - self.held.len());
        self.held.extend_from_slice(&bytes[..taken]);
        let whole = self.held.len() / 3 * 3;
        if whole > 0 {
            let held = std::mem::take(&mut self.held);
            self.encode(&held[..whole])?;
            self.held.extend_from_slice(&held[whole..]);
        }
        if self.piece_bytes == PIECE_BYTES {
            self.out.write_all(PIECE_ENDS)?;
            self.piece_bytes = 0;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes events as a `.reel` file in a page.
pub struct HtmlSink<W: Write>(ReelSink<HtmlWriter<W>>);

impl<W: Write> HtmlSink<W> {
    /// Writes to `out`, front to back.
    pub fn new(out: W, options: ReelOptions) -> io::Result<Self> {
        Ok(Self(ReelSink::new(HtmlWriter::new(out)?, options)))
    }
}

impl<W: Write> WriteEvents for HtmlSink<W> {
    type Written = WrittenReel;

    fn push(&mut self, header: &Header, event: &Event<'_>) -> Result<(), WriteError> {
        self.0.push(header, event)
    }

    fn finish(self, header: &Header) -> Result<WrittenReel, WriteError> {
        let (written, page) = self.0.end(header)?;
        page.finish()?;
        Ok(written)
    }
}

/// Reads the `.reel` file out of a page. Of a page that was cut off, what is there of it.
pub struct ReelInHtml<R> {
    page: BufReader<R>,
    line: Vec<u8>,
    piece: Vec<u8>,
    taken: usize,
}

impl<R: Read> ReelInHtml<R> {
    /// Begins to read a file for which [`is_html`] holds.
    pub fn new(page: R) -> Self {
        Self { page: BufReader::new(page), line: Vec::new(), piece: Vec::new(), taken: 0 }
    }

    /// Reads the next piece. `false` at the end.
    fn next_piece(&mut self) -> io::Result<bool> {
        loop {
            self.line.clear();
            self.page.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
            if self.line.is_empty() {
                return Ok(false);
            }
            let Some(rest) = self.line.strip_prefix(PIECE_BEGINS) else { continue };
            let text_bytes = rest.iter().position(|byte| b"<\r\n".contains(byte)).unwrap_or(rest.len());
            // A group that was cut off holds nothing that could be read.
            let groups = &rest[..text_bytes / 4 * 4];
            self.piece.clear();
            self.taken = 0;
            if STANDARD.decode_vec(groups, &mut self.piece).is_err() {
                self.piece.clear();
                decode_intact(groups, &mut self.piece);
            }
            return Ok(true);
        }
    }
}

/// Decodes groups of which some are damaged. Zeros take their place, so that all else stays where it was and the file's
/// own checksums say what is lost.
fn decode_intact(groups: &[u8], out: &mut Vec<u8>) {
    for group in groups.chunks(4) {
        let begins = out.len();
        if STANDARD.decode_vec(group, out).is_err() {
            out.truncate(begins);
            out.extend_from_slice(&[0; 3]);
        }
    }
}

impl<R: Read> Read for ReelInHtml<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.piece.len() {
            if !self.next_piece()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.piece.len() - self.taken);
        out[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
