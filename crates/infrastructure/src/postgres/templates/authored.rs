//! Templates that a tenant's admins write, with their versions and proofs.

mod rows;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{
    Added, AuthoredTemplateStore, Proved, Publication, PublishedTemplate, StoreError, TemplateVersion,
};
use async_trait::async_trait;
use domain::authored::{AuthoredTemplate, MOST_TEMPLATES, MOST_VERSIONS, VersionSummary};
use domain::template::Template;
use domain::{Allowed, AuditAction, AuditEntry, KeyId, TenantId};
use moka::future::Cache;
use sqlx::types::Json;
use uuid::Uuid;

use self::rows::{ListRow, PublishedRow, VersionRow};
use crate::postgres::audit::AuditChain;
use crate::postgres::db::{Db, Tx, shared_error, store_error};

const ADDED: AuditAction = AuditAction::new("template.create");
const PROVED: AuditAction = AuditAction::new("template.prove");
const PUBLISHED: AuditAction = AuditAction::new("template.publish");
const RETIRED: AuditAction = AuditAction::new("template.retire");

/// Published and retired templates show on every replica after this, at the latest; the rest of the promised 5 s is for
/// the look-up.
const KNOWN_FOR: Duration = Duration::from_secs(3);
/// Bytes of statements kept, of all tenants.
const MOST_KEPT: u64 = 64 * 1024 * 1024;

type Published = Arc<Vec<PublishedTemplate>>;

/// [`AuthoredTemplateStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgAuthoredTemplates {
    db: Db,
    audit: AuditChain,
    published: Cache<TenantId, Published>,
}

impl PgAuthoredTemplates {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        let weight = |_: &TenantId, of: &Published| {
            let one =
                |of: &PublishedTemplate| of.template.statement.len() + of.template.description.len() + 2_048;
            u32::try_from(256 + of.iter().map(one).sum::<usize>()).unwrap_or(u32::MAX)
        };
        let published =
            Cache::builder().max_capacity(MOST_KEPT).weigher(weight).time_to_live(KNOWN_FOR).build();
        Self { db, audit, published }
    }

    async fn read_published(&self, ctx: &Ctx) -> Result<Published, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<PublishedRow> = sqlx::query_as(
            "select t.name, t.visible_to, v.source, v.statement, v.report
             from sql_templates t join sql_template_versions v
                 on v.tenant_id = t.tenant_id and v.name = t.name and v.number = t.published
             where t.tenant_id = $1 and t.published is not null and v.proved order by t.name",
        )
        .bind(ctx.tenant.as_uuid())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(Arc::new(rows.into_iter().filter_map(PublishedRow::read).collect()))
    }

    /// On this replica a change shows at once.
    async fn forget(&self, ctx: &Ctx) {
        self.published.invalidate(&ctx.tenant).await;
    }

    async fn commit(&self, mut tx: Tx, ctx: &Ctx, entry: AuditEntry) -> Result<(), StoreError> {
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.forget(ctx).await;
        Ok(())
    }
}

impl std::fmt::Debug for PgAuthoredTemplates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgAuthoredTemplates")
    }
}

