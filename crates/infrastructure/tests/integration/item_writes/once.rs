//! One effect, however often a write is asked for and whatever becomes of the answer.

use application::ports::SourceErrorKind;
use domain::ItemPatch;
use futures::future::join_all;
use simulator::{FaultKind, FaultMatch, FaultRule};

use super::*;

/// A write to be done, and how its request is told from others: method, and how its path ends or what it holds.
struct Planned {
    write: ItemWrite,
    method: &'static str,
    path: &'static str,
    whole_end: bool,
}

impl Planned {
    fn is(&self, method: &str, path_and_query: &str) -> bool {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let fits = if self.whole_end { path.ends_with(self.path) } else { path.contains(self.path) };
        method == self.method && fits
    }

    /// How often it was sent.
    fn sent(&self, world: &World) -> usize {
        let all = world.simulator.control().requests();
        all.iter().filter(|one| self.is(&one.method, &one.path_and_query)).count()
    }

    fn spoil(&self, world: &World, kind: FaultKind) {
        let matching = FaultMatch {
            method: Some(self.method.into()),
            path_contains: Some(self.path.into()),
            ..FaultMatch::default()
        };
        world.simulator.control().add_fault(FaultRule { matching, kind });
    }
}

fn planned(world: &World, operation: &str, key: &str, title: &str) -> Planned {
    let patch = ItemPatch { title: Some(title.into()), ..ItemPatch::default() };
    let write = match operation {
        "create" => ItemWrite::Create(world.new_item(title)),
        "update" => ItemWrite::Update(key.into(), patch),
        "transition" => ItemWrite::Transition(key.into(), world.close()),
        _ => ItemWrite::Comment(key.into(), World::comment(title)),
    };
    let (method, path, whole_end) = match (world.kind, operation) {
        (Kind::GitHub, "create") => ("POST", "/issues", true),
        (Kind::GitHub, "comment") => ("POST", "/comments", true),
        (Kind::GitHub, _) => ("PATCH", "/issues/", false),
        (Kind::Asana, "create") => ("POST", "/tasks", true),
        (Kind::Asana, "comment") => ("POST", "/stories", true),
        (Kind::Asana, _) => ("PUT", "/tasks/", false),
        (_, "create") => ("POST", "/issue", true),
        (_, "update") => ("PUT", "/issue/", false),
        (_, "transition") => ("POST", "/transitions", true),
        (_, _) => ("POST", "/comment", true),
    };
    Planned { write, method, path, whole_end }
}

impl World {
    /// What was sent last, for a failure to be understood.
    fn latest(&self) -> Vec<String> {
        let sent = self.simulator.control().requests();
        let told =
            |one: &simulator::RequestRecord| format!("{} {} {}", one.method, one.path_and_query, one.status);
        sent.iter().rev().take(12).map(told).collect()
    }
}

/// Whether the write took place once.
async fn assert_once(world: &World, plan: &Planned, items_before: usize, what: &str) {
    let made = usize::from(matches!(plan.write, ItemWrite::Create(_)));
    assert_eq!(world.item_count().await, items_before + made, "{what}: items");
    match &plan.write {
        ItemWrite::Create(_) => {}
        ItemWrite::Update(key, patch) => {
            assert_eq!(Some(&world.read(key).await.items[0].title), patch.title.as_ref(), "{what}");
        }
        ItemWrite::Transition(key, _) => {
            assert_eq!(world.read(key).await.items[0].status_norm.as_str(), "done", "{what}");
        }
        ItemWrite::Comment(key, comment) => {
            let comments = world.read(key).await.comments;
            let same = comments.iter().filter(|one| one.body.trim() == comment.body).count();
            assert_eq!(same, 1, "{what}: comments");
        }
        ItemWrite::Link(..)
        | ItemWrite::Worklog(..)
        | ItemWrite::Watch(..)
        | ItemWrite::Attach(..)
        | ItemWrite::PutInSprint(..)
        | ItemWrite::Sprint(_)
        | ItemWrite::Delete(..)
        | ItemWrite::Move(..)
        | ItemWrite::Version(_) => {
            unreachable!("they have tests of their own")
        }
    }
}

