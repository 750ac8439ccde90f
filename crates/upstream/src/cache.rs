//! Scripts and config of PostHog, kept by their own rules, and served when PostHog is away.
//!
//! A document is fresh for as long as its `Cache-Control` says. After that it is asked for again with its `ETag`; where
//! nobody answers, the old one is served, unless it says `must-revalidate`. `Vary` is kept to. Everything is bounded:
//! what was not used for longest goes first. Each document is a file too, so that a restart during an outage finds it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, REFERER, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::headers::time_s;

/// Forms of one document, by what `Vary` names.
const VARIANTS_MAX: usize = 32;

/// Longest that a document may call itself fresh, s.
const FRESH_MAX_S: i64 = 365 * 24 * 3_600;

const EXTENSION: &str = "document";

/// See the module's page.
#[derive(Debug)]
pub struct Cache {
    dir: Option<PathBuf>,
    bytes_max: u64,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    by_target: HashMap<String, Vec<Held>>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    last_use: u64,
}

/// One form of one document.
#[derive(Debug, Clone)]
pub struct Entry {
    head: Head,
    /// The body as it came, coding included.
    pub body: Bytes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    target: String,
    /// What the request said of each header that `Vary` names.
    varies: Vec<(String, Option<String>)>,
    headers: Vec<(String, String)>,
    stored_at_ms: i64,
    fresh_until_ms: i64,
    must_revalidate: bool,
    hash: String,
}

/// What the cache has for a request.
#[derive(Debug, Clone)]
pub enum Found {
    /// To be served as it is.
    Fresh(Arc<Entry>),
    /// To be asked for again.
    Stale(Arc<Entry>),
    /// Nothing.
    Nothing,
}

/// What a document says of how it may be kept.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rules {
    is_storable: bool,
    fresh_s: i64,
    must_revalidate: bool,
}

