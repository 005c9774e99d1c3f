//! What the simulator serves: repositories with their items, held as JSON text beside the
//! few fields that lists filter and sort by.

pub(crate) mod fragments;
pub(crate) mod item;
pub(crate) mod person;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::timestamp;
use fragments::{Fragment, Fragments};
use item::Item;

/// One object of a list: the number of its issue or pull request, and its place inside it.
pub(crate) type Key = (u64, usize);

/// A repository with everything in it. Made by [`crate::generate::repository`] or
/// [`crate::load::bitcoin_gui`].
pub struct Repository {
    pub(crate) id: u64,
    pub(crate) full_name: String,
    pub(crate) object: Fragment,
    pub(crate) fragments: Fragments,
    pub(crate) items: BTreeMap<u64, Item>,
    pub(crate) gone: BTreeMap<u64, Gone>,
    pub(crate) labels: Vec<Value>,
    pub(crate) milestones: Vec<Value>,
    pub(crate) people: Vec<Value>,
    pub(crate) next_id: u64,
    latest: i64,
    lists: Mutex<HashMap<String, Arc<Vec<Key>>>>,
}

/// Why a number answers no longer with its issue.
#[derive(Debug, Clone)]
pub(crate) enum Gone {
    Deleted,
    Transferred { repository: u64, number: u64 },
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("full_name", &self.full_name)
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// An empty repository; `object` is the repository object of the API.
    pub(crate) fn new(full_name: &str, object: &Value) -> Self {
        let mut fragments = Fragments::new(full_name);
        let text = fragments.compact(&object.to_string());
        let object_fragment = fragments.add(text);
        Self {
            id: object["id"].as_u64().unwrap_or(1),
            full_name: full_name.to_owned(),
            object: object_fragment,
            fragments,
            items: BTreeMap::new(),
            gone: BTreeMap::new(),
            labels: Vec::new(),
            milestones: Vec::new(),
            people: Vec::new(),
            next_id: 9_000_000_000,
            latest: 0,
            lists: Mutex::default(),
        }
    }

    /// The name by which requests call it, such as `octo/billing`.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// How many issues it holds, pull requests not counted.
    pub fn issue_count(&self) -> usize {
        self.items.values().filter(|item| item.pull.is_none()).count()
    }

    /// How many pull requests it holds.
    pub fn pull_request_count(&self) -> usize {
        self.items.values().filter(|item| item.pull.is_some()).count()
    }

    pub(crate) fn insert(&mut self, item: Item) {
        self.latest = self.latest.max(item.updated_at);
        self.items.insert(item.number, item);
        self.changed();
    }

    /// A number no item has or had.
    pub(crate) fn next_number(&self) -> u64 {
        let last = |key: Option<&u64>| key.copied().unwrap_or(0);
        last(self.items.keys().next_back()).max(last(self.gone.keys().next_back())) + 1
    }

    /// An id no object has.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The time of a change made now. Later than every time before it, so that what
    /// changed last is always the newest.
    pub(crate) fn tick(&mut self) -> i64 {
        self.latest = timestamp::now().max(self.latest + 1);
        self.latest
    }

    /// Forgets the lists made so far. Call after every change.
    pub(crate) fn changed(&mut self) {
        self.lists.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The sorted and filtered list known by `name`, made once until the next change, so
    /// that reading page after page does not sort twenty thousand items each time.
    pub(crate) fn list(&self, name: &str, make: impl FnOnce() -> Vec<Key>) -> Arc<Vec<Key>> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= 64 && !lists.contains_key(name) {
            lists.clear();
        }
        Arc::clone(lists.entry(name.to_owned()).or_insert_with(|| Arc::new(make())))
    }

    /// Gives the repository another name; URLs inside its objects follow.
    pub(crate) fn rename(&mut self, full_name: &str) {
        let mut object = self.value(&self.object.to_string());
        let (owner, name) = full_name.split_once('/').unwrap_or(("", full_name));
        self.fragments.rename(full_name);
        object["name"] = json!(name);
        object["full_name"] = json!(full_name);
        object["owner"]["login"] = json!(owner);
        object["url"] = json!(format!("{}/repos/{full_name}", fragments::API));
        object["html_url"] = json!(format!("{}/{full_name}", fragments::WEB));
        self.fragments.set(self.object, &object.to_string());
        self.full_name = full_name.to_owned();
        self.changed();
    }

    /// A stored text as JSON.
    pub(crate) fn value(&self, text: &str) -> Value {
        serde_json::from_str(&self.fragments.expand(text)).unwrap_or(Value::Null)
    }

    /// Sets `updated_at` of one item to now; false when there is no such item.
    pub(crate) fn touch(&mut self, number: u64) -> bool {
        if !self.items.contains_key(&number) {
            return false;
        }
        let at = self.tick();
        self.edit(number, at, |_| {});
        true
    }

    /// Changes the issue form of an item and whatever follows from it: the index, the
    /// pull request's own form, and `updated_at`.
    pub(crate) fn edit(&mut self, number: u64, at: i64, change: impl FnOnce(&mut Value)) {
        let Some(item) = self.items.get_mut(&number) else { return };
        item.edit(&self.fragments, at, change);
        self.latest = self.latest.max(at);
        self.changed();
    }
}
