//! The pictures that programs which show links get.

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::shares::{ask, share, visit};
use crate::site::{Reply, SECRET, SESSION, Site, site, site_in};

/// As much of a JPEG of 1200 by 630 pixels as says how large it is, and some more.
fn jpeg(more: usize) -> Vec<u8> {
    let head = [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 2, 0x76, 4, 0xb0, 3];
    head.into_iter().chain(std::iter::repeat_n(7, more)).collect()
}

async fn give(site: &Site, id: &str, bearer: Option<&str>, picture: Vec<u8>) -> Reply {
    let request = Request::put(format!("/api/shares/{id}/picture")).header("content-type", "image/jpeg");
    let request = match bearer {
        Some(bearer) => request.header("authorization", format!("Bearer {bearer}")),
        None => request,
    };
    site.send(request.body(picture).unwrap()).await
}

async fn picture(site: &Site, token: &str) -> Reply {
    site.get(&format!("/share/{token}/picture.jpg")).await
}

/// Files of pictures on the disk.
fn files(site: &Site) -> Vec<std::path::PathBuf> {
    let below =
        |dir: std::path::PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path());
    let stores = below(site.dir.path().join("objects"));
    stores.flat_map(|store| below(store.join("pictures"))).collect()
}

#[tokio::test]
async fn programs_that_show_links_get_the_picture_that_was_given() {
    let site = site().await;
    visit(&site).await;
    let (id, token) = share(&site, json!({ "embed_origins": ["https://help.example.com"], "views_max": 1 })).await;
    assert!(!site.get(&format!("/share/{token}")).await.text().contains("og:image"));
    assert_eq!(picture(&site, &token).await.status, StatusCode::NOT_FOUND);

    assert_eq!(give(&site, &id, Some(SECRET), jpeg(100)).await.status, StatusCode::NO_CONTENT);
    let base = format!("http://{}", site.address);
    let page = site.get(&format!("/share/{token}")).await.text();
    let address = format!("{base}/share/{token}/picture.jpg");
    assert!(page.contains(&format!("<meta property=\"og:image\" content=\"{address}\">")), "{page}");
    assert!(page.contains("og:image:width\" content=\"1200\"") && page.contains("og:image:height\" content=\"630\""));
    let oembed = site.get(&format!("/oembed?url={base}/share/{token}")).await.json();
    assert_eq!((&oembed["thumbnail_url"], &oembed["thumbnail_height"]), (&json!(address), &json!(630)));
    let shown = picture(&site, &token).await;
    assert_eq!((shown.status, &shown.body), (StatusCode::OK, &jpeg(100)));
    assert_eq!((shown.header("content-type"), shown.header("cache-control")), ("image/jpeg", "no-store"));
    assert_eq!(shown.header("x-content-type-options"), "nosniff");

    // Another takes its place, and looking at it was no view.
    assert_eq!(give(&site, &id, Some(SECRET), jpeg(200)).await.status, StatusCode::NO_CONTENT);
    assert_eq!((picture(&site, &token).await.body, files(&site).len()), (jpeg(200), 1));
    let opened = ask(&site, "POST", &format!("/share/{token}/open"), None, json!({})).await;
    assert_eq!(opened.status, StatusCode::OK);
    assert_eq!(picture(&site, &token).await.status, StatusCode::NOT_FOUND, "its views are used up");
    let list = site.read("/api/shares").await.json();
    assert_eq!(list["shares"][0]["has_picture"], true);
}

#[tokio::test]
async fn a_picture_goes_with_its_link_and_with_its_recording() {
    let site = site().await;
    visit(&site).await;
    let (first, revoked) = share(&site, json!({})).await;
    let (second, left) = share(&site, json!({})).await;
    for id in [&first, &second] {
        assert_eq!(give(&site, id, Some(SECRET), jpeg(9)).await.status, StatusCode::NO_CONTENT);
    }
    ask(&site, "DELETE", &format!("/api/shares/{first}"), Some(SECRET), Value::Null).await;
    assert_eq!((picture(&site, &revoked).await.status, files(&site).len()), (StatusCode::NOT_FOUND, 1));
    ask(&site, "DELETE", &format!("/api/recordings/{SESSION}"), Some(SECRET), Value::Null).await;
    assert_eq!((picture(&site, &left).await.status, files(&site)), (StatusCode::NOT_FOUND, vec![]));
}

#[tokio::test]
async fn what_is_no_picture_or_not_to_be_shown_is_refused_with_the_reason() {
    let site = site().await;
    visit(&site).await;
    let (id, token) = share(&site, json!({})).await;
    let (locked, _) = share(&site, json!({ "password": "open sesame" })).await;
    let refused = [
        (give(&site, &id, Some(SECRET), b"<svg/>".to_vec()).await, StatusCode::BAD_REQUEST, "not a JPEG"),
        (give(&site, &id, Some(SECRET), jpeg(1 << 20)).await, StatusCode::PAYLOAD_TOO_LARGE, "1048576 bytes"),
        (give(&site, &locked, Some(SECRET), jpeg(9)).await, StatusCode::BAD_REQUEST, "without a password"),
        (give(&site, "00", Some(SECRET), jpeg(9)).await, StatusCode::NOT_FOUND, "link"),
        (give(&site, &id, None, jpeg(9)).await, StatusCode::UNAUTHORIZED, "token"),
    ];
    for (reply, status, says) in refused {
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.text().contains(says), "{says}: {}", reply.text());
    }
    assert_eq!((picture(&site, &token).await.status, files(&site)), (StatusCode::NOT_FOUND, vec![]));
}

#[tokio::test]
async fn a_damaged_picture_is_none_and_one_that_was_left_over_goes_with_the_next_start() {
    let site = site().await;
    visit(&site).await;
    let (id, token) = share(&site, json!({})).await;
    assert_eq!(give(&site, &id, Some(SECRET), jpeg(9)).await.status, StatusCode::NO_CONTENT);
    let file = files(&site).remove(0);
    std::fs::write(&file, jpeg(10)).unwrap();
    assert_eq!(picture(&site, &token).await.status, StatusCode::NOT_FOUND);
    std::fs::write(&file, jpeg(9)).unwrap();
    assert_eq!(picture(&site, &token).await.status, StatusCode::OK);
    // As a stop leaves it between the writing of another picture and that of the link.
    let left_over = file.with_file_name(format!("{id}-0000000000000000.jpg"));
    std::fs::write(&left_over, jpeg(12)).unwrap();
    assert_eq!(picture(&site, &token).await.body, jpeg(9), "the one before it still stands");
    let site = site_in(site.stop().await, |_| (), |_| ()).await;
    assert_eq!(picture(&site, &token).await.status, StatusCode::OK, "it survives a start");
    assert_eq!(files(&site), [file]);
}
