//! Turns recordings of one form into another.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use reelcase_format::count::counted;
use reelcase_format::event::EventHead;
use reelcase_format::id::{ProjectKey, RecordingId};
use reelcase_format::reel::{ReelLimits, bearing};
use reelcase_store::FileSource;
use reelcase_transform::encrypted::Key;
use reelcase_transform::foreign::{ForeignReader, Limits};
use reelcase_transform::format::Format;
use reelcase_transform::html::ReelInHtml;
use reelcase_transform::kind::Kind;
use reelcase_transform::reel::{ReelOptions, ReelReadLimits, ReelReader};
use reelcase_transform::staff::StaffReader;
use reelcase_transform::stream::{Header, LeftOut, ReadError, ReadEvents, ReadReport, WriteEvents, Written};
use reelcase_transform::tables::SnapshotReader;
use reelcase_transform::zip::ZipLimits;

use crate::encrypted::{KeyArgs, decrypt};
use crate::file::{self, Output};
use crate::local::report_left_out;
use crate::{format_of, format_parser, sign, terminal};

/// The project of recordings in files that are made of other files.
const PROJECT: &str = "converted";

/// What names this program in the files it writes.
pub(crate) const CREATOR: &str = concat!("reelcase ", env!("CARGO_PKG_VERSION"));

/// A file that is kept is worth the time; one that is watched once is not.
const KEEP_LEVEL: i32 = 9;
const WATCH_LEVEL: i32 = 1;

/// Windows that are told apart when it is counted how many there are.
const WINDOWS_COUNTED_MAX: usize = 10_000;

/// Places in a damaged file that are listed one by one.
const DAMAGE_SHOWN_MAX: usize = 10;

/// `reelcase convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The file to read; - is stdin.
    input: PathBuf,
    /// The file to write; - is stdout.
    output: PathBuf,
    /// The form to write. By default what the name of the output says, or else reel.
    #[arg(long, value_parser = format_parser())]
    format: Option<Format>,
    /// Which recording to take of a .reel file that holds several.
    #[arg(long, value_name = "ID")]
    recording: Option<RecordingId>,
    /// The recording's id in the output. By default that which the input names, or else one made of its events.
    #[arg(long)]
    id: Option<RecordingId>,
    #[command(flatten)]
    key: KeyArgs,
}

