//! The names of things. Each type has one way in from text, so whoever holds one need not check again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest project key, in bytes (PostHog's capture service, `token.rs`).
pub const PROJECT_KEY_BYTES_MAX: usize = 64;

/// Longest recording id, in bytes (PostHog's capture service, `events/recordings.rs`).
pub const RECORDING_ID_BYTES_MAX: usize = 70;

/// Identifies one `$snapshot` or analytics event over all its retries: the client's `uuid`, or a hash of the content
/// where the client sent none.
pub type UploadId = [u8; 16];

/// A text that cannot be the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long, or with characters a project key cannot have.
    #[error(
        "a project key is 1 to {PROJECT_KEY_BYTES_MAX} printable ASCII characters, such as phc_…, and never a personal key (phx_…)"
    )]
    ProjectKey,
    /// Empty, too long, or with characters a recording id cannot have.
    #[error("a recording id is 1 to {RECORDING_ID_BYTES_MAX} letters, digits and dashes")]
    RecordingId,
}

/// The public, write-only key of a project, in PostHog's form (`phc_…`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectKey(String);

/// Names one recording. Safe in a URL, a file name and an object key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordingId(String);

impl ProjectKey {
    /// Stands for a project where there is none, or it is not known yet.
    pub fn nobody() -> Self {
        Self("-".to_owned())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RecordingId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let key = text.trim();
        let fits = (1..=PROJECT_KEY_BYTES_MAX).contains(&key.len());
        if fits && key.bytes().all(|byte| byte.is_ascii_graphic()) && !key.starts_with("phx_") {
            Ok(Self(key.to_owned()))
        } else {
            Err(IdError::ProjectKey)
        }
    }
}

impl FromStr for RecordingId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = (1..=RECORDING_ID_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::RecordingId)
        }
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_conversions!(ProjectKey);
text_conversions!(RecordingId);

/// Writes an upload id as 32 lower-case hex digits.
pub fn upload_id_to_hex(id: &UploadId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads 32 hex digits, with or without the dashes of a UUID. `None` for anything else.
pub fn upload_id_from_hex(text: &str) -> Option<UploadId> {
    let mut id = [0; 16];
    let mut digits = text.bytes().filter(|byte| *byte != b'-');
    for byte in &mut id {
        let high = (digits.next()? as char).to_digit(16)?;
        let low = (digits.next()? as char).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_keys_follow_posthogs_rule() {
        assert_eq!(" phc_abc ".parse::<ProjectKey>().unwrap().as_str(), "phc_abc");
        for bad in ["", "   ", "phx_personal", "with space", "nul\0", "é", &"k".repeat(65)] {
            assert_eq!(bad.parse::<ProjectKey>(), Err(IdError::ProjectKey), "{bad:?}");
        }
        assert!("k".repeat(64).parse::<ProjectKey>().is_ok());
    }

    #[test]
    fn recording_ids_are_safe_in_paths() {
        assert!("01a1fbdb-5cf7-798e-bff9-d7633f6d7075".parse::<RecordingId>().is_ok());
        for bad in ["", "../up", "a/b", "a.b", "a b", "CON\0", "💥", &"i".repeat(71)] {
            assert_eq!(bad.parse::<RecordingId>(), Err(IdError::RecordingId), "{bad:?}");
        }
        assert!("i".repeat(70).parse::<RecordingId>().is_ok());
    }

    #[test]
    fn upload_ids_read_uuids_with_and_without_dashes() {
        let id = upload_id_from_hex("01a1fbdb-8270-7135-9b23-544ab178fe70").unwrap();
        assert_eq!(upload_id_to_hex(&id), "01a1fbdb827071359b23544ab178fe70");
        assert_eq!(upload_id_from_hex("01a1"), None);
        assert_eq!(upload_id_from_hex("zza1fbdb827071359b23544ab178fe70"), None);
    }
}
