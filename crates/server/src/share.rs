//! Links that show one recording, a clip of it, or a collection, to whoever has them.
//!
//! A link is a random token, of which only the hash is kept. All links are one document among the settings of the store,
//! so they survive the catalog as projects do. It is read once and written with each change; a document that cannot be
//! read opens nothing.
//!
//! Opening a link counts as a view and gives a *pass*: an expiry with a keyed hash, made of the server's secret and the
//! link, which the page sends with each request for the recording. A pass is checked together with its link, so it ends
//! when the link does. `clip.rs` decides what of a recording goes out, `picture.rs` keeps what programs that show links
//! are given to look at.

mod clip;
mod pass;
mod picture;
mod shown;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use axum::body::Bytes;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

pub(crate) use clip::Clip;
pub(crate) use pass::Passes;
pub(crate) use picture::{PICTURE_BYTES_MAX, Picture, tidy};
pub(crate) use shown::routes;

/// Links that may exist at once.
pub(crate) const SHARES_MAX: usize = 1_000;

/// Name of the setting.
const SETTING: &str = "shares";

/// The newest version of the document that this release understands.
const VERSION: u32 = 1;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 24;

/// Wrong passwords that a link takes within [`TRIES_MS`], before it takes none.
const TRIES_MAX: u32 = 10;
const TRIES_MS: i64 = 60_000;

/// How exactly the last use of a link is known. Each change is a write.
const LAST_USE_MS: i64 = 60_000;

/// One link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Names it to those who may revoke it.
    pub(crate) id: String,
    /// BLAKE3 of the token.
    token_hash: String,
    #[serde(flatten)]
    pub(crate) target: Target,
    pub(crate) created_at_ms: i64,
    /// How the password is kept: Argon2id, in the PHC form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(flatten)]
    pub(crate) terms: Terms,
    /// What programs that show links are given to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) picture: Option<Picture>,
    #[serde(default)]
    pub(crate) view_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at_ms: Option<i64>,
}

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Target {
    /// A recording, or a clip of it.
    Recording { project: ProjectKey, recording: RecordingId },
    /// Whatever is in the collection of this id when somebody looks.
    Collection { collection: String },
}

/// What a link shows, to whom, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// What the page is called.
    #[serde(default)]
    pub(crate) title: String,
    /// First and last moment of a clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to_ms: Option<i64>,
    /// Where playback begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_ms: Option<i64>,
    #[serde(default)]
    pub(crate) has_inspector: bool,
    #[serde(default)]
    pub(crate) has_console: bool,
    #[serde(default)]
    pub(crate) has_network: bool,
    #[serde(default)]
    pub(crate) has_comments: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) views_max: Option<u64>,
    /// Origins of pages that may embed it.
    #[serde(default)]
    pub(crate) embed_origins: Vec<String>,
}

/// The document in which links are kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    shares: Vec<Share>,
}

/// What went wrong with links.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShareError {
    #[error("there are {SHARES_MAX} links, and no more can be made: revoke some")]
    TooMany,
    #[error("the links cannot be read, so none of them works: {0}")]
    Unreadable(String),
    #[error("the picture is not a JPEG with a size")]
    NotJpeg,
    #[error(
        "a picture is for links to one recording, and without a password: the others tell nothing of what they show"
    )]
    NoPicture,
    #[error("no random bytes for a link")]
    NoRandomness,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Wrong, expired, used up or revoked: nobody is told which.
    NoLink,
    /// A password is needed, or was wrong.
    Password { was_given: bool },
    /// Too many wrong ones.
    TooManyTries,
}

/// All links, held in memory and written through.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    known: tokio::sync::Mutex<Option<Vec<Share>>>,
    /// Since when, and how many passwords were tried and not found right, by link.
    tries: Mutex<HashMap<String, (i64, u32)>>,
}

impl Share {
    /// Whether it shows anything at this time.
    fn is_open(&self, now_ms: i64) -> bool {
        self.terms.expires_at_ms.is_none_or(|expires_at_ms| now_ms < expires_at_ms)
    }

