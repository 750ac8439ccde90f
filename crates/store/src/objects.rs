//! The object store: where objects are, and when one counts as written.
//!
//! An object's id is `<store>/<sequence number>`; its path follows from that, so a listing of the bucket is enough to
//! find everything. An object is written once and never replaced: a write whose outcome is unknown may have been done,
//! or may still be done later, and what it holds must not be lost to the next one. A local object is written and synced
//! under a temporary name, renamed, and its directories are synced; the inbox keeps the uploads until all of that is
//! done.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use reelcase_format::block::BlockHash;
use reelcase_format::reel::{Index, IndexReader, REEL_VERSION, ReelError, ReelLimits, Step, newer_version};
use rustix::io::ReadWriteFlags;

use crate::abort_point;

/// How many sequence numbers share a directory, as a power of two.
const DIRECTORY_BITS: u32 = 12;

/// The document in which a store keeps what was decided.
const SETTINGS: &str = "settings";

/// Where a store keeps what people say of its recordings.
const NOTES_DIRECTORY: &str = "notes";

/// Where a store keeps pictures, and how their files end.
const PICTURES_DIRECTORY: &str = "pictures";
const PICTURE_ENDING: &str = ".jpg";

/// The file beside the objects where the next compacted object takes shape.
const UNFINISHED: &str = "unfinished";

