//! What was read live updates the synced copy: without a webhook or a sync, within what syncs may ask for, and for the tenant
//! alone that read it.

use super::*;

impl World {
    /// Has a worker read the tracker once, and nobody from then on.
    async fn backfilled(&self, admin: &Api) {
        let worker = self.patchbay.serve("worker").await.unwrap();
        let listed = admin.get("/api/v1/instances").await.unwrap();
        let instance = listed.body["items"][0]["id"].as_str().unwrap().to_owned();
        admin.run_to(&instance, "backfill", "succeeded").await.unwrap();
        assert_eq!(worker.terminate().await.unwrap(), Some(0));
    }

    /// Somebody works in Jira.
    async fn in_jira(&self, method: Method, path: &str, body: Value) -> Value {
        let writer = Api::new(&self.tracker.url(), WRITER).unwrap();
        let path = format!("/jira/acme/rest/api/2/issue{path}");
        let sent = writer.send(method, &path, Some(&body)).await.unwrap();
        assert!((200..300).contains(&sent.status), "{sent:?}");
        sent.body
    }

    async fn rename_in_jira(&self, key: &str, summary: &str) {
        let fields = json!({"fields": {"summary": summary}});
        self.in_jira(Method::PUT, &format!("/{key}"), fields).await;
    }

    async fn read_live(&self, key: &str) -> Value {
        let read = self.call(&self.key, "jira_get_issue", json!({"key": key})).await;
        assert_ne!(read["isError"], true, "{read}");
        read["structuredContent"].clone()
    }

    /// How many issues of live reads this became of until now.
    async fn noticed(&self, outcome: &str) -> u64 {
        let metrics = self.admin.text("/metrics").await.unwrap();
        let name = format!("live_read_items_total{{outcome=\"{outcome}\"}} ");
        let told = metrics.lines().find_map(|line| line.strip_prefix(&name));
        told.map_or(0, |told| told.parse().unwrap())
    }

    /// Waits until this became of so many more.
    async fn until_noticed(&self, outcome: &str, more: u64, before: u64) {
        let what = format!("{more} issues are {outcome}");
        until(&what, async || self.noticed(outcome).await >= before + more).await;
    }

    /// Walks on from a cursor until this is told of an issue, and of no other that it was updated; where to go on. What was
    /// stored before the cursor may be told again: another test's transaction on this server holds its beginning back.
    async fn until_told(&self, since: &Value, key: &str, kind: &str) -> Value {
        let mut since = since.clone();
        loop {
            let told = self.next_changes(&self.key, &since).await;
            since = told["next_cursor"].clone();
            let changes = told["changes"].as_array().unwrap();
            let other = |change: &&Value| change["kind"] == "updated" && change["key"] != "ENG-7";
            assert_eq!(changes.iter().find(other), None, "{told}");
            if changes.iter().any(|change| change["key"] == key && change["kind"] == kind) {
                return since;
            }
        }
    }

    async fn synced_summary(&self, key: &str) -> Value {
        self.read_at("", &self.key, &Self::uri(key)).await["summary"].clone()
    }

