//! Secrets that would be recognised anywhere, in use while everything is logged and traced: none of them is to be found
//! in logs, traces, metrics, answers, exports, what goes to Redis, or any table; neither as it is nor in hex or base64.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use patchbay_e2e::{Answer, Browser, IdentityServer, Patchbay, Redis};
use reqwest::{Method, Url};
use serde_json::json;
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const LOGGED: &str = "debug,patchbay=trace,patchbay_application=trace,patchbay_infrastructure=trace,\
    patchbay_interfaces=trace,tower_http=trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rmcp=trace,redis=trace";

/// A secret by its name, in every form it might be written down in.
struct Canary {
    name: String,
    forms: Vec<String>,
}

impl Canary {
    fn new(name: &str, secret: &[u8]) -> Self {
        assert!(secret.len() >= 12, "{name} is too short to be recognised");
        let hex = hex::encode(secret);
        let mut forms = vec![hex.to_uppercase(), hex];
        forms.extend(String::from_utf8(secret.to_vec()).ok());
        // Inside a longer text, base64 of it depends on where it begins; its ends depend on what is beside it.
        for before in 0..3 {
            let padded = [&vec![0; before][..], secret].concat();
            for encoded in [STANDARD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                let encoded = encoded.trim_end_matches('=');
                forms.push(encoded[4..encoded.len() - 4].to_owned());
            }
        }
        Self { name: name.to_owned(), forms }
    }
}

#[derive(Default)]
struct Canaries(Vec<Canary>);

impl Canaries {
    fn add(&mut self, name: &str, secret: &str) {
        self.0.push(Canary::new(name, secret.as_bytes()));
    }

    /// An API key, and the part of it that is the secret.
    fn add_key(&mut self, name: &str, key: &str) {
        self.add(name, key);
        let secret = key.rsplit('_').nth(1).unwrap();
        self.add(&format!("the secret part of {name}"), secret);
    }

    /// Which secrets stand in a text, each with the line.
    fn find(&self, place: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for canary in &self.0 {
            if let Some(form) = canary.forms.iter().find(|form| text.contains(form.as_str())) {
                let line = text.lines().find(|line| line.contains(form.as_str())).unwrap_or_default();
                let line: String = line.chars().take(400).collect();
                found.push(format!("{} stands in {place}: {line}", canary.name));
            }
        }
        found
    }
}

#[test]
fn every_form_of_a_canary_is_found() {
    let mut canaries = Canaries::default();
    canaries.add("a word", "canary-ABCDEFGH-0123456789");
    let secret = b"canary-ABCDEFGH-0123456789";
    for text in [
        "say canary-ABCDEFGH-0123456789!".to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        STANDARD.encode([b"{\"token\":\"", &secret[..], b"\"}"].concat()),
        STANDARD.encode([b"{\"token\": \"", &secret[..], b"\"}"].concat()),
        URL_SAFE_NO_PAD.encode([b"?????", &secret[..], b"~~~"].concat()),
    ] {
        assert_eq!(canaries.find("it", &text).len(), 1, "{text}");
    }
    assert!(canaries.find("it", "canary-ABCDEFGH-0123456788").is_empty());
}

type Bytes = Arc<Mutex<Vec<u8>>>;

fn text_of(bytes: &Bytes) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned()
}

/// Takes whatever is exported by OTLP over HTTP; its address, and what it got.
async fn collector() -> (String, Bytes) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let got = Bytes::default();
    let kept = got.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(collect(stream, kept.clone()));
        }
    });
    (address, got)
}

/// One connection: requests with a declared length, each answered with an empty message.
async fn collect(stream: TcpStream, got: Bytes) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            got.lock().unwrap().extend_from_slice(line.as_bytes());
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        got.lock().unwrap().extend_from_slice(&body);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// All that anybody says to this Redis from now on.
async fn overhear(redis: &Redis) -> Bytes {
    let mut stream = redis.connect().await.unwrap();
    stream.write_all(b"MONITOR\r\n").await.unwrap();
    let heard = Bytes::default();
    let kept = heard.clone();
    tokio::spawn(async move {
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            kept.lock().unwrap().extend_from_slice(&part[..read]);
        }
    });
    heard
}

