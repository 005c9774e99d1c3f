//! Answers: GitHub's error bodies and the headers that every answer carries.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::limits::{Announced, Budget, Refusal};
use crate::timestamp::{http_date, now_ms};

const DOCUMENTATION: &str = "https://docs.github.com/rest";
const JSON: &str = "application/json; charset=utf-8";

static ANSWERED: AtomicU64 = AtomicU64::new(1);

/// An answer under way.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: String,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<i64>,
    pub(super) headers: Vec<(&'static str, String)>,
    content_type: &'static str,
}

impl Reply {
    pub(super) fn new(status: StatusCode, body: String) -> Self {
        Self { status, body, etag: None, last_modified: None, headers: Vec::new(), content_type: JSON }
    }

    pub(super) fn ok(body: String) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::ok(value.to_string())
    }

    pub(super) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn modified(mut self, at: i64) -> Self {
        self.last_modified = Some(at);
        self
    }

    /// `{"message","documentation_url","status"}`.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let body = json!({"message": message, "documentation_url": DOCUMENTATION, "status": status.as_str()});
        Self::new(status, body.to_string())
    }

    /// 404, also for what the token may not see.
    pub(super) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn bad_credentials() -> Self {
        Self::error(StatusCode::UNAUTHORIZED, "Bad credentials")
    }

    /// 422 with one error.
    /// <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed>
    pub(super) fn invalid(resource: &str, field: &str, code: &str) -> Self {
        let body = json!({
            "message": "Validation Failed",
            "errors": [{"resource": resource, "field": field, "code": code}],
            "documentation_url": DOCUMENTATION,
            "status": "422"
        });
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, body.to_string())
    }

    pub(super) fn moved(location: String) -> Self {
        let body =
            json!({"message": "Moved Permanently", "url": location, "documentation_url": DOCUMENTATION});
        Self::new(StatusCode::MOVED_PERMANENTLY, body.to_string()).header("location", location)
    }

    pub(super) fn deleted() -> Self {
        Self::error(StatusCode::GONE, "This issue was deleted")
    }

    pub(super) fn no_user_agent() -> Self {
        let text = "\r\nRequest forbidden by administrative rules. Please make sure your request has a User-Agent header \
                    (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). \
                    Check https://developer.github.com for other possible causes.\r\n";
        Self { content_type: "text/plain", ..Self::new(StatusCode::FORBIDDEN, text.to_owned()) }
    }

    pub(super) fn proxy_error(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let text = format!(
            "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>\r\n"
        );
        Self { content_type: "text/html", ..Self::new(status, text) }
    }

    /// A rate limit, announced the way the refusal says.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
        let reply = Self::error(status, refusal.message);
        match refusal.announced {
            Announced::RetryAfterSeconds => {
                let left = refusal.until_ms.saturating_sub(now_ms()).max(1);
                reply.header("retry-after", ((left + 999) / 1000).to_string())
            }
            Announced::RetryAfterDate => reply.header("retry-after", http_date(refusal.until_ms / 1000)),
            Announced::ResetHeader => reply
                .header("x-ratelimit-remaining", "0".to_owned())
                .header("x-ratelimit-reset", (refusal.until_ms / 1000).to_string()),
            Announced::Nothing => reply,
        }
    }

    /// Adds the weak ETag. It differs by token, as GitHub's does (github/docs#34689).
    pub(super) fn with_etag(mut self, token: &str) -> Self {
        if self.status == StatusCode::OK {
            let link = self.headers.iter().find(|(name, _)| *name == "link").map_or("", |(_, value)| value);
            let digest = sha256(&[token.as_bytes(), link.as_bytes(), self.body.as_bytes()]);
            self.etag = Some(format!("W/\"{digest}\""));
        }
        self
    }

    pub(super) fn not_modified(mut self) -> Self {
        self.status = StatusCode::NOT_MODIFIED;
        self.body.clear();
        self.headers.clear();
        self
    }

    /// Adds the `x-ratelimit-*` headers; a refusal's own stay.
    pub(super) fn with_budget(mut self, budget: Budget) -> Self {
        let values = [
            ("x-ratelimit-limit", budget.limit.to_string()),
            ("x-ratelimit-remaining", budget.limit.saturating_sub(budget.used).to_string()),
            ("x-ratelimit-used", budget.used.to_string()),
            ("x-ratelimit-reset", budget.reset.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ];
        for (name, value) in values {
            if self.headers.iter().all(|(known, _)| *known != name) {
                self.headers.push((name, value));
            }
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let number = ANSWERED.fetch_add(1, Ordering::Relaxed);
        let mut headers = vec![
            ("server", "github.com".to_owned()),
            ("x-github-request-id", format!("{:04X}:{number:06X}:5A17C0:{:08X}", number % 0xffff, now_ms())),
            ("x-github-media-type", "github.v3; format=json".to_owned()),
            ("x-github-api-version-selected", "2022-11-28".to_owned()),
            ("cache-control", "private, max-age=60, s-maxage=60".to_owned()),
            ("vary", "Accept, Authorization, Cookie, X-GitHub-OTP".to_owned()),
        ];
        headers.extend(self.etag.map(|etag| ("etag", etag)));
        headers.extend(self.last_modified.map(|at| ("last-modified", http_date(at))));
        headers.extend(self.headers);
        if self.status != StatusCode::NOT_MODIFIED && self.status != StatusCode::NO_CONTENT {
            headers.push(("content-length", self.body.len().to_string()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
            *response.body_mut() = Body::from(self.body);
        }
        for (name, value) in headers {
            // A name taken from a request (a renamed repository's URL) may not be a header value.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// SHA-256 over the parts, in hex.
pub(super) fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}