/// Takes the template's row until the transaction ends. Its newest
/// version's number, 0 for a fresh one. `None` when there is none.
async fn hold(tx: &mut Tx, ctx: &Ctx, name: &str) -> Result<Option<i32>, StoreError> {
    let held: Option<(String,)> =
        sqlx::query_as("select name from sql_templates where tenant_id = $1 and name = $2 for update")
            .bind(ctx.tenant.as_uuid())
            .bind(name)
            .fetch_optional(&mut **tx)
            .await
            .map_err(store_error)?;
    if held.is_none() {
        return Ok(None);
    }
    let newest: Option<i32> = sqlx::query_scalar(
        "select max(number) from sql_template_versions where tenant_id = $1 and name = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(name)
    .fetch_one(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(Some(newest.unwrap_or(0)))
}

/// Keeps others from counting the tenant's templates until the transaction ends.
async fn hold_tenant(tx: &mut Tx, ctx: &Ctx) -> Result<(), StoreError> {
    sqlx::query("select id from tenants where id = $1 for no key update")
        .bind(ctx.tenant.as_uuid())
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}

async fn touch(tx: &mut Tx, ctx: &Ctx, name: &str) -> Result<(), StoreError> {
    sqlx::query(
        "update sql_templates set updated_at = now(), updated_by = $3 where tenant_id = $1 and name = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(name)
    .bind(ctx.principal.label())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Keys of these that the tenant does not have, or that open nothing any more.
async fn unknown_keys(tx: &mut Tx, ctx: &Ctx, keys: &BTreeSet<KeyId>) -> Result<Vec<KeyId>, StoreError> {
    let unknown: Vec<Uuid> = sqlx::query_scalar(
        "select u.id from unnest($2::uuid[]) as u (id)
         where not exists (select from api_keys k where k.tenant_id = $1 and k.id = u.id and k.revoked_at is null
                               and (k.expires_at is null or k.expires_at > now()))
         order by u.id",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(keys.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(unknown.into_iter().map(KeyId::new).collect())
}

/// A version's statement, title and whether it may be published.
fn stored(proved: &Proved) -> (Option<&str>, Option<&str>, bool) {
    let template = proved.template.as_ref();
    let statement = template.map(|template: &Template| template.statement.as_str());
    let title = template.map(|template| template.title.as_str());
    (statement, title, statement.is_some() && proved.report.passed())
}

#[async_trait]
impl AuthoredTemplateStore for PgAuthoredTemplates {
    async fn published(&self, ctx: &Ctx) -> Result<Published, StoreError> {
        // Outside a unit of work: what is kept must be what is stored.
        let ctx = ctx.detached();
        let read = async { Box::pin(self.read_published(&ctx)).await };
        self.published.try_get_with(ctx.tenant, read).await.map_err(shared_error)
    }

    async fn list(&self, ctx: &Ctx) -> Result<Vec<AuthoredTemplate>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<ListRow> = sqlx::query_as(
            "select t.name, t.published, t.visible_to, t.retired_at, t.created_at, t.updated_at, t.updated_by, v.number,
                    v.title, v.proved
             from sql_templates t cross join lateral (
                 select v.number, v.title, v.proved from sql_template_versions v
                 where v.tenant_id = t.tenant_id and v.name = t.name order by v.number desc limit 1) v
             where t.tenant_id = $1 order by t.name limit $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(MOST_TEMPLATES)
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(rows.into_iter().map(AuthoredTemplate::from).collect())
    }

    async fn find(
        &self,
        ctx: &Ctx,
        name: &str,
    ) -> Result<Option<(AuthoredTemplate, Vec<VersionSummary>)>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<ListRow> = sqlx::query_as(
            "select t.name, t.published, t.visible_to, t.retired_at, t.created_at, t.updated_at, t.updated_by, v.number,
                    v.title, v.proved
             from sql_templates t cross join lateral (
                 select v.number, v.title, v.proved from sql_template_versions v
                 where v.tenant_id = t.tenant_id and v.name = t.name order by v.number desc limit 1) v
             where t.tenant_id = $1 and t.name = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        let versions: Vec<(i32, bool, chrono::DateTime<chrono::Utc>, String)> = sqlx::query_as(
            "select number, proved, created_at, created_by from sql_template_versions
             where tenant_id = $1 and name = $2 order by number desc limit $3",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .bind(i64::from(MOST_VERSIONS))
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        let versions = versions
            .into_iter()
            .map(|(number, proved, created_at, created_by)| VersionSummary {
                number,
                proved,
                created_at,
                created_by,
            })
            .collect();
        Ok(Some((row.into(), versions)))
    }

    async fn version(
        &self,
        ctx: &Ctx,
        name: &str,
        number: Option<i32>,
    ) -> Result<Option<TemplateVersion>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<VersionRow> = sqlx::query_as(
            "select number, source, statement, proved, report, created_at, created_by from sql_template_versions
             where tenant_id = $1 and name = $2 and ($3::integer is null or number = $3)
             order by number desc limit 1",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .bind(number)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(row.map(|row| row.read(name)))
    }

    async fn add(&self, ctx: &Ctx, name: &str, source: &str, proved: &Proved) -> Result<Added, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        hold_tenant(&mut tx, ctx).await?;
        let newest = match hold(&mut tx, ctx, name).await? {
            Some(newest) => newest,
            None => {
                let made: i64 = sqlx::query_scalar("select count(*) from sql_templates where tenant_id = $1")
                    .bind(ctx.tenant.as_uuid())
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(store_error)?;
                if made >= MOST_TEMPLATES {
                    return Ok(Added::TooManyTemplates);
                }
                sqlx::query("insert into sql_templates (tenant_id, name, updated_by) values ($1, $2, $3)")
                    .bind(ctx.tenant.as_uuid())
                    .bind(name)
                    .bind(ctx.principal.label())
                    .execute(&mut *tx)
                    .await
                    .map_err(store_error)?;
                0
            }
        };
        if newest >= MOST_VERSIONS {
            return Ok(Added::TooManyVersions);
        }
        let number = newest + 1;
        let (statement, title, passed) = stored(proved);
        sqlx::query(
            "insert into sql_template_versions (tenant_id, name, number, source, title, statement, proved, report,
                 created_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .bind(number)
        .bind(source)
        .bind(title)
        .bind(statement)
        .bind(passed)
        .bind(Json(&proved.report))
        .bind(ctx.principal.label())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        touch(&mut tx, ctx, name).await?;
        let entry = AuditEntry::ok(ADDED)
            .to("template", name)
            .with("version", number)
            .with("proved", passed)
            .with("findings", proved.report.findings.len());
        self.commit(tx, ctx, entry).await?;
        Ok(Added::Version(number))
    }

    async fn store_proof(
        &self,
        ctx: &Ctx,
        name: &str,
        number: i32,
        proved: &Proved,
    ) -> Result<bool, StoreError> {
        let (statement, title, passed) = stored(proved);
        let mut tx = self.db.tenant_tx(ctx).await?;
        if hold(&mut tx, ctx, name).await?.is_none() {
            return Ok(false);
        }
        let done = sqlx::query(
            "update sql_template_versions set statement = $4, title = $5, proved = $6, report = $7
             where tenant_id = $1 and name = $2 and number = $3",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .bind(number)
        .bind(statement)
        .bind(title)
        .bind(passed)
        .bind(Json(&proved.report))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        touch(&mut tx, ctx, name).await?;
        let entry = AuditEntry::ok(PROVED)
            .to("template", name)
            .with("version", number)
            .with("proved", passed)
            .with("findings", proved.report.findings.len());
        self.commit(tx, ctx, entry).await?;
        Ok(true)
    }

    async fn publish(
        &self,
        ctx: &Ctx,
        name: &str,
        number: i32,
        visible_to: &Allowed<KeyId>,
        ceiling: i64,
    ) -> Result<Publication, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        hold_tenant(&mut tx, ctx).await?;
        if hold(&mut tx, ctx, name).await?.is_none() {
            return Ok(Publication::NotFound);
        }
        let proved: Option<bool> = sqlx::query_scalar(
            "select proved from sql_template_versions where tenant_id = $1 and name = $2 and number = $3",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .bind(number)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        match proved {
            None => return Ok(Publication::NotFound),
            Some(false) => return Ok(Publication::NotProved),
            Some(true) => {}
        }
        let others: i64 = sqlx::query_scalar(
            "select count(*) from sql_templates where tenant_id = $1 and published is not null and name <> $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        if others >= ceiling {
            return Ok(Publication::TooMany);
        }
        if let Some(keys) = visible_to.as_list()
            && let unknown = unknown_keys(&mut tx, ctx, keys).await?
            && !unknown.is_empty()
        {
            return Ok(Publication::UnknownKeys(unknown));
        }
        let keys: Option<Vec<Uuid>> =
            visible_to.as_list().map(|keys| keys.iter().map(|id| id.as_uuid()).collect());
        let named = keys.as_ref().map(Vec::len);
        sqlx::query(
            "update sql_templates set published = $3, visible_to = $4, retired_at = null, updated_at = now(),
                 updated_by = $5
             where tenant_id = $1 and name = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .bind(number)
        .bind(keys)
        .bind(ctx.principal.label())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let entry =
            AuditEntry::ok(PUBLISHED).to("template", name).with("version", number).with("keys", named);
        self.commit(tx, ctx, entry).await?;
        Ok(Publication::Done)
    }

    async fn retire(&self, ctx: &Ctx, name: &str) -> Result<bool, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        if hold(&mut tx, ctx, name).await?.is_none() {
            return Ok(false);
        }
        let done = sqlx::query(
            "update sql_templates set published = null, visible_to = null, retired_at = now(), updated_at = now(),
                 updated_by = $3
             where tenant_id = $1 and name = $2 and retired_at is null",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(name)
        .bind(ctx.principal.label())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if done.rows_affected() > 0 {
            self.commit(tx, ctx, AuditEntry::ok(RETIRED).to("template", name)).await?;
        }
        Ok(true)
    }
}
