//! Encrypted `.reel` files, and the key that opens them, which is never printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use anyhow::{Context, bail};
use clap::Args;
use reelcase_transform::encrypted::{EncryptedReader, Key};

/// How much is decrypted at a time.
const PIECE_BYTES: usize = 64 << 10;

/// What opens encrypted files.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyArgs {
    /// What opens an encrypted .reel file: its key, or the link that plays it.
    ///
    /// REELCASE_KEY does the same, and is not seen in the list of processes.
    #[arg(long, value_name = "KEY", env = "REELCASE_KEY", hide_env_values = true)]
    key: Option<Secret>,
}

/// A text that nobody is shown, not even where it is wrong.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

impl KeyArgs {
    /// The key that was given.
    pub(crate) fn key(&self) -> anyhow::Result<Option<Key>> {
        let given = self.key.as_ref().filter(|Secret(text)| !text.is_empty());
        given.map(|Secret(text)| Key::of_link(text)).transpose().context("--key is no key")
    }
}

/// Writes what is in an encrypted file to `to`, which stands at its beginning then. Returns where the file ends too
/// early, or was changed, if it was: what comes before is written.
pub(crate) fn decrypt(file: impl Read, key: Option<&Key>, to: &mut File) -> anyhow::Result<Option<String>> {
    let Some(key) = key else { bail!("it is encrypted\nhint: --key takes its key, or the link that plays it") };
    let mut plain = EncryptedReader::new(file, key)?;
    let mut piece = vec![0; PIECE_BYTES];
    let flaw = loop {
        match plain.read(&mut piece) {
            Ok(0) => break None,
            Ok(read_bytes) => to.write_all(&piece[..read_bytes])?,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => break Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    };
    to.rewind()?;
    Ok(flaw)
}
