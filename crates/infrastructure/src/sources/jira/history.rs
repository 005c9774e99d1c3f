//! An issue's changelog: changes of status, of the sprint, and of everything else.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use domain::record::{ChangeRecord, TransitionRecord};
use domain::{PageRecords, StatusNorm};

use super::model::{History, Named};
use super::norms;
use super::people::People;
use super::sprints::{Move, id_list};

/// Texts longer than this are cut: a changed description is in the changelog twice, as it was and as it became.
const MAX_VALUE_CHARS: usize = 1_000;

/// What the site's statuses mean; a changelog names them only.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    by_id: HashMap<String, String>,
    by_name: HashMap<String, String>,
}

impl Statuses {
    pub(super) fn new(statuses: &[Named]) -> Self {
        let mut known = Self::default();
        for status in statuses {
            let Some(category) = status.status_category.as_ref().and_then(|category| category.key.clone())
            else {
                continue;
            };
            if let Some(id) = &status.id {
                known.by_id.insert(id.clone(), category.clone());
            }
            if let Some(name) = &status.name {
                known.by_name.insert(name.to_lowercase(), category);
            }
        }
        known
    }

    fn norm(&self, id: Option<&str>, name: &str, resolution: Option<&str>) -> StatusNorm {
        let category =
            id.and_then(|id| self.by_id.get(id)).or_else(|| self.by_name.get(&name.to_lowercase()));
        norms::status(category.map(String::as_str), resolution)
    }
}

/// Adds an issue's changes to a page and returns how it moved between sprints, oldest first.
pub(super) fn add(
    item: &str,
    mut histories: Vec<History>,
    statuses: &Statuses,
    sprint_fields: &BTreeSet<String>,
    records: &mut PageRecords,
    people: &mut People,
) -> Vec<Move> {
    // Ids grow with time: they order what has one timestamp.
    histories.sort_by_cached_key(|history| (history.created, history.id.parse::<u64>().unwrap_or(u64::MAX)));
    histories.dedup_by(|a, b| a.id == b.id);
    let mut moves = Vec::new();
    let mut resolution: Option<String> = None;
    for history in histories {
        let actor = people.meet(history.author.as_ref());
        let at = history.created.0;
        if let Some(set) = history.items.iter().find(|change| field_id(change) == "resolution") {
            resolution = set.to_text.clone().filter(|name| !name.is_empty());
        }
        for (i, change) in history.items.into_iter().enumerate() {
            let source_id = format!("{}:{i}", history.id);
            let is_sprint =
                change.field_id.as_deref().map_or(change.field == "Sprint", |id| sprint_fields.contains(id));
            if is_sprint {
                moves.push(Move {
                    at,
                    from: id_list(change.from.as_deref()),
                    to: id_list(change.to.as_deref()),
                });
            }
            if field_id(&change) == "status" {
                let to_original = change.to_text.unwrap_or_else(|| "unknown".into());
                let from_original = change.from_string;
                records.transitions.push(TransitionRecord {
                    item_ref_key: item.to_owned(),
                    source_id,
                    at,
                    actor: actor.clone(),
                    from_norm: from_original
                        .as_deref()
                        .map(|name| statuses.norm(change.from.as_deref(), name, None)),
                    to_norm: statuses.norm(change.to.as_deref(), &to_original, resolution.as_deref()),
                    from_original,
                    to_original,
                });
                continue;
            }
            records.changes.push(ChangeRecord {
                item_ref_key: item.to_owned(),
                source_id,
                at,
                actor: actor.clone(),
                field: field_name(field_id(&change).to_owned(), change.field),
                from: change.from_string.or(change.from).map(clip),
                to: change.to_text.or(change.to).map(clip),
            });
        }
    }
    moves
}

/// The field a change is of; servers before 8 do not tell ids.
fn field_id(change: &super::model::HistoryItem) -> &str {
    change.field_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&change.field)
}

