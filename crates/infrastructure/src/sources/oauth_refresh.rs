//! New access tokens for OAuth 2.0 grants (RFC 6749 section 6), asked for once.
//!
//! What a server answers with success is taken as far as it can be: where refresh tokens rotate, an answer that is put
//! aside over a detail is a lost connection.

use application::ports::{Clock, SourceError, SourceErrorKind};
use bytes::Bytes;
use chrono::TimeDelta;
use domain::{Credential, OAuthGrant};
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, RefreshToken,
    RequestTokenError, TokenResponse, TokenUrl,
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use url::Url;

use super::refusals;
use crate::clock::SystemClock;
use crate::egress::{EgressClient, EgressError};

/// What says that the grant is over: RFC 6749 section 5.2, and Atlassian's own for a refresh token that was used up
/// (<https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/>). Anything else may pass.
const REFUSALS: [&str; 2] = ["invalid_grant", "unauthorized_client"];
/// An answer longer than this is none of a token endpoint.
const MOST_BYTES: usize = 1024 * 1024;

/// How a token endpoint takes its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As RFC 6749 says.
    UrlEncoded,
    /// As a JSON object: Atlassian.
    Json,
}

/// A token endpoint.
#[derive(Debug)]
pub(super) struct TokenEndpoint<'a> {
    /// The tracker's name, for messages.
    pub(super) tracker: &'a str,
    /// Its address.
    pub(super) url: Url,
    /// How it takes its parameters.
    pub(super) form: Form,
}

/// Asks for a new access token. Sends one request. [`SourceErrorKind::Unauthorized`] only when the server says that the
/// grant is over.
pub(super) async fn renew(
    client: &EgressClient,
    endpoint: TokenEndpoint<'_>,
    grant: &OAuthGrant,
) -> Result<Option<Credential>, SourceError> {
    let Some(refresh_token) = &grant.refresh_token else { return Ok(None) };
    let mut oauth = BasicClient::new(ClientId::new(grant.client_id.clone()))
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(TokenUrl::from_url(endpoint.url.clone()));
    if let Some(secret) = &grant.client_secret {
        oauth = oauth.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()));
    }
    let refresh_token = RefreshToken::new(refresh_token.expose_secret().to_owned());
    let carrier = Carrier { client, form: endpoint.form };
    let asked = oauth.exchange_refresh_token(&refresh_token).request_async(&carrier).await;
    let answer: BasicTokenResponse = asked.map_err(|error| classify(error, endpoint.tracker))?;
    let lifetime = answer.expires_in().and_then(|time| TimeDelta::from_std(time).ok());
    Ok(Some(Credential::OAuth(Box::new(OAuthGrant {
        access_token: answer.access_token().secret().clone().into(),
        refresh_token: Some(match answer.refresh_token() {
            Some(rotated) => rotated.secret().clone().into(),
            None => refresh_token.secret().clone().into(),
        }),
        expires_at: lifetime.and_then(|time| SystemClock.now().checked_add_signed(time)),
        ..grant.clone()
    }))))
}

type Failure = RequestTokenError<CarryError, oauth2::basic::BasicErrorResponse>;

fn classify(error: Failure, tracker: &str) -> SourceError {
    match error {
        RequestTokenError::ServerResponse(answer) => {
            let code = answer.error().as_ref().to_owned();
            // The description is left out: it may repeat what was sent.
            let code: String = code.chars().filter(char::is_ascii_graphic).take(60).collect();
            let refused = REFUSALS.contains(&code.as_str());
            let (kind, advice) = if refused {
                (SourceErrorKind::Unauthorized, "connect the instance anew")
            } else {
                (SourceErrorKind::Rejected, "check the client id, the client secret and the token URL")
            };
            SourceError::new(kind, format!("{tracker} refused to renew the access token ({code}): {advice}"))
        }
        RequestTokenError::Request(CarryError::Status { status, retry_after }) => SourceError {
            retry_after,
            upstream_status: Some(status.as_u16()),
            ..unavailable(format!("{tracker}'s token endpoint answered {}", status.as_u16()))
        },
        RequestTokenError::Request(CarryError::Egress(EgressError::Blocked(why))) => SourceError {
            field: Some("/credentials/token_url".into()),
            ..SourceError::new(
                SourceErrorKind::Blocked,
                format!("{tracker}'s token endpoint cannot be used: {why}"),
            )
        },
        RequestTokenError::Request(CarryError::Egress(error)) => {
            unavailable(format!("{tracker}'s token endpoint {error}"))
        }
        // Their texts hold the body, and that may hold tokens.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => SourceError::new(
            SourceErrorKind::Malformed,
            format!("{tracker}'s token endpoint did not answer as OAuth 2.0 says"),
        ),
    }
}

