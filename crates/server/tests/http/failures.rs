//! What each mode does when something fails: a test for each row of the table in `docs/tee.md`, over all modes. What
//! becomes of a killed process, and of a disk that is really full, is in `crates/reelcase/tests`.

use std::time::Duration;

use axum::http::{Request, StatusCode};
use futures::future::join_all;
use reelcase_server::{Mode, QuotaLimited, ServerOptions, UpstreamOptions};
use reelcase_store::{SpoolOptions, StoreOptions};
use serde_json::json;

use crate::settings::change;
use crate::site::{PAGE, PATIENCE, Reply, SESSION, Site, one_snapshot, site_in};
use crate::standin::{Manner, SCRIPT, Standin};
use crate::tee::{eventually, kept, not_kept};

/// One cell of the table.
#[derive(Clone, Copy)]
struct Cell {
    mode: Mode,
    /// What the client hears.
    status: u16,
    is_kept: bool,
    /// How often PostHog has got the upload.
    arrivals: usize,
}

const fn cell(mode: Mode, status: u16, is_kept: bool, arrivals: usize) -> Cell {
    Cell { mode, status, is_kept, arrivals }
}

/// One row: what goes wrong.
struct Row {
    upload: String,
    manner: Manner,
    upstream: fn(&mut UpstreamOptions),
    server: fn(&mut ServerOptions),
    store: fn(&mut StoreOptions),
}

impl Default for Row {
    fn default() -> Self {
        Self { upload: one_snapshot(), manner: Manner::Kind, upstream: |_| (), server: |_| (), store: |_| () }
    }
}

/// A server in front of a PostHog, and what it answered to the upload.
struct Case {
    posthog: Standin,
    site: Site,
    reply: Reply,
}

impl Row {
    async fn site(&self, mode: Mode, posthog: &Standin) -> Site {
        let mut upstream = UpstreamOptions { mode, ..posthog.options() };
        (self.upstream)(&mut upstream);
        let server = |options: &mut ServerOptions| {
            options.upstream = Some(upstream);
            (self.server)(options);
        };
        let store = |options: &mut StoreOptions| {
            options.spool = Some(SpoolOptions::default());
            (self.store)(options);
        };
        site_in(tempfile::tempdir().unwrap(), server, store).await
    }

    /// Sends one upload in the mode of a cell, and compares what comes of it.
    async fn assert(&self, cell: Cell) -> Case {
        let posthog = Standin::start().await;
        let site = self.site(cell.mode, &posthog).await;
        posthog.behave(self.manner.clone());
        let reply = site.post("/s/", "text/plain", self.upload.clone()).await;
        let case = Case { posthog, site, reply };
        case.assert(cell).await;
        case
    }

    async fn assert_all(&self, cells: [Cell; 4]) -> [Case; 4] {
        assert_eq!(cells.map(|cell| cell.mode), MODES);
        let cases = join_all(cells.map(|cell| self.assert(cell))).await;
        cases.try_into().unwrap_or_else(|_| panic!("a case for each cell"))
    }
}

/// In the order of the columns.
const MODES: [Mode; 4] = [Mode::Tee, Mode::Mirror, Mode::Store, Mode::Pass];

impl Case {
    async fn assert(&self, cell: Cell) {
        let Cell { mode, status, is_kept, arrivals } = cell;
        assert_eq!(self.reply.status.as_u16(), status, "{mode:?}: {}", self.reply.text());
        assert_eq!(self.reply.header("access-control-allow-origin"), PAGE, "{mode:?}: the page can read the status");
        if self.reply.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_ne!(self.reply.header("retry-after"), "", "{mode:?}: the client is told when to come back");
        }
        eventually(|| async { self.posthog.seen().len() >= arrivals }).await;
        // What failed in the mirror is sent again at any time.
        if mode != Mode::Mirror || arrivals == 0 {
            assert_eq!(self.posthog.seen().len(), arrivals, "{mode:?}");
        }
        if is_kept {
            kept(&self.site, SESSION).await;
            assert_eq!(self.site.event_count(SESSION).await, 2, "{mode:?}: kept once");
        } else {
            assert!(self.site.recordings().await.is_empty(), "{mode:?}");
        }
    }

    /// Uploads that PostHog does not have yet.
    fn waiting(&self) -> u64 {
        self.site.store.spool_stats().records.iter().sum()
    }

    async fn drained(&self) {
        eventually(|| async { self.waiting() == 0 }).await;
    }
}