/// The names that other trackers' changes have too, and Jira's own beside them.
fn field_name(id: String, field: String) -> Cow<'static, str> {
    Cow::Borrowed(match id.as_str() {
        "summary" => "title",
        "labels" => "label",
        "fixVersions" | "Fix Version" => "milestone",
        "assignee" => "assignee",
        "issuetype" => "type",
        "priority" => "priority",
        "resolution" => "resolution",
        "description" => "description",
        "duedate" => "due_on",
        "issuelinks" | "Link" => "link",
        "parent" | "IssueParentAssociation" | "Parent" => "parent",
        "project" => "project",
        "Key" => "key",
        _ => return Cow::Owned(if field.is_empty() { id } else { field }),
    })
}

fn clip(text: String) -> String {
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> (PageRecords, Vec<Move>) {
        let statuses: Vec<Named> = serde_json::from_str(
            r#"[{"id":"1","name":"Open","statusCategory":{"key":"new"}},{"id":"6","name":"Closed","statusCategory":{"key":"done"}}]"#,
        )
        .unwrap();
        let (mut records, mut people) = (PageRecords::default(), People::default());
        let fields = BTreeSet::from(["customfield_10020".to_owned()]);
        let moves = add(
            "7",
            serde_json::from_str(json).unwrap(),
            &Statuses::new(&statuses),
            &fields,
            &mut records,
            &mut people,
        );
        (records, moves)
    }

    #[test]
    fn a_status_is_what_it_meant_with_the_resolution_of_that_time() {
        let (records, _) = read(
            r#"[{"id":"12","created":"2026-01-02T00:00:00.000+0000","items":[
                    {"field":"status","fieldId":"status","from":"1","fromString":"Open","to":"6","toString":"Closed"},
                    {"field":"resolution","fieldId":"resolution","toString":"Duplicate"}]},
                {"id":"9","created":1767225600,"items":[
                    {"field":"status","from":"99","fromString":"Gone status","to":"1","toString":"Open"}]},
                {"id":"13","created":"2026-01-03T00:00:00.000+0000","items":[
                    {"field":"resolution","fieldId":"resolution","fromString":"Duplicate","toString":null},
                    {"field":"status","fieldId":"status","from":"6","fromString":"Closed","to":"6","toString":"Closed"}]}]"#,
        );
        let told: Vec<_> =
            records.transitions.iter().map(|t| (t.source_id.as_str(), t.from_norm, t.to_norm)).collect();
        assert_eq!(
            told,
            [
                ("9:0", Some(StatusNorm::Unknown), StatusNorm::Todo),
                ("12:0", Some(StatusNorm::Todo), StatusNorm::Cancelled),
                ("13:1", Some(StatusNorm::Done), StatusNorm::Done),
            ]
        );
        assert_eq!(records.changes.len(), 2);
    }

    #[test]
    fn moves_between_sprints_are_in_the_order_of_their_ids_where_times_are_equal() {
        let (records, moves) = read(
            r#"[{"id":"101","created":1767225600,"items":[{"field":"Sprint","fieldId":"customfield_10020","from":"7","to":"7, 8"}]},
                {"id":"99","created":1767225600,"items":[{"field":"Sprint","fieldId":"customfield_10020","from":"","to":"7"}]},
                {"id":"99","created":1767225600,"items":[{"field":"Sprint","fieldId":"customfield_10020","from":"","to":"7"}]}]"#,
        );
        assert_eq!(moves.len(), 2);
        assert!(moves[0].from.is_empty() && moves[1].to.len() == 2);
        assert_eq!(records.changes.len(), 2);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let (records, _) = read(&format!(
            r#"[{{"id":"1","created":1767225600,"items":[{{"field":"description","fieldId":"description","toString":"{}"}}]}}]"#,
            "ä".repeat(5_000)
        ));
        assert_eq!(
            records.changes[0].to.as_ref().map(|text| text.chars().count()),
            Some(MAX_VALUE_CHARS + 1)
        );
    }
}
