//! Live reads end to end: the use case over PostgreSQL, the vault and simulated Jiras of both dialects. Nothing leaves that
//! the caller may not see, one issue takes one request, and no answer is waited for longer than it may take.

use crate::support;

mod agile;
mod bounds;
mod faults;
mod files;
mod hidden;
mod noticed;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use application::connections::Connections;
use application::limits::{LimitService, Quotas};
use application::live::{ActivityAsk, IssueAsk, LiveAnswer, LiveLimits, LiveParts, LiveService, SearchAsk};
use application::ports::{Clock, InstanceStore, LiveActivityKind, LiveSection, LiveView, Vault};
use application::{Ctx, Error};
use domain::{Allowed, Credential, Grant, Instance, InstanceId, InstanceStatus, SourceKind};
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::limiter::Limiter;
use patchbay_infrastructure::postgres::{
    PgBulkPlans, PgChanges, PgInstances, PgMappings, PgPolicies, PgSync, PgUploads, PgWorkItems, PoolSizes,
};
use patchbay_infrastructure::sources;
use serde_json::{Value, json};
use simulator::{Deployment, JiraLogin, Simulator, SimulatorConfig};
use support::TestDb;
use uuid::Uuid;

const TOKEN: &str = "live-token";
const DIALECTS: [Deployment; 2] = [Deployment::Cloud, Deployment::DataCenter];

/// One installation with one Jira of three projects, of which the settings select two.
struct World {
    test: TestDb,
    simulator: Simulator,
    ctx: Ctx,
    instances: Arc<dyn InstanceStore>,
    connections: Connections,
    policies: Arc<PgPolicies>,
    service: LiveService,
}

impl World {
    async fn new(deployment: Deployment) -> Self {
        Self::within(deployment, LiveLimits::default()).await
    }

    async fn within(deployment: Deployment, bounds: LiveLimits) -> Self {
        let test = TestDb::with_pools(PoolSizes { app: 8, reader: 2, queue: 2 }).await;
        let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let made = [("ENG", 7, 60), ("OPS", 8, 9), ("HR", 9, 5)];
        let site = simulator::generate::jira("acme", deployment, &made);
        let login = JiraLogin::new(Some("ann@example.com"), TOKEN);
        simulator.control().add_jira(site.with_login(login)).unwrap();
        let ctx = test.ctx("acme").await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let vault: Arc<dyn Vault> = Arc::new(test.vault().await);
        let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let sources = sources::registry(EgressClient::new(policy).unwrap());
        let instances: Arc<dyn InstanceStore> = Arc::new(PgInstances::new(test.db.clone(), test.audit()));
        let mappings = Arc::new(PgMappings::new(test.db.clone(), test.audit()));
        let connections =
            Connections::new(instances.clone(), vault.clone(), sources.clone(), mappings, clock.clone());
        let limits = Arc::new(LimitService::new(Limiter::in_process(None), Quotas::default()));
        let policies = Arc::new(PgPolicies::new(test.db.clone(), test.audit()));
        let service = LiveService::new(LiveParts {
            instances: instances.clone(),
            sources,
            connections: connections.clone(),
            limits,
            vault,
            plans: Arc::new(PgBulkPlans::new(test.db.clone())),
            uploads: Arc::new(PgUploads::new(test.db.clone())),
            changes: Arc::new(PgChanges::new(test.db.clone())),
            items: Arc::new(PgWorkItems::new(test.db.clone())),
            sync: Arc::new(PgSync::new(test.db.clone(), test.audit())),
            policies: policies.clone(),
            clock,
            ids: Arc::new(SystemIds),
            bounds,
        });
        let world = Self { test, simulator, ctx, instances, connections, policies, service };
        let address = format!("{}/jira/acme", world.simulator.url());
        world.connect(&world.ctx, "main", &address, json!({"projects": ["ENG", "OPS"]})).await;
        world
    }

    async fn connect(&self, ctx: &Ctx, slug: &str, base_url: &str, settings: Value) -> Instance {
        let instance = Instance {
            id: InstanceId::new(Uuid::now_v7()),
            slug: slug.parse().unwrap(),
            source: SourceKind::new("jira"),
            name: slug.into(),
            base_url: base_url.parse().unwrap(),
            settings,
            status: InstanceStatus::Active,
            created_at: SystemClock.now(),
            updated_at: SystemClock.now(),
        };
        let token = TOKEN.to_owned().into();
        let credential = Credential::Basic { email: "ann@example.com".into(), token };
        let sealed = self.connections.seal(ctx, instance.id, &credential).await.unwrap();
        self.instances.insert(ctx, &instance, &sealed).await.unwrap();
        instance
    }

    /// The same caller, narrowed to projects.
    fn narrowed(&self, projects: &[&str]) -> Ctx {
        let keys = projects.iter().map(|key| key.parse().unwrap());
        let grant = Grant { projects_read: Allowed::from_list(Some(keys)), ..Grant::default() };
        Ctx { grant: Arc::new(grant), ..self.ctx.clone() }
    }

    async fn search(&self, jql: &str) -> Result<LiveAnswer, Error> {
        self.service.search(&self.ctx, &search(jql)).await
    }

