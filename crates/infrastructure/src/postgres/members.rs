//! People, their memberships, and invitations.

mod people;

use std::sync::Arc;

use application::Ctx;
use application::ports::{
    Identity, Invitation, KnownUser, ListPage, Listing, Member, MemberChange, MemberStore, NewInvitation,
    StoreError,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{AuditAction, AuditEntry, InvitationId, Role, Scope, Tenant, UserId};
use sqlx::{PgConnection, QueryBuilder};
use uuid::Uuid;

use super::access::PgAccess;
use super::audit::AuditChain;
use super::db::{Db, store_error};
use super::keys::listing;
use people::People;

const JOINED: AuditAction = AuditAction::new("member.join");
const ROLE_CHANGED: AuditAction = AuditAction::new("member.change_role");
const REMOVED: AuditAction = AuditAction::new("member.remove");
const INVITED: AuditAction = AuditAction::new("invitation.create");
const TAKEN_BACK: AuditAction = AuditAction::new("invitation.revoke");

/// [`MemberStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgMembers {
    db: Db,
    audit: AuditChain,
    access: Arc<PgAccess>,
    people: People,
}

impl PgMembers {
    /// Uses these connections, puts changes on this record, and lets `access` forget the keys of who is removed.
    pub fn new(db: Db, audit: AuditChain, access: Arc<PgAccess>) -> Self {
        Self { people: People::new(db.clone()), db, audit, access }
    }
}

impl std::fmt::Debug for PgMembers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgMembers")
    }
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    user_id: Uuid,
    email: String,
    name: Option<String>,
    role: String,
    invited_by: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<MemberRow> for Member {
    type Error = StoreError;

    fn try_from(row: MemberRow) -> Result<Self, StoreError> {
        Ok(Self {
            user: UserId::new(row.user_id),
            email: row.email,
            name: row.name,
            role: role(&row.role)?,
            invited_by: row.invited_by,
            created_at: row.created_at,
        })
    }
}

#[derive(sqlx::FromRow)]
struct InvitationRow {
    id: Uuid,
    email: String,
    role: String,
    invited_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    accepted_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<InvitationRow> for Invitation {
    type Error = StoreError;

    fn try_from(row: InvitationRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: InvitationId::new(row.id),
            email: row.email,
            role: role(&row.role)?,
            invited_by: row.invited_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            accepted_at: row.accepted_at,
            revoked_at: row.revoked_at,
        })
    }
}

fn role(text: &str) -> Result<Role, StoreError> {
    text.parse().map_err(|error: domain::Invalid| StoreError::Internal(Box::new(error)))
}

/// Locks the member and every owner, in one order, so that of two owners who remove each other one stays: the second
/// sees what the first did. `Ok` with `Done` when the change may go on.
async fn lock(
    connection: &mut PgConnection,
    ctx: &Ctx,
    user: UserId,
    from: Role,
    stays_owner: bool,
) -> Result<MemberChange, StoreError> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "select user_id, role from memberships where tenant_id = $1 and (user_id = $2 or role = 'owner')
         order by user_id for update",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(user.as_uuid())
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    let owner = Role::Owner.as_str();
    let Some((_, now)) = rows.iter().find(|(id, _)| *id == user.as_uuid()) else {
        return Ok(MemberChange::NotFound);
    };
    if now != from.as_str() {
        return Ok(MemberChange::Changed);
    }
    let others = rows.iter().any(|(id, role)| *id != user.as_uuid() && role == owner);
    if now == owner && !stays_owner && !others {
        return Ok(MemberChange::LastOwner);
    }
    Ok(MemberChange::Done)
}

