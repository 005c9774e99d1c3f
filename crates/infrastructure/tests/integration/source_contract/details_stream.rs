//! What hangs on items, read to its end: comments, histories and links, whatever goes wrong on the way.

use super::proxy::Answer;
use super::store::Installation;
use super::world::{Read, Tracker, trackers};
use super::*;

/// What the stream of details brought.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Details {
    pub(super) comments: BTreeSet<(&'static str, String)>,
    pub(super) transitions: BTreeSet<String>,
    pub(super) changes: BTreeSet<String>,
    /// The fields that changed.
    pub(super) fields: BTreeSet<String>,
    pub(super) links: BTreeSet<(String, String)>,
    pub(super) unmapped: Vec<String>,
}

/// Details and what failed on the way.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) brought: Details,
    pub(super) errors: Vec<SourceError>,
}

impl std::ops::Deref for Walked {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.brought
    }
}

impl Tracker {
    /// Reads the details of everything that was read, batch by batch and as often as it takes, as the engine does.
    pub(super) async fn details(&self, read: &Read) -> Walked {
        let specs = self.adapter.streams(&self.connection.settings);
        let spec = specs.iter().find(|spec| matches!(spec.scope, StreamScope::PendingItems { .. })).unwrap();
        let StreamScope::PendingItems { batch } = spec.scope else { unreachable!() };
        let mut waiting: BTreeMap<&str, PendingItem> = BTreeMap::new();
        for item in &read.all.items {
            let project =
                ProjectRef { source_id: item.project_source_id.clone(), key: item.project_key.clone() };
            let pending = PendingItem {
                ref_key: item.ref_key.clone(),
                source_key: item.source_key.clone(),
                project,
                is_pull_request: item.type_original == "pull_request",
                source_id: item.source_id.clone(),
                noted: read.all.details_noted.get(&item.source_id).cloned(),
            };
            waiting.insert(&item.ref_key, pending);
        }
        let mut walked = Walked::default();
        // Some trackers give the first comments of an item with it.
        let with_items = read.all.comments.iter();
        walked.brought.comments.extend(with_items.map(|comment| (comment.kind, comment.source_id.clone())));
        while !waiting.is_empty() {
            let items: Vec<PendingItem> = waiting.values().take(batch).cloned().collect();
            let request = PageRequest {
                stream: &spec.name,
                project: None,
                items: &items,
                cursor: None,
                since: None,
                validator: None,
            };
            let records = match self.adapter.fetch_page(&self.connection, request).await {
                Ok(page) => page.records,
                Err(error) => {
                    walked.errors.push(error);
                    assert!(walked.errors.len() < 10, "{}: {:?}", self.name(), walked.errors.last());
                    continue;
                }
            };
            assert!(!records.details_done.is_empty(), "{}: the details stand still", self.name());
            for done in &records.details_done {
                assert!(waiting.remove(done.as_str()).is_some(), "{}: {done} was not asked for", self.name());
            }
            let brought = &mut walked.brought;
            brought
                .comments
                .extend(records.comments.into_iter().map(|comment| (comment.kind, comment.source_id)));
            brought.transitions.extend(records.transitions.into_iter().map(|change| change.source_id));
            for change in records.changes {
                brought.fields.insert(change.field.to_string());
                brought.changes.insert(change.source_id);
            }
            brought.links.extend(records.links.into_iter().map(|link| (link.item_ref_key, link.to_key)));
            brought.unmapped.extend(records.unmapped.into_iter().map(|broken| broken.error));
        }
        walked
    }
}

#[tokio::test]
async fn the_details_of_every_item_are_read_once_and_whole() {
    for tracker in trackers().await {
        let read = tracker.read(None, |_| ()).await;
        let details = tracker.details(&read).await;
        assert!(details.errors.is_empty() && details.unmapped.is_empty(), "{}: {details:?}", tracker.name());
        let comments = details.comments.iter().filter(|(kind, _)| *kind == "comment").count();
        assert_eq!(comments, tracker.world.comments(tracker.control()), "{}", tracker.name());
        assert!(!details.transitions.is_empty() && !details.changes.is_empty(), "{}", tracker.name());
    }
}

#[tokio::test]
async fn details_are_the_same_whatever_fails_on_the_way() {
    for tracker in trackers().await {
        let mut read = tracker.read(None, |_| ()).await;
        read.all.items.truncate(40);
        let whole = tracker.details(&read).await.brought;
        for (answer, kind) in [
            (Answer::refusal(429, "slowly").with("retry-after", "0"), SourceErrorKind::RateLimited),
            (Answer::refusal(500, "oh"), SourceErrorKind::Unavailable),
            (Answer::new(502, "text/html", "<html>"), SourceErrorKind::Unavailable),
            (Answer::refusal(401, "who?"), SourceErrorKind::Unauthorized),
            (Answer::new(200, "text/html", "<html>"), SourceErrorKind::Malformed),
            (Answer::new(200, "application/json", "{\"values\": ["), SourceErrorKind::Malformed),
        ] {
            let what = format!("{}: {} {:?}", tracker.name(), answer.status, answer.body);
            let (world, mut count, fault) = (tracker.world.clone(), 0, answer);
            tracker.proxy.before(move |asked| {
                count += usize::from(world.asks_details(asked));
                // The second failure is one amid a batch, where a batch takes several requests.
                (world.asks_details(asked) && matches!(count, 1 | 4)).then(|| fault.clone())
            });
            let walked = tracker.details(&read).await;
            assert!(!walked.errors.is_empty(), "{what}: nothing failed");
            assert!(walked.errors.iter().all(|error| error.kind == kind), "{what}: {:?}", walked.errors);
            assert_eq!(walked.brought, whole, "{what}");
            tracker.proxy.clear();
        }
    }
}

#[tokio::test]
async fn what_is_gone_or_hidden_while_its_details_are_read_keeps_no_other_waiting() {
    for tracker in trackers().await {
        let read = tracker.read(None, |_| ()).await;
        let names: Vec<String> = tracker.there().into_keys().collect();
        for name in [&names[2], &names[40]] {
            if tracker.there().contains_key(name) {
                tracker.world.delete(tracker.control(), name);
            }
        }
        let details = tracker.details(&read).await;
        assert!(details.errors.is_empty() && details.unmapped.is_empty(), "{}: {details:?}", tracker.name());
        assert!(!details.transitions.is_empty(), "{}", tracker.name());
    }
}

#[tokio::test]
async fn nothing_waits_for_its_details_when_a_run_has_ended() {
    for tracker in trackers().await {
        let installation = Installation::of(&tracker).await;
        installation.succeeds(RunKind::Backfill).await;
        installation.assert_is(&tracker, "after a backfill").await;
        assert_eq!(
            installation.comments().await,
            tracker.world.comments(tracker.control()),
            "{}",
            tracker.name()
        );
        let names: Vec<String> = tracker.there().into_keys().step_by(9).collect();
        tracker.world.touch(tracker.control(), &names);
        installation.succeeds(RunKind::Incremental).await;
        installation.assert_is(&tracker, "after a sync").await;
    }
}
