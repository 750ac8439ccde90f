//! `.reel` files that nobody can read without a key, for any host of plain files, and the page that plays them.
//!
//! A file is encrypted in chunks of one length, so that a player fetches and decrypts only those it needs. Each chunk is
//! sealed for its place: none can be changed, moved, left out or taken from another file, and the last one says that it
//! is the last. `docs/format.md` has every byte.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use rust_embed::RustEmbed;

/// How each of these files begins.
const MAGIC: &[u8] = b"\x89REELENC";
/// The version that is written, and the newest that is read.
const VERSION: u16 = 1;

/// Bytes that chunks hold, but for the last, and how many there are more in the file.
const CHUNK_BYTES: usize = 16 << 10;
const TAG_BYTES: usize = 16;
/// Longest chunk that a reader takes.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Random bytes of a file, which make its keys differ from those of all others.
pub const SALT_BYTES: usize = 16;
/// The part of the head that keys are made of, and what follows it there.
const SALTED_BYTES: usize = 16 + SALT_BYTES;
const CHECK_BYTES: usize = 16;
/// What comes before the first chunk.
const HEAD_BYTES: usize = SALTED_BYTES + CHECK_BYTES;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// What the keys of a file are for, in words of the derivation.
const PURPOSE: &[u8] = b"reelcase encrypted reel 1";

/// The built player.
#[derive(RustEmbed)]
#[folder = "../../web/dist/player"]
#[include = "encrypted.html"]
#[allow_missing = true]
struct Player;

/// What opens a file: random bytes, as text in base64url. It prints as itself alone in links.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

/// A text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is {KEY_BYTES} bytes in base64url, 43 characters, and stands behind key= in the link")]
pub struct NoKey;

impl Key {
    /// Takes bytes that nobody can guess.
    pub fn new(random: [u8; KEY_BYTES]) -> Self {
        Self(random)
    }

    /// The key as links have it.
    pub fn as_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Takes a key, or the link that it stands in.
    pub fn of_link(text: &str) -> Result<Self, NoKey> {
        let fragment = text.trim().split_once('#').map_or("", |(_, fragment)| fragment);
        let of_link = fragment.split('&').find_map(|pair| pair.strip_prefix("key="));
        of_link.unwrap_or(text.trim()).parse()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key([redacted])")
    }
}

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoKey)?;
        Ok(Self(bytes.try_into().map_err(|_| NoKey)?))
    }
}

/// The page that plays these files, to lie beside them. Fails where the build has no player.
pub fn page() -> io::Result<Vec<u8>> {
    let page = Player::get("encrypted.html").map(|file| file.data.into_owned());
    page.ok_or_else(|| {
        io::Error::new(ErrorKind::NotFound, "this build has no player\nhint: make web, then build again")
    })
}

/// Whether a file that begins with these bytes is one of these.
pub fn is_encrypted(magic: &[u8]) -> bool {
    magic.starts_with(MAGIC)
}

/// Encrypts what is written to it.
pub struct EncryptedWriter<W: Write> {
    out: W,
    keys: Keys,
    chunk: Vec<u8>,
    number: u64,
}

impl<W: Write> EncryptedWriter<W> {
    /// Begins a file. `salt` is random, and another one for each file.
    pub fn new(mut out: W, key: &Key, salt: [u8; SALT_BYTES]) -> io::Result<Self> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&[0, 0]);
        head.extend_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
        head.extend_from_slice(&salt);
        let (keys, check) = Keys::of(key, &head)?;
        head.extend_from_slice(&check);
        out.write_all(&head)?;
        Ok(Self { out, keys, chunk: Vec::with_capacity(CHUNK_BYTES + TAG_BYTES), number: 0 })
    }

    /// Ends the file, and hands the place back.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_chunk(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = nonce_of(self.number, is_last);
        let sealed = self.keys.file.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.chunk);
        sealed.map_err(|_| io::Error::other("a chunk cannot be encrypted"))?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for EncryptedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until there is more: only then it is not the last.
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.write_chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Decrypts a file from front to back.
pub struct EncryptedReader<R> {
    file: R,
    keys: Keys,
    chunk_bytes: usize,
    /// The chunk that is being read, decrypted, and how much of it was taken.
    chunk: Vec<u8>,
    taken: usize,
    /// What comes after it, as it is in the file. Empty once the last chunk was read.
    next: Vec<u8>,
    number: u64,
}

