//! Making and changing tasks.

use application::ports::{ItemWrite, Look, SourceErrorKind};
use domain::{ItemPatch, ListChange, NewComment, NewItem, Transition};

use super::*;

fn marker() -> String {
    format!("patchbay-{}", Uuid::now_v7().simple())
}

fn new_item(world: &AsanaWorkspace) -> NewItem {
    NewItem {
        project: world.projects[0].gid.clone(),
        title: "Order the cake".into(),
        body: Some("For **twelve** people.".into()),
        assignees: vec![world.users[1].name.clone()],
        labels: vec!["design".into()],
        priority: Some("High".into()),
        due_on: Some("2026-12-01".parse().unwrap()),
        section: Some("In progress".into()),
        fields: [("Story points".to_owned(), json!(3))].into(),
        ..NewItem::default()
    }
}

#[tokio::test]
async fn a_task_that_was_made_is_found_again_by_its_mark_and_by_no_other() {
    let (simulator, personal) = simulated().await;
    let app = app(connection(&simulator, json!({})));
    for connection in [&personal, &app] {
        let adapter = asana();
        let writer = adapter.writer().unwrap();
        let (new, marker) = (new_item(&world(&simulator)), marker());
        let write = ItemWrite::Create(new.clone());
        assert_eq!(writer.look(connection, &write, &marker).await.unwrap(), Look::Absent);
        let made = writer.create_item(connection, &new, &marker).await.unwrap();
        let world = world(&simulator);
        let task = &world.tasks[&made.key];
        assert_eq!((task.name.as_str(), task.due_on.as_deref()), ("Order the cake", Some("2026-12-01")));
        assert_eq!(task.assignee.as_ref(), Some(&world.users[1].gid));
        assert_eq!(
            task.memberships,
            [(world.projects[0].gid.clone(), world.projects[0].sections[1].0.clone())]
        );
        assert_eq!(task.tags.len(), 1);
        assert_eq!(task.fields.len(), 2);
        assert_eq!(task.external.is_some(), connection.credential.kind() == "oauth");
        let Look::Found(found) = writer.look(connection, &write, &marker).await.unwrap() else {
            panic!("not found")
        };
        assert_eq!(found["key"], made.key.as_str());
        assert_eq!(writer.look(connection, &write, &self::marker()).await.unwrap(), Look::Absent);
        let state = synced(connection).await;
        let body = &state.bodies[&made.key];
        assert!(
            !body.chars().any(|c| ('\u{200B}'..='\u{200D}').contains(&c)),
            "the mark is stored: {body:?}"
        );
    }
}

#[tokio::test]
async fn unknown_names_are_refused_before_anything_is_sent_with_what_may_be_meant() {
    let (simulator, connection) = simulated().await;
    let adapter = asana();
    let writer = adapter.writer().unwrap();
    let good = new_item(&world(&simulator));
    for (new, field, allowed) in [
        (NewItem { section: Some("In progres".into()), ..good.clone() }, "/section", "In progress"),
        (NewItem { labels: vec!["desing".into()], ..good.clone() }, "/labels", "design"),
        (NewItem { assignees: vec!["Jonas Webber".into()], ..good.clone() }, "/assignees/0", "Jonas Weber"),
        (NewItem { priority: Some("Hihg".into()), ..good.clone() }, "/priority", "High"),
        (
            NewItem { fields: [("Story point".to_owned(), json!(3))].into(), ..good.clone() },
            "/fields/Story point",
            "Story points",
        ),
        (NewItem { item_type: Some("mile stone".into()), ..good.clone() }, "/type", "milestone"),
        (NewItem { project: "Website relunch".into(), ..good.clone() }, "/project", "Website relaunch"),
    ] {
        let error = writer.create_item(&connection, &new, &marker()).await.unwrap_err();
        assert_eq!((error.kind, error.field.as_deref()), (SourceErrorKind::Rejected, Some(field)), "{error}");
        assert!(error.allowed.iter().any(|name| name == allowed), "{field}: {:?}", error.allowed);
    }
    let written = simulator.control().requests().iter().filter(|request| request.method != "GET").count();
    assert_eq!(written, 0);
}

