//! Commands that talk to a running server.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, StatusCode, request};
use http_body_util::{Empty, Full};
use reelcase_format::sign::SigningKey;
use reelcase_server::api::{GAPS_HEADER, Gaps, LEFT_OUT_TRAILER};
use reelcase_transform::stream::LeftOut;
use serde_json::Value;

use crate::file::{FileForm, Output};
use crate::local::{print_row, report_gaps, report_left_out};
use crate::sign::Signing;
use crate::talk;
use crate::web::{Reply, Web, base_of};

/// A server and what opens it.
pub(crate) struct Remote {
    /// Without a slash at the end.
    base: String,
    authorization: HeaderValue,
    web: Box<Web>,
}

impl Remote {
    /// Checks that there is all that is needed.
    pub(crate) fn new(server: Option<String>, token: Option<String>) -> anyhow::Result<Self> {
        let base = base_of(&server.context("--server is missing")?)?;
        let token = token.context("--token is missing\nhint: the server prints it, and keeps it in DIR/secret")?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).context("the token is none")?;
        authorization.set_sensitive(true);
        Ok(Self { base, authorization, web: Box::new(Web::new()?) })
    }

    /// `reelcase ls --server`.
    pub(crate) async fn ls(&self, json: bool) -> anyhow::Result<()> {
        let mut cursor = String::new();
        loop {
            let page = self.json(&format!("/api/recordings?limit=200{cursor}")).await?;
            for recording in page["recordings"].as_array().into_iter().flatten() {
                print_row(recording, json)?;
            }
            let Some(next) = page["next"].as_str() else { return Ok(()) };
            cursor = format!("&cursor={next}");
        }
    }

    /// `reelcase show --server`.
    pub(crate) async fn show(&self, id: &str) -> anyhow::Result<()> {
        let recording = self.json(&format!("/api/recordings/{}", encoded(id))).await?;
        talk::print_json(&recording)
    }

    /// `reelcase export --server`.
    pub(crate) async fn export(
        &self,
        id: &str,
        form: FileForm,
        path: &Path,
        key: Option<Arc<SigningKey>>,
    ) -> anyhow::Result<ExitCode> {
        let (mut response, gaps) = self.export_of(id, None, form).await?;
        let mut output = Signing::new(Output::open(path)?, key.as_ref())?;
        while let Some(chunk) = response.chunk().await? {
            output.write_all(&chunk)?;
        }
        output.finish()?.finish()?;
        report_left_out(&left_out_of(&response));
        Ok(gaps.map_or(ExitCode::SUCCESS, |Gaps { count, gaps }| report_gaps(count, &gaps)))
    }

    /// Asks for a recording as a file, and says what is missing from it.
    pub(crate) async fn export_of(
        &self,
        id: &str,
        project: Option<&str>,
        form: impl Into<FileForm>,
    ) -> anyhow::Result<(Reply, Option<Gaps>)> {
        let project = project.map_or_else(String::new, |project| format!("&project={}", encoded(project)));
        let FileForm { format, has_said } = form.into();
        let (format, said) = (format.info().name, if has_said { "&comments=true" } else { "" });
        let path = format!("/api/recordings/{}/export?format={format}{project}{said}", encoded(id));
        let request = self.request(Method::GET, &path).header(TE, "trailers").header(CONNECTION, "te");
        let reply = checked(self.web.send(request.body(Empty::new())?).await?).await?;
        let named = reply.headers.get(GAPS_HEADER);
        let gaps = named.map(|named| serde_json::from_slice::<Gaps>(named.as_bytes())).transpose();
        Ok((reply, gaps.context("the server says that something is missing, but not what")?))
    }

    /// Asks for JSON in another way than `GET`; `body` goes along.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.request(method, path).header(CONTENT_TYPE, "application/json");
        let reply = self.web.send(request.body(Full::new(Bytes::from(body.to_string())))?).await?;
        let answer = checked(reply).await?.bytes().await?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer)? })
    }

    pub(crate) async fn json(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.bytes(path).await?)?)
    }

    /// The same; nothing where there is no such thing.
    pub(crate) async fn json_if_any(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let reply = self.ask(path).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&checked(reply).await?.bytes().await?)?))
    }

    /// What an address holds.
    pub(crate) async fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.get(path).await?.bytes().await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        checked(self.ask(path).await?).await
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Reply> {
        self.web.send(self.request(Method::GET, path).body(Empty::new())?).await
    }

    /// Sends a request that has its body.
    pub(crate) async fn send_body<B>(&self, request: Request<B>) -> anyhow::Result<Reply>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<reelcase_upstream::BoxError>,
    {
        self.web.send(request).await
    }

    /// Begins a request to the server.
    pub(crate) fn request(&self, method: Method, path: &str) -> request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request.header(AUTHORIZATION, self.authorization.clone())
    }
}

/// What a file that was read to its end has no place for, as far as the server says so.
pub(crate) fn left_out_of(export: &Reply) -> Vec<LeftOut> {
    let said = export.trailers.get(LEFT_OUT_TRAILER);
    let said = said.and_then(|said| serde_json::from_slice::<Vec<Value>>(said.as_bytes()).ok());
    said.unwrap_or_default().iter().filter_map(LeftOut::read).collect()
}

/// A reply that is what was asked for, or why it is not.
pub(crate) async fn checked(reply: Reply) -> anyhow::Result<Reply> {
    if reply.status.is_success() {
        return Ok(reply);
    }
    let status = reply.status;
    if status == StatusCode::UNAUTHORIZED {
        bail!(
            "the server answered {status}\nhint: --token, or REELCASE_TOKEN, takes what it printed, and keeps in DIR/secret"
        );
    }
    let body: Value = serde_json::from_slice(&reply.bytes().await?).unwrap_or_default();
    bail!("the server answered {status}: {}", body["error"]["message"].as_str().unwrap_or("no reason given"))
}

/// A text as part of an address.
pub(crate) fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn what_is_asked_for_cannot_leave_its_place_in_an_address() {
        assert_eq!(encoded("/a b&c=ä"), "%2Fa%20b%26c%3D%C3%A4");
    }
}
