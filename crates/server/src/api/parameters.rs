//! Parameters of the API, refused in the API's own words where they are not what they should be.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::Failure;

/// The query of a request.
pub(super) struct Parameters<T>(pub(super) T);

/// The variable parts of a path. What cannot be one names nothing that exists.
pub(super) struct PathParts<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Failure::BadParameter(flaw_of(&error)))
    }
}

/// What is wrong with a query, without what the library that reads it calls that.
pub(super) fn flaw_of(error: &QueryRejection) -> String {
    let text = error.body_text();
    let flaw = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    // What is wrong with a name says the name: it need not stand before it, too.
    let is_of_name = |(name, flaw): &(&str, &str)| {
        ["unknown", "duplicate"].iter().any(|wrong| flaw.starts_with(&format!("{wrong} field `{name}`")))
    };
    flaw.split_once(": ").filter(is_of_name).map_or(flaw, |(_, flaw)| flaw).to_owned()
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParts<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|_| Failure::NotFound("page"))
    }
}
