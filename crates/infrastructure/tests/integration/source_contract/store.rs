//! The real engine with PostgreSQL behind a tracker: what a user would have.

use application::Ctx;
use application::connections::Connections;
use application::limits::{LimitService, Quotas};
use application::ports::{Clock, Ids, InstanceStore, SyncStore, Vault};
use application::sync::{SliceLimits, SyncEngine, SyncService};
use domain::{Instance, InstanceStatus, Quota, Run};
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::limiter::Limiter;
use patchbay_infrastructure::postgres::{PgInstances, PgMappings, PgSync};
use sqlx::Row;
use tokio_util::sync::CancellationToken;

use super::world::Tracker;
use super::*;
use crate::support::TestDb;

/// Slices after which a run has had its chance.
const MOST_SLICES: usize = 40;

/// An installation with one instance, connected to a tracker.
pub(super) struct Installation {
    test: TestDb,
    ctx: Ctx,
    runs: SyncService,
    engine: SyncEngine,
    instance: InstanceId,
    tracker: String,
    name: Arc<dyn world::World>,
}

impl Installation {
    pub(super) async fn of(tracker: &Tracker) -> Self {
        let test = TestDb::new().await;
        let ctx = test.ctx("acme").await;
        let (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let vault: Arc<dyn Vault> = Arc::new(test.vault().await);
        let instances: Arc<dyn InstanceStore> = Arc::new(PgInstances::new(test.db.clone(), test.audit()));
        let sync: Arc<dyn SyncStore> = Arc::new(PgSync::new(test.db.clone(), test.audit()));
        let mappings = Arc::new(PgMappings::new(test.db.clone(), test.audit()));
        let connections = Connections::new(instances.clone(), vault, registry(), mappings, clock.clone());
        let instance = Instance {
            id: InstanceId::new(Uuid::now_v7()),
            slug: "tracker".parse().unwrap(),
            source: SourceKind::new(tracker.world.source()),
            name: "tracker".into(),
            base_url: tracker.connection.base_url.clone(),
            settings: tracker.connection.settings.clone(),
            status: InstanceStatus::Active,
            created_at: clock.now(),
            updated_at: clock.now(),
        };
        let sealed = connections.seal(&ctx, instance.id, &tracker.connection.credential).await.unwrap();
        instances.insert(&ctx, &instance, &sealed).await.unwrap();
        // No case is about the budget.
        let quotas = Quotas { upstream: Some(Quota::per(1_000_000, 60, 1_000_000)), ..Quotas::default() };
        let engine = SyncEngine::new(
            sync.clone(),
            connections,
            registry(),
            clock,
            ids.clone(),
            Arc::new(LimitService::new(Limiter::in_process(None), quotas)),
            SliceLimits {
                pages: 50,
                first_wait: Duration::from_millis(1),
                max_failures: 4,
                ..SliceLimits::default()
            },
        );
        Self {
            runs: SyncService::new(sync, instances, ids),
            engine,
            instance: instance.id,
            tracker: tracker.name().to_owned(),
            name: tracker.world.clone(),
            test,
            ctx,
        }
    }

    /// A run to its end, whichever that is.
    pub(super) async fn run(&self, kind: RunKind) -> Run {
        let (ctx, instance) = (&self.ctx, self.instance);
        let id = match kind {
            RunKind::Backfill => self.runs.start_backfill(ctx, instance).await,
            RunKind::Reconcile => self.runs.start_reconcile(ctx, instance, false).await,
            _ => self.runs.start_sync(ctx, instance).await,
        };
        let id = id.unwrap();
        let stop = CancellationToken::new();
        for _ in 0..MOST_SLICES {
            self.engine.run_slice(ctx, id, &stop).await.unwrap();
            let run = self.runs.get_run(ctx, id).await.unwrap();
            if run.state.is_final() {
                return run;
            }
        }
        panic!(
            "{}: the {} does not end: {:?}",
            self.tracker,
            kind.as_str(),
            self.runs.get_run(ctx, id).await
        );
    }

    pub(super) async fn succeeds(&self, kind: RunKind) {
        let run = self.run(kind).await;
        assert_eq!(run.state, RunState::Succeeded, "{}, {}: {run:?}", self.tracker, kind.as_str());
    }

    /// The items that are stored and not deleted.
    async fn stored(&self) -> world::Items {
        let statement = "select source_id, source_key, updated_at from work_items where deleted_at is null";
        let rows = sqlx::query(statement).fetch_all(&mut self.test.admin().await).await.unwrap();
        rows.iter()
            .map(|row| {
                let (id, key): (String, String) = (row.get(0), row.get(1));
                let name = self.name.item_name(&id, &key);
                (id, (name, row.get(2)))
            })
            .collect()
    }

    /// Ids and keys of the items that are stored.
    pub(super) async fn keys(&self) -> Vec<(String, String)> {
        let statement = "select source_id, source_key from work_items where deleted_at is null order by 1";
        let rows = sqlx::query(statement).fetch_all(&mut self.test.admin().await).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn number(&self, statement: &'static str) -> i64 {
        sqlx::query(statement).fetch_one(&mut self.test.admin().await).await.unwrap().get(0)
    }

    pub(super) async fn comments(&self) -> usize {
        let statement = "select count(*) from comments where kind = 'comment'";
        usize::try_from(self.number(statement).await).unwrap()
    }

    pub(super) async fn longest_text(&self) -> i64 {
        self.number("select max(length(body))::bigint from work_items").await
    }

    /// The tracker's items are stored as they are now, no other, and none waits for its details.
    pub(super) async fn assert_is(&self, tracker: &Tracker, what: &str) {
        self.assert_is_later(tracker, TimeDelta::zero(), what).await;
    }

    /// As [`Self::assert_is`], where the tracker's times were told later than they are.
    pub(super) async fn assert_is_later(&self, tracker: &Tracker, by: TimeDelta, what: &str) {
        let mut stored = self.stored().await;
        stored.values_mut().for_each(|(_, updated)| *updated -= by);
        tracker.assert_are(&stored, true, what);
        self.assert_nothing_waits(what).await;
    }

    /// As [`Self::assert_is`], whatever the times are.
    pub(super) async fn assert_names(&self, tracker: &Tracker, what: &str) {
        tracker.assert_are(&self.stored().await, false, what);
        self.assert_nothing_waits(what).await;
    }

    async fn assert_nothing_waits(&self, what: &str) {
        let waiting = self.number("select count(*) from work_item_details_pending").await;
        assert_eq!(waiting, 0, "{}, {what}: details wait", self.tracker);
    }
}
