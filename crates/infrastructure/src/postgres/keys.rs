//! API keys as those who manage them see them.

use std::collections::BTreeSet;
use std::str::FromStr;

use application::Ctx;
use application::ports::{Key, KeyStore, ListCursor, ListPage, Listing, NewKey, Rotation, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Allowed, AuditAction, AuditEntry, Grant, InstanceId, KeyId, ProjectKey, Scopes, Toolset, UserId,
};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::access::PgAccess;
use super::db::store_error;

const CREATED: AuditAction = AuditAction::new("key.create");
const REVOKED: AuditAction = AuditAction::new("key.revoke");
const ROTATED: AuditAction = AuditAction::new("key.rotate");

const COLUMNS: &str =
    "id, public_id, name, kind, scopes, instances, projects_read, projects_write, templates, toolsets,
    user_id, created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by, rotated_from";

/// What a key is narrowed to, as its columns hold it; null stands for all.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct GrantRow {
    instances: Option<Vec<Uuid>>,
    projects_read: Option<Vec<String>>,
    projects_write: Option<Vec<String>>,
    templates: Option<Vec<String>>,
    toolsets: Option<Vec<String>>,
}

impl GrantRow {
    fn of(grant: &Grant) -> Self {
        let keys = |list: &BTreeSet<ProjectKey>| list.iter().map(|key| key.as_str().to_owned()).collect();
        Self {
            instances: grant.instances.as_list().map(|list| list.iter().map(|id| id.as_uuid()).collect()),
            projects_read: grant.projects_read.as_list().map(keys),
            projects_write: grant.projects_write.as_list().map(keys),
            templates: grant.templates.as_list().map(|list| list.iter().cloned().collect()),
            toolsets: grant
                .toolsets
                .as_list()
                .map(|list| list.iter().map(|set| set.as_str().to_owned()).collect()),
        }
    }
}

impl TryFrom<GrantRow> for Grant {
    type Error = domain::Invalid;

    fn try_from(row: GrantRow) -> Result<Self, domain::Invalid> {
        let instances = row.instances.map(|ids| ids.into_iter().map(InstanceId::new).collect::<Vec<_>>());
        Ok(Self {
            instances: Allowed::from_list(instances),
            projects_read: Allowed::from_list(parsed::<ProjectKey>(row.projects_read)?),
            projects_write: Allowed::from_list(parsed::<ProjectKey>(row.projects_write)?),
            templates: Allowed::from_list(row.templates),
            toolsets: Allowed::from_list(parsed::<Toolset>(row.toolsets)?),
        })
    }
}

fn parsed<T: FromStr>(list: Option<Vec<String>>) -> Result<Option<Vec<T>>, T::Err> {
    list.map(|list| list.iter().map(|text| text.parse()).collect()).transpose()
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    public_id: String,
    name: String,
    kind: String,
    scopes: Vec<String>,
    #[sqlx(flatten)]
    grant: GrantRow,
    user_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    created_by: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
    rotated_from: Option<Uuid>,
}

impl TryFrom<Row> for Key {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let broken = |error: domain::Invalid| StoreError::Internal(Box::new(error));
        Ok(Self {
            id: KeyId::new(row.id),
            public_id: row.public_id,
            name: row.name,
            kind: row.kind.parse().map_err(broken)?,
            scopes: Scopes::parse(row.scopes.iter().map(String::as_str)).map_err(broken)?,
            grant: row.grant.try_into().map_err(broken)?,
            user: row.user_id.map(UserId::new),
            created_at: row.created_at,
            created_by: row.created_by,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            revoked_by: row.revoked_by,
            rotated_from: row.rotated_from.map(KeyId::new),
        })
    }
}

/// Adds the condition that a key is no wider than the caller's own grant.
fn push_covered(query: &mut QueryBuilder<Postgres>, grant: &Grant) {
    let GrantRow { instances, projects_read, projects_write, templates, toolsets } = GrantRow::of(grant);
    if let Some(list) = instances {
        // A null column is a key for all, which is not contained in a list.
        query.push(" and instances <@ ").push_bind(list);
    }
    for (column, list) in [
        ("projects_read", projects_read),
        ("projects_write", projects_write),
        ("templates", templates),
        ("toolsets", toolsets),
    ] {
        if let Some(list) = list {
            query.push(" and ").push(column).push(" <@ ").push_bind(list);
        }
    }
}

async fn insert(
    connection: &mut PgConnection,
    ctx: &Ctx,
    key: &NewKey,
    rotated_from: Option<KeyId>,
) -> Result<(), StoreError> {
    let grant = GrantRow::of(&key.grant);
    sqlx::query(
        "insert into api_keys (tenant_id, id, public_id, mac, name, kind, scopes, instances, projects_read,
             projects_write, templates, toolsets, user_id, created_at, created_by, expires_at, rotated_from)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.id.as_uuid())
    .bind(&key.public_id)
    .bind(key.mac.as_slice())
    .bind(&key.name)
    .bind(key.kind.as_str())
    .bind(key.scopes.names())
    .bind(grant.instances)
    .bind(grant.projects_read)
    .bind(grant.projects_write)
    .bind(grant.templates)
    .bind(grant.toolsets)
    .bind(key.user.map(UserId::as_uuid))
    .bind(key.created_at)
    .bind(ctx.principal.label())
    .bind(key.expires_at)
    .bind(rotated_from.map(KeyId::as_uuid))
    .execute(connection)
    .await
    .map(drop)
    .map_err(store_error)
}