    fn requests(&self) -> u64 {
        self.tracker.control().stats().requests
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_live_is_in_the_synced_copy_then_and_nobody_else_has_it() {
    let world = World::start().await;
    // Before the copy has been made nothing is put into it.
    world.read_live("ENG-7").await;
    world.until_noticed("left", 1, 0).await;
    let stored = "select count(*) from work_items";
    assert_eq!(world.patchbay.database.count(stored).await.unwrap(), 0);

    let foreign_admin = world.admin.with_key(&world.patchbay.key("globex", "admin").await.unwrap());
    world.connect(&foreign_admin, "globex").await;
    world.backfilled(&foreign_admin).await;
    world.backfilled(&world.admin).await;
    let begin = world.told(&world.key, json!({})).await;
    let outside = world.told(&world.foreign_key, json!({})).await;
    world.rename_in_jira("ENG-7", "Renamed in Jira").await;
    assert_ne!(world.synced_summary("ENG-7").await, "Renamed in Jira");

    assert_eq!(world.read_live("ENG-7").await["summary"], "Renamed in Jira");
    until("the copy has it", async || world.synced_summary("ENG-7").await == "Renamed in Jira").await;
    let next = world.until_told(&begin["next_cursor"], "ENG-7", "updated").await;

    // One that is made in Jira and found by a search, with what was said about it.
    let new = json!({"fields": {"project": {"key": "ENG"}, "issuetype": {"name": "Task"}, "summary": "Made in Jira"}});
    let made = world.in_jira(Method::POST, "", new).await["key"].as_str().unwrap().to_owned();
    world.in_jira(Method::POST, &format!("/{made}/comment"), json!({"body": "Said in Jira"})).await;
    let found = world.call(&world.key, "jira_search_issues", json!({"jql": format!("key = {made}")})).await;
    assert_eq!(found["structuredContent"]["issues"][0]["key"], json!(made), "{found}");
    world.until_told(&next, &made, "created").await;
    let said = "select count(*) from comments c join work_items w on w.tenant_id = c.tenant_id
        and w.instance_id = c.instance_id and w.ref_key = c.item_ref_key where w.source_key = $1";
    assert_eq!(world.patchbay.database.count_of(&made, said).await.unwrap(), 1);

    // The other tenant has what it had, and cannot read what this one read.
    let told = world.told(&world.foreign_key, json!({"since": outside["next_cursor"]})).await;
    let theirs = |change: &Value| change["key"].as_str().is_some_and(|key| key.starts_with("GLO-"));
    assert!(told["changes"].as_array().unwrap().iter().all(theirs), "{told}");
    let of_globex = "select count(*) from work_items w join tenants t on t.id = w.tenant_id
        where t.slug = 'globex' and w.project_key <> $1";
    assert_eq!(world.patchbay.database.count_of("GLO", of_globex).await.unwrap(), 0);
    let refused = world.read_at("", &world.foreign_key, &World::uri("ENG-7")).await;
    assert_eq!(refused["code"], -32002, "{refused}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_costs_the_tracker_nothing_more() {
    let world = World::start().await;
    world.backfilled(&world.admin).await;
    world.read_live("ENG-7").await;
    world.until_noticed("current", 1, 0).await;
    let (before, current) = (world.requests(), world.noticed("current").await);
    for _ in 0..3 {
        world.read_live("ENG-7").await;
    }
    let searched = world.call(&world.key, "jira_search_issues", json!({"jql": "", "limit": 50})).await;
    assert_eq!(searched["structuredContent"]["issues"].as_array().map(Vec::len), Some(50), "{searched}");
    world.until_noticed("current", 50, current).await;
    assert_eq!(world.requests(), before + 4, "{:?}", world.tracker.control().requests());

    // One that changed is read once, however often it is looked at.
    world.rename_in_jira("ENG-7", "Renamed in Jira").await;
    world.read_live("ENG-7").await;
    until("the copy has it", async || world.synced_summary("ENG-7").await == "Renamed in Jira").await;
    world.until_noticed("stored", 1, 0).await;
    let (before, current) = (world.requests(), world.noticed("current").await);
    world.read_live("ENG-7").await;
    world.until_noticed("current", 1, current).await;
    assert_eq!(world.requests(), before + 1, "{:?}", world.tracker.control().requests());
    assert_eq!((world.noticed("stored").await, world.noticed("left").await), (1, 0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_tracker_is_kept_and_the_copy_stays_as_it_is() {
    let world = World::start().await;
    world.backfilled(&world.admin).await;
    let was = world.synced_summary("ENG-7").await;
    let limit = FaultKind::RateLimited { retry_after_s: 600, as_http_date: false, omit_header: false };
    // A person's read of one issue does not go by this path.
    let matching = FaultMatch { path_contains: Some("/bulkfetch".into()), ..FaultMatch::default() };
    world.tracker.control().add_fault(FaultRule { matching, kind: limit });
    world.rename_in_jira("ENG-7", "Renamed in Jira").await;
    assert_eq!(world.read_live("ENG-7").await["summary"], "Renamed in Jira");
    world.until_noticed("left", 1, 0).await;
    assert!(world.tracker.control().requests().iter().any(|one| one.status == 429), "nothing was sent");

    // Until the time has passed nobody asks, and whoever does is told so.
    let before = world.requests();
    for tool in ["jira_get_issue", "jira_list_issue_activity"] {
        let told = world.refused(&world.key, tool, json!({"key": "ENG-8"})).await;
        assert_eq!(told["code"], "source_rate_limited", "{told}");
        assert!(told["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{told}");
    }
    let stats = world.tracker.control().stats();
    assert_eq!((stats.requests, stats.violations), (before, 0));
    assert_eq!(world.synced_summary("ENG-7").await, was);
    assert_eq!(world.noticed("stored").await, 0);
    world.end().await;
}
