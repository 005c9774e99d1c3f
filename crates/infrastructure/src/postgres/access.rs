//! Tenants and API keys.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use application::Ctx;
use application::ports::{AccessStore, KnownKey, NewKey, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Allowed, Grant, InstanceId, KeyId, ProjectKey, RequestId, Scopes, Slug, Tenant, TenantId, TenantStatus,
};
use moka::Expiry;
use moka::future::Cache;
use sqlx::PgConnection;
use uuid::Uuid;

use super::db::{Db, store_error, unique_violation};

/// A revoked key works no longer than this, on any replica; the rest of the promised 5 s is for the look-up.
const KNOWN_FOR: Duration = Duration::from_secs(4);
/// Spares the database a flood of one wrong key.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
const MOST_KEPT: u64 = 20_000;

/// [`AccessStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgAccess {
    db: Db,
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
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    instances: Option<Vec<Uuid>>,
    projects_read: Option<Vec<String>>,
    projects_write: Option<Vec<String>>,
    templates: Option<Vec<String>>,
    toolsets: Option<Vec<String>>,
}

impl TryFrom<Row> for KnownKey {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
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
            scopes: Scopes::parse(row.scopes.iter().map(String::as_str))?,
            grant: Arc::new(Grant {
                instances: Allowed::from_list(
                    row.instances.map(|ids| ids.into_iter().map(InstanceId::new).collect::<Vec<_>>()),
                ),
                projects_read: Allowed::from_list(parsed(row.projects_read)?),
                projects_write: Allowed::from_list(parsed(row.projects_write)?),
                templates: Allowed::from_list(row.templates),
                toolsets: Allowed::from_list(parsed(row.toolsets)?),
            }),
            expires_at: row.expires_at,
        })
    }
}

fn parsed<T: FromStr>(list: Option<Vec<String>>) -> Result<Option<Vec<T>>, T::Err> {
    list.map(|list| list.iter().map(|text| text.parse()).collect()).transpose()
}

impl PgAccess {
    /// Uses these connections.
    pub fn new(db: Db) -> Self {
        Self { db, keys: Cache::builder().max_capacity(MOST_KEPT).expire_after(Lifetime).build() }
    }

    async fn read_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let row: Option<Row> = sqlx::query_as(
            "select tenant_id, tenant_slug, tenant_status, strict_audit, tenant_created_at, key_id, mac, name, scopes,
                    expires_at, instances, projects_read, projects_write, templates, toolsets
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
            Ok(_) => tx.commit().await.map_err(store_error),
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

    async fn insert_key(&self, ctx: &Ctx, key: &NewKey) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        insert_key(&mut tx, ctx, key).await?;
        tx.commit().await.map_err(store_error)?;
        self.keys.invalidate(&key.public_id).await;
        Ok(())
    }

    async fn find_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError> {
        // Of many requests with one key, one asks the database.
        self.keys.try_get_with(public_id.to_owned(), self.read_key(public_id)).await.map_err(|error| {
            let unavailable = matches!(*error, StoreError::Unavailable(_));
            let shared: Box<dyn std::error::Error + Send + Sync> = Box::<Arc<StoreError>>::new(error);
            if unavailable { StoreError::Unavailable(shared) } else { StoreError::Internal(shared) }
        })
    }
}

async fn insert_key(connection: &mut PgConnection, ctx: &Ctx, key: &NewKey) -> Result<(), StoreError> {
    sqlx::query(
        "insert into api_keys (tenant_id, id, public_id, mac, name, kind, scopes, expires_at, instances,
             projects_read, projects_write, templates, toolsets, created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.id.as_uuid())
    .bind(&key.public_id)
    .bind(key.mac.as_slice())
    .bind(&key.name)
    .bind(key.kind.as_str())
    .bind(key.scopes.names())
    .bind(key.expires_at)
    .bind(key.grant.instances.as_list().map(|list| list.iter().map(|id| id.as_uuid()).collect::<Vec<_>>()))
    .bind(key.grant.projects_read.as_list().map(project_keys))
    .bind(key.grant.projects_write.as_list().map(project_keys))
    .bind(key.grant.templates.as_list().map(|list| list.iter().cloned().collect::<Vec<_>>()))
    .bind(key.grant.toolsets.as_list().map(|list| list.iter().map(|set| set.as_str()).collect::<Vec<_>>()))
    .bind(ctx.principal.label())
    .execute(connection)
    .await
    .map(drop)
    .map_err(store_error)
}

fn project_keys(list: &BTreeSet<ProjectKey>) -> Vec<&str> {
    list.iter().map(ProjectKey::as_str).collect()
}
