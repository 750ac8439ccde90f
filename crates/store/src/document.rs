//! Small documents that lie beside a store's objects, for what people arrange rather than record.
//!
//! A [`Document`] is one file, `<store>/NAME.json`, read at its first use and written anew with each change, before
//! anybody is told that it is done. The file is the truth, so it survives the catalog; the catalog has a copy for when
//! the file is lost or damaged. What is in it is its [`Content`]'s business.

use std::collections::BTreeSet;

use reelcase_format::block::BlockHash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::settings::OF_CATALOG;
use crate::store::{Store, StoreError};

/// What a document holds.
pub trait Content: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync {
    /// Name of its file, without the ending.
    const NAME: &'static str;

    /// The newest version of it that this release understands.
    const VERSION: u32;

    /// Takes in what another store's file says, whose objects were laid beside ours. Asked once for each such store.
    fn join(&mut self, other: Self);
}

/// A document, held in memory once it was read.
#[derive(Debug)]
pub struct Document<T> {
    known: tokio::sync::Mutex<Option<Written<T>>>,
}

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Written<T> {
    version: u32,
    content: T,
    /// The stores whose files were taken in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    joined: BTreeSet<String>,
    /// BLAKE3 over the JSON of the above. Not checked where it is absent, as after it was deleted together with what
    /// somebody edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

/// The one thing that is read of a file of any release.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// What a file turned out to be.
enum Found<T> {
    Whole(Written<T>),
    Damaged(String),
    Newer(u32),
}

impl<T> Default for Document<T> {
    fn default() -> Self {
        Self { known: tokio::sync::Mutex::new(None) }
    }
}

impl<T: Content> Document<T> {
    /// What it says.
    pub async fn read(&self, store: &Store) -> Result<T, StoreError> {
        let mut known = self.known.lock().await;
        let written = take_or_load(&mut known, store).await?;
        Ok(known.insert(written).content.clone())
    }

    /// Changes it, unless `change` refuses. When this returns the change is on stable storage.
    pub async fn change<R, E>(
        &self,
        store: &Store,
        change: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<Result<R, E>, StoreError> {
        let mut known = self.known.lock().await;
        let before = take_or_load(&mut known, store).await?;
        let mut changed = before.clone();
        let outcome = change(&mut changed.content);
        if outcome.is_err() || changed == before {
            *known = Some(before);
            return Ok(outcome);
        }
        // What is not known to be written is read again.
        write(store, &mut changed).await?;
        *known = Some(changed);
        Ok(outcome)
    }
}

async fn take_or_load<T: Content>(known: &mut Option<Written<T>>, store: &Store) -> Result<Written<T>, StoreError> {
    match known.take() {
        Some(written) => Ok(written),
        None => load(store).await,
    }
}

async fn load<T: Content>(store: &Store) -> Result<Written<T>, StoreError> {
    let mut own = None;
    let mut others = Vec::new();
    for (store_id, bytes) in store.objects.documents(T::NAME).await? {
        let is_own = store_id == store.store_id;
        let file = format!("{store_id}/{}.json", T::NAME);
        match parse::<T>(&bytes) {
            Found::Whole(written) if is_own => own = Some(written),
            Found::Whole(written) => others.push((store_id, written.content)),
            Found::Newer(_) if is_own => return Err(StoreError::NewerDocument { name: T::NAME }),
            Found::Newer(version) => tracing::error!(file, version, "of a newer release; it stays as it is"),
            Found::Damaged(reason) if is_own => {
                tracing::error!(file, reason, "damaged; it is set aside, and written as the catalog knows it");
                store.objects.set_document_aside(&store_id, T::NAME).await?;
            }
            Found::Damaged(reason) => tracing::error!(file, reason, "a file of another store is damaged"),
        }
    }
    let mut written = match own.clone() {
        Some(written) => written,
        None => copy_of(store).await?,
    };
    for (store_id, content) in others {
        if written.joined.insert(store_id) {
            written.content.join(content);
        }
    }
    let is_known = own.as_ref() == Some(&written) || written == Written::default();
    if !is_known {
        write(store, &mut written).await?;
    } else if own.is_some() {
        keep_copy(store, &written).await?;
    }
    Ok(written)
}

/// What the catalog knows of a file that is lost.
async fn copy_of<T: Content>(store: &Store) -> Result<Written<T>, StoreError> {
    let text = store.catalog.setting(&copy_name::<T>()).await?;
    match text.map(|text| parse(text.as_bytes())) {
        Some(Found::Whole(written)) => Ok(written),
        _ => Ok(Written::default()),
    }
}

async fn keep_copy<T: Content>(store: &Store, written: &Written<T>) -> Result<(), StoreError> {
    let text = serde_json::to_string(written).unwrap_or_default();
    if store.catalog.setting(&copy_name::<T>()).await?.as_ref() != Some(&text) {
        store.catalog.set_setting(&copy_name::<T>(), &text).await?;
    }
    Ok(())
}

async fn write<T: Content>(store: &Store, written: &mut Written<T>) -> Result<(), StoreError> {
    written.version = T::VERSION;
    written.check = Some(check_of(written));
    let bytes = serde_json::to_vec_pretty(written).unwrap_or_default();
    store.objects.put_document(&store.store_id, T::NAME, bytes).await?;
    keep_copy(store, written).await
}

fn copy_name<T: Content>() -> String {
    format!("{OF_CATALOG}{}", T::NAME)
}

fn parse<T: Content>(bytes: &[u8]) -> Found<T> {
    match serde_json::from_slice::<Version>(bytes) {
        Ok(Version { version }) if version > T::VERSION => return Found::Newer(version),
        Ok(_) => {}
        Err(error) => return Found::Damaged(error.to_string()),
    }
    match serde_json::from_slice::<Written<T>>(bytes) {
        Ok(written) if written.check.as_ref().is_some_and(|check| *check != check_of(&written)) => {
            Found::Damaged("its content does not match its check".to_owned())
        }
        Ok(written) => Found::Whole(written),
        Err(error) => Found::Damaged(error.to_string()),
    }
}

/// Over the content alone, however it is laid out in the file.
fn check_of<T: Content>(written: &Written<T>) -> String {
    let content = (written.version, &written.content, &written.joined);
    BlockHash::of(&serde_json::to_vec(&content).unwrap_or_default()).to_string()
}
