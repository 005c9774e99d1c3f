//! The way through the OpenID provider: off with a state that only this browser can bring back, once.

use chrono::{DateTime, Utc};
use domain::{AuditAction, AuditEntry, AuditOutcome, SessionId, Slug};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::sessions::SignedIn;
use super::{
    RequestInfo, ReturnTo, SESSION_MOST, SIGN_IN_FOR, SignInError, SignInService, ctx_of, is_secret, slugs,
};
use crate::ports::{
    Identity, Invitation, KnownUser, MacPurpose, Membership, NewSession, ReturnedSignIn, SignInState,
};
use crate::{Ctx, Error};

const INVITATION_ACCEPT: AuditAction = AuditAction::new("invitation.accept");

/// What a sign-in begins with.
#[derive(Debug)]
pub struct BeginSignIn {
    /// Where the provider sends the browser back to.
    pub redirect_uri: Url,
    /// Where the browser goes in the end.
    pub return_to: ReturnTo,
    /// The tenant to work in.
    pub tenant: Option<Slug>,
    /// The token of an invitation to accept.
    pub invitation: Option<SecretString>,
    /// The browser's sign-in cookie from another sign-in under way, if any.
    pub browser: Option<SecretString>,
}

/// A sign-in under way.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub authorization_url: Url,
    /// The cookie that binds the sign-in to the browser.
    pub browser: SecretString,
}

/// What a sign-in ends with.
#[derive(Debug)]
pub struct FinishSignIn {
    /// Where the provider sent the browser back to.
    pub redirect_uri: Url,
    /// The state in the address.
    pub state: SecretString,
    /// The authorization code; `None` when the provider reports a failure instead.
    pub code: Option<SecretString>,
    /// The issuer in the address (RFC 9207).
    pub issuer: Option<String>,
    /// The browser's sign-in cookie.
    pub browser: Option<SecretString>,
    /// The browser's session, which the new one replaces.
    pub session: Option<SecretString>,
}

/// A person signed in.
#[derive(Debug)]
pub struct Finished {
    /// The session.
    pub signed_in: SignedIn,
    /// Where the browser goes.
    pub return_to: String,
}

impl SignInService {
    /// Begins a sign-in.
    pub async fn begin(&self, begin: BeginSignIn) -> Result<Begun, Error> {
        let provider = self.provider()?;
        let state = self.secret();
        // Two sign-ins in two tabs share the cookie, so that either can be finished.
        let browser = begin
            .browser
            .filter(|browser| is_secret(browser.expose_secret()))
            .unwrap_or_else(|| self.secret());
        let begun = provider.begin(&begin.redirect_uri, &state).await.map_err(SignInError::from)?;
        let vault = &self.parts.vault;
        let kept = SignInState {
            mac: vault.mac(MacPurpose::SignIn, &state),
            browser_mac: vault.mac(MacPurpose::SignIn, &browser),
            issuer: provider.issuer().to_owned(),
            nonce: begun.nonce,
            pkce_verifier: begun.pkce_verifier,
            invitation_mac: begin.invitation.map(|token| vault.mac(MacPurpose::Invitation, &token)),
            tenant_slug: begin.tenant.map(|slug| slug.to_string()),
            return_to: begin.return_to.as_str().to_owned(),
            expires_at: self.parts.clock.now() + SIGN_IN_FOR,
        };
        self.parts.sessions.begin(&kept).await?;
        Ok(Begun { authorization_url: begun.authorization_url, browser })
    }

    /// Finishes a sign-in: checks where it came from, accepts an invitation, and makes a session.
    pub async fn finish(&self, finish: FinishSignIn, request: &RequestInfo) -> Result<Finished, Error> {
        let provider = self.provider()?;
        let kept = self.take(&finish).await?;
        if kept.issuer != provider.issuer() {
            return Err(SignInError::Expired.into());
        }
        let Some(code) = finish.code else {
            return Err(SignInError::Refused("the identity provider did not let the person in".into()).into());
        };
        let returned = ReturnedSignIn {
            code,
            issuer: finish.issuer,
            nonce: kept.nonce,
            pkce_verifier: kept.pkce_verifier,
        };
        let identity = provider.finish(&finish.redirect_uri, returned).await.map_err(SignInError::from)?;
        let members = &self.parts.members;
        let id = members.sign_in(&identity).await?;
        let Some(mut user) = members.memberships_of(id).await? else {
            return Err(SignInError::Refused("the person's access was disabled by an operator".into()).into());
        };
        let mut wanted = kept.tenant_slug;
        if let Some(mac) = kept.invitation_mac {
            wanted = Some(self.accept(&mac, &identity, &user, request).await?);
            user = members.memberships_of(id).await?.unwrap_or(user);
        }
        let membership = choose(&user, wanted.as_deref())?;
        if let Some(old) = &finish.session {
            self.end_quietly(old, request).await?;
        }
        let ctx = ctx_of(&user, membership, membership.role.scopes(), request);
        let signed_in = self.new_session(&ctx, &user, membership, self.parts.clock.now()).await?;
        tracing::info!(tenant.id = %ctx.tenant, user.id = %user.id, "A person signed in");
        Ok(Finished { signed_in, return_to: kept.return_to })
    }

