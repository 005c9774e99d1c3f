//! Against a GitHub that somebody else wrote: npm `emulate`, which `cargo xtask test` fetches.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use application::ports::{ItemAddress, ItemWrite, Look};
use domain::{Cursor, ItemPatch, ListChange, NewComment, NewItem, StreamName, Transition};
use http::{HeaderMap, Method, header};
use tokio::net::TcpListener;

use super::*;

/// The token of the user it begins with.
const ADMIN: &str = "test_token_admin";

struct Emulated {
    _process: Running,
    url: String,
    client: EgressClient,
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Emulated {
    /// `None` where the program was not fetched.
    async fn start() -> Option<Self> {
        let (node, folder) = (env::var_os("PATCHBAY_TEST_NODE")?, env::var_os("PATCHBAY_TEST_EMULATE_DIR")?);
        let script = PathBuf::from(folder).join("node_modules/emulate/dist/index.js");
        // It takes no port 0. Another may take the port before it does; then it says so and ends.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
            let process = Command::new(Path::new(&node))
                .arg(&script)
                .args(["start", "--service", "github", "--port", &port.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut process = Running(process);
            let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
            let client = EgressClient::new(policy).unwrap();
            let url = format!("http://127.0.0.1:{port}");
            for _ in 0..300 {
                if process.0.try_wait().unwrap().is_some() {
                    break;
                }
                if client.get(&Url::parse(&format!("{url}/user")).unwrap(), HeaderMap::new()).await.is_ok() {
                    return Some(Self { _process: process, url, client });
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        panic!("npm emulate did not start")
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {ADMIN}").parse().unwrap());
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        let url = Url::parse(&format!("{}{path}", self.url)).unwrap();
        let answer =
            self.client.send(Method::POST, &url, headers, Some(body.to_string().into())).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {} {:?}", answer.status, answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }
}

#[tokio::test]
async fn a_github_written_by_others_takes_our_writes_and_is_read_as_it_is() {
    let Some(emulated) = Emulated::start().await else {
        eprintln!(
            "skipped: npm emulate is not here (PATCHBAY_TEST_EMULATE_DIR), because npm cannot be reached"
        );
        return;
    };
    let made = emulated.post("/user/repos", json!({"name": "app", "auto_init": true})).await;
    let repository = made["full_name"].as_str().unwrap().to_owned();
    let owner = made["owner"]["login"].as_str().unwrap().to_owned();
    let label = json!({"name": "regression", "color": "ededed"});
    emulated.post(&format!("/repos/{repository}/labels"), label).await;
    emulated.post(&format!("/repos/{repository}/milestones"), json!({"title": "1.0"})).await;

    let settings =
        json!({"repositories": [repository], "streams": ["issues", "comments", "labels", "milestones"]});
    let connection = connection(&emulated.url, token(ADMIN), settings);
    let adapter = github();
    let writer = adapter.writer().unwrap();
    let report = adapter.test_connection(&connection).await.unwrap();
    assert_eq!((report.account.as_str(), report.problems.len()), (owner.as_str(), 0), "{report:?}");

    let (first, new) = (
        marker(),
        NewItem {
            project: repository.clone(),
            title: "Refunds are rounded twice".into(),
            body: Some("Since **Monday**".into()),
            labels: vec!["Regression".into()],
            assignees: vec![owner.clone()],
            milestone: Some("1.0".into()),
            ..NewItem::default()
        },
    );
    let written = writer.create_item(&connection, &new, &first).await.unwrap();
    assert!(written.warnings.is_empty(), "{:?}", written.warnings);
    let look = writer.look(&connection, &ItemWrite::Create(new), &first).await.unwrap();
    assert!(matches!(look, Look::Found(_)), "{look:?}");
    let unknown = NewItem {
        project: repository.clone(),
        title: "x".into(),
        labels: vec!["regresion".into()],
        ..NewItem::default()
    };
    let error = refused(
        writer.create_item(&connection, &unknown, &marker()).await,
        SourceErrorKind::Rejected,
        "/labels",
    );
    assert_eq!(error.allowed[0], "regression");

    let patch = ItemPatch {
        title: Some("Refunds are rounded once".into()),
        labels: Some(ListChange::Set(Vec::new())),
        milestone: Some(None),
        ..ItemPatch::default()
    };
    let changed = writer.update_item(&connection, &written.key, &patch, &marker()).await.unwrap();
    let fields: Vec<&str> = changed.changed.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["title", "labels", "milestone"], "{changed:?}");
    let comment = NewComment { body: "Found it.".into(), internal: false, documents: false };
    let second = marker();
    let said = writer.add_comment(&connection, &written.key, &comment, &second).await.unwrap();
    assert!(said.comment_id.is_some());
    let close =
        Transition { to: "closed".into(), resolution: Some("not_planned".into()), ..Transition::default() };
    let closed = writer.transition_item(&connection, &written.key, &close, &marker()).await.unwrap();
    assert_eq!(closed.changed[0].to, "closed");

    for at in 0..3 {
        emulated.post(&format!("/repos/{repository}/issues"), json!({"title": format!("Number {at}")})).await;
    }
    let project = adapter.list_projects(&connection).await.unwrap().remove(0);
    let walk = async |stream: &str| {
        let stream = StreamName::new(stream);
        let (mut records, mut cursor): (domain::PageRecords, Option<Cursor>) = Default::default();
        loop {
            let request = application::ports::PageRequest {
                stream: &stream,
                project: Some(&project),
                items: &[],
                cursor: cursor.as_ref(),
                since: None,
                validator: None,
            };
            let page = adapter.fetch_page(&connection, request).await.unwrap();
            records.append(page.records);
            let Some(next) = page.next else { return records };
            cursor = Some(next);
        }
    };
    let items = walk("issues").await;
    assert_eq!((items.items.len(), items.unmapped.len()), (4, 0));
    let item = items.items.iter().find(|item| item.source_key == written.key).unwrap();
    assert_eq!(
        (item.title.as_str(), item.body.as_deref()),
        ("Refunds are rounded once", Some("Since **Monday**"))
    );
    assert_eq!(item.resolution_original.as_deref(), Some("not_planned"));
    assert_eq!((item.labels.len(), item.milestone.as_deref(), item.assignees.len()), (0, None, 1));
    // It has no list of all comments; the one comment is found by its marker.
    let look =
        writer.look(&connection, &ItemWrite::Comment(written.key.clone(), comment), &second).await.unwrap();
    assert!(matches!(&look, Look::Found(found) if found["comment_id"] == json!(said.comment_id)), "{look:?}");
    let ids = adapter.list_ids(&connection, &project, None).await.unwrap();
    assert_eq!(ids.ids.len(), 4);
    let address = ItemAddress { key: Some(written.key.clone()), ..ItemAddress::default() };
    let fetched = adapter.fetch_items(&connection, &[address]).await.unwrap();
    assert_eq!((fetched.records.items.len(), fetched.invisible.len()), (1, 0), "{fetched:?}");
    let missing = ItemAddress { key: Some(format!("{repository}#4711")), ..ItemAddress::default() };
    let fetched = adapter.fetch_items(&connection, &[missing]).await.unwrap();
    assert_eq!(fetched.records.gone.len(), 1, "{fetched:?}");
}
