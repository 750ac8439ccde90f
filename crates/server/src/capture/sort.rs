//! Decides for each event of an upload whether it is kept, and as what.
//!
//! The path an upload came by does not matter: `$snapshot` events go to their recording wherever they arrive, and one
//! odd event never costs the good ones beside it.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::limits::Limits;
use reelcase_format::upload::{Item, Upload, Wire, inflate_into, scan};
use reelcase_store::{ItemKind, ItemRef};

use crate::config::ServerOptions;
use crate::drops::NO_RECORDING;
use crate::error::Failure;

/// Analytics events that say who somebody is, or which group, kept even where they belong to no recording.
const PERSON_EVENTS: [&str; 6] =
    ["$identify", "$create_alias", "$merge_dangerously", "$set", "$unset", "$groupidentify"];

/// What the request says of how its body is coded.
#[derive(Debug, Clone, Default)]
pub(super) struct Coding {
    pub(super) content_type: Option<String>,
    pub(super) compression: Option<String>,
}

/// What is to be done with an upload.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// The events to keep. Nearly always one project; clients may mix keys all the same.
    pub(super) by_project: BTreeMap<ProjectKey, Vec<ItemRef>>,
    /// Bytes of the upload once its coding is undone.
    pub(super) inflated_bytes: usize,
    /// The reason for each event that is not kept.
    pub(super) drops: Vec<&'static str>,
}

/// What a thread keeps of the memory it inflated into. Most uploads take less.
const KEPT_BYTES_MAX: usize = 512 << 10;