#[tokio::test]
async fn when_posthog_is_slow() {
    let row = Row {
        manner: Manner::Slow(PATIENCE),
        upstream: |upstream| {
            if upstream.mode != Mode::Mirror {
                upstream.waits.reply = Duration::from_millis(300);
            }
        },
        ..Row::default()
    };
    let [tee, mirror, _, pass] = row
        .assert_all([
            cell(Mode::Tee, 503, true, 1),
            cell(Mode::Mirror, 200, true, 1),
            cell(Mode::Store, 200, true, 0),
            cell(Mode::Pass, 503, false, 1),
        ])
        .await;
    assert_eq!((tee.reply.code(), pass.reply.code()), ("upstream_away".to_owned(), "upstream_away".to_owned()));
    assert_eq!(mirror.waiting(), 1);
    // Whoever is slow and no slower than that is waited for.
    let row = Row { manner: Manner::Slow(Duration::from_millis(50)), ..row };
    for mode in [Mode::Tee, Mode::Pass] {
        let case = row.assert(cell(mode, 200, mode == Mode::Tee, 1)).await;
        assert_eq!(case.reply.header("x-posthog"), "yes");
    }
}

#[tokio::test]
async fn when_posthog_is_down() {
    for cell in [
        cell(Mode::Tee, 503, true, 1),
        cell(Mode::Mirror, 200, true, 1),
        cell(Mode::Store, 200, true, 0),
        cell(Mode::Pass, 503, false, 1),
    ] {
        let posthog = Standin::start().await;
        let site = Row::default().site(cell.mode, &posthog).await;
        let address = posthog.stop().await;
        let reply = site.post("/s/", "text/plain", one_snapshot()).await;
        if cell.is_kept {
            kept(&site, SESSION).await;
        }
        if cell.status == 503 {
            assert_eq!((reply.code().as_str(), reply.header("retry-after")), ("upstream_away", "5"));
            assert_eq!(site.check("upstream").await["state"], "warn");
        }
        let flags = site.post("/flags/", "text/plain", "{}").await.status;
        assert_eq!(flags == StatusCode::SERVICE_UNAVAILABLE, cell.mode != Mode::Store, "{:?}", cell.mode);
        let case = Case { posthog: Standin::start_on(address).await, site, reply };
        if cell.status == 503 {
            // The client comes back with the same.
            assert_eq!(case.site.post("/s/", "text/plain", one_snapshot()).await.status, StatusCode::OK);
            assert_eq!(case.site.check("upstream").await["state"], "ok");
        }
        case.drained().await;
        case.assert(cell).await;
        let arrived: Vec<_> = case.posthog.seen().into_iter().map(|seen| seen.body).collect();
        assert_eq!(arrived, vec![one_snapshot(); cell.arrivals]);
    }
}

#[tokio::test]
async fn when_posthog_answers_4xx() {
    for status in [400, 401, 413] {
        let row = Row { manner: Manner::Status(status), ..Row::default() };
        let [tee, mirror, _, pass] = row
            .assert_all([
                cell(Mode::Tee, status, true, 1),
                cell(Mode::Mirror, 200, true, 1),
                cell(Mode::Store, 200, true, 0),
                cell(Mode::Pass, status, false, 1),
            ])
            .await;
        for seen in [tee, pass] {
            assert_eq!((seen.reply.text().as_str(), seen.reply.header("retry-after")), ("it did not go well", "1"));
        }
        mirror.drained().await;
        assert!(mirror.site.metrics().await.contains("reelcase_spool_refused_total 1\n"), "given up, and counted");
    }
}

