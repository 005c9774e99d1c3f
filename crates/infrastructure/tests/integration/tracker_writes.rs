//! Writes to a tracker that loses answers, is slow and resets connections, by processes that die at any point: one
//! effect each. Row 1 of the fault table; security requirement 64.

use crate::support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use application::ports::{InstanceStore, Look, Sealed, SourceError, SourceErrorKind, TrackerWrite, Write};
use application::writes::{WriteService, WriteSpans, Written};
use application::{Ctx, Error};
use async_trait::async_trait;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use domain::{Instance, InstanceId, InstanceStatus, SourceKind};
use futures::StreamExt;
use futures::future::join_all;
use http::StatusCode;
use patchbay_infrastructure::clock::SystemIds;
use patchbay_infrastructure::postgres::{PgInstances, PgWriteIntents};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::{TestDb, cancel_after};
use uuid::Uuid;

const SPANS: WriteSpans = WriteSpans {
    lease: Duration::from_millis(900),
    call: Duration::from_millis(300),
    look: Duration::from_millis(300),
};
/// How long the slowest effect comes after its request.
const SLOW: Duration = Duration::from_millis(400);
const SETTLES_WITHIN: Duration = Duration::from_millis(600);

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The connection ends with nothing done.
    ResetBefore,
    /// The connection ends with the object made.
    ResetAfter,
    /// An error is told with the object made.
    ErrorAfter,
    /// An error is told with nothing done.
    ErrorBefore,
    /// The object is made after everybody has stopped waiting.
    Slow,
    TooMany,
    Refused,
}

/// A tracker: title by marker, with a fault for each request from a list or by chance.
#[derive(Default)]
struct Tracker {
    objects: Mutex<Vec<(String, String)>>,
    planned: Mutex<Vec<Fault>>,
    random: Mutex<Option<rand::rngs::StdRng>>,
    requests: AtomicUsize,
}

impl Tracker {
    fn next_fault(&self) -> Fault {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if let Some(random) = self.random.lock().unwrap().as_mut() {
            return match random.random_range(0..10) {
                0 => Fault::ResetBefore,
                1 => Fault::ResetAfter,
                2 => Fault::ErrorAfter,
                3 => Fault::ErrorBefore,
                4 => Fault::Slow,
                5 => Fault::TooMany,
                _ => Fault::None,
            };
        }
        let mut planned = self.planned.lock().unwrap();
        if planned.is_empty() { Fault::None } else { planned.remove(0) }
    }

    fn make(&self, marker: &str, title: &str) -> Value {
        let mut objects = self.objects.lock().unwrap();
        objects.push((marker.to_owned(), title.to_owned()));
        json!({"number": objects.len(), "title": title})
    }

    fn titles(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for (_, title) in self.objects.lock().unwrap().iter() {
            *counts.entry(title.clone()).or_default() += 1;
        }
        counts
    }
}

async fn create(State(tracker): State<Arc<Tracker>>, body: String) -> axum::response::Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let (marker, title) =
        (body["marker"].as_str().unwrap().to_owned(), body["title"].as_str().unwrap().to_owned());
    // Unwinding ends the connection without an answer, and prints nothing.
    let reset = || std::panic::resume_unwind(Box::new("reset"));
    match tracker.next_fault() {
        Fault::None => (StatusCode::CREATED, tracker.make(&marker, &title).to_string()).into_response(),
        Fault::ResetBefore => reset(),
        Fault::ResetAfter => {
            tracker.make(&marker, &title);
            reset()
        }
        Fault::ErrorAfter => {
            tracker.make(&marker, &title);
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Fault::ErrorBefore => StatusCode::BAD_GATEWAY.into_response(),
        Fault::Slow => {
            // Goes on when the caller has gone, as trackers do.
            let late = tokio::spawn(async move {
                tokio::time::sleep(SLOW).await;
                tracker.make(&marker, &title)
            });
            (StatusCode::CREATED, late.await.unwrap().to_string()).into_response()
        }
        Fault::TooMany => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Fault::Refused => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
    }
}

async fn search(State(tracker): State<Arc<Tracker>>, RawQuery(query): RawQuery) -> String {
    let marker = query.unwrap().replace("marker=", "");
    let objects = tracker.objects.lock().unwrap();
    let found = objects.iter().enumerate().find(|(_, (of, _))| *of == marker);
    json!(found.map(|(n, (_, title))| json!({"number": n + 1, "title": title}))).to_string()
}

/// An adapter's side of "create an item of this title".
struct CreateItem {
    http: reqwest::Client,
    url: String,
    title: String,
}

fn failed(_: reqwest::Error) -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "the connection broke")
}

#[async_trait]
impl TrackerWrite for CreateItem {
    fn settles_within(&self) -> Duration {
        SETTLES_WITHIN
    }

