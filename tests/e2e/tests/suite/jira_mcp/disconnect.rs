//! A client that goes away.

use super::*;
use crate::front::{self, Front};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_request_to_the_tracker_and_nobody_elses() {
    let world = World::unconnected().await;
    let (listener, port) = front::place().await;
    let front = Front::changing(listener, &world.tracker.url(), |_| {});
    world.connect_at(&world.admin, "acme", &format!("http://127.0.0.1:{port}")).await;
    let read = world.call(&world.key, "jira_get_issue", json!({"key": "ENG-1"})).await;
    assert_ne!(read["isError"], true, "{read}");
    until("answered", async || front.under_way() == 0).await;

    let matching =
        FaultMatch { path_contains: Some("/issue/".into()), times: Some(100), ..FaultMatch::default() };
    let kind = FaultKind::Slow { ms: 600_000 };
    world.tracker.control().add_fault(FaultRule { matching, kind });
    let ask = |issue: &'static str| {
        let (api, mcp) = (world.admin.with_key(&world.key), world.mcp.clone());
        tokio::spawn(async move {
            let call = json!({"name": "jira_get_issue", "arguments": {"key": issue}});
            api.rpc(&mcp, "tools/call", &call).await
        })
    };
    // Who stays asked first, so that no deadline is over for who leaves and not for who stays.
    let stays = ask("ENG-1");
    until("the first request", async || front.under_way() == 1).await;
    let leaves = ask("ENG-2");
    until("the second request", async || {
        assert!(!leaves.is_finished() && !stays.is_finished(), "one was answered");
        front.under_way() == 2
    })
    .await;
    leaves.abort();
    until("the end of the second request", async || front.under_way() < 2).await;
    assert!(!stays.is_finished(), "it was not the client's leaving that ended the request");
    assert_eq!(front.under_way(), 1);
    world.recorded("tool.call", "\"cancelled\"").await;
    stays.abort();
    until("the end of the first request", async || front.under_way() == 0).await;
    world.end().await;
}
