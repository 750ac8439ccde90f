//! gzip with a hard cap on what comes out, because a body of 20 MB can claim to be 20 GB.
//!
//! Memory is taken for what comes out only once it is known how much that will be. Ordinary bodies say so in their
//! trailer; what claims to inflate more than [`PLAUSIBLE_RATIO`] times, or lies, is first inflated into a small window
//! and counted. A bomb is thus refused without ever having been held.

use std::cell::RefCell;
use std::io::Read;

use flate2::bufread::GzDecoder;
use libdeflater::{Crc, Decompressor};

/// The first bytes of every gzip stream.
const MAGIC: &[u8] = b"\x1f\x8b";

/// How a header without optional fields begins: deflate, no flags.
const PLAIN_HEADER: &[u8] = b"\x1f\x8b\x08\x00";

/// Bytes of such a header: time, level and system follow, which nobody needs.
const HEADER_BYTES: usize = 10;

/// Bytes behind the compressed data: CRC-32 and size of what was compressed, little-endian.
const TRAILER_BYTES: usize = 8;

/// The shortest gzip stream: a header, an empty block and the trailer.
const STREAM_BYTES_MIN: usize = 20;

/// How many times its own size real traffic may well inflate to. What claims more is counted before it is held.
const PLAUSIBLE_RATIO: usize = 32;

/// Bytes of the window that counting inflates into.
const WINDOW_BYTES: usize = 16 << 10;

/// Why bytes did not inflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GunzipError {
    /// They inflate to more than was allowed.
    TooLarge,
    /// They are cut short, changed, or no gzip.
    Corrupt,
}

pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Inflates gzip and appends the result to `out`, which is left as it was on an error. Several members in a row are
/// one text; what follows the last and is no gzip is ignored, as gzip(1) does.
pub(crate) fn gunzip(bytes: &[u8], inflated_bytes_max: usize, out: &mut Vec<u8>) -> Result<(), GunzipError> {
    gunzip_at(bytes, inflated_bytes_max, out.len(), out)
}

