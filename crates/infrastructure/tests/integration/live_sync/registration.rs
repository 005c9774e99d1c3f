//! Setting webhooks up, looking after them, and taking them away.

use application::Error;
use application::ports::SourceErrorKind;
use application::webhooks::{Incoming, WebhookService};
use chrono::TimeDelta;
use domain::WebhookState;
use secrecy::ExposeSecret;

use super::World;
use super::deliveries::{Hooked, item};
use super::source::sign;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_product_sets_up_it_renews_long_before_the_end_and_sets_up_again_when_lost() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    world.tracker.hooks_last(TimeDelta::days(30));
    let status = world.webhooks.register(&ctx, instance).await.unwrap();
    assert_eq!((status.state, status.managed), (Some(WebhookState::Active), true));
    assert!(status.secret.is_none() && status.steps.is_empty());
    let url = status.url.unwrap().expose_secret().to_owned();
    assert!(url.starts_with("https://patchbay.example/base/webhooks/scripted/"), "{url}");
    assert_eq!(world.tracker.hooks().values().collect::<Vec<_>>(), [&url]);
    let due = "select count(*) from webhook_subscriptions
               where renew_at between now() + interval '19 days' and now() + interval '21 days'";
    assert_eq!(world.count(due).await, 1);
    assert_eq!(world.webhooks.look_after().await.unwrap(), 0);

    world
        .execute("update webhook_subscriptions set renew_at = now(), expires_at = now() + interval '10 days'")
        .await;
    assert_eq!(world.webhooks.look_after().await.unwrap(), 1);
    assert_eq!(world.count(due).await, 1);

    world.tracker.lose_hooks();
    world.execute("update webhook_subscriptions set renew_at = now()").await;
    world.webhooks.look_after().await.unwrap();
    assert_eq!(world.tracker.hooks().len(), 1, "the lost webhook was not set up again");

    world.execute("update webhook_subscriptions set renew_at = now()").await;
    world.tracker.fail_next([SourceErrorKind::Forbidden]);
    world.webhooks.look_after().await.unwrap();
    let status = world.webhooks.status(&ctx, instance).await.unwrap();
    assert_eq!(status.state, Some(WebhookState::Failing));
    assert_eq!(status.problem.as_deref(), Some("the tracker failed as told"));

    world.webhooks.unregister(&ctx, instance, false).await.unwrap();
    assert!(world.tracker.hooks().is_empty());
    assert!(world.webhook_store.find(&ctx, instance).await.unwrap().is_none());
    let actions = "select count(*) from audit_log where action in ('webhook.prepare', 'webhook.remove')";
    assert_eq!(world.count(actions).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_takes_its_webhooks_along_when_it_goes() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    world.webhooks.register(&ctx, instance).await.unwrap();
    world.webhooks.retire(&ctx, instance).await.unwrap();
    assert!(world.tracker.hooks().is_empty());
    assert!(world.instances.delete(&ctx, instance).await.unwrap());
    assert_eq!(world.count("select count(*) from webhook_subscriptions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_refuses_leaves_a_problem_and_stays_removable_by_force() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    world.tracker.fail_next([SourceErrorKind::Forbidden]);
    let refused = world.webhooks.register(&ctx, instance).await;
    assert!(matches!(refused, Err(Error::Source(_))), "{refused:?}");
    let status = world.webhooks.status(&ctx, instance).await.unwrap();
    assert_eq!(status.state, Some(WebhookState::Failing));
    // The next try takes over what is there.
    world.webhooks.register(&ctx, instance).await.unwrap();
    world.tracker.fail_next([SourceErrorKind::Unavailable]);
    let refused = world.webhooks.unregister(&ctx, instance, false).await;
    assert!(matches!(refused, Err(Error::Source(_))), "{refused:?}");
    world.tracker.fail_next([SourceErrorKind::Unavailable]);
    world.webhooks.unregister(&ctx, instance, true).await.unwrap();
    let again = world.webhooks.unregister(&ctx, instance, true).await;
    assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_holds_beside_the_one_before_it_and_the_address_stays() {
    let world = World::new().await;
    let hooked = Hooked::new(&world).await;
    let status = world.webhooks.register(&hooked.ctx, hooked.instance).await.unwrap();
    assert!(status.url.unwrap().expose_secret().ends_with(&hooked.token));
    assert_eq!(status.steps.len(), 1);
    let newer = Hooked {
        secret: status.secret.unwrap().expose_secret().to_owned(),
        ctx: hooked.ctx.clone(),
        instance: hooked.instance,
        token: hooked.token.clone(),
    };
    assert_ne!(newer.secret, hooked.secret);
    world.webhooks.take_in(newer.delivery("d1", [item("7")])).await.unwrap();
    world.webhooks.take_in(hooked.delivery("d2", [item("7")])).await.unwrap();
    // With the next one the first is forgotten.
    world.webhooks.register(&hooked.ctx, hooked.instance).await.unwrap();
    assert!(world.webhooks.take_in(hooked.delivery("d3", [item("7")])).await.is_err());
    // It is told once.
    assert!(world.webhooks.status(&hooked.ctx, hooked.instance).await.unwrap().secret.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_told_in_a_handshake_hold_at_once_however_many_come_together() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    let status = world.webhooks.register(&ctx, instance).await.unwrap();
    let url = status.url.unwrap().expose_secret().to_owned();
    let token = url.rsplit('/').next().unwrap();
    world.webhook_store.open_handshake(&ctx, instance, std::time::Duration::from_secs(60)).await.unwrap();
    let handshake = |secret: String| Incoming {
        source: "scripted".into(),
        token: token.into(),
        headers: vec![("x-handshake".into(), secret)],
        body: b"{}".to_vec(),
    };
    let secrets: Vec<String> = (0..5).map(|n| format!("secret-{n}")).collect();
    let told = secrets.iter().map(|secret| world.webhooks.take_in(handshake(secret.clone())));
    for (answer, secret) in futures::future::join_all(told).await.into_iter().zip(&secrets) {
        assert_eq!(answer.unwrap().headers, [("x-handshake", secret.clone())]);
    }
    let body = b"[]".to_vec();
    for secret in &secrets {
        let signed = Incoming {
            headers: vec![("x-signature".into(), sign(secret, &body)), ("x-delivery".into(), secret.clone())],
            body: body.clone(),
            ..handshake(String::new())
        };
        world.webhooks.take_in(signed).await.unwrap();
    }
    let sealed = world.webhook_store.find(&ctx, instance).await.unwrap().unwrap().sealed;
    assert!(!sealed.0.windows(8).any(|window| window == b"secret-1"), "a secret is stored in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_of_its_own_the_installation_says_what_to_set() {
    let world = World::new().await;
    let ctx = world.test.ctx("acme").await;
    let instance = world.instance(&ctx, "core").await;
    let homeless: WebhookService = world.without_address();
    match homeless.register(&ctx, instance).await {
        Err(Error::Conflict { hint, .. }) => assert!(hint.contains("PATCHBAY_PUBLIC_URL"), "{hint}"),
        other => panic!("{other:?}"),
    }
    let status = homeless.status(&ctx, instance).await.unwrap();
    assert!(status.state.is_none() && status.problem.is_some());
}