impl Cache {
    /// Opens the cache, with what an earlier process kept in `dir`. Files that are not whole are removed.
    pub fn open(dir: Option<PathBuf>, bytes_max: u64) -> Self {
        let cache = Self { dir, bytes_max, shelf: Mutex::default() };
        let Some(dir) = &cache.dir else { return cache };
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path());
        let mut found: Vec<Entry> = Vec::new();
        for path in files.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)) {
            match read(&path) {
                Some(entry) => found.push(entry),
                None => drop(std::fs::remove_file(&path)),
            }
        }
        found.sort_by_key(|entry| entry.head.stored_at_ms);
        for entry in found {
            let gone = cache.shelf().put(Arc::new(entry), bytes_max);
            gone.iter().for_each(|entry| cache.remove_file(entry));
        }
        cache
    }

    /// What there is for a request.
    pub fn find(&self, target: &str, request: &HeaderMap, now_ms: i64) -> Found {
        let mut shelf = self.shelf();
        shelf.uses += 1;
        let uses = shelf.uses;
        let forms = shelf.by_target.get_mut(target).into_iter().flatten();
        let Some(held) = forms.into_iter().find(|held| held.entry.fits(request, |_| true)) else {
            return Found::Nothing;
        };
        held.last_use = uses;
        let entry = Arc::clone(&held.entry);
        // A clock that was set back would make everything fresh for long.
        let is_fresh = (entry.head.stored_at_ms..entry.head.fresh_until_ms).contains(&now_ms);
        if is_fresh { Found::Fresh(entry) } else { Found::Stale(entry) }
    }

    /// What may be served when nobody answers: the form that fits, however old, or else one that differs in no more
    /// than coding and referring page.
    pub fn find_any(&self, target: &str, request: &HeaderMap) -> Option<Arc<Entry>> {
        let shelf = self.shelf();
        let forms = shelf.by_target.get(target)?;
        let usable = || forms.iter().filter(|held| !held.entry.head.must_revalidate);
        let exact = usable().find(|held| held.entry.fits(request, |_| true));
        let near =
            || usable().filter(|held| held.entry.fits(request, |name| name == "origin" || name == "accept-encoding"));
        let found = exact.or_else(|| near().max_by_key(|held| held.entry.head.stored_at_ms));
        found.map(|held| Arc::clone(&held.entry))
    }

    /// Keeps a reply, if its rules allow. Blocks on the disk.
    pub fn keep(&self, target: &str, request: &HeaderMap, reply: &HeaderMap, body: Bytes, now_ms: i64) {
        let rules = Rules::of(reply);
        let Some(varies) = varies(request, reply).filter(|_| rules.is_storable) else { return };
        let headers = reply.iter().filter(|(name, _)| **name != SET_COOKIE && **name != AGE);
        let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let head = Head {
            target: target.to_owned(),
            varies,
            headers: headers.collect(),
            stored_at_ms: now_ms,
            fresh_until_ms: now_ms + rules.fresh_s * 1_000,
            must_revalidate: rules.must_revalidate,
            hash: blake3::hash(&body).to_hex().to_string(),
        };
        self.put(Entry { head, body });
    }

    /// Takes note that a document is still what it was. Blocks on the disk.
    pub fn renew(&self, entry: &Entry, reply: &HeaderMap, now_ms: i64) {
        let mut renewed = entry.clone();
        for name in [CACHE_CONTROL, DATE, EXPIRES] {
            if let Some(value) = reply.get(&name).and_then(|value| value.to_str().ok()) {
                renewed.head.headers.retain(|(known, _)| known != name.as_str());
                renewed.head.headers.push((name.to_string(), value.to_owned()));
            }
        }
        let rules = Rules::of(&renewed.headers());
        renewed.head.stored_at_ms = now_ms;
        renewed.head.fresh_until_ms = now_ms + rules.fresh_s * 1_000;
        self.put(renewed);
    }

    /// Bytes of all documents.
    pub fn bytes(&self) -> u64 {
        self.shelf().bytes
    }

    fn put(&self, entry: Entry) {
        let entry = Arc::new(entry);
        let gone = self.shelf().put(Arc::clone(&entry), self.bytes_max);
        gone.iter().for_each(|entry| self.remove_file(entry));
        if let Some(dir) = &self.dir
            && let Err(error) = write(dir, &entry)
        {
            tracing::warn!(%error, dir = %dir.display(), "a document of PostHog cannot be written to the cache");
        }
    }

    fn remove_file(&self, entry: &Entry) {
        if let Some(dir) = &self.dir {
            // A file that stays is read at the next start and goes then.
            let _ = std::fs::remove_file(dir.join(entry.file_name()));
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Puts an entry in the place of the same one, and returns what had to go for it.
    fn put(&mut self, entry: Arc<Entry>, bytes_max: u64) -> Vec<Arc<Entry>> {
        self.uses += 1;
        let held = Held { entry: Arc::clone(&entry), last_use: self.uses };
        let forms = self.by_target.entry(entry.head.target.clone()).or_default();
        self.bytes += entry.bytes();
        match forms.iter_mut().find(|held| held.entry.head.varies == entry.head.varies) {
            Some(same) => self.bytes -= std::mem::replace(same, held).entry.bytes(),
            None => forms.push(held),
        }
        let mut gone = Vec::new();
        if forms.len() > VARIANTS_MAX {
            let oldest = (0..forms.len()).min_by_key(|at| forms[*at].last_use).unwrap_or_default();
            gone.push(forms.swap_remove(oldest).entry);
        }
        self.bytes -= gone.iter().map(|entry| entry.bytes()).sum::<u64>();
        while self.bytes > bytes_max
            && let Some(entry) = self.pop_oldest()
        {
            gone.push(entry);
        }
        gone
    }

    fn pop_oldest(&mut self) -> Option<Arc<Entry>> {
        let all =
            self.by_target.iter().flat_map(|(target, forms)| forms.iter().map(move |held| (target, held.last_use)));
        let (target, last_use) = all.min_by_key(|(_, last_use)| *last_use)?;
        let target = target.clone();
        let forms = self.by_target.get_mut(&target)?;
        let at = forms.iter().position(|held| held.last_use == last_use)?;
        let entry = forms.swap_remove(at).entry;
        if forms.is_empty() {
            self.by_target.remove(&target);
        }
        self.bytes -= entry.bytes();
        Some(entry)
    }
}

impl Entry {
    /// The headers to serve it with.
    pub fn headers(&self) -> HeaderMap {
        let pairs = self.head.headers.iter();
        pairs
            .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?)))
            .collect()
    }

    /// Seconds since PostHog said that this is the document.
    pub fn age_s(&self, now_ms: i64) -> i64 {
        (now_ms - self.head.stored_at_ms).max(0) / 1_000
    }

    /// What to ask with whether it is still the same.
    pub fn conditions(&self) -> HeaderMap {
        let headers = self.headers();
        let pairs = [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)];
        pairs.into_iter().filter_map(|(name, condition)| Some((condition, headers.get(&name)?.clone()))).collect()
    }

    /// Whether a client that asks with these conditions has it already.
    pub fn is_known_to(&self, request: &HeaderMap) -> bool {
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let tag = self.headers().get(ETAG).and_then(|tag| tag.to_str().ok().map(weak));
        let known = request.get_all(IF_NONE_MATCH).into_iter().filter_map(|known| known.to_str().ok());
        tag.is_some_and(|tag| {
            known.flat_map(|line| line.split(',')).any(|known| weak(known) == tag || known.trim() == "*")
        })
    }

    fn fits(&self, request: &HeaderMap, counts: impl Fn(&str) -> bool) -> bool {
        self.head.varies.iter().filter(|(name, _)| counts(name)).all(|(name, value)| said(request, name) == *value)
    }

    fn bytes(&self) -> u64 {
        let headers: usize = self.head.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        (self.body.len() + headers + self.head.target.len()) as u64
    }

    fn file_name(&self) -> String {
        let name = format!("{}\n{:?}", self.head.target, self.head.varies);
        format!("{}.{EXTENSION}", &blake3::hash(name.as_bytes()).to_hex()[..32])
    }
}

