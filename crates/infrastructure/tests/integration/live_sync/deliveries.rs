//! Taking deliveries in, and applying what they point at.

use application::Ctx;
use application::ports::{ListPage, Refusal, SourceErrorKind};
use application::webhooks::{Incoming, IntakeError};
use domain::{Hint, Hints, InstanceId};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row;

use super::World;
use super::source::sign;

const OPEN: &str = "select count(*) from webhook_deliveries where applied_at is null";
const APPLIED: &str =
    "select count(*) from webhook_deliveries where applied_at is not null and problem is null";

pub fn item(id: &str) -> Hint {
    Hint::Item { source_id: Some(id.to_owned()), ref_key: None, key: None }
}

/// A webhook that somebody has set up by hand: the token of its address, and its secret.
pub struct Hooked {
    pub ctx: Ctx,
    pub instance: InstanceId,
    pub token: String,
    pub secret: String,
}

impl Hooked {
    pub async fn new(world: &World) -> Self {
        let ctx = world.test.ctx("acme").await;
        let instance = world.instance(&ctx, "core").await;
        world.tracker.only_by_hand();
        let status = world.webhooks.register(&ctx, instance).await.unwrap();
        let url = status.url.unwrap().expose_secret().to_owned();
        let token = url.rsplit('/').next().unwrap().to_owned();
        Self { ctx, instance, token, secret: status.secret.unwrap().expose_secret().to_owned() }
    }

