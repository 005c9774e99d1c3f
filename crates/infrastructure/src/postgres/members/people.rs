//! People across tenants, through the functions that may look there; kept for a moment.

use std::time::Duration;

use application::ports::{Identity, Invitation, KnownUser, Membership, StoreError};
use chrono::{DateTime, Utc};
use domain::{InvitationId, Tenant, TenantId, TenantStatus, UserId};
use moka::future::Cache;
use uuid::Uuid;

use super::role;
use crate::postgres::db::{Db, shared_error, store_error};

/// A membership that ended is known no longer than this, on any replica.
const KNOWN_FOR: Duration = Duration::from_secs(4);
const MOST_KEPT: u64 = 20_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Identity(String, String),
    Id(UserId),
}

#[derive(Clone)]
pub(super) struct People {
    db: Db,
    known: Cache<Who, Option<KnownUser>>,
}

#[derive(sqlx::FromRow)]
struct PersonRow {
    user_id: Uuid,
    email: String,
    name: Option<String>,
    role: Option<String>,
    tenant_id: Option<Uuid>,
    tenant_slug: Option<String>,
    tenant_status: Option<String>,
    strict_audit: Option<bool>,
    tenant_created_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct InvitationRow {
    tenant_id: Uuid,
    tenant_slug: String,
    tenant_status: String,
    strict_audit: bool,
    tenant_created_at: DateTime<Utc>,
    id: Uuid,
    email: String,
    role: String,
    invited_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    accepted_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

fn tenant(
    id: Uuid,
    slug: &str,
    status: &str,
    strict_audit: bool,
    created_at: DateTime<Utc>,
) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: TenantId::new(id),
        slug: slug.parse().map_err(|error: domain::Invalid| StoreError::Internal(Box::new(error)))?,
        status: TenantStatus::parse(status)
            .ok_or_else(|| StoreError::Internal("unknown tenant status".into()))?,
        strict_audit,
        created_at,
    })
}

/// One person of the rows of their memberships.
fn person(rows: Vec<PersonRow>) -> Result<Option<KnownUser>, StoreError> {
    let mut known: Option<KnownUser> = None;
    for row in rows {
        let person = known.get_or_insert_with(|| KnownUser {
            id: UserId::new(row.user_id),
            email: row.email,
            name: row.name,
            memberships: Vec::new(),
        });
        if let (Some(id), Some(slug), Some(status), Some(strict), Some(created_at), Some(text)) = (
            row.tenant_id,
            row.tenant_slug,
            row.tenant_status,
            row.strict_audit,
            row.tenant_created_at,
            row.role,
        ) {
            let tenant = tenant(id, &slug, &status, strict, created_at)?;
            person.memberships.push(Membership { tenant, role: role(&text)? });
        }
    }
    Ok(known)
}

impl People {
    pub(super) fn new(db: Db) -> Self {
        Self { db, known: Cache::builder().max_capacity(MOST_KEPT).time_to_live(KNOWN_FOR).build() }
    }

    /// Changes show at once on this replica.
    pub(super) fn forget(&self) {
        self.known.invalidate_all();
    }

    pub(super) async fn sign_in(&self, identity: &Identity) -> Result<UserId, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let user: Uuid = sqlx::query_scalar("select public.sign_in_user($1, $2, $3, $4, $5)")
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(&identity.email)
            .bind(&identity.name)
            .bind(Uuid::now_v7())
            .fetch_one(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        self.forget();
        Ok(UserId::new(user))
    }

    pub(super) async fn by_identity(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<KnownUser>, StoreError> {
        let who = Who::Identity(issuer.to_owned(), subject.to_owned());
        let read = async {
            let mut tx = self.db.system_tx().await?;
            let rows = sqlx::query_as("select * from public.find_user($1, $2)")
                .bind(issuer)
                .bind(subject)
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
            person(rows)
        };
        self.known.try_get_with(who, read).await.map_err(shared_error)
    }

    pub(super) async fn by_id(&self, user: UserId) -> Result<Option<KnownUser>, StoreError> {
        let read = async {
            let mut tx = self.db.system_tx().await?;
            let rows = sqlx::query_as("select * from public.find_user_by_id($1)")
                .bind(user.as_uuid())
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
            person(rows)
        };
        self.known.try_get_with(Who::Id(user), read).await.map_err(shared_error)
    }

    pub(super) async fn invitation(
        &self,
        mac: &[u8; 32],
    ) -> Result<Option<(Tenant, Invitation)>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let row: Option<InvitationRow> = sqlx::query_as("select * from public.find_invitation($1)")
            .bind(mac.as_slice())
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        let tenant = tenant(
            row.tenant_id,
            &row.tenant_slug,
            &row.tenant_status,
            row.strict_audit,
            row.tenant_created_at,
        )?;
        let invitation = Invitation {
            id: InvitationId::new(row.id),
            email: row.email,
            role: role(&row.role)?,
            invited_by: row.invited_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            accepted_at: row.accepted_at,
            revoked_at: row.revoked_at,
        };
        Ok(Some((tenant, invitation)))
    }
}
