//! What people decided about a store, kept beside its objects, so that the bucket alone brings back a whole store.
//!
//! One small file, `<store>/settings.json`, written anew with each change and before the catalog learns of it: like an
//! object it is the truth, and the catalog follows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogError, Project};
use crate::objects::{ObjectError, Objects};
use crate::store::{Store, StoreError};

/// The newest version of the file that this release understands.
const VERSION: u32 = 1;

/// See the module's page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    version: u32,
    projects: BTreeMap<String, Project>,
    settings: BTreeMap<String, String>,
}

impl Settings {
    /// Reads what there is; where objects of several stores lie together, all of it.
    pub(crate) async fn read(objects: &Objects) -> Result<Self, StoreError> {
        let mut all = Self { version: VERSION, projects: BTreeMap::new(), settings: BTreeMap::new() };
        for (file, bytes) in objects.settings().await? {
            match serde_json::from_slice::<Self>(&bytes) {
                Ok(found) if found.version <= VERSION => {
                    all.projects.extend(found.projects);
                    all.settings.extend(found.settings);
                }
                // Names are not worth refusing to record; the file stays for whoever can read it.
                Ok(found) => tracing::error!(file, found.version, "the settings are of a newer release"),
                Err(error) => tracing::error!(file, %error, "the settings cannot be read"),
            }
        }
        Ok(all)
    }

    /// Tells the catalog what it does not know.
    pub(crate) async fn apply(&self, catalog: &dyn Catalog) -> Result<(), StoreError> {
        let known: Vec<_> = catalog.projects().await?.into_iter().map(|project| project.key).collect();
        for project in self.projects.values().filter(|project| !known.contains(&project.key)) {
            catalog.create_project(project.clone()).await?;
        }
        let known: BTreeMap<_, _> = catalog.settings().await?.into_iter().collect();
        for (name, value) in self.settings.iter().filter(|(name, value)| known.get(*name) != Some(value)) {
            catalog.set_setting(name, value).await?;
        }
        Ok(())
    }

    async fn write(&self, objects: &Objects, store_id: &str) -> Result<(), ObjectError> {
        objects.put_settings(store_id, serde_json::to_vec_pretty(self).unwrap_or_default()).await
    }
}

impl Store {
    /// Reads the settings, and tells the catalog. An object store that is away must not keep uploads from being taken:
    /// the catalog knows the settings, but for one that was lost, and the next change writes them down.
    pub(crate) async fn load_settings(&self) -> Result<(), StoreError> {
        match Settings::read(&self.objects).await {
            Ok(found) => {
                found.apply(self.catalog.as_ref()).await?;
                *self.settings.lock().await = Some(found);
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the settings cannot be read yet"),
        }
        Ok(())
    }

    /// Creates a project, or leaves the one that has the key as it is, and returns what is there now. Like settings,
    /// projects survive the catalog. Where that cannot be written down now it is later: an upload must not wait for it.
    pub async fn create_project(&self, project: Project) -> Result<Project, CatalogError> {
        if let Some(known) = self.catalog.project(&project.key).await? {
            return Ok(known);
        }
        let key = project.key.to_string();
        let create = |settings: &mut Settings| settings.projects.entry(key).or_insert(project.clone()).clone();
        let kept = self.change_settings(create).await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "a new project is not written down yet");
            project
        });
        self.catalog.create_project(kept).await
    }

    /// Writes a setting.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.change_settings(|settings| settings.settings.insert(name.to_owned(), value.to_owned())).await?;
        Ok(self.catalog.set_setting(name, value).await?)
    }

    /// Writes down the projects that are not yet: recordings bring some along, whose objects may be swept.
    pub(crate) async fn keep_projects(&self) -> Result<(), StoreError> {
        let projects = self.catalog.projects().await?;
        let add = |settings: &mut Settings| {
            for project in projects {
                settings.projects.entry(project.key.to_string()).or_insert(project);
            }
        };
        self.change_settings(add).await
    }

    async fn change_settings<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> Result<T, StoreError> {
        let mut settings = self.settings.lock().await;
        let known = match settings.take() {
            Some(known) => known,
            None => Settings::read(&self.objects).await?,
        };
        let mut changed = known.clone();
        let outcome = change(&mut changed);
        if changed != known {
            changed.write(&self.objects, &self.store_id).await?;
        }
        *settings = Some(changed);
        Ok(outcome)
    }
}
