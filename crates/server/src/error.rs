//! Everything that can go wrong with a request, and the one place that turns it into a status.

use axum::Json;
use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use reelcase_format::count::counted;
use reelcase_format::id::{IdError, ProjectKey};
use reelcase_format::upload::DecodeError;
use reelcase_store::catalog::CatalogError;
use reelcase_store::objects::ObjectError;
use reelcase_store::{AcceptError, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::import::ImportError;
use crate::keys::KeyError;
use crate::schedules::ScheduleError;
use crate::settings::document::DocumentError;
use crate::settings::{Flaw, SettingsError};
use crate::share::{Refusal, ShareError};
use crate::webhooks::WebhookError;

/// Why a request was not done. The message goes to the client; what it must not see is only logged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the request has no body and no data parameter")]
    EmptyBody,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("none of the events can be kept; event {index}: {reason}")]
    NothingUsable { index: usize, reason: &'static str },
    #[error("the upload names no project key: set properties.token or api_key to one like phc_…")]
    NoKey,
    #[error(transparent)]
    BadKey(IdError),
    #[error(
        "no project has the key {}; a key looks like phc_… and is created by `reelcase serve --project KEY`, or by its \
         first upload with --accept-any-key",
        key_hint(.0)
    )]
    UnknownKey(ProjectKey),
    #[error(
        "the key {} was deleted from its project on {day}, and records no more: give the page another key of the project",
        key_hint(.key)
    )]
    DeletedKey { key: ProjectKey, day: String },
    #[error("the characters of a project key here are letters, digits, _ and -")]
    BadKeyCharacters,
    #[error("no project has this key")]
    NoSuchProject,
    #[error("the body is longer than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the file is longer than {limit} bytes")]
    FileTooLarge { limit: u64 },
    #[error("the body came too slowly")]
    SlowBody,
    #[error("the body ended early")]
    BrokenBody,
    #[error("the body inflates to more than {ratio_max} times its size")]
    Bomb { ratio_max: usize },
    #[error("the server is busy: {what}")]
    Busy { what: &'static str, retry_after_s: u32 },
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Settings(SettingsError),
    #[error(transparent)]
    Key(KeyError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Schedule(ScheduleError),
    #[error(transparent)]
    Links(#[from] ShareError),
    #[error("{}", refusal_message(*.0))]
    Link(Refusal),
    #[error(transparent)]
    Webhooks(#[from] WebhookError),
    #[error("{0}")]
    TooMany(String),
    #[error("there are {limit} projects, and no more can be made")]
    TooManyProjects { limit: usize },
    #[error("the body must be JSON, with `content-type: application/json`")]
    NotJson,
    #[error("give the token of this server: as `Authorization: Bearer …`, or open /?token=… once")]
    NoAccess,
    #[error("changes must come from this server's own pages")]
    CrossSite,
    #[error("this server is not {0:?}: open it by its own address, or start it with --public-url")]
    WrongHost(String),
    #[error("this path does not take this method; its Allow header says which it takes")]
    MethodNotAllowed,
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("{0}")]
    BadParameter(String),
    #[error("none of the blocks that were asked for can be read; the server's log says why")]
    BlocksUnavailable,
    #[error("PostHog does not answer")]
    UpstreamAway,
    #[error("PostHog's config is not handed on, because it cannot be told what was decided here: {0}")]
    UpstreamConfig(DocumentError),
    #[error("PostHog's script is not handed on: {0}")]
    UpstreamScript(String),
    #[error("this request was here before: --upstream leads back to this server")]
    Loop,
    #[error("connections are handed over to WebSocket, asked for with GET, and to no other protocol")]
    NoUpgrade,
    #[error(
        "nobody knows any more whether recordings of this project are for PostHog, for this server, or both: choose its \
         mode anew, on the page Settings or with `reelcase upstream`"
    )]
    LostMode,
    #[error("there is no PostHog behind this server: start it with --upstream")]
    NoUpstream,
}

