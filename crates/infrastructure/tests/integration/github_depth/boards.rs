//! Projects (v2) and what a connection test says of permissions.

use application::ports::{Page, PageRequest};
use domain::{Cursor, SprintState, StreamName};

use super::*;

async fn page(connection: &Connection, cursor: Option<&Cursor>) -> Result<Page, SourceError> {
    let stream = StreamName::new("boards");
    let request =
        PageRequest { stream: &stream, project: None, items: &[], cursor, since: None, validator: None };
    github().fetch_page(connection, request).await
}

#[tokio::test]
async fn iterations_of_the_selected_projects_are_read_to_the_end() {
    let (simulator, _) = simulated().await;
    let settings = json!({"projects": ["acme/1", "umbrella/1"]});
    let connection = connection(&simulator.url(), token(TOKEN), settings.clone());
    let names: Vec<String> = github().streams(&settings).iter().map(|spec| spec.name.to_string()).collect();
    assert_eq!(names.last().map(String::as_str), Some("boards"));
    assert!(github().streams(&json!({})).iter().all(|spec| spec.name.as_str() != "boards"));
    let (mut records, mut cursor, mut pages) = (domain::PageRecords::default(), None, 0);
    loop {
        let page = page(&connection, cursor.as_ref()).await.unwrap();
        records.append(page.records);
        pages += 1;
        let Some(next) = page.next else { break };
        cursor = Some(next);
    }
    assert_eq!(pages, 2);
    assert_eq!(records.boards.len(), 2);
    let states: Vec<SprintState> = records.sprints.iter().take(3).map(|sprint| sprint.state).collect();
    assert_eq!(states, [SprintState::Active, SprintState::Future, SprintState::Closed]);
    assert_eq!(records.sprint_memberships_of.len(), 50);
    let quarter = records
        .sprint_memberships_of
        .iter()
        .filter(|key| key.rsplit_once('#').unwrap().1.parse::<u64>().unwrap() % 4 == 0);
    assert_eq!(records.sprint_memberships.len(), 50 - quarter.count());
}

#[tokio::test]
async fn refusals_that_come_with_status_200_are_noticed() {
    let (simulator, _) = simulated().await;
    let connection = connection(&simulator.url(), token(TOKEN), json!({"projects": ["acme/9"]}));
    assert_eq!(page(&connection, None).await.unwrap_err().kind, SourceErrorKind::NotFound);
    simulator.control().allow_push(TOKEN, false);
    let error = page(&connection, None).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Forbidden);
    assert!(error.message.contains("read:project"), "{error}");
}

#[tokio::test]
async fn a_connection_test_tells_what_is_there_and_what_is_missing() {
    let (simulator, connection) = simulated().await;
    let report = github().test_connection(&connection).await.unwrap();
    assert_eq!((report.account.as_str(), report.project_count), ("ann", 2));
    assert_eq!(report.projects[0].items, Some(40));
    assert_eq!(report.estimated_items, Some(45));
    assert!(report.missing.is_empty(), "{:?}", report.missing);
    simulator.control().allow_push(TOKEN, false);
    let report = github().test_connection(&connection).await.unwrap();
    assert_eq!(report.missing.len(), 2);
    assert!(report.missing[0].scope.contains("push access"), "{:?}", report.missing);
}
