//! The documents that tell posthog-js what to do, and what a project's settings change in them.
//!
//! A document is ours or an upstream's, and what nobody decided stays in it byte for byte. Settings are laid over both
//! in the same way, so that a setting means the same wherever the document comes from.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::trigger_group::{flag_in_config, flag_of_config};
use super::{RecorderScript, Settings, TriggerGroup, TriggerMatch};

/// Members of a document in which nothing is touched that need not be.
type Members = BTreeMap<String, Box<RawValue>>;

/// Pictures a second and their quality where canvas is switched on and nobody said: what clients since 1.257 take by
/// themselves. Older ones take none at all.
const CANVAS_FPS: u32 = 4;
const CANVAS_QUALITY: &str = "0.4";

/// What selects all text.
const ALL_TEXT: &str = "*";

/// Why a document could not be changed. It must not be handed on as it is: it may mask less than was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is no JSON object.
    #[error("the config is no JSON object: {0}")]
    NotJson(String),
    /// There is none.
    #[error("the answer to a request for the config is {0}")]
    Status(u16),
    /// It came in a coding that nobody asked for.
    #[error("the config is coded as {0}, although none was asked for")]
    Coded(String),
    /// It is longer than documents are.
    #[error("the config is longer than {0} bytes")]
    TooLarge(usize),
    /// Whose config it is, or what was decided about it, cannot be known.
    #[error("what was decided about this project cannot be known")]
    Undecided,
    /// Nothing in the script looks like a config.
    #[error("no config was found in the script")]
    NoConfig,
}

/// What we say where nobody decided anything: records, keeps bodies gzipped (without `supportedCompression` the client
/// falls back to plain JSON and a preflight for each request), and leaves everything off that would make the client
/// load further scripts.
pub fn default_document() -> Value {
    json!({
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": false,
        // Absent would keep autocapture off for new visitors.
        "autocapture_opt_out": false,
        "capturePerformance": { "network_timing": true, "web_vitals": false },
        "analytics": { "endpoint": "/i/v0/e/" },
        "elementsChainAsString": true,
        "defaultIdentifiedOnly": true,
        "surveys": false,
        "heatmaps": false,
        "captureDeadClicks": false,
        "autocaptureExceptions": false,
        "siteApps": [],
        "toolbarParams": {},
        "isAuthenticated": false,
        "sessionRecording": default_recording(),
    })
}

fn default_recording() -> Value {
    json!({
        "endpoint": "/s/",
        "recorderVersion": "v2",
        "consoleLogRecordingEnabled": true,
        "sampleRate": null,
        "minimumDurationMilliseconds": null,
        "linkedFlag": null,
        "networkPayloadCapture": null,
        "recordCanvas": false,
        "urlTriggers": [],
        "urlBlocklist": [],
        "eventTriggers": [],
    })
}

/// Our own document with what somebody decided.
pub fn document(settings: &Settings) -> Value {
    let applied = apply(settings, default_document().to_string().as_bytes());
    // Of a document that we wrote ourselves nothing can fail; if it did, nothing would be recorded.
    let document = applied.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    document.unwrap_or_else(|| json!({ "sessionRecording": false }))
}

/// Lays `settings` over a config in JSON.
///
/// An upstream that switched recording off (`false`, as over its quota) is overruled by `recording: true` alone. A
/// document that says nothing of recording is no config but a reply with flags, and stays as it is.
pub fn apply(settings: &Settings, upstream: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let not_json = |error: serde_json::Error| DocumentError::NotJson(error.to_string());
    let mut members: Members = serde_json::from_slice(upstream).map_err(not_json)?;
    if *settings == Settings::default() || !is_config(&members) {
        return Ok(upstream.to_vec());
    }
    let was: Value = members
        .get("sessionRecording")
        .map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get()))
        .map_err(not_json)?;
    let is_on = settings.recording.unwrap_or(was.is_object());
    if !is_on {
        if settings.recording == Some(false) {
            put(&mut members, "sessionRecording", false);
        }
        return serde_json::to_vec(&members).map_err(not_json);
    }
    let mut recording = match members.get("sessionRecording") {
        Some(raw) if was.is_object() => serde_json::from_str(raw.get()).map_err(not_json)?,
        _ => members_of(default_recording()),
    };
    lay_over(settings, &mut recording);
    put(&mut members, "sessionRecording", recording);
    if let Some(timing) = settings.network_timing {
        let was = value_in(&members, "capturePerformance");
        put(&mut members, "capturePerformance", performance(&was, timing));
    }
    if settings.recording == Some(true) {
        lift_quota(&mut members);
    }
    serde_json::to_vec(&members).map_err(not_json)
}

