//! Webhooks of an instance, what came of deliveries, and the address deliveries come in at.

use domain::Scope;
use http::{Request, Response};
use serde_json::{Value, json};

use super::{Api, Body};

const INSTANCE: &str = "/api/v1/instances/00000000-0000-0000-0000-000000000005";

fn webhook() -> String {
    format!("{INSTANCE}/webhook")
}

fn deliveries() -> String {
    format!("{INSTANCE}/webhook/deliveries")
}

async fn delete(api: &Api, path: &str) -> (u16, Value) {
    let (response, answer) = api.send(api.request("DELETE", path), Body::empty()).await;
    (response.status().as_u16(), answer)
}

/// A webhook somebody has set up by hand: where deliveries go, and what signs them.
struct Hooked {
    path: String,
    secret: String,
}

impl Hooked {
    async fn new(api: &Api) -> Self {
        let (status, told) = api.post(&webhook(), "").await;
        assert_eq!(status, 200, "{told}");
        let url = told["url"].as_str().unwrap();
        let path = url.strip_prefix("https://patchbay.example").expect("it is below the public URL");
        assert!(path.starts_with("/webhooks/stub/") && path.len() > 60, "{path}");
        Self { path: path.to_owned(), secret: told["secret"].as_str().unwrap().to_owned() }
    }

    async fn deliver(&self, api: &Api, id: &str, body: &str) -> (Response<()>, Value) {
        let request = Request::builder().method("POST").uri(&self.path).header("x-signature", &self.secret);
        api.send(request.header("x-delivery", id), body.to_owned()).await
    }
}

fn item(key: &str) -> Value {
    let hint = domain::Hint::Item { source_id: None, ref_key: None, key: Some(key.to_owned()) };
    serde_json::to_value(hint).unwrap()
}

#[tokio::test]
async fn before_anybody_sets_it_up_there_is_none_and_nothing_was_delivered() {
    let api = Api::new();
    let (status, none) = api.get(&webhook()).await;
    assert_eq!(status, 200, "{none}");
    let expected = json!({"state": "none", "managed": false, "url": null, "steps": [], "expires_at": null,
        "problem": null, "created_at": null, "last_delivery_at": null});
    assert_eq!(none, expected);
    let (status, empty) = api.get(&deliveries()).await;
    assert_eq!((status.as_u16(), empty), (200, json!({"items": [], "next_cursor": null})));
    let (status, problem) = delete(&api, &webhook()).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
}

#[tokio::test]
async fn what_is_set_up_by_hand_tells_steps_and_address_and_the_secret_once() {
    let mut api = Api::new();
    let (status, told) = api.post(&webhook(), "{}").await;
    assert_eq!(
        (status.as_u16(), &told["state"], &told["managed"]),
        (200, &json!("pending"), &json!(false)),
        "{told}"
    );
    let (url, secret) = (told["url"].as_str().unwrap(), told["secret"].as_str().unwrap());
    assert_eq!(told["steps"], json!([format!("Enter {url} as the address.")]));
    assert_eq!(secret.len(), 64);
    let (_, later) = api.get(&webhook()).await;
    assert_eq!((&later["url"], later.get("secret"), &later["steps"]), (&told["url"], None, &told["steps"]));
    let (_, again) = api.post(&webhook(), "").await;
    assert_eq!(again["url"], told["url"], "the address stays");
    assert_ne!(again["secret"], told["secret"]);

    let admin = std::mem::take(&mut api.key);
    api.key = api.world.key(&[Scope::InstancesRead]);
    let (status, seen) = api.get(&webhook()).await;
    assert_eq!((status.as_u16(), &seen["url"], &seen["steps"]), (200, &Value::Null, &json!([])), "{seen}");
    assert!(!seen.to_string().contains(secret));
    assert_eq!(api.post(&webhook(), "").await.0, 403);
    assert_eq!(delete(&api, &webhook()).await.0, 403);
    api.key = admin;
    assert_eq!(delete(&api, &webhook()).await.0, 204);
    assert_eq!(api.get(&webhook()).await.1["state"], "none");
}

#[tokio::test]
async fn what_the_tracker_does_not_take_back_goes_by_force() {
    let api = Api::new();
    let body = r#"{"source": "stub", "name": "managed", "credentials": {"kind": "pat", "token": "t"}}"#;
    let (_, made) = api.post("/api/v1/instances", body).await;
    let path = format!("/api/v1/instances/{}/webhook", made["id"].as_str().unwrap());
    let (status, told) = api.post(&path, "").await;
    assert_eq!(
        (status.as_u16(), &told["state"], &told["managed"]),
        (200, &json!("active"), &json!(true)),
        "{told}"
    );
    assert_eq!((told.get("secret"), &told["steps"]), (None, &json!([])));
    for query in ["", "?force=false"] {
        let (status, problem) = delete(&api, &format!("{path}{query}")).await;
        assert!(status >= 500, "{query}: {problem}");
        assert_eq!(api.get(&path).await.1["state"], "active");
    }
    for wrong in ["?force=maybe", "?force=", "?force=1"] {
        let (status, problem) = delete(&api, &format!("{path}{wrong}")).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/force")), "{wrong}: {problem}");
    }
    let (status, problem) = delete(&api, &format!("{path}?with=force")).await;
    assert!((400..500).contains(&status), "{problem}");
    assert_eq!(delete(&api, &format!("{path}?force=true")).await.0, 204);
    assert_eq!(delete(&api, &format!("{path}?force=true")).await.0, 404);
}

