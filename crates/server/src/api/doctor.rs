//! Says what stands between a page and its recording, in words that name the next step.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::State;
use reelcase_format::count::{counted, counted_as};
use reelcase_store::catalog::ListQuery;
use serde::Serialize;
use utoipa::ToSchema;

use super::TRIAL_KEY;
use crate::drops::hint;
use crate::error::Failure;
use crate::keys;
use crate::settings::{self, Settings};
use crate::state::App;
use crate::upstream::modes::{self, Decided};
use crate::upstream::{Mode, QuotaLimited};
use crate::{pages, scripts};

/// An upload that waits for PostHog longer than this is worth a word, s.
const SPOOL_LATE_S: i64 = 60;

/// What was looked at, in the order an upload travels.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Report {
    /// Whether nothing has failed.
    ok: bool,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Check {
    /// Stable name.
    name: &'static str,
    state: CheckState,
    /// What was found.
    message: String,
    /// What to do about it; null when nothing is to be done.
    hint: Option<String>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CheckState {
    Ok,
    Warn,
    Fail,
}

/// Looks at everything an upload needs, and says what is wrong.
#[utoipa::path(
    get,
    path = "/api/doctor",
    responses(
        (status = 200, body = Report),
        (status = "default", description = "What went wrong", body = crate::error::ErrorBody)
    )
)]
pub(super) async fn doctor(State(app): State<Arc<App>>) -> Result<Json<Report>, Failure> {
    let mut checks = vec![
        scripts_check(&app).await,
        settings_check(&app).await,
        web_check(),
        inbox_check(&app),
        sealing_check(&app),
        objects_check(&app),
        compaction_check(&app).await,
        uploads_check(&app),
        drops_check(&app).await,
        catalog_check(&app).await,
    ];
    checks.extend(modes_check(&app).await);
    checks.extend(upstream_check(&app));
    checks.extend(spool_check(&app));
    let ok = checks.iter().all(|check| check.state != CheckState::Fail);
    Ok(Json(Report { ok, checks }))
}

async fn scripts_check(app: &App) -> Check {
    let versions = scripts::versions(app).await;
    if scripts::has_pinned() {
        return fine("scripts", format!("serving posthog-js {}", versions.join(", ")));
    }
    let message = format!("posthog-js {} is not in this build", scripts::PINNED_VERSION);
    let hint = "run crates/server/posthog-js/fetch.sh and build again, or let pages bundle the recorder".to_owned();
    Check { name: "scripts", state: CheckState::Fail, message, hint: Some(hint) }
}

/// What pages are told: whether anything is recorded, and what may come as a surprise.
async fn settings_check(app: &App) -> Check {
    let projects = match app.store.catalog().projects().await {
        Ok(projects) => projects,
        Err(error) => {
            let message = format!("the projects cannot be read: {error}");
            return Check { name: "settings", state: CheckState::Fail, message, hint: None };
        }
    };
    let mut surprises = Vec::new();
    let projects: Vec<_> = projects.into_iter().filter(|project| project.key.as_str() != TRIAL_KEY).collect();
    let keys = keys::of_all(&app.store, &projects).await.unwrap_or_default();
    for project in &projects {
        if keys.get(&project.key).is_some_and(|keys| keys::current(keys).is_none()) {
            surprises.push(format!("{}: all its keys were deleted, so nothing is recorded", project.name));
        }
        let mode = modes::decided(&app.store, &project.key).await;
        if app.upstream.is_none() && mode.is_ok_and(|mode| mode == Decided::Own(Mode::Pass)) {
            surprises.push(format!("{}: its mode is pass, but without --upstream it is recorded here", project.name));
        }
        match settings::read(&app.store, &project.key).await {
            Ok(kept) => {
                surprises.extend(surprise(&kept.settings).map(|surprise| format!("{}: {surprise}", project.name)))
            }
            Err(error) => {
                let message = format!("{}: {error}", project.name);
                let hint = Some("write the settings of this project anew, on the page Settings".to_owned());
                return Check { name: "settings", state: CheckState::Fail, message, hint };
            }
        }
    }
    if surprises.is_empty() {
        let message = match projects.len() {
            1 => "the one project records".to_owned(),
            count => format!("{count} projects, and all of them record"),
        };
        return fine("settings", message);
    }
    let hint = Some("the page Settings says what each setting does".to_owned());
    Check { name: "settings", state: CheckState::Warn, message: surprises.join("; "), hint }
}

