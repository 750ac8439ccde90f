//! Says how far a long work is: a line that changes on a terminal, and now and then a line anywhere else.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use reelcase_format::count::counted;

/// How often a terminal is told.
const TERMINAL_PAUSE: Duration = Duration::from_millis(200);

/// How often a log is told.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Cells of the bar.
const BAR_CELLS: u64 = 24;

/// How far it is.
pub(super) struct Progress {
    count: u64,
    count_all: u64,
    bytes: u64,
    bytes_all: u64,
    since: Instant,
    told_at: Instant,
    is_terminal: bool,
    /// Nobody waits for it: a server makes it, and its log says what went wrong.
    is_quiet: bool,
}

impl Progress {
    /// Begins with nothing done of `count_all` recordings, which take `bytes_all` in the store.
    pub(super) fn new(count_all: u64, bytes_all: u64) -> Self {
        let (since, is_terminal) = (Instant::now(), io::stderr().is_terminal());
        Self { count: 0, count_all, bytes: 0, bytes_all, since, told_at: since, is_terminal, is_quiet: false }
    }

    /// The same for nobody to look at, where that is so.
    pub(super) fn quiet(self, is_quiet: bool) -> Self {
        Self { is_quiet, is_terminal: self.is_terminal && !is_quiet, ..self }
    }

    /// One more recording is done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        let pause = if self.is_terminal { TERMINAL_PAUSE } else { LOG_PAUSE };
        if self.is_quiet || self.told_at.elapsed() < pause {
            return;
        }
        self.told_at = Instant::now();
        let text = text(self.count, self.count_all, self.bytes, self.bytes_all, self.since.elapsed());
        if self.is_terminal {
            let filled = (self.count * BAR_CELLS / self.count_all.max(1)).min(BAR_CELLS) as usize;
            let bar = "█".repeat(filled) + &"░".repeat(BAR_CELLS as usize - filled);
            let _ = write!(io::stderr(), "\r\x1b[K{bar} {text}");
        } else {
            say!("{text}");
        }
    }

    /// Prints a line of its own.
    pub(super) fn say(&mut self, line: &str) {
        if self.is_quiet {
            return tracing::warn!("{line}");
        }
        self.clear();
        say!("{line}");
    }

    /// Takes the changing line away.
    pub(super) fn end(&mut self) {
        self.clear();
    }

    fn clear(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Counts, rate, and the time that the rest takes at this rate.
fn text(count: u64, count_all: u64, bytes: u64, bytes_all: u64, elapsed: Duration) -> String {
    let bytes_per_second = bytes as f64 / elapsed.as_secs_f64().max(0.001);
    let seconds_left = bytes_all.saturating_sub(bytes) as f64 / bytes_per_second.max(1.0);
    let left = Duration::from_secs_f64(seconds_left.min(1e9)).as_secs();
    let (minutes, seconds) = (left / 60, left % 60);
    let rate = bytes_per_second / 1e6;
    let all = counted(count_all, "recording");
    format!("{count} of {all}, {rate:.1} MB/s, {minutes}:{seconds:02} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_says_how_long_the_rest_takes() {
        let told = text(10, 40, 20_000_000, 80_000_000, Duration::from_secs(2));
        assert_eq!(told, "10 of 40 recordings, 10.0 MB/s, 0:06 left");
        assert_eq!(text(0, 0, 0, 0, Duration::ZERO), "0 of 0 recordings, 0.0 MB/s, 0:00 left");
    }
}
