//! In-memory twins of the ports, with the same promises, for tests of use cases and of what drives them.
//!
//! [`Memory`] is the whole outside in one value: every store, the vault, the clock and the ids. [`Memory::services`] is the
//! one place where tests put [`Services`] together. A new port gets its twin in a file of its own beside this one, with
//! its rows in [`State`], and a new service its line in `services`.

mod access;
mod audit;
mod authored;
mod bulk_plans;
mod changes;
mod idempotency;
mod instances;
mod keys;
mod limiter;
mod mappings;
mod members;
mod outside;
mod policy;
mod runs;
mod schedules;
mod sign_in;
mod source;
mod templates;
mod tenants;
mod uploads;
mod webhooks;
mod work_items;
mod writes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use domain::template::Template;
use domain::{
    AuditRecord, Instance, InstanceId, Mappings, Quota, RunId, Schedule, Tenant, TenantId, TenantStatus,
    UserId, WorkItem,
};
use uuid::Uuid;

use crate::Services;
use crate::access::AccessService;
use crate::audit::AuditService;
use crate::authored::{AuthoringParts, AuthoringService, PUBLISHED_CEILING};
use crate::connections::Connections;
use crate::idempotency::IdempotencyService;
use crate::instances::InstanceService;
use crate::item_writes::ItemWriteService;
use crate::keys::KeyService;
use crate::limits::{LimitService, Quotas};
use crate::live::{LiveLimits, LiveParts, LiveService};
use crate::mappings::MappingService;
use crate::members::MemberService;
use crate::policy::{PolicyService, usual_toolsets};
use crate::ports::{
    BulkPlan, Deletion, Identity, IdentityProvider, Member, Sealed, SignInState, Sources, StoreError,
    TenantPolicy, TokenVerifier,
};
use crate::schedules::ScheduleService;
use crate::sign_in::{SignInParts, SignInService};
use crate::sync::SyncService;
use crate::templates::TemplateService;
use crate::tenants::TenantService;
use crate::webhooks::{WebhookParts, WebhookService};
use crate::work_items::WorkItemService;
use crate::writes::{WriteService, WriteSpans};
use authored::StoredTemplate;
use idempotency::{KeptAnswer, Keys};
use keys::StoredKey;
use limiter::Counted;
use members::StoredInvitation;
use runs::StoredRun;
pub use sign_in::ISSUER;
use sign_in::{IssuedToken, StoredSession};
pub use source::{StubSource, changed};
pub use templates::{Asked, built_in_templates};
use uploads::KeptUpload;
use webhooks::{KeptDelivery, KeptWebhook};
use writes::StoredWrite;

/// The tenant that is there from the beginning; its short name is `acme`.
pub const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));
/// Another tenant, `globex`: it has nothing, and nothing of it may be seen.
pub const OTHER_TENANT: TenantId = TenantId::new(Uuid::from_u128(2));
/// The first tenant's instance `core`.
pub const INSTANCE: InstanceId = InstanceId::new(Uuid::from_u128(5));
/// The unfinished run of `core`.
pub const RUN: RunId = RunId::new(Uuid::from_u128(7));

/// What the next calls of one operation do instead of their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Fail as a fault of ours, with a text from the inside that nobody outside may see.
    Internal(&'static str),
    /// Fail as a statement that took longer than these milliseconds.
    Timeout(u64),
    /// Fail as a database that cannot be reached.
    Unavailable,
    /// Panic with this text.
    Panic(&'static str),
    /// Never come back.
    Hang,
}

/// Everything outside the use cases.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    catalog: Vec<Arc<Template>>,
    sources: Sources,
}

