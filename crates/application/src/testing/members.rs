//! People, their memberships, and invitations.

use async_trait::async_trait;
use domain::{InvitationId, Role, Scope, Tenant, TenantId, TenantStatus, UserId};

use super::instances::page_of;
use super::{Memory, State, moment};
use crate::Ctx;
use crate::ports::{
    Identity, Ids, Invitation, KnownUser, ListCursor, ListPage, Listing, Member, MemberChange, MemberStore,
    Membership, NewInvitation, StoreError,
};

#[derive(Debug)]
pub(super) struct StoredInvitation {
    tenant: TenantId,
    mac: [u8; 32],
    made_by: Option<uuid::Uuid>,
    invitation: Invitation,
}

fn known(state: &State, id: UserId) -> Option<KnownUser> {
    let (_, identity) = state.users.iter().find(|(user, _)| *user == id)?;
    let of = |tenant: TenantId| state.tenants.iter().find(|row| row.id == tenant);
    let mut memberships: Vec<Membership> = state
        .members
        .iter()
        .filter(|(_, member)| member.user == id)
        .filter_map(|(tenant, member)| Some(Membership { tenant: of(*tenant)?.clone(), role: member.role }))
        .filter(|membership| membership.tenant.status == TenantStatus::Active)
        .collect();
    memberships.sort_by(|a, b| a.tenant.slug.cmp(&b.tenant.slug));
    Some(KnownUser { id, email: identity.email.clone(), name: identity.name.clone(), memberships })
}

impl Memory {
    /// Signs a person in and makes them a member of a tenant.
    pub fn member(&self, tenant: TenantId, name: &str, role: Role) -> UserId {
        let user = UserId::new(self.uuid());
        let identity = Identity {
            issuer: "https://idp.example".into(),
            subject: name.to_owned(),
            email: format!("{name}@example.com"),
            email_verified: true,
            name: Some(name.to_owned()),
        };
        let member = member_of(user, identity.email.clone(), identity.name.clone(), role, None);
        let mut state = self.state();
        state.users.push((user, identity));
        state.members.push((tenant, member));
        user
    }

    /// Changes a membership if its role is still `from` and the tenant keeps an owner.
    fn change_member(&self, ctx: &Ctx, user: UserId, from: Role, to: Option<Role>) -> MemberChange {
        let mut state = self.state();
        let mine = |(tenant, member): &(TenantId, Member)| *tenant == ctx.tenant && member.user == user;
        let Some(place) = state.members.iter().position(mine) else { return MemberChange::NotFound };
        if state.members[place].1.role != from {
            return MemberChange::Changed;
        }
        let owner =
            |(tenant, member): &&(TenantId, Member)| *tenant == ctx.tenant && member.role == Role::Owner;
        if from == Role::Owner && to != Some(Role::Owner) && state.members.iter().filter(owner).count() == 1 {
            return MemberChange::LastOwner;
        }
        let own = to.map(Role::scopes);
        let keys: Vec<_> = state
            .keys
            .iter()
            .filter(|row| row.key.user == Some(user))
            .map(|row| row.key.id.as_uuid())
            .collect();
        for row in state.invitations.iter_mut().filter(|row| row.tenant == ctx.tenant) {
            let theirs = row.made_by.is_some_and(|id| id == user.as_uuid() || keys.contains(&id));
            let may = own.as_ref().is_some_and(|own| {
                own.allow(Scope::MembersWrite) && own.cover(&row.invitation.role.scopes())
            });
            if theirs && !may && row.invitation.accepted_at.is_none() {
                row.invitation.revoked_at.get_or_insert(moment());
            }
        }
        match to {
            Some(role) => state.members[place].1.role = role,
            None => {
                state.members.remove(place);
                for row in &mut state.keys {
                    if row.tenant == ctx.tenant && row.key.user == Some(user) {
                        row.key.revoked_at.get_or_insert(moment());
                    }
                }
            }
        }
        MemberChange::Done
    }
}

fn member_of(
    user: UserId,
    email: String,
    name: Option<String>,
    role: Role,
    invited_by: Option<String>,
) -> Member {
    Member { user, email, name, role, invited_by, created_at: moment() }
}

#[async_trait]
impl MemberStore for Memory {
    async fn sign_in(&self, identity: &Identity) -> Result<UserId, StoreError> {
        self.reach("members.sign_in").await?;
        let new = UserId::new(self.uuid());
        let mut state = self.state();
        let same = |(_, known): &&mut (UserId, Identity)| {
            (&known.issuer, &known.subject) == (&identity.issuer, &identity.subject)
        };
        if let Some((id, known)) = state.users.iter_mut().find(same) {
            *known = identity.clone();
            return Ok(*id);
        }
        state.users.push((new, identity.clone()));
        Ok(new)
    }

    async fn memberships(&self, issuer: &str, subject: &str) -> Result<Option<KnownUser>, StoreError> {
        self.reach("members.memberships").await?;
        let state = self.state();
        let found = state.users.iter().find(|(_, known)| known.issuer == issuer && known.subject == subject);
        Ok(found.and_then(|(id, _)| known(&state, *id)))
    }

