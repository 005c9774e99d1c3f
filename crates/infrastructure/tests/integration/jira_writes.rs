//! Writes to both dialects of Jira, as the simulator takes them.

mod admin;
mod files;
mod webhooks;
mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use application::ports::{
    Connection, ItemWrite, Look, SourceAdapter, SourceError, SourceErrorKind, SourceWriter,
};
use domain::{Credential, InstanceId, ItemPatch, ListChange, NewComment, NewItem, SourceKind, Transition};
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::sources;
use serde_json::{Value, json};
use simulator::{Deployment, FaultKind, FaultMatch, FaultRule, JiraLogin, Simulator, SimulatorConfig};
use uuid::Uuid;

const BOTH: [Deployment; 2] = [Deployment::Cloud, Deployment::DataCenter];

struct Tracker {
    deployment: Deployment,
    simulator: Simulator,
    connection: Connection,
    adapter: Arc<dyn SourceAdapter>,
}

fn adapter() -> Arc<dyn SourceAdapter> {
    let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    sources::registry(EgressClient::new(policy).unwrap()).get(&SourceKind::new("jira")).unwrap().clone()
}

impl Tracker {
    async fn start(deployment: Deployment) -> Self {
        let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let login = JiraLogin::new(Some("ann@example.com"), "t0ken");
        let site = simulator::generate::jira("acme", deployment, &[("ENG", 7, 40)]).with_login(login);
        simulator.control().add_jira(site).unwrap();
        let connection = Connection {
            instance: InstanceId::new(Uuid::now_v7()),
            base_url: format!("{}/jira/acme", simulator.url()).parse().unwrap(),
            credential: Credential::Basic {
                email: "ann@example.com".into(),
                token: "t0ken".to_owned().into(),
            },
            settings: json!({"projects": ["ENG"]}),
            mappings: Arc::default(),
            requests: AtomicI64::new(0),
        };
        Self { deployment, simulator, connection, adapter: adapter() }
    }

    fn writer(&self) -> &dyn SourceWriter {
        self.adapter.writer().expect("Jira is written to")
    }

    /// Requests that change something, searches not counted.
    fn changes(&self) -> Vec<String> {
        let requests = self.simulator.control().requests().into_iter();
        let changing = requests.filter(|request| request.method != "GET");
        let changing = changing.filter(|request| !request.path_and_query.contains("/search"));
        let changing = changing.filter(|request| !request.path_and_query.contains("/comment/list"));
        changing.map(|request| format!("{} {}", request.method, request.path_and_query)).collect()
    }

    async fn look(&self, write: ItemWrite, marker: &str) -> Look {
        self.writer().look(&self.connection, &write, marker).await.unwrap()
    }

    /// A comment as somebody writes it who is not Patchbay.
    async fn say(&self, key: &str, text: &str) {
        let document = json!({"version": 1, "type": "doc", "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": text}]}]});
        let (version, body) = match self.deployment {
            Deployment::Cloud => ("3", document),
            Deployment::DataCenter => ("2", json!(text)),
        };
        let url = format!("{}/rest/api/{version}/issue/{key}/comment", self.connection.base_url);
        #[expect(clippy::disallowed_methods, reason = "this is a person, not the product")]
        let client = reqwest::Client::builder().build().unwrap();
        let sent = client
            .post(url)
            .basic_auth("ann@example.com", Some("t0ken"))
            .json(&json!({"body": body}))
            .send()
            .await
            .unwrap();
        assert!(sent.status().is_success(), "{}", sent.status());
    }

    async fn make(&self, title: &str) -> String {
        let new = NewItem { project: "ENG".into(), title: title.into(), ..NewItem::default() };
        self.writer().create_item(&self.connection, &new, &marker()).await.unwrap().key
    }
}

fn marker() -> String {
    format!("patchbay-{}", Uuid::now_v7().simple())
}

fn bug() -> NewItem {
    NewItem {
        project: "ENG".into(),
        item_type: Some("bug".into()),
        title: "Login fails after the update".into(),
        body: Some("It **fails** on every phone.".into()),
        assignees: vec!["Jun Harada".into()],
        labels: vec!["mobile".into(), "regression".into()],
        priority: Some("high".into()),
        due_on: Some("2027-02-01".parse().unwrap()),
        fields: [("story points".to_owned(), json!(3))].into(),
        ..NewItem::default()
    }
}

