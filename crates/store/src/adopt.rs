//! Takes over what an earlier process left: objects that the catalog does not know, a catalog that is damaged or gone,
//! and the name of the store.
//!
//! The objects are the truth, so the catalog is made to follow them. Objects are found by listing, never by counting
//! on from the last: one that is missing or damaged must not hide those behind it.

use std::path::Path;

use reelcase_format::block::{BlockKind, BlockLimits, decode_block};
use reelcase_format::id::{ProjectKey, UploadId};
use reelcase_format::line::lines;
use reelcase_format::reel::Index;

use crate::catalog::{Catalog, PersonChange};
use crate::newer::NewerObject;
use crate::objects::{Listed, ObjectError, Objects, object_id};
use crate::salvage::{self, Salvaged};
use crate::store::StoreError;
use crate::{abort_point, entry, persons};

/// Longest name of a store that is taken from its file.
const STORE_ID_BYTES_MAX: usize = 64;

/// How often a long catching-up is logged, in objects.
const OBJECTS_PER_LOG_LINE: usize = 1_000;

/// Whether an upload waits in the inbox.
pub(crate) type IsWaiting<'a> = &'a (dyn Fn(&ProjectKey, &UploadId) -> bool + Send + Sync);

/// What entering a list of objects came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Objects that the catalog knows now.
    pub entered: u64,
    /// Objects that could not be read, set aside as `*.damaged`.
    pub set_aside: Vec<String>,
    /// Objects of a newer format, which stay where they are.
    pub newer: Vec<NewerObject>,
    /// What became of objects whose index could not be read, where it was looked for their blocks.
    pub salvaged: Vec<Salvaged>,
    /// Objects whose index cannot be read, and that are where they were.
    pub(crate) unreadable: Vec<Listed>,
}

