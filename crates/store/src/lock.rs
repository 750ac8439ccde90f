//! One process at a time holds a store. The lock is the kernel's, so `kill -9` frees it; the file's text only says who.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Why a store could not be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it. Talk to that one, or stop it.
    #[error("the store is held by {holder}")]
    Held {
        /// What the holder wrote of itself: its pid and command.
        holder: String,
    },
    /// The lock file could not be made or read.
    #[error("cannot lock the store")]
    Io(#[from] io::Error),
}

/// Holds a store until dropped.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes the lock at `path`, writing `pid` and `command` into it for whoever is refused later.
    pub fn take(path: &Path, command: &str) -> Result<Self, LockError> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = Vec::new();
                file.read_to_end(&mut holder)?;
                return Err(LockError::Held { holder: String::from_utf8_lossy(&holder).trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "process {} ({command})", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = StoreLock::take(&path, "reelcase serve").unwrap();
        let refused = StoreLock::take(&path, "reelcase ls").unwrap_err().to_string();
        assert_eq!(refused, format!("the store is held by process {} (reelcase serve)", std::process::id()));
        drop(first);
        StoreLock::take(&path, "reelcase ls").unwrap();
    }
}