/// Converts one file. The code tells whether all of it could be read.
pub(crate) fn convert(args: ConvertArgs) -> anyhow::Result<ExitCode> {
    let name = name_of(&args.input);
    let format = format_of(args.format, &args.output)?;
    let target = Target { format, project: PROJECT.parse()?, id: args.id.clone(), level: KEEP_LEVEL };
    let key = args.key.key()?;
    let mut output = Output::open(&args.output)?;
    let mut converted = open(&args.input, args.recording.as_ref(), key.as_ref())
        .and_then(|mut reader| convert_to(&mut *reader, &mut output, target))
        .with_context(|| format!("cannot convert {name}"))?;
    output.finish()?;
    let recording = converted.written.recording.take();
    let recording = recording.or(args.id).or(converted.recording.take());
    say!(
        "converted {} of {} over {:.1} s{}",
        counted(converted.report.event_count, "event"),
        counted(converted.windows.len() as u64, "window"),
        converted.duration_ms() as f64 / 1000.0,
        recording.map_or_else(String::new, |id| format!(": recording {id}")),
    );
    report_left_out(&converted.written.left_out);
    converted.tell(&name);
    Ok(if converted.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns a `.reel` file to open: `path` itself, or what it converts to, which is written into `dir`.
pub(crate) fn reel_of(path: &Path, dir: &Path, key: Option<&Key>) -> anyhow::Result<PathBuf> {
    match Kind::read(file::open(path)?)? {
        Kind::Reel => return Ok(path.to_owned()),
        Kind::Page => return file::reel_of_page(path, dir),
        Kind::Encrypted => return decrypted_reel(path, dir, key),
        Kind::Table | Kind::Zip | Kind::Other => {}
    }
    let mut reel = tempfile::Builder::new().suffix(".reel").tempfile_in(dir)?;
    let mut reader = open(path, None, None).with_context(|| format!("cannot open {}", path.display()))?;
    let target = Target { format: Format::Reel, project: PROJECT.parse()?, id: None, level: WATCH_LEVEL };
    let converted = convert_to(&mut *reader, reel.as_file_mut(), target);
    let converted = converted.with_context(|| format!("cannot open {}", path.display()))?;
    converted.tell(&path.display().to_string());
    Ok(reel.into_temp_path().keep()?)
}

/// Writes what is in an encrypted file into `dir`.
fn decrypted_reel(path: &Path, dir: &Path, key: Option<&Key>) -> anyhow::Result<PathBuf> {
    let mut reel = tempfile::Builder::new().suffix(".reel").tempfile_in(dir)?;
    let flaw = decrypt(file::open(path)?, key, reel.as_file_mut());
    tell_flaw(&path.display().to_string(), flaw.with_context(|| format!("cannot open {}", path.display()))?);
    Ok(reel.into_temp_path().keep()?)
}

/// Reads what lies there, whatever it is.
fn open(path: &Path, recording: Option<&RecordingId>, key: Option<&Key>) -> anyhow::Result<Box<dyn ReadEvents>> {
    let mut input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(file::open(path)?),
    };
    let mut magic = Vec::new();
    input.by_ref().take(Kind::MAGIC_BYTES).read_to_end(&mut magic)?;
    let kind = Kind::of(&magic);
    let whole = Cursor::new(magic).chain(input);
    let reel = match (kind, path == Path::new("-")) {
        (Kind::Other, _) => return Ok(Box::new(ForeignReader::new(whole, Limits::default())?)),
        (Kind::Table, true) => return Ok(Box::new(snapshots_of(file::kept(whole)?, recording)?)),
        (Kind::Table, false) => return Ok(Box::new(snapshots_of(file::open(path)?, recording)?)),
        (Kind::Zip, true) => return Ok(Box::new(StaffReader::open(file::kept(whole)?, &ZipLimits::default())?)),
        (Kind::Zip, false) => return Ok(Box::new(StaffReader::open(file::open(path)?, &ZipLimits::default())?)),
        (Kind::Encrypted, _) => {
            let mut plain = tempfile::tempfile()?;
            tell_flaw(&name_of(path), decrypt(whole, key, &mut plain)?);
            FileSource::new(plain)?
        }
        // A reel is read from its end, and a pipe has none before all of it came.
        (Kind::Reel, true) => FileSource::new(file::kept(whole)?)?,
        (Kind::Page, true) => FileSource::new(file::kept(ReelInHtml::new(whole))?)?,
        (Kind::Reel | Kind::Page, false) => file::source(path)?,
    };
    tell_signers(&name_of(path), &reel);
    Ok(Box::new(ReelReader::open(reel, recording, ReelReadLimits::default())?))
}

/// The one recording that is meant among those of a table.
fn snapshots_of(table: File, wanted: Option<&RecordingId>) -> anyhow::Result<SnapshotReader> {
    let mut table = SnapshotReader::open(table)?;
    while let Some((_, recording)) = table.next_recording()? {
        if wanted.is_none_or(|wanted| *wanted == recording) {
            return Ok(table);
        }
    }
    match wanted {
        Some(wanted) => bail!("there is no recording {wanted} in it"),
        None => bail!("there is no recording in it"),
    }
}

/// What a file is to become.
pub(crate) struct Target {
    pub(crate) format: Format,
    pub(crate) project: ProjectKey,
    /// The recording's id, where it is not to be what the file names.
    pub(crate) id: Option<RecordingId>,
    /// zstd's level.
    pub(crate) level: i32,
}

/// What became of a file.
pub(crate) struct Converted {
    written: Written,
    report: ReadReport,
    /// Why no more could be read, where that is not for its end.
    stopped: Option<ReadError>,
    /// What the file names.
    recording: Option<RecordingId>,
    windows: BTreeSet<String>,
    start_ms: i64,
    end_ms: i64,
}

impl Converted {
    fn duration_ms(&self) -> i64 {
        self.end_ms.saturating_sub(self.start_ms).max(0)
    }

    fn is_whole(&self) -> bool {
        self.report.damage.is_empty() && self.stopped.is_none()
    }

    /// Says on stderr what of the file was left out.
    fn tell(&self, name: &str) {
        let Self { report, stopped, .. } = self;
        let left_out = [
            LeftOut::of(
                report.other_line_count,
                "line that is no rrweb event, such as an analytics event",
                "lines that are no rrweb events, such as analytics events",
            ),
            LeftOut::of(report.said_count, "comment or tag", "comments and tags"),
        ];
        report_left_out(&left_out.into_iter().flatten().collect::<Vec<_>>());
        match (report.first_skipped_at, report.skipped_count) {
            (Some(at), 1) => say!("{name}: 1 value is no rrweb event, at byte {at}"),
            (Some(at), count) => say!("{name}: {count} values are no rrweb events, the first at byte {at}"),
            (None, _) => {}
        }
        for damage in report.damage.iter().take(DAMAGE_SHOWN_MAX) {
            say!("{name}: damaged at {}", terminal::line(&damage.to_string()));
        }
        if report.damage.len() > DAMAGE_SHOWN_MAX {
            let more_count = (report.damage.len() - DAMAGE_SHOWN_MAX) as u64;
            say!("{name}: damaged in {}", counted(more_count, "more place"));
        }
        if let Some(stopped) = stopped {
            say!("{name}: not read on from {}", terminal::line(&stopped.to_string()));
        }
    }
}

pub(crate) fn convert_to(
    reader: &mut dyn ReadEvents,
    output: &mut (impl Write + Send),
    target: Target,
) -> anyhow::Result<Converted> {
    let Target { format, project, id, level } = target;
    let options = ReelOptions { project, recording: id.clone(), creator: CREATOR.to_owned(), level };
    let mut writer = format.writer(output, &options)?;
    let (mut windows, mut start_ms, mut end_ms) = (BTreeSet::new(), i64::MAX, i64::MIN);
    let mut header = header_of(reader, &id);
    let stopped = loop {
        let event = match reader.next_event() {
            Ok(Some(event)) => event,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        let moment_ms = EventHead::read(event.json).map_or(0, |head| head.timestamp_ms());
        (start_ms, end_ms) = (start_ms.min(moment_ms), end_ms.max(moment_ms));
        if windows.len() < WINDOWS_COUNTED_MAX && !windows.contains(event.window) {
            windows.insert(event.window.to_owned());
        }
        writer.push(&header, &event)?;
        if id.is_none() && header.recording.is_none() {
            header = header_of(reader, &id);
        }
    };
    header = header_of(reader, &id);
    let report = reader.report().clone();
    if report.event_count == 0 {
        match (report.damage.first(), stopped) {
            (Some(damage), _) => bail!("there are no rrweb events in it; {damage}"),
            (None, Some(stopped)) => return Err(stopped.into()),
            (None, None) => bail!("there are no rrweb events in it"),
        }
    }
    let written = writer.finish(&header)?;
    Ok(Converted { written, report, stopped, recording: header.recording, windows, start_ms, end_ms })
}

fn header_of(reader: &dyn ReadEvents, id: &Option<RecordingId>) -> Header {
    let known = reader.header().clone();
    Header { recording: id.clone().or(known.recording), ..known }
}

/// Says on stderr where an encrypted file ends too early.
fn tell_flaw(name: &str, flaw: Option<String>) {
    if let Some(flaw) = flaw {
        say!("{name}: damaged at {flaw}");
    }
}

/// Says on stderr that what is made of a signed file is another one.
fn tell_signers(name: &str, reel: &FileSource) {
    let signers = bearing(reel, &ReelLimits::default()).unwrap_or_default();
    if let Some(said) = sign::said_of(&signers) {
        say!("note: {name} is {said}; what is written is another file, which is not signed");
    }
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}
