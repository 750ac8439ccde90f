//! What people decided about a store, kept beside its objects, so that the bucket alone brings back a whole store.
//!
//! One small file, `<store>/settings.json`, written anew with each change and before the catalog learns of it: like an
//! object it is the truth, and the catalog follows.
//!
//! Where neither knows what was decided, because both were lost or damaged at once, or the file is of a newer release and
//! the catalog was made anew, that is written down in their place: a store that forgot is not one in which nobody
//! decided anything. Only a directory that is empty in every respect is new.

use std::collections::BTreeMap;

use reelcase_format::block::BlockHash;
use reelcase_format::id::ProjectKey;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogError, Project};
use crate::objects::{ObjectError, Objects};
use crate::store::{Store, StoreError};

/// The newest version of the file that this release understands.
const VERSION: u32 = 1;

/// Why the settings are lost; empty once they are decided anew.
const LOST: &str = "settings_lost";

/// That the catalog has learnt all there is to know of settings.
const KNOWN: &str = "catalog settings_known";

/// What begins like this is of one catalog, and written to no file.
pub(crate) const OF_CATALOG: &str = "catalog ";

/// See the module's page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    version: u32,
    projects: BTreeMap<String, Project>,
    settings: BTreeMap<String, String>,
    /// BLAKE3 over the JSON of the above: a name in which one letter changed looks like any other name. Not checked
    /// where it is absent, as after it was deleted together with what somebody edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    /// What the store's own file was when it was read.
    #[serde(skip)]
    own: OwnFile,
}

/// What became of the file of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum OwnFile {
    #[default]
    Absent,
    Whole,
    /// Set aside.
    Damaged,
    /// Of a newer release, and not ours to write.
    Newer,
}

/// The one thing that is read of a file of any release.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// A file of settings that cannot be used.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error("version {found} is newer than the newest supported, {VERSION}")]
    TooNew { found: u32 },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("its content does not match its check")]
    Changed,
}

impl Settings {
    /// Reads what there is; where objects of several stores lie together, all of it. The file of `own_store` is set
    /// aside where it is damaged: the next change writes another.
    pub(crate) async fn read(objects: &Objects, own_store: Option<&str>) -> Result<Self, StoreError> {
        let mut all = Self { version: VERSION, ..Self::default() };
        for (store_id, file, bytes) in objects.settings().await? {
            let is_own = own_store == Some(store_id.as_str());
            match Self::parse(&bytes) {
                Ok(found) => {
                    if is_own {
                        all.own = OwnFile::Whole;
                    }
                    all.projects.extend(found.projects);
                    all.settings.extend(found.settings);
                }
                // Names are not worth refusing to record; the file stays for whoever can read it.
                Err(error @ Flaw::TooNew { .. }) => {
                    tracing::error!(file, %error, "the settings are of a newer release; they stay as they are");
                    if is_own {
                        all.own = OwnFile::Newer;
                    }
                }
                Err(error) if is_own => {
                    tracing::error!(file, %error, "the settings are damaged and set aside as settings.json.damaged");
                    objects.set_settings_aside(&store_id).await?;
                    all.own = OwnFile::Damaged;
                }
                Err(error) => tracing::error!(file, %error, "the settings of another store are damaged"),
            }
        }
        Ok(all)
    }

    /// Writes down that nothing is decided, where nothing is written.
    pub(crate) async fn begin(objects: &Objects, store_id: &str) -> Result<(), ObjectError> {
        let written = objects.settings().await?;
        if written.iter().any(|(of, ..)| of == store_id) {
            return Ok(());
        }
        Self { version: VERSION, ..Self::default() }.write(objects, store_id).await
    }

    fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let Version { version } = serde_json::from_slice(bytes)?;
        if version > VERSION {
            return Err(Flaw::TooNew { found: version });
        }
        let mut found: Self = serde_json::from_slice(bytes)?;
        match found.check.take() {
            Some(check) if check != found.computed_check() => Err(Flaw::Changed),
            _ => Ok(found),
        }
    }

    /// Over the content alone, however it is laid out in the file.
    fn computed_check(&self) -> String {
        let content = serde_json::to_vec(&Self { check: None, ..self.clone() }).unwrap_or_default();
        BlockHash::of(&content).to_string()
    }

    /// Learns from the catalog what no file said: it may have been lost, or be damaged.
    async fn learn(&mut self, catalog: &dyn Catalog) -> Result<(), StoreError> {
        for project in catalog.projects().await? {
            self.projects.entry(project.key.to_string()).or_insert(project);
        }
        let settings = catalog.settings().await?;
        let is_decided =
            |(name, value): &(String, String)| !name.starts_with(OF_CATALOG) && (name != LOST || !value.is_empty());
        for (name, value) in settings.into_iter().filter(is_decided) {
            self.settings.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// Writes down that the settings are lost, where neither the file nor the catalog can know them.
    async fn note_loss(&mut self, catalog: &dyn Catalog, is_new: bool) -> Result<(), StoreError> {
        let has_learnt = catalog.setting(KNOWN).await?.is_some();
        let why = match self.own {
            OwnFile::Whole => None,
            _ if has_learnt => None,
            OwnFile::Absent if is_new => None,
            OwnFile::Absent => Some("settings.json and the catalog were lost"),
            OwnFile::Damaged => Some("settings.json is damaged, and the catalog was lost"),
            OwnFile::Newer => Some("settings.json is of a newer release, and the catalog was lost"),
        };
        if let Some(why) = why {
            tracing::error!("nothing is recorded until the settings are decided anew: {why}");
            self.settings.insert(LOST.to_owned(), why.to_owned());
            catalog.set_setting(LOST, why).await?;
        }
        let is_whole = self.own == OwnFile::Whole && !self.settings.contains_key(LOST);
        if is_whole && catalog.setting(LOST).await?.is_some_and(|why| !why.is_empty()) {
            // What was thought to be lost is back.
            catalog.set_setting(LOST, "").await?;
        }
        // A newer file still holds what this catalog does not.
        if !has_learnt && (why.is_none() || self.own != OwnFile::Newer) {
            catalog.set_setting(KNOWN, "1").await?;
        }
        Ok(())
    }

    /// Tells the catalog what it does not know.
    pub(crate) async fn apply(&self, catalog: &dyn Catalog) -> Result<(), StoreError> {
        let known: BTreeMap<_, _> =
            catalog.projects().await?.into_iter().map(|known| (known.key, known.name)).collect();
        for project in self.projects.values() {
            match known.get(&project.key) {
                None => drop(catalog.create_project(project.clone()).await?),
                Some(name) if *name != project.name => catalog.rename_project(&project.key, &project.name).await?,
                Some(_) => (),
            }
        }
        let known: BTreeMap<_, _> = catalog.settings().await?.into_iter().collect();
        for (name, value) in self.settings.iter().filter(|(name, value)| known.get(*name) != Some(value)) {
            catalog.set_setting(name, value).await?;
        }
        Ok(())
    }

    async fn write(&self, objects: &Objects, store_id: &str) -> Result<(), ObjectError> {
        let checked = Self { check: Some(self.computed_check()), ..self.clone() };
        objects.put_settings(store_id, serde_json::to_vec_pretty(&checked).unwrap_or_default()).await
    }
}

impl Store {
    /// Reads the settings, and tells the catalog. An object store that is away must not keep uploads from being taken:
    /// the catalog knows the settings, but for one that was lost, and the next change writes them down.
    pub(crate) async fn load_settings(&self) -> Result<(), StoreError> {
        let mut settings = self.settings.lock().await;
        match self.read_settings().await {
            Ok((read, found)) => {
                if found != read && found.own != OwnFile::Newer {
                    let written = found.write(&self.objects, &self.store_id).await;
                    let _ = written.inspect_err(|error| {
                        tracing::warn!(
                            error = error as &dyn std::error::Error,
                            "the settings are not written down yet"
                        );
                    });
                }
                *settings = Some(found);
            }
            Err(StoreError::Catalog(error)) => return Err(error.into()),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the settings cannot be read yet"),
        }
        Ok(())
    }

    /// What the file says, and that together with what the catalog knows besides. The catalog knows it all then.
    async fn read_settings(&self) -> Result<(Settings, Settings), StoreError> {
        let catalog = self.catalog.as_ref();
        let read = Settings::read(&self.objects, Some(&self.store_id)).await?;
        let mut found = read.clone();
        found.note_loss(catalog, self.is_new().await?).await?;
        found.apply(catalog).await?;
        found.learn(catalog).await?;
        Ok((read, found))
    }

    /// Whether nothing was ever in this store. An object that is lost with the catalog leaves its directory behind.
    async fn is_new(&self) -> Result<bool, StoreError> {
        let is_empty = self.catalog.next_object_seq().await? == 0 && self.catalog.projects().await?.is_empty();
        Ok(is_empty && self.waiting().1 == 0 && self.objects.is_empty(&self.store_id).await?)
    }

    /// Why nobody knows what was decided; `None` where it is known. Then what is not decided is as by default, and else
    /// nothing may be switched on.
    pub async fn settings_lost(&self) -> Result<Option<String>, CatalogError> {
        match self.catalog.setting(LOST).await? {
            Some(why) if !why.is_empty() => return Ok(Some(why)),
            _ => (),
        }
        let is_known = self.catalog.setting(KNOWN).await?.is_some();
        Ok((!is_known).then(|| "settings.json cannot be read yet".to_owned()))
    }

    /// Takes note that everything was decided anew.
    pub async fn settings_found(&self) -> Result<(), StoreError> {
        self.set_setting(LOST, "").await
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

    /// Gives a project another name, and returns it; `None` where there is none.
    pub async fn rename_project(&self, key: &ProjectKey, name: &str) -> Result<Option<Project>, StoreError> {
        let Some(known) = self.catalog.project(key).await? else { return Ok(None) };
        let renamed = Project { name: name.to_owned(), ..known };
        let rename = |settings: &mut Settings| settings.projects.insert(key.to_string(), renamed.clone());
        let mut settings = self.settings.lock().await;
        self.change_held(&mut settings, rename).await?;
        self.catalog.rename_project(key, name).await?;
        Ok(Some(renamed))
    }

    /// Writes a setting.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let set = |settings: &mut Settings| settings.settings.insert(name.to_owned(), value.to_owned());
        let mut settings = self.settings.lock().await;
        self.change_held(&mut settings, set).await?;
        Ok(self.catalog.set_setting(name, value).await?)
    }

    /// Writes a setting that still is what it was when it was read, `None` for absent. Says whether it was: of two who
    /// change the same value, the second has to look again.
    pub async fn replace_setting(&self, name: &str, read: Option<&str>, value: &str) -> Result<bool, StoreError> {
        let replace = |settings: &mut Settings| {
            let is_same = settings.settings.get(name).map(String::as_str) == read;
            if is_same {
                settings.settings.insert(name.to_owned(), value.to_owned());
            }
            is_same
        };
        // Held until the catalog knows: it must learn of changes in their order, and whoever looks again find this one.
        let mut settings = self.settings.lock().await;
        let is_replaced = self.change_held(&mut settings, replace).await?;
        if is_replaced {
            self.catalog.set_setting(name, value).await?;
        }
        Ok(is_replaced)
    }

    /// Writes down the projects that are not yet: recordings bring some along, whose objects may be swept.
    pub(crate) async fn keep_projects(&self) -> Result<(), StoreError> {
        if self.settings.lock().await.as_ref().is_some_and(|settings| settings.own == OwnFile::Newer) {
            return Ok(());
        }
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
        self.change_held(&mut settings, change).await
    }

    async fn change_held<T>(
        &self,
        settings: &mut Option<Settings>,
        change: impl FnOnce(&mut Settings) -> T,
    ) -> Result<T, StoreError> {
        let known = match settings.take() {
            Some(known) => known,
            None => self.read_settings().await?.1,
        };
        let mut changed = known.clone();
        let outcome = change(&mut changed);
        if changed != known && known.own == OwnFile::Newer {
            *settings = Some(known);
            return Err(StoreError::NewerSettings);
        }
        if changed != known {
            changed.write(&self.objects, &self.store_id).await?;
        }
        *settings = Some(changed);
        Ok(outcome)
    }
}
