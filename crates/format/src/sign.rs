//! The keys that files are signed with: Ed25519, RFC 8032. `docs/format.md` section 10.
//!
//! A private key lies in a file as OpenSSL writes it, PKCS#8 in PEM. A public one is short enough to be its own name:
//! `ed25519:` and its 32 bytes in base64url.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Random bytes that a private key is made of.
pub const SEED_BYTES: usize = 32;

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// How the text of a public key begins, which tells it from all other keys.
const PUBLIC_KEY_STARTS: &str = "ed25519:";

/// What comes before the seed in PKCS#8, and before the public key in its counterpart (RFC 8410).
const PRIVATE_DER: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PUBLIC_DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// The private half of a key pair. It prints as nothing.
pub struct SigningKey(Ed25519KeyPair);

/// The public half, which tells who signed. As text: `ed25519:` and 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

/// A text that is not the key it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Something else altogether.
    #[error("there is no private key in it: a line -----BEGIN PRIVATE KEY----- is missing")]
    NoPrivateKey,
    /// The other half.
    #[error("it is the public half of a key pair; signing takes the private half")]
    IsPublic,
    /// A private key of another algorithm, in another form, or behind a password.
    #[error("its private key is not an Ed25519 key in plain PKCS#8")]
    OtherPrivateKey,
    /// Something else altogether.
    #[error("a public key is {PUBLIC_KEY_STARTS} followed by 43 characters of base64url")]
    NoPublicKey,
    /// The other half.
    #[error(
        "it is the private half of a key pair, which is for nobody else; a signature is checked with the public half"
    )]
    IsPrivate,
}

/// Writes a private key as the file that [`SigningKey::from_pem`] reads. `seed` is 32 bytes that nobody can guess.
pub fn private_pem(seed: &[u8; SEED_BYTES]) -> String {
    let der = STANDARD.encode([&PRIVATE_DER[..], seed].concat());
    format!("-----BEGIN {PRIVATE_LABEL}-----\n{der}\n-----END {PRIVATE_LABEL}-----\n")
}

impl SigningKey {
    /// Reads the file of a private key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.trim_start().starts_with(PUBLIC_KEY_STARTS) {
            return Err(KeyError::IsPublic);
        }
        let (label, der) = pem(text).ok_or(KeyError::NoPrivateKey)?;
        match label {
            PRIVATE_LABEL => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Self).map_err(|_| KeyError::OtherPrivateKey)
            }
            PUBLIC_LABEL => Err(KeyError::IsPublic),
            label if label.ends_with(PRIVATE_LABEL) => Err(KeyError::OtherPrivateKey),
            _ => Err(KeyError::NoPrivateKey),
        }
    }

    /// The half that may be known.
    pub fn public(&self) -> PublicKey {
        let mut public = [0; PUBLIC_KEY_BYTES];
        public.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(public)
    }

    /// Signs a message.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(self.0.sign(message).as_ref());
        signature
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey([redacted])")
    }
}

impl PublicKey {
    /// Takes the bytes of one.
    pub(crate) fn from_bytes(bytes: [u8; PUBLIC_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// Whether the holder of the private half signed this.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads the short text, or the PEM that OpenSSL writes.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = match text.trim().strip_prefix(PUBLIC_KEY_STARTS) {
            Some(short) => URL_SAFE_NO_PAD.decode(short).ok(),
            None => match pem(text) {
                Some((PUBLIC_LABEL, der)) => der.strip_prefix(&PUBLIC_DER).map(<[u8]>::to_vec),
                Some((label, _)) if label.ends_with(PRIVATE_LABEL) => return Err(KeyError::IsPrivate),
                _ => None,
            },
        };
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(KeyError::NoPublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PUBLIC_KEY_STARTS}{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The first part of a text in PEM: what it is called, and its bytes, none where they are not base64.
fn pem(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.split_whitespace().collect();
    Some((label, STANDARD.decode(body).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2.
    const SEED: [u8; SEED_BYTES] = [
        0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a,
        0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb,
    ];
    const PUBLIC: &str = "ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";
    /// As `openssl pkey -pubout` writes that.
    const PUBLIC_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn keys_are_those_of_the_rfc_and_of_openssl() {
        let key = SigningKey::from_pem(&private_pem(&SEED)).unwrap();
        assert_eq!(key.public().to_string(), PUBLIC);
        assert_eq!(key.sign(&[0x72])[..4], [0x92, 0xa0, 0x09, 0xa9]);
        assert_eq!(PUBLIC.parse(), Ok(key.public()));
        assert_eq!(PUBLIC_PEM.parse(), Ok(key.public()));
        assert_eq!(format!("{key:?}"), "SigningKey([redacted])");
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_message() {
        let key = SigningKey::from_pem(&private_pem(&SEED)).unwrap();
        let other = SigningKey::from_pem(&private_pem(&[1; SEED_BYTES])).unwrap();
        let signature = key.sign(b"reel");
        assert!(key.public().has_signed(b"reel", &signature));
        assert!(!key.public().has_signed(b"real", &signature));
        assert!(!other.public().has_signed(b"reel", &signature));
    }

    #[test]
    fn a_key_of_another_kind_says_what_it_is() {
        let private = |text: &str| SigningKey::from_pem(text).unwrap_err();
        assert_eq!(private(""), KeyError::NoPrivateKey);
        assert_eq!(private("-----BEGIN PRIVATE KEY-----"), KeyError::NoPrivateKey);
        assert_eq!(private("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), KeyError::NoPrivateKey);
        assert_eq!(private(PUBLIC), KeyError::IsPublic);
        assert_eq!(private(PUBLIC_PEM), KeyError::IsPublic);
        for label in ["RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY", "PRIVATE KEY"] {
            let text = format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n");
            assert_eq!(private(&text), KeyError::OtherPrivateKey, "{label}");
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::IsPrivate), "{label}");
        }
        let one_short = &PUBLIC[..PUBLIC.len() - 1];
        for bad in ["", "ed25519:", one_short, &PUBLIC[8..], &PUBLIC_PEM.replace("MCow", "MCox")] {
            assert_eq!(bad.parse::<PublicKey>(), Err(KeyError::NoPublicKey), "{bad}");
        }
    }
}
