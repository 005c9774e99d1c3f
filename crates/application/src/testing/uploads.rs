//! Files on their way to a tracker.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{FileContent, TenantId};
use uuid::Uuid;

use super::{Memory, moment};
use crate::Ctx;
use crate::ports::{NewUpload, Receipt, StoreError, Upload, UploadStore};

/// An upload with whose it is.
#[derive(Debug)]
pub(super) struct KeptUpload {
    tenant: TenantId,
    principal: Option<Uuid>,
    upload: Upload,
    content: Option<FileContent>,
    attached: bool,
}

impl KeptUpload {
    fn is(&self, ctx: &Ctx, id: Uuid) -> bool {
        self.tenant == ctx.tenant
            && self.principal == ctx.principal.id()
            && self.upload.id == id
            && self.upload.expires_at > moment()
    }
}

#[async_trait]
impl UploadStore for Memory {
    async fn insert(&self, ctx: &Ctx, upload: &NewUpload, ceiling: u64) -> Result<bool, StoreError> {
        self.reach("uploads.insert").await?;
        let mut state = self.state();
        let open = state
            .uploads
            .iter()
            .filter(|kept| kept.tenant == ctx.tenant && !kept.attached && kept.upload.expires_at > moment());
        let taken: u64 = open.map(|kept| kept.upload.size).sum();
        if taken + upload.size > ceiling {
            return Ok(false);
        }
        state.uploads.push(KeptUpload {
            tenant: ctx.tenant,
            principal: ctx.principal.id(),
            upload: Upload {
                id: upload.id,
                instance: upload.instance,
                filename: upload.filename.clone(),
                size: upload.size,
                digest: None,
                expires_at: upload.expires_at,
            },
            content: None,
            attached: false,
        });
        Ok(true)
    }

    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Option<Upload>, StoreError> {
        self.reach("uploads.find").await?;
        let state = self.state();
        Ok(state.uploads.iter().find(|kept| kept.is(ctx, id)).map(|kept| kept.upload.clone()))
    }

    async fn receive(
        &self,
        ctx: &Ctx,
        id: Uuid,
        content: &FileContent,
        digest: &str,
        until: DateTime<Utc>,
    ) -> Result<Receipt, StoreError> {
        self.reach("uploads.receive").await?;
        let mut state = self.state();
        let Some(kept) = state.uploads.iter_mut().find(|kept| kept.is(ctx, id)) else {
            return Ok(Receipt::Gone);
        };
        match &kept.upload.digest {
            Some(before) if before != digest => Ok(Receipt::Taken),
            Some(_) => Ok(Receipt::Kept),
            None => {
                kept.content = Some(content.clone());
                kept.upload.digest = Some(digest.to_owned());
                kept.upload.expires_at = until;
                Ok(Receipt::Kept)
            }
        }
    }

    async fn content(
        &self,
        ctx: &Ctx,
        id: Uuid,
        until: DateTime<Utc>,
    ) -> Result<Option<FileContent>, StoreError> {
        self.reach("uploads.content").await?;
        let mut state = self.state();
        let Some(kept) = state.uploads.iter_mut().find(|kept| kept.is(ctx, id)) else { return Ok(None) };
        kept.upload.expires_at = kept.upload.expires_at.max(until);
        Ok(kept.content.clone())
    }

    async fn attached(&self, ctx: &Ctx, id: Uuid, until: DateTime<Utc>) -> Result<(), StoreError> {
        self.reach("uploads.attached").await?;
        let mut state = self.state();
        for kept in state.uploads.iter_mut().filter(|kept| kept.is(ctx, id)) {
            kept.content = None;
            kept.attached = true;
            kept.upload.expires_at = until;
        }
        Ok(())
    }

    async fn prune(&self) -> Result<u64, StoreError> {
        self.reach("uploads.prune").await?;
        let mut state = self.state();
        let before = state.uploads.len();
        state.uploads.retain(|kept| kept.upload.expires_at > moment());
        Ok((before - state.uploads.len()) as u64)
    }
}
