//! Work items.

use async_trait::async_trait;
use chrono::TimeDelta;
use domain::{
    InstanceId, PriorityNorm, SourceKind, StatusNorm, TypeNorm, WorkItem, WorkItemFilter, WorkItemId,
};
use uuid::Uuid;

use super::instances::page_of;
use super::{INSTANCE, Memory, State, TENANT, moment};
use crate::Ctx;
use crate::ports::{ListCursor, ListPage, Listing, StoreError, WorkItemStore};

/// Five items of `acme/core`, the later changed the later numbered: three bugs in progress, two tasks to do.
pub(super) fn seed(state: &mut State) {
    for number in 1..=5u8 {
        let bug = number <= 3;
        state.items.push((
            TENANT,
            WorkItem {
                id: WorkItemId::new(Uuid::from_u128(70 + u128::from(number))),
                instance_id: INSTANCE,
                source: SourceKind::new("stub"),
                source_id: number.to_string(),
                source_key: format!("acme/core#{number}"),
                project_key: "acme/core".into(),
                type_norm: if bug { TypeNorm::Bug } else { TypeNorm::Task },
                type_original: if bug { "bug" } else { "task" }.into(),
                status_norm: if bug { StatusNorm::InProgress } else { StatusNorm::Todo },
                status_original: "open".into(),
                status_category: None,
                resolution_original: None,
                priority: PriorityNorm::Normal,
                priority_original: None,
                title: format!("The item number {number}"),
                body: Some("What is to be done".into()),
                assignee: bug.then(|| "ada".into()),
                assignees: if bug { vec!["ada".into()] } else { Vec::new() },
                reporter: Some("grace".into()),
                labels: vec![if bug { "defect" } else { "chore" }.into()],
                milestone: None,
                due_on: None,
                start_on: None,
                story_points: bug.then_some(3.0),
                estimate_s: None,
                spent_s: None,
                remaining_s: None,
                sprints: if bug { vec!["Sprint 1".into()] } else { Vec::new() },
                comment_count: 0,
                created_at: moment(),
                updated_at: moment() + TimeDelta::minutes(i64::from(number)),
                resolved_at: None,
                synced_at: moment(),
                url: format!("https://tracker.example/acme/core/{number}"),
                custom_fields: serde_json::json!({}),
                deleted_at: None,
                delete_reason: None,
            },
        ));
    }
}

fn matches(item: &WorkItem, filter: &WorkItemFilter) -> bool {
    filter.instance.is_none_or(|id| item.instance_id == id)
        && filter.project.as_ref().is_none_or(|key| item.project_key == *key)
        && filter.status.is_none_or(|status| item.status_norm == status)
        && filter.type_norm.is_none_or(|kind| item.type_norm == kind)
        && filter.label.as_ref().is_none_or(|label| item.labels.contains(label))
        && filter.assignee.as_ref().is_none_or(|login| item.assignees.contains(login))
        && filter.updated_since.is_none_or(|since| item.updated_at >= since)
        && (filter.include_deleted || item.deleted_at.is_none())
}

#[async_trait]
impl WorkItemStore for Memory {
    async fn list(
        &self,
        ctx: &Ctx,
        filter: &WorkItemFilter,
        page: &ListPage,
    ) -> Result<Listing<WorkItem>, StoreError> {
        self.reach("work_items.list").await?;
        let state = self.state();
        let mine = state.items.iter().filter(|(tenant, item)| *tenant == ctx.tenant && matches(item, filter));
        let mut rows: Vec<WorkItem> = mine.map(|(_, item)| WorkItem { body: None, ..item.clone() }).collect();
        rows.sort_by_key(|item| std::cmp::Reverse((item.updated_at, item.id)));
        Ok(page_of(rows, page, |item| ListCursor {
            after: item.updated_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            id: item.id.as_uuid(),
        }))
    }

    async fn find(&self, ctx: &Ctx, id: WorkItemId) -> Result<Option<WorkItem>, StoreError> {
        self.reach("work_items.find").await?;
        let state = self.state();
        let found = state.items.iter().find(|(tenant, item)| *tenant == ctx.tenant && item.id == id);
        Ok(found.map(|(_, item)| item.clone()))
    }

    async fn find_by_key(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        key: &str,
    ) -> Result<Option<WorkItem>, StoreError> {
        self.reach("work_items.find_by_key").await?;
        let state = self.state();
        let mut mine = state.items.iter().filter(|(tenant, _)| *tenant == ctx.tenant);
        let found = mine.find(|(_, item)| {
            item.instance_id == instance && item.source_key == key && item.deleted_at.is_none()
        });
        Ok(found.map(|(_, item)| item.clone()))
    }
}
