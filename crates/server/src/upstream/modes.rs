//! What becomes of a project's requests. Kept in the settings of the store, and changed while the server runs.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use reelcase_format::id::ProjectKey;
use reelcase_store::catalog::CatalogError;
use reelcase_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the names of these settings begin with; the project's key follows.
const SETTING: &str = "upstream_mode:";

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

/// The modes of all projects.
#[derive(Debug)]
pub(crate) struct Modes {
    default: Mode,
    own: RwLock<BTreeMap<ProjectKey, Mode>>,
}

impl Modes {
    pub(crate) fn new(default: Mode) -> Self {
        Self { default, own: RwLock::default() }
    }

    /// Reads what was decided earlier.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), CatalogError> {
        for (name, value) in store.catalog().settings().await? {
            let Some(key) = name.strip_prefix(SETTING).and_then(|key| key.parse().ok()) else { continue };
            if let Ok(mode) = value.parse() {
                self.write().insert(key, mode);
            }
        }
        Ok(())
    }

    /// Gives a project a mode of its own, or, with `None`, that of all others. It holds from the next request on, and
    /// after a restart.
    pub(crate) async fn set(&self, store: &Store, key: &ProjectKey, mode: Option<Mode>) -> Result<(), StoreError> {
        store.set_setting(&format!("{SETTING}{key}"), mode.map_or("", Mode::as_str)).await?;
        match mode {
            Some(mode) => self.write().insert(key.clone(), mode),
            None => self.write().remove(key),
        };
        Ok(())
    }

    /// The mode of all projects, if it is the same.
    pub(crate) fn only(&self) -> Option<Mode> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.values().all(|mode| *mode == self.default).then_some(self.default)
    }

    /// The mode of a project, or of a request that names none.
    pub(crate) fn of(&self, key: Option<&ProjectKey>) -> Mode {
        key.and_then(|key| self.own(key)).unwrap_or(self.default)
    }

    /// The mode that was chosen for a project.
    pub(crate) fn own(&self, key: &ProjectKey) -> Option<Mode> {
        self.own.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// The mode of projects without one of their own.
    pub(crate) fn default(&self) -> Mode {
        self.default
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ProjectKey, Mode>> {
        self.own.write().unwrap_or_else(PoisonError::into_inner)
    }
}