impl Rules {
    fn of(reply: &HeaderMap) -> Self {
        let lines = reply.get_all(CACHE_CONTROL).into_iter().filter_map(|line| line.to_str().ok());
        let words: Vec<_> =
            lines.flat_map(|line| line.split(',')).map(|word| word.trim().to_ascii_lowercase()).collect();
        let has = |word: &str| words.iter().any(|other| other == word || other.starts_with(&format!("{word}=")));
        let seconds = |name: &str| {
            let value = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
            value.trim_matches('"').parse::<i64>().ok()
        };
        let age = reply.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
        let fresh_s = if has("no-cache") { None } else { seconds("s-maxage").or_else(|| seconds("max-age")) };
        let fresh_s = fresh_s.or_else(|| if words.is_empty() { lifetime_s(reply) } else { None });
        Self {
            is_storable: !has("no-store") && !has("private"),
            fresh_s: (fresh_s.unwrap_or(0) - age).clamp(0, FRESH_MAX_S),
            must_revalidate: has("must-revalidate") || has("proxy-revalidate"),
        }
    }
}

/// What `Expires` and `Date` leave.
fn lifetime_s(reply: &HeaderMap) -> Option<i64> {
    Some(time_s(reply, &EXPIRES)? - time_s(reply, &DATE)?)
}

/// What the request says of each header that the reply varies with. `None` where it varies with everything.
fn varies(request: &HeaderMap, reply: &HeaderMap) -> Option<Vec<(String, Option<String>)>> {
    let lines = reply.get_all(VARY).into_iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    if names.iter().any(|name| name == "*") {
        return None;
    }
    Some(names.into_iter().map(|name| (said(request, &name), name)).map(|(said, name)| (name, said)).collect())
}

/// What a request says of a header. A page counts by its site: that is what PostHog's list of domains looks at.
fn said(request: &HeaderMap, name: &str) -> Option<String> {
    let text = request.get(name)?.to_str().ok()?;
    if name != REFERER.as_str() {
        return Some(text.to_owned());
    }
    let site = text.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Some(site)
}

fn read(path: &Path) -> Option<Entry> {
    let bytes = Bytes::from(std::fs::read(path).ok()?);
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
    let body = bytes.slice(end + 1..);
    (blake3::hash(&body).to_hex().as_str() == head.hash).then_some(Entry { head, body })
}

