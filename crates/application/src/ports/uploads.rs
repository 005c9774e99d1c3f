//! Files on their way to a tracker: kept from when they were sent until they are attached, where every replica sees them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{FileContent, InstanceId};
use uuid::Uuid;

use super::StoreError;
use crate::Ctx;

/// Room for a file that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// Its id.
    pub id: Uuid,
    /// The instance that the file is for.
    pub instance: InstanceId,
    /// The file's name.
    pub filename: String,
    /// Its bytes.
    pub size: u64,
    /// Until when it can be sent.
    pub expires_at: DateTime<Utc>,
}

/// A file that was announced, and sent perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: Uuid,
    /// The instance that it is for.
    pub instance: InstanceId,
    /// Its name.
    pub filename: String,
    /// Its bytes, as announced.
    pub size: u64,
    /// SHA-256 of what was sent, in hexadecimal digits; `None` while nothing was.
    pub digest: Option<String>,
    /// Until when it is kept.
    pub expires_at: DateTime<Utc>,
}

/// What became of bytes that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// They are kept; also when the same were kept before.
    Kept,
    /// Others were sent before.
    Taken,
    /// There is no such upload of the caller's any more.
    Gone,
}

/// Uploads until they are attached or expire, each for who announced it.
#[async_trait]
pub trait UploadStore: Send + Sync {
    /// Makes room, unless what the tenant has open would take more than `ceiling` bytes with it: then `false`.
    async fn insert(&self, ctx: &Ctx, upload: &NewUpload, ceiling: u64) -> Result<bool, StoreError>;

    /// An upload of the caller's own; `None` also for one that has expired.
    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<Option<Upload>, StoreError>;

    /// Keeps what was sent, until then. The bytes are as many as were announced.
    async fn receive(
        &self,
        ctx: &Ctx,
        id: Uuid,
        content: &FileContent,
        digest: &str,
        until: DateTime<Utc>,
    ) -> Result<Receipt, StoreError>;

    /// What was sent, to be attached: kept until then at the least, so that a lost answer can be looked into. `None` when
    /// nothing was sent, and once it was attached.
    async fn content(
        &self,
        ctx: &Ctx,
        id: Uuid,
        until: DateTime<Utc>,
    ) -> Result<Option<FileContent>, StoreError>;

    /// Forgets the content, and keeps what tells a repeated call what was attached until then.
    async fn attached(&self, ctx: &Ctx, id: Uuid, until: DateTime<Utc>) -> Result<(), StoreError>;

    /// Removes what has expired, of all tenants, some at a time; how many it was. For workers.
    async fn prune(&self) -> Result<u64, StoreError>;
}
