//! How far an import from PostHog came: a file that the next run takes up.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::Page;

const STATE: &str = "state.json";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) host: String,
    pub(super) project: String,
    /// The range that is listed. It stays what it was when the import began, so that pages stay what they were.
    pub(super) from: String,
    pub(super) to: String,
    /// What is to be listed next. `None` once all is.
    pub(super) next: Option<Page>,
    /// Recordings that could not be had.
    pub(super) failed: Vec<String>,
}

/// Where the state and what was fetched lie, below the data directory.
pub(super) fn folder(data: &Path, host: &str, project: &str) -> PathBuf {
    let hash = blake3::hash(format!("{host}\n{project}").as_bytes()).to_hex();
    data.join(format!("importing-posthog-{}", &hash[..16]))
}

impl State {
    /// What an earlier run left, if any.
    pub(super) fn load(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(STATE);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(state) => Ok(Some(state)),
                Err(error) => bail!("{} cannot be understood: {error}\nhint: delete it to begin anew", path.display()),
            },
        }
    }

    /// Keeps it.
    pub(super) fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.as_file().sync_data()?;
        file.persist(dir.join(STATE)).with_context(|| format!("cannot write in {}", dir.display()))?;
        Ok(())
    }
}
