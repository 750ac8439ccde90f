//! Takes gzip and zstd off a file, recognised by its first bytes.

use std::io::{self, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;

use crate::stream::ReadError;

/// Compression within compression happens where a proxy or a person compresses what was compressed. More is an attack.
const LAYERS_MAX: usize = 3;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// A zstd skippable frame that begins as a reel's header does; `docs/format.md`.
const SKIPPABLE_TAIL: &[u8] = b"\x2a\x4d\x18";

/// Bytes from wherever.
pub(super) type Source<'a> = Box<dyn Read + 'a>;

/// Enough to recognise each of them.
const MAGIC_BYTES: usize = 4;

/// Returns a reader of the plain bytes. Fails with [`ReadError::AlreadyReel`] where the file is a reel.
pub(super) fn unpack<'a>(source: impl Read + 'a) -> Result<Source<'a>, ReadError> {
    let mut plain: Source<'a> = Box::new(source);
    for _ in 0..LAYERS_MAX {
        let (magic, whole) = peek(plain);
        if magic.starts_with(GZIP) {
            plain = Box::new(MultiGzDecoder::new(whole));
        } else if magic == ZSTD {
            plain = match zstd::Decoder::new(whole) {
                Ok(decoder) => Box::new(decoder),
                Err(error) => Box::new(Failed(Some(error))),
            };
        } else if is_reel(&magic) {
            return Err(ReadError::AlreadyReel);
        } else {
            return Ok(Box::new(whole));
        }
    }
    Ok(plain)
}

/// Whether a file that begins with these four bytes is a reel rather than anything read here.
pub fn is_reel(magic: &[u8]) -> bool {
    magic.first().is_some_and(|byte| byte & 0xf0 == 0x50) && magic.get(1..4) == Some(SKIPPABLE_TAIL)
}

/// The first bytes of a source, and the source with them put back.
fn peek<'a>(mut source: Source<'a>) -> (Vec<u8>, Chain<Cursor<Vec<u8>>, Source<'a>>) {
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    let read = source.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut magic);
    let rest: Source<'a> = match read {
        Ok(_) => source,
        Err(error) => Box::new(Failed(Some(error))),
    };
    (magic.clone(), Cursor::new(magic).chain(rest))
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
