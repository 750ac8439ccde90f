//! Turns recordings of other forms into `.reel` files.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_transform::foreign::{ForeignReader, Limits, is_reel};
use reelcase_transform::reel::{ReelOptions, ReelSink, WrittenReel};
use reelcase_transform::stream::{CopyError, ReadEvents, ReadReport, WriteError, copy};

use crate::file::{self, Output};
use crate::terminal;

/// The project of recordings that came from elsewhere.
const PROJECT: &str = "converted";

/// What names this program in the files it writes.
const CREATOR: &str = concat!("reelcase ", env!("CARGO_PKG_VERSION"));

/// A file that is kept is worth the time; one that is watched once is not.
const KEEP_LEVEL: i32 = 9;
const WATCH_LEVEL: i32 = 1;

/// Places in a damaged file that are listed one by one.
const DAMAGE_SHOWN_MAX: usize = 10;

/// `reelcase convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The file to read; - is stdin.
    input: PathBuf,
    /// The .reel file to write; - is stdout.
    #[arg(long, short)]
    output: PathBuf,
    /// The recording's id. By default that which the file names, or else one made of its events.
    #[arg(long)]
    id: Option<RecordingId>,
}

/// Converts one file. The code tells whether all of it could be read.
pub(crate) fn convert(args: ConvertArgs) -> anyhow::Result<ExitCode> {
    let name = name_of(&args.input);
    let mut output = Output::open(&args.output)?;
    let converted = if args.input == Path::new("-") {
        convert_to(io::stdin().lock(), &mut output, args.id, KEEP_LEVEL)
    } else {
        convert_to(file::open(&args.input)?, &mut output, args.id, KEEP_LEVEL)
    };
    let (written, report) = converted.with_context(|| format!("cannot convert {name}"))?;
    output.finish()?;
    let summary = &written.summary;
    eprintln!(
        "converted {} events of {} windows over {:.1} s: recording {}",
        summary.event_count,
        summary.windows.len(),
        summary.end_ms.saturating_sub(summary.start_ms) as f64 / 1000.0,
        written.recording,
    );
    tell(&name, &report);
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns a `.reel` file to open: `path` itself, or what it converts to, which is written into `dir`.
pub(crate) fn reel_of(path: &Path, dir: &Path) -> anyhow::Result<PathBuf> {
    let mut magic = Vec::new();
    file::open(path)?.take(4).read_to_end(&mut magic).with_context(|| format!("cannot read {}", path.display()))?;
    if is_reel(&magic) {
        return Ok(path.to_owned());
    }
    let mut reel = tempfile::Builder::new().suffix(".reel").tempfile_in(dir)?;
    let converted = convert_to(file::open(path)?, &mut reel, None, WATCH_LEVEL);
    let (_, report) = converted.with_context(|| format!("cannot open {}", path.display()))?;
    tell(&path.display().to_string(), &report);
    Ok(reel.into_temp_path().keep()?)
}

fn convert_to(
    input: impl Read,
    output: &mut impl Write,
    id: Option<RecordingId>,
    level: i32,
) -> anyhow::Result<(WrittenReel, ReadReport)> {
    let project: ProjectKey = PROJECT.parse()?;
    let options = ReelOptions { project, recording: id, creator: CREATOR.to_owned(), level };
    let mut reader = ForeignReader::new(input, Limits::default())?;
    match copy(&mut reader, ReelSink::new(output, options)) {
        Ok(written) => Ok((written, reader.report().clone())),
        Err(CopyError::Write(WriteError::NoEvents)) => match reader.report().damage.first() {
            Some(damage) => bail!("there are no rrweb events in it; {damage}"),
            None => bail!("there are no rrweb events in it"),
        },
        Err(error) => Err(error.into()),
    }
}

/// Says on stderr what of a file was left out.
fn tell(name: &str, report: &ReadReport) {
    if let Some(at) = report.first_skipped_at {
        eprintln!("{name}: {} values are no rrweb events, the first at byte {at}", report.skipped_count);
    }
    for damage in report.damage.iter().take(DAMAGE_SHOWN_MAX) {
        eprintln!("{name}: damaged at {}", terminal::line(&damage.to_string()));
    }
    if report.damage.len() > DAMAGE_SHOWN_MAX {
        eprintln!("{name}: damaged in {} more places", report.damage.len() - DAMAGE_SHOWN_MAX);
    }
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}
