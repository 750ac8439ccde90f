//! Phones: bodies as the mobile SDKs make them. What they recorded is kept byte for byte.

use axum::http::{Request, StatusCode};
use serde_json::Value;

use crate::site::{Site, gzip, site, uuid};

/// Posts as a mobile SDK does.
async fn post(site: &Site, path: &str, user_agent: &str, content_type: &str, body: &str) {
    let request = Request::post(path)
        .header("content-type", content_type)
        .header("content-encoding", "gzip")
        .header("user-agent", user_agent);
    let reply = site.send(request.body(gzip(body.as_bytes())).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

/// The recorded events as they lie in the store.
async fn stored(site: &Site, session: &str, window: &str) -> Vec<String> {
    let before = format!("[\"{window}\",");
    let lines = site.lines(session).await.into_iter().map(|line| String::from_utf8(line).unwrap());
    lines.map(|line| line.strip_prefix(&before).unwrap().strip_suffix(']').unwrap().to_owned()).collect()
}

#[tokio::test]
async fn ios_wireframes_without_a_window_id_are_kept_byte_for_byte() {
    let site = site().await;
    let session = "7f0d1c6e-0000-7000-8000-00000000a0b1";
    let events = [
        r#"{"timestamp":1795226820022,"type":4,"data":{"width":390,"height":844,"href":"CheckoutView"}}"#,
        r##"{"timestamp":1795226820030,"data":{"initialOffset":{"top":0,"left":0},"wireframes":[{"id":4391,"x":0,"y":0,"width":390,"height":844,"style":{"backgroundColor":"#FFFFFF"},"childWireframes":[{"id":4392,"type":"text","text":"Zahlen \/ Pay","x":16.5,"y":91,"width":120,"height":20.333333333333332,"style":{"color":"#1A1A1A","fontSize":17,"fontFamily":".SFUI-Regular"}},{"id":4393,"type":"input","inputType":"text_area","value":"\u002a\u002a\u002a","x":16,"y":140,"width":358,"height":34,"disabled":false}]}]},"type":2}"##,
        r#"{"type":3,"timestamp":1795226821500,"data":{"id":0,"pointerType":2,"source":2,"type":7,"x":120,"y":101}}"#,
        r#"{"type":3,"timestamp":1795226821580,"data":{"id":0,"pointerType":2,"source":2,"type":9,"x":120,"y":101}}"#,
        r#"{"type":6,"timestamp":1795226821600,"data":{"plugin":"rrweb\/console@1","payload":{"level":"error","payload":"no network"}}}"#,
    ];
    let body = format!(
        r#"[{{"api_key":"phc_test","event":"$snapshot","distinct_id":"6B1C-ios","uuid":"{}","timestamp":"2026-11-21T02:07:00.022Z","properties":{{"$snapshot_source":"mobile","$snapshot_data":[{}],"$session_id":"{session}","distinct_id":"6B1C-ios"}}}}]"#,
        uuid(1),
        events.join(",")
    );
    post(&site, "/s/", "posthog-ios/3.69.3", "application/json; charset=utf-8", &body).await;
    assert_eq!(stored(&site, session, session).await, events, "the session stands in for the window");
    let recording = site.recording(session).await;
    assert_eq!((&recording["source"], &recording["library"]), (&"mobile".into(), &"posthog-ios".into()));
    assert_eq!((&recording["click_count"], &recording["console_error_count"]), (&1.into(), &1.into()));
    assert_eq!(recording["person"]["distinct_ids"], Value::from(vec!["6B1C-ios"]));
}

#[tokio::test]
async fn android_increments_of_several_sessions_in_one_array_are_split() {
    let site = site().await;
    let event = |kind: &str, at: u64| match kind {
        "meta" => format!(r#"{{"type":4,"timestamp":{at},"data":{{"href":"MainActivity","width":411,"height":891}}}}"#),
        "adds" => format!(
            r##"{{"type":3,"timestamp":{at},"data":{{"source":0,"adds":[{{"parentId":1,"wireframe":{{"id":77,"x":0,"y":24,"width":411,"height":56,"type":"navigation_bar","style":{{"bar":"navigation","iconLeft":"back"}}}}}}],"removes":[{{"id":12,"parentId":1}}],"updates":[]}}}}"##
        ),
        _ => format!(
            r#"{{"type":5,"timestamp":{at},"data":{{"tag":"keyboard","payload":{{"open":true,"height":302}}}}}}"#
        ),
    };
    let item = |number: u32, session: &str, events: &[String]| {
        format!(
            r#"{{"event":"$snapshot","distinct_id":"droid","properties":{{"$snapshot_source":"mobile","$snapshot_data":[{}],"$session_id":"{session}","token":"phc_test"}},"timestamp":"2026-11-21T02:07:00.022Z","uuid":"{}","api_key":"phc_test"}}"#,
            events.join(","),
            uuid(number)
        )
    };
    let first = [event("meta", 1_795_226_820_022), event("adds", 1_795_226_820_122)];
    let second = [event("meta", 1_795_226_920_022), event("keyboard", 1_795_226_920_122)];
    let body = format!("[{},{}]", item(1, "droid-one", &first), item(2, "droid-two", &second));
    post(&site, "/s/", "posthog-android/3.60.4", "application/json; charset=utf-8", &body).await;
    assert_eq!(stored(&site, "droid-one", "droid-one").await, first);
    assert_eq!(stored(&site, "droid-two", "droid-two").await, second);
}

#[tokio::test]
async fn flutter_screenshots_are_kept_as_they_are_and_named_by_the_user_agent() {
    let site = site().await;
    let picture = "data:image/webp;base64,UklGRh4AAABXRUJQVlA4TBEAAAAvAAAAAAfQ//73v/+BiOh/AAA=";
    let event = format!(
        r#"{{"type":2,"timestamp":1795226820030,"data":{{"wireframes":[{{"id":1,"x":0,"y":0,"width":360,"height":780,"type":"screenshot","base64":"{picture}","style":{{}}}}],"initialOffset":{{"top":0,"left":0}}}}}}"#
    );
    let body = format!(
        r#"[{{"api_key":"phc_test","event":"$snapshot","distinct_id":"f","properties":{{"$snapshot_source":"mobile","$snapshot_data":[{event}],"$session_id":"flutter-1","$window_id":"view-9"}},"timestamp":"2026-11-21T02:07:00Z","uuid":"{}"}}]"#,
        uuid(1)
    );
    post(&site, "/s/", "posthog-flutter/5.36.6", "application/json; charset=utf-8", &body).await;
    assert_eq!(stored(&site, "flutter-1", "view-9").await, [event]);
    assert_eq!(site.recording("flutter-1").await["library"], "posthog-flutter");
}

#[tokio::test]
async fn react_native_events_reach_the_recording_of_the_native_plugin() {
    let site = site().await;
    let page = r#"{"type":4,"timestamp":1795226820022,"data":{"width":390,"height":844,"href":"Home"}}"#;
    let replay = format!(
        r#"[{{"event":"$snapshot","distinct_id":"rn","api_key":"phc_test","uuid":"{}","properties":{{"$snapshot_source":"mobile","$snapshot_data":[{page}],"$session_id":"rn-1"}}}}]"#,
        uuid(1)
    );
    post(&site, "/s/", "posthog-ios/3.69.3", "application/json; charset=utf-8", &replay).await;
    let events = format!(
        r#"{{"api_key":"phc_test","batch":[{{"distinct_id":"rn","event":"$screen","properties":{{"$screen_name":"Home","$session_id":"rn-1","$lib":"posthog-react-native","$lib_version":"4.63.5"}},"type":"screen","library":"posthog-react-native","uuid":"{}","timestamp":"2026-11-21T02:07:01.000Z"}}],"sent_at":"2026-11-21T02:07:30.000Z"}}"#,
        uuid(2)
    );
    post(&site, "/batch/", "posthog-react-native/4.63.5", "application/json", &events).await;
    assert_eq!(stored(&site, "rn-1", "rn-1").await, [page]);
    let kept = site.events("rn-1").await;
    assert_eq!((&kept[0]["event"], &kept[0]["properties"]["$screen_name"]), (&"$screen".into(), &"Home".into()));
}

#[tokio::test]
async fn phones_may_ask_for_flags_and_config_in_their_own_spelling() {
    let site = site().await;
    for path in ["/flags?v=2", "/flags/?v=2"] {
        let body = gzip(br#"{"api_key":"phc_test","distinct_id":"d"}"#);
        let request = Request::post(path).header("content-encoding", "gzip").header("user-agent", "posthog-ios/3.69.3");
        let reply = site.send(request.body(body).unwrap()).await;
        assert_eq!((reply.status, reply.json()["sessionRecording"].is_object()), (StatusCode::OK, true), "{path}");
    }
}