    /// A delivery as this tracker sends it.
    pub fn delivery(&self, id: &str, hints: impl IntoIterator<Item = Hint>) -> Incoming {
        let body = serde_json::to_vec(&hints.into_iter().collect::<Hints>()).unwrap();
        let signature = sign(&self.secret, &body);
        let headers = vec![("x-signature".to_owned(), signature), ("x-delivery".to_owned(), id.to_owned())];
        Incoming { source: "scripted".into(), token: SecretString::from(self.token.as_str()), headers, body }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_delivery_points_at_is_read_and_written_and_a_repeated_one_does_nothing() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    world.tracker.put("7", "Seven");
    for outcome in ["stored", "repeated", "repeated"] {
        let answer = world.webhooks.take_in(hooked.delivery("d1", [item("7")])).await.unwrap();
        assert_eq!(answer.outcome, outcome);
    }
    assert_eq!(world.count(OPEN).await, 1);
    let worker = world.work();
    world.wait_for(APPLIED, 1).await;
    world.wait_for("select count(*) from work_items where title = 'Seven'", 1).await;
    world.end(worker).await;
    assert_eq!(world.tracker.reads("7"), 1);
    let page = ListPage { limit: 10, cursor: None };
    let listed = world.webhooks.deliveries(&hooked.ctx, hooked.instance, &page).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!((listed.items[0].outcome(), listed.items[0].event.as_str()), ("applied", "changed"));
    let state = world.webhooks.status(&hooked.ctx, hooked.instance).await.unwrap().state;
    assert_eq!(state, Some(domain::WebhookState::Active));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_unsigned_forged_or_unknown_is_stored() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    let good = || hooked.delivery("d1", [item("7")]);

    let unsigned = Incoming { headers: Vec::new(), ..good() };
    let refused = world.webhooks.take_in(unsigned).await.unwrap_err();
    assert!(matches!(refused, IntakeError::Refused(Refusal::Unsigned)), "{refused:?}");

    let mut changed = good();
    changed.body.push(b' ');
    let refused = world.webhooks.take_in(changed).await.unwrap_err();
    assert!(matches!(refused, IntakeError::Refused(Refusal::Forged)), "{refused:?}");

    for wrong in
        [Incoming { token: "f".repeat(64).into(), ..good() }, Incoming { source: "github".into(), ..good() }]
    {
        let refused = world.webhooks.take_in(wrong).await.unwrap_err();
        assert!(matches!(refused, IntakeError::Unknown), "{refused:?}");
    }

    // Whoever knows the address cannot make up a secret once it is set up.
    let handshake = Incoming { headers: vec![("x-handshake".to_owned(), "mine".to_owned())], ..good() };
    let refused = world.webhooks.take_in(handshake).await.unwrap_err();
    assert!(matches!(refused, IntakeError::Refused(Refusal::Unsigned)), "{refused:?}");

    world.execute("update tenants set status = 'suspended'").await;
    // What is remembered of the address is looked up again for what is not signed, or a little later.
    for attempt in 0.. {
        let unsigned = Incoming { headers: Vec::new(), ..good() };
        match world.webhooks.take_in(unsigned).await.unwrap_err() {
            IntakeError::NotServed => break,
            refused => assert!(attempt < 200, "it is served for ever: {refused:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let refused = world.webhooks.take_in(good()).await.unwrap_err();
    assert!(matches!(refused, IntakeError::NotServed), "{refused:?}");
    assert_eq!(world.count("select count(*) from webhook_deliveries").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_cannot_be_applied_is_tried_again_with_growing_waits_and_then_left_to_a_sync() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    world.schedules.give_missing().await.unwrap();
    world.tracker.put("7", "Seven");
    world.tracker.fail_next([SourceErrorKind::Unavailable; 10]);
    let worker = world.work();
    world.webhooks.take_in(hooked.delivery("d1", [item("7")])).await.unwrap();
    let mut waits = Vec::new();
    for attempt in 1..=10i64 {
        world.wait_for("select coalesce(sum(attempts), 0) from webhook_deliveries", attempt).await;
        let row = sqlx::query(
            "select extract(epoch from retry_at - now())::float8, problem from webhook_deliveries",
        )
        .fetch_one(&mut world.test.admin().await)
        .await
        .unwrap();
        waits.push(row.get::<f64, _>(0));
        assert_eq!(row.get::<&str, _>(1), "the tracker failed as told");
        // Nobody waits in a test: the next try is now.
        world.execute("update webhook_deliveries set retry_at = now()").await;
        world.execute("update graphile_worker._private_jobs set run_at = now() where run_at > now()").await;
    }
    assert!(waits.windows(2).take(7).all(|pair| pair[1] > pair[0] * 1.5), "{waits:?}");
    world.wait_for("select count(*) from sync_schedules where next_sync_at <= now()", 1).await;
    world.end(worker).await;
    let page = ListPage { limit: 10, cursor: None };
    let listed = world.webhooks.deliveries(&hooked.ctx, hooked.instance, &page).await.unwrap();
    assert_eq!((listed.items[0].outcome(), listed.items[0].attempts), ("failed", 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_deliveries_do_not_wait_for_one_that_failed() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    world.tracker.put("7", "Seven");
    world.tracker.put("8", "Eight");
    world.tracker.fail_next([SourceErrorKind::Unavailable]);
    let worker = world.work();
    world.webhooks.take_in(hooked.delivery("d1", [item("7")])).await.unwrap();
    world.wait_for("select coalesce(sum(attempts), 0) from webhook_deliveries", 1).await;
    world.webhooks.take_in(hooked.delivery("d2", [item("8")])).await.unwrap();
    world.wait_for(APPLIED, 1).await;
    world.wait_for("select count(*) from work_items where title = 'Eight'", 1).await;
    // The first is tried again after its five seconds, by the job that waits for that.
    world.wait_for(APPLIED, 2).await;
    world.end(worker).await;
    assert_eq!((world.tracker.reads("7"), world.tracker.reads("8")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_can_be_applied_once_more() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    world.tracker.put("7", "Seven");
    let worker = world.work();
    world.webhooks.take_in(hooked.delivery("d1", [item("7")])).await.unwrap();
    world.wait_for(APPLIED, 1).await;
    world.tracker.put("7", "Seven again");
    let page = ListPage { limit: 1, cursor: None };
    let listed = world.webhooks.deliveries(&hooked.ctx, hooked.instance, &page).await.unwrap();
    world.webhooks.replay(&hooked.ctx, hooked.instance, listed.items[0].id).await.unwrap();
    world.wait_for("select count(*) from work_items where title = 'Seven again'", 1).await;
    world.end(worker).await;
    let stranger = world.test.ctx("globex").await;
    let refused = world.webhooks.replay(&stranger, hooked.instance, listed.items[0].id).await;
    assert!(matches!(refused, Err(application::Error::NotFound { .. })), "{refused:?}");
    assert_eq!(world.count("select count(*) from audit_log where action = 'webhook.replay'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_item_brings_the_next_sync_within_a_minute_and_a_paused_instance_applies_nothing() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    world.schedules.give_missing().await.unwrap();
    let soon = "select count(*) from sync_schedules where next_sync_at < now() + interval '1 minute'";
    assert_eq!(world.count(soon).await, 0);
    let worker = world.work();
    world.webhooks.take_in(hooked.delivery("d1", [Hint::Reference])).await.unwrap();
    world.wait_for(soon, 1).await;
    world.wait_for(APPLIED, 1).await;
    world.execute("update source_instances set status = 'paused'").await;
    world.webhooks.take_in(hooked.delivery("d2", [item("7")])).await.unwrap();
    let skipped =
        "select count(*) from webhook_deliveries where applied_at is not null and problem like '%paused%'";
    world.wait_for(skipped, 1).await;
    world.end(worker).await;
    assert_eq!(world.tracker.reads("7"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_deliveries_is_stored_once_each_and_read_a_few_times() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    for n in 0..50 {
        world.tracker.put(&n.to_string(), "x");
    }
    let worker = world.work();
    // Every fifth is a repetition.
    let sending = (0..2_000).map(|n| {
        let incoming = hooked.delivery(&format!("d{}", n - n % 5 / 4), [item(&(n % 50).to_string())]);
        world.webhooks.take_in(incoming)
    });
    let answers = futures::future::join_all(sending).await;
    let stored = answers.iter().filter(|answer| answer.as_ref().unwrap().outcome == "stored").count();
    assert_eq!(stored, 1_600);
    assert_eq!(world.count("select count(*) from webhook_deliveries").await, 1_600);
    world.wait_for(OPEN, 0).await;
    world.end(worker).await;
    let transactions = world.count("select count(distinct xmin::text) from webhook_deliveries").await;
    assert!(transactions < 400, "{transactions} transactions");
    assert!(world.tracker.reads("0") < 100, "{} reads", world.tracker.reads("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_deliveries_go_and_young_ones_stay() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    for id in ["old", "young"] {
        world.webhooks.take_in(hooked.delivery(id, [item("7")])).await.unwrap();
    }
    world
        .execute(
            "update webhook_deliveries set received_at = now() - interval '8 days' where delivery_id = 'old'",
        )
        .await;
    assert_eq!(world.webhooks.prune().await.unwrap(), 1);
    assert_eq!(world.webhooks.prune().await.unwrap(), 0);
    assert_eq!(world.count("select count(*) from webhook_deliveries where delivery_id = 'young'").await, 1);
}
