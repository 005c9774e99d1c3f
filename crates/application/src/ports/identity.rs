use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{SessionId, TenantId, UserId};
use secrecy::SecretString;
use url::Url;

use super::{Identity, StoreError};
use crate::Ctx;

/// Why a person could not be signed in by the identity provider.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be reached, or does not answer as one should; worth another try.
    #[error("the identity provider cannot be asked: {0}")]
    Unavailable(String),
    /// It refused, or what it said does not hold. The text is ours, never the provider's.
    #[error("the identity provider's answer was refused: {0}")]
    Refused(String),
}

/// A sign-in as it begins: where to send the browser, and what must be kept until it comes back.
#[derive(Debug, Clone)]
pub struct BegunSignIn {
    /// Where the browser goes.
    pub authorization_url: Url,
    /// What the ID token must repeat.
    pub nonce: String,
    /// What proves that the code is asked for by who began.
    pub pkce_verifier: SecretString,
}

/// What the browser came back with.
#[derive(Debug, Clone)]
pub struct ReturnedSignIn {
    /// The authorization code.
    pub code: SecretString,
    /// The issuer it says it comes from (RFC 9207).
    pub issuer: Option<String>,
    /// As kept from the beginning.
    pub nonce: String,
    /// As kept from the beginning.
    pub pkce_verifier: SecretString,
}

/// An OpenID provider that people sign in with.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// Its name, exactly as it stands in its tokens.
    fn issuer(&self) -> &str;

    /// Prepares a sign-in that comes back to `redirect_uri` with `state`.
    async fn begin(&self, redirect_uri: &Url, state: &SecretString) -> Result<BegunSignIn, IdentityError>;

    /// Exchanges the code and checks every word of the ID token.
    async fn finish(&self, redirect_uri: &Url, returned: ReturnedSignIn) -> Result<Identity, IdentityError>;

    /// Whether it answers as it should; for operators.
    async fn probe(&self) -> Result<(), IdentityError>;
}

/// What an access token says, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The authorization server.
    pub issuer: String,
    /// The person.
    pub subject: String,
    /// The program that acts for them.
    pub client_id: Option<String>,
    /// The scopes' names, as granted; unknown ones among them.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Why an access token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is wrong in itself. The text is safe to show.
    #[error("{0}")]
    Invalid(&'static str),
    /// Whether it holds cannot be found out at the moment.
    #[error("the keys of the authorization server cannot be read: {0}")]
    Unavailable(String),
}

/// Checks access tokens of one authorization server.
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Its name, exactly as it stands in its tokens.
    fn issuer(&self) -> &str;

    /// Checks signature, issuer, times, and that the token was made for `audience`. Never lets a token pass that could
    /// not be checked.
    async fn verify(&self, token: &SecretString, audience: &str) -> Result<VerifiedToken, TokenError>;

    /// Whether the authorization server's keys can be read; for operators.
    async fn probe(&self) -> Result<(), TokenError>;
}

/// A sign-in under way, as stored: nothing in it lets anybody finish it without the browser's and the address bar's
/// secrets.
#[derive(Clone)]
pub struct SignInState {
    /// Keyed hash of the state in the address bar.
    pub mac: [u8; 32],
    /// Keyed hash of the browser's cookie.
    pub browser_mac: [u8; 32],
    /// The issuer the browser was sent to.
    pub issuer: String,
    /// What the ID token must repeat.
    pub nonce: String,
    /// What proves that the code is asked for by who began.
    pub pkce_verifier: SecretString,
    /// Keyed hash of an invitation's token.
    pub invitation_mac: Option<[u8; 32]>,
    /// The tenant that was asked for.
    pub tenant_slug: Option<String>,
    /// The local path to end at.
    pub return_to: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for SignInState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignInState({})", self.issuer)
    }
}

/// A session to be stored: the keyed hash of its cookie, never the cookie.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Keyed hash of the cookie.
    pub mac: [u8; 32],
    /// Whose it is.
    pub user: UserId,
    /// Since when the person is signed in; stays when the session is replaced.
    pub created_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSession {
    /// Its id.
    pub id: SessionId,
    /// The tenant it works in.
    pub tenant: TenantId,
    /// Whose it is.
    pub user: UserId,
    /// Since when the person is signed in.
    pub created_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
}

/// Signed-in browsers, and sign-ins under way.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Keeps a sign-in until it is taken or over. Forgets some that are over.
    async fn begin(&self, state: &SignInState) -> Result<(), StoreError>;

    /// Takes a sign-in out: a second time finds nothing. `None` when unknown, taken or over.
    async fn take(&self, mac: &[u8; 32]) -> Result<Option<SignInState>, StoreError>;

    /// Stores a session in the context's tenant. The oldest of a person with very many end.
    async fn insert(&self, ctx: &Ctx, session: &NewSession) -> Result<(), StoreError>;

    /// The session of a cookie. `None` when unknown, revoked, over, or not used for `idle`. At most 4 s old; being found
    /// counts as use.
    async fn find(&self, mac: &[u8; 32], idle: Duration) -> Result<Option<KnownSession>, StoreError>;

    /// Ends a session of the context's tenant. Safe to repeat.
    async fn revoke(&self, ctx: &Ctx, session: &KnownSession) -> Result<(), StoreError>;
}
