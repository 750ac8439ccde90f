//! Sixteen bytes of a string at once, with what every processor has for that.
//!
//! Masks have a bit for each byte, that of the first the lowest.

use wide::u8x16;

/// Bytes of a chunk.
pub(super) const CHUNK_BYTES: usize = 16;

/// UTF-8 of the characters U+0080 to U+07FF begins with this or more; the first 64 of them with this or one more.
const LEAD: u8 = 0xc0;

/// How UTF-8 of U+00C0 to U+00FF begins.
const LEAD_OF_UPPER: u8 = 0xc3;

/// What a byte behind [`LEAD_OF_UPPER`] lacks of the character.
const MISSING_OF_UPPER: u8 = 0x40;

/// Which bytes are quotes.
#[inline]
pub(super) fn quotes(chunk: [u8; CHUNK_BYTES]) -> u32 {
    u8x16::new(chunk).simd_eq(u8x16::splat(b'"')).to_bitmask()
}

/// Which bytes are quotes or backslashes.
#[inline]
pub(super) fn ends_of_runs(chunk: [u8; CHUNK_BYTES]) -> u32 {
    let bytes = u8x16::new(chunk);
    (bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'))).to_bitmask()
}

/// Bytes of a block: as many as a mask has bits.
pub(super) const BLOCK_BYTES: usize = 64;

/// Which bytes of a block are quotes, and which are backslashes.
#[inline]
pub(super) fn specials(block: &[u8; BLOCK_BYTES]) -> (u64, u64) {
    let (mut quotes, mut backslashes) = (0, 0);
    for (at, chunk) in block.as_chunks::<CHUNK_BYTES>().0.iter().enumerate() {
        let bytes = u8x16::new(*chunk);
        let shift = at * CHUNK_BYTES;
        quotes |= u64::from(bytes.simd_eq(u8x16::splat(b'"')).to_bitmask()) << shift;
        backslashes |= u64::from(bytes.simd_eq(u8x16::splat(b'\\')).to_bitmask()) << shift;
    }
    (quotes, backslashes)
}

/// A chunk of UTF-8 in which each character stands for a byte.
pub(super) struct Latin1 {
    /// What each byte stands for, if it is not the first of two.
    pub(super) decoded: [u8; CHUNK_BYTES],
    /// 1 for each byte that stands for one, 0 for the first of two.
    pub(super) steps: [u8; CHUNK_BYTES],
    /// Which bytes are the first of two, or of more.
    pub(super) leads: u32,
    /// Which bytes begin a character beyond U+00FF.
    pub(super) beyond: u32,
}

impl Latin1 {
    /// Decodes the chunk behind the first byte of `window`, which is what comes before it.
    ///
    /// U+0080 to U+00BF are the byte they stand for behind 0xc2, and U+00C0 to U+00FF that byte less 0x40 behind 0xc3.
    #[inline]
    pub(super) fn of(window: &[u8; CHUNK_BYTES + 1]) -> Self {
        let [first, chunk @ ..] = window;
        let mut before = [*first; CHUNK_BYTES];
        before[1..].copy_from_slice(&chunk[..CHUNK_BYTES - 1]);
        let bytes = u8x16::new(*chunk);
        let at_least = |least| bytes.max(u8x16::splat(least)).simd_eq(bytes);
        let leads = at_least(LEAD);
        let missing = u8x16::new(before).simd_eq(u8x16::splat(LEAD_OF_UPPER)) & u8x16::splat(MISSING_OF_UPPER);
        Self {
            decoded: (bytes + missing).to_array(),
            steps: (leads + u8x16::splat(1)).to_array(),
            leads: leads.to_bitmask(),
            beyond: at_least(LEAD_OF_UPPER + 1).to_bitmask(),
        }
    }
}
