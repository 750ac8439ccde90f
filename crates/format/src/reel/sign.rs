//! Signs files, and tells who signed them. `docs/format.md` section 10.
//!
//! A signature is a frame before the index, so that readers which know nothing of it read the file as before. What it is
//! made over says nothing of other signatures: each may come and go without the others.

use super::read::read_tail;
use super::recover::{Damage, Report, Source, read_part, verify};
use super::write::{seal, tail_of};
use super::{ReelError, ReelLimits, TAIL_BYTES};
use crate::block::frame::{self, Claim, FRAME_HEAD_BYTES, Frame, Tag};
use crate::sign::{PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, SigningKey};

/// Bytes of a signature's frame.
pub const SIGNATURE_FRAME_BYTES: usize = FRAME_HEAD_BYTES + PUBLIC_KEY_BYTES + HASH_BYTES + SIGNATURE_BYTES;

/// Signatures that a file may have.
pub const SIGNATURES_MAX: usize = 16;

const HASH_BYTES: usize = 32;

/// What a message begins with, so that a signature for one purpose is none for another.
const PURPOSE_REEL: &[u8] = b"reelcase signed reel 1";
const PURPOSE_STORED: &[u8] = b"reelcase signed file 1";

/// How much of a file is hashed at once.
const HASHED_BYTES: u64 = 1 << 20;

/// A file with one signature more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// How much of the file stays as it is.
    pub offset: u64,
    /// What comes then: the signature, the index and the tail, which end the file.
    pub bytes: Vec<u8>,
}

/// Why a file is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A signature says that a file is whole.
    #[error("it is damaged at byte {}: {}", .0.offset, .0.what)]
    Damaged(Damage),
    /// Signing again would add nothing.
    #[error("it is signed by this key already")]
    Already,
    /// See [`SIGNATURES_MAX`].
    #[error("it has {SIGNATURES_MAX} signatures, and can have no more")]
    TooMany,
    /// The file cannot be read.
    #[error(transparent)]
    Reel(#[from] ReelError),
}

/// Why a file is not what the holder of a key signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// Signed or not, it is not whole.
    #[error("it is damaged, or was changed since it was signed")]
    Damaged,
    /// By nobody.
    #[error("it is not signed")]
    Unsigned,
    /// By others.
    #[error("it is not signed by that key, but by {}", listed(.found))]
    OtherKey {
        /// By whom.
        found: Vec<PublicKey>,
    },
}

/// A signature as it stands in its frame.
struct Signature {
    signer: PublicKey,
    content_hash: [u8; HASH_BYTES],
    signature: [u8; SIGNATURE_BYTES],
}

/// What follows the blocks of a file.
struct End {
    /// Where the signatures begin, and the index where there are none.
    content_ends: u64,
    signatures: Vec<Signature>,
    index_offset: u64,
    index_bytes: u64,
    tail: Vec<u8>,
}

/// Signs a file, after having checked all of it.
pub fn sign(source: &(impl Source + ?Sized), key: &SigningKey, limits: &ReelLimits) -> Result<Signed, SignError> {
    let report = verify(source, limits);
    if let Some(damage) = report.damage.into_iter().next() {
        return Err(SignError::Damaged(damage));
    }
    if report.signers.contains(&key.public()) {
        return Err(SignError::Already);
    }
    let end = End::read(source, limits)?;
    if end.signatures.len() >= SIGNATURES_MAX {
        return Err(SignError::TooMany);
    }
    let content_hash = hash_of(source, end.content_ends)?;
    let index_frame = read_part(source, end.index_offset, end.index_bytes)?;
    let message = message_of_reel(&content_hash, &index_frame);
    let mut bytes = Signature::new(key, content_hash, &message).frame()?;
    let index_offset = end.index_offset + bytes.len() as u64;
    bytes.extend_from_slice(&index_frame);
    bytes.extend_from_slice(&tail_of(index_offset, &index_frame)?);
    Ok(Signed { offset: end.index_offset, bytes })
}

/// Whose signatures a file bears. Whether they hold only [`verify`] tells.
pub fn bearing(source: &(impl Source + ?Sized), limits: &ReelLimits) -> Result<Vec<PublicKey>, ReelError> {
    Ok(End::read(source, limits)?.signatures.iter().map(|signature| signature.signer).collect())
}

