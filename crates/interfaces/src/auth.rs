//! Who calls: reads the credential, has it checked, and hands the caller on to the handlers. A credential is an API key
//! (`pb_…`) or an access token in `Authorization`, or on the admin server also the cookie of a signed-in browser.

pub(crate) mod cookies;
mod credential;
mod csrf;
mod resource;

use std::sync::Arc;

use application::access::{AccessService, PresentedKey};
use application::ctx::Origin;
use application::sign_in::{RequestInfo, SignInError, SignInService};
use application::{Ctx, Error, Services};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{Role, Slug};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};

use crate::limits::ClientAddress;
use crate::problem::Problem;
use crate::request;
use credential::holds_token;
pub use credential::{Credential, TENANT_HEADER};
pub use csrf::OwnOrigins;
pub use resource::ProtectedResource;

/// The most characters of a user agent that go on the record.
const MOST_CLIENT: usize = 200;

/// Checks the credential of every request that passes; state of [`require_caller`].
///
/// ```ignore
/// router.route_layer(axum::middleware::from_fn_with_state(guard, auth::require_caller))
/// ```
#[derive(Debug, Clone)]
pub struct Guard {
    access: Arc<AccessService>,
    sign_in: Arc<SignInService>,
    resource: Arc<ProtectedResource>,
    /// Where pages that may use cookies come from; `None` where cookies do not count.
    pages: Option<Arc<OwnOrigins>>,
}

/// Who calls, and of which tenant. As an extractor it needs [`require_caller`] around the route.
#[derive(Debug, Clone)]
pub struct Caller {
    /// On whose behalf the request is served.
    pub ctx: Ctx,
    /// The tenant's short name.
    pub tenant_slug: Slug,
    /// The key that was presented, when it was one.
    pub key: Option<PresentedKey>,
    /// A person's role in the tenant: no token of theirs brings more than it stands for.
    pub role: Option<Role>,
    /// What was presented; for answers that outlive their request and must look again.
    pub credential: Arc<Credential>,
}

impl Guard {
    /// A guard of keys and access tokens. Tokens must be made for this resource.
    pub fn new(services: &Services, resource: ProtectedResource) -> Self {
        Self {
            access: services.access.clone(),
            sign_in: services.sign_in.clone(),
            resource: Arc::new(resource),
            pages: None,
        }
    }

    /// What it guards, as OAuth clients are told.
    pub(crate) fn resource(&self) -> &ProtectedResource {
        &self.resource
    }

    /// Also takes the cookies of signed-in browsers; changes only from pages of these origins.
    #[must_use]
    pub fn with_sessions(mut self, pages: OwnOrigins) -> Self {
        self.pages = Some(Arc::new(pages));
        self
    }

    /// Finds out who sends a request. Fails with a 401 or 403 problem, or a 503 when it cannot be found out.
    pub async fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Caller, Problem> {
        if uri.query().is_some_and(holds_token) {
            return Err(self.challenged(token_in_query(), "invalid_request"));
        }
        let credential = match Credential::of(headers, self.pages.is_some()) {
            Ok(credential) => credential,
            Err(why) => return Err(self.challenged(self.unauthenticated(why), "")),
        };
        if let (Credential::Session(cookie), Some(pages)) = (&credential, &self.pages)
            && !method.is_safe()
        {
            csrf::check(headers, pages, &self.sign_in.csrf_token(cookie))?;
        }
        self.check_again(&Arc::new(credential), origin_of(headers, extensions)).await
    }

