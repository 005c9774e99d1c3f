//! Passes over everything, and over what changed.

use std::collections::BTreeSet;

use application::ports::{ItemAddress, ProjectRef, RawObject};
use domain::{Cursor, FieldRole, StatusNorm, StreamName};

use super::*;

#[tokio::test]
async fn a_full_run_ends_as_the_workspace_is() {
    let (simulator, connection) = simulated().await;
    let state = synced(&connection).await;
    let world = world(&simulator);
    state.assert_is(&world);
    assert!(world.tasks.values().any(|task| task.memberships.len() > 1), "no task is in two projects");
    let nested =
        |gid: &String| world.tasks[gid].parent.as_ref().is_some_and(|up| world.tasks[up].parent.is_some());
    assert!(world.tasks.keys().any(nested), "no subtask has a subtask");
    assert_eq!(state.projects.len(), world.projects.len());
    assert_eq!(state.fields.len(), world.fields.len());
    assert!(state.users > 0 && state.unmapped.is_empty() && state.gone.is_empty());
    let every_list_is_limited = simulator.control().requests().iter().all(|request| {
        let list = request.path_and_query.contains("/tasks?") || request.path_and_query.contains("/stories?");
        !list || request.path_and_query.contains("limit=100")
    });
    assert!(every_list_is_limited);
}

#[tokio::test]
async fn what_changes_is_read_again_and_a_subtask_by_the_events_of_its_project() {
    let (simulator, connection) = simulated().await;
    let mut state = synced(&connection).await;
    let (control, before) = (simulator.control(), world(&simulator));
    let user = before.users[0].gid.clone();
    let part = subtask(&before);
    control.rename_asana(&part, "A part with a new name").unwrap();
    let tops: Vec<&String> =
        before.tasks.values().filter(|task| task.parent.is_none()).map(|task| &task.gid).collect();
    // One that is open: completing it again would change nothing.
    let open = tops[4..].iter().find(|gid| before.tasks[**gid].completed_at.is_none()).unwrap();
    control.complete_asana(open, &user);
    control.comment_asana(tops[1], &user, "One more word.");
    control.delete_asana(tops[2]).unwrap();
    let section = before.projects[1].sections[2].0.clone();
    control.move_asana(tops[3], &section, &user).unwrap();
    let single = before.tasks.values().find(|task| task.memberships.len() == 1 && task.gid > **open).unwrap();
    control.remove_asana(&single.gid, &single.memberships[0].0).unwrap();
    control.reset_requests();
    state.sync(&connection, true).await.unwrap();
    state.assert_is(&world(&simulator));
    assert_eq!(state.gone.get(tops[2]), Some(&"deleted"));
    assert_eq!(state.gone.get(&single.gid), Some(&"transferred"));
    let asked = control.stats().requests;
    // Subtasks of what left are looked at one by one.
    assert!(asked < 70, "{asked} requests for six changes");
}

#[tokio::test]
async fn a_token_that_expired_is_followed_by_a_pass_that_loses_no_subtask() {
    let (simulator, connection) = simulated().await;
    let mut state = synced(&connection).await;
    let part = subtask(&world(&simulator));
    simulator.control().rename_asana(&part, "Changed while nobody listened").unwrap();
    simulator.control().expire_asana_tokens();
    simulator.control().reset_requests();
    state.sync(&connection, true).await.unwrap();
    state.assert_is(&world(&simulator));
    let asked = simulator.control().requests();
    let first = |text: &str| asked.iter().position(|request| request.path_and_query.contains(text));
    assert!(asked.iter().any(|request| request.status == 412));
    assert!(first("/events?") < first("modified_since="), "the token is taken before anything is read");
    simulator.control().rename_asana(&part, "And once more").unwrap();
    simulator.control().reset_requests();
    state.sync(&connection, true).await.unwrap();
    state.assert_is(&world(&simulator));
    assert!(
        simulator.control().requests().iter().all(|request| request.status != 412),
        "the new token holds"
    );
}

#[tokio::test]
async fn only_the_selected_projects_are_read() {
    let (simulator, _) = simulated().await;
    let world = world(&simulator);
    let second = world.projects[1].gid.clone();
    let connection = connection(&simulator, json!({"projects": [second]}));
    let state = synced(&connection).await;
    let expected =
        world.tasks.values().filter(|task| task.memberships.iter().any(|(project, _)| *project == second));
    assert!(state.items.values().all(|item| item.project == second));
    assert_eq!(state.items.values().filter(|item| item.parent.is_none()).count(), expected.count());
}

