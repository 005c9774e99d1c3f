//! Fields that the tenant's policy hides.

use application::live::FieldsAsk;
use application::ports::{LivePurpose, PolicyStore, ReplacedPolicy};
use domain::JiraPolicy;

use super::*;

impl World {
    async fn hide(&self, fields: &[&str]) {
        let hidden_fields = fields.iter().map(|&field| field.to_owned()).collect();
        let policy = JiraPolicy { hidden_fields, ..JiraPolicy::default() };
        let stored = self.policies.replace(&self.ctx, &policy, None).await.unwrap();
        assert!(matches!(stored, ReplacedPolicy::Stored(_)), "{stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_field_is_told_by_no_read_of_either_dialect() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let all = ["Sprint", "Story Points", "assignee", "description", "comment"];
        let told = async || {
            let issue = IssueAsk {
                key: "ENG-7".into(),
                sections: LiveSection::ALL.into(),
                fields: vec!["*all".into()],
                max_chars: 100_000,
                ..IssueAsk::default()
            };
            let search = SearchAsk { view: LiveView::Full, ..search("key = ENG-7") };
            let activity = ActivityAsk {
                key: "ENG-7".into(),
                kinds: LiveActivityKind::ALL.into(),
                limit: 100,
                ..ActivityAsk::default()
            };
            let fields =
                FieldsAsk { project: "ENG".into(), purpose: LivePurpose::Search, ..FieldsAsk::default() };
            let service = &world.service;
            [
                service.issue(&world.ctx, &issue).await.unwrap(),
                service.search(&world.ctx, &search).await.unwrap(),
                service.activity(&world.ctx, &activity).await.unwrap(),
                service.fields(&world.ctx, &fields).await.unwrap(),
            ]
            .map(|answer| Value::Object(answer.content))
        };
        let [issue, found, activity, fields] = told().await;
        let (row, text) = (&found["issues"][0], fields.to_string());
        assert!(text.contains("\"Sprint\"") && text.contains("\"Story Points\""), "{text}");
        assert!(!issue["description"].is_null() && !row["description"].is_null(), "{deployment:?}: {issue}");
        assert!(activity.to_string().contains("\"comment\""), "the test looks at nothing: {activity}");

        world.hide(&all).await;
        let [issue, found, activity, fields] = told().await;
        let row = &found["issues"][0];
        for part in ["assignee", "description", "comments"] {
            assert!(
                issue[part].is_null() && row[part].is_null(),
                "{deployment:?} tells {part}: {issue} {row}"
            );
        }
        for hidden in ["\"Sprint\"", "\"Story Points\"", "\"assignee\"", "\"comment\"", "\"description\""] {
            for told in [&issue, row, &activity, &fields] {
                assert!(!told.to_string().contains(hidden), "{deployment:?} tells {hidden}: {told}");
            }
        }
        assert_eq!((&issue["key"], issue["summary"].is_string()), (&json!("ENG-7"), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_search_looks_at_or_sorts_by_a_hidden_field() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let number = if deployment == Deployment::Cloud { 10_016 } else { 10_106 };
        world.hide(&["story points", "fixVersions", "worklog", "issuelinks"]).await;
        for jql in [
            "\"Story Points\" > 1".to_owned(),
            "'story points' is EMPTY".to_owned(),
            format!("cf[{number}] > 1"),
            format!("customfield_{number} > 1"),
            "NOT (fixVersion is EMPTY)".to_owned(),
            "worklogAuthor = currentUser()".to_owned(),
            "issue in linkedIssues(\"ENG-1\")".to_owned(),
            "project = ENG ORDER BY \"Story Points\" DESC".to_owned(),
            "text ~ \"a*\"".to_owned(),
        ] {
            match world.search(&jql).await {
                Err(Error::Source(error)) => {
                    assert!(error.message.contains("policy"), "{deployment:?}: {jql}: {error}");
                }
                other => panic!("{deployment:?}: {jql}: {other:?}"),
            }
        }
        assert_eq!(world.search("summary ~ \"a*\" OR status is not EMPTY").await.unwrap().count, 69);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_policy_is_not_anothers_and_of_two_changes_at_once_one_is_told() {
    let world = World::new(Deployment::Cloud).await;
    world.hide(&["Team"]).await;
    let stranger = world.test.ctx("globex").await;
    assert_eq!(world.policies.find(&stranger).await.unwrap().version, 1);
    let stored = world.policies.current(&world.ctx).await.unwrap();
    assert_eq!((stored.version, stored.jira.hidden_fields.len()), (2, 1));
    let policy = JiraPolicy { read_only: true, ..JiraPolicy::default() };
    let (one, other) = tokio::join!(
        world.policies.replace(&world.ctx, &policy, Some(2)),
        world.policies.replace(&world.ctx, &policy, Some(2)),
    );
    let mut outcomes = [one.unwrap(), other.unwrap()].map(|outcome| match outcome {
        ReplacedPolicy::Stored(policy) => ("stored", policy.version),
        ReplacedPolicy::Stale { version } => ("stale", version),
    });
    outcomes.sort_unstable();
    assert_eq!(outcomes, [("stale", 3), ("stored", 3)]);
}
