//! Named places where tests make the process end as `kill -9` ends it. Debug builds only: in a release build
//! [`abort_point!`](crate::abort_point) is nothing at all.
//!
//! `REELCASE_ABORT_AT=object.renamed:2` ends the process when it comes to `object.renamed` for the second time.
//! [`ABORT_POINTS`] names the places, in the order an upload travels; [`TIDYING_ABORT_POINTS`] those where stored
//! recordings are compacted and swept.

/// Every place on the way of an upload where a debug build can be made to end.
pub const ABORT_POINTS: [&str; 13] = [
    "inbox.written",
    "inbox.synced",
    "inbox.registered",
    "inbox.rolled",
    "inbox.recycled",
    "seal.decoded",
    "object.written",
    "object.renamed",
    "object.synced",
    "catalog.before_commit",
    "catalog.committed",
    "inbox.before_release",
    "inbox.released",
];

/// Every such place where recordings are compacted and dead objects are swept: the steps of [`Step`](crate::step::Step).
pub const TIDYING_ABORT_POINTS: [&str; 5] =
    ["compact.drafted", "compact.placed", "compact.entered", "sweep.deleted", "sweep.forgotten"];

/// Ends the process here if a test asked for it. Nothing in a release build.
#[macro_export]
#[doc(hidden)]
macro_rules! abort_point {
    ($name:expr) => {
        #[cfg(debug_assertions)]
        $crate::abort::reach($name);
    };
}

/// See [`abort_point!`](crate::abort_point).
#[cfg(debug_assertions)]
#[doc(hidden)]
pub fn reach(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let asked = std::env::var("REELCASE_ABORT_AT").ok()?;
        let (name, count) = asked.split_once(':').unwrap_or((&asked, "1"));
        Some((name.to_owned(), AtomicU64::new(count.parse().unwrap_or(1))))
    });
    let Some((wanted, left)) = wanted else { return };
    // No destructor runs and no buffer is flushed, so the files are left as `kill -9` leaves them.
    if wanted == name && left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}
