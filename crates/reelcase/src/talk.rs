//! What commands print: data to stdout, talk to stderr.
//!
//! Whoever reads either may stop when they have enough, as `head` does, and that is no error. Work of which something is
//! printed goes on, and its exit code stays what it is; a command that does nothing but write ends there, see [`Stdout`].

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde::Serialize;

use crate::terminal;

/// Whether a line that changes stands on the terminal, as its last. It is taken away before another one is printed.
static IS_SHOWN: Mutex<bool> = Mutex::new(false);

/// Prints a line of data. Fails where it cannot be written, but not because nobody reads on.
macro_rules! print_line {
    ($($part:tt)+) => { $crate::talk::print_line(format_args!($($part)+)) };
}

/// Says a line to whoever looks on. Nothing depends on whether anybody does.
macro_rules! say {
    ($($part:tt)+) => { $crate::talk::say(format_args!($($part)+)) };
}

/// See the macro.
pub(crate) fn print_line(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write to stdout"),
    }
}

/// Prints a value as JSON that a person reads, too.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line!("{}", terminal::json(&serde_json::to_string_pretty(value)?))
}

/// See the macro.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let mut is_shown = is_shown();
    take_away(&mut is_shown);
    let _ = writeln!(io::stderr(), "{line}");
}

/// Shows a line on a terminal, in the place of the one that was shown before.
pub(crate) fn show(line: &str) {
    *is_shown() = write!(io::stderr(), "\r\x1b[K{line}").is_ok();
}

/// Takes away the line that is shown.
pub(crate) fn show_nothing() {
    take_away(&mut is_shown());
}

fn is_shown() -> MutexGuard<'static, bool> {
    IS_SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_away(is_shown: &mut bool) {
    if std::mem::take(is_shown) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

/// Stdout of a command that does nothing but write to it: it fails where nobody reads on, as [`is_unread`] tells.
pub(crate) struct Stdout(io::Stdout);

/// Nobody reads stdout any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads stdout any more")]
struct Unread;

impl Stdout {
    pub(crate) fn new() -> Self {
        Self(io::stdout())
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unread)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unread)
    }
}

/// Whether all that failed is that nobody reads stdout any more. Other pipes and connections break for other reasons.
pub(crate) fn is_unread(error: &anyhow::Error) -> bool {
    let within = |io: &io::Error| io.get_ref().is_some_and(|inner| inner.is::<Unread>());
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(within))
}

fn unread(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ ErrorKind::BrokenPipe => io::Error::new(kind, Unread),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_breaks_is_not_taken_for_a_reader_who_has_enough() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let told = |error: io::Error| is_unread(&anyhow::Error::from(error).context("cannot write on"));
        assert!(told(unread(broken())));
        assert!(!told(broken()));
        assert!(!told(unread(io::Error::from(ErrorKind::StorageFull))));
    }
}