    async fn issue(&self, ctx: &Ctx, key: &str) -> Result<LiveAnswer, Error> {
        let ask = IssueAsk {
            key: key.into(),
            sections: LiveSection::ALL.into(),
            max_chars: 20_000,
            ..IssueAsk::default()
        };
        self.service.issue(ctx, &ask).await
    }

    /// Requests for anything but what a site is.
    fn asked(&self) -> Vec<String> {
        let requests = self.simulator.control().requests();
        let paths = requests.into_iter().map(|request| request.path_and_query);
        paths.filter(|path| !path.ends_with("/serverInfo")).collect()
    }
}

fn search(jql: &str) -> SearchAsk {
    SearchAsk { jql: jql.into(), limit: 100, ..SearchAsk::default() }
}

fn keys(answer: &LiveAnswer) -> Vec<String> {
    let issues = answer.content["issues"].as_array().unwrap();
    issues.iter().map(|issue| issue["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn walking_the_cursor_of_a_search_gives_every_issue_once() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let mut ask = SearchAsk { limit: 7, ..search("project = ENG ORDER BY created") };
        let (mut seen, mut pages) = (Vec::new(), 0);
        loop {
            let page = world.service.search(&world.ctx, &ask).await.unwrap();
            seen.extend(keys(&page));
            pages += 1;
            let next = page.content.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            assert_eq!(page.content["has_more"], next.is_some(), "{deployment:?}");
            match next {
                Some(next) => ask.cursor = Some(next),
                None => break,
            }
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len(), pages), (60, 60, 9), "{deployment:?}");
        // The cursor is of this question.
        let other = SearchAsk { jql: "project = OPS".into(), ..ask };
        let refused = world.service.search(&world.ctx, &other).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_issue_with_everything_takes_one_request() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let answer = world.issue(&world.ctx, "ENG-7").await.unwrap();
        let content = Value::Object(answer.content);
        assert_eq!(world.asked().len(), 1, "{deployment:?}: {:?}", world.asked());
        assert_eq!((&content["key"], &content["source"]), (&json!("ENG-7"), &json!("live")));
        for part in ["summary", "status", "type", "updated", "url", "comments", "changelog", "transitions"] {
            assert!(!content[part].is_null(), "{deployment:?}: {part} is missing in {content}");
        }
        assert!(content["url"].as_str().unwrap().ends_with("/browse/ENG-7"), "{content}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_go_by_the_names_people_see_and_an_unknown_one_is_told_with_what_was_probably_meant() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let mut ask =
            SearchAsk { fields: vec!["Story Points".into(), "labels".into()], ..search("key = ENG-3") };
        let answer = world.service.search(&world.ctx, &ask).await.unwrap();
        let fields = &answer.content["issues"][0]["fields"];
        assert!(fields.as_object().unwrap().contains_key("Story Points"), "{deployment:?}: {fields}");
        ask.fields = vec!["Story Pionts".into()];
        let Err(Error::Source(error)) = world.service.search(&world.ctx, &ask).await else {
            panic!("an unknown field is let through")
        };
        assert_eq!(error.field.as_deref(), Some("/fields/0"));
        assert_eq!(error.allowed[0], "Story Points", "{:?}", error.allowed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_told_latest_first_and_page_by_page() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let of = |number: u32| ActivityAsk {
            key: format!("ENG-{number}"),
            kinds: LiveActivityKind::ALL.into(),
            limit: 100,
            ..ActivityAsk::default()
        };
        // Issues differ in how much happened to them.
        let (mut all, mut whole) = (of(1), Vec::new());
        for number in 1..=60 {
            let told = world.service.activity(&world.ctx, &of(number)).await.unwrap();
            let entries = told.content["entries"].as_array().unwrap().clone();
            if entries.len() > whole.len() {
                (all, whole) = (of(number), entries);
            }
        }
        assert!(whole.len() > 4, "{deployment:?}: too little to walk: {whole:?}");
        let times: Vec<&str> = whole.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        let (mut walked, mut ask) = (Vec::new(), ActivityAsk { limit: 2, ..all });
        loop {
            let page = world.service.activity(&world.ctx, &ask).await.unwrap();
            walked.extend(page.content["entries"].as_array().unwrap().clone());
            match page.content.get("next_cursor").and_then(Value::as_str) {
                Some(next) => ask.cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(walked, whole, "{deployment:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_issues_fit_into_twelve_kilobytes_and_full_ones_into_what_they_may_take() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let fifty = SearchAsk { limit: 50, ..search("project = ENG") };
        let answer = world.service.search(&world.ctx, &fifty).await.unwrap();
        assert_eq!(answer.count, 50);
        println!("{deployment:?}: fifty issues take {} bytes", answer.bytes);
        assert!(answer.bytes <= 12 * 1024, "{deployment:?}: {} bytes", answer.bytes);
        let full = SearchAsk { view: LiveView::Full, ..search("project = ENG") };
        let answer = world.service.search(&world.ctx, &full).await.unwrap();
        assert_eq!(answer.count, 60, "no row is left out");
        assert!(answer.bytes <= 56 * 1024, "{deployment:?}: {} bytes", answer.bytes);
    }
}