fn found(look: Look) -> Value {
    match look {
        Look::Found(value) => value,
        other => panic!("not found: {other:?}"),
    }
}

#[tokio::test]
async fn an_issue_is_made_with_everything_by_name_and_found_again_by_its_marker() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let marker = marker();
        assert_eq!(tracker.look(ItemWrite::Create(bug()), &marker).await, Look::Absent);
        let made = tracker.writer().create_item(&tracker.connection, &bug(), &marker).await.unwrap();
        assert!(made.key.starts_with("ENG-") && made.url.ends_with(&format!("/browse/{}", made.key)));
        assert!(made.updated_at.is_some());
        let value = |name: &str| made.changed.iter().find(|c| c.field == name).map(|c| c.to.clone());
        assert_eq!(value("type"), Some(json!("Bug")), "{deployment:?}");
        assert_eq!(value("title"), Some(json!("Login fails after the update")));
        let body = value("body").and_then(|body| body.as_str().map(|body| body.trim().to_owned()));
        assert_eq!(body.as_deref(), Some("It **fails** on every phone."));
        assert_eq!(value("assignees"), Some(json!("Jun Harada")));
        assert_eq!(value("labels"), Some(json!(["mobile", "regression"])));
        assert_eq!(value("priority"), Some(json!("High")));
        assert_eq!(value("due_on"), Some(json!("2027-02-01")));
        assert_eq!(value("Story Points").and_then(|points| points.as_f64()), Some(3.0));
        assert_eq!(tracker.changes().len(), 1, "{:?}", tracker.changes());

        let same = found(tracker.look(ItemWrite::Create(bug()), &marker).await);
        assert_eq!(
            (same["key"].as_str(), same["source_id"].as_str()),
            (Some(&*made.key), Some(&*made.source_id))
        );
        assert_eq!(tracker.look(ItemWrite::Create(bug()), &self::marker()).await, Look::Absent);
    }
}

#[tokio::test]
async fn an_issue_whose_answer_got_lost_is_found_and_not_made_twice() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let matching = FaultMatch {
            method: Some("POST".into()),
            path_contains: Some("/issue".into()),
            ..FaultMatch::default()
        };
        tracker.simulator.control().add_fault(FaultRule { matching, kind: FaultKind::TruncatedBody });
        let marker = marker();
        let lost = tracker.writer().create_item(&tracker.connection, &bug(), &marker).await.unwrap_err();
        assert!(lost.kind.is_transient(), "whether it was made is left open: {lost:?}");
        let made = found(tracker.look(ItemWrite::Create(bug()), &marker).await);
        assert!(made["key"].as_str().is_some_and(|key| key.starts_with("ENG-")));
        assert_eq!(tracker.changes().len(), 1, "{:?}", tracker.changes());
    }
}

#[tokio::test]
async fn what_jira_does_not_know_is_refused_with_near_matches_before_anything_is_sent() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let cases: [(NewItem, &str, &str); 6] = [
            (NewItem { item_type: Some("Bugg".into()), ..bug() }, "/type", "Bug"),
            (NewItem { priority: Some("Hihg".into()), ..bug() }, "/priority", "High"),
            (NewItem { project: "ENGG".into(), ..bug() }, "/project", "ENG"),
            (NewItem { labels: vec!["on hold".into()], ..bug() }, "/labels/0", "on-hold"),
            (
                NewItem { fields: [("Story Pionts".to_owned(), json!(3))].into(), ..bug() },
                "/fields/Story Pionts",
                "Story Points",
            ),
            (NewItem { sprint: Some("Sprint 9999".into()), ..bug() }, "/sprint", ""),
        ];
        for (new, field, near) in cases {
            let error = tracker.writer().create_item(&tracker.connection, &new, &marker()).await.unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Rejected, "{error:?}");
            assert_eq!(error.field.as_deref(), Some(field), "{error:?}");
            assert!(near.is_empty() || error.allowed.first().is_some_and(|first| first == near), "{error:?}");
        }
        let subtask = NewItem { item_type: Some("Sub-task".into()), ..bug() };
        let error = tracker.writer().create_item(&tracker.connection, &subtask, &marker()).await.unwrap_err();
        assert!(error.message.contains("Parent"), "what is required is named: {error}");
        assert!(tracker.changes().is_empty(), "{:?}", tracker.changes());
    }
}