/// Enters `listed` into the catalog, in order. What cannot be read is returned as unreadable or newer, and holds up
/// nothing.
pub(crate) async fn enter_all(
    objects: &Objects,
    catalog: &dyn Catalog,
    listed: &[Listed],
    is_waiting: IsWaiting<'_>,
) -> Result<Adopted, StoreError> {
    let mut adopted = Adopted::default();
    for (count, object) in listed.iter().enumerate() {
        if count > 0 && count.is_multiple_of(OBJECTS_PER_LOG_LINE) {
            tracing::info!(entered = count, of = listed.len(), "the catalog is catching up with the objects");
        }
        let is_newest = count + 1 == listed.len();
        match whole_index(objects, object, is_newest, is_waiting).await {
            Ok(Some(index)) => {
                enter(objects, catalog, object, &index).await?;
                adopted.entered += 1;
            }
            Ok(None) => {
                tracing::warn!(object = object.id, "an unfinished object is set aside; it will be made again");
                objects.set_aside(&object.id).await?;
                adopted.set_aside.push(object.id.clone());
            }
            Err(StoreError::Object(error @ ObjectError::Damaged { .. })) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(object = object.id, error, "an object cannot be read");
                adopted.unreadable.push(object.clone());
            }
            Err(StoreError::Object(ObjectError::TooNew { found, .. })) => {
                tracing::error!(
                    object = object.id,
                    version = found,
                    "an object is of a newer release; it stays as it is"
                );
                adopted.newer.push(NewerObject::new(object, found));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(adopted)
}

impl Adopted {
    /// Sets aside what cannot be read.
    pub(crate) async fn set_unreadable_aside(&mut self, objects: &Objects) -> Result<(), StoreError> {
        for object in std::mem::take(&mut self.unreadable) {
            tracing::error!(
                object = object.id,
                "it is set aside as *.damaged; `reelcase rebuild` may find blocks in it"
            );
            objects.set_aside(&object.id).await?;
            self.set_aside.push(object.id);
        }
        Ok(())
    }

    /// Makes new objects of what can be read of those without an index, and sets these aside. All others are entered.
    pub(crate) async fn salvage_unreadable(
        &mut self,
        objects: &Objects,
        catalog: &dyn Catalog,
        mut next_seq: u64,
    ) -> Result<(), StoreError> {
        for object in std::mem::take(&mut self.unreadable) {
            let store_id = object.id.split('/').next().unwrap_or_default();
            let into = Listed { seq: next_seq, id: object_id(store_id, next_seq), stored_bytes: 0 };
            let salvaged = salvage::salvage(objects, catalog, &object, into).await?;
            next_seq += u64::from(salvaged.into.is_some());
            self.set_aside.push(object.id);
            self.salvaged.push(salvaged);
        }
        Ok(())
    }
}

/// Reads an object's index. `None` when the object was never finished: a block of it is torn, and the uploads that it
/// was made of still wait in the inbox.
///
/// Only the newest object can be unfinished, because each is made after the one before it was known to be durable.
async fn whole_index(
    objects: &Objects,
    object: &Listed,
    is_newest: bool,
    is_waiting: IsWaiting<'_>,
) -> Result<Option<Index>, StoreError> {
    if is_newest {
        objects.sync_name(&object.id).await?;
    }
    let index = objects.index(&object.id, object.stored_bytes).await?;
    if is_newest && !objects.is_whole(&object.id, &index).await? {
        let mut heads = index.blocks.iter().map(|entry| &entry.head);
        if heads.any(|head| head.uploads.iter().any(|upload| is_waiting(&head.project, upload))) {
            return Ok(None);
        }
        // Its uploads were let go of, so it was whole once: what is left of it is worth keeping.
        tracing::error!(object = object.id, "an object is damaged; what can be read of it is entered");
    }
    Ok(Some(index))
}

/// Enters one object into the catalog, from its own bytes.
pub(crate) async fn enter(
    objects: &Objects,
    catalog: &dyn Catalog,
    object: &Listed,
    index: &Index,
) -> Result<(), StoreError> {
    let mut changes: Vec<PersonChange> = Vec::new();
    for (ordinal, entry) in (0u32..).zip(&index.blocks) {
        if entry.head.kind != BlockKind::Events {
            continue;
        }
        let frame = objects.read(&object.id, entry.offset, entry.head.stored_bytes).await?;
        match decode_block(&frame, &entry.head, &BlockLimits::default()) {
            Ok(plain) => {
                changes.extend(lines(&plain).filter_map(|line| persons::change(&entry.head.project, line)));
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(object = object.id, block = ordinal, error, "a block with persons cannot be read");
            }
        }
    }
    abort_point!("catalog.before_commit");
    catalog.commit(entry::commit_of(index, object, changes)).await?;
    abort_point!("catalog.committed");
    Ok(())
}

/// Reads the name of the store in `dir`, or makes one up where there is neither a name nor an object.
///
/// The objects bear the name too, so one that was lost or damaged is read from them.
pub(crate) fn store_id(dir: &Path) -> std::io::Result<String> {
    let path = dir.join("store-id");
    let written = match std::fs::read(&path) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|id| is_store_id(id)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let owners = owners_of_objects(&dir.join("objects"))?;
    let id = match (written, owners.as_slice()) {
        (Some(id), owners) if owners.is_empty() || owners.contains(&id) => return Ok(id),
        (_, []) => uuid::Uuid::new_v4().simple().to_string(),
        (_, [owner]) => {
            tracing::warn!(store_id = owner, "store-id was lost or damaged; the objects still bear the name");
            owner.clone()
        }
        (_, owners) => {
            let names = owners.join(", ");
            let message = format!("it names none of the stores that objects are of\nhint: write one into it: {names}");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        }
    };
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, &id)?;
    std::fs::File::open(&unfinished)?.sync_all()?;
    std::fs::rename(&unfinished, &path)?;
    Ok(id)
}

fn is_store_id(id: &str) -> bool {
    let has_only = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !id.is_empty() && id.len() <= STORE_ID_BYTES_MAX && id.bytes().all(has_only)
}

/// The stores that have a directory among the objects. Sorted.
fn owners_of_objects(dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut owners = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().filter(|name| is_store_id(name));
        owners.extend(name.filter(|_| entry.path().is_dir()));
    }
    owners.sort();
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_or_damaged_name_is_read_from_the_objects() {
        let dir = tempfile::tempdir().unwrap();
        let made = store_id(dir.path()).unwrap();
        assert_eq!(store_id(dir.path()).unwrap(), made);
        std::fs::create_dir_all(dir.path().join("objects").join(&made)).unwrap();
        for damage in [&b"another"[..], b"", b"\xff\xfe", b"a/b"] {
            std::fs::write(dir.path().join("store-id"), damage).unwrap();
            assert_eq!(store_id(dir.path()).unwrap(), made);
        }
        std::fs::remove_file(dir.path().join("store-id")).unwrap();
        assert_eq!(store_id(dir.path()).unwrap(), made);
    }

    #[test]
    fn a_name_that_cannot_be_told_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("objects/one")).unwrap();
        std::fs::create_dir_all(dir.path().join("objects/two")).unwrap();
        std::fs::write(dir.path().join("store-id"), "three").unwrap();
        let refused = store_id(dir.path()).unwrap_err().to_string();
        assert!(refused.ends_with("write one into it: one, two"), "{refused}");
    }
}
