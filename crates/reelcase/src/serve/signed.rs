//! Who signed the files that are opened, so that whoever watches sees it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::reel::{ReelLimits, bearing, index_of, verify};
use reelcase_format::sign::PublicKey;
use reelcase_server::api::FileSignature;
use reelcase_transform::kind::Kind;

use crate::{file, sign, terminal};

/// What is known of the recordings of files that are opened.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    /// Those of unsigned files are here, too: of a recording that is in several files more is played than one of them.
    known: HashMap<(ProjectKey, RecordingId), Option<FileSignature>>,
}

impl Signatures {
    /// Looks at a file, and at the `.reel` file that is in it; says on stderr who signed it.
    pub(super) fn look(&mut self, path: &Path, reel: &Path) -> anyhow::Result<()> {
        let found = signature_of(path, reel)?;
        if let Some(FileSignature { signed_by, flaw }) = &found {
            match flaw {
                None => say!("note: {} is signed by {}", path.display(), signed_by.join(", ")),
                Some(flaw) => {
                    say!("warning: {} is not as it was signed: {}", path.display(), terminal::line(flaw))
                }
            }
        }
        // A file whose index cannot be read is refused elsewhere, which says why.
        let Ok(index) = index_of(&file::source(reel)?, &ReelLimits::default()) else { return Ok(()) };
        for recording in index.recordings {
            match self.known.entry((recording.project, recording.id)) {
                Entry::Vacant(entry) => drop(entry.insert(found.clone())),
                Entry::Occupied(mut entry) => {
                    let both = joined(entry.get().clone(), found.clone());
                    entry.insert(both);
                }
            }
        }
        Ok(())
    }

    /// By recording, what is to be said of the file that it is from.
    pub(super) fn known(self) -> HashMap<(ProjectKey, RecordingId), FileSignature> {
        self.known.into_iter().filter_map(|(name, signature)| Some((name, signature?))).collect()
    }
}

/// What is to be said of a recording that is in two files: what holds for both, and that one was changed.
fn joined(one: Option<FileSignature>, other: Option<FileSignature>) -> Option<FileSignature> {
    let is_flawed = |signature: &Option<FileSignature>| signature.as_ref().is_some_and(|found| found.flaw.is_some());
    match (is_flawed(&one), is_flawed(&other)) {
        (true, _) => one,
        (false, true) => other,
        (false, false) => {
            let (mut one, other) = (one?, other?);
            one.signed_by.retain(|signer| other.signed_by.contains(signer));
            (!one.signed_by.is_empty()).then_some(one)
        }
    }
}

/// Who signed a file, be it beside it or in it. Nothing where nobody did.
fn signature_of(path: &Path, reel: &Path) -> anyhow::Result<Option<FileSignature>> {
    let (mut signers, mut flaw) = (Vec::new(), None);
    if Kind::read(file::open(path)?)? == Kind::Encrypted {
        match sign::signers_beside(path)? {
            Some(Ok(beside)) => signers = beside,
            Some(Err(error)) => flaw = Some(format!("the signature beside it: {error}")),
            None => {}
        }
    }
    let source = file::source(reel)?;
    let limits = ReelLimits::default();
    let borne = bearing(&source, &limits);
    // Most files are not signed, and need not be read to their end for that.
    if !borne.as_ref().is_ok_and(Vec::is_empty) {
        let damage = verify(&source, &limits).damage;
        flaw = flaw.or(damage.first().map(|damage| format!("byte {}: {}", damage.offset, damage.what)));
        signers.extend(borne.unwrap_or_default());
    }
    let mut known = HashSet::new();
    let signed_by: Vec<String> =
        signers.iter().map(PublicKey::to_string).filter(|key| known.insert(key.clone())).collect();
    let is_signed = !signed_by.is_empty() || flaw.is_some();
    Ok(is_signed.then_some(FileSignature { signed_by, flaw }))
}
