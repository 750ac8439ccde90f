//! Says how far a long work is: a line that changes on a terminal, and now and then a line anywhere else.
//!
//! The line that changes is the last one of the terminal, and no longer than that is wide. It is taken away before
//! another line is printed, which `say!` does, and at the end, also where that is an error.

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reelcase_format::count::counted;

use crate::talk;

/// How often a terminal is told.
const TERMINAL_PAUSE: Duration = Duration::from_millis(200);

/// How often a log is told.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Cells of the bar.
const BAR_CELLS: usize = 24;

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// Before this, nobody knows how fast it goes.
const RATE_KNOWN_AFTER: Duration = Duration::from_millis(500);

/// How far a work is. Whoever works at it adds what is done.
#[derive(Debug)]
pub(crate) struct Progress {
    manner: Manner,
    pace: Mutex<Pace>,
}

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Terminal,
    Log,
    /// Nobody waits for it: a server makes it, and its log says what went wrong.
    Quiet,
}

/// What is done, and what there is to do.
#[derive(Debug, Clone)]
struct Pace {
    /// What is counted, in the singular.
    what: &'static str,
    done: Amount,
    /// Nothing where nobody has counted it.
    all: Option<Amount>,
    /// How far down a list that is, for people.
    place: Option<String>,
    since: Instant,
    told_at: Instant,
}

/// So many, of so many bytes. None where nobody knows how many bytes they have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    count: u64,
    bytes: u64,
}

impl Progress {
    /// Begins with nothing done, of what nobody has counted yet. `what` is what is counted, in the singular.
    pub(crate) fn new(what: &'static str) -> Self {
        // A dumb terminal cannot take a line away.
        let is_terminal = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let manner = if is_terminal { Manner::Terminal } else { Manner::Log };
        Self { manner, pace: Mutex::new(Pace::new(what, Instant::now())) }
    }

    /// The same for nobody to look at, where that is so.
    pub(crate) fn quiet(mut self, is_quiet: bool) -> Self {
        if is_quiet {
            self.manner = Manner::Quiet;
        }
        self
    }

    /// There are so many, of so many bytes.
    pub(crate) fn expect(&self, count: u64, bytes: u64) {
        self.pace().all = Some(Amount { count, bytes });
    }

    /// Begins to count something else.
    pub(crate) fn go_on_with(&self, what: &'static str, count: u64, bytes: u64) {
        *self.pace() = Pace { all: Some(Amount { count, bytes }), ..Pace::new(what, Instant::now()) };
    }

    /// One more is done.
    pub(crate) fn add(&self, bytes: u64) {
        let mut pace = self.pace();
        pace.done.count += 1;
        pace.done.bytes += bytes;
        self.tell(&mut pace);
    }

    /// One fewer is to be done.
    pub(crate) fn skip(&self) {
        if let Some(all) = &mut self.pace().all {
            all.count = all.count.saturating_sub(1);
        }
    }

    /// How many are done.
    pub(crate) fn count(&self) -> u64 {
        self.pace().done.count
    }

    /// How far down a list it is.
    pub(crate) fn reach(&self, place: String) {
        self.pace().place = Some(place);
    }

