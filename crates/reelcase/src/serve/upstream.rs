//! The settings of `reelcase serve` about the PostHog behind it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use reelcase_server::{Mode, QuotaLimited, UpstreamOptions};
use reelcase_store::{SpoolOptions, StoreOptions};
use reelcase_upstream::{Base, Hosts, Waits};

use super::limits::bytes;

/// Longest that an upload may wait: a restart looks at all that do, and what is sealed is remembered for 48 hours.
const SPOOL_AGE_MAX_S: i64 = 40 * 3_600;

/// Stand in front of PostHog, and keep an open copy of every recording.
#[derive(Debug, Args)]
#[command(next_help_heading = "In front of PostHog")]
pub(crate) struct UpstreamArgs {
    /// The PostHog that requests go on to: us, eu, or the address of one of your own.
    #[arg(long, env = "REELCASE_UPSTREAM", value_name = "us|eu|URL")]
    upstream: Option<Hosts>,
    /// Where uploads go, if that is not what --upstream says.
    #[arg(long, env = "REELCASE_UPSTREAM_INGEST", value_name = "URL", requires = "upstream")]
    upstream_ingest: Option<Base>,
    /// Where scripts and config are, likewise.
    #[arg(long, env = "REELCASE_UPSTREAM_ASSETS", value_name = "URL", requires = "upstream")]
    upstream_assets: Option<Base>,
    /// What people look at, likewise. Nothing is sent there.
    #[arg(long, env = "REELCASE_UPSTREAM_UI", value_name = "URL", requires = "upstream")]
    upstream_ui: Option<Base>,
    /// What becomes of requests: tee lets PostHog answer and keeps a copy; mirror answers once an upload is durable here
    /// and sends it on until PostHog has it; store keeps them from PostHog; pass keeps nothing. A project can have
    /// another mode, chosen while the server runs.
    #[arg(long, env = "REELCASE_MODE", value_name = "MODE", default_value = "tee", requires = "upstream")]
    mode: Mode,
    /// A file with certificates in PEM form that are trusted besides those of the system.
    #[arg(long, env = "REELCASE_UPSTREAM_CA", value_name = "FILE", requires = "upstream")]
    upstream_ca: Option<PathBuf>,
    /// Start without looking at PostHog first: its name, its certificate, and whether it is this server itself.
    #[arg(long, env = "REELCASE_UPSTREAM_UNCHECKED", requires = "upstream")]
    upstream_unchecked: bool,
    /// What becomes of PostHog's word that a quota is used up: pass stops recorders for a minute each time, for both
    /// sides; hide keeps them going.
    #[arg(
        long,
        env = "REELCASE_UPSTREAM_QUOTA_LIMITED",
        value_name = "pass|hide",
        default_value = "pass",
        value_parser = quota_limited
    )]
    upstream_quota_limited: QuotaLimited,
    /// Longest body that goes on to PostHog: 413. What is kept of it is bounded by --body-bytes-max.
    #[arg(long, env = "REELCASE_UPSTREAM_BODY_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "64MiB")]
    upstream_body_bytes_max: usize,
    /// How long a connection to PostHog may take, in milliseconds. Past it: 503.
    #[arg(long, env = "REELCASE_UPSTREAM_CONNECT_WAIT_MS", value_name = "MS", default_value_t = 5_000)]
    upstream_connect_wait_ms: u64,
    /// How long PostHog may take to answer once it has a request, in milliseconds. Past it: 503.
    #[arg(long, env = "REELCASE_UPSTREAM_REPLY_WAIT_MS", value_name = "MS", default_value_t = 30_000)]
    upstream_reply_wait_ms: u64,
    /// How long the next piece of a reply may take, in milliseconds. Past it the reply breaks off.
    #[arg(long, env = "REELCASE_UPSTREAM_PIECE_WAIT_MS", value_name = "MS", default_value_t = 60_000)]
    upstream_piece_wait_ms: u64,
    /// Bytes of the inbox that may wait for PostHog, over --inbox-bytes-max. Past it PostHog does not get the oldest.
    #[arg(long, env = "REELCASE_SPOOL_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "4GiB")]
    spool_bytes_max: usize,
    /// Seconds that an upload may wait for PostHog. Past it PostHog does not get it.
    #[arg(
        long,
        env = "REELCASE_SPOOL_AGE_MAX_S",
        value_name = "SECONDS",
        default_value_t = 86_400,
        value_parser = clap::value_parser!(u32).range(1..=SPOOL_AGE_MAX_S)
    )]
    spool_age_max_s: u32,
    /// Requests of the spool that may be on their way to PostHog at once.
    #[arg(
        long,
        env = "REELCASE_SPOOL_REQUESTS_MAX",
        value_name = "COUNT",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    spool_requests_max: u16,
    /// Requests of the spool in a second, also when it drains after an outage.
    #[arg(
        long,
        env = "REELCASE_SPOOL_RATE_MAX",
        value_name = "COUNT",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    spool_rate_max: u32,
    /// Bytes of scripts and config of PostHog that are kept, in memory and in DIR/upstream-cache.
    #[arg(long, env = "REELCASE_UPSTREAM_CACHE_BYTES_MAX", value_name = "BYTES", value_parser = bytes, default_value = "64MiB")]
    upstream_cache_bytes_max: usize,
    /// Longest script or config that is kept.
    #[arg(
        long,
        env = "REELCASE_UPSTREAM_DOCUMENT_BYTES_MAX",
        value_name = "BYTES",
        value_parser = bytes,
        default_value = "8MiB"
    )]
    upstream_document_bytes_max: usize,
}

