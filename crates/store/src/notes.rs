//! What people say of recordings: comments, tags, pins, that somebody has seen them, and that they are deleted.
//!
//! None of it is part of a recording, so no object that this store makes tells of it. It has a home of its own beside the
//! settings: `<store>/notes/xx.json`, where `xx` follows from the recording's name, so that a comment writes one small
//! file anew however much was ever said. Like settings these files are the truth and are written before the catalog
//! learns of it; a start enters what the catalog missed, a rebuild enters them first.
//!
//! **What was deleted stays deleted.** The file says so before anything else is done, and says it for
//! [`DELETED_REMEMBERED_MS`]: meanwhile nothing that still comes of the recording is taken, sealed or entered, whether a
//! client sends it again or an object that held it comes back. Its bytes go with the objects that hold them, which the
//! compactor writes anew without it.

mod file;
pub mod said;

use std::collections::{BTreeSet, HashSet};

use reelcase_format::id::{ProjectKey, RecordingId};
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError, locked};

/// How long it is remembered that a recording was deleted, and longer while a file still holds some of it.
pub const DELETED_REMEMBERED_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// What is said of one recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// In the order they were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<Comment>,
    /// Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Since when it is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_at_ms: Option<i64>,
    /// When somebody first watched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at_ms: Option<i64>,
}

/// What somebody said of a recording, or of a moment of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Names it within the recording.
    pub id: String,
    /// The moment, client clock; `None` where it is said of the whole recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<i64>,
    /// What is said; empty where the tags say it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the writer is called, as far as that was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// When it was written, server clock.
    pub written_at_ms: i64,
    /// When it was last changed, server clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at_ms: Option<i64>,
}

impl Notes {
    /// The tags of the recording and of all comments on it, each once.
    pub fn all_tags(&self) -> BTreeSet<&str> {
        let of_comments = self.comments.iter().flat_map(|comment| &comment.tags);
        self.tags.iter().chain(of_comments).map(String::as_str).collect()
    }
}

/// Puts comments in the order in which they are told: by moment, those of the whole recording first.
pub fn sort_comments(comments: &mut [Comment]) {
    comments.sort_by(|a, b| (a.at_ms, a.written_at_ms, &a.id).cmp(&(b.at_ms, b.written_at_ms, &b.id)));
}

/// All that is kept of one recording beside the objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The project it belongs to.
    pub project: ProjectKey,
    /// Its id.
    pub recording: RecordingId,
    /// When it was deleted: then nothing else is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at_ms: Option<i64>,
    /// What is said of it.
    #[serde(flatten)]
    pub notes: Notes,
}

/// What the store holds of notes in memory.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Whether the catalog knows what the files say. Held while that changes.
    is_entered: tokio::sync::Mutex<bool>,
    deleted: std::sync::Mutex<HashSet<(ProjectKey, RecordingId)>>,
}

impl Kept {
    fn new(project: &ProjectKey, recording: &RecordingId) -> Self {
        let (project, recording) = (project.clone(), recording.clone());
        Self { project, recording, deleted_at_ms: None, notes: Notes::default() }
    }

    /// Whether there is anything to keep.
    pub(crate) fn is_empty(&self) -> bool {
        self.deleted_at_ms.is_none() && self.notes == Notes::default()
    }

    /// Which file it is in.
    pub(crate) fn shard(&self) -> u8 {
        file::shard_of(&self.project, &self.recording)
    }

    fn is_of(&self, project: &ProjectKey, recording: &RecordingId) -> bool {
        self.project == *project && self.recording == *recording
    }
}

impl Store {
    /// Tells the catalog what the files say that it does not know. An object store that is away must not keep uploads
    /// from being taken: the catalog knows all but what a crash kept from it, and the next change asks again.
    pub(crate) async fn load_notes(&self) -> Result<(), StoreError> {
        let mut is_entered = self.noted.is_entered.lock().await;
        match self.enter_notes().await {
            Ok(()) => *is_entered = true,
            Err(StoreError::Catalog(error)) => return Err(error.into()),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the notes cannot be read yet"),
        }
        self.remember_deleted().await
    }

    async fn enter_notes(&self) -> Result<(), StoreError> {
        file::enter_all(&self.objects, self.catalog.as_ref(), Some(&self.store_id), self.now_ms()).await
    }

    async fn remember_deleted(&self) -> Result<(), StoreError> {
        let deleted = self.catalog.deleted_recordings().await?;
        *locked(&self.noted.deleted) = deleted.into_iter().map(|of| (of.project, of.recording)).collect();
        Ok(())
    }

    /// What is said of a recording.
    pub async fn notes(&self, project: &ProjectKey, id: &RecordingId) -> Result<Notes, StoreError> {
        Ok(self.catalog.notes(project, id).await?.map(|kept| kept.notes).unwrap_or_default())
    }

