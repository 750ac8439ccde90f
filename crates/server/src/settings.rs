//! What people decided about the recordings of a project, while the server runs.
//!
//! A project's settings are one JSON object that holds only what somebody decided. What it does not hold is as the
//! upstream has it, or else our default, so that a release may come with better defaults. It is kept in the store, and
//! read for each document that tells a client what to do: a change is in the next one.
//!
//! What is written is checked strictly, key by key; what is read may have been written by a newer release, whose
//! further keys stay where they are. Settings that cannot be read at all switch nothing on: recording with less masked
//! than was asked for would be worse than not recording.

mod check;
pub mod document;
mod domain;
mod field;
mod selector;
mod trigger_group;

use std::fmt;

use reelcase_format::id::ProjectKey;
use reelcase_store::catalog::CatalogError;
use reelcase_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::TRIAL_KEY;
use crate::upstream::modes;

pub use domain::admits;
pub use field::{FIELDS, Field, Group, Kind};
pub use trigger_group::TriggerGroup;

/// Longest document of settings that is taken, in bytes.
pub const SETTINGS_BYTES_MAX: usize = 256 << 10;

/// What the names under which the store keeps settings of projects begin with; the key follows.
const NAME: &str = "project ";

/// How often a change is tried again where somebody else was quicker.
const ATTEMPTS: u32 = 8;

/// What somebody decided. What is absent, or null, is as the upstream has it, or else our default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether anything is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<bool>,
    /// The part of all sessions that is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub sample_rate: Option<f64>,
    /// Sessions shorter than this are not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000)]
    pub minimum_duration_ms: Option<u32>,
    /// Regular expressions; recording starts on an address that one of them fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub url_triggers: Option<Vec<String>>,
    /// Names of events; recording starts with the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub event_triggers: Option<Vec<String>>,
    /// Whether all conditions must hold, or any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_match: Option<TriggerMatch>,
    /// A feature flag to wait for, `flag` or `flag:variant`; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 400)]
    pub linked_flag: Option<String>,
    /// Groups of conditions; one that holds is enough. Clients that know them read them in place of the part, the
    /// shortest session, addresses, events and flag of the whole project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 20)]
    pub trigger_groups: Option<Vec<TriggerGroup>>,
    /// Regular expressions; recording pauses on an address that one of them fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub url_blocklist: Option<Vec<String>>,
    /// Whether what is typed into fields is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_inputs: Option<bool>,
    /// Whether all text is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_all_text: Option<bool>,
    /// CSS selector of elements whose text is masked; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub mask_text_selector: Option<String>,
    /// CSS selector of elements that are left out; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub block_selector: Option<String>,
    /// Whether the console is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_log: Option<bool>,
    /// Whether addresses and times of requests are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_timing: Option<bool>,
    /// Whether headers of requests are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_headers: Option<bool>,
    /// Whether bodies of requests are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_bodies: Option<bool>,
    /// Whether canvas elements are recorded, as pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canvas: Option<bool>,
    /// Pictures of each canvas a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 12)]
    pub canvas_fps: Option<u32>,
    /// Quality of these pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub canvas_quality: Option<f64>,
    /// Addresses of the sites that may be recorded; `*` stands for anything. Empty for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 200)]
    pub domains: Option<Vec<String>>,
    /// The script that records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorder_script: Option<RecorderScript>,
    /// Scripts of PostHog that are served in one release and with one content alone, such as
    /// `lazy-recorder.js@1.449.2=` and the SHA-256 in 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 20)]
    pub script_pins: Option<Vec<String>>,
}

/// How the conditions for recording combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TriggerMatch {
    /// All of them must hold.
    All,
    /// One is enough.
    Any,
}

/// A script of posthog-js that records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecorderScript {
    /// Whichever the client takes by itself.
    Auto,
    /// The one that clients since 1.262 take.
    LazyRecorder,
    /// The one before.
    PosthogRecorder,
    /// The one of the oldest clients.
    Recorder,
}

