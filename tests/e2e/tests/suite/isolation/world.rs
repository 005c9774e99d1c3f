//! Three tenants of the same installation, each with a tracker's data of its own and a word that stands in all of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use domain::Scope;
use patchbay_e2e::{Api, Patchbay, Started};
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

use crate::isolation::detector::{Detector, ids};

pub(crate) const ITEMS: usize = 40;
const SLUGS: [&str; 3] = ["acme", "globex", "initech"];

pub(crate) struct World {
    pub(crate) patchbay: Patchbay,
    pub(crate) server: Started,
    pub(crate) worker: Started,
    pub(crate) mcp: String,
    pub(crate) tracker: Simulator,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) detector: Detector,
}

pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) slug: String,
    /// A word that stands in its repository's and instance's names and in titles, and nowhere else.
    pub(crate) canary: String,
    pub(crate) api: Api,
    pub(crate) instance: String,
    pub(crate) pools: Mutex<Pools>,
    pub(crate) done: Mutex<Done>,
}

/// Ids by kind, cursors, and things to be used up.
#[derive(Default)]
pub(crate) struct Pools {
    pub(crate) ids: BTreeMap<&'static str, Vec<String>>,
    /// Cursors with the list they come from.
    pub(crate) cursors: Vec<(&'static str, String)>,
    /// Narrower keys, some of them revoked in the meantime.
    pub(crate) keys: Vec<Api>,
}

/// What the operations have done, as their answers told.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) instances: HashSet<String>,
    pub(crate) deleted: HashSet<String>,
    /// Runs with their instance.
    pub(crate) runs: HashMap<String, String>,
    pub(crate) keys: HashSet<String>,
    pub(crate) invitations: HashSet<String>,
    pub(crate) removed_members: HashSet<String>,
}

impl World {
    pub(crate) async fn make(seed: u64) -> Self {
        let canaries: Vec<String> =
            SLUGS.iter().map(|slug| format!("canary{slug}{:08x}", seed as u32)).collect();
        let repository = |(place, canary): (usize, &String)| {
            generate::repository(&format!("{canary}/app"), seed + place as u64, ITEMS - 3)
        };
        let grant = |canary: &String| TokenGrant {
            token: format!("token-{canary}"),
            login: format!("bot-{canary}"),
            repositories: Some(vec![format!("{canary}/app")]),
        };
        let config = SimulatorConfig {
            port: 0,
            repositories: canaries.iter().enumerate().map(repository).collect(),
            tokens: canaries.iter().map(grant).collect(),
            latency: Duration::ZERO,
        };
        let tracker = Simulator::start(config).await.unwrap();
        let patchbay = Patchbay::install().await.unwrap();
        let server = patchbay.serve("admin,mcp-sql").await.unwrap();
        let worker = patchbay.serve("worker").await.unwrap();
        let mut tenants = Vec::new();
        for (slug, canary) in SLUGS.iter().zip(&canaries) {
            tenants.push(Tenant::make(&patchbay, &server, &tracker, slug, canary).await);
        }
        let words = tenants.iter().map(|tenant| vec![tenant.canary.clone(), tenant.id.clone()]).collect();
        let mcp = server.mcp_sql_url.clone().unwrap();
        let detector = Detector::new(words);
        let world = Self { patchbay, server, worker, mcp, tracker, tenants, detector };
        world.learn().await.unwrap();
        world
    }

    /// Takes down whose every stored id is. `Err` when a tenant was told an id that is another's.
    pub(crate) async fn learn(&self) -> Result<(), String> {
        for (place, tenant) in self.tenants.iter().enumerate() {
            let rows = self.patchbay.database.ids_of(&tenant.id).await.unwrap();
            for id in ids(&rows.join(" ")) {
                self.detector.learn(id, place)?;
            }
        }
        Ok(())
    }
}

