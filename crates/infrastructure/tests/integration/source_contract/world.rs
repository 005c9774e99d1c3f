//! What the suite must know of a source: how its tracker is filled and changed, and where in its answers the items are.
//! A new source is a type of its own and one line in [`worlds`].

mod asana;
mod github;
mod jira;

use application::ports::ItemAddress;
use domain::record::ItemRecord;
use domain::{PriorityNorm, StatusNorm, TypeNorm};
use simulator::Control;

use super::proxy::{Asked, Proxy};
use super::*;

/// Items of the first project.
pub(super) const ITEMS: usize = 120;
/// Items of a page, where a case wants many pages.
const FEW: u64 = 15;

/// Every source that is registered, in each dialect of it.
pub(super) fn worlds() -> Vec<Box<dyn World>> {
    vec![
        Box::new(github::GitHub),
        Box::new(jira::Jira(simulator::Deployment::Cloud)),
        Box::new(jira::Jira(simulator::Deployment::DataCenter)),
        Box::new(asana::Asana),
    ]
}

/// Type, status and priority as an item has them.
pub(super) type Words = (TypeNorm, String, StatusNorm, String, PriorityNorm, Option<String>);

/// A kind of tracker, simulated.
pub(super) trait World: Send + Sync {
    /// What failures call it.
    fn name(&self) -> &'static str;
    /// What the registry calls its adapter.
    fn source(&self) -> &'static str;
    /// Puts two projects or more into the tracker.
    fn fill(&self, control: &Control);
    /// Where below the simulator's address its API is.
    fn base(&self) -> &'static str;
    fn credential(&self) -> Credential;
    /// Selects all of its projects.
    fn settings(&self) -> Value;

    /// The items that there are, by [`World::item_name`], and when each changed last, in milliseconds.
    fn items(&self, control: &Control) -> BTreeMap<String, i64>;
    /// Comments that there are.
    fn comments(&self, control: &Control) -> usize;
    /// What an item is called in [`World::items`].
    fn item_name(&self, _source_id: &str, key: &str) -> String {
        key.to_owned()
    }

    /// Makes items change now.
    fn touch(&self, control: &Control, names: &[String]);
    fn delete(&self, control: &Control, name: &str);
    /// Moves an item to another project; false when this one cannot be moved.
    fn move_away(&self, control: &Control, name: &str) -> bool;
    /// Makes the text of this item so long.
    fn lengthen(&self, control: &Control, name: &str, bytes: usize);

    /// Whether a page of a project's items is asked for, or of their ids.
    fn asks_items(&self, asked: &Asked) -> bool;
    /// Whether what hangs on items is asked for.
    fn asks_details(&self, asked: &Asked) -> bool;
    /// Whether it is about this project.
    fn asks_project(&self, asked: &Asked, project: &ProjectRef) -> bool;
    /// Whether this item is asked for by itself.
    fn asks_item(&self, asked: &Asked, item: &ItemAddress) -> bool;
    /// Makes it a question for at most so many items.
    fn limit(&self, asked: &mut Asked, items: u64);
    /// The rows of a list in an answer.
    fn rows<'v>(&self, body: &'v mut Value) -> Option<&'v mut Vec<Value>>;
    /// The source's id of a row.
    fn row_id(&self, row: &Value) -> Option<String>;

    /// Parts of an item, as JSON Pointers, without which it cannot be kept. Without the first it cannot even be told
    /// which one it is.
    fn essential(&self) -> &'static [&'static str];
    /// Gives a row words that nobody has heard of: its type, status, priority and whatever else is one of a list.
    fn put_unknown_words(&self, row: &mut Value);
    /// What is made of those.
    fn unknown_words(&self) -> Words;
    /// Puts an entry of an unknown kind into the histories of an answer; false when it holds none.
    fn put_unknown_event(&self, body: &mut Value) -> bool;
    /// The field that such an entry is kept as a change of.
    fn unknown_event(&self) -> &'static str;
}