#[tokio::test]
async fn the_list_of_ids_holds_every_task_of_a_project_and_no_other() {
    let (_simulator, connection) = simulated().await;
    let state = synced(&connection).await;
    for gid in &state.projects {
        let project = ProjectRef { source_id: gid.clone(), key: gid.clone() };
        let (mut ids, mut cursor) = (BTreeSet::new(), None::<Cursor>);
        loop {
            let page = asana().list_ids(&connection, &project, cursor.as_ref()).await.unwrap();
            for id in page.ids {
                assert_eq!(id.updated_at.unwrap().timestamp_millis(), state.items[&id.source_id].updated_at);
                ids.insert(id.source_id);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let stored: BTreeSet<String> =
            state.items.iter().filter(|(_, item)| item.project == *gid).map(|(gid, _)| gid.clone()).collect();
        assert_eq!(ids, stored);
    }
}

#[tokio::test]
async fn tasks_read_by_themselves_are_complete_or_proved_gone_or_told_to_be_hidden() {
    let (simulator, connection) = simulated().await;
    let before = world(&simulator);
    let part = subtask(&before);
    let tops: Vec<_> = before.tasks.values().filter(|task| task.memberships.len() == 1).collect();
    let (gone, hidden) = (tops[0], tops.iter().find(|task| task.memberships != tops[0].memberships).unwrap());
    simulator.control().delete_asana(&gone.gid).unwrap();
    simulator.control().hide_asana(&hidden.memberships[0].0, true);
    let seen = before
        .tasks
        .values()
        .find(|task| {
            !task.memberships.is_empty()
                && task.memberships[0] != hidden.memberships[0]
                && task.memberships[0].0 != hidden.memberships[0].0
                && task.gid != gone.gid
        })
        .unwrap();
    let address = |gid: &str| ItemAddress { source_id: Some(gid.to_owned()), ..ItemAddress::default() };
    let wanted = [address(&seen.gid), address(&gone.gid), address(&hidden.gid), address("not a gid")];
    let fetched = asana().fetch_items(&connection, &wanted).await.unwrap();
    assert_eq!(fetched.records.items.len(), 1);
    assert_eq!(fetched.records.gone[0].item_ref_key, gone.gid);
    assert!(fetched.records.gone[0].proof.contains("404"));
    assert_eq!(fetched.invisible.len(), 2, "{:?}", fetched.invisible);
    assert_eq!(fetched.records.details_done, std::slice::from_ref(&seen.gid));
    simulator.control().hide_asana(&hidden.memberships[0].0, false);
    let fetched = asana().fetch_items(&connection, &[address(&part)]).await.unwrap();
    let item = &fetched.records.items[0];
    assert_eq!(item.parent_ref_key, before.tasks[&part].parent);
    assert!(before.projects.iter().any(|project| project.gid == item.project_source_id));
}

#[tokio::test]
async fn kept_objects_are_mapped_anew_without_a_request() {
    let (simulator, connection) = simulated().await;
    let state = synced(&connection).await;
    let world = world(&simulator);
    let addresses: Vec<ItemAddress> = world
        .tasks
        .keys()
        .take(100)
        .map(|gid| ItemAddress { source_id: Some(gid.clone()), ..ItemAddress::default() })
        .collect();
    let fetched = asana().fetch_items(&connection, &addresses).await.unwrap();
    let kept: Vec<RawObject> = fetched
        .records
        .items
        .iter()
        .map(|item| RawObject {
            stream: StreamName::new("tasks"),
            source_id: item.source_id.clone(),
            payload: item.raw.clone(),
        })
        .collect();
    let field = |name: &str| world.fields.iter().find(|field| field.name == name).unwrap().gid.clone();
    let mappings = Mappings {
        status: [("In review".to_owned(), StatusNorm::InProgress)].into(),
        fields: [(field("Story points"), FieldRole::StoryPoints)].into(),
        ..Mappings::default()
    };
    connection.take_requests();
    let mapped = asana().map_raw(&connection.settings, &mappings, &kept);
    assert_eq!(connection.take_requests(), 0);
    assert_eq!(mapped.items.len(), kept.len());
    for item in &mapped.items {
        let stored = &state.items[&item.ref_key];
        assert_eq!((&item.project_source_id, &item.parent_ref_key), (&stored.project, &stored.parent));
        assert_eq!(item.reporter.as_ref().unwrap().name, stored.reporter);
        let points = world.tasks[&item.ref_key].fields.get(&field("Story points")).and_then(Value::as_f64);
        assert_eq!(item.story_points, points);
    }
    assert!(mapped.items.iter().any(|item| item.status_original == "In review"));
}

#[tokio::test]
async fn a_connection_test_tells_account_projects_and_what_it_will_take() {
    let (simulator, connection) = simulated().await;
    let world = world(&simulator);
    let report = asana().test_connection(&connection).await.unwrap();
    assert_eq!(report.account, "Aiko Tanabe");
    assert_eq!(report.project_count, i64::try_from(world.projects.len()).unwrap());
    let listed: usize = world.projects.iter().map(|project| project.tasks.len()).sum();
    assert_eq!(report.estimated_items, Some(i64::try_from(listed).unwrap()));
    assert!(report.problems.is_empty() && report.estimated_requests.unwrap() > 0);
    let wrong = super::connection(&simulator, json!({"projects": [world.projects[0].gid, "99"]}));
    let report = asana().test_connection(&wrong).await.unwrap();
    assert!(report.problems.len() == 1 && report.problems[0].contains("99"), "{:?}", report.problems);
    let error = asana().list_projects(&wrong).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/settings/projects/1"));
    simulator.control().revoke(TOKEN);
    let error = asana().test_connection(&connection).await.unwrap_err();
    assert_eq!(error.kind, application::ports::SourceErrorKind::Unauthorized);
    assert!(!format!("{error:?}").contains(TOKEN));
}
