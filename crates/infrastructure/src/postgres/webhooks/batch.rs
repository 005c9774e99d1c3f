//! Storing deliveries: what comes while a transaction is under way is stored by the next one, all together. So a storm
//! costs a few commits, a lone delivery waits for nobody, and each is answered when its own transaction is on disk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use application::Ctx;
use application::ports::{NewDelivery, StoreError};
use domain::{InstanceId, RequestId, TenantId};
use futures::StreamExt;
use serde_json::Value;
use sqlx::types::Json;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::postgres::db::{Db, shared_error, store_error};
use crate::postgres::jobs;

/// Most deliveries that wait; more are turned away, and the tracker sends them again.
const MOST_WAITING: usize = 4_096;
/// Most deliveries of a transaction.
const MOST_AT_ONCE: usize = 500;
/// Transactions at once, each of another tenant.
const TENANTS_AT_ONCE: usize = 4;

type Answer = oneshot::Sender<Result<bool, StoreError>>;
type Waiting = (NewDelivery, Answer);

/// Hands deliveries to the task that stores them.
#[derive(Debug, Clone)]
pub(super) struct Batcher(mpsc::Sender<Waiting>);

impl Batcher {
    /// Starts the task; it ends when the last clone is dropped, with what it has.
    pub(super) fn start(db: Db) -> Self {
        let (sender, waiting) = mpsc::channel(MOST_WAITING);
        tokio::spawn(store_batches(db, waiting));
        Self(sender)
    }

    /// Answers when the delivery is on disk; `false` when it was before.
    pub(super) async fn store(&self, delivery: NewDelivery) -> Result<bool, StoreError> {
        let (answer, stored) = oneshot::channel();
        self.0
            .try_send((delivery, answer))
            .map_err(|_| StoreError::Unavailable("too many deliveries wait to be stored".into()))?;
        stored.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the process is ending".into())))
    }
}

async fn store_batches(db: Db, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(MOST_AT_ONCE);
    while waiting.recv_many(&mut batch, MOST_AT_ONCE).await > 0 {
        let mut by_tenant: HashMap<TenantId, Vec<Waiting>> = HashMap::new();
        for one in batch.drain(..) {
            by_tenant.entry(one.0.tenant).or_default().push(one);
        }
        futures::stream::iter(by_tenant)
            .for_each_concurrent(TENANTS_AT_ONCE, |(tenant, all)| store_and_answer(&db, tenant, all))
            .await;
    }
}

async fn store_and_answer(db: &Db, tenant: TenantId, all: Vec<Waiting>) {
    let (deliveries, answers): (Vec<NewDelivery>, Vec<Answer>) = all.into_iter().unzip();
    match store(db, tenant, &deliveries).await {
        Ok(new) => {
            for (delivery, answer) in deliveries.iter().zip(answers) {
                // Whoever waited may have gone; the delivery is stored all the same.
                let _ = answer.send(Ok(new.contains(&delivery.id)));
            }
        }
        Err(error) => {
            if !matches!(error, StoreError::Unavailable(_)) {
                tracing::error!(error = &error as &dyn std::error::Error, "Deliveries could not be stored");
            }
            let error = Arc::new(error);
            for answer in answers {
                let _ = answer.send(Err(shared_error(error.clone())));
            }
        }
    }
}

/// Those that were not there before.
async fn store(db: &Db, tenant: TenantId, all: &[NewDelivery]) -> Result<BTreeSet<Uuid>, StoreError> {
    let ctx = Ctx::system(tenant, "webhooks", RequestId::new(Uuid::now_v7()));
    let ids: Vec<Uuid> = all.iter().map(|one| one.id).collect();
    let instances: Vec<Uuid> = all.iter().map(|one| one.instance.as_uuid()).collect();
    let delivery_ids: Vec<&str> = all.iter().map(|one| one.delivery_id.as_str()).collect();
    let events: Vec<&str> = all.iter().map(|one| one.event.as_str()).collect();
    let hints = all.iter().map(|one| serde_json::to_value(&one.hints).map(Json));
    let hints: Vec<Json<Value>> =
        hints.collect::<Result<_, _>>().map_err(|error| StoreError::Internal(Box::new(error)))?;
    let times: Vec<_> = all.iter().map(|one| one.received_at).collect();
    let mut tx = db.tenant_tx(&ctx).await?;
    // Those whose webhook was removed meanwhile are left out: nobody wants them any more.
    let stored: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "insert into webhook_deliveries (tenant_id, id, instance_id, delivery_id, event, hints, received_at)
         select w.tenant_id, n.id, n.instance_id, n.delivery_id, n.event, n.hints, n.received_at
         from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[], $7::timestamptz[])
             as n (id, instance_id, delivery_id, event, hints, received_at)
         join webhook_subscriptions w on w.tenant_id = $1 and w.instance_id = n.instance_id
         on conflict (tenant_id, instance_id, delivery_id) do nothing
         returning id, instance_id",
    )
    .bind(tenant.as_uuid())
    .bind(&ids)
    .bind(&instances)
    .bind(&delivery_ids)
    .bind(&events)
    .bind(&hints)
    .bind(&times)
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?;
    // The first delivery proves one that an admin has set up. Once a second is enough to say when the last one came.
    sqlx::query(
        "update webhook_subscriptions w set last_delivery_at = n.at,
             state = case when w.managed then w.state else 'active' end,
             problem = case when w.managed then w.problem end
         from (select instance_id, max(received_at) as at from unnest($2::uuid[], $3::timestamptz[])
                   as n (instance_id, received_at) group by instance_id) n
         where w.tenant_id = $1 and w.instance_id = n.instance_id
           and (w.last_delivery_at is null or w.last_delivery_at < n.at - interval '1 second')",
    )
    .bind(tenant.as_uuid())
    .bind(&instances)
    .bind(&times)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    let concerned: BTreeSet<Uuid> = stored.iter().map(|(_, instance)| *instance).collect();
    for instance in concerned {
        jobs::enqueue_hints(&mut tx, tenant, InstanceId::new(instance), None).await?;
    }
    tx.commit().await.map_err(store_error)?;
    Ok(stored.into_iter().map(|(id, _)| id).collect())
}
