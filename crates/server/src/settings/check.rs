//! Says of a value what is allowed in its place.

use serde_json::Value;

use super::field::{Field, Item, Kind};
use super::{FIELDS, Flaw, ScriptPin, domain, selector, trigger_group};

/// What is wrong with `value` as the setting `name`; nothing where it is fine.
pub(super) fn check(name: &str, value: &Value) -> Vec<Flaw> {
    let flaw = |item, message: String| Flaw { field: name.to_owned(), item, message };
    let Some(field) = Field::named(name) else {
        return vec![flaw(None, unknown(name))];
    };
    match &field.kind {
        Kind::Switch { .. } if value.is_boolean() => Vec::new(),
        Kind::Switch { .. } => vec![flaw(None, "must be true or false".to_owned())],
        Kind::Share { .. } => match value.as_f64() {
            Some(share) if (0.0..=1.0).contains(&share) => Vec::new(),
            _ => vec![flaw(None, "must be a number from 0 to 1".to_owned())],
        },
        Kind::Whole { min, max, .. } => match value.as_u64() {
            Some(number) if (u64::from(*min)..=u64::from(*max)).contains(&number) => Vec::new(),
            _ => vec![flaw(None, format!("must be a whole number from {min} to {max}"))],
        },
        Kind::Choice { options, .. } if options.iter().any(|option| value == option.value) => Vec::new(),
        Kind::Choice { options, .. } => {
            let words: Vec<_> = options.iter().map(|option| option.value).collect();
            vec![flaw(None, format!("must be one of {}", words.join(", ")))]
        }
        Kind::Groups { items_max, characters_max } => match value.as_array() {
            None => vec![flaw(None, "must be a list of groups".to_owned())],
            Some(groups) if groups.len() > *items_max => {
                vec![flaw(None, format!("must not have more than {items_max} groups"))]
            }
            Some(groups) => trigger_group::flaws(name, groups, *characters_max),
        },
        Kind::Text { item, characters_max } => match value.as_str() {
            Some("") => Vec::new(),
            Some(text) => {
                text_flaw(*item, text, *characters_max).map(|message| flaw(None, message)).into_iter().collect()
            }
            None => vec![flaw(None, "must be a text".to_owned())],
        },
        Kind::List { item, items_max, characters_max } => match value.as_array() {
            None => vec![flaw(None, "must be a list of texts".to_owned())],
            Some(items) if items.len() > *items_max => {
                vec![flaw(None, format!("must not have more than {items_max} items"))]
            }
            Some(items) => items
                .iter()
                .enumerate()
                .filter_map(|(index, text)| {
                    let message = match text.as_str() {
                        Some(text) => text_flaw(*item, text, *characters_max)?,
                        None => "must be a text".to_owned(),
                    };
                    Some(flaw(Some(index), message))
                })
                .collect(),
        },
    }
}

fn text_flaw(item: Item, text: &str, characters_max: usize) -> Option<String> {
    if text.trim().is_empty() {
        return Some("must not be empty".to_owned());
    }
    if text.chars().count() > characters_max {
        return Some(format!("must not be longer than {characters_max} characters"));
    }
    if text.contains(char::is_control) {
        return Some("must be one line of plain text".to_owned());
    }
    match item {
        Item::Pattern => regress::Regex::new(text).err().map(|error| {
            format!("must be a regular expression of JavaScript, such as ^https://shop\\.example/checkout: {error}")
        }),
        Item::Selector => {
            selector::flaw(text).map(|found| format!("must be a CSS selector, such as .card, #pin: {found}"))
        }
        Item::Domain if domain::host_of(text).is_none() => {
            Some("must be the address of a site, such as https://shop.example or https://*.shop.example".to_owned())
        }
        Item::Flag if !is_flag(text) => {
            Some("must be a flag such as replay-v2, or flag and variant such as replay-v2:on".to_owned())
        }
        Item::ScriptPin if ScriptPin::parse(text).is_none() => Some(
            "must be a script, its release and its SHA-256 in 64 hex digits, such as lazy-recorder.js@1.449.2=9f86…"
                .to_owned(),
        ),
        Item::Domain | Item::Flag | Item::Event | Item::ScriptPin => None,
    }
}

