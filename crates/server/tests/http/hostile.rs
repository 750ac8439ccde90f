//! Hostile uploads: whatever they are, the server stays up, the neighbours are unharmed, and what is valid in them is
//! kept byte for byte. How much memory bombs take is measured on the real process, in `crates/reelcase/tests/bombs.rs`.

use axum::http::StatusCode;
use serde_json::json;

use crate::site::{SESSION, Site, gzip, one_snapshot, parse, roomy_site, site, snapshot, snapshot_of, upload_of, uuid};

/// The server still does its work.
async fn assert_unharmed(site: &Site) {
    site.keep(json!([snapshot("a-neighbour", &uuid(77))]).to_string()).await;
    assert_eq!(site.event_count("a-neighbour").await, 2);
}

#[tokio::test]
async fn bombs_of_every_make_are_refused() {
    let site = site().await;
    let blanks = vec![b' '; 1 << 20];
    let bomb = gzip(&blanks.repeat(80));
    let members = gzip(&blanks).repeat(80);
    let mut lying = bomb.clone();
    let size_at = lying.len() - 4;
    lying[size_at..].copy_from_slice(&100_u32.to_le_bytes());
    for (make, body) in [
        ("plain", bomb.clone()),
        ("twice", gzip(&bomb)),
        ("thrice", gzip(&gzip(&bomb))),
        ("members", members),
        ("a size that lies", lying),
        ("in a form", format!("data={}", crate::site::base64(&bomb).replace('+', "%2B")).into_bytes()),
        ("in base64", crate::site::base64(&bomb).into_bytes()),
        ("in a packed form", gzip(format!("data={}", crate::site::base64(&bomb)).as_bytes())),
    ] {
        let reply = site.post("/s/", "text/plain", body).await;
        let refused = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::BAD_REQUEST].contains(&reply.status);
        assert!(refused, "{make}: {}", reply.status);
    }
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn lz_string_that_repeats_itself_is_cut() {
    let site = site().await;
    // Codes that each stand for the word before them and one unit more: output grows with the square of the input.
    let body = format!("data={}&compression=lz64", "N4Ig".to_owned() + &"AAAA////".repeat(20_000));
    let reply = site.post("/s/?compression=lz64", "application/x-www-form-urlencoded", body).await;
    assert!(reply.status.is_client_error(), "{}", reply.status);
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn damaged_gzip_is_told_apart_from_events() {
    let site = site().await;
    let packed = gzip(one_snapshot().as_bytes());
    let mut wrong_sum = packed.clone();
    let sum_at = wrong_sum.len() - 8;
    wrong_sum[sum_at] ^= 1;
    for (what, body) in
        [("sum", wrong_sum), ("cut", packed[..packed.len() / 2].to_vec()), ("head", packed[..10].to_vec())]
    {
        let reply = site.post("/s/", "text/plain", body).await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_REQUEST, "malformed"), "{what}");
    }
    let trailing = [packed, vec![0; 100]].concat();
    site.keep(trailing).await;
    assert_eq!(site.event_count(SESSION).await, 2, "padding behind it is harmless");
}

