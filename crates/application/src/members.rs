//! Members of a tenant and invitations.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Invalid, InvitationId, Role, Scope, UserId};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::ports::{
    Clock, Ids, Invitation, ListPage, Listing, MacPurpose, Member, MemberChange, MemberStore, NewInvitation,
    Vault,
};
use crate::{Ctx, Error};

/// How long an invitation is good, unless told otherwise.
pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest that an invitation is good.
pub const MAX_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

/// An invitation just made. The only moment its token can be shown.
#[derive(Debug)]
pub struct CreatedInvitation {
    /// What is stored of it.
    pub invitation: Invitation,
    /// What the invited person signs in with.
    pub token: SecretString,
    /// Where to, when the installation knows its public address.
    pub link: Option<SecretString>,
}

/// Use cases around members. Nobody gives a role that allows more than they may, or changes somebody who has one.
pub struct MemberService {
    store: Arc<dyn MemberStore>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    public_url: Option<Url>,
}

impl MemberService {
    /// Puts the service together. `public_url` is where people reach this installation.
    pub fn new(
        store: Arc<dyn MemberStore>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        public_url: Option<Url>,
    ) -> Self {
        Self { store, vault, clock, ids, public_url }
    }

    /// Newest first.
    pub async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Member>, Error> {
        ctx.require(Scope::MembersRead)?;
        Ok(self.store.list(ctx, page).await?)
    }

    /// Gives a member another role. The last owner stays one.
    pub async fn change_role(&self, ctx: &Ctx, user: UserId, role: Role) -> Result<Member, Error> {
        let member = self.reachable(ctx, user).await?;
        may_give(ctx, role)?;
        if member.role != role {
            let change = self.store.change_role(ctx, user, member.role, role).await?;
            check(change, user)?;
        }
        Ok(Member { role, ..member })
    }

    /// Ends a membership, and with it the person's keys and sessions in this tenant. The last owner stays.
    pub async fn remove(&self, ctx: &Ctx, user: UserId) -> Result<(), Error> {
        let member = self.reachable(ctx, user).await?;
        check(self.store.remove(ctx, user, member.role).await?, user)
    }

    /// Invites somebody. Whoever signs in with the token and a confirmed address becomes a member.
    pub async fn invite(
        &self,
        ctx: &Ctx,
        email: &str,
        role: Role,
        validity: Option<Duration>,
    ) -> Result<CreatedInvitation, Error> {
        ctx.require(Scope::MembersWrite)?;
        may_give(ctx, role)?;
        let email = check_email(email)?;
        let validity = validity.unwrap_or(DEFAULT_VALIDITY);
        if validity.is_zero() || validity > MAX_VALIDITY {
            return Err(
                Invalid::one("/expires_in_s", "must be between 1 and 2592000, which is 30 days").into()
            );
        }
        let mut random = zeroize::Zeroizing::new([0u8; 32]);
        self.ids.fill(random.as_mut());
        let token: SecretString =
            random.iter().fold("pbi_".to_owned(), |token, byte| format!("{token}{byte:02x}")).into();
        let now = self.clock.now();
        let new = NewInvitation {
            id: InvitationId::new(self.ids.uuid()),
            mac: self.vault.mac(MacPurpose::Invitation, &token),
            email,
            role,
            created_at: now,
            expires_at: now + TimeDelta::from_std(validity).unwrap_or(TimeDelta::zero()),
        };
        self.store.invite(ctx, &new).await?;
        let link = self.public_url.as_ref().map(|public| {
            let base = public.as_str().trim_end_matches('/');
            format!("{base}/auth/login?invitation={}", token.expose_secret()).into()
        });
        let invitation = Invitation {
            id: new.id,
            email: new.email,
            role,
            invited_by: ctx.principal.label().to_owned(),
            created_at: new.created_at,
            expires_at: new.expires_at,
            accepted_at: None,
            revoked_at: None,
        };
        Ok(CreatedInvitation { invitation, token, link })
    }

    /// Newest first, the accepted and revoked ones included.
    pub async fn list_invitations(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Invitation>, Error> {
        ctx.require(Scope::MembersRead)?;
        Ok(self.store.list_invitations(ctx, page).await?)
    }

    /// Takes an invitation back that nobody has accepted.
    pub async fn revoke_invitation(&self, ctx: &Ctx, id: InvitationId) -> Result<(), Error> {
        ctx.require(Scope::MembersWrite)?;
        if self.store.revoke_invitation(ctx, id).await? {
            Ok(())
        } else {
            Err(Error::not_found(format!("an open invitation {id}")))
        }
    }

    /// A member whom the caller may change.
    async fn reachable(&self, ctx: &Ctx, user: UserId) -> Result<Member, Error> {
        ctx.require(Scope::MembersWrite)?;
        let member = self.store.find(ctx, user).await?.ok_or_else(|| unknown(user))?;
        may_give(ctx, member.role)?;
        Ok(member)
    }
}

impl std::fmt::Debug for MemberService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemberService")
    }
}

/// Members are narrowed to nothing, so who is narrowed can make none.
fn may_give(ctx: &Ctx, role: Role) -> Result<(), Error> {
    ctx.require_unnarrowed()?;
    if !ctx.scopes.cover(&role.scopes()) {
        return Err(Error::Exceeds { what: "the role allows more than the caller may" });
    }
    Ok(())
}

fn check(change: MemberChange, user: UserId) -> Result<(), Error> {
    match change {
        MemberChange::Done => Ok(()),
        MemberChange::NotFound => Err(unknown(user)),
        MemberChange::Changed => Err(Error::Conflict {
            what: format!("the role of the member {user} has just been changed"),
            hint: "look at GET /api/v1/members and try again".into(),
        }),
        MemberChange::LastOwner => Err(Error::Conflict {
            what: format!("the member {user} is the tenant's last owner"),
            hint: "make somebody else an owner first".into(),
        }),
    }
}

fn unknown(user: UserId) -> Error {
    Error::not_found(format!("the member {user}"))
}

/// The form alone: whether it is theirs is what the sign-in shows. Lower case, as addresses are compared.
fn check_email(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    let fits = text.len() <= 254
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
        && matches!(text.split_once('@'), Some((user, host))
            if !user.is_empty() && !host.is_empty() && !host.contains('@'));
    if fits {
        Ok(text.to_lowercase())
    } else {
        Err(Invalid::one("/email", "must be an e-mail address of at most 254 characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_in_lower_case_and_others_refused() {
        assert_eq!(check_email(" Ada@Example.com ").unwrap(), "ada@example.com");
        for bad in ["", "ada", "@example.com", "ada@", "a@b@c", "a b@c.d", "a\u{0}@b.c"] {
            assert!(check_email(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(check_email(&format!("{}@example.com", "a".repeat(254))).is_err());
    }
}
