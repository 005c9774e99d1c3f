//! Answers as JSON that fits the output schemas, and the one line beside them.

use std::borrow::Cow;

use application::ports::{Freshness, RowSet, StoredCounts};
use application::templates::{TemplateAnswer, TemplateEstimate, warnings};
use chrono::{DateTime, SecondsFormat, Utc};
use domain::RunKind;
use domain::dictionary::Table;
use domain::template::{Param, ParamType, Template};
use serde_json::{Map, Value, json};

use super::super::outcome::{Answer, Size};
use super::schemas::VERDICTS;

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
    let warnings = warnings(&answer.freshness, now);
    let line = line(&answer, warnings.len(), now);
    let TemplateAnswer { template, rows, next_cursor, freshness } = answer;
    let size = Size { rows: rows.rows.len(), bytes: rows.bytes, truncated: rows.truncated };
    content.insert("columns".into(), columns(&rows.columns));
    content.insert("row_count".into(), size.rows.into());
    content.insert("truncated".into(), size.truncated.into());
    // Of which version it is, and how far the data can be trusted.
    content.insert("template_version".into(), template.version.as_str().into());
    content.insert("freshness".into(), freshness.iter().map(|of| Value::Object(fresh(of, now))).collect());
    content.insert("warnings".into(), warnings.into());
    if let Some(next) = next_cursor {
        content.insert("next_cursor".into(), next.into());
    }
    if csv {
        content.insert("csv".into(), to_csv(&rows).into());
    } else {
        content.insert("rows".into(), rows.rows.into_iter().map(Value::Array).collect());
    }
    Answer { content: Value::Object(content), line, size: Some(size), picture: None }
}

/// How `sql_explain_template` answers.
pub(super) fn of_estimate(
    TemplateEstimate { template, estimate }: &TemplateEstimate,
    within_guard: bool,
) -> Answer {
    let verdict = VERDICTS[usize::from(!within_guard)];
    let mut content = Map::new();
    content.insert("estimated_rows".into(), rounded(estimate.rows).into());
    content.insert("estimated_cost".into(), rounded(estimate.cost).into());
    content.insert("max_cost".into(), rounded(template.max_cost).into());
    content.insert("verdict".into(), verdict.into());
    content.insert("indexes".into(), estimate.indexes.clone().into());
    content.insert("whole_tables".into(), estimate.whole_tables.clone().into());
    content.insert("timeout_ms".into(), template.timeout_ms.into());
    content.insert("template_version".into(), template.version.clone().into());
    let line = format!(
        "{}: about {} rows, cost about {}, {verdict}",
        template.name,
        rounded(estimate.rows),
        rounded(estimate.cost)
    );
    Answer { content: Value::Object(content), line, size: None, picture: None }
}

/// To two digits: the planner knows no better, and its statistics are of all tenants together.
fn rounded(figure: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let whole = figure.max(0.0).ceil() as u64;
    let step = 10_u64.pow(whole.max(1).ilog10().saturating_sub(1));
    (whole / step) * step
}

fn line(answer: &TemplateAnswer, warnings: usize, now: DateTime<Utc>) -> String {
    let rows = answer.rows.rows.len();
    let mut line = format!("{rows} {} of {}", if rows == 1 { "row" } else { "rows" }, answer.template.name);
    if answer.rows.truncated {
        line.push_str(if answer.next_cursor.is_some() {
            "; there are more: ask again with cursor = next_cursor"
        } else {
            "; there are more: narrow the question or raise limit"
        });
    }
    let oldest = answer.freshness.iter().map(|of| of.synced_at.map(|at| (now - at).num_seconds().max(0)));
    match oldest.max_by_key(|lag| lag.unwrap_or(i64::MAX)) {
        None => line.push_str("; no tracker is connected"),
        Some(None) => line.push_str("; not every tracker has been synced yet"),
        Some(Some(lag)) => line.push_str(&format!("; synced {lag} s ago")),
    }
    if warnings > 0 {
        line.push_str(&format!("; {warnings} warnings"));
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
    entry.insert("target_s".into(), of.target.map(|target| target.as_secs()).into());
    entry.insert("backfilled_at".into(), moment(of.backfilled_at));
    let error = of.last_error.as_ref().map(|error| format!("{}: {}", error.code, error.hint));
    entry.insert("last_error".into(), error.into());
    entry.insert("items".into(), counts.items.into());
    entry.insert("dead_letters".into(), counts.dead_letters.into());
    Value::Object(entry)
}

pub(super) fn state(of: &Freshness) -> &'static str {
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
        "parameters": template.params.iter().filter(|param| param.is_asked()).map(parameter).collect::<Vec<_>>(),
        "columns": columns(&template.columns),
        "version": template.version,
    })
}

/// A table in the dictionary, or what of it has all the words asked for; `None` when nothing has.
pub(super) fn table(table: &Table, query: Option<&str>) -> Option<Value> {
    let query = query.map(str::to_lowercase).unwrap_or_default();
    let has = |text: &str| query.split_whitespace().all(|word| text.to_lowercase().contains(word));
    let whole = has(&format!("{} {}", table.name, table.purpose));
    let columns: Vec<Value> = table
        .columns
        .iter()
        .filter(|(name, _, meaning)| whole || has(&format!("{} {name} {meaning}", table.name)))
        .map(|(name, kind, meaning)| json!({"name": name, "type": kind, "meaning": meaning}))
        .collect();
    (!columns.is_empty()).then(|| json!({"name": table.name, "purpose": table.purpose, "columns": columns}))
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
        ParamType::TextList => "text_list",
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
        csv.push_str(&csv_line(row.iter().map(plain)));
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
