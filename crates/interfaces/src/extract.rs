//! Extractors that answer with a problem: JSON bodies, path ids and query strings, each checked before a handler sees it.
//!
//! No text of serde reaches a client: it may quote the value it stumbled over, and that may be a secret.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::FieldError;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use crate::problem::Problem;
use crate::request::{MAX_BODY, too_slow, unreadable};

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// How deep JSON may be nested.
const MAX_DEPTH: usize = 64;
/// The most characters of a caller's own text that an answer repeats.
const MAX_ECHO: usize = 64;

/// A JSON body: read whole, of the right shape, and valid. Also answers with JSON.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Validate> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(not_json());
        }
        parse(&read(request).await?).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A JSON body none of whose fields has to be given: no body at all stands for `{}`.
#[derive(Debug, Clone, Copy)]
pub struct OptionalJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Validate> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let body = read(request).await?;
        if body.trim_ascii().is_empty() {
            return parse(b"{}").map(Self);
        }
        if json { parse(&body).map(Self) } else { Err(not_json()) }
    }
}

/// For requests without a body: takes none or `{}`, and refuses fields somebody thinks have an effect.
#[derive(Debug, Clone, Copy)]
pub struct NoBody;

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = read(request).await?;
        if !body.trim_ascii().is_empty() {
            let Nothing {} = parse(&body)?;
        }
        Ok(Self)
    }
}

/// Ids in the path. A text that cannot be an id names nothing, so the answer is 404.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[expect(clippy::disallowed_types, reason = "its rejection is replaced")]
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "nothing was found: the id in the path is not a UUID",
            )
            .with_hint("take the id from the answer of a list or of a creation")),
        }
    }
}

/// A query string: every parameter known, given once and valid.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Validate> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
        let value: T = serde_path_to_error::deserialize(pairs)
            .map_err(|error| Problem::invalid(vec![field_error(error.path(), &error.inner().to_string())]))?;
        validate(value).map(Self)
    }
}

fn not_json() -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "the body must be JSON")
        .with_hint("send the header `Content-Type: application/json`")
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(essence) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

pub(crate) async fn read(request: Request) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    match tokio::time::timeout(BODY_DEADLINE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(unreadable(&*error)),
        Err(_) => Err(too_slow()),
    }
}

fn parse<T: DeserializeOwned + Validate>(body: &[u8]) -> Result<T, Problem> {
    if nested_deeper_than(body, MAX_DEPTH) {
        return Err(malformed(format!("the body is nested deeper than {MAX_DEPTH} levels")));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let inner = error.inner();
        match inner.classify() {
            serde_json::error::Category::Data => {
                Problem::invalid(vec![field_error(error.path(), &without_position(inner))])
            }
            _ => syntax_error(inner),
        }
    })?;
    json.end().map_err(|error| syntax_error(&error))?;
    validate(value)
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail).with_hint("send one JSON object")
}

/// Says where, and not what: only the position is taken from the parser.
fn syntax_error(error: &serde_json::Error) -> Problem {
    let what = if error.is_eof() { "the body ends too early" } else { "the body is not JSON" };
    malformed(format!("{what}: line {}, column {}", error.line(), error.column()))
}

/// Counts brackets outside of strings.
fn nested_deeper_than(json: &[u8], max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Rewrites serde's text into one without the value it is about.
fn field_error(path: &serde_path_to_error::Path, text: &str) -> FieldError {
    let pointer = pointer(path);
    let secret = pointer.starts_with("/credentials");
    let expected = text.rsplit_once("expected ").map(|(_, expected)| expected);
    let names = expected.map(backticked).unwrap_or_default();
    if let Some(field) = text.strip_prefix("missing field ") {
        let field = backticked(field).pop().unwrap_or_default();
        return FieldError {
            pointer: child(&pointer, &field),
            message: "is required".into(),
            allowed: Vec::new(),
        };
    }
    if let Some(field) = text.strip_prefix("duplicate field ") {
        let field = backticked(field).pop().unwrap_or_default();
        return FieldError {
            pointer: child(without_last(&pointer, &field), &field),
            message: "is given more than once".into(),
            allowed: Vec::new(),
        };
    }
    if text.starts_with("unknown field ") {
        let field = text.split('`').nth(1).unwrap_or_default();
        if secret || field.is_empty() {
            return FieldError { pointer, message: "has an unknown field".into(), allowed: names };
        }
        let field: String = field.chars().filter(|c| !c.is_control()).take(MAX_ECHO).collect();
        return FieldError {
            pointer: child(without_last(&pointer, &field), &field),
            message: "is not known here".into(),
            allowed: names,
        };
    }
    if text.starts_with("unknown variant ") {
        return FieldError { pointer, message: "has an unknown value".into(), allowed: names };
    }
    let what = if text.starts_with("invalid type") {
        "has the wrong type"
    } else if text.starts_with("invalid length") {
        "has the wrong length"
    } else {
        "has a value that is not accepted"
    };
    let message = match expected.filter(|_| text.starts_with("invalid ")) {
        Some(expected) if expected.starts_with("struct ") || expected.contains("enum ") => {
            format!("{what}: an object is expected")
        }
        Some(expected) => format!("{what}: {expected} is expected"),
        None => what.to_owned(),
    };
    FieldError { pointer, message, allowed: Vec::new() }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.clone(),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer =
            child(&pointer, &part.chars().filter(|c| !c.is_control()).take(MAX_ECHO).collect::<String>());
    }
    pointer
}

