//! Issues deleted as they were agreed to, and versions.

use application::ports::{ItemAddress, ItemWrite, Look, SourceErrorKind};
use domain::{
    ConfirmedDeletion, ItemDeletion, ItemMove, ItemPatch, NewItem, SeenItem, VersionWrite, WrittenItem,
};
use serde_json::{Value, json};
use simulator::{Deployment, FaultKind, FaultMatch, FaultRule, JiraLogin};

use super::{BOTH, Tracker, found, marker};

impl Tracker {
    async fn make_below(&self, parent: &str) -> String {
        let new = NewItem {
            project: "ENG".into(),
            item_type: Some("Sub-task".into()),
            title: "A part of it".into(),
            parent: Some(parent.to_owned()),
            ..NewItem::default()
        };
        self.writer().create_item(&self.connection, &new, &marker()).await.unwrap().key
    }

    async fn told(&self, write: &ItemWrite) -> WrittenItem {
        self.writer().rehearse(&self.connection, write).await.unwrap()
    }

    /// What somebody agrees to who is told what would go.
    async fn agreed(&self, key: &str, with_subtasks: bool) -> ItemDeletion {
        let rehearsal = ItemDeletion { with_subtasks, confirmed: None };
        let told = self.told(&ItemWrite::Delete(key.to_owned(), rehearsal)).await;
        let subtasks = value(&told, "subtasks");
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let seen = |row| SeenItem { source_id: text(row, "id"), key: text(row, "key") };
        let confirmed = ConfirmedDeletion {
            item: SeenItem { source_id: told.source_id, key: told.key },
            seen: told.updated_at.expect("when it was changed"),
            subtasks: subtasks.as_array().into_iter().flatten().map(seen).collect(),
        };
        ItemDeletion { with_subtasks, confirmed: Some(confirmed) }
    }

    fn keys(&self) -> Vec<String> {
        self.simulator.control().with_jira("acme", |site| site.issue_keys()).unwrap()
    }

    fn lose_answer_of(&self, method: &str, path: &str) {
        let matching = FaultMatch {
            method: Some(method.into()),
            path_contains: Some(path.into()),
            ..FaultMatch::default()
        };
        self.simulator.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
    }
}

fn value(told: &WrittenItem, field: &str) -> Value {
    told.changed.iter().find(|one| one.field == field).map(|one| one.from.clone()).unwrap_or_default()
}

#[tokio::test]
async fn an_issue_is_deleted_as_somebody_agreed_to_it_with_its_subtasks_and_never_otherwise() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let (writer, connection) = (tracker.writer(), &tracker.connection);
        let key = tracker.make("Old").await;
        let below = tracker.make_below(&key).await;
        tracker.say(&key, "Still needed?").await;

        let alone = ItemWrite::Delete(key.clone(), ItemDeletion::default());
        let error = writer.rehearse(connection, &alone).await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/delete_subtasks"), "{deployment:?}: {error:?}");
        assert!(error.message.contains(&below), "{error:?}");
        let all = ItemDeletion { with_subtasks: true, confirmed: None };
        let told = tracker.told(&ItemWrite::Delete(key.clone(), all.clone())).await;
        assert_eq!(value(&told, "issue"), json!({"key": key, "summary": "Old"}), "{deployment:?}");
        assert_eq!(value(&told, "subtasks")[0]["key"], below.as_str(), "{deployment:?}: {told:?}");
        assert_eq!(value(&told, "comment"), 1, "{deployment:?}: {told:?}");

        // Nobody agreed; it was changed since; another subtask came; it is another issue.
        let changed = tracker.agreed(&key, true).await;
        let patch = ItemPatch { title: Some("Old, but changed".into()), ..ItemPatch::default() };
        writer.update_item(connection, &key, &patch, &marker()).await.unwrap();
        let more = tracker.make_below(&key).await;
        let mut fewer = tracker.agreed(&key, true).await;
        if let Some(confirmed) = &mut fewer.confirmed {
            confirmed.subtasks.pop();
        }
        let sent = tracker.changes().len();
        for (what, deletion) in
            [("nobody agreed", &all), ("it was changed", &changed), ("fewer subtasks", &fewer)]
        {
            let error = writer.delete_item(connection, &key, deletion).await.unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Conflict, "{deployment:?}: {what}: {error:?}");
        }
        assert_eq!(tracker.changes().len(), sent, "{deployment:?}: something was sent");
        assert!(tracker.keys().contains(&key));

        // Its answer gets lost: it is found to be gone.
        let agreed = tracker.agreed(&key, true).await;
        let write = ItemWrite::Delete(key.clone(), agreed.clone());
        assert_eq!(tracker.look(write.clone(), &marker()).await, Look::Absent, "{deployment:?}");
        tracker.lose_answer_of("DELETE", "/issue/");
        let error = writer.delete_item(connection, &key, &agreed).await.unwrap_err();
        assert!(error.kind.is_transient(), "{deployment:?}: {error:?}");
        let told = found(tracker.look(write, &marker()).await);
        let id = agreed.confirmed.as_ref().map(|confirmed| confirmed.item.source_id.clone()).unwrap();
        assert_eq!((&told["key"], &told["source_id"]), (&json!(key), &json!(id)), "{deployment:?}");
        let left = tracker.keys();
        assert!([&key, &below, &more].iter().all(|key| !left.contains(key)), "{deployment:?}: {left:?}");
        let again = writer.delete_item(connection, &key, &agreed).await.unwrap_err();
        assert_eq!(again.kind, SourceErrorKind::NotFound, "{deployment:?}: {again:?}");

        // What is read afterwards proves it.
        let address =
            ItemAddress { source_id: Some(id.clone()), key: Some(key.clone()), ..ItemAddress::default() };
        let read = tracker.adapter.fetch_items(connection, &[address]).await.unwrap();
        assert_eq!(read.records.gone.first().map(|gone| gone.item_ref_key.as_str()), Some(id.as_str()));
    }
}

