//! An installation with two tenants that have one of everything, and callers of every kind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{Role, Scope};
use patchbay_e2e::{Api, IdentityServer, Patchbay, Started, Wiretap, signed_in};
use serde_json::{Value, json};
use simulator::{Deployment, JiraLogin, Simulator, SimulatorConfig, TokenGrant, generate};

/// The tenant whose callers are tried, and the one that nothing may happen to.
pub(crate) const OWN: &str = "acme";
pub(crate) const FOREIGN: &str = "globex";

pub(crate) struct World {
    pub(crate) patchbay: Patchbay,
    pub(crate) server: Started,
    pub(crate) mcp: String,
    pub(crate) mcp_jira: String,
    pub(crate) own: Tenant,
    pub(crate) foreign: Tenant,
    /// What the server asks its database, when that is listened to.
    pub(crate) wiretap: Option<Wiretap>,
    /// The trackers, which tools that read live go on asking.
    _tracker: Simulator,
    /// Where people sign in; it lives as long as they may.
    identity: IdentityServer,
    made: AtomicU64,
}

/// A tenant, its all-powerful key, and one of everything that it has.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) api: Api,
    instance: String,
    run: String,
    work_item: String,
    key: String,
    invitation: String,
    member: String,
    template: String,
}

/// Somebody who calls.
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) api: Api,
    /// What they hold; nothing when their credential is not good.
    pub(crate) scopes: Vec<Scope>,
    /// Signed in with a browser. MCP servers take no cookies.
    pub(crate) by_session: bool,
}

impl World {
    pub(crate) async fn make() -> Self {
        Self::made(false).await
    }

    /// One whose server's statements are heard.
    pub(crate) async fn overheard() -> Self {
        Self::made(true).await
    }

    async fn made(overheard: bool) -> Self {
        let identity = IdentityServer::start().await.unwrap();
        let token = |tenant: &str| TokenGrant {
            token: format!("token-{tenant}"),
            login: tenant.into(),
            repositories: Some(vec![format!("{tenant}/app")]),
        };
        let config = SimulatorConfig {
            port: 0,
            repositories: vec![
                generate::repository("acme/app", 5, 12),
                generate::repository("globex/app", 6, 12),
            ],
            tokens: vec![token(OWN), token(FOREIGN)],
            latency: Duration::ZERO,
        };
        let tracker = Simulator::start(config).await.unwrap();
        for (tenant, key) in [(OWN, "ENG"), (FOREIGN, "GLO")] {
            let site = generate::jira(tenant, Deployment::Cloud, &[(key, 7, 12)]);
            let login = JiraLogin::new(Some(tenant), &format!("token-{tenant}"));
            tracker.control().add_jira(site.with_login(login)).unwrap();
        }
        let patchbay = Patchbay::install().await.unwrap();
        let database = patchbay.database.url().unwrap();
        let wiretap = if overheard { Some(Wiretap::before(&database).await.unwrap()) } else { None };
        let mut settings = identity.settings().to_vec();
        // The set admin is off unless an installation names it.
        settings.push(("PATCHBAY_JIRA_TOOLSETS", "core,agile,work,files,bulk,changes,admin"));
        settings.extend(wiretap.as_ref().map(|wiretap| ("PATCHBAY_DATABASE_URL", wiretap.url())));
        let server = patchbay.serve_with("admin,mcp-jira,mcp-sql", &settings).await.unwrap();
        let worker = patchbay.serve("worker").await.unwrap();
        let own = Tenant::make(&patchbay, &server, &tracker, OWN).await;
        let foreign = Tenant::make(&patchbay, &server, &tracker, FOREIGN).await;
        // From here on nothing is done but what callers do: runs stay queued.
        assert_eq!(worker.terminate().await.unwrap(), Some(0));
        let mcp = server.mcp_sql_url.clone().unwrap();
        // Every set that a key has which is not narrowed.
        let mcp_jira =
            format!("{}?toolsets=core,agile,work,files,bulk,changes", server.mcp_jira_url.clone().unwrap());
        Self {
            patchbay,
            server,
            mcp,
            mcp_jira,
            own,
            foreign,
            wiretap,
            _tracker: tracker,
            identity,
            made: AtomicU64::new(0),
        }
    }

    /// A name that nothing has.
    pub(crate) fn new_name(&self) -> String {
        format!("made-{}", self.made.fetch_add(1, Ordering::Relaxed))
    }

