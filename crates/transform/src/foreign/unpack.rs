//! Takes what is wrapped around a file off it, layer by layer, recognised by the first bytes of each.
//!
//! | First bytes | Layer |
//! | --- | --- |
//! | `1f 8b` | gzip |
//! | `28 b5 2f fd` | zstd |
//! | `H4sI` | gzip in base64, as PostHog kept recordings before 2023 |
//! | `ff fe`, `fe ff` | UTF-16, as in these |
//! | `{…"data":[31,139,` | gzip as a list of numbers, as Seeds' recorder saves it |
//! | a length, then a literal that opens with `[` or `{` | one block of PostHog's bucket: raw snappy |
//! | four bytes of length before that | PostHog's answer to `decompress=false`: several of these |
//! | zeros | what PostHog's export for its staff puts before a block |

use std::io::{self, BufReader, Chain, Cursor, Read};

use base64::engine::general_purpose::STANDARD;
use base64::read::DecoderReader;
use flate2::read::MultiGzDecoder;
use reelcase_format::json::{skip_blanks, skip_value};

use crate::html::is_html;
use crate::stream::ReadError;

mod numbers;
pub(super) mod snappy;
mod utf16;

/// Compression within compression happens where a proxy or a person compresses what was compressed, and PostHog's
/// oldest form has three. More is an attack.
const LAYERS_MAX: usize = 4;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// gzip in base64.
const BASE64_GZIP: &[u8] = b"H4sI";
/// A zstd skippable frame that begins as a reel's header does; `docs/format.md`.
const SKIPPABLE_TAIL: &[u8] = b"\x2a\x4d\x18";
const PADDING: &[u8] = &[0; 4];

/// Bytes from wherever.
pub(super) type Source<'a> = Box<dyn Read + 'a>;

/// Enough to recognise each of them. A list of numbers may have a few members before it.
const PEEK_BYTES: usize = 4 << 10;

/// Returns a reader of the plain bytes. Fails with [`ReadError::AlreadyReel`] where the file is a reel.
pub(super) fn unpack<'a>(source: impl Read + 'a) -> Result<Source<'a>, ReadError> {
    let mut plain: Source<'a> = Box::new(source);
    for _ in 0..LAYERS_MAX {
        let (first, whole) = peek(plain);
        if is_reel(&first) || is_html(&first) {
            return Err(ReadError::AlreadyReel);
        }
        plain = match layer(&first) {
            Layer::Gzip => Box::new(MultiGzDecoder::new(whole)),
            Layer::Zstd => match zstd::Decoder::new(whole) {
                Ok(decoder) => Box::new(decoder),
                Err(error) => Box::new(Failed(Some(error))),
            },
            Layer::Base64 => Box::new(DecoderReader::new(WithoutBlanks(whole), &STANDARD)),
            Layer::Utf16 { is_big_endian } => Box::new(utf16::Utf16::new(whole, is_big_endian)),
            Layer::Numbers { at } => Box::new(numbers::Numbers::new(skip(whole, at))),
            Layer::Snappy => Box::new(snappy::Snappy::one(whole)),
            Layer::SnappyList => Box::new(snappy::Snappy::list(whole)),
            Layer::Padding => Box::new(WithoutZeros { source: BufReader::new(whole), has_begun: false }),
            Layer::None => return Ok(Box::new(whole)),
        };
    }
    Ok(plain)
}

/// Whether a file that begins with these four bytes is a reel rather than anything read here.
pub fn is_reel(magic: &[u8]) -> bool {
    magic.first().is_some_and(|byte| byte & 0xf0 == 0x50) && magic.get(1..4) == Some(SKIPPABLE_TAIL)
}

enum Layer {
    Gzip,
    Zstd,
    Base64,
    Utf16 {
        is_big_endian: bool,
    },
    Numbers {
        /// Where the first of them begins.
        at: usize,
    },
    Snappy,
    SnappyList,
    Padding,
    None,
}

