//! What other sites, other hosts and strangers can do to the pages and the API: nothing.

use axum::http::{Request, StatusCode};

use crate::site::{PAGE, SECRET, SESSION, Site, one_snapshot, site, site_with};

/// Every route that needs access to be read.
const PRIVATE: [&str; 29] = [
    "/api/info",
    "/api/recordings",
    "/api/recordings/some-id",
    "/api/recordings/some-id/blocks",
    "/api/recordings/some-id/blocks/object/0",
    "/api/recordings/some-id/export",
    "/api/recordings/some-id/notes",
    "/api/exports",
    "/api/tags",
    "/api/count",
    "/api/collections",
    "/api/collections/some-id",
    "/api/filters",
    "/api/projects",
    "/api/projects/phc_some",
    "/api/projects/phc_some/keys",
    "/api/projects/phc_some/persons",
    "/api/projects/phc_some/session_recordings",
    "/api/projects/phc_some/session_recordings/some-id",
    "/api/projects/phc_some/session_recordings/some-id/snapshots",
    "/api/projects/phc_some/settings",
    "/api/projects/phc_some/upstream",
    "/api/settings",
    "/api/shares",
    "/api/doctor",
    "/api/trial/some-id",
    "/api/upstream",
    "/api/webhooks",
    "/metrics",
];

/// Every route that changes something, or is asked as if it did.
const CHANGING: [(&str, &str); 18] = [
    ("PUT", "/api/projects/some-key/mode"),
    ("DELETE", "/api/projects/some-key/keys/another"),
    ("POST", "/api/projects/some-key/query"),
    ("POST", "/api/import"),
    ("PUT", "/api/exports/some-name"),
    ("POST", "/api/exports/some-name/run"),
    ("POST", "/api/trial"),
    ("POST", "/api/recordings/some-id/shares"),
    ("POST", "/api/recordings/some-id/comments"),
    ("POST", "/api/collections/some-id/recordings"),
    ("POST", "/api/collections/some-id/shares"),
    ("DELETE", "/api/collections/some-id/recordings/another"),
    ("DELETE", "/api/filters/some-id"),
    ("PATCH", "/api/recordings/some-id/comments/another"),
    ("DELETE", "/api/shares/some-id"),
    ("PUT", "/api/shares/some-id/picture"),
    ("PATCH", "/api/webhooks/some-id"),
    ("POST", "/api/webhooks/some-id/test"),
];

