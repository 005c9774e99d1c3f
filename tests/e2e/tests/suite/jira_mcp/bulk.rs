//! The set `bulk`: a change is planned, told, and made once for each issue, whatever comes between.

use std::collections::BTreeMap;

use super::work::fits;
use super::*;

const SET: [&str; 2] = ["jira_plan_bulk_change", "jira_run_bulk_plan"];

/// How often each outcome is told.
fn outcomes(run: &Value) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for result in run["results"].as_array().unwrap() {
        *outcomes.entry(result["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    outcomes
}

fn counted<const N: usize>(pairs: [(&str, usize); N]) -> BTreeMap<String, usize> {
    pairs.map(|(name, count)| (name.to_owned(), count)).into()
}

impl World {
    async fn make_some(&self, count: usize) -> Vec<String> {
        let mut keys = Vec::new();
        for at in 0..count {
            keys.push(self.make(&format!("One of some: {at}")).await);
        }
        keys
    }

    /// Edits that Jira made, and those it refused for its limit.
    fn edits(&self) -> (usize, usize) {
        let sent = self.tracker.control().requests();
        let answered = |status| sent.iter().filter(|one| one.method == "PUT" && one.status == status).count();
        let (made, refused) = (answered(204), answered(429));
        assert_eq!(sent.iter().filter(|one| one.method == "PUT").count(), made + refused, "{sent:?}");
        (made, refused)
    }

    /// Runs a plan, as soon as Jira may be asked.
    async fn run(&self, token: &Value) -> Value {
        for _ in 0..100 {
            let run = self.call(&self.writing_key, "jira_run_bulk_plan", json!({"plan_token": token})).await;
            if run["structuredContent"]["code"] != "source_rate_limited" {
                assert_ne!(run["isError"], true, "{run}");
                return run["structuredContent"].clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Jira was never asked again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_goes_on_after_a_limit_leaves_alone_what_was_changed_and_does_nothing_twice() {
    let world = World::with("bulk").await;
    let tools = world.set_of(&SET).await;
    let keys = world.make_some(8).await;
    world.tracker.control().reset_requests();
    let jql = format!("key in ({})", keys.join(","));
    let change = json!({"add_labels": ["triaged"], "fields": {"Priority": "High"}});
    let plan = world.done("jira_plan_bulk_change", json!({"jql": jql, "change": change})).await;
    fits(&tools, "jira_plan_bulk_change", &plan);
    assert_eq!((&plan["count"], &plan["conflicts"]), (&json!(8), &json!([])), "{plan}");
    let sample = plan["sample"].as_array().unwrap();
    assert_eq!(sample.len(), 5, "{plan}");
    assert!(sample[0]["changed"].to_string().contains("triaged"), "{plan}");
    assert_eq!(world.sent(), 0, "a plan changed something");

    // One is changed meanwhile, and Jira asks to wait amid the run.
    let rename = json!({"key": keys[7], "fields": {"summary": "Changed meanwhile"}});
    world.done("jira_update_issue", rename).await;
    world.tracker.control().reset_requests();
    let limit = FaultKind::RateLimited { retry_after_s: 1, as_http_date: false, omit_header: false };
    let matching = FaultMatch { method: Some("PUT".into()), after: Some(2), ..FaultMatch::default() };
    world.tracker.control().add_fault(FaultRule { matching, kind: limit });
    let token = &plan["plan_token"];
    let first = world.run(token).await;
    fits(&tools, "jira_run_bulk_plan", &first);
    assert_eq!(first["complete"], false, "{first}");
    assert!(first["retry_after_ms"].as_u64().unwrap() > 0, "{first}");
    let told = outcomes(&first);
    assert!(told["done"] >= 2 && told["not_done"] >= 1, "{first}");

    let second = world.run(token).await;
    assert_eq!(second["complete"], true, "{second}");
    let left = 7 - told["done"];
    assert_eq!(
        outcomes(&second),
        counted([("conflict", 1), ("done", left), ("done_before", told["done"])]),
        "{second}"
    );
    let conflict =
        second["results"].as_array().unwrap().iter().find(|one| one["outcome"] == "conflict").unwrap();
    assert_eq!(conflict["key"], keys[7], "{second}");
    // Of those that were at work when Jira asked to wait, others may have been refused with the one.
    let (made, refused) = world.edits();
    assert_eq!(made, 7, "something was done twice");
    assert!((1..=4).contains(&refused), "{refused} were sent although Jira had asked to wait");
    let third = world.run(token).await;
    assert_eq!(outcomes(&third), counted([("conflict", 1), ("done_before", 7)]), "{third}");
    assert_eq!(world.edits(), (made, refused), "something was sent again");
    let labelled = world.done("jira_search_issues", json!({"jql": "labels = triaged"})).await;
    assert_eq!(labelled["issues"].as_array().unwrap().len(), 7, "{labelled}");
    // What Jira did not give back while it asked to wait comes with the next sync, and is told.
    let of = |run: &Value| run["results"].as_array().unwrap().clone();
    let later = of(&first).into_iter().chain(of(&second)).filter(|one| !one["warnings"].is_null()).count();
    let stored = "select count(*) from work_item_labels where label = 'triaged'";
    let stored = world.patchbay.database.count(stored).await.unwrap();
    assert_eq!(usize::try_from(stored).unwrap() + later, 7, "{first} {second}");

    // The token is of this caller, and no other text is one.
    let other = world.patchbay.key("acme", "mcp:jira:write").await.unwrap();
    let mut longer = token.as_str().unwrap().to_owned();
    longer.push('A');
    for (key, token) in [(&other, token.clone()), (&world.writing_key, longer.into())] {
        let told = world.refused(key, "jira_run_bulk_plan", json!({"plan_token": token})).await;
        assert_eq!(told["field"], "/plan_token", "{told}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_are_taken_along_together_and_a_plan_that_cannot_be_is_refused_with_its_place() {
    let world = World::with("bulk").await;
    let keys = world.make_some(3).await;
    let jql = format!("key in ({})", keys.join(","));
    let ask = json!({"jql": jql, "change": {"to": "In Progress"}});
    let plan = world.done("jira_plan_bulk_change", ask.clone()).await;
    // Two runs at once do each once.
    let (one, other) = tokio::join!(world.run(&plan["plan_token"]), world.run(&plan["plan_token"]));
    world.tracker.control().reset_requests();
    let settled = world.run(&plan["plan_token"]).await;
    assert_eq!(settled["complete"], true, "{one} {other} {settled}");
    assert_eq!(outcomes(&settled), counted([("done_before", 3)]), "{settled}");
    assert_eq!(world.sent(), 0, "it was done again");
    let moved = json!({"jql": format!("{jql} AND status = 'In Progress'")});
    let moved = world.done("jira_search_issues", moved).await;
    assert_eq!(moved["issues"].as_array().unwrap().len(), 3, "{moved}");

    for (arguments, field) in [
        (json!({"jql": jql, "change": {}}), "/change"),
        (json!({"jql": jql, "change": {"to": "Done", "add_labels": ["x"]}}), "/change/to"),
        (json!({"jql": jql, "change": {"fields": {"Priorty": "High"}}}), "/change/fields/Priorty"),
        (json!({"jql": jql, "change": {"add_labels": ["on hold"]}}), "/change/add_labels/0"),
        (json!({"jql": jql, "change": {"to": "Shipped"}}), "/change/to"),
        (json!({"jql": jql, "change": {"status": "Done"}}), "/change/status"),
        (json!({"jql": "key = ENG-99999", "change": {"to": "Done"}}), "/jql"),
        (json!({"jql": "project =", "change": {"to": "Done"}}), "/jql"),
    ] {
        let told = world.refused(&world.writing_key, "jira_plan_bulk_change", arguments.clone()).await;
        assert_eq!(told["field"], field, "{arguments}: {told}");
    }
    assert_eq!(world.sent(), 0, "something was sent");

    // What the tenant's policy hides is in no plan.
    world.set_policy(json!({"hidden_fields": ["Priority"]})).await;
    let priority = json!({"jql": jql, "change": {"fields": {"Priority": "Low"}}});
    let told = world.refused(&world.writing_key, "jira_plan_bulk_change", priority).await;
    assert_eq!(told["field"], "/change/fields/Priority", "{told}");
    assert!(told["message"].as_str().unwrap().contains("policy"), "{told}");

    // What a key may not write to is left out of its plans.
    let narrow = world.key_with(json!({"projects_write": []})).await;
    let told = world.call(&narrow, "jira_plan_bulk_change", ask).await["structuredContent"].clone();
    assert_eq!((&told["count"], &told["plan_token"]), (&json!(0), &Value::Null), "{told}");
    assert_eq!(told["conflicts"].as_array().map(Vec::len), Some(3), "{told}");

    // More than a plan holds.
    let site = generate::jira("big", Deployment::Cloud, &[("BIG", 3, 230)]);
    let login = JiraLogin::new(Some("bot@example.com"), TOKEN);
    world.tracker.control().add_jira(site.with_login(login)).unwrap();
    world.connect(&world.admin, "big").await;
    let many = json!({"instance": "big", "jql": "", "change": {"add_labels": ["x"]}});
    let told = world.refused(&world.writing_key, "jira_plan_bulk_change", many).await;
    assert_eq!(told["field"], "/jql", "{told}");
    let many = json!({"instance": "big", "jql": "project = BIG", "change": {"add_labels": ["x"]}});
    let told = world.refused(&world.writing_key, "jira_plan_bulk_change", many).await;
    assert!(told["message"].as_str().unwrap().contains("more than 200"), "{told}");

    // A plan ends.
    let expire = "update bulk_plans set expires_at = now() where instance_id::text <> $1";
    assert_eq!(world.patchbay.database.execute(expire, "").await.unwrap(), 1);
    let late = json!({"plan_token": plan["plan_token"]});
    let told = world.refused(&world.writing_key, "jira_run_bulk_plan", late).await;
    assert_eq!(told["field"], "/plan_token", "{told}");
    world.end().await;
}
