//! Answers in Asana's form.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use crate::limits::{Announced, Refusal};
use crate::timestamp::{http_date, now_ms};

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: String,
    headers: Vec<(&'static str, String)>,
    html: bool,
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, body: body.to_string(), headers: Vec::new(), html: false }
    }

    pub(super) fn data(data: &Value) -> Self {
        Self::json(StatusCode::OK, &json!({"data": data}))
    }

    pub(super) fn created(data: &Value) -> Self {
        Self::json(StatusCode::CREATED, &json!({"data": data}))
    }

    /// `{"errors": [{"message", "help"}]}`.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let help = "For more information on API status codes and how to handle them, read the docs on errors: \
                    https://developers.asana.com/docs/errors";
        Self::json(status, &json!({"errors": [{"message": message, "help": help}]}))
    }

    pub(super) fn bad(message: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(kind: &str, gid: &str) -> Self {
        Self::error(StatusCode::NOT_FOUND, &format!("{kind}: Unknown object: {gid}"))
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::error(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn server_error(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            let error = json!({"message": "Server Error", "phrase": "6 sad squid snuggle softly"});
            return Self::json(status, &json!({"errors": [error]}));
        }
        let text = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Self { status, body: text, headers: Vec::new(), html: true }
    }

    pub(super) fn limited(refusal: &Refusal) -> Self {
        let left = refusal.until_ms.saturating_sub(now_ms()).max(1);
        let mut reply = Self::error(
            StatusCode::TOO_MANY_REQUESTS,
            "You have made too many requests recently. Please, be chill.",
        );
        reply.headers.extend(match refusal.announced {
            Announced::RetryAfterDate => Some(("retry-after", http_date(refusal.until_ms / 1000))),
            Announced::Nothing => None,
            Announced::RetryAfterSeconds | Announced::ResetHeader => {
                Some(("retry-after", ((left + 999) / 1000).to_string()))
            }
        });
        reply
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let kind = if self.html { "text/html" } else { "application/json; charset=UTF-8" };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