impl<R: Read> EncryptedReader<R> {
    /// Begins to read a file for which [`is_encrypted`] holds.
    pub fn new(mut file: R, key: &Key) -> io::Result<Self> {
        let head = up_to(&mut file, HEAD_BYTES)?;
        if !is_encrypted(&head) {
            return Err(flaw("this is no encrypted recording"));
        }
        if head.len() < HEAD_BYTES {
            return Err(flaw(format!("byte {}: the file ends within its head", head.len())));
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version > VERSION {
            return Err(flaw(format!("the encrypted file is of version {version}, newer than {VERSION}; upgrade")));
        }
        let chunk_bytes = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
        if chunk_bytes == 0 || chunk_bytes > CHUNK_BYTES_MAX {
            return Err(flaw(format!("chunks of {chunk_bytes} bytes; 1 to {CHUNK_BYTES_MAX} are taken")));
        }
        let (keys, check) = Keys::of(key, &head[..SALTED_BYTES])?;
        if check[..] != head[SALTED_BYTES..] {
            return Err(flaw("the key does not fit this file"));
        }
        let next = up_to(&mut file, chunk_bytes + TAG_BYTES)?;
        Ok(Self { file, keys, chunk_bytes, chunk: Vec::new(), taken: 0, next, number: 0 })
    }

    /// Decrypts the next chunk. `false` at the end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        if self.next.is_empty() {
            let what = || flaw(format!("byte {HEAD_BYTES}: the file ends behind its head"));
            return if self.number == 0 { Err(what()) } else { Ok(false) };
        }
        self.chunk = std::mem::take(&mut self.next);
        self.next = up_to(&mut self.file, self.chunk_bytes + TAG_BYTES)?;
        let (number, is_last) = (self.number, self.next.is_empty());
        let opened = self.keys.file.open_in_place(nonce_of(number, is_last), Aad::empty(), &mut self.chunk);
        let at = HEAD_BYTES as u64 + number * (self.chunk_bytes + TAG_BYTES) as u64;
        let changed = || flaw(format!("byte {at}: chunk {number} was changed, or the file is cut off"));
        let plain_bytes = opened.map_err(|_| changed())?.len();
        self.chunk.truncate(plain_bytes);
        self.taken = 0;
        self.number += 1;
        Ok(true)
    }
}

impl<R: Read> Read for EncryptedReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.chunk.len() - self.taken);
        out[..count].copy_from_slice(&self.chunk[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// What a file's chunks are sealed with.
struct Keys {
    file: LessSafeKey,
}

impl Keys {
    /// Makes them of the key and the beginning of the file's head, with what tells that a key is the right one.
    fn of(key: &Key, salted: &[u8]) -> io::Result<(Self, [u8; CHECK_BYTES])> {
        let failed = || io::Error::other("no key can be made for the file");
        let mut made = [0; KEY_BYTES + CHECK_BYTES];
        let secret = Salt::new(HKDF_SHA256, salted).extract(&key.0);
        secret.expand(&[PURPOSE], Made).and_then(|out| out.fill(&mut made)).map_err(|_| failed())?;
        let file = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &made[..KEY_BYTES]).map_err(|_| failed())?);
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&made[KEY_BYTES..]);
        Ok((Self { file }, check))
    }
}

/// How much is derived.
struct Made;

impl KeyType for Made {
    fn len(&self) -> usize {
        KEY_BYTES + CHECK_BYTES
    }
}

/// The place of a chunk: its number, in network order, and whether it is the last.
fn nonce_of(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(nonce)
}

/// So many bytes, or what there is.
fn up_to(file: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(bytes);
    file.by_ref().take(bytes as u64).read_to_end(&mut read)?;
    Ok(read)
}