    async fn memberships_of(&self, user: UserId) -> Result<Option<KnownUser>, StoreError> {
        self.reach("members.memberships").await?;
        Ok(known(&self.state(), user))
    }

    async fn find_invitation(&self, mac: &[u8; 32]) -> Result<Option<(Tenant, Invitation)>, StoreError> {
        self.reach("invitations.find").await?;
        let state = self.state();
        Ok(state.invitations.iter().find(|row| row.mac == *mac).and_then(|row| {
            let tenant = state.tenants.iter().find(|tenant| tenant.id == row.tenant)?;
            Some((tenant.clone(), row.invitation.clone())).filter(|_| tenant.status == TenantStatus::Active)
        }))
    }

    async fn accept_invitation(
        &self,
        ctx: &Ctx,
        id: InvitationId,
        user: &KnownUser,
    ) -> Result<bool, StoreError> {
        self.reach("invitations.accept").await?;
        let mut state = self.state();
        let open = |row: &&mut StoredInvitation| {
            let Invitation { accepted_at, revoked_at, expires_at, .. } = &row.invitation;
            accepted_at.is_none() && revoked_at.is_none() && *expires_at > moment()
        };
        let mine = |row: &&mut StoredInvitation| row.tenant == ctx.tenant && row.invitation.id == id;
        let Some(row) = state.invitations.iter_mut().filter(open).find(mine) else { return Ok(false) };
        row.invitation.accepted_at = Some(moment());
        let (role, invited_by) = (row.invitation.role, row.invitation.invited_by.clone());
        let known = state.members.iter_mut().find(|(of, member)| *of == ctx.tenant && member.user == user.id);
        match known {
            Some((_, member)) => member.role = member.role.max(role),
            None => {
                let member =
                    member_of(user.id, user.email.clone(), user.name.clone(), role, Some(invited_by));
                state.members.push((ctx.tenant, member));
            }
        }
        Ok(true)
    }

    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Member>, StoreError> {
        self.reach("members.list").await?;
        let state = self.state();
        let mine = state.members.iter().rev().filter(|(tenant, _)| *tenant == ctx.tenant);
        let rows = mine.map(|(_, member)| member.clone()).collect();
        Ok(page_of(rows, page, |member: &Member| ListCursor {
            after: member.created_at.to_rfc3339(),
            id: member.user.as_uuid(),
        }))
    }

    async fn find(&self, ctx: &Ctx, user: UserId) -> Result<Option<Member>, StoreError> {
        self.reach("members.find").await?;
        let state = self.state();
        let found = state.members.iter().find(|(of, member)| *of == ctx.tenant && member.user == user);
        Ok(found.map(|(_, member)| member.clone()))
    }

    async fn change_role(
        &self,
        ctx: &Ctx,
        user: UserId,
        from: Role,
        to: Role,
    ) -> Result<MemberChange, StoreError> {
        self.reach("members.change_role").await?;
        Ok(self.change_member(ctx, user, from, Some(to)))
    }

    async fn remove(&self, ctx: &Ctx, user: UserId, from: Role) -> Result<MemberChange, StoreError> {
        self.reach("members.remove").await?;
        Ok(self.change_member(ctx, user, from, None))
    }

    async fn invite(&self, ctx: &Ctx, new: &NewInvitation) -> Result<(), StoreError> {
        self.reach("invitations.insert").await?;
        let invitation = Invitation {
            id: new.id,
            email: new.email.clone(),
            role: new.role,
            invited_by: ctx.principal.label().to_owned(),
            created_at: new.created_at,
            expires_at: new.expires_at,
            accepted_at: None,
            revoked_at: None,
        };
        self.state().invitations.push(StoredInvitation {
            tenant: ctx.tenant,
            mac: new.mac,
            made_by: ctx.principal.id(),
            invitation,
        });
        Ok(())
    }

    async fn list_invitations(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Invitation>, StoreError> {
        self.reach("invitations.list").await?;
        let state = self.state();
        let mine = state.invitations.iter().rev().filter(|row| row.tenant == ctx.tenant);
        let rows = mine.map(|row| row.invitation.clone()).collect();
        Ok(page_of(rows, page, |invitation: &Invitation| ListCursor {
            after: invitation.created_at.to_rfc3339(),
            id: invitation.id.as_uuid(),
        }))
    }

    async fn revoke_invitation(&self, ctx: &Ctx, id: InvitationId) -> Result<bool, StoreError> {
        self.reach("invitations.revoke").await?;
        let mut state = self.state();
        let mine = |row: &&mut StoredInvitation| row.tenant == ctx.tenant && row.invitation.id == id;
        let Some(row) = state.invitations.iter_mut().find(mine) else { return Ok(false) };
        if row.invitation.accepted_at.is_some() || row.invitation.revoked_at.is_some() {
            return Ok(false);
        }
        row.invitation.revoked_at = Some(moment());
        Ok(true)
    }
}