fn layer(first: &[u8]) -> Layer {
    match first {
        _ if first.starts_with(GZIP) => Layer::Gzip,
        _ if first.starts_with(ZSTD) => Layer::Zstd,
        _ if first.starts_with(BASE64_GZIP) => Layer::Base64,
        [0xff, 0xfe, ..] => Layer::Utf16 { is_big_endian: false },
        [0xfe, 0xff, ..] => Layer::Utf16 { is_big_endian: true },
        // Read as a length, each of these might be followed by what looks like a literal. They are JSON, zlib and a byte
        // order mark, and no block of a recording has a length that begins like that.
        [b'[' | b'{' | b'"' | b' ' | b'\t' | b'\r' | b'\n' | b'x', ..] | [0xef, 0xbb, 0xbf, ..] => {
            match numbers_at(first) {
                Some(at) => Layer::Numbers { at },
                None => Layer::None,
            }
        }
        _ if snappy::begins_list(first) => Layer::SnappyList,
        _ if snappy::begins_block(first) => Layer::Snappy,
        _ if first.starts_with(PADDING) => Layer::Padding,
        _ => Layer::None,
    }
}

/// Where, in an object, a list `data` begins whose first numbers are those of gzip.
fn numbers_at(first: &[u8]) -> Option<usize> {
    const NESTING_MAX: usize = 16;
    let byte_at = |at: usize| first.get(at).copied();
    let mut at = skip_blanks(first, 0);
    while matches!(byte_at(at), Some(b'{' | b',')) {
        let key_at = skip_blanks(first, at + 1);
        let key_end = skip_value(first, key_at, NESTING_MAX).ok()?;
        let colon_at = skip_blanks(first, key_end);
        (byte_at(colon_at) == Some(b':')).then_some(())?;
        let value_at = skip_blanks(first, colon_at + 1);
        if &first[key_at..key_end] == b"\"data\"" && byte_at(value_at) == Some(b'[') {
            let mut numbers = first[value_at + 1..].split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            let is_gzip = numbers.next() == Some(b"31") && numbers.next() == Some(b"139");
            return is_gzip.then_some(value_at + 1);
        }
        at = skip_blanks(first, skip_value(first, value_at, NESTING_MAX).ok()?);
    }
    None
}

type Whole<'a> = Chain<Cursor<Vec<u8>>, Source<'a>>;

/// The first bytes of a source, and the source with them put back.
fn peek<'a>(mut source: Source<'a>) -> (Vec<u8>, Whole<'a>) {
    let mut first = Vec::with_capacity(PEEK_BYTES);
    let read = source.by_ref().take(PEEK_BYTES as u64).read_to_end(&mut first);
    let rest: Source<'a> = match read {
        Ok(_) => source,
        Err(error) => Box::new(Failed(Some(error))),
    };
    (first.clone(), Cursor::new(first).chain(rest))
}

fn skip(whole: Whole<'_>, bytes: usize) -> Whole<'_> {
    let (mut first, rest) = whole.into_inner();
    first.set_position(bytes as u64);
    first.chain(rest)
}

/// A source that failed before it was read on, and says so to whoever reads on.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0.take() {
            Some(error) => Err(error),
            None => Ok(0),
        }
    }
}

/// Text without the line ends that somebody put into it.
struct WithoutBlanks<R>(R);

impl<R: Read> Read for WithoutBlanks<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read_bytes = self.0.read(out)?;
            let mut kept = 0;
            for at in 0..read_bytes {
                if !out[at].is_ascii_whitespace() {
                    out[kept] = out[at];
                    kept += 1;
                }
            }
            if kept > 0 || read_bytes == 0 {
                return Ok(kept);
            }
        }
    }
}

/// What comes after zeros.
struct WithoutZeros<R> {
    source: BufReader<R>,
    has_begun: bool,
}

impl<R: Read> Read for WithoutZeros<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        use io::BufRead;
        while !self.has_begun {
            let held = self.source.fill_buf()?;
            let zeros = held.iter().take_while(|byte| **byte == 0).count();
            self.has_begun = zeros < held.len() || held.is_empty();
            self.source.consume(zeros);
        }
        self.source.read(out)
    }
}
