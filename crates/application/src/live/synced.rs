//! An issue as the synced copy has it: for who was told that it changed, and without a request to the tracker.

use chrono::SecondsFormat;
use domain::WorkItem;
use serde_json::{Map, Value, json};

use super::answer::{Draft, LiveAnswer};
use super::watched::ItemAddress;
use super::{LiveService, hide};
use crate::ports::LiveIssue;
use crate::{Ctx, Error};

/// Bytes of an answer: a title and some dozens of short values.
const MOST: usize = 16 * 1024;

impl LiveService {
    /// An issue in short, as the synced copy has it. [`Error::NotFound`] whether it is not there, was deleted, or may not
    /// be seen. The tracker is asked for nothing but the names of fields that the tenant's policy hides, now and then.
    pub async fn synced_issue(&self, ctx: &Ctx, address: &ItemAddress) -> Result<LiveAnswer, Error> {
        let no_such = || Error::not_found(format!("the issue {}", address.key));
        let target = match self.stored_target(ctx, Some(&address.instance)).await {
            Ok(target) => self.hiding(ctx, target).await?,
            // The same words whether it is the instance or the issue that the caller may not see.
            Err(Error::Invalid(_)) => return Err(no_such()),
            Err(error) => return Err(error),
        };
        let instance = target.instance.id;
        let item = self.parts.items.find_by_key(ctx, instance, &address.key).await?;
        let seen = |item: &WorkItem| {
            target.within.allows(&item.project_key) && target.within.allows_issue(&item.source_key)
        };
        let item = item.filter(seen).ok_or_else(no_such)?;
        let freshness = self.parts.sync.cached_freshness(ctx).await?;
        let of_instance = freshness.iter().find(|of| of.instance_id == instance).and_then(|of| of.synced_at);
        // An item that did not change is not written; up to when all changes are here, it is what the tracker has.
        let synced_at = of_instance.map_or(item.synced_at, |at| at.max(item.synced_at));
        let mut issue = in_short(item);
        hide::of_issue(target.within.hidden(), &mut issue);
        let mut draft = Draft::new();
        draft.whole(&issue, MOST);
        draft.put("synced_at", synced_at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let mut answer = draft.finish(&target, self.parts.clock.now());
        answer.content.insert("source".into(), "synced".into());
        Ok(answer)
    }
}

/// What a list of issues shows, with what is usually asked next. Properties are called as live answers call them.
fn in_short(item: WorkItem) -> LiveIssue {
    let mut more = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && value != json!([]) {
            more.insert(name.to_owned(), value);
        }
    };
    put("url", json!(item.url));
    put("reporter", json!(item.reporter));
    put("created", json!(item.created_at));
    put("due", json!(item.due_on));
    put("resolution", json!(item.resolution_original));
    put("labels", json!(item.labels));
    LiveIssue {
        key: item.source_key,
        summary: Some(item.title),
        issue_type: Some(item.type_original),
        status: Some(item.status_original),
        status_category: item.status_category,
        assignee: item.assignee,
        priority: item.priority_original,
        updated: Some(item.updated_at),
        more,
        fields: Map::new(),
    }
}