/// Why less may arrive than somebody expects.
fn surprise(settings: &Settings) -> Option<String> {
    let Settings { recording, sample_rate, domains, linked_flag, url_triggers, event_triggers, .. } = settings;
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    match (recording, sample_rate) {
        (Some(false), _) => Some("recording is switched off".to_owned()),
        (_, Some(rate)) if *rate <= 0.0 => Some("no session is recorded, its part is 0".to_owned()),
        _ if linked_flag.as_ref().is_some_and(|flag| !flag.is_empty()) => {
            Some("recording waits for a feature flag, which this server does not answer".to_owned())
        }
        (_, Some(rate)) if *rate < 1.0 => Some(format!("{} % of the sessions are recorded", rate * 100.0)),
        _ if has(domains) => Some("pages of sites that are not listed are not recorded".to_owned()),
        _ if has(url_triggers) || has(event_triggers) => Some("recording waits for an address or an event".to_owned()),
        _ => None,
    }
}

fn web_check() -> Check {
    if pages::has_web_app() {
        return fine("web_app", "the web app is in this build".to_owned());
    }
    let hint = Some("run `make web` and build again".to_owned());
    Check { name: "web_app", state: CheckState::Warn, message: "the web app is not in this build".to_owned(), hint }
}

fn inbox_check(app: &App) -> Check {
    let (inbox, items_waiting) = app.store.waiting();
    match inbox.failing {
        Some(error) => Check {
            name: "inbox",
            state: CheckState::Fail,
            message: format!("the inbox cannot write: {error}"),
            hint: Some("check the disk; clients keep their uploads and come back meanwhile".to_owned()),
        },
        None if inbox.corrupt_records > 0 => Check {
            name: "inbox",
            state: CheckState::Fail,
            message: counted_as(
                inbox.corrupt_records,
                "upload in the inbox is not what was written, and lost",
                "uploads in the inbox are not what was written, and lost",
            ),
            hint: Some("check the disk; the segments are kept as inbox/*.damaged".to_owned()),
        },
        None => {
            let (events, bytes) = (counted(items_waiting as u64, "event"), counted(inbox.bytes_waiting, "byte"));
            let wait = if items_waiting == 1 { "waits" } else { "wait" };
            fine("inbox", format!("{events} in {bytes} {wait} to be sealed"))
        }
    }
}

fn sealing_check(app: &App) -> Check {
    match app.store.trouble() {
        Some(trouble) => Check {
            name: "sealing",
            state: CheckState::Fail,
            message: format!("uploads cannot be sealed: {trouble}"),
            hint: Some("nothing is lost: they stay in the inbox until it works again".to_owned()),
        },
        None if app.store.is_catching_up() => Check {
            name: "sealing",
            state: CheckState::Warn,
            message: "the catalog does not list all recordings yet".to_owned(),
            hint: Some("it is made anew from the objects; wait, uploads are taken meanwhile".to_owned()),
        },
        None => fine("sealing", "what is due is sealed".to_owned()),
    }
}

/// How many objects are named.
const NAMED_MAX: usize = 3;

fn objects_check(app: &App) -> Check {
    let newer = app.store.newer_objects();
    let Some(first) = newer.first() else { return fine("objects", "all are of a format that is known".to_owned()) };
    let named: Vec<_> = newer.iter().take(NAMED_MAX).map(|newer| newer.object.as_str()).collect();
    let more = if newer.len() > NAMED_MAX { ", …" } else { "" };
    Check {
        name: "objects",
        state: CheckState::Fail,
        message: format!(
            "objects of a newer release, of format {}: {}, and what they hold is not listed: {}{more}",
            first.version,
            newer.len(),
            named.join(", ")
        ),
        hint: Some(
            "start the newer release again; nothing is lost, and nothing is compacted or deleted meanwhile".to_owned(),
        ),
    }
}