#[tokio::test]
async fn an_issue_outside_of_the_instances_projects_is_not_deleted() {
    for deployment in BOTH {
        let mut tracker = Tracker::start(deployment).await;
        let key = tracker.make("Stays").await;
        let agreed = tracker.agreed(&key, false).await;
        tracker.connection.settings = json!({"projects": ["OPS"]});
        let error = tracker.writer().delete_item(&tracker.connection, &key, &agreed).await.unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::NotFound, "{deployment:?}: {error:?}");
        let version = VersionWrite {
            project: "ENG".into(),
            name: "9.0".into(),
            create: true,
            ..VersionWrite::default()
        };
        let error = tracker.writer().write_version(&tracker.connection, &version).await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/project"), "{deployment:?}: {error:?}");
        assert!(tracker.keys().contains(&key));
    }
}

#[tokio::test]
async fn a_version_is_made_once_and_changed_by_its_name() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let (writer, connection) = (tracker.writer(), &tracker.connection);
        let new = VersionWrite {
            project: "ENG".into(),
            name: "4.0".into(),
            create: true,
            description: Some("The next one".into()),
            start: Some("2026-12-01".parse().unwrap()),
            release: Some("2027-01-31".parse().unwrap()),
            ..VersionWrite::default()
        };
        let write = ItemWrite::Version(new.clone());
        assert_eq!(tracker.look(write.clone(), &marker()).await, Look::Absent, "{deployment:?}");
        let before = tracker.changes().len();
        let told = tracker.told(&write).await;
        assert_eq!(tracker.changes().len(), before, "{deployment:?}: a rehearsal made it");
        tracker.lose_answer_of("POST", "/version");
        let error = writer.write_version(connection, &new).await.unwrap_err();
        assert!(error.kind.is_transient(), "{deployment:?}: {error:?}");
        let made = found(tracker.look(write, &marker()).await);
        let id = made["source_id"].as_str().unwrap().to_owned();
        assert!(!id.is_empty() && told.changed.len() == 4, "{deployment:?}: {made} {told:?}");
        let error = writer.write_version(connection, &new).await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/name"), "{deployment:?}: {error:?}");

        let change = |change: fn(&mut VersionWrite)| {
            let mut asked =
                VersionWrite { project: "ENG".into(), name: "4.0".into(), ..VersionWrite::default() };
            change(&mut asked);
            asked
        };
        let release = change(|asked| asked.released = Some(true));
        let write = ItemWrite::Version(release.clone());
        assert_eq!(tracker.look(write.clone(), &marker()).await, Look::Absent, "{deployment:?}");
        let released = writer.write_version(connection, &release).await.unwrap();
        let changed: Vec<_> =
            released.changed.iter().map(|one| (one.field.as_str(), &one.from, &one.to)).collect();
        assert_eq!(changed, [("released", &json!(false), &json!(true))], "{deployment:?}");
        assert_eq!(found(tracker.look(write, &marker()).await)["source_id"], id.as_str());
        let sent = tracker.changes().len();
        let again = writer.write_version(connection, &release).await.unwrap();
        assert!(again.changed.is_empty() && again.warnings.len() == 1, "{deployment:?}: {again:?}");
        assert_eq!(tracker.changes().len(), sent, "{deployment:?}: it was sent again");

        let rename = change(|asked| {
            asked.rename_to = Some("4.0 LTS".into());
            asked.released = Some(false);
            asked.archived = Some(true);
            asked.description = Some(String::new());
        });
        let renamed = writer.write_version(connection, &rename).await.unwrap();
        assert_eq!(renamed.source_id, id, "{deployment:?}");
        let fields: Vec<_> = renamed.changed.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["name", "description", "released", "archived"], "{deployment:?}");
        assert_eq!(
            found(tracker.look(ItemWrite::Version(rename), &marker()).await)["source_id"],
            id.as_str()
        );

        let unknown = writer.write_version(connection, &release).await.unwrap_err();
        assert_eq!(unknown.field.as_deref(), Some("/name"), "{deployment:?}: {unknown:?}");
        assert!(unknown.allowed.contains(&"4.0 LTS".to_owned()), "{deployment:?}: {unknown:?}");
        let taken = change(|asked| {
            asked.name = "4.0 LTS".into();
            asked.rename_to = Some("3.0".into());
        });
        let error = writer.write_version(connection, &taken).await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/rename_to"), "{deployment:?}: {error:?}");
        // What Jira itself refuses is told where it stands.
        let backwards = VersionWrite {
            name: "4.0 LTS".into(),
            release: Some("2020-01-01".parse().unwrap()),
            ..change(|_| ())
        };
        let error = writer.write_version(connection, &backwards).await.unwrap_err();
        assert_eq!((error.kind, error.field.as_deref()), (SourceErrorKind::Rejected, Some("/start_date")));
    }
}

