//! How instances' words are read.

mod preview;
mod vocabulary;

use application::Ctx;
use application::ports::{MappingPreview, MappingStore, Replaced, StoreError, Vocabulary};
use async_trait::async_trait;
use domain::{AuditAction, AuditEntry, FieldRole, InstanceId, Mappings, RunId};
use serde_json::Value;

use super::audit::AuditChain;
use super::db::{Db, Tx, store_error};
use super::runs;

const UPDATED: AuditAction = AuditAction::new("mapping.update");

/// [`MappingStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgMappings {
    db: Db,
    audit: AuditChain,
}

impl PgMappings {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        Self { db, audit }
    }
}

/// Words and what they mean, as two columns.
pub(super) struct Words<'a> {
    pub(super) originals: Vec<&'a str>,
    pub(super) norms: Vec<&'static str>,
}

impl<'a> Words<'a> {
    pub(super) fn of<N: Copy>(
        words: &'a std::collections::BTreeMap<String, N>,
        name: impl Fn(N) -> &'static str,
    ) -> Self {
        let (originals, norms) = words.iter().map(|(word, norm)| (word.as_str(), name(*norm))).unzip();
        Self { originals, norms }
    }
}

async fn find_in(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<Mappings, StoreError> {
    let stored: Value = sqlx::query_scalar(
        "select jsonb_build_object(
             'status', (select coalesce(jsonb_object_agg(original, norm), '{}') from status_map
                        where tenant_id = $1 and instance_id = $2),
             'resolution', (select coalesce(jsonb_object_agg(original, norm), '{}') from resolution_map
                            where tenant_id = $1 and instance_id = $2),
             'type', (select coalesce(jsonb_object_agg(original, norm), '{}') from type_map
                      where tenant_id = $1 and instance_id = $2),
             'priority', (select coalesce(jsonb_object_agg(original, norm), '{}') from priority_map
                          where tenant_id = $1 and instance_id = $2),
             'fields', (select coalesce(jsonb_object_agg(source_id, role), '{}') from field_map
                        where tenant_id = $1 and instance_id = $2))",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .fetch_one(&mut **tx)
    .await
    .map_err(store_error)?;
    serde_json::from_value(stored).map_err(|error| {
        StoreError::Internal(format!("the mappings of {instance} cannot be read: {error}").into())
    })
}

#[async_trait]
impl MappingStore for PgMappings {
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Mappings, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        find_in(&mut tx, ctx, instance).await
    }

    async fn versioned(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
    ) -> Result<Option<(Mappings, i32)>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let version: Option<i32> = sqlx::query_scalar(
            "select mapping_version from source_instances where tenant_id = $1 and id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        match version {
            Some(version) => Ok(Some((find_in(&mut tx, ctx, instance).await?, version))),
            None => Ok(None),
        }
    }

    async fn vocabulary(&self, ctx: &Ctx, instance: InstanceId) -> Result<Vocabulary, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        vocabulary::read(&mut tx, ctx, instance).await
    }

    async fn preview(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
    ) -> Result<MappingPreview, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let now = find_in(&mut tx, ctx, instance).await?;
        preview::read(&mut tx, ctx, instance, &now, mappings).await
    }

    async fn replace(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
        if_version: Option<i32>,
        run: RunId,
    ) -> Result<Replaced, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        // The unfinished run first, as the end of a run does: whoever comes second sees what the other did.
        runs::lock_active(&mut tx, ctx, instance).await?;
        let version: Option<i32> = sqlx::query_scalar(
            "select mapping_version from source_instances where tenant_id = $1 and id = $2 for no key update",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        let Some(version) = version else { return Ok(Replaced::Unknown) };
        if if_version.is_some_and(|expected| expected != version) {
            return Ok(Replaced::Stale { version });
        }
        write(&mut tx, ctx, instance, mappings).await?;
        let version = version.saturating_add(1);
        let started = runs::start_remap(&mut tx, ctx, instance, run).await?;
        sqlx::query(
            "update source_instances set mapping_version = $3, remap_due = $4 where tenant_id = $1 and id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(version)
        .bind(!started)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let run = started.then_some(run);
        self.audit.record(&mut tx, ctx, &updated(instance, mappings, version, run)).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(Replaced::Stored { version, run })
    }
}

/// Words are a tracker's own: how many there are goes on the record, not which.
fn updated(instance: InstanceId, mappings: &Mappings, version: i32, run: Option<RunId>) -> AuditEntry {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let entry = AuditEntry::ok(UPDATED)
        .to("instance", instance)
        .with("version", i64::from(version))
        .with("status", count(mappings.status.len()))
        .with("resolution", count(mappings.resolution.len()))
        .with("type", count(mappings.item_type.len()))
        .with("priority", count(mappings.priority.len()))
        .with("fields", count(mappings.fields.len()));
    match run {
        Some(run) => entry.with("run", run.to_string()),
        None => entry,
    }
}

/// Puts these in the place of those that are there.
async fn write(tx: &mut Tx, ctx: &Ctx, instance: InstanceId, mappings: &Mappings) -> Result<(), StoreError> {
    let status = Words::of(&mappings.status, domain::StatusNorm::as_str);
    let resolution = Words::of(&mappings.resolution, domain::StatusNorm::as_str);
    let item_type = Words::of(&mappings.item_type, domain::TypeNorm::as_str);
    let priority = Words::of(&mappings.priority, domain::PriorityNorm::as_str);
    let fields = Words::of(&mappings.fields, FieldRole::as_str);
    let tables = [
        (
            "delete from status_map where tenant_id = $1 and instance_id = $2",
            "insert into status_map (tenant_id, instance_id, original, norm)
             select $1, $2, u.* from unnest($3::text[], $4::text[]) as u (original, norm)",
            status,
        ),
        (
            "delete from resolution_map where tenant_id = $1 and instance_id = $2",
            "insert into resolution_map (tenant_id, instance_id, original, norm)
             select $1, $2, u.* from unnest($3::text[], $4::text[]) as u (original, norm)",
            resolution,
        ),
        (
            "delete from type_map where tenant_id = $1 and instance_id = $2",
            "insert into type_map (tenant_id, instance_id, original, norm)
             select $1, $2, u.* from unnest($3::text[], $4::text[]) as u (original, norm)",
            item_type,
        ),
        (
            "delete from priority_map where tenant_id = $1 and instance_id = $2",
            "insert into priority_map (tenant_id, instance_id, original, norm)
             select $1, $2, u.* from unnest($3::text[], $4::text[]) as u (original, norm)",
            priority,
        ),
        (
            "delete from field_map where tenant_id = $1 and instance_id = $2",
            "insert into field_map (tenant_id, instance_id, source_id, role)
             select $1, $2, u.* from unnest($3::text[], $4::text[]) as u (source_id, role)",
            fields,
        ),
    ];
    for (remove, insert, words) in tables {
        sqlx::query(remove)
            .bind(ctx.tenant.as_uuid())
            .bind(instance.as_uuid())
            .execute(&mut **tx)
            .await
            .map_err(store_error)?;
        if words.originals.is_empty() {
            continue;
        }
        sqlx::query(insert)
            .bind(ctx.tenant.as_uuid())
            .bind(instance.as_uuid())
            .bind(words.originals)
            .bind(words.norms)
            .execute(&mut **tx)
            .await
            .map_err(store_error)?;
    }
    Ok(())
}
