//! What all surfaces do alike with a request and its answer.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{header, request};
use axum::response::Response;
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use crate::Shared;
use crate::requests::RequestRecord;

/// Waits, but not beyond the server's end.
pub(crate) async fn pause(shared: &Shared, time: Duration) {
    if !time.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

/// The answer's length and half of its body, then the connection breaks.
pub(crate) fn truncated(mut response: Response) -> Response {
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = Body::from_stream(stream::once(to_bytes(body, usize::MAX)).flat_map(|whole| {
        let whole = whole.unwrap_or_default();
        let half = whole.slice(..whole.len() / 2);
        let broken = stream::once(async {
            // Let the first half leave before the connection breaks.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
        });
        stream::once(async move { Ok(half) }).chain(broken)
    }));
    response
}

/// A request as it is remembered: with a digest of its credential, never the credential.
pub(crate) fn record(parts: &request::Parts, at_ms: i64) -> RequestRecord {
    let headers = &parts.headers;
    RequestRecord {
        method: parts.method.to_string(),
        path_and_query: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        status: 0,
        at_ms,
        authorization_digest: headers.get(header::AUTHORIZATION).map(|value| {
            let mut digest =
                hex::encode(Sha256::new().chain_update(value.as_bytes()).chain_update([0]).finalize());
            digest.truncate(16);
            digest
        }),
        conditional: headers.contains_key(header::IF_NONE_MATCH)
            || headers.contains_key(header::IF_MODIFIED_SINCE),
    }
}