/// The cookie that a browser has after the link was opened.
async fn cookie(site: &Site) -> String {
    let reply = site.get(&format!("/?token={SECRET}")).await;
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_read_api_needs_access_and_reflects_no_origin() {
    let site = site().await;
    for path in PRIVATE {
        let reply = site.get(path).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["code"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("no_access"))
        );
        let request = Request::get(path)
            .header("origin", "https://evil.example")
            .header("authorization", format!("Bearer {SECRET}"));
        let reply = site.send(request.body(Vec::new()).unwrap()).await;
        assert_ne!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn what_changes_something_needs_access_and_a_page_of_ours() {
    let site = site().await;
    let cookie = cookie(&site).await;
    for (method, path) in CHANGING {
        let change = || Request::builder().method(method).uri(path).header("content-type", "application/json");
        let stranger = site.send(change().body(b"{}".to_vec()).unwrap()).await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED, "{path}");
        let elsewhere = change().header("cookie", &cookie).header("sec-fetch-site", "cross-site");
        let elsewhere = site.send(elsewhere.body(b"{}".to_vec()).unwrap()).await;
        assert_eq!(elsewhere.status, StatusCode::FORBIDDEN, "{path}");
        assert!(!elsewhere.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_token_is_traded_for_a_cookie_that_opens_the_api() {
    let site = site().await;
    let reply = site.get(&format!("/?token={SECRET}")).await;
    assert_eq!((reply.status, reply.headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/"));
    let cookie = reply.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let request = Request::get("/api/info").header("cookie", cookie).body(Vec::new()).unwrap();
    assert_eq!(site.send(request).await.status, StatusCode::OK);
    assert_eq!(site.get("/?token=wrong").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_carry_their_policies_and_replay_links_lead_to_the_app() {
    let site = site().await;
    let page = site.get("/recordings/some-id").await;
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    let player = site.get("/player/frame").await;
    let policy = player.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("http"), "{policy}");
    let link = site.get(&format!("/project/phc_test/replay/{SESSION}?t=12")).await;
    assert_eq!(link.headers["location"], format!("/recordings/{SESSION}?t=12"));
    let odd = site.get(&format!("/project/x/replay/{SESSION}?t=1%0d%0aSet-Cookie")).await;
    assert_eq!(odd.headers["location"], format!("/recordings/{SESSION}"));
}

#[tokio::test]
async fn every_private_route_is_in_the_description_of_the_api() {
    let site = site().await;
    let document = site.get("/openapi.json").await.json();
    let described: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(described.len(), PRIVATE.len() + CHANGING.len(), "{described:?}: add new routes to the lists");
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http() {
    let open = site().await;
    let cookie = open.get(&format!("/?token={SECRET}")).await.header("set-cookie").to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    assert!(!cookie.contains(SECRET), "the cookie is not the secret");
    let https = site_with(|options| options.public_url = Some("https://replay.example".into())).await;
    let cookie = https.get(&format!("/?token={SECRET}")).await.header("set-cookie").to_owned();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn a_domain_that_was_made_to_point_here_opens_nothing() {
    let site = site().await;
    let cookie = cookie(&site).await;
    for (host, expected) in [
        ("localhost:8787", StatusCode::OK),
        ("127.0.0.1:8787", StatusCode::OK),
        ("[::1]:8787", StatusCode::OK),
        ("rebound.example:8787", StatusCode::FORBIDDEN),
        ("127.0.0.1.evil.example", StatusCode::FORBIDDEN),
    ] {
        let request = Request::get("/api/info").header("host", host).header("cookie", &cookie);
        let reply = site.send(request.body(Vec::new()).unwrap()).await;
        assert_eq!(reply.status, expected, "{host}: {}", reply.text());
    }
    let program = Request::get("/api/info").header("host", "tunnel.example");
    let program = program.header("authorization", format!("Bearer {SECRET}"));
    let reply = site.send(program.body(Vec::new()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK, "who has the secret needs no protection from himself");
}

#[tokio::test]
async fn behind_a_public_address_any_host_of_the_proxy_is_taken() {
    let site = site_with(|options| options.public_url = Some("https://replay.example".into())).await;
    let request = Request::get("/api/info").header("host", "replay.example").header("cookie", cookie(&site).await);
    assert_eq!(site.send(request.body(Vec::new()).unwrap()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn nothing_on_the_private_routes_can_be_changed_by_any_method() {
    let site = site().await;
    let cookie = cookie(&site).await;
    for path in PRIVATE {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let request = Request::builder().method(method).uri(path).header("cookie", &cookie);
            let request = request.header("origin", "https://evil.example").header("sec-fetch-site", "cross-site");
            let reply = site.send(request.body(b"{}".to_vec()).unwrap()).await;
            assert!(reply.status.is_client_error(), "{method} {path}: {}", reply.status);
            let is_allowed = reply.header("allow").split(',').any(|allowed| allowed.trim() == method);
            assert!(reply.status != StatusCode::METHOD_NOT_ALLOWED || !is_allowed, "{method} {path}");
            assert!(!reply.headers.contains_key("access-control-allow-origin"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn parameters_that_cannot_be_are_refused_in_the_words_of_the_api() {
    let site = site().await;
    for (path, status, code) in [
        ("/api/recordings?limit=-1", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("/api/recordings?clicks_min=9223372036854775808", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("/api/recordings?limit=9223372036854775808", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("/api/recordings?colour=red", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("/api/recordings?cursor=made-up", StatusCode::BAD_REQUEST, "bad_cursor"),
        ("/api/recordings/x/blocks?wait_ms=30001", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("/api/recordings/x/blocks?wait_ms=-1", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("/api/recordings/x/export?format=gif", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("/api/recordings/x/blocks/object/-1", StatusCode::NOT_FOUND, "not_found"),
        ("/api/recordings/%ff", StatusCode::NOT_FOUND, "not_found"),
    ] {
        let reply = site.read(path).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}");
    }
}

#[tokio::test]
async fn preflights_of_the_private_routes_allow_nothing() {
    let site = site().await;
    for path in PRIVATE {
        let request = Request::options(path).header("origin", "https://evil.example");
        let request = request.header("access-control-request-method", "GET");
        let reply = site.send(request.body(Vec::new()).unwrap()).await;
        assert!(!reply.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}: {reply:?}");
    }
}

#[tokio::test]
async fn files_outside_the_embedded_ones_are_out_of_reach() {
    let scripts = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(scripts.path().join("1.2.3")).unwrap();
    std::fs::write(scripts.path().join("secret.js"), "secret").unwrap();
    let site = site_with(|options| options.static_dir = Some(scripts.path().to_owned())).await;
    for path in [
        "/assets/../index.html",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/assets/..\\..\\etc\\passwd",
        "/assets/%00",
        "/player/../../Cargo.toml",
        "/player/%2e%2e%2fcsp.txt",
        "/static/../secret.js",
        "/static/1.2.3/../secret.js",
        "/static/1.2.3/..%2fsecret.js",
        "/static/%2e%2e/secret.js",
        "/static/..%5csecret.js",
    ] {
        let bytes = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", site.address);
        let reply = crate::site::parse(&site.exchange(bytes.as_bytes()).await);
        assert!(reply.status.is_client_error(), "{path}: {} {}", reply.status, reply.text());
    }
}

#[tokio::test]
async fn links_lead_nowhere_but_here_and_carry_no_headers() {
    let site = site_with(|options| options.path_prefix = "/replay".into()).await;
    for path in [
        "/project/x/replay/%2f%2fevil.example",
        "/project/x/replay/https:%2f%2fevil.example",
        "/project/x/replay/a%0d%0aSet-Cookie:%20x=y",
        "/project/x/replay/..",
    ] {
        assert_eq!(site.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for query in ["t=1%0d%0aSet-Cookie:%20x=y", "t=//evil.example", "t=-5"] {
        let reply = site.get(&format!("/project/x/replay/{SESSION}?{query}")).await;
        assert_eq!(reply.header("location"), format!("/replay/recordings/{SESSION}"), "{query}");
    }
    let login = site.get(&format!("/?token={SECRET}&next=https://evil.example")).await;
    assert_eq!(login.header("location"), "/replay/");
}

#[tokio::test]
async fn an_origin_that_is_reflected_cannot_carry_headers_of_its_own() {
    let site = site().await;
    let body = one_snapshot();
    let bytes = format!(
        "POST /s/ HTTP/1.1\r\nhost: x\r\norigin: {PAGE}\r\n set-cookie: a=b\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let reply = crate::site::parse(&site.exchange(bytes.as_bytes()).await);
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "folded headers are refused");
    assert!(!reply.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn no_page_may_be_framed_by_others_and_no_answer_is_guessed_at() {
    let site = site().await;
    for path in ["/", "/recordings", "/start", "/playground"] {
        let reply = site.get(path).await;
        assert!(reply.header("content-security-policy").contains("frame-ancestors 'self'"), "{path}");
        assert_eq!(
            (reply.header("x-content-type-options"), reply.header("referrer-policy")),
            ("nosniff", "no-referrer")
        );
    }
    let reply = site.read("/api/info").await;
    assert_eq!((reply.header("cache-control"), reply.header("x-content-type-options")), ("no-store", "nosniff"));
}

#[tokio::test]
async fn guessing_the_secret_says_nothing_of_how_near_one_was() {
    let site = site().await;
    let mut answers = Vec::new();
    for guess in ["a", "a-secret-for-test", "a-secret-for-testt", "b-secret-for-tests", "a-secret-for-tests2"] {
        let request = Request::get("/api/info").header("authorization", format!("Bearer {guess}"));
        answers.push(site.send(request.body(Vec::new()).unwrap()).await.text());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}
