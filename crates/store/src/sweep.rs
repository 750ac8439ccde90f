//! Deletes objects that nothing refers to any more.
//!
//! The file goes first and the catalog forgets it after that is synced. A crash in between leaves an entry without a
//! file, which the next sweep finishes; the other way round it would leave a file that nobody knows. An object that
//! comes back, because a power cut undid the deletion, is harmless as well: what replaced it says so in its own index.

use crate::step::Step;
use crate::store::{Store, StoreError};

/// How long an upload that is sealed is recognised when a client sends it again.
pub const UPLOADS_REMEMBERED_MS: i64 = 48 * 60 * 60 * 1_000;

impl Store {
    /// Deletes the objects whose every block was replaced longer ago than readers may still hold an old list of
    /// blocks, and forgets uploads that no client sends again.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let _turn = self.compactor.lock().await;
        let now_ms = self.now_ms();
        let dead = self.catalog.dead_objects(now_ms - self.options.sweep_grace_ms).await?;
        if !dead.is_empty() {
            self.keep_projects().await?;
        }
        for object in dead {
            self.check_stopping()?;
            if matches!(self.objects.newer_version(&object.key, object.stored_bytes).await, Ok(Some(_))) {
                tracing::warn!(object = object.key, "an object of a newer release is not deleted, although it is dead");
                continue;
            }
            self.known_blocks.forget_object(&object.key);
            self.recent_frames.forget_object(&object.key);
            self.objects.delete(&object.key).await?;
            self.step(Step::Deleted);
            self.catalog.forget_object(&object.key).await?;
            self.step(Step::Forgotten);
            let mut figures = self.figures();
            figures.objects_swept += 1;
            figures.bytes_swept += object.stored_bytes;
        }
        self.catalog.forget_uploads(now_ms - UPLOADS_REMEMBERED_MS).await?;
        self.forget_deletions().await
    }
}