    async fn look(&self, marker: &str) -> Result<Look, SourceError> {
        let answer = self.http.get(format!("{}?marker={marker}", self.url)).send().await.map_err(failed)?;
        let found: Value = serde_json::from_slice(&answer.bytes().await.map_err(failed)?).unwrap();
        Ok(if found.is_null() { Look::Absent } else { Look::Found(found) })
    }

    async fn act(&self, marker: &str) -> Result<Value, SourceError> {
        let body = json!({"marker": marker, "title": self.title}).to_string();
        let answer = self.http.post(&self.url).body(body).send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let kind = match status {
            200..=299 => return Ok(serde_json::from_slice(&answer.bytes().await.map_err(failed)?).unwrap()),
            429 => SourceErrorKind::RateLimited,
            400..=499 => SourceErrorKind::Rejected,
            _ => SourceErrorKind::Unavailable,
        };
        Err(SourceError { upstream_status: Some(status), ..SourceError::new(kind, "the tracker said no") })
    }
}

struct World {
    _test: TestDb,
    ctx: Ctx,
    instance: InstanceId,
    service: WriteService,
    tracker: Arc<Tracker>,
    http: reqwest::Client,
    url: String,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "the test's own client of the test's own server")]
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let test = TestDb::new().await;
        let ctx = test.ctx("alpha").await;
        let instance = instance();
        let instances = PgInstances::new(test.db.clone(), test.audit());
        instances.insert(&ctx, &instance, &Sealed(vec![])).await.unwrap();
        let store = PgWriteIntents::new(test.db.clone(), Arc::new(test.vault().await), test.audit());
        let tracker = Arc::new(Tracker::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/items", listener.local_addr().unwrap());
        let router =
            axum::Router::new().route("/items", get(search).post(create)).with_state(tracker.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            _test: test,
            ctx,
            instance: instance.id,
            service: WriteService::new(Arc::new(store), Arc::new(SystemIds), SPANS),
            tracker,
            http: reqwest::Client::builder().timeout(Duration::from_millis(250)).build().unwrap(),
            url,
        }
    }

    fn plan(&self, faults: &[Fault]) {
        *self.tracker.planned.lock().unwrap() = faults.to_vec();
    }

    async fn once(&self, title: &str) -> Result<Written, Error> {
        let write = Write {
            instance: self.instance,
            operation: "create_item".into(),
            key: title.to_owned(),
            fingerprint: [3; 32],
        };
        let item = CreateItem { http: self.http.clone(), url: self.url.clone(), title: title.to_owned() };
        self.service.once(&self.ctx, &write, &item).await
    }

    /// As callers do it: again and again while the answer says so.
    async fn until_settled(&self, title: &str) -> Result<Written, Error> {
        for _ in 0..600 {
            match self.once(title).await {
                Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
                settled => return settled,
            }
        }
        panic!("{title} was not settled within 30 s");
    }
}