/// A script that is served in one release and with one content alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptPin {
    /// Its name, `.js` included.
    pub file: String,
    /// The release of posthog-js.
    pub version: String,
    /// What its bytes hash to, in 64 small hex digits.
    pub sha256: String,
}

/// A project's settings as they are in the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// What this release understands.
    pub settings: Settings,
    /// What a newer one wrote, and what no change of ours touches.
    pub unknown: Map<String, Value>,
    text: Option<String>,
}

/// One value that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Flaw {
    /// Name of the setting.
    pub field: String,
    /// Which item of a list, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
    /// What is allowed.
    pub message: String,
}

/// Why settings were not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no such project.
    #[error("no project has this key")]
    NoProject,
    /// Some values are not what they should be.
    #[error("{}", listed(.0))]
    Invalid(Vec<Flaw>),
    /// Somebody else changed them in between.
    #[error("the settings were changed by somebody else in between\nhint: read them again, then repeat the change")]
    Conflict,
    /// What the store holds is no settings, or of a release that gave a known setting another meaning.
    #[error("the settings of this project cannot be read, and nothing is recorded until they are written anew: {0}")]
    Unreadable(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog did not do it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A change of settings.
#[derive(Debug, Clone)]
pub enum Change {
    /// These values, and null for those that go back to the default; the others stay.
    Merge(Map<String, Value>),
    /// These values, and no others.
    Replace(Map<String, Value>),
}

impl ScriptPin {
    /// Reads `lazy-recorder.js@1.449.2=` and the hash.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, sha256) = text.split_once('=')?;
        let (file, version) = name.split_once('@')?;
        let is_name = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) && !name.starts_with('.')
        };
        let is_file = file.len() > 3 && file.ends_with(".js") && is_name(file);
        let is_version = version.starts_with(|digit: char| digit.is_ascii_digit()) && is_name(version);
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|digit| digit.is_ascii_hexdigit());
        (is_file && is_version && is_hash).then(|| Self {
            file: file.to_owned(),
            version: version.to_owned(),
            sha256: sha256.to_ascii_lowercase(),
        })
    }
}

impl Settings {
    /// Checks values, and says of each one that is wrong what is allowed. Null is as if absent.
    pub fn parse(values: &Map<String, Value>) -> Result<Self, Vec<Flaw>> {
        let given: Map<_, _> = values
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let flaws: Vec<_> = given.iter().flat_map(|(name, value)| check::check(name, value)).collect();
        if !flaws.is_empty() {
            return Err(flaws);
        }
        serde_json::from_value(Value::Object(given))
            .map_err(|error| vec![Flaw { field: String::new(), item: None, message: error.to_string() }])
    }

    /// The values that somebody decided, by name.
    pub fn values(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(values)) => values,
            _ => Map::new(),
        }
    }
}

impl Kept {
    /// Names what is there: changes with each change.
    pub fn revision(&self) -> String {
        let hash = blake3::hash(self.text.as_deref().unwrap_or_default().as_bytes());
        hash.to_hex().chars().take(16).collect()
    }

    fn parse(text: Option<String>) -> Result<Self, SettingsError> {
        let Some(text) = text else { return Ok(Self::default()) };
        let values: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| SettingsError::Unreadable(error.to_string()))?;
        let (known, unknown): (Map<_, _>, Map<_, _>) =
            values.into_iter().partition(|(name, _)| Field::named(name).is_some());
        let settings = Settings::parse(&known).map_err(|flaws| SettingsError::Unreadable(listed(&flaws)))?;
        Ok(Self { settings, unknown, text: Some(text) })
    }

    fn changed(&self, change: &Change) -> Result<(Settings, String), SettingsError> {
        let mut values = match change {
            Change::Merge(_) => self.settings.values(),
            Change::Replace(_) => Map::new(),
        };
        let (Change::Merge(given) | Change::Replace(given)) = change;
        values.extend(given.clone());
        let settings = Settings::parse(&values).map_err(SettingsError::Invalid)?;
        let mut all = self.unknown.clone();
        all.extend(settings.values());
        Ok((settings, Value::Object(all).to_string()))
    }
}

