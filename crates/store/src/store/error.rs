//! What a store may refuse, and why.

use crate::catalog::CatalogError;
use crate::inbox::InboxError;
use crate::lock::LockError;
use crate::objects::ObjectError;

/// Why a store cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The inbox refused.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The objects could not be read or written.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A block's bytes are not what was stored. Other blocks are not affected.
    #[error("block {block} of object {object} cannot be read")]
    Block {
        /// The object's id.
        object: String,
        /// The block's ordinal.
        block: u32,
        /// What is wrong with it.
        #[source]
        source: reelcase_format::block::BlockError,
    },
    /// A file cannot be laid out.
    #[error(transparent)]
    Reel(#[from] reelcase_format::reel::ReelError),
    /// A newer release wrote the settings, and this one would lose what it does not know.
    #[error("the settings are of a newer release\nhint: upgrade to change them")]
    NewerSettings,
    /// A newer release wrote the notes, and this one would lose what it does not know.
    #[error("the notes are of a newer release\nhint: upgrade to change them")]
    NewerNotes,
    /// A newer release wrote a document, and this one would lose what it does not know.
    #[error("the file {name}.json is of a newer release\nhint: upgrade to use it")]
    NewerDocument {
        /// The document's name.
        name: &'static str,
    },
    /// More was said than there is room for.
    #[error("a file of notes would be longer than {limit} bytes\nhint: delete old comments")]
    NotesFull {
        /// Longest that one may be.
        limit: usize,
    },
    /// The store is being closed; what was begun is begun anew next time.
    #[error("the store is being closed")]
    Stopping,
    /// The directory cannot be used.
    #[error("cannot use {path}")]
    Directory {
        /// The directory or file.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Why an upload was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Too much waits. The client should come back.
    #[error("too much is waiting to be sealed")]
    Busy {
        /// Seconds after which it may go better.
        retry_after_s: u32,
    },
    /// The disk refuses. The client should come back.
    #[error("the inbox cannot write")]
    Failing {
        /// Seconds after which it may go better.
        retry_after_s: u32,
        /// What the inbox says.
        #[source]
        source: InboxError,
    },
    /// Larger than any record may be; no retry can help.
    #[error("the upload is larger than the inbox takes")]
    TooLarge(#[source] InboxError),
}

impl From<InboxError> for AcceptError {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::Full { .. } => Self::Busy { retry_after_s: 5 },
            InboxError::TooLarge { .. } => Self::TooLarge(error),
            source => Self::Failing { retry_after_s: 5, source },
        }
    }
}