#[tokio::test]
async fn when_posthog_answers_4xx_that_passes_or_5xx() {
    for status in [408, 425, 429, 500, 503] {
        let row = Row { manner: Manner::Status(status), ..Row::default() };
        let [tee, mirror, _, pass] = row
            .assert_all([
                cell(Mode::Tee, status, true, 1),
                cell(Mode::Mirror, 200, true, 1),
                cell(Mode::Store, 200, true, 0),
                cell(Mode::Pass, status, false, 1),
            ])
            .await;
        for seen in [tee, pass] {
            assert_eq!((seen.reply.text().as_str(), seen.reply.header("retry-after")), ("it did not go well", "1"));
        }
        assert_eq!(mirror.waiting(), 1, "{status}");
        let metrics = mirror.site.metrics().await;
        assert!(metrics.contains("reelcase_spool_refused_total 0\n"), "{metrics}");
        if [425, 500].contains(&status) {
            mirror.posthog.behave(Manner::Kind);
            mirror.drained().await;
            assert!(mirror.posthog.seen().len() > 1, "{status}: sent again");
        }
    }
}

#[tokio::test]
async fn when_posthog_says_until_when_it_wants_nothing() {
    let until = jiff::Timestamp::now() + Duration::from_secs(2);
    let until = jiff::Timestamp::from_second(until.as_second()).unwrap();
    let row = Row { manner: Manner::AwayUntil(until), ..Row::default() };
    let mirror = row.assert(cell(Mode::Mirror, 200, true, 1)).await;
    mirror.posthog.behave(Manner::Kind);
    mirror.drained().await;
    assert!(jiff::Timestamp::now() >= until, "it came before {until}");
    // A client can read it for itself.
    let tee = row.assert(cell(Mode::Tee, 503, true, 1)).await;
    assert!(tee.reply.header("retry-after").ends_with(" GMT"), "{:?}", tee.reply);
}

#[tokio::test]
async fn when_posthog_says_quota_limited() {
    let row = Row { manner: Manner::QuotaLimited, ..Row::default() };
    let [tee, mirror, _, pass] = row
        .assert_all([
            cell(Mode::Tee, 200, true, 1),
            cell(Mode::Mirror, 200, true, 1),
            cell(Mode::Store, 200, true, 0),
            cell(Mode::Pass, 200, false, 1),
        ])
        .await;
    for seen in [&tee, &pass] {
        assert_eq!(seen.reply.json(), json!({ "status": "Ok", "quota_limited": ["recordings"] }));
    }
    assert!(tee.site.check("upstream").await["message"].as_str().unwrap().contains("quota"));

    assert_eq!(mirror.reply.json(), json!({ "status": "Ok" }), "no client hears of it");
    mirror.posthog.behave(Manner::Kind);
    let event = json!({ "api_key": "phc_test", "batch": [{ "event": "sale", "properties": {} }] });
    assert_eq!(mirror.site.post("/e/", "text/plain", event.to_string()).await.json(), json!({ "status": "Ok" }));
    eventually(|| async { mirror.posthog.seen().iter().any(|seen| seen.target == "/e/") }).await;
    assert_eq!(mirror.site.store.spool_stats().records, [1, 0], "the recording waits");

    let hiding = Row { upstream: |upstream| upstream.quota_limited = QuotaLimited::Hide, ..row };
    let tee = hiding.assert(cell(Mode::Tee, 200, true, 1)).await;
    assert_eq!(tee.reply.json(), json!({ "status": "Ok" }));
    let packed = Request::post("/s/").header("accept-encoding", "gzip, br").body(one_snapshot().into_bytes());
    tee.site.send(packed.unwrap()).await;
    let asked = tee.posthog.seen().pop().unwrap();
    assert!(!asked.headers.contains_key("accept-encoding"), "what is to be taken out has to be readable");
    let pass = hiding.assert(cell(Mode::Pass, 200, false, 1)).await;
    assert_eq!(pass.reply.json()["quota_limited"], json!(["recordings"]));
}

#[tokio::test]
async fn when_there_is_no_room_here() {
    let row = Row { store: |store| store.pending_items_max = 0, ..Row::default() };
    let [tee, mirror, store, pass] = row
        .assert_all([
            cell(Mode::Tee, 200, false, 1),
            cell(Mode::Mirror, 503, false, 0),
            cell(Mode::Store, 503, false, 0),
            cell(Mode::Pass, 200, false, 1),
        ])
        .await;
    assert_eq!(tee.posthog.only().body, one_snapshot());
    not_kept(&tee.site, "busy", 1).await;
    assert_eq!((mirror.reply.code(), store.reply.code()), ("busy".to_owned(), "busy".to_owned()));
    assert!(!pass.site.metrics().await.contains("reelcase_copies_not_kept_total{"), "nothing was to be kept");
}

