//! What every source promises, tried on each of them against its simulated tracker: whatever goes wrong on the way,
//! the items that end up here are those of the tracker, none missing and none too many.

use std::collections::BTreeSet;

use application::ports::ItemAddress;
use simulator::{Deployment, JiraLogin};

use super::*;

const ITEMS: usize = 120;

/// A tracker of 120 items and more, and the way to it.
struct Tracker {
    name: &'static str,
    simulator: Simulator,
    connection: Connection,
    adapter: Arc<dyn SourceAdapter>,
    /// What the requests for its items have in their path.
    items_path: &'static str,
    /// The project whose items are damaged in these tests, as the simulator calls it.
    project: &'static str,
}

async fn trackers() -> Vec<Tracker> {
    let basic = || Credential::Basic { email: "ann@example.com".into(), token: TOKEN.to_owned().into() };
    let access = || Credential::Token { token: TOKEN.to_owned().into() };
    let personal = || Credential::Pat { token: TOKEN.to_owned().into() };
    let mut all = Vec::new();
    for (name, kind, path, project) in [
        ("github", "github", "/issues?", REPOSITORY),
        ("jira", "jira", "/search/jql", "ENG"),
        ("jira data center", "jira", "/rest/api/2/search", "ENG"),
        ("asana", "asana", "/tasks", ""),
    ] {
        let mut config = SimulatorConfig::default();
        if name == "github" {
            config.repositories = vec![simulator::generate::repository(REPOSITORY, 7, ITEMS)];
        }
        let simulator = Simulator::start(config).await.unwrap();
        let adapter = registry().get(&SourceKind::new(kind)).unwrap().clone();
        let (base, credential, settings) = match name {
            "github" => (simulator.url(), access(), selected()),
            "asana" => {
                simulator.control().add_asana(simulator::asana_workspace("Acme", 7, ITEMS));
                (format!("{}/api/1.0", simulator.url()), access(), json!({}))
            }
            _ => {
                let cloud = name == "jira";
                let deployment = if cloud { Deployment::Cloud } else { Deployment::DataCenter };
                let login = JiraLogin::new(cloud.then_some("ann@example.com"), TOKEN);
                let site = simulator::generate::jira("acme", deployment, &[("ENG", 7, ITEMS)]);
                simulator.control().add_jira(site.with_login(login)).unwrap();
                let credential = if cloud { basic() } else { personal() };
                (format!("{}/jira/acme", simulator.url()), credential, json!({"projects": ["ENG"]}))
            }
        };
        let mut connection = connection(&base, adapter.check_settings(&settings).unwrap());
        connection.credential = credential;
        all.push(Tracker { name, simulator, connection, adapter, items_path: path, project });
    }
    all
}

/// The items that a client has in the end, by id: key and time of the last change.
type Items = BTreeMap<String, (String, DateTime<Utc>)>;

impl Tracker {
    /// Ids (at Asana) or keys of the items that there are.
    fn world(&self) -> BTreeSet<String> {
        match self.name {
            "github" => (1..=ITEMS).map(|number| format!("{REPOSITORY}#{number}")).collect(),
            "asana" => {
                self.simulator.control().asana().iter().flat_map(|w| w.tasks.keys().cloned()).collect()
            }
            _ => self
                .simulator
                .control()
                .with_jira("acme", |site| site.issue_keys())
                .unwrap()
                .into_iter()
                .collect(),
        }
    }

    fn named(&self, items: &Items) -> BTreeSet<String> {
        items
            .iter()
            .map(|(id, (key, _))| if self.name == "asana" { id.clone() } else { key.clone() })
            .collect()
    }

