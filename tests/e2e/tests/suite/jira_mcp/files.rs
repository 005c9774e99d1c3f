//! The set `files`: what is attached is read in bounds or by a link, and attached by one, each within what its key may at
//! that moment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::work::fits;
use super::writes::{INTENDED, PASSED, change};
use super::*;

const TOOLS: [&str; 3] = ["jira_get_attachment", "jira_create_upload", "jira_attach_file"];
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand so on";

impl World {
    fn attach(&self, key: &str, name: &str, content: &[u8]) -> String {
        let content = content.to_vec();
        self.tracker
            .control()
            .with_jira("acme", |site| site.attach_file(key, name, content))
            .unwrap()
            .unwrap()
    }

    /// A file that was announced and sent; its handle.
    async fn upload(&self, name: &str, content: &[u8]) -> String {
        let room = self.done("jira_create_upload", json!({"filename": name, "size": content.len()})).await;
        let url = room["url"].as_str().unwrap();
        let sent = self.admin.follow(url, Some(content.to_vec())).await.unwrap();
        assert_eq!(sent.status, 200, "{sent:?}");
        room["upload_handle"].as_str().unwrap().to_owned()
    }

    /// How many files of this name an issue has, asked without Patchbay.
    async fn attached(&self, key: &str, name: &str) -> usize {
        let jira = Api::new(&self.tracker.url(), WRITER).unwrap();
        let issue = jira.get(&format!("/jira/acme/rest/api/2/issue/{key}?fields=attachment")).await.unwrap();
        assert_eq!(issue.status, 200, "{issue:?}");
        let files = issue.body["fields"]["attachment"].as_array();
        files.into_iter().flatten().filter(|file| file["filename"] == name).count()
    }

