//! The files in which notes are kept.

use std::collections::BTreeMap;

use reelcase_format::block::BlockHash;
use reelcase_format::id::{ProjectKey, RecordingId};
use serde::{Deserialize, Serialize};

use super::Kept;
use crate::catalog::Catalog;
use crate::objects::Objects;
use crate::settings::OF_CATALOG;
use crate::store::StoreError;

/// The newest version of the file that this release understands.
const VERSION: u32 = 1;

/// Length of such a file, of which there are 256, beyond which nothing more can be said.
pub(super) const NOTES_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    /// Sorted by recording, then project.
    recordings: Vec<Kept>,
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
enum Found {
    Whole(Vec<Kept>),
    Damaged(String),
    Newer(u32),
}

/// Which file a recording's notes are in.
pub(super) fn shard_of(project: &ProjectKey, recording: &RecordingId) -> u8 {
    BlockHash::of(format!("{project}\n{recording}").as_bytes()).as_bytes()[0]
}

/// Where the catalog remembers what it last learnt of a file.
pub(super) fn check_name(shard: u8) -> String {
    format!("{OF_CATALOG}notes {shard:02x}")
}

/// What a store's own file says. Where it is lost or damaged, the catalog knows.
pub(super) async fn own(
    objects: &Objects,
    catalog: &dyn Catalog,
    store_id: &str,
    shard: u8,
) -> Result<Vec<Kept>, StoreError> {
    match objects.notes_file(store_id, shard).await?.map(|bytes| parse(&bytes)) {
        Some(Found::Whole(kept)) => Ok(kept),
        Some(Found::Newer(_)) => Err(StoreError::NewerNotes),
        Some(Found::Damaged(_)) | None => Ok(catalog.notes_of_shard(shard).await?),
    }
}

/// Bytes that what is kept of a recording takes in a file, as far as that can be compared.
pub(super) fn bytes_of(kept: &Kept) -> usize {
    serde_json::to_vec(kept).unwrap_or_default().len()
}

/// Writes a store's own file, unless it is longer than `bytes_max`, and returns the hash by which the catalog knows that
/// it has seen it. When this returns it is on stable storage.
pub(super) async fn write(
    objects: &Objects,
    store_id: &str,
    shard: u8,
    mut recordings: Vec<Kept>,
    bytes_max: usize,
) -> Result<String, StoreError> {
    recordings.sort_by(|a, b| (&a.recording, &a.project).cmp(&(&b.recording, &b.project)));
    let mut document = Document { version: VERSION, recordings, check: None };
    document.check = Some(check_of(&document));
    let bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
    let check = BlockHash::of(&bytes).to_string();
    if bytes.len() > bytes_max {
        return Err(StoreError::NotesFull { limit: bytes_max });
    }
    objects.put_notes_file(store_id, shard, bytes).await?;
    Ok(check)
}

/// Tells the catalog what files say that it does not know, those of other stores too whose objects lie here. The file
/// of `own_store` that is damaged is set aside and written anew from what the catalog knows.
pub(super) async fn enter_all(
    objects: &Objects,
    catalog: &dyn Catalog,
    own_store: Option<&str>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut shards: BTreeMap<u8, Vec<(bool, Vec<Kept>, String)>> = BTreeMap::new();
    for (store_id, shard, bytes) in objects.notes_files().await? {
        let is_own = own_store == Some(store_id.as_str());
        let check = BlockHash::of(&bytes).to_string();
        let file = format!("{store_id}/notes/{shard:02x}.json");
        match parse(&bytes) {
            Found::Whole(kept) => shards.entry(shard).or_default().push((is_own, kept, check)),
            Found::Newer(version) => {
                tracing::error!(file, version, "notes are of a newer release; they stay as they are");
                // What the catalog knows of them must not be taken for something that was taken back.
                shards.entry(shard).or_default().push((is_own, catalog.notes_of_shard(shard).await?, check));
            }
            Found::Damaged(reason) if is_own => {
                tracing::error!(
                    file,
                    reason,
                    "notes are damaged; they are set aside, and written as the catalog knows them"
                );
                objects.set_notes_aside(&store_id, shard).await?;
            }
            Found::Damaged(reason) => tracing::error!(file, reason, "notes of another store are damaged"),
        }
    }
    for (shard, found) in &mut shards {
        enter(catalog, *shard, found, now_ms).await?;
    }
    let Some(own_store) = own_store else { return Ok(()) };
    for shard in catalog.shards_noted().await?.into_iter().filter(|shard| !shards.contains_key(shard)) {
        write(objects, own_store, shard, catalog.notes_of_shard(shard).await?, usize::MAX).await?;
    }
    Ok(())
}

/// Enters a shard, of which several stores may have a file: our own decides.
async fn enter(
    catalog: &dyn Catalog,
    shard: u8,
    found: &mut Vec<(bool, Vec<Kept>, String)>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let name = check_name(shard);
    let check = found.iter().map(|(_, _, check)| check.as_str()).collect::<Vec<_>>().join(" ");
    if catalog.setting(&name).await?.as_ref() == Some(&check) {
        return Ok(());
    }
    found.sort_by_key(|(is_own, ..)| *is_own);
    let mut all = BTreeMap::new();
    for kept in found.drain(..).flat_map(|(_, kept, _)| kept) {
        all.insert((kept.recording.clone(), kept.project.clone()), kept);
    }
    catalog.put_notes_of_shard(shard, all.into_values().collect(), now_ms).await?;
    Ok(catalog.set_setting(&name, &check).await?)
}

fn parse(bytes: &[u8]) -> Found {
    let version = match serde_json::from_slice::<Version>(bytes) {
        Ok(Version { version }) => version,
        Err(error) => return Found::Damaged(error.to_string()),
    };
    if version > VERSION {
        return Found::Newer(version);
    }
    let mut document: Document = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(error) => return Found::Damaged(error.to_string()),
    };
    match document.check.take() {
        Some(check) if check != check_of(&document) => {
            Found::Damaged("its content does not match its check".to_owned())
        }
        _ => Found::Whole(document.recordings),
    }
}

/// Over the content alone, however it is laid out in the file.
fn check_of(document: &Document) -> String {
    BlockHash::of(&serde_json::to_vec(&(document.version, &document.recordings)).unwrap_or_default()).to_string()
}
