//! Signing in with a real authorization server: a person with a browser, and the official MCP client by OAuth.

use std::process::Stdio;
use std::time::{Duration, Instant};

use patchbay_e2e::{Api, Browser, IdentityServer, Patchbay, Started, setting};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use simulator::{Deployment, JiraLogin, Simulator, SimulatorConfig, generate};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// An installation that people sign in to.
struct Site {
    identity: IdentityServer,
    patchbay: Patchbay,
    running: Started,
    /// The admin server, by the name that browsers trust with cookies.
    admin: Url,
}

impl Site {
    async fn serving(parts: &str) -> Self {
        let identity = IdentityServer::start().await.unwrap();
        let patchbay = Patchbay::install().await.unwrap();
        let running = patchbay.serve_with(parts, &identity.settings()).await.unwrap();
        let mut admin: Url = running.admin_url.as_deref().unwrap().parse().unwrap();
        admin.set_host(Some("localhost")).unwrap();
        Self { identity, patchbay, running, admin }
    }

    fn url(&self, path: &str) -> Url {
        self.admin.join(path).unwrap()
    }

    /// A tenant and an API with an admin key of it.
    async fn tenant(&self, slug: &str) -> Api {
        self.patchbay.tenant(slug).await.unwrap();
        self.running.api(&self.patchbay.key(slug, "admin").await.unwrap()).unwrap()
    }

    /// Signs a person in with a new browser; by an invitation if the query has one.
    async fn sign_in(&self, name: &str, query: &str) -> (Browser, u16, Value) {
        let mut browser = Browser::new().unwrap();
        let back =
            browser.sign_in(&self.url(&format!("/auth/login{query}")), name, "/auth/callback").await.unwrap();
        assert_eq!(back.origin(), self.admin.origin());
        assert!(back.query_pairs().any(|(name, value)| name == "iss" && value == self.identity.issuer));
        let (status, answer) = browser.send(Method::GET, &back, None, None).await.unwrap();
        (browser, status, answer)
    }

    async fn stop(self) {
        self.running.terminate().await.unwrap();
        self.patchbay.database.drop().await.unwrap();
    }
}

async fn invite(api: &Api, email: &str, role: &str) -> String {
    let made = api.post("/api/v1/invitations", &json!({"email": email, "role": role})).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    format!("?invitation={}", made.body["token"].as_str().unwrap())
}