fn unavailable(message: String) -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, message)
}

/// Why there is no answer to hand on.
#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error("the token endpoint answered {}", status.as_u16())]
    Status { status: StatusCode, retry_after: Option<std::time::Duration> },
}

/// Carries the crate's requests over our client.
struct Carrier<'a> {
    client: &'a EgressClient,
    form: Form,
}

impl<'c> AsyncHttpClient<'c> for Carrier<'_> {
    type Error = CarryError;
    type Future = BoxFuture<'c, Result<HttpResponse, CarryError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let url = Url::parse(&head.uri.to_string())
                .map_err(|_| EgressError::Internal("the address is not a URL".into()))?;
            let body = match self.form {
                Form::UrlEncoded => Bytes::from(body),
                Form::Json => {
                    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    as_json(&body)
                }
            };
            let answer = self.client.send(head.method, &url, head.headers, Some(body)).await?;
            if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
                let retry_after = refusals::retry_after(&answer.headers);
                return Err(CarryError::Status { status: answer.status, retry_after });
            }
            if answer.body.len() > MOST_BYTES {
                return Err(EgressError::TooLarge.into());
            }
            let granted = answer.status.is_success();
            let body = if granted { completed(&answer.body) } else { answer.body.into() };
            let mut response = HttpResponse::new(body);
            *response.status_mut() = if granted { StatusCode::OK } else { answer.status };
            Ok(response)
        })
    }
}

fn as_json(form: &[u8]) -> Bytes {
    let pairs = url::form_urlencoded::parse(form);
    let object: Map<String, Value> =
        pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
    Value::Object(object).to_string().into()
}

/// A granted answer with what the crate insists on: some servers leave the type out, or write numbers as text.
fn completed(body: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else { return body.to_vec() };
    if !answer.get("token_type").is_some_and(Value::is_string) {
        answer.insert("token_type".into(), "bearer".into());
    }
    let seconds = answer.remove("expires_in").and_then(|time| match time {
        Value::String(text) => text.trim().parse::<u64>().ok(),
        time => time.as_u64(),
    });
    if let Some(seconds) = seconds {
        answer.insert("expires_in".into(), seconds.into());
    }
    for unneeded in ["scope", "refresh_token"] {
        if answer.get(unneeded).is_some_and(|value| !value.is_string()) {
            answer.remove(unneeded);
        }
    }
    Value::Object(answer).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_the_same_object() {
        let json: Value =
            serde_json::from_slice(&as_json(b"grant_type=refresh_token&refresh_token=a%2Bb%26c")).unwrap();
        assert_eq!(json, serde_json::json!({"grant_type": "refresh_token", "refresh_token": "a+b&c"}));
    }

    #[test]
    fn a_granted_answer_is_not_lost_over_a_detail() {
        for (body, lasts) in [
            (r#"{"access_token":"a","refresh_token":"r","expires_in":"3600","scope":["x"]}"#, Some(3600)),
            (r#"{"access_token":"a","refresh_token":null,"expires_in":null,"token_type":"Bearer"}"#, None),
            (r#"{"access_token":"a","expires_in":60,"token_type":null,"data":{"gid":"1"}}"#, Some(60)),
        ] {
            let answer: BasicTokenResponse = serde_json::from_slice(&completed(body.as_bytes())).unwrap();
            assert_eq!(answer.access_token().secret(), "a");
            assert_eq!(answer.expires_in().map(|time| time.as_secs()), lasts, "{body}");
        }
    }

    #[test]
    fn only_two_words_mean_that_the_grant_is_over() {
        for (code, kind) in [
            ("invalid_grant", SourceErrorKind::Unauthorized),
            ("unauthorized_client", SourceErrorKind::Unauthorized),
            ("invalid_client", SourceErrorKind::Rejected),
            ("temporarily_unavailable", SourceErrorKind::Rejected),
        ] {
            let body = format!(r#"{{"error":"{code}","error_description":"the token s3cret is invalid"}}"#);
            let answer = serde_json::from_str(&body).unwrap();
            let error = classify(RequestTokenError::ServerResponse(answer), "Jira");
            assert_eq!(error.kind, kind, "{code}");
            assert!(!error.message.contains("s3cret"), "{error}");
        }
    }
}
