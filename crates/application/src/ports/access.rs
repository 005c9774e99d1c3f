use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Grant, KeyId, KeyKind, Role, Scopes, Slug, Tenant, TenantId, UserId};

use super::StoreError;

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
    /// What it is meant for.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is narrowed to.
    pub grant: Arc<Grant>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whose it is.
    pub owner: Option<KeyOwner>,
}

/// The person whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOwner {
    /// The person.
    pub user: UserId,
    /// Their role in the key's tenant now; `None` when they are no member any more, or disabled.
    pub role: Option<Role>,
}

/// Tenants, and who presents a key.
#[async_trait]
pub trait AccessStore: Send + Sync {
    /// Creates a tenant. [`StoreError::Conflict`] when the slug is taken.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// `None` when there is no such tenant. For operators only: no request names a tenant.
    async fn find_tenant(&self, slug: &Slug) -> Result<Option<Tenant>, StoreError>;

    /// Looks a key up by its public part, in any tenant. `None` when unknown or revoked. At most 4 s old.
    async fn find_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError>;

    /// The same by the key's id, for what was made on its behalf. `None` also when it is of another tenant.
    async fn find_key_of(&self, tenant: TenantId, key: KeyId) -> Result<Option<KnownKey>, StoreError>;

    /// Notes that a key was used: at most once a minute for each key, later, and never in the way of a request.
    fn note_use(&self, tenant: TenantId, key: KeyId, at: DateTime<Utc>);
}
