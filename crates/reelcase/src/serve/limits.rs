//! The limits of `reelcase serve`: how much of anything is taken, and how long is waited for it.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use reelcase_server::{ServerOptions, Timeouts};
use reelcase_store::StoreOptions;

/// Bytes that an inbox record has beside the body: what is known of each of its events.
const RECORD_HEAD_BYTES: usize = 4 << 20;

/// The longest body that fits into one segment of the inbox.
const BODY_BYTES_MAX: usize = 56 << 20;

/// Descriptors that are not connections: the store's files and the program's own.
const OTHER_DESCRIPTORS: u64 = 256;

/// Limits. An upload past one of the first nine is refused for good; past the others it is asked to come back.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits (bytes may be written like 20MiB)")]
pub(crate) struct LimitArgs {
    /// Longest body of one upload, as it comes over the wire: 413.
    #[arg(long, env = "REELCASE_BODY_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "20MiB")]
    body_bytes_max: usize,
    /// Longest body once its coding is undone: 413.
    #[arg(long, env = "REELCASE_INFLATED_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "64MiB")]
    inflated_bytes_max: usize,
    /// How many times its own size a body or compressed field may inflate to, past the first MiB: 413.
    #[arg(long, env = "REELCASE_INFLATE_RATIO_MAX", value_name = "TIMES", default_value_t = 200)]
    inflate_ratio_max: usize,
    /// What one compressed field of an event may inflate to. Past it the event is kept compressed.
    #[arg(long, env = "REELCASE_FIELD_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "64MiB")]
    field_bytes_max: usize,
    /// What all compressed fields of an upload may inflate to. Past it the events are kept compressed.
    #[arg(long, env = "REELCASE_FIELDS_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "128MiB")]
    fields_bytes_max: usize,
    /// Levels of nested arrays and objects: 400.
    #[arg(long, env = "REELCASE_NESTING_MAX", value_name = "LEVELS", default_value_t = 1_000)]
    nesting_max: usize,
    /// Events of the client protocol in one upload: 413.
    #[arg(long, env = "REELCASE_ITEMS_MAX", value_name = "COUNT", default_value_t = 10_000)]
    items_max: usize,
    /// Recorded (rrweb) events in one upload: 413.
    #[arg(long, env = "REELCASE_EVENTS_MAX", value_name = "COUNT", default_value_t = 50_000)]
    events_max: usize,
    /// Longest window id. An event with a longer one is dropped and counted.
    #[arg(long, env = "REELCASE_WINDOW_ID_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "128")]
    window_id_bytes_max: usize,
    /// Bytes of all bodies in memory at once; large ones get three quarters of it. Past it: 503.
    #[arg(long, env = "REELCASE_BODY_BYTES_IN_FLIGHT_MAX", value_name = "BYTES", value_parser = bytes, default_value = "128MiB")]
    body_bytes_in_flight_max: usize,
    /// Bytes that large uploads may inflate to at once. Past it they wait five seconds, then: 503.
    #[arg(long, env = "REELCASE_INFLATED_BYTES_IN_FLIGHT_MAX", value_name = "BYTES", value_parser = bytes, default_value = "80MiB")]
    inflated_bytes_in_flight_max: usize,
    /// Bytes of the inbox on disk. Past it: 503.
    #[arg(long, env = "REELCASE_INBOX_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "4GiB")]
    inbox_bytes_max: usize,
    /// Events of the client protocol that may wait to be sealed, each taking some 150 bytes of memory. Past it: 503.
    #[arg(long, env = "REELCASE_PENDING_ITEMS_MAX", value_name = "COUNT", default_value_t = 1_000_000)]
    pending_items_max: usize,
    /// Connections open at once. Further ones wait until another one ends.
    #[arg(long, env = "REELCASE_CONNECTIONS_MAX", value_name = "COUNT", default_value_t = 20_000)]
    connections_max: usize,
    /// How long the head of a request may take, in milliseconds.
    #[arg(long, env = "REELCASE_HEAD_WAIT_MS", value_name = "MS", default_value_t = 15_000)]
    head_wait_ms: u64,
    /// How long a connection may idle between two requests, in milliseconds. To be longer than browsers and proxies
    /// keep it, so that they are the ones who close it.
    #[arg(long, env = "REELCASE_IDLE_WAIT_MS", value_name = "MS", default_value_t = 620_000)]
    idle_wait_ms: u64,
    /// How long the next piece of a body may take, in milliseconds. Past it: 503.
    #[arg(long, env = "REELCASE_BODY_PIECE_WAIT_MS", value_name = "MS", default_value_t = 20_000)]
    body_piece_wait_ms: u64,
    /// How long a whole body may take, in milliseconds. Past it: 503.
    #[arg(long, env = "REELCASE_BODY_WAIT_MS", value_name = "MS", default_value_t = 120_000)]
    body_wait_ms: u64,
    /// How long open requests may take once the server was told to stop, in milliseconds.
    #[arg(long, env = "REELCASE_SHUTDOWN_WAIT_MS", value_name = "MS", default_value_t = 20_000)]
    shutdown_wait_ms: u64,
}