    /// Changes what is said of a recording, unless `change` refuses. When this returns it is on stable storage.
    pub async fn change_notes<T, E>(
        &self,
        project: &ProjectKey,
        id: &RecordingId,
        change: impl FnOnce(&mut Notes) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        self.change_kept(project, id, |kept| change(&mut kept.notes)).await
    }

    /// Deletes a recording, what waits of it, and what was said of it. Says whether there was one.
    ///
    /// From then on nobody can read it. Its bytes are gone once the objects that hold them are compacted and swept.
    pub async fn delete_recording(
        self: &std::sync::Arc<Self>,
        project: &ProjectKey,
        id: &RecordingId,
    ) -> Result<bool, StoreError> {
        self.seal_recording(project, id).await?;
        if self.catalog.get(project, id).await?.is_none() {
            return Ok(false);
        }
        let now_ms = self.now_ms();
        let delete = |kept: &mut Kept| {
            *kept = Kept { deleted_at_ms: Some(now_ms), ..Kept::new(project, id) };
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(()) = self.change_kept(project, id, delete).await?;
        self.known_blocks.forget_recording(project, id);
        // What came in meanwhile is entered nowhere, and must not wait either.
        self.seal_recording(project, id).await?;
        Ok(true)
    }

    /// Whether a recording was deleted, and nothing of it is taken any more.
    pub fn is_deleted(&self, project: &ProjectKey, id: &RecordingId) -> bool {
        let deleted = locked(&self.noted.deleted);
        !deleted.is_empty() && deleted.contains(&(project.clone(), id.clone()))
    }

    /// Forgets that recordings were deleted long ago, unless a file may still hold some of one.
    pub(crate) async fn forget_deletions(&self) -> Result<(), StoreError> {
        if locked(&self.noted.deleted).is_empty() || self.catalog.is_erasing().await? {
            return Ok(());
        }
        let before_ms = self.now_ms() - DELETED_REMEMBERED_MS;
        for old in self.catalog.deleted_recordings().await? {
            if old.deleted_at_ms >= before_ms {
                break;
            }
            let forget = |kept: &mut Kept| {
                kept.deleted_at_ms = None;
                Ok::<_, std::convert::Infallible>(())
            };
            let Ok(()) = self.change_kept(&old.project, &old.recording, forget).await?;
        }
        Ok(())
    }

    async fn change_kept<T, E>(
        &self,
        project: &ProjectKey,
        id: &RecordingId,
        change: impl FnOnce(&mut Kept) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        // Held until the catalog knows, so that it learns of changes in their order.
        let mut is_entered = self.noted.is_entered.lock().await;
        if !*is_entered {
            self.enter_notes().await?;
            *is_entered = true;
        }
        let shard = file::shard_of(project, id);
        let mut own = file::own(&self.objects, self.catalog.as_ref(), &self.store_id, shard).await?;
        let place = own.iter().position(|kept| kept.is_of(project, id));
        let known = match place {
            Some(place) => Some(own.swap_remove(place)),
            // Another store, whose objects were laid beside ours, may have said it.
            None => self.catalog.notes(project, id).await?,
        };
        let known = known.unwrap_or_else(|| Kept::new(project, id));
        let mut changed = known.clone();
        let outcome = match change(&mut changed) {
            Ok(outcome) if changed != known => outcome,
            outcome => return Ok(outcome),
        };
        // A file that is full takes no more of what people say; what they take back or delete it takes.
        let is_more = changed.deleted_at_ms.is_none() && file::bytes_of(&changed) > file::bytes_of(&known);
        if !changed.is_empty() {
            own.push(changed.clone());
        }
        *is_entered = false;
        let bytes_max = if is_more { file::NOTES_BYTES_MAX } else { usize::MAX };
        let check = file::write(&self.objects, &self.store_id, shard, own, bytes_max).await?;
        if changed.deleted_at_ms.is_some() {
            locked(&self.noted.deleted).insert((project.clone(), id.clone()));
        } else if known.deleted_at_ms.is_some() {
            locked(&self.noted.deleted).remove(&(project.clone(), id.clone()));
        }
        self.catalog.put_notes(changed, self.now_ms()).await?;
        self.catalog.set_setting(&file::check_name(shard), &check).await?;
        *is_entered = true;
        Ok(Ok(outcome))
    }
}

/// Enters what all files say into a catalog that was made anew.
pub(crate) async fn enter_into(
    objects: &crate::objects::Objects,
    catalog: &dyn crate::catalog::Catalog,
) -> Result<(), StoreError> {
    // Nothing is in it that could be forgotten now.
    file::enter_all(objects, catalog, None, 0).await
}
