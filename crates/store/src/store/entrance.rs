//! Files that come in whole: a `.reel` file becomes an object while the store is open.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Store, StoreError, unusable};
use crate::objects::{Listed, ObjectError, object_id};
use crate::{abort_point, adopt};

/// Where files take shape that are to become objects, below the directory of the store.
const WORKSHOP: &str = "importing";

impl Store {
    /// A directory for files that are to become objects. What a process leaves in it when it is killed is nobody's.
    pub fn workshop(&self) -> Result<PathBuf, StoreError> {
        let workshop = self.options.dir.join(WORKSHOP);
        std::fs::create_dir_all(&workshop).map_err(unusable(&workshop))?;
        Ok(workshop)
    }

    /// Deletes what is in the workshop. For whoever opened the store, before anything comes in.
    pub fn clear_workshop(&self) -> Result<(), StoreError> {
        let workshop = self.options.dir.join(WORKSHOP);
        match std::fs::remove_dir_all(&workshop) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unusable(&workshop)(error)),
            _ => Ok(()),
        }
    }

    /// Makes an object of a whole `.reel` file of the workshop, which is gone from there then. When this returns it is
    /// on stable storage, and its recordings are listed. An error says nothing of whether it is there.
    pub async fn enter_reel(self: &Arc<Self>, reel: &Path) -> Result<(), StoreError> {
        let (store, reel) = (Arc::clone(self), reel.to_owned());
        // A task of its own, because whoever asked for it may leave, and the number that it takes stays taken.
        let entering = tokio::spawn(async move { store.place_reel(&reel).await });
        entering.await.map_err(|error| ObjectError::Sync(std::io::Error::other(error)))?
    }

    async fn place_reel(&self, reel: &Path) -> Result<(), StoreError> {
        let path = reel.to_owned();
        let synced = tokio::task::spawn_blocking(move || {
            let file = File::open(path)?;
            file.sync_all()?;
            Ok(file.metadata()?.len())
        });
        let stored_bytes = synced.await.map_err(std::io::Error::other).flatten().map_err(unusable(reel))?;
        let mut next_seq = self.next_seq.lock().await;
        let seq = match next_seq.take() {
            Some(seq) => seq,
            None => self.adopt().await?,
        };
        // The number stays taken: from here on an error does not say what was done, and whoever is next looks.
        let object = Listed { seq, id: object_id(&self.store_id, seq), stored_bytes };
        self.objects.place(reel, &object.id).await?;
        abort_point!("import.placed");
        let index = self.objects.index(&object.id, stored_bytes).await?;
        adopt::enter(&self.objects, self.catalog.as_ref(), &object, &index).await?;
        *next_seq = Some(seq + 1);
        Ok(())
    }
}