    /// Each scope alone, each role by a key and by a session, and all credentials that are no good (any more).
    pub(crate) async fn callers(&self) -> Vec<Caller> {
        let mut callers = Vec::new();
        for scope in Scope::ALL {
            let api = self.own.key(&[scope]).await;
            callers.push(Caller::with_key(format!("the scope {scope}"), api, vec![scope]));
        }
        for role in Role::ALL {
            let scopes: Vec<Scope> = role.scopes().iter().collect();
            let api = self.own.key(&scopes).await;
            callers.push(Caller::with_key(format!("the role {role}"), api, scopes));
            callers.push(self.person(role).await);
        }
        let bad = |name: &str, api: Api| Caller::with_key(name.to_owned(), api, Vec::new());
        callers.push(bad("nobody", self.own.api.with_key("")));
        callers.push(bad("a malformed key", self.own.api.with_key("pb_test_nonsense")));

        let (id, revoked) = self.own.new_key(&[Scope::Admin]).await;
        let answer = self.own.api.send(reqwest::Method::DELETE, &format!("/api/v1/keys/{id}"), None).await;
        assert_eq!(answer.unwrap().status, 204);
        callers.push(bad("a revoked key", revoked));

        let (id, expired) = self.own.new_key(&[Scope::Admin]).await;
        let expire = "update api_keys set expires_at = now() - interval '1 second' where id = $1::uuid";
        assert_eq!(self.patchbay.database.execute(expire, &id).await.unwrap(), 1);
        callers.push(bad("an expired key", expired));

        self.patchbay.tenant("initech").await.unwrap();
        let theirs = self.patchbay.key("initech", "admin").await.unwrap();
        self.patchbay.run(&["tenant", "suspend", "initech"]).await.unwrap();
        callers.push(bad("a key of a suspended tenant", self.own.api.with_key(&theirs)));
        let ended = self.person(Role::Owner).await;
        let logout = ended.api.send(reqwest::Method::POST, "/auth/logout", None).await.unwrap();
        assert_eq!(logout.status, 204, "{logout:?}");
        callers.push(Caller { name: "an ended session".into(), scopes: Vec::new(), ..ended });
        callers
    }

    /// Each scope by a key that names the set of tools which no other key has.
    pub(crate) async fn callers_of_admin_tools(&self) -> Vec<Caller> {
        let mut callers = Vec::new();
        for scope in Scope::ALL {
            let api = self.own.admin_tools(&[scope]).await;
            callers.push(Caller::with_key(format!("the scope {scope}, naming jira_admin"), api, vec![scope]));
        }
        callers
    }

    /// Somebody invited to this role, who has signed in with a browser at the authorization server.
    async fn person(&self, role: Role) -> Caller {
        let email = format!("{}@example.com", self.new_name());
        let invite =
            ["invitation", "create", "--tenant", OWN, "--email", &email, "--role", role.as_str(), "--json"];
        let invitation: Value = serde_json::from_str(&self.patchbay.run(&invite).await.unwrap()).unwrap();
        let name = email.trim_end_matches("@example.com");
        let api = signed_in(&self.server, &self.identity, name, invitation["token"].as_str().unwrap());
        let api = api.await.unwrap();
        let scopes = role.scopes().iter().collect();
        Caller { name: format!("a signed-in {role}"), api, scopes, by_session: true }
    }
}

impl Caller {
    pub(crate) fn with_key(name: String, api: Api, scopes: Vec<Scope>) -> Self {
        Self { name, api, scopes, by_session: false }
    }
}

impl Tenant {
    async fn make(patchbay: &Patchbay, server: &Started, tracker: &Simulator, slug: &str) -> Self {
        let id = patchbay.tenant(slug).await.unwrap();
        let api = server.api(&patchbay.key(slug, "admin").await.unwrap()).unwrap();
        let settings = json!({"repositories": [format!("{slug}/app")]});
        let instance = api.connect_github(&tracker.url(), &format!("token-{slug}"), &settings).await.unwrap();
        let jira = json!({"source": "jira", "name": "jira", "base_url": format!("{}/jira/{slug}", tracker.url()),
            "credentials": {"kind": "basic", "email": slug, "token": format!("token-{slug}")}});
        made(&api, "/api/v1/instances", &jira).await;
        let run = api.run_to(&instance, "backfill", "succeeded").await.unwrap();
        let items = api.get("/api/v1/work-items?limit=1").await.unwrap();
        let (key, invitation) = (make_key(&api, &[Scope::KeysWrite]).await.0, make_invitation(&api).await);
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        Self {
            template: make_template(&api, &format!("own_of_{slug}")).await,
            member: make_member(patchbay, &id, slug).await,
            run: text(&run["id"]),
            work_item: text(&items.body["items"][0]["id"]),
            id,
            api,
            instance,
            key,
            invitation,
        }
    }

