//! Access tokens of the authorization server: for people, through the programs that act for them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{AuditAction, AuditEntry, AuditOutcome, Scope, Scopes, TenantId, UserId};
use secrecy::SecretString;

use super::flow::choose;
use super::{RequestInfo, SignInError, SignInService, caller, ctx_of, slugs};
use crate::access::Caller;
use crate::ctx::Origin;
use crate::ports::VerifiedToken;
use crate::{Ctx, Error};

const TOKEN: AuditAction = AuditAction::new("token.present");
/// How often the same decision about the same client goes on the record.
const NOTED_FOR: TimeDelta = TimeDelta::minutes(10);
const MOST_NOTED: usize = 10_000;
const MOST_CLIENT: usize = 200;

/// A decision: on whose access to which tenant, through which client, and whether it was granted.
type Decision = (TenantId, UserId, Option<String>, bool);

/// What was decided lately and until when that counts, so that a client that calls a thousand times a second has one
/// record and not a thousand.
#[derive(Debug, Default)]
pub(super) struct Noted(Mutex<HashMap<Decision, DateTime<Utc>>>);

impl Noted {
    fn is_new(&self, ctx: &Ctx, user: UserId, ok: bool, now: DateTime<Utc>) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MOST_NOTED {
            noted.retain(|_, until| *until > now);
            if noted.len() >= MOST_NOTED {
                noted.clear();
            }
        }
        match noted.entry((ctx.tenant, user, ctx.origin.client.clone(), ok)) {
            Entry::Occupied(entry) if *entry.get() > now => false,
            Entry::Occupied(mut entry) => {
                entry.insert(now + NOTED_FOR);
                true
            }
            Entry::Vacant(entry) => {
                entry.insert(now + NOTED_FOR);
                true
            }
        }
    }

    fn forget(&self, ctx: &Ctx, user: UserId, ok: bool) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.remove(&(ctx.tenant, user, ctx.origin.client.clone(), ok));
    }
}

impl SignInService {
    /// Finds out who an access token stands for, and what they may do: no more than the token grants and no more than
    /// their role in the tenant allows. `wanted` names the tenant for people who belong to several.
    pub async fn authenticate_token(
        &self,
        token: &SecretString,
        audience: &str,
        wanted: Option<&str>,
        request: &RequestInfo,
    ) -> Result<Caller, Error> {
        let Some(verifier) = &self.parts.tokens else {
            return Err(Error::Unauthenticated("an API key is needed: access tokens are not taken here"));
        };
        let token = verifier.verify(token, audience).await?;
        let Some(user) = self.parts.members.memberships(&token.issuer, &token.subject).await? else {
            return Err(SignInError::NoMembership.into());
        };
        if wanted.is_none() && user.memberships.len() > 1 {
            return Err(SignInError::ChooseTenant { tenants: slugs(&user) }.into());
        }
        let membership = choose(&user, wanted)?;
        let role = membership.role.scopes();
        let scopes = granted(&token).and_then(|granted| granted.both(&role));
        let mut request = request.clone();
        request.origin = with_client(&request.origin, &token);
        let ctx = ctx_of(&user, membership, scopes.clone().unwrap_or(role), &request);
        if self.noted.is_new(&ctx, user.id, scopes.is_some(), self.parts.clock.now()) {
            let mut entry = AuditEntry::ok(TOKEN);
            entry = match &scopes {
                Some(scopes) => entry.with("scopes", scopes.names()),
                None => entry.with("reason", "no scope").ended(AuditOutcome::Denied),
            };
            if let Err(error) = self.parts.audit.note(&ctx, entry).await {
                self.noted.forget(&ctx, user.id, scopes.is_some());
                return Err(error.into());
            }
        }
        match scopes {
            Some(_) => Ok(caller(ctx, membership)),
            None => Err(SignInError::NoScope.into()),
        }
    }
}

impl SignInService {
    /// What a person may do by now, of what an access token of theirs allowed, for what was made on their behalf and is
    /// followed without it, such as a link. [`Error::Unauthenticated`] when they left the tenant, or nothing is left.
    pub async fn again(
        &self,
        tenant: TenantId,
        user: UserId,
        held: &Scopes,
        request: &RequestInfo,
    ) -> Result<Ctx, Error> {
        const OVER: Error = Error::Unauthenticated("the person has no access to the tenant any more");
        let Some(user) = self.parts.members.memberships_of(user).await? else { return Err(OVER) };
        let Some(membership) = user.member_of(tenant) else { return Err(OVER) };
        let scopes = held.both(&membership.role.scopes()).ok_or(OVER)?;
        Ok(ctx_of(&user, membership, scopes, request))
    }
}

/// The granted scopes that mean something here.
fn granted(token: &VerifiedToken) -> Option<Scopes> {
    let known = token.scopes.iter().filter_map(|name| name.parse::<Scope>().ok());
    Scopes::new(known).ok()
}

/// The client's id says more than what its HTTP library calls itself.
fn with_client(origin: &std::sync::Arc<Origin>, token: &VerifiedToken) -> std::sync::Arc<Origin> {
    let Some(client) = &token.client_id else { return origin.clone() };
    let client: String = client.chars().filter(|c| !c.is_control()).take(MOST_CLIENT).collect();
    std::sync::Arc::new(Origin { address: origin.address, client: Some(client) })
}
