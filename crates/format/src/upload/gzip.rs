//! gzip with a hard cap on what comes out, because a body of 20 MB can claim to be 20 GB.

use std::cell::RefCell;
use std::io::Read;

use flate2::bufread::GzDecoder;
use libdeflater::{Crc, Decompressor};

/// The first bytes of every gzip stream.
const MAGIC: &[u8] = b"\x1f\x8b";

/// Bytes behind the compressed data: CRC-32 and size of what was compressed, little-endian.
const TRAILER_BYTES: usize = 8;

/// The shortest gzip stream: a header, an empty block and the trailer.
const STREAM_BYTES_MIN: usize = 20;

/// Deflate cannot do better than this, so a trailer that claims more is wrong.
const DEFLATE_RATIO_MAX: usize = 1_032;

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
    let start = out.len();
    if inflate_at_once(bytes, inflated_bytes_max, out) {
        return Ok(());
    }
    out.truncate(start);
    let streamed = inflate_streaming(bytes, inflated_bytes_max, out);
    if streamed.is_err() {
        out.truncate(start);
    }
    streamed
}

thread_local! {
    /// Tables of some 30 KB that are costly to clear for every small field.
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// The fast way, for a single member whose trailer tells the truth. Anything else is `false`, with rubbish appended.
fn inflate_at_once(bytes: &[u8], inflated_bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let Some((crc, inflated_bytes)) = trailer(bytes) else { return false };
    if inflated_bytes > inflated_bytes_max || inflated_bytes / DEFLATE_RATIO_MAX > bytes.len() {
        return false;
    }
    let start = out.len();
    out.resize(start + inflated_bytes, 0);
    let inflated = DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.gzip_decompress(bytes, &mut out[start..]));
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

fn inflate_streaming(bytes: &[u8], inflated_bytes_max: usize, out: &mut Vec<u8>) -> Result<(), GunzipError> {
    let end_max = out.len().saturating_add(inflated_bytes_max);
    let mut rest = bytes;
    loop {
        // One byte past the limit, because stopping exactly at it would truncate in silence.
        let allowed = (end_max - out.len()).saturating_add(1) as u64;
        let mut member = GzDecoder::new(rest);
        let read = member.by_ref().take(allowed).read_to_end(out);
        if out.len() > end_max {
            return Err(GunzipError::TooLarge);
        }
        read.map_err(|_| GunzipError::Corrupt)?;
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
