//! Stores on a stick, and stores that become one: many recordings in one `.reel` file, blocks as they are stored.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use reelcase_format::count::{counted, counted_as};
use reelcase_format::sign::PublicKey;
use reelcase_format::summary::Summary;
use reelcase_server::api::list_query;
use reelcase_store::bundle::Bundle;
use reelcase_store::catalog::{ListQuery, Part, RecordingRow};
use reelcase_store::notes::said::{Said, Taken};
use reelcase_store::{Clock, Store, SystemClock};
use reelcase_transform::format::Format;

use crate::file::{Output, check_readable};
use crate::import::{self, ImportArgs};
use crate::progress::Progress;
use crate::{WITH_GAPS, bulk, local, sign, terminal};

/// Recordings of a packed file. Its index, which readers hold in memory, takes about a kilobyte for each.
const PACK_RECORDINGS_MAX: u64 = 100_000;

/// Bytes, and recordings, of a file that a merge makes.
const MERGE_BYTES: u64 = 256 << 20;
const MERGE_RECORDINGS: usize = 1_000;

/// `reelcase pack`.
#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// The file to write; - is stdout.
    output: PathBuf,
    /// The data directory; no server may hold it.
    #[arg(long)]
    data: PathBuf,
    /// Only those with this, such as url=/checkout; the names are the parameters of the API's list. May be repeated.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    conditions: Vec<String>,
    /// Only those that started at or after this: 2026-11-01, 2026-11-01T12:00:00Z, or so long ago: 7d, 12h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that started before this.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Put comments and tags in too, with the names of those who wrote them.
    #[arg(long)]
    comments: bool,
}

/// `reelcase unpack`.
#[derive(Debug, Args)]
pub(crate) struct UnpackArgs {
    /// The file that `pack` wrote.
    file: PathBuf,
    /// The data directory; no server may hold it.
    #[arg(long)]
    data: PathBuf,
    /// Take what can be read of a damaged file.
    #[arg(long)]
    keep_partial: bool,
    /// Take it only if it was signed with this key: the public half of a pair, or a file that holds it.
    #[arg(long, value_name = "PUBLICKEY", value_parser = sign::public_key)]
    signed_by: Option<PublicKey>,
}

/// `reelcase merge`.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The data directory of the other store; no server may hold it.
    other: PathBuf,
    /// The data directory that it comes into; no server may hold it.
    #[arg(long)]
    data: PathBuf,
}

/// What there is of a recording in both stores.
enum Common {
    /// The other store has nothing more.
    There,
    /// What only the other store has.
    New(Vec<Part>),
    /// It cannot be told.
    Unclear,
}

/// What a merge came to.
#[derive(Debug, Default)]
struct Merged {
    new: u64,
    left_alone: u64,
    said: Taken,
}

