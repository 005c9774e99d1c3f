//! A POST with an `Idempotency-Key` has one effect, whoever dies on the way. Security requirement 64; row 1 of the
//! fault table.

use std::time::Duration;

use futures::future::join_all;
use patchbay_e2e::{Answer, Api, Patchbay};
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

const KILLS: usize = 30;
/// Requests under way at each kill.
const AT_ONCE: usize = 3;

fn new_instance(name: &str) -> Value {
    json!({"source": "github", "name": name, "base_url": "https://tracker.example.com",
        "credentials": {"kind": "token", "token": "e2e-token"}})
}

/// Repeats the request, as a client does, until it is answered.
async fn settled(api: &Api, key: &str, body: &Value) -> Answer {
    for _ in 0..100 {
        let answer = api.post_once("/api/v1/instances", key, body).await.unwrap();
        if answer.body["code"] != "idempotency_in_flight" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{key} was in flight for 5 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_thirty_random_points_makes_each_instance_once() {
    let seed: u64 = std::env::var("PATCHBAY_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| rand::rng().next_u64());
    println!("seed {seed} (set PATCHBAY_TEST_SEED to repeat)");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let db = &patchbay.database;
    let mut server = patchbay.serve("admin").await.unwrap();
    let (mut answered, mut interrupted) = (0, 0);

    for round in 0..KILLS {
        let api = server.api(&key).unwrap();
        // Connections and caches are as in a running server.
        api.get("/api/v1/instances").await.unwrap();
        let names: Vec<String> = (0..AT_ONCE).map(|n| format!("r{round}-{n}")).collect();
        let requests = names.clone().into_iter().map(|name| {
            let api = api.clone();
            tokio::spawn(async move { api.post_once("/api/v1/instances", &name, &new_instance(&name)).await })
        });
        let requests: Vec<_> = requests.collect();
        tokio::time::sleep(Duration::from_micros(random.random_range(0..60_000))).await;
        server.kill_9().await.unwrap();
        let firsts = join_all(requests).await;
        server = patchbay.serve("admin").await.unwrap();
        let api = server.api(&key).unwrap();
        // The dead server's claims run out after 35 s: pretend that they have passed.
        db.execute(
            "update idempotency_keys set lease_until = now() - interval '1 s' where state = $1",
            "in_flight",
        )
        .await
        .unwrap();
        for (name, first) in names.iter().zip(firsts) {
            let at = format!("round {round}, {name}, seed {seed}");
            let again = settled(&api, name, &new_instance(name)).await;
            assert_eq!(again.status, 201, "{at}: {again:?}");
            match first.unwrap() {
                Ok(first) => {
                    answered += 1;
                    assert_eq!((first.status, &first.body), (201, &again.body), "{at}: another answer");
                }
                Err(_) => interrupted += 1,
            }
            let made =
                db.count_of(name, "select count(*) from source_instances where name = $1").await.unwrap();
            assert_eq!(made, 1, "{at}: {made} instances");
        }
    }
    println!("{KILLS} kills: {answered} requests were answered before, {interrupted} were not");
    let (made, kept) = (
        db.count("select count(*) from source_instances").await.unwrap(),
        db.count("select count(*) from idempotency_keys where state = 'done'").await.unwrap(),
    );
    assert_eq!((made, kept), ((KILLS * AT_ONCE) as i64, (KILLS * AT_ONCE) as i64), "seed {seed}");
    let recorded = db.count("select count(*) from audit_log where action = 'instance.create'").await.unwrap();
    assert_eq!(recorded, made, "an instance and its record belong together");
    server.terminate().await.unwrap();
    patchbay.database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_identical_posts_to_two_servers_have_one_effect() {
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "admin").await.unwrap();
    let servers = [patchbay.serve("admin").await.unwrap(), patchbay.serve("admin").await.unwrap()];
    let apis = servers.each_ref().map(|server| server.api(&key).unwrap());
    let body = new_instance("core");
    let posts = (0..100).map(|n| apis[n % 2].post_once("/api/v1/instances", "the-key", &body));
    let answers = join_all(posts).await;
    let told = settled(&apis[0], "the-key", &body).await;
    assert_eq!(told.status, 201, "{told:?}");
    for answer in answers {
        let answer = answer.unwrap();
        match answer.status {
            201 => assert_eq!(answer.text, told.text),
            409 => assert_eq!(answer.body["code"], "idempotency_in_flight"),
            _ => panic!("{answer:?}"),
        }
    }
    let db = &patchbay.database;
    assert_eq!(db.count("select count(*) from source_instances").await.unwrap(), 1);

    // What is triggered is triggered once, too.
    let backfill = format!("/api/v1/instances/{}/backfill", told.body["id"].as_str().unwrap());
    let nothing = json!({});
    let posts = (0..20).map(|n| apis[n % 2].post_once(&backfill, "the-key", &nothing));
    for answer in join_all(posts).await {
        let answer = answer.unwrap();
        assert!(answer.status == 202 || answer.body["code"] == "idempotency_in_flight", "{answer:?}");
    }
    assert_eq!(db.count("select count(*) from sync_runs").await.unwrap(), 1);

    // Another request under the same key, and a key that cannot be one.
    let other = apis[1].post_once("/api/v1/instances", "the-key", &new_instance("other")).await.unwrap();
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_mismatch")));
    let bad = apis[1].post_once("/api/v1/instances", "two words", &body).await.unwrap();
    assert_eq!((bad.status, &bad.body["code"]), (400, &json!("idempotency_key_malformed")));

    // A refused body does not use the key up: the corrected one is served under it, by either server.
    for (wrong, status) in [
        (json!({"name": 5}), 422),
        (
            json!({"source": "no-such-source", "name": "corrected",
        "base_url": "https://tracker.example.com", "credentials": {"kind": "token", "token": "t"}}),
            422,
        ),
    ] {
        let refused = apis[0].post_once("/api/v1/instances", "corrected", &wrong).await.unwrap();
        assert_eq!((refused.status, &refused.body["code"]), (status, &json!("invalid_input")), "{refused:?}");
    }
    let corrected = apis[1].post_once("/api/v1/instances", "corrected", &new_instance("corrected")).await;
    assert_eq!(corrected.as_ref().unwrap().status, 201, "{corrected:?}");
    assert_eq!(db.count("select count(*) from idempotency_keys where key = 'corrected'").await.unwrap(), 1);
    for server in servers {
        server.terminate().await.unwrap();
    }
    patchbay.database.drop().await.unwrap();
}
