//! What Jira's dialects do each in its own way: sprints by name, epics, and comments that customers do not see.

use application::ports::SourceErrorKind;
use domain::ItemPatch;
use simulator::{FaultKind, FaultMatch, FaultRule};

use super::*;

const BOTH: [Kind; 2] = [Kind::Cloud, Kind::DataCenter];

#[tokio::test(flavor = "multi_thread")]
async fn a_sprint_is_given_by_name_and_left_again() {
    for kind in BOTH {
        let world = World::new(kind).await;
        let sprints = |state: &str| {
            let named = world.simulator.control().with_jira("acme", |site| site.sprints_in(state)).unwrap();
            named.into_iter().find(|(_, name)| name.starts_with("ENG")).expect("a sprint of the project")
        };
        let ((active, active_name), (future, future_name)) = (sprints("active"), sprints("future"));
        let held = async |key: &str| {
            let records = world.read(key).await;
            let open = records.sprint_memberships.iter().filter(|stay| stay.removed_at.is_none());
            open.map(|stay| stay.sprint_source_id.clone()).collect::<Vec<_>>()
        };
        let new = NewItem { sprint: Some(active_name.to_uppercase()), ..world.new_item("In a sprint") };
        let key = world.write(ItemWrite::Create(new), "create").await.unwrap().item.key;
        assert_eq!(held(&key).await, [active.to_string()], "{kind:?}");

        let to = |sprint: Option<&str>| ItemPatch {
            sprint: Some(sprint.map(str::to_owned)),
            ..ItemPatch::default()
        };
        // The answer gets lost: that it took place is seen in the field.
        let matching = FaultMatch { method: Some("PUT".into()), ..FaultMatch::default() };
        world.simulator.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
        let moved = ItemWrite::Update(key.clone(), to(Some(&future_name)));
        world.write(moved, "move").await.unwrap();
        assert_eq!(held(&key).await, [future.to_string()], "{kind:?}");
        let stored =
            "select s.name from sprint_memberships m join sprints s on s.source_id = m.sprint_source_id
                      join work_items w on w.ref_key = m.item_ref_key
                      where w.source_key = $1 and m.removed_at is null";
        assert_eq!(world.stored(stored, &key).await, future_name, "{kind:?}");

        let back =
            world.write(ItemWrite::Update(key.clone(), to(Some(&active.to_string()))), "id").await.unwrap();
        let told: Vec<_> = back.item.changed.iter().map(|c| (c.field.as_str(), &c.from, &c.to)).collect();
        assert_eq!(told, [("sprint", &json!([future_name]), &json!([active_name]))], "{kind:?}");

        let typo = active_name.replace("Sprint", "Sprnit");
        let error = source_error(world.write(ItemWrite::Update(key.clone(), to(Some(&typo))), "typo").await);
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (SourceErrorKind::Rejected, Some("/sprint")),
            "{error}"
        );
        assert!(error.allowed.contains(&active_name), "{kind:?}: {:?}", error.allowed);
        world.write(ItemWrite::Update(key.clone(), to(None)), "leave").await.unwrap();
        assert!(held(&key).await.is_empty(), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_joins_and_leaves_an_epic() {
    for kind in BOTH {
        let world = World::new(kind).await;
        let new = NewItem { item_type: Some("Epic".into()), ..world.new_item("The epic") };
        let epic = world.write(ItemWrite::Create(new), "epic").await.unwrap().item.key;
        let epic_ref = world.read(&epic).await.items[0].ref_key.clone();
        let parent = |parent: Option<&str>| ItemPatch {
            parent: Some(parent.map(str::to_owned)),
            ..ItemPatch::default()
        };
        let new = NewItem { parent: Some(epic.to_lowercase()), ..world.new_item("A part") };
        let key = world.write(ItemWrite::Create(new), "part").await.unwrap().item.key;
        let of = async |key: &str| world.read(key).await.items[0].parent_ref_key.clone();
        assert_eq!(of(&key).await.as_deref(), Some(epic_ref.as_str()), "{kind:?}");
        let stored = "select parent_ref_key from work_items where source_key = $1";
        assert_eq!(world.stored(stored, &key).await, epic_ref, "{kind:?}");
        world.write(ItemWrite::Update(key.clone(), parent(None)), "leave").await.unwrap();
        assert_eq!(of(&key).await, None, "{kind:?}");
        world.write(ItemWrite::Update(key.clone(), parent(Some(&epic))), "join").await.unwrap();
        assert_eq!(of(&key).await.as_deref(), Some(epic_ref.as_str()), "{kind:?}");
        let wrong = world.write(ItemWrite::Update(key, parent(Some("ENG-99999"))), "wrong").await;
        assert_eq!(source_error(wrong).kind, SourceErrorKind::Rejected, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_comment_is_one_for_agents_of_a_service_desk_and_refused_elsewhere() {
    for kind in BOTH {
        let world = World::new(kind).await;
        world.simulator.control().with_jira("acme", |site| site.make_service_desk("OPS")).unwrap();
        let mut new = world.new_item("A request");
        new.project.clone_from(&world.other);
        let request = world.write(ItemWrite::Create(new), "request").await.unwrap().item.key;
        let comment = |body: &str, internal: bool| {
            ItemWrite::Comment(request.clone(), NewComment { body: body.into(), internal, documents: false })
        };
        let matching = FaultMatch {
            method: Some("POST".into()),
            path_contains: Some("/comment".into()),
            ..FaultMatch::default()
        };
        world.simulator.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
        let internal = world.write(comment("Not for the customer", true), "internal").await.unwrap();
        let public = world.write(comment("For the customer", false), "public").await.unwrap();
        for (written, expected) in [(internal, false), (public, true)] {
            let id = written.item.comment_id.expect("its id is told");
            let shown = world.get(&format!("/rest/api/2/issue/{request}/comment/{id}")).await;
            assert_eq!(shown["jsdPublic"], expected, "{kind:?}: {shown}");
        }
        assert_eq!(world.read(&request).await.comments.len(), 2, "{kind:?}");
        let key = world.make("No request").await;
        let elsewhere = NewComment { body: "Hush".into(), internal: true, documents: false };
        let error = source_error(world.write(ItemWrite::Comment(key, elsewhere), "hush").await);
        assert_eq!(error.field.as_deref(), Some("/internal"), "{error}");
    }
}

impl World {
    /// What the site itself shows.
    async fn get(&self, path: &str) -> Value {
        let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let mut headers = http::HeaderMap::new();
        headers.insert(
            "authorization",
            "Basic YW5uQGV4YW1wbGUuY29tOjEvMTIwMDAwMDAwMDAwMDAwMTphYmNkZWY=".parse().unwrap(),
        );
        let url = format!("{}/jira/acme{path}", self.simulator.url()).parse().unwrap();
        let answer = EgressClient::new(policy).unwrap().get(&url, headers).await.unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }
}
