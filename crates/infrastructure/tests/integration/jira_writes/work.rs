//! Time, watchers, transitions by id, and documents.

use application::ports::{ItemWrite, Look, SourceErrorKind};
use domain::{ItemPatch, NewComment, NewItem, NewWorklog, TimeSpent, Transition, Watching};
use serde_json::{Value, json};
use simulator::{Deployment, FaultKind, FaultMatch, FaultRule};

use super::{BOTH, Tracker, bug, found, marker};

fn spent(time: &str, comment: Option<&str>) -> NewWorklog {
    let comment = comment.map(str::to_owned);
    NewWorklog { spent: TimeSpent::parse(time).unwrap(), started: None, comment }
}

impl Tracker {
    /// What Jira itself says, asked by somebody who is not Patchbay.
    async fn ask(&self, path: &str) -> Value {
        let version = if self.deployment == Deployment::Cloud { "3" } else { "2" };
        let url = format!("{}/rest/api/{version}{path}", self.connection.base_url);
        #[expect(clippy::disallowed_methods, reason = "this is a person, not the product")]
        let client = reqwest::Client::builder().build().unwrap();
        let answer = client.get(url).basic_auth("ann@example.com", Some("t0ken")).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn time_is_booked_and_found_by_its_marker_which_nobody_sees() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Takes time").await;
        let (writer, marker) = (tracker.writer(), marker());
        let worklog = spent("1h 30m", Some("Fixed **it**."));
        let write = ItemWrite::Worklog(key.clone(), worklog.clone());
        assert_eq!(tracker.look(write.clone(), &marker).await, Look::Absent);
        let before = tracker.changes().len();
        let told = writer.rehearse(&tracker.connection, &write).await.unwrap();
        assert_eq!((told.changed[0].field.as_str(), &told.changed[0].to), ("worklog", &json!("1h 30m")));
        assert_eq!(tracker.changes().len(), before, "{deployment:?}: a rehearsal booked time");

        let booked = writer.add_worklog(&tracker.connection, &key, &worklog, &marker).await.unwrap();
        let id = booked.worklog_id.clone().expect("its id is told");
        let told: Vec<_> = booked.changed.iter().map(|change| (change.field.as_str(), &change.to)).collect();
        assert_eq!(told[..2], [("worklog", &json!("1h 30m")), ("time_spent_s", &json!(5_400))]);
        let same = found(tracker.look(write.clone(), &marker).await);
        assert_eq!(same["worklog_id"].as_str(), Some(id.as_str()), "{deployment:?}");
        assert_eq!(tracker.look(write, &super::marker()).await, Look::Absent, "{deployment:?}");

        // Of one without words too, and of one whose answer got lost.
        let plain = spent("10m", None);
        let (write, lost) = (ItemWrite::Worklog(key.clone(), plain.clone()), super::marker());
        let matching = FaultMatch {
            method: Some("POST".into()),
            path_contains: Some("/worklog".into()),
            ..FaultMatch::default()
        };
        tracker.simulator.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
        let error = writer.add_worklog(&tracker.connection, &key, &plain, &lost).await.unwrap_err();
        assert!(error.kind.is_transient(), "{error:?}");
        found(tracker.look(write, &lost).await);

        let shown = tracker.ask(&format!("/issue/{key}/worklog")).await;
        assert_eq!(shown["total"], 2, "{deployment:?}: {shown}");
        let wrong = NewWorklog { started: None, ..worklog };
        let gone = writer.add_worklog(&tracker.connection, "ENG-99999", &wrong, &marker).await.unwrap_err();
        assert_eq!(gone.kind, SourceErrorKind::NotFound, "{gone}");
    }
}

#[tokio::test]
async fn the_newest_of_many_worklogs_are_looked_at() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Takes long").await;
        let (writer, worklog) = (tracker.writer(), spent("1m", None));
        let first = marker();
        for at in 0..120 {
            let marker = if at == 0 { first.clone() } else { marker() };
            writer.add_worklog(&tracker.connection, &key, &worklog, &marker).await.unwrap();
        }
        let last = marker();
        writer.add_worklog(&tracker.connection, &key, &worklog, &last).await.unwrap();
        let write = ItemWrite::Worklog(key.clone(), worklog);
        found(tracker.look(write.clone(), &last).await);
        // More were booked since than are looked at: it may be among them, or not be there.
        assert_eq!(tracker.look(write, &super::marker()).await, Look::Unsure, "{deployment:?}");
    }
}

#[tokio::test]
async fn somebody_watches_or_no_longer_however_often_it_is_asked_for() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Worth watching").await;
        let writer = tracker.writer();
        let ask = |watching| Watching { user: "Jun Harada".into(), watching };
        let watchers = async || tracker.ask(&format!("/issue/{key}/watchers")).await["watchCount"].clone();
        for watching in [true, false] {
            let write = ItemWrite::Watch(key.clone(), ask(watching));
            assert_eq!(tracker.look(write.clone(), "").await, Look::Absent, "{deployment:?} {watching}");
            let before = watchers().await;
            let told = writer.rehearse(&tracker.connection, &write).await.unwrap();
            assert_eq!(watchers().await, before, "{deployment:?}: a rehearsal changed it");
            let set = writer.set_watcher(&tracker.connection, &key, &ask(watching)).await.unwrap();
            assert_eq!(set.changed, told.changed, "{deployment:?}");
            let (from, to) = (&set.changed[0].from, &set.changed[0].to);
            let name = json!("Jun Harada");
            let wanted = if watching { (&Value::Null, &name) } else { (&name, &Value::Null) };
            assert_eq!((from, to), wanted, "{deployment:?}");
            assert_eq!(watchers().await, json!(i32::from(watching)), "{deployment:?}");
            found(tracker.look(write, "").await);
            let again = writer.set_watcher(&tracker.connection, &key, &ask(watching)).await.unwrap();
            assert!(again.changed.is_empty() && again.warnings.len() == 1, "{deployment:?}: {again:?}");
        }
        let nobody = Watching { user: "Jun Harado".into(), watching: true };
        let error = writer.set_watcher(&tracker.connection, &key, &nobody).await.unwrap_err();
        assert_eq!((error.kind, error.field.as_deref()), (SourceErrorKind::Rejected, Some("/user")));
    }
}