#[tokio::test]
async fn odd_json_neither_breaks_the_server_nor_takes_long() {
    let site = roomy_site().await;
    let deep = 5_000_000;
    for (what, body, is_kept) in [
        ("deep", ["[".repeat(deep), "]".repeat(deep)].concat().into_bytes(), false),
        ("deep and open", "[".repeat(deep).into_bytes(), false),
        ("deep objects", "{\"a\":".repeat(1_000_000).into_bytes(), false),
        ("deep data", upload_of(SESSION, ["[".repeat(deep), "]".repeat(deep)].concat().as_bytes()), false),
        ("a long number", upload_of(SESSION, format!("[{}]", "9".repeat(10_000_000)).as_bytes()), true),
        ("a long string", upload_of(SESSION, format!("[\"{}\"]", "x".repeat(15_000_000)).as_bytes()), true),
        ("many keys", upload_of(SESSION, many_keys(500_000).as_bytes()), true),
        ("no number", upload_of(SESSION, b"[NaN]"), false),
        ("infinity", upload_of(SESSION, b"[-Infinity]"), false),
        ("a comment", upload_of(SESSION, b"[/* x */]"), false),
        ("single quotes", upload_of(SESSION, b"['x']"), false),
        ("UTF-16", "[{}]".encode_utf16().flat_map(u16::to_le_bytes).collect(), false),
        ("two documents", [one_snapshot(), one_snapshot()].concat().into_bytes(), false),
    ] {
        let reply = site.post("/s/", "text/plain", body).await;
        assert_eq!(reply.status.is_success(), is_kept, "{what}: {} {}", reply.status, reply.text());
        assert!(reply.status.is_success() || reply.status.is_client_error(), "{what}: {}", reply.status);
    }
    assert_unharmed(&site).await;
}

fn many_keys(count: usize) -> String {
    let members: Vec<_> = (0..count).map(|number| format!("\"k{number}\":{number}")).collect();
    format!("[{{\"type\":5,\"timestamp\":5,{}}}]", members.join(","))
}

#[tokio::test]
async fn a_key_that_comes_twice_decides_for_nobody_else() {
    let site = site().await;
    let twice = format!(
        r#"[{{"event":"$pageview","event":"$snapshot","properties":{{"token":"phc_test","$session_id":"first","$session_id":"second","$snapshot_data":[],"$snapshot_data":[{{"type":5,"timestamp":5,"data":{{}}}}]}}}},{}]"#,
        snapshot(SESSION, &uuid(1))
    );
    site.keep(twice).await;
    assert_eq!(site.recordings().await, [SESSION, "second"], "the last one counts, as in every browser");
}