/// The body of an answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, for programs and for people.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// Stable name of the failure.
    pub code: &'static str,
    /// What to do about it.
    pub message: String,
    /// Each value that is not what it should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flaws: Vec<Flaw>,
}

impl Failure {
    /// A parameter of the API that is not what it should be.
    pub(crate) fn bad_parameter(error: impl std::fmt::Display) -> Self {
        Self::BadParameter(error.to_string())
    }

    /// Stable name of this failure.
    pub(crate) fn code(&self) -> &'static str {
        self.answer().1
    }

    /// The status of this failure.
    pub(crate) fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// Status, stable code, and after how many seconds trying again makes sense.
    fn answer(&self) -> (StatusCode, &'static str, Option<u32>) {
        use StatusCode as S;
        match self {
            Self::EmptyBody => (S::BAD_REQUEST, "empty_body", None),
            Self::NothingUsable { .. } => (S::BAD_REQUEST, "nothing_usable", None),
            Self::Decode(error) => decode_answer(error),
            Self::NoKey => (S::UNAUTHORIZED, "no_key", None),
            Self::BadKey(_) => (S::UNAUTHORIZED, "bad_key", None),
            Self::DeletedKey { .. } => (S::UNAUTHORIZED, "deleted_key", None),
            Self::UnknownKey(_) => (S::UNAUTHORIZED, "unknown_key", None),
            Self::BadKeyCharacters => (S::BAD_REQUEST, "bad_key", None),
            Self::NoSuchProject => (S::NOT_FOUND, "unknown_key", None),
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body_too_large", None),
            Self::FileTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "file_too_large", None),
            Self::Bomb { .. } => (S::PAYLOAD_TOO_LARGE, "too_large", None),
            Self::SlowBody => (S::SERVICE_UNAVAILABLE, "slow_body", Some(5)),
            Self::BrokenBody => (S::SERVICE_UNAVAILABLE, "broken_body", Some(5)),
            Self::Busy { retry_after_s, .. } => (S::SERVICE_UNAVAILABLE, "busy", Some(*retry_after_s)),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", Some(5)),
            Self::Accept(error) => accept_answer(error),
            Self::Store(error) => store_answer(error),
            Self::Catalog(error) => catalog_answer(error),
            Self::Settings(error) => settings_answer(error),
            Self::Key(error) => key_answer(error),
            Self::Import(error) => import_answer(error),
            Self::Schedule(error) => schedule_answer(error),
            Self::Links(error) => share_answer(error),
            Self::Link(refusal) => refusal_answer(*refusal),
            Self::Webhooks(WebhookError::Unreadable(_)) => (S::SERVICE_UNAVAILABLE, "webhooks_unreadable", None),
            Self::Webhooks(WebhookError::Unwritable(_)) => (S::SERVICE_UNAVAILABLE, "store_failing", Some(30)),
            Self::TooMany(_) => (S::CONFLICT, "too_many", None),
            Self::TooManyProjects { .. } => (S::CONFLICT, "too_many_projects", None),
            Self::NotJson => (S::UNSUPPORTED_MEDIA_TYPE, "not_json", None),
            Self::NoAccess => (S::UNAUTHORIZED, "no_access", None),
            Self::CrossSite => (S::FORBIDDEN, "cross_site", None),
            Self::WrongHost(_) => (S::FORBIDDEN, "wrong_host", None),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed", None),
            Self::NotFound(_) => (S::NOT_FOUND, "not_found", None),
            Self::BadParameter(_) => (S::BAD_REQUEST, "bad_parameter", None),
            Self::BlocksUnavailable => (S::BAD_GATEWAY, "recording_blocks_unavailable", None),
            Self::UpstreamAway => (S::SERVICE_UNAVAILABLE, "upstream_away", Some(5)),
            Self::UpstreamConfig(_) => (S::SERVICE_UNAVAILABLE, "upstream_config_unreadable", Some(60)),
            Self::UpstreamScript(_) => (S::BAD_GATEWAY, "upstream_script_refused", None),
            Self::Loop => (S::LOOP_DETECTED, "loop", None),
            Self::NoUpgrade => (S::NOT_IMPLEMENTED, "no_upgrade", None),
            Self::LostMode => (S::SERVICE_UNAVAILABLE, "mode_lost", Some(60)),
            Self::NoUpstream => (S::CONFLICT, "no_upstream", None),
        }
    }
}