/// Reads the settings of a project. One that nobody decided anything about has none, which a store that lost its
/// settings cannot say of any.
pub async fn read(store: &Store, key: &ProjectKey) -> Result<Kept, SettingsError> {
    let text = store.catalog().setting(&name(key)).await?;
    if text.is_none()
        && let Some(why) = store.settings_lost().await?
    {
        return Err(SettingsError::Unreadable(why));
    }
    Kept::parse(text)
}

/// Whether anything may be decided about any project.
pub async fn is_anything_decided(store: &Store) -> Result<bool, SettingsError> {
    let is_decided = |(name, text): &(String, String)| name.starts_with(NAME) && text != "{}";
    Ok(store.settings_lost().await?.is_some() || store.catalog().settings().await?.iter().any(is_decided))
}

/// The scripts that any project pinned, sorted. Settings that cannot be read pin nothing: nothing is recorded by them.
pub async fn script_pins(store: &Store) -> Result<Vec<ScriptPin>, SettingsError> {
    let kept = store.catalog().settings().await?.into_iter().filter(|(name, _)| name.starts_with(NAME));
    let settings = kept.filter_map(|(_, text)| Some(Kept::parse(Some(text)).ok()?.settings));
    let pins = settings.flat_map(|settings| settings.script_pins.unwrap_or_default());
    let mut pins: Vec<_> = pins.filter_map(|pin| ScriptPin::parse(&pin)).collect();
    pins.sort();
    Ok(pins)
}

/// What holds for the page that sent `request`: nothing is recorded where its site is not listed.
pub fn for_site(mut settings: Settings, request: &http::HeaderMap) -> Settings {
    if !admits(settings.domains.as_deref().unwrap_or_default(), request) {
        settings.recording = Some(false);
    }
    settings
}

/// Writes down of a new project that nothing is decided about it, where that is not to be seen from the store.
pub async fn begin(store: &Store, key: &ProjectKey) -> Result<(), StoreError> {
    if store.settings_lost().await?.is_some() {
        store.replace_setting(&name(key), None, "{}").await?;
        modes::begin(store, key).await?;
    }
    Ok(())
}

/// Changes the settings of a project. Where `revision` is given, only if they still are of that revision.
pub async fn change(
    store: &Store,
    key: &ProjectKey,
    change: &Change,
    revision: Option<&str>,
) -> Result<Kept, SettingsError> {
    if store.catalog().project(key).await?.is_none() {
        return Err(SettingsError::NoProject);
    }
    for _ in 0..ATTEMPTS {
        let text = store.catalog().setting(&name(key)).await?;
        let read = match (&text, store.settings_lost().await?) {
            (None, Some(why)) => Err(SettingsError::Unreadable(why)),
            _ => Kept::parse(text.clone()),
        };
        // Settings that cannot be read can be replaced, and not merged with.
        let kept = match (read, change) {
            (Err(SettingsError::Unreadable(_)), Change::Replace(_)) => Kept { text: text.clone(), ..Kept::default() },
            (kept, _) => kept?,
        };
        if revision.is_some_and(|revision| revision != kept.revision()) {
            return Err(SettingsError::Conflict);
        }
        let (settings, changed) = kept.changed(change)?;
        if store.replace_setting(&name(key), text.as_deref(), &changed).await? {
            settle(store).await?;
            return Ok(Kept { settings, unknown: kept.unknown, text: Some(changed) });
        }
    }
    Err(SettingsError::Conflict)
}

