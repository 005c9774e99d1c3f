//! GitHub's GraphQL API, for what REST does not have. Its refusals come with status 200.
//! <https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api>

use std::time::Duration;

use application::ports::{SourceError, SourceErrorKind};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::super::refusals;
use super::super::sanitize::json_text;
use super::api::Api;
use super::{errors, malformed};

const DEFAULT_WAIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default = "Option::default")]
    data: Option<T>,
    #[serde(default)]
    errors: Vec<GraphError>,
}

#[derive(Debug, Deserialize)]
struct GraphError {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    path: Vec<Value>,
}

/// What GitHub says of the query's price, when asked for as `rateLimit{cost remaining resetAt}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RateLimit {
    pub(super) cost: u64,
    pub(super) remaining: u64,
    pub(super) reset_at: DateTime<Utc>,
}

/// Asks, with the token that opens what belongs to `owner`. Answers the data and when GitHub says it was asked.
pub(super) async fn query<T: DeserializeOwned>(
    api: &Api<'_>,
    owner: &str,
    text: &str,
    variables: Value,
    what: &str,
) -> Result<(T, Option<DateTime<Utc>>), SourceError> {
    let url = endpoint(&api.connection().base_url)?;
    let response = api.post_of(owner, &url, &json!({"query": text, "variables": variables})).await?;
    if !response.status.is_success() {
        return Err(errors::from_answer(response.status, &response.headers, &response.body, what));
    }
    let body = json_text(&response.body);
    let envelope: Envelope<T> = serde_json::from_str(&body)
        .map_err(|error| malformed(format!("GitHub's answer for {what} has an unknown form ({error})")))?;
    // A part deep inside may be closed to the token while the rest is answered.
    if let Some(error) = envelope.errors.iter().find(|error| error.path.len() <= 2) {
        return Err(refusal(error, &response.headers, what));
    }
    match envelope.data {
        Some(data) => Ok((data, refusals::answered_at(&response.headers))),
        None => Err(malformed(format!("GitHub answered without data for {what}"))),
    }
}

/// On an Enterprise server it stands beside the REST API: `/api/v3` and `/api/graphql`.
fn endpoint(base: &Url) -> Result<Url, SourceError> {
    let mut url = base.clone();
    let path = base.path().trim_end_matches('/');
    let path = path.strip_suffix("/v3").unwrap_or(path);
    url.set_path(&format!("{path}/graphql"));
    url.set_query(None);
    Ok(url)
}

fn refusal(error: &GraphError, headers: &HeaderMap, what: &str) -> SourceError {
    let said: String = error.message.chars().filter(|c| !c.is_control()).take(200).collect();
    let (kind, message) = match error.kind.as_deref() {
        Some("RATE_LIMITED") => {
            let wait = until_reset(headers).unwrap_or(DEFAULT_WAIT);
            return SourceError {
                retry_after: Some(wait),
                ..SourceError::new(
                    SourceErrorKind::RateLimited,
                    format!("GitHub asks to wait {} seconds: too many GraphQL points used", wait.as_secs()),
                )
            };
        }
        Some("NOT_FOUND") => (
            SourceErrorKind::NotFound,
            format!("GitHub does not find {what}: it does not exist, or the token may not see it ({said})"),
        ),
        Some("FORBIDDEN" | "INSUFFICIENT_SCOPES") => (
            SourceErrorKind::Forbidden,
            format!(
                "the token may not read {what} ({said}): it needs the scope read:project, or the organization \
                     permission \"Projects: Read-only\""
            ),
        ),
        Some("MAX_NODE_LIMIT_EXCEEDED" | "UNPROCESSABLE") => {
            (SourceErrorKind::Rejected, format!("GitHub refused the query for {what}: {said}"))
        }
        // "Something went wrong while executing your query" has no type: it took too long.
        None => (SourceErrorKind::Unavailable, format!("GitHub failed on the query for {what}: {said}")),
        Some(_) => (SourceErrorKind::Rejected, format!("GitHub refused the query for {what}: {said}")),
    };
    SourceError::new(kind, message)
}

fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset: i64 = headers.get("x-ratelimit-reset")?.to_str().ok()?.parse().ok()?;
    let now = refusals::answered_at(headers)?.timestamp();
    Some(refusals::seconds(reset - now + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_stands_beside_the_rest_api() {
        for (base, graphql) in [
            ("https://api.github.com", "https://api.github.com/graphql"),
            ("https://ghe.example.org/api/v3", "https://ghe.example.org/api/graphql"),
            ("http://127.0.0.1:8000/api/v3/", "http://127.0.0.1:8000/api/graphql"),
        ] {
            assert_eq!(endpoint(&Url::parse(base).unwrap()).unwrap().as_str(), graphql);
        }
    }

    #[test]
    fn refusals_with_status_200_have_their_kinds() {
        for (kind, expected) in [
            (Some("RATE_LIMITED"), SourceErrorKind::RateLimited),
            (Some("NOT_FOUND"), SourceErrorKind::NotFound),
            (Some("INSUFFICIENT_SCOPES"), SourceErrorKind::Forbidden),
            (Some("FORBIDDEN"), SourceErrorKind::Forbidden),
            (Some("MAX_NODE_LIMIT_EXCEEDED"), SourceErrorKind::Rejected),
            (None, SourceErrorKind::Unavailable),
        ] {
            let error = GraphError { kind: kind.map(str::to_owned), message: "no".into(), path: Vec::new() };
            assert_eq!(refusal(&error, &HeaderMap::new(), "the project").kind, expected);
        }
    }
}
