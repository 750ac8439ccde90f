//! What a page that opened a link shows with each request: until when, and that this server said so.

use subtle::ConstantTimeEq;

use super::Share;
use crate::collections::Member;
use crate::config::Secret;

/// How long a page may go on after it opened a link.
const PASS_MS: i64 = 12 * 3_600_000;

/// Length of what a recording of a collection is called.
const NAME_CHARACTERS: usize = 16;

/// Makes and checks passes.
pub(crate) struct Passes {
    key: [u8; 32],
}

impl Passes {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self { key: blake3::derive_key("reelcase 2026 passes of shared links", secret.expose().as_bytes()) }
    }

    /// A pass for a link, from now on.
    pub(crate) fn make(&self, share: &Share, now_ms: i64) -> String {
        let until_ms = now_ms + PASS_MS;
        format!("{until_ms}.{}", self.check_of(share, until_ms).to_hex())
    }

    /// Whether this is one for the link.
    pub(crate) fn holds(&self, share: &Share, pass: &str, now_ms: i64) -> bool {
        let Some((until, check)) = pass.split_once('.') else { return false };
        let Ok(until_ms) = until.parse::<i64>() else { return false };
        let expected = self.check_of(share, until_ms).to_hex();
        now_ms < until_ms && bool::from(expected.as_bytes().ct_eq(check.as_bytes()))
    }

    /// What a recording of a collection is called below a link: it names no session, and is another below each link.
    pub(crate) fn name_of(&self, share: &Share, Member { project, recording }: &Member) -> String {
        let name = blake3::keyed_hash(&self.key, format!("{}\n{project}\n{recording}", share.id).as_bytes());
        name.to_hex().chars().take(NAME_CHARACTERS).collect()
    }

    fn check_of(&self, share: &Share, until_ms: i64) -> blake3::Hash {
        blake3::keyed_hash(&self.key, format!("{}\n{until_ms}", share.id).as_bytes())
    }
}
