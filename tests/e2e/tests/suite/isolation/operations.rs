//! Random operations of one tenant, many of them with what is another's, and what must come of each.

use patchbay_e2e::{Answer, Api};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use reqwest::Method;
use serde_json::{Value, json};

use crate::isolation::world::{Pools, Tenant, World};

/// One thing to do.
pub(crate) struct Operation {
    pub(crate) tenant: usize,
    /// Which kind, for the statistics.
    pub(crate) name: &'static str,
    api: Api,
    request: Request,
    pub(crate) expect: Expect,
    /// What the answer changes in the books.
    pub(crate) effect: Effect,
}

enum Request {
    Rest { method: Method, path: String, body: Option<Value>, once: Option<String> },
    Tool { name: &'static str, arguments: Value, over_mcp: bool },
}

/// What must come of it, beside an answer without anything of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Whatever the rules say.
    Answer,
    /// Nothing of that id is there.
    Absent,
    /// The reference to another's thing is refused.
    Refused,
    /// No rows.
    NoRows,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Instance,
    Deleted(String),
    Run(String),
    Key,
    Invitation,
    RemovedMember(String),
}

/// Whose thing was picked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    NotOwn,
}

impl Operation {
    /// All that the caller says in it.
    pub(crate) fn said(&self) -> String {
        match &self.request {
            Request::Rest { path, body, .. } => format!("{path} {}", body.as_ref().unwrap_or(&Value::Null)),
            Request::Tool { arguments, .. } => arguments.to_string(),
        }
    }

    pub(crate) async fn send(&self, mcp: &str) -> anyhow::Result<Answer> {
        match &self.request {
            Request::Rest { path, body: Some(body), once: Some(key), .. } => {
                self.api.post_once(path, key, body).await
            }
            Request::Rest { method, path, body, .. } => {
                self.api.send(method.clone(), path, body.as_ref()).await
            }
            Request::Tool { name, arguments, over_mcp: true } => {
                self.api.rpc(mcp, "tools/call", &json!({"name": name, "arguments": arguments})).await
            }
            Request::Tool { name, arguments, .. } => self.api.invoke(mcp, name, arguments).await,
        }
    }

    /// The same with an id that nothing has, when it is about one thing of another tenant.
    pub(crate) fn with_unknown_id(&self) -> Option<(Self, String, String)> {
        let Request::Rest { method, path, body, once: None } = &self.request else { return None };
        if self.expect != Expect::Absent {
            return None;
        }
        let theirs = crate::isolation::detector::ids(path).next()?.to_owned();
        let unknown = uuid::Uuid::now_v7().to_string();
        let path = path.replace(&theirs, &unknown);
        let request = Request::Rest { method: method.clone(), path, body: body.clone(), once: None };
        let same = Self { request, api: self.api.clone(), effect: Effect::None, ..*self };
        Some((same, theirs, unknown))
    }
}

/// Chooses an operation. The same state of the random generator and of the pools chooses the same.
pub(crate) fn choose(random: &mut StdRng, world: &World) -> Operation {
    let tenant = random.random_range(0..world.tenants.len());
    let mut choice = Choice { random, world, tenant };
    let (name, request, expect, effect) = choice.request();
    let own = &world.tenants[tenant];
    let narrower = own.pools.lock().unwrap().keys.clone();
    // A key that may do less, or is revoked by now, is told less.
    let api = match narrower.len() {
        0 => own.api.clone(),
        _ if effect != Effect::None || choice.random.random_ratio(4, 5) => own.api.clone(),
        many => narrower[choice.random.random_range(0..many)].clone(),
    };
    Operation { tenant, name, api, request, expect, effect }
}

type Chosen = (&'static str, Request, Expect, Effect);

struct Choice<'a> {
    random: &'a mut StdRng,
    world: &'a World,
    tenant: usize,
}

