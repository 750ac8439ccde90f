//! The picture of a link: a JPEG of a moment of what it shows, for programs that show where links lead.
//!
//! Only a browser can draw one, so whoever makes the link sends it along. It lies beside the objects under the id of the
//! link and its own hash, which the link keeps: a file that is not what was sent is nobody's picture, and one that takes the
//! place of another leaves that whole until the link says so. It goes when the link does.

use std::collections::HashSet;

use axum::body::Bytes;
use reelcase_store::Store;
use serde::{Deserialize, Serialize};

use super::{Share, ShareError, Shares, Target};

/// Longest picture. One of 1200 by 630 pixels takes some 100 kB.
pub(crate) const PICTURE_BYTES_MAX: usize = 1 << 20;

/// Digits of the hash in the name of a file.
const HASH_DIGITS: usize = 16;

/// What is known of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// BLAKE3 of the file.
    hash: String,
    /// Pixels.
    pub(crate) width: u16,
    pub(crate) height: u16,
}

impl Picture {
    /// `None` where the bytes are no JPEG.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let (width, height) = jpeg_size(bytes)?;
        Some(Self { hash: blake3::hash(bytes).to_hex().to_string(), width, height })
    }

    /// What it is called in the store.
    pub(super) fn name(&self, share_id: &str) -> String {
        format!("{share_id}-{}", self.hash.get(..HASH_DIGITS).unwrap_or_default())
    }

    /// The file of a link's picture; `None` where there is none, or another than was sent.
    pub(super) async fn read(&self, store: &Store, share: &Share) -> Result<Option<Bytes>, ShareError> {
        let bytes = store.picture(&self.name(&share.id)).await?;
        let is_kept = |bytes: &Bytes| blake3::hash(bytes).to_hex().as_str() == self.hash;
        if bytes.as_ref().is_some_and(|bytes| !is_kept(bytes)) {
            tracing::error!(share = share.id, "the picture of a link is damaged, and not shown");
        }
        Ok(bytes.filter(is_kept))
    }
}

/// Deletes the picture that a link has, or had. What cannot be deleted now goes with the next start: see [`tidy`].
pub(super) async fn delete(store: &Store, share_id: &str, picture: &Picture) {
    if let Err(error) = store.delete_picture(&picture.name(share_id)).await {
        tracing::warn!(share = share_id, error = &error as &dyn std::error::Error, "a picture is left over");
    }
}

/// Deletes the pictures that no link has any more, or one to a recording that is gone.
pub(crate) async fn tidy(shares: &Shares, store: &Store) -> Result<(), ShareError> {
    let mut wanted = HashSet::new();
    for share in shares.list(store, |_| true).await? {
        if let Some(picture) = &share.picture
            && leads_somewhere(store, &share.target).await?
        {
            wanted.insert(picture.name(&share.id));
        }
    }
    for name in store.pictures().await?.into_iter().filter(|name| !wanted.contains(name)) {
        store.delete_picture(&name).await?;
    }
    Ok(())
}

/// Whether what a picture is of is still there.
pub(super) async fn leads_somewhere(store: &Store, target: &Target) -> Result<bool, ShareError> {
    Ok(match target {
        Target::Recording { project, recording } => {
            store.catalog().get(project, recording).await.map_err(reelcase_store::StoreError::from)?.is_some()
        }
        Target::Collection { .. } => false,
    })
}

/// Width and height as the first frame header of a JPEG says (ITU-T T.81, B.2.2).
fn jpeg_size(bytes: &[u8]) -> Option<(u16, u16)> {
    const NO_FRAMES: [u8; 3] = [0xc4, 0xc8, 0xcc];
    let number = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let mut at = 2;
    (number(0)? == 0xffd8).then_some(())?;
    loop {
        let [0xff, marker] = number(at)?.to_be_bytes() else { return None };
        if (0xc0..=0xcf).contains(&marker) && !NO_FRAMES.contains(&marker) {
            let (height, width) = (number(at + 5)?, number(at + 7)?);
            return (width > 0 && height > 0).then_some((width, height));
        }
        at += 2 + usize::from(number(at + 2)?);
    }
}

#[cfg(test)]
mod tests {
    use super::jpeg_size;

    #[test]
    fn a_jpeg_says_how_large_it_is_and_nothing_else_does() {
        let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 1, 0xff, 0xc0, 0, 11, 8, 2, 0x76, 4, 0xb0, 3];
        assert_eq!(jpeg_size(&jpeg), Some((1200, 630)));
        for cut in 0..jpeg.len() - 1 {
            assert_eq!(jpeg_size(&jpeg[..cut]), None, "{cut} bytes");
        }
        assert_eq!(jpeg_size(b"\x89PNG\r\n\x1a\n0000IHDR00000000"), None);
        assert_eq!(jpeg_size(&[0xff, 0xd8, 0xff, 0xe0, 0, 0, 0xff, 0xe0, 0, 0]), None);
    }
}
