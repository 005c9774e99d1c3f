//! `/auth/…`: signing in and out with a browser.

use std::sync::Arc;

use application::sign_in::{
    BeginSignIn, FinishSignIn, RequestInfo, ReturnTo, SESSION_MOST, SIGN_IN_FOR, SignInService, SignedIn,
};
use application::{Error, Services};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use domain::{Invalid, Slug};
use http::header::{HeaderName, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::{AdminConfig, below};
use crate::auth::{Guard, cookies, origin_of};
use crate::extract::{Json, Query};
use crate::limits;
use crate::problem::{Problem, ProblemBody};
use crate::request;

/// What the handlers need.
#[derive(Debug, Clone)]
pub(super) struct SignInState {
    sign_in: Arc<SignInService>,
    guard: Guard,
    redirect_uri: Url,
}

pub(super) fn router(services: &Services, guard: &Guard, config: &AdminConfig) -> Router {
    let state = SignInState {
        sign_in: services.sign_in.clone(),
        guard: guard.clone(),
        redirect_uri: below(&config.public_url, "auth/callback"),
    };
    Router::new()
        .route("/auth/login", get(login))
        .route("/auth/callback", get(callback))
        .route("/auth/tenant", post(switch_tenant))
        // Where guessing would pay. Signing out is always possible.
        .route_layer(from_fn_with_state(services.limits.clone(), limits::sign_in))
        .route("/auth/logout", post(logout))
        .with_state(state)
}

/// What a sign-in begins with.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LoginQuery {
    /// Where to go afterwards: a path of this server.
    #[param(example = "/docs")]
    return_to: Option<String>,
    /// The tenant to work in, for members of several.
    tenant: Option<String>,
    /// The token of an invitation to accept.
    #[validate(length(max = 200, message = "must have at most 200 characters"))]
    invitation: Option<String>,
}

/// What the identity provider sends along. It may send more.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// As it was sent to the provider.
    #[validate(length(max = 200, message = "must have at most 200 characters"))]
    state: String,
    /// The authorization code.
    #[validate(length(max = 4096, message = "must have at most 4096 characters"))]
    code: Option<String>,
    /// The provider's issuer (RFC 9207).
    #[validate(length(max = 2048, message = "must have at most 2048 characters"))]
    iss: Option<String>,
}

/// The tenant to go on in.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantChoice)]
pub(super) struct TenantChoice {
    /// Its short name.
    #[schema(example = "acme")]
    tenant: String,
}

/// A session just made; its cookie is in the header.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionBody {
    /// The short name of the tenant it works in.
    #[schema(example = "acme")]
    tenant: String,
    /// What changes by cookie must send as `X-CSRF-Token`.
    csrf_token: String,
    /// When it ends at the latest.
    expires_at: DateTime<Utc>,
}

