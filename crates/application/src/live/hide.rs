//! Fields that the tenant's policy hides: taken out of what the tracker told, and refused where they are named.

use domain::{ChangedField, Invalid};
use serde_json::{Map, Value};

use crate::Error;
use crate::ports::{
    HiddenFields, ItemWrite, LiveActivity, LiveActivityKind, LiveChange, LiveField, LiveIssue, SourceError,
};

/// What an answer calls parts of an issue, and the ids of the fields they come from.
const PARTS: [(&str, &str); 15] = [
    ("due", "duedate"),
    ("fix_versions", "fixVersions"),
    ("comments", "comment"),
    ("worklogs", "worklog"),
    ("links", "issuelinks"),
    ("attachments", "attachment"),
    ("watchers", "watches"),
    // As writes name them.
    ("title", "summary"),
    ("body", "description"),
    ("type", "issuetype"),
    ("assignees", "assignee"),
    ("milestone", "fixVersions"),
    ("due_on", "duedate"),
    ("time_spent_s", "timespent"),
    ("time_remaining_s", "timeestimate"),
];

fn field_of(part: &str) -> &str {
    PARTS.iter().find(|(name, _)| *name == part).map_or(part, |(_, field)| field)
}

/// Refuses fields that are asked for by name; `pointer` is where they stand.
pub(super) fn refuse_asked(hidden: &HiddenFields, fields: &[String], pointer: &str) -> Result<(), Error> {
    let named = fields.iter().enumerate().find(|(_, name)| hidden.has(name));
    named.map_or(Ok(()), |(at, name)| Err(refused(format!("{pointer}/{at}"), name)))
}

/// Refuses a write that names a hidden field.
pub(super) fn refuse_written(hidden: &HiddenFields, write: &ItemWrite) -> Result<(), Error> {
    if hidden.is_empty() {
        return Ok(());
    }
    let (own, fields) = match write {
        ItemWrite::Create(new) => {
            let own = [
                ("description", new.body.is_some()),
                ("assignee", !new.assignees.is_empty()),
                ("labels", !new.labels.is_empty()),
                ("priority", new.priority.is_some()),
                ("parent", new.parent.is_some()),
                ("fixVersions", new.milestone.is_some()),
                ("duedate", new.due_on.is_some()),
                ("sprint", new.sprint.is_some()),
            ];
            (own.to_vec(), Some(&new.fields))
        }
        ItemWrite::Update(_, patch) => {
            let own = [
                ("description", patch.body.is_some()),
                ("assignee", patch.assignees.is_some()),
                ("labels", patch.labels.is_some()),
                ("priority", patch.priority.is_some()),
                ("parent", patch.parent.is_some()),
                ("fixVersions", patch.milestone.is_some()),
                ("duedate", patch.due_on.is_some()),
                ("sprint", patch.sprint.is_some()),
            ];
            (own.to_vec(), Some(&patch.fields))
        }
        ItemWrite::Transition(_, to) => {
            let own = [("resolution", to.resolution.is_some()), ("comment", to.comment.is_some())];
            (own.to_vec(), Some(&to.fields))
        }
        ItemWrite::Comment(..) => (vec![("comment", true)], None),
        ItemWrite::Link(..) => (vec![("issuelinks", true)], None),
        ItemWrite::Worklog(..) => (vec![("worklog", true)], None),
        ItemWrite::Watch(..) => (vec![("watches", true)], None),
        ItemWrite::Attach(..) => (vec![("attachment", true)], None),
        ItemWrite::PutInSprint(..) => (vec![("sprint", true)], None),
        ItemWrite::Sprint(_) => (Vec::new(), None),
        // Nobody is asked to agree to what they are not shown.
        ItemWrite::Delete(_, deletion) => (vec![("subtasks", deletion.with_subtasks)], None),
        ItemWrite::Move(..) => (Vec::new(), None),
        ItemWrite::Version(_) => (vec![("fixVersions", true)], None),
    };
    if let Some((name, _)) = own.iter().find(|(name, given)| *given && hidden.has(name)) {
        return Err(refused(format!("/{name}"), name));
    }
    let named = fields.into_iter().flatten().find(|(name, _)| hidden.has(name));
    named.map_or(Ok(()), |(name, _)| Err(refused(format!("/fields/{name}"), name)))
}

fn refused(pointer: String, name: &str) -> Error {
    let message =
        format!("names the field `{}`, which this tenant's policy hides: leave it out", name.trim());
    Invalid::one(pointer, message).into()
}

/// Refuses files where the policy hides them.
pub(super) fn refuse_files(hidden: &HiddenFields) -> Result<(), Error> {
    match hidden.has("attachment") {
        true => Err(refused("/attachment".to_owned(), "attachment")),
        false => Ok(()),
    }
}

/// Takes the fields out of an issue.
pub(super) fn of_issue(hidden: &HiddenFields, issue: &mut LiveIssue) {
    if hidden.is_empty() {
        return;
    }
    for (field, value) in [
        ("summary", &mut issue.summary),
        ("issuetype", &mut issue.issue_type),
        ("status", &mut issue.status),
        ("assignee", &mut issue.assignee),
        ("priority", &mut issue.priority),
    ] {
        if hidden.has(field) {
            *value = None;
        }
    }
    issue.fields.retain(|name, _| !hidden.has(name));
    issue.more.retain(|name, _| !hidden.has(field_of(name)));
    if let Some(Value::Array(entries)) = issue.more.get_mut("changelog") {
        entries.retain_mut(|entry| match entry.get_mut("changes").and_then(Value::as_array_mut) {
            Some(changes) => {
                changes.retain(|change| !names_hidden(hidden, change.as_object()));
                !changes.is_empty()
            }
            None => true,
        });
    }
}