impl LimitArgs {
    /// Sets what the store is to know of them.
    pub(crate) fn apply_to_store(&self, options: &mut StoreOptions) -> anyhow::Result<()> {
        ensure!(
            self.body_bytes_max <= BODY_BYTES_MAX,
            "--body-bytes-max can be {BODY_BYTES_MAX} at most, found {}: the inbox could not hold longer ones",
            self.body_bytes_max
        );
        self.apply_to_limits(&mut options.limits);
        options.inbox.inbox_bytes_max = self.inbox_bytes_max as u64;
        let record_bytes = u32::try_from(self.body_bytes_max + RECORD_HEAD_BYTES)?;
        options.inbox.record_bytes_max = options.inbox.record_bytes_max.max(record_bytes);
        options.pending_items_max = self.pending_items_max;
        Ok(())
    }

    /// Sets what the server is to know of them.
    pub(crate) fn apply_to_server(&self, options: &mut ServerOptions) {
        self.apply_to_limits(&mut options.limits);
        options.body_bytes_in_flight_max = self.body_bytes_in_flight_max;
        options.inflated_bytes_in_flight_max = self.inflated_bytes_in_flight_max;
        options.connections_max = connections_that_fit(self.connections_max);
        options.timeouts = Timeouts {
            head: Duration::from_millis(self.head_wait_ms),
            idle: Duration::from_millis(self.idle_wait_ms),
            body_piece: Duration::from_millis(self.body_piece_wait_ms),
            body: Duration::from_millis(self.body_wait_ms),
            shutdown: Duration::from_millis(self.shutdown_wait_ms),
        };
    }

    fn apply_to_limits(&self, limits: &mut reelcase_format::limits::Limits) {
        limits.body_bytes_max = self.body_bytes_max;
        limits.inflated_bytes_max = self.inflated_bytes_max;
        limits.inflate_ratio_max = self.inflate_ratio_max;
        limits.field_bytes_max = self.field_bytes_max;
        limits.fields_bytes_max = self.fields_bytes_max;
        limits.nesting_max = self.nesting_max;
        limits.items_max = self.items_max;
        limits.events_max = self.events_max;
        limits.window_id_bytes_max = self.window_id_bytes_max;
    }
}

/// Asks the system for as many file descriptors as the connections need. What it does not give, we do not promise:
/// running out of them would fail the store's files too.
fn connections_that_fit(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = wanted as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let raised = needed.min(limit.maximum.unwrap_or(u64::MAX)).max(limit.current.unwrap_or(u64::MAX));
    let current = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised,
        Err(_) => limit.current.unwrap_or(u64::MAX),
    };
    if current >= needed {
        return wanted;
    }
    let fitting = usize::try_from(current.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(wanted).max(1);
    // A few fewer than wanted make no difference to anybody.
    if fitting < wanted / 2 {
        tracing::warn!(
            wanted,
            fitting,
            "only {fitting} connections fit under the limit of {current} open files; raise its hard limit with \
             `ulimit -Hn`, LimitNOFILE= of systemd or --ulimit nofile= of docker, or lower --connections-max"
        );
    }
    fitting
}

/// Reads a number of bytes, such as `1048576`, `1MiB` or `4GiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("unknown unit {other:?}: write B, KiB, MiB or GiB")),
    };
    let number: usize = digits.trim().parse().map_err(|_| format!("{text:?} is not a number of bytes"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too many bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_with_and_without_units() {
        let read: Vec<_> = ["7", "7B", "2KiB", "20MiB", "4GiB"].into_iter().map(|text| bytes(text).unwrap()).collect();
        assert_eq!(read, [7, 7, 2 << 10, 20 << 20, 4 << 30]);
        for wrong in ["", "MiB", "1MB", "-1", "99999999999GiB", "1 2"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_parts() {
        use clap::Parser;

        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            limits: LimitArgs,
        }

        let limits = Cli::parse_from(["serve"]).limits;
        let (mut server, mut store) = (ServerOptions::default(), StoreOptions::new("data"));
        limits.apply_to_server(&mut server);
        limits.apply_to_store(&mut store).unwrap();
        let (expected, of_store) = (ServerOptions::default(), StoreOptions::new("data"));
        assert_eq!(server.limits, expected.limits);
        assert_eq!(server.body_bytes_in_flight_max, expected.body_bytes_in_flight_max);
        assert_eq!(server.inflated_bytes_in_flight_max, expected.inflated_bytes_in_flight_max);
        assert_eq!(format!("{:?}", server.timeouts), format!("{:?}", expected.timeouts));
        assert_eq!(store.limits, of_store.limits);
        assert_eq!(store.pending_items_max, of_store.pending_items_max);
        assert_eq!(format!("{:?}", store.inbox), format!("{:?}", of_store.inbox));
    }
}
