//! Writes that are only said, and links, in both dialects of Jira.

use domain::{ItemLink, ItemPatch, ListChange};
use simulator::{FaultKind, FaultMatch, FaultRule};

use super::*;

const DIALECTS: [Kind; 2] = [Kind::Cloud, Kind::DataCenter];

impl World {
    async fn rehearse(&self, write: &ItemWrite) -> Result<domain::WrittenItem, Error> {
        self.service.rehearse(&self.ctx, Scope::McpJiraWrite, self.instance.id, write).await
    }

    fn links(&self) -> usize {
        self.simulator.control().with_jira("acme", |site| site.link_count()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_tells_what_the_write_then_does_and_sends_nothing() {
    for kind in DIALECTS {
        let world = World::new(kind).await;
        let key = world.make("Rehearsed").await;
        let patch = ItemPatch {
            title: Some("Done".into()),
            body: Some(Some("Since *Tuesday*.".into())),
            labels: Some(ListChange::Edit { add: vec!["b".into(), "a".into()], remove: vec!["x".into()] }),
            priority: Some(Some("high".into())),
            ..ItemPatch::default()
        };
        let before = world.item_count().await;
        for write in [
            ItemWrite::Create(NewItem { labels: vec!["new".into()], ..world.new_item("Another") }),
            ItemWrite::Update(key.clone(), patch),
            ItemWrite::Transition(key.clone(), world.close()),
        ] {
            world.simulator.control().reset_requests();
            let said =
                world.rehearse(&write).await.unwrap_or_else(|error| panic!("{kind:?} {write:?}: {error:?}"));
            let sent = world.simulator.control().requests();
            assert!(
                sent.iter().all(|one| one.method == "GET" || one.path_and_query.contains("/search")),
                "{sent:?}"
            );
            let done = world.write(write.clone(), write.operation()).await.unwrap();
            let told = |changed: &[domain::ChangedField]| -> Vec<(String, Value)> {
                changed.iter().map(|change| (change.field.clone(), change.to.clone())).collect()
            };
            // What Jira sets by itself, as a resolution, is not foretold.
            for change in told(&said.changed) {
                assert!(told(&done.item.changed).contains(&change), "{kind:?}: {change:?} of {done:?}");
            }
            assert!(!said.changed.is_empty(), "{kind:?}, {write:?}: {said:?}");
        }
        assert_eq!(world.item_count().await, before + 1, "{kind:?}");
        // It is closed now: what is left of this is the comment.
        world.simulator.control().reset_requests();
        let comment = Some("done".to_owned());
        let closed = ItemWrite::Transition(key.clone(), Transition { comment, ..world.close() });
        world.rehearse(&closed).await.unwrap();
        let sent = world.simulator.control().requests();
        assert!(sent.iter().all(|one| one.method == "GET"), "{kind:?}: {sent:?}");
        let refused = world.rehearse(&ItemWrite::Comment(key, World::comment("x"))).await;
        assert!(matches!(refused, Err(Error::Source(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_whose_answer_got_lost_is_found_and_not_made_twice() {
    for kind in DIALECTS {
        let world = World::new(kind).await;
        let (one, other) = (world.make("One").await, world.make("Other").await);
        let before = world.links();
        let link = |remove: bool| {
            ItemWrite::Link(one.clone(), ItemLink { to: other.clone(), kind: "is blocked by".into(), remove })
        };
        for (remove, method, ends) in [(false, "POST", before + 2), (true, "DELETE", before)] {
            let matching = FaultMatch {
                method: Some(method.into()),
                path_contains: Some("/issueLink".into()),
                ..FaultMatch::default()
            };
            world.simulator.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
            let done = world.write(link(remove), method).await.unwrap();
            assert!(done.stored, "{kind:?}, {method}");
            assert!(world.write(link(remove), method).await.unwrap().replayed, "{kind:?}, {method}");
            // Under another key nothing is left to do.
            let again = world.write(link(remove), &format!("{method} again")).await.unwrap();
            assert_eq!((again.item.changed.len(), again.item.warnings.len()), (0, 1), "{kind:?}: {again:?}");
            assert_eq!(world.links(), ends, "{kind:?}, {method}");
        }
    }
}
