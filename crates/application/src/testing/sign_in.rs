//! Sessions, an OpenID provider that lets everybody in, and the access tokens it made.

use std::time::Duration;

use async_trait::async_trait;
use domain::TenantId;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Memory, moment};
use crate::Ctx;
use crate::ports::{
    BegunSignIn, Identity, IdentityError, IdentityProvider, Ids, KnownSession, NewSession, ReturnedSignIn,
    SessionStore, SignInState, StoreError, TokenError, TokenVerifier, VerifiedToken,
};

/// The issuer of all people in memory.
pub const ISSUER: &str = "https://idp.example";

#[derive(Debug)]
pub(super) struct StoredSession {
    tenant: TenantId,
    mac: [u8; 32],
    session: KnownSession,
}

#[derive(Debug)]
pub(super) struct IssuedToken {
    text: String,
    audience: String,
    token: VerifiedToken,
}

impl Memory {
    /// Makes an access token of the authorization server for a person, by the name they are a member with.
    pub fn token(&self, name: &str, audience: &str, scopes: &[&str]) -> String {
        let text = format!("header.{}.signature", self.uuid().simple());
        let token = VerifiedToken {
            issuer: ISSUER.to_owned(),
            subject: name.to_owned(),
            client_id: Some("a client".to_owned()),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_at: moment() + chrono::TimeDelta::minutes(10),
        };
        self.state().tokens.push(IssuedToken { text: text.clone(), audience: audience.to_owned(), token });
        text
    }
}

#[async_trait]
impl SessionStore for Memory {
    async fn begin(&self, state: &SignInState) -> Result<(), StoreError> {
        self.reach("sign_ins.begin").await?;
        self.state().sign_ins.push(state.clone());
        Ok(())
    }

    async fn take(&self, mac: &[u8; 32]) -> Result<Option<SignInState>, StoreError> {
        self.reach("sign_ins.take").await?;
        let mut state = self.state();
        let place = state.sign_ins.iter().position(|kept| kept.mac == *mac);
        Ok(place.map(|place| state.sign_ins.remove(place)))
    }

    async fn insert(&self, ctx: &Ctx, new: &NewSession) -> Result<(), StoreError> {
        self.reach("sessions.insert").await?;
        let session = KnownSession {
            id: new.id,
            tenant: ctx.tenant,
            user: new.user,
            created_at: new.created_at,
            expires_at: new.expires_at,
        };
        self.state().sessions.push(StoredSession { tenant: ctx.tenant, mac: new.mac, session });
        Ok(())
    }

    async fn find(&self, mac: &[u8; 32], _: Duration) -> Result<Option<KnownSession>, StoreError> {
        self.reach("sessions.find").await?;
        Ok(self.state().sessions.iter().find(|row| row.mac == *mac).map(|row| row.session.clone()))
    }

    async fn revoke(&self, ctx: &Ctx, session: &KnownSession) -> Result<(), StoreError> {
        self.reach("sessions.revoke").await?;
        self.state().sessions.retain(|row| row.tenant != ctx.tenant || row.session.id != session.id);
        Ok(())
    }
}

/// The code it gives out is the person's name.
#[async_trait]
impl IdentityProvider for Memory {
    fn issuer(&self) -> &str {
        ISSUER
    }

    async fn begin(&self, redirect_uri: &Url, state: &SecretString) -> Result<BegunSignIn, IdentityError> {
        self.reach("provider.begin").await.map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        let mut url = Url::parse(ISSUER).map_err(|error| IdentityError::Refused(error.to_string()))?;
        url.query_pairs_mut()
            .append_pair("redirect_uri", redirect_uri.as_str())
            .append_pair("state", state.expose_secret());
        Ok(BegunSignIn { authorization_url: url, nonce: "nonce".into(), pkce_verifier: "verifier".into() })
    }

    async fn finish(&self, _: &Url, returned: ReturnedSignIn) -> Result<Identity, IdentityError> {
        self.reach("provider.finish").await.map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        if returned.issuer.is_some_and(|issuer| issuer != ISSUER) {
            return Err(IdentityError::Refused("another issuer".into()));
        }
        let name = returned.code.expose_secret();
        Ok(Identity {
            issuer: ISSUER.to_owned(),
            subject: name.to_owned(),
            email: format!("{name}@example.com"),
            email_verified: !name.starts_with("unverified"),
            name: Some(name.to_owned()),
        })
    }

    async fn probe(&self) -> Result<(), IdentityError> {
        Ok(())
    }
}

#[async_trait]
impl TokenVerifier for Memory {
    fn issuer(&self) -> &str {
        ISSUER
    }

    async fn verify(&self, token: &SecretString, audience: &str) -> Result<VerifiedToken, TokenError> {
        self.reach("tokens.verify").await.map_err(|error| TokenError::Unavailable(error.to_string()))?;
        let state = self.state();
        let issued = state.tokens.iter().find(|issued| issued.text == token.expose_secret());
        let issued = issued.ok_or(TokenError::Invalid("the access token's signature is wrong"))?;
        match issued.audience == audience {
            true => Ok(issued.token.clone()),
            false => Err(TokenError::Invalid("the access token was made for another audience")),
        }
    }

    async fn probe(&self) -> Result<(), TokenError> {
        Ok(())
    }
}
