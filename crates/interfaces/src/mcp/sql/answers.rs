//! Answers as JSON that fits the output schemas, and the one line beside them.

use std::borrow::Cow;

use application::ports::{Freshness, RowSet, StoredCounts};
use application::templates::TemplateAnswer;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::RunKind;
use domain::template::{Param, ParamType, Template};
use serde_json::{Map, Value, json};

use super::super::outcome::{Answer, Size};

/// How a template's own tool answers: rows as arrays, as their names would be half of the answer.
pub(super) fn of_tool(answer: TemplateAnswer, now: DateTime<Utc>) -> Answer {
    of_template(answer, false, now, Map::new())
}

/// How `sql_run_template` answers: the same, or CSV.
pub(super) fn of_run(answer: TemplateAnswer, csv: bool, elapsed_ms: u64, now: DateTime<Utc>) -> Answer {
    of_template(answer, csv, now, Map::from_iter([("elapsed_ms".to_owned(), elapsed_ms.into())]))
}

fn of_template(
    answer: TemplateAnswer,
    csv: bool,
    now: DateTime<Utc>,
    mut content: Map<String, Value>,
) -> Answer {
    let line = line(&answer, now);
    let size = size(&answer.rows);
    let TemplateAnswer { template, rows, freshness } = answer;
    content.insert("columns".into(), columns(&rows.columns));
    content.insert("row_count".into(), rows.rows.len().into());
    content.insert("truncated".into(), rows.truncated.into());
    content.insert("template_version".into(), template.version.clone().into());
    content.insert("freshness".into(), freshness.iter().map(|of| Value::Object(fresh(of, now))).collect());
    if csv {
        content.insert("csv".into(), to_csv(&rows).into());
    } else {
        let RowSet { columns, rows, .. } = rows;
        let in_order = |mut row: Map<String, Value>| {
            columns
                .iter()
                .map(|column| row.get_mut(&column.name).map(Value::take).unwrap_or_default())
                .collect()
        };
        content.insert("rows".into(), Value::Array(rows.into_iter().map(in_order).collect()));
    }
    Answer { content: Value::Object(content), line, size }
}

fn size(rows: &RowSet) -> Option<Size> {
    Some(Size { rows: rows.rows.len(), bytes: rows.bytes, truncated: rows.truncated })
}

fn line(answer: &TemplateAnswer, now: DateTime<Utc>) -> String {
    let rows = answer.rows.rows.len();
    let mut line = format!("{rows} {} of {}", if rows == 1 { "row" } else { "rows" }, answer.template.name);
    if answer.rows.truncated {
        line.push_str("; there are more: narrow the question or raise limit");
    }
    let oldest = answer.freshness.iter().map(|of| of.synced_at.map(|at| (now - at).num_seconds().max(0)));
    match oldest.max_by_key(|lag| lag.unwrap_or(i64::MAX)) {
        None => line.push_str("; no tracker is connected"),
        Some(None) => line.push_str("; not every tracker has been synced yet"),
        Some(Some(lag)) => line.push_str(&format!("; synced {lag} s ago")),
    }
    line
}

/// What every answer says of an instance.
fn fresh(of: &Freshness, now: DateTime<Utc>) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("instance".into(), of.slug.as_str().into());
    entry.insert("source".into(), of.source.as_str().into());
    entry.insert("state".into(), state(of).into());
    entry.insert("synced_at".into(), moment(of.synced_at));
    entry.insert("lag_s".into(), of.synced_at.map(|at| (now - at).num_seconds().max(0)).into());
    entry
}

/// What `sql_get_freshness` says of an instance.
pub(super) fn instance((of, counts): &(Freshness, StoredCounts), now: DateTime<Utc>) -> Value {
    let mut entry = fresh(of, now);
    entry.insert("instance_id".into(), of.instance_id.to_string().into());
    entry.insert("backfilled_at".into(), moment(of.backfilled_at));
    let error = of.last_error.as_ref().map(|error| format!("{}: {}", error.code, error.hint));
    entry.insert("last_error".into(), error.into());
    entry.insert("items".into(), counts.items.into());
    entry.insert("dead_letters".into(), counts.dead_letters.into());
    Value::Object(entry)
}

fn state(of: &Freshness) -> &'static str {
    match (&of.active_run, &of.last_error, of.synced_at) {
        (Some((_, RunKind::Backfill, _)), _, _) => "backfilling",
        (_, Some(_), _) => "failing",
        (_, None, None) => "never_synced",
        (_, None, Some(_)) => "current",
    }
}

fn moment(at: Option<DateTime<Utc>>) -> Value {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).into()
}

/// A template in the list of templates.
pub(super) fn template(template: &Template) -> Value {
    json!({
        "name": template.name,
        "title": template.title,
        "description": template.description,
        "tags": template.tags,
        "parameters": template.params.iter().map(parameter).collect::<Vec<_>>(),
        "columns": columns(&template.columns),
        "version": template.version,
    })
}

fn columns(columns: &[domain::template::Column]) -> Value {
    columns.iter().map(|column| json!({"name": column.name, "type": column.kind.as_str()})).collect()
}

fn parameter(param: &Param) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), param.name.as_str().into());
    entry.insert("required".into(), param.required.into());
    entry.insert("description".into(), param.description.as_str().into());
    let kind = match &param.kind {
        ParamType::Text { max_length, allowed } => {
            if allowed.is_empty() {
                entry.insert("maximum".into(), (*max_length).into());
            } else {
                entry.insert("allowed".into(), allowed.clone().into());
            }
            "text"
        }
        ParamType::Integer { min, max } => {
            entry.insert("minimum".into(), (*min).into());
            entry.insert("maximum".into(), (*max).into());
            "integer"
        }
        ParamType::Boolean => "boolean",
        ParamType::Date => "date",
        ParamType::Timestamp => "timestamp",
    };
    entry.insert("type".into(), kind.into());
    if let Some(default) = &param.default {
        entry.insert("default".into(), plain(default).into());
    }
    Value::Object(entry)
}

fn to_csv(rows: &RowSet) -> String {
    let names = rows.columns.iter().map(|column| Cow::Borrowed(column.name.as_str()));
    let mut csv = csv_line(names);
    for row in &rows.rows {
        csv.push_str(&csv_line(
            rows.columns.iter().map(|column| row.get(&column.name).map_or("".into(), plain)),
        ));
    }
    csv
}

/// One record of RFC 4180.
fn csv_line<'a>(values: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut line = String::new();
    for (i, value) in values.enumerate() {
        if i > 0 {
            line.push(',');
        }
        if value.contains(['"', ',', '\n', '\r']) {
            line.push('"');
            line.push_str(&value.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(&value);
        }
    }
    line.push_str("\r\n");
    line
}

/// A value as text; null is empty.
fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "".into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => {
            values.iter().map(|value| plain(value).into_owned()).collect::<Vec<_>>().join("; ").into()
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string().into(),
    }
}