/// Once a store that lost its settings has those of every project again, it has them all.
async fn settle(store: &Store) -> Result<(), SettingsError> {
    if store.settings_lost().await?.is_none() || store.is_catching_up() {
        return Ok(());
    }
    let mut projects = store.catalog().projects().await?;
    // Nobody decides about the doctor's.
    projects.retain(|project| project.key.as_str() != TRIAL_KEY);
    for project in &projects {
        if store.catalog().setting(&name(&project.key)).await?.is_none() {
            return Ok(());
        }
    }
    for project in &projects {
        modes::note_lost(store, &project.key).await?;
    }
    Ok(store.settings_found().await?)
}

/// Under which name the store keeps the settings of a project.
fn name(key: &ProjectKey) -> String {
    format!("{NAME}{key}")
}

fn listed(flaws: &[Flaw]) -> String {
    flaws.iter().map(Flaw::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            Some(item) => write!(f, "{}, item {}: {}", self.field, item + 1, self.message),
            None => write!(f, "{}: {}", self.field, self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_default_is_a_value_that_can_be_set_and_comes_back() {
        for field in FIELDS {
            let values = map(json!({ field.name: field.default_value() }));
            assert_eq!(Settings::parse(&values).unwrap().values(), values, "{}", field.name);
        }
    }

    #[test]
    fn the_table_of_fields_is_complete() {
        let all: Map<_, _> = FIELDS.iter().map(|field| (field.name.to_owned(), field.default_value())).collect();
        let Settings {
            recording,
            sample_rate,
            minimum_duration_ms,
            url_triggers,
            event_triggers,
            trigger_match,
            linked_flag,
            trigger_groups,
            url_blocklist,
            mask_inputs,
            mask_all_text,
            mask_text_selector,
            block_selector,
            console_log,
            network_timing,
            network_headers,
            network_bodies,
            canvas,
            canvas_fps,
            canvas_quality,
            domains,
            recorder_script,
            script_pins,
        } = Settings::parse(&all).unwrap();
        let switches = [
            recording,
            mask_inputs,
            mask_all_text,
            console_log,
            network_timing,
            network_headers,
            network_bodies,
            canvas,
        ];
        assert!(switches.iter().all(Option::is_some));
        assert!(
            sample_rate.is_some() && minimum_duration_ms.is_some() && canvas_fps.is_some() && canvas_quality.is_some()
        );
        assert!([url_triggers, event_triggers, url_blocklist, domains, script_pins].iter().all(Option::is_some));
        assert!([linked_flag, mask_text_selector, block_selector].iter().all(Option::is_some));
        assert!(trigger_match.is_some() && recorder_script.is_some() && trigger_groups.is_some());
    }

    #[test]
    fn an_unknown_key_is_refused_on_write_and_kept_on_read() {
        let flaws = Settings::parse(&map(json!({ "sampel_rate": 1 }))).unwrap_err();
        assert_eq!((flaws[0].field.as_str(), flaws[0].item), ("sampel_rate", None));
        assert!(flaws[0].message.contains("sample_rate"), "{flaws:?}");
        let kept = Kept::parse(Some(json!({ "sample_rate": 0.5, "of_tomorrow": [1] }).to_string())).unwrap();
        assert_eq!(kept.settings.sample_rate, Some(0.5));
        let (_, text) = kept.changed(&Change::Replace(map(json!({ "canvas": true })))).unwrap();
        assert_eq!(text, r#"{"canvas":true,"of_tomorrow":[1]}"#);
    }

    #[test]
    fn null_goes_back_to_the_default_and_the_rest_stays() {
        let kept = Kept::parse(Some(json!({ "sample_rate": 0.5, "canvas": true }).to_string())).unwrap();
        let (settings, _) = kept.changed(&Change::Merge(map(json!({ "sample_rate": null })))).unwrap();
        assert_eq!(settings, Settings { canvas: Some(true), ..Settings::default() });
    }

    #[test]
    fn settings_in_another_meaning_are_unreadable_and_not_ignored() {
        for text in ["[]", "{", r#"{"mask_inputs":"strict"}"#, r#"{"sample_rate":2}"#] {
            assert!(matches!(Kept::parse(Some(text.to_owned())), Err(SettingsError::Unreadable(_))), "{text}");
        }
    }
}
