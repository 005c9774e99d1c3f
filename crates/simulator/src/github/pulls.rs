//! Pull requests and their reviews. <https://docs.github.com/rest/pulls>

use super::call::{Call, sorted};
use super::reply::Reply;
use crate::dataset::Repository;
use crate::dataset::item::{Item, Row};

/// `GET /repos/{owner}/{repo}/pulls`
pub(super) fn list(call: &Call<'_>, repository: &Repository) -> Result<Reply, Reply> {
    let resource = "PullRequest";
    let state = call.choice(resource, "state", &["open", "closed", "all"])?;
    let sort = call.choice(resource, "sort", &["created", "updated", "popularity", "long-running"])?;
    // "Default: desc when sort is created or sort is not specified, otherwise asc."
    let order = if sort == "created" { ["desc", "asc"] } else { ["asc", "desc"] };
    let direction = call.choice(resource, "direction", &order)?;
    let (head, base) = (call.text("head"), call.text("base"));
    let keys = repository.list(&format!("pulls {state} {sort} {direction} {head:?} {base:?}"), || {
        let rows = repository.items.values().filter_map(|item| {
            let pull = item.pull.as_ref()?;
            let wanted = (state == "all" || item.open == (state == "open"))
                && head.is_none_or(|head| &*pull.head == head)
                && base.is_none_or(|base| &*pull.base == base);
            let key = match sort {
                "updated" => item.updated_at,
                "popularity" => i64::try_from(item.comment_count).unwrap_or(i64::MAX),
                _ => item.created_at,
            };
            wanted.then_some((key, pull.id, (item.number, 0)))
        });
        sorted(rows.collect(), direction == "desc")
    });
    Ok(call.page(&keys, |(number, _), out| {
        if let Some(pull) = repository.items.get(&number).and_then(|item| item.pull.as_ref()) {
            repository.fragments.expand_into(&pull.brief, out);
        }
    }))
}

/// `GET /repos/{owner}/{repo}/pulls/{number}`
pub(super) fn get(repository: &Repository, item: &Item) -> Result<Reply, Reply> {
    let pull = item.pull.as_ref().ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(repository.fragments.expand(&pull.full())).modified(item.updated_at))
}

/// `GET /repos/{owner}/{repo}/pulls/{number}/reviews`, oldest first.
pub(super) fn reviews(call: &Call<'_>, repository: &Repository, item: &Item) -> Result<Reply, Reply> {
    if item.pull.is_none() {
        return Err(Reply::not_found());
    }
    let rows: Vec<&Row> = item.reviews.iter().collect();
    Ok(call.page(&rows, |row, out| repository.fragments.expand_into(&row.text, out)))
}
