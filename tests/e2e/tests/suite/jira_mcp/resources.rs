//! Issues as resources: read as the synced copy has them, and told of to who may see them when they change, whoever changed
//! them.

use super::*;
use crate::events::Events;

impl World {
    pub(super) fn uri(key: &str) -> String {
        format!("patchbay://work-items/acme/{key}")
    }

    /// What is read of a resource: its content, or the error of the protocol.
    pub(super) async fn read_at(&self, query: &str, key: &str, uri: &str) -> Value {
        let url = format!("{}{query}", self.mcp);
        let answer =
            self.admin.with_key(key).rpc(&url, "resources/read", &json!({"uri": uri})).await.unwrap();
        match answer.body["result"]["contents"][0]["text"].as_str() {
            Some(text) => serde_json::from_str(text).unwrap(),
            None => answer.body["error"].clone(),
        }
    }

    async fn templates_at(&self, query: &str, key: &str) -> Vec<Value> {
        let url = format!("{}{query}", self.mcp);
        let rpc = self.admin.with_key(key).rpc(&url, "resources/templates/list", &json!({})).await.unwrap();
        rpc.body["result"]["resourceTemplates"].as_array().unwrap_or_else(|| panic!("{rpc:?}")).clone()
    }

    async fn rename(&self, key: &str, summary: &str) {
        self.done("jira_update_issue", json!({"key": key, "fields": {"summary": summary}})).await;
    }
}

