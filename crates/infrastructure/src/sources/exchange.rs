//! One request to a tracker and its answer as it comes, counted.

use application::ports::Connection;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::egress::{EgressClient, EgressError, Response};

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
    let outcome = match &result {
        Ok(response) if response.status.is_success() => "ok",
        Ok(response) if response.status == StatusCode::NOT_MODIFIED => "not_modified",
        Ok(response) if response.status.is_server_error() => "failed",
        Ok(_) => "refused",
        Err(_) => "unreachable",
    };
    metrics::counter!("source_requests_total", "source" => source, "outcome" => outcome).increment(1);
    result
}
