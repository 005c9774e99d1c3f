//! Sub-issues and dependencies of an issue. Its timeline tells whether it ever had any; what they are is asked for, since
//! events do not always say whom they are about.
//! <https://docs.github.com/en/rest/issues/sub-issues>, <https://docs.github.com/en/rest/issues/issue-dependencies>

use std::collections::HashMap;

use application::ports::{PendingItem, SourceError, SourceErrorKind};
use domain::record::LinkRecord;

use super::api::{Api, rows};
use super::model::{OtherIssue, Repository};
use super::timeline;

/// Which kinds of relations an issue has or had.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Relations {
    pub(super) sub_issues: bool,
    pub(super) parent: bool,
    pub(super) blocked_by: bool,
    pub(super) blocking: bool,
}

impl Relations {
    /// Notes an event of a timeline.
    pub(super) fn note(&mut self, event: &str) {
        match event {
            "sub_issue_added" | "sub_issue_removed" => self.sub_issues = true,
            "parent_issue_added" | "parent_issue_removed" => self.parent = true,
            "blocked_by_added" | "blocked_by_removed" => self.blocked_by = true,
            "blocking_added" | "blocking_removed" => self.blocking = true,
            _ => {}
        }
    }

    fn asked(self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        [
            (self.sub_issues, ("sub_issues?per_page=100", "parent_of", "sub_issue")),
            (self.parent, ("parent", "child_of", "parent_issue")),
            (self.blocked_by, ("dependencies/blocked_by?per_page=100", "blocked_by", "blocked_by")),
            (self.blocking, ("dependencies/blocking?per_page=100", "blocks", "blocking")),
        ]
        .into_iter()
        .filter_map(|(asked, relation)| asked.then_some(relation))
    }
}

/// Puts what GitHub says now in place of what the events said. A server that has no such lists leaves the events' word.
pub(super) async fn read(
    api: &Api<'_>,
    item: &PendingItem,
    number: u64,
    relations: Relations,
    links: &mut Vec<LinkRecord>,
) -> Result<(), SourceError> {
    let mut ids: HashMap<String, Option<u64>> = HashMap::new();
    for (path, type_norm, type_original) in relations.asked() {
        let what = format!("the {} of {}", type_original.replace('_', " "), item.source_key);
        let url = api.url(&format!("/repos/{}/issues/{number}/{path}", item.project.key))?;
        let first = match api.get(&url, None, &what).await {
            Ok(first) => first,
            Err(error) if error.kind == SourceErrorKind::NotFound => {
                // No parent is told so, too.
                links.retain(|link| type_norm != "child_of" || link.type_norm != type_norm);
                continue;
            }
            Err(error) if error.kind == SourceErrorKind::Gone => continue,
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        if type_norm == "child_of" {
            let text = first.text();
            found.extend(
                serde_json::from_str::<OtherIssue<'_>>(&text)
                    .ok()
                    .and_then(|other| timeline::link(item, &other, type_norm, type_original)),
            );
        } else {
            api.all_pages(first, &what, |text| {
                for raw in rows(text)? {
                    // One that cannot be read keeps the others from nothing.
                    let other = serde_json::from_str::<OtherIssue<'_>>(raw.get()).ok();
                    found.extend(
                        other.and_then(|other| timeline::link(item, &other, type_norm, type_original)),
                    );
                }
                Ok(())
            })
            .await?;
        }
        links.retain(|link| link.type_norm != type_norm);
        for mut link in found {
            if link.to_ref_key.is_none() {
                link.to_ref_key = ref_key(api, &link.to_key, &mut ids).await?;
            }
            links.push(link);
        }
    }
    Ok(())
}

/// The key of an item in another repository. `None` when that cannot be seen.
async fn ref_key(
    api: &Api<'_>,
    key: &str,
    ids: &mut HashMap<String, Option<u64>>,
) -> Result<Option<String>, SourceError> {
    let Some((name, number)) = key.rsplit_once('#') else { return Ok(None) };
    if let Some(id) = ids.get(name) {
        return Ok(id.map(|id| format!("{id}#{number}")));
    }
    let id = match api.get(&api.url(&format!("/repos/{name}"))?, None, name).await {
        Ok(answer) => {
            serde_json::from_str::<Repository<'_>>(&answer.text()).ok().map(|repository| repository.id)
        }
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => None,
        Err(error) => return Err(error),
    };
    ids.insert(name.to_owned(), id);
    Ok(id.map(|id| format!("{id}#{number}")))
}