fn names_hidden(hidden: &HiddenFields, change: Option<&Map<String, Value>>) -> bool {
    change.and_then(|change| change.get("field")).and_then(Value::as_str).is_some_and(|name| hidden.has(name))
}

/// Takes the fields out of what happened to an issue.
pub(super) fn of_activity(hidden: &HiddenFields, entries: &mut Vec<LiveActivity>) {
    if hidden.is_empty() {
        return;
    }
    entries.retain_mut(|entry| match entry.kind {
        LiveActivityKind::Comment => !hidden.has("comment"),
        LiveActivityKind::Worklog => !hidden.has("worklog"),
        LiveActivityKind::Change => {
            entry.changes.retain(|change| !is_of_hidden(hidden, change));
            !entry.changes.is_empty()
        }
    });
}

fn is_of_hidden(hidden: &HiddenFields, change: &LiveChange) -> bool {
    hidden.has(&change.field) || change.field_id.as_deref().is_some_and(|id| hidden.has(id))
}

/// Takes the fields out of a description of fields.
pub(super) fn of_fields(hidden: &HiddenFields, fields: &mut Vec<LiveField>) {
    fields.retain(|field| !hidden.has(&field.id) && !hidden.has(&field.name));
}

/// Takes the fields out of what a write changed: transitions and screens may change more than was asked.
pub(super) fn of_changed(hidden: &HiddenFields, changed: &mut Vec<ChangedField>) {
    changed.retain(|change| !hidden.has(&change.field) && !hidden.has(field_of(&change.field)));
}

/// Takes the fields out of what may have been meant.
pub(super) fn of_error(hidden: &HiddenFields, mut error: Error) -> Error {
    if let Error::Source(SourceError { allowed, .. }) = &mut error {
        allowed.retain(|name| !hidden.has(name));
    }
    error
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{ItemPatch, NewComment, NewItem};
    use serde_json::json;

    use super::*;
    use crate::ports::FieldNames;

    fn hidden() -> HiddenFields {
        let known = [FieldNames { id: "customfield_7".into(), names: vec!["Salary".into()] }];
        let named = ["customfield_7", "assignee", "comment", "duedate"].map(str::to_owned);
        HiddenFields::new(&named.into(), &known)
    }

    #[test]
    fn nothing_of_a_hidden_field_is_left_in_an_issue() {
        let Value::Object(more) = json!({"url": "u", "due": "2026-01-01", "comments": [{"id": "1"}], "changelog": [
            {"id": "1", "changes": [{"field": "Salary", "to": "9"}, {"field": "status", "to": "Done"}]},
            {"id": "2", "changes": [{"field": "assignee", "to": "Ann"}]}]})
        else {
            unreachable!("it is an object")
        };
        let Value::Object(fields) = json!({"Salary": 9, "salary (customfield_7)": 9, "Team": "A"}) else {
            unreachable!("it is an object")
        };
        let mut issue = LiveIssue {
            key: "ENG-1".into(),
            assignee: Some("Ann".into()),
            priority: Some("High".into()),
            more,
            fields,
            ..LiveIssue::default()
        };
        of_issue(&hidden(), &mut issue);
        assert_eq!((issue.assignee, issue.priority.as_deref()), (None, Some("High")));
        assert_eq!(Value::Object(issue.fields), json!({"Team": "A"}));
        let changes = json!([{"id": "1", "changes": [{"field": "status", "to": "Done"}]}]);
        assert_eq!(Value::Object(issue.more), json!({"url": "u", "changelog": changes}));
    }

    #[test]
    fn what_happened_to_a_hidden_field_is_not_told() {
        let entry = |kind, changes: &[(&str, Option<&str>)]| LiveActivity {
            id: "1".into(),
            kind,
            author: None,
            at: DateTime::UNIX_EPOCH,
            body: None,
            time_spent_s: None,
            changes: changes
                .iter()
                .map(|(field, id)| LiveChange {
                    field: (*field).to_owned(),
                    field_id: id.map(str::to_owned),
                    from: None,
                    to: None,
                })
                .collect(),
        };
        let mut entries = vec![
            entry(LiveActivityKind::Comment, &[]),
            entry(LiveActivityKind::Worklog, &[]),
            entry(LiveActivityKind::Change, &[("Gehalt", Some("customfield_7")), ("status", None)]),
            entry(LiveActivityKind::Change, &[("Assignee", None)]),
        ];
        of_activity(&hidden(), &mut entries);
        let left: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.changes.len())).collect();
        assert_eq!(left, [(LiveActivityKind::Worklog, 0), (LiveActivityKind::Change, 1)]);
    }

    #[test]
    fn a_write_that_names_a_hidden_field_is_refused_where_it_stands() {
        let pointer = |write: &ItemWrite| match refuse_written(&hidden(), write) {
            Err(Error::Invalid(invalid)) => invalid.errors[0].pointer.clone(),
            other => format!("{other:?}"),
        };
        let fields = |name: &str| [(name.to_owned(), json!(1))].into();
        let create = NewItem { assignees: vec!["Ann".into()], ..NewItem::default() };
        assert_eq!(pointer(&ItemWrite::Create(create)), "/assignee");
        let create = NewItem { fields: fields("SALARY"), ..NewItem::default() };
        assert_eq!(pointer(&ItemWrite::Create(create)), "/fields/SALARY");
        let patch = ItemPatch { fields: fields("Due"), ..ItemPatch::default() };
        assert_eq!(
            pointer(&ItemWrite::Update("ENG-1".into(), patch)),
            "Ok(())",
            "it is no name of the field"
        );
        let comment = NewComment { body: "b".into(), ..NewComment::default() };
        assert_eq!(pointer(&ItemWrite::Comment("ENG-1".into(), comment)), "/comment");
    }
}