/// Whether a reply tells a client what to record, and not flags alone.
pub fn is_config_document(upstream: &[u8]) -> Result<bool, DocumentError> {
    let members: Members =
        serde_json::from_slice(upstream).map_err(|error| DocumentError::NotJson(error.to_string()))?;
    Ok(is_config(&members))
}

/// Lays `settings` over the config within a script: `config.js`, or a bundle that begins with it.
pub fn apply_to_script(settings: &Settings, upstream: &str) -> Result<String, DocumentError> {
    if *settings == Settings::default() {
        return Ok(upstream.to_owned());
    }
    for (at, name) in upstream.match_indices("config") {
        let rest = &upstream[at + name.len()..];
        let value = rest.trim_start_matches(['"', '\'', ' ']);
        let Some(value) = value.strip_prefix(':').map(str::trim_start) else { continue };
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<&RawValue>();
        let Some(Ok(found)) = values.next() else { continue };
        let is_config = serde_json::from_str::<Members>(found.get()).is_ok_and(|members| is_config(&members));
        if is_config {
            let config = apply(settings, found.get().as_bytes())?;
            let config = escape_for_script(&String::from_utf8_lossy(&config));
            let start = upstream.len() - value.len();
            return Ok([&upstream[..start], &config, &value[found.get().len()..]].concat());
        }
    }
    Err(DocumentError::NoConfig)
}