/// Writes a document under its name only when it is whole. It is not synced: what a power cut takes is asked for again.
fn write(dir: &Path, entry: &Entry) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(entry.file_name());
    let unfinished = path.with_extension("new");
    let mut bytes = serde_json::to_vec(&entry.head)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&entry.body);
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(&unfinished, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn no_headers() -> HeaderMap {
        HeaderMap::new()
    }

    fn keep(cache: &Cache, target: &str, reply: &[(&'static str, &'static str)], now_ms: i64) {
        cache.keep(target, &no_headers(), &headers(reply), Bytes::from_static(b"text"), now_ms);
    }

    #[test]
    fn a_document_is_fresh_for_as_long_as_it_says() {
        let cache = Cache::open(None, 1 << 20);
        keep(&cache, "/a", &[("cache-control", "public, max-age=300"), ("age", "100"), ("etag", "\"1\"")], 1_000);
        assert!(matches!(cache.find("/a", &no_headers(), 200_999), Found::Fresh(_)));
        let Found::Stale(entry) = cache.find("/a", &no_headers(), 201_000) else { panic!("it is stale") };
        assert_eq!(entry.conditions()[IF_NONE_MATCH], "\"1\"");
        cache.renew(&entry, &headers(&[("cache-control", "max-age=10")]), 300_000);
        assert!(matches!(cache.find("/a", &no_headers(), 309_999), Found::Fresh(_)));
        assert!(matches!(cache.find("/a", &no_headers(), 310_000), Found::Stale(_)));
        assert!(matches!(cache.find("/a", &no_headers(), 0), Found::Stale(_)), "a clock that was set back");
        assert!(matches!(cache.find("/b", &no_headers(), 0), Found::Nothing));
    }

    #[test]
    fn rules_of_documents_are_kept_to() {
        let rules = |pairs| Rules::of(&headers(pairs));
        assert!(!rules(&[("cache-control", "no-store")]).is_storable);
        assert!(!rules(&[("cache-control", "private, max-age=5")]).is_storable);
        assert_eq!(rules(&[("cache-control", "max-age=5, s-maxage=\"7\"")]).fresh_s, 7);
        assert_eq!(rules(&[("cache-control", "no-cache, max-age=5")]).fresh_s, 0);
        assert!(rules(&[("cache-control", "max-age=5, must-revalidate")]).must_revalidate);
        let expires = [("expires", "Thu, 01 Dec 1994 16:00:10 GMT"), ("date", "Thu, 01 Dec 1994 16:00:00 GMT")];
        assert_eq!(rules(&expires).fresh_s, 10);
        assert_eq!(rules(&[]), Rules { is_storable: true, fresh_s: 0, must_revalidate: false });
    }

    #[test]
    fn an_old_document_is_served_when_nobody_answers_unless_it_forbids_that() {
        let cache = Cache::open(None, 1 << 20);
        keep(&cache, "/a", &[], 0);
        keep(&cache, "/b", &[("cache-control", "max-age=1, must-revalidate")], 0);
        assert!(cache.find_any("/a", &no_headers()).is_some());
        assert!(cache.find_any("/b", &no_headers()).is_none());
    }

    #[test]
    fn forms_of_a_document_are_told_apart_by_what_it_varies_with() {
        let cache = Cache::open(None, 1 << 20);
        let vary = headers(&[("vary", "Origin, Referer"), ("cache-control", "max-age=60")]);
        let from = |page| headers(&[("origin", "https://a.example"), ("referer", page)]);
        cache.keep("/a", &from("https://a.example/one"), &vary, Bytes::from_static(b"a"), 0);
        assert!(matches!(cache.find("/a", &from("https://a.example/two?x"), 1), Found::Fresh(_)), "the same site");
        let other = headers(&[("origin", "https://b.example")]);
        assert!(matches!(cache.find("/a", &other, 1), Found::Nothing));
        assert!(cache.find_any("/a", &other).is_none(), "its list of domains may exclude that site");
        let elsewhere = headers(&[("origin", "https://a.example"), ("referer", "https://c.example/")]);
        assert!(cache.find_any("/a", &elsewhere).is_some());
        cache.keep("/any", &no_headers(), &headers(&[("vary", "*")]), Bytes::new(), 0);
        assert!(matches!(cache.find("/any", &no_headers(), 0), Found::Nothing));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache = Cache::open(None, 3 * 6);
        for target in ["/a", "/b", "/c"] {
            keep(&cache, target, &[], 0);
        }
        cache.find("/a", &no_headers(), 0);
        keep(&cache, "/d", &[], 0);
        let there = |target| !matches!(cache.find(target, &no_headers(), 0), Found::Nothing);
        assert_eq!(["/a", "/b", "/c", "/d"].map(there), [true, false, true, true]);
        assert_eq!(cache.bytes(), 18);
    }

    #[test]
    fn a_restart_finds_what_was_kept_but_nothing_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Cache::open(Some(dir.path().to_owned()), 1 << 20);
        keep(&open(), "/a", &[("etag", "\"1\""), ("set-cookie", "a=b")], 0);
        keep(&open(), "/b", &[], 0);
        let damaged = open().find_any("/b", &no_headers()).unwrap().file_name();
        let path = dir.path().join(&damaged);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let cache = open();
        let kept = cache.find_any("/a", &no_headers()).unwrap();
        assert_eq!((&kept.body[..], kept.headers().contains_key("set-cookie")), (&b"text"[..], false));
        assert!(cache.find_any("/b", &no_headers()).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn a_client_that_has_it_need_not_load_it_again() {
        let cache = Cache::open(None, 1 << 20);
        keep(&cache, "/a", &[("etag", "W/\"1\"")], 0);
        let entry = cache.find_any("/a", &no_headers()).unwrap();
        assert!(entry.is_known_to(&headers(&[("if-none-match", "\"0\", \"1\"")])));
        assert!(!entry.is_known_to(&headers(&[("if-none-match", "\"2\"")])));
        assert!(!entry.is_known_to(&no_headers()));
    }
}
