//! Writes to trackers end to end: the use case over PostgreSQL, the vault and the simulated trackers. Each does what was
//! asked once, whatever becomes of the answers, is stored here at once, and stays within what the caller may write to.
//! Row 1 of the fault table; security requirement 64.

use crate::support;

mod bounds;
mod changes;
mod data_center;
mod once;
mod rehearsals;
mod told_why;

use std::sync::Arc;

use application::connections::Connections;
use application::item_writes::{ItemWriteService, ItemWritten};
use application::limits::{LimitService, Quotas};
use application::ports::{
    Clock, Connection, Ids, InstanceStore, ItemAddress, ItemWrite, ProjectRef, SourceAdapter, SourceError,
    SyncStore, Vault,
};
use application::writes::{WriteService, WriteSpans};
use application::{Ctx, Error};
use domain::{
    Credential, Instance, InstanceId, InstanceStatus, NewComment, NewItem, PageRecords, Scope, SourceKind,
    Transition,
};
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::limiter::Limiter;
use patchbay_infrastructure::postgres::{PgInstances, PgMappings, PgSync, PgWriteIntents, PoolSizes};
use patchbay_infrastructure::sources;
use serde_json::{Value, json};
use simulator::{Deployment, JiraLogin, Simulator, SimulatorConfig, TokenGrant};
use support::TestDb;
use uuid::Uuid;

const TOKEN: &str = "1/1200000000000001:abcdef";

/// The trackers that are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    GitHub,
    Cloud,
    DataCenter,
    Asana,
}

const ALL: [Kind; 4] = [Kind::GitHub, Kind::Cloud, Kind::DataCenter, Kind::Asana];

/// One installation with one instance of a simulated tracker.
struct World {
    kind: Kind,
    test: TestDb,
    simulator: Simulator,
    ctx: Ctx,
    instance: Instance,
    adapter: Arc<dyn SourceAdapter>,
    connections: Connections,
    service: ItemWriteService,
    /// The project that is written to, another of the instance, and one that its settings leave out.
    project: String,
    other: String,
    outside: String,
}

impl World {
    async fn new(kind: Kind) -> Self {
        let test = TestDb::with_pools(PoolSizes { app: 16, reader: 2, queue: 2 }).await;
        let (simulator, projects) = simulator(kind).await;
        let ctx = test.ctx("acme").await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let vault: Arc<dyn Vault> = Arc::new(test.vault().await);
        let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let sources = sources::registry(EgressClient::new(policy).unwrap());
        let instances: Arc<dyn InstanceStore> = Arc::new(PgInstances::new(test.db.clone(), test.audit()));
        let sync: Arc<dyn SyncStore> = Arc::new(PgSync::new(test.db.clone(), test.audit()));
        let mappings = Arc::new(PgMappings::new(test.db.clone(), test.audit()));
        let connections =
            Connections::new(instances.clone(), vault.clone(), sources.clone(), mappings, clock.clone());
        let limits = Arc::new(LimitService::new(Limiter::in_process(None), Quotas::default()));
        let intents = PgWriteIntents::new(test.db.clone(), vault, test.audit());
        let instance = instance(kind, &simulator, &projects);
        let sealed = connections.seal(&ctx, instance.id, &credential(kind)).await.unwrap();
        instances.insert(&ctx, &instance, &sealed).await.unwrap();
        let service = ItemWriteService::new(
            instances,
            sources.clone(),
            connections.clone(),
            Arc::new(WriteService::new(Arc::new(intents), ids, WriteSpans::default())),
            limits,
            sync,
            clock,
        );
        let [project, other, outside] = projects;
        let adapter = sources.get(&instance.source).unwrap().clone();
        Self { kind, test, simulator, ctx, instance, adapter, connections, service, project, other, outside }
    }

    async fn write(&self, write: ItemWrite, key: &str) -> Result<ItemWritten, Error> {
        self.write_as(&self.ctx, write, key).await
    }

    async fn write_as(&self, ctx: &Ctx, write: ItemWrite, key: &str) -> Result<ItemWritten, Error> {
        self.service.write(ctx, Scope::McpJiraWrite, self.instance.id, write, key).await
    }

    fn new_item(&self, title: &str) -> NewItem {
        NewItem {
            project: self.project.clone(),
            title: title.into(),
            body: Some("Seen since **Monday**.".into()),
            ..NewItem::default()
        }
    }

    /// Makes an item; its key.
    async fn make(&self, title: &str) -> String {
        let made = self.write(ItemWrite::Create(self.new_item(title)), title).await.unwrap();
        assert!(made.stored && !made.replayed, "{:?}: {made:?}", self.kind);
        made.item.key
    }

    /// Closing, in this tracker's words.
    fn close(&self) -> Transition {
        let to = match self.kind {
            Kind::GitHub => "closed",
            Kind::Cloud | Kind::DataCenter => "Done",
            Kind::Asana => "completed",
        };
        Transition { to: to.into(), ..Transition::default() }
    }

    fn comment(text: &str) -> NewComment {
        NewComment { body: text.into(), internal: false, documents: false }
    }

    async fn connection(&self) -> Connection {
        self.connections.open(&self.ctx, &self.instance).await.unwrap()
    }

    /// The item as the tracker has it.
    async fn read(&self, key: &str) -> PageRecords {
        let address = ItemAddress { key: Some(key.into()), source_id: self.gid(key), ref_key: None };
        let fetched = self.adapter.fetch_items(&self.connection().await, &[address]).await.unwrap();
        assert_eq!(fetched.records.items.len(), 1, "{:?} shows no {key}", self.kind);
        fetched.records
    }