/// Writes until the listener is told of something: the first look is what later ones are compared with.
async fn told_of(events: &mut Events, mut write: impl AsyncFnMut(usize)) -> Value {
    for attempt in 0..60 {
        write(attempt).await;
        if let Ok(told) = tokio::time::timeout(Duration::from_secs(5), events.next()).await {
            return told.expect("the stream goes on");
        }
    }
    panic!("nothing was told")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_is_read_as_the_synced_copy_has_it_by_who_may_see_it() {
    let world = World::start().await;
    let key = world.make("Read as a resource").await;
    let uri = World::uri(&key);
    let before = world.tracker.control().stats().requests;
    let read = world.read_at("", &world.key, &uri).await;
    assert_eq!((&read["key"], &read["summary"]), (&json!(key), &json!("Read as a resource")), "{read}");
    assert_eq!((&read["source"], &read["instance"]), (&json!("synced"), &json!("acme")), "{read}");
    assert!(read["synced_at"].is_string() && read["status"].is_string(), "{read}");
    assert!(read["notice"].as_str().unwrap().contains("data"), "{read}");
    assert_eq!(world.tracker.control().stats().requests, before, "the tracker was asked");
    assert_eq!(
        world.templates_at("", &world.key).await[0]["uriTemplate"],
        "patchbay://work-items/{instance}/{key}"
    );

    // What is not there, deleted, another tenant's or outside of what the key may see is all the same.
    let elsewhere = world.key_with(json!({"projects_read": ["OPS"]})).await;
    let absent = world.read_at("", &world.key, &World::uri("ENG-99999")).await;
    // <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling>
    assert_eq!(absent["code"], -32002, "{absent}");
    for (query, key, uri) in [
        ("", &world.foreign_key, uri.as_str()),
        ("", &elsewhere, uri.as_str()),
        ("", &world.key, "patchbay://work-items/globex/GLO-1"),
        ("", &world.key, "patchbay://work-items/acme/ENG-1/../ENG-2"),
        ("?tools=jira_get_context", &world.key, uri.as_str()),
        ("?toolsets=core", &world.key, uri.as_str()),
    ] {
        let refused = world.read_at(query, key, uri).await;
        assert_eq!(
            (&refused["code"], &refused["message"]),
            (&absent["code"], &absent["message"]),
            "{query} {uri}"
        );
    }
    assert_eq!(world.templates_at("?toolsets=core", &world.key).await, [] as [Value; 0]);

    // Hidden fields are in no answer of this server, and a policy that denies reading issues denies this.
    world.set_policy(json!({"hidden_fields": ["reporter", "Priority"]})).await;
    let read = world.read_at("", &world.key, &uri).await;
    assert_eq!(
        (&read["key"], &read["reporter"], &read["priority"]),
        (&json!(key), &Value::Null, &Value::Null)
    );
    world.set_policy(json!({"denied_tools": ["jira_get_issue"]})).await;
    assert_eq!(world.read_at("", &world.key, &uri).await["message"], absent["message"]);
    world.recorded("resource.read", &uri).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_told_of_its_issue_by_writes_and_syncs_and_others_of_nothing() {
    let world = World::start().await;
    let key = world.make("Listened to").await;
    let other = world.make("Listened to by nobody").await;
    let uri = World::uri(&key);
    let elsewhere = world.key_with(json!({"projects_read": ["OPS"]})).await;
    let mut strangers = Vec::new();
    // A key of another tenant, one that may not see the project, and one that is narrowed by its address.
    for (query, key) in [("", &world.foreign_key), ("", &elsewhere), ("?tools=jira_get_context", &world.key)]
    {
        let (events, accepted) = Events::listening(&format!("{}{query}", world.mcp), key, &[&uri]).await;
        assert_eq!(accepted, json!([uri]), "an address is accepted whoever gives it");
        strangers.push(events);
    }
    let wanted = [uri.as_str(), "patchbay://freshness", "patchbay://work-items/acme/nonsense"];
    let (mut events, accepted) = Events::listening(&world.mcp, &world.key, &wanted).await;
    assert_eq!(accepted, json!([uri]));

    let told = told_of(&mut events, async |attempt| {
        world.rename(&other, &format!("Nobody's {attempt}")).await;
        world.rename(&key, &format!("Written {attempt}")).await;
    })
    .await;
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    assert_eq!(told["params"]["uri"], json!(uri), "{told}");
    let read = world.read_at("", &world.key, &uri).await;
    assert!(read["summary"].as_str().unwrap().starts_with("Written"), "{read}");

    // By somebody in Jira, which a sync brings here.
    let worker = world.patchbay.serve("worker").await.unwrap();
    let listed = world.admin.get("/api/v1/instances").await.unwrap();
    let instance = listed.body["items"][0]["id"].as_str().unwrap().to_owned();
    world.admin.run_to(&instance, "backfill", "succeeded").await.unwrap();
    let writer = Api::new(&world.tracker.url(), WRITER).unwrap();
    let path = format!("/jira/acme/rest/api/2/issue/{key}");
    let told = told_of(&mut events, async |attempt| {
        let summary = json!({"fields": {"summary": format!("Synced {attempt}")}});
        let put = writer.send(Method::PUT, &path, Some(&summary)).await.unwrap();
        assert_eq!(put.status, 204, "{put:?}");
        world.admin.run_to(&instance, "sync", "succeeded").await.unwrap();
    })
    .await;
    assert_eq!(told["params"]["uri"], json!(uri), "{told}");

    // The last word of each is the end of the server; nobody else was told of anything.
    assert_eq!(worker.terminate().await.unwrap(), Some(0));
    let rest = strangers.into_iter().map(|mut events| {
        tokio::spawn(async move {
            let mut messages = Vec::new();
            while let Some(message) = events.next().await {
                messages.push(message);
            }
            messages
        })
    });
    let rest: Vec<_> = rest.collect();
    world.end().await;
    for messages in rest {
        let messages = messages.await.unwrap();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0]["result"].is_object(), "{messages:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_key_is_revoked_hears_nothing_more() {
    let world = World::start().await;
    let key = world.make("Listened to").await;
    let uri = World::uri(&key);
    let new = json!({"name": "to be revoked", "kind": "assistant", "scopes": ["mcp:jira:read"]});
    let made = world.admin.post("/api/v1/keys", &new).await.unwrap();
    let (id, secret) = (made.body["id"].as_str().unwrap(), made.body["key"].as_str().unwrap());
    let (mut events, _) = Events::listening(&world.mcp, secret, &[&uri]).await;
    told_of(&mut events, async |attempt| world.rename(&key, &format!("Written {attempt}")).await).await;

    let path = format!("/api/v1/keys/{id}");
    assert_eq!(world.admin.send(Method::DELETE, &path, None).await.unwrap().status, 204);
    // Within a moment nobody listens: what is written then is told to nobody.
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        let mut last = Value::Null;
        while let Some(message) = events.next().await {
            last = message;
        }
        last
    });
    let last = ended.await.expect("the stream goes on after its key is revoked");
    assert!(last["error"].is_object(), "{last}");
    world.end().await;
}
