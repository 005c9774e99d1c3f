//! The admin API and plain MCP calls, as a client sees them.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

/// A client of one server with one key.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
    session: Option<Session>,
    tenant: Option<String>,
}

/// What a link led to, as it came.
#[derive(Debug)]
pub struct Fetched {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a page of the admin server sends along.
#[derive(Debug, Clone)]
struct Session {
    cookie: String,
    csrf_token: String,
}

/// A status and a JSON body (`null` when it is none).
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The `content-type` header.
    pub content_type: String,
    /// The body.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Api {
    /// A client of `base` (scheme, host, port).
    #[expect(clippy::disallowed_methods, reason = "the tests are the client, not the product")]
    pub fn new(base: &str, key: &str) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent("patchbay-e2e")
            .timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, base: base.to_owned(), key: key.to_owned(), session: None, tenant: None })
    }

    /// The same server with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), session: None, ..self.clone() }
    }

    /// The server at `base` by a session instead of a key, as its pages ask.
    pub(crate) fn by_session(base: &str, cookie: String, csrf_token: String) -> anyhow::Result<Self> {
        Ok(Self { session: Some(Session { cookie, csrf_token }), ..Self::new(base, "")? })
    }

    /// The same caller, who names the tenant beside an access token.
    #[must_use]
    pub fn in_tenant(&self, slug: &str) -> Self {
        Self { tenant: Some(slug.to_owned()), ..self.clone() }
    }

    /// One request. `path` begins with a slash. Without a key, none is sent.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = self.signed(request);
        if let Some(Session { csrf_token, .. }) = &self.session {
            request = request.header("sec-fetch-site", "same-origin").header("origin", &self.base);
            request = request.header("x-csrf-token", csrf_token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        read(request).await
    }

    /// A POST with an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.key);
        read(request.header("idempotency-key", key).json(body)).await
    }

    /// A POST with a body that need not be JSON.
    pub async fn send_text(&self, path: &str, content_type: &str, body: &str) -> anyhow::Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.key);
        read(request.header("content-type", content_type).body(body.to_owned())).await
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// A GET whose body is text to its end, as a stream of events is.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.key).send().await?.text().await?)
    }

    /// A link as somebody follows it who has nothing but the link: a GET, or with a body a PUT.
    pub async fn follow(&self, url: &str, body: Option<Vec<u8>>) -> anyhow::Result<Fetched> {
        let request = match body {
            Some(body) => self.http.put(url).body(body),
            None => self.http.get(url),
        };
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Fetched { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// A POST.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Connects a GitHub instance; its id.
    pub async fn connect_github(
        &self,
        base_url: &str,
        token: &str,
        settings: &Value,
    ) -> anyhow::Result<String> {
        let body = json!({"source": "github", "name": "test", "base_url": base_url,
            "credentials": {"kind": "token", "token": token}, "settings": settings});
        let answer = self.post("/api/v1/instances", &body).await?;
        ensure!(answer.status == 201, "not created: {answer:?}");
        Ok(answer.body["id"].as_str().context("no id")?.to_owned())
    }

    /// Starts a run (`backfill` or `sync`); its id.
    pub async fn start(&self, instance: &str, what: &str) -> anyhow::Result<String> {
        let answer = self.post(&format!("/api/v1/instances/{instance}/{what}"), &json!({})).await?;
        ensure!(answer.status == 202, "not accepted: {answer:?}");
        Ok(answer.body["run_id"].as_str().context("no run_id")?.to_owned())
    }

    /// The run as it stands.
    pub async fn run(&self, run: &str) -> anyhow::Result<Value> {
        let answer = self.get(&format!("/api/v1/runs/{run}")).await?;
        ensure!(answer.status == 200, "no run: {answer:?}");
        Ok(answer.body)
    }

    /// Waits until the condition holds for the run, at most two minutes.
    pub async fn wait(&self, run: &str, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        for _ in 0..2400 {
            last = self.run(run).await?;
            if holds(&last) {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the run was not {what} within two minutes: {last}");
    }

    /// Waits until the run has ended.
    pub async fn ended(&self, run: &str) -> anyhow::Result<Value> {
        let is_final = |run: &Value| {
            matches!(run["state"].as_str(), Some("succeeded" | "partial" | "failed" | "cancelled"))
        };
        self.wait(run, "ended", is_final).await
    }

    /// A run to its end, which must be this state.
    pub async fn run_to(&self, instance: &str, what: &str, state: &str) -> anyhow::Result<Value> {
        let run = self.start(instance, what).await?;
        let ended = self.ended(&run).await?;
        ensure!(ended["state"] == state, "expected {state}: {ended}");
        Ok(ended)
    }

    /// Calls a tool over plain HTTP (`POST /tools/invoke`) of the MCP server at `mcp_url`.
    pub async fn invoke(&self, mcp_url: &str, tool: &str, arguments: &Value) -> anyhow::Result<Answer> {
        let (base, query) = mcp_url.split_once('?').unwrap_or((mcp_url, ""));
        let base = base.trim_end_matches("/mcp");
        let body = json!({"name": tool, "arguments": arguments});
        let request = self.signed(self.http.post(format!("{base}/tools/invoke?{query}"))).json(&body);
        read(match &self.tenant {
            Some(slug) => request.header("patchbay-tenant", slug),
            None => request,
        })
        .await
    }

    /// One request of the MCP protocol, of the era of 2025-11-25, to the server at `mcp_url`.
    pub async fn rpc(&self, mcp_url: &str, method: &str, params: &Value) -> anyhow::Result<Answer> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = self.signed(self.http.post(mcp_url)).json(&body);
        let request = request.header("mcp-protocol-version", "2025-11-25");
        read(request.header("accept", "application/json, text/event-stream")).await
    }

    /// With what the caller has to show.
    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.session {
            Some(Session { cookie, .. }) => request.header("cookie", cookie),
            None if self.key.is_empty() => request,
            None => request.bearer_auth(&self.key),
        }
    }
}

async fn read(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let content_type = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let text = String::from_utf8_lossy(&response.bytes().await?).into_owned();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status, content_type, body, text })
}
