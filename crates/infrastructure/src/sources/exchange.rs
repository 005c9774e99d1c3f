//! One request to a tracker and its answer as it comes, counted.

use application::ports::Connection;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::egress::{EgressClient, EgressError, OpenResponse, Response};

/// Sends a request of the source of this name.
pub(super) async fn send(
    source: &'static str,
    client: &EgressClient,
    connection: &Connection,
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Option<Bytes>,
) -> Result<Response, EgressError> {
    connection.count_request();
    let result = client.send(method, url, headers, body).await;
    count(source, result.as_ref().map(|response| response.status));
    result
}

/// Sends a GET of the source of this name, and reads only the head of its answer.
pub(super) async fn open(
    source: &'static str,
    client: &EgressClient,
    connection: &Connection,
    url: &Url,
    headers: HeaderMap,
) -> Result<OpenResponse, EgressError> {
    connection.count_request();
    let result = client.open(Method::GET, url, headers, Bytes::new()).await;
    count(source, result.as_ref().map(OpenResponse::status));
    result
}

fn count(source: &'static str, answered: Result<StatusCode, &EgressError>) {
    let outcome = match answered {
        Ok(status) if status.is_success() => "ok",
        Ok(StatusCode::NOT_MODIFIED) => "not_modified",
        Ok(status) if status.is_server_error() => "failed",
        Ok(_) => "refused",
        Err(_) => "unreachable",
    };
    metrics::counter!("source_requests_total", "source" => source, "outcome" => outcome).increment(1);
}