/// What is stored, and what is to go wrong. Every row stands with its tenant.
#[derive(Debug, Default)]
struct State {
    tenants: Vec<Tenant>,
    keys: Vec<StoredKey>,
    users: Vec<(UserId, Identity)>,
    members: Vec<(TenantId, Member)>,
    invitations: Vec<StoredInvitation>,
    deletions: Vec<Deletion>,
    instances: Vec<(TenantId, Instance, Sealed)>,
    runs: Vec<(TenantId, StoredRun)>,
    items: Vec<(TenantId, WorkItem)>,
    synced: HashMap<InstanceId, DateTime<Utc>>,
    faults: HashMap<&'static str, Fault>,
    asked: Vec<Asked>,
    authored: Vec<StoredTemplate>,
    audit: Vec<(TenantId, AuditRecord)>,
    answers: Vec<KeptAnswer>,
    mappings: HashMap<InstanceId, (Mappings, i32)>,
    policies: HashMap<TenantId, TenantPolicy>,
    writes: Vec<StoredWrite>,
    plans: Vec<(TenantId, Option<Uuid>, BulkPlan)>,
    uploads: Vec<KeptUpload>,
    schedules: HashMap<InstanceId, Schedule>,
    webhooks: Vec<KeptWebhook>,
    deliveries: Vec<KeptDelivery>,
    counted: HashMap<Counted, u32>,
    sessions: Vec<StoredSession>,
    sign_ins: Vec<SignInState>,
    tokens: Vec<IssuedToken>,
    sign_ins_closed: bool,
    problem: Option<String>,
    ids: u128,
}

impl Memory {
    /// Two tenants; the first with the instances `core`, which has a queued run and two items, and `web`.
    pub fn new() -> Arc<Self> {
        let mut state = State { ids: 1_000, ..State::default() };
        for (id, slug) in [(TENANT, "acme"), (OTHER_TENANT, "globex")] {
            state.tenants.push(Tenant {
                id,
                slug: slug.parse().expect("the two names are good ones"),
                status: TenantStatus::Active,
                strict_audit: false,
                created_at: moment(),
            });
        }
        instances::seed(&mut state);
        runs::seed(&mut state);
        work_items::seed(&mut state);
        Arc::new(Self {
            state: Mutex::new(state),
            catalog: built_in_templates(),
            sources: Sources::default().with(StubSource),
        })
    }

    /// All services over this memory, with limits that no test reaches by chance.
    pub fn services(self: &Arc<Self>) -> Services {
        let plenty = Quota::per(1_000_000, 60, 1_000_000);
        self.services_within(Quotas {
            address: plenty,
            sign_in: plenty,
            webhook: plenty,
            key: plenty,
            tenant: plenty,
            tool_read: plenty,
            tool_live: plenty,
            tool_write: plenty,
            upstream: None,
        })
    }