impl Choice<'_> {
    fn request(&mut self) -> Chosen {
        match self.random.random_range(0..100) {
            0..26 => self.read_one(),
            26..44 => self.read_list(),
            44..68 => self.call_tool(),
            68..80 => self.act_on_one(),
            80..85 => self.make_instance(),
            85..88 => self.delete_instance(),
            88..93 => self.make_key(),
            93..96 => self.members(),
            _ => self.whole(),
        }
    }

    fn own(&self) -> &Tenant {
        &self.world.tenants[self.tenant]
    }

    fn other(&mut self) -> usize {
        (self.tenant + self.random.random_range(1..self.world.tenants.len())) % self.world.tenants.len()
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.random.random_range(0..all.len())].clone()
    }

    fn one_from<T: Clone>(&mut self, tenant: usize, pool: impl Fn(&Pools) -> Vec<T>) -> Option<T> {
        let all = pool(&self.world.tenants[tenant].pools.lock().unwrap());
        (!all.is_empty()).then(|| self.one_of(&all))
    }

    fn id_of(&mut self, tenant: usize, kind: &'static str) -> String {
        let found = self.one_from(tenant, |pools| pools.ids.get(kind).cloned().unwrap_or_default());
        found.unwrap_or_else(|| uuid::Uuid::now_v7().to_string())
    }

    /// An id of this kind: one's own, another's, one of another kind, or nobody's.
    fn id(&mut self, kind: &'static str) -> (String, Whose) {
        const KINDS: [&str; 7] = ["instance", "run", "work_item", "key", "member", "invitation", "project"];
        match self.random.random_range(0..20) {
            0..9 => (self.id_of(self.tenant, kind), Whose::Own),
            9..16 => {
                let other = self.other();
                (self.id_of(other, kind), Whose::NotOwn)
            }
            16..19 => {
                let wrong = self.one_of(&KINDS.map(|other| if other == kind { "comment" } else { other }));
                let tenant = self.random.random_range(0..self.world.tenants.len());
                (self.id_of(tenant, wrong), Whose::NotOwn)
            }
            _ => (uuid::Uuid::from_u128(self.random.random()).to_string(), Whose::NotOwn),
        }
    }

    fn name(&mut self) -> String {
        let number = self.random.next_u32();
        format!("{} {number:08x}", self.own().canary)
    }

    fn read_one(&mut self) -> Chosen {
        let (kind, path) = self.one_of(&[
            ("instance", "/api/v1/instances/{}"),
            ("instance", "/api/v1/instances/{}/freshness"),
            ("instance", "/api/v1/instances/{}/projects"),
            ("run", "/api/v1/runs/{}"),
            ("run", "/api/v1/runs/{}/dead-letters"),
            ("work_item", "/api/v1/work-items/{}"),
            ("work_item", "/api/v1/work-items/{}"),
            ("key", "/api/v1/keys/{}"),
        ]);
        let (id, whose) = self.id(kind);
        get("read one", path.replace("{}", &id), absent_unless(whose))
    }

    fn read_list(&mut self) -> Chosen {
        let list = self.one_of(&[
            "work-items",
            "work-items",
            "work-items",
            "runs",
            "instances",
            "keys",
            "members",
            "invitations",
            "audit",
        ]);
        let mut query = vec![format!("limit={}", self.random.random_range(1..60))];
        let mut expect = Expect::Answer;
        if self.random.random_ratio(1, 3) {
            let any = self.random.random_range(0..self.world.tenants.len());
            if let Some((_, cursor)) = self.one_from(any, |pools| pools.cursors.clone()) {
                query.push(format!("cursor={cursor}"));
            }
        }
        if list == "work-items" && self.random.random_bool(0.5) {
            let other = self.other();
            let (theirs, canary) = (self.id_of(other, "instance"), self.world.tenants[other].canary.clone());
            let own = self.own().canary.clone();
            let (filter, foreign) = self.one_of(&[
                (format!("instance={theirs}"), true),
                (format!("project={canary}/app"), true),
                (format!("project={own}/app"), false),
                (format!("assignee=bot-{canary}"), false),
                ("status=todo&type=bug".to_owned(), false),
                ("include_deleted=true".to_owned(), false),
                (format!("project=x'%20or%20tenant_id%3C%3E'{canary}"), true),
            ]);
            query.push(filter);
            expect = if foreign { Expect::NoRows } else { Expect::Answer };
        }
        if list == "runs" && self.random.random_bool(0.4) {
            let (id, whose) = self.id("instance");
            query.push(format!("instance={id}"));
            expect = if whose == Whose::Own { Expect::Answer } else { Expect::NoRows };
        }
        if list == "audit" && self.random.random_bool(0.4) {
            let (id, whose) = self.id("key");
            query.push(format!("principal={id}"));
            expect = if whose == Whose::Own { Expect::Answer } else { Expect::NoRows };
        }
        get("list", format!("/api/v1/{list}?{}", query.join("&")), expect)
    }

    fn call_tool(&mut self) -> Chosen {
        let other = self.other();
        let (own, theirs) = (self.own().canary.clone(), self.world.tenants[other].canary.clone());
        let foreign = self.random.random_bool(0.5);
        let canary = if foreign { &theirs } else { &own };
        let project = match self.random.random_range(0..6) {
            0 => format!("{canary}/app' or '1'='1"),
            1 => "%".to_owned(),
            _ => format!("{canary}/app"),
        };
        let limit = self.random.random_range(1..120);
        let slug = self.world.tenants[other].slug.clone();
        let (name, arguments, counts) = match self.random.random_range(0..8) {
            0 => ("search_issues_by_project", json!({"project": project, "limit": limit}), true),
            1 => ("search_issues_by_project", json!({"project": project, "status": "todo"}), true),
            2 => ("find_work_items", json!({"query": canary, "limit": limit}), true),
            3 => ("find_work_items", json!({"query": "number OR error OR the", "project": project}), true),
            4 => ("get_project_metrics", json!({"project": project}), true),
            5 => ("cycle_time_percentiles", json!({"project": project}), true),
            6 => (
                "sql_run_template",
                json!({"name": "search_issues_by_project", "arguments": {"project": project}}),
                true,
            ),
            _ => ("sql_get_freshness", json!({"instance": format!("{theirs}-main"), }), false),
        };
        let mut arguments = arguments;
        if self.random.random_ratio(1, 20) {
            arguments["tenant"] = json!(slug);
        }
        let expect = if foreign && counts { Expect::NoRows } else { Expect::Answer };
        let over_mcp = self.random.random_bool(0.5);
        ("tool", Request::Tool { name, arguments, over_mcp }, expect, Effect::None)
    }

    fn act_on_one(&mut self) -> Chosen {
        let (kind, method, path) = self.one_of(&[
            ("instance", Method::POST, "/api/v1/instances/{}/backfill"),
            ("instance", Method::POST, "/api/v1/instances/{}/sync"),
            ("instance", Method::POST, "/api/v1/instances/{}/test"),
            ("instance", Method::PATCH, "/api/v1/instances/{}"),
            ("run", Method::POST, "/api/v1/runs/{}/cancel"),
            ("key", Method::POST, "/api/v1/keys/{}/rotate"),
            ("member", Method::PATCH, "/api/v1/members/{}"),
            ("invitation", Method::DELETE, "/api/v1/invitations/{}"),
        ]);
        let (id, whose) = self.id(kind);
        let body = match (kind, &method) {
            ("instance", &Method::PATCH) => Some(json!({"name": self.name()})),
            ("member", _) => Some(json!({"role": "viewer"})),
            (_, &Method::DELETE) => None,
            _ => Some(json!({})),
        };
        let effect = match (path.rsplit('/').next(), kind) {
            (Some("backfill" | "sync"), _) => Effect::Run(id.clone()),
            (Some("rotate"), _) => Effect::Key,
            _ => Effect::None,
        };
        let request = Request::Rest { method, path: path.replace("{}", &id), body, once: None };
        ("act on one", request, absent_unless(whose), effect)
    }

    /// Under an idempotency key that other tenants use, too.
    fn make_instance(&mut self) -> Chosen {
        let canary = self.own().canary.clone();
        let body = json!({"source": "github", "name": self.name(), "base_url": self.world.tracker.url(),
            "credentials": {"kind": "token", "token": format!("token-{canary}")},
            "settings": {"repositories": [format!("{canary}/app")]}});
        let once =
            self.random.random_bool(0.5).then(|| format!("shared-{}", self.random.random_range(0..40)));
        let path = "/api/v1/instances".to_owned();
        let request = Request::Rest { method: Method::POST, path, body: Some(body), once };
        ("make an instance", request, Expect::Answer, Effect::Instance)
    }

    /// One that operations made, or another's.
    fn delete_instance(&mut self) -> Chosen {
        let (mut id, whose) = self.id("instance");
        if id == self.own().instance {
            id = uuid::Uuid::now_v7().to_string();
        }
        let path = format!("/api/v1/instances/{id}");
        let request = Request::Rest { method: Method::DELETE, path, body: None, once: None };
        ("delete an instance", request, absent_unless(whose), Effect::Deleted(id))
    }

    /// Narrowed to an instance, which may be another's, or bound to a member, who may be another's.
    fn make_key(&mut self) -> Chosen {
        let mut body = json!({"name": self.name(), "scopes": [self.one_of(&["items:read", "mcp:sql", "instances:read"])]});
        let mut expect = Expect::Answer;
        if self.random.random_bool(0.7) {
            let (id, whose) = self.id("instance");
            body["grant"] = json!({"instances": [id]});
            expect = if whose == Whose::Own { Expect::Answer } else { Expect::Refused };
        }
        if self.random.random_ratio(1, 4) {
            let (id, whose) = self.id("member");
            body["user_id"] = json!(id);
            expect = if whose == Whose::Own { expect } else { Expect::Refused };
        }
        let path = "/api/v1/keys".to_owned();
        let request = Request::Rest { method: Method::POST, path, body: Some(body), once: None };
        ("make a key", request, expect, Effect::Key)
    }

    fn members(&mut self) -> Chosen {
        if self.random.random_bool(0.5) {
            let number = self.random.next_u32();
            let email = format!("{}-{number:08x}@example.com", self.own().canary);
            let body = Some(json!({"email": email, "role": "viewer"}));
            let path = "/api/v1/invitations".to_owned();
            let request = Request::Rest { method: Method::POST, path, body, once: None };
            return ("invite", request, Expect::Answer, Effect::Invitation);
        }
        let (kind, path) = self.one_of(&[("key", "keys"), ("member", "members")]);
        let (id, whose) = self.id(kind);
        // The first members stay, so that there is always somebody.
        let path = format!("/api/v1/{path}/{id}");
        let request = Request::Rest { method: Method::DELETE, path, body: None, once: None };
        let effect = if kind == "member" { Effect::RemovedMember(id) } else { Effect::None };
        ("revoke or remove", request, absent_unless(whose), effect)
    }

    fn whole(&mut self) -> Chosen {
        let rare = self.random.random_ratio(1, 10);
        let path = match self.random.random_range(0..4) {
            0 if rare => "/api/v1/tenant/export",
            1 if rare => "/api/v1/audit/export",
            2 => "/api/v1/tenant",
            _ => "/api/v1/me",
        };
        get("whole", path.to_owned(), Expect::Answer)
    }
}

fn get(name: &'static str, path: String, expect: Expect) -> Chosen {
    (name, Request::Rest { method: Method::GET, path, body: None, once: None }, expect, Effect::None)
}

fn absent_unless(whose: Whose) -> Expect {
    if whose == Whose::Own { Expect::Answer } else { Expect::Absent }
}
