//! Commands on a store that no server holds.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use reelcase_format::count::{counted, counted_as};
use reelcase_format::sign::SigningKey;
use reelcase_server::api::{Recording, iso};
use reelcase_server::export::FileExport;
use reelcase_store::catalog::{ListQuery, RecordingRow};
use reelcase_store::export::Gap;
use reelcase_store::notes::said::Said;
use reelcase_store::{NewerObject, Salvaged, SpoolOptions, Store, StoreOptions, SystemClock};
use reelcase_transform::stream::LeftOut;

use crate::aside::Aside;
use crate::file::{FileForm, Output};
use crate::sign::Signing;
use crate::talk::{self, Stdout};
use crate::{LEFT_AS_NEWER, WITH_GAPS, terminal};

/// What a store consists of. One that has lost its id is one all the same, and so is a copy of its objects alone.
const SIGNS_OF_A_STORE: [&str; 3] = ["store-id", "objects", "inbox"];

/// Insists that there is a store: looking into one must not make it.
fn check_there(data: &Path) -> anyhow::Result<()> {
    if !SIGNS_OF_A_STORE.iter().any(|sign| data.join(sign).exists()) {
        bail!("there is no store in {}\nhint: `reelcase serve --data {0}` makes one", data.display());
    }
    Ok(())
}

/// Opens an existing store and seals what an earlier process left in its inbox.
pub(crate) async fn open(data: &Path, command: &str) -> anyhow::Result<Arc<Store>> {
    check_there(data)?;
    // What waits for PostHog goes on waiting, however much and however long: only a server gives it up.
    let spool = Some(SpoolOptions { disk_bytes_max: u64::MAX, age_max_ms: i64::MAX });
    let options = StoreOptions { command: command.to_owned(), spool, ..StoreOptions::new(data) };
    let store = Store::open(options, Arc::new(SystemClock)).await;
    let store = store.with_context(|| format!("cannot open the store in {}", data.display())).map_err(|error| {
        let hint = "hint: opening a store writes into it, also to read it: copy the directory to where you may write";
        let is_closed = |cause: &(dyn std::error::Error + 'static)| {
            let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            matches!(kind, Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied))
        };
        if error.chain().any(is_closed) { anyhow::anyhow!("{error:#}\n{hint}") } else { error }
    })?;
    store.seal_all().await?;
    match store.unsorted().count {
        0 => {}
        count => say!(
            "note: {}\nhint: `reelcase serve` does that when it starts",
            counted_as(
                count as u64,
                "copy of an upload to PostHog was never looked into, and what is in it is not shown",
                "copies of uploads to PostHog were never looked into, and what is in them is not shown",
            )
        ),
    }
    Ok(store)
}

/// `reelcase ls --data`.
pub(crate) async fn ls(data: &Path, json: bool) -> anyhow::Result<()> {
    let store = open(data, "reelcase ls").await?;
    let mut cursor = None;
    loop {
        let page = store.catalog().list(ListQuery { cursor: cursor.take(), ..ListQuery::default() }).await?;
        for row in &page.recordings {
            print_row(&serde_json::to_value(Recording::new(row.clone(), store.now_ms()))?, json)?;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    store.close().await?;
    Ok(())
}

/// `reelcase show --data`.
pub(crate) async fn show(data: &Path, id: &str) -> anyhow::Result<()> {
    let store = open(data, "reelcase show").await?;
    let row = find(&store, id).await?;
    talk::print_json(&Recording::new(row, store.now_ms()))?;
    store.close().await?;
    Ok(())
}

/// `reelcase export --data`.
pub(crate) async fn export(
    data: &Path,
    id: &str,
    form: FileForm,
    path: &Path,
    key: Option<Arc<SigningKey>>,
) -> anyhow::Result<ExitCode> {
    let store = open(data, "reelcase export").await?;
    let row = find(&store, id).await?;
    let mut export = export_of(&store, row, form).await?;
    let output = written(&mut export, Signing::new(Output::open(path)?, key.as_ref())?).await?;
    output.finish()?.finish()?;
    report_left_out(export.left_out());
    let code = report_gaps(export.gaps().len(), export.gaps());
    store.close().await?;
    Ok(code)
}

/// Begins a file of a recording.
pub(crate) async fn export_of(store: &Arc<Store>, row: RecordingRow, form: FileForm) -> anyhow::Result<FileExport<'_>> {
    let blocks = store.blocks(&row.project, &row.id).await?;
    let said = match form.has_said {
        true => store.notes(&row.project, &row.id).await?.into(),
        false => Said::default(),
    };
    let mut export = FileExport::new(store, row, blocks, form.format)?;
    export.add_said(said);
    Ok(export)
}

/// Writes a file to its end, a block while the next is read.
pub(crate) async fn written<W: Write + Send + 'static>(export: &mut FileExport<'_>, to: W) -> anyhow::Result<W> {
    let aside = Aside::new(to);
    while let Some(chunk) = export.next_chunk().await? {
        if !aside.write(chunk).await {
            break;
        }
    }
    Ok(aside.finish().await?)
}

