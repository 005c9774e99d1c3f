//! What tenants let assistants do.

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{PolicyStore, ReplacedPolicy, StoreError, TenantPolicy};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Allowed, AuditAction, AuditEntry, JiraPolicy, TenantId, Toolset};
use moka::future::Cache;

use super::audit::AuditChain;
use super::db::{Db, Tx, shared_error, store_error};

const UPDATED: AuditAction = AuditAction::new("policy.update");
/// A change shows on every replica after this, at the latest.
const KNOWN_FOR: Duration = Duration::from_secs(3);
/// Some kilobytes each, at most.
const MOST_KEPT: u64 = 10_000;

/// [`PolicyStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgPolicies {
    db: Db,
    audit: AuditChain,
    kept: Cache<TenantId, Arc<TenantPolicy>>,
}

impl PgPolicies {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        let kept = Cache::builder().max_capacity(MOST_KEPT).time_to_live(KNOWN_FOR).build();
        Self { db, audit, kept }
    }
}

impl std::fmt::Debug for PgPolicies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgPolicies")
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    version: i32,
    jira_toolsets: Option<Vec<String>>,
    jira_denied_tools: Vec<String>,
    jira_read_only: bool,
    jira_hidden_fields: Vec<String>,
    updated_at: DateTime<Utc>,
}

impl Row {
    /// A set that this version does not know cannot be used either way.
    fn into_policy(self) -> TenantPolicy {
        let sets = self.jira_toolsets.map(|sets| {
            let known: Vec<Toolset> = sets.iter().filter_map(|set| set.parse().ok()).collect();
            known
        });
        TenantPolicy {
            jira: JiraPolicy {
                toolsets: Allowed::from_list(sets),
                denied_tools: self.jira_denied_tools.into_iter().collect(),
                read_only: self.jira_read_only,
                hidden_fields: self.jira_hidden_fields.into_iter().collect(),
            },
            version: self.version,
            updated_at: (self.version > 1).then_some(self.updated_at),
        }
    }
}

async fn read(tx: &mut Tx, ctx: &Ctx) -> Result<TenantPolicy, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "select version, jira_toolsets, jira_denied_tools, jira_read_only, jira_hidden_fields, updated_at
         from tenant_policies where tenant_id = $1",
    )
    .bind(ctx.tenant.as_uuid())
    .fetch_optional(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(row.map(Row::into_policy).unwrap_or_default())
}

#[async_trait]
impl PolicyStore for PgPolicies {
    async fn find(&self, ctx: &Ctx) -> Result<TenantPolicy, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        read(&mut tx, ctx).await
    }

    async fn current(&self, ctx: &Ctx) -> Result<Arc<TenantPolicy>, StoreError> {
        // Outside a unit of work: what is kept must be what is stored.
        let ctx = ctx.detached();
        let found = self.kept.try_get_with(ctx.tenant, async { self.find(&ctx).await.map(Arc::new) }).await;
        found.map_err(shared_error)
    }

    async fn replace(
        &self,
        ctx: &Ctx,
        jira: &JiraPolicy,
        if_version: Option<i32>,
    ) -> Result<ReplacedPolicy, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        // A row to lock: of two that change the first policy at once, the second sees what the other did.
        sqlx::query("insert into tenant_policies (tenant_id) values ($1) on conflict (tenant_id) do nothing")
            .bind(ctx.tenant.as_uuid())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let version: i32 =
            sqlx::query_scalar("select version from tenant_policies where tenant_id = $1 for no key update")
                .bind(ctx.tenant.as_uuid())
                .fetch_one(&mut *tx)
                .await
                .map_err(store_error)?;
        if if_version.is_some_and(|expected| expected != version) {
            return Ok(ReplacedPolicy::Stale { version });
        }
        let sets =
            jira.toolsets.as_list().map(|sets| sets.iter().map(|set| set.as_str()).collect::<Vec<_>>());
        sqlx::query(
            "update tenant_policies set version = version + 1, jira_toolsets = $2, jira_denied_tools = $3,
                 jira_read_only = $4, jira_hidden_fields = $5, updated_at = now()
             where tenant_id = $1",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(sets)
        .bind(jira.denied_tools.iter().cloned().collect::<Vec<_>>())
        .bind(jira.read_only)
        .bind(jira.hidden_fields.iter().cloned().collect::<Vec<_>>())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let policy = read(&mut tx, ctx).await?;
        self.audit.record(&mut tx, ctx, &updated(&policy)).await?;
        tx.commit().await.map_err(store_error)?;
        // On this replica a change shows at once.
        self.kept.invalidate(&ctx.tenant).await;
        Ok(ReplacedPolicy::Stored(policy))
    }
}

/// What it is now, in full: who reads the record must be able to tell what was allowed when.
fn updated(policy: &TenantPolicy) -> AuditEntry {
    let JiraPolicy { toolsets, denied_tools, read_only, hidden_fields } = &policy.jira;
    let list = |names: Vec<&str>| names.join(", ");
    let entry = AuditEntry::ok(UPDATED)
        .with("version", i64::from(policy.version))
        .with("read_only", *read_only)
        .with("denied_tools", list(denied_tools.iter().map(String::as_str).collect()))
        .with("hidden_fields", list(hidden_fields.iter().map(String::as_str).collect()));
    match toolsets.as_list() {
        Some(sets) => entry.with("toolsets", list(sets.iter().map(|set| set.as_str()).collect())),
        None => entry,
    }
}
