//! Puts the parts together: the only place that knows which adapter stands behind which port.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use application::access::AccessService;
use application::audit::AuditService;
use application::authored::{AuthoringParts, AuthoringService};
use application::connections::Connections;
use application::idempotency::IdempotencyService;
use application::instances::InstanceService;
use application::item_writes::ItemWriteService;
use application::jobs::Jobs;
use application::keys::KeyService;
use application::limits::{LimitService, Quotas};
use application::live::{LiveLimits, LiveParts, LiveService};
use application::mappings::MappingService;
use application::members::MemberService;
use application::policy::PolicyService;
use application::ports::{
    Clock, Health, HealthCheck, IdempotencyStore, Ids, InstanceStore, JobQueue, MemberStore, SyncStore, Vault,
};
use application::schedules::ScheduleService;
use application::sign_in::{SignInParts, SignInService};
use application::slots::Slots;
use application::sync::{SliceLimits, SyncEngine, SyncService};
use application::templates::TemplateService;
use application::tenants::TenantService;
use application::webhooks::{HintApplier, WebhookParts, WebhookService};
use application::work_items::WorkItemService;
use application::writes::{WriteService, WriteSpans};
use application::{Services, ports};
use async_trait::async_trait;
use domain::Toolset;
use infrastructure::clock::{SystemClock, SystemIds};
use infrastructure::egress::{EgressClient, EgressPolicy};
use infrastructure::idempotency_cache::{CacheSettings, CachedIdempotency};
use infrastructure::postgres::{
    Db, GraphileQueue, PgAccess, PgAuditLog, PgAuthoredTemplates, PgBulkPlans, PgChanges, PgIdempotency,
    PgInstances, PgMappings, PgMembers, PgPolicies, PgSchedules, PgSessions, PgSync, PgTemplateProver,
    PgTemplateRunner, PgTemplates, PgTenants, PgUploads, PgWebhooks, PgWorkItems, PgWriteIntents,
    QueueSettings,
};
use infrastructure::sources;
use infrastructure::vault::{MasterKeys, PgVault};
use ipnet::IpNet;
use url::Url;

use crate::sign_in::SignIn;

/// Everything a serving process runs.
#[derive(Clone)]
pub(crate) struct Wiring {
    pub(crate) services: Services,
    /// What the worker does.
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) db: Db,
    audit: Arc<PgAuditLog>,
    connections: Connections,
}

/// What differs between deployments.
#[derive(Clone)]
pub(crate) struct WireOptions {
    pub(crate) egress_allow: Vec<IpNet>,
    pub(crate) job_dead_after: Duration,
    pub(crate) key_env: &'static str,
    /// Where people reach the installation.
    pub(crate) public_url: Option<Url>,
    pub(crate) limiter: Arc<dyn ports::RateLimiter>,
    pub(crate) quotas: Quotas,
    /// Whether reads go on the record.
    pub(crate) audit_reads: bool,
    /// Redis, for answers at hand; without it PostgreSQL gives them.
    pub(crate) answers_in_redis: Option<CacheSettings>,
    /// Who people sign in with.
    pub(crate) sign_in: SignIn,
    /// Jobs this process does at once.
    pub(crate) worker_slots: usize,
    /// Short queries of templates that run at once, when the usual number does not fit.
    pub(crate) short_templates: Option<u16>,
    /// The most templates that a tenant may have published.
    pub(crate) published_templates: i64,
    /// The sets of the Jira server's tools that anybody may have.
    pub(crate) jira_toolsets: BTreeSet<Toolset>,
}