fn instance() -> Instance {
    let at = "2026-11-01T10:00:00Z".parse().unwrap();
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: "core".parse().unwrap(),
        source: SourceKind::new("github"),
        name: "core".into(),
        base_url: "https://api.github.com".parse().unwrap(),
        settings: json!({}),
        status: InstanceStatus::Active,
        created_at: at,
        updated_at: at,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_sent_once_and_its_outcome_repeated() {
    let world = World::new().await;
    let first = world.once("a").await.unwrap();
    let again = world.once("a").await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.value, again.value);
    assert_eq!(world.tracker.requests.load(Ordering::SeqCst), 1);
    let mut other = Write {
        instance: world.instance,
        operation: "create_item".into(),
        key: "a".into(),
        fingerprint: [4; 32],
    };
    let item = CreateItem { http: world.http.clone(), url: world.url.clone(), title: "b".into() };
    let refused = world.service.once(&world.ctx, &other, &item).await;
    assert!(matches!(refused, Err(Error::IdempotencyMismatch)), "{refused:?}");
    other.operation = "update_item".into();
    assert!(!world.service.once(&world.ctx, &other, &item).await.unwrap().replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_kept_and_a_request_to_wait_is_not() {
    let world = World::new().await;
    world.plan(&[Fault::Refused, Fault::TooMany]);
    for _ in 0..2 {
        let refused = world.once("refused").await;
        let Err(Error::Source(error)) = &refused else { panic!("{refused:?}") };
        assert_eq!((error.kind, error.upstream_status), (SourceErrorKind::Rejected, Some(422)));
    }
    // It did nothing, so that its key is free for a call that is meant otherwise, and for one only.
    let write = |fingerprint| Write {
        instance: world.instance,
        operation: "create_item".into(),
        key: "refused".into(),
        fingerprint: [fingerprint; 32],
    };
    let corrected =
        CreateItem { http: world.http.clone(), url: world.url.clone(), title: "corrected".into() };
    world.plan(&[Fault::None, Fault::TooMany]);
    assert!(!world.service.once(&world.ctx, &write(7), &corrected).await.unwrap().replayed);
    assert!(world.service.once(&world.ctx, &write(7), &corrected).await.unwrap().replayed);
    let other = world.service.once(&world.ctx, &write(8), &corrected).await;
    assert!(matches!(other, Err(Error::IdempotencyMismatch)), "{other:?}");
    let limited = world.once("limited").await;
    assert!(matches!(&limited, Err(error) if error.is_retryable()), "{limited:?}");
    // Nothing was done, for certain: the next try need not wait.
    assert!(!world.once("limited").await.unwrap().replayed);
    assert_eq!(world.tracker.titles(), HashMap::from([("corrected".into(), 1), ("limited".into(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_answer_the_tracker_is_asked_before_anything_is_sent_again() {
    let world = World::new().await;
    for (fault, answered_at_once) in [
        (Fault::ResetAfter, Some(true)),
        (Fault::ErrorAfter, Some(true)),
        (Fault::ResetBefore, Some(false)),
        (Fault::ErrorBefore, Some(false)),
        // The look comes before the effect or, on a busy machine, after it.
        (Fault::Slow, None),
    ] {
        let title = format!("{fault:?}");
        world.plan(&[fault]);
        let before = world.tracker.requests.load(Ordering::SeqCst);
        let first = world.once(&title).await;
        if let Some(at_once) = answered_at_once {
            assert_eq!(first.is_ok(), at_once, "{title}: {first:?}");
        }
        let settled = world.until_settled(&title).await.unwrap();
        assert_eq!(settled.value["title"], title);
        let sent = world.tracker.requests.load(Ordering::SeqCst) - before;
        let needed = if matches!(fault, Fault::ResetBefore | Fault::ErrorBefore) { 2 } else { 1 };
        assert_eq!(sent, needed, "{title}");
        assert_eq!(world.tracker.titles()[&title], 1, "{title}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_at_once_make_one_object_and_get_one_answer() {
    let world = World::new().await;
    for fault in [Fault::None, Fault::ResetAfter, Fault::ErrorBefore, Fault::Slow] {
        let title = format!("{fault:?}");
        world.plan(&[fault]);
        let answers = join_all((0..100).map(|_| world.until_settled(&title))).await;
        let first = &answers[0].as_ref().unwrap().value;
        for answer in &answers {
            assert_eq!(&answer.as_ref().unwrap().value, first, "{title}");
        }
        assert_eq!(world.tracker.titles()[&title], 1, "{title}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_at_any_await_leaves_one_object_after_the_next_try() {
    let world = World::new().await;
    let world = &world;
    let tries = (0..48u32).map(|polls| async move {
        let title = format!("polls-{polls}");
        drop(cancel_after(polls, world.once(&title)).await);
        let settled = world.until_settled(&title).await.unwrap();
        assert_eq!(settled.value["title"], title);
    });
    futures::stream::iter(tries).buffer_unordered(16).collect::<Vec<()>>().await;
    // What was on its way to the tracker would have arrived by now.
    tokio::time::sleep(SLOW).await;
    let titles = world.tracker.titles();
    assert_eq!(titles.len(), 48);
    assert!(titles.values().all(|count| *count == 1), "{titles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_more_than_two_hundred_times_with_faults_at_the_tracker_each_write_has_one_object() {
    let seed: u64 = std::env::var("PATCHBAY_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("seed {seed} (set PATCHBAY_TEST_SEED to repeat)");
    let world = World::new().await;
    *world.tracker.random.lock().unwrap() = Some(rand::rngs::StdRng::seed_from_u64(seed));
    let (world, kills) = (&world, &AtomicUsize::new(0));
    let writes = (0..240u64).map(|n| async move {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed ^ (n << 32));
        let title = format!("write-{n}");
        // Two or three processes die at it before one gets through.
        for _ in 0..random.random_range(2..4) {
            let life = Duration::from_micros(random.random_range(0..15_000));
            match tokio::time::timeout(life, world.once(&title)).await {
                Err(_) => {
                    kills.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(SPANS.lease).await;
                }
                Ok(Err(error)) if error.is_retryable() => tokio::time::sleep(SPANS.lease).await,
                Ok(_) => break,
            }
        }
        world.until_settled(&title).await.map(drop).map_err(|error| format!("{title}: {error}"))
    });
    let settled: Vec<_> = futures::stream::iter(writes).buffer_unordered(60).collect().await;
    assert!(settled.iter().all(Result::is_ok), "seed {seed}: {settled:?}");
    tokio::time::sleep(SLOW).await;
    let titles = world.tracker.titles();
    let kills = kills.load(Ordering::SeqCst);
    println!("{kills} kills, {} requests", world.tracker.requests.load(Ordering::SeqCst));
    assert_eq!(titles.len(), 240, "seed {seed}");
    assert!(kills >= 200, "only {kills} kills, seed {seed}");
    assert!(titles.values().all(|count| *count == 1), "seed {seed}: {titles:?}");
}
