//! Reads the real data set that the developers share (`shared/data`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dataset::Repository;
use crate::dataset::item::{Item, Row};

const NAME: &str = "bitcoin-core/gui";

#[derive(Deserialize)]
struct Line {
    issue: Option<Numbered>,
    pull: Option<Numbered>,
    events: Vec<Value>,
    #[serde(default)]
    comments: Vec<Value>,
}

#[derive(Deserialize)]
struct Numbered {
    number: u64,
}

/// The repository bitcoin-core/gui as its public backup has it, from
/// `<directory>/github/bitcoin-core-gui.items.jsonl.gz` and the derived files beside it.
///
/// Everything is as recorded, also the ids: in this data a pull request's issue form has
/// the pull request's own id, which GitHub's has not (generated repositories have two).
///
/// # Errors
/// When a file is missing or not what it should be; the error names it.
pub fn bitcoin_gui(directory: &Path) -> anyhow::Result<Repository> {
    let derived = |name: &str| directory.join(format!("derived/github.bitcoin-core-gui.{name}.jsonl.gz"));
    let pulls: Vec<Value> = lines(&derived("pulls"))?;
    let object = pulls.first().map(|pull| pull["base"]["repo"].clone()).context("there are no pulls")?;
    let mut repository = Repository::new(NAME, &object);
    let mut items = BTreeMap::new();
    let mut catalog = Catalog::default();
    for issue in lines::<Value>(&derived("issues"))? {
        catalog.collect(&issue);
        let item = Item::new(&repository.fragments, &issue);
        items.insert(item.number, item);
    }
    for pull in &pulls {
        if let Some(item) = pull["number"].as_u64().and_then(|number| items.get_mut(&number)) {
            item.set_pull(&repository.fragments, pull);
        }
    }
    for comment in lines::<Value>(&derived("issue-comments"))? {
        let number = comment["issue_url"].as_str().and_then(|url| url.rsplit('/').next()?.parse().ok());
        let item = number.and_then(|number: u64| items.get_mut(&number));
        let item = item.with_context(|| format!("comment {} belongs to no issue", comment["id"]))?;
        item.comments.push(Row::new(&repository.fragments, &comment));
    }
    for line in lines::<Line>(&directory.join("github/bitcoin-core-gui.items.jsonl.gz"))? {
        let number = line.issue.or(line.pull).context("a line without item")?.number;
        let item = items.get_mut(&number).with_context(|| format!("item {number} has no issue form"))?;
        let fragments = &repository.fragments;
        item.reviews = line.events.iter().filter_map(review).map(|one| Row::new(fragments, &one)).collect();
        item.timeline = line.events.iter().map(|event| Row::new(fragments, event)).collect();
        item.review_comments = line.comments.iter().map(|comment| Row::new(fragments, comment)).collect();
    }
    for mut item in items.into_values() {
        item.comments.sort_by_key(|row| (row.created_at, row.id));
        repository.insert(item);
    }
    repository.labels = catalog.labels.into_values().collect();
    repository.milestones = catalog.milestones.into_values().collect();
    repository.people = catalog.people.into_values().collect();
    Ok(repository)
}

/// What the issues mention, once each.
#[derive(Default)]
struct Catalog {
    labels: BTreeMap<String, Value>,
    milestones: BTreeMap<u64, Value>,
    people: BTreeMap<String, Value>,
}

impl Catalog {
    fn collect(&mut self, issue: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        for label in issue["labels"].as_array().into_iter().flatten() {
            self.labels.entry(text(&label["name"])).or_insert_with(|| label.clone());
        }
        if let Some(number) = issue["milestone"]["number"].as_u64() {
            self.milestones.entry(number).or_insert_with(|| issue["milestone"].clone());
        }
        let inside =
            ["MEMBER", "OWNER", "COLLABORATOR"].iter().any(|role| issue["author_association"] == *role);
        let authors = inside.then_some(&issue["user"]);
        for person in issue["assignees"].as_array().into_iter().flatten().chain(authors) {
            self.people.entry(text(&person["login"])).or_insert_with(|| person.clone());
        }
    }
}

/// A timeline entry as `GET /pulls/{n}/reviews` shows it; `None` when it is no review.
fn review(event: &Value) -> Option<Value> {
    if event["event"] != "reviewed" {
        return None;
    }
    let mut review = event.clone();
    let object = review.as_object_mut()?;
    for key in ["event", "actor", "url", "commit_url", "created_at", "updated_at"] {
        object.remove(key);
    }
    let href = |key: &str| json!({"href": event[key]});
    object.insert(
        "_links".to_owned(),
        json!({"html": href("html_url"), "pull_request": href("pull_request_url")}),
    );
    Some(review)
}

fn lines<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let read = |(index, line): (usize, std::io::Result<String>)| {
        serde_json::from_str(&line?).with_context(|| format!("{} line {}", path.display(), index + 1))
    };
    BufReader::new(GzDecoder::new(file)).lines().enumerate().map(read).collect()
}
