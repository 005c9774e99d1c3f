//! A load of reads, writes and tool calls on two replicas, and an oracle: what was acknowledged is there at the end, and
//! no answer holds a row of another tenant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use patchbay_e2e::{Answer, Api, Patchbay, Started};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The same sequence of operations in every run.
pub const SEED: u64 = 20_261_121;
const CLIENTS_EACH: usize = 4;
const TENANTS: [&str; 2] = ["alpha", "beta"];

/// One request.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What was asked for.
    pub what: &'static str,
    pub begun: Instant,
    pub took: Duration,
    /// 0 when no answer came.
    pub status: u16,
    pub code: String,
}

impl Sample {
    pub fn ended(&self) -> Instant {
        self.begun + self.took
    }

    pub fn failed(&self) -> bool {
        self.status == 0 || self.status >= 500
    }
}

#[derive(Debug, Default)]
struct Seen {
    samples: Mutex<Vec<Sample>>,
    /// Instances whose creation was acknowledged.
    acknowledged: Mutex<Vec<String>>,
    foreign: Mutex<Vec<String>>,
    names: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Load {
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

/// Two tenants with items that carry their names, and an admin key of each.
pub async fn tenants(patchbay: &Patchbay) -> Vec<String> {
    let mut keys = Vec::new();
    for slug in TENANTS {
        patchbay.tenant(slug).await.unwrap();
        keys.push(patchbay.key(slug, "admin").await.unwrap());
        let filled = patchbay.database.execute(
            "with i as (insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status,
                     created_at, updated_at)
                 select id, gen_random_uuid(), 'items', 'github', 'items', 'https://x', '{}', 'active', now(), now()
                 from tenants where slug = $1 returning tenant_id, id)
             insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key, project_source_id,
                 project_key, type_norm, type_original, status_norm, status_original, priority_norm, title, url,
                 created_at, updated_at, content_hash, synced_at)
             select tenant_id, gen_random_uuid(), id, 'github', n::text, '1#' || n, 'acme/app#' || n, '1', 'acme/app', 'bug',
                 'issue', 'todo', 'open', 'none', 'marker-' || $1 || ' item ' || n, 'https://example.com/' || n, now(),
                 now(), '\\x01', now()
             from i, generate_series(1, 500) n",
            slug,
        );
        assert_eq!(filled.await.unwrap(), 500);
    }
    keys
}

impl Load {
    /// Starts it. Each client asks one replica with one tenant's key, again and again.
    pub fn start(replicas: &[Started], keys: &[String]) -> Self {
        let seen = Arc::new(Seen::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for (r, replica) in replicas.iter().enumerate() {
            for (t, key) in keys.iter().enumerate() {
                for c in 0..CLIENTS_EACH {
                    let api = replica.api(key).unwrap();
                    let mcp = replica.mcp_sql_url.clone().unwrap();
                    let random = StdRng::seed_from_u64(SEED + (r * 100 + t * 10 + c) as u64);
                    clients.spawn(client(api, mcp, t, random, seen.clone(), stop.clone()));
                }
            }
        }
        Self { seen, stop, clients }
    }

    /// What has been answered so far.
    pub fn samples(&self) -> Vec<Sample> {
        locked(&self.seen.samples).clone()
    }

    /// Lets every client finish its request, and checks what was acknowledged.
    pub async fn end(mut self, patchbay: &Patchbay) -> Vec<Sample> {
        self.stop.store(true, Ordering::Release);
        while self.clients.join_next().await.is_some() {}
        let foreign = locked(&self.seen.foreign).clone();
        assert!(foreign.is_empty(), "answers held rows of another tenant: {foreign:#?}");

        let acknowledged = locked(&self.seen.acknowledged).clone();
        assert!(acknowledged.len() > 10, "only {} writes were acknowledged", acknowledged.len());
        for (what, sql) in [
            ("instances", "select id::text from source_instances"),
            ("audit records", "select target_id from audit_log where action = 'instance.create'"),
        ] {
            let stored: std::collections::HashSet<String> =
                patchbay.database.texts(sql).await.unwrap().into_iter().collect();
            let lost: Vec<&String> = acknowledged.iter().filter(|id| !stored.contains(*id)).collect();
            assert!(lost.is_empty(), "{} of {} {what} are lost: {lost:?}", lost.len(), acknowledged.len());
        }
        println!("{} writes were acknowledged and are there", acknowledged.len());
        self.samples()
    }
}

async fn client(
    api: Api,
    mcp: String,
    tenant: usize,
    mut random: StdRng,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
) {
    let other = format!("marker-{}", TENANTS[1 - tenant]);
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        let (what, answer) = match random.random_range(0..100) {
            0..40 => {
                let arguments = json!({"project": "acme/app", "limit": 5});
                ("template", api.invoke(&mcp, "search_issues_by_project", &arguments).await)
            }
            40..60 => ("tool", api.invoke(&mcp, "sql_get_freshness", &json!({})).await),
            60..75 => ("read", api.get("/api/v1/work-items?limit=5").await),
            75..85 => ("me", api.get("/api/v1/me").await),
            _ => ("write", api.post("/api/v1/instances", &instance(&seen)).await),
        };
        let sample = |status, code: &Value| Sample {
            what,
            begun,
            took: begun.elapsed(),
            status,
            code: code.as_str().unwrap_or_default().to_owned(),
        };
        match answer {
            Ok(Answer { status, body, .. }) => {
                if body.to_string().contains(&other) {
                    locked(&seen.foreign).push(format!("{what}: {body}"));
                }
                if let (201, Some(id)) = (status, body["id"].as_str()) {
                    locked(&seen.acknowledged).push(id.to_owned());
                }
                locked(&seen.samples).push(sample(status, &body["code"]));
            }
            Err(error) => locked(&seen.samples).push(sample(0, &Value::from(format!("{error:#}")))),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(5..40))).await;
    }
}

fn instance(seen: &Seen) -> Value {
    let name = format!("written {}", seen.names.fetch_add(1, Ordering::Relaxed));
    json!({"source": "github", "name": name, "base_url": "http://127.0.0.1:9",
        "credentials": {"kind": "token", "token": "t"}})
}

/// The value that this share of the samples does not exceed.
pub fn percentile<'a>(samples: impl Iterator<Item = &'a Sample>, share: f64) -> Duration {
    let mut took: Vec<Duration> = samples.map(|sample| sample.took).collect();
    took.sort_unstable();
    took.get(((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Statuses and codes with their numbers, for the table.
pub fn statuses<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for sample in samples {
        *counts.entry(format!("{} {}", sample.status, sample.code)).or_default() += 1;
    }
    counts
}

/// Resident memory of a process, in KiB.
pub fn resident(replica: &Started) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", replica.pid().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
