//! How a record lies in a segment: a head of 40 bytes, the body, zeroes up to the next multiple of 8.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | `RCI1` for a record, `RCE1` for the mark that ends a segment |
//! | 4 | 4 | `body_bytes` |
//! | 8 | 8 | sequence number of the segment |
//! | 16 | 8 | offset of this head in the segment |
//! | 24 | 8 | `synced_bytes`: how much of the segment was known durable when this was written |
//! | 32 | 4 | CRC-32C of the body |
//! | 36 | 4 | CRC-32C of the 36 bytes before |
//!
//! Numbers are little-endian. Sequence and offset are in the head so that what a recycled segment still holds of its
//! former life cannot be taken for new. `synced_bytes` tells damage from an unfinished write: a hole below the
//! `synced_bytes` of a later record was durable once; a hole above it was never acknowledged.

pub(super) const HEAD_BYTES: u64 = 40;
const HEAD: usize = HEAD_BYTES as usize;
const RECORD_MAGIC: [u8; 4] = *b"RCI1";
const END_MAGIC: [u8; 4] = *b"RCE1";

/// Records start at multiples of this.
pub(super) const ALIGNMENT_BYTES: u64 = 8;

/// What the head of a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) body_bytes: u32,
    pub(super) synced_bytes: u64,
    pub(super) body_crc: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    /// Nothing follows, and everything before was durable.
    End,
}

/// What forty bytes turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Head(Head),
    /// Not a head, but too close to one of this segment at this place to be chance: a damaged or half-written head.
    Trace,
    /// Zeroes, the inside of a body, or what an earlier use of the file left behind.
    Nothing,
}

/// Measures head, body and padding.
pub(super) fn span_bytes(body_bytes: u32) -> u64 {
    (HEAD_BYTES + u64::from(body_bytes)).next_multiple_of(ALIGNMENT_BYTES)
}

impl Head {
    pub(super) fn encode(&self, sequence: u64, offset: u64) -> [u8; HEAD] {
        let magic = match self.kind {
            Kind::Record => RECORD_MAGIC,
            Kind::End => END_MAGIC,
        };
        let mut bytes = [0; HEAD];
        bytes[0..4].copy_from_slice(&magic);
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced_bytes.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the head that should be at `offset` of segment `sequence`. `bytes` may be longer than a head.
    pub(super) fn parse(bytes: &[u8], sequence: u64, offset: u64) -> Parsed {
        let Some(bytes) = bytes.first_chunk::<HEAD>() else { return Parsed::Nothing };
        let kind = kind_of(bytes);
        let is_sequence = bytes[8..16] == sequence.to_le_bytes();
        let is_offset = bytes[16..24] == offset.to_le_bytes();
        // Most places are none of these, and the checksum is the dear part.
        if u8::from(kind.is_some()) + u8::from(is_sequence) + u8::from(is_offset) < 2 {
            return Parsed::Nothing;
        }
        if crc32c::crc32c(&bytes[..36]) != u32_at(bytes, 36) {
            return Parsed::Trace;
        }
        match kind {
            Some(kind) if is_sequence && is_offset => Parsed::Head(Self {
                kind,
                body_bytes: u32_at(bytes, 4),
                synced_bytes: u64_at(bytes, 24),
                body_crc: u32_at(bytes, 32),
            }),
            _ => Parsed::Nothing,
        }
    }
}

fn kind_of(bytes: &[u8; HEAD]) -> Option<Kind> {
    match [bytes[0], bytes[1], bytes[2], bytes[3]] {
        RECORD_MAGIC => Some(Kind::Record),
        END_MAGIC => Some(Kind::End),
        _ => None,
    }
}

fn u32_at(bytes: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEAD], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_SAMPLE: Head = Head { kind: Kind::Record, body_bytes: 77, synced_bytes: 4096, body_crc: 0xdead_beef };

    #[test]
    fn head_is_read_back_only_at_its_own_place() {
        let bytes = HEAD_SAMPLE.encode(7, 4096);
        assert_eq!(Head::parse(&bytes, 7, 4096), Parsed::Head(HEAD_SAMPLE));
        assert_eq!(Head::parse(&bytes, 8, 4096), Parsed::Nothing);
        assert_eq!(Head::parse(&bytes, 7, 4104), Parsed::Nothing);
        assert_eq!(Head::parse(&bytes[..39], 7, 4096), Parsed::Nothing);
    }

    #[test]
    fn every_flipped_bit_of_a_head_leaves_a_trace() {
        for bit in 0..HEAD * 8 {
            let mut bytes = HEAD_SAMPLE.encode(7, 4096);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::parse(&bytes, 7, 4096), Parsed::Trace, "bit {bit}");
        }
    }

    #[test]
    fn spans_are_multiples_of_eight() {
        assert_eq!([0, 1, 8, 9].map(span_bytes), [40, 48, 48, 56]);
    }
}