#[tokio::test]
async fn a_transition_is_taken_by_its_id_and_looked_for_in_the_history() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Take me along").await;
        let writer = tracker.writer();
        let shown = tracker.ask(&format!("/issue/{key}/transitions")).await;
        let ways = shown["transitions"].as_array().unwrap();
        let way = ways.iter().find(|way| way["to"]["name"] == "In Progress").unwrap();
        let id = way["id"].as_str().unwrap().to_owned();
        let by_id = Transition { to: id.clone(), ..Transition::default() };
        let (write, marker) = (ItemWrite::Transition(key.clone(), by_id.clone()), marker());
        assert_eq!(tracker.look(write.clone(), &marker).await, Look::Absent, "{deployment:?}");
        let moved = writer.transition_item(&tracker.connection, &key, &by_id, &marker).await.unwrap();
        let status = moved.changed.iter().find(|change| change.field == "status").unwrap();
        assert_eq!(status.to, "In Progress", "{deployment:?}");
        // The issue can take it no more. Its history says who changed the status, and not by which transition.
        let open = tracker.ask(&format!("/issue/{key}/transitions")).await;
        let open = open["transitions"].as_array().unwrap().iter().any(|way| way["id"] == *id);
        let looked = tracker.look(write, &marker).await;
        assert_eq!(looked, if open { Look::Absent } else { Look::Unsure }, "{deployment:?}");
        // One by the name of its status is known by that, also when the issue has been taken further since.
        let by_name = Transition { to: "In Progress".into(), ..Transition::default() };
        let further = Transition { to: "Done".into(), ..Transition::default() };
        writer.transition_item(&tracker.connection, &key, &further, "").await.unwrap();
        let shown = tracker.ask(&format!("/issue/{key}/transitions")).await;
        let open =
            shown["transitions"].as_array().unwrap().iter().any(|way| way["to"]["name"] == "In Progress");
        let looked = tracker.look(ItemWrite::Transition(key.clone(), by_name), &marker).await;
        assert_eq!(matches!(looked, Look::Found(_)), !open, "{deployment:?}: {looked:?}");
        let unknown = Transition { to: "99999".into(), ..Transition::default() };
        let error = writer.transition_item(&tracker.connection, &key, &unknown, "").await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/to"), "{deployment:?}: {error}");
    }
}

fn document(text: &str) -> Value {
    json!({"type": "doc", "version": 1, "content": [{"type": "panel", "attrs": {"panelType": "info"}, "content": [
        {"type": "paragraph", "content": [{"type": "text", "text": text}]}]}]})
}

#[tokio::test]
async fn documents_are_sent_as_they_are_and_wrong_ones_refused_with_their_place() {
    let tracker = Tracker::start(Deployment::Cloud).await;
    let writer = tracker.writer();
    let new = NewItem { body: Some(document("Read me").to_string()), documents: true, ..bug() };
    let key = writer.create_item(&tracker.connection, &new, &marker()).await.unwrap().key;
    let shown = tracker.ask(&format!("/issue/{key}")).await;
    assert_eq!(shown["fields"]["description"], document("Read me"));

    let fields = [("description".to_owned(), document("Read me again"))].into();
    let patch = ItemPatch { fields, documents: true, ..ItemPatch::default() };
    writer.update_item(&tracker.connection, &key, &patch, "").await.unwrap();
    found(tracker.look(ItemWrite::Update(key.clone(), patch), "").await);
    let body = document("Said").to_string();
    let comment = NewComment { body, internal: false, documents: true };
    writer.add_comment(&tracker.connection, &key, &comment, &marker()).await.unwrap();
    let shown = tracker.ask(&format!("/issue/{key}/comment")).await;
    assert_eq!(shown["comments"][0]["body"], document("Said"));

    let before = tracker.changes().len();
    let wrong = json!({"type": "doc", "version": 1, "content": [{"type": "paragraf"}]});
    let refused = NewComment { body: wrong.to_string(), ..comment.clone() };
    let error = writer.add_comment(&tracker.connection, &key, &refused, &marker()).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/body/content/0/type"), "{error}");
    let fields = [("description".to_owned(), wrong)].into();
    let patch = ItemPatch { fields, documents: true, ..ItemPatch::default() };
    let error = writer.update_item(&tracker.connection, &key, &patch, "").await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/fields/description/content/0/type"), "{error}");
    let text = NewComment { body: "no document".into(), ..comment.clone() };
    let error = writer.add_comment(&tracker.connection, &key, &text, &marker()).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/body"), "{error}");
    assert_eq!(tracker.changes().len(), before, "something was sent");

    let old = Tracker::start(Deployment::DataCenter).await;
    let key = old.make("Wiki markup").await;
    let error = old.writer().add_comment(&old.connection, &key, &comment, &marker()).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/text_format"), "{error}");
}
