//! Transitions with a comment, which are two requests at most trackers: what is left where either answer gets lost.

use std::time::Duration;

use simulator::{FaultKind, FaultMatch, FaultRule};

use super::*;

const WHY: &str = "It **works** now.";

impl World {
    /// The two requests of a transition with a comment, in the order they are sent.
    fn both(&self) -> [(&'static str, &'static str); 2] {
        match self.kind {
            Kind::GitHub => [("POST", "/comments"), ("PATCH", "/issues/")],
            Kind::Asana => [("PUT", "/tasks/"), ("POST", "/stories")],
            Kind::Cloud | Kind::DataCenter => [("POST", "/transitions"), ("POST", "/comment")],
        }
    }

    /// A transition that takes two requests: Jira's has no screen, so that it drops the comment.
    fn told_why(&self) -> Transition {
        let to = match self.kind {
            Kind::Cloud | Kind::DataCenter => "In Progress".to_owned(),
            Kind::GitHub | Kind::Asana => self.close().to,
        };
        Transition { to, comment: Some(WHY.into()), ..Transition::default() }
    }

    fn spoil(&self, (method, path): (&str, &str), kind: FaultKind) {
        let matching = FaultMatch {
            method: Some(method.into()),
            path_contains: Some(path.into()),
            ..FaultMatch::default()
        };
        self.simulator.control().add_fault(FaultRule { matching, kind });
    }

    /// How often each of the two was sent.
    fn sent(&self) -> [usize; 2] {
        let all = self.simulator.control().requests();
        self.both().map(|(method, path)| {
            let is = |one: &&simulator::RequestRecord| {
                let sent = one.path_and_query.split('?').next().unwrap_or_default();
                let fits = if path.ends_with('/') { sent.contains(path) } else { sent.ends_with(path) };
                one.method == method && fits
            };
            all.iter().filter(is).count()
        })
    }

    async fn settle(&self) {
        sqlx::query("update write_intents set attempt_over_at = now() - interval '10 minutes'")
            .execute(&mut self.test.admin().await)
            .await
            .unwrap();
    }

    async fn assert_told_once(&self, key: &str, norm: &str, what: &str) {
        let there = self.read(key).await;
        assert_eq!(there.items[0].status_norm.as_str(), norm, "{what}");
        let same = there.comments.iter().filter(|comment| comment.body.trim() == WHY).count();
        assert_eq!(same, 1, "{what}: comments");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_transition_with_a_comment_only_what_is_missing_is_sent_again() {
    for kind in ALL {
        let world = World::new(kind).await;
        let norm = if matches!(kind, Kind::Cloud | Kind::DataCenter) { "in_progress" } else { "done" };
        let lost = [FaultKind::AnswerLost, FaultKind::ServerError { status: 503 }];
        for (number, (at, fault)) in
            [0, 1].into_iter().flat_map(|at| lost.clone().map(|fault| (at, fault))).enumerate()
        {
            let what = format!("{kind:?}, request {at}, {fault:?}");
            let key = world.make(&format!("Item {number}")).await;
            let write = ItemWrite::Transition(key.clone(), world.told_why());
            let took_effect = matches!(fault, FaultKind::AnswerLost);
            world.simulator.control().reset_requests();
            world.spoil(world.both()[at], fault);
            let mut done = world.write(write.clone(), &what).await;
            if let Err(error) = &done {
                // The tracker may still be at it.
                assert!(
                    !(took_effect && at == 1),
                    "{what}: all of it took place, and was not found: {error:?}"
                );
                let early = world.write(write.clone(), &what).await;
                assert!(matches!(early, Err(Error::IdempotencyInFlight { .. })), "{what}: {early:?}");
                world.settle().await;
                done = world.write(write.clone(), &what).await;
            }
            let done = done.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert!(done.item.comment_id.is_some(), "{what}: {done:?}");
            let mut expected = [1, 1];
            expected[at] += usize::from(!took_effect);
            assert_eq!(world.sent(), expected, "{what}");
            world.assert_told_once(&key, norm, &what).await;
            let again = world.write(write, &what).await.unwrap();
            assert!(again.replayed && again.item.comment_id == done.item.comment_id, "{what}: {again:?}");
            assert_eq!(world.sent(), expected, "{what}: sent again");
            world.simulator.control().clear_faults();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_limits_the_second_request_is_not_sent_the_first_again() {
    for kind in ALL {
        let world = World::new(kind).await;
        let what = format!("{kind:?}");
        let key = world.make("Item").await;
        let write = ItemWrite::Transition(key.clone(), world.told_why());
        world.simulator.control().reset_requests();
        world.spoil(world.both()[1], FaultKind::SecondaryLimit { retry_after_s: Some(1) });
        let error = source_error(world.write(write.clone(), &what).await);
        assert!(error.kind.is_transient(), "{what}: {error:?}");
        // The tracker goes on refusing until then.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        world.settle().await;
        world.write(write, &what).await.unwrap();
        assert_eq!(world.sent(), [1, 2], "{what}");
        let norm = if matches!(kind, Kind::Cloud | Kind::DataCenter) { "in_progress" } else { "done" };
        world.assert_told_once(&key, norm, &what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_meanwhile_keeps_no_missing_comment_out() {
    for kind in [Kind::Cloud, Kind::DataCenter, Kind::Asana] {
        let world = World::new(kind).await;
        let what = format!("{kind:?}");
        let key = world.make("Item").await;
        let since = world.read(&key).await.items[0].updated_at;
        let to = Transition { if_unchanged_since: Some(since), ..world.told_why() };
        let write = ItemWrite::Transition(key.clone(), to);
        world.spoil(world.both()[1], FaultKind::ServerError { status: 503 });
        source_error(world.write(write.clone(), &what).await);
        world.settle().await;
        // The change that was seen since is the transition itself.
        let done =
            world.write(write.clone(), &what).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert!(done.item.comment_id.is_some(), "{what}");
        let other = world.write(write, "another key").await;
        assert!(other.is_ok(), "{what}: a comment undoes nobody's work: {other:?}");
    }
}