/// Does as [`gunzip`], and puts the result in the place of what `out` holds from `start` on: memory that was used before
/// need not be cleared first. On an error that is gone.
pub(crate) fn gunzip_at(
    bytes: &[u8],
    inflated_bytes_max: usize,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<(), GunzipError> {
    if inflate_at_once(bytes, inflated_bytes_max, start, out) {
        return Ok(());
    }
    out.truncate(start);
    let inflated_bytes = inflated_bytes(bytes, inflated_bytes_max)?;
    out.reserve_exact(inflated_bytes);
    let mut take = |piece: &[u8]| out.extend_from_slice(piece);
    each_piece(bytes, inflated_bytes, &mut take).inspect_err(|_| out.truncate(start))
}

/// Whether gzip that begins with `prefix` inflates to more than `inflated_bytes_max` already there. What is wrong with
/// the rest, or cut off, is for [`gunzip`] to find out.
pub(crate) fn inflates_past(prefix: &[u8], inflated_bytes_max: usize) -> bool {
    inflated_bytes(prefix, inflated_bytes_max) == Err(GunzipError::TooLarge)
}

thread_local! {
    /// Tables of some 30 KB that are costly to clear for every small field.
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// The fast way, for a single member with a plain header, whose trailer tells the truth. Anything else is `false`, with
/// rubbish at `start` and behind.
fn inflate_at_once(bytes: &[u8], inflated_bytes_max: usize, start: usize, out: &mut Vec<u8>) -> bool {
    let Some((crc, inflated_bytes)) = trailer(bytes) else { return false };
    if !bytes.starts_with(PLAIN_HEADER) {
        return false;
    }
    if inflated_bytes > inflated_bytes_max || inflated_bytes / PLAUSIBLE_RATIO > bytes.len() {
        return false;
    }
    out.resize(start + inflated_bytes, 0);
    let deflated = &bytes[HEADER_BYTES..bytes.len() - TRAILER_BYTES];
    let inflated = DECOMPRESSOR.with_borrow_mut(|inflater| inflater.deflate_decompress(deflated, &mut out[start..]));
    if inflated != Ok(inflated_bytes) {
        return false;
    }
    // libdeflate stops after the first member. If the last eight bytes belong to another one, their sum is another.
    let mut computed = Crc::new();
    computed.update(&out[start..]);
    computed.sum() == crc
}

/// CRC-32 and size as the last eight bytes claim them.
fn trailer(bytes: &[u8]) -> Option<(u32, usize)> {
    if bytes.len() < STREAM_BYTES_MIN {
        return None;
    }
    let (_, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
    let (crc, size) = trailer.split_at(4);
    let crc = u32::from_le_bytes(crc.try_into().ok()?);
    let size = u32::from_le_bytes(size.try_into().ok()?);
    Some((crc, usize::try_from(size).ok()?))
}

/// How many bytes gzip inflates to, found out without holding them.
fn inflated_bytes(bytes: &[u8], inflated_bytes_max: usize) -> Result<usize, GunzipError> {
    let mut count = 0;
    each_piece(bytes, inflated_bytes_max, &mut |piece| count += piece.len())?;
    Ok(count)
}

/// Inflates all members piece by piece, and hands out no more than `inflated_bytes_max` and one window.
fn each_piece(bytes: &[u8], inflated_bytes_max: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), GunzipError> {
    let mut window = [0; WINDOW_BYTES];
    let (mut rest, mut left) = (bytes, inflated_bytes_max);
    loop {
        let mut member = GzDecoder::new(rest);
        loop {
            let filled = member.read(&mut window).map_err(|_| GunzipError::Corrupt)?;
            if filled == 0 {
                break;
            }
            left = left.checked_sub(filled).ok_or(GunzipError::TooLarge)?;
            take(&window[..filled]);
        }
        rest = member.into_inner();
        if !is_gzip(rest) {
            return Ok(());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(bytes: &[u8], inflated_bytes_max: usize) -> Result<Vec<u8>, GunzipError> {
        let mut out = b"before".to_vec();
        let result = gunzip(bytes, inflated_bytes_max, &mut out);
        assert!(result.is_ok() || out == b"before");
        result.map(|()| out.split_off(6))
    }

    #[test]
    fn the_limit_is_the_last_size_allowed() {
        let packed = gzip(&[b'x'; 1000]);
        assert_eq!(inflated(&packed, 1000).unwrap(), [b'x'; 1000]);
        assert_eq!(inflated(&packed, 999), Err(GunzipError::TooLarge));
        assert_eq!(inflated(&gzip(b""), 0).unwrap(), b"");
    }

    #[test]
    fn implausible_ratios_are_counted_first_and_taken_within_the_limit() {
        let packed = gzip(&vec![b' '; 4 << 20]);
        assert!((4 << 20) / packed.len() > PLAUSIBLE_RATIO);
        assert_eq!(inflated(&packed, 4 << 20).unwrap().len(), 4 << 20);
        let mut out = Vec::new();
        assert_eq!(gunzip(&packed, (4 << 20) - 1, &mut out), Err(GunzipError::TooLarge));
        assert_eq!(out.capacity(), 0, "a bomb takes no memory");
    }

    #[test]
    fn the_beginning_of_a_bomb_gives_it_away() {
        let packed = gzip(&vec![b' '; 4 << 20]);
        assert!(inflates_past(&packed[..2048], 1 << 20));
        assert!(!inflates_past(&packed[..512], 1 << 20));
        assert!(!inflates_past(&packed, 4 << 20) && !inflates_past(b"\x1f\x8b", 0) && !inflates_past(b"", 0));
    }

    #[test]
    fn members_in_a_row_are_one_text() {
        for parts in [[&b"first"[..], b"later"], [b"short", b"rather longer"], [b"rather longer", b"short"]] {
            let packed: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            assert_eq!(inflated(&packed, 100).unwrap(), parts.concat());
            assert_eq!(inflated(&packed, 8), Err(GunzipError::TooLarge));
        }
    }

    #[test]
    fn a_trailer_that_lies_decides_nothing() {
        let mut packed = gzip(&[b'x'; 1000]);
        let size_at = packed.len() - 4;
        for claimed in [0_u32, 1, 999, 1001, u32::MAX] {
            packed[size_at..].copy_from_slice(&claimed.to_le_bytes());
            assert_eq!(inflated(&packed, 5000), Err(GunzipError::Corrupt));
        }
    }

    #[test]
    fn padding_behind_the_stream_is_ignored() {
        let mut packed = gzip(b"text");
        packed.extend([0; 40]);
        assert_eq!(inflated(&packed, 100).unwrap(), b"text");
    }

    #[test]
    fn cut_streams_are_corrupt() {
        let packed = gzip(b"a text that is long enough to be cut anywhere");
        for end in 0..packed.len() {
            assert_eq!(inflated(&packed[..end], 100), Err(GunzipError::Corrupt), "{end}");
        }
    }
}