#[tokio::test]
async fn an_update_changes_what_is_asked_and_nothing_else() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let made = tracker.writer().create_item(&tracker.connection, &bug(), &marker()).await.unwrap();
        let patch = ItemPatch {
            title: Some("Login fails on phones".into()),
            labels: Some(ListChange::Edit { add: vec!["login".into()], remove: vec!["regression".into()] }),
            assignees: Some(ListChange::Set(Vec::new())),
            due_on: Some(None),
            if_unchanged_since: made.updated_at,
            ..ItemPatch::default()
        };
        let write = ItemWrite::Update(made.key.clone(), patch.clone());
        assert_eq!(tracker.look(write.clone(), "").await, Look::Absent);
        let updated = tracker.writer().update_item(&tracker.connection, &made.key, &patch, "").await.unwrap();
        let mut changed: Vec<_> =
            updated.changed.iter().map(|c| (c.field.as_str(), c.from.clone(), c.to.clone())).collect();
        changed.sort_by_key(|change| change.0);
        assert_eq!(
            changed,
            [
                ("assignees", json!("Jun Harada"), Value::Null),
                ("due_on", json!("2027-02-01"), Value::Null),
                ("labels", json!(["mobile", "regression"]), json!(["login", "mobile"])),
                ("title", json!("Login fails after the update"), json!("Login fails on phones")),
            ],
            "{deployment:?}"
        );
        found(tracker.look(write, "").await);

        let stale =
            tracker.writer().update_item(&tracker.connection, &made.key, &patch, "").await.unwrap_err();
        assert_eq!(stale.kind, SourceErrorKind::Conflict, "{stale}");
        let nothing = ItemPatch::default();
        let same = tracker.writer().update_item(&tracker.connection, &made.key, &nothing, "").await.unwrap();
        assert!(same.changed.is_empty());
        assert_eq!(tracker.changes().len(), 2, "one to make it, one to change it: {:?}", tracker.changes());
    }
}

#[tokio::test]
async fn a_transition_is_taken_by_the_name_of_its_status() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Take me along").await;
        let to = |to: &str| Transition { to: to.into(), ..Transition::default() };
        let take = async |asked: Transition| -> Result<_, SourceError> {
            tracker.writer().transition_item(&tracker.connection, &key, &asked, "").await
        };
        let error = take(to("Shipped")).await.unwrap_err();
        assert_eq!((error.kind, error.field.as_deref()), (SourceErrorKind::Rejected, Some("/to")));
        assert_eq!(error.allowed, ["Done", "In Progress", "In Review"], "{deployment:?}");

        let write = ItemWrite::Transition(key.clone(), to("in progress"));
        assert_eq!(tracker.look(write.clone(), "").await, Look::Absent);
        let moved = take(to("in progress")).await.unwrap();
        let change =
            moved.changed.iter().find(|change| change.field == "status").expect("the status changed");
        assert_eq!((&change.from, &change.to), (&json!("To Do"), &json!("In Progress")));
        found(tracker.look(write, "").await);
        assert!(take(to("In Progress")).await.unwrap().warnings[0].contains("already"));

        let wrong = Transition { resolution: Some("Wont Do".into()), ..to("Done") };
        let error = take(wrong).await.unwrap_err();
        assert_eq!((error.field.as_deref(), error.allowed[0].as_str()), (Some("/resolution"), "Won't Do"));
        let closed = Transition {
            resolution: Some("Won't Do".into()),
            comment: Some("Not worth it.".into()),
            ..to("Done")
        };
        let closed = take(closed).await.unwrap();
        let resolution = closed.changed.iter().find(|change| change.field == "resolution");
        assert_eq!(resolution.map(|change| &change.to), Some(&json!("Won't Do")), "{deployment:?}");
    }
}

