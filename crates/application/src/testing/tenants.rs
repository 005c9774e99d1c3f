//! The life of tenants. Deletion stops at its request: what is removed from a database only a database can show.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Slug, Tenant, TenantStatus};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use uuid::Uuid;

use super::Memory;
use crate::Ctx;
use crate::ports::{Deletion, ExportLine, StoreError, TenantStore, TenantTable};

impl Memory {
    fn change_tenant(&self, ctx: &Ctx, change: impl FnOnce(&mut Tenant)) -> Option<Tenant> {
        let mut state = self.state();
        let tenant = state.tenants.iter_mut().find(|tenant| tenant.id == ctx.tenant)?;
        change(tenant);
        Some(tenant.clone())
    }
}

#[async_trait]
impl TenantStore for Memory {
    async fn list(&self) -> Result<Vec<Tenant>, StoreError> {
        self.reach("tenants.list").await?;
        Ok(self.state().tenants.clone())
    }

    async fn by_slug(&self, slug: &Slug) -> Result<Option<Tenant>, StoreError> {
        self.reach("tenants.find").await?;
        Ok(self.state().tenants.iter().find(|tenant| tenant.slug == *slug).cloned())
    }

    async fn find(&self, ctx: &Ctx) -> Result<Option<Tenant>, StoreError> {
        self.reach("tenants.find").await?;
        Ok(self.state().tenants.iter().find(|tenant| tenant.id == ctx.tenant).cloned())
    }

    async fn set_status(&self, ctx: &Ctx, status: TenantStatus) -> Result<Option<Tenant>, StoreError> {
        self.reach("tenants.set_status").await?;
        Ok(self.change_tenant(ctx, |tenant| {
            if tenant.status != TenantStatus::Deleting {
                tenant.status = status;
            }
        }))
    }

    async fn set_strict_audit(&self, ctx: &Ctx, strict: bool) -> Result<Option<Tenant>, StoreError> {
        self.reach("tenants.update").await?;
        Ok(self.change_tenant(ctx, |tenant| tenant.strict_audit = strict))
    }

    async fn request_deletion(
        &self,
        ctx: &Ctx,
        id: Uuid,
        _: Option<DateTime<Utc>>,
    ) -> Result<Option<Deletion>, StoreError> {
        self.reach("tenants.delete").await?;
        let mut state = self.state();
        let Some(tenant) = state.tenants.iter_mut().find(|tenant| tenant.id == ctx.tenant) else {
            return Ok(None);
        };
        tenant.status = TenantStatus::Deleting;
        let slug = tenant.slug.clone();
        if let Some(under_way) = state.deletions.iter().find(|deletion| deletion.tenant == ctx.tenant) {
            return Ok(Some(under_way.clone()));
        }
        let deletion = Deletion {
            id,
            tenant: ctx.tenant,
            slug,
            requested_by: ctx.principal.label().to_owned(),
            requested_at: super::moment(),
            finished_at: None,
            removed: Default::default(),
            residue: None,
        };
        state.deletions.push(deletion.clone());
        Ok(Some(deletion))
    }

    async fn deletion(&self, id: Uuid) -> Result<Option<Deletion>, StoreError> {
        Ok(self.state().deletions.iter().find(|deletion| deletion.id == id).cloned())
    }

    async fn deletion_of(&self, slug: &Slug) -> Result<Option<Deletion>, StoreError> {
        Ok(self.state().deletions.iter().rfind(|deletion| deletion.slug == *slug).cloned())
    }

    async fn begin_removal(&self, _: &Deletion) -> Result<(), StoreError> {
        self.reach("tenants.remove").await
    }

    async fn tables(&self) -> Result<Vec<TenantTable>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove_rows(&self, _: &Deletion, _: &TenantTable, _: i64) -> Result<i64, StoreError> {
        Ok(0)
    }

    async fn remove_tenant(&self, deletion: &Deletion) -> Result<(), StoreError> {
        self.state().tenants.retain(|tenant| tenant.id != deletion.tenant);
        Ok(())
    }

    async fn look_for_residue(&self, deletion: &Deletion) -> Result<Deletion, StoreError> {
        let mut state = self.state();
        let stored = state.deletions.iter_mut().find(|stored| stored.id == deletion.id);
        let stored = stored.ok_or_else(|| StoreError::Internal("no such deletion".into()))?;
        stored.finished_at = Some(super::moment());
        stored.residue = Some(Default::default());
        Ok(stored.clone())
    }

    async fn export(
        &self,
        ctx: &Ctx,
    ) -> Result<BoxStream<'static, Result<ExportLine, StoreError>>, StoreError> {
        self.reach("tenants.export").await?;
        let tenant = ctx.tenant;
        let lines = [
            format!("{{\"table\":\"tenants\",\"row\":{{\"id\":\"{tenant}\"}}}}"),
            "{\"counts\":{\"tenants\":1}}".to_owned(),
        ];
        Ok(stream::iter(lines.map(Ok)).boxed())
    }
}
