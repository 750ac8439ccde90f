//! Signatures of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md),
//! symmetric: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::share::ShareError;

/// Random bytes of a secret that we make up.
const SECRET_BYTES: usize = 32;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// What a webhook is signed with. Prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

/// Makes up a secret.
pub(crate) fn new_secret() -> Result<Secret, ShareError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| ShareError::NoRandomness)?;
    Ok(Secret(format!("{PREFIX}{}", STANDARD.encode(bytes))))
}

impl Secret {
    /// Takes a secret that somebody has: `whsec_` and 24 to 64 bytes in base64.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bytes = text.strip_prefix(PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
        match bytes {
            Some(bytes) if (24..=64).contains(&bytes.len()) => Ok(Self(text.to_owned())),
            _ => {
                Err("a secret is whsec_ and 24 to 64 bytes in base64; without one, the server makes one up".to_owned())
            }
        }
    }

    /// The secret itself, for whoever just set it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What stands in `webhook-signature`.
    pub(crate) fn signature(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let key = STANDARD.decode(self.0.trim_start_matches(PREFIX)).unwrap_or_default();
        // A key of any length will do, so this is never the other case.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_reference_implementations() {
        // As the libraries of Standard Webhooks test themselves.
        let secret = Secret::of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }

    #[test]
    fn a_secret_is_long_enough_and_in_base64() {
        for text in
            ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64 at all, in no way"]
        {
            assert!(Secret::of(text).is_err(), "{text}");
        }
        assert!(Secret::of(new_secret().unwrap().expose()).is_ok());
    }
}
