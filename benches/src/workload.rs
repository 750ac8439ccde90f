//! The uploads: bodies that a real posthog-js sent, under other ids, packed again.
//!
//! Every body is one that a client sent, byte for byte but for the ids of session, window and message, so its size and
//! what it costs are real. A capture is repeated as often as needed, each time as somebody else, and the repetitions
//! are spread over time, so that hundreds of recordings grow side by side. The seed decides everything.

use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use reelcase_format::event::events;
use reelcase_format::limits::Limits;
use reelcase_format::{cv, upload};
use serde::Deserialize;

/// Over how much time the recordings of a workload begin, ms.
const BEGIN_WITHIN_MS: u64 = 300_000;

/// What fflate and the browsers' `CompressionStream` use by default.
const GZIP_LEVEL: i32 = 6;

/// Length of the textual form of a UUID.
const UUID_BYTES: usize = 36;

/// A UUID as text.
type Id = [u8; UUID_BYTES];

/// Uploads in the order they are sent.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    pub(crate) uploads: Vec<Upload>,
    /// Bytes of the rrweb events as plain JSON, all gzip undone, of all uploads.
    pub(crate) plain_bytes: u64,
    /// Bytes of the bodies with the outer gzip undone.
    pub(crate) sent_json_bytes: u64,
    pub(crate) recording_count: usize,
}

/// One body, and how it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) body: Bytes,
    /// When it was sent, ms since the first one.
    pub(crate) at_ms: u64,
}

/// A capture of the corpus, as far as it is of use.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) bodies: Vec<CapturedBody>,
}

/// One upload of a capture, its outer gzip undone.
#[derive(Debug)]
pub(crate) struct CapturedBody {
    pub(crate) json: Vec<u8>,
    /// As it went over the wire.
    pub(crate) sent: Bytes,
    pub(crate) content_type: String,
    pub(crate) at_ms: u64,
    /// Where ids stand in `json`, and the ids.
    ids: Vec<(usize, Id)>,
    pub(crate) plain_bytes: u64,
}

#[derive(Deserialize)]
struct Request {
    t_ms: u64,
    method: String,
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    body_base64: String,
    resp_status: u16,
}

/// Reads the corpus: the uploads of recordings that a current client sent as gzip, by capture.
pub(crate) fn captures(dir: &Path) -> anyhow::Result<Vec<Capture>> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .with_context(|| format!("the corpus of captures is missing: {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".ndjson.zst"))
        .collect();
    names.sort();
    let mut captures = Vec::new();
    for name in names {
        let packed = std::fs::read(&name)?;
        let lines = zstd::decode_all(packed.as_slice())?;
        let mut bodies = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let request: Request = serde_json::from_slice(line).with_context(|| format!("{}", name.display()))?;
            bodies.extend(CapturedBody::of(request)?);
        }
        captures.push(Capture { bodies });
    }
    captures.retain(|capture| !capture.bodies.is_empty());
    if captures.is_empty() {
        bail!("the corpus of captures is empty: {}", dir.display());
    }
    Ok(captures)
}

impl CapturedBody {
    fn of(request: Request) -> anyhow::Result<Option<Self>> {
        let is_recording = request.path.trim_end_matches('/').ends_with("/s");
        let content_type = request.headers.get("content-type").cloned().unwrap_or_default();
        if request.method != "POST" || !is_recording || request.resp_status != 200 {
            return Ok(None);
        }
        let sent = STANDARD.decode(&request.body_base64)?;
        if !sent.starts_with(b"\x1f\x8b") || !content_type.starts_with("text/plain") {
            return Ok(None);
        }
        let json = gunzip(&sent)?;
        let (ids, plain_bytes) = study(&json)?;
        Ok(Some(Self { json, sent: Bytes::from(sent), content_type, at_ms: request.t_ms, ids, plain_bytes }))
    }

    /// The body as another person would have sent it.
    pub(crate) fn sent_by(&self, person: u64, compressor: &mut Compressor) -> anyhow::Result<Bytes> {
        let mut json = self.json.clone();
        for (at, id) in &self.ids {
            json[*at..*at + UUID_BYTES].copy_from_slice(&other_id(id, person));
        }
        gzip(&json, compressor)
    }
}