#[async_trait]
impl KeyStore for PgAccess {
    async fn unknown_instances(
        &self,
        ctx: &Ctx,
        ids: &BTreeSet<InstanceId>,
    ) -> Result<Vec<InstanceId>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let unknown: Vec<Uuid> = sqlx::query_scalar(
            "select u.id from unnest($2::uuid[]) as u (id)
             where not exists (select from source_instances i where i.tenant_id = $1 and i.id = u.id) order by u.id",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(unknown.into_iter().map(InstanceId::new).collect())
    }

    async fn insert(&self, ctx: &Ctx, key: &NewKey) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        insert(&mut tx, ctx, key, None).await?;
        let entry = AuditEntry::ok(CREATED)
            .to("key", key.id)
            .with("kind", key.kind.as_str())
            .with("scopes", key.scopes.names());
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.forget(&key.public_id).await;
        Ok(())
    }

    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Key>, StoreError> {
        let mut query = QueryBuilder::new("select ");
        query.push(COLUMNS).push(" from api_keys where tenant_id = ").push_bind(ctx.tenant.as_uuid());
        push_covered(&mut query, &ctx.grant);
        if let Some(after) = &page.cursor {
            // Ids are UUIDv7: their order is the order of creation.
            query.push(" and id < ").push_bind(after.id);
        }
        query.push(" order by id desc limit ").push_bind(page.limit + 1);
        let mut tx = self.db.tenant_read(ctx).await?;
        let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await.map_err(store_error)?;
        let items = rows.into_iter().map(Key::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(listing(items, page, |key| key.id.as_uuid()))
    }

    async fn find(&self, ctx: &Ctx, id: KeyId) -> Result<Option<Key>, StoreError> {
        let mut query = QueryBuilder::new("select ");
        query.push(COLUMNS).push(" from api_keys where tenant_id = ").push_bind(ctx.tenant.as_uuid());
        query.push(" and id = ").push_bind(id.as_uuid());
        push_covered(&mut query, &ctx.grant);
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<Row> = query.build_query_as().fetch_optional(&mut *tx).await.map_err(store_error)?;
        row.map(Key::try_from).transpose()
    }

    async fn revoke(&self, ctx: &Ctx, id: KeyId) -> Result<bool, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let revoked: Option<String> = sqlx::query_scalar(
            "update api_keys set revoked_at = now(), revoked_by = $3
             where tenant_id = $1 and id = $2 and revoked_at is null returning public_id",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(ctx.principal.label())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        let Some(public_id) = revoked else { return Ok(false) };
        self.audit.record(&mut tx, ctx, &AuditEntry::ok(REVOKED).to("key", id)).await?;
        tx.commit().await.map_err(store_error)?;
        self.forget(&public_id).await;
        Ok(true)
    }

    async fn rotate(
        &self,
        ctx: &Ctx,
        old: KeyId,
        new: &NewKey,
        old_expires_at: DateTime<Utc>,
    ) -> Result<Rotation, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        // Locked, so that of two rotations at once the second sees the first one's successor.
        let found: Option<(String, Option<Uuid>)> = sqlx::query_as(
            "select public_id, rotated_from from api_keys where tenant_id = $1 and id = $2 and revoked_at is null
                 and (expires_at is null or expires_at > $3) for update",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(old.as_uuid())
        .bind(new.created_at)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        let Some((public_id, before)) = found else { return Ok(Rotation::NotFound) };
        let another: bool = sqlx::query_scalar(
            "select exists (select from api_keys where tenant_id = $1 and (rotated_from = $2 or id = $3)
                 and revoked_at is null and (expires_at is null or expires_at > $4))",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(old.as_uuid())
        .bind(before)
        .bind(new.created_at)
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        if another {
            return Ok(Rotation::TwoActive);
        }
        insert(&mut tx, ctx, new, Some(old)).await?;
        sqlx::query(
            "update api_keys set expires_at = least(expires_at, $3) where tenant_id = $1 and id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(old.as_uuid())
        .bind(old_expires_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        // Templates that name the older key are the successor's, too, within the most that one may name.
        sqlx::query(
            "update sql_templates set visible_to = array_append(visible_to, $3)
             where tenant_id = $1 and $2 = any (visible_to) and cardinality(visible_to) < 400",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(old.as_uuid())
        .bind(new.id.as_uuid())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let entry = AuditEntry::ok(ROTATED).to("key", old).with("successor", new.id.to_string());
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.forget(&public_id).await;
        self.forget(&new.public_id).await;
        Ok(Rotation::Done)
    }
}

/// Cuts what was read one row too far, and says where the next page begins.
pub(super) fn listing<T>(mut items: Vec<T>, page: &ListPage, id: impl Fn(&T) -> Uuid) -> Listing<T> {
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| ListCursor { after: String::new(), id: id(last) });
    Listing { items, next }
}
