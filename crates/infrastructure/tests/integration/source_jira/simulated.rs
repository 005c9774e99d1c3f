//! Both dialects against the simulator, which refuses what Atlassian's descriptions refuse.

use std::collections::BTreeSet;

use simulator::{Deployment, JiraLogin, JiraSite, Simulator, SimulatorConfig};

use super::*;

async fn simulated(site: JiraSite) -> (Simulator, Connection) {
    let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let name = site.name().to_owned();
    simulator.control().add_jira(site.with_login(JiraLogin::new(Some("ann@example.com"), "t"))).unwrap();
    let connection = connection(&format!("{}/jira/{name}", simulator.url()), json!({}));
    (simulator, connection)
}

async fn is_read_exactly(site: JiraSite) -> PageRecords {
    let keys: BTreeSet<String> = site.issue_keys().into_iter().collect();
    let (comments, worklogs, histories) = (site.comment_count(), site.worklog_count(), site.history_count());
    let sprints = site.sprint_count();
    let (_simulator, connection) = simulated(site).await;
    let all = backfill(jira().as_ref(), &connection).await;
    assert!(all.unmapped.is_empty(), "{:?}", all.unmapped.first());
    let read: BTreeSet<String> = all.items.iter().map(|item| item.source_key.clone()).collect();
    assert_eq!(read, keys);
    let distinct = |ids: Vec<&str>| ids.into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(all.comments.iter().map(|row| row.source_id.as_str()).collect()), comments);
    assert_eq!(distinct(all.worklogs.iter().map(|row| row.source_id.as_str()).collect()), worklogs);
    let changed = all.changes.iter().map(|row| row.source_id.as_str());
    let ids = changed.chain(all.transitions.iter().map(|row| row.source_id.as_str()));
    assert_eq!(distinct(ids.filter_map(|id| id.split(':').next()).collect()), histories);
    assert!(distinct(all.sprints.iter().map(|row| row.source_id.as_str()).collect()) >= sprints);
    all
}

#[tokio::test]
async fn a_generated_cloud_site_is_read_exactly() {
    let all = is_read_exactly(simulator::generate::jira(
        "acme",
        Deployment::Cloud,
        &[("ENG", 7, 230), ("OPS", 8, 40)],
    ))
    .await;
    assert!(all.items.iter().any(|item| item.story_points.is_some()));
    assert!(all.items.iter().any(|item| item.parent_ref_key.is_some()));
    assert!(all.sprint_memberships.iter().any(|stay| stay.from_history));
    assert!(!all.custom_fields.is_empty());
}

#[tokio::test]
async fn a_generated_data_center_is_read_exactly() {
    let all =
        is_read_exactly(simulator::generate::jira("acme", Deployment::DataCenter, &[("ENG", 7, 230)])).await;
    assert!(all.items.iter().any(|item| item.story_points.is_some()));
    assert!(all.items.iter().any(|item| item.parent_ref_key.is_some()));
    assert!(!all.sprint_memberships.is_empty());
}

#[tokio::test]
async fn a_backfill_takes_few_requests() {
    let site = simulator::generate::jira("acme", Deployment::Cloud, &[("ENG", 7, 1_000)]);
    let (_simulator, connection) = simulated(site).await;
    let all = backfill(jira().as_ref(), &connection).await;
    assert_eq!(all.items.iter().map(|item| &item.source_id).collect::<BTreeSet<_>>().len(), 1_000);
    // Ten pages of issues with their comments and worklogs, and for each 250 of them the changelogs; the rest is what
    // the site is.
    assert!(connection.requests() <= 25, "{} requests", connection.requests());
}

#[tokio::test]
async fn a_backfill_of_data_center_asks_for_nothing_that_came_with_the_issues() {
    let site = simulator::generate::jira("acme", Deployment::DataCenter, &[("ENG", 7, 1_000)]);
    let (simulator, connection) = simulated(site).await;
    let all = backfill(jira().as_ref(), &connection).await;
    let ids: BTreeSet<&str> = all.items.iter().map(|item| item.source_id.as_str()).collect();
    let done: BTreeSet<&str> = all.details_done.iter().map(String::as_str).collect();
    assert_eq!((ids.len(), &done), (1_000, &ids));
    assert!(all.items.iter().all(|item| !item.raw.get().contains("\"changelog\"")), "kept twice");
    let requests = simulator.control().requests();
    let searches = requests.iter().filter(|request| request.path_and_query.ends_with("/search")).count();
    // Each page begins at the last time of the one before; and once a page for the epics that its issues name.
    assert!(searches <= 22, "{searches} searches for ten pages");
    let lists = ["/comment", "/worklog", "/changelog"];
    let asked =
        |request: &&simulator::RequestRecord| lists.iter().any(|l| request.path_and_query.contains(l));
    assert_eq!(requests.iter().filter(asked).count(), 0);
}