    fn has_views_left(&self) -> bool {
        self.terms.views_max.is_none_or(|views_max| self.view_count < views_max)
    }

    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some()
    }
}

impl Shares {
    /// The links that lead to what is wanted, newest first. Expired ones are among them until they are revoked.
    pub(crate) async fn list(
        &self,
        store: &Store,
        is_wanted: impl Fn(&Target) -> bool,
    ) -> Result<Vec<Share>, ShareError> {
        let mut known = self.known.lock().await;
        let shares = read(&mut known, store).await?;
        let mut found: Vec<_> = shares.iter().filter(|share| is_wanted(&share.target)).cloned().collect();
        found.sort_by(|a, b| (b.created_at_ms, &b.id).cmp(&(a.created_at_ms, &a.id)));
        Ok(found)
    }

    /// Makes a link. Returns it with its token, which nobody can know later.
    pub(crate) async fn create(
        &self,
        store: &Store,
        target: Target,
        password: Option<String>,
        terms: Terms,
        now_ms: i64,
    ) -> Result<(Share, String), ShareError> {
        let token = random_text(TOKEN_BYTES)?;
        let id = random_text(12)?;
        let share = Share {
            id,
            token_hash: hash_of(&token),
            target,
            created_at_ms: now_ms,
            password,
            terms,
            picture: None,
            view_count: 0,
            last_used_at_ms: None,
        };
        let mut known = self.known.lock().await;
        let mut shares = read(&mut known, store).await?.clone();
        if shares.len() >= SHARES_MAX {
            return Err(ShareError::TooMany);
        }
        shares.push(share.clone());
        write(&mut known, store, shares).await?;
        Ok((share, token))
    }

    /// Revokes a link. `false` where there is none.
    pub(crate) async fn revoke(&self, store: &Store, id: &str) -> Result<bool, ShareError> {
        self.revoke_where(store, |share| share.id == id).await
    }

    /// Revokes the links that lead to something.
    pub(crate) async fn revoke_of(&self, store: &Store, targets: &[Target]) -> Result<(), ShareError> {
        self.revoke_where(store, |share| targets.contains(&share.target)).await.map(drop)
    }

    async fn revoke_where(&self, store: &Store, is_over: impl Fn(&Share) -> bool) -> Result<bool, ShareError> {
        let mut known = self.known.lock().await;
        let (over, left): (Vec<_>, Vec<_>) =
            read(&mut known, store).await?.iter().cloned().partition(|share| is_over(share));
        if over.is_empty() {
            return Ok(false);
        }
        write(&mut known, store, left).await?;
        for share in &over {
            if let Some(picture) = &share.picture {
                picture::delete(store, &share.id, picture).await;
            }
        }
        Ok(true)
    }

    /// Gives a link a picture, in place of the one it has. `false` where there is no such link.
    pub(crate) async fn set_picture(&self, store: &Store, id: &str, bytes: Bytes) -> Result<bool, ShareError> {
        let mut known = self.known.lock().await;
        let mut shares = read(&mut known, store).await?.clone();
        let Some(share) = shares.iter_mut().find(|share| share.id == id) else { return Ok(false) };
        if share.has_password() || matches!(share.target, Target::Collection { .. }) {
            return Err(ShareError::NoPicture);
        }
        let picture = Picture::new(&bytes).ok_or(ShareError::NotJpeg)?;
        store.put_picture(&picture.name(id), bytes.into()).await?;
        let before = share.picture.replace(picture.clone());
        write(&mut known, store, shares).await?;
        if let Some(before) = before.filter(|before| *before != picture) {
            picture::delete(store, id, &before).await;
        }
        Ok(true)
    }

    /// The link of a token, as long as it works.
    pub(crate) async fn find(&self, store: &Store, token: &str, now_ms: i64) -> Result<Option<Share>, ShareError> {
        let mut known = self.known.lock().await;
        let shares = read(&mut known, store).await?;
        let hash = hash_of(token);
        // Whoever could time this comparison would learn of a hash, which leads to no token.
        Ok(shares.iter().find(|share| share.token_hash == hash).filter(|share| share.is_open(now_ms)).cloned())
    }

