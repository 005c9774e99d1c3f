//! Webhooks and their deliveries.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::webhook::MOST_ATTEMPTS;
use domain::{InstanceId, TenantId, WebhookDelivery, WebhookState};
use uuid::Uuid;

use super::instances::page_of;
use super::{Memory, moment};
use crate::Ctx;
use crate::ports::{
    KnownWebhook, ListCursor, ListPage, Listing, NewDelivery, OpenDelivery, PutOff, Registration, Sealed,
    StoreError, StoredWebhook, WebhookStore,
};

/// A webhook, and whom it is of.
#[derive(Debug)]
pub(super) struct KeptWebhook {
    tenant: TenantId,
    instance: InstanceId,
    digest: [u8; 32],
    handshake_open: bool,
    stored: StoredWebhook,
}

/// A delivery, and whom it is of.
#[derive(Debug)]
pub(super) struct KeptDelivery {
    tenant: TenantId,
    instance: InstanceId,
    delivery: WebhookDelivery,
}

impl Memory {
    fn change(&self, ctx: &Ctx, id: InstanceId, change: impl FnOnce(&mut KeptWebhook)) -> bool {
        let mut state = self.state();
        let kept = state.webhooks.iter_mut().find(|kept| kept.tenant == ctx.tenant && kept.instance == id);
        kept.map(change).is_some()
    }

    fn change_deliveries(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        which: impl Fn(&WebhookDelivery) -> bool,
        change: impl Fn(&mut WebhookDelivery),
    ) {
        let mut state = self.state();
        let kept = state.deliveries.iter_mut();
        kept.filter(|kept| kept.tenant == ctx.tenant && kept.instance == id && which(&kept.delivery))
            .for_each(|kept| change(&mut kept.delivery));
    }
}

#[async_trait]
impl WebhookStore for Memory {
    async fn find_by_token(&self, digest: &[u8; 32]) -> Result<Option<KnownWebhook>, StoreError> {
        self.reach("webhooks.find_by_token").await?;
        let state = self.state();
        let Some(kept) = state.webhooks.iter().find(|kept| kept.digest == *digest) else { return Ok(None) };
        let instance = state.instances.iter().find(|(_, row, _)| row.id == kept.instance);
        Ok(instance.map(|(_, instance, _)| KnownWebhook {
            tenant: kept.tenant,
            served: true,
            instance: kept.instance,
            source: instance.source.clone(),
            sealed: kept.stored.sealed.clone(),
            handshake_open: kept.handshake_open,
        }))
    }

    async fn store(&self, new: NewDelivery) -> Result<bool, StoreError> {
        self.reach("webhooks.store").await?;
        let mut state = self.state();
        let known = state
            .deliveries
            .iter()
            .any(|kept| kept.instance == new.instance && kept.delivery.delivery_id == new.delivery_id);
        if !known {
            state.deliveries.push(KeptDelivery {
                tenant: new.tenant,
                instance: new.instance,
                delivery: WebhookDelivery {
                    id: new.id,
                    delivery_id: new.delivery_id,
                    event: new.event,
                    hints: new.hints,
                    received_at: new.received_at,
                    applied_at: None,
                    attempts: 0,
                    problem: None,
                },
            });
        }
        Ok(!known)
    }

    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<StoredWebhook>, StoreError> {
        self.reach("webhooks.find").await?;
        let state = self.state();
        let kept = state.webhooks.iter().find(|kept| kept.tenant == ctx.tenant && kept.instance == instance);
        Ok(kept.map(|kept| kept.stored.clone()))
    }

    async fn prepare(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        digest: &[u8; 32],
        sealed: &Sealed,
        managed: bool,
        handshake: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.reach("webhooks.prepare").await?;
        let changed = self.change(ctx, instance, |kept| {
            kept.stored.sealed = sealed.clone();
            kept.stored.managed = managed;
            kept.handshake_open = handshake.is_some();
        });
        if !changed {
            self.state().webhooks.push(KeptWebhook {
                tenant: ctx.tenant,
                instance,
                digest: *digest,
                handshake_open: handshake.is_some(),
                stored: StoredWebhook {
                    sealed: sealed.clone(),
                    managed,
                    state: WebhookState::Pending,
                    registration: Registration::default(),
                    problem: None,
                    created_at: moment(),
                    last_delivery_at: None,
                },
            });
        }
        Ok(())
    }

