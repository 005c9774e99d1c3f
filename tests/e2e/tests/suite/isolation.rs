//! Ten thousand random operations by three tenants over REST and MCP while their jobs run: nobody is shown a row, an id or
//! a word of another, no id of another is taken, and what is stored at the end is what the operations made.
//!
//! The seed is printed; `PATCHBAY_TEST_SEED` sets it, `PATCHBAY_TEST_OPERATIONS` how many.

mod detector;
mod operations;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use futures::{StreamExt, stream};
use operations::{Effect, Expect, Operation};
use patchbay_e2e::Answer;
use rand::SeedableRng;
use serde_json::Value;
use world::{ITEMS, World};

const AT_ONCE: usize = 16;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

// Security requirements 8, 9, 10 and 12.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_operations_of_three_tenants_show_and_take_nothing_of_another() {
    let seed = number("PATCHBAY_TEST_SEED", 20_261_121);
    let count = number("PATCHBAY_TEST_OPERATIONS", 10_000);
    println!("PATCHBAY_TEST_SEED={seed}");
    let world = World::make(seed).await;
    let random = Mutex::new(rand::rngs::StdRng::seed_from_u64(seed));
    let tally: Mutex<BTreeMap<String, usize>> = Mutex::default();

    let begun = Instant::now();
    let wrong: Vec<String> = stream::iter(0..count)
        .map(async |_| {
            let operation = operations::choose(&mut random.lock().unwrap(), &world);
            let answer = operation.send(&world.mcp).await.unwrap();
            *tally.lock().unwrap().entry(format!("{}: {}", operation.name, answer.status)).or_default() += 1;
            let mut wrong = judge(&world, &operation, &answer);
            // Security requirement 9: as for an id that nothing has.
            if answer.status == 404
                && let Some((unknown, theirs, nobodys)) = operation.with_unknown_id()
            {
                let other = unknown.send(&world.mcp).await.unwrap();
                // Another operation may have revoked the key between the two.
                let revoked = other.status == 401;
                let (mine, other) = (anonymized(&answer, &theirs), anonymized(&other, &nobodys));
                if !revoked && mine != other {
                    wrong.push(format!("{mine} for a foreign id, {other} for an unknown one"));
                }
            }
            enter(&world, &operation, &answer);
            wrong
        })
        .buffer_unordered(AT_ONCE)
        .concat()
        .await;
    println!("{count} operations in {:?}, {} ids known", begun.elapsed(), world.detector.known());
    for (what, times) in &*tally.lock().unwrap() {
        println!("{times:6} {what}");
    }
    let logs = world.patchbay.logs().unwrap();
    let errors: Vec<&str> = logs.lines().filter(|line| line.contains("error.chain")).take(20).collect();
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} violations:\n{}\nlogged:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n"),
        errors.join("\n")
    );
    world.learn().await.unwrap();
    check_books(&world, seed).await;
    assert_eq!(world.server.terminate().await.unwrap(), Some(0));
    assert_eq!(world.worker.terminate().await.unwrap(), Some(0));
    world.patchbay.database.drop().await.unwrap();
}

/// Everything that is wrong with an answer.
fn judge(world: &World, operation: &Operation, answer: &Answer) -> Vec<String> {
    let said = operation.said();
    let mut wrong = world.detector.check(operation.tenant, &said, &answer.text);
    let status = answer.status;
    // A narrower key may be refused, or be revoked by now, before anything is looked at.
    let not_let_in = matches!(status, 401 | 403);
    // Only so many exports are made at a time.
    let later = status == 503 && said.contains("/export") && answer.body["retry_after_ms"].is_u64();
    let as_expected = match operation.expect {
        Expect::Answer => status < 500 || later,
        Expect::Absent => status == 404 || not_let_in,
        Expect::Refused => (400..500).contains(&status),
        Expect::NoRows => not_let_in || has_no_rows(answer),
    };
    if !as_expected {
        wrong.push(format!("{:?} was expected", operation.expect));
    }
    // Security requirement 12.
    for inside in
        ["select ", "insert into", "constraint", "violates", "relation \"", "pg_", "sqlstate", "_pkey"]
    {
        if status >= 400
            && answer.text.to_lowercase().contains(inside)
            && !said.to_lowercase().contains(inside)
        {
            wrong.push(format!("the error shows `{inside}`"));
        }
    }
    let text: String = answer.text.chars().take(600).collect();
    wrong
        .iter()
        .map(|why| {
            format!("tenant {} {}: {said} -> {status} {text}: {why}", operation.tenant, operation.name)
        })
        .collect()
}

