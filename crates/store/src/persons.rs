//! What an analytics event says of a person, read from the line that keeps it, so that sealing and rebuilding agree.

use reelcase_format::id::ProjectKey;
use serde_json::{Map, Value};

use crate::catalog::PersonChange;

/// Reads one line of an `events` block. `None` where it says nothing of a person.
pub(crate) fn change(project: &ProjectKey, line: &[u8]) -> Option<PersonChange> {
    if !mentions_a_person(line) {
        return None;
    }
    let event: Value = serde_json::from_slice(line).ok()?;
    let properties = event.get("properties");
    let text = |name: &str| properties?.get(name)?.as_str().map(str::to_owned);
    let object = |name: &str| -> Map<String, Value> {
        let of_event = event.get(name).and_then(Value::as_object);
        let of_properties = properties.and_then(|properties| properties.get(name)).and_then(Value::as_object);
        of_properties.into_iter().chain(of_event).flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let merge_with = match event.get("event").and_then(Value::as_str)? {
        "$identify" => text("$anon_distinct_id"),
        "$create_alias" | "$merge_dangerously" => text("alias"),
        _ => None,
    };
    let change = PersonChange {
        project: project.clone(),
        at_ms: event.get("timestamp").and_then(Value::as_i64)?,
        distinct_id: event.get("distinct_id").and_then(Value::as_str)?.to_owned(),
        merge_with,
        set: object("$set"),
        set_once: object("$set_once"),
    };
    let says_something = change.merge_with.is_some() || !change.set.is_empty() || !change.set_once.is_empty();
    says_something.then_some(change)
}

/// Spares most events the cost of a JSON tree.
fn mentions_a_person(line: &[u8]) -> bool {
    [&b"\"$set\""[..], b"\"$set_once\"", b"\"$identify\"", b"\"$create_alias\"", b"\"$merge_dangerously\""]
        .iter()
        .any(|needle| memchr::memmem::find(line, needle).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<PersonChange> {
        change(&"phc_test".parse().unwrap(), line.as_bytes())
    }

    #[test]
    fn an_identify_joins_two_ids_and_sets_properties() {
        let change = read(
            r#"{"kind":"event","event":"$identify","timestamp":5,"distinct_id":"ada","$set":{"email":"ada@example.org"},"properties":{"$anon_distinct_id":"anon","$set_once":{"first":1}}}"#,
        )
        .unwrap();
        assert_eq!((change.distinct_id.as_str(), change.merge_with.as_deref(), change.at_ms), ("ada", Some("anon"), 5));
        assert_eq!(change.set["email"], "ada@example.org");
        assert_eq!(change.set_once["first"], 1);
    }

    #[test]
    fn a_page_view_says_nothing_of_a_person() {
        let line = r#"{"kind":"event","event":"$pageview","timestamp":5,"distinct_id":"ada","properties":{}}"#;
        assert_eq!(read(line), None);
    }
}
