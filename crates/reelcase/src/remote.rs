//! Commands that talk to a running server.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use reelcase_server::api::{GAPS_HEADER, Gaps};
use reelcase_transform::format::Format;
use serde_json::Value;

use crate::file::Output;
use crate::local::{print_row, report_gaps};
use crate::terminal;

/// A server and what opens it.
pub(crate) struct Remote {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Remote {
    /// Checks that there is all that is needed.
    pub(crate) fn new(server: Option<String>, token: Option<String>) -> anyhow::Result<Self> {
        let base = server.context("--server is missing")?.trim_end_matches('/').to_owned();
        let token = token.context("--token is missing\nhint: the server prints it, and keeps it in DIR/secret")?;
        Ok(Self { base, token, client: reqwest::Client::new() })
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
        let recording = self.json(&format!("/api/recordings/{id}")).await?;
        println!("{}", terminal::json(&serde_json::to_string_pretty(&recording)?));
        Ok(())
    }

    /// `reelcase export --server`.
    pub(crate) async fn export(&self, id: &str, format: Format, path: &Path) -> anyhow::Result<ExitCode> {
        let (mut response, gaps) = self.export_of(id, None, format).await?;
        let mut output = Output::open(path)?;
        while let Some(chunk) = response.chunk().await? {
            output.write_all(&chunk)?;
        }
        output.finish()?;
        Ok(gaps.map_or(ExitCode::SUCCESS, |Gaps { count, gaps }| report_gaps(count, &gaps)))
    }

    /// Asks for a recording as a file, and says what is missing from it.
    pub(crate) async fn export_of(
        &self,
        id: &str,
        project: Option<&str>,
        format: Format,
    ) -> anyhow::Result<(reqwest::Response, Option<Gaps>)> {
        let project = project.map_or_else(String::new, |project| format!("&project={}", encoded(project)));
        let format = format.info().name;
        let response = self.get(&format!("/api/recordings/{id}/export?format={format}{project}")).await?;
        let named = response.headers().get(GAPS_HEADER);
        let gaps = named.map(|named| serde_json::from_slice::<Gaps>(named.as_bytes())).transpose();
        Ok((response, gaps.context("the server says that something is missing, but not what")?))
    }

    /// Asks for JSON in another way than `GET`; `body` goes along.
    pub(crate) async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = self.answer(request).await?.bytes().await?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer)? })
    }

    pub(crate) async fn json(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.get(path).await?.bytes().await?)?)
    }

    /// The same; nothing where there is no such thing.
    pub(crate) async fn json_if_any(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let response = request.send().await.with_context(|| format!("cannot reach {}", self.base))?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&checked(response).await?.bytes().await?)?))
    }

    /// What an address holds.
    pub(crate) async fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        Ok(self.get(path).await?.bytes().await?.to_vec())
    }

    async fn get(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        self.answer(self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let response = request.send().await;
        checked(response.with_context(|| format!("cannot reach {}", self.base))?).await
    }
}

/// A reply that is what was asked for, or why it is not.
async fn checked(response: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
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
