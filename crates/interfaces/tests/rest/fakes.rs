//! Services over the smallest stores that let a request reach its handler.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use application::access::AccessService;
use application::instances::InstanceService;
use application::ports::*;
use application::sync::SyncService;
use application::templates::TemplateService;
use application::work_items::WorkItemService;
use application::{Ctx, Services};
use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use domain::api_key::{ApiKey, RANDOM_BYTES};
use domain::template::{Argument, Template};
use domain::*;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) const RUN: Uuid = Uuid::from_u128(7);
const TENANT: Uuid = Uuid::from_u128(1);

/// What tests look at and change while a server runs.
#[derive(Default)]
pub(crate) struct World {
    keys: Mutex<HashMap<String, KnownKey>>,
    pub(crate) run_state: Mutex<Option<RunState>>,
    pub(crate) items_asked_for: Mutex<Vec<(WorkItemFilter, ListPage)>>,
    pub(crate) unhealthy: Mutex<bool>,
    pub(crate) panics: Mutex<bool>,
}

impl World {
    /// Makes a key with these scopes and returns its text.
    pub(crate) fn key(&self, scopes: &[Scope]) -> String {
        let mut keys = self.keys.lock().unwrap();
        let mut random = [0u8; RANDOM_BYTES];
        random.fill(u8::try_from(keys.len() + 1).unwrap());
        let key = ApiKey::generate("test", &random);
        let known = KnownKey {
            tenant: Tenant {
                id: TenantId::new(TENANT),
                slug: "acme".parse().unwrap(),
                status: TenantStatus::Active,
                strict_audit: false,
                created_at: chrono::DateTime::UNIX_EPOCH,
            },
            id: KeyId::new(Uuid::from_u128(100 + keys.len() as u128)),
            mac: mac(key.secret()),
            name: "a test".into(),
            scopes: Scopes::new(scopes.iter().copied()).unwrap(),
            grant: Arc::default(),
            expires_at: None,
        };
        keys.insert(key.public_id().to_owned(), known);
        key.reveal().expose_secret().to_owned()
    }

    pub(crate) fn revoke_all(&self) {
        self.keys.lock().unwrap().clear();
    }
}

fn mac(secret: &SecretString) -> [u8; 32] {
    secret.expose_secret().as_bytes().try_into().unwrap()
}

fn unused<T>() -> Result<T, StoreError> {
    Err(StoreError::Internal("not part of this test".into()))
}

pub(crate) fn moment() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        moment()
    }
}

impl Ids for Fixed {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(9)
    }

    fn fill(&self, out: &mut [u8]) {
        out.fill(7);
    }
}

#[async_trait]
impl Vault for Fixed {
    async fn seal(&self, _: &Ctx, _: SecretRef, plaintext: &[u8]) -> Result<Sealed, StoreError> {
        Ok(Sealed(plaintext.to_vec()))
    }

    async fn open(&self, _: &Ctx, _: SecretRef, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        Ok(Zeroizing::new(sealed.0.clone()))
    }

    fn mac(&self, _: MacPurpose, secret: &SecretString) -> [u8; 32] {
        mac(secret)
    }
}

struct Fake(Arc<World>);

#[async_trait]
impl AccessStore for Fake {
    async fn create_tenant(&self, _: &Tenant) -> Result<(), StoreError> {
        unused()
    }

    async fn find_tenant(&self, _: &Slug) -> Result<Option<Tenant>, StoreError> {
        unused()
    }

    async fn insert_key(&self, _: &Ctx, _: &NewKey) -> Result<(), StoreError> {
        unused()
    }

    async fn find_key(&self, public_id: &str) -> Result<Option<KnownKey>, StoreError> {
        Ok(self.0.keys.lock().unwrap().get(public_id).cloned())
    }
}

fn instance() -> Instance {
    Instance {
        id: InstanceId::new(Uuid::from_u128(5)),
        slug: "core".parse().unwrap(),
        source: SourceKind::new("stub"),
        name: "core".into(),
        base_url: "https://tracker.example".parse().unwrap(),
        settings: serde_json::json!({}),
        status: InstanceStatus::Active,
        created_at: moment(),
        updated_at: moment(),
    }
}