    /// The id of something of this kind that the tenant has, made for this call when it begins with "new ".
    pub(crate) async fn id_of(&self, world: &World, kind: &str) -> String {
        match kind {
            "instance" => self.instance.clone(),
            "run" => self.run.clone(),
            "work_item" => self.work_item.clone(),
            "key" => self.key.clone(),
            "invitation" => self.invitation.clone(),
            "member" => self.member.clone(),
            "template" => self.template.clone(),
            "new template" => make_template(&self.api, &world.new_name().replace('-', "_")).await,
            "new instance" => {
                let body = json!({"source": "github", "name": world.new_name(), "base_url": "http://127.0.0.1:9",
                    "credentials": {"kind": "token", "token": "t"}});
                made(&self.api, "/api/v1/instances", &body).await["id"].as_str().unwrap().to_owned()
            }
            "new key" => self.new_key(&[Scope::KeysWrite]).await.0,
            "new invitation" => make_invitation(&self.api).await,
            "new member" => make_member(&world.patchbay, &self.id, &world.new_name()).await,
            other => panic!("authorization.toml has the unknown kind of id `{other}`"),
        }
    }

    async fn new_key(&self, scopes: &[Scope]) -> (String, Api) {
        make_key(&self.api, scopes).await
    }

    /// A key that names the set `jira_admin`.
    pub(crate) async fn admin_tools(&self, scopes: &[Scope]) -> Api {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let body = json!({"name": "tools", "kind": "service", "scopes": scopes,
            "grant": {"toolsets": ["sql", "jira_core", "jira_admin"]}});
        let key = made(&self.api, "/api/v1/keys", &body).await;
        self.api.with_key(key["key"].as_str().unwrap())
    }

    async fn key(&self, scopes: &[Scope]) -> Api {
        self.new_key(scopes).await.1
    }
}

async fn made(api: &Api, path: &str, body: &Value) -> Value {
    let answer = api.post(path, body).await.unwrap();
    assert_eq!(answer.status, 201, "{path}: {answer:?}");
    answer.body
}

async fn make_key(api: &Api, scopes: &[Scope]) -> (String, Api) {
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    // A name has at most 100 characters.
    let name: String = scopes.join(" ").chars().take(100).collect();
    let body = json!({"name": name, "kind": "service", "scopes": scopes});
    let key = made(api, "/api/v1/keys", &body).await;
    (key["id"].as_str().unwrap().to_owned(), api.with_key(key["key"].as_str().unwrap()))
}

async fn make_invitation(api: &Api) -> String {
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    let made = made(api, "/api/v1/invitations", &json!({"email": email, "role": "viewer"})).await;
    made["id"].as_str().unwrap().to_owned()
}

/// A template that has passed its proof and is nobody's tool. Its name, which is its id.
async fn make_template(api: &Api, name: &str) -> String {
    let source = "/*\ntitle = 'Own'\ndescription = 'Titles of items.'\n*/
        select w.title as title from work_items w where w.tenant_id = $1";
    let made = made(api, "/api/v1/templates", &json!({"name": name, "source": source})).await;
    assert_eq!(made["state"], "proved", "{made}");
    name.to_owned()
}

/// A viewer of the tenant. Inserted: to become one, a person signs in, which other tests try.
async fn make_member(patchbay: &Patchbay, tenant: &str, name: &str) -> String {
    let user = uuid::Uuid::now_v7().to_string();
    let argument = json!({"user": user, "tenant": tenant, "name": name}).to_string();
    let insert = "with given as (select $1::jsonb as g), person as (
            insert into users (id, email, name)
            select (g->>'user')::uuid, (g->>'name') || '@example.com', g->>'name' from given returning id, email, name)
        insert into memberships (tenant_id, user_id, role, email, name)
        select (g->>'tenant')::uuid, person.id, 'viewer', person.email, person.name from given, person";
    assert_eq!(patchbay.database.execute(insert, &argument).await.unwrap(), 1);
    user
}
