//! The few file operations the inbox lives on, behind a trait so that tests can cut the power.
//!
//! [`DiskFiles`] is the real directory. The simulated one, in `sim`, keeps what was synced apart from what was not.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Zeroes are written and synced in steps of this size, because one sync of a whole segment would hold up the log.
const ZERO_FILL_BYTES: usize = 4 << 20;

/// One flat directory of files.
pub trait Files: Send + Sync + 'static {
    /// Makes a file of `file_bytes` written zeroes. Fails if the name is taken. Neither data nor name is durable yet.
    fn create(&self, name: &str, file_bytes: u64) -> io::Result<Box<dyn FileHandle>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn FileHandle>>;
    /// Names every file, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Renames a file, replacing what has the new name. Durable after [`Files::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Files::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes every create, rename and remove so far durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One open file.
pub trait FileHandle: Send + Sync {
    /// Measures the file.
    fn file_bytes(&self) -> io::Result<u64>;
    /// Writes some of `bytes` at `offset` and says how many, as `pwrite` does.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Reads some bytes at `offset` and says how many, as `pread` does; 0 is the end of the file.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// Makes everything written so far durable. After a failure nothing can be said about any unsynced byte,
    /// however often it is called again.
    fn sync_data(&self) -> io::Result<()>;
}

/// Writes all of `bytes`, going on after short and interrupted writes.
pub(super) fn write_all(handle: &dyn FileHandle, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match handle.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `bytes`, going on after short and interrupted reads.
pub(super) fn read_exact(handle: &dyn FileHandle, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match handle.read_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                offset += read as u64;
                bytes = bytes.get_mut(read..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A directory of the real file system.
#[derive(Debug)]
pub struct DiskFiles {
    dir: PathBuf,
    dir_handle: File,
}

impl DiskFiles {
    /// Opens `dir`, making it durably where it is missing.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        if !dir.is_dir() {
            fs::create_dir_all(&dir)?;
            if let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let dir_handle = File::open(&dir)?;
        Ok(Self { dir, dir_handle })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(Path::new(name))
    }
}

impl Files for DiskFiles {
    fn create(&self, name: &str, file_bytes: u64) -> io::Result<Box<dyn FileHandle>> {
        // Sealing is what makes room again, so the inbox stops taking it first: as much as it asks for stays free.
        let room = rustix::fs::statvfs(&self.dir)?;
        if room.f_bavail.saturating_mul(room.f_frsize) < file_bytes.saturating_mul(2) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name))?;
        let zeroes = vec![0; ZERO_FILL_BYTES.min(usize::try_from(file_bytes).unwrap_or(ZERO_FILL_BYTES))];
        let mut offset = 0;
        // Written, not merely reserved: a sync of blocks that were never written also has to journal that they are now.
        while offset < file_bytes {
            let step = (file_bytes - offset).min(zeroes.len() as u64);
            file.write_all_at(zeroes.get(..step as usize).unwrap_or_default(), offset)?;
            file.sync_data()?;
            offset += step;
        }
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn FileHandle>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path(name))?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir_handle.sync_all()
    }
}

impl FileHandle for File {
    fn file_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}