impl Wiring {
    /// Opens the vault, proves the templates, and connects the parts.
    pub(crate) async fn new(db: Db, master: MasterKeys, options: WireOptions) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let pg_vault = Arc::new(PgVault::open(db.clone(), master).await?);
        let vault: Arc<dyn Vault> = pg_vault.clone();
        let chain = pg_vault.audit_chain();
        let instances: Arc<dyn InstanceStore> = Arc::new(PgInstances::new(db.clone(), chain.clone()));
        let sync: Arc<dyn SyncStore> = Arc::new(PgSync::new(db.clone(), chain.clone()));
        let audit = Arc::new(PgAuditLog::start(db.clone(), chain));
        let sources = sources::registry(EgressClient::new(EgressPolicy::new(options.egress_allow))?);
        let settings = QueueSettings {
            dead_after: options.job_dead_after,
            heartbeat: (options.job_dead_after / 4).min(Duration::from_secs(10)),
            ..QueueSettings::default()
        };
        let limits = Arc::new(LimitService::new(options.limiter, options.quotas));
        let mappings = Arc::new(PgMappings::new(db.clone(), pg_vault.audit_chain()));
        let connections = Connections::new(
            instances.clone(),
            vault.clone(),
            sources.clone(),
            mappings.clone(),
            clock.clone(),
        );
        let engine = SyncEngine::new(
            sync.clone(),
            connections.clone(),
            sources.clone(),
            clock.clone(),
            ids.clone(),
            limits.clone(),
            SliceLimits::default(),
        );
        let slots = Arc::new(Slots::new(options.worker_slots));
        let engine = engine.in_slots(slots.clone());
        let queue = Arc::new(GraphileQueue::new(db.clone(), settings));
        let sync_service = Arc::new(SyncService::new(sync.clone(), instances.clone(), ids.clone()));
        let schedules = Arc::new(ScheduleService::new(
            Arc::new(PgSchedules::new(db.clone(), pg_vault.audit_chain())),
            instances.clone(),
            sync_service.clone(),
            sources.clone(),
            clock.clone(),
            ids.clone(),
        ));
        let webhooks = WebhookParts {
            store: Arc::new(PgWebhooks::new(db.clone(), pg_vault.audit_chain())),
            instances: instances.clone(),
            connections: connections.clone(),
            sources: sources.clone(),
            vault: vault.clone(),
            limits: limits.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            public_url: options.public_url.clone(),
        };
        let hints = HintApplier::new(webhooks.clone(), sync.clone(), schedules.clone(), queue.clone());
        let tenants = Arc::new(tenants(&db, &pg_vault));
        let sessions_chain = pg_vault.audit_chain();
        let identities = Identities::new(&db, pg_vault.clone(), options.key_env, options.public_url);
        let sign_in = SignInService::new(SignInParts {
            provider: options.sign_in.provider,
            tokens: options.sign_in.tokens,
            sessions: Arc::new(PgSessions::new(db.clone(), sessions_chain)),
            members: identities.member_store,
            vault,
            audit: audit.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
        });
        let writes = WriteService::new(
            Arc::new(PgWriteIntents::new(db.clone(), pg_vault.clone(), pg_vault.audit_chain())),
            Arc::new(SystemIds),
            WriteSpans::default(),
        );
        let item_writes = ItemWriteService::new(
            instances.clone(),
            sources.clone(),
            connections.clone(),
            Arc::new(writes),
            limits.clone(),
            sync.clone(),
            clock.clone(),
        );
        let policies = Arc::new(PgPolicies::new(db.clone(), pg_vault.audit_chain()));
        let live = LiveService::new(LiveParts {
            instances: instances.clone(),
            sources: sources.clone(),
            connections: connections.clone(),
            limits: limits.clone(),
            vault: pg_vault.clone(),
            plans: Arc::new(PgBulkPlans::new(db.clone())),
            uploads: Arc::new(PgUploads::new(db.clone())),
            changes: Arc::new(PgChanges::new(db.clone())),
            items: Arc::new(PgWorkItems::new(db.clone())),
            sync: sync.clone(),
            policies: policies.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            bounds: LiveLimits::default(),
        });
        let catalog = Arc::new(PgTemplates::load(&db).await?);
        let authored = Arc::new(PgAuthoredTemplates::new(db.clone(), pg_vault.audit_chain()));
        let runner = PgTemplateRunner::new(db.clone());
        let runner = Arc::new(match options.short_templates {
            Some(most) => runner.with_short_queries(most.into()),
            None => runner,
        });
        let authoring = AuthoringService::new(AuthoringParts {
            store: authored.clone(),
            prover: Arc::new(PgTemplateProver::new(db.clone(), clock.clone())),
            catalog: catalog.clone(),
            runner: runner.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            ceiling: options.published_templates,
        });
        let services = Services {
            access: identities.access,
            keys: identities.keys,
            members: identities.members,
            sign_in: Arc::new(sign_in),
            tenants: tenants.clone(),
            instances: Arc::new(InstanceService::new(
                instances.clone(),
                sync.clone(),
                connections.clone(),
                sources,
                clock,
                ids.clone(),
                limits.clone(),
            )),
            limits,
            mappings: Arc::new(MappingService::new(mappings, ids.clone())),
            sync: sync_service,
            schedules,
            webhooks: Arc::new(WebhookService::new(webhooks)),
            work_items: Arc::new(WorkItemService::new(Arc::new(PgWorkItems::new(db.clone())))),
            templates: Arc::new(TemplateService::new(
                catalog,
                authored,
                runner,
                sync,
                pg_vault.clone(),
                Arc::new(SystemClock),
            )),
            authoring: Arc::new(authoring),
            audit: Arc::new(audit_service(audit.clone(), options.audit_reads)),
            item_writes: Arc::new(item_writes),
            live: Arc::new(live),
            policy: Arc::new(PolicyService::new(policies, options.jira_toolsets)),
            idempotency: Arc::new(IdempotencyService::new(idempotency(
                &db,
                pg_vault,
                options.answers_in_redis,
            )?)),
            health: Arc::new(DbHealth { answers: db.watch(), db: db.clone() }),
        };
        let jobs = Jobs::new(
            Arc::new(engine),
            Arc::new(hints),
            tenants,
            queue.clone(),
            Arc::new(SystemClock),
            slots,
        );
        Ok(Self { services, jobs: Arc::new(jobs), queue, db, audit, connections })
    }

    /// Stores what is noted for the record and not stored yet, and the answers to credentials' renewals under way. To be called when nothing is served any more and the
    /// database is still there.
    pub(crate) async fn store_what_was_noted(&self) {
        self.connections.settled().await;
        let lost = self.audit.close(LONGEST_FLUSH).await;
        if lost > 0 {
            tracing::error!(
                records = lost,
                "{lost} audit records could not be stored before the process ended"
            );
        }
    }
}