#[tokio::test]
async fn an_edit_changes_what_was_asked_and_nothing_else() {
    let (simulator, connection) = simulated().await;
    let before = world(&simulator);
    let task =
        before.tasks.values().find(|task| task.memberships.len() == 1 && task.tags.len() == 1).unwrap();
    let adapter = asana();
    let writer = adapter.writer().unwrap();
    let add = before.tags.iter().find(|(gid, _)| !task.tags.contains(gid)).unwrap();
    let patch = ItemPatch {
        title: Some("A better name".into()),
        labels: Some(ListChange::Edit { add: vec![add.1.clone()], remove: vec![] }),
        due_on: Some(None),
        fields: [("Stage".to_owned(), json!("Done"))].into(),
        section: Some(Some("Shipped".into())),
        ..ItemPatch::default()
    };
    let written = writer.update_item(&connection, &task.gid, &patch, &marker()).await.unwrap();
    let after = world(&simulator).tasks[&task.gid].clone();
    assert_eq!((after.name.as_str(), after.due_on.clone()), ("A better name", None));
    assert_eq!(after.tags, [task.tags[0].clone(), add.0.clone()]);
    assert_eq!((after.assignee, after.html_notes), (task.assignee.clone(), task.html_notes.clone()));
    assert!(written.changed.iter().any(|change| change.field == "title" && change.to == "A better name"));
    assert!(written.warnings.is_empty(), "{:?}", written.warnings);
    let again = writer
        .look(&connection, &ItemWrite::Update(task.gid.clone(), patch.clone()), &marker())
        .await
        .unwrap();
    assert!(matches!(again, Look::Found(_)), "what is in place took place");
    simulator.control().reset_requests();
    let nothing = writer.update_item(&connection, &task.gid, &patch, &marker()).await.unwrap();
    assert!(nothing.changed.is_empty());
    assert!(simulator.control().requests().iter().all(|request| request.method == "GET"));
    let stale = ItemPatch {
        if_unchanged_since: chrono::DateTime::from_timestamp_millis(task.modified_at),
        title: Some("Too late".into()),
        ..ItemPatch::default()
    };
    let error = writer.update_item(&connection, &task.gid, &stale, &marker()).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Conflict);
    let error = writer.update_item(&connection, "123", &patch, &marker()).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::NotFound);
}

#[tokio::test]
async fn tasks_are_completed_reopened_and_moved_and_an_unreachable_status_is_named() {
    let (simulator, connection) = simulated().await;
    let before = world(&simulator);
    let task = before
        .tasks
        .values()
        .find(|task| task.memberships.len() == 1 && task.completed_at.is_none())
        .unwrap();
    let adapter = asana();
    let writer = adapter.writer().unwrap();
    let to = |to: &str| Transition { to: to.into(), ..Transition::default() };
    let go = async |transition: Transition| {
        writer.transition_item(&connection, &task.gid, &transition, &marker()).await
    };
    let done = go(Transition { comment: Some("Done at last.".into()), ..to("completed") }).await.unwrap();
    assert_eq!(done.changed[0].field, "status");
    assert!(done.comment_id.is_some());
    assert!(world(&simulator).tasks[&task.gid].completed_at.is_some());
    go(to("open")).await.unwrap();
    assert!(world(&simulator).tasks[&task.gid].completed_at.is_none());
    go(to("in review")).await.unwrap();
    let project = before.projects.iter().find(|project| project.gid == task.memberships[0].0).unwrap();
    assert_eq!(world(&simulator).tasks[&task.gid].memberships[0].1, project.sections[2].0);
    let error = go(to("In reviw")).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/to"));
    assert_eq!(error.allowed[0], "In review");
}

#[tokio::test]
async fn a_comment_is_found_again_by_its_mark() {
    let (simulator, connection) = simulated().await;
    let task = world(&simulator).tasks.keys().next().unwrap().clone();
    let adapter = asana();
    let writer = adapter.writer().unwrap();
    let (comment, marker) =
        (NewComment { body: "A *word*.".into(), internal: false, documents: false }, marker());
    let write = ItemWrite::Comment(task.clone(), comment.clone());
    assert_eq!(writer.look(&connection, &write, &marker).await.unwrap(), Look::Absent);
    let written = writer.add_comment(&connection, &task, &comment, &marker).await.unwrap();
    let Look::Found(found) = writer.look(&connection, &write, &marker).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(found["comment_id"], written.comment_id.clone().unwrap().as_str());
    let internal = NewComment { internal: true, ..comment };
    let error = writer.add_comment(&connection, &task, &internal, &marker).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unsupported);
}