    async fn replace_secrets(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError> {
        self.reach("webhooks.replace_secrets").await?;
        let mut replaced = false;
        self.change(ctx, instance, |kept| {
            replaced = kept.stored.sealed == *old;
            if replaced {
                kept.stored.sealed = new.clone();
            }
        });
        Ok(replaced)
    }

    async fn open_handshake(&self, ctx: &Ctx, instance: InstanceId, _: Duration) -> Result<(), StoreError> {
        self.reach("webhooks.open_handshake").await?;
        self.change(ctx, instance, |kept| kept.handshake_open = true);
        Ok(())
    }

    async fn registered(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        registration: &Registration,
        _: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.reach("webhooks.registered").await?;
        self.change(ctx, instance, |kept| {
            kept.handshake_open = false;
            kept.stored.state = WebhookState::Active;
            kept.stored.problem = None;
            kept.stored.registration = registration.clone();
        });
        Ok(())
    }

    async fn failing(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        problem: &str,
        _: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.reach("webhooks.failing").await?;
        self.change(ctx, instance, |kept| {
            kept.handshake_open = false;
            kept.stored.state = WebhookState::Failing;
            kept.stored.problem = Some(problem.to_owned());
        });
        Ok(())
    }

    async fn remove(&self, ctx: &Ctx, instance: InstanceId) -> Result<bool, StoreError> {
        self.reach("webhooks.remove").await?;
        let mut state = self.state();
        let before = state.webhooks.len();
        state.webhooks.retain(|kept| kept.tenant != ctx.tenant || kept.instance != instance);
        state.deliveries.retain(|kept| kept.tenant != ctx.tenant || kept.instance != instance);
        Ok(state.webhooks.len() < before)
    }

    async fn deliveries(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        page: &ListPage,
    ) -> Result<Listing<WebhookDelivery>, StoreError> {
        self.reach("webhooks.deliveries").await?;
        let state = self.state();
        let mine = state.deliveries.iter().rev();
        let mine = mine.filter(|kept| kept.tenant == ctx.tenant && kept.instance == instance);
        let rows = mine.map(|kept| kept.delivery.clone()).collect();
        Ok(page_of(rows, page, |row| ListCursor { after: String::new(), id: row.id }))
    }

    async fn replay(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        delivery: Uuid,
    ) -> Result<Option<WebhookDelivery>, StoreError> {
        self.reach("webhooks.replay").await?;
        self.change_deliveries(
            ctx,
            instance,
            |kept| kept.id == delivery,
            |kept| {
                (kept.applied_at, kept.attempts, kept.problem) = (None, 0, None);
            },
        );
        let state = self.state();
        let found = state.deliveries.iter().find(|kept| {
            kept.tenant == ctx.tenant && kept.instance == instance && kept.delivery.id == delivery
        });
        Ok(found.map(|kept| kept.delivery.clone()))
    }

    async fn open_deliveries(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        limit: i64,
    ) -> Result<Vec<OpenDelivery>, StoreError> {
        self.reach("webhooks.open_deliveries").await?;
        let state = self.state();
        let mine =
            state.deliveries.iter().filter(|kept| kept.tenant == ctx.tenant && kept.instance == instance);
        let open = mine.map(|kept| &kept.delivery);
        Ok(open
            .filter(|delivery| delivery.applied_at.is_none() && delivery.attempts < MOST_ATTEMPTS)
            .take(usize::try_from(limit).unwrap_or(0))
            .map(|delivery| OpenDelivery {
                id: delivery.id,
                hints: delivery.hints.clone(),
                attempts: delivery.attempts,
            })
            .collect())
    }

    async fn put_off(&self, ctx: &Ctx, instance: InstanceId, what: PutOff<'_>) -> Result<(), StoreError> {
        self.reach("webhooks.put_off").await?;
        self.change_deliveries(
            ctx,
            instance,
            |kept| what.deliveries.contains(&kept.id),
            |kept| {
                kept.attempts += what.attempts;
                kept.problem = Some(what.problem.to_owned());
            },
        );
        Ok(())
    }

    async fn retry_later(&self, _: &Ctx, _: InstanceId) -> Result<(), StoreError> {
        self.reach("webhooks.retry_later").await
    }

    async fn skip_open(&self, ctx: &Ctx, instance: InstanceId, reason: &str) -> Result<(), StoreError> {
        self.reach("webhooks.skip_open").await?;
        self.change_deliveries(
            ctx,
            instance,
            |kept| kept.applied_at.is_none(),
            |kept| (kept.applied_at, kept.problem) = (Some(moment()), Some(reason.to_owned())),
        );
        Ok(())
    }

    async fn claim_renewals(&self, _: i64, _: Duration) -> Result<Vec<(TenantId, InstanceId)>, StoreError> {
        self.reach("webhooks.claim_renewals").await?;
        Ok(Vec::new())
    }

    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.reach("webhooks.prune").await?;
        let mut state = self.state();
        let all = state.deliveries.len();
        state.deliveries.retain(|kept| kept.delivery.received_at >= before);
        Ok(u64::try_from(all - state.deliveries.len()).unwrap_or(u64::MAX))
    }
}