/// Finds the ids of an upload and measures its events.
fn study(json: &[u8]) -> anyhow::Result<(Vec<(usize, Id)>, u64)> {
    let limits = Limits::default();
    let scanned = upload::scan(json, &limits)?;
    let mut names = std::collections::BTreeSet::new();
    let mut plain_bytes = 0;
    let mut plain = Vec::new();
    for item in &scanned.items {
        let uuid = item.uuid.as_ref().map(reelcase_format::id::upload_id_to_hex).map(|hex| hyphenated(&hex));
        for id in [uuid.as_ref(), item.session_id.as_ref(), item.window_id.as_ref()].into_iter().flatten() {
            names.extend(Id::try_from(id.as_bytes()));
        }
        let mut budget = limits.fields_bytes_max;
        for event in events(item.data.unwrap_or_default()) {
            plain.clear();
            cv::plain_event(event, &limits, &mut budget, &mut plain);
            plain_bytes += plain.len() as u64;
        }
    }
    let mut ids = Vec::new();
    for at in 0..json.len().saturating_sub(UUID_BYTES) {
        // Every id stands in quotes; most bytes are ruled out by this alone.
        if json[at] == b'"' {
            let id = Id::try_from(&json[at + 1..=at + UUID_BYTES]);
            ids.extend(id.into_iter().filter(|id| names.contains(id)).map(|id| (at + 1, id)));
        }
    }
    Ok((ids, plain_bytes))
}

fn hyphenated(hex: &str) -> String {
    let parts = [hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)];
    parts.map(Option::unwrap_or_default).join("-")
}

/// The id that stands for `id` when `person` is the sender: the same time, other chance.
fn other_id(id: &Id, person: u64) -> Id {
    let chance = blake3::hash(&[&id[..], &person.to_le_bytes()].concat()).to_hex();
    let mut other = *id;
    // The first 14 characters are time and hyphen, then comes the version.
    for (at, (byte, chance)) in other.iter_mut().zip(chance.bytes()).enumerate().skip(15) {
        // The variant keeps its two bits.
        *byte = match *byte {
            b'-' => b'-',
            _ if at == 19 => b'8' + chance % 2,
            _ => chance,
        };
    }
    other
}

impl Workload {
    /// At least `upload_count` uploads, none like another, in the order of their time.
    pub(crate) fn of(captures: &[Capture], upload_count: usize, seed: u64) -> anyhow::Result<Self> {
        let per_person: usize = captures.iter().map(|capture| capture.bodies.len()).sum();
        let mut compressor = Compressor::new(CompressionLvl::new(GZIP_LEVEL).unwrap_or_default());
        let mut workload = Self::default();
        for turn in 0..upload_count.div_ceil(per_person) as u64 {
            for (index, capture) in captures.iter().enumerate() {
                let person = seed << 32 | turn << 16 | index as u64;
                let begins_at_ms = chance(person) % BEGIN_WITHIN_MS;
                workload.recording_count += 1;
                for body in &capture.bodies {
                    workload.sent_json_bytes += body.json.len() as u64;
                    workload.plain_bytes += body.plain_bytes;
                    workload.uploads.push(Upload {
                        body: body.sent_by(person, &mut compressor)?,
                        at_ms: begins_at_ms + body.at_ms,
                    });
                }
            }
        }
        workload.uploads.sort_by_key(|upload| upload.at_ms);
        Ok(workload)
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        self.uploads.iter().map(|upload| upload.body.len() as u64).sum()
    }
}

/// A number that looks like chance and is the same for the same `seed`.
pub(crate) fn chance(seed: u64) -> u64 {
    let hash = blake3::hash(&seed.to_le_bytes());
    hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(crate) fn gzip(plain: &[u8], compressor: &mut Compressor) -> anyhow::Result<Bytes> {
    let mut packed = vec![0; compressor.gzip_compress_bound(plain.len())];
    let length = compressor.gzip_compress(plain, &mut packed)?;
    packed.truncate(length);
    Ok(Bytes::from(packed))
}

/// Undoes gzip whose trailer tells the truth, as that of every client does.
pub(crate) fn gunzip(packed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let size = packed.last_chunk::<4>().context("too short for gzip")?;
    let mut plain = vec![0; u32::from_le_bytes(*size) as usize];
    let length = Decompressor::new().gzip_decompress(packed, &mut plain)?;
    plain.truncate(length);
    Ok(plain)
}