#[tokio::test]
async fn when_an_upload_cannot_be_decoded_or_its_key_is_unknown() {
    let stranger: fn(&mut ServerOptions) = |options| options.accept_any_key = Some(false);
    for (row, reason, status) in [
        (Row { upload: "no upload of any client".to_owned(), ..Row::default() }, "malformed", 400),
        (Row { server: stranger, ..Row::default() }, "unknown_key", 401),
    ] {
        let [tee, mirror, store, pass] = row
            .assert_all([
                cell(Mode::Tee, 200, false, 1),
                cell(Mode::Mirror, 200, false, 1),
                cell(Mode::Store, status, false, 0),
                cell(Mode::Pass, 200, false, 1),
            ])
            .await;
        for went_on in [&tee, &mirror, &pass] {
            assert_eq!(went_on.posthog.only().body, row.upload);
        }
        for counted in [&tee, &mirror] {
            not_kept(&counted.site, reason, 1).await;
            let check = counted.site.check("dropped_events").await;
            assert!(check["message"].as_str().unwrap().contains(&format!("1 copy: {reason}")), "{check}");
        }
        assert_eq!(store.reply.code(), reason);
        assert!(!pass.site.metrics().await.contains("reelcase_copies_not_kept_total{"), "nothing was to be kept");
    }
}

#[tokio::test]
async fn when_posthogs_config_cannot_be_read_and_settings_are_to_be_laid_over_it() {
    for (mode, status) in [(Mode::Tee, 503), (Mode::Mirror, 503), (Mode::Store, 200), (Mode::Pass, 200)] {
        let posthog = Standin::start().await;
        let site = Row::default().site(mode, &posthog).await;
        change(&site, "POST", "/api/projects", json!({ "name": "Shop", "key": "phc_html" }), &[]).await;
        let masked = json!({ "mask_all_text": true });
        change(&site, "PUT", "/api/projects/phc_html/settings", masked, &[]).await;
        let config = site.get("/array/phc_html/config").await;
        assert_eq!(config.status.as_u16(), status, "{mode:?}: {}", config.text());
        match mode {
            Mode::Store => assert_eq!(config.json()["sessionRecording"]["masking"]["maskTextSelector"], "*"),
            Mode::Pass => assert_eq!(config.text(), "<html>sorry</html>"),
            Mode::Tee | Mode::Mirror => assert_eq!(config.code(), "upstream_config_unreadable", "{mode:?}"),
        }
    }
}

#[tokio::test]
async fn when_posthog_is_away_scripts_and_config_are_what_it_sent_before() {
    for mode in [Mode::Tee, Mode::Mirror, Mode::Pass] {
        let posthog = Standin::start().await;
        let site = Row::default().site(mode, &posthog).await;
        let (script, config) = ("/static/array.js", "/array/phc_test/config.js");
        for path in [script, config] {
            site.get(path).await;
        }
        // Fresh ones come from the cache, once they are in it. The config is stale at once.
        eventually(|| async { !site.get(script).await.header("age").is_empty() }).await;
        let asked = posthog.seen().len();
        assert_eq!((site.get(script).await.text(), posthog.seen().len()), (SCRIPT.to_owned(), asked), "{mode:?}");
        let is_asked_for_again = || posthog.seen().last().unwrap().headers.contains_key("if-none-match");
        eventually(|| async { site.get(config).await.status == StatusCode::OK && is_asked_for_again() }).await;
        posthog.behave(Manner::Status(500));
        assert_eq!(site.get(config).await.text(), "config();", "{mode:?}");
        assert_eq!(site.get("/static/other.js").await.status, StatusCode::INTERNAL_SERVER_ERROR, "{mode:?}");
        posthog.stop().await;
        assert_eq!(site.get(config).await.text(), "config();", "{mode:?}");
        assert_eq!(site.get("/static/other.js").await.status, StatusCode::SERVICE_UNAVAILABLE, "{mode:?}");
    }
}