#[tokio::test]
async fn text_that_is_no_unicode_is_kept_byte_for_byte() {
    let site = site().await;
    let mut events = vec![
        b"{\"type\":5,\"timestamp\":1,\"data\":\"\xff\xfe\"}".to_vec(),
        b"{\"type\":5,\"timestamp\":2,\"data\":\"\xed\xa0\x80\"}".to_vec(),
        b"{\"type\":5,\"timestamp\":3,\"data\":\"\xc0\xaf cut \xe2\x82\"}".to_vec(),
        "{\"type\":5,\"timestamp\":4,\"data\":\"\u{2028}\u{2029}\u{feff}\"}".as_bytes().to_vec(),
        b"{\"type\":5,\"timestamp\":5,\"data\":\"\x7f+AGE-\"}".to_vec(),
    ];
    // Every pair of escaped surrogates and plain characters that a cut through text can leave behind.
    let pieces = [r"\ud83d", r"\ude00", r"\uD83D", r"\uDE00", "a", r"\u0000", "é", r"\\", r"\/"];
    for (at, (left, right)) in pieces.iter().flat_map(|left| pieces.map(|right| (*left, right))).enumerate() {
        events.push(format!(r#"{{"type":5,"timestamp":{},"data":"{left}{right}"}}"#, 10 + at).into_bytes());
    }
    site.keep(gzip(&upload_of(SESSION, &[b"[".to_vec(), events.join(&b","[..]), b"]".to_vec()].concat()))).await;
    let expected: Vec<_> = events.iter().map(|event| [b"[\"w1\",", &event[..], b"]"].concat()).collect();
    assert_eq!(site.lines(SESSION).await, expected);
}

#[tokio::test]
async fn generated_events_are_kept_byte_for_byte() {
    let site = site().await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut events = Vec::new();
    for at in 0..10_000 {
        let mut text = Vec::new();
        for _ in 0..next(12) {
            match next(4) {
                0 => text.extend(format!("\\u{:04x}", 0xd7f0 + next(0x0820)).into_bytes()),
                1 => text.push(0x80 + next(0x80) as u8),
                2 => text.push(b'A' + next(26) as u8),
                _ => text.extend(b"\\u0000"),
            }
        }
        events.push([format!("{{\"type\":5,\"timestamp\":{at},\"data\":\"").as_bytes(), &text, b"\"}"].concat());
    }
    site.keep(upload_of(SESSION, &[b"[".to_vec(), events.join(&b","[..]), b"]".to_vec()].concat())).await;
    let expected: Vec<_> = events.iter().map(|event| [b"[\"w1\",", &event[..], b"]"].concat()).collect();
    assert!(site.lines(SESSION).await == expected, "some event was changed");
}

#[tokio::test]
async fn ids_that_are_paths_or_markup_name_nothing() {
    let site = site().await;
    let hostile = [
        "../../etc/passwd",
        "..",
        ".",
        "",
        "/",
        "a/b",
        "a\\b",
        "%2e%2e%2f",
        "a\0b",
        "a\r\nb",
        "a b",
        "\u{202e}gpj",
        "😀",
        "<script>",
        "${x}",
        "a'b",
        "a;b",
        "COM1:",
        "-x y",
        "\u{ff0e}\u{ff0e}",
    ];
    let mut upload: Vec<_> = (1..).zip(hostile).map(|(number, id)| snapshot(id, &uuid(number))).collect();
    upload.push(snapshot("CON", &uuid(900)));
    upload.push(snapshot("con", &uuid(901)));
    upload.push(snapshot("-rf", &uuid(902)));
    site.keep(json!(upload).to_string()).await;
    assert_eq!(site.recordings().await, ["-rf", "CON", "con"], "names that differ only in case are two recordings");
    let dropped = format!("reason=\"session_id_invalid\"}} {}", hostile.len());
    let metrics = site.metrics().await;
    assert!(metrics.contains(&dropped), "{metrics}");
}

#[tokio::test]
async fn windows_and_persons_may_be_called_anything() {
    let site = site().await;
    for (number, name) in (1..).zip(["../x", "a\"b\\c", "\u{0}\u{1f}", "\u{202e}", "<b>", "\u{2028}"]) {
        let event = json!([{ "type": 5, "timestamp": number, "data": {} }]);
        let mut upload = snapshot_of(SESSION, name, &uuid(number), event);
        upload["properties"]["distinct_id"] = json!(name);
        site.keep(json!([upload]).to_string()).await;
        let line = site.lines(SESSION).await.pop().unwrap();
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line[0], name);
    }
}

#[tokio::test]
async fn one_upload_of_thousands_of_recordings_is_sealed_like_any_other() {
    let site = site().await;
    let event = json!([{ "type": 5, "timestamp": 5, "data": {} }]);
    let upload: Vec<_> =
        (0..5_000).map(|number| snapshot_of(&format!("s-{number}"), "w", &uuid(number), event.clone())).collect();
    site.keep(gzip(json!(upload).to_string().as_bytes())).await;
    site.store.seal_all().await.unwrap();
    assert_eq!(site.event_count("s-0").await, 1);
    assert_eq!(site.event_count("s-4999").await, 1);
}

#[tokio::test]
async fn one_project_cannot_touch_the_recordings_of_another() {
    let site = site().await;
    site.keep(one_snapshot()).await;
    let forged = one_snapshot().replace("phc_test", "phc_other").replace("shop.example", "evil.example");
    site.keep(forged).await;
    site.store.seal_all().await.unwrap();
    let of = async |project: &str| {
        site.read(&format!("/api/recordings/{SESSION}?project={project}")).await.json()["start_url"].clone()
    };
    assert_eq!(of("phc_test").await, "https://shop.example/");
    assert_eq!(of("phc_other").await, "https://evil.example/");
}

/// Sends requests as they are, one after the other on a connection, and returns the statuses of all answers.
async fn statuses(site: &Site, bytes: &[u8]) -> Vec<String> {
    let answer = String::from_utf8_lossy(&site.exchange(bytes).await).into_owned();
    answer.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

#[tokio::test]
async fn requests_whose_length_can_be_read_in_two_ways_are_refused() {
    let site = site().await;
    let smuggled = "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for (what, head) in [
        ("both lengths", "content-length: 4\r\ntransfer-encoding: chunked"),
        ("both, the other way round", "transfer-encoding: chunked\r\ncontent-length: 4"),
        ("two lengths", "content-length: 4\r\ncontent-length: 60"),
        ("a list of lengths", "content-length: 4, 60"),
        ("a signed length", "content-length: +4"),
        ("a negative length", "content-length: -1"),
        ("a hexadecimal length", "content-length: 0x4"),
        ("a blank before the colon", "content-length : 4"),
        ("a folded length", "content-length:\r\n 4"),
        ("an unknown coding", "transfer-encoding: xchunked"),
        ("a coding after chunked", "transfer-encoding: chunked, identity"),
        ("a hidden coding", "transfer-encoding: \u{b}chunked"),
    ] {
        let bytes = format!("POST /s/ HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}");
        let statuses = statuses(&site, bytes.as_bytes()).await;
        assert!(!statuses.contains(&"200".to_owned()), "{what}: the second request was answered: {statuses:?}");
        assert!(statuses.len() <= 1, "{what}: {statuses:?}");
    }
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let site = site().await;
    for chunks in ["zz\r\n\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "4\r\nabcdX", "4;\r\nab"] {
        let bytes =
            format!("POST /s/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{chunks}");
        let mut stream = site.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, bytes.as_bytes()).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains(" 200 "), "{chunks:?}: {answer}");
    }
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn a_length_that_promises_more_than_comes_keeps_nothing() {
    let site = site().await;
    let mut stream = site.connect().await;
    let upload = one_snapshot();
    let bytes = format!("POST /s/ HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{upload}", upload.len() + 1);
    tokio::io::AsyncWriteExt::write_all(&mut stream, bytes.as_bytes()).await.unwrap();
    drop(stream);
    assert_unharmed(&site).await;
    assert_eq!(site.recordings().await, ["a-neighbour"]);
}

