//! Groups of conditions: each says by itself which sessions are recorded, and one that holds is enough.
//!
//! What is in a group is called, and may be, what it is as a setting of the whole project.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Flaw, TriggerMatch, check};

/// Settings that a group may have of its own, besides its name.
const CONDITIONS: [&str; 6] =
    ["sample_rate", "minimum_duration_ms", "url_triggers", "event_triggers", "linked_flag", "trigger_match"];

/// Conditions that go together. Without any it holds at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerGroup {
    /// What it is called, and what the draw of `sample_rate` depends on. No other group has it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// The part of the sessions in which its conditions hold that is recorded; all of them where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub sample_rate: Option<f64>,
    /// Sessions shorter than this are not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000)]
    pub minimum_duration_ms: Option<u32>,
    /// Regular expressions; one of them must fit the page's address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub url_triggers: Vec<String>,
    /// Names of events; the page must capture one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub event_triggers: Vec<String>,
    /// A feature flag that must be on, `flag` or `flag:variant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 400)]
    pub linked_flag: Option<String>,
    /// Whether addresses, events and flag must all hold, as where it is absent, or any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_match: Option<TriggerMatch>,
}

impl TriggerGroup {
    /// As clients read it.
    pub(super) fn in_config(&self) -> Value {
        let mut conditions = json!({ "matchType": self.trigger_match.unwrap_or(TriggerMatch::All) });
        if !self.url_triggers.is_empty() {
            let urls = self.url_triggers.iter().map(|url| json!({ "url": url, "matching": "regex" }));
            conditions["urls"] = urls.collect();
        }
        if !self.event_triggers.is_empty() {
            conditions["events"] = self.event_triggers.iter().map(|name| json!({ "name": name })).collect();
        }
        if let Some(flag) = self.linked_flag.as_deref().filter(|flag| !flag.is_empty()) {
            conditions["flag"] = flag_in_config(flag);
        }
        let mut group = json!({
            "id": self.name,
            "name": self.name,
            "sampleRate": self.sample_rate.unwrap_or(1.0),
            "conditions": conditions,
        });
        if let Some(duration_ms) = self.minimum_duration_ms.filter(|duration_ms| *duration_ms > 0) {
            group["minDurationMs"] = json!(duration_ms);
        }
        group
    }

    /// What a group in a config says, as far as it can be said here: filters by properties cannot.
    pub(super) fn of_config(group: &Value) -> Self {
        let conditions = &group["conditions"];
        let texts = |list: &Value, name: &str| {
            let items = list.as_array().into_iter().flatten();
            items.filter_map(|item| item[name].as_str()).map(str::to_owned).collect()
        };
        Self {
            name: group["name"].as_str().unwrap_or_default().to_owned(),
            sample_rate: group["sampleRate"].as_f64().filter(|rate| *rate < 1.0),
            minimum_duration_ms: group["minDurationMs"].as_u64().and_then(|number| u32::try_from(number).ok()),
            url_triggers: texts(&conditions["urls"], "url"),
            event_triggers: texts(&conditions["events"], "name"),
            linked_flag: flag_of_config(&conditions["flag"]),
            trigger_match: (conditions["matchType"] == "any").then_some(TriggerMatch::Any),
        }
    }
}

/// `flag`, or `flag:variant`, as clients read it.
pub(super) fn flag_in_config(flag: &str) -> Value {
    match flag.split_once(':') {
        Some((flag, variant)) => json!({ "flag": flag, "variant": variant }),
        None => json!(flag),
    }
}

/// The other way round.
pub(super) fn flag_of_config(flag: &Value) -> Option<String> {
    match (flag.as_str(), flag["flag"].as_str(), flag["variant"].as_str()) {
        (Some(flag), ..) | (None, Some(flag), None) => Some(flag.to_owned()),
        (None, Some(flag), Some(variant)) => Some(format!("{flag}:{variant}")),
        _ => None,
    }
}

/// What is wrong with a list of groups.
pub(super) fn flaws(field: &str, groups: &[Value], name_characters_max: usize) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let mut flaw = |message: String| flaws.push(Flaw { field: field.to_owned(), item: Some(index), message });
        let Some(members) = group.as_object() else {
            flaw("must be an object with a name".to_owned());
            continue;
        };
        let name = group["name"].as_str().map(str::trim).unwrap_or_default();
        if name.is_empty() || name.chars().count() > name_characters_max || name.contains(char::is_control) {
            flaw(format!("name must be one line of 1 to {name_characters_max} characters"));
        } else if groups[..index].iter().any(|other| other["name"] == group["name"]) {
            flaw(format!("name must be another than that of the others: {name}"));
        }
        for (of_group, value) in members.iter().filter(|(of_group, _)| *of_group != "name") {
            if !CONDITIONS.contains(&of_group.as_str()) {
                flaw(format!("{of_group} is nothing that a group has; it has name, {}", CONDITIONS.join(", ")));
                continue;
            }
            for found in check::check(of_group, value) {
                let at = found.item.map(|item| format!(", item {},", item + 1)).unwrap_or_default();
                flaw(format!("{of_group}{at} {}", found.message));
            }
        }
    }
    flaws
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(groups: &Value) -> String {
        let flaws = flaws("trigger_groups", groups.as_array().unwrap(), 100);
        flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_group_is_in_the_config_as_clients_read_it_and_can_be_read_back() {
        let group: TriggerGroup = serde_json::from_value(json!({
            "name": "checkout", "sample_rate": 0.5, "minimum_duration_ms": 2_000, "url_triggers": ["/pay"],
            "event_triggers": ["order placed"], "linked_flag": "replay:on", "trigger_match": "any",
        }))
        .unwrap();
        let expected = json!({
            "id": "checkout", "name": "checkout", "sampleRate": 0.5, "minDurationMs": 2_000,
            "conditions": {
                "matchType": "any", "urls": [{ "url": "/pay", "matching": "regex" }],
                "events": [{ "name": "order placed" }], "flag": { "flag": "replay", "variant": "on" },
            },
        });
        assert_eq!(group.in_config(), expected);
        assert_eq!(TriggerGroup::of_config(&expected), group);
        let bare = TriggerGroup { name: "all".to_owned(), ..TriggerGroup::default() };
        let config = json!({ "id": "all", "name": "all", "sampleRate": 1.0, "conditions": { "matchType": "all" } });
        assert_eq!(bare.in_config(), config);
        assert_eq!(TriggerGroup::of_config(&config), bare);
    }

    #[test]
    fn what_is_wrong_is_named_with_group_and_condition() {
        assert_eq!(message(&json!([{ "name": "a" }, { "name": "b", "sample_rate": 0, "url_triggers": ["/a"] }])), "");
        for (groups, expected) in [
            (json!([{}]), "item 1: name must be one line"),
            (json!([{ "name": "a" }, { "name": "a" }]), "item 2: name must be another"),
            (json!([{ "name": "a", "url_triggers": ["/a", "("] }]), "item 1: url_triggers, item 2, must be a regular"),
            (json!([{ "name": "a", "sample_rate": 2 }]), "item 1: sample_rate must be a number from 0 to 1"),
            (json!([{ "name": "a", "properties": [] }]), "item 1: properties is nothing that a group has"),
            (json!(["a"]), "item 1: must be an object"),
        ] {
            assert!(message(&groups).contains(expected), "{groups}: {}", message(&groups));
        }
    }
}
