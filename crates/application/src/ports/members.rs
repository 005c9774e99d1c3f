use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{InvitationId, Role, Tenant, TenantId, UserId};

use super::{ListPage, Listing, StoreError};
use crate::Ctx;

/// A person as an authorization server told of them, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The authorization server.
    pub issuer: String,
    /// Who they are there; never used for anybody else.
    pub subject: String,
    /// Their e-mail address.
    pub email: String,
    /// Whether the authorization server vouches for the address.
    pub email_verified: bool,
    /// Their name.
    pub name: Option<String>,
}

/// A person who signed in before, with where they may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// Their id.
    pub id: UserId,
    /// Their e-mail address as of the last sign-in.
    pub email: String,
    /// Their name as of the last sign-in.
    pub name: Option<String>,
    /// Their memberships in tenants that are served, by the tenants' short names.
    pub memberships: Vec<Membership>,
}

impl KnownUser {
    /// What to call them: the name, or the e-mail address when there is none.
    pub fn label(&self) -> &str {
        self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.email)
    }

    /// Their membership in this tenant.
    pub fn member_of(&self, tenant: TenantId) -> Option<&Membership> {
        self.memberships.iter().find(|membership| membership.tenant.id == tenant)
    }
}

/// A person's place in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The tenant.
    pub tenant: Tenant,
    /// What they may do there.
    pub role: Role,
}

/// A member as a tenant's list shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The person.
    pub user: UserId,
    /// Their e-mail address as of the last sign-in.
    pub email: String,
    /// Their name as of the last sign-in.
    pub name: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Who invited them.
    pub invited_by: Option<String>,
    /// Since when they are a member.
    pub created_at: DateTime<Utc>,
}

/// An invitation to be stored: the keyed hash of its token, never the token.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// Its id.
    pub id: InvitationId,
    /// HMAC-SHA-256 of the token.
    pub mac: [u8; 32],
    /// Whom it is for.
    pub email: String,
    /// What they will be.
    pub role: Role,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A stored invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// Whom it is for.
    pub email: String,
    /// What they will be.
    pub role: Role,
    /// Who invited them.
    pub invited_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What came of changing or removing a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// Done.
    Done,
    /// Nobody of that id is a member of this tenant.
    NotFound,
    /// The member's role is no longer the one that the decision was made on.
    Changed,
    /// The tenant would be left without an owner.
    LastOwner,
}

/// People, their memberships, and invitations.
#[async_trait]
pub trait MemberStore: Send + Sync {
    /// Stores who signed in, or what changed about them since the last time, and returns their id. Makes nobody a
    /// member of anything.
    async fn sign_in(&self, identity: &Identity) -> Result<UserId, StoreError>;

    /// Who this is and where they may go. `None` when they never signed in or are disabled. At most 4 s old.
    async fn memberships(&self, issuer: &str, subject: &str) -> Result<Option<KnownUser>, StoreError>;

    /// The same by the id, for what is kept of a signed-in person. At most 4 s old.
    async fn memberships_of(&self, user: UserId) -> Result<Option<KnownUser>, StoreError>;

    /// Looks an invitation up by the hash of its token, in any tenant that is served. Also finds those that are
    /// accepted, revoked or over.
    async fn find_invitation(&self, mac: &[u8; 32]) -> Result<Option<(Tenant, Invitation)>, StoreError>;

    /// Makes the person a member, once. `false`, and nothing done, when the invitation is accepted, revoked or over, or
    /// not this tenant's. Who is a member already keeps the greater role of the two.
    async fn accept_invitation(
        &self,
        ctx: &Ctx,
        id: InvitationId,
        user: &KnownUser,
    ) -> Result<bool, StoreError>;

    /// Members, newest first.
    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Member>, StoreError>;

    /// `None` when nobody of that id is a member of this tenant.
    async fn find(&self, ctx: &Ctx, user: UserId) -> Result<Option<Member>, StoreError>;

    /// Gives a member another role, if it is still `from`. Open invitations of theirs that they could not make in the
    /// new role are taken back.
    async fn change_role(
        &self,
        ctx: &Ctx,
        user: UserId,
        from: Role,
        to: Role,
    ) -> Result<MemberChange, StoreError>;

    /// Ends a membership, if the role is still `from`, and with it the person's keys, sessions and open
    /// invitations in this tenant.
    async fn remove(&self, ctx: &Ctx, user: UserId, from: Role) -> Result<MemberChange, StoreError>;

    /// Stores an invitation.
    async fn invite(&self, ctx: &Ctx, invitation: &NewInvitation) -> Result<(), StoreError>;

    /// Invitations, newest first, the accepted and revoked ones included.
    async fn list_invitations(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Invitation>, StoreError>;

    /// Revokes an invitation that is neither accepted nor revoked. `false` when there is none of that id in this tenant.
    async fn revoke_invitation(&self, ctx: &Ctx, id: InvitationId) -> Result<bool, StoreError>;
}
