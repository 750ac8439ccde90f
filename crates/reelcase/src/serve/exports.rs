//! Makes the scheduled exports of a server, one after the other.

use std::sync::Arc;

use reelcase_server::schedules::{Due, LastRun, Schedules, TABLES, query_of};
use reelcase_store::{Clock, Store, SystemClock};

use crate::bulk::{ExportForm, export_for_server};

/// Makes what is due, for as long as it is polled. A run that is cut short is taken up by the next.
pub(super) async fn run(schedules: Arc<Schedules>, store: Arc<Store>) {
    loop {
        let due = schedules.next_due().await;
        let started_at_ms = SystemClock.now_ms();
        let made = make(&store, &due).await;
        let made = made.unwrap_or_else(|error| LastRun { error: Some(format!("{error:#}")), ..LastRun::default() });
        let run = LastRun { started_at_ms, ended_at_ms: SystemClock.now_ms(), ..made };
        let (name, exported, unchanged) = (&due.name, run.exported_count, run.unchanged_count);
        match &run.error {
            Some(error) => tracing::warn!(name, error, "a scheduled export is not whole"),
            None => tracing::info!(name, exported, unchanged, "a scheduled export is done"),
        }
        if let Err(error) = schedules.ended(&due.name, &run).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot note how a scheduled export went");
        }
    }
}

async fn make(store: &Arc<Store>, due: &Due) -> anyhow::Result<LastRun> {
    let form = match due.schedule.format.as_str() {
        TABLES => ExportForm::Tables,
        name => ExportForm::Files(name.parse()?),
    };
    store.seal_all().await?;
    export_for_server(Arc::clone(store), &due.to, form, &query_of(&due.schedule.filter)).await
}