// Security requirements 32, 42, 60, 61 and 65.
#[tokio::test(flavor = "multi_thread")]
async fn an_invited_person_signs_in_with_a_browser_works_by_cookie_and_signs_out() {
    let site = Site::serving("admin,mcp-sql").await;
    let acme = site.tenant("acme").await;
    let invitation = invite(&acme, "Alice@Example.com", "admin").await;

    let (_, status, problem) = site.sign_in("alice", "").await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("no_membership")), "{problem}");
    let (_, status, problem) = site.sign_in("mallory", &invitation).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("invitation_not_accepted")), "{problem}");

    let (mut alice, status, problem) = site.sign_in("alice", &format!("{invitation}&return_to=/docs")).await;
    assert_eq!(status, 303, "{problem}");
    let (status, me) = alice.send(Method::GET, &site.url("/api/v1/me"), None, None).await.unwrap();
    assert_eq!(
        (status, me["principal"]["name"].as_str(), me["tenant"]["slug"].as_str()),
        (200, Some("alice"), Some("acme")),
        "{me}"
    );
    let csrf = me["session"]["csrf_token"].as_str().unwrap().to_owned();
    let key = json!({"name": "made by cookie", "scopes": ["items:read"]});
    let keys = site.url("/api/v1/keys");
    let (status, problem) = alice.send(Method::POST, &keys, None, Some(&key)).await.unwrap();
    assert_eq!((status, problem["code"].as_str()), (403, Some("cross_site")), "{problem}");
    let (status, made) = alice.send(Method::POST, &keys, Some(&csrf), Some(&key)).await.unwrap();
    assert_eq!(status, 201, "{made}");

    // Another replica stops taking the session within five seconds of the end.
    let replica = site.patchbay.serve_with("admin", &site.identity.settings()).await.unwrap();
    let there: Url = format!("{}/api/v1/me", replica.admin_url.as_deref().unwrap()).parse().unwrap();
    assert_eq!(alice.send(Method::GET, &there, None, None).await.unwrap().0, 200);
    let session = alice.cookie("__Host-patchbay").unwrap().to_owned();
    let (status, _) = alice.send(Method::POST, &site.url("/auth/logout"), Some(&csrf), None).await.unwrap();
    assert_eq!((status, alice.cookie("__Host-patchbay")), (204, None));
    let ended = Instant::now();
    let old = Browser::with_cookie("__Host-patchbay", &session).unwrap();
    for (url, within) in [(site.url("/api/v1/me"), Duration::from_secs(1)), (there, Duration::from_secs(5))] {
        let mut old = old.clone();
        while old.send(Method::GET, &url, None, None).await.unwrap().0 != 401 {
            assert!(
                ended.elapsed() < within,
                "{url} still took the session {:?} after its end",
                ended.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let recorded = site
        .patchbay
        .database
        .texts(
            "select action || ' ' || outcome from audit_log
             where action like 'session.%' or action in ('invitation.accept', 'member.join') order by action",
        )
        .await
        .unwrap();
    let expected = ["invitation.accept denied", "member.join ok", "session.create ok", "session.end ok"];
    assert_eq!(recorded, expected);
    replica.terminate().await.unwrap();
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_of_the_command_line_says_how_it_is_used_and_its_link_signs_in() {
    let site = Site::serving("admin,mcp-sql").await;
    site.patchbay.tenant("acme").await.unwrap();
    let create = async |email: &str, settings: &[(&str, &str)]| {
        let args = ["invitation", "create", "--tenant", "acme", "--email", email, "--role", "owner"];
        let output = site.patchbay.spawn(&args, settings).unwrap().wait_with_output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
        (text(output.stdout), text(output.stderr))
    };
    let (token, told) = create("ada@example.com", &[]).await;
    assert!(token.starts_with("pbi_"), "{token}");
    for part in ["ada@example.com", "/auth/login?invitation=", "PATCHBAY_PUBLIC_URL", "docs/signing-in.md"] {
        assert!(told.contains(part), "{part} is not told: {told}");
    }
    let (ada, status, problem) = site.sign_in("ada", &format!("?invitation={token}")).await;
    assert_eq!((status, ada.cookie("__Host-patchbay").is_some()), (303, true), "{problem}");

    let (link, told) = create("grace@example.com", &[("PATCHBAY_PUBLIC_URL", site.admin.as_str())]).await;
    assert!(told.contains("grace@example.com") && !told.contains(&link), "{told}");
    let query = link.strip_prefix(&format!("{}auth/login", site.admin)).unwrap_or_else(|| panic!("{link}"));
    let (grace, status, problem) = site.sign_in("grace", query).await;
    assert_eq!((status, grace.cookie("__Host-patchbay").is_some()), (303, true), "{problem}");
    site.stop().await;
}

/// The official SDK's way through OAuth, with a person at the browser; the lines it says.
async fn by_oauth(mcp: &str, name: &str, resource: Option<&str>) -> Vec<Value> {
    signed_in(mcp, name, &json!(["search_issues_by_project", {"project": "acme/app"}]), resource).await
}

/// The same with another call, of a name and arguments.
async fn signed_in(mcp: &str, name: &str, call: &Value, resource: Option<&str>) -> Vec<Value> {
    let script = std::path::Path::new(&setting("PATCHBAY_TEST_MCP_CLIENT_DIR").unwrap()).join("oauth.mjs");
    let mut child = tokio::process::Command::new(setting("PATCHBAY_TEST_NODE").unwrap())
        .arg(script)
        .args([mcp, &call.to_string()])
        .args(resource)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap();
        if let Some(url) = line["authorize"].as_str() {
            let url: Url = url.parse().unwrap();
            let back = Browser::new().unwrap().sign_in(&url, name, "/callback").await.unwrap();
            stdin.write_all(format!("{back}\n").as_bytes()).await.unwrap();
        }
        said.push(line);
    }
    said
}

// Security requirements 24 to 27 and 32.
#[tokio::test(flavor = "multi_thread")]
async fn an_sdk_client_discovers_registers_signs_in_and_calls_a_tool() {
    let site = Site::serving("admin,mcp-sql").await;
    let acme = site.tenant("acme").await;
    let mcp = site.running.mcp_sql_url.clone().unwrap();
    let (_, status, problem) = site.sign_in("bob", &invite(&acme, "bob@example.com", "viewer").await).await;
    assert_eq!(status, 303, "{problem}");

    let said = by_oauth(&mcp, "bob", None).await;
    let told = &said[1];
    assert_eq!(
        (told["resource"].as_str(), told["challenge"].as_str()),
        (Some(mcp.as_str()), Some("S256")),
        "{said:?}"
    );
    assert!(told["registered"].is_string() && told["scope"].as_str().unwrap().contains("mcp:sql"), "{told}");
    let tools = said[2]["tools"].as_array().unwrap_or_else(|| panic!("{said:?}"));
    assert!(tools.contains(&json!("search_issues_by_project")));
    assert_ne!(said[2]["result"]["isError"], true, "{said:?}");
    let token = told["token"].as_str().unwrap().to_owned();

    // The same token opens nothing else, and a token for elsewhere opens nothing here.
    let of_token = |token: &str| Api::new(site.running.admin_url.as_deref().unwrap(), token).unwrap();
    assert_eq!(of_token(&token).get("/api/v1/me").await.unwrap().status, 401, "the API is another audience");
    let elsewhere = by_oauth(&mcp, "bob", Some("http://localhost:9/mcp")).await;
    let foreign = elsewhere[1]["token"].as_str().unwrap_or_else(|| panic!("{elsewhere:?}"));
    assert!(elsewhere[2]["tools"].is_null(), "{elsewhere:?}");
    let arguments = json!({"project": "acme/app"});
    let invoke = async |api: &Api| api.invoke(&mcp, "search_issues_by_project", &arguments).await.unwrap();
    let refused = invoke(&of_token(foreign)).await;
    assert_eq!(
        (refused.status, refused.body["code"].as_str()),
        (401, Some("unauthenticated")),
        "{refused:?}"
    );
    assert!(refused.body["detail"].as_str().unwrap().contains("audience"), "{refused:?}");

    // A member of two tenants says which.
    let bobs = of_token(&token);
    assert_eq!(invoke(&bobs).await.status, 200);
    let globex = site.tenant("globex").await;
    let (_, status, problem) = site.sign_in("bob", &invite(&globex, "bob@example.com", "viewer").await).await;
    assert_eq!(status, 303, "{problem}");
    let unclear = invoke(&bobs).await;
    assert_eq!((unclear.status, unclear.body["code"].as_str()), (403, Some("choose_tenant")), "{unclear:?}");
    assert_eq!(unclear.body["errors"][0]["allowed"], json!(["acme", "globex"]));
    for (tenant, status) in [("acme", 200), ("globex", 200), ("umbrella", 403)] {
        let named = invoke(&bobs.in_tenant(tenant)).await;
        assert_eq!(named.status, status, "{tenant}: {named:?}");
    }

    // Keys go on working beside, and a suspended tenant lets nobody in, five seconds later.
    let key = site.running.api(&site.patchbay.key("acme", "mcp:sql").await.unwrap()).unwrap();
    assert_eq!(invoke(&key).await.status, 200);
    site.patchbay.run(&["tenant", "suspend", "acme"]).await.unwrap();
    let suspended = Instant::now();
    let in_acme = bobs.in_tenant("acme");
    loop {
        let (by_token, by_key) = (invoke(&in_acme).await.status, invoke(&key).await.status);
        if (by_token, by_key) == (403, 401) {
            break;
        }
        assert!(suspended.elapsed() < Duration::from_secs(6), "still {by_token} and {by_key}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.stop().await;
}

/// A link carries no token: who follows it is asked for anew each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_persons_links_to_files_are_good_while_they_are_a_member() {
    let site = Site::serving("admin,mcp-jira").await;
    let tracker = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let jira = generate::jira("acme", Deployment::Cloud, &[("ENG", 7, 20)]);
    let login = JiraLogin::new(Some("bot@example.com"), "jira-token");
    tracker.control().add_jira(jira.with_login(login)).unwrap();
    let attached =
        tracker.control().with_jira("acme", |jira| jira.attach_file("ENG-7", "a.txt", b"text".to_vec()));
    let attached = attached.unwrap().unwrap();
    let acme = site.tenant("acme").await;
    let new = json!({"source": "jira", "name": "acme", "base_url": format!("{}/jira/acme", tracker.url()),
        "credentials": {"kind": "basic", "email": "bot@example.com", "token": "jira-token"}});
    let made = acme.post("/api/v1/instances", &new).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let (_, status, problem) = site.sign_in("bob", &invite(&acme, "bob@example.com", "member").await).await;
    assert_eq!(status, 303, "{problem}");

    let mcp = format!("{}?toolsets=core,files", site.running.mcp_jira_url.as_deref().unwrap());
    let call = json!(["jira_get_attachment", {"key": "ENG-7", "attachment": attached}]);
    let said = signed_in(&mcp, "bob", &call, None).await;
    let link = said[2]["result"]["structuredContent"]["url"].as_str().unwrap_or_else(|| panic!("{said:?}"));
    let token = said[1]["token"].as_str().unwrap();
    assert!(!link.contains(token), "{link}");
    let bob = Api::new(site.running.admin_url.as_deref().unwrap(), token).unwrap();
    let room =
        bob.invoke(&mcp, "jira_create_upload", &json!({"filename": "b.txt", "size": 4})).await.unwrap();
    assert_eq!(room.status, 200, "{room:?}");
    let room = &room.body;
    let put = room["url"].as_str().unwrap_or_else(|| panic!("{room}"));

    let read = acme.follow(link, None).await.unwrap();
    assert_eq!((read.status, read.body.as_slice()), (200, b"text".as_slice()));
    assert_eq!(acme.follow(put, Some(b"more".to_vec())).await.unwrap().status, 200);
    let attach = json!({"key": "ENG-7", "upload_handle": room["upload_handle"]});
    let done = bob.invoke(&mcp, "jira_attach_file", &attach).await.unwrap();
    assert_eq!((done.status, done.body["key"].as_str()), (200, Some("ENG-7")), "{done:?}");
    let noted = "select principal_kind || ' ' || principal_name from audit_log where action like 'attachment.%' order by seq";
    let since = Instant::now();
    // Reads are put on the record a moment later.
    while site.patchbay.database.texts(noted).await.unwrap().len() < 2 {
        assert!(since.elapsed() < Duration::from_secs(5), "files that went by links are not on the record");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(site.patchbay.database.texts(noted).await.unwrap(), ["user bob", "user bob"]);

    let members = acme.get("/api/v1/members").await.unwrap().body;
    let id = members["items"][0]["id"].as_str();
    let path = format!("/api/v1/members/{}", id.unwrap_or_else(|| panic!("{members}")));
    let removed = acme.send(Method::DELETE, &path, None).await.unwrap();
    assert_eq!(removed.status, 204, "{removed:?}");
    let since = Instant::now();
    while acme.follow(link, None).await.unwrap().status == 200 {
        assert!(since.elapsed() < Duration::from_secs(6), "a link outlives its person's membership");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(matches!(acme.follow(put, Some(b"more".to_vec())).await.unwrap().status, 403 | 404));
    site.stop().await;
}