#[tokio::test]
async fn an_issue_is_moved_by_a_task_of_clouds_and_found_where_it_is_then() {
    let mut tracker = Tracker::start(Deployment::Cloud).await;
    // Another site, with two projects.
    let site = simulator::generate::jira("two", Deployment::Cloud, &[("ENG", 3, 5), ("OPS", 4, 5)]);
    let login = JiraLogin::new(Some("ann@example.com"), "t0ken");
    tracker.simulator.control().add_jira(site.with_login(login)).unwrap();
    tracker.connection.base_url = format!("{}/jira/two", tracker.simulator.url()).parse().unwrap();
    tracker.connection.settings = json!({"projects": ["ENG", "OPS"]});
    let (writer, connection) = (tracker.writer(), &tracker.connection);
    let key = tracker.make("In the wrong place").await;
    let below = tracker.make_below(&key).await;
    let to = ItemMove { project: "OPS".into(), item_type: Some("bug".into()) };
    let write = ItemWrite::Move(key.clone(), to.clone());
    assert_eq!(tracker.look(write.clone(), &marker()).await, Look::Absent);
    let sent = tracker.changes().len();
    let told = tracker.told(&write).await;
    assert_eq!(tracker.changes().len(), sent, "a rehearsal moved it");
    let fields = |told: &WrittenItem| -> Vec<_> {
        told.changed.iter().map(|one| (one.field.clone(), one.to.clone())).collect()
    };
    assert_eq!(fields(&told), [("project".into(), json!("OPS")), ("type".into(), json!("Bug"))]);
    assert!(told.warnings.iter().any(|warning| warning.contains(&below)), "{told:?}");

    let moved = writer.move_item(connection, &key, &to).await.unwrap();
    assert!(moved.key.starts_with("OPS-"), "{moved:?}");
    assert!(fields(&moved).contains(&("key".into(), json!(moved.key))), "{moved:?}");
    let same = found(tracker.look(write, &marker()).await);
    assert_eq!((&same["key"], &same["source_id"]), (&json!(moved.key), &json!(moved.source_id)));
    let sent = tracker.changes().len();
    let again = writer.move_item(connection, &key, &to).await.unwrap();
    assert_eq!((again.warnings.len(), tracker.changes().len()), (1, sent), "{again:?}");

    let refused = async |key: &str, to: ItemMove| writer.move_item(connection, key, &to).await.unwrap_err();
    let unknown = ItemMove { project: "ENG".into(), item_type: Some("Buk".into()) };
    let error = refused(&moved.key, unknown).await;
    assert_eq!(error.field.as_deref(), Some("/issue_type"), "{error:?}");
    assert!(error.allowed.contains(&"Bug".to_owned()), "{error:?}");
    let elsewhere = ItemMove { project: "HR".into(), item_type: None };
    assert_eq!(refused(&moved.key, elsewhere).await.field.as_deref(), Some("/project"));
    let other = tracker.make("A parent").await;
    let part = tracker.make_below(&other).await;
    let to_ops = ItemMove { project: "OPS".into(), item_type: None };
    assert_eq!(refused(&part, to_ops.clone()).await.field.as_deref(), Some("/key"));
    assert_eq!(tracker.changes().len(), sent + 2, "something was sent");

    // An answer that gets lost.
    tracker.lose_answer_of("POST", "/bulk/issues/move");
    let error = writer.move_item(connection, &other, &to_ops).await.unwrap_err();
    assert!(error.kind.is_transient(), "{error:?}");
    let told = found(tracker.look(ItemWrite::Move(other, to_ops), &marker()).await);
    assert!(told["key"].as_str().is_some_and(|key| key.starts_with("OPS-")), "{told}");
}

#[tokio::test]
async fn data_center_is_said_to_have_no_way_to_move_an_issue() {
    let tracker = Tracker::start(Deployment::DataCenter).await;
    let key = tracker.make("Stays").await;
    let sent = tracker.changes().len();
    let to = ItemMove { project: "ENG".into(), item_type: None };
    let error = tracker.writer().move_item(&tracker.connection, &key, &to).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unsupported, "{error:?}");
    assert!(error.message.contains("have a person move it"), "{error:?}");
    assert_eq!(tracker.changes().len(), sent);
}
