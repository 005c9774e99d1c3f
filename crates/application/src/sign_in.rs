//! People who sign in: by OpenID Connect in a browser, or with an access token of the authorization server. The tenant
//! always comes from a membership; a cookie or token alone opens nothing.

mod errors;
mod flow;
mod return_to;
mod sessions;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use domain::{Principal, RequestId, Scopes};
use secrecy::SecretString;

use crate::access::Caller;
use crate::ctx::Origin;
use crate::ports::{
    AuditLog, Clock, IdentityProvider, Ids, KnownUser, MemberStore, Membership, SessionStore, TokenVerifier,
    Vault,
};
use crate::{Ctx, Error};

pub use errors::SignInError;
pub use flow::{BeginSignIn, Begun, FinishSignIn, Finished};
pub use return_to::ReturnTo;
pub use sessions::SignedIn;

/// How long a sign-in may take, from the redirect to the return.
pub const SIGN_IN_FOR: Duration = Duration::from_secs(10 * 60);
/// A session ends after this long without a request.
pub const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends this long after the sign-in, however much it is used.
pub const SESSION_MOST: Duration = Duration::from_secs(12 * 60 * 60);

/// The request that something belongs to, and where it came from.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// Its id.
    pub id: RequestId,
    /// Where it came from.
    pub origin: Arc<Origin>,
}

/// What sign-in needs.
pub struct SignInParts {
    /// Where people sign in; `None` when none is configured.
    pub provider: Option<Arc<dyn IdentityProvider>>,
    /// What checks access tokens; `None` when no authorization server is configured.
    pub tokens: Option<Arc<dyn TokenVerifier>>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// People and memberships.
    pub members: Arc<dyn MemberStore>,
    /// Keyed hashes.
    pub vault: Arc<dyn Vault>,
    /// The record.
    pub audit: Arc<dyn AuditLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random secrets.
    pub ids: Arc<dyn Ids>,
}

impl std::fmt::Debug for SignInParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignInParts")
    }
}

/// Use cases around signing in.
pub struct SignInService {
    parts: SignInParts,
    noted: tokens::Noted,
}

impl SignInService {
    /// Puts the service together.
    pub fn new(parts: SignInParts) -> Self {
        Self { parts, noted: tokens::Noted::default() }
    }

    /// Whether people can sign in with a browser.
    pub fn is_configured(&self) -> bool {
        self.parts.provider.is_some()
    }

    /// The authorization server whose access tokens are taken.
    pub fn token_issuer(&self) -> Option<&str> {
        self.parts.tokens.as_deref().map(TokenVerifier::issuer)
    }

    /// A random secret of 64 hexadecimal digits.
    fn secret(&self) -> SecretString {
        let mut random = [0u8; 32];
        self.parts.ids.fill(&mut random);
        hex(&random).into()
    }

    fn provider(&self) -> Result<&dyn IdentityProvider, Error> {
        self.parts.provider.as_deref().ok_or_else(|| SignInError::NotConfigured.into())
    }
}

impl std::fmt::Debug for SignInService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignInService")
    }
}

/// What a person acts as in one of their tenants.
fn ctx_of(user: &KnownUser, membership: &Membership, scopes: Scopes, request: &RequestInfo) -> Ctx {
    let principal = Principal::User { id: user.id, name: user.label().to_owned() };
    let mut ctx = Ctx::new(membership.tenant.id, principal, scopes, request.id);
    ctx.origin = request.origin.clone();
    ctx.strict_audit = membership.tenant.strict_audit;
    ctx
}

fn caller(ctx: Ctx, membership: &Membership) -> Caller {
    Caller { ctx, tenant_slug: membership.tenant.slug.clone(), key: None, role: Some(membership.role) }
}

fn slugs(user: &KnownUser) -> Vec<String> {
    user.memberships.iter().map(|membership| membership.tenant.slug.to_string()).collect()
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 })
}

/// Whether the text is of the form of our own secrets; others need no look-up.
fn is_secret(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
