//! Writing: what is asked changes and nothing else, and nothing is lost silently.

use application::ports::{ItemAddress, ItemWrite, Look, SourceWriter};
use domain::{ItemPatch, ListChange, NewComment, NewItem, Transition, WrittenItem};

use super::*;

struct Writer(Arc<dyn SourceAdapter>);

impl Writer {
    fn get(&self) -> &dyn SourceWriter {
        self.0.writer().unwrap()
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

/// Names that the simulated repository has.
async fn names(simulator: &Simulator) -> (String, String, String) {
    let get = async |path: &str| -> Value {
        let url = format!("{}/repos/{REPOSITORY}/{path}", simulator.url());
        let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let answer =
            EgressClient::new(policy).unwrap().get(&Url::parse(&url).unwrap(), headers).await.unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    };
    let text = |value: &Value, key: &str| value[0][key].as_str().unwrap().to_owned();
    (
        text(&get("labels").await, "name"),
        text(&get("assignees").await, "login"),
        text(&get("milestones?state=all").await, "title"),
    )
}

fn changed(written: &WrittenItem) -> Vec<&str> {
    written.changed.iter().map(|change| change.field.as_str()).collect()
}

async fn created(writer: &Writer, connection: &Connection, title: &str) -> WrittenItem {
    let new = NewItem {
        project: REPOSITORY.into(),
        title: title.into(),
        body: Some("As it was.".into()),
        ..NewItem::default()
    };
    writer.get().create_item(connection, &new, &marker()).await.unwrap()
}

async fn read(connection: &Connection, key: &str) -> domain::PageRecords {
    let address = ItemAddress { key: Some(key.into()), ..ItemAddress::default() };
    let fetched = github().fetch_items(connection, &[address]).await.unwrap();
    assert!(fetched.invisible.is_empty() && fetched.records.unmapped.is_empty(), "{fetched:?}");
    fetched.records
}

#[tokio::test]
async fn an_issue_is_made_as_asked_and_found_by_its_marker_which_is_not_synced() {
    let (simulator, connection) = simulated().await;
    let (label, login, milestone) = names(&simulator).await;
    let writer = Writer(github());
    let parent = created(&writer, &connection, "All of it").await;
    let parent = read(&connection, &parent.key).await.items.remove(0);
    let marker = marker();
    let new = NewItem {
        project: REPOSITORY.into(),
        item_type: Some("bug".into()),
        title: "Refunds are rounded twice".into(),
        body: Some("Seen since **Monday**.".into()),
        assignees: vec![format!("@{login}")],
        labels: vec![label.to_uppercase()],
        milestone: Some(milestone.clone()),
        parent: Some(parent.source_key.clone()),
        ..NewItem::default()
    };
    assert_eq!(
        writer.get().look(&connection, &ItemWrite::Create(new.clone()), &marker).await.unwrap(),
        Look::Absent
    );
    let written = writer.get().create_item(&connection, &new, &marker).await.unwrap();
    assert!(written.warnings.is_empty(), "{:?}", written.warnings);
    assert_eq!(changed(&written), ["title", "body", "labels", "assignees", "milestone", "type", "parent"]);
    let records = read(&connection, &written.key).await;
    let item = &records.items[0];
    assert_eq!(item.source_id, written.source_id);
    assert_eq!(item.body.as_deref(), Some("Seen since **Monday**."));
    assert_eq!((&item.labels[..], item.milestone.as_deref()), (&[label][..], Some(milestone.as_str())));
    assert_eq!(item.assignees[0].name, login);
    assert_eq!(
        (item.type_original.as_str(), item.parent_ref_key.as_deref()),
        ("Bug", Some(parent.ref_key.as_str()))
    );
    let Look::Found(found) = writer.get().look(&connection, &ItemWrite::Create(new), &marker).await.unwrap()
    else {
        panic!("not found")
    };
    assert_eq!(found["key"], written.key);
}

#[tokio::test]
async fn only_what_is_asked_changes_and_a_conflict_is_noticed() {
    let (simulator, connection) = simulated().await;
    let (label, login, milestone) = names(&simulator).await;
    let writer = Writer(github());
    let made = created(&writer, &connection, "A title").await;
    let patch = ItemPatch {
        title: Some("Another title".into()),
        body: Some(Some("Other words.".into())),
        labels: Some(ListChange::Edit { add: vec![label.clone()], remove: texts(&["not there"]) }),
        assignees: Some(ListChange::Set(vec![login.clone()])),
        milestone: Some(Some(milestone)),
        ..ItemPatch::default()
    };
    let written = writer.get().update_item(&connection, &made.key, &patch, &marker()).await.unwrap();
    assert_eq!(changed(&written), ["title", "body", "labels", "assignees", "milestone"]);
    assert_eq!(written.changed[0].from, "A title");
    // Once more: nothing to do, and nothing is sent.
    let before = simulator.control().stats();
    let again = writer.get().update_item(&connection, &made.key, &patch, &marker()).await.unwrap();
    assert!(again.changed.is_empty());
    assert_eq!(again.updated_at, written.updated_at);
    let write = ItemWrite::Update(made.key.clone(), patch);
    assert!(matches!(writer.get().look(&connection, &write, &marker()).await.unwrap(), Look::Found(_)));
    drop(before);
    let patches = || {
        let log = simulator.control().requests();
        log.iter().filter(|request| request.method == "PATCH").count()
    };
    assert_eq!(patches(), 1);

    let taken = ItemPatch {
        labels: Some(ListChange::Set(Vec::new())),
        milestone: Some(None),
        if_unchanged_since: written.updated_at,
        ..ItemPatch::default()
    };
    let written = writer.get().update_item(&connection, &made.key, &taken, &marker()).await.unwrap();
    assert_eq!(changed(&written), ["labels", "milestone"]);
    let item = read(&connection, &made.key).await.items.remove(0);
    assert_eq!((item.title.as_str(), item.body.as_deref()), ("Another title", Some("Other words.")));
    assert_eq!((item.assignees[0].name.as_str(), item.labels.len()), (login.as_str(), 0));
    // The issue's own marker outlives a new text.
    refused(
        writer.get().update_item(&connection, &made.key, &taken, &marker()).await,
        SourceErrorKind::Conflict,
        "",
    );
    assert_eq!(patches(), 2);
}

#[tokio::test]
async fn an_unknown_name_is_refused_with_near_ones_before_anything_is_sent() {
    let (simulator, connection) = simulated().await;
    let (label, login, milestone) = names(&simulator).await;
    let writer = Writer(github());
    let new = NewItem { project: REPOSITORY.into(), title: "x".into(), ..NewItem::default() };
    let typo = |name: &str| format!("{name}x");
    for (new, field, near) in [
        (NewItem { labels: vec![typo(&label)], ..new.clone() }, "/labels", Some(label.as_str())),
        (NewItem { assignees: vec![typo(&login)], ..new.clone() }, "/assignees", Some(&login)),
        (NewItem { milestone: Some(typo(&milestone)), ..new.clone() }, "/milestone", Some(&milestone)),
        (NewItem { item_type: Some("Bugs".into()), ..new.clone() }, "/type", Some("Bug")),
        (NewItem { project: "acme/ap".into(), ..new.clone() }, "/project", Some(REPOSITORY)),
        (NewItem { parent: Some(format!("{REPOSITORY}#9999")), ..new.clone() }, "/parent", None),
        (NewItem { priority: Some("high".into()), ..new.clone() }, "/priority", None),
        (NewItem { fields: [("Effort".to_owned(), json!(3))].into(), ..new.clone() }, "/fields/Effort", None),
        (NewItem { title: " ".into(), ..new.clone() }, "/title", None),
    ] {
        let result = writer.get().create_item(&connection, &new, &marker()).await;
        let error = refused(result, SourceErrorKind::Rejected, field);
        assert_eq!(error.allowed.first().map(String::as_str), near, "{error}");
    }
    let log = simulator.control().requests();
    assert!(log.iter().all(|request| request.method == "GET"), "something was sent");
}

#[tokio::test]
async fn what_github_drops_silently_is_told() {
    let (simulator, connection) = simulated().await;
    let (label, login, _) = names(&simulator).await;
    simulator.control().allow_push(TOKEN, false);
    let writer = Writer(github());
    let new = NewItem {
        project: REPOSITORY.into(),
        title: "From outside".into(),
        labels: vec![label.clone()],
        assignees: vec![login.clone()],
        ..NewItem::default()
    };
    let written = writer.get().create_item(&connection, &new, &marker()).await.unwrap();
    assert_eq!(written.warnings.len(), 2, "{:?}", written.warnings);
    assert!(written.warnings[0].contains(&label) && written.warnings[1].contains(&login));
    assert_eq!(changed(&written), ["title"]);
    let labels = Some(ListChange::Edit { add: vec![label.clone()], remove: Vec::new() });
    let only = ItemPatch { labels: labels.clone(), ..ItemPatch::default() };
    let error = refused(
        writer.get().update_item(&connection, &written.key, &only, &marker()).await,
        SourceErrorKind::Forbidden,
        "",
    );
    assert!(error.message.contains(&label), "{error}");
    let both = ItemPatch { labels, title: Some("Anew".into()), ..ItemPatch::default() };
    let written = writer.get().update_item(&connection, &written.key, &both, &marker()).await.unwrap();
    assert_eq!((changed(&written), written.warnings.len()), (vec!["title"], 1));
}

#[tokio::test]
async fn closing_has_a_reason_and_its_comment_is_posted_once() {
    let (simulator, connection) = simulated().await;
    let writer = Writer(github());
    let made = created(&writer, &connection, "To be closed").await;
    let marker = marker();
    let close = Transition {
        to: "closed".into(),
        resolution: Some("not planned".into()),
        comment: Some("We will not.".into()),
        ..Transition::default()
    };
    let written = writer.get().transition_item(&connection, &made.key, &close, &marker).await.unwrap();
    assert_eq!(changed(&written), ["status", "resolution"]);
    assert!(written.comment_id.is_some());
    let again = writer.get().transition_item(&connection, &made.key, &close, &marker).await.unwrap();
    assert_eq!(again.comment_id, written.comment_id);
    let write = ItemWrite::Transition(made.key.clone(), close);
    assert!(matches!(writer.get().look(&connection, &write, &marker).await.unwrap(), Look::Found(_)));
    let records = read(&connection, &made.key).await;
    assert_eq!(records.items[0].resolution_original.as_deref(), Some("not_planned"));
    assert_eq!(records.comments.iter().map(|c| c.body.as_str()).collect::<Vec<_>>(), ["We will not."]);
    let to = |to: &str| Transition { to: to.into(), ..Transition::default() };
    let open =
        writer.get().transition_item(&connection, &made.key, &to("open"), &super::marker()).await.unwrap();
    assert_eq!(open.changed[0].to, "open");
    let done =
        writer.get().transition_item(&connection, &made.key, &to("Closed"), &super::marker()).await.unwrap();
    assert_eq!(done.changed[1].to, "completed");
    let refusal = writer.get().transition_item(&connection, &made.key, &to("doing"), &super::marker()).await;
    assert_eq!(refused(refusal, SourceErrorKind::Rejected, "/to").allowed, ["open", "closed"]);
    let odd = Transition { resolution: Some("whatever".into()), ..to("closed") };
    let refusal = writer.get().transition_item(&connection, &made.key, &odd, &super::marker()).await;
    assert_eq!(refused(refusal, SourceErrorKind::Rejected, "/resolution").allowed.len(), 3);
    assert!(simulator.control().stats().violations == 0);
}

#[tokio::test]
async fn a_comment_is_found_by_its_marker_and_noticed_when_it_is_gone() {
    let (simulator, connection) = simulated().await;
    let writer = Writer(github());
    let made = created(&writer, &connection, "Talk").await;
    let (marker, comment) =
        (marker(), NewComment { body: "First!".into(), internal: false, documents: false });
    let write = ItemWrite::Comment(made.key.clone(), comment.clone());
    assert_eq!(writer.get().look(&connection, &write, &marker).await.unwrap(), Look::Absent);
    let written = writer.get().add_comment(&connection, &made.key, &comment, &marker).await.unwrap();
    let Look::Found(found) = writer.get().look(&connection, &write, &marker).await.unwrap() else { panic!() };
    assert_eq!(found["comment_id"], json!(written.comment_id));
    let records = read(&connection, &made.key).await;
    assert_eq!((records.comments.len(), records.comments[0].body.as_str()), (1, "First!"));
    assert_eq!(records.comments_of, [records.items[0].ref_key.clone()]);
    let path =
        format!("{}/repos/{REPOSITORY}/issues/comments/{}", simulator.url(), written.comment_id.unwrap());
    let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let url = Url::parse(&path).unwrap();
    let client = EgressClient::new(policy).unwrap();
    assert_eq!(client.send(http::Method::DELETE, &url, headers, None).await.unwrap().status, 204);
    let records = read(&connection, &made.key).await;
    assert_eq!((records.comments.len(), records.comments_of.len()), (0, 1));
}

#[tokio::test]
async fn a_parent_is_set_exchanged_and_left() {
    let (_simulator, connection) = simulated().await;
    let writer = Writer(github());
    let (one, two) = (created(&writer, &connection, "One").await, created(&writer, &connection, "Two").await);
    let child = created(&writer, &connection, "Child").await;
    let links = async |key: &str| {
        let records = read(&connection, key).await;
        assert_eq!(records.links_of.len(), 1);
        records.links.iter().map(|link| (link.type_norm, link.to_key.clone())).collect::<Vec<_>>()
    };
    for (parent, holder, other) in
        [(Some(&one), Some(&one), &two), (Some(&two), Some(&two), &one), (None, None, &two)]
    {
        let patch =
            ItemPatch { parent: Some(parent.map(|parent| parent.key.clone())), ..ItemPatch::default() };
        let written = writer.get().update_item(&connection, &child.key, &patch, &marker()).await.unwrap();
        assert_eq!(changed(&written), ["parent"]);
        if let Some(holder) = holder {
            assert_eq!(links(&holder.key).await, [("parent_of", child.key.clone())]);
            assert_eq!(links(&child.key).await, [("child_of", holder.key.clone())]);
        } else {
            assert!(links(&child.key).await.is_empty());
        }
        assert!(links(&other.key).await.is_empty());
    }
}
