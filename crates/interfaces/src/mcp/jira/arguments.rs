//! Arguments of the tools, beside those that the SQL server's have, too.

use std::collections::BTreeMap;

use application::Error;
use application::idempotency::is_key;
use chrono::{DateTime, NaiveDate, Utc};
use domain::Invalid;
use serde_json::{Map, Value};

use super::super::outcome::Failure;
pub(super) use super::super::sql::arguments::{count, only, text, word};
use super::schemas::FORMATS;

/// Bytes of a document: some times the longest text that Jira takes.
const MOST_OF_A_DOCUMENT: usize = 256 * 1024;

/// A text that must be there.
pub(super) fn needed(arguments: &Map<String, Value>, name: &str, max: usize) -> Result<String, Failure> {
    match text(arguments, name, max)? {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::invalid(format!("/{name}"), "is required")),
    }
}

/// A text of its own.
pub(super) fn owned(
    arguments: &Map<String, Value>,
    name: &str,
    max: usize,
) -> Result<Option<String>, Failure> {
    Ok(text(arguments, name, max)?.map(str::to_owned))
}

/// Whether texts are Atlassian's documents, and not Markdown.
pub(super) fn documents(arguments: &Map<String, Value>) -> Result<bool, Failure> {
    Ok(word(arguments, "text_format", &FORMATS)? == Some("adf"))
}

/// A text, or a document as an object or as JSON: schemas say that it is a text, because unions are refused by some.
pub(super) fn text_or_document(
    arguments: &Map<String, Value>,
    name: &str,
    max: usize,
    documents: bool,
) -> Result<Option<String>, Failure> {
    let told = |message: &str| Failure::invalid(format!("/{name}"), message);
    match arguments.get(name) {
        Some(Value::Object(_)) if !documents => {
            Err(told("is a document: say text_format = adf, or send Markdown"))
        }
        Some(given @ Value::Object(_)) => {
            let text = given.to_string();
            match text.len() <= MOST_OF_A_DOCUMENT {
                true => Ok(Some(text)),
                false => Err(told("is longer than Jira takes")),
            }
        }
        _ => owned(arguments, name, if documents { MOST_OF_A_DOCUMENT } else { max }),
    }
}

/// A list of texts.
pub(super) fn texts(
    arguments: &Map<String, Value>,
    name: &str,
    most: usize,
    max: usize,
) -> Result<Vec<String>, Failure> {
    let wrong = || {
        let message = format!("must be a list of up to {most} texts of 1 to {max} characters");
        Failure::invalid(format!("/{name}"), message)
    };
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(values)) if values.len() <= most => values
            .iter()
            .map(|value| match value.as_str() {
                Some(text) if !text.trim().is_empty() && text.chars().count() <= max => Ok(text.to_owned()),
                _ => Err(wrong()),
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// Some of a few words; `None` when it is not said.
pub(super) fn words<T: Copy + Ord>(
    arguments: &Map<String, Value>,
    name: &str,
    known: &[(&str, T)],
) -> Result<Option<std::collections::BTreeSet<T>>, Failure> {
    if matches!(arguments.get(name), None | Some(Value::Null)) {
        return Ok(None);
    }
    let mut found = std::collections::BTreeSet::new();
    for (at, word) in texts(arguments, name, known.len(), 40)?.iter().enumerate() {
        let Some((_, one)) = known.iter().find(|(name, _)| name == word) else {
            let allowed = known.iter().map(|(name, _)| *name);
            let invalid = Invalid::not_one_of(format!("/{name}/{at}"), "is not one of them", allowed);
            return Err(Error::from(invalid).into());
        };
        found.insert(*one);
    }
    Ok(Some(found))
}

/// An issue's key, in capitals as Jira writes it.
pub(super) fn issue_key(arguments: &Map<String, Value>) -> Result<String, Failure> {
    issue_key_at(arguments, "key")
}

/// An issue's key under another name.
pub(super) fn issue_key_at(arguments: &Map<String, Value>, name: &str) -> Result<String, Failure> {
    let wrong = || Failure::invalid(format!("/{name}"), "must be an issue's key like ENG-123");
    as_issue_key(&needed(arguments, name, 255)?).ok_or_else(wrong)
}

/// A text as an issue's key, in capitals; `None` when it is none.
pub(super) fn as_issue_key(text: &str) -> Option<String> {
    let key = text.trim().to_ascii_uppercase();
    let well = key.rsplit_once('-').is_some_and(|(project, number)| {
        is_project_key(project) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    well.then_some(key)
}

/// A project's key.
pub(super) fn project_key(arguments: &Map<String, Value>) -> Result<Option<String>, Failure> {
    let Some(key) = text(arguments, "project", 255)? else { return Ok(None) };
    let wrong =
        || Failure::invalid("/project", "must be a project's key like ENG; jira_list_projects lists them");
    as_project_key(key).map(Some).ok_or_else(wrong)
}

/// A text as a project's key, in capitals; `None` when it is none.
pub(super) fn as_project_key(text: &str) -> Option<String> {
    Some(text.trim().to_ascii_uppercase()).filter(|key| is_project_key(key))
}

fn is_project_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Yes or no; no when it is not said.
pub(super) fn flag(arguments: &Map<String, Value>, name: &str) -> Result<bool, Failure> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(yes)) => Ok(*yes),
        Some(_) => Err(Failure::invalid(format!("/{name}"), "must be true or false")),
    }
}

/// Values of fields by the names of these.
pub(super) fn fields(
    arguments: &Map<String, Value>,
    most: usize,
    max: usize,
) -> Result<BTreeMap<String, Value>, Failure> {
    let given = match arguments.get("fields") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(given)) if given.len() <= most => given,
        Some(_) => {
            let message = format!("must be an object with up to {most} fields");
            return Err(Failure::invalid("/fields", message));
        }
    };
    if given.keys().any(|name| name.trim().is_empty() || name.chars().count() > max) {
        return Err(Failure::invalid("/fields", format!("must name fields with 1 to {max} characters")));
    }
    if given.keys().any(|name| name.trim().eq_ignore_ascii_case("status")) {
        return Err(Failure::invalid("/fields/status", "is changed by jira_transition_issue"));
    }
    Ok(given.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// What a repeated call is recognised by.
pub(super) fn once(arguments: &Map<String, Value>) -> Result<Option<String>, Failure> {
    match text(arguments, "idempotency_key", 255)? {
        None => Ok(None),
        Some(key) if is_key(key) => Ok(Some(key.to_owned())),
        Some(_) => Err(Failure::invalid(
            "/idempotency_key",
            "must be 1 to 255 visible ASCII characters, such as a UUID",
        )),
    }
}

/// A moment, or the beginning of a day.
pub(super) fn moment(arguments: &Map<String, Value>, name: &str) -> Result<Option<DateTime<Utc>>, Failure> {
    let Some(given) = text(arguments, name, 64)? else { return Ok(None) };
    let day = || Some(given.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    let moment = DateTime::parse_from_rfc3339(given).ok().map(|at| at.to_utc()).or_else(day);
    match moment {
        Some(moment) => Ok(Some(moment)),
        None => Err(Failure::invalid(
            format!("/{name}"),
            "must be a time like 2026-01-31T09:00:00Z or a day like 2026-01-31",
        )),
    }
}