/// The items that a client has in the end, by id: name and time of the last change.
pub(super) type Items = BTreeMap<String, (String, DateTime<Utc>)>;

/// A simulated tracker, the proxy in front of it, and the way there.
pub(super) struct Tracker {
    pub(super) world: Arc<dyn World>,
    pub(super) simulator: Simulator,
    pub(super) proxy: Proxy,
    pub(super) connection: Connection,
    pub(super) adapter: Arc<dyn SourceAdapter>,
}

pub(super) async fn trackers() -> Vec<Tracker> {
    let mut all = Vec::new();
    for world in worlds() {
        all.push(Tracker::of(world.into()).await);
    }
    all
}

/// What a client has read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) items: Items,
    pub(super) all: PageRecords,
    pub(super) errors: Vec<SourceError>,
}

impl Tracker {
    async fn of(world: Arc<dyn World>) -> Self {
        let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
        world.fill(simulator.control());
        let proxy = Proxy::to(simulator.url()).await;
        let adapter = registry().get(&SourceKind::new(world.source())).unwrap().clone();
        let settings = adapter.check_settings(&world.settings()).unwrap();
        let mut connection = connection(&format!("{}{}", proxy.url, world.base()), settings);
        connection.credential = world.credential();
        adapter.check_credential(&connection.credential).unwrap();
        Self { world, simulator, proxy, connection, adapter }
    }

