//! Measures Reelcase beside what does comparable work, prints a table, and fills in docs/performance.md.
//!
//! `make bench` runs all of it, `make bench ONLY="P1 P9"` some rows. What a row means stands in the document. Each file
//! in `lines` measures a few rows that share their set-up.

mod lines;
mod load;
mod parties;
mod process;
mod report;
mod workload;
mod yardstick;

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::report::Row;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The document that the figures are written to, seen from this crate.
const DOCUMENT: &str = "../docs/performance.md";

/// Turns of each party, where nobody asks for more or fewer.
const ROUNDS: usize = 5;

/// Measures Reelcase and writes docs/performance.md.
#[derive(Debug, Parser)]
struct Cli {
    /// Rows to measure, such as P1; all of them by default. Ids that are not known here are passed over, because the
    /// browser's rows are measured elsewhere.
    ids: Vec<String>,
    #[command(flatten)]
    settings: Settings,
    /// Be one of the servers that are measured.
    #[arg(long, hide = true)]
    party: Option<String>,
    /// The store of that server.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
    /// Measure nothing; send the uploads once to a server that runs already, for a profiler to look at.
    #[arg(long, value_name = "ADDRESS")]
    send_to: Option<std::net::SocketAddr>,
}

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// How often each party has its turn.
    #[arg(long, env = "ROUNDS", default_value_t = ROUNDS)]
    pub(crate) rounds: usize,
    /// Uploads in one turn of the rows that take uploads.
    #[arg(long, env = "UPLOADS", default_value_t = 4_000)]
    pub(crate) uploads: usize,
    /// Connections and recordings of the memory row.
    #[arg(long, env = "CONNECTIONS", default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Recordings in the catalog of the rows about a large catalog.
    #[arg(long, env = "RECORDINGS", default_value_t = 1_000_000)]
    pub(crate) recordings: usize,
    /// Recordings that are exported and imported.
    #[arg(long, env = "MOVED", default_value_t = 20)]
    pub(crate) moved: usize,
    /// MB of rrweb events of each.
    #[arg(long, env = "MOVED_MB", default_value_t = 65)]
    pub(crate) moved_mb: u64,
    /// MB of uploads that wait when the server is killed.
    #[arg(long, env = "WAITING_MB", default_value_t = 1_000)]
    pub(crate) waiting_mb: u64,
    /// Minutes that `make run` took on a fresh clone, measured by hand.
    #[arg(long, env = "FRESH_RUN_MINUTES")]
    pub(crate) fresh_run_minutes: Option<f64>,
    /// The release binary.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/reelcase"))]
    pub(crate) binary: PathBuf,
    /// The captures of posthog-js.
    #[arg(
        long,
        env = "CORPUS",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus/posthog-js")
    )]
    pub(crate) corpus: PathBuf,
    /// Where stores and files of a run go: on the disk that is to be measured.
    #[arg(long, env = "SCRATCH", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"))]
    pub(crate) scratch: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(party) = &cli.party {
        return tokio::runtime::Runtime::new()?.block_on(parties::run(party, cli.data));
    }
    if let Some(address) = cli.send_to {
        return lines::send(&cli.settings, address);
    }
    std::fs::create_dir_all(&cli.settings.scratch)?;
    let command = command(&cli);
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let mut rows: Vec<Row> = Vec::new();
    for line in lines::LINES {
        let is_wanted = cli.ids.is_empty() || line.ids.iter().any(|id| cli.ids.iter().any(|wanted| wanted == id));
        if !is_wanted {
            continue;
        }
        eprintln!("measuring {} …", line.ids.join(", "));
        // One that cannot run here, for want of a server to compare with, does not stop the others.
        match (line.run)(&cli.settings) {
            Ok(found) => {
                report::write(&document, &found, &command)?;
                rows.extend(found);
            }
            Err(error) => eprintln!("{} not measured: {error:#}", line.ids.join(", ")),
        }
    }
    report::print(&rows);
    Ok(())
}

/// How to measure the same once more.
fn command(cli: &Cli) -> String {
    let only = match cli.ids.as_slice() {
        [] => String::new(),
        [id] => format!(" ONLY={id}"),
        ids => format!(" ONLY=\"{}\"", ids.join(" ")),
    };
    let rounds = match cli.settings.rounds {
        ROUNDS => String::new(),
        rounds => format!(" ROUNDS={rounds}"),
    };
    format!("make bench{only}{rounds}")
}

impl Settings {
    /// A new directory for one store; gone when dropped.
    pub(crate) fn directory(&self) -> anyhow::Result<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(&self.scratch)?)
    }
}