/// Packs recordings. The code tells whether all of each could be read.
pub(crate) async fn pack(args: PackArgs) -> anyhow::Result<ExitCode> {
    check_readable(Format::Reel, &args.output)?;
    let store = local::open(&args.data, "reelcase pack").await?;
    let now_ms = SystemClock.now_ms();
    let query = bulk::query(&args.conditions, &args.since, &args.until, now_ms)?;
    let query = list_query(query.trim_start_matches('&'), now_ms).map_err(anyhow::Error::msg)?;
    let mut output = Output::open(&args.output)?;
    let (mut bundle, bytes) = Bundle::new(&store, &format!("pack-{now_ms}"))?;
    output.write_all(&bytes)?;
    let (mut recordings, mut with_gaps, mut cursor) = (0, 0, None);
    let progress = Progress::new("recording");
    loop {
        let page = store.catalog().list(ListQuery { cursor, ..query.clone() }).await?;
        for row in page.recordings {
            recordings += 1;
            if recordings > PACK_RECORDINGS_MAX {
                bail!("more than {PACK_RECORDINGS_MAX} recordings\nhint: pack some of them, with --since and --until");
            }
            let (id, stored_bytes) = (row.id.clone(), row.stored_bytes);
            let parts = store.catalog().parts(&row.project, &row.id).await?;
            let said = match args.comments {
                true => said_of(&store, &row).await?,
                false => Said::default(),
            };
            let gaps = progress.during(add(&mut bundle, row, parts, said, &mut output)).await?;
            progress.add(stored_bytes);
            if gaps > 0 {
                with_gaps += 1;
                let one = "damaged block is left out; a line stands for it";
                let several = "damaged blocks are left out; a line stands for each";
                say!("recording {id}: {}", counted_as(gaps, one, several));
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let (bytes, _) = bundle.finish()?;
    output.write_all(&bytes)?;
    output.finish()?;
    store.close().await?;
    progress.end();
    if recordings == 0 {
        bulk::tell_empty(!(args.conditions.is_empty() && args.since.is_none() && args.until.is_none()));
    }
    say!("packed {}, {with_gaps} with gaps", counted(recordings, "recording"));
    Ok(if with_gaps == 0 { ExitCode::SUCCESS } else { ExitCode::from(WITH_GAPS) })
}

/// Brings a packed file in. The code tells whether all of it is in the store now.
pub(crate) async fn unpack(args: UnpackArgs) -> anyhow::Result<ExitCode> {
    import::import(ImportArgs::of_file(args.file, args.data, args.keep_partial, args.signed_by)?).await
}

/// Brings another store in. The code tells whether all of it is in the store now.
pub(crate) async fn merge(args: MergeArgs) -> anyhow::Result<ExitCode> {
    if fs::canonicalize(&args.other).is_ok_and(|other| fs::canonicalize(&args.data).is_ok_and(|data| other == data)) {
        bail!("{} is the store that it is to come into", args.other.display());
    }
    let other = local::open(&args.other, "reelcase merge").await?;
    let store = local::open(&args.data, "reelcase merge").await?;
    store.clear_workshop()?;
    let (mut merged, mut there, mut cursor) = (Merged::default(), 0_u64, None);
    let (mut waiting, progress) = (Vec::new(), Progress::new("recording"));
    loop {
        let page = other.catalog().list(ListQuery { cursor, ..ListQuery::default() }).await?;
        for row in page.recordings {
            match in_common(&store, &other, &row).await? {
                Common::There => {
                    progress.add(row.stored_bytes);
                    there += 1;
                    merged.take_said(&store, &other, &row).await?;
                }
                Common::New(parts) => waiting.push((row, parts)),
                Common::Unclear => {
                    merged.left_alone += 1;
                    say!("left alone: recording {}: the store has it with other events", row.id);
                }
            }
            let bytes: u64 = waiting.iter().map(|(row, _)| row.stored_bytes).sum();
            if bytes >= MERGE_BYTES || waiting.len() >= MERGE_RECORDINGS {
                let recordings = std::mem::take(&mut waiting);
                progress.during(enter(&store, &other, recordings, &mut merged, &progress)).await?;
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    progress.during(enter(&store, &other, waiting, &mut merged, &progress)).await?;
    progress.end();
    store.close().await?;
    other.close().await?;
    store.clear_workshop()?;
    let Merged { new, left_alone, said } = merged;
    let (new, are) = (counted(new, "recording"), if there == 1 { "is" } else { "are" });
    say!("merged {new}; {there} {are} there already, {left_alone} left alone");
    import::tell_said(said);
    Ok(if left_alone == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Adds a recording to a bundle. Returns how many of its blocks could not be read.
async fn add(
    bundle: &mut Bundle<'_>,
    row: RecordingRow,
    parts: Vec<Part>,
    said: Said,
    output: &mut impl Write,
) -> anyhow::Result<u64> {
    let mut recording = Bundle::begin(row, parts);
    recording.add_said(said);
    while let Some(bytes) = bundle.next_block(&mut recording).await? {
        output.write_all(&bytes)?;
    }
    Ok(bundle.end(recording))
}

/// What only the other store has of a recording.
async fn in_common(store: &Store, other: &Store, row: &RecordingRow) -> anyhow::Result<Common> {
    let parts = other.catalog().parts(&row.project, &row.id).await?;
    let Some(there) = store.catalog().get(&row.project, &row.id).await? else { return Ok(Common::New(parts)) };
    let figures =
        |summary: &Summary| (summary.event_count, summary.analytics_event_count, summary.start_ms, summary.end_ms);
    if figures(&there.summary) == figures(&row.summary) {
        return Ok(Common::There);
    }
    let ours = store.catalog().parts(&row.project, &row.id).await?;
    let remembered = |parts: &[Part]| parts.iter().map(|part| part.uploads.len() as u64).sum::<u64>();
    // Stores forget uploads after some days, and then cannot tell what they have.
    let sent = |summary: &Summary| summary.message_count + summary.analytics_event_count;
    let is_known = remembered(&ours) >= sent(&there.summary) && remembered(&parts) >= sent(&row.summary);
    let mut new = Vec::new();
    for part in parts {
        let known = store.catalog().sealed_uploads(&row.project, &part.uploads).await?;
        match (known.iter().all(|known| *known), known.iter().any(|known| *known)) {
            (true, _) if !part.uploads.is_empty() => {}
            (_, false) if is_known => new.push(part),
            _ => return Ok(Common::Unclear),
        }
    }
    Ok(if new.is_empty() { Common::There } else { Common::New(new) })
}

/// Makes a file of recordings of the other store, and has ours enter it.
async fn enter(
    store: &Arc<Store>,
    other: &Store,
    recordings: Vec<(RecordingRow, Vec<Part>)>,
    merged: &mut Merged,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut whole = Vec::new();
    for (row, parts) in recordings {
        // A gap would be taken for all there is of it ever after.
        match damage(other, &parts).await {
            None => whole.push((row, parts)),
            Some(what) => {
                merged.left_alone += 1;
                say!("left alone: recording {}: {}", row.id, terminal::line(&what));
            }
        }
    }
    if whole.is_empty() {
        return Ok(());
    }
    merged.new += whole.len() as u64;
    let path = store.workshop()?.join("merged.reel");
    let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
    let now_ms = SystemClock.now_ms();
    let (mut bundle, bytes) = Bundle::new(other, &format!("merge-{now_ms}"))?;
    bundle.set_sealed_at(now_ms);
    file.write_all(&bytes)?;
    let mut entered = Vec::with_capacity(whole.len());
    for (row, parts) in whole {
        let (id, stored_bytes) = (row.id.clone(), row.stored_bytes);
        entered.push(row.clone());
        let gaps = add(&mut bundle, row, parts, Said::default(), &mut file).await?;
        anyhow::ensure!(gaps == 0, "recording {id} of the other store was damaged meanwhile");
        progress.add(stored_bytes);
    }
    file.write_all(&bundle.finish()?.0)?;
    file.flush()?;
    store.enter_reel(&path).await?;
    for row in entered {
        merged.take_said(store, other, &row).await?;
    }
    Ok(())
}

impl Merged {
    /// Takes what was said of a recording in the other store.
    async fn take_said(&mut self, store: &Store, other: &Store, row: &RecordingRow) -> anyhow::Result<()> {
        let taken = store.take_said(&row.project, &row.id, said_of(other, row).await?).await?;
        self.said.new_count += taken.new_count;
        self.said.left_out_count += taken.left_out_count;
        Ok(())
    }
}

async fn said_of(store: &Store, row: &RecordingRow) -> anyhow::Result<Said> {
    Ok(store.notes(&row.project, &row.id).await?.into())
}

/// What cannot be read of some parts.
async fn damage(store: &Store, parts: &[Part]) -> Option<String> {
    for block in parts.iter().flat_map(|part| &part.blocks) {
        if let Err(error) = store.read_lines(block).await {
            return Some(error.to_string());
        }
    }
    None
}
