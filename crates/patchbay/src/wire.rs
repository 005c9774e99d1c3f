//! Puts the parts together: the only place that knows which adapter stands behind which port.

use std::sync::Arc;
use std::time::Duration;

use application::access::AccessService;
use application::instances::InstanceService;
use application::ports::{Clock, Health, HealthCheck, Ids, InstanceStore, JobQueue, SyncStore, Vault};
use application::sync::{SliceLimits, SyncEngine, SyncService};
use application::templates::TemplateService;
use application::work_items::WorkItemService;
use application::{Services, ports};
use async_trait::async_trait;
use infrastructure::clock::{SystemClock, SystemIds};
use infrastructure::egress::{EgressClient, EgressPolicy};
use infrastructure::postgres::{
    Db, GraphileQueue, PgAccess, PgInstances, PgSync, PgTemplateRunner, PgTemplates, PgWorkItems,
    QueueSettings,
};
use infrastructure::sources;
use infrastructure::vault::{MasterKey, PgVault};
use ipnet::IpNet;

/// Everything a serving process runs.
#[derive(Clone)]
pub(crate) struct Wiring {
    pub(crate) services: Services,
    pub(crate) engine: Arc<SyncEngine>,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) db: Db,
}

/// What differs between deployments.
#[derive(Debug, Clone)]
pub(crate) struct WireOptions {
    pub(crate) egress_allow: Vec<IpNet>,
    pub(crate) job_dead_after: Duration,
    pub(crate) key_env: &'static str,
}

impl Wiring {
    /// Opens the vault, proves the templates, and connects the parts.
    pub(crate) async fn new(db: Db, master: MasterKey, options: WireOptions) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let vault: Arc<dyn Vault> = Arc::new(PgVault::open(db.clone(), master).await?);
        let instances: Arc<dyn InstanceStore> = Arc::new(PgInstances::new(db.clone()));
        let sync: Arc<dyn SyncStore> = Arc::new(PgSync::new(db.clone()));
        let sources = sources::registry(EgressClient::new(EgressPolicy::new(options.egress_allow))?);
        let settings = QueueSettings {
            dead_after: options.job_dead_after,
            heartbeat: (options.job_dead_after / 4).min(Duration::from_secs(10)),
            ..QueueSettings::default()
        };
        let engine = SyncEngine::new(
            sync.clone(),
            vault.clone(),
            sources.clone(),
            clock.clone(),
            ids.clone(),
            SliceLimits::default(),
        );
        let services = Services {
            access: Arc::new(access(&db, vault.clone(), options.key_env)),
            instances: Arc::new(InstanceService::new(
                instances.clone(),
                sync.clone(),
                vault,
                sources,
                clock,
                ids.clone(),
            )),
            sync: Arc::new(SyncService::new(sync.clone(), instances, ids)),
            work_items: Arc::new(WorkItemService::new(Arc::new(PgWorkItems::new(db.clone())))),
            templates: Arc::new(TemplateService::new(
                Arc::new(PgTemplates::load(&db).await?),
                Arc::new(PgTemplateRunner::new(db.clone())),
                sync,
            )),
            health: Arc::new(DbHealth(db.clone())),
        };
        let queue = Arc::new(GraphileQueue::new(db.clone(), settings));
        Ok(Self { services, engine: Arc::new(engine), queue, db })
    }
}

impl std::fmt::Debug for Wiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wiring")
    }
}

/// The access service alone, for commands that need no more.
pub(crate) fn access(db: &Db, vault: Arc<dyn Vault>, key_env: &str) -> AccessService {
    AccessService::new(
        Arc::new(PgAccess::new(db.clone())),
        vault,
        Arc::new(SystemClock),
        Arc::new(SystemIds),
        key_env,
    )
}

/// Ready when the database answers.
struct DbHealth(Db);

#[async_trait]
impl Health for DbHealth {
    async fn check(&self) -> Vec<HealthCheck> {
        let answered = tokio::time::timeout(Duration::from_secs(2), self.0.ping()).await;
        let result = match answered {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ports::StoreError::Unavailable(_))) | Err(_) => {
                Err("the database does not answer; check that it runs and can be reached".to_owned())
            }
            Ok(Err(_)) => Err("the database refuses; run `patchbay doctor`".to_owned()),
        };
        vec![HealthCheck { name: "database", result }]
    }
}