/// Takes back the open invitations that the person, or a key of theirs, made for a role that they could not give now.
/// How many.
async fn withdraw_invitations(
    connection: &mut PgConnection,
    ctx: &Ctx,
    user: UserId,
    now: Option<Role>,
) -> Result<u64, StoreError> {
    let scopes = now.map(Role::scopes);
    let beyond = Role::ALL.into_iter().filter(|role| {
        scopes.as_ref().is_none_or(|own| !own.allow(Scope::MembersWrite) || !own.cover(&role.scopes()))
    });
    let withdrawn = sqlx::query(
        "update invitations set revoked_at = now()
         where tenant_id = $1 and accepted_at is null and revoked_at is null and role = any ($3)
           and (invited_by_id = $2
                or invited_by_id in (select id from api_keys where tenant_id = $1 and user_id = $2))",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(user.as_uuid())
    .bind(beyond.map(Role::as_str).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(withdrawn.rows_affected())
}

#[async_trait]
impl MemberStore for PgMembers {
    async fn sign_in(&self, identity: &Identity) -> Result<UserId, StoreError> {
        self.people.sign_in(identity).await
    }

    async fn memberships(&self, issuer: &str, subject: &str) -> Result<Option<KnownUser>, StoreError> {
        self.people.by_identity(issuer, subject).await
    }

    async fn memberships_of(&self, user: UserId) -> Result<Option<KnownUser>, StoreError> {
        self.people.by_id(user).await
    }

    async fn find_invitation(&self, mac: &[u8; 32]) -> Result<Option<(Tenant, Invitation)>, StoreError> {
        self.people.invitation(mac).await
    }

    async fn accept_invitation(
        &self,
        ctx: &Ctx,
        id: InvitationId,
        user: &KnownUser,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let accepted: Option<(String, String)> = sqlx::query_as(
            "update invitations set accepted_at = now(), accepted_by = $3
             where tenant_id = $1 and id = $2 and accepted_at is null and revoked_at is null and expires_at > now()
             returning role, invited_by",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(user.id.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        let Some((role, invited_by)) = accepted else { return Ok(false) };
        sqlx::query(
            "insert into memberships (tenant_id, user_id, role, email, name, invited_by) values ($1, $2, $3, $4, $5, $6)
             on conflict (tenant_id, user_id) do update set role = excluded.role
             where array_position(array['viewer', 'member', 'admin', 'owner'], memberships.role)
                 < array_position(array['viewer', 'member', 'admin', 'owner'], excluded.role)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(user.id.as_uuid())
        .bind(&role)
        .bind(&user.email)
        .bind(&user.name)
        .bind(&invited_by)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let entry = AuditEntry::ok(JOINED)
            .to("member", user.id)
            .with("role", role)
            .with("invitation", id.to_string());
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.people.forget();
        Ok(true)
    }

    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Member>, StoreError> {
        let mut query = QueryBuilder::new(
            "select user_id, email, name, role, invited_by, created_at from memberships where tenant_id = ",
        );
        query.push_bind(ctx.tenant.as_uuid());
        if let Some(after) = &page.cursor {
            // A person's id is as old as their first sign-in, here or elsewhere: an order that no change moves.
            query.push(" and user_id < ").push_bind(after.id);
        }
        query.push(" order by user_id desc limit ").push_bind(page.limit + 1);
        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<MemberRow> = query.build_query_as().fetch_all(&mut *tx).await.map_err(store_error)?;
        let items = rows.into_iter().map(Member::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(listing(items, page, |member| member.user.as_uuid()))
    }

    async fn find(&self, ctx: &Ctx, user: UserId) -> Result<Option<Member>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<MemberRow> = sqlx::query_as(
            "select user_id, email, name, role, invited_by, created_at from memberships
             where tenant_id = $1 and user_id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(user.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        row.map(Member::try_from).transpose()
    }

    async fn change_role(
        &self,
        ctx: &Ctx,
        user: UserId,
        from: Role,
        to: Role,
    ) -> Result<MemberChange, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let change = lock(&mut tx, ctx, user, from, to == Role::Owner).await?;
        if change != MemberChange::Done {
            return Ok(change);
        }
        sqlx::query("update memberships set role = $3 where tenant_id = $1 and user_id = $2")
            .bind(ctx.tenant.as_uuid())
            .bind(user.as_uuid())
            .bind(to.as_str())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let invitations = withdraw_invitations(&mut tx, ctx, user, Some(to)).await?;
        let entry = AuditEntry::ok(ROLE_CHANGED)
            .to("member", user)
            .with("from", from.as_str())
            .with("to", to.as_str())
            .with("invitations", invitations);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.people.forget();
        Ok(MemberChange::Done)
    }

    async fn remove(&self, ctx: &Ctx, user: UserId, from: Role) -> Result<MemberChange, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let change = lock(&mut tx, ctx, user, from, false).await?;
        if change != MemberChange::Done {
            return Ok(change);
        }
        let (tenant, person) = (ctx.tenant.as_uuid(), user.as_uuid());
        sqlx::query("delete from memberships where tenant_id = $1 and user_id = $2")
            .bind(tenant)
            .bind(person)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let keys: Vec<String> = sqlx::query_scalar(
            "update api_keys set revoked_at = now(), revoked_by = $3
             where tenant_id = $1 and user_id = $2 and revoked_at is null returning public_id",
        )
        .bind(tenant)
        .bind(person)
        .bind(ctx.principal.label())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        let sessions = sqlx::query(
            "update sessions set revoked_at = now() where tenant_id = $1 and user_id = $2 and revoked_at is null",
        )
        .bind(tenant)
        .bind(person)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?
        .rows_affected();
        let invitations = withdraw_invitations(&mut tx, ctx, user, None).await?;
        let entry = AuditEntry::ok(REMOVED)
            .to("member", user)
            .with("role", from.as_str())
            .with("keys", keys.len())
            .with("sessions", sessions)
            .with("invitations", invitations);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.people.forget();
        for key in &keys {
            self.access.forget(key).await;
        }
        Ok(MemberChange::Done)
    }

    async fn invite(&self, ctx: &Ctx, invitation: &NewInvitation) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query(
            "insert into invitations (tenant_id, id, email, role, mac, invited_by, invited_by_id, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(invitation.id.as_uuid())
        .bind(&invitation.email)
        .bind(invitation.role.as_str())
        .bind(invitation.mac.as_slice())
        .bind(ctx.principal.label())
        .bind(ctx.principal.id())
        .bind(invitation.created_at)
        .bind(invitation.expires_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let entry =
            AuditEntry::ok(INVITED).to("invitation", invitation.id).with("role", invitation.role.as_str());
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn list_invitations(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Invitation>, StoreError> {
        let mut query = QueryBuilder::new(
            "select id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at from invitations
             where tenant_id = ",
        );
        query.push_bind(ctx.tenant.as_uuid());
        if let Some(after) = &page.cursor {
            query.push(" and id < ").push_bind(after.id);
        }
        query.push(" order by id desc limit ").push_bind(page.limit + 1);
        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<InvitationRow> =
            query.build_query_as().fetch_all(&mut *tx).await.map_err(store_error)?;
        let items = rows.into_iter().map(Invitation::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(listing(items, page, |invitation| invitation.id.as_uuid()))
    }

    async fn revoke_invitation(&self, ctx: &Ctx, id: InvitationId) -> Result<bool, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let revoked = sqlx::query(
            "update invitations set revoked_at = now()
             where tenant_id = $1 and id = $2 and accepted_at is null and revoked_at is null",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id.as_uuid())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if revoked.rows_affected() == 0 {
            return Ok(false);
        }
        self.audit.record(&mut tx, ctx, &AuditEntry::ok(TAKEN_BACK).to("invitation", id)).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(true)
    }
}