    /// Makes items change now.
    fn touch(&self, items: &[(&String, &(String, DateTime<Utc>))]) {
        let control = self.simulator.control();
        match self.name {
            "github" => {
                let number = |key: &str| key.rsplit_once('#').unwrap().1.parse().unwrap();
                let numbers: Vec<u64> = items.iter().map(|(_, (key, _))| number(key)).collect();
                control.touch(REPOSITORY, &numbers).unwrap();
            }
            "asana" => items.iter().for_each(|(id, _)| control.touch_asana(id)),
            _ => {
                let keys: Vec<String> = items.iter().map(|(_, (key, _))| key.clone()).collect();
                control.with_jira("acme", |site| site.touch_issues(&keys).unwrap()).unwrap();
            }
        }
    }

    fn delete(&self, id: &str, key: &str) {
        let control = self.simulator.control();
        match self.name {
            "github" => {
                control.delete_issue(REPOSITORY, key.rsplit_once('#').unwrap().1.parse().unwrap()).unwrap();
            }
            "asana" => control.delete_asana(id).unwrap(),
            _ => control.with_jira("acme", |site| site.remove_issue(key).unwrap()).unwrap(),
        }
    }

    /// Reads every stream that is read by pages to its end; a failed call is made again from where it was, as the engine
    /// does, and what it failed with is answered too.
    async fn read(
        &self,
        since: Option<DateTime<Utc>>,
        mut between: impl FnMut(usize),
    ) -> (Items, Vec<SourceError>) {
        let (mut items, mut errors, mut pages) = (Items::new(), Vec::new(), 0);
        let projects = loop {
            match self.adapter.list_projects(&self.connection).await {
                Ok(projects) => break projects,
                Err(error) => failed(&mut errors, error),
            }
        };
        for spec in self.adapter.streams(&self.connection.settings) {
            let of: Vec<Option<&ProjectRef>> = match spec.scope {
                StreamScope::Instance => vec![None],
                StreamScope::Project => projects.iter().map(Some).collect(),
                StreamScope::PendingItems { .. } => continue,
            };
            for project in of {
                let mut cursor: Option<Cursor> = None;
                loop {
                    let request = PageRequest {
                        stream: &spec.name,
                        project,
                        items: &[],
                        cursor: cursor.as_ref(),
                        since,
                        validator: None,
                    };
                    let page = match self.adapter.fetch_page(&self.connection, request).await {
                        Ok(page) => page,
                        Err(error) => {
                            failed(&mut errors, error);
                            continue;
                        }
                    };
                    for item in page.records.items {
                        items.insert(item.source_id, (item.source_key, item.updated_at));
                    }
                    pages += 1;
                    assert!(pages < 500, "{}: {} does not end", self.name, spec.name.as_str());
                    between(pages);
                    // A cursor survives being stored.
                    cursor = page
                        .next
                        .map(|next| serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap());
                    if cursor.is_none() {
                        break;
                    }
                }
            }
        }
        (items, errors)
    }