fn has_no_rows(answer: &Answer) -> bool {
    let body = answer.body.pointer("/result/structuredContent").unwrap_or(&answer.body);
    let refused = answer.status == 422 || answer.body.pointer("/result/isError") == Some(&Value::Bool(true));
    let empty = |name: &str| body[name].as_array().is_some_and(Vec::is_empty);
    // Figures are given for every day, zero where nothing happened.
    let dated = matches!(body.pointer("/columns/0/name").and_then(Value::as_str), Some("day" | "week"));
    let nothing = |value: &Value| value.is_null() || value.as_f64() == Some(0.0);
    let zeros = dated
        && body["rows"].as_array().is_some_and(|rows| {
            rows.iter().all(|row| row.as_array().is_some_and(|row| row.iter().skip(1).all(nothing)))
        });
    refused || empty("items") || empty("rows") || zeros
}

fn anonymized(answer: &Answer, id: &str) -> String {
    let request = answer.body["request_id"].as_str().unwrap_or("-");
    format!("{} {}", answer.status, answer.text.replace(id, "ID").replace(request, "-"))
}

/// Enters what an operation did into the tenant's books, and what it was told into the pools.
fn enter(world: &World, operation: &Operation, answer: &Answer) {
    let tenant = &world.tenants[operation.tenant];
    if let Some(cursor) = answer.body["next_cursor"].as_str() {
        let mut pools = tenant.pools.lock().unwrap();
        if pools.cursors.len() < 100 {
            pools.cursors.push((operation.name, cursor.to_owned()));
        }
    }
    if !(200..300).contains(&answer.status) {
        return;
    }
    let id = answer.body["id"].as_str().unwrap_or_default().to_owned();
    let mut done = tenant.done.lock().unwrap();
    match &operation.effect {
        Effect::None => {}
        // A repeated idempotency key brings the same instance.
        Effect::Instance => {
            if done.instances.insert(id.clone()) {
                tenant.keep("instance", &id);
            }
        }
        Effect::Deleted(instance) => {
            done.deleted.insert(instance.clone());
        }
        Effect::Run(instance) => {
            let run = answer.body["run_id"].as_str().unwrap().to_owned();
            tenant.keep("run", &run);
            done.runs.insert(run, instance.clone());
        }
        Effect::Key => {
            drop(done);
            tenant.note_key(&answer.body);
        }
        Effect::Invitation => {
            tenant.keep("invitation", &id);
            done.invitations.insert(id);
        }
        Effect::RemovedMember(member) => {
            done.removed_members.insert(member.clone());
        }
    }
}

/// What is stored of each tenant is what its operations made, and holds no other's word.
async fn check_books(world: &World, seed: u64) {
    let db = &world.patchbay.database;
    for tenant in &world.tenants {
        let expected = {
            let done = tenant.done.lock().unwrap();
            let runs = done.runs.values().filter(|instance| !done.deleted.contains(*instance)).count();
            let instances = 1 + done.instances.len() - done.deleted.len();
            // The first key was made by the operator.
            [instances, runs, 1 + done.keys.len(), done.invitations.len(), 6 - done.removed_members.len()]
        };
        let count = async |sql| usize::try_from(db.count_of(&tenant.slug, sql).await.unwrap()).unwrap();
        let stored = [
            count("select count(*) from source_instances i join tenants t on t.id = i.tenant_id where t.slug = $1").await,
            count("select count(*) from sync_runs r join tenants t on t.id = r.tenant_id where t.slug = $1").await,
            count("select count(*) from api_keys k join tenants t on t.id = k.tenant_id where t.slug = $1").await,
            count("select count(*) from invitations i join tenants t on t.id = i.tenant_id where t.slug = $1").await,
            count("select count(*) from memberships m join tenants t on t.id = m.tenant_id where t.slug = $1").await,
        ];
        assert_eq!(
            stored, expected,
            "instances, runs, keys, invitations, members of {}; seed {seed}",
            tenant.slug
        );
        let items = count(
            "select count(*) from work_items w join tenants t on t.id = w.tenant_id
             join (select id, row_number() over (partition by tenant_id order by created_at) as place
                   from source_instances) i on i.id = w.instance_id where t.slug = $1 and i.place = 1",
        )
        .await;
        assert_eq!(items, ITEMS, "items of the first instance of {}", tenant.slug);
    }
    let dump = db.dump().await.unwrap();
    let canaries: Vec<&str> = world.tenants.iter().map(|tenant| tenant.canary.as_str()).collect();
    for (table, text) in &dump {
        for row in text.lines() {
            let of = canaries.iter().filter(|canary| row.contains(**canary)).count();
            assert!(of <= 1, "a row of {table} holds words of {of} tenants: {row}");
        }
    }
    for tenant in &world.tenants {
        for (table, text) in &dump {
            for row in text.lines().filter(|row| row.contains(&tenant.id)) {
                let foreign =
                    canaries.iter().find(|canary| **canary != tenant.canary && row.contains(**canary));
                assert_eq!(foreign, None, "a row of {} in {table} holds another's word: {row}", tenant.slug);
            }
        }
    }
}