/// Where repetitions of requests find their answers: in PostgreSQL, with Redis in front where there is one.
fn idempotency(
    db: &Db,
    vault: Arc<dyn Vault>,
    redis: Option<CacheSettings>,
) -> anyhow::Result<Arc<dyn IdempotencyStore>> {
    let store = PgIdempotency::new(db.clone(), vault.clone());
    Ok(match redis {
        Some(redis) => Arc::new(CachedIdempotency::new(store, vault, redis)?),
        None => Arc::new(store),
    })
}

/// How long the end of a process waits for audit records to be stored.
const LONGEST_FLUSH: Duration = Duration::from_secs(10);

fn audit_service(log: Arc<PgAuditLog>, reads: bool) -> AuditService {
    let service = AuditService::new(log);
    if reads {
        return service;
    }
    tracing::warn!("Tool calls and template runs do not go on the record: --audit-reads is off");
    service.without_reads()
}

impl std::fmt::Debug for Wiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wiring")
    }
}

/// The life of tenants, for commands that need no more.
pub(crate) fn tenants(db: &Db, vault: &PgVault) -> TenantService {
    let store = PgTenants::new(db.clone(), vault.audit_chain());
    TenantService::new(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemIds))
}

/// Everything about tenants, keys and members: all that some commands need.
pub(crate) struct Identities {
    pub(crate) access: Arc<AccessService>,
    pub(crate) keys: Arc<KeyService>,
    pub(crate) members: Arc<MemberService>,
    /// For signing people in.
    pub(crate) member_store: Arc<dyn MemberStore>,
}

impl Identities {
    /// Puts them together. New keys carry the word `key_env`.
    pub(crate) fn new(db: &Db, vault: Arc<PgVault>, key_env: &str, public_url: Option<Url>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let store = Arc::new(PgAccess::new(db.clone(), vault.audit_chain()));
        let member_store: Arc<dyn MemberStore> =
            Arc::new(PgMembers::new(db.clone(), vault.audit_chain(), store.clone()));
        let (clock, ids) = (&clock, &ids);
        Self {
            access: Arc::new(AccessService::new(store.clone(), vault.clone(), clock.clone(), ids.clone())),
            keys: Arc::new(KeyService::new(
                store,
                member_store.clone(),
                vault.clone(),
                clock.clone(),
                ids.clone(),
                key_env,
            )),
            members: Arc::new(MemberService::new(
                member_store.clone(),
                vault,
                clock.clone(),
                ids.clone(),
                public_url,
            )),
            member_store,
        }
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identities")
    }
}

/// Ready when the database answers.
struct DbHealth {
    db: Db,
    answers: tokio::sync::watch::Receiver<bool>,
}

#[async_trait]
impl Health for DbHealth {
    async fn check(&self) -> Vec<HealthCheck> {
        let up = *self.answers.borrow();
        let answered = match up {
            true => tokio::time::timeout(Duration::from_secs(2), self.db.ping()).await.ok(),
            false => None,
        };
        let result = match answered {
            Some(Ok(())) => Ok(()),
            Some(Err(ports::StoreError::Unavailable(_))) | None => {
                Err("the database does not answer; check that it runs and can be reached".to_owned())
            }
            Some(Err(_)) => Err("the database refuses; run `patchbay doctor`".to_owned()),
        };
        vec![HealthCheck { name: "database", result }]
    }

    async fn outage(&self) {
        // Nobody asks any more: the process ends.
        if self.answers.clone().wait_for(|up| !up).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