/// RFC 6901: `~` and `/` inside a name are escaped.
fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The parent, when the path already ends in `field`.
fn without_last<'a>(pointer: &'a str, field: &str) -> &'a str {
    let tail = child("", field);
    pointer.strip_suffix(tail.as_str()).unwrap_or(pointer)
}

fn backticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn validate<T: Validate>(value: T) -> Result<T, Problem> {
    match value.validate() {
        Ok(()) => Ok(value),
        Err(errors) => {
            let mut found = Vec::new();
            collect("", &errors, &mut found);
            // The map has no order of its own.
            found.sort_by(|a, b| a.pointer.cmp(&b.pointer));
            Err(Problem::invalid(found))
        }
    }
}

fn collect(parent: &str, errors: &ValidationErrors, found: &mut Vec<FieldError>) {
    for (name, kind) in errors.errors() {
        let pointer = if name == "__all__" { parent.to_owned() } else { child(parent, name) };
        match kind {
            ValidationErrorsKind::Field(errors) => found.extend(errors.iter().map(|error| FieldError {
                pointer: pointer.clone(),
                message: error.message.as_deref().unwrap_or("is not valid").to_owned(),
                allowed: Vec::new(),
            })),
            ValidationErrorsKind::Struct(errors) => collect(&pointer, errors, found),
            ValidationErrorsKind::List(items) => {
                for (index, errors) in items {
                    collect(&child(&pointer, &index.to_string()), errors, found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Credential;

    use super::*;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[validate(length(min = 1, max = 5, message = "must have 1 to 5 characters"))]
        name: String,
        #[serde(default)]
        tags: Vec<u8>,
        credentials: Option<Credential>,
    }

    fn errors(json: &str) -> (u16, String) {
        let problem = parse::<Body>(json.as_bytes()).expect_err("was accepted");
        (problem.status().as_u16(), serde_json::to_string(&problem.body()).unwrap())
    }

    #[test]
    fn a_valid_body_is_taken() {
        let body: Body = parse(br#"{"name":"core","tags":[1]}"#).unwrap();
        assert_eq!((body.name.as_str(), body.tags.len(), body.credentials.is_none()), ("core", 1, true));
    }

    #[test]
    fn malformed_json_is_told_with_line_and_column() {
        let (status, text) = errors("{\"name\":\n oops}");
        assert_eq!(status, 400);
        assert!(text.contains("malformed_json") && text.contains("line 2, column 2"), "{text}");
        assert_eq!(errors("{\"name\":\"a\"} x").0, 400);
        assert_eq!(errors("").0, 400);
        assert_eq!(errors(&"[".repeat(100)).0, 400);
    }

    #[test]
    fn each_wrong_field_is_named_with_what_is_accepted() {
        for (json, pointer, message) in [
            (r#"{"nam":"x"}"#, "/nam", "is not known here"),
            (r#"{}"#, "/name", "is required"),
            (r#"{"name":5}"#, "/name", "a string is expected"),
            (r#"{"name":"a","name":"b"}"#, "/name", "more than once"),
            (r#"{"name":"a","tags":[1,300]}"#, "/tags/1", "u8 is expected"),
            (r#"{"name":"too long"}"#, "/name", "must have 1 to 5 characters"),
            (r#"{"name":"a","credentials":{"kind":"token"}}"#, "/credentials/token", "is required"),
        ] {
            let (status, text) = errors(json);
            assert_eq!(status, 422, "{json}: {text}");
            assert!(text.contains(&format!("\"pointer\":\"{pointer}\"")) && text.contains(message), "{text}");
        }
        assert!(errors(r#"{"nam":"x"}"#).1.contains(r#""allowed":["name","tags","credentials"]"#));
    }

    #[test]
    fn no_secret_is_repeated_however_wrong_its_place() {
        for json in [
            r#"{"name":"a","credentials":"ghp_canary"}"#,
            r#"{"name":"a","credentials":{"kind":"ghp_canary"}}"#,
            r#"{"name":"a","credentials":{"kind":"token","ghp_canary":1}}"#,
            r#"{"name":"a","credentials":{"kind":"token","token":["ghp_canary"]}}"#,
            r#"{"name":"a","credentials":{"kind":"token","token":"x","token":"ghp_canary"}}"#,
            r#"{"name":"a","credentials":["ghp_canary"]}"#,
            r#"{"name":"a","tags":"ghp_canary, expected ghp_canary"}"#,
            r#"{"name":"a","credentials":{"kind":"token","token":"ghp_canary}}"#,
        ] {
            let (_, text) = errors(json);
            assert!(!text.contains("canary"), "{json}: {text}");
        }
    }
}
