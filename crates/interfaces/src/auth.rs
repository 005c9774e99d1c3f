//! Who calls: reads the bearer key, has it checked, and hands the caller on to the handlers.

use std::sync::Arc;

use application::access::AccessService;
use application::{Ctx, Error};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::Slug;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use crate::problem::Problem;
use crate::request;

/// Checks the key of every request that passes; state of [`require_caller`].
///
/// ```ignore
/// router.route_layer(axum::middleware::from_fn_with_state(auth::Guard::new(access), auth::require_caller))
/// ```
#[derive(Debug, Clone)]
pub struct Guard {
    access: Arc<AccessService>,
    challenge: Arc<Challenge>,
}

/// What a 401 tells about how to sign in.
#[derive(Debug, Clone, Default)]
pub struct Challenge {
    /// Where the RFC 9728 metadata of this server stands.
    pub resource_metadata: Option<String>,
    /// The scopes that are needed at least, separated by spaces.
    pub scope: Option<String>,
}

impl Guard {
    /// A guard whose 401 says no more than `Bearer`.
    pub fn new(access: Arc<AccessService>) -> Self {
        Self { access, challenge: Arc::default() }
    }

    /// Adds metadata address and scopes to its 401.
    #[must_use]
    pub fn with_challenge(mut self, challenge: Challenge) -> Self {
        self.challenge = Arc::new(challenge);
        self
    }

    /// Finds out who sends `parts`. Fails with a 401 problem, or a 503 when keys cannot be looked up.
    pub async fn check(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Caller, Problem> {
        if query.is_some_and(holds_token) {
            return Err(self.challenged(
                Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "token_in_query",
                    "keys are not accepted in the query string, where logs and proxies would keep them",
                )
                .with_hint("send the header `Authorization: Bearer <API key>`, and revoke the key that was in the URL"),
                "invalid_request",
            ));
        }
        let token = match bearer(headers) {
            Ok(token) => token,
            Err(why) => return Err(self.challenged(Error::Unauthenticated(why).into(), "")),
        };
        self.check_token(&token).await
    }

    /// Checks a token again, for answers that outlive their request.
    pub async fn check_token(&self, token: &SecretString) -> Result<Caller, Problem> {
        let request_id = request::current_id().unwrap_or_else(request::new_id);
        match self.access.authenticate(token.expose_secret(), request_id).await {
            Ok(caller) => Ok(Caller { ctx: caller.ctx, tenant_slug: caller.tenant_slug }),
            Err(error @ Error::Unauthenticated(_)) => Err(self.challenged(error.into(), "invalid_token")),
            Err(error) => Err(error.into()),
        }
    }

    fn challenged(&self, problem: Problem, error: &str) -> Problem {
        let mut parts = Vec::new();
        if !error.is_empty() {
            parts.push(format!("error=\"{error}\""));
        }
        if let Some(scope) = &self.challenge.scope {
            parts.push(format!("scope=\"{scope}\""));
        }
        if let Some(url) = &self.challenge.resource_metadata {
            parts.push(format!("resource_metadata=\"{url}\""));
        }
        problem.with_challenge(format!("Bearer {}", parts.join(", ")).trim_end())
    }
}

/// Lets only signed-in callers pass and adds [`Caller`] to the request.
pub async fn require_caller(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.check(request.headers(), request.uri().query()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who calls, and of which tenant. As an extractor it needs [`require_caller`] around the route.
#[derive(Debug, Clone)]
pub struct Caller {
    /// On whose behalf the request is served.
    pub ctx: Ctx,
    /// The tenant's short name.
    pub tenant_slug: Slug,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A route that forgot the guard answers 401 instead of serving anybody.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Error::Unauthenticated("no API key was checked").into())
    }
}

/// The token of `Authorization: Bearer`, or what is wrong with the header.
pub fn bearer(headers: &HeaderMap) -> Result<SecretString, &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or("an API key is needed")?;
    if values.next().is_some() {
        return Err("there is more than one Authorization header");
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or("the Authorization header is not of the form `Bearer <API key>`")?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err("the Authorization header is not of the form `Bearer <API key>`");
    }
    Ok(token.trim().to_owned().into())
}

fn holds_token(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        matches!(name.as_ref(), "access_token" | "token" | "api_key" | "apikey" | "key" | "authorization")
            || domain::ApiKey::parse(&value).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for ok in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(bearer(&headers(ok)).unwrap().expose_secret(), "abc", "{ok}");
        }
        for bad in ["abc", "Basic abc", "Bearer ", "Bearer"] {
            assert!(bearer(&headers(bad)).is_err(), "{bad} was accepted");
        }
        assert!(bearer(&HeaderMap::new()).is_err());
    }

    #[test]
    fn two_authorization_headers_are_refused() {
        let mut two = headers("Bearer abc");
        two.append(AUTHORIZATION, HeaderValue::from_static("Bearer def"));
        assert!(bearer(&two).is_err());
    }

    #[test]
    fn a_token_in_the_query_is_recognised_by_name() {
        assert!(holds_token("limit=1&access_token=x"));
        assert!(!holds_token("limit=1&label=token"));
    }
}
