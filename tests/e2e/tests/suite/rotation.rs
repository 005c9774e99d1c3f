//! Keys are rotated under load by the real binary: two replicas, the rotating process killed at random points, and not
//! one request that fails. Security requirements 55 and 58; row 20 of the fault table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use patchbay_e2e::{Api, Patchbay};
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};
use tokio::task::JoinSet;

const TOKEN: &str = "ghp-canary-rotation-token";
const TENANTS: usize = 6;
const ROUNDS: usize = 12;
/// So many rotations must have been killed; as many rounds more are made for it as there were.
const KILLS: u32 = 4;

/// What one tenant's requests need.
#[derive(Clone)]
struct Tenant {
    slug: String,
    key: String,
    instance: String,
}

/// Requests that went well, and the first that did not.
#[derive(Default)]
struct Load {
    done: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Asks one replica for everything that opens or seals a secret, over and over.
    async fn run(self: Arc<Self>, api: Api, tenants: Vec<Tenant>) -> Result<(), String> {
        for number in 0_u64.. {
            for tenant in &tenants {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let api = api.with_key(&tenant.key);
                let path = format!("/api/v1/instances/{}/test", tenant.instance);
                // The credential is opened; with an idempotency key the answer is sealed, and at the repetition opened.
                let mut answers = vec![api.post(&path, &json!({})).await];
                if number % 4 == 0 {
                    let key = uuid::Uuid::new_v4().to_string();
                    answers.push(api.post_once(&path, &key, &json!({})).await);
                    answers.push(api.post_once(&path, &key, &json!({})).await);
                }
                answers.push(api.get("/api/v1/instances").await);
                for answer in answers {
                    match answer {
                        Ok(answer) if (200..300).contains(&answer.status) => {
                            self.done.fetch_add(1, Ordering::Relaxed);
                        }
                        other => return Err(format!("a request of {} failed: {other:?}", tenant.slug)),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Runs `patchbay vault …`; whether it ended by itself within `patience`, else it is killed.
async fn vault(
    patchbay: &Patchbay,
    args: &[&str],
    keys: &[(&str, &str)],
    patience: Duration,
) -> Option<Value> {
    let args = [&["vault"], args, &["--json"]].concat();
    let child = patchbay.spawn(&args, keys).unwrap();
    // Dropped, it is killed with SIGKILL.
    let output = tokio::time::timeout(patience, child.wait_with_output()).await.ok()?.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?} failed: {errors}");
    Some(
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{args:?} printed no JSON: {errors}")),
    )
}

const FOREVER: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_under_load_with_kills_and_no_request_fails() {
    let seed: u64 = std::env::var("PATCHBAY_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| rand::rng().next_u64());
    println!("seed {seed} (set PATCHBAY_TEST_SEED to repeat)");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let tracker = Simulator::start(SimulatorConfig {
        port: 0,
        repositories: vec![generate::repository("acme/app", 3, 3)],
        tokens: vec![TokenGrant { token: TOKEN.into(), login: "sync".into(), repositories: None }],
        latency: Duration::ZERO,
    })
    .await
    .unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    let old = patchbay.master_key().to_owned();
    let new = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    // The two phases: distributed, and switched.
    let phases = [
        [("PATCHBAY_MASTER_KEY", old.as_str()), ("PATCHBAY_MASTER_KEYS_ACCEPTED", new.as_str())],
        [("PATCHBAY_MASTER_KEY", new.as_str()), ("PATCHBAY_MASTER_KEYS_ACCEPTED", old.as_str())],
    ];
    let replicas = [
        patchbay.serve_with("admin", &phases[0]).await.unwrap(),
        patchbay.serve_with("admin", &phases[1]).await.unwrap(),
    ];

    // Security requirement 58.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", replicas[0].pid().unwrap())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "core dumps are on: {core}");

    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        let slug = format!("tenant-{number}");
        patchbay.tenant(&slug).await.unwrap();
        let key = patchbay.key(&slug, "admin").await.unwrap();
        let api = replicas[number % 2].api(&key).unwrap();
        let settings = json!({"repositories": ["acme/app"]});
        let instance = api.connect_github(&tracker.url(), TOKEN, &settings).await.unwrap();
        tenants.push(Tenant { slug, key, instance });
    }

    let load = Arc::new(Load::default());
    let mut running = JoinSet::new();
    let begun = Instant::now();
    for replica in &replicas {
        running.spawn(load.clone().run(replica.api("").unwrap(), tenants.clone()));
    }
    // From one key to the other and back, each rotation killed once and then run to its end.
    let timed = Instant::now();
    vault(&patchbay, &["rotate"], &phases[1], FOREVER).await.unwrap();
    // How long the last rotation that was left alone took: on a machine that others use, it changes as we go.
    let mut whole = timed.elapsed();
    let (mut killed, mut half_done, mut rounds) = (0_u32, 0_u32, 0);
    for round in 0..2 * ROUNDS {
        if round >= ROUNDS && killed >= KILLS {
            break;
        }
        rounds = round + 1;
        let keys = &phases[round % 2];
        let rotate: &[&str] = match round % 3 {
            0 | 1 => &["rotate"],
            _ => &["rotate", "--data-keys", "--no-wait"],
        };
        let deadly = whole.mul_f64(random.random_range(0.3..1.1));
        let timed = Instant::now();
        if vault(&patchbay, rotate, keys, deadly).await.is_none() {
            killed += 1;
            let left = vault(&patchbay, &["status"], keys, FOREVER).await.unwrap()["left"].as_u64().unwrap();
            half_done += u32::from(left > 0 && left < TENANTS as u64 + 2);
        } else {
            whole = timed.elapsed();
        }
        vault(&patchbay, rotate, keys, FOREVER).await.unwrap();
        let status = vault(&patchbay, &["status"], keys, FOREVER).await.unwrap();
        if round % 3 < 2 {
            assert_eq!(status["left"], 0, "round {round}, seed {seed}: {status}");
        }
        if let Some(ended) = running.try_join_next() {
            panic!("round {round}, seed {seed}: {ended:?}");
        }
    }
    let last = vault(&patchbay, &["rotate"], &phases[1], FOREVER).await.unwrap();
    assert_eq!(last["left"], 0, "{last}");
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = running.join_next().await {
        ended.unwrap().unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
    let done = load.done.load(Ordering::Relaxed);
    println!(
        "{done} requests, 0 failed, {:.0}/s; {killed} of {rounds} rotations killed, {half_done} half done",
        f64::from(u32::try_from(done).unwrap()) / begun.elapsed().as_secs_f64()
    );
    assert!(killed >= KILLS, "of {rounds} rotations only {killed} were killed (seed {seed})");
    assert!(done >= 100, "{done} requests are no load");

    // The old key is dropped; nothing needs it, and it opens nothing.
    for replica in replicas {
        replica.terminate().await.unwrap();
    }
    let only_new = [("PATCHBAY_MASTER_KEY", new.as_str())];
    let replica = patchbay.serve_with("admin", &only_new).await.unwrap();
    for tenant in &tenants {
        let api = replica.api(&tenant.key).unwrap();
        let tested =
            api.post(&format!("/api/v1/instances/{}/test", tenant.instance), &json!({})).await.unwrap();
        assert_eq!(tested.status, 200, "{tested:?}");
    }
    let error = patchbay.serve("admin").await.unwrap_err().to_string();
    assert!(error.contains("the master key does not open this database's keys"), "{error}");
    // A tenant's keys are destroyed: its secret is gone, the others' are not.
    let (shredded, kept) = (&tenants[0], &tenants[1]);
    let args = ["shred", "--tenant", shredded.slug.as_str(), "--confirm", shredded.slug.as_str()];
    vault(&patchbay, &args, &only_new, FOREVER).await.unwrap();
    replica.terminate().await.unwrap();
    let replica = patchbay.serve_with("admin", &only_new).await.unwrap();
    for (tenant, opens) in [(shredded, false), (kept, true)] {
        let api = replica.api(&tenant.key).unwrap();
        let tested =
            api.post(&format!("/api/v1/instances/{}/test", tenant.instance), &json!({})).await.unwrap();
        assert_eq!(tested.status == 200, opens, "{tested:?}");
    }
    replica.terminate().await.unwrap();

    // Security requirement 57.
    let logs = patchbay.logs().unwrap();
    for secret in [TOKEN, &old, &new] {
        assert!(!logs.contains(secret), "a log holds a secret");
    }
    tracker.stop().await;
    patchbay.database.drop().await.unwrap();
}