    /// Asana's keys are ids.
    fn gid(&self, key: &str) -> Option<String> {
        (self.kind == Kind::Asana).then(|| key.to_owned())
    }

    /// How many items the project has at the tracker.
    async fn item_count(&self) -> usize {
        let connection = self.connection().await;
        let projects = self.adapter.list_projects(&connection).await.unwrap();
        let named = |project: &&ProjectRef| project.key == self.project || project.source_id == self.project;
        let project = projects.iter().find(named).expect("the project is listed");
        let (mut ids, mut cursor) = (std::collections::BTreeSet::new(), None);
        loop {
            let page = self.adapter.list_ids(&connection, project, cursor.as_ref()).await.unwrap();
            ids.extend(page.ids.into_iter().map(|listed| listed.source_id));
            match page.next {
                Some(next) => cursor = Some(next),
                None => return ids.len(),
            }
        }
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.test.admin().await).await.unwrap()
    }

    /// One text about the stored item of this key.
    async fn stored(&self, sql: &'static str, key: &str) -> String {
        let found = sqlx::query_scalar(sql).bind(key).fetch_optional(&mut self.test.admin().await).await;
        found.unwrap().unwrap_or_else(|| panic!("{:?}: {key} is not stored", self.kind))
    }
}

const TITLE: &str = "select title from work_items where source_key = $1";
const STATUS: &str = "select status_norm from work_items where source_key = $1";
const AUDITED: &str = "select count(*) from audit_log where action = 'tracker.write' and outcome = 'ok'";
const REFUSED: &str = "select count(*) from audit_log where action = 'tracker.write' and outcome = 'failed'";

async fn simulator(kind: Kind) -> (Simulator, [String; 3]) {
    let names = |names: [&str; 3]| names.map(str::to_owned);
    match kind {
        Kind::GitHub => {
            let projects = names(["acme/app", "acme/other", "acme/outside"]);
            let repositories =
                projects.iter().zip(7..).map(|(name, seed)| simulator::generate::repository(name, seed, 6));
            let config = SimulatorConfig {
                repositories: repositories.collect(),
                tokens: vec![grant("ann")],
                ..SimulatorConfig::default()
            };
            (Simulator::start(config).await.unwrap(), projects)
        }
        Kind::Cloud | Kind::DataCenter => {
            let deployment = if kind == Kind::Cloud { Deployment::Cloud } else { Deployment::DataCenter };
            let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
            let made = [("ENG", 7, 30), ("OPS", 8, 5), ("HR", 9, 3)];
            let site = simulator::generate::jira("acme", deployment, &made);
            let login = JiraLogin::new(Some("ann@example.com"), TOKEN);
            simulator.control().add_jira(site.with_login(login)).unwrap();
            (simulator, names(["ENG", "OPS", "HR"]))
        }
        Kind::Asana => {
            let config = SimulatorConfig { tokens: vec![grant("Aiko Tanabe")], ..SimulatorConfig::default() };
            let simulator = Simulator::start(config).await.unwrap();
            let workspace = simulator::asana_workspace("Northwind", 7, 60);
            let projects = [0, 1, 2].map(|at| workspace.projects[at].gid.clone());
            simulator.control().add_asana(workspace);
            (simulator, projects)
        }
    }
}

fn grant(login: &str) -> TokenGrant {
    TokenGrant { token: TOKEN.into(), login: login.into(), repositories: None }
}

fn credential(kind: Kind) -> Credential {
    let token = TOKEN.to_owned().into();
    match kind {
        Kind::GitHub | Kind::Asana => Credential::Token { token },
        Kind::Cloud | Kind::DataCenter => Credential::Basic { email: "ann@example.com".into(), token },
    }
}

fn instance(kind: Kind, simulator: &Simulator, projects: &[String; 3]) -> Instance {
    let selected = &projects[..2];
    let (source, path, settings) = match kind {
        Kind::GitHub => ("github", "", json!({"repositories": selected})),
        Kind::Cloud | Kind::DataCenter => ("jira", "/jira/acme", json!({"projects": selected})),
        Kind::Asana => ("asana", "/api/1.0", json!({"projects": selected})),
    };
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: "core".parse().unwrap(),
        source: SourceKind::new(source),
        name: "core".into(),
        base_url: format!("{}{path}", simulator.url()).parse().unwrap(),
        settings,
        status: InstanceStatus::Active,
        created_at: SystemClock.now(),
        updated_at: SystemClock.now(),
    }
}

#[track_caller]
fn source_error<T: std::fmt::Debug>(result: Result<T, Error>) -> SourceError {
    match result {
        Err(Error::Source(error)) => error,
        other => panic!("no answer of the tracker: {other:?}"),
    }
}

/// What an item holds beside its title and the time of its last change.
fn rest_of(records: &PageRecords) -> Value {
    let item = &records.items[0];
    let people: Vec<&str> = item.assignees.iter().map(|person| person.name.as_str()).collect();
    json!([
        item.type_original,
        item.status_original,
        item.resolution_original,
        item.priority_original,
        item.body,
        people,
        item.labels,
        item.milestone,
        item.parent_ref_key,
        item.due_on,
        item.custom_fields,
        item.story_points,
        records.comments.len()
    ])
}
