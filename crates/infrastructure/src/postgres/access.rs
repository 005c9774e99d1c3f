//! Tenants and API keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use application::Ctx;
use application::ports::{AccessStore, KeyOwner, KnownKey, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    AuditAction, AuditEntry, Grant, KeyId, RequestId, Role, Scopes, Slug, Tenant, TenantId, TenantStatus,
    UserId,
};
use moka::Expiry;
use moka::future::Cache;
use uuid::Uuid;

use super::audit::AuditChain;
use super::db::{Db, shared_error, store_error, unique_violation};
use super::key_uses::KeyUses;
use super::keys::GrantRow;

/// A revoked key works no longer than this, on any replica; the rest of the promised 5 s is for the look-up.
const KNOWN_FOR: Duration = Duration::from_secs(4);
/// Spares the database a flood of one wrong key.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
const MOST_KEPT: u64 = 20_000;

/// [`AccessStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgAccess {
    pub(super) db: Db,
    pub(super) audit: AuditChain,
    uses: KeyUses,
    keys: Cache<String, Option<KnownKey>>,
}

impl std::fmt::Debug for PgAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgAccess")
    }
}

struct Lifetime;

impl Expiry<String, Option<KnownKey>> for Lifetime {
    fn expire_after_create(&self, _: &String, key: &Option<KnownKey>, _: Instant) -> Option<Duration> {
        Some(if key.is_some() { KNOWN_FOR } else { UNKNOWN_FOR })
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    tenant_slug: String,
    tenant_status: String,
    strict_audit: bool,
    tenant_created_at: DateTime<Utc>,
    key_id: Uuid,
    mac: Vec<u8>,
    name: String,
    kind: String,
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    #[sqlx(flatten)]
    grant: GrantRow,
    user_id: Option<Uuid>,
    user_role: Option<String>,
}

impl TryFrom<Row> for KnownKey {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let role = row.user_role.as_deref().map(str::parse::<Role>).transpose()?;
        let owner = row.user_id.map(|user| KeyOwner { user: UserId::new(user), role });
        Ok(Self {
            tenant: Tenant {
                id: TenantId::new(row.tenant_id),
                slug: row.tenant_slug.parse()?,
                status: TenantStatus::parse(&row.tenant_status).ok_or("unknown tenant status")?,
                strict_audit: row.strict_audit,
                created_at: row.tenant_created_at,
            },
            id: KeyId::new(row.key_id),
            mac: row.mac.as_slice().try_into()?,
            name: row.name,
            kind: row.kind.parse()?,
            scopes: Scopes::parse(row.scopes.iter().map(String::as_str))?,
            grant: Arc::new(Grant::try_from(row.grant)?),
            owner,
            expires_at: row.expires_at,
        })
    }
}

impl PgAccess {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        let keys = Cache::builder().max_capacity(MOST_KEPT).expire_after(Lifetime).build();
        Self { uses: KeyUses::new(db.clone()), db, audit, keys }
    }

    /// Makes the next look-up of this key ask the database: on this replica a change shows at once.
    pub(super) async fn forget(&self, public_id: &str) {
        self.keys.invalidate(public_id).await;
    }

    async fn read_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let row: Option<Row> = sqlx::query_as(
            "select tenant_id, tenant_slug, tenant_status, strict_audit, tenant_created_at, key_id, mac, name, kind,
                    scopes, expires_at, instances, projects_read, projects_write, templates, toolsets, user_id, user_role
             from public.find_api_key($1)",
        )
        .bind(public_id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        row.map(KnownKey::try_from).transpose().map_err(StoreError::Internal)
    }
}

#[async_trait]
impl AccessStore for PgAccess {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), StoreError> {
        // The policy lets a transaction in a tenant's context write that tenant's row, so it needs no function.
        let ctx = Ctx::system(tenant.id, "operator", RequestId::new(tenant.id.as_uuid()));
        let mut tx = self.db.tenant_tx(&ctx).await?;
        let inserted = sqlx::query("insert into tenants (id, slug, created_at) values ($1, $2, $3)")
            .bind(tenant.id.as_uuid())
            .bind(tenant.slug.as_str())
            .bind(tenant.created_at)
            .execute(&mut *tx)
            .await;
        match inserted {
            Err(error) if unique_violation(&error, "tenants_slug_key") => {
                Err(StoreError::Conflict("a tenant of that slug"))
            }
            Err(error) => Err(store_error(error)),
            Ok(_) => {
                let entry = AuditEntry::ok(AuditAction::new("tenant.create"))
                    .to("tenant", tenant.id)
                    .with("slug", tenant.slug.as_str());
                self.audit.record(&mut tx, &ctx, &entry).await?;
                tx.commit().await.map_err(store_error)
            }
        }
    }

    async fn find_tenant(&self, slug: &Slug) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let row: Option<(Uuid, String, String, bool, DateTime<Utc>)> =
            sqlx::query_as("select id, slug, status, strict_audit, created_at from public.find_tenant($1)")
                .bind(slug.as_str())
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?;
        row.map(|(id, slug, status, strict_audit, created_at)| {
            Ok(Tenant {
                id: TenantId::new(id),
                slug: slug.parse()?,
                status: TenantStatus::parse(&status).ok_or("unknown tenant status")?,
                strict_audit,
                created_at,
            })
        })
        .transpose()
        .map_err(StoreError::Internal)
    }

    async fn find_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError> {
        // Of many requests with one key, one asks the database.
        // Boxed, as it is rare and would be copied for each of them.
        let read = async { Box::pin(self.read_key(public_id)).await };
        self.keys.try_get_with(public_id.to_owned(), read).await.map_err(shared_error)
    }

    async fn find_key_of(&self, tenant: TenantId, key: KeyId) -> Result<Option<KnownKey>, StoreError> {
        let ctx = Ctx::system(tenant, "access", RequestId::new(key.as_uuid()));
        let mut tx = self.db.tenant_read(&ctx).await?;
        let public_id: Option<String> =
            sqlx::query_scalar("select public_id from api_keys where tenant_id = $1 and id = $2")
                .bind(tenant.as_uuid())
                .bind(key.as_uuid())
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?;
        drop(tx);
        match public_id {
            // Whether it holds, and what it allows, is told where it always is.
            Some(public_id) => self.find_key(&public_id).await,
            None => Ok(None),
        }
    }

    fn note_use(&self, tenant: TenantId, key: KeyId, at: DateTime<Utc>) {
        self.uses.note(tenant, key, at);
    }
}
