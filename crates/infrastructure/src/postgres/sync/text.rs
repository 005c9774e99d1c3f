//! Text that PostgreSQL takes.

use std::borrow::Cow;

use domain::PageRecords;
use serde_json::Value;

/// PostgreSQL refuses NUL in text.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Adapters remove NUL from what they receive. What is put together from it passes here once more: one such text would
/// fail the whole page, again and again.
pub(super) fn clean_records(records: &mut PageRecords) {
    for item in &mut records.items {
        clean_all([&mut item.source_key, &mut item.project_key, &mut item.title]);
        clean_all([&mut item.type_original, &mut item.status_original]);
        clean_all(item.body.iter_mut().chain(&mut item.resolution_original).chain(&mut item.milestone));
        clean_all(item.priority_original.iter_mut().chain(&mut item.labels));
        clean_all(item.assignees.iter_mut().chain(&mut item.reporter).map(|user| &mut user.name));
        clean_all(
            item.homes.iter_mut().flat_map(|home| home.section.iter_mut().chain([&mut home.project_key])),
        );
        clean_value(&mut item.custom_fields);
    }
    for comment in &mut records.comments {
        clean_all([&mut comment.body].into_iter().chain(comment.author.as_mut().map(|user| &mut user.name)));
    }
    for transition in &mut records.transitions {
        clean_all([&mut transition.to_original].into_iter().chain(&mut transition.from_original));
    }
    for change in &mut records.changes {
        clean_all(change.from.iter_mut().chain(&mut change.to));
    }
    clean_all(records.links.iter_mut().flat_map(|l| [&mut l.source_id, &mut l.to_key, &mut l.type_original]));
    clean_all(records.boards.iter_mut().map(|board| &mut board.name));
    clean_all(records.sprints.iter_mut().flat_map(|s| [&mut s.name].into_iter().chain(&mut s.goal)));
    for worklog in &mut records.worklogs {
        clean_all(worklog.comment.iter_mut().chain(worklog.author.as_mut().map(|user| &mut user.name)));
    }
    clean_all(records.custom_fields.iter_mut().flat_map(|field| [&mut field.name, &mut field.field_type]));
    for noted in records.details_noted.values_mut() {
        clean_value(noted);
    }
}

fn clean_all<'a>(texts: impl IntoIterator<Item = &'a mut String>) {
    for text in texts {
        if let Cow::Owned(cleaned) = clean(text) {
            *text = cleaned;
        }
    }
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean_all([text]),
        Value::Array(values) => values.iter_mut().for_each(clean_value),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains('\0')) {
                let renamed = std::mem::take(fields).into_iter();
                *fields = renamed.map(|(name, value)| (clean(&name).into_owned(), value)).collect();
            }
            fields.values_mut().for_each(clean_value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn custom_fields_lose_nul_wherever_it_is() {
        let mut value = json!({"a\0": ["x\0", {"b": "\0"}], "c": 1});
        clean_value(&mut value);
        assert_eq!(value, json!({"a\u{fffd}": ["x\u{fffd}", {"b": "\u{fffd}"}], "c": 1}));
    }
}
