//! Where recordings live: a durable inbox, objects that are valid `.reel` files, and a catalog that can be rebuilt
//! from them.
//!
//! **An upload is safe once the inbox has synced it; it is sealed once an object that holds it has its name; the
//! catalog only follows.** Every object names the uploads its blocks hold, so whatever is replayed after a crash is
//! recognised and dropped. The modules are declared in the order an upload travels.

pub mod abort;
mod adopt;
pub mod bundle;
pub mod catalog;
pub mod clock;
pub mod compact;
pub mod document;
mod entry;
pub mod export;
pub mod inbox;
mod known;
pub mod lock;
mod maintain;
pub mod merge;
mod newer;
pub mod notes;
pub mod objects;
mod pending;
mod persons;
mod pictures;
mod recent;
pub mod record;
mod salvage;
mod seal;
mod settings;
pub mod spool;
pub mod step;
pub mod store;
pub mod sweep;

pub use adopt::Adopted;
pub use clock::{Clock, SystemClock};
pub use newer::NewerObject;
pub use record::{Accepted, ItemKind, ItemRef, Unsorted};
pub use salvage::{FileSource, Salvaged};
pub use spool::{Due, Lane, Onward, SpoolOptions, SpoolStats};
pub use store::{AcceptError, Parcel, Receipt, Store, StoreError, StoreOptions, UnsortedFigures};
