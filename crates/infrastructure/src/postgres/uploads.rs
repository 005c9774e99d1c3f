//! Files on their way to a tracker, until they are attached or expire.

use application::Ctx;
use application::ports::{NewUpload, Receipt, StoreError, Upload, UploadStore};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{FileContent, InstanceId};
use uuid::Uuid;

use super::db::{Db, store_error};

/// [`UploadStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgUploads {
    db: Db,
}

impl PgUploads {
    /// Uses these connections.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    instance_id: Uuid,
    filename: String,
    size: i64,
    digest: Option<String>,
    expires_at: DateTime<Utc>,
}

fn principal(ctx: &Ctx) -> Uuid {
    ctx.principal.id().unwrap_or_default()
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[async_trait]
impl UploadStore for PgUploads {
    async fn insert(&self, ctx: &Ctx, upload: &NewUpload, ceiling: u64) -> Result<bool, StoreError> {
        // Room is the whole tenant's, of which a key of few instances sees its own part only. The instance was looked up
        // with the caller's rights.
        let whole = Ctx::system(ctx.tenant, "uploads", ctx.request_id);
        let mut tx = self.db.own_tx(&whole).await?;
        // One at a time for each tenant: two that look at once would both find room for themselves.
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("uploads {}", ctx.tenant))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        sqlx::query("delete from uploads where tenant_id = $1 and expires_at <= now()")
            .bind(ctx.tenant.as_uuid())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let inserted = sqlx::query(
            "insert into uploads (tenant_id, id, instance_id, principal, filename, size, expires_at)
             select $1, $2, $3, $4, $5, $6, $7
             where $6 + (select coalesce(sum(size), 0) from uploads where tenant_id = $1 and attached_at is null) <= $8",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(upload.id)
        .bind(upload.instance.as_uuid())
        .bind(principal(ctx))
        .bind(&upload.filename)
        .bind(number(upload.size))
        .bind(upload.expires_at)
        .bind(number(ceiling))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Option<Upload>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<Row> = sqlx::query_as(
            "select instance_id, filename, size, digest, expires_at from uploads
             where tenant_id = $1 and id = $2 and principal = $3 and expires_at > now()",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(principal(ctx))
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(row.map(|row| Upload {
            id,
            instance: InstanceId::new(row.instance_id),
            filename: row.filename,
            size: row.size.unsigned_abs(),
            digest: row.digest,
            expires_at: row.expires_at,
        }))
    }

    async fn receive(
        &self,
        ctx: &Ctx,
        id: Uuid,
        content: &FileContent,
        digest: &str,
        until: DateTime<Utc>,
    ) -> Result<Receipt, StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        let kept: Option<Option<String>> = sqlx::query_scalar(
            "select digest from uploads
             where tenant_id = $1 and id = $2 and principal = $3 and expires_at > now() for update",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(principal(ctx))
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        match kept {
            None => return Ok(Receipt::Gone),
            Some(Some(before)) if before != digest => return Ok(Receipt::Taken),
            Some(Some(_)) => return Ok(Receipt::Kept),
            Some(None) => {}
        }
        sqlx::query(
            "update uploads set content = $3, digest = $4, expires_at = $5 where tenant_id = $1 and id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(content.as_bytes())
        .bind(digest)
        .bind(until)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(Receipt::Kept)
    }

    async fn content(
        &self,
        ctx: &Ctx,
        id: Uuid,
        until: DateTime<Utc>,
    ) -> Result<Option<FileContent>, StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        let content: Option<Option<Vec<u8>>> = sqlx::query_scalar(
            "update uploads set expires_at = greatest(expires_at, $4)
             where tenant_id = $1 and id = $2 and principal = $3 and expires_at > now() returning content",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(principal(ctx))
        .bind(until)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(content.flatten().map(FileContent::new))
    }

    async fn attached(&self, ctx: &Ctx, id: Uuid, until: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.db.own_tx(ctx).await?;
        sqlx::query(
            "update uploads set content = null, attached_at = coalesce(attached_at, now()), expires_at = $4
             where tenant_id = $1 and id = $2 and principal = $3",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(id)
        .bind(principal(ctx))
        .bind(until)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn prune(&self) -> Result<u64, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let removed: i64 = sqlx::query_scalar("select public.prune_uploads()")
            .fetch_one(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        Ok(removed.unsigned_abs())
    }
}
