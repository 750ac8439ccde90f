//! Serves posthog-js: one pinned release from inside the binary, others from a folder.
//!
//! Core and recorder of different releases may not fit together, so a versioned path is answered with that version or
//! not at all. The client then asks again without the version, and gets the pinned release. What is not there is a real
//! 404: a page in place of a script would count as loaded, and recording would silently not start.
//!
//! The folder has one folder for each release, `1.215.0` for instance, in which the scripts are looked for as npm packs
//! them (`package/dist`), as the package has them (`dist`), and bare.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Mutex;

use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;

use crate::capture::query_value;
use crate::error::Failure;
use crate::state::App;

/// The release that is embedded.
pub(crate) const PINNED_VERSION: &str = include_str!("../posthog-js/version").trim_ascii();

/// Longest script that is read from the folder of further releases.
const SCRIPT_BYTES_MAX: u64 = 8 << 20;

/// Where in the folder of a release its scripts may be.
const PLACES: [&str; 3] = ["", "dist", "package/dist"];

/// Scripts kept gzipped in memory, so that each is compressed once. More than this many start over.
const PACKED_SCRIPTS_MAX: usize = 256;

/// Scripts of the folder as they were packed: by release and file, with the hash of what was packed.
pub(crate) type PackedScripts = Mutex<HashMap<(String, String), (blake3::Hash, Bytes)>>;

/// The scripts of the pinned release, each as `<name>.gz`.
#[derive(RustEmbed)]
#[folder = "posthog-js/dist"]
#[allow_missing = true]
struct Pinned;

/// A script and the release it is from.
struct Found {
    bytes: Bytes,
    is_gzip: bool,
    /// Changes with the content.
    tag: String,
}

/// Answers `/static/<file>` and `/static/<version>/<file>`.
pub(crate) async fn script(
    app: &App,
    version: Option<&str>,
    file: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    if !is_script_name(file) || version.is_some_and(|version| !is_version(version)) {
        return Err(Failure::NotFound("script"));
    }
    let asked_by_query = query.and_then(|query| query_value(query, "v")).filter(|version| is_version(version));
    let found = match (version, asked_by_query) {
        (Some(version), _) => release(app, version, file).await,
        (None, Some(version)) => match release(app, &version, file).await {
            Some(found) => Some(found),
            None => substitute(app, &version, file),
        },
        (None, None) => pinned(file),
    };
    let found = found.ok_or(Failure::NotFound("script"))?;
    let found = if accepts(headers, "gzip") { packed(app, version, file, found).await } else { found };
    Ok(reply(found, version.is_some(), headers))
}

/// Whether the pinned release is in this binary.
pub(crate) fn has_pinned() -> bool {
    Pinned::iter().any(|name| name.ends_with(".js.gz"))
}

/// A script of the pinned release, uncompressed.
pub(crate) fn pinned_plain(file: &str) -> Option<Vec<u8>> {
    gunzip(&pinned(file)?.bytes)
}

/// The releases that can be served, the pinned one first.
pub(crate) async fn versions(app: &App) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(folder) = &app.options.static_dir
        && let Ok(mut entries) = tokio::fs::read_dir(folder).await
    {
        while let Ok(Some(entry)) = entries.next_entry().await {
            found.extend(entry.file_name().into_string().ok().filter(|name| is_version(name)));
        }
    }
    found.sort();
    if has_pinned() {
        found.retain(|version| version != PINNED_VERSION);
        found.insert(0, PINNED_VERSION.to_owned());
    }
    found
}

