//! Tenants, and who presents a key.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{KeyId, Slug, Tenant, TenantId};

use super::Memory;
use crate::ports::{AccessStore, KeyOwner, KnownKey, StoreError};

#[async_trait]
impl AccessStore for Memory {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.reach("tenants.create").await?;
        let mut state = self.state();
        if state.tenants.iter().any(|other| other.slug == tenant.slug) {
            return Err(StoreError::Conflict("a tenant of that name"));
        }
        state.tenants.push(tenant.clone());
        Ok(())
    }

    async fn find_tenant(&self, slug: &Slug) -> Result<Option<Tenant>, StoreError> {
        self.reach("tenants.find").await?;
        Ok(self.state().tenants.iter().find(|tenant| tenant.slug == *slug).cloned())
    }

    async fn find_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError> {
        self.reach("keys.find").await?;
        let state = self.state();
        let Some(stored) =
            state.keys.iter().find(|row| row.key.public_id == public_id && row.key.revoked_at.is_none())
        else {
            return Ok(None);
        };
        let Some(tenant) = state.tenants.iter().find(|tenant| tenant.id == stored.tenant) else {
            return Ok(None);
        };
        let role = |user| {
            let mut members = state.members.iter();
            members.find(|(of, member)| *of == stored.tenant && member.user == user).map(|(_, row)| row.role)
        };
        let key = stored.key.clone();
        Ok(Some(KnownKey {
            tenant: tenant.clone(),
            id: key.id,
            mac: stored.mac,
            name: key.name,
            kind: key.kind,
            scopes: key.scopes,
            grant: Arc::new(key.grant),
            expires_at: key.expires_at,
            owner: key.user.map(|user| KeyOwner { user, role: role(user) }),
        }))
    }

    async fn find_key_of(&self, tenant: TenantId, key: KeyId) -> Result<Option<KnownKey>, StoreError> {
        let public_id = {
            let state = self.state();
            let found = state.keys.iter().find(|row| row.tenant == tenant && row.key.id == key);
            found.map(|row| row.key.public_id.clone())
        };
        match public_id {
            Some(public_id) => self.find_key(&public_id).await,
            None => Ok(None),
        }
    }

    fn note_use(&self, tenant: TenantId, key: KeyId, at: DateTime<Utc>) {
        for stored in &mut self.state().keys {
            if stored.tenant == tenant && stored.key.id == key {
                stored.key.last_used_at = Some(at);
            }
        }
    }
}