async fn compaction_check(app: &App) -> Check {
    let compaction = app.store.compaction();
    if let Some(error) = compaction.last_error {
        return Check {
            name: "compaction",
            state: CheckState::Warn,
            message: format!("finished recordings cannot be compacted: {error}"),
            hint: Some("they can be played all the same, and take more room; look at the disk and the log".to_owned()),
        };
    }
    if compaction.recordings_damaged > 0 {
        return Check {
            name: "compaction",
            state: CheckState::Warn,
            message: counted_as(
                compaction.recordings_damaged,
                "recording holds damaged blocks, which stay as they are",
                "recordings hold damaged blocks, which stay as they are",
            ),
            hint: Some("the log names them; restore their objects from a backup".to_owned()),
        };
    }
    match app.store.overdue().await {
        Ok(0) => {
            fine("compaction", format!("{} compacted since the start", counted(compaction.recordings, "recording")))
        }
        Ok(count) => Check {
            name: "compaction",
            state: CheckState::Warn,
            message: counted_as(
                count as u64,
                "recording or more waits long to be compacted",
                "recordings or more wait long to be compacted",
            ),
            hint: Some("nothing is lost; if the number grows, the machine needs more processors".to_owned()),
        },
        Err(error) => Check {
            name: "compaction",
            state: CheckState::Fail,
            message: format!("the catalog cannot be read: {error}"),
            hint: Some("restart the server; it makes a new one from the objects".to_owned()),
        },
    }
}

fn uploads_check(app: &App) -> Check {
    let kept_at_ms = app.metrics.kept_at_ms.load(Relaxed);
    let refused: Vec<_> = [400, 401, 413, 503]
        .into_iter()
        .map(|status| (status, app.metrics.answers(status)))
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| format!("{count} answered {status}"))
        .collect();
    let refused = if refused.is_empty() { String::new() } else { format!("; {}", refused.join(", ")) };
    if kept_at_ms == 0 {
        let message = format!("no upload was kept since the start{refused}");
        let hint = format!("set api_host to {} in the page, then click in it once", app.public_url());
        return Check { name: "uploads", state: CheckState::Warn, message, hint: Some(hint) };
    }
    let ago_s = (app.clock.now_ms() - i64::try_from(kept_at_ms).unwrap_or_default()) / 1_000;
    let state = if refused.is_empty() { CheckState::Ok } else { CheckState::Warn };
    let hint = (!refused.is_empty()).then(|| "the log says why, at level debug".to_owned());
    Check { name: "uploads", state, message: format!("last upload kept {ago_s} s ago{refused}"), hint }
}

async fn drops_check(app: &App) -> Check {
    let totals = match app.drops.totals(app.store.catalog()).await {
        Ok(totals) => totals,
        Err(error) => {
            let message = format!("the counts cannot be read: {error}");
            return Check { name: "dropped_events", state: CheckState::Warn, message, hint: None };
        }
    };
    let uploads = totals.uploads.iter().map(|(reason, count)| (reason, *count, ("upload", "uploads")));
    let items = totals.items.iter().map(|(reason, count)| (reason, *count, ("event", "events")));
    let copies = totals.copies.iter().map(|(reason, count)| (reason, *count, ("copy", "copies")));
    let mut all: Vec<_> = uploads.chain(items).chain(copies).collect();
    all.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    let told = |(reason, count, (one, several)): &(&String, u64, (&str, &str))| {
        format!("{}: {reason}", counted_as(*count, one, several))
    };
    let listed: Vec<_> = all.iter().map(told).collect();
    let message = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
    match all.iter().find_map(|(reason, ..)| hint(reason)) {
        None => fine("dropped_events", message),
        hint => Check { name: "dropped_events", state: CheckState::Warn, message, hint: hint.map(str::to_owned) },
    }
}

/// How PostHog behaves, where there is one.
/// Whether it is known of every project where its recordings may go. `None` where it is.
async fn modes_check(app: &App) -> Option<Check> {
    let upstream = app.upstream.as_ref()?;
    let mut projects = app.store.catalog().projects().await.unwrap_or_default();
    projects.retain(|project| project.key.as_str() != TRIAL_KEY && upstream.modes.of(Some(&project.key)).is_none());
    let named: Vec<_> = projects.iter().take(NAMED_MAX).map(|project| project.name.as_str()).collect();
    let more = if projects.len() > NAMED_MAX { ", …" } else { "" };
    (!projects.is_empty()).then(|| Check {
        name: "modes",
        state: CheckState::Fail,
        message: format!("nobody knows the mode any more of {}{more}; pages are answered 503", named.join(", ")),
        hint: Some("choose it anew, on the page Settings or with `reelcase upstream KEY --mode MODE`".to_owned()),
    })
}

