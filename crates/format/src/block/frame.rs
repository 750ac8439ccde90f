//! The frame that header, block head, signature, index and tail share: a zstd skippable frame with a tag, a version and a check.
//! `docs/format.md` section 1 has the table.

/// `52 2A 4D 18` on disk.
pub(crate) const MAGIC: u32 = 0x184D_2A52;
/// Bytes of a frame before its body.
pub(crate) const FRAME_HEAD_BYTES: usize = 32;
/// The version that this code writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 1;

/// Any of the sixteen skippable magic numbers, without the last digit.
const SKIPPABLE: u32 = 0x184D_2A50;
/// Bytes that [`claim`] looks at.
pub(crate) const CLAIM_BYTES: usize = 12;

const CHECK_BYTES: usize = 16;
const LENGTH_ENDS: usize = 8;
const CHECK_STARTS: usize = 16;

/// What a frame of ours holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Header,
    Block,
    Signature,
    Index,
    Tail,
}

impl Tag {
    pub(crate) const fn bytes(self) -> &'static [u8; 4] {
        match self {
            Self::Header => b"REEL",
            Self::Block => b"BLCK",
            Self::Signature => b"SIGN",
            Self::Index => b"INDX",
            Self::Tail => b"TAIL",
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let all = [Self::Header, Self::Block, Self::Signature, Self::Index, Self::Tail];
        all.into_iter().find(|tag| tag.bytes() == bytes)
    }
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFlaw {
    /// It claims more bytes than there are.
    CutOff,
    /// Its check does not match, or it is shorter than a frame of ours.
    Corrupt,
    /// Its check matches and its version is newer.
    TooNew(u16),
}

/// A frame as it stands in the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame<'a> {
    /// One of ours, verified. `bytes` is the whole frame, `body` what follows its head.
    Ours { tag: Tag, bytes: &'a [u8], body: &'a [u8] },
    /// A skippable frame of someone else, or of a newer writer.
    Unknown,
    /// A zstd frame, or no frame at all.
    Other,
}

/// What the first bytes of a frame say of it. Nothing of this is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// One of ours, of this many bytes in all.
    Ours { tag: Tag, bytes: u64 },
    /// A skippable frame of someone else, or of a newer writer.
    Unknown { bytes: u64 },
    /// A zstd frame, or no frame at all.
    Other,
}

/// Puts `body` into a frame. `None` where it does not fit a u32 length.
pub(crate) fn seal(tag: Tag, body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(body.len().checked_add(FRAME_HEAD_BYTES - LENGTH_ENDS)?).ok()?;
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + body.len());
    frame.extend_from_slice(&MAGIC.to_le_bytes());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(tag.bytes());
    frame.extend_from_slice(&VERSION.to_le_bytes());
    frame.extend_from_slice(&0u16.to_le_bytes());
    let check = check(&frame[LENGTH_ENDS..], body);
    frame.extend_from_slice(&check);
    frame.extend_from_slice(body);
    Some(frame)
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn open(bytes: &[u8]) -> Result<Frame<'_>, FrameFlaw> {
    let of = |frame_bytes: u64| usize::try_from(frame_bytes).ok().and_then(|frame_bytes| bytes.get(..frame_bytes));
    match claim(bytes)? {
        Claim::Ours { tag, bytes } => {
            let frame = of(bytes).ok_or(FrameFlaw::CutOff)?;
            Ok(Frame::Ours { tag, bytes: frame, body: verify(frame)? })
        }
        Claim::Unknown { bytes } => of(bytes).map(|_| Frame::Unknown).ok_or(FrameFlaw::CutOff),
        Claim::Other => Ok(Frame::Other),
    }
}

/// Reads what the first [`CLAIM_BYTES`] of a frame say; fewer suffice where there are no more.
pub(crate) fn claim(bytes: &[u8]) -> Result<Claim, FrameFlaw> {
    let (Some(magic), Some(length)) = (u32_at(bytes, 0), u32_at(bytes, 4)) else {
        return if bytes.is_empty() || is_magic_begun(bytes) { Err(FrameFlaw::CutOff) } else { Ok(Claim::Other) };
    };
    if magic & !0xF != SKIPPABLE {
        return Ok(Claim::Other);
    }
    let frame_bytes = u64::from(length) + LENGTH_ENDS as u64;
    let tag = bytes.get(LENGTH_ENDS..CLAIM_BYTES).filter(|_| length >= 4).and_then(Tag::from_bytes);
    Ok(match tag {
        Some(tag) if magic == MAGIC => Claim::Ours { tag, bytes: frame_bytes },
        _ => Claim::Unknown { bytes: frame_bytes },
    })
}

/// The first bytes of the BLAKE3 hash of `first` followed by `second`.
pub(crate) fn check(first: &[u8], second: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::Hasher::new().update(first).update(second).finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.as_bytes()[..CHECK_BYTES]);
    check
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// The check is looked at before the version, because a flipped bit is damage and not a newer writer.
fn verify(frame: &[u8]) -> Result<&[u8], FrameFlaw> {
    let (head, body) = frame.split_at_checked(FRAME_HEAD_BYTES).ok_or(FrameFlaw::Corrupt)?;
    if check(&head[LENGTH_ENDS..CHECK_STARTS], body) != head[CHECK_STARTS..] {
        return Err(FrameFlaw::Corrupt);
    }
    match u16::from_le_bytes([head[12], head[13]]) {
        VERSION => Ok(body),
        version if version > VERSION => Err(FrameFlaw::TooNew(version)),
        _ => Err(FrameFlaw::Corrupt),
    }
}

fn is_magic_begun(bytes: &[u8]) -> bool {
    let magic = MAGIC.to_le_bytes();
    let common = bytes.len().min(magic.len());
    bytes[..common] == magic[..common]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_version_is_told_from_damage() {
        let mut frame = seal(Tag::Header, b"{}").unwrap();
        frame[12] = 2;
        assert_eq!(open(&frame).unwrap_err(), FrameFlaw::Corrupt);
        let check = check(&frame[8..16], b"{}");
        frame[16..32].copy_from_slice(&check);
        assert_eq!(open(&frame).unwrap_err(), FrameFlaw::TooNew(2));
    }

    #[test]
    fn frames_of_others_are_passed_over() {
        let bytes = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, b'a', b'b', b'c', b'd'];
        assert_eq!(claim(&bytes), Ok(Claim::Unknown { bytes: 11 }));
        assert_eq!(open(&bytes[..10]).unwrap_err(), FrameFlaw::CutOff);
    }
}