/// Sends the browser to the identity provider to sign in.
#[utoipa::path(
    get, path = "/auth/login", operation_id = "sign_in", tag = "sign-in", params(LoginQuery),
    responses(
        (status = 303, description = "To the identity provider"),
        (status = 404, description = "Signing in is not configured", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many sign-ins from this address", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The identity provider or the service cannot answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn login(
    State(state): State<SignInState>,
    headers: HeaderMap,
    Query(query): Query<LoginQuery>,
) -> Result<Response, Problem> {
    let return_to = query.return_to.as_deref().map(ReturnTo::parse).transpose()?.unwrap_or_default();
    let tenant = query.tenant.as_deref().map(slug).transpose()?;
    let begun = state
        .sign_in
        .begin(BeginSignIn {
            redirect_uri: state.redirect_uri.clone(),
            return_to,
            tenant,
            invitation: query.invitation.map(Into::into),
            browser: cookies::sign_in(&headers),
        })
        .await?;
    Ok(redirect(begun.authorization_url.as_str(), [cookies::set_sign_in(&begun.browser, SIGN_IN_FOR)]))
}

/// Takes the browser back from the identity provider, and signs it in.
#[utoipa::path(
    get, path = "/auth/callback", operation_id = "finish_sign_in", tag = "sign-in", params(CallbackQuery),
    responses(
        (status = 303, description = "Signed in: to where the sign-in was begun for"),
        (status = 400, description = "The sign-in is over, was used already, or is another browser's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Refused by the provider, no membership, or an invitation for somebody else", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Signing in is not configured", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many sign-ins from this address", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The identity provider or the service cannot answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn callback(
    State(state): State<SignInState>,
    parts: Parts,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, Problem> {
    let finished = state
        .sign_in
        .finish(
            FinishSignIn {
                redirect_uri: state.redirect_uri.clone(),
                state: query.state.into(),
                code: query.code.map(Into::into),
                issuer: query.iss,
                browser: cookies::sign_in(&parts.headers),
                session: cookies::session(&parts.headers).ok().flatten(),
            },
            &info_of(&parts),
        )
        .await
        .inspect_err(|error| count("refused", error))?;
    metrics::counter!(crate::metrics::SIGN_INS, "outcome" => "ok").increment(1);
    let session = cookies::set_session(&finished.signed_in.cookie, SESSION_MOST);
    Ok(redirect(&finished.return_to, [session, cookies::forget_sign_in()]))
}

/// Goes on in another of the person's tenants, with a new session in the old one's place.
#[utoipa::path(
    post, path = "/auth/tenant", operation_id = "switch_tenant", tag = "sign-in", request_body = TenantChoice,
    responses(
        (status = 200, body = SessionBody),
        (status = 400, description = "The body is not JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not from a page of this server, or not one of the person's tenants", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many sign-ins from this address", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The service cannot answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn switch_tenant(
    State(state): State<SignInState>,
    parts: Parts,
    Json(choice): Json<TenantChoice>,
) -> Result<Response, Problem> {
    let cookie = cookies::session(&parts.headers)
        .and_then(|cookie| cookie.ok_or("a session is needed: sign in at /auth/login"))
        .map_err(Error::Unauthenticated)?;
    state.guard.check_page(&parts.headers, &cookie)?;
    let tenant = slug(&choice.tenant)?;
    let signed_in = state.sign_in.switch_tenant(&cookie, &tenant, &info_of(&parts)).await?;
    Ok(with_cookies(session_body(&signed_in).into_response(), [session_cookie(&signed_in)]))
}

/// Ends the session, on all replicas. Nothing happens when there is none.
#[utoipa::path(
    post, path = "/auth/logout", operation_id = "sign_out", tag = "sign-in",
    responses(
        (status = 204, description = "Signed out"),
        (status = 403, description = "Not from a page of this server", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The service cannot answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn logout(State(state): State<SignInState>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    if let Some(cookie) = cookies::session(&parts.headers).map_err(Error::Unauthenticated)? {
        state.guard.check_page(&parts.headers, &cookie)?;
        state.sign_in.sign_out(&cookie, &info_of(&parts)).await?;
    }
    Ok(with_cookies(StatusCode::NO_CONTENT.into_response(), [cookies::forget_session()]))
}

fn slug(text: &str) -> Result<Slug, Problem> {
    text.parse().map_err(|_| Invalid::one("/tenant", "is not a tenant's short name").into())
}

fn session_body(signed_in: &SignedIn) -> Json<SessionBody> {
    Json(SessionBody {
        tenant: signed_in.caller.tenant_slug.to_string(),
        csrf_token: signed_in.csrf_token.clone(),
        expires_at: signed_in.expires_at,
    })
}

fn session_cookie(signed_in: &SignedIn) -> Option<HeaderValue> {
    cookies::set_session(&signed_in.cookie, SESSION_MOST)
}

fn info_of(parts: &Parts) -> RequestInfo {
    RequestInfo {
        id: request::current_id().unwrap_or_else(request::new_id),
        origin: origin_of(&parts.headers, &parts.extensions),
    }
}

/// Counts a sign-in that came to nothing, by what stood against it.
fn count(outcome: &'static str, error: &Error) {
    let outcome = if error.is_retryable() { "unavailable" } else { outcome };
    tracing::info!(outcome, "A sign-in came to nothing: {error}");
    metrics::counter!(crate::metrics::SIGN_INS, "outcome" => outcome).increment(1);
}

/// 303, telling the next page nothing of this address: it holds a code or an invitation.
fn redirect<const N: usize>(to: &str, cookies: [Option<HeaderValue>; N]) -> Response {
    let Ok(location) = HeaderValue::try_from(to) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers: [(HeaderName, HeaderValue); 2] =
        [(LOCATION, location), (REFERRER_POLICY, HeaderValue::from_static("no-referrer"))];
    with_cookies((StatusCode::SEE_OTHER, headers).into_response(), cookies)
}

fn with_cookies<const N: usize>(mut response: Response, cookies: [Option<HeaderValue>; N]) -> Response {
    for cookie in cookies.into_iter().flatten() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