#[async_trait]
impl InstanceStore for Fake {
    async fn insert(&self, _: &Ctx, _: &Instance, _: &Sealed) -> Result<(), StoreError> {
        Ok(())
    }

    async fn find(&self, _: &Ctx, id: InstanceId) -> Result<Option<Instance>, StoreError> {
        Ok(Some(instance()).filter(|instance| instance.id == id))
    }

    async fn list(&self, _: &Ctx, _: &ListPage) -> Result<Listing<Instance>, StoreError> {
        // What a broken driver might say; none of it may come out.
        Err(StoreError::Internal("syntax error in select secret from credentials".into()))
    }

    async fn update(&self, _: &Ctx, _: &Instance, _: Option<&Sealed>) -> Result<bool, StoreError> {
        unused()
    }

    async fn delete(&self, _: &Ctx, _: InstanceId) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn credential(&self, _: &Ctx, _: InstanceId) -> Result<Option<Sealed>, StoreError> {
        let credential = Credential::Token { token: "t0ken".to_owned().into() };
        Ok(Some(Sealed(credential.to_plaintext().to_vec())))
    }
}

/// A tracker that refuses everybody.
struct Stub;

#[async_trait]
impl SourceAdapter for Stub {
    fn kind(&self) -> &'static str {
        "stub"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { incremental: true, writes: false, webhooks: false }
    }

    fn default_base_url(&self) -> Option<url::Url> {
        "https://tracker.example".parse().ok()
    }

    fn check_settings(&self, settings: &serde_json::Value) -> Result<serde_json::Value, Invalid> {
        Ok(settings.clone())
    }

    fn check_credential(&self, _: &Credential) -> Result<(), Invalid> {
        Ok(())
    }

    fn streams(&self, _: &serde_json::Value) -> Vec<StreamSpec> {
        Vec::new()
    }

    async fn test_connection(&self, _: &Connection) -> Result<ConnectionReport, SourceError> {
        let error = SourceError::new(SourceErrorKind::Unauthorized, "the tracker refused the token");
        Err(SourceError { upstream_status: Some(401), ..error })
    }

    async fn list_projects(&self, _: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        Ok(Vec::new())
    }

    async fn fetch_page(&self, _: &Connection, _: PageRequest<'_>) -> Result<Page, SourceError> {
        Ok(Page::default())
    }
}

#[async_trait]
impl SyncStore for Fake {
    async fn start(&self, _: &Ctx, _: &NewRun) -> Result<(), StoreError> {
        Err(StoreError::Conflict("an unfinished run"))
    }

    async fn active_run(&self, _: &Ctx, _: InstanceId) -> Result<Option<RunId>, StoreError> {
        Ok(Some(RunId::new(RUN)))
    }

    async fn find(&self, _: &Ctx, id: RunId) -> Result<Option<Run>, StoreError> {
        let state = self.0.run_state.lock().unwrap().unwrap_or(RunState::Queued);
        let run = Run {
            id: RunId::new(RUN),
            instance_id: instance().id,
            kind: RunKind::Backfill,
            state,
            done: 250,
            estimate: Some(1000),
            counts: RunCounts::default(),
            stream: None,
            error: None,
            resume_at: None,
            cancel_requested: false,
            created_at: moment(),
            started_at: Some(moment()),
            finished_at: Some(moment() + chrono::Duration::seconds(10)),
        };
        Ok(Some(run).filter(|run| run.id == id))
    }

    async fn list(&self, _: &Ctx, _: &RunFilter, _: &ListPage) -> Result<Listing<Run>, StoreError> {
        Ok(Listing { items: Vec::new(), next: None })
    }

    async fn request_cancel(&self, _: &Ctx, _: RunId) -> Result<Option<Run>, StoreError> {
        unused()
    }

    async fn begin_slice(&self, _: &Ctx, _: RunId) -> Result<Option<Slice>, StoreError> {
        unused()
    }

