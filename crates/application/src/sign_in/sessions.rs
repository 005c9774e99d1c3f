//! Sessions of signed-in browsers. The cookie is a random secret; everything else is looked up at every request.

use chrono::{DateTime, Utc};
use domain::Slug;
use secrecy::{ExposeSecret, SecretString};

use super::flow::choose;
use super::{RequestInfo, SESSION_IDLE, SignInService, caller, ctx_of, hex, is_secret, slugs};
use crate::Error;
use crate::access::Caller;
use crate::ports::{KnownSession, KnownUser, MacPurpose};

const UNKNOWN: &str = "the session is unknown, over or ended; sign in again";

/// A session just made. The only moment its cookie can be given out.
#[derive(Debug)]
pub struct SignedIn {
    /// The cookie.
    pub cookie: SecretString,
    /// What changes by cookie must send along.
    pub csrf_token: String,
    /// Who signed in, and where.
    pub caller: Caller,
    /// When the session ends at the latest.
    pub expires_at: DateTime<Utc>,
}

impl SignInService {
    /// Finds out whose session a cookie is, and what they may do by now.
    pub async fn authenticate_session(
        &self,
        cookie: &SecretString,
        request: &RequestInfo,
    ) -> Result<Caller, Error> {
        let (session, user) = self.find(cookie).await?;
        let Some(membership) = user.member_of(session.tenant) else {
            return Err(Error::Unauthenticated(UNKNOWN));
        };
        Ok(caller(ctx_of(&user, membership, membership.role.scopes(), request), membership))
    }

    /// What a page must send in `X-CSRF-Token` with every change it asks for by this cookie.
    pub fn csrf_token(&self, cookie: &SecretString) -> String {
        hex(&self.parts.vault.mac(MacPurpose::Csrf, cookie))
    }

    /// The short names of the tenants that the session's person may switch to.
    pub async fn tenants_of(&self, cookie: &SecretString) -> Result<Vec<String>, Error> {
        Ok(slugs(&self.find(cookie).await?.1))
    }

    /// Goes on in another of the person's tenants: a new session takes the old one's place, with its age.
    pub async fn switch_tenant(
        &self,
        cookie: &SecretString,
        tenant: &Slug,
        request: &RequestInfo,
    ) -> Result<SignedIn, Error> {
        let (session, user) = self.find(cookie).await?;
        let membership = choose(&user, Some(tenant.as_str()))?;
        self.end_quietly(cookie, request).await?;
        let ctx = ctx_of(&user, membership, membership.role.scopes(), request);
        self.new_session(&ctx, &user, membership, session.created_at).await
    }

    /// Ends the session of a cookie; nothing happens when there is none.
    pub async fn sign_out(&self, cookie: &SecretString, request: &RequestInfo) -> Result<(), Error> {
        self.end_quietly(cookie, request).await
    }

    pub(super) async fn end_quietly(
        &self,
        cookie: &SecretString,
        request: &RequestInfo,
    ) -> Result<(), Error> {
        let (session, user) = match self.find(cookie).await {
            Ok(found) => found,
            Err(Error::Unauthenticated(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(membership) = user.member_of(session.tenant) else {
            // It ended with the membership.
            return Ok(());
        };
        let ctx = ctx_of(&user, membership, membership.role.scopes(), request);
        Ok(self.parts.sessions.revoke(&ctx, &session).await?)
    }

    async fn find(&self, cookie: &SecretString) -> Result<(KnownSession, KnownUser), Error> {
        if !is_secret(cookie.expose_secret()) {
            return Err(Error::Unauthenticated(UNKNOWN));
        }
        let mac = self.parts.vault.mac(MacPurpose::Session, cookie);
        let Some(session) = self.parts.sessions.find(&mac, SESSION_IDLE).await? else {
            return Err(Error::Unauthenticated(UNKNOWN));
        };
        if session.expires_at <= self.parts.clock.now() {
            return Err(Error::Unauthenticated(UNKNOWN));
        }
        let Some(user) = self.parts.members.memberships_of(session.user).await? else {
            return Err(Error::Unauthenticated(UNKNOWN));
        };
        Ok((session, user))
    }
}