    /// Counts a view, if there is one left. The password was checked.
    pub(crate) async fn count_view(&self, store: &Store, id: &str, now_ms: i64) -> Result<bool, ShareError> {
        let mut known = self.known.lock().await;
        let mut shares = read(&mut known, store).await?.clone();
        let Some(share) = shares.iter_mut().find(|share| share.id == id) else { return Ok(false) };
        if !share.has_views_left() {
            return Ok(false);
        }
        share.view_count += 1;
        share.last_used_at_ms = Some(now_ms);
        write(&mut known, store, shares).await?;
        Ok(true)
    }

    /// Takes note that a link is in use.
    pub(crate) async fn note_use(&self, store: &Store, share: &Share, now_ms: i64) -> Result<(), ShareError> {
        if share.last_used_at_ms.is_some_and(|last_ms| now_ms - last_ms < LAST_USE_MS) {
            return Ok(());
        }
        let mut known = self.known.lock().await;
        let mut shares = read(&mut known, store).await?.clone();
        if let Some(share) = shares.iter_mut().find(|known| known.id == share.id) {
            share.last_used_at_ms = Some(now_ms);
        }
        write(&mut known, store, shares).await
    }

    /// Takes one of the tries that a link has in a while. It counts as wrong until it is found right, so that many at once
    /// are no more than many in a row.
    pub(crate) fn take_try(&self, share: &Share, now_ms: i64) -> bool {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.retain(|_, (since_ms, _)| now_ms - *since_ms < TRIES_MS);
        let (_, count) = tries.entry(share.id.clone()).or_insert((now_ms, 0));
        let may_try = *count < TRIES_MAX;
        *count += u32::from(may_try);
        may_try
    }

    /// Gives a try back that was right.
    pub(crate) fn note_right(&self, share: &Share) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = tries.get_mut(&share.id) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Hashes a password as it is kept. Takes tens of milliseconds, on purpose.
pub(crate) fn hash_password(password: &str) -> Result<String, ShareError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| ShareError::NoRandomness)?;
    let salt = SaltString::encode_b64(&salt).map_err(|_| ShareError::NoRandomness)?;
    // The default is Argon2id with 19 MiB and two passes, as OWASP has it.
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|_| ShareError::NoRandomness)?;
    Ok(hash.to_string())
}

/// Whether a password opens a link. Takes as long as [`hash_password`].
pub(crate) fn opens(share: &Share, password: &str) -> bool {
    let Some(kept) = &share.password else { return true };
    let Ok(kept) = PasswordHash::new(kept) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &kept).is_ok()
}

async fn read<'a>(known: &'a mut Option<Vec<Share>>, store: &Store) -> Result<&'a Vec<Share>, ShareError> {
    if known.is_none() {
        let text = store.catalog().setting(SETTING).await.map_err(StoreError::from)?;
        *known = Some(text.filter(|text| !text.is_empty()).map_or(Ok(Vec::new()), |text| parse(&text))?);
    }
    Ok(known.get_or_insert_default())
}

fn parse(text: &str) -> Result<Vec<Share>, ShareError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let unreadable = |error: serde_json::Error| ShareError::Unreadable(error.to_string());
    let Version { version } = serde_json::from_str(text).map_err(unreadable)?;
    if version > VERSION {
        return Err(ShareError::Unreadable(format!("version {version} is newer than the newest supported, {VERSION}")));
    }
    Ok(serde_json::from_str::<Document>(text).map_err(unreadable)?.shares)
}

async fn write(known: &mut Option<Vec<Share>>, store: &Store, shares: Vec<Share>) -> Result<(), ShareError> {
    let document = Document { version: VERSION, shares };
    let text = serde_json::to_string(&document).map_err(|error| ShareError::Unreadable(error.to_string()))?;
    store.set_setting(SETTING, &text).await?;
    *known = Some(document.shares);
    Ok(())
}

/// Random bytes in hexadecimal digits.
pub(crate) fn random_text(bytes: usize) -> Result<String, ShareError> {
    use std::fmt::Write;
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|_| ShareError::NoRandomness)?;
    Ok(random.iter().fold(String::with_capacity(2 * bytes), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn hash_of(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}