/// Makes JSON safe within a script element and within old JavaScript, where two kinds of line break end a string.
pub fn escape_for_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// What a document says, as settings: what an override is shown beside. Says nothing of what a document does not tell.
pub fn values_of(document: &Value) -> Settings {
    let recording = &document["sessionRecording"];
    if recording.is_null() {
        return Settings::default();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let whole = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let texts = |list: &Value, read: fn(&Value) -> &Value| {
        list.as_array().map(|list| list.iter().map(|item| text(read(item))).collect::<Vec<_>>())
    };
    let masked_text = recording["masking"]["maskTextSelector"].as_str();
    Settings {
        recording: Some(recording.is_object()),
        sample_rate: number(&recording["sampleRate"]),
        minimum_duration_ms: whole(&recording["minimumDurationMilliseconds"]),
        url_triggers: texts(&recording["urlTriggers"], |trigger| &trigger["url"]),
        event_triggers: texts(&recording["eventTriggers"], |name| name),
        trigger_match: serde_json::from_value(recording["triggerMatchType"].clone()).ok(),
        linked_flag: flag_of_config(&recording["linkedFlag"]),
        trigger_groups: recording["triggerGroups"]
            .as_array()
            .map(|groups| groups.iter().map(TriggerGroup::of_config).collect()),
        url_blocklist: texts(&recording["urlBlocklist"], |blocked| &blocked["url"]),
        mask_inputs: recording["masking"]["maskAllInputs"].as_bool(),
        mask_all_text: masked_text.map(|selector| selector == ALL_TEXT),
        mask_text_selector: masked_text.filter(|selector| *selector != ALL_TEXT).map(str::to_owned),
        block_selector: recording["masking"]["blockSelector"].as_str().map(str::to_owned),
        console_log: recording["consoleLogRecordingEnabled"].as_bool(),
        network_timing: match &document["capturePerformance"] {
            Value::Bool(all) => Some(*all),
            performance => performance["network_timing"].as_bool(),
        },
        network_headers: recording["networkPayloadCapture"]["recordHeaders"].as_bool(),
        network_bodies: recording["networkPayloadCapture"]["recordBody"].as_bool(),
        canvas: recording["recordCanvas"].as_bool(),
        canvas_fps: whole(&recording["canvasFps"]),
        canvas_quality: number(&recording["canvasQuality"]),
        domains: None,
        script_pins: None,
        recorder_script: serde_json::from_value(recording["scriptConfig"]["script"].clone()).ok(),
    }
}

/// Replies with flags alone have neither.
fn is_config(members: &Members) -> bool {
    members.contains_key("sessionRecording") || members.contains_key("supportedCompression")
}

fn lay_over(settings: &Settings, recording: &mut Members) {
    lay_conditions_over(settings, recording);
    lay_masking_over(settings, recording);
    let patterns =
        |list: &[String]| list.iter().map(|url| json!({ "url": url, "matching": "regex" })).collect::<Value>();
    if let Some(list) = &settings.url_blocklist {
        put(recording, "urlBlocklist", patterns(list));
    }
    if let Some(console) = settings.console_log {
        put(recording, "consoleLogRecordingEnabled", console);
    }
    if settings.network_headers.is_some() || settings.network_bodies.is_some() {
        let mut capture = object_in(recording, "networkPayloadCapture");
        settings.network_headers.inspect(|headers| drop(capture.insert("recordHeaders".into(), json!(headers))));
        settings.network_bodies.inspect(|bodies| drop(capture.insert("recordBody".into(), json!(bodies))));
        put(recording, "networkPayloadCapture", capture);
    }
    if let Some(canvas) = settings.canvas {
        put(recording, "recordCanvas", canvas);
    }
    if let Some(fps) = settings
        .canvas_fps
        .or((is_missing(recording, "canvasFps") && settings.canvas == Some(true)).then_some(CANVAS_FPS))
    {
        put(recording, "canvasFps", fps);
    }
    match settings.canvas_quality {
        // As PostHog writes it.
        Some(quality) => put(recording, "canvasQuality", quality.to_string()),
        None if settings.canvas == Some(true) && is_missing(recording, "canvasQuality") => {
            put(recording, "canvasQuality", CANVAS_QUALITY);
        }
        None => (),
    }
    match settings.recorder_script {
        Some(RecorderScript::Auto) => drop(recording.remove("scriptConfig")),
        Some(script) => put(recording, "scriptConfig", json!({ "script": script })),
        None => (),
    }
}

/// Sampling, triggers and the flag. An upstream may have them in groups, which would replace all that is set here.
fn lay_conditions_over(settings: &Settings, recording: &mut Members) {
    let Settings { sample_rate, minimum_duration_ms, url_triggers, event_triggers, trigger_match, linked_flag, .. } =
        settings;
    if let Some(rate) = sample_rate {
        // Null is all of it: some clients take "1.00" for something to decide.
        put(recording, "sampleRate", (*rate < 1.0).then(|| rate.to_string()));
    }
    if let Some(duration_ms) = minimum_duration_ms {
        put(recording, "minimumDurationMilliseconds", Some(duration_ms).filter(|duration_ms| **duration_ms > 0));
    }
    if let Some(list) = url_triggers {
        let triggers: Value = list.iter().map(|url| json!({ "url": url, "matching": "regex" })).collect();
        put(recording, "urlTriggers", triggers);
    }
    if let Some(list) = event_triggers {
        put(recording, "eventTriggers", list);
    }
    if let Some(TriggerMatch::All | TriggerMatch::Any) = trigger_match {
        put(recording, "triggerMatchType", trigger_match);
    }
    if let Some(flag) = linked_flag {
        put(recording, "linkedFlag", if flag.is_empty() { Value::Null } else { flag_in_config(flag) });
    }
    let conditions = [
        sample_rate.is_some(),
        minimum_duration_ms.is_some(),
        url_triggers.is_some(),
        event_triggers.is_some(),
        trigger_match.is_some(),
        linked_flag.is_some(),
    ];
    match &settings.trigger_groups {
        // Older clients keep to what is above.
        Some(groups) if !groups.is_empty() => {
            put(recording, "version", 2);
            put(recording, "triggerGroups", groups.iter().map(TriggerGroup::in_config).collect::<Value>());
        }
        Some(_) => without_groups(recording),
        None if conditions.contains(&true) => without_groups(recording),
        None => (),
    }
}

fn without_groups(recording: &mut Members) {
    if recording.remove("triggerGroups").is_some() {
        put(recording, "version", 1);
    }
}

fn lay_masking_over(settings: &Settings, recording: &mut Members) {
    let Settings { mask_inputs, mask_all_text, mask_text_selector, block_selector, .. } = settings;
    if mask_inputs.is_none() && mask_all_text.is_none() && mask_text_selector.is_none() && block_selector.is_none() {
        return;
    }
    let mut masking = object_in(recording, "masking");
    if let Some(inputs) = mask_inputs {
        masking.insert("maskAllInputs".into(), json!(inputs));
    }
    let was_all = masking.get("maskTextSelector").is_some_and(|selector| selector == ALL_TEXT);
    let selector = match (mask_all_text, mask_text_selector) {
        (Some(true), _) => Some(ALL_TEXT),
        // All of it is more than some of it, and nobody said that it should be less.
        (None, Some(_)) if was_all => None,
        (_, Some(selector)) => Some(selector.as_str()),
        (Some(false), None) if was_all => Some(""),
        (_, None) => None,
    };
    for (name, selector) in [("maskTextSelector", selector), ("blockSelector", block_selector.as_deref())] {
        match selector {
            Some("") => drop(masking.remove(name)),
            Some(selector) => drop(masking.insert(name.into(), json!(selector))),
            None => (),
        }
    }
    put(recording, "masking", masking);
}

/// `capturePerformance` is one switch for everything, or one for each thing.
fn performance(was: &Value, timing: bool) -> Value {
    match was {
        Value::Object(members) => {
            let mut members = members.clone();
            members.insert("network_timing".into(), json!(timing));
            Value::Object(members)
        }
        all => json!({ "network_timing": timing, "web_vitals": *all == true }),
    }
}

/// Takes recordings off the list of what the upstream's quota has ended.
fn lift_quota(members: &mut Members) {
    if let Value::Array(limited) = value_in(members, "quotaLimited") {
        let limited: Vec<_> = limited.into_iter().filter(|what| what != "recordings").collect();
        put(members, "quotaLimited", limited);
    }
}

fn put(members: &mut Members, name: &str, value: impl Serialize) {
    if let Ok(raw) = serde_json::value::to_raw_value(&value) {
        members.insert(name.to_owned(), raw);
    }
}

fn value_in(members: &Members, name: &str) -> Value {
    members.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn object_in(members: &Members, name: &str) -> Map<String, Value> {
    match value_in(members, name) {
        Value::Object(found) => found,
        _ => Map::new(),
    }
}

fn is_missing(members: &Members, name: &str) -> bool {
    value_in(members, name).is_null()
}

fn members_of(value: Value) -> Members {
    serde_json::from_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::FIELDS;

    fn settings(values: Value) -> Settings {
        Settings::parse(values.as_object().unwrap()).unwrap()
    }

    fn applied(values: Value, upstream: &Value) -> Value {
        serde_json::from_slice(&apply(&settings(values), upstream.to_string().as_bytes()).unwrap()).unwrap()
    }

    /// What PostHog's config looks like, shortened.
    fn upstream() -> Value {
        json!({
            "token": "phc_up",
            "supportedCompression": ["gzip", "gzip-js"],
            "hasFeatureFlags": true,
            "capturePerformance": true,
            "of_tomorrow": { "kept": [1, 2] },
            "sessionRecording": {
                "endpoint": "/s/", "sampleRate": "0.10", "linkedFlag": { "flag": "replay", "variant": "on" },
                "masking": { "maskAllInputs": false, "of_tomorrow": true },
                "urlTriggers": [{ "url": "/cart", "matching": "regex" }],
                "scriptConfig": { "script": "posthog-recorder" },
            },
        })
    }

    #[test]
    fn nothing_decided_changes_no_byte() {
        let odd = "{ \"b\":1.50,  \"sessionRecording\": {\"sampleRate\":\"0.10\"} }";
        assert_eq!(apply(&Settings::default(), odd.as_bytes()).unwrap(), odd.as_bytes());
        assert_eq!(apply_to_script(&Settings::default(), "whatever").unwrap(), "whatever");
        let changed = applied(json!({ "canvas": true }), &upstream());
        assert_eq!((&changed["of_tomorrow"], &changed["token"]), (&upstream()["of_tomorrow"], &json!("phc_up")));
        assert_eq!(changed["sessionRecording"]["sampleRate"], "0.10", "as the upstream wrote it");
    }

    #[test]
    fn every_setting_is_in_the_document_and_can_be_read_back() {
        for (name, value) in [
            ("recording", json!(false)),
            ("sample_rate", json!(0.25)),
            ("minimum_duration_ms", json!(5_000)),
            ("url_triggers", json!(["/a", "/b"])),
            ("event_triggers", json!(["paid"])),
            ("trigger_match", json!("any")),
            ("linked_flag", json!("replay:on")),
            (
                "trigger_groups",
                json!([{ "name": "pay", "url_triggers": ["/pay"] }, { "name": "a", "sample_rate": 0.5 }]),
            ),
            ("url_blocklist", json!(["/pin"])),
            ("mask_inputs", json!(false)),
            ("mask_all_text", json!(true)),
            ("mask_text_selector", json!(".name")),
            ("block_selector", json!("#map")),
            ("console_log", json!(false)),
            ("network_timing", json!(false)),
            ("network_headers", json!(true)),
            ("network_bodies", json!(true)),
            ("canvas", json!(true)),
            ("canvas_fps", json!(2)),
            ("canvas_quality", json!(0.9)),
            ("recorder_script", json!("recorder")),
        ] {
            let document = document(&settings(json!({ name: value })));
            assert_eq!(values_of(&document).values()[name], value, "{document}");
        }
        let in_documents = FIELDS.iter().filter(|field| !["domains", "script_pins"].contains(&field.name)).count();
        assert_eq!(in_documents, 21, "a new setting belongs into the list above");
    }

    #[test]
    fn every_default_says_what_is_said_without_it() {
        let plain = values_of(&default_document()).values();
        for field in FIELDS {
            let document = document(&settings(json!({ field.name: field.default_value() })));
            let said = values_of(&document).values();
            for (name, value) in &plain {
                assert_eq!(said.get(name), Some(value), "{}", field.name);
            }
        }
    }

    #[test]
    fn recording_goes_on_although_the_upstreams_quota_ended_it() {
        let mut limited = upstream();
        limited["sessionRecording"] = json!(false);
        limited["quotaLimited"] = json!(["recordings", "feature_flags"]);
        let changed = applied(json!({ "recording": true, "sample_rate": 0.5 }), &limited);
        assert_eq!(changed["sessionRecording"]["endpoint"], "/s/");
        assert_eq!(changed["sessionRecording"]["sampleRate"], "0.5");
        assert_eq!(changed["quotaLimited"], json!(["feature_flags"]));
        let left = applied(json!({ "sample_rate": 0.5 }), &limited);
        assert_eq!((&left["sessionRecording"], &left["quotaLimited"]), (&json!(false), &limited["quotaLimited"]));
        assert_eq!(applied(json!({ "recording": false }), &upstream())["sessionRecording"], false);
    }

    #[test]
    fn masking_becomes_stricter_and_keeps_what_else_the_upstream_masks() {
        let changed =
            applied(json!({ "mask_inputs": true, "mask_all_text": true, "block_selector": "img" }), &upstream());
        let expected =
            json!({ "maskAllInputs": true, "maskTextSelector": "*", "blockSelector": "img", "of_tomorrow": true });
        assert_eq!(changed["sessionRecording"]["masking"], expected);
        let mut strict = upstream();
        strict["sessionRecording"]["masking"] = json!({ "maskTextSelector": "*" });
        let masking = |values| applied(values, &strict)["sessionRecording"]["masking"].clone();
        assert_eq!(masking(json!({ "mask_text_selector": ".a" })), json!({ "maskTextSelector": "*" }));
        assert_eq!(masking(json!({ "mask_all_text": false })), json!({}));
        assert_eq!(
            masking(json!({ "mask_all_text": false, "mask_text_selector": ".a" })),
            json!({ "maskTextSelector": ".a" })
        );
    }

    #[test]
    fn an_explicit_value_takes_the_upstreams_away_even_if_it_is_our_default() {
        let changed = applied(
            json!({ "sample_rate": 1, "linked_flag": "", "url_triggers": [], "recorder_script": "auto", "network_timing": false }),
            &upstream(),
        );
        let recording = &changed["sessionRecording"];
        assert_eq!((&recording["sampleRate"], &recording["linkedFlag"]), (&Value::Null, &Value::Null));
        assert_eq!((&recording["urlTriggers"], recording.get("scriptConfig")), (&json!([]), None));
        assert_eq!(changed["capturePerformance"], json!({ "network_timing": false, "web_vitals": true }));
    }

    #[test]
    fn groups_of_triggers_give_way_to_conditions_and_to_nothing_else() {
        let mut grouped = upstream();
        grouped["sessionRecording"]["version"] = json!(2);
        grouped["sessionRecording"]["triggerGroups"] = json!([{ "id": "g", "sampleRate": 1, "conditions": {} }]);
        let changed = applied(json!({ "sample_rate": 0 }), &grouped);
        assert_eq!(
            (&changed["sessionRecording"]["version"], changed["sessionRecording"].get("triggerGroups")),
            (&json!(1), None)
        );
        let none = applied(json!({ "trigger_groups": [] }), &grouped);
        assert_eq!(none["sessionRecording"].get("triggerGroups"), None);
        let ours = applied(json!({ "trigger_groups": [{ "name": "ours" }], "sample_rate": 0 }), &upstream());
        assert_eq!(ours["sessionRecording"]["version"], 2);
        assert_eq!(ours["sessionRecording"]["triggerGroups"][0]["id"], "ours");
        assert_eq!(ours["sessionRecording"]["sampleRate"], "0", "for clients that know no groups");
        let kept = applied(json!({ "mask_inputs": true }), &grouped);
        assert_eq!(kept["sessionRecording"]["triggerGroups"], grouped["sessionRecording"]["triggerGroups"]);
    }

    #[test]
    fn a_reply_with_flags_alone_stays_as_it_is() {
        let flags = json!({ "flags": { "a": { "enabled": true } }, "requestId": "1" });
        assert_eq!(applied(json!({ "recording": true }), &flags), flags);
        let no_news = json!({ "supportedCompression": ["gzip-js"] });
        assert!(applied(json!({ "recording": true }), &no_news)["sessionRecording"].is_object());
        assert_eq!(applied(json!({ "canvas": true }), &no_news), no_news);
    }

    #[test]
    fn the_config_within_a_script_is_changed_and_nothing_around_it() {
        let (before, after) = (
            "(function() {\n  window._POSTHOG_REMOTE_CONFIG = window._POSTHOG_REMOTE_CONFIG || {};\n  \
             window._POSTHOG_REMOTE_CONFIG['phc_up'] = {\n    config: ",
            ",\n    siteApps: [{ id: 'x', init: function(config) { return {config: {}} } }]\n  }\n})();",
        );
        let script = format!("{before}{}{after}", upstream());
        let changed = apply_to_script(&settings(json!({ "block_selector": "a[title='</script>']" })), &script).unwrap();
        let config = changed.strip_prefix(before).unwrap().strip_suffix(after).unwrap();
        assert!(!config.contains('<'), "{config}");
        let config: Value = serde_json::from_str(config).unwrap();
        assert_eq!(config["sessionRecording"]["masking"]["blockSelector"], "a[title='</script>']");
        assert_eq!(config["of_tomorrow"], upstream()["of_tomorrow"]);
    }

    #[test]
    fn what_cannot_be_changed_is_an_error_and_never_handed_on() {
        let strict = settings(json!({ "mask_all_text": true }));
        assert!(matches!(apply(&strict, b"<html>"), Err(DocumentError::NotJson(_))));
        assert!(matches!(apply(&strict, b"[]"), Err(DocumentError::NotJson(_))));
        assert_eq!(apply_to_script(&strict, "(function(){})()"), Err(DocumentError::NoConfig));
    }

    #[test]
    fn scripts_cannot_be_broken_out_of() {
        assert_eq!(escape_for_script("\"</script>\u{2028}\u{2029}\""), "\"\\u003c/script>\\u2028\\u2029\"");
    }
}