/// Signs a file of any kind as it is stored. The signature goes into a file beside it, behind those that are there.
pub fn sign_stored(source: &(impl Source + ?Sized), key: &SigningKey) -> Result<Vec<u8>, ReelError> {
    let content_hash = hash_of(source, source.file_bytes())?;
    Signature::new(key, content_hash, &message_of_stored(&content_hash)).frame()
}

/// Who signed a file as it is stored, by the file beside it. Fails where a signature does not hold.
pub fn stored_signers(source: &(impl Source + ?Sized), signatures: &[u8]) -> Result<Vec<PublicKey>, ReelError> {
    if signatures.len() > SIGNATURES_MAX * SIGNATURE_FRAME_BYTES {
        let (found, limit) = (signatures.len() as u64, (SIGNATURES_MAX * SIGNATURE_FRAME_BYTES) as u64);
        return Err(ReelError::TooLarge { part: "signatures", found, limit });
    }
    let content_hash = hash_of(source, source.file_bytes())?;
    let mut signers = Vec::new();
    for frame in signatures.chunks(SIGNATURE_FRAME_BYTES) {
        let signature = Signature::read(frame)?;
        let holds = signature.holds(&content_hash, &message_of_stored(&content_hash));
        note(&mut signers, &signature, holds)?;
    }
    Ok(signers)
}

impl Report {
    /// Whether the file is whole, and signed by the holder of this key.
    pub fn is_signed_by(&self, key: &PublicKey) -> Result<(), NotSigned> {
        if !self.damage.is_empty() {
            return Err(NotSigned::Damaged);
        }
        is_among(key, &self.signers)
    }
}

/// Whether this key is among those that signed.
pub fn is_among(key: &PublicKey, signers: &[PublicKey]) -> Result<(), NotSigned> {
    if signers.contains(key) {
        return Ok(());
    }
    Err(if signers.is_empty() { NotSigned::Unsigned } else { NotSigned::OtherKey { found: signers.to_vec() } })
}

/// Keys as people read them.
pub fn listed(keys: &[PublicKey]) -> String {
    keys.iter().map(PublicKey::to_string).collect::<Vec<_>>().join(", ")
}

/// Notes who signed a file whose index is intact, and what is wrong with signatures. `met` is where the walk through the
/// file came upon signatures.
pub(super) fn check_signatures(source: &(impl Source + ?Sized), limits: &ReelLimits, met: &[u64], report: &mut Report) {
    let mut wrong = |offset: u64, what: ReelError| report.damage.push(Damage { offset, block: None, what });
    let end = match End::read(source, limits) {
        Ok(end) => end,
        Err(what) => return wrong(source.file_bytes().saturating_sub(TAIL_BYTES as u64), what),
    };
    for &at in met.iter().filter(|at| **at < end.content_ends) {
        wrong(at, ReelError::Inconsistent("a signature does not stand directly before it".to_owned()));
    }
    let met_count = met.iter().filter(|at| **at >= end.content_ends).count();
    if met_count != end.signatures.len() {
        let what = format!("{} signatures stand before it, {met_count} of them as frames", end.signatures.len());
        return wrong(end.content_ends, ReelError::Inconsistent(what));
    }
    if end.signatures.is_empty() {
        return;
    }
    let hashed = hash_of(source, end.content_ends).and_then(|content_hash| {
        let index_frame = read_part(source, end.index_offset, end.index_bytes)?;
        // Nothing in the tail is left to choose, and so nothing in it is signed.
        let is_tail_plain = tail_of(end.index_offset, &index_frame)? == end.tail;
        if !is_tail_plain {
            return Err(ReelError::corrupt("tail", "it is not the one of a signed file"));
        }
        Ok((content_hash, message_of_reel(&content_hash, &index_frame)))
    });
    let (content_hash, message) = match hashed {
        Ok(hashed) => hashed,
        Err(what) => return wrong(end.content_ends, what),
    };
    let mut at = end.content_ends;
    for signature in &end.signatures {
        let holds = signature.holds(&content_hash, &message);
        if let Err(what) = note(&mut report.signers, signature, holds) {
            report.damage.push(Damage { offset: at, block: None, what });
        }
        at += SIGNATURE_FRAME_BYTES as u64;
    }
}

