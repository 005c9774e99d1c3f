//! What goes wrong on the way.

use std::time::Duration;

use application::ports::SourceErrorKind;

use super::*;

#[tokio::test]
async fn rows_that_change_empty_pages_and_expired_positions_lose_nothing() {
    let (simulator, connection) = simulated().await;
    let before = world(&simulator);
    let busiest = before.projects.iter().max_by_key(|project| project.tasks.len()).unwrap();
    assert!(busiest.tasks.len() > 100, "one page holds the project");
    let moved = busiest.tasks.iter().take(20).map(|gid| gid.parse().unwrap()).collect();
    let list = format!("/tasks?project={}", busiest.gid);
    fault(&simulator, &list, 2, FaultKind::RowsMove { repository: busiest.gid.clone(), numbers: moved });
    fault(&simulator, "/tasks?project=", 1, FaultKind::EmptyPageInMiddle);
    fault(&simulator, &list, 2, FaultKind::ExpiredPageToken);
    let mut state = synced(&connection).await;
    // What changed after its page was read is told by the next pass.
    state.sync(&connection, true).await.unwrap();
    state.assert_is(&world(&simulator));
}

#[tokio::test]
async fn a_position_that_is_handed_out_again_ends_in_an_error() {
    let (simulator, connection) = simulated().await;
    fault(&simulator, "&offset=", 1, FaultKind::RepeatedPageToken);
    let error = State::default().sync(&connection, false).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Malformed, "{error}");
}

#[tokio::test]
async fn a_limit_tells_its_wait_and_is_kept() {
    let (simulator, connection) = simulated().await;
    let limit = FaultKind::RateLimited { retry_after_s: 30, as_http_date: false, omit_header: false };
    fault(&simulator, "/tasks?", 2, limit);
    let error = State::default().sync(&connection, false).await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry_after),
        (SourceErrorKind::RateLimited, Some(Duration::from_secs(30)))
    );
    assert_eq!(simulator.control().stats().violations, 0);
}

#[tokio::test]
async fn broken_answers_are_transient_and_the_same_run_works_again() {
    for kind in [
        FaultKind::TruncatedBody,
        FaultKind::Reset,
        FaultKind::ServerError { status: 500 },
        FaultKind::ServerError { status: 503 },
        FaultKind::ServerError { status: 424 },
    ] {
        let (simulator, connection) = simulated().await;
        fault(&simulator, "/subtasks?", 3, kind.clone());
        let error = State::default().sync(&connection, false).await.unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Unavailable, "{kind:?}: {error}");
    }
}

#[tokio::test]
async fn a_project_that_is_hidden_amid_a_run_fails_and_deletes_nothing() {
    let (simulator, connection) = simulated().await;
    let mut state = synced(&connection).await;
    let count = state.items.len();
    let project = world(&simulator).projects[0].gid.clone();
    fault(&simulator, &format!("/projects/{project}/custom_field"), 1, FaultKind::ProjectHidden { project });
    let error = state.sync(&connection, true).await.unwrap_err();
    assert_eq!((error.kind, error.upstream_status), (SourceErrorKind::Forbidden, Some(403)));
    assert!(state.gone.is_empty());
    assert_eq!(state.items.len(), count);
}

#[tokio::test]
async fn a_deletion_is_believed_only_when_the_task_answers_so() {
    let (simulator, connection) = simulated().await;
    let mut state = synced(&connection).await;
    let task = world(&simulator).tasks.values().find(|task| !task.memberships.is_empty()).unwrap().clone();
    simulator.control().touch_asana(&task.gid);
    // Neither its list nor its own answer shows it to this token.
    fault(&simulator, "modified_since", 1, FaultKind::EmptyList);
    let hidden = FaultMatch {
        path_contains: Some(format!("/tasks/{}", task.gid)),
        times: Some(10),
        ..FaultMatch::default()
    };
    let kind = FaultKind::PermissionLost { status: 403 };
    simulator.control().add_fault(FaultRule { matching: hidden, kind });
    state.sync(&connection, true).await.unwrap();
    assert!(state.gone.is_empty() && state.items.contains_key(&task.gid));
}

#[tokio::test]
async fn a_task_that_cannot_be_mapped_is_told_and_the_rest_is_read() {
    let (simulator, connection) = simulated().await;
    let world = world(&simulator);
    let task = world.tasks.values().find(|task| task.memberships.len() == 1).unwrap();
    let kind = FaultKind::UnmappableItem { repository: String::new(), number: task.gid.parse().unwrap() };
    simulator.control().add_fault(FaultRule { matching: FaultMatch::default(), kind });
    let state = synced(&connection).await;
    assert_eq!(state.items.len(), world.tasks.len() - 1);
    assert_eq!(state.unmapped[0].0, task.gid);
    assert!(!state.unmapped[0].1.contains(" at line "), "{}", state.unmapped[0].1);
}

#[tokio::test]
async fn null_characters_and_a_text_of_four_megabytes_come_through() {
    let (simulator, connection) = simulated().await;
    let before = world(&simulator);
    let tasks: Vec<_> = before.tasks.values().filter(|task| task.memberships.len() == 1).take(2).collect();
    let text = "long ".repeat(800_000);
    simulator.control().set_asana_notes(&tasks[0].gid, format!("<body>{text}</body>")).unwrap();
    let kind = FaultKind::NullCharacter { repository: String::new(), number: tasks[1].gid.parse().unwrap() };
    simulator.control().add_fault(FaultRule { matching: FaultMatch::default(), kind });
    let state = synced(&connection).await;
    state.assert_is(&world(&simulator));
    assert!(state.bodies[&tasks[0].gid].len() >= 3_999_990, "{}", state.bodies[&tasks[0].gid].len());
    let body = &state.bodies[&tasks[1].gid];
    assert!(body.contains("zero \u{FFFD} here") && !body.contains('\0'), "{body}");
}

#[tokio::test]
async fn a_free_workspace_has_no_custom_fields_and_is_read_all_the_same() {
    let (simulator, _) = simulated().await;
    let mut free = asana_workspace("Free", 9, 30);
    free.free = true;
    let (gid, projects) = (free.gid.clone(), free.projects.clone());
    simulator.control().add_asana(free);
    let connection = connection(&simulator, json!({"workspaces": [gid]}));
    let state = synced(&connection).await;
    assert_eq!(state.projects.len(), projects.len());
    assert!(state.fields.is_empty() && !state.items.is_empty());
}
