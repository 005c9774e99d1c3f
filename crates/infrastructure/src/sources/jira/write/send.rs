//! Sending a change, once, and saying which part of it was refused.

use std::collections::BTreeMap;

use application::ports::{SourceError, SourceErrorKind};
use domain::Credential;
use http::{Method, StatusCode};
use serde_json::Value;

use super::super::api::Api;
use super::super::errors::{self, Said};
use crate::egress::Response;

/// Sends a change. `pointers` say where in the request each of Jira's fields came from.
pub(super) async fn change(
    api: &Api<'_>,
    method: Method,
    path: &str,
    body: &Value,
    pointers: &BTreeMap<String, String>,
    what: &str,
) -> Result<Response, SourceError> {
    let response = api.send(method, path, &[], Some(body)).await?;
    checked(api, response, pointers, what).await
}

/// Deletes something, once.
pub(super) async fn delete(
    api: &Api<'_>,
    path: &str,
    query: &[(&str, &str)],
    what: &str,
) -> Result<Response, SourceError> {
    let response = api.send(Method::DELETE, path, query, None).await?;
    checked(api, response, &BTreeMap::new(), what).await
}

/// The answer of a change, unless it is a refusal.
pub(super) async fn checked(
    api: &Api<'_>,
    response: Response,
    pointers: &BTreeMap<String, String>,
    what: &str,
) -> Result<Response, SourceError> {
    match response.status {
        status if status.is_success() => Ok(response),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            Err(refused(&response, pointers, what))
        }
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Err(not_allowed(api, &response, what).await),
        _ => Err(errors::from_answer(response.status, &response.headers, &response.body, what)),
    }
}

fn refused(response: &Response, pointers: &BTreeMap<String, String>, what: &str) -> SourceError {
    let said = Said::read(&response.body);
    let field = said.fields.keys().next();
    let pointer = field.map(|id| pointers.get(id).cloned().unwrap_or_else(|| format!("/fields/{id}")));
    SourceError {
        kind: SourceErrorKind::Rejected,
        field: pointer,
        ..errors::from_answer(response.status, &response.headers, &response.body, what)
    }
}

/// Atlassian's gateway answers an expired access token with 403 or 404 too. Told as such, the token is renewed and the
/// change, which had no effect, sent again.
async fn not_allowed(api: &Api<'_>, response: &Response, what: &str) -> SourceError {
    if matches!(api.connection.credential, Credential::OAuth(_))
        && let Ok(account) = api.send(Method::GET, &api.rest("/myself"), &[], None).await
        && matches!(account.status.as_u16(), 401 | 403 | 404)
    {
        return errors::from_answer(StatusCode::UNAUTHORIZED, &account.headers, &account.body, what);
    }
    errors::from_answer(response.status, &response.headers, &response.body, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_field_of_the_request_it_is_about() {
        let body = r#"{"errorMessages":[],"errors":{"customfield_10016":"Field cannot be set. It is not on the appropriate screen, or unknown."}}"#;
        let response = Response {
            status: StatusCode::BAD_REQUEST,
            headers: http::HeaderMap::new(),
            body: body.as_bytes().into(),
        };
        let pointers = BTreeMap::from([("customfield_10016".to_owned(), "/fields/Story Points".to_owned())]);
        let error = refused(&response, &pointers, "the change of ENG-1");
        assert_eq!(error.kind, SourceErrorKind::Rejected);
        assert_eq!(error.field.as_deref(), Some("/fields/Story Points"));
        assert!(error.message.contains("not on the appropriate screen"), "{error}");
    }
}
