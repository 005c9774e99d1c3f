//! A client that follows links and nothing else by itself.
#![expect(clippy::disallowed_methods, reason = "a client for tests only")]

use std::collections::HashMap;

use patchbay_simulator::{Simulator, SimulatorConfig, generate};
use serde_json::Value;

/// A simulator with `octo/billing` of so many items, and a client for it.
#[allow(dead_code, reason = "shared by several test binaries")]
pub(crate) async fn start(count: usize) -> (Simulator, Client) {
    let repositories = vec![generate::repository("octo/billing", 2, count)];
    start_with(SimulatorConfig { repositories, ..SimulatorConfig::default() }).await
}

pub(crate) async fn start_with(config: SimulatorConfig) -> (Simulator, Client) {
    let simulator = Simulator::start(config).await.unwrap();
    let client = Client::new(&simulator.url());
    (simulator, client)
}

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: HashMap<String, String>,
}

#[allow(dead_code, reason = "shared by several test binaries")]
impl Client {
    pub(crate) fn new(base: &str) -> Self {
        Self::built(base, Self::builder().user_agent("patchbay-test"))
    }

    pub(crate) fn without_user_agent(base: &str) -> Self {
        Self::built(base, Self::builder())
    }

    fn builder() -> reqwest::ClientBuilder {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy()
    }

    fn built(base: &str, builder: reqwest::ClientBuilder) -> Self {
        Self { http: builder.build().unwrap(), base: base.to_owned(), token: "t".to_owned() }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    pub(crate) async fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        self.answer(self.request(reqwest::Method::GET, path)).await
    }

    pub(crate) async fn conditional(&self, path: &str, name: &str, value: &str) -> Answer {
        self.answer(self.request(reqwest::Method::GET, path).header(name, value)).await.unwrap()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.answer(self.request(method.parse().unwrap(), path).body(body.to_string())).await.unwrap()
    }

    /// All rows of a list, by following `next` links.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(url) = next {
            let answer = self.get(&url).await;
            assert_eq!(answer.status, 200, "{url}: {}", answer.body);
            rows.extend(answer.json().as_array().unwrap().iter().cloned());
            next = answer.next();
        }
        rows
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let request = self.http.request(method, url);
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: response.text().await?,
        })
    }
}

#[allow(dead_code, reason = "shared by several test binaries")]
impl Answer {
    /// Empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Where `rel="next"` points.
    pub(crate) fn next(&self) -> Option<String> {
        let link = self.header("link");
        let part = link.split(", ").find(|part| part.ends_with("rel=\"next\""))?;
        Some(part.trim_start_matches('<').split('>').next()?.to_owned())
    }
}
