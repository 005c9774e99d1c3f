//! Templates like the built-in ones, over a runner that makes rows up.

use std::sync::Arc;

use async_trait::async_trait;
use domain::Scope;
use domain::template::{
    Argument, Binding, Column, ColumnType, DEFAULT_COST, KeyType, KeyValue, MAX_BYTES, Page, Param,
    ParamType, SortKey, Template,
};
use serde_json::{Value, json};

use super::Memory;
use crate::Ctx;
use crate::ports::{Estimate, RowSet, StoreError, TemplateCatalog, TemplateRunner};

/// One run of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The template's name.
    pub template: String,
    /// The checked arguments.
    pub arguments: Vec<Argument>,
    /// The most rows.
    pub limit: i64,
    /// Where to go on.
    pub after: Option<Vec<KeyValue>>,
}

impl Memory {
    /// The runs of templates so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }
}

fn text(name: &str, required: bool, allowed: &[&str]) -> Param {
    Param {
        name: name.into(),
        description: format!("The {name} as the tracker shows it, such as owner/repo or ENG."),
        kind: ParamType::Text { max_length: 200, allowed: allowed.iter().map(|a| (*a).to_owned()).collect() },
        binding: Binding::Model,
        required,
        default: None,
    }
}

fn template(name: &str, params: Vec<Param>, columns: &[(&str, ColumnType)]) -> Arc<Template> {
    Arc::new(Template {
        name: name.into(),
        title: name.replace('_', " "),
        description:
            "Lists issues, tasks and pull requests of one project, newest update first, with normalized and \
                      original status. Use it for questions such as what is in progress in owner/repo."
                .into(),
        tags: vec!["issues".into()],
        params,
        default_limit: 50,
        max_limit: 500,
        max_bytes: MAX_BYTES,
        timeout_ms: 5_000,
        max_cost: DEFAULT_COST,
        scope: Scope::McpSql,
        // As those of the four that list items have.
        page: columns.iter().any(|(name, _)| *name == "updated_at").then(|| Page {
            keys: ["updated_at desc", "id not null"].iter().filter_map(|key| SortKey::parse(key)).collect(),
            hidden: vec!["id".into()],
        }),
        columns: columns.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect(),
        statement: "select 1".into(),
        version: "0123456789ab".into(),
        authored: false,
    })
}

/// The same names, parameters and columns as four of those that are delivered.
pub fn built_in_templates() -> Vec<Arc<Template>> {
    use ColumnType::{Date, Integer, Number, Text, Timestamp};
    let statuses = ["todo", "in_progress", "done", "cancelled", "unknown"];
    let types = ["epic", "story", "task", "subtask", "bug", "feature", "pull_request", "milestone", "other"];
    let item = [
        ("source_key", Text),
        ("title", Text),
        ("status", Text),
        ("status_original", Text),
        ("type", Text),
        ("priority", Text),
        ("assignee", Text),
        ("updated_at", Timestamp),
        ("url", Text),
    ];
    let days = Param {
        name: "days".into(),
        description: "How many days up to `to`; ignored when `from` is given.".into(),
        kind: ParamType::Integer { min: 1, max: 400 },
        binding: Binding::Model,
        required: false,
        default: Some(json!(30)),
    };
    let since = Param {
        name: "updated_since".into(),
        description: "Only items updated at or after this moment.".into(),
        kind: ParamType::Timestamp,
        binding: Binding::Model,
        required: false,
        default: None,
    };
    let search = vec![
        text("project", true, &[]),
        text("status", false, &statuses),
        text("type", false, &types),
        text("assignee", false, &[]),
        text("label", false, &[]),
        since,
    ];
    let find = vec![
        text("query", true, &[]),
        text("project", false, &[]),
        text("status", false, &statuses),
        text("type", false, &types),
    ];
    let figures = [
        ("day", Date),
        ("created", Integer),
        ("completed", Integer),
        ("cancelled", Integer),
        ("reopened", Integer),
        ("open_at_end", Integer),
        ("avg_lead_time_hours", Number),
    ];
    let cycle = vec![text("project", true, &[]), text("type", false, &types)];
    vec![
        template("cycle_time_percentiles", cycle, &figures),
        template("find_work_items", find, &item),
        template("get_project_metrics", vec![text("project", true, &[]), days], &figures),
        template("search_issues_by_project", search, &item),
    ]
}

impl TemplateCatalog for Memory {
    fn list(&self) -> &[Arc<Template>] {
        &self.catalog
    }
}

/// Makes up three rows; behind them there is nothing.
#[async_trait]
impl TemplateRunner for Memory {
    async fn run_page(
        &self,
        _: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
        after: Option<&[KeyValue]>,
    ) -> Result<RowSet, StoreError> {
        self.reach("templates.run").await?;
        self.state().asked.push(Asked {
            template: template.name.clone(),
            arguments: arguments.to_vec(),
            limit,
            after: after.map(<[_]>::to_vec),
        });
        let row = |n: i64| -> Vec<Value> {
            let value = |column: &Column| match column.kind {
                _ if column.name == "assignee" => Value::Null,
                ColumnType::Text | ColumnType::TextList => json!(format!("{} \"{n}\", x", column.name)),
                ColumnType::Integer => json!(n),
                ColumnType::Number => json!(0.5),
                ColumnType::Boolean => json!(true),
                ColumnType::Date => json!("2026-01-02"),
                ColumnType::Timestamp => json!("2026-01-02T03:04:05Z"),
            };
            template.columns.iter().map(value).collect()
        };
        // The order's last value is the number of the row.
        let begin: i64 = after.and_then(|after| after.last()?.text.as_ref()?.parse().ok()).unwrap_or(0);
        let end = begin.saturating_add(limit).min(3);
        let position = |n: i64| {
            let at = KeyValue { kind: KeyType::Timestamp, text: Some("2026-01-02T03:04:05Z".into()) };
            vec![at, KeyValue { kind: KeyType::Integer, text: Some(n.to_string()) }]
        };
        Ok(RowSet {
            columns: template.columns.clone(),
            rows: (begin..end).map(row).collect(),
            bytes: 64,
            truncated: end < 3,
            next: (end < 3 && template.page.is_some()).then(|| position(end)),
        })
    }

    async fn estimate(
        &self,
        _: &Ctx,
        _: &Template,
        _: &[Argument],
        limit: i64,
    ) -> Result<Estimate, StoreError> {
        self.reach("templates.estimate").await?;
        Ok(Estimate {
            // As exact as a planner is.
            rows: 3.0_f64.min(limit as f64),
            cost: 1234.5,
            indexes: vec!["work_items_project".into()],
            whole_tables: Vec::new(),
        })
    }
}
