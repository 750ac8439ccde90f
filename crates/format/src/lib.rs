//! What a recording is: the uploads clients send, the lines they become, and the `.reel` files that keep them.
//!
//! Pure code: bytes in, bytes out. No clock, no files, no threads, no `unsafe`. The modules are declared in the order
//! an event travels: an upload is inflated and scanned, its events lose their compression, become lines, are counted,
//! and are packed into blocks of a `.reel` file.

pub mod id;
pub mod count;
pub mod limits;
pub mod json;
pub mod upload;
pub mod event;
pub mod cv;
pub mod line;
pub mod summary;
pub mod block;
pub mod sign;
pub mod reel;
