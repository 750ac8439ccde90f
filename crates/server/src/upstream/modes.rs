//! What becomes of a project's requests. Kept in the settings of the store, and changed while the server runs.
//!
//! Where it was lost, with the settings or because it is a word of a newer release, no mode is right: `tee` and
//! `mirror` might send on what PostHog was never to see, `pass` and `tee` might do as if nothing were to be kept, or
//! something. So such a project's requests are answered 503, which clients come back after, until somebody decides
//! anew.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use reelcase_format::id::ProjectKey;
use reelcase_store::catalog::CatalogError;
use reelcase_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the names of these settings begin with; the project's key follows.
const SETTING: &str = "upstream_mode:";

/// What is written where the mode was lost.
const LOST: &str = "lost";

/// What becomes of a project's requests where there is a PostHog behind the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are answered here, and PostHog sees none of them.
    Store,
    /// PostHog answers, and a copy of every recording is kept here.
    Tee,
    /// They are answered here once they are durable, and sent on from here until PostHog has them.
    Mirror,
    /// PostHog answers, and nothing is kept.
    Pass,
}

/// A word that is no mode.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no mode: write store, tee, mirror or pass")]
pub struct ModeError(String);

impl Mode {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Store, Self::Tee, Self::Mirror, Self::Pass];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Tee => "tee",
            Self::Mirror => "mirror",
            Self::Pass => "pass",
        }
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| ModeError(text.to_owned()))
    }
}

/// What was decided about the mode of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// It has a mode of its own.
    Own(Mode),
    /// It has that of all projects without one of their own.
    AsOthers,
    /// Nobody knows any more. Its requests go nowhere until it is decided anew.
    Lost,
}

/// The modes of all projects.
#[derive(Debug)]
pub(crate) struct Modes {
    default: Mode,
    known: RwLock<Known>,
    /// Held while something is decided, so that what is looked up is what is written.
    deciding: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    decided: BTreeMap<ProjectKey, Decided>,
    /// Whether the store lost what was decided, so that a project which is not listed may have had any mode.
    is_lost: bool,
}

impl Modes {
    pub(crate) fn new(default: Mode) -> Self {
        Self { default, known: RwLock::default(), deciding: tokio::sync::Mutex::default() }
    }

    /// Reads what was decided earlier.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), CatalogError> {
        let _deciding = self.deciding.lock().await;
        let is_lost = store.settings_lost().await?.is_some();
        let mut decided = BTreeMap::new();
        for (name, value) in store.catalog().settings().await? {
            let Some(key) = name.strip_prefix(SETTING).and_then(|key| key.parse().ok()) else { continue };
            decided.insert(key, read(&value));
        }
        *self.write() = Known { decided, is_lost };
        Ok(())
    }

    /// Gives a project a mode of its own, or, with `None`, that of all others. It holds from the next request on, and
    /// after a restart.
    pub(crate) async fn set(&self, store: &Store, key: &ProjectKey, mode: Option<Mode>) -> Result<(), StoreError> {
        let _deciding = self.deciding.lock().await;
        decide(store, key, mode).await?;
        self.write().decided.insert(key.clone(), mode.map_or(Decided::AsOthers, Decided::Own));
        Ok(())
    }

    /// The mode of all projects, if it is the same.
    pub(crate) fn only(&self) -> Option<Mode> {
        let known = self.read();
        let is_default =
            |decided: &Decided| matches!(decided, Decided::AsOthers) || *decided == Decided::Own(self.default);
        (!known.is_lost && known.decided.values().all(is_default)).then_some(self.default)
    }

    /// The mode of a project, or of a request that names none. `None` where it was lost: then a recording may neither
    /// go on, as if the mode had not been `store`, nor be kept, as if it had not been `pass`.
    pub(crate) fn of(&self, key: Option<&ProjectKey>) -> Option<Mode> {
        let Some(key) = key else { return (!self.read().is_lost).then_some(self.default) };
        match self.decided(key) {
            Decided::Own(mode) => Some(mode),
            Decided::AsOthers => Some(self.default),
            Decided::Lost => None,
        }
    }

    /// What was decided about a project.
    pub(crate) fn decided(&self, key: &ProjectKey) -> Decided {
        let known = self.read();
        let absent = if known.is_lost { Decided::Lost } else { Decided::AsOthers };
        known.decided.get(key).copied().unwrap_or(absent)
    }

    /// Whether a store that had lost its settings when they were last read has them again: then they are read again.
    pub(crate) async fn look_again(&self, store: &Store) -> Result<(), CatalogError> {
        if self.read().is_lost && store.settings_lost().await?.is_none() {
            self.load(store).await?;
        }
        Ok(())
    }

    /// The mode of projects without one of their own.
    pub(crate) fn default(&self) -> Mode {
        self.default
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was decided about the mode of a project.
pub async fn decided(store: &Store, key: &ProjectKey) -> Result<Decided, CatalogError> {
    Ok(match store.catalog().setting(&format!("{SETTING}{key}")).await? {
        Some(value) => read(&value),
        None if store.settings_lost().await?.is_some() => Decided::Lost,
        None => Decided::AsOthers,
    })
}

/// Gives a project a mode of its own, or, with `None`, that of all others. A server that runs does not learn of it.
pub async fn decide(store: &Store, key: &ProjectKey, mode: Option<Mode>) -> Result<(), StoreError> {
    store.set_setting(&format!("{SETTING}{key}"), mode.map_or("", Mode::as_str)).await
}

/// Writes down of a new project that it has the mode of all others, where that is not to be seen from the store.
pub(crate) async fn begin(store: &Store, key: &ProjectKey) -> Result<(), StoreError> {
    store.replace_setting(&format!("{SETTING}{key}"), None, "").await.map(drop)
}

/// Writes down of a project that nobody knows its mode, before the store counts as one that knows what was decided: the
/// other settings of a project say nothing of where its recordings may go.
pub(crate) async fn note_lost(store: &Store, key: &ProjectKey) -> Result<(), StoreError> {
    store.replace_setting(&format!("{SETTING}{key}"), None, LOST).await.map(drop)
}

/// A word of a newer release is no mode that we could be in.
fn read(value: &str) -> Decided {
    match value {
        "" => Decided::AsOthers,
        mode => mode.parse().map_or(Decided::Lost, Decided::Own),
    }
}