#[tokio::test]
async fn wrong_bodies_parameters_and_ids_are_refused() {
    let api = Api::new();
    for body in [r#"{"url": "https://evil.example"}"#, r#"[{}]"#, "null", "x"] {
        let (status, problem) = api.post(&webhook(), body).await;
        assert!(matches!(status.as_u16(), 400 | 422), "{body}: {problem}");
    }
    assert_eq!(api.get(&webhook()).await.1["state"], "none");
    for (query, pointer) in [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=many", "/limit"),
        ("cursor=x", "/cursor"),
        ("cursor=cnVucwAAAA", "/cursor"),
    ] {
        let (status, problem) = api.get(&format!("{}?{query}", deliveries())).await;
        assert_eq!(
            (status.as_u16(), &problem["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{query}: {problem}"
        );
    }
    let unknown = INSTANCE.replace("0005", "0099");
    let replay = |instance: &str, delivery: &str| format!("{instance}/webhook/deliveries/{delivery}/replay");
    let nobody = "00000000-0000-0000-0000-000000000042";
    for path in [format!("{unknown}/webhook"), format!("{unknown}/webhook/deliveries")] {
        let (status, problem) = api.get(&path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")), "{path}");
    }
    for path in [
        format!("{unknown}/webhook"),
        replay(&unknown, nobody),
        replay(INSTANCE, nobody),
        replay(INSTANCE, "last"),
        replay("/api/v1/instances/core", nobody),
    ] {
        let (status, problem) = api.post(&path, "").await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")), "{path}: {problem}");
    }
    assert_eq!(delete(&api, &format!("{unknown}/webhook")).await.0, 404);
}

#[tokio::test]
async fn deliveries_are_listed_page_by_page_and_applied_once_more_on_demand() {
    let mut api = Api::new();
    let hooked = Hooked::new(&api).await;
    for number in 0..3 {
        let hints = json!([item(&format!("core#{number}")), {"what": "reference"}]);
        let (response, body) = hooked.deliver(&api, &format!("d{number}"), &hints.to_string()).await;
        assert_eq!(response.status(), 200, "{body}");
    }
    let many: Vec<Value> = (100..115).map(|number| item(&format!("core#{number}"))).collect();
    hooked.deliver(&api, &"x".repeat(300), &json!(many).to_string()).await;
    // A repeated one is answered well and not listed.
    assert_eq!(hooked.deliver(&api, "d1", "[]").await.0.status(), 200);

    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = api.get(&format!("{}?limit=3{cursor}", deliveries())).await;
        assert_eq!(status, 200, "{page}");
        listed.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed.len(), 4);
    assert_eq!(
        listed[0]["items"].as_array().map(Vec::len),
        Some(10),
        "the first ten of fifteen: {}",
        listed[0]
    );
    assert!(listed[0]["delivery_id"].as_str().unwrap().starts_with("sha256:"));
    let oldest = &listed[3];
    let told =
        (&oldest["delivery_id"], &oldest["event"], &oldest["items"], &oldest["outcome"], &oldest["attempts"]);
    assert_eq!(told, (&json!("d0"), &json!("changed"), &json!(["core#0"]), &json!("waiting"), &json!(0)));

    let replay = format!("{}/{}/replay", deliveries(), oldest["id"].as_str().unwrap());
    let (status, again) = api.post(&replay, "").await;
    assert_eq!((status.as_u16(), &again["id"]), (202, &oldest["id"]), "{again}");
    let (status, problem) = api.post(&replay, r#"{"force": true}"#).await;
    assert!(matches!(status.as_u16(), 400 | 422), "{problem}");
    api.key = api.world.key(&[Scope::InstancesRead]);
    assert_eq!(api.post(&replay, "").await.0, 403);
    assert_eq!(api.get(&deliveries()).await.0, 200);
}

#[tokio::test]
async fn the_address_takes_what_is_signed_and_tells_strangers_nothing() {
    let api = Api::new();
    let hooked = Hooked::new(&api).await;
    let post = |path: &str| Request::builder().method("POST").uri(path);
    let (response, problem) = api.send(post(&hooked.path), "[]").await;
    assert_eq!(
        (response.status().as_u16(), &problem["code"]),
        (401, &json!("unsigned_delivery")),
        "{problem}"
    );
    let (response, _) = api.send(post(&hooked.path).header("x-signature", "guessed"), "[]").await;
    assert_eq!(response.status(), 401);
    let (response, problem) = hooked.deliver(&api, "d1", "not what was promised").await;
    assert_eq!(
        (response.status().as_u16(), &problem["code"]),
        (400, &json!("malformed_delivery")),
        "{problem}"
    );
    let (response, problem) = hooked.deliver(&api, "d1", &" ".repeat(1024 * 1024 + 1)).await;
    assert_eq!(response.status(), 413, "{problem}");
    assert!(!problem.to_string().contains(&hooked.secret));

    let unknown = format!("/webhooks/stub/{}", "f".repeat(64));
    let elsewhere = hooked.path.replace("/stub/", "/github/");
    let mut answers = Vec::new();
    for path in [unknown.as_str(), elsewhere.as_str(), "/webhooks/nothing/x"] {
        let (response, problem) = api.send(post(path).header("x-signature", &hooked.secret), "[]").await;
        assert_eq!(response.status(), 404, "{path}");
        answers.push(problem["detail"].clone());
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    let (response, _) = api.send(Request::builder().method("GET").uri(&hooked.path), Body::empty()).await;
    assert_eq!(response.status(), 405);
    assert_eq!(api.get(&deliveries()).await.1["items"], json!([]));
    // A key opens nothing here, and is not asked for.
    assert_eq!(hooked.deliver(&api, "d1", "[]").await.0.status(), 200);
}
