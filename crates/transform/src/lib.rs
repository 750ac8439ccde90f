//! Recordings in and out of other forms.
//!
//! Everything meets in one form, [`stream`]: a header and a stream of rrweb events. Readers produce it, writers consume
//! it, and neither knows the other, so that a new form costs one file here. Pure code: it reads from [`std::io::Read`]
//! and writes to [`std::io::Write`], and never opens, sleeps or asks for the time. Memory grows with one event and one
//! block, never with a recording.

pub mod stream;
pub mod foreign;
pub mod reel;
pub mod html;
pub mod encrypted;
pub mod jsonl;
pub mod rrweb;
pub mod posthog;
pub mod seeds;
pub mod har;
pub mod console;
pub mod packed;
pub mod upload;
pub mod analytics;
pub mod zip;
pub mod staff;
#[cfg(feature = "tables")]
pub mod tables;
#[cfg(feature = "tables")]
pub mod kind;
pub mod format;
mod time;