/// How much of an object is read to see whether its header is of a newer format.
const HEADER_BYTES_MAX: u64 = 64 << 10;

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
    /// The disk refused. Trying again may help.
    #[error("cannot write object {object}")]
    Write {
        /// The object's id.
        object: String,
        /// What the system says.
        #[source]
        source: io::Error,
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
    /// A newer release wrote it, which can read it: it is no damage, and must stay as it is.
    #[error("object {object} is of format {found}, newer than the newest supported, {REEL_VERSION}")]
    TooNew {
        /// The object's id.
        object: String,
        /// The version of its format.
        found: u16,
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
        fs::create_dir_all(dir)?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|source| ObjectError::Store {
            operation: "open",
            object: dir.display().to_string(),
            source,
        })?;
        Ok(Self { store: Arc::new(store), local_dir: Some(dir.to_owned()) })
    }

    /// Keeps objects in `store`, whose word that one is written is enough.
    pub(crate) fn remote(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, local_dir: None }
    }

    /// Writes a new object. When this returns it is on stable storage. An error says nothing of whether it is there.
    pub(crate) async fn put(&self, id: &str, bytes: Vec<u8>) -> Result<(), ObjectError> {
        let path = path_of(id)?;
        let failed = |source| ObjectError::Store { operation: "write", object: id.to_owned(), source };
        let Some(dir) = self.local_dir.clone() else {
            let put = self.store.put_opts(&path, PutPayload::from(bytes), PutMode::Create.into()).await;
            return put.map(drop).map_err(failed);
        };
        let written = tokio::task::spawn_blocking(move || write_durably(&dir, path.as_ref(), &bytes)).await;
        written.map_err(io::Error::other)?.map_err(|source| ObjectError::Write { object: id.to_owned(), source })
    }

    /// Makes sure that the name of an object outlasts a power cut, where an earlier process may not have come to that.
    pub(crate) async fn sync_name(&self, id: &str) -> Result<(), ObjectError> {
        let Some(dir) = self.local_dir.clone() else { return Ok(()) };
        let path = path_of(id)?;
        let synced = tokio::task::spawn_blocking(move || {
            let file = dir.join(path.as_ref());
            File::open(&file)?.sync_all()?;
            sync_directories(&dir, &file)
        });
        Ok(synced.await.map_err(io::Error::other)??)
    }

    /// Where an object may take shape before it is placed: below `dir`, unless the objects themselves lie on a disk.
    pub(crate) fn unfinished(&self, dir: &Path) -> PathBuf {
        self.local_dir.as_deref().unwrap_or(dir).join(UNFINISHED)
    }

    /// Gives a synced file its place among the objects. When this returns it is on stable storage. As with
    /// [`Objects::put`], nothing is replaced, and an error says nothing of whether it is there.
    pub(crate) async fn place(&self, unfinished: &Path, id: &str) -> Result<(), ObjectError> {
        let Some(dir) = self.local_dir.clone() else {
            return self.put(id, tokio::fs::read(unfinished).await?).await;
        };
        let (path, unfinished) = (path_of(id)?, unfinished.to_owned());
        let placed = tokio::task::spawn_blocking(move || {
            let file = dir.join(path.as_ref());
            if file.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::create_dir_all(file.parent().unwrap_or(&dir))?;
            move_file(&unfinished, &file)?;
            sync_directories(&dir, &file)
        });
        let placed = placed.await.map_err(io::Error::other)?;
        placed.map_err(|source| ObjectError::Write { object: id.to_owned(), source })
    }

    /// Gives the unfinished object, which is whole and synced, its name. Local objects only.
    pub(crate) async fn place_unfinished(&self, id: &str) -> Result<(), ObjectError> {
        self.place(&self.unfinished(Path::new("")), id).await
    }

    /// Opens an object for reading, wherever in it. Local objects only.
    pub(crate) fn open(&self, id: &str) -> Result<File, ObjectError> {
        let dir = self.local_dir.as_deref().ok_or_else(|| ObjectError::BadId(id.to_owned()))?;
        Ok(File::open(dir.join(path_of(id)?.as_ref()))?)
    }

    /// Length of an object, `None` where there is none.
    pub(crate) async fn stored_bytes(&self, id: &str) -> Result<Option<u64>, ObjectError> {
        match self.store.head(&path_of(id)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(ObjectError::Store { operation: "find", object: id.to_owned(), source }),
        }
    }

    /// Deletes an object, for good when this returns. Tolerates that it is gone.
    pub(crate) async fn delete(&self, id: &str) -> Result<(), ObjectError> {
        self.delete_at(path_of(id)?).await
    }

    async fn delete_at(&self, path: ObjectPath) -> Result<(), ObjectError> {
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(ObjectError::Store { operation: "delete", object: path.to_string(), source }),
        }
        let Some(dir) = self.local_dir.clone() else { return Ok(()) };
        let synced =
            tokio::task::spawn_blocking(move || match File::open(dir.join(path.as_ref()).with_file_name("")) {
                Ok(directory) => directory.sync_all(),
                // With the last of its objects a directory may be gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            });
        Ok(synced.await.map_err(io::Error::other)??)
    }

    /// Writes the settings of a store beside its objects. When this returns they are on stable storage.
    pub(crate) async fn put_settings(&self, store_id: &str, bytes: Vec<u8>) -> Result<(), ObjectError> {
        self.put_beside(settings_path(store_id), bytes).await
    }

    /// The same for one of its files of notes.
    pub(crate) async fn put_notes_file(&self, store_id: &str, shard: u8, bytes: Vec<u8>) -> Result<(), ObjectError> {
        self.put_beside(notes_path(store_id, shard), bytes).await
    }

    /// The same for one of its documents.
    pub(crate) async fn put_document(&self, store_id: &str, name: &str, bytes: Vec<u8>) -> Result<(), ObjectError> {
        self.put_beside(document_path(store_id, name), bytes).await
    }

    /// The same for a picture.
    pub(crate) async fn put_picture(&self, store_id: &str, name: &str, bytes: Vec<u8>) -> Result<(), ObjectError> {
        self.put_beside(picture_path(store_id, name), bytes).await
    }

    /// A picture of a store, `None` where there is none of this name.
    pub(crate) async fn picture(&self, store_id: &str, name: &str) -> Result<Option<Bytes>, ObjectError> {
        self.read_beside(&picture_path(store_id, name)).await
    }

    /// Deletes a picture, for good when this returns. Tolerates that it is gone.
    pub(crate) async fn delete_picture(&self, store_id: &str, name: &str) -> Result<(), ObjectError> {
        self.delete_at(picture_path(store_id, name)).await
    }

    /// Names of all pictures of a store.
    pub(crate) async fn pictures(&self, store_id: &str) -> Result<Vec<String>, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "list", object: PICTURES_DIRECTORY.to_owned(), source };
        let directory = ObjectPath::from(format!("{store_id}/{PICTURES_DIRECTORY}"));
        let listed = self.store.list_with_delimiter(Some(&directory)).await.map_err(failed)?.objects;
        let name = |path: &ObjectPath| Some(path.filename()?.strip_suffix(PICTURE_ENDING)?.to_owned());
        Ok(listed.iter().filter_map(|meta| name(&meta.location)).collect())
    }

    /// Writes a file that is no object, whole or not at all.
    async fn put_beside(&self, path: ObjectPath, bytes: Vec<u8>) -> Result<(), ObjectError> {
        let name = path.to_string();
        let Some(dir) = self.local_dir.clone() else {
            let failed = |source| ObjectError::Store { operation: "write", object: path.to_string(), source };
            return self.store.put(&path, PutPayload::from(bytes)).await.map(drop).map_err(failed);
        };
        let written = tokio::task::spawn_blocking(move || {
            let file = dir.join(path.as_ref());
            fs::create_dir_all(file.parent().unwrap_or(&dir))?;
            let unfinished = file.with_extension("new");
            write_and_sync(&unfinished, &bytes)?;
            fs::rename(&unfinished, &file)?;
            sync_directories(&dir, &file)
        });
        let written = written.await.map_err(io::Error::other)?;
        written.map_err(|source| ObjectError::Write { object: name, source })
    }

    /// The settings of every store whose objects lie here, with the names of the stores and of their files.
    pub(crate) async fn settings(&self) -> Result<Vec<(String, String, Bytes)>, ObjectError> {
        let named = |(store, bytes): (String, Bytes)| (store.clone(), settings_path(&store).to_string(), bytes);
        Ok(self.documents(SETTINGS).await?.into_iter().map(named).collect())
    }

    /// The documents of this name of every store whose objects lie here, with the names of the stores.
    pub(crate) async fn documents(&self, name: &str) -> Result<Vec<(String, Bytes)>, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "list", object: "objects".to_owned(), source };
        let mut stores = self.store.list_with_delimiter(None).await.map_err(failed)?.common_prefixes;
        stores.sort();
        let mut found = Vec::new();
        for store in stores {
            let bytes = self.read_beside(&document_path(store.as_ref(), name)).await?;
            found.extend(bytes.map(|bytes| (store.to_string(), bytes)));
        }
        Ok(found)
    }

    /// The files of notes of every store whose objects lie here, with the names of the stores and their numbers.
    pub(crate) async fn notes_files(&self) -> Result<Vec<(String, u8, Bytes)>, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "list", object: "notes".to_owned(), source };
        let mut stores = self.store.list_with_delimiter(None).await.map_err(failed)?.common_prefixes;
        stores.sort();
        let mut found = Vec::new();
        for store in stores {
            let below = ObjectPath::from(format!("{store}/{NOTES_DIRECTORY}"));
            let files = self.store.list_with_delimiter(Some(&below)).await.map_err(failed)?.objects;
            let mut shards: Vec<u8> = files.iter().filter_map(|file| shard_in(file.location.filename()?)).collect();
            shards.sort_unstable();
            for shard in shards {
                let bytes = self.notes_file(store.as_ref(), shard).await?;
                found.extend(bytes.map(|bytes| (store.to_string(), shard, bytes)));
            }
        }
        Ok(found)
    }

    /// One file of notes; none where there is none.
    pub(crate) async fn notes_file(&self, store_id: &str, shard: u8) -> Result<Option<Bytes>, ObjectError> {
        self.read_beside(&notes_path(store_id, shard)).await
    }

    async fn read_beside(&self, path: &ObjectPath) -> Result<Option<Bytes>, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "read", object: path.to_string(), source };
        match self.store.get(path).await {
            Ok(file) => file.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Whether nothing was ever kept for a store, set aside or not.
    pub(crate) async fn is_empty(&self, store_id: &str) -> Result<bool, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "list", object: store_id.to_owned(), source };
        let below = self.store.list_with_delimiter(Some(&ObjectPath::from(store_id))).await.map_err(failed)?;
        Ok(below.objects.is_empty() && below.common_prefixes.is_empty())
    }

    /// Reads `len` bytes of an object.
    pub(crate) async fn read(&self, id: &str, offset: u64, len: u64) -> Result<Bytes, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "read", object: id.to_owned(), source };
        let path = path_of(id)?;
        let bytes = match self.local_dir.as_deref() {
            Some(dir) => read_local(dir, &path, offset, len).await.map_err(failed)?,
            None => self.store.get_range(&path, offset..offset + len).await.map_err(failed)?,
        };
        if bytes.len() as u64 != len {
            // Cut on the way: that says nothing of the object.
            let source = format!("{} of {len} bytes came", bytes.len()).into();
            return Err(failed(object_store::Error::Generic { store: "object store", source }));
        }
        Ok(bytes)
    }

    /// Reads an object's index.
    pub(crate) async fn index(&self, id: &str, stored_bytes: u64) -> Result<Index, ObjectError> {
        match self.try_index(id, stored_bytes).await? {
            Ok(index) => Ok(index),
            Err(ReelError::TooNew { found }) => Err(ObjectError::TooNew { object: id.to_owned(), found }),
            Err(source) => match self.newer_version(id, stored_bytes).await? {
                Some(found) => Err(ObjectError::TooNew { object: id.to_owned(), found }),
                None => Err(ObjectError::Damaged { object: id.to_owned(), source }),
            },
        }
    }

    async fn try_index(&self, id: &str, stored_bytes: u64) -> Result<Result<Index, ReelError>, ObjectError> {
        let mut reader = match IndexReader::new(stored_bytes, ReelLimits::default()) {
            Ok(reader) => reader,
            Err(flaw) => return Ok(Err(flaw)),
        };
        loop {
            match reader.step() {
                Step::Need { offset, len } => {
                    let bytes = self.read(id, offset, len as u64).await?;
                    if let Err(flaw) = reader.supply(&bytes) {
                        return Ok(Err(flaw));
                    }
                }
                Step::Index(index) => return Ok(Ok(*index)),
            }
        }
    }

    /// The format of an object, where it is newer. A newer format may end in another way, but its header can be told.
    pub(crate) async fn newer_version(&self, id: &str, stored_bytes: u64) -> Result<Option<u16>, ObjectError> {
        Ok(newer_version(&self.read(id, 0, stored_bytes.min(HEADER_BYTES_MAX)).await?))
    }

    /// Whether every block that the index names has the bytes that were written.
    pub(crate) async fn is_whole(&self, id: &str, index: &Index) -> Result<bool, ObjectError> {
        for entry in &index.blocks {
            let frame = self.read(id, entry.offset, entry.head.stored_bytes).await?;
            if BlockHash::of(&frame) != entry.head.hash {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets a damaged object aside, under a name that no listing takes for an object.
    pub(crate) async fn set_aside(&self, id: &str) -> Result<(), ObjectError> {
        self.set_path_aside(path_of(id)?, id).await
    }

    /// Sets the damaged settings of a store aside.
    pub(crate) async fn set_settings_aside(&self, store_id: &str) -> Result<(), ObjectError> {
        self.set_path_aside(settings_path(store_id), "settings").await
    }

    /// Sets a damaged document aside.
    pub(crate) async fn set_document_aside(&self, store_id: &str, name: &str) -> Result<(), ObjectError> {
        self.set_path_aside(document_path(store_id, name), name).await
    }

    /// Sets a damaged file of notes aside.
    pub(crate) async fn set_notes_aside(&self, store_id: &str, shard: u8) -> Result<(), ObjectError> {
        self.set_path_aside(notes_path(store_id, shard), "notes").await
    }

    async fn set_path_aside(&self, path: ObjectPath, id: &str) -> Result<(), ObjectError> {
        let failed = |source| ObjectError::Store { operation: "set aside", object: id.to_owned(), source };
        for number in 1.. {
            let aside = ObjectPath::from(format!("{path}.damaged-{number}"));
            match self.store.head(&aside).await {
                // Its number is used again, so there may be one of that name.
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => {
                    return self.store.rename(&path, &aside).await.map_err(failed);
                }
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(())
    }

    /// All objects, by sequence number.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, ObjectError> {
        self.list_below(None).await
    }

    /// The objects of a store from a sequence number on. Costs the directories that may hold them, not the store.
    pub(crate) async fn list_from(&self, store_id: &str, seq: u64) -> Result<Vec<Listed>, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "list", object: store_id.to_owned(), source };
        let store_dir = ObjectPath::from(store_id);
        let directories = self.store.list_with_delimiter(Some(&store_dir)).await.map_err(failed)?.common_prefixes;
        let first = format!("{:013x}", seq >> DIRECTORY_BITS);
        let mut listed = Vec::new();
        for directory in directories.iter().filter(|path| path.filename().is_some_and(|name| name >= first.as_str())) {
            listed.extend(self.list_below(Some(directory)).await?);
        }
        listed.retain(|object| object.seq >= seq);
        listed.sort();
        Ok(listed)
    }

    async fn list_below(&self, directory: Option<&ObjectPath>) -> Result<Vec<Listed>, ObjectError> {
        let failed = |source| ObjectError::Store { operation: "list", object: "objects".to_owned(), source };
        let metas: Vec<_> = self.store.list(directory).try_collect().await.map_err(failed)?;
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

fn settings_path(store_id: &str) -> ObjectPath {
    document_path(store_id, SETTINGS)
}

fn document_path(store_id: &str, name: &str) -> ObjectPath {
    ObjectPath::from(format!("{store_id}/{name}.json"))
}

fn notes_path(store_id: &str, shard: u8) -> ObjectPath {
    ObjectPath::from(format!("{store_id}/{NOTES_DIRECTORY}/{shard:02x}.json"))
}

fn picture_path(store_id: &str, name: &str) -> ObjectPath {
    ObjectPath::from(format!("{store_id}/{PICTURES_DIRECTORY}/{name}{PICTURE_ENDING}"))
}

fn shard_in(file: &str) -> Option<u8> {
    let digits = file.strip_suffix(".json").filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

fn id_of(path: &str) -> Option<(u64, String)> {
    let mut parts = path.split('/');
    let (store_id, _directory, file) = (parts.next()?, parts.next()?, parts.next()?);
    let seq = u64::from_str_radix(file.strip_suffix(".reel")?, 16).ok()?;
    Some((seq, object_id(store_id, seq)))
}

/// Reads a part of a local object: at once where the system has it in memory, elsewhere if the disk is to be waited for.
async fn read_local(dir: &Path, path: &ObjectPath, offset: u64, len: u64) -> Result<Bytes, object_store::Error> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => object_store::Error::NotFound { path: path.to_string(), source: error.into() },
        _ => object_store::Error::Generic { store: "local disk", source: error.into() },
    };
    let file = File::open(dir.join(path.as_ref())).map_err(failed)?;
    let file_bytes = file.metadata().map_err(failed)?.len();
    // What a damaged index claims is not believed: no more is read, or memory taken, than there is.
    let len = usize::try_from(len.min(file_bytes.saturating_sub(offset))).unwrap_or_default();
    let mut bytes = vec![0; len];
    let mut parts = [io::IoSliceMut::new(&mut bytes)];
    if rustix::io::preadv2(&file, &mut parts, offset, ReadWriteFlags::NOWAIT) == Ok(len) {
        return Ok(Bytes::from(bytes));
    }
    let reading = tokio::task::spawn_blocking(move || file.read_exact_at(&mut bytes, offset).map(|()| bytes));
    reading.await.map_err(io::Error::other).flatten().map(Bytes::from).map_err(failed)
}

/// Writes a new file so that its name stands for all of its bytes, whenever the power goes.
fn write_durably(dir: &Path, path: &str, bytes: &[u8]) -> io::Result<()> {
    let file = dir.join(path);
    if file.try_exists()? {
        // An earlier write that was said to have failed. What it holds is entered before this one is made again.
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let unfinished = file.with_extension("new");
    if let Err(error) = write_and_sync(&unfinished, bytes) {
        // A full disk gets the room back; after a failed sync nothing can be said of these bytes anyway.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    abort_point!("object.written");
    fs::rename(&unfinished, &file)?;
    abort_point!("object.renamed");
    sync_directories(dir, &file)?;
    abort_point!("object.synced");
    Ok(())
}

/// Renames a synced file. Where objects lie on a disk of their own, it is copied there first.
fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let copy = to.with_extension("new");
            io::copy(&mut File::open(from)?, &mut File::create(&copy)?)?;
            File::open(&copy)?.sync_all()?;
            fs::rename(&copy, to)?;
            fs::remove_file(from)
        }
        renamed => renamed,
    }
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Syncs the directories from that of `file` up to `dir`.
fn sync_directories(dir: &Path, file: &Path) -> io::Result<()> {
    let mut above = file.ancestors().skip(1).take_while(|directory| directory.starts_with(dir));
    above.try_for_each(|directory| File::open(directory)?.sync_all())
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