#[tokio::test]
async fn a_task_outside_of_the_selected_projects_cannot_be_written() {
    let (simulator, _) = simulated().await;
    let world = world(&simulator);
    let connection = connection(&simulator, json!({"projects": [world.projects[0].gid]}));
    let outside = world
        .tasks
        .values()
        .find(|task| {
            !task.memberships.is_empty()
                && task.memberships.iter().all(|(project, _)| *project != world.projects[0].gid)
        })
        .unwrap();
    let adapter = asana();
    let writer = adapter.writer().unwrap();
    let patch = ItemPatch { title: Some("No".into()), ..ItemPatch::default() };
    let error = writer.update_item(&connection, &outside.gid, &patch, &marker()).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::NotFound);
}

/// Takes every mark out of the texts of a workspace, as an Asana would that does not keep such characters.
fn lose_marks(simulator: &Simulator, task: &str) {
    let unseen =
        |text: &str| text.chars().filter(|c| !('\u{200B}'..='\u{206F}').contains(c)).collect::<String>();
    let notes = unseen(&world(simulator).tasks[task].html_notes);
    simulator.control().set_asana_notes(task, notes).unwrap();
    simulator.control().edit_asana_stories(task, |text| unseen(text));
}

#[tokio::test]
async fn what_was_written_is_found_again_where_marks_do_not_survive() {
    let (simulator, connection) = simulated().await;
    let adapter = asana();
    let writer = adapter.writer().unwrap();
    let (new, create) = (new_item(&world(&simulator)), marker());
    let made = writer.create_item(&connection, &new, &create).await.unwrap();
    let comment = NewComment { body: "It **has** candles.".into(), internal: false, documents: false };
    let say = marker();
    writer.add_comment(&connection, &made.key, &comment, &say).await.unwrap();
    lose_marks(&simulator, &made.key);
    let found = writer.look(&connection, &ItemWrite::Create(new.clone()), &create).await.unwrap();
    assert!(matches!(&found, Look::Found(written) if written["key"] == made.key.as_str()), "{found:?}");
    let told = ItemWrite::Comment(made.key.clone(), comment);
    assert_eq!(writer.look(&connection, &told, &say).await.unwrap(), Look::Unsure, "it may be a person's");
    // Of the same name, and with another text: it may be somebody else's.
    let other = NewItem { body: Some("For nobody.".into()), ..new.clone() };
    let unsure = writer.look(&connection, &ItemWrite::Create(other), &marker()).await.unwrap();
    assert_eq!(unsure, Look::Unsure);
    let silent = ItemWrite::Comment(
        made.key.clone(),
        NewComment { body: "Another".into(), internal: false, documents: false },
    );
    assert_eq!(writer.look(&connection, &silent, &marker()).await.unwrap(), Look::Absent);
}

#[tokio::test]
async fn a_comment_of_the_same_words_by_somebody_else_does_not_stand_for_the_one_that_is_asked_for() {
    let (simulator, connection) = simulated().await;
    let before = world(&simulator);
    let task = before
        .tasks
        .values()
        .find(|task| task.memberships.len() == 1 && task.completed_at.is_none())
        .unwrap();
    let adapter = asana();
    let writer = adapter.writer().unwrap();
    let theirs = NewComment { body: "Done at last.".into(), internal: false, documents: false };
    writer.add_comment(&connection, &task.gid, &theirs, &marker()).await.unwrap();
    lose_marks(&simulator, &task.gid);
    let transition =
        Transition { to: "completed".into(), comment: Some(theirs.body), ..Transition::default() };
    let done = writer.transition_item(&connection, &task.gid, &transition, &marker()).await.unwrap();
    assert!(done.comment_id.is_some(), "nothing was said");
}
