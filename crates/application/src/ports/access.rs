use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Grant, KeyId, KeyKind, Scopes, Slug, Tenant};

use super::StoreError;
use crate::Ctx;

/// A key to be stored: its keyed hash, never the key.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// The public part.
    pub public_id: String,
    /// HMAC-SHA-256 of the secret part.
    pub mac: [u8; 32],
    /// Its name.
    pub name: String,
    /// What it is meant for.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is narrowed to.
    pub grant: Grant,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A stored key, as needed to check a presented one.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// Its tenant.
    pub tenant: Tenant,
    /// Its id.
    pub id: KeyId,
    /// HMAC-SHA-256 of the secret part.
    pub mac: [u8; 32],
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is narrowed to.
    pub grant: std::sync::Arc<Grant>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Tenants and their keys.
#[async_trait]
pub trait AccessStore: Send + Sync {
    /// Creates a tenant. [`StoreError::Conflict`] when the slug is taken.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// `None` when there is no such tenant. For operators only: no request names a tenant.
    async fn find_tenant(&self, slug: &Slug) -> Result<Option<Tenant>, StoreError>;

    /// Stores a key of the tenant.
    async fn insert_key(&self, ctx: &Ctx, key: &NewKey) -> Result<(), StoreError>;

    /// Looks a key up by its public part, in any tenant. `None` when unknown or revoked.
    async fn find_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError>;
}