    async fn sweep(&self) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for project in self.adapter.list_projects(&self.connection).await.unwrap() {
            let mut cursor: Option<Cursor> = None;
            loop {
                let page = self.adapter.list_ids(&self.connection, &project, cursor.as_ref()).await.unwrap();
                ids.extend(page.ids.into_iter().map(|id| id.source_id));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        ids
    }
}

fn failed(errors: &mut Vec<SourceError>, error: SourceError) {
    errors.push(error);
    assert!(errors.len() < 10, "it fails again and again: {:?}", errors.last());
}

#[tokio::test]
async fn a_backfill_and_a_sweep_bring_the_items_of_the_tracker_and_no_other() {
    for tracker in trackers().await {
        let (items, errors) = tracker.read(None, |_| ()).await;
        assert!(errors.is_empty(), "{}: {errors:?}", tracker.name);
        assert_eq!(tracker.named(&items), tracker.world(), "{}", tracker.name);
        let ids: BTreeSet<String> = items.keys().cloned().collect();
        assert_eq!(tracker.sweep().await, ids, "{}", tracker.name);
    }
}

#[tokio::test]
async fn a_failure_says_what_kind_it_is_and_the_same_call_goes_on_where_it_was() {
    let limited = FaultKind::RateLimited { retry_after_s: 0, as_http_date: false, omit_header: false };
    let kinds = [
        (limited, SourceErrorKind::RateLimited),
        (FaultKind::ServerError { status: 500 }, SourceErrorKind::Unavailable),
        (FaultKind::ServerError { status: 503 }, SourceErrorKind::Unavailable),
        (FaultKind::TruncatedBody, SourceErrorKind::Unavailable),
        (FaultKind::Reset, SourceErrorKind::Unavailable),
        (FaultKind::UnauthorizedOnce, SourceErrorKind::Unauthorized),
    ];
    for tracker in trackers().await {
        for (kind, expected) in &kinds {
            for nth in [1, 2] {
                fault(&tracker.simulator, tracker.items_path, nth, kind.clone());
            }
            let (items, errors) = tracker.read(None, |_| ()).await;
            tracker.simulator.control().clear_faults();
            let what = format!("{}: {kind:?}", tracker.name);
            assert!(!errors.is_empty(), "{what}: nothing failed");
            for error in errors {
                assert_eq!(error.kind, *expected, "{what}: {error:?}");
                assert!(!format!("{error:?}").contains(TOKEN), "{what}: the token is told");
            }
            assert_eq!(tracker.named(&items), tracker.world(), "{what}");
        }
    }
}

#[tokio::test]
async fn items_that_change_between_pages_are_neither_lost_nor_left_old() {
    for tracker in trackers().await {
        let (before, _) = tracker.read(None, |_| ()).await;
        let mut oldest: Vec<_> = before.iter().collect();
        oldest.sort_by_key(|(_, (_, updated))| *updated);
        let touched = &oldest[..20];
        let newest = before.values().map(|(_, updated)| *updated).max().unwrap();
        let (mut after, _) = tracker
            .read(None, |page| {
                if page % 3 == 1 {
                    tracker.touch(touched);
                }
            })
            .await;
        assert_eq!(tracker.named(&after), tracker.world(), "{}", tracker.name);
        // What changed behind the walk is brought by the next one.
        let (later, _) = tracker.read(Some(newest), |_| ()).await;
        after.extend(later);
        for (id, (key, updated)) in touched {
            assert!(after[*id].1 > *updated, "{}: {key} is old", tracker.name);
        }
        assert_eq!(tracker.named(&after), tracker.world(), "{}", tracker.name);
    }
}

#[tokio::test]
async fn a_deleted_item_is_in_no_sweep_and_its_absence_is_told() {
    for tracker in trackers().await {
        let (items, _) = tracker.read(None, |_| ()).await;
        // One that others hang on less: the newest.
        let (id, (key, _)) = items.iter().max_by_key(|(_, (_, updated))| *updated).unwrap();
        tracker.delete(id, key);
        let swept = tracker.sweep().await;
        assert!(!swept.contains(id), "{}: {key} is swept", tracker.name);
        assert!(swept.len() + 8 > items.len(), "{}: more than that one is gone", tracker.name);
        let address = ItemAddress { source_id: Some(id.clone()), ref_key: None, key: Some(key.clone()) };
        let fetched = tracker.adapter.fetch_items(&tracker.connection, &[address]).await.unwrap();
        assert!(fetched.records.items.iter().all(|item| item.source_id != *id), "{}", tracker.name);
    }
}

#[tokio::test]
async fn a_text_of_four_megabytes_is_read_and_the_items_around_it_too() {
    for tracker in trackers().await.into_iter().filter(|tracker| !tracker.project.is_empty()) {
        let large = FaultKind::LargeText { repository: tracker.project.into(), number: 9, bytes: 4 << 20 };
        tracker.simulator.control().add_fault(FaultRule { matching: FaultMatch::default(), kind: large });
        let (items, errors) = tracker.read(None, |_| ()).await;
        assert!(errors.is_empty(), "{}: {errors:?}", tracker.name);
        assert_eq!(tracker.named(&items), tracker.world(), "{}", tracker.name);
    }
}
