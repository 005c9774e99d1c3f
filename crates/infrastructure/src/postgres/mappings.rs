//! How instances' words are read.

use application::Ctx;
use application::ports::{MappingStore, StoreError};
use async_trait::async_trait;
use domain::{InstanceId, Mappings};
use serde_json::Value;

use super::db::{Db, store_error};

/// [`MappingStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgMappings {
    db: Db,
}

impl PgMappings {
    /// Uses these connections.
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

#[async_trait]
impl MappingStore for PgMappings {
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Mappings, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
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
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        serde_json::from_value(stored).map_err(|error| {
            StoreError::Internal(format!("the mappings of {instance} cannot be read: {error}").into())
        })
    }
}
