//! What each write does at the tracker, here, and on the record.

use application::ports::SourceErrorKind;
use domain::ItemPatch;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_made_changed_closed_and_commented_on_and_stored_here_each_time() {
    for kind in ALL {
        let world = World::new(kind).await;
        let before = world.item_count().await;
        let key = world.make("Refunds are rounded twice").await;
        assert_eq!(world.item_count().await, before + 1, "{kind:?}");
        assert_eq!(world.stored(TITLE, &key).await, "Refunds are rounded twice");
        let body = "select body from work_items where source_key = $1";
        assert_eq!(world.stored(body, &key).await.trim(), "Seen since **Monday**.", "{kind:?}");

        let was = world.read(&key).await;
        let patch = ItemPatch {
            title: Some("Refunds are rounded once".into()),
            if_unchanged_since: Some(was.items[0].updated_at),
            ..ItemPatch::default()
        };
        let changed = world.write(ItemWrite::Update(key.clone(), patch.clone()), "rename").await.unwrap();
        let fields: Vec<&str> = changed.item.changed.iter().map(|change| change.field.as_str()).collect();
        assert_eq!((fields, changed.stored), (vec!["title"], true), "{kind:?}");
        let now = world.read(&key).await;
        assert_eq!(now.items[0].title, "Refunds are rounded once");
        assert_eq!(rest_of(&now), rest_of(&was), "{kind:?}: something else changed");
        assert_eq!(world.stored(TITLE, &key).await, "Refunds are rounded once");

        // It was changed since: by ourselves.
        let late = world.write(ItemWrite::Update(key.clone(), patch), "rename again").await;
        assert_eq!(source_error(late).kind, SourceErrorKind::Conflict, "{kind:?}");

        let closed = world.write(ItemWrite::Transition(key.clone(), world.close()), "close").await.unwrap();
        assert!(closed.item.changed.iter().any(|change| change.field == "status"), "{kind:?}: {closed:?}");
        assert_eq!(world.stored(STATUS, &key).await, "done", "{kind:?}");

        let comment = World::comment("Fixed in *staging*.");
        let added = world.write(ItemWrite::Comment(key.clone(), comment), "tell").await.unwrap();
        assert!(added.item.comment_id.is_some() && added.stored, "{kind:?}: {added:?}");
        let commented = "select c.body from comments c join work_items w on w.ref_key = c.item_ref_key
                         where w.source_key = $1";
        assert_eq!(world.stored(commented, &key).await.trim(), "Fixed in *staging*.", "{kind:?}");

        assert_eq!((world.number(AUDITED).await, world.number(REFUSED).await), (4, 1), "{kind:?}");
        let named =
            "select count(*) from audit_log where action = 'tracker.write' and target_kind = 'instance'
                     and details like '%add_comment%'";
        assert_eq!(world.number(named).await, 1, "{kind:?}");
        let chained = "select count(*) from audit_log where details like '%rounded%'";
        assert_eq!(world.number(chained).await, 0, "{kind:?}: texts of items are on the record");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tracker_does_not_know_is_refused_with_near_matches_and_nothing_is_sent() {
    for kind in ALL {
        let world = World::new(kind).await;
        let key = world.make("Something").await;
        let fields =
            |name: &str| ItemPatch { fields: [(name.to_owned(), json!(3))].into(), ..ItemPatch::default() };
        let status = Transition { to: "Dnoe".into(), ..Transition::default() };
        let (patch, field, near) = match kind {
            Kind::GitHub => {
                let item_type = Some("Bugs".to_owned());
                (ItemPatch { item_type, ..ItemPatch::default() }, "/type", "Bug")
            }
            Kind::Cloud | Kind::DataCenter => {
                (fields("Story Pionts"), "/fields/Story Pionts", "Story Points")
            }
            Kind::Asana => (fields("Story point"), "/fields/Story point", "Story points"),
        };
        world.simulator.control().reset_requests();
        let error = source_error(world.write(ItemWrite::Update(key.clone(), patch.clone()), "typo").await);
        assert_eq!((error.kind, error.field.as_deref()), (SourceErrorKind::Rejected, Some(field)), "{error}");
        assert!(error.allowed.iter().any(|name| name == near), "{kind:?}: {:?}", error.allowed);
        // It stays refused, with the same words, and without another look.
        let asked = world.simulator.control().stats().requests;
        let again = source_error(world.write(ItemWrite::Update(key.clone(), patch), "typo").await);
        assert_eq!((&again.allowed, &again.message), (&error.allowed, &error.message), "{kind:?}");
        assert_eq!(world.simulator.control().stats().requests, asked, "{kind:?}");

        let error = source_error(world.write(ItemWrite::Transition(key.clone(), status), "status").await);
        assert_eq!((error.kind, error.field.as_deref()), (SourceErrorKind::Rejected, Some("/to")), "{error}");
        assert!(!error.allowed.is_empty(), "{kind:?}");
        let sent = world.simulator.control().requests();
        let read = |path: &str| path.contains("/search") || path.contains("bulkfetch");
        let changes = sent.iter().filter(|one| one.method != "GET" && !read(&one.path_and_query));
        assert_eq!(changes.count(), 0, "{kind:?}: something was sent");
        assert_eq!((world.number(AUDITED).await, world.number(REFUSED).await), (1, 2), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_not_there_is_not_found_and_the_outcome_of_a_write_is_sealed() {
    for kind in ALL {
        let world = World::new(kind).await;
        let key = match kind {
            Kind::GitHub => "acme/app#99999",
            Kind::Cloud | Kind::DataCenter => "ENG-99999",
            Kind::Asana => "1299999999999999",
        };
        let comment = ItemWrite::Comment(key.into(), World::comment("c4nary-comment"));
        let error = source_error(world.write(comment, "k").await);
        assert_eq!(error.kind, SourceErrorKind::NotFound, "{kind:?}: {error}");
        world.make("c4nary-title").await;
        let open = "select count(*) from write_intents where encode(outcome, 'escape') like '%c4nary%'
                    or encode(outcome, 'escape') like '%source_id%'";
        assert_eq!(world.number(open).await, 0, "{kind:?}: an outcome is stored in clear");
        assert_eq!(world.number("select count(*) from write_intents where outcome is not null").await, 2);
    }
}
