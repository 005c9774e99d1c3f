//! Templates of tenants over HTTP. The memory's proof refuses what says `refuse`.

use domain::Scope;
use serde_json::{Value, json};

use super::Api;

impl Api {
    async fn template(&self, name: &str, source: &str) -> Value {
        let (status, made) =
            self.post("/api/v1/templates", &json!({"name": name, "source": source}).to_string()).await;
        assert_eq!(status, 201, "{made}");
        made
    }

    async fn on(&self, name: &str, verb: &str, body: Value) -> (u16, Value) {
        let (status, answer) =
            self.post(&format!("/api/v1/templates/{name}/{verb}"), &body.to_string()).await;
        (status.as_u16(), answer)
    }
}

#[tokio::test]
async fn a_template_goes_from_draft_over_proof_to_a_tool_and_is_retired() {
    let api = Api::new();
    let draft = api.template("mine", "refuse me").await;
    assert_eq!(
        (&draft["state"], &draft["shown"]["report"]["passed"]),
        (&json!("draft"), &json!(false)),
        "{draft}"
    );
    let finding = &draft["shown"]["report"]["findings"][0];
    assert_eq!((&finding["line"], &finding["column"]), (&json!(1), &json!(1)), "{draft}");
    let (status, problem) = api.on("mine", "publish", json!({"version": 1, "all_keys": true})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/version")), "{problem}");

    let proved = api.template("mine", "good").await;
    assert_eq!((&proved["state"], &proved["version"]), (&json!("proved"), &json!(2)), "{proved}");
    assert_eq!(proved["columns"], json!([{"name": "title", "type": "text"}]));
    assert_eq!(proved["parameters"]["properties"]["limit"]["maximum"], 500);
    assert_eq!(proved["versions"].as_array().unwrap().len(), 2);
    let (status, published) = api.on("mine", "publish", json!({"version": 2, "all_keys": true})).await;
    assert_eq!(
        (status, &published["state"], &published["published_version"]),
        (200, &json!("published"), &json!(2))
    );
    let (_, first) = api.get("/api/v1/templates/mine?version=1").await;
    assert_eq!(
        (&first["shown"]["number"], &first["shown"]["source"]),
        (&json!(1), &json!("refuse me")),
        "{first}"
    );
    assert_eq!(api.get("/api/v1/templates/mine?version=3").await.0, 404);
    for _ in 0..2 {
        let (status, retired) = api.on("mine", "retire", json!({})).await;
        assert_eq!((status, &retired["state"]), (200, &json!("retired")), "{retired}");
    }
}

#[tokio::test]
async fn shipped_templates_stand_in_the_list_and_cannot_be_changed() {
    let api = Api::new();
    api.template("find_more", "good").await;
    let (_, list) = api.get("/api/v1/templates").await;
    let rows: Vec<(&str, &str)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row["origin"].as_str().unwrap()))
        .collect();
    assert_eq!(
        rows[..3],
        [("cycle_time_percentiles", "shipped"), ("find_more", "tenant"), ("find_work_items", "shipped")]
    );
    let (_, page) = api.get("/api/v1/templates?limit=2").await;
    let next = format!("/api/v1/templates?cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(api.get(&next).await.1["items"][0]["name"], "find_work_items");
    let shadow = json!({"name": "find_work_items", "source": "good"});
    let (status, problem) = api.post("/api/v1/templates", &shadow.to_string()).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("conflict")), "{problem}");
    for (verb, body) in
        [("retire", json!({})), ("prove", json!({})), ("publish", json!({"version": 1, "all_keys": true}))]
    {
        assert_eq!(api.on("find_work_items", verb, body).await.0, 409, "{verb}");
    }
    assert_eq!(api.get("/api/v1/templates/find_work_items").await.1["state"], "published");
    let (status, tried) = api.on("find_work_items", "try", json!({"arguments": {"query": "x"}})).await;
    assert_eq!((status, tried["rows"].as_array().map(Vec::len)), (200, Some(3)), "{tried}");
    let (status, problem) = api.on("find_work_items", "try", json!({"arguments": {"nothing": "x"}})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/arguments/nothing")), "{problem}");
}

#[tokio::test]
async fn who_gets_a_template_has_to_be_said_and_has_to_be_a_key() {
    let api = Api::new();
    api.template("mine", "good").await;
    let stranger = "00000000-0000-7000-8000-00000000abcd";
    for (body, pointer) in [
        (json!({"version": 1}), "/visible_to"),
        (json!({"version": 1, "all_keys": false}), "/visible_to"),
        (json!({"version": 1, "visible_to": [stranger], "all_keys": true}), "/all_keys"),
        (json!({"version": 1, "visible_to": []}), "/visible_to"),
        (json!({"version": 1, "visible_to": [stranger]}), "/visible_to"),
        (json!({"version": 0, "all_keys": true}), "/version"),
    ] {
        let (status, problem) = api.on("mine", "publish", body.clone()).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}: {problem}");
    }
    assert_eq!(api.on("mine", "publish", json!({"version": 9, "all_keys": true})).await.0, 404);
    assert_eq!(api.on("other", "publish", json!({"version": 1, "all_keys": true})).await.0, 404);
}

#[tokio::test]
async fn runs_are_those_of_the_template_and_trials_are_among_them() {
    let api = Api::new();
    api.template("mine", "good").await;
    api.template("other", "good").await;
    for name in ["mine", "other", "mine"] {
        assert_eq!(api.on(name, "try", json!({})).await.0, 200);
    }
    let (_, runs) = api.get("/api/v1/templates/mine/runs").await;
    let rows = runs["items"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{runs}");
    assert_eq!(
        (&rows[0]["rows"], &rows[0]["trial"], &rows[0]["outcome"]),
        (&json!(3), &json!(true), &json!("ok"))
    );
    assert_eq!(api.get("/api/v1/templates/never_was/runs").await.0, 404);
}

#[tokio::test]
async fn a_bad_name_or_text_is_told_by_its_field() {
    let mut api = Api::new();
    for (body, pointer) in [
        (json!({"name": "sql_mine", "source": "good"}), "/name"),
        (json!({"name": "Mine", "source": "good"}), "/name"),
        (json!({"name": "mine", "source": ""}), "/source"),
        (json!({"name": "mine", "source": "a\u{0}b"}), "/source"),
    ] {
        let (status, problem) = api.post("/api/v1/templates", &body.to_string()).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    api.key = api.world.key(&[Scope::TemplatesRead]);
    assert_eq!(api.get("/api/v1/templates").await.0, 200);
    let new = json!({"name": "mine", "source": "good"});
    assert_eq!(api.post("/api/v1/templates", &new.to_string()).await.0, 403);
}