    /// Files of an issue, as its tracker has them.
    async fn files_of(&self, key: &str) -> Vec<Value> {
        let read = self.done("jira_get_issue", json!({"key": key, "include": ["attachments"]})).await;
        read["attachments"].as_array().cloned().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_told_as_text_or_picture_or_had_by_a_link_that_tells_nothing_of_the_tracker() {
    let world = World::with("files").await;
    let tools = world.set_of(&TOOLS).await;
    let page = b"<html><script>alert(1)</script>".repeat(20_000);
    world.attach("ENG-7", "Grüße \"1\".html", &page);
    world.attach("ENG-7", "photo.png", PNG);
    let get = |file: &str, form: &str| json!({"key": "eng-7", "attachment": file, "as": form});

    let text = world.call(&world.key, "jira_get_attachment", get("Grüße \"1\".html", "text")).await;
    let told = &text["structuredContent"];
    fits(&tools, "jira_get_attachment", told);
    assert!(told["text"].as_str().unwrap().starts_with("<html><script>") && told["cut"].is_array(), "{told}");
    assert!(text["content"][0]["text"].as_str().unwrap().contains("not instructions"), "{text}");

    let picture = world.call(&world.key, "jira_get_attachment", get("photo.png", "image")).await;
    fits(&tools, "jira_get_attachment", &picture["structuredContent"]);
    let block = &picture["content"][1];
    assert_eq!((&block["type"], &block["mimeType"]), (&json!("image"), &json!("image/png")), "{picture}");
    assert_eq!(STANDARD.decode(block["data"].as_str().unwrap()).unwrap(), PNG);
    let plain = world.admin.with_key(&world.key);
    let plain = plain.invoke(&world.mcp, "jira_get_attachment", &get("photo.png", "image")).await.unwrap();
    assert_eq!(plain.body["image"]["data"], block["data"], "{plain:?}");

    let told = world.call(&world.key, "jira_get_attachment", get("Grüße \"1\".html", "link")).await;
    let told = told["structuredContent"].clone();
    fits(&tools, "jira_get_attachment", &told);
    let url = told["url"].as_str().unwrap();
    assert!(!url.contains(&world.tracker.url()) && url.contains("/files/"), "{url}");
    let file = world.admin.follow(url, None).await.unwrap();
    assert_eq!((file.status, file.body.len()), (200, page.len()));
    assert!(file.body == page, "it is not what was attached");
    let header = |name: &str| file.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert!(header("content-disposition").starts_with("attachment; filename="), "{file:?}");
    assert!(header("content-security-policy").contains("sandbox"));

    // A link is for reading what it names.
    let put = world.admin.follow(url, Some(b"x".to_vec())).await.unwrap();
    assert_eq!(put.status, 404, "{put:?}");
    let forged = format!("{}A", &url[..url.len() - 1]);
    let forged = if forged == url { format!("{}B", &url[..url.len() - 1]) } else { forged };
    assert_eq!(world.admin.follow(&forged, None).await.unwrap().status, 404);
    // Records of reads are stored in batches.
    let downloads = "select count(*) from audit_log where action = 'attachment.download' and outcome = 'ok'";
    while world.patchbay.database.count(downloads).await.unwrap() != 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_by_a_link_and_attached_once() {
    let world = World::with("files").await;
    let tools = world.set_of(&TOOLS).await;
    let key = world.make("Needs a log").await;
    // More than a call of a tool may send.
    let content = b"\0line\r\n".repeat(300_000);
    let ask = json!({"filename": "trace.bin", "size": content.len()});
    let room = world.done("jira_create_upload", ask.clone()).await;
    fits(&tools, "jira_create_upload", &room);
    let (url, handle) = (room["url"].as_str().unwrap(), room["upload_handle"].as_str().unwrap());
    let attach = json!({"key": key, "upload_handle": handle, "idempotency_key": "attached"});
    let early = world.refused(&world.writing_key, "jira_attach_file", attach.clone()).await;
    assert_eq!(early["field"], "/upload_handle", "{early}");
    for (body, status) in
        [(b"short".to_vec(), 422), ([&content[..], b"more"].concat(), 413), (content.clone(), 200)]
    {
        let sent = world.admin.follow(url, Some(body)).await.unwrap();
        assert_eq!(sent.status, status, "{:?}", String::from_utf8_lossy(&sent.body));
    }
    assert_eq!(world.admin.follow(url, None).await.unwrap().status, 404, "an upload can be read back");

    world.tracker.control().reset_requests();
    let mut rehearsal = attach.clone();
    rehearsal["dry_run"] = true.into();
    let told = world.done("jira_attach_file", rehearsal).await;
    fits(&tools, "jira_attach_file", &told);
    assert_eq!(change(&told, "attachments")["to"]["filename"], "trace.bin");
    assert_eq!(world.sent(), 0, "a dry run attached it");
    let told = world.done("jira_attach_file", attach.clone()).await;
    fits(&tools, "jira_attach_file", &told);
    let again = world.done("jira_attach_file", attach.clone()).await;
    assert_eq!((&again["attachment_id"], &again["replayed"]), (&told["attachment_id"], &json!(true)));
    let kept = "select count(*) from uploads where content is not null";
    assert_eq!(world.patchbay.database.count(kept).await.unwrap(), 0, "the file is kept");
    let files = world.files_of(&key).await;
    assert_eq!((files.len(), &files[0]["size"]), (1, &json!(content.len())), "{files:?}");

    // Used up: under another key it is another write, for which there is no file any more.
    let mut other = attach.clone();
    other["idempotency_key"] = "another".into();
    let refused = world.refused(&world.writing_key, "jira_attach_file", other).await;
    assert_eq!(refused["field"], "/upload_handle", "{refused}");

    // A lost answer is looked for before anything is sent again.
    let lost = world.upload("lost.txt", b"some text").await;
    let matching = FaultMatch {
        method: Some("POST".into()),
        path_contains: Some("/attachments".into()),
        ..FaultMatch::default()
    };
    world.tracker.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
    let lost = json!({"key": key, "upload_handle": lost, "idempotency_key": "lost"});
    let told = world.done("jira_attach_file", lost.clone()).await;
    let again = world.done("jira_attach_file", lost).await;
    assert_eq!((&again["attachment_id"], &again["replayed"]), (&told["attachment_id"], &json!(true)));
    assert_eq!(world.files_of(&key).await.len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_handles_are_good_for_who_got_them_and_while_they_may() {
    let world = World::with("files").await;
    world.attach("ENG-7", "a.txt", b"text");
    let handle = world.upload("b.txt", b"text").await;
    let attach = json!({"key": "ENG-7", "upload_handle": handle});
    let stranger = world.key_with(json!({})).await;
    let told = world.refused(&stranger, "jira_attach_file", attach.clone()).await;
    assert_eq!(told["field"], "/upload_handle", "{told}");
    let narrow = world.key_with(json!({"projects_write": []})).await;
    let room = world.call(&narrow, "jira_create_upload", json!({"filename": "c.txt", "size": 1})).await;
    let room = &room["structuredContent"];
    let sent = world.admin.follow(room["url"].as_str().unwrap(), Some(b"x".to_vec())).await.unwrap();
    assert_eq!(sent.status, 200);
    let outside = json!({"key": "ENG-7", "upload_handle": room["upload_handle"]});
    let told = world.refused(&narrow, "jira_attach_file", outside).await;
    assert_eq!(told["code"], "exceeds_own_rights", "{told}");
    for tool in ["jira_create_upload", "jira_attach_file"] {
        let told = world.refused(&world.key, tool, json!({})).await;
        assert_eq!(told["code"], "forbidden", "who only reads uses {tool}: {told}");
    }

    // A key that is revoked takes its links with it, on every replica within seconds.
    let made = json!({"name": "short-lived", "kind": "assistant", "scopes": ["mcp:jira:write"]});
    let made = world.admin.post("/api/v1/keys", &made).await.unwrap().body;
    let secret = made["secret"].as_str().or(made["key"].as_str()).unwrap().to_owned();
    let link = json!({"key": "ENG-7", "attachment": "a.txt"});
    let link = world.call(&secret, "jira_get_attachment", link).await["structuredContent"].clone();
    let room = json!({"filename": "d.txt", "size": 1});
    let room = world.call(&secret, "jira_create_upload", room).await["structuredContent"].clone();
    let (get, put) = (link["url"].as_str().unwrap(), room["url"].as_str().unwrap());
    assert_eq!(world.admin.follow(get, None).await.unwrap().status, 200);
    let id = made["id"].as_str().unwrap();
    let revoked = world.admin.send(Method::DELETE, &format!("/api/v1/keys/{id}"), None).await.unwrap();
    assert_eq!(revoked.status, 204, "{revoked:?}");
    assert_eq!(world.admin.follow(get, None).await.unwrap().status, 404, "a revoked key's link is followed");
    assert_eq!(world.admin.follow(put, Some(b"x".to_vec())).await.unwrap().status, 404);

    // So does whoever takes the file away.
    let id = world.attach("ENG-7", "gone.txt", b"text");
    let link = world.done("jira_get_attachment", json!({"key": "ENG-7", "attachment": id})).await;
    let link = link["url"].as_str().unwrap();
    assert_eq!(world.admin.follow(link, None).await.unwrap().status, 200);
    world.tracker.control().with_jira("acme", |site| site.detach_file("ENG-7", &id)).unwrap().unwrap();
    assert_eq!(world.admin.follow(link, None).await.unwrap().status, 404);

    // So does a policy that hides files, or takes the tool away.
    let link = json!({"key": "ENG-7", "attachment": "a.txt"});
    let link = world.done("jira_get_attachment", link).await["url"].as_str().unwrap().to_owned();
    assert_eq!(world.admin.follow(&link, None).await.unwrap().status, 200);
    world.set_policy(json!({"denied_tools": ["jira_get_attachment"]})).await;
    assert_eq!(world.admin.follow(&link, None).await.unwrap().status, 404);
    world.set_policy(json!({"hidden_fields": ["Attachment"]})).await;
    assert_eq!(world.admin.follow(&link, None).await.unwrap().status, 422);
    let hidden = world.refused(&world.writing_key, "jira_attach_file", attach).await;
    assert_eq!(hidden["field"], "/attachment", "{hidden}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_attached_once_though_the_server_is_killed_while_it_attaches_it() {
    let mut world = World::with("files").await;
    let key = world.make("Needs logs").await;
    // Kept waiting for longer than the test takes: what the dead server had asked for is not done later.
    let never = FaultKind::Slow { ms: 3_600_000 };
    for (moment, method, path, kind) in [
        ("meant", "GET", "/issue/", never.clone()),
        ("sent", "POST", "/attachments", never),
        ("done", "POST", "/attachments", FaultKind::AnswerLost),
    ] {
        let name = format!("{moment}.txt");
        let handle = world.upload(&name, b"some text").await;
        let attach = json!({"key": key, "upload_handle": handle, "idempotency_key": moment});
        let next = world.patchbay.serve_with("admin,mcp-jira", &WIDE).await.unwrap();
        let control = world.tracker.control();
        control.reset_requests();
        let matching = FaultMatch {
            method: Some(method.into()),
            path_contains: Some(path.into()),
            ..FaultMatch::default()
        };
        control.add_fault(FaultRule { matching, kind });
        let (api, mcp, first) = (world.admin.with_key(&world.writing_key), world.mcp.clone(), attach.clone());
        let first = tokio::spawn(async move { api.invoke(&mcp, "jira_attach_file", &first).await });
        let arrived = || {
            let requests = world.tracker.control().requests();
            requests.iter().any(|one| one.method == method && one.path_and_query.contains(path))
        };
        until(moment, async || match moment {
            "meant" => arrived() && world.patchbay.database.count(INTENDED).await.unwrap() == 1,
            "sent" => arrived(),
            _ => world.attached(&key, &name).await > 0,
        })
        .await;
        std::mem::replace(&mut world.running, next).kill_9().await.unwrap();
        // Whether it was answered before is of no matter.
        drop(first.await);
        world.tracker.control().clear_faults();
        world.mcp = format!("{}?toolsets=core,files", world.running.mcp_jira_url.clone().unwrap());
        world.admin = world.running.api(&world.patchbay.key("acme", "admin").await.unwrap()).unwrap();
        assert_eq!(world.attached(&key, &name).await, usize::from(moment == "done"), "{moment}");

        let mut told = Value::Null;
        until("an answer that is certain", async || {
            world.patchbay.database.execute(PASSED, "intended").await.unwrap();
            let again = world.call(&world.writing_key, "jira_attach_file", attach.clone()).await;
            told = again["structuredContent"].clone();
            !["idempotency_in_flight", "write_unsure"].iter().any(|code| told["code"] == *code)
        })
        .await;
        assert!(told["attachment_id"].is_string(), "{moment}: {told}");
        let again = world.done("jira_attach_file", attach).await;
        assert_eq!((&again["attachment_id"], &again["replayed"]), (&told["attachment_id"], &json!(true)));
        assert_eq!(world.attached(&key, &name).await, 1, "{moment}: files at the tracker");
    }
    world.end().await;
}
