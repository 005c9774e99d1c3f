//! Rate limits as clients meet them: headers, 429, retry_after_ms, budgets of trackers, three processes with one Redis,
//! and that Redis gone.

use std::time::{Duration, Instant};

use patchbay_e2e::{Patchbay, Redis, Started};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

#[expect(clippy::disallowed_methods, reason = "the tests are the client, not the product")]
fn http() -> reqwest::Client {
    // Fails when there is one already, which then is the one to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// An installation with a tenant and an admin key of it.
async fn installed() -> (Patchbay, String) {
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    (patchbay, key)
}

fn admin(server: &Started, path: &str) -> String {
    format!("{}{path}", server.admin_url.as_deref().unwrap())
}

async fn me(server: &Started, key: &str) -> Response {
    http().get(admin(server, "/api/v1/me")).bearer_auth(key).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}: {response:?}")).to_str().unwrap()
}

// Security requirement 34: 429, Retry-After and RateLimit fields.
#[tokio::test]
async fn every_answer_tells_where_the_limits_stand_and_429_how_long_to_wait() {
    let (patchbay, key) = installed().await;
    let settings = [("PATCHBAY_LIMIT_KEY", "3/3600s:3"), ("PATCHBAY_LIMIT_TENANT", "100/3600s:50")];
    let server = patchbay.serve_with("admin", &settings).await.unwrap();
    for left in [2, 1, 0] {
        let answer = me(&server, &key).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "ratelimit-policy"), r#""key";q=3;w=3600, "tenant";q=100;w=3600"#);
        let limits = header(&answer, "ratelimit");
        assert!(limits.starts_with(&format!(r#""key";r={left};t="#)), "{limits}");
        assert!(limits.contains(r#", "tenant";r=4"#), "{limits}");
    }
    let refused = me(&server, &key).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "ratelimit-policy"), r#""key";q=3;w=3600"#);
    assert!(header(&refused, "ratelimit").starts_with(r#""key";r=0;"#));
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1_100..=1_200).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "content-type"), "application/problem+json");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "rate_limited", "{problem}");
    assert!(problem["retry_after_ms"].as_u64().is_some_and(|ms| ms.div_ceil(1_000) == wait), "{problem}");
    // Another key of the tenant has a limit of its own, an unknown one is refused as ever.
    let other = patchbay.key("acme", "admin").await.unwrap();
    assert_eq!(me(&server, &other).await.status(), 200);
    assert_eq!(me(&server, "pb_live_nobody").await.status(), 401);
    let metrics = http().get(admin(&server, "/metrics")).send().await.unwrap().text().await.unwrap();
    let counted = r#"patchbay_limit_decisions_total{limit="key",outcome="denied"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

// Security requirement 34: by address, before authentication, on every server.
#[tokio::test]
async fn an_address_is_limited_before_it_is_known_who_calls() {
    let (patchbay, _) = installed().await;
    let settings = [("PATCHBAY_LIMIT_ADDRESS", "5/3600s:5"), ("PATCHBAY_TRUSTED_PROXIES", "127.0.0.0/8")];
    let server = patchbay.serve_with("admin,mcp-sql", &settings).await.unwrap();
    let mcp = server.mcp_sql_url.clone().unwrap();
    let from = async |url: &str, forwarded: &str| {
        http().get(url).header("x-forwarded-for", forwarded).send().await.unwrap().status()
    };
    for url in [admin(&server, "/api/v1/me"), mcp.clone()] {
        // The two servers count together, as they are one process.
        let client = if url == mcp { "198.51.100.8" } else { "198.51.100.7" };
        for _ in 0..5 {
            assert_eq!(from(&url, client).await, StatusCode::UNAUTHORIZED, "{url}");
        }
        assert_eq!(from(&url, client).await, StatusCode::TOO_MANY_REQUESTS, "{url}");
        // What the client wrote itself stands further left, and changes nothing.
        assert_eq!(from(&url, &format!("203.0.113.1, {client}")).await, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(from(&url, &format!("{client}, 203.0.113.9")).await, StatusCode::UNAUTHORIZED);
    }
    // Probes are not counted: an orchestrator must not find a busy process dead.
    for _ in 0..20 {
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(from(&admin(&server, path), "198.51.100.7").await, StatusCode::OK, "{path}");
        }
        assert_eq!(from(&mcp.replace("/mcp", "/livez"), "198.51.100.8").await, StatusCode::OK);
    }
}

// Security requirement 34: by tool class; over MCP as retry_after_ms.
#[tokio::test]
async fn a_tool_call_beyond_the_limit_is_an_error_that_says_when_to_come_back() {
    let (patchbay, key) = installed().await;
    let settings = [("PATCHBAY_LIMIT_TOOL_READ", "2/3600s:2"), ("PATCHBAY_LIMIT_KEY", "6/3600s:6")];
    let server = patchbay.serve_with("admin,mcp-sql", &settings).await.unwrap();
    let api = server.api(&key).unwrap();
    let mcp = server.mcp_sql_url.clone().unwrap();
    let call = json!({"name": "sql_list_templates", "arguments": {}});
    for _ in 0..2 {
        let answer = api.rpc(&mcp, "tools/call", &call).await.unwrap();
        assert_ne!(answer.body["result"]["isError"], true, "{answer:?}");
    }
    let refused = api.rpc(&mcp, "tools/call", &call).await.unwrap();
    let told = &refused.body["result"];
    assert_eq!((refused.status, &told["isError"]), (200, &json!(true)), "{refused:?}");
    assert_eq!(told["structuredContent"]["code"], "rate_limited", "{told}");
    let wait = told["structuredContent"]["retry_after_ms"].as_u64().unwrap();
    assert!((1_700_000..=1_800_000).contains(&wait), "{told}");
    // Scripts get the same under the status that HTTP has for it.
    let plain = api.invoke(&mcp, "sql_list_templates", &json!({})).await.unwrap();
    assert_eq!((plain.status, &plain.body["code"]), (429, &json!("rate_limited")), "{plain:?}");
    // The refused calls were not counted against the key: four of its six requests are left.
    for _ in 0..4 {
        let listed = api.rpc(&mcp, "tools/list", &json!({})).await.unwrap();
        assert!(listed.body["result"]["tools"].is_array(), "{listed:?}");
    }
    let refused = api.rpc(&mcp, "tools/list", &json!({})).await.unwrap();
    assert_eq!(refused.body["error"]["data"]["code"], "rate_limited", "{refused:?}");
    assert!(refused.body["error"]["data"]["retry_after_ms"].as_u64().is_some(), "{refused:?}");
}

// Security requirement 34: the budget of a tracker, with a reserve for people.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_its_budget_and_leaves_a_reserve_for_people() {
    const TOKEN: &str = "e2e-token";
    const REPOSITORY: &str = "acme/billing-service";
    /// Requests that one page of details can take.
    const PAGE: usize = 40;
    let tokens = vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }];
    let repositories = vec![generate::repository(REPOSITORY, 7, 200)];
    let config = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    let tracker = Simulator::start(config).await.unwrap();
    let (patchbay, key) = installed().await;
    // A tenth of a second for one request, and 200 at once: 160 for a sync.
    let settings = [("PATCHBAY_LIMIT_UPSTREAM", "600/60s:200")];
    let server = patchbay.serve_with("admin,worker", &settings).await.unwrap();
    let api = server.api(&key).unwrap();
    let settings = json!({"repositories": [REPOSITORY]});
    let instance = api.connect_github(&tracker.url(), TOKEN, &settings).await.unwrap();
    let begun = Instant::now();
    let run = api.start(&instance, "backfill").await.unwrap();
    let waiting = api.wait(&run, "waiting", |run| run["state"] == "waiting").await.unwrap();
    assert_eq!(waiting["error"]["code"], "budget_wait", "{waiting}");
    assert!(waiting["resume_at"].is_string(), "{waiting}");
    // What a page takes beyond its first request is counted when it is there, so a page's worth can come on top.
    let allowed = |burst: usize| burst + (begun.elapsed().as_secs_f64() * 10.0) as usize;
    let sent = tracker.control().requests().len();
    assert!(sent <= allowed(160) + PAGE, "{sent} requests were sent");
    let tested = api.post(&format!("/api/v1/instances/{instance}/test"), &json!({})).await.unwrap();
    assert_eq!((tested.status, &tested.body["connected"]), (200, &json!(true)), "{tested:?}");
    let ended = api.ended(&run).await.unwrap();
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let sent = tracker.control().requests().len();
    assert!(sent > 200, "the budget was never used up: {sent}");
    assert!(sent <= allowed(200), "{sent} requests were sent in {:?}", begun.elapsed());
    tracker.stop().await;
}

