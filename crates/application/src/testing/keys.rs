//! Keys.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::api_key::{ApiKey, RANDOM_BYTES};
use domain::{Grant, InstanceId, KeyId, KeyKind, Scope, Scopes, TenantId};
use secrecy::ExposeSecret;

use super::instances::page_of;
use super::outside::mac;
use super::{Memory, TENANT, moment};
use crate::Ctx;
use crate::ports::{Ids, Key, KeyStore, ListCursor, ListPage, Listing, NewKey, Rotation, StoreError};

#[derive(Debug)]
pub(super) struct StoredKey {
    pub(super) tenant: TenantId,
    pub(super) mac: [u8; 32],
    pub(super) key: Key,
}

impl Memory {
    /// Makes a key of the first tenant with these scopes, and returns its text.
    pub fn key(&self, scopes: &[Scope]) -> String {
        self.key_of(TENANT, scopes)
    }

    /// Makes a key of a tenant with these scopes, and returns its text.
    pub fn key_of(&self, tenant: TenantId, scopes: &[Scope]) -> String {
        let mut random = [0u8; RANDOM_BYTES];
        self.fill(&mut random);
        let text = ApiKey::generate("test", &random);
        let new = NewKey {
            id: KeyId::new(self.uuid()),
            public_id: text.public_id().to_owned(),
            mac: mac(text.secret()),
            name: "a test".into(),
            kind: KeyKind::Service,
            scopes: Scopes::new(scopes.iter().copied()).expect("a test names at least one scope"),
            grant: Grant::default(),
            user: None,
            created_at: moment(),
            expires_at: None,
        };
        self.state().keys.push(stored(tenant, &new, None));
        text.reveal().expose_secret().to_owned()
    }

    /// Revokes every key.
    pub fn revoke_all_keys(&self) {
        for stored in &mut self.state().keys {
            stored.key.revoked_at = Some(moment());
        }
    }
}

fn stored(tenant: TenantId, new: &NewKey, made_by: Option<(&Ctx, Option<KeyId>)>) -> StoredKey {
    let key = Key {
        id: new.id,
        public_id: new.public_id.clone(),
        name: new.name.clone(),
        kind: new.kind,
        scopes: new.scopes.clone(),
        grant: new.grant.clone(),
        user: new.user,
        created_at: new.created_at,
        created_by: made_by.map(|(ctx, _)| ctx.principal.label().to_owned()),
        expires_at: new.expires_at,
        last_used_at: None,
        revoked_at: None,
        revoked_by: None,
        rotated_from: made_by.and_then(|(_, old)| old),
    };
    StoredKey { tenant, mac: new.mac, key }
}

#[async_trait]
impl KeyStore for Memory {
    async fn unknown_instances(
        &self,
        ctx: &Ctx,
        ids: &BTreeSet<InstanceId>,
    ) -> Result<Vec<InstanceId>, StoreError> {
        self.reach("keys.unknown_instances").await?;
        let state = self.state();
        let has = |id: &&InstanceId| {
            ctx.grant.instances.allows(*id)
                && state.instances.iter().any(|(tenant, row, _)| *tenant == ctx.tenant && row.id == **id)
        };
        Ok(ids.iter().filter(|id| !has(id)).copied().collect())
    }

    async fn insert(&self, ctx: &Ctx, key: &NewKey) -> Result<(), StoreError> {
        self.reach("keys.insert").await?;
        self.state().keys.push(stored(ctx.tenant, key, Some((ctx, None))));
        Ok(())
    }

    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Key>, StoreError> {
        self.reach("keys.list").await?;
        let state = self.state();
        let mine = state.keys.iter().rev().filter(|row| row.tenant == ctx.tenant);
        let rows = mine.map(|row| row.key.clone()).filter(|key| ctx.grant.covers(&key.grant)).collect();
        Ok(page_of(rows, page, |key: &Key| ListCursor {
            after: key.created_at.to_rfc3339(),
            id: key.id.as_uuid(),
        }))
    }

    async fn find(&self, ctx: &Ctx, id: KeyId) -> Result<Option<Key>, StoreError> {
        self.reach("keys.find_one").await?;
        let state = self.state();
        let found = state.keys.iter().find(|row| row.tenant == ctx.tenant && row.key.id == id);
        Ok(found.map(|row| row.key.clone()).filter(|key| ctx.grant.covers(&key.grant)))
    }

    async fn revoke(&self, ctx: &Ctx, id: KeyId) -> Result<bool, StoreError> {
        self.reach("keys.revoke").await?;
        let mut state = self.state();
        let found = state.keys.iter_mut().find(|row| row.tenant == ctx.tenant && row.key.id == id);
        let Some(row) = found.filter(|row| row.key.revoked_at.is_none()) else { return Ok(false) };
        row.key.revoked_at = Some(moment());
        row.key.revoked_by = Some(ctx.principal.label().to_owned());
        Ok(true)
    }

    async fn rotate(
        &self,
        ctx: &Ctx,
        old: KeyId,
        new: &NewKey,
        old_expires_at: DateTime<Utc>,
    ) -> Result<Rotation, StoreError> {
        self.reach("keys.rotate").await?;
        let mut state = self.state();
        let place = state
            .keys
            .iter()
            .position(|row| row.tenant == ctx.tenant && row.key.id == old && row.key.is_active(moment()));
        let Some(place) = place else { return Ok(Rotation::NotFound) };
        let before = state.keys[place].key.rotated_from;
        let relative = |row: &StoredKey| row.key.rotated_from == Some(old) || Some(row.key.id) == before;
        if state.keys.iter().any(|row| relative(row) && row.key.is_active(moment())) {
            return Ok(Rotation::TwoActive);
        }
        let end = state.keys[place].key.expires_at.map_or(old_expires_at, |at| at.min(old_expires_at));
        state.keys[place].key.expires_at = Some(end);
        state.keys.push(stored(ctx.tenant, new, Some((ctx, Some(old)))));
        Ok(Rotation::Done)
    }
}
