use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Grant, InstanceId, KeyId, KeyKind, Scopes, UserId};

use super::{ListPage, Listing, StoreError};
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
    /// Whose it is: it allows no more than their role, and ends with their membership.
    pub user: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A stored key as a tenant's list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The public part, by which a leaked key is recognised.
    pub public_id: String,
    /// Its name.
    pub name: String,
    /// What it is meant for.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is narrowed to.
    pub grant: Grant,
    /// Whose it is.
    pub user: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// The key it took over from.
    pub rotated_from: Option<KeyId>,
}

impl Key {
    /// Whether it opens anything at this moment.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| expires > now)
    }
}

/// What came of rotating a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Done.
    Done,
    /// There is no such key in this tenant, or it is revoked or over.
    NotFound,
    /// It and the key it took over from, or the one that took over from it, are both good already.
    TwoActive,
}

/// Keys of tenants, as those who manage them see them.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Those of these instances that the tenant does not have, or the caller may not see.
    async fn unknown_instances(
        &self,
        ctx: &Ctx,
        ids: &BTreeSet<InstanceId>,
    ) -> Result<Vec<InstanceId>, StoreError>;

    /// Stores a key of the tenant.
    async fn insert(&self, ctx: &Ctx, key: &NewKey) -> Result<(), StoreError>;

    /// Newest first, the revoked ones included; only those that the caller's own grant covers.
    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Key>, StoreError>;

    /// `None` when it does not exist for this tenant, or is not covered by the caller's own grant.
    async fn find(&self, ctx: &Ctx, id: KeyId) -> Result<Option<Key>, StoreError>;

    /// Ends a key. `false` when there is none of that id in this tenant, or it is revoked already.
    async fn revoke(&self, ctx: &Ctx, id: KeyId) -> Result<bool, StoreError>;

    /// Stores the successor of a key and lets the older one end at `old_expires_at`, unless it ends before.
    async fn rotate(
        &self,
        ctx: &Ctx,
        old: KeyId,
        new: &NewKey,
        old_expires_at: DateTime<Utc>,
    ) -> Result<Rotation, StoreError>;
}