// Security requirements 57 and 58.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_use_are_written_down_nowhere() {
    let mut canaries = Canaries::default();
    let secret = |name: &str| format!("canary-{name}-{}", uuid::Uuid::new_v4().simple());
    let [token, next, wrong, refused] = ["token", "next", "wrong", "refused"].map(secret);
    for (name, token) in [
        ("the tracker's token", &token),
        ("the tracker's second token", &next),
        ("a wrong token", &wrong),
        ("a token in a refused body", &refused),
    ] {
        canaries.add(name, token);
    }
    let grant = |token: &str| TokenGrant { token: token.into(), login: "sync".into(), repositories: None };
    let repositories = vec![generate::repository("acme/app", 3, 20)];
    let tokens = vec![grant(&token), grant(&next)];
    let config = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    let tracker = Simulator::start(config).await.unwrap();

    let identity = IdentityServer::start().await.unwrap();
    let redis_password = secret("redis");
    canaries.add("the password of Redis", &redis_password);
    let redis = Redis::start_with_password(&redis_password).await.unwrap();
    let heard = overhear(&redis).await;
    let (endpoint, traces) = collector().await;
    let patchbay = Patchbay::install().await.unwrap();
    let master_key = hex::decode(patchbay.master_key()).unwrap();
    canaries.0.push(Canary::new("the master key", &master_key));
    canaries.add("the master key as given", patchbay.master_key());
    // The server lets everybody in from here; what is given is repeated nowhere all the same.
    let database_password = secret("database");
    let database = patchbay.database.url().unwrap();
    let database = database.replacen("//postgres@", &format!("//postgres:{database_password}@"), 1);
    canaries.add("the password of the database", &database_password);

    let redis_url = redis.url();
    let mut settings = vec![
        ("RUST_LOG", LOGGED),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("PATCHBAY_REDIS_URL", &redis_url),
        ("PATCHBAY_DATABASE_URL", &database),
    ];
    settings.extend(identity.settings());
    let client_secret = settings.iter().find(|(name, _)| *name == "PATCHBAY_OIDC_CLIENT_SECRET").unwrap().1;
    canaries.add("the secret of the OpenID client", client_secret);
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    canaries.add_key("the admin key", &key);
    let server = patchbay.serve_with("admin,mcp-sql,worker", &settings).await.unwrap();
    let api = server.api(&key).unwrap();
    let mcp = server.mcp_sql_url.clone().unwrap();

    // Answers may hold what was just made and is shown once; nothing else.
    let mut answers: Vec<(String, Answer)> = Vec::new();
    let mut keep = |what: &str, answer: Answer, statuses: &[u16]| {
        assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
        answers.push((format!("the answer to {what}"), answer));
    };

    // The tracker's credentials.
    let repositories = json!({"repositories": ["acme/app"]});
    let instance = api.connect_github(&tracker.url(), &token, &repositories).await.unwrap();
    let path = format!("/api/v1/instances/{instance}");
    keep("reading the instance", api.get(&path).await.unwrap(), &[200]);
    keep("testing it", api.post(&format!("{path}/test"), &json!({})).await.unwrap(), &[200]);
    api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    let with = |token: &str| json!({"credentials": {"kind": "token", "token": token}});
    keep("new credentials", api.send(Method::PATCH, &path, Some(&with(&next))).await.unwrap(), &[200]);
    api.run_to(&instance, "sync", "succeeded").await.unwrap();
    keep("wrong credentials", api.send(Method::PATCH, &path, Some(&with(&wrong))).await.unwrap(), &[200]);
    keep("testing them", api.post(&format!("{path}/test"), &json!({})).await.unwrap(), &[200]);
    api.run_to(&instance, "backfill", "failed").await.unwrap();
    let mut odd = with(&refused);
    odd["tenant_id"] = json!("x");
    keep("an unknown field", api.post("/api/v1/instances", &odd).await.unwrap(), &[422]);
    let mut odd = with(&refused);
    odd["credentials"]["kind"] = json!("password");
    keep("an unknown kind", api.send(Method::PATCH, &path, Some(&odd)).await.unwrap(), &[422]);
    let broken = format!("{{\"credentials\": {{\"token\": \"{refused}\" oops");
    let json_type = "application/json";
    keep("broken JSON", api.send_text("/api/v1/instances", json_type, &broken).await.unwrap(), &[400]);

    // Keys, also where they do not belong.
    let new = json!({"name": "an assistant", "scopes": ["mcp:sql", "items:read"]});
    let made = api.post_once("/api/v1/keys", "once-and-again", &new).await.unwrap();
    let again = api.post_once("/api/v1/keys", "once-and-again", &new).await.unwrap();
    assert_eq!((made.status, &made.body), (201, &again.body), "a repetition gets the same key");
    let assistant = made.body["key"].as_str().unwrap().to_owned();
    canaries.add_key("a created key", &assistant);
    let id = made.body["id"].as_str().unwrap();
    let rotated = api.post(&format!("/api/v1/keys/{id}/rotate"), &json!({})).await.unwrap();
    assert_eq!(rotated.status, 201, "{rotated:?}");
    canaries.add_key("the key after it", rotated.body["key"].as_str().unwrap());
    keep("listing keys", api.get("/api/v1/keys").await.unwrap(), &[200]);
    keep(
        "a key in the query",
        api.get(&format!("/api/v1/me?access_token={assistant}")).await.unwrap(),
        &[401],
    );
    keep("a spoilt key", api.with_key(&format!("{assistant}x")).get("/api/v1/me").await.unwrap(), &[401]);
    keep("too narrow a key", api.with_key(&assistant).get("/api/v1/keys").await.unwrap(), &[403]);
    let ask = api.with_key(&assistant);
    for (tool, arguments) in [
        ("search_issues_by_project", json!({"project": "acme/app"})),
        ("find_work_items", json!({"query": "error"})),
        ("sql_run_template", json!({"name": "no_such"})),
    ] {
        keep(tool, ask.invoke(&mcp, tool, &arguments).await.unwrap(), &[200, 404]);
        let params = json!({"name": tool, "arguments": arguments});
        keep(tool, ask.rpc(&mcp, "tools/call", &params).await.unwrap(), &[200]);
    }
    let revoked = api.send(Method::DELETE, &format!("/api/v1/keys/{id}"), None).await.unwrap();
    assert_eq!(revoked.status, 204, "{revoked:?}");

    // A person with a browser.
    let invited =
        api.post("/api/v1/invitations", &json!({"email": "alice@example.com", "role": "admin"})).await;
    let invitation = invited.unwrap().body["token"].as_str().unwrap().to_owned();
    canaries.add("an invitation", &invitation);
    let mut admin: Url = server.admin_url.as_deref().unwrap().parse().unwrap();
    admin.set_host(Some("localhost")).unwrap();
    let mut browser = Browser::new().unwrap();
    let login = admin.join(&format!("/auth/login?invitation={invitation}")).unwrap();
    let back = browser.sign_in(&login, "alice", "/auth/callback").await.unwrap();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    canaries.add("an authorization code", &code);
    let (status, said) = browser.send(Method::GET, &back, None, None).await.unwrap();
    assert_eq!(status, 303, "{said}");
    let cookie = browser.cookie("__Host-patchbay").unwrap().to_owned();
    canaries.add("a session's cookie", &cookie);
    let (status, me) =
        browser.send(Method::GET, &admin.join("/api/v1/me").unwrap(), None, None).await.unwrap();
    assert_eq!(status, 200, "{me}");
    let csrf = me["session"]["csrf_token"].as_str().unwrap().to_owned();
    let (status, problem) =
        browser.send(Method::POST, &admin.join("/api/v1/keys").unwrap(), None, Some(&new)).await.unwrap();
    assert_eq!(status, 403, "{problem}");
    let (status, _) =
        browser.send(Method::POST, &admin.join("/auth/logout").unwrap(), Some(&csrf), None).await.unwrap();
    assert_eq!(status, 204);

    for path in [
        "/api/v1/audit?limit=200",
        "/api/v1/audit/export",
        "/api/v1/tenant/export",
        "/metrics",
        "/openapi.json",
        "/readyz",
    ] {
        keep(path, api.get(path).await.unwrap(), &[200]);
    }
    let doctor = patchbay.says(&["doctor"]).await.unwrap();
    assert_eq!(server.terminate().await.unwrap(), Some(0));

    let logs = patchbay.logs().unwrap();
    let (traces, heard) = (text_of(&traces), text_of(&heard));
    let dump = patchbay.database.dump().await.unwrap();
    // That it was looked at where something stands.
    assert!(
        logs.contains("\"level\":\"TRACE\"") && logs.contains("\"level\":\"DEBUG\""),
        "the log tells little"
    );
    assert!(traces.contains("/v1/traces") && traces.contains("/api/v1/instances/{id}"), "nothing was traced");
    assert!(heard.contains("EVAL"), "nothing was said to Redis: {heard}");
    assert!(
        dump["public.work_items"].contains("acme/app#") && dump["public.audit_log"].contains("key.create")
    );
    let mut found = canaries.find("the log", &logs);
    found.extend(canaries.find("a trace", &traces));
    found.extend(canaries.find("what is said to Redis", &heard));
    found.extend(canaries.find("doctor's findings", &doctor));
    for (what, answer) in &answers {
        found.extend(canaries.find(what, &answer.text));
    }
    for (table, rows) in &dump {
        found.extend(canaries.find(&format!("the table {table}"), rows));
    }
    println!(
        "{} secrets looked for in {} bytes of logs, {} of traces, {} of Redis, {} answers, {} tables",
        canaries.0.len(),
        logs.len(),
        traces.len(),
        heard.len(),
        answers.len(),
        dump.len()
    );
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
    patchbay.database.drop().await.unwrap();
}