fn flaw(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    const SALT: [u8; SALT_BYTES] = [7; SALT_BYTES];

    fn key() -> Key {
        Key::new([1; KEY_BYTES])
    }

    fn encrypted(plain: &[u8]) -> Vec<u8> {
        let mut writer = EncryptedWriter::new(Vec::new(), &key(), SALT).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn decrypted(file: &[u8], key: &Key) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        let mut reader = EncryptedReader::new(file, key).map_err(|error| error.to_string())?;
        reader.read_to_end(&mut plain).map_err(|error| error.to_string())?;
        Ok(plain)
    }

    fn plain(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn what_was_encrypted_comes_back_on_each_side_of_a_chunk() {
        for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let file = encrypted(&plain(bytes));
            let chunks = bytes.div_ceil(CHUNK_BYTES).max(1);
            assert_eq!(file.len(), HEAD_BYTES + bytes + chunks * TAG_BYTES);
            assert_eq!(decrypted(&file, &key()).unwrap(), plain(bytes));
        }
    }

    #[test]
    fn a_key_survives_its_text() {
        assert_eq!(key().as_text().parse(), Ok(key()));
        assert_eq!("short".parse::<Key>(), Err(NoKey));
        let link = format!("https://static.example.com/replay.html#file=0a.reel.enc&key={}\n", key().as_text());
        assert_eq!(Key::of_link(&link), Ok(key()));
        assert_eq!(Key::of_link(&key().as_text()), Ok(key()));
        assert_eq!(Key::of_link("https://static.example.com/replay.html#file=0a.reel.enc"), Err(NoKey));
        assert_eq!(format!("{:?}", key()), "Key([redacted])");
    }

    #[test]
    fn another_key_is_recognised() {
        let found = decrypted(&encrypted(b"reel"), &Key::new([2; KEY_BYTES]));
        assert_eq!(found.unwrap_err(), "the key does not fit this file");
    }

    #[test]
    fn a_file_that_is_cut_off_says_where() {
        let file = encrypted(&plain(2 * CHUNK_BYTES));
        for (cut, said) in [
            (20, "byte 20: the file ends within its head"),
            (HEAD_BYTES, "byte 48: the file ends behind its head"),
            (HEAD_BYTES + 5, "byte 48: chunk 0 was changed, or the file is cut off"),
            (HEAD_BYTES + CHUNK_BYTES + TAG_BYTES, "byte 48: chunk 0 was changed, or the file is cut off"),
            (file.len() - 1, "byte 16448: chunk 1 was changed, or the file is cut off"),
        ] {
            assert_eq!(decrypted(&file[..cut], &key()).unwrap_err(), said, "cut at {cut}");
        }
    }

    #[test]
    fn no_byte_can_be_changed() {
        let file = encrypted(&plain(CHUNK_BYTES + 10));
        for at in [8, 10, 12, 20, 40, HEAD_BYTES, HEAD_BYTES + CHUNK_BYTES + 3, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(decrypted(&changed, &key()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn no_chunk_can_be_left_out_moved_or_added() {
        let file = encrypted(&plain(3 * CHUNK_BYTES));
        let chunk = |number: usize| {
            let begins = HEAD_BYTES + number * (CHUNK_BYTES + TAG_BYTES);
            &file[begins..begins + CHUNK_BYTES + TAG_BYTES]
        };
        let head = &file[..HEAD_BYTES];
        for order in [&[0, 1][..], &[1, 2], &[1, 0, 2], &[0, 1, 2, 2], &[]] {
            let parts = order.iter().flat_map(|number| chunk(*number));
            let changed: Vec<u8> = head.iter().chain(parts).copied().collect();
            assert!(decrypted(&changed, &key()).is_err(), "chunks {order:?}");
        }
    }

    #[test]
    fn the_sample_is_written_and_read() {
        let (reel, file) = (
            &include_bytes!("../../../testdata/reel/v1-smallest.reel")[..],
            include_bytes!("../../../testdata/reel/v1-smallest.reel.enc"),
        );
        assert_eq!(encrypted(reel), file);
        assert_eq!(decrypted(file, &key()).unwrap(), reel);
    }

    #[test]
    fn newer_versions_are_told_from_damage() {
        let mut file = encrypted(b"reel");
        file[8] = 2;
        assert_eq!(decrypted(&file, &key()).unwrap_err(), "the encrypted file is of version 2, newer than 1; upgrade");
    }
}
