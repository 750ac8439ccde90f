//! The capture keys of a project: what pages and applications send to say whose recordings they are.
//!
//! A project is named by the key that it was made with: in objects, in the catalog and in addresses, for good. Which
//! keys record into it is decided beside that, so that a key can be changed without moving a byte: one setting of the
//! store for each key that was added or deleted. A key that nobody decided anything about is that of the project with
//! its name.
//!
//! A deleted key stays known. What comes with it is refused with the reason, it never begins a project of its own, and
//! only its own project can have it back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

use reelcase_format::id::ProjectKey;
use reelcase_store::catalog::{CatalogError, Project};
use reelcase_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{TRIAL_KEY, iso};
use crate::error::Failure;

/// Keys that a project can have had, deleted ones included.
pub const KEYS_MAX: usize = 100;

/// What the names of these settings begin with; the key follows.
const NAME: &str = "key ";

/// Random letters and digits in a key that is made up.
const KEY_CHARACTERS: usize = 43;

/// A capture key of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaptureKey {
    /// Public, and good for sending only.
    pub key: String,
    /// When it began to record.
    pub created_at_ms: i64,
    /// When it was deleted: what comes with it is refused since then. Null for a key that records.
    pub deleted_at_ms: Option<i64>,
}

/// What was decided about a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Decided {
    project: ProjectKey,
    created_at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at_ms: Option<i64>,
}

/// Why the keys of a project are not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such project.
    #[error("no project has this key")]
    NoProject,
    /// The project never had the key.
    #[error("this project has no such key")]
    NoKey,
    /// Another project has the key, or had it.
    #[error("another project has this key, or had it")]
    Taken,
    /// The key cannot stand in addresses.
    #[error("the characters of a project key here are letters, digits, _ and -")]
    BadCharacters,
    /// Nothing could be recorded any more.
    #[error(
        "this is the last key of the project: without it nothing is recorded any more, and what pages send is refused\n\
         hint: add another key first, or say that even the last one is to go"
    )]
    Last,
    /// Every key that there was stays known, and there is an end to that.
    #[error("the project has had {KEYS_MAX} keys, and no more can be added")]
    TooMany,
    /// What was decided about the key is not understood.
    #[error("what was decided about this key cannot be read: {0}")]
    Unreadable(String),
    /// The operating system gave no random bytes.
    #[error("no random bytes for a key: {0}")]
    NoRandomness(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog did not do it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// The keys of all projects, as requests look them up.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Keys that something was decided about; `None` where that cannot be read.
    decided: RwLock<BTreeMap<ProjectKey, Option<Decided>>>,
    /// Held while something is decided, so that what is looked up is what is written.
    deciding: tokio::sync::Mutex<()>,
}

impl Keys {
    /// Reads what was decided earlier.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), CatalogError> {
        let _deciding = self.deciding.lock().await;
        self.read(store).await
    }

    async fn read(&self, store: &Store) -> Result<(), CatalogError> {
        let mut decided = BTreeMap::new();
        for (name, text) in store.catalog().settings().await? {
            let Some(Ok(key)) = name.strip_prefix(NAME).map(str::parse::<ProjectKey>) else { continue };
            let read = serde_json::from_str(&text);
            let read = read.inspect_err(|error| tracing::error!(%key, %error, "a capture key cannot be read"));
            decided.insert(key, read.ok());
        }
        *self.decided.write().unwrap_or_else(PoisonError::into_inner) = decided;
        Ok(())
    }

    /// The project that a key records into. Fails where it does not any more.
    pub(crate) fn recording(&self, key: &ProjectKey) -> Result<ProjectKey, Failure> {
        match self.decided.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            None => Ok(key.clone()),
            Some(Some(Decided { deleted_at_ms: Some(at_ms), .. })) => {
                Err(Failure::DeletedKey { key: key.clone(), day: iso(*at_ms).chars().take(10).collect() })
            }
            Some(Some(Decided { project, .. })) => Ok(project.clone()),
            Some(None) => {
                Err(Failure::Busy { what: "what was decided about this key cannot be read", retry_after_s: 60 })
            }
        }
    }

    /// The project that a key is of, or was.
    pub(crate) fn project_of(&self, key: ProjectKey) -> ProjectKey {
        match self.decided.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            Some(Some(Decided { project, .. })) => project.clone(),
            Some(None) | None => key,
        }
    }

    /// Adds a key to a project. It records from the next request on.
    pub(crate) async fn add(
        &self,
        store: &Store,
        project: &ProjectKey,
        key: Option<ProjectKey>,
    ) -> Result<CaptureKey, KeyError> {
        let _deciding = self.deciding.lock().await;
        let added = add(store, project, key).await?;
        self.read(store).await?;
        Ok(added)
    }

    /// Deletes a key. What comes with it is refused from the next request on.
    pub(crate) async fn delete(
        &self,
        store: &Store,
        project: &ProjectKey,
        key: &ProjectKey,
        even_last: bool,
    ) -> Result<(), KeyError> {
        let _deciding = self.deciding.lock().await;
        delete(store, project, key, even_last).await?;
        Ok(self.read(store).await?)
    }
}