fn is_flag(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && !name.contains([':', ' ']);
    match text.split_once(':') {
        Some((flag, variant)) => is_name(flag) && is_name(variant),
        None => is_name(text),
    }
}

/// Names the setting that was probably meant.
fn unknown(name: &str) -> String {
    let shared = |known: &str| {
        let letters = |text: &str| {
            text.bytes().filter(u8::is_ascii_alphabetic).map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>()
        };
        let (mut given, known) = (letters(name), letters(known));
        let both = known
            .iter()
            .filter(|letter| match given.iter().position(|other| other == *letter) {
                Some(at) => {
                    given.swap_remove(at);
                    true
                }
                None => false,
            })
            .count();
        (both, usize::MAX - known.len())
    };
    match FIELDS.iter().max_by_key(|field| shared(field.name)) {
        Some(near) => format!("is no setting; the nearest is {}", near.name),
        None => "is no setting".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(name: &str, value: Value) -> String {
        check(name, &value).first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn both_sides_of_each_limit() {
        for (name, good, bad) in [
            ("sample_rate", json!(1), json!(1.01)),
            ("sample_rate", json!(0), json!(-0.01)),
            ("minimum_duration_ms", json!(60_000), json!(60_001)),
            ("canvas_fps", json!(12), json!(13)),
            ("canvas_fps", json!(1), json!(0)),
            ("url_triggers", json!(vec!["a"; 100]), json!(vec!["a"; 101])),
            ("event_triggers", json!(["e".repeat(200)]), json!(["e".repeat(201)])),
            ("block_selector", json!("b".repeat(2_000)), json!("b".repeat(2_001))),
            ("trigger_match", json!("any"), json!("some")),
            ("recording", json!(false), json!("false")),
            ("event_triggers", json!([]), json!("e")),
            ("mask_text_selector", json!(""), json!(["p"])),
        ] {
            assert_eq!(message(name, good.clone()), "", "{name} {good}");
            assert_ne!(message(name, bad.clone()), "", "{name} {bad}");
        }
    }

    #[test]
    fn patterns_are_those_of_javascript() {
        for good in [
            "^https://shop\\.example/(?:cart|pay)",
            "(?<=a)b",
            "(?<year>\\d{4})-\\k<year>",
            "\\/products\\/[^/]+$",
            "a{,5}",
        ] {
            assert_eq!(message("url_triggers", json!([good])), "", "{good}");
        }
        for bad in ["(", "a**", "[z-a]", "(?<n>a)(?<n>b)", "(?P<n>a)"] {
            assert!(
                message("url_triggers", json!(["ok", bad])).starts_with("url_triggers, item 2: must be a regular"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_pin_names_script_release_and_hash() {
        let hash = "0123456789abcdef".repeat(4);
        assert_eq!(message("script_pins", json!([format!("lazy-recorder.js@1.449.2={hash}")])), "");
        for bad in ["lazy-recorder.js", "lazy-recorder.js@1.449.2", "lazy-recorder.js@1.449.2=abc", "../x.js@1.4.2="] {
            assert_ne!(
                message("script_pins", json!([format!("{bad}{}", if bad.ends_with('=') { &hash } else { "" })])),
                "",
                "{bad}"
            );
        }
    }

    #[test]
    fn flags_may_name_a_variant() {
        assert_eq!(message("linked_flag", json!("replay-v2:blue")), "");
        for bad in ["a:b:c", ":b", "a:", "a b"] {
            assert_ne!(message("linked_flag", json!(bad)), "", "{bad}");
        }
    }
}