    /// Waits for a part of the work, and tells meanwhile how far it is.
    pub(crate) async fn during<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        let pause = if self.manner == Manner::Terminal { TERMINAL_PAUSE } else { LOG_PAUSE };
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(pause) => self.tell(&mut self.pace()),
            }
        }
    }

    /// Prints a line of its own.
    pub(crate) fn say(&self, line: &str) {
        match self.manner {
            Manner::Quiet => tracing::warn!("{line}"),
            Manner::Terminal | Manner::Log => say!("{line}"),
        }
    }

    /// Takes the line away that changes.
    pub(crate) fn end(&self) {
        talk::show_nothing();
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how far it is, where it is time for that.
    fn tell(&self, pace: &mut Pace) {
        let pause = match self.manner {
            Manner::Terminal => TERMINAL_PAUSE,
            Manner::Log => LOG_PAUSE,
            Manner::Quiet => return,
        };
        let now = Instant::now();
        if now.duration_since(pace.told_at) < pause {
            return;
        }
        pace.told_at = now;
        let text = pace.text(now);
        if self.manner == Manner::Log {
            return say!("{text}");
        }
        let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        talk::show(&fitted(pace.bar(), text, if columns == 0 { COLUMNS } else { columns }));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

impl Pace {
    fn new(what: &'static str, now: Instant) -> Self {
        Self { what, done: Amount::default(), all: None, place: None, since: now, told_at: now }
    }

    /// Counts, rate, and the time that the rest takes at this rate.
    fn text(&self, now: Instant) -> String {
        let Self { what, done, all, .. } = self;
        let mut text = match all {
            Some(all) => format!("{} of {}", done.count, counted(all.count, what)),
            None => format!("{} so far", counted(done.count, what)),
        };
        if let Some(place) = &self.place {
            text.push_str(&format!(", {place}"));
        }
        let elapsed = now.duration_since(self.since);
        if done.count == 0 || elapsed < RATE_KNOWN_AFTER {
            return text;
        }
        let per_second = |amount: u64| amount as f64 / elapsed.as_secs_f64();
        let (rate, left) = match done.bytes {
            0 => {
                let left = all.map(|all| all.count.saturating_sub(done.count) as f64 / per_second(done.count));
                (format!("{:.0} an hour", per_second(done.count) * 3_600.0), left)
            }
            bytes => {
                let left = all.map(|all| all.bytes.saturating_sub(bytes) as f64 / per_second(bytes));
                (rate_of(per_second(bytes)), left)
            }
        };
        text.push_str(&format!(", {rate}"));
        if let Some(left) = left {
            text.push_str(&format!(", {} left", clock(left)));
        }
        text
    }

    /// How much of it is done, as a picture. Empty where nobody knows of how much.
    fn bar(&self) -> String {
        let Some(all) = self.all else { return String::new() };
        let filled = self.done.count.saturating_mul(BAR_CELLS as u64) / all.count.max(1);
        let filled = (filled as usize).min(BAR_CELLS);
        format!("{}{} ", "█".repeat(filled), "░".repeat(BAR_CELLS - filled))
    }
}

/// As much as goes on one line. The last column stays free: some terminals begin the next line with it.
fn fitted(bar: String, text: String, columns: usize) -> String {
    let (room, bar_cells, text_cells) = (columns.saturating_sub(1), bar.chars().count(), text.chars().count());
    match (bar_cells + text_cells <= room, text_cells <= room) {
        (true, _) => bar + &text,
        (false, true) => text,
        (false, false) => text.chars().take(room.saturating_sub(1)).chain(['…']).take(room).collect(),
    }
}

fn rate_of(bytes_per_second: f64) -> String {
    match bytes_per_second < 1e6 {
        true => format!("{:.0} kB/s", bytes_per_second / 1e3),
        false => format!("{:.1} MB/s", bytes_per_second / 1e6),
    }
}

/// Hours, minutes and seconds.
fn clock(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e9) as u64;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(done: (u64, u64), all: Option<(u64, u64)>, after: Duration) -> String {
        let amount = |(count, bytes)| Amount { count, bytes };
        let since = Instant::now();
        let pace = Pace { done: amount(done), all: all.map(amount), ..Pace::new("recording", since) };
        pace.text(since + after)
    }

    #[test]
    fn the_rate_says_how_long_the_rest_takes() {
        let two = Duration::from_secs(2);
        let all = Some((40, 80_000_000));
        assert_eq!(told((10, 20_000_000), all, two), "10 of 40 recordings, 10.0 MB/s, 0:06 left");
        assert_eq!(told((10, 20_000), all, two), "10 of 40 recordings, 10 kB/s, 2:13:18 left");
        assert_eq!(
            told((10, 0), Some((40, 0)), Duration::from_secs(600)),
            "10 of 40 recordings, 60 an hour, 30:00 left"
        );
        assert_eq!(told((0, 0), all, two), "0 of 40 recordings", "nobody knows the rate before something is done");
        assert_eq!(told((1, 9), Some((1, 9)), Duration::ZERO), "1 of 1 recording");
    }

    #[test]
    fn what_nobody_has_counted_has_a_place_in_a_list() {
        let since = Instant::now();
        let mut pace = Pace::new("recording", since);
        (pace.done.count, pace.place) = (7, Some("back to 2026-11-01".to_owned()));
        let text = pace.text(since + Duration::from_secs(360));
        assert_eq!(text, "7 recordings so far, back to 2026-11-01, 70 an hour");
        assert_eq!(pace.bar(), "");
    }

    #[test]
    fn the_line_is_one_line_of_the_terminal() {
        let (bar, text) = ("██░░ ".to_owned(), "1 of 2 files".to_owned());
        let at = |columns| fitted(bar.clone(), text.clone(), columns);
        assert_eq!(at(18), "██░░ 1 of 2 files");
        assert_eq!(at(17), "1 of 2 files");
        assert_eq!(at(13), "1 of 2 files");
        assert_eq!(at(12), "1 of 2 fil…");
        assert_eq!((at(2), at(1), at(0)), ("…".to_owned(), String::new(), String::new()));
    }
}