/// Says what a form has no place for.
pub(crate) fn report_left_out(left_out: &[LeftOut]) {
    left_out.iter().for_each(|left_out| say!("left out: {}", terminal::line(&left_out.to_string())));
}

/// Says what is missing from an export: `gaps`, or the first of `count`.
pub(crate) fn report_gaps(count: usize, gaps: &[Gap]) -> ExitCode {
    if count == 0 {
        return ExitCode::SUCCESS;
    }
    say!("exported with gaps: damaged blocks left out: {count}; a line of the file stands for each");
    for Gap { object, block, start_ms, end_ms, event_count } in gaps {
        let (object, start, end) = (terminal::line(object), iso(*start_ms), iso(*end_ms));
        let events = counted(*event_count, "event");
        say!("  missing: {events} from {start} to {end}, block {block} of object {object}");
    }
    if count > gaps.len() {
        say!("  and {} more, which the file names", count - gaps.len());
    }
    ExitCode::from(WITH_GAPS)
}

/// `reelcase rebuild`.
pub(crate) async fn rebuild(data: &Path) -> anyhow::Result<ExitCode> {
    check_there(data)?;
    let rebuilt = Store::rebuild(data, "reelcase rebuild").await;
    let rebuilt = rebuilt.with_context(|| format!("cannot rebuild the catalog in {}", data.display()))?;
    say!("rebuilt the catalog from {}", counted(rebuilt.entered, "object"));
    for object in &rebuilt.set_aside {
        say!("damaged: object {object} cannot be read and is set aside as *.damaged");
        for salvaged in rebuilt.salvaged.iter().filter(|salvaged| salvaged.object == *object) {
            report_salvaged(salvaged);
        }
    }
    for NewerObject { object, version, .. } in &rebuilt.newer {
        say!("newer: object {object} is of format {version} and stays as it is; upgrade to read it");
    }
    Ok(match (rebuilt.set_aside.is_empty(), rebuilt.newer.is_empty()) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(LEFT_AS_NEWER),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Says what was found in an object without an index, and what was not.
fn report_salvaged(salvaged: &Salvaged) {
    let Salvaged { block_count, event_count, .. } = salvaged;
    let (events, blocks) = (counted(*event_count, "event"), counted(*block_count, "intact block"));
    let hold = if *block_count == 1 { "holds" } else { "hold" };
    match &salvaged.into {
        Some(into) => say!("  recovered: {events} of its {blocks}, as object {into}"),
        None if *block_count > 0 => say!("  its {blocks} {hold} nothing that is not elsewhere"),
        None => say!("  no intact block was found in it"),
    }
    salvaged.damage.iter().for_each(|damage| say!("  lost: {}", terminal::line(damage)));
}

/// Prints a recording as JSON, or as a row that a person reads.
pub(crate) fn print_row(recording: &serde_json::Value, json: bool) -> anyhow::Result<()> {
    let mut out = Stdout::new();
    if json {
        writeln!(out, "{}", terminal::json(&recording.to_string()))?;
        return Ok(());
    }
    let text = |name: &str| terminal::line(recording[name].as_str().unwrap_or(""));
    let number = |name: &str| recording[name].as_i64().unwrap_or_default();
    writeln!(
        out,
        "{}  {}  {:>7.1} s  {:>6} events  {:>4} clicks  {}",
        text("id"),
        text("start"),
        number("duration_ms") as f64 / 1000.0,
        number("event_count"),
        number("click_count"),
        text("start_url"),
    )?;
    Ok(())
}

/// The recording that an id names.
pub(crate) async fn find(store: &Store, id: &str) -> anyhow::Result<RecordingRow> {
    let found = store.catalog().find(&id.parse()?).await?;
    found.into_iter().next().with_context(|| format!("there is no recording {id}"))
}