/// Three processes that know of each other.
async fn three(patchbay: &Patchbay, redis: &Redis, settings: &[(&str, &str)]) -> Vec<Started> {
    let url = redis.url();
    let mut all = vec![("PATCHBAY_REDIS_URL", url.as_str()), ("PATCHBAY_REDIS_TIMEOUT_MS", "500")];
    all.extend_from_slice(settings);
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(patchbay.serve_with("admin", &all).await.unwrap());
    }
    for server in &servers {
        measured(server, "patchbay_limiter_replicas 3").await;
    }
    servers
}

/// Waits until `/metrics` says so.
async fn measured(server: &Started, line: &str) {
    let begun = Instant::now();
    loop {
        let metrics = http().get(admin(server, "/metrics")).send().await.unwrap().text().await.unwrap();
        if metrics.lines().any(|one| one == line) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "never {line}: {metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many requests of the key each server lets through, asked by turns.
async fn let_through(servers: &[Started], key: &str, rounds: u32) -> u32 {
    let mut through = 0;
    for _ in 0..rounds {
        for server in servers {
            match me(server, key).await.status() {
                StatusCode::OK => through += 1,
                StatusCode::TOO_MANY_REQUESTS => {}
                other => panic!("unexpected {other}"),
            }
        }
    }
    through
}

// Security requirement 34: limits hold within 5 % across 3 replicas.
#[tokio::test(flavor = "multi_thread")]
async fn three_processes_let_through_what_one_would() {
    let (patchbay, key) = installed().await;
    let redis = Redis::start().await.unwrap();
    let servers = three(&patchbay, &redis, &[("PATCHBAY_LIMIT_KEY", "200/10s:60")]).await;
    let begun = Instant::now();
    let asking = servers.iter().map(|server| {
        let (url, key, http) = (admin(server, "/api/v1/me"), key.clone(), http());
        tokio::spawn(async move {
            let mut through = 0u32;
            while begun.elapsed() < Duration::from_secs(6) {
                let answer = http.get(&url).bearer_auth(&key).send().await.unwrap();
                through += u32::from(answer.status() == 200);
            }
            through
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut through = 0;
    for asked in asking {
        through += asked.await.unwrap();
    }
    let expected = 60.0 + 20.0 * begun.elapsed().as_secs_f64();
    println!("{through} let through of {expected:.0}");
    assert!((f64::from(through) / expected - 1.0).abs() <= 0.05, "{through} instead of {expected:.0}");
}

// Security requirement 35: local fallback within 1 s, never unlimited; login closed.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_process_counts_its_share_and_sign_ins_are_closed() {
    let (patchbay, first) = installed().await;
    let (second, third) =
        (patchbay.key("acme", "admin").await.unwrap(), patchbay.key("acme", "admin").await.unwrap());
    let mut redis = Redis::start().await.unwrap();
    let servers = three(&patchbay, &redis, &[("PATCHBAY_LIMIT_KEY", "30/3600s:30")]).await;
    let login = admin(&servers[0], "/auth/login");
    let closed = async || {
        let answer = http().get(&login).send().await.unwrap();
        let problem: Value = answer.json().await.unwrap_or_default();
        problem["code"] == "closed_for_now"
    };
    assert_eq!(let_through(&servers, &first, 15).await, 30);
    assert!(!closed().await);

    redis.kill().await.unwrap();
    let gone = Instant::now();
    for server in &servers {
        assert_eq!(me(server, &second).await.status(), 200, "nothing goes without Redis");
    }
    assert!(
        gone.elapsed() < Duration::from_secs(1),
        "the local limiters took over after {:?}",
        gone.elapsed()
    );
    assert_eq!(let_through(&servers, &second, 15).await + 3, 30, "the three shares are not the whole limit");
    assert!(closed().await, "sign-ins are open without Redis");
    measured(&servers[0], "patchbay_limiter_fallback_active 1").await;

    redis.restart().await.unwrap();
    for server in &servers {
        measured(server, "patchbay_limiter_fallback_active 0").await;
    }
    assert_eq!(let_through(&servers, &third, 15).await, 30);
    assert!(!closed().await);
}

#[tokio::test]
async fn doctor_and_start_say_what_is_wrong_with_redis_and_no_password() {
    let (patchbay, _) = installed().await;
    let mut redis = Redis::start().await.unwrap();
    let url = redis.url();
    let said = patchbay.run(&["doctor", "--redis-url", &url]).await.unwrap();
    assert!(said.contains("ok    Redis"), "{said}");
    redis.kill().await.unwrap();
    let secret = url.replace("redis://", "redis://user:not-to-be-told@");
    let said = patchbay.says(&["doctor", "--redis-url", &secret]).await.unwrap();
    assert!(said.contains("FAIL  Redis") && said.contains("does not answer"), "{said}");
    assert!(!said.contains("not-to-be-told"), "{said}");
    let tls = ["doctor", "--redis-url", "rediss://127.0.0.1:1", "--redis-ca-file", "/no/such/file"];
    let said = patchbay.says(&tls).await.unwrap();
    assert!(said.contains("FAIL  Redis") && said.contains("PATCHBAY_REDIS_CA_FILE"), "{said}");
    let wrong = ["serve", "--admin-addr", "127.0.0.1:0", "--redis-url", "http://user:not-to-be-told@host"];
    let (code, said) = patchbay.fails(&wrong, &[]).await.unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("rediss://") && !said.contains("not-to-be-told"), "{said}");
}