fn import_answer(error: &ImportError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        ImportError::Store(error) => store_answer(error),
        // Full disks and failing ones.
        ImportError::Read { .. } | ImportError::Write(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_failing", Some(30))
        }
    }
}

fn schedule_answer(error: &ScheduleError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        ScheduleError::Invalid(_) => (StatusCode::BAD_REQUEST, "bad_export", None),
        ScheduleError::Unknown => (StatusCode::NOT_FOUND, "not_found", None),
        ScheduleError::Unreadable(_) => (StatusCode::SERVICE_UNAVAILABLE, "exports_unreadable", None),
        ScheduleError::Store(error) => store_answer(error),
        ScheduleError::Catalog(error) => catalog_answer(error),
    }
}

fn share_answer(error: &ShareError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        ShareError::TooMany => (StatusCode::CONFLICT, "too_many_links", None),
        ShareError::NotJpeg | ShareError::NoPicture => (StatusCode::BAD_REQUEST, "bad_picture", None),
        ShareError::Unreadable(_) => (StatusCode::SERVICE_UNAVAILABLE, "links_unreadable", None),
        ShareError::NoRandomness => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(5)),
        ShareError::Store(error) => store_answer(error),
    }
}

fn refusal_answer(refusal: Refusal) -> (StatusCode, &'static str, Option<u32>) {
    match refusal {
        Refusal::NoLink => (StatusCode::NOT_FOUND, "no_link", None),
        Refusal::Password { was_given: false } => (StatusCode::UNAUTHORIZED, "password_needed", None),
        Refusal::Password { was_given: true } => (StatusCode::UNAUTHORIZED, "password_wrong", None),
        Refusal::TooManyTries => (StatusCode::TOO_MANY_REQUESTS, "too_many_tries", Some(60)),
    }
}

fn refusal_message(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoLink => "this link does not work, or no longer",
        Refusal::Password { was_given: false } => "this link needs a password",
        Refusal::Password { was_given: true } => "this password is not the link's",
        Refusal::TooManyTries => "too many passwords were wrong: try again in a minute",
    }
}

fn decode_answer(error: &DecodeError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        DecodeError::Empty => (StatusCode::BAD_REQUEST, "no_events", None),
        DecodeError::Malformed { .. } => (StatusCode::BAD_REQUEST, "malformed", None),
        DecodeError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", None),
    }
}

fn accept_answer(error: &AcceptError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        AcceptError::Busy { retry_after_s } => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(*retry_after_s)),
        // Full disks and failing ones: the client keeps its copy and comes back.
        AcceptError::Failing { retry_after_s, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_failing", Some(*retry_after_s))
        }
        AcceptError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", None),
    }
}

fn store_answer(error: &StoreError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        StoreError::Catalog(error) => catalog_answer(error),
        StoreError::NewerSettings => (StatusCode::CONFLICT, "newer_settings", None),
        StoreError::NewerNotes => (StatusCode::CONFLICT, "newer_notes", None),
        StoreError::NewerDocument { .. } => (StatusCode::CONFLICT, "newer_document", None),
        StoreError::NotesFull { .. } => (StatusCode::CONFLICT, "notes_full", None),
        // Full disks and failing ones, and a store of objects that is away: what must still be sealed waits for them.
        StoreError::Object(ObjectError::Write { .. } | ObjectError::Sync(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_failing", Some(30))
        }
        StoreError::Object(ObjectError::Store { operation, .. }) if *operation == "write" => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_failing", Some(30))
        }
        StoreError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", Some(5)),
        StoreError::Block { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "damaged", None),
        StoreError::Lock(_)
        | StoreError::Inbox(_)
        | StoreError::Object(_)
        | StoreError::Reel(_)
        | StoreError::Directory { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "store_failed", None),
    }
}

