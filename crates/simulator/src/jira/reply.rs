//! Answers: Jira's error bodies and the headers that every answer carries.

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::time;
use crate::limits::{Announced, Refusal};
use crate::timestamp::{http_date, now_ms};

/// An answer under way.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    headers: Vec<(&'static str, String)>,
    content_type: &'static str,
    /// A file, in place of `body`.
    file: Option<Bytes>,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, body: String) -> Self {
        let content_type = "application/json;charset=UTF-8";
        Self { status, body, headers: Vec::new(), content_type, file: None }
    }

    /// The content of a file, as Jira hands it out.
    pub(crate) fn file(name: &str, content: Bytes) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control() && *c != '"').collect();
        let mut reply = Self::new(StatusCode::OK, String::new())
            .header("content-disposition", format!("attachment; filename=\"{name}\""));
        (reply.content_type, reply.file) = ("application/octet-stream", Some(content));
        reply
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(StatusCode::OK, value.to_string())
    }

    pub(crate) fn created(value: &Value) -> Self {
        Self::new(StatusCode::CREATED, value.to_string())
    }

    pub(crate) fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT, String::new())
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// `{"errorMessages":[…],"errors":{}}`.
    pub(crate) fn error(status: StatusCode, message: &str) -> Self {
        Self::new(status, json!({"errorMessages": [message], "errors": {}}).to_string())
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    /// 400 with a message per field.
    pub(crate) fn fields(errors: impl IntoIterator<Item = (String, String)>) -> Self {
        let errors: Map<String, Value> =
            errors.into_iter().map(|(field, message)| (field, json!(message))).collect();
        Self::new(StatusCode::BAD_REQUEST, json!({"errorMessages": [], "errors": errors}).to_string())
    }

    pub(crate) fn no_issue() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Issue does not exist or you do not have permission to see it.")
    }

    pub(crate) fn no_project(key: &str) -> Self {
        Self::error(StatusCode::NOT_FOUND, &format!("No project could be found with key '{key}'."))
    }

    /// 404 of an address that is none.
    pub(crate) fn no_resource() -> Self {
        Self::error(StatusCode::NOT_FOUND, "null for uri: no such resource")
    }

    pub(crate) fn forbidden(message: &str) -> Self {
        Self::error(StatusCode::FORBIDDEN, message)
    }

    /// 401 of the site itself.
    pub(crate) fn unauthorized() -> Self {
        let text = "Client must be authenticated to access this resource.";
        Self::new(StatusCode::UNAUTHORIZED, json!({"message": text, "status-code": 401}).to_string())
            .header("x-seraph-loginreason", "AUTHENTICATED_FAILED".to_owned())
            .header("www-authenticate", "OAuth realm=\"jira\"".to_owned())
    }

    /// Atlassian's gateway, which answers an expired token with 401, 403 or 404.
    pub(crate) fn gateway(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED);
        let text = match status {
            StatusCode::NOT_FOUND => "Not Found",
            StatusCode::FORBIDDEN => "Forbidden",
            _ => "Unauthorized",
        };
        Self::new(status, json!({"code": status.as_u16(), "message": text}).to_string())
    }

    pub(crate) fn proxy_error(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let text =
            format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\r\n");
        Self { content_type: "text/html", ..Self::new(status, text) }
    }

    /// 429 as Jira announces it, with the reason that names the limit.
    /// <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>
    pub(crate) fn refused(refusal: &Refusal, reason: &str, limit: u64) -> Self {
        let left_s = (refusal.until_ms.saturating_sub(now_ms()).max(1) + 999) / 1000;
        let mut reply = Self::error(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded.")
            .header("ratelimit-reason", reason.to_owned())
            .header("x-ratelimit-limit", limit.to_string())
            .header("x-ratelimit-remaining", "0".to_owned());
        reply = match refusal.announced {
            Announced::RetryAfterSeconds => reply.header("retry-after", left_s.to_string()),
            Announced::RetryAfterDate => reply.header("retry-after", http_date(refusal.until_ms / 1000)),
            Announced::ResetHeader | Announced::Nothing => reply,
        };
        if refusal.announced == Announced::ResetHeader {
            reply = reply.header("x-ratelimit-reset", time::to_the_minute(refusal.until_ms));
        }
        reply
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let mut headers = vec![
            ("server", "AtlassianEdge".to_owned()),
            ("cache-control", "no-cache, no-store, no-transform".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        headers.extend(self.headers);
        if self.status != StatusCode::NO_CONTENT {
            let body = self.file.unwrap_or_else(|| self.body.into());
            headers.push(("content-length", body.len().to_string()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
            *response.body_mut() = Body::from(body);
        }
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