    async fn set_projects(&self, _: &Ctx, _: &SliceKey, _: &[ProjectRef]) -> Result<(), StoreError> {
        unused()
    }

    async fn pending_items(&self, _: &Ctx, _: InstanceId, _: usize) -> Result<Vec<PendingItem>, StoreError> {
        unused()
    }

    async fn commit_page(&self, _: &Ctx, _: &SliceKey, _: PageCommit) -> Result<CommitOutcome, StoreError> {
        unused()
    }

    async fn suspend(
        &self,
        _: &Ctx,
        _: &SliceKey,
        _: DateTime<Utc>,
        _: Option<&RunError>,
        _: i64,
    ) -> Result<(), StoreError> {
        unused()
    }

    async fn finish(&self, _: &Ctx, _: &SliceKey, _: &Finish) -> Result<(), StoreError> {
        unused()
    }

    async fn should_stop(&self, _: &Ctx, _: &SliceKey) -> Result<bool, StoreError> {
        unused()
    }

    async fn freshness(
        &self,
        _: &Ctx,
        _: Option<InstanceId>,
    ) -> Result<Vec<(Freshness, StoredCounts)>, StoreError> {
        Ok(Vec::new())
    }

    async fn cached_freshness(&self, _: &Ctx) -> Result<Arc<Vec<Freshness>>, StoreError> {
        unused()
    }

    async fn dead_letters(&self, _: &Ctx, _: RunId, _: &ListPage) -> Result<Listing<DeadLetter>, StoreError> {
        unused()
    }

    async fn projects(
        &self,
        _: &Ctx,
        _: InstanceId,
    ) -> Result<Vec<(ProjectId, ProjectRef, String)>, StoreError> {
        unused()
    }
}

#[async_trait]
impl WorkItemStore for Fake {
    async fn list(
        &self,
        _: &Ctx,
        filter: &WorkItemFilter,
        page: &ListPage,
    ) -> Result<Listing<WorkItem>, StoreError> {
        assert!(!*self.0.panics.lock().unwrap(), "a bug with the secret c4nary");
        self.0.items_asked_for.lock().unwrap().push((filter.clone(), page.clone()));
        let next = ListCursor { after: "2026-01-02T03:04:05Z".into(), id: Uuid::from_u128(77) };
        Ok(Listing { items: Vec::new(), next: Some(next) })
    }

    async fn find(&self, _: &Ctx, _: WorkItemId) -> Result<Option<WorkItem>, StoreError> {
        Ok(None)
    }
}

impl TemplateCatalog for Fake {
    fn list(&self) -> &[Arc<Template>] {
        &[]
    }
}

#[async_trait]
impl TemplateRunner for Fake {
    async fn run(&self, _: &Ctx, _: &Template, _: &[Argument], _: i64) -> Result<RowSet, StoreError> {
        unused()
    }
}

#[async_trait]
impl Health for Fake {
    async fn check(&self) -> Vec<HealthCheck> {
        let bad = *self.0.unhealthy.lock().unwrap();
        let result = if bad { Err("cannot be reached: start PostgreSQL".into()) } else { Ok(()) };
        vec![HealthCheck { name: "database", result }]
    }
}

pub(crate) fn services(world: &Arc<World>) -> Services {
    let fake = Arc::new(Fake(world.clone()));
    let fixed = Arc::new(Fixed);
    let sources = Sources::default().with(Stub);
    Services {
        access: Arc::new(AccessService::new(
            fake.clone(),
            fixed.clone(),
            fixed.clone(),
            fixed.clone(),
            "test",
        )),
        instances: Arc::new(InstanceService::new(
            fake.clone(),
            fake.clone(),
            fixed.clone(),
            sources,
            fixed.clone(),
            fixed.clone(),
        )),
        sync: Arc::new(SyncService::new(fake.clone(), fake.clone(), fixed)),
        work_items: Arc::new(WorkItemService::new(fake.clone())),
        templates: Arc::new(TemplateService::new(fake.clone(), fake.clone(), fake.clone())),
        health: fake,
    }
}
