//! Configured connections of a tenant.

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{
    CredentialRenewer, InstanceStore, ListCursor, ListPage, Listing, Sealed, StoreError, StoredCredential,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{AuditAction, AuditEntry, Instance, InstanceId, InstanceStatus, SourceKind, TenantId};
use moka::future::Cache;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::audit::AuditChain;
use super::credentials;
use super::db::{Db, Tx, narrowing, shared_error, store_error, unique_violation};

/// [`InstanceStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgInstances {
    db: Db,
    audit: AuditChain,
    /// By tenant, and by what of its instances the caller is narrowed to.
    recent: Cache<(TenantId, Option<String>), Arc<[Instance]>>,
}

impl std::fmt::Debug for PgInstances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgInstances")
    }
}

impl PgInstances {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        let recent = Cache::builder().max_capacity(MOST_KEPT).time_to_live(RECENT).build();
        Self { db, audit, recent }
    }

    async fn read_recent(&self, ctx: &Ctx) -> Result<Arc<[Instance]>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "select id, slug, source, name, base_url, settings, status, created_at, updated_at
             from source_instances where tenant_id = $1 order by slug limit $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(MOST_RECENT)
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        rows.into_iter().map(Instance::try_from).collect()
    }

    /// A transaction in which nobody else works at the instance, nor at a run of it.
    ///
    /// A run that is started between the two locks is not among the locked ones, and its worker would wait for the
    /// instance while its deletion waits for the run: then all are let go and locked anew.
    async fn lock_whole(&self, ctx: &Ctx, id: InstanceId) -> Result<Tx, StoreError> {
        for _ in 0..DELETION_TRIES {
            let mut tx = self.db.tenant_tx(ctx).await?;
            let locked = execute(&mut tx, ctx, id, LOCK_RUNS).await?;
            execute(&mut tx, ctx, id, LOCK_CREDENTIAL).await?;
            // Nobody who writes what belongs to the instance is in the middle of it, and no run is started from here on.
            execute(&mut tx, ctx, id, LOCK_INSTANCE).await?;
            if execute(&mut tx, ctx, id, RUNS).await? == locked {
                return Ok(tx);
            }
        }
        Err(StoreError::Unavailable(format!("runs of instance {id} are started all the time").into()))
    }
}

const CREATED: AuditAction = AuditAction::new("instance.create");
const UPDATED: AuditAction = AuditAction::new("instance.update");
const DELETED: AuditAction = AuditAction::new("instance.delete");
/// A credential was handed out to be opened.
pub(super) const CREDENTIAL_USED: AuditAction = AuditAction::new("credential.use");

/// Locks are taken in this order everywhere: runs, credential, instance.
const LOCK_RUNS: &str =
    "select from sync_runs where tenant_id = $1 and instance_id = $2 order by id for update";
const RUNS: &str = "select from sync_runs where tenant_id = $1 and instance_id = $2";
const LOCK_CREDENTIAL: &str = "select from credentials where tenant_id = $1 and instance_id = $2 for update";
const LOCK_INSTANCE: &str = "select from source_instances where tenant_id = $1 and id = $2 for update";
/// How often a deletion begins anew because a run was started meanwhile; an instance has one unfinished run at a time.
const DELETION_TRIES: u32 = 8;

/// A change by another process shows after this, at the latest.
const RECENT: Duration = Duration::from_secs(1);
const MOST_RECENT: i64 = 1_000;
/// Lists of callers; some kilobytes each, as a rule.
const MOST_KEPT: u64 = 10_000;