#[tokio::test]
async fn requests_may_follow_each_other_without_waiting() {
    let site = site().await;
    let mut bytes = Vec::new();
    for number in 1..=20 {
        let upload = json!([snapshot("in-a-row", &uuid(number))]).to_string();
        bytes.extend(
            format!("POST /s/ HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{upload}", upload.len()).into_bytes(),
        );
    }
    bytes.extend(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let statuses = statuses(&site, &bytes).await;
    assert_eq!(statuses, vec!["200"; 21]);
    assert_eq!(site.event_count("in-a-row").await, 40);
}

#[tokio::test]
async fn heads_are_bounded_in_length_and_number() {
    let site = site().await;
    let long = format!("GET /health HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 << 10));
    let many: String = (0..1_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let many = format!("GET /health HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    let target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(64 << 10));
    for bytes in [long, many, target, "GET /\u{1}\r\n\r\n".to_owned(), "\u{0}\u{1}\u{2}\r\n\r\n".to_owned()] {
        let answer = site.exchange(bytes.as_bytes()).await;
        assert!(answer.is_empty() || parse(&answer).status.is_client_error());
    }
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn paths_that_are_no_text_are_answered_and_not_followed() {
    let site = site().await;
    for path in [
        "/%",
        "/%ff%fe",
        "/s/%00",
        "/array/%ff/config.js",
        "/api/recordings/%2e%2e",
        "/static/%ff.js",
        "*",
        "//",
        "/?%zz=%",
    ] {
        let bytes = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let status = parse(&site.exchange(bytes.as_bytes()).await).status;
        assert!(!status.is_server_error(), "{path}: {status}");
    }
    let absolute = "GET http://evil.example/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(parse(&site.exchange(absolute.as_bytes()).await).status, StatusCode::OK, "we are nobody's proxy");
}
