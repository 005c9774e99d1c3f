//! Issues, among them the issue form of pull requests. <https://docs.github.com/rest/issues/issues>

use super::call::{Call, sorted};
use super::reply::Reply;
use crate::dataset::Repository;
use crate::dataset::item::Item;

/// What a list of issues is narrowed by. Its `Debug` form names the list.
#[derive(Debug)]
struct Filter {
    state: &'static str,
    since: Option<i64>,
    labels: Vec<String>,
    assignee: Option<String>,
    creator: Option<String>,
    milestone: Option<Milestone>,
}

#[derive(Debug)]
enum Milestone {
    Any,
    None,
    Number(u64),
}

/// `GET /repos/{owner}/{repo}/issues`
pub(super) fn list(call: &Call<'_>, repository: &Repository) -> Result<Reply, Reply> {
    let filter = Filter::from(call)?;
    let sort = call.choice("Issue", "sort", &["created", "updated", "comments"])?;
    let direction = call.choice("Issue", "direction", &["desc", "asc"])?;
    let keys = repository.list(&format!("issues {sort} {direction} {filter:?}"), || {
        let rows = repository.items.values().filter(|item| filter.holds(item)).map(|item| {
            let key = match sort {
                "updated" => item.updated_at,
                "comments" => i64::try_from(item.comment_count).unwrap_or(i64::MAX),
                _ => item.created_at,
            };
            (key, item.id, (item.number, 0))
        });
        sorted(rows.collect(), direction == "desc")
    });
    Ok(call.page(&keys, |(number, _), out| {
        if let Some(item) = repository.items.get(&number) {
            call.write_issue(repository, item, out);
        }
    }))
}

/// `GET /repos/{owner}/{repo}/issues/{number}`
pub(super) fn get(call: &Call<'_>, repository: &Repository, item: &Item) -> Reply {
    let mut body = String::new();
    call.write_issue(repository, item, &mut body);
    Reply::ok(body).modified(item.updated_at)
}

/// `GET /repos/{owner}/{repo}/issues/{number}/labels`
pub(super) fn labels(call: &Call<'_>, repository: &Repository, item: &Item) -> Reply {
    let issue = repository.value(&item.issue);
    let labels: Vec<_> = issue["labels"].as_array().into_iter().flatten().collect();
    call.page(&labels, |label, out| out.push_str(&label.to_string()))
}

impl Filter {
    fn from(call: &Call<'_>) -> Result<Self, Reply> {
        let lower = |name| call.text(name).map(str::to_lowercase);
        let milestone = match call.text("milestone") {
            None => None,
            Some("*") => Some(Milestone::Any),
            Some("none") => Some(Milestone::None),
            Some(number) => Some(Milestone::Number(
                number.parse().map_err(|_| Reply::invalid("Issue", "milestone", "invalid"))?,
            )),
        };
        let labels = lower("labels").unwrap_or_default();
        Ok(Self {
            state: call.choice("Issue", "state", &["open", "closed", "all"])?,
            since: call.since("Issue")?,
            labels: labels
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
            assignee: lower("assignee"),
            creator: lower("creator"),
            milestone,
        })
    }

    fn holds(&self, item: &Item) -> bool {
        let has = |list: &[Box<str>], name: &str| list.iter().any(|one| &**one == name);
        let assigned = match self.assignee.as_deref() {
            None => true,
            Some("*") => !item.assignees.is_empty(),
            Some("none") => item.assignees.is_empty(),
            Some(login) => has(&item.assignees, login),
        };
        let planned = match self.milestone {
            None => true,
            Some(Milestone::Any) => item.milestone.is_some(),
            Some(Milestone::None) => item.milestone.is_none(),
            Some(Milestone::Number(number)) => item.milestone == Some(number),
        };
        assigned
            && planned
            && (self.state == "all" || item.open == (self.state == "open"))
            && self.since.is_none_or(|since| item.updated_at >= since)
            && self.labels.iter().all(|name| has(&item.labels, name))
            && self.creator.as_deref().is_none_or(|login| &*item.creator == login)
    }
}