fn upstream_check(app: &App) -> Option<Check> {
    let upstream = app.upstream.as_ref()?;
    let counts = &upstream.counts;
    let (answered, away) = (counts.answered_at_ms.load(Relaxed), counts.away_at_ms.load(Relaxed));
    let (host, limited) = (&upstream.options.hosts.ingest, counts.quota_limited.load(Relaxed));
    let warn = |message: String, hint: &str| Check {
        name: "upstream",
        state: CheckState::Warn,
        message,
        hint: Some(hint.to_owned()),
    };
    let (refused, unread) = (counts.scripts_refused.load(Relaxed), counts.documents_refused.load(Relaxed));
    let script = upstream.refused_script.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(script) = script {
        return Some(Check {
            name: "upstream",
            state: CheckState::Fail,
            message: format!("{} a script of PostHog was not handed on: {script}", counted(refused, "time")),
            hint: Some("look at the script, then pin what it is now, or no more, on the page Settings".to_owned()),
        });
    }
    if upstream.is_config_refused.load(Relaxed) {
        return Some(Check {
            name: "upstream",
            state: CheckState::Fail,
            message: format!(
                "{} PostHog's config was not handed on: settings cannot be laid over it",
                counted(unread, "time")
            ),
            hint: Some("the log says why; pages keep to what they were told before, or do not record".to_owned()),
        });
    }
    Some(if away > answered {
        let hint = "nothing is lost here: uploads are kept, and clients come back to PostHog with theirs";
        warn(format!("{host} does not answer; the log says why"), hint)
    } else if limited > 0 {
        let hint = match upstream.options.quota_limited {
            QuotaLimited::Pass => "clients stop for a minute each time: --upstream-quota-limited hide keeps them going",
            QuotaLimited::Hide => "PostHog throws away what it gets; everything is kept here",
        };
        warn(format!("{host} said {} that a quota is used up", counted(limited, "time")), hint)
    } else if answered == 0 {
        fine("upstream", format!("nothing was sent to {host} since the start"))
    } else {
        fine("upstream", format!("{host} answers"))
    })
}

/// What waits for PostHog, where there is one.
fn spool_check(app: &App) -> Option<Check> {
    app.upstream.as_ref()?;
    let spool = app.store.spool_stats();
    let (waiting, given_up) = (spool.records.iter().sum::<u64>(), spool.expired + spool.crowded_out);
    let age_s = spool.oldest_ms.map_or(0, |oldest_ms| (app.clock.now_ms() - oldest_ms).max(0) / 1_000);
    let message = match waiting {
        0 => "nothing waits for PostHog".to_owned(),
        1 => format!("one upload waits for PostHog, for {age_s} s"),
        _ => format!("{waiting} uploads wait for PostHog, the oldest for {age_s} s"),
    };
    if given_up > 0 {
        return Some(Check {
            name: "spool",
            state: CheckState::Warn,
            message: format!("{message}; PostHog will not get {given_up} that waited too long or took too much room"),
            hint: Some("they are kept here; --spool-bytes-max and --spool-age-max-s bound what waits".to_owned()),
        });
    }
    if age_s > SPOOL_LATE_S {
        let hint = "nothing is lost; PostHog is away, a quota is used up, or --spool-rate-max is too low";
        return Some(Check { name: "spool", state: CheckState::Warn, message, hint: Some(hint.to_owned()) });
    }
    Some(fine("spool", message))
}

async fn catalog_check(app: &App) -> Check {
    let newest = app.store.catalog().list(ListQuery { limit: Some(1), ..ListQuery::default() }).await;
    match newest.map(|page| page.recordings.into_iter().next()) {
        Err(error) => Check {
            name: "recordings",
            state: CheckState::Fail,
            message: format!("the catalog cannot be read: {error}"),
            hint: Some("restart the server; it makes a new one from the objects".to_owned()),
        },
        Ok(None) => Check {
            name: "recordings",
            state: CheckState::Warn,
            message: "there is no recording yet".to_owned(),
            hint: Some("recorders send only after the visitor clicked or left the page".to_owned()),
        },
        Ok(Some(row)) if row.summary.full_snapshot_count == 0 => Check {
            name: "recordings",
            state: CheckState::Warn,
            message: format!("the newest recording, {}, has no full snapshot", row.id),
            hint: Some("its first upload is missing; it cannot be shown until a full snapshot arrives".to_owned()),
        },
        Ok(Some(row)) => fine("recordings", format!("the newest recording is {}", row.id)),
    }
}

fn fine(name: &'static str, message: String) -> Check {
    Check { name, state: CheckState::Ok, message, hint: None }
}
