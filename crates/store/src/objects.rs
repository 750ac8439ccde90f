//! The object store: where objects are, and when one counts as written.
//!
//! An object's id is `<store>/<sequence number>`; its path follows from that, so a listing of the bucket is enough to
//! find everything. A local object is written under a temporary name, renamed, and then synced with its directories;
//! the inbox keeps the uploads until that is done, so an object torn by a power cut is set aside and made again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use reelcase_format::reel::{Index, IndexReader, ReelError, ReelLimits, Step};

/// How many sequence numbers share a directory, as a power of two.
const DIRECTORY_BITS: u32 = 12;

/// Why an object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store refused or is away. Trying again may help.
    #[error("the object store cannot {operation} {object}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// The object's id.
        object: String,
        /// What the store says.
        #[source]
        source: object_store::Error,
    },
    /// The object's bytes are not what was written.
    #[error("object {object} is damaged")]
    Damaged {
        /// The object's id.
        object: String,
        /// What is wrong with it.
        #[source]
        source: ReelError,
    },
    /// The directory could not be made or synced.
    #[error("cannot sync the objects' directory")]
    Sync(#[from] std::io::Error),
    /// A name that no release of this program gave to an object.
    #[error("{0:?} is not the id of an object")]
    BadId(String),
}

/// The objects of one store.
#[derive(Debug)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Where local objects lie, so that they can be synced. `None` where the object store's word is enough.
    local_dir: Option<PathBuf>,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) stored_bytes: u64,
}

/// Names the object with a sequence number of a store.
pub(crate) fn object_id(store_id: &str, seq: u64) -> String {
    format!("{store_id}/{seq:016x}")
}

impl Objects {
    /// Opens the objects below a local directory, creating it.
    pub(crate) fn local(dir: &Path) -> Result<Self, ObjectError> {
        std::fs::create_dir_all(dir)?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|source| ObjectError::Store {
            operation: "open",
            object: dir.display().to_string(),
            source,
        })?;
        Ok(Self { store: Arc::new(store), local_dir: Some(dir.to_owned()) })
    }

    /// Writes an object. When this returns it is on stable storage.
    pub(crate) async fn put(&self, id: &str, bytes: Vec<u8>) -> Result<(), ObjectError> {
        let path = path_of(id)?;
        let put = self.store.put(&path, PutPayload::from(bytes)).await;
        put.map_err(|source| ObjectError::Store { operation: "write", object: id.to_owned(), source })?;
        let Some(dir) = self.local_dir.clone() else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || sync_file_and_directories(&dir, path.as_ref())).await;
        synced.map_err(std::io::Error::other)??;
        Ok(())
    }

    /// Reads `len` bytes of an object.
    pub(crate) async fn read(&self, id: &str, offset: u64, len: u64) -> Result<Bytes, ObjectError> {
        let read = self.store.get_range(&path_of(id)?, offset..offset + len).await;
        read.map_err(|source| ObjectError::Store { operation: "read", object: id.to_owned(), source })
    }

    /// Length of an object, `None` where there is none.
    pub(crate) async fn stored_bytes(&self, id: &str) -> Result<Option<u64>, ObjectError> {
        match self.store.head(&path_of(id)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(ObjectError::Store { operation: "find", object: id.to_owned(), source }),
        }
    }

    /// Reads an object's index.
    pub(crate) async fn index(&self, id: &str, stored_bytes: u64) -> Result<Index, ObjectError> {
        let damaged = |source| ObjectError::Damaged { object: id.to_owned(), source };
        let mut reader = IndexReader::new(stored_bytes, ReelLimits::default()).map_err(damaged)?;
        loop {
            match reader.step() {
                Step::Need { offset, len } => {
                    let bytes = self.read(id, offset, len as u64).await?;
                    reader.supply(&bytes).map_err(damaged)?;
                }
                Step::Index(index) => return Ok(*index),
            }
        }
    }

    /// Sets a damaged object aside, under a name that no listing takes for an object.
    pub(crate) async fn set_aside(&self, id: &str) -> Result<(), ObjectError> {
        let path = path_of(id)?;
        let aside = ObjectPath::from(format!("{path}.damaged"));
        let renamed = self.store.rename(&path, &aside).await;
        renamed.map_err(|source| ObjectError::Store { operation: "set aside", object: id.to_owned(), source })
    }

    /// All objects, by sequence number.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "list", object: "objects".to_owned(), source };
        let metas: Vec<_> = self.store.list(None).try_collect().await.map_err(failed)?;
        let mut listed: Vec<_> = metas
            .iter()
            .filter_map(|meta| {
                let (seq, id) = id_of(meta.location.as_ref())?;
                Some(Listed { seq, id, stored_bytes: meta.size })
            })
            .collect();
        listed.sort();
        Ok(listed)
    }
}

/// `<store>/<sequence number>` to `<store>/<directory>/<sequence number>.reel`.
fn path_of(id: &str) -> Result<ObjectPath, ObjectError> {
    let bad = || ObjectError::BadId(id.to_owned());
    let (store_id, seq) = id.split_once('/').ok_or_else(bad)?;
    let number = u64::from_str_radix(seq, 16).map_err(|_| bad())?;
    if store_id.is_empty() || !store_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(bad());
    }
    Ok(ObjectPath::from(format!("{store_id}/{:013x}/{number:016x}.reel", number >> DIRECTORY_BITS)))
}

fn id_of(path: &str) -> Option<(u64, String)> {
    let mut parts = path.split('/');
    let (store_id, _directory, file) = (parts.next()?, parts.next()?, parts.next()?);
    let seq = u64::from_str_radix(file.strip_suffix(".reel")?, 16).ok()?;
    Some((seq, object_id(store_id, seq)))
}

fn sync_file_and_directories(dir: &Path, path: &str) -> std::io::Result<()> {
    let file = dir.join(path);
    std::fs::File::open(&file)?.sync_all()?;
    let below = file.ancestors().skip(1).take_while(|directory| directory.starts_with(dir));
    below.into_iter().try_for_each(|directory| std::fs::File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_paths_name_each_other() {
        let id = object_id("0190c9d0", 0x1234);
        let path = path_of(&id).unwrap();
        assert_eq!(path.as_ref(), "0190c9d0/0000000000001/0000000000001234.reel");
        assert_eq!(id_of(path.as_ref()), Some((0x1234, id)));
        assert_eq!(id_of("0190c9d0/0000000000001/0000000000001234.reel.damaged"), None);
        assert!(path_of("../../etc/passwd").is_err());
    }
}