    /// Checks a credential again: whether it still holds, and what it allows by now.
    pub async fn check_again(
        &self,
        credential: &Arc<Credential>,
        origin: Arc<Origin>,
    ) -> Result<Caller, Problem> {
        let info = RequestInfo { id: request::current_id().unwrap_or_else(request::new_id), origin };
        let checked = match &**credential {
            Credential::Key(key) => {
                self.access.authenticate(key.expose_secret(), info.id).await.map(|mut caller| {
                    caller.ctx.origin = info.origin.clone();
                    caller
                })
            }
            Credential::Session(cookie) => self.sign_in.authenticate_session(cookie, &info).await,
            Credential::Token { token, tenant } => {
                let audience = self.resource.url.as_str();
                self.sign_in.authenticate_token(token, audience, tenant.as_deref(), &info).await
            }
        };
        metrics::counter!(
            crate::metrics::AUTH_DECISIONS,
            "credential" => credential.kind(),
            "outcome" => match &checked {
                Ok(_) => "ok",
                Err(error) if error.is_retryable() => "unavailable",
                Err(_) => "refused",
            },
        )
        .increment(1);
        match checked {
            Ok(caller) => Ok(Caller {
                ctx: caller.ctx,
                tenant_slug: caller.tenant_slug,
                key: caller.key,
                role: caller.role,
                credential: credential.clone(),
            }),
            Err(Error::Unauthenticated(why)) => {
                tracing::info!(credential = credential.kind(), reason = why, "A credential was refused");
                Err(self.challenged(self.unauthenticated(why), "invalid_token"))
            }
            Err(error @ Error::SignIn(SignInError::NoScope)) => Err(self.insufficient(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Turns a refused check into its answer. A missing scope is told with all the usual scopes of the server: a client
    /// that asks for more should ask once.
    pub fn refuse(&self, error: Error) -> Problem {
        match error {
            Error::Forbidden { .. } => self.insufficient(error.into()),
            error => error.into(),
        }
    }

    fn insufficient(&self, problem: Problem) -> Problem {
        self.challenged(problem, "insufficient_scope")
    }

    fn unauthenticated(&self, why: &'static str) -> Problem {
        let problem = Problem::from(Error::Unauthenticated(why));
        match (self.sign_in.token_issuer(), &self.pages) {
            (None, None) => problem.with_hint(
                "an API key is required here: send the header `Authorization: Bearer pb_…`. This installation has no \
                 authorization server",
            ),
            (Some(_), None) => problem.with_hint(
                "send the header `Authorization: Bearer …` with an API key, or with an access token made for this \
                 server; the WWW-Authenticate header says where to get one",
            ),
            (_, Some(_)) => problem.with_hint(
                "send the header `Authorization: Bearer <API key>`, or sign in at /auth/login with a browser",
            ),
        }
    }

    fn challenged(&self, problem: Problem, error: &str) -> Problem {
        let mut parts = Vec::new();
        if !error.is_empty() {
            parts.push(format!("error=\"{error}\""));
        }
        if !self.resource.scopes.is_empty() {
            parts.push(format!("scope=\"{}\"", self.resource.scope_words()));
        }
        if self.sign_in.token_issuer().is_some() {
            parts.push(format!("resource_metadata=\"{}\"", self.resource.metadata_url()));
        }
        problem.with_challenge(format!("Bearer {}", parts.join(", ")).trim_end())
    }

    /// Checks that a change asked for by this cookie comes from a page of ours.
    pub(crate) fn check_page(&self, headers: &HeaderMap, cookie: &SecretString) -> Result<(), Problem> {
        match &self.pages {
            Some(pages) => csrf::check(headers, pages, &self.sign_in.csrf_token(cookie)),
            None => Ok(()),
        }
    }
}

/// Lets only signed-in callers pass and adds [`Caller`] to the request.
pub async fn require_caller(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let checked = guard.check(request.method(), request.uri(), request.headers(), request.extensions()).await;
    match checked {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Where a request came from, for the record.
pub(crate) fn origin_of(headers: &HeaderMap, extensions: &Extensions) -> Arc<Origin> {
    let client = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    let client = client.map(|text| text.chars().filter(|c| !c.is_control()).take(MOST_CLIENT).collect());
    Arc::new(Origin { address: ClientAddress::of(extensions), client })
}

fn token_in_query() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "token_in_query",
        "keys and tokens are not accepted in the query string, where logs and proxies would keep them",
    )
    .with_hint("send the header `Authorization: Bearer <API key>`, and revoke the key that was in the URL")
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A route that forgot the guard answers 401 instead of serving anybody.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Error::Unauthenticated("no credential was checked").into())
    }
}
