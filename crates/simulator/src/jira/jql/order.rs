//! The order of a search, in which every issue has its own place.

use serde::{Deserialize, Serialize};

use super::Query;
use super::matching::issue_name;
use crate::jira::issue::Issue;
use crate::jira::site::JiraSite;
use crate::jira::time;

/// One field's part of an issue's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum SortValue {
    Number(i64),
    Text(String),
}

/// An issue's place: the values of the order's fields, then its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SortKey {
    #[serde(rename = "v")]
    values: Vec<SortValue>,
    #[serde(rename = "i")]
    id: u64,
}

impl SortKey {
    /// The number that the first field gave.
    pub(crate) fn first_number(&self) -> Option<i64> {
        match self.values.first() {
            Some(SortValue::Number(number)) => Some(*number),
            _ => None,
        }
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }
}

impl Query {
    /// Refuses a field that nothing can be ordered by.
    pub(crate) fn check_order(&self, site: &JiraSite) -> Result<(), String> {
        let known = |field: &str| {
            matches!(
                field,
                "id" | "key"
                    | "issuekey"
                    | "issue"
                    | "updated"
                    | "updateddate"
                    | "created"
                    | "createddate"
                    | "project"
                    | "summary"
                    | "status"
                    | "assignee"
                    | "reporter"
                    | "priority"
                    | "issuetype"
                    | "type"
                    | "resolution"
                    | "resolutiondate"
                    | "resolved"
                    | "duedate"
                    | "due"
                    | "rank"
            ) || field.starts_with("cf[")
                || site
                    .catalog
                    .fields
                    .iter()
                    .any(|one| one["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(field)))
        };
        match self.order.iter().find(|(field, _)| !known(field)) {
            None => Ok(()),
            Some((field, _)) => Err(format!(
                "Not able to sort using field '{field}'. Field '{field}' does not exist or you do not have permission to view it."
            )),
        }
    }

    pub(crate) fn place(&self, issue: &Issue, updated: i64) -> SortKey {
        let mut values = Vec::with_capacity(self.order.len());
        for (field, _) in &self.order {
            let text =
                |name: &str| issue_name(issue.get(name)).map_or(SortValue::Number(i64::MAX), SortValue::Text);
            match field.as_str() {
                "updated" | "updateddate" => values.push(SortValue::Number(updated)),
                "created" | "createddate" => values.push(SortValue::Number(issue.created)),
                "key" | "issuekey" | "issue" => {
                    let (project, number) = issue.key_parts();
                    values.push(SortValue::Text(project.to_owned()));
                    values.push(SortValue::Number(i64::try_from(number).unwrap_or(i64::MAX)));
                }
                "id" => values.push(SortValue::Number(i64::try_from(issue.id).unwrap_or(i64::MAX))),
                "resolved" | "resolutiondate" | "due" | "duedate" => {
                    let name = if field.starts_with("res") { "resolutiondate" } else { "duedate" };
                    let at = issue.get(name).as_str().and_then(time::parse);
                    values.push(SortValue::Number(at.unwrap_or(i64::MAX)));
                }
                "type" => values.push(text("issuetype")),
                other => values.push(text(other)),
            }
        }
        SortKey { values, id: issue.id }
    }

    pub(crate) fn compare(&self, left: &SortKey, right: &SortKey) -> std::cmp::Ordering {
        // A key gives two values.
        let directions = self.order.iter().flat_map(|(field, descending)| {
            let count = if matches!(field.as_str(), "key" | "issuekey" | "issue") { 2 } else { 1 };
            std::iter::repeat_n(*descending, count)
        });
        left.values
            .iter()
            .zip(&right.values)
            .zip(directions)
            .map(|((left, right), descending)| {
                let order = left.cmp(right);
                if descending { order.reverse() } else { order }
            })
            .find(|order| order.is_ne())
            .unwrap_or_else(|| left.id.cmp(&right.id))
    }
}