/// The project that a key is of, or was.
pub async fn project_of(store: &Store, key: &ProjectKey) -> Result<ProjectKey, KeyError> {
    Ok(decided(store, key).await?.map_or_else(|| key.clone(), |decided| decided.project))
}

/// The keys of a project, the oldest first.
pub async fn list(store: &Store, project: &ProjectKey) -> Result<Vec<CaptureKey>, KeyError> {
    let known = store.catalog().project(project).await?.ok_or(KeyError::NoProject)?;
    Ok(of_all(store, std::slice::from_ref(&known)).await?.remove(project).unwrap_or_default())
}

/// The keys of projects, the oldest first.
pub async fn of_all(
    store: &Store,
    projects: &[Project],
) -> Result<BTreeMap<ProjectKey, Vec<CaptureKey>>, CatalogError> {
    let mut all: BTreeMap<_, Vec<CaptureKey>> =
        projects.iter().map(|project| (project.key.clone(), Vec::new())).collect();
    let settings = store.catalog().settings().await?;
    let decided: BTreeMap<_, _> =
        settings.iter().filter_map(|(name, text)| Some((name.strip_prefix(NAME)?, text))).collect();
    for (key, text) in &decided {
        let Ok(Decided { project, created_at_ms, deleted_at_ms }) = serde_json::from_str(text) else { continue };
        if let Some(keys) = all.get_mut(&project) {
            keys.push(CaptureKey { key: (*key).to_owned(), created_at_ms, deleted_at_ms });
        }
    }
    for Project { key: project, created_at_ms, .. } in projects {
        let Some(keys) = all.get_mut(project) else { continue };
        if !decided.contains_key(project.as_str()) {
            keys.push(CaptureKey { key: project.to_string(), created_at_ms: *created_at_ms, deleted_at_ms: None });
        }
        keys.sort_by(|a, b| (a.created_at_ms, &a.key).cmp(&(b.created_at_ms, &b.key)));
    }
    Ok(all)
}

/// Adds a key to a project, one that is made up where none is given. One that the project has, or had, is its own
/// again.
pub async fn add(store: &Store, project: &ProjectKey, key: Option<ProjectKey>) -> Result<CaptureKey, KeyError> {
    let keys = list(store, project).await?;
    let key = match key {
        Some(key) => key,
        None => random()?,
    };
    if !key.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Err(KeyError::BadCharacters);
    }
    let had = keys.iter().find(|had| had.key == key.as_str());
    match had {
        Some(had) if had.deleted_at_ms.is_none() => return Ok(had.clone()),
        Some(_) => (),
        None if keys.len() >= KEYS_MAX => return Err(KeyError::TooMany),
        None if key.as_str() == TRIAL_KEY => return Err(KeyError::Taken),
        None if store.catalog().project(&key).await?.is_some() => return Err(KeyError::Taken),
        None if decided(store, &key).await?.is_some() => return Err(KeyError::Taken),
        None => (),
    }
    let created_at_ms = had.map_or(store.now_ms(), |had| had.created_at_ms);
    decide(store, &key, &Decided { project: project.clone(), created_at_ms, deleted_at_ms: None }).await?;
    Ok(CaptureKey { key: key.to_string(), created_at_ms, deleted_at_ms: None })
}

/// Deletes a key of a project, the last one only where `even_last` says so.
pub async fn delete(store: &Store, project: &ProjectKey, key: &ProjectKey, even_last: bool) -> Result<(), KeyError> {
    let keys = list(store, project).await?;
    let had = keys.iter().find(|had| had.key == key.as_str()).ok_or(KeyError::NoKey)?;
    if had.deleted_at_ms.is_some() {
        return Ok(());
    }
    if !even_last && keys.iter().filter(|had| had.deleted_at_ms.is_none()).count() == 1 {
        return Err(KeyError::Last);
    }
    let (created_at_ms, deleted_at_ms) = (had.created_at_ms, Some(store.now_ms()));
    decide(store, key, &Decided { project: project.clone(), created_at_ms, deleted_at_ms }).await
}

/// The key that pages are to be given: the newest one that records.
pub fn current(keys: &[CaptureKey]) -> Option<&CaptureKey> {
    keys.iter().rfind(|key| key.deleted_at_ms.is_none())
}

/// Makes up a key.
pub(crate) fn random() -> Result<ProjectKey, KeyError> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0; KEY_CHARACTERS];
    getrandom::fill(&mut bytes).map_err(|error| KeyError::NoRandomness(error.to_string()))?;
    let mut key = "phc_".to_owned();
    for byte in bytes {
        // Not quite even, which a public name need not be.
        let _ = key.write_char(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    }
    key.parse().map_err(|_| KeyError::BadCharacters)
}

async fn decided(store: &Store, key: &ProjectKey) -> Result<Option<Decided>, KeyError> {
    let text = store.catalog().setting(&format!("{NAME}{key}")).await?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| KeyError::Unreadable(error.to_string()))
}

async fn decide(store: &Store, key: &ProjectKey, decided: &Decided) -> Result<(), KeyError> {
    let text = serde_json::to_string(decided).map_err(|error| KeyError::Unreadable(error.to_string()))?;
    Ok(store.set_setting(&format!("{NAME}{key}"), &text).await?)
}
