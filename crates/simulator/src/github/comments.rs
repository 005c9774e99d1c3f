//! Comments on issues and on the lines of a review.
//! <https://docs.github.com/rest/issues/comments>, <https://docs.github.com/rest/pulls/comments>

use super::call::{Call, sorted};
use super::reply::Reply;
use crate::dataset::Repository;
use crate::dataset::item::{Item, Row};

/// `GET /repos/{owner}/{repo}/issues/comments`
pub(super) fn of_issues(call: &Call<'_>, repository: &Repository) -> Result<Reply, Reply> {
    everywhere(call, repository, "IssueComment", |item| &item.comments)
}

/// `GET /repos/{owner}/{repo}/pulls/comments`
pub(super) fn of_reviews(call: &Call<'_>, repository: &Repository) -> Result<Reply, Reply> {
    everywhere(call, repository, "PullRequestReviewComment", |item| &item.review_comments)
}

/// `GET /repos/{owner}/{repo}/issues/{number}/comments`, oldest first.
pub(super) fn of_issue(call: &Call<'_>, repository: &Repository, item: &Item) -> Result<Reply, Reply> {
    let since = call.since("IssueComment")?;
    Ok(rows(call, repository, &item.comments, since))
}

/// `GET /repos/{owner}/{repo}/pulls/{number}/comments`
pub(super) fn of_pull(call: &Call<'_>, repository: &Repository, item: &Item) -> Result<Reply, Reply> {
    let resource = "PullRequestReviewComment";
    let since = call.since(resource)?;
    let sort = call.choice(resource, "sort", &["created", "updated"])?;
    let direction = call.choice(resource, "direction", &["asc", "desc"])?;
    if item.pull.is_none() {
        return Err(Reply::not_found());
    }
    let mut found: Vec<&Row> =
        item.review_comments.iter().filter(|row| since.is_none_or(|since| row.updated_at >= since)).collect();
    found.sort_by_key(|row| (if sort == "updated" { row.updated_at } else { row.created_at }, row.id));
    // "Ignored without sort parameter."
    if direction == "desc" && call.text("sort").is_some() {
        found.reverse();
    }
    Ok(call.page(&found, |row, out| repository.fragments.expand_into(&row.text, out)))
}

fn rows(call: &Call<'_>, repository: &Repository, rows: &[Row], since: Option<i64>) -> Reply {
    let found: Vec<&Row> =
        rows.iter().filter(|row| since.is_none_or(|since| row.updated_at >= since)).collect();
    call.page(&found, |row, out| repository.fragments.expand_into(&row.text, out))
}

/// The comments of all items in one list.
fn everywhere(
    call: &Call<'_>,
    repository: &Repository,
    resource: &str,
    of: fn(&Item) -> &[Row],
) -> Result<Reply, Reply> {
    let sort = call.choice(resource, "sort", &["created", "updated", "created_at"])?;
    let direction = call.choice(resource, "direction", &["asc", "desc"])?;
    let since = call.since(resource)?;
    // "Either asc or desc. Ignored without the sort parameter."
    let descending = direction == "desc" && call.text("sort").is_some();
    let keys = repository.list(&format!("{resource} {sort} {descending} {since:?}"), || {
        let rows = repository.items.values().flat_map(|item| {
            of(item).iter().enumerate().map(|(index, row)| {
                let key = if sort == "updated" { row.updated_at } else { row.created_at };
                (row.updated_at, (key, row.id, (item.number, index)))
            })
        });
        let wanted = rows.filter(|(updated, _)| since.is_none_or(|since| *updated >= since));
        sorted(wanted.map(|(_, row)| row).collect(), descending)
    });
    Ok(call.page(&keys, |(number, index), out| {
        if let Some(row) = repository.items.get(&number).and_then(|item| of(item).get(index)) {
            repository.fragments.expand_into(&row.text, out);
        }
    }))
}