fn pinned(file: &str) -> Option<Found> {
    let embedded = Pinned::get(&format!("{file}.gz"))?;
    let bytes = match embedded.data {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let tag = embedded.metadata.sha256_hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Some(Found { bytes, is_gzip: true, tag })
}

async fn release(app: &App, version: &str, file: &str) -> Option<Found> {
    if version == PINNED_VERSION
        && let Some(found) = pinned(file)
    {
        return Some(found);
    }
    let folder = app.options.static_dir.as_ref()?.join(version);
    for place in PLACES {
        if let Some(bytes) = read(&folder.join(place).join(file)).await {
            let tag = blake3::hash(&bytes).to_hex().chars().take(16).collect();
            return Some(Found { bytes, is_gzip: false, tag });
        }
    }
    None
}

/// The script gzipped, for clients that take it so.
async fn packed(app: &App, version: Option<&str>, file: &str, found: Found) -> Found {
    if found.is_gzip {
        return found;
    }
    let key = (version.unwrap_or_default().to_owned(), file.to_owned());
    let hash = blake3::hash(&found.bytes);
    let known = |packed: &HashMap<_, (blake3::Hash, Bytes)>| {
        packed.get(&key).filter(|(of, _)| *of == hash).map(|(_, bytes)| bytes.clone())
    };
    let tag = found.tag.clone();
    if let Some(bytes) = app.packed_scripts.lock().ok().and_then(|packed| known(&packed)) {
        return Found { bytes, is_gzip: true, tag };
    }
    let plain = found.bytes.clone();
    let Ok(Ok(bytes)) = app.heavy_work(move || gzip(&plain)).await else { return found };
    if let Ok(mut packed) = app.packed_scripts.lock() {
        if packed.len() >= PACKED_SCRIPTS_MAX {
            packed.clear();
        }
        packed.insert(key, (hash, bytes.clone()));
    }
    Found { bytes, is_gzip: true, tag }
}

fn gzip(plain: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::default());
    encoder.write_all(plain)?;
    encoder.finish().map(Bytes::from)
}

/// The pinned release in place of one that is not there. Newer recorders mostly work with older cores.
fn substitute(app: &App, version: &str, file: &str) -> Option<Found> {
    let found = pinned(file)?;
    app.metrics.scripts_substituted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    tracing::debug!(version, file, "posthog-js release not at hand, serving {PINNED_VERSION}");
    Some(found)
}

async fn read(path: &Path) -> Option<Bytes> {
    let is_fit = tokio::fs::metadata(path).await.is_ok_and(|meta| meta.is_file() && meta.len() <= SCRIPT_BYTES_MAX);
    if !is_fit {
        return None;
    }
    tokio::fs::read(path).await.ok().map(Bytes::from)
}

fn reply(found: Found, is_versioned: bool, request: &HeaderMap) -> Response {
    let tag = format!("W/\"{}\"", found.tag);
    let is_same = request.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let takes_gzip = accepts(request, "gzip");
    let mut reply = match (is_same, found.is_gzip, takes_gzip) {
        (true, _, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true, false) => gunzip(&found.bytes).unwrap_or_default().into_response(),
        (false, _, _) => found.bytes.into_response(),
    };
    let headers = reply.headers_mut();
    if !is_same && found.is_gzip && takes_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let cache = if is_versioned { "public, max-age=31536000, immutable" } else { "public, max-age=300" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/javascript; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    reply
}

/// Whether the client takes this coding. A quality of zero means that it does not.
pub(crate) fn accepts(request: &HeaderMap, coding: &str) -> bool {
    let lines = request.get_all(ACCEPT_ENCODING).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|offer| {
        let (name, quality) = offer.split_once(';').unwrap_or((offer, ""));
        let refused = quality.trim().strip_prefix("q=").is_some_and(|quality| quality.parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case(coding) && !refused
    })
}

fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).take(SCRIPT_BYTES_MAX).read_to_end(&mut plain).ok()?;
    Some(plain)
}

fn is_script_name(file: &str) -> bool {
    let stem = file.strip_suffix(".js").unwrap_or_default();
    stem.starts_with(|first: char| first.is_ascii_alphanumeric()) && stem.bytes().all(is_name_byte)
}

fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && text.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        assert!(is_script_name("lazy-recorder.js") && is_version("1.449.2"));
        for bad in ["..", ".js", "..%2fx.js", "a/b.js", "array.js.map", "array.js.gz", ""] {
            assert!(!is_script_name(bad), "{bad}");
        }
        assert!(!is_version("..") && !is_version("") && !is_version("1/2"));
    }

    #[test]
    fn a_coding_with_quality_zero_is_not_accepted() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip;q=0, zstd, br;q=0.5"));
        assert!(!accepts(&headers, "gzip") && accepts(&headers, "zstd") && accepts(&headers, "br"));
    }
}
