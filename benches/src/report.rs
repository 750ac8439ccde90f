//! The rows of docs/performance.md: one line each, found by its id. What a row measures and what its goal is stands in
//! the document; a run fills in the rest of the line.

use std::path::Path;

use anyhow::{Context, bail};
use reelcase_store::{Clock, SystemClock};

/// Cells of a row that a run leaves alone: id, work, figure, goal.
const KEPT_CELLS: usize = 4;

/// What a run found for one row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) reelcase: String,
    pub(crate) against: String,
    pub(crate) ratio: String,
}

impl Row {
    /// A row that compares.
    pub(crate) fn compared(id: &'static str, reelcase: String, against: String, ratio: String) -> Self {
        Self { id, reelcase, against, ratio }
    }

    /// A row that stands alone.
    pub(crate) fn alone(id: &'static str, reelcase: String) -> Self {
        Self { id, reelcase, against: String::new(), ratio: String::new() }
    }
}

/// Writes rows into the table, leaving all others as they are.
pub(crate) fn write(path: &Path, rows: &[Row], command: &str) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let measured = format!("{}, {}, `{command}`", today(), machine());
    let mut lines: Vec<String> = document.lines().map(str::to_owned).collect();
    for row in rows {
        let begin = format!("| {} |", row.id);
        let Some(line) = lines.iter_mut().find(|line| line.starts_with(&begin)) else {
            bail!("{} has no row {}", path.display(), row.id);
        };
        let kept: Vec<_> = line.split(" | ").take(KEPT_CELLS).collect();
        let filled = [row.reelcase.as_str(), &row.against, &row.ratio, &measured].map(|cell| cell.replace('|', "/"));
        *line = format!("{} | {} |", kept.join(" | "), filled.join(" | "));
    }
    std::fs::write(path, lines.join("\n") + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Prints what was found, aligned.
pub(crate) fn print(rows: &[Row]) {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or_default();
    let widths = (width(|row| row.id), width(|row| &row.reelcase), width(|row| &row.against));
    for row in rows {
        let (id, reelcase, against) = (row.id, &row.reelcase, &row.against);
        println!("{id:0$}  {reelcase:1$}  {against:2$}  {ratio}", widths.0, widths.1, widths.2, ratio = row.ratio);
    }
}

/// The middle one of several measurements.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

/// Few digits, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 1.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && whole.as_bytes()[index - 1] != b'-' {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

pub(crate) fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn today() -> String {
    let now = jiff::Timestamp::from_millisecond(SystemClock.now_ms()).unwrap_or_default();
    now.strftime("%Y-%m-%d").to_string()
}

/// The machine in a few words: cores, processor, memory.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let field = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.split(':').nth(1).map(str::to_owned));
        value.unwrap_or_default().trim().to_owned()
    };
    let processor = field("/proc/cpuinfo", "model name");
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default();
    format!("{cores} cores of {processor}, {:.0} GB", kib * 1_024.0 / 1e9)
}
