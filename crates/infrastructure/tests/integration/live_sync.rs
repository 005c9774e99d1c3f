//! What keeps data fresh without anybody asking: webhook deliveries, schedules, and room for both beside huge backfills.
//! On real PostgreSQL and the real queue, with a tracker in memory.
#![allow(unreachable_pub, missing_debug_implementations, reason = "modules of one test")]

use crate::support;

mod deliveries;
mod fairness;
mod gathering;
mod registration;
mod schedules;
mod source;

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::connections::Connections;
use application::jobs::Jobs;
use application::limits::{LimitService, Quotas};
use application::ports::{
    Clock, Ids, InstanceStore, JobHandler, JobQueue, ScheduleStore, Sources, SyncStore, Vault, WebhookStore,
};
use application::schedules::ScheduleService;
use application::slots::Slots;
use application::sync::{SliceLimits, SyncEngine, SyncService};
use application::tenants::TenantService;
use application::webhooks::{HintApplier, WebhookParts, WebhookService};
use domain::{Credential, Instance, InstanceId, InstanceStatus, SourceKind};
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::limiter::Limiter;
use patchbay_infrastructure::postgres::{
    GraphileQueue, PgInstances, PgMappings, PgSchedules, PgSync, PgTenants, PgWebhooks, PoolSizes,
    QueueSettings,
};
use sqlx::Row;
use support::TestDb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use source::Scripted;

/// Everything of one installation around a tracker in memory.
struct World {
    test: TestDb,
    tracker: Scripted,
    instances: Arc<dyn InstanceStore>,
    schedule_store: Arc<dyn ScheduleStore>,
    webhook_store: Arc<dyn WebhookStore>,
    schedules: Arc<ScheduleService>,
    runs: Arc<SyncService>,
    webhooks: WebhookService,
    parts: WebhookParts,
    connections: Connections,
    queue: Arc<GraphileQueue>,
    jobs: Arc<Jobs>,
    stop: CancellationToken,
}

impl World {
    async fn new() -> Self {
        Self::with(SliceLimits::default(), 4).await
    }

    async fn with(limits: SliceLimits, slots: usize) -> Self {
        Self::with_slots(limits, Slots::new(slots)).await
    }

    async fn with_slots(limits: SliceLimits, slots: Slots) -> Self {
        let test = TestDb::with_pools(PoolSizes { app: 24, reader: 2, queue: 6 }).await;
        let tracker = Scripted::default();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let vault: Arc<dyn Vault> = Arc::new(test.vault().await);
        let sources = Sources::default().with(tracker.clone());
        let instances: Arc<dyn InstanceStore> = Arc::new(PgInstances::new(test.db.clone(), test.audit()));
        let sync: Arc<dyn SyncStore> = Arc::new(PgSync::new(test.db.clone(), test.audit()));
        let mappings = Arc::new(PgMappings::new(test.db.clone(), test.audit()));
        let connections =
            Connections::new(instances.clone(), vault.clone(), sources.clone(), mappings, clock.clone());
        let budgets = Arc::new(LimitService::new(Limiter::in_process(None), Quotas::default()));
        let queue = Arc::new(GraphileQueue::new(test.db.clone(), QueueSettings::default()));
        let slots = Arc::new(slots);
        let engine = SyncEngine::new(
            sync.clone(),
            connections.clone(),
            sources.clone(),
            clock.clone(),
            ids.clone(),
            budgets.clone(),
            limits,
        );
        let schedule_store: Arc<dyn ScheduleStore> =
            Arc::new(PgSchedules::new(test.db.clone(), test.audit()));
        let runs = Arc::new(SyncService::new(sync.clone(), instances.clone(), ids.clone()));
        let schedules = Arc::new(ScheduleService::new(
            schedule_store.clone(),
            instances.clone(),
            runs.clone(),
            sources.clone(),
            clock.clone(),
            ids.clone(),
        ));
        let webhook_store: Arc<dyn WebhookStore> = Arc::new(PgWebhooks::new(test.db.clone(), test.audit()));
        let parts = WebhookParts {
            store: webhook_store.clone(),
            instances: instances.clone(),
            connections: connections.clone(),
            sources,
            vault,
            limits: budgets,
            clock: clock.clone(),
            ids: ids.clone(),
            public_url: Some("https://patchbay.example/base/".parse().unwrap()),
        };
        let hints = HintApplier::new(parts.clone(), sync, schedules.clone(), queue.clone());
        let tenants = PgTenants::new(test.db.clone(), test.audit());
        let jobs = Jobs::new(
            Arc::new(engine.in_slots(slots.clone())),
            Arc::new(hints),
            Arc::new(TenantService::new(Arc::new(tenants), clock.clone(), ids)),
            queue.clone(),
            clock,
            slots,
        );
        Self {
            tracker,
            instances,
            schedule_store,
            webhook_store,
            schedules,
            runs,
            webhooks: WebhookService::new(parts.clone()),
            parts,
            connections,
            queue,
            jobs: Arc::new(jobs),
            stop: CancellationToken::new(),
            test,
        }
    }

    /// A new instance of the tracker in memory.
    async fn instance(&self, ctx: &Ctx, name: &str) -> InstanceId {
        let instance = Instance {
            id: InstanceId::new(Uuid::now_v7()),
            slug: name.parse().unwrap(),
            source: SourceKind::new("scripted"),
            name: name.to_owned(),
            base_url: "https://tracker.example".parse().unwrap(),
            settings: serde_json::json!({"name": name}),
            status: InstanceStatus::Active,
            created_at: SystemClock.now(),
            updated_at: SystemClock.now(),
        };
        let credential = Credential::Token { token: "t0ken".to_owned().into() };
        let sealed = self.connections.seal(ctx, instance.id, &credential).await.unwrap();
        self.instances.insert(ctx, &instance, &sealed).await.unwrap();
        instance.id
    }

    /// The same installation before anybody said where it is.
    fn without_address(&self) -> WebhookService {
        WebhookService::new(WebhookParts { public_url: None, ..self.parts.clone() })
    }

    /// Starts the worker; it ends with [`Self::end`].
    fn work(&self) -> tokio::task::JoinHandle<()> {
        let (queue, stop, slots) = (self.queue.clone(), self.stop.clone(), self.jobs.slots());
        let handler: Arc<dyn JobHandler> = self.jobs.clone();
        tokio::spawn(async move {
            let watch = slots.clone().watch(queue.clone(), stop.clone());
            let work = queue.run_worker(handler, slots.size(), Duration::from_secs(10), stop.clone());
            let ((), worked) = tokio::join!(watch, work);
            worked.unwrap();
        })
    }

    async fn end(&self, worker: tokio::task::JoinHandle<()>) {
        self.stop.cancel();
        worker.await.unwrap();
    }

    /// A number from the whole database.
    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query(statement).fetch_one(&mut self.test.admin().await).await.unwrap().get(0)
    }

    async fn execute(&self, statement: &'static str) -> u64 {
        sqlx::query(statement).execute(&mut self.test.admin().await).await.unwrap().rows_affected()
    }

    /// Waits until the number is this one; a minute at most.
    async fn wait_for(&self, statement: &'static str, wanted: i64) {
        let mut connection = self.test.admin().await;
        let mut last = None;
        for _ in 0..1_200 {
            let now: i64 = sqlx::query(statement).fetch_one(&mut connection).await.unwrap().get(0);
            if now == wanted {
                return;
            }
            last = Some(now);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{statement}: {last:?} and not {wanted} after a minute");
    }
}