    /// Takes the state out and checks that this browser began it.
    async fn take(&self, finish: &FinishSignIn) -> Result<SignInState, Error> {
        let vault = &self.parts.vault;
        let Some(browser) = finish.browser.as_ref().filter(|browser| is_secret(browser.expose_secret()))
        else {
            return Err(SignInError::Expired.into());
        };
        if !is_secret(finish.state.expose_secret()) {
            return Err(SignInError::Expired.into());
        }
        let kept = self.parts.sessions.take(&vault.mac(MacPurpose::SignIn, &finish.state)).await?;
        let browser_mac = vault.mac(MacPurpose::SignIn, browser);
        // Both are keyed hashes, of which a caller controls no byte: how long a comparison takes tells nothing.
        kept.filter(|kept| kept.browser_mac == browser_mac && kept.expires_at > self.parts.clock.now())
            .ok_or_else(|| SignInError::Expired.into())
    }

    /// Makes the person a member as invited. The tenant's short name.
    async fn accept(
        &self,
        mac: &[u8; 32],
        identity: &Identity,
        user: &KnownUser,
        request: &RequestInfo,
    ) -> Result<String, Error> {
        let Some((tenant, invitation)) = self.parts.members.find_invitation(mac).await? else {
            return Err(SignInError::Invitation("there is no such invitation").into());
        };
        if invitation.accepted_at.is_some() && user.member_of(tenant.id).is_some() {
            return Ok(tenant.slug.to_string());
        }
        let membership = Membership { tenant, role: invitation.role };
        let ctx = ctx_of(user, &membership, membership.role.scopes(), request);
        let refused = match self.refusal(&invitation, identity) {
            None if self.parts.members.accept_invitation(&ctx, invitation.id, user).await? => {
                return Ok(membership.tenant.slug.to_string());
            }
            None => "it was used, revoked, or is over",
            Some(why) => why,
        };
        let entry = AuditEntry::ok(INVITATION_ACCEPT)
            .to("invitation", invitation.id)
            .with("reason", refused)
            .ended(AuditOutcome::Denied);
        self.parts.audit.note(&ctx, entry).await?;
        Err(SignInError::Invitation(refused).into())
    }

    fn refusal(&self, invitation: &Invitation, identity: &Identity) -> Option<&'static str> {
        let same_address = invitation.email.trim().to_lowercase() == identity.email.trim().to_lowercase();
        if invitation.accepted_at.is_some() {
            Some("it was used already")
        } else if invitation.revoked_at.is_some() {
            Some("it was revoked")
        } else if invitation.expires_at <= self.parts.clock.now() {
            Some("it is over; ask for a new one")
        } else if !identity.email_verified {
            Some("the identity provider does not vouch for the person's e-mail address")
        } else if !same_address {
            Some("it is for another e-mail address than the one signed in with")
        } else {
            None
        }
    }

    /// Stores a session of a person who has been signed in since `since`.
    pub(super) async fn new_session(
        &self,
        ctx: &Ctx,
        user: &KnownUser,
        membership: &Membership,
        since: DateTime<Utc>,
    ) -> Result<SignedIn, Error> {
        let cookie = self.secret();
        let session = NewSession {
            id: SessionId::new(self.parts.ids.uuid()),
            mac: self.parts.vault.mac(MacPurpose::Session, &cookie),
            user: user.id,
            created_at: since,
            expires_at: since + SESSION_MOST,
        };
        self.parts.sessions.insert(ctx, &session).await?;
        Ok(SignedIn {
            csrf_token: self.csrf_token(&cookie),
            cookie,
            caller: super::caller(ctx.clone(), membership),
            expires_at: session.expires_at,
        })
    }
}

/// The wanted one of the person's memberships; the first when none is wanted.
pub(super) fn choose<'a>(user: &'a KnownUser, wanted: Option<&str>) -> Result<&'a Membership, Error> {
    let found = match wanted {
        Some(slug) => user.memberships.iter().find(|membership| membership.tenant.slug.as_str() == slug),
        None => user.memberships.first(),
    };
    found.ok_or_else(|| match user.memberships.is_empty() {
        true => SignInError::NoMembership.into(),
        false => SignInError::ChooseTenant { tenants: slugs(user) }.into(),
    })
}
