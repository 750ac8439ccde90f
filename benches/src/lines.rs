//! What is measured, in the order of the table.

mod ingest;
mod full;
mod durable;
mod memory;
mod storage;
mod serving;
mod moving;
mod catalog;
mod restart;
mod proxy;

use std::net::SocketAddr;

use crate::Settings;
use crate::load::{self, Load};
use crate::report::Row;
use crate::workload::{Workload, captures};

/// Rows that are measured together.
pub(crate) struct Line {
    pub(crate) ids: &'static [&'static str],
    pub(crate) run: fn(&Settings) -> anyhow::Result<Vec<Row>>,
}

pub(crate) const LINES: &[Line] = &[
    Line { ids: &["P1", "P1r", "P4", "P4s"], run: ingest::run },
    Line { ids: &["P2"], run: full::run },
    Line { ids: &["P3", "P3p"], run: durable::run },
    Line { ids: &["P5"], run: memory::many },
    Line { ids: &["P5i", "P5s"], run: memory::idle },
    Line { ids: &["P6"], run: memory::bombs },
    Line { ids: &["P7", "P7c"], run: storage::run },
    Line { ids: &["P9", "P9b"], run: serving::run },
    Line { ids: &["P10", "P10o", "P10p", "P10a"], run: moving::out },
    Line { ids: &["P10r"], run: moving::copied },
    Line { ids: &["P11", "P11p"], run: moving::into },
    Line { ids: &["P14", "P14f", "P14c", "P14m"], run: catalog::run },
    Line { ids: &["P15", "P15a"], run: restart::run },
    Line { ids: &["P17", "P17s", "P17c", "P17p"], run: proxy::run },
    Line { ids: &["P19", "P19r"], run: restart::size },
];

/// Sends the uploads to a server, and says how that went.
pub(crate) fn send(settings: &Settings, address: SocketAddr) -> anyhow::Result<()> {
    let workload = Workload::of(&captures(&settings.corpus)?, settings.uploads, 3)?;
    let requests = load::uploads(workload.uploads.iter().map(|upload| &upload.body));
    let answers = Load::once(address, 64, &requests).send()?;
    let (count, rate, slowest) = (answers.latencies.len(), answers.per_second(), answers.quantile_ms(0.99));
    println!("{count} uploads, {} refused, {rate:.0}/s, 99th percentile {slowest:.1} ms", answers.refused);
    Ok(())
}