#[tokio::test]
async fn a_comment_is_found_by_its_marker_and_internal_ones_need_a_service_desk() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Talk about me").await;
        let comment =
            NewComment { body: "Seen on **two** phones.".into(), internal: false, documents: false };
        let write = ItemWrite::Comment(key.clone(), comment.clone());
        let marker = marker();
        assert_eq!(tracker.look(write.clone(), &marker).await, Look::Absent);
        let added = tracker.writer().add_comment(&tracker.connection, &key, &comment, &marker).await.unwrap();
        let id = added.comment_id.clone().expect("its id is told");
        assert!(added.url.ends_with(&format!("focusedCommentId={id}")));
        let same = found(tracker.look(write.clone(), &marker).await);
        assert_eq!(same["comment_id"].as_str(), Some(id.as_str()), "{deployment:?}");
        assert_eq!(tracker.look(write, &self::marker()).await, Look::Absent);

        let internal = NewComment { internal: true, ..comment };
        let refused = tracker.writer().add_comment(&tracker.connection, &key, &internal, &marker).await;
        assert_eq!(refused.unwrap_err().field.as_deref(), Some("/internal"));
        assert_eq!(tracker.changes().len(), 2, "{:?}", tracker.changes());
    }
}

#[tokio::test]
async fn an_issue_that_is_not_there_is_not_found() {
    let tracker = Tracker::start(Deployment::Cloud).await;
    let patch = ItemPatch { title: Some("x".into()), ..ItemPatch::default() };
    let error =
        tracker.writer().update_item(&tracker.connection, "ENG-999999", &patch, "").await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::NotFound, "{error}");
    assert!(tracker.changes().is_empty());
}

#[tokio::test]
async fn a_transition_with_a_comment_took_place_only_when_its_comment_is_there() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Say why").await;
        let done = Transition { to: "Done".into(), ..Transition::default() };
        let (writer, first) = (tracker.writer(), marker());
        writer.transition_item(&tracker.connection, &key, &done, &first).await.unwrap();
        found(tracker.look(ItemWrite::Transition(key.clone(), done.clone()), &first).await);

        let said = Transition { comment: Some("It **works** now.".into()), ..done };
        let write = ItemWrite::Transition(key.clone(), said.clone());
        let lost = marker();
        assert_eq!(
            tracker.look(write.clone(), &lost).await,
            Look::Absent,
            "{deployment:?}: nothing was said"
        );
        let theirs = NewComment { body: "It **works** now.".into(), internal: false, documents: false };
        writer.add_comment(&tracker.connection, &key, &theirs, &marker()).await.unwrap();
        assert_eq!(tracker.look(write.clone(), &lost).await, Look::Absent, "{deployment:?}: it is another's");

        // The status is there already: what is left to do is the comment.
        let told = writer.transition_item(&tracker.connection, &key, &said, &lost).await.unwrap();
        assert!(told.comment_id.is_some() && told.warnings.len() == 1, "{deployment:?}: {told:?}");
        assert_eq!(found(tracker.look(write, &lost).await)["comment_id"], json!(told.comment_id));

        // Done by a transition with a screen, which takes both.
        let other = tracker.make("Say why, too").await;
        let (ours, before) = (marker(), tracker.changes().len());
        writer.transition_item(&tracker.connection, &other, &said, &ours).await.unwrap();
        assert_eq!(tracker.changes().len(), before + 1, "{deployment:?}: {:?}", tracker.changes());
        let write = ItemWrite::Transition(other.clone(), said);
        let told = found(tracker.look(write.clone(), &ours).await);
        assert!(told["comment_id"].is_string(), "{deployment:?}: {told}");
        // Somebody takes it on: it took place all the same.
        let on = Transition { to: "In Progress".into(), ..Transition::default() };
        writer.transition_item(&tracker.connection, &other, &on, &marker()).await.unwrap();
        found(tracker.look(write, &ours).await);
    }
}

#[tokio::test]
async fn whether_a_comment_without_a_mark_is_ours_stays_open() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Say why").await;
        let said =
            Transition { to: "Done".into(), comment: Some("Because.".into()), ..Transition::default() };
        let lost = marker();
        let write = ItemWrite::Transition(key.clone(), said.clone());
        tracker.say(&key, "Because.").await;
        assert_eq!(tracker.look(write.clone(), &lost).await, Look::Absent, "{deployment:?}: it is not done");
        let done = Transition { comment: None, ..said };
        tracker.writer().transition_item(&tracker.connection, &key, &done, &marker()).await.unwrap();
        assert_eq!(tracker.look(write, &lost).await, Look::Unsure, "{deployment:?}");
    }
}