impl Tenant {
    async fn make(
        patchbay: &Patchbay,
        server: &Started,
        tracker: &Simulator,
        slug: &str,
        canary: &str,
    ) -> Self {
        let token = format!("token-{canary}");
        let writer = Api::new(&tracker.url(), &token).unwrap();
        for number in 0..3 {
            let issue =
                json!({"title": format!("The {canary} number {number} does not answer"), "body": canary});
            let written = writer.post(&format!("/repos/{canary}/app/issues"), &issue).await.unwrap();
            assert_eq!(written.status, 201, "{written:?}");
        }
        let id = patchbay.tenant(slug).await.unwrap();
        let api = server.api(&patchbay.key(slug, "admin").await.unwrap()).unwrap();
        let new = json!({"source": "github", "name": format!("{canary} main"), "base_url": tracker.url(),
            "credentials": {"kind": "token", "token": token}, "settings": {"repositories": [format!("{canary}/app")]}});
        let made = api.post("/api/v1/instances", &new).await.unwrap();
        let instance = made.body["id"].as_str().unwrap().to_owned();
        let run = api.run_to(&instance, "backfill", "succeeded").await.unwrap();
        let tenant = Self {
            id,
            slug: slug.to_owned(),
            canary: canary.to_owned(),
            api,
            instance: instance.clone(),
            pools: Mutex::default(),
            done: Mutex::default(),
        };
        tenant.done.lock().unwrap().runs.insert(run["id"].as_str().unwrap().to_owned(), instance.clone());
        tenant.keep("instance", &instance);
        tenant.keep("run", run["id"].as_str().unwrap());
        let items = tenant.api.get("/api/v1/work-items?limit=50").await.unwrap();
        for item in items.body["items"].as_array().unwrap() {
            tenant.keep("work_item", item["id"].as_str().unwrap());
        }
        let project = tenant.api.get(&format!("/api/v1/instances/{instance}/projects")).await.unwrap();
        for id in ids(&project.text) {
            tenant.keep("project", id);
        }
        for number in 0..6 {
            tenant.add_member(patchbay, number).await;
        }
        for scopes in [&[Scope::ItemsRead][..], &[Scope::InstancesRead, Scope::McpSql]] {
            let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
            let new = json!({"name": canary, "scopes": names});
            let key = tenant.api.post("/api/v1/keys", &new).await.unwrap();
            assert_eq!(key.status, 201, "{key:?}");
            tenant.note_key(&key.body);
        }
        tenant
    }

    /// A viewer. Inserted: to become one, a person signs in, which other tests try.
    async fn add_member(&self, patchbay: &Patchbay, number: usize) {
        let user = uuid::Uuid::now_v7().to_string();
        let argument =
            json!({"user": user, "tenant": self.id, "name": format!("{}-{number}", self.canary)}).to_string();
        let insert = "with given as (select $1::jsonb as g), person as (
                insert into users (id, email, name)
                select (g->>'user')::uuid, (g->>'name') || '@example.com', g->>'name' from given returning id, email, name)
            insert into memberships (tenant_id, user_id, role, email, name)
            select (g->>'tenant')::uuid, person.id, 'viewer', person.email, person.name from given, person";
        assert_eq!(patchbay.database.execute(insert, &argument).await.unwrap(), 1);
        self.keep("member", &user);
    }

    /// Puts an id to those that operations choose from.
    pub(crate) fn keep(&self, kind: &'static str, id: &str) {
        let mut pools = self.pools.lock().unwrap();
        let ids = pools.ids.entry(kind).or_default();
        ids.push(id.to_owned());
        // What is made lately is met more often.
        if ids.len() > 60 {
            ids.remove(20);
        }
    }

    /// Takes a created key down.
    pub(crate) fn note_key(&self, created: &Value) {
        let id = created["id"].as_str().unwrap();
        self.keep("key", id);
        self.done.lock().unwrap().keys.insert(id.to_owned());
        // A replayed answer brings the key again.
        if let Some(key) = created["key"].as_str() {
            let mut pools = self.pools.lock().unwrap();
            if pools.keys.len() < 40 {
                pools.keys.push(self.api.with_key(key));
            }
        }
    }
}