fn settings_answer(error: &SettingsError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        SettingsError::NoProject => (StatusCode::NOT_FOUND, "not_found", None),
        SettingsError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_settings", None),
        SettingsError::Conflict => (StatusCode::PRECONDITION_FAILED, "changed_meanwhile", None),
        SettingsError::Unreadable(_) => (StatusCode::SERVICE_UNAVAILABLE, "settings_unreadable", None),
        SettingsError::Store(error) => store_answer(error),
        SettingsError::Catalog(error) => catalog_answer(error),
    }
}

fn key_answer(error: &KeyError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        KeyError::NoProject | KeyError::NoKey => (StatusCode::NOT_FOUND, "not_found", None),
        KeyError::Taken => (StatusCode::CONFLICT, "key_taken", None),
        KeyError::BadCharacters => (StatusCode::BAD_REQUEST, "bad_key", None),
        KeyError::Last => (StatusCode::CONFLICT, "last_key", None),
        KeyError::TooMany => (StatusCode::CONFLICT, "too_many_keys", None),
        KeyError::Unreadable(_) => (StatusCode::SERVICE_UNAVAILABLE, "key_unreadable", None),
        KeyError::NoRandomness(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(5)),
        KeyError::Store(error) => store_answer(error),
        KeyError::Catalog(error) => catalog_answer(error),
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => Self::Store(error),
            KeyError::Catalog(error) => Self::Catalog(error),
            other => Self::Key(other),
        }
    }
}

impl From<ScheduleError> for Failure {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Store(error) => Self::Store(error),
            ScheduleError::Catalog(error) => Self::Catalog(error),
            other => Self::Schedule(other),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Store(error) => Self::Store(error),
            SettingsError::Catalog(error) => Self::Catalog(error),
            other => Self::Settings(other),
        }
    }
}

fn catalog_answer(error: &CatalogError) -> (StatusCode, &'static str, Option<u32>) {
    match error {
        CatalogError::BadCursor => (StatusCode::BAD_REQUEST, "bad_cursor", None),
        CatalogError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "stopping", Some(5)),
        CatalogError::Damaged { .. } | CatalogError::TooNew { .. } | CatalogError::Unavailable { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "catalog_unavailable", Some(30))
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, retry_after_s) = self.answer();
        let message = match &self {
            // What the store says names files of this machine: it is for the log.
            // The inbox has logged once why it refuses.
            Self::Accept(AcceptError::Failing { .. }) => "the server could not do this; its log says why".to_owned(),
            Self::Store(_) | Self::Catalog(_) | Self::Import(_) | Self::Links(ShareError::Store(_))
                if status.is_server_error() =>
            {
                tracing::error!(code, error = &self as &dyn std::error::Error, "request failed");
                "the server could not do this; its log says why".to_owned()
            }
            _ => self.to_string(),
        };
        let flaws = match &self {
            Self::Settings(SettingsError::Invalid(flaws)) => flaws.clone(),
            _ => Vec::new(),
        };
        let body = ErrorBody { error: ErrorDetail { code, message, flaws } };
        let mut reply = (status, Json(body)).into_response();
        if let Some(seconds) = retry_after_s {
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::MethodNotAllowed) {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if matches!(self, Self::SlowBody | Self::BrokenBody | Self::BodyTooLarge { .. }) {
            // The rest of the body is still on its way, and nobody will read it.
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

/// Enough of a key to recognise it. Keys are public, but an unknown one may be a secret pasted into the wrong place.
fn key_hint(key: &ProjectKey) -> String {
    let shown: String = key.as_str().chars().take(8).collect();
    format!("{shown}… ({})", counted(key.as_str().len() as u64, "character"))
}