    /// All services over this memory. The one place where tests put them together.
    pub fn services_within(self: &Arc<Self>, quotas: Quotas) -> Services {
        let limits = Arc::new(LimitService::new(self.clone(), quotas));
        let connections =
            Connections::new(self.clone(), self.clone(), self.sources.clone(), self.clone(), self.clone());
        let live_limits = limits.clone();
        let sync = Arc::new(SyncService::new(self.clone(), self.clone(), self.clone()));
        let webhooks = WebhookService::new(WebhookParts {
            store: self.clone(),
            instances: self.clone(),
            connections: connections.clone(),
            sources: self.sources.clone(),
            vault: self.clone(),
            limits: limits.clone(),
            clock: self.clone(),
            ids: self.clone(),
            public_url: "https://patchbay.example".parse().ok(),
        });
        Services {
            access: Arc::new(AccessService::new(self.clone(), self.clone(), self.clone(), self.clone())),
            keys: Arc::new(KeyService::new(
                self.clone(),
                self.clone(),
                self.clone(),
                self.clone(),
                self.clone(),
                "test",
            )),
            members: Arc::new(MemberService::new(
                self.clone(),
                self.clone(),
                self.clone(),
                self.clone(),
                "https://patchbay.example".parse().ok(),
            )),
            instances: Arc::new(InstanceService::new(
                self.clone(),
                self.clone(),
                connections.clone(),
                self.sources.clone(),
                self.clone(),
                self.clone(),
                limits.clone(),
            )),
            item_writes: Arc::new(ItemWriteService::new(
                self.clone(),
                self.sources.clone(),
                connections.clone(),
                Arc::new(WriteService::new(self.clone(), self.clone(), WriteSpans::default())),
                limits.clone(),
                self.clone(),
                self.clone(),
            )),
            sign_in: Arc::new(self.sign_in_with(Some(self.clone()), Some(self.clone()))),
            limits,
            mappings: Arc::new(MappingService::new(self.clone(), self.clone())),
            schedules: Arc::new(ScheduleService::new(
                self.clone(),
                self.clone(),
                sync.clone(),
                self.sources.clone(),
                self.clone(),
                self.clone(),
            )),
            webhooks: Arc::new(webhooks),
            sync,
            work_items: Arc::new(WorkItemService::new(self.clone())),
            tenants: Arc::new(TenantService::new(self.clone(), self.clone(), self.clone())),
            templates: Arc::new(TemplateService::new(
                self.clone(),
                self.clone(),
                self.clone(),
                self.clone(),
                self.clone(),
                self.clone(),
            )),
            authoring: Arc::new(AuthoringService::new(AuthoringParts {
                store: self.clone(),
                prover: self.clone(),
                catalog: self.clone(),
                runner: self.clone(),
                audit: self.clone(),
                clock: self.clone(),
                ceiling: PUBLISHED_CEILING.into(),
            })),
            audit: Arc::new(AuditService::new(self.clone())),
            idempotency: Arc::new(IdempotencyService::new(Arc::new(Keys(self.clone())))),
            live: Arc::new(LiveService::new(LiveParts {
                instances: self.clone(),
                sources: self.sources.clone(),
                connections,
                limits: live_limits,
                vault: self.clone(),
                plans: self.clone(),
                uploads: self.clone(),
                changes: self.clone(),
                items: self.clone(),
                sync: self.clone(),
                policies: self.clone(),
                clock: self.clone(),
                ids: self.clone(),
                bounds: LiveLimits::default(),
            })),
            policy: Arc::new(PolicyService::new(self.clone(), usual_toolsets())),
            health: self.clone(),
        }
    }

    /// Signing in with another provider and other access tokens than those in memory.
    pub fn sign_in_with(
        self: &Arc<Self>,
        provider: Option<Arc<dyn IdentityProvider>>,
        tokens: Option<Arc<dyn TokenVerifier>>,
    ) -> SignInService {
        SignInService::new(SignInParts {
            provider,
            tokens,
            sessions: self.clone(),
            members: self.clone(),
            vault: self.clone(),
            audit: self.clone(),
            clock: self.clone(),
            ids: self.clone(),
        })
    }

    /// Makes every call of an operation such as `instances.list` go wrong until [`Memory::repair`].
    pub fn break_down(&self, operation: &'static str, fault: Fault) {
        self.state().faults.insert(operation, fault);
    }

    /// Ends all faults.
    pub fn repair(&self) {
        self.state().faults.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic on demand poisons nothing that later calls rely on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the fault that is set for the operation, if any. Every twin begins with it.
    async fn reach(&self, operation: &'static str) -> Result<(), StoreError> {
        let fault = self.state().faults.get(operation).copied();
        match fault {
            None => Ok(()),
            Some(Fault::Internal(text)) => Err(StoreError::Internal(text.into())),
            Some(Fault::Timeout(limit_ms)) => Err(StoreError::Timeout { limit_ms }),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable("connection refused".into())),
            Some(Fault::Panic(text)) => {
                #[expect(clippy::panic, reason = "asked for by a test")]
                {
                    panic!("{text}")
                }
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

/// The time it always is: 2026-01-02 03:04:05 UTC.
pub fn moment() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_767_323_045)
}