    pub(super) fn name(&self) -> &'static str {
        self.world.name()
    }

    pub(super) fn control(&self) -> &Control {
        self.simulator.control()
    }

    /// The names of the items that there are.
    pub(super) fn there(&self) -> BTreeMap<String, i64> {
        self.world.items(self.control())
    }

    /// Fails unless these are the tracker's items, none missing, none too many and, where `exact`, none old.
    pub(super) fn assert_are(&self, items: &Items, exact: bool, what: &str) {
        let there = self.there();
        let have: BTreeMap<String, i64> =
            items.values().map(|(name, updated)| (name.clone(), updated.timestamp_millis())).collect();
        let missing: Vec<_> = there.keys().filter(|name| !have.contains_key(*name)).collect();
        let ghosts: Vec<_> = have.keys().filter(|name| !there.contains_key(*name)).collect();
        assert!(
            missing.is_empty() && ghosts.is_empty(),
            "{}, {what}: missing {missing:?}, ghosts {ghosts:?}",
            self.name()
        );
        let old: Vec<_> = there.iter().filter(|(name, updated)| have[*name] != **updated).collect();
        assert!(!exact || old.is_empty(), "{}, {what}: as they were before {old:?}", self.name());
    }

    /// Lets every page hold few items, so that there are many.
    pub(super) fn page_by_page(&self) {
        let world = self.world.clone();
        self.proxy.before(move |asked| {
            if world.asks_items(asked) {
                world.limit(asked, FEW);
            }
            None
        });
    }

    /// Calls `rule` with the number of each question for items, from 1, and the question.
    pub(super) fn on_items(
        &self,
        mut rule: impl FnMut(usize, &Asked) -> Option<proxy::Answer> + Send + 'static,
    ) {
        let (world, mut count) = (self.world.clone(), 0);
        self.proxy.before(move |asked| {
            if !world.asks_items(asked) {
                return None;
            }
            count += 1;
            rule(count, asked)
        });
    }

    /// Changes the rows of every answer that lists items.
    pub(super) fn edit_items(&self, mut edit: impl FnMut(&dyn World, &mut Vec<Value>) + Send + 'static) {
        let world = self.world.clone();
        self.proxy.after(move |asked, answer| {
            if world.asks_items(asked) {
                answer.edit(|body| {
                    if let Some(rows) = world.rows(body) {
                        edit(world.as_ref(), rows);
                    }
                });
            }
        });
    }

    /// The projects, asked for until they are told.
    async fn projects(&self, errors: &mut Vec<SourceError>) -> Vec<ProjectRef> {
        loop {
            match self.adapter.list_projects(&self.connection).await {
                Ok(projects) => return projects,
                Err(error) => failed(errors, error),
            }
        }
    }

    /// Reads every stream that is read by pages to its end; a failed call is made again from where it was, as the engine
    /// does, and what it failed with is answered too.
    pub(super) async fn read(&self, since: Option<DateTime<Utc>>, mut between: impl FnMut(usize)) -> Read {
        let (mut read, mut pages) = (Read::default(), 0);
        let projects = self.projects(&mut read.errors).await;
        for (stream, project) in self.lists(&projects) {
            let mut cursor: Option<Cursor> = None;
            loop {
                let page = match self.page(&stream, project, cursor.as_ref(), since).await {
                    Ok(page) => page,
                    Err(error) => {
                        failed(&mut read.errors, error);
                        continue;
                    }
                };
                read.take(self.world.as_ref(), page.records);
                pages += 1;
                assert!(pages < 500, "{}: {stream} does not end", self.name());
                between(pages);
                cursor = stored(page.next);
                if cursor.is_none() {
                    break;
                }
            }
        }
        read
    }

    /// As [`Self::read`], up to the first failure.
    pub(super) async fn try_read(&self) -> Result<Read, SourceError> {
        let mut read = Read::default();
        let projects = self.adapter.list_projects(&self.connection).await?;
        for (stream, project) in self.lists(&projects) {
            let mut cursor: Option<Cursor> = None;
            loop {
                let page = self.page(&stream, project, cursor.as_ref(), None).await?;
                read.take(self.world.as_ref(), page.records);
                cursor = stored(page.next);
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(read)
    }

    fn lists<'p>(&self, projects: &'p [ProjectRef]) -> Vec<(StreamName, Option<&'p ProjectRef>)> {
        let mut lists = Vec::new();
        for spec in self.adapter.streams(&self.connection.settings) {
            match spec.scope {
                StreamScope::Instance => lists.push((spec.name, None)),
                StreamScope::Project => {
                    lists.extend(projects.iter().map(|project| (spec.name.clone(), Some(project))));
                }
                StreamScope::PendingItems { .. } => {}
            }
        }
        lists
    }

    async fn page(
        &self,
        stream: &StreamName,
        project: Option<&ProjectRef>,
        cursor: Option<&Cursor>,
        since: Option<DateTime<Utc>>,
    ) -> Result<Page, SourceError> {
        let request = PageRequest { stream, project, items: &[], cursor, since, validator: None };
        self.adapter.fetch_page(&self.connection, request).await
    }

    /// The ids of all items, by the lists that a comparison reads.
    pub(super) async fn sweep(&self) -> Result<BTreeSet<String>, SourceError> {
        let mut ids = BTreeSet::new();
        for project in self.adapter.list_projects(&self.connection).await? {
            let mut cursor: Option<Cursor> = None;
            loop {
                let page = self.adapter.list_ids(&self.connection, &project, cursor.as_ref()).await?;
                ids.extend(page.ids.into_iter().map(|id| id.source_id));
                cursor = stored(page.next);
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(ids)
    }
}

impl Read {
    pub(super) fn take(&mut self, world: &dyn World, records: PageRecords) {
        for item in &records.items {
            let name = world.item_name(&item.source_id, &item.source_key);
            self.items.insert(item.source_id.clone(), (name, item.updated_at));
        }
        self.all.append(records);
    }

    pub(super) fn item(&self, source_id: &str) -> Option<&ItemRecord> {
        self.all.items.iter().rfind(|item| item.source_id == source_id)
    }
}

/// A cursor survives being stored.
fn stored(next: Option<Cursor>) -> Option<Cursor> {
    next.map(|next| serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap())
}

fn failed(errors: &mut Vec<SourceError>, error: SourceError) {
    errors.push(error);
    assert!(errors.len() < 10, "it fails again and again: {:?}", errors.last());
}

#[test]
fn every_registered_source_is_in_the_suite() {
    let tried: BTreeSet<&str> = worlds().iter().map(|world| world.source()).collect();
    assert_eq!(tried.into_iter().collect::<Vec<_>>(), registry().names());
}
