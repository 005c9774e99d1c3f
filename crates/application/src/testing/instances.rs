//! Instances.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Credential, Instance, InstanceId, InstanceStatus, SourceKind};
use uuid::Uuid;

use super::{INSTANCE, Memory, State, TENANT, moment};
use crate::Ctx;
use crate::ports::{
    CredentialRenewer, InstanceStore, ListCursor, ListPage, Listing, RefreshState, Renewal, Sealed,
    SecretRef, StoreError, StoredCredential,
};

pub(super) fn seed(state: &mut State) {
    for (id, name) in [(INSTANCE, "core"), (InstanceId::new(Uuid::from_u128(6)), "web")] {
        let instance = Instance {
            id,
            slug: name.parse().expect("the two names are good ones"),
            source: SourceKind::new("stub"),
            name: name.into(),
            base_url: "https://tracker.example".parse().expect("it is an address"),
            settings: serde_json::json!({}),
            status: InstanceStatus::Active,
            created_at: moment(),
            updated_at: moment(),
        };
        let credential = Credential::Token { token: "t0ken".to_owned().into() };
        let label = format!("{TENANT}/{:?}:", SecretRef::InstanceCredential(id));
        let sealed = Sealed([label.as_bytes(), &credential.to_plaintext()].concat());
        state.instances.push((TENANT, instance, sealed));
    }
    state.synced.insert(INSTANCE, moment());
}

/// As the store gives it out. Versions are not counted here.
pub(super) fn stored(sealed: &Sealed) -> StoredCredential {
    StoredCredential { sealed: sealed.clone(), version: 1, refresh: RefreshState::Ok, refreshed_ago: None }
}

/// The page of rows that are sorted as the list is.
pub(super) fn page_of<T>(rows: Vec<T>, page: &ListPage, cursor: impl Fn(&T) -> ListCursor) -> Listing<T> {
    let begin = page.cursor.as_ref().map_or(0, |after| {
        rows.iter().position(|row| cursor(row) == *after).map_or(rows.len(), |place| place + 1)
    });
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let more = rows.len() > begin + limit;
    let items: Vec<T> = rows.into_iter().skip(begin).take(limit).collect();
    let next = items.last().filter(|_| more).map(&cursor);
    Listing { items, next }
}

#[async_trait]
impl InstanceStore for Memory {
    async fn insert(&self, ctx: &Ctx, instance: &Instance, credential: &Sealed) -> Result<(), StoreError> {
        self.reach("instances.insert").await?;
        let mut state = self.state();
        if state
            .instances
            .iter()
            .any(|(tenant, other, _)| *tenant == ctx.tenant && other.slug == instance.slug)
        {
            return Err(StoreError::Conflict("an instance of that name"));
        }
        state.instances.push((ctx.tenant, instance.clone(), credential.clone()));
        Ok(())
    }

    async fn find(&self, ctx: &Ctx, id: InstanceId) -> Result<Option<Instance>, StoreError> {
        self.reach("instances.find").await?;
        let state = self.state();
        let found = state.instances.iter().find(|(tenant, row, _)| *tenant == ctx.tenant && row.id == id);
        Ok(found.map(|(_, instance, _)| instance.clone()))
    }

    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Instance>, StoreError> {
        self.reach("instances.list").await?;
        let state = self.state();
        let mine = state.instances.iter().rev().filter(|(tenant, ..)| *tenant == ctx.tenant);
        let rows = mine.map(|(_, instance, _)| instance.clone()).collect();
        Ok(page_of(rows, page, |row| ListCursor { after: row.created_at.to_rfc3339(), id: row.id.as_uuid() }))
    }

    async fn recent(&self, ctx: &Ctx) -> Result<Arc<[Instance]>, StoreError> {
        self.reach("instances.recent").await?;
        let state = self.state();
        let mine = state
            .instances
            .iter()
            .filter(|(tenant, row, _)| *tenant == ctx.tenant && ctx.grant.instances.allows(&row.id));
        let mut rows: Vec<Instance> = mine.map(|(_, instance, _)| instance.clone()).collect();
        rows.sort_by(|a, b| a.slug.as_str().cmp(b.slug.as_str()));
        Ok(rows.into())
    }

    async fn update(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        credential: Option<&Sealed>,
    ) -> Result<bool, StoreError> {
        self.reach("instances.update").await?;
        let mut state = self.state();
        let found = state
            .instances
            .iter_mut()
            .find(|(tenant, row, _)| *tenant == ctx.tenant && row.id == instance.id);
        let Some((_, row, sealed)) = found else { return Ok(false) };
        *row = instance.clone();
        if let Some(credential) = credential {
            *sealed = credential.clone();
        }
        Ok(true)
    }

    async fn delete(&self, ctx: &Ctx, id: InstanceId) -> Result<bool, StoreError> {
        self.reach("instances.delete").await?;
        let mut state = self.state();
        let before = state.instances.len();
        state.instances.retain(|(tenant, row, _)| *tenant != ctx.tenant || row.id != id);
        let deleted = state.instances.len() < before;
        if deleted {
            state.runs.retain(|(tenant, stored)| *tenant != ctx.tenant || stored.run.instance_id != id);
            state.items.retain(|(tenant, item)| *tenant != ctx.tenant || item.instance_id != id);
            state.synced.remove(&id);
        }
        Ok(deleted)
    }

    async fn credential(&self, ctx: &Ctx, id: InstanceId) -> Result<Option<StoredCredential>, StoreError> {
        self.reach("instances.credential").await?;
        let state = self.state();
        let found = state.instances.iter().find(|(tenant, row, _)| *tenant == ctx.tenant && row.id == id);
        Ok(found.map(|(.., sealed)| stored(sealed)))
    }

    async fn renew_credential(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        renewer: &dyn CredentialRenewer,
    ) -> Result<(), StoreError> {
        self.reach("instances.renew_credential").await?;
        let Some(held) = InstanceStore::credential(self, ctx, id).await? else { return Ok(()) };
        let renewal = renewer.renew(&held).await;
        let mut state = self.state();
        let mut found =
            state.instances.iter_mut().filter(|(tenant, row, _)| *tenant == ctx.tenant && row.id == id);
        match (found.next(), renewal) {
            (Some((.., sealed)), Renewal::Replaced(renewed)) => *sealed = renewed,
            (Some((_, instance, _)), Renewal::Refused) => instance.status = InstanceStatus::ReconnectRequired,
            _ => {}
        }
        Ok(())
    }
}
