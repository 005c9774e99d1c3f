//! What the tenant's policy takes away, for every key and at every address.

use super::*;

impl World {
    pub(super) async fn set_policy(&self, jira: Value) {
        let put = self
            .admin
            .send(reqwest::Method::PUT, "/api/v1/policy", Some(&json!({"jira": jira})))
            .await
            .unwrap();
        assert_eq!(put.status, 200, "{put:?}");
        // Another process may answer, and keeps what it knows for three seconds.
        tokio::time::sleep(Duration::from_millis(3_100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_takes_tools_away_from_lists_and_calls() {
    let world = World::start().await;
    let all = world.names_at(EVERY_SET, &world.writing_key).await;
    assert!(all.contains(&"jira_list_boards".to_owned()) && all.contains(&"jira_create_issue".to_owned()));
    world
        .set_policy(
            json!({"toolsets": ["jira_core"], "denied_tools": ["jira_find_users"], "read_only": true}),
        )
        .await;
    let left = world.names_at(EVERY_SET, &world.writing_key).await;
    assert_eq!(left.len(), 6, "{left:?}");
    for (tool, arguments) in [
        ("jira_find_users", json!({"query": "a"})),
        ("jira_add_comment", json!({"key": "ENG-1", "body": "b"})),
        ("jira_list_boards", json!({})),
    ] {
        let refused = world.call_at(EVERY_SET, &world.writing_key, tool, arguments).await;
        assert_eq!(refused["code"], -32602, "{tool}: {refused}");
    }
    let context = world.call(&world.writing_key, "jira_get_context", json!({})).await;
    let context = &context["structuredContent"];
    assert_eq!(context["toolsets"], json!([{"name": "jira_core", "open": true}]), "{context}");
    assert_eq!((&context["policy"]["read_only"], &context["policy"]["version"]), (&json!(true), &json!(2)));
    assert_eq!(context["instances"][0]["can_write"], false);

    world.set_policy(json!({})).await;
    assert_eq!(world.names_at(EVERY_SET, &world.writing_key).await, all);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_field_is_in_no_answer_and_cannot_be_named() {
    let world = World::start().await;
    let set = json!({"key": "ENG-7", "fields": {"Story Points": 13, "Root cause": "the canary flew"}});
    let written = world.call(&world.writing_key, "jira_update_issue", set).await;
    assert_ne!(written["isError"], true, "{written}");
    let everything = [
        ("jira_get_issue", json!({"key": "ENG-7", "fields": ["*all"], "include": ["changelog", "comments"]})),
        ("jira_search_issues", json!({"jql": "key = ENG-7", "view": "full"})),
        ("jira_list_issue_activity", json!({"key": "ENG-7", "kinds": ["change", "comment"]})),
        ("jira_describe_fields", json!({"project": "ENG", "for": "search"})),
    ];
    let mut seen = Vec::new();
    for (tool, arguments) in &everything {
        seen.push(world.call(&world.key, tool, arguments.clone()).await.to_string());
    }
    assert!(seen.iter().all(|text| text.contains("Root cause")), "the test looks at nothing: {seen:?}");

    // One by its id, one by its name.
    world.set_policy(json!({"hidden_fields": ["customfield_10016", "root cause", "comment"]})).await;
    for (tool, arguments) in &everything {
        let told = world.call(&world.key, tool, arguments.clone()).await;
        assert_ne!(told["isError"], true, "{tool}: {told}");
        let told = told["structuredContent"].to_string();
        for hidden in ["Root cause", "canary", "Story Points", "customfield_10016", "customfield_10037"] {
            assert!(!told.contains(hidden), "{tool} tells {hidden}: {told}");
        }
    }
    let activity = world
        .call(&world.key, "jira_list_issue_activity", json!({"key": "ENG-7", "kinds": ["comment"]}))
        .await;
    assert_eq!(activity["structuredContent"]["entries"], json!([]), "{activity}");

    for jql in [
        "\"Root cause\" ~ canary",
        "cf[10037] is not EMPTY",
        "\"Story Points\" > 3 ORDER BY key",
        "project = ENG ORDER BY \"Story Points\"",
        "\"Story Points[Number]\" > 3",
        "text ~ canary",
        "project = ENG AND comment ~ a",
    ] {
        let told = world.call(&world.key, "jira_search_issues", json!({"jql": jql})).await;
        let told = &told["structuredContent"];
        assert_eq!(
            (&told["field"], &told["code"]),
            (&json!("/jql"), &json!("source_rejected")),
            "{jql}: {told}"
        );
        assert!(told["message"].as_str().unwrap().contains("policy"), "{jql}: {told}");
    }
    let before = world.tracker.control().stats().requests;
    for (tool, arguments, field) in [
        ("jira_search_issues", json!({"jql": "", "fields": ["story points"]}), "/fields/0"),
        ("jira_get_issue", json!({"key": "ENG-7", "fields": ["customfield_10037"]}), "/fields/0"),
        ("jira_update_issue", json!({"key": "ENG-7", "fields": {"Root Cause": "x"}}), "/fields/Root Cause"),
        ("jira_add_comment", json!({"key": "ENG-7", "body": "b"}), "/comment"),
        ("jira_transition_issue", json!({"key": "ENG-7", "to": "Done", "comment": "c"}), "/comment"),
    ] {
        let told = world.call(&world.writing_key, tool, arguments).await;
        let told = &told["structuredContent"];
        assert_eq!(told["field"], field, "{tool}: {told}");
        assert!(told["message"].as_str().unwrap().contains("policy"), "{tool}: {told}");
    }
    assert_eq!(world.tracker.control().stats().requests, before, "something was sent for what is refused");
    // What may have been meant is not told either.
    let told =
        world.call(&world.key, "jira_search_issues", json!({"jql": "", "fields": ["Story Point"]})).await;
    assert!(!told.to_string().contains("Story Points"), "{told}");
    world.end().await;
}