impl UpstreamArgs {
    /// Makes room in the store for what waits for PostHog, whatever the mode is now: it can change at any time.
    pub(crate) fn apply_to_store(&self, options: &mut StoreOptions) -> anyhow::Result<()> {
        if self.upstream.is_none() {
            return Ok(());
        }
        let disk_bytes_max = self.spool_bytes_max as u64;
        let least = 2 * options.inbox.segment_bytes;
        ensure!(disk_bytes_max >= least, "--spool-bytes-max must be at least {least}, two segments of the inbox");
        options.spool = Some(SpoolOptions { disk_bytes_max, age_max_ms: i64::from(self.spool_age_max_s) * 1_000 });
        options.inbox.inbox_bytes_max += disk_bytes_max;
        Ok(())
    }

    /// What the server is to know of them; nothing where there is no PostHog.
    pub(crate) fn options(self, data: &Path) -> anyhow::Result<Option<UpstreamOptions>> {
        let Some(mut hosts) = self.upstream else { return Ok(None) };
        hosts.ingest = self.upstream_ingest.unwrap_or(hosts.ingest);
        hosts.assets = self.upstream_assets.unwrap_or(hosts.assets);
        hosts.ui = self.upstream_ui.unwrap_or(hosts.ui);
        let roots_pem = match &self.upstream_ca {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?),
            None => None,
        };
        let waits = [self.upstream_connect_wait_ms, self.upstream_reply_wait_ms, self.upstream_piece_wait_ms];
        ensure!(waits.iter().all(|wait| *wait > 0), "a wait for PostHog of 0 ms lets nothing through");
        let [connect, reply, piece] = waits.map(Duration::from_millis);
        Ok(Some(UpstreamOptions {
            mode: self.mode,
            waits: Waits { connect, reply, piece },
            roots_pem,
            body_bytes_max: self.upstream_body_bytes_max,
            quota_limited: self.upstream_quota_limited,
            cache_dir: Some(data.join("upstream-cache")),
            cache_bytes_max: self.upstream_cache_bytes_max as u64,
            cache_document_bytes_max: self.upstream_document_bytes_max,
            spool_requests_max: usize::from(self.spool_requests_max),
            spool_rate_max: self.spool_rate_max,
            is_checked: !self.upstream_unchecked,
            ..UpstreamOptions::new(hosts)
        }))
    }
}

fn quota_limited(text: &str) -> Result<QuotaLimited, String> {
    match text {
        "pass" => Ok(QuotaLimited::Pass),
        "hide" => Ok(QuotaLimited::Hide),
        other => Err(format!("{other:?} is neither pass nor hide")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        upstream: UpstreamArgs,
    }

    fn options(arguments: &[&str]) -> Option<UpstreamOptions> {
        let cli = Cli::try_parse_from([&["serve"], arguments].concat()).unwrap();
        cli.upstream.options(Path::new("data")).unwrap()
    }

    #[test]
    fn one_word_is_enough_and_gives_the_defaults_of_the_server() {
        let given = options(&["--upstream", "eu"]).unwrap();
        let expected = UpstreamOptions {
            cache_dir: Some("data/upstream-cache".into()),
            ..UpstreamOptions::new("eu".parse().unwrap())
        };
        assert_eq!(format!("{given:?}"), format!("{expected:?}"));
        assert!(options(&[]).is_none());
    }

    #[test]
    fn each_host_can_be_named() {
        let given = options(&["--upstream", "us", "--upstream-assets", "https://cdn.example"]).unwrap();
        assert_eq!(given.hosts.assets.to_string(), "https://cdn.example");
        assert_eq!(given.hosts.ingest.to_string(), "https://us.i.posthog.com");
    }
}