const COLUMNS: &str = "id, slug, source, name, base_url, settings, status, created_at, updated_at";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    slug: String,
    source: String,
    name: String,
    base_url: String,
    settings: serde_json::Value,
    status: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Instance {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unknown =
            |what: &str| StoreError::Internal(format!("instance {} has an unknown {what}", row.id).into());
        Ok(Self {
            id: InstanceId::new(row.id),
            slug: row.slug.parse().map_err(|_| unknown("slug"))?,
            source: SourceKind::new(row.source),
            name: row.name,
            base_url: row.base_url.parse().map_err(|_| unknown("base URL"))?,
            settings: row.settings,
            status: InstanceStatus::parse(&row.status).ok_or_else(|| unknown("status"))?,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Reads an instance inside a transaction. `None` when it does not exist for this tenant.
pub(super) async fn find_in(tx: &mut Tx, ctx: &Ctx, id: InstanceId) -> Result<Option<Instance>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "select id, slug, source, name, base_url, settings, status, created_at, updated_at
         from source_instances where tenant_id = $1 and id = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(id.as_uuid())
    .fetch_optional(&mut **tx)
    .await
    .map_err(store_error)?;
    row.map(Instance::try_from).transpose()
}

/// Runs a statement about an instance; the number of its rows.
async fn execute(tx: &mut Tx, ctx: &Ctx, id: InstanceId, statement: &'static str) -> Result<u64, StoreError> {
    let done = sqlx::query(statement)
        .bind(ctx.tenant.as_uuid())
        .bind(id.as_uuid())
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    Ok(done.rows_affected())
}

#[async_trait]
impl InstanceStore for PgInstances {
    async fn insert(&self, ctx: &Ctx, instance: &Instance, credential: &Sealed) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let inserted = sqlx::query(
            "insert into source_instances
                 (tenant_id, id, slug, source, name, base_url, settings, status, created_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.id.as_uuid())
        .bind(instance.slug.as_str())
        .bind(instance.source.as_str())
        .bind(&instance.name)
        .bind(instance.base_url.as_str())
        .bind(&instance.settings)
        .bind(instance.status.as_str())
        .bind(instance.created_at)
        .bind(instance.updated_at)
        .execute(&mut *tx)
        .await;
        match inserted {
            Err(error) if unique_violation(&error, "source_instances_tenant_id_slug_key") => {
                return Err(StoreError::Conflict("an instance of that name"));
            }
            other => other.map_err(store_error)?,
        };
        credentials::write_in(&mut tx, ctx, instance.id, credential).await?;
        let entry = AuditEntry::ok(CREATED)
            .to("instance", instance.id)
            .with("source", instance.source.as_str())
            .with("slug", instance.slug.as_str());
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.recent.invalidate_all();
        Ok(())
    }

    async fn find(&self, ctx: &Ctx, id: InstanceId) -> Result<Option<Instance>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        find_in(&mut tx, ctx, id).await
    }

    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Instance>, StoreError> {
        let mut query = QueryBuilder::new("select ");
        query.push(COLUMNS).push(" from source_instances where tenant_id = ").push_bind(ctx.tenant.as_uuid());
        if let Some(after) = &page.cursor {
            // Ids are UUIDv7: their order is the order of creation.
            query.push(" and id < ").push_bind(after.id);
        }
        query.push(" order by id desc limit ").push_bind(page.limit + 1);
        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await.map_err(store_error)?;
        let mut items = rows.into_iter().map(Instance::try_from).collect::<Result<Vec<_>, _>>()?;
        let limit = usize::try_from(page.limit).unwrap_or(0);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| ListCursor { after: String::new(), id: last.id.as_uuid() });
        Ok(Listing { items, next })
    }

    async fn recent(&self, ctx: &Ctx) -> Result<Arc<[Instance]>, StoreError> {
        // Outside a unit of work: what is kept must be what is stored.
        let ctx = ctx.detached();
        let (instances, _) = narrowing(&ctx);
        let read = async { Box::pin(self.read_recent(&ctx)).await };
        let found = self.recent.try_get_with((ctx.tenant, instances), read).await;
        found.map_err(shared_error)
    }

    async fn update(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        credential: Option<&Sealed>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        if credential.is_some() {
            // Before the instance, as a renewal that is refused does.
            execute(&mut tx, ctx, instance.id, LOCK_CREDENTIAL).await?;
        }
        let updated = sqlx::query(
            "update source_instances set name = $3, base_url = $4, settings = $5, status = $6, updated_at = $7
             where tenant_id = $1 and id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.id.as_uuid())
        .bind(&instance.name)
        .bind(instance.base_url.as_str())
        .bind(&instance.settings)
        .bind(instance.status.as_str())
        .bind(instance.updated_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if updated.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(sealed) = credential {
            credentials::write_in(&mut tx, ctx, instance.id, sealed).await?;
        }
        let entry = AuditEntry::ok(UPDATED)
            .to("instance", instance.id)
            .with("status", instance.status.as_str())
            .with("credential_changed", credential.is_some());
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.recent.invalidate_all();
        Ok(true)
    }

    async fn delete(&self, ctx: &Ctx, id: InstanceId) -> Result<bool, StoreError> {
        let mut tx = self.lock_whole(ctx, id).await?;
        for without_foreign_key in [
            "delete from raw_objects where tenant_id = $1 and instance_id = $2",
            "delete from work_item_labels l using work_items w
             where l.tenant_id = $1 and w.tenant_id = $1 and w.instance_id = $2 and l.work_item_id = w.id",
            "delete from work_item_homes h using work_items w
             where h.tenant_id = $1 and w.tenant_id = $1 and w.instance_id = $2 and h.work_item_id = w.id",
        ] {
            execute(&mut tx, ctx, id, without_foreign_key).await?;
        }
        // Everything else synced through it goes with it by foreign key.
        let deleted =
            execute(&mut tx, ctx, id, "delete from source_instances where tenant_id = $1 and id = $2")
                .await?;
        if deleted == 0 {
            return Ok(false);
        }
        self.audit.record(&mut tx, ctx, &AuditEntry::ok(DELETED).to("instance", id)).await?;
        tx.commit().await.map_err(store_error)?;
        self.recent.invalidate_all();
        Ok(true)
    }

    async fn credential(&self, ctx: &Ctx, id: InstanceId) -> Result<Option<StoredCredential>, StoreError> {
        // Apart: a call to the tracker follows, and what was used stays used.
        let mut tx = self.db.apart_tx(ctx).await?;
        let Some(stored) = credentials::find_in(&mut tx, ctx, id).await? else { return Ok(None) };
        // Nobody gets a credential to open without leaving a trace.
        self.audit.record(&mut tx, ctx, &AuditEntry::ok(CREDENTIAL_USED).to("instance", id)).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(Some(stored))
    }

    async fn renew_credential(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        renewer: &dyn CredentialRenewer,
    ) -> Result<(), StoreError> {
        let renewed = credentials::renew(&self.db, &self.audit, ctx, id, renewer).await;
        // A refusal changes the instance's status.
        self.recent.invalidate_all();
        renewed
    }
}