thread_local! {
    /// Memory to inflate into: taking it from the system for each upload would cost as much as the scan.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Undoes the coding and sorts the events. Fails where nothing of the upload can be kept because it is malformed, and
/// where it inflates to more than `inflated_bytes_max`.
pub(super) fn sort(
    body: &[u8],
    coding: &Coding,
    options: &ServerOptions,
    inflated_bytes_max: usize,
) -> Result<Sorted, Failure> {
    let limits = Limits { inflated_bytes_max, ..options.limits.clone() };
    let wire = Wire { body, content_type: coding.content_type.as_deref(), compression: coding.compression.as_deref() };
    let json = inflate_into(&wire, &limits, MEMORY.take())?;
    let sorted = scan(&json, &limits).map_err(Failure::from).and_then(|upload| sort_items(&upload, options));
    let sorted = sorted.map(|sorted| Sorted { inflated_bytes: json.len(), ..sorted });
    if let Cow::Owned(mut memory) = json {
        memory.truncate(KEPT_BYTES_MAX);
        memory.shrink_to(KEPT_BYTES_MAX);
        MEMORY.set(memory);
    }
    sorted
}

/// The project an upload, or any other request of a client, is of. `None` where its body does not say.
pub(super) fn key_of(body: &[u8], coding: &Coding, limits: &Limits) -> Option<ProjectKey> {
    #[derive(serde::Deserialize)]
    struct Keyed {
        #[serde(alias = "api_key")]
        token: String,
    }
    let wire = Wire { body, content_type: coding.content_type.as_deref(), compression: coding.compression.as_deref() };
    let json = inflate_into(&wire, limits, Vec::new()).ok()?;
    let of_upload = |upload: Upload<'_>| upload.items.first()?.token.clone().or(upload.token.clone());
    let key = match scan(&json, limits).ok().and_then(of_upload) {
        Some(key) => key,
        None => serde_json::from_slice::<Keyed>(&json).ok()?.token,
    };
    key.parse().ok()
}

fn sort_items(upload: &Upload<'_>, options: &ServerOptions) -> Result<Sorted, Failure> {
    let mut sorted = Sorted::default();
    for item in &upload.items {
        let key = item.token.as_deref().or(upload.token.as_deref()).ok_or(Failure::NoKey)?;
        let key: ProjectKey = key.parse().map_err(Failure::BadKey)?;
        match keep(item, options.keep_all_events) {
            Ok(kept) => sorted.by_project.entry(key).or_default().push(kept),
            Err(reason) => sorted.drops.push(reason),
        }
    }
    let malformed = sorted.drops.iter().position(|reason| *reason != NO_RECORDING);
    match malformed {
        Some(at) if sorted.by_project.is_empty() && sorted.drops.len() == upload.items.len() => {
            Err(Failure::NothingUsable { index: upload.items[at].index, reason: sorted.drops[at] })
        }
        _ => Ok(sorted),
    }
}

fn keep(item: &Item<'_>, keep_all_events: bool) -> Result<ItemRef, &'static str> {
    if let Some(reason) = item.refusal {
        return Err(reason);
    }
    let recording = item.session_id.as_deref().map(str::parse::<RecordingId>);
    let (kind, recording) = match recording {
        Some(Ok(recording)) if item.is_snapshot() => (ItemKind::Snapshot, Some(recording)),
        Some(Ok(recording)) => (ItemKind::Event, Some(recording)),
        _ if keep_all_events || PERSON_EVENTS.contains(&item.name.as_str()) => (ItemKind::Person, None),
        Some(Err(_)) => return Err("session_id_invalid"),
        None => return Err(NO_RECORDING),
    };
    let index = u32::try_from(item.index).map_err(|_| "index_too_large")?;
    Ok(ItemRef { index, kind, upload: item.upload_id(), recording })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "01a1fbdb-5cf7-798e-bff9-d7633f6d7075";

    fn sorted(json: &str) -> Result<Sorted, Failure> {
        sort(json.as_bytes(), &Coding::default(), &ServerOptions::default(), 1 << 20)
    }

    fn kinds(json: &str) -> Vec<ItemKind> {
        let sorted = sorted(json).unwrap();
        sorted.by_project.values().flatten().map(|item| item.kind).collect()
    }

    fn snapshot(session: &str) -> String {
        format!(
            r#"{{"event":"$snapshot","properties":{{"token":"phc_a","$session_id":"{session}","$window_id":"w","$snapshot_data":[{{"type":4,"data":{{}},"timestamp":1}}]}}}}"#
        )
    }

    #[test]
    fn a_snapshot_is_one_wherever_it_arrives() {
        assert_eq!(kinds(&format!("[{}]", snapshot(SESSION))), [ItemKind::Snapshot]);
        assert_eq!(kinds(&snapshot(SESSION)), [ItemKind::Snapshot]);
        let envelope = format!(r#"{{"api_key":"phc_a","batch":[{}]}}"#, snapshot(SESSION));
        assert_eq!(kinds(&envelope), [ItemKind::Snapshot]);
    }

    #[test]
    fn one_upload_may_mix_sessions_and_projects() {
        let other = snapshot("other-session").replace("phc_a", "phc_b");
        let sorted = sorted(&format!("[{},{},{other}]", snapshot(SESSION), snapshot("second"))).unwrap();
        let counts: Vec<_> = sorted.by_project.iter().map(|(key, items)| (key.as_str(), items.len())).collect();
        assert_eq!(counts, [("phc_a", 2), ("phc_b", 1)]);
    }

    #[test]
    fn events_are_kept_with_their_recording_and_persons_without_one() {
        let pageview = format!(r#"{{"event":"$pageview","properties":{{"$session_id":"{SESSION}"}}}}"#);
        let batch = format!(
            r#"{{"api_key":"phc_a","batch":[{pageview},{{"event":"$identify","properties":{{"distinct_id":"u"}}}},{{"event":"sale","properties":{{}}}}]}}"#
        );
        assert_eq!(kinds(&batch), [ItemKind::Event, ItemKind::Person]);
        assert_eq!(sorted(&batch).unwrap().drops, [NO_RECORDING]);
    }

    #[test]
    fn a_bad_item_is_counted_and_its_neighbours_are_kept() {
        let sorted = sorted(&format!("[{},{}]", snapshot("../etc"), snapshot(SESSION))).unwrap();
        assert_eq!(sorted.drops, ["session_id_invalid"]);
        assert_eq!(sorted.by_project.values().flatten().count(), 1);
    }

    #[test]
    fn an_upload_of_nothing_but_bad_items_is_refused_with_the_place() {
        let failure = sorted(&format!("[{}]", snapshot("a b"))).unwrap_err();
        assert!(matches!(failure, Failure::NothingUsable { index: 0, reason: "session_id_invalid" }), "{failure}");
        let no_data = snapshot(SESSION).replace("$snapshot_data", "$other");
        assert!(matches!(sorted(&no_data), Err(Failure::NothingUsable { reason: "snapshot_data_missing", .. })));
    }

    #[test]
    fn keys_are_needed_and_personal_ones_are_refused() {
        assert!(matches!(sorted(r#"[{"event":"x","properties":{}}]"#), Err(Failure::NoKey)));
        let personal = snapshot(SESSION).replace("phc_a", "phx_a");
        assert!(matches!(sorted(&personal), Err(Failure::BadKey(_))));
        assert!(matches!(sorted("[]"), Err(Failure::Decode(_))));
    }
}