const OPERATIONS: [&str; 4] = ["create", "update", "transition", "comment"];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_got_lost_is_found_at_the_tracker_and_not_sent_again() {
    for kind in ALL {
        let world = World::new(kind).await;
        let faults = [FaultKind::AnswerLost, FaultKind::ErrorAfter { status: 502 }, FaultKind::TruncatedBody];
        for (number, fault) in faults.into_iter().enumerate() {
            let key = world.make(&format!("Item {number}")).await;
            for operation in OPERATIONS {
                let what = format!("{kind:?}, {operation}, {fault:?}");
                let plan = planned(&world, operation, &key, &format!("{operation} {number}"));
                let before = world.item_count().await;
                world.simulator.control().reset_requests();
                plan.spoil(&world, fault.clone());
                let done = world.write(plan.write.clone(), &what).await;
                let done = done.unwrap_or_else(|error| panic!("{what}: {error:?}\n{:#?}", world.latest()));
                assert!(done.stored, "{what}");
                assert_eq!(plan.sent(&world), 1, "{what}: sent");
                let again = world.write(plan.write.clone(), &what).await.unwrap();
                assert!(again.replayed, "{what}");
                assert_eq!(
                    (&again.item.key, &again.item.comment_id),
                    (&done.item.key, &done.item.comment_id),
                    "{what}"
                );
                assert_eq!(plan.sent(&world), 1, "{what}: sent again");
                assert_once(&world, &plan, before, &what).await;
                world.simulator.control().clear_faults();
            }
        }
        let writes = i64::try_from(3 * (1 + OPERATIONS.len())).unwrap();
        assert_eq!((world.number(AUDITED).await, world.number(REFUSED).await), (writes, 0), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_may_still_be_under_way_waits_until_the_tracker_has_settled_and_is_then_sent_again() {
    for kind in ALL {
        let world = World::new(kind).await;
        let key = world.make("Item").await;
        for (operation, fault) in OPERATIONS.into_iter().zip([
            FaultKind::Reset,
            FaultKind::ServerError { status: 503 },
            FaultKind::Reset,
            FaultKind::ServerError { status: 500 },
        ]) {
            let what = format!("{kind:?}, {operation}, {fault:?}");
            let plan = planned(&world, operation, &key, &format!("{operation} now"));
            let before = world.item_count().await;
            world.simulator.control().reset_requests();
            plan.spoil(&world, fault);
            let error = source_error(world.write(plan.write.clone(), &what).await);
            assert!(error.kind.is_transient() && error.retry_after.is_some(), "{what}: {error:?}");
            let early = world.write(plan.write.clone(), &what).await;
            assert!(matches!(early, Err(Error::IdempotencyInFlight { .. })), "{what}: {early:?}");
            assert_eq!(plan.sent(&world), 1, "{what}: sent while it may be under way");
            assert_eq!(world.number("select count(*) from write_intents where state = 'intended'").await, 1);

            sqlx::query("update write_intents set attempt_over_at = now() - interval '10 minutes'")
                .execute(&mut world.test.admin().await)
                .await
                .unwrap();
            let done = world.write(plan.write.clone(), &what).await.unwrap();
            assert!(!done.replayed && done.stored, "{what}: {done:?}");
            assert_eq!(plan.sent(&world), 2, "{what}");
            assert_once(&world, &plan, before, &what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_with_one_key_make_one_effect_and_another_body_is_refused() {
    for kind in ALL {
        let world = World::new(kind).await;
        let key = world.make("Item").await;
        for operation in ["create", "comment"] {
            let plan = planned(&world, operation, &key, "Exactly once");
            let before = world.item_count().await;
            world.simulator.control().reset_requests();
            let all = join_all((0..24).map(|_| world.write(plan.write.clone(), "one key"))).await;
            let (mut fresh, mut replayed) = (0, 0);
            for answer in &all {
                match answer {
                    Ok(done) if done.replayed => replayed += 1,
                    Ok(_) => fresh += 1,
                    Err(Error::IdempotencyInFlight { retry_after }) => assert!(!retry_after.is_zero()),
                    Err(error) => panic!("{kind:?}, {operation}: {error:?}"),
                }
            }
            assert_eq!(fresh, 1, "{kind:?}, {operation}: {replayed} replayed");
            assert_eq!(plan.sent(&world), 1, "{kind:?}, {operation}");
            let later = join_all((0..4).map(|_| world.write(plan.write.clone(), "one key"))).await;
            assert!(later.iter().all(|answer| matches!(answer, Ok(done) if done.replayed)), "{later:?}");
            assert_once(&world, &plan, before, &format!("{kind:?}, {operation}")).await;

            let other = planned(&world, operation, &key, "Something else");
            let refused = world.write(other.write, "one key").await;
            assert!(matches!(refused, Err(Error::IdempotencyMismatch)), "{kind:?}: {refused:?}");
        }
        assert_eq!(world.number(AUDITED).await, 3, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_asks_to_wait_was_sent_nothing_and_the_same_key_goes_on_later() {
    let world = World::new(Kind::Cloud).await;
    let plan = planned(&world, "create", "", "Later");
    let before = world.item_count().await;
    plan.spoil(&world, FaultKind::SecondaryLimit { retry_after_s: Some(7) });
    let error = source_error(world.write(plan.write.clone(), "k").await);
    assert_eq!(error.kind, SourceErrorKind::RateLimited, "{error:?}");
    assert_eq!(world.number("select count(*) from write_intents").await, 0, "nothing is kept of it");
    let done = world.write(plan.write.clone(), "k").await.unwrap();
    assert!(!done.replayed);
    assert_once(&world, &plan, before, "later").await;
}