impl End {
    fn read(source: &(impl Source + ?Sized), limits: &ReelLimits) -> Result<Self, ReelError> {
        let file_bytes = source.file_bytes();
        let tail_bytes = file_bytes.min(TAIL_BYTES as u64);
        let tail = read_part(source, file_bytes - tail_bytes, tail_bytes)?.into_owned();
        let place = read_tail(&tail, file_bytes, limits)?;
        let (mut content_ends, mut signatures) = (place.offset, Vec::new());
        while let Some(starts) = content_ends.checked_sub(SIGNATURE_FRAME_BYTES as u64) {
            let frame = read_part(source, starts, SIGNATURE_FRAME_BYTES as u64)?;
            if !is_signature(&frame) {
                break;
            }
            if signatures.len() == SIGNATURES_MAX {
                let what = format!("more than {SIGNATURES_MAX} signatures stand before it");
                return Err(ReelError::Inconsistent(what));
            }
            signatures.push(Signature::read(&frame)?);
            content_ends = starts;
        }
        signatures.reverse();
        Ok(Self { content_ends, signatures, index_offset: place.offset, index_bytes: place.len as u64, tail })
    }
}

impl Signature {
    fn new(key: &SigningKey, content_hash: [u8; HASH_BYTES], message: &[u8]) -> Self {
        Self { signer: key.public(), content_hash, signature: key.sign(message) }
    }

    fn frame(&self) -> Result<Vec<u8>, ReelError> {
        let body = [&self.signer.as_bytes()[..], &self.content_hash, &self.signature].concat();
        seal("signature", Tag::Signature, &body)
    }

    /// Reads one that is the frame that a writer makes: nothing in it is left to choose.
    fn read(frame: &[u8]) -> Result<Self, ReelError> {
        let no_signature = || ReelError::corrupt("signature", "it is not the frame of one");
        let body = match frame::open(frame).map_err(|flaw| ReelError::from_flaw("signature", flaw))? {
            Frame::Ours { tag: Tag::Signature, bytes, body } if bytes.len() == SIGNATURE_FRAME_BYTES => body,
            _ => return Err(no_signature()),
        };
        let (signer, rest) = body.split_first_chunk().ok_or_else(no_signature)?;
        let (content_hash, rest) = rest.split_first_chunk().ok_or_else(no_signature)?;
        let signature = rest.try_into().map_err(|_| no_signature())?;
        let read = Self { signer: PublicKey::from_bytes(*signer), content_hash: *content_hash, signature };
        if read.frame()? == frame { Ok(read) } else { Err(no_signature()) }
    }

    /// Whether it was made for what has this hash, and this message.
    fn holds(&self, content_hash: &[u8; HASH_BYTES], message: &[u8]) -> bool {
        self.content_hash == *content_hash && self.signer.has_signed(message, &self.signature)
    }
}

fn note(signers: &mut Vec<PublicKey>, signature: &Signature, holds: bool) -> Result<(), ReelError> {
    let signer = signature.signer;
    if !holds {
        return Err(ReelError::Signature { signer });
    }
    if !signers.contains(&signer) {
        signers.push(signer);
    }
    Ok(())
}

fn is_signature(frame: &[u8]) -> bool {
    let signature_bytes = SIGNATURE_FRAME_BYTES as u64;
    matches!(frame::claim(frame), Ok(Claim::Ours { tag: Tag::Signature, bytes }) if bytes == signature_bytes)
}

fn message_of_reel(content_hash: &[u8; HASH_BYTES], index_frame: &[u8]) -> Vec<u8> {
    [PURPOSE_REEL, content_hash, blake3::hash(index_frame).as_bytes()].concat()
}

fn message_of_stored(content_hash: &[u8; HASH_BYTES]) -> Vec<u8> {
    [PURPOSE_STORED, content_hash].concat()
}

/// The hash of a file up to a byte.
fn hash_of(source: &(impl Source + ?Sized), ends: u64) -> Result<[u8; HASH_BYTES], ReelError> {
    let (mut hash, mut at) = (blake3::Hasher::new(), 0);
    while at < ends {
        let bytes = read_part(source, at, HASHED_BYTES.min(ends - at))?;
        hash.update(&bytes);
        at += bytes.len() as u64;
    }
    Ok(*hash.finalize().as_bytes())
}
