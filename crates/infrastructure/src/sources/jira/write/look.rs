//! Looking whether a write took place: by its marker for what was made, by the issue's state for what was changed.

pub(super) mod marked;
mod moved;

use application::ports::{ItemWrite, Look, SourceError};
use domain::{ItemPatch, WrittenItem};
use serde_json::Value;

use self::moved::Taken;
use super::super::api::Api;
use super::super::malformed;
use super::super::sprints::ids;
use super::fields::Draft;
use super::form::Form;
use super::issue::Issue;
use super::people::Among;
use super::update::{fill, project_of, read};
use super::values::Place;
use super::{attach, delete, link, move_to, sprints, transition, versions, watch, worklog};

/// Looks for one write. Changes nothing.
pub(super) async fn look(api: &Api<'_>, write: &ItemWrite, marker: &str) -> Result<Look, SourceError> {
    match write {
        ItemWrite::Create(new) if api.is_cloud() => marked::created_on_cloud(api, new, marker).await,
        ItemWrite::Create(new) => marked::created_on_data_center(api, new, marker).await,
        ItemWrite::Comment(key, _) => marked::commented(api, key, marker).await,
        ItemWrite::Update(key, patch) => updated(api, key, patch).await,
        ItemWrite::Transition(key, asked) => {
            let issue = Issue::read(api, key, &["status"]).await?;
            let taken = match transition::is_at(&issue, &asked.to) {
                true => Taken::Yes,
                false => moved::was_taken(api, &issue, &asked.to, marker).await?,
            };
            let told = match &asked.comment {
                // Without the status, a comment of the same words tells nothing.
                Some(comment) => {
                    let alike = (taken == Taken::Yes).then_some(comment.as_str());
                    marked::transitioned(api, &issue, alike, marker).await?
                }
                None if taken == Taken::Yes => return found(issue.written(api)),
                None => Look::Absent,
            };
            Ok(if told == Look::Absent && taken == Taken::Perhaps { Look::Unsure } else { told })
        }
        ItemWrite::Worklog(key, _) => worklog::look(api, key, marker).await,
        ItemWrite::Attach(key, file) => attach::look(api, key, file, marker).await,
        ItemWrite::Watch(key, asked) => watch::look(api, key, asked).await,
        ItemWrite::PutInSprint(key, sprint) => sprints::look_put(api, key, sprint.as_deref()).await,
        ItemWrite::Sprint(asked) => sprints::look(api, asked).await,
        ItemWrite::Delete(key, deletion) => delete::look(api, key, deletion).await,
        ItemWrite::Move(key, to) => move_to::look(api, key, to).await,
        ItemWrite::Version(asked) => versions::look(api, asked).await,
        ItemWrite::Link(key, asked) => match link::is_as_asked(api, key, asked).await? {
            Some(issue) => found(issue.written(api)),
            None => Ok(Look::Absent),
        },
    }
}

pub(super) fn found(written: WrittenItem) -> Result<Look, SourceError> {
    let told = serde_json::to_value(written)
        .map_err(|error| malformed(format!("what was found cannot be told ({error})")))?;
    Ok(Look::Found(told))
}

/// Whether the issue is as the patch asks.
async fn updated(api: &Api<'_>, key: &str, patch: &ItemPatch) -> Result<Look, SourceError> {
    let form = Form::of_edit(api, key).await?;
    let issue = read(api, key, &form, patch).await?;
    let project = project_of(&issue);
    let place = Place { project: &project, people: Among::Issue(&issue.key), documents: patch.documents };
    let mut draft = Draft::new(api, &form, place, &issue.fields);
    fill(&mut draft, &issue, patch).await?;
    let set = draft.fields.iter().all(|(id, wanted)| holds(issue.field(id), wanted));
    let edited = draft.update.iter().all(|(id, operations)| took_place(issue.field(id), operations));
    if set && edited { found(issue.written(api)) } else { Ok(Look::Absent) }
}

/// Whether a field holds what it was set to.
fn holds(current: &Value, wanted: &Value) -> bool {
    match (current, wanted) {
        (Value::Null, Value::Array(wanted)) => wanted.is_empty(),
        (Value::Array(current), Value::Null) => current.is_empty(),
        // Sprints: the field lists those it has been in too, and is set by a number.
        (Value::Array(_), Value::Number(id)) => ids(current).contains(&id.to_string()),
        (Value::Array(current), Value::Array(wanted)) => {
            current.len() == wanted.len()
                && wanted.iter().all(|wanted| current.iter().any(|current| holds(current, wanted)))
        }
        (Value::Number(current), Value::Number(wanted)) => current.as_f64() == wanted.as_f64(),
        (Value::Object(current), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, wanted)| current.get(name).is_some_and(|current| holds(current, wanted))),
        (current, wanted) => current == wanted,
    }
}

/// Whether operations have nothing left to do.
fn took_place(current: &Value, operations: &Value) -> bool {
    let empty = Vec::new();
    let has = |value: &Value| current.as_array().unwrap_or(&empty).contains(value);
    operations.as_array().unwrap_or(&empty).iter().all(|operation| {
        operation.get("add").is_none_or(has)
            && !operation.get("remove").is_some_and(has)
            && (operation.get("set").is_none() || current.is_null())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_as_asked_is_told_from_what_is_not() {
        for (current, wanted, same) in [
            (json!({"id": "3", "name": "High"}), json!({"id": "3"}), true),
            (json!({"id": "3", "name": "High"}), json!({"id": "2"}), false),
            (json!([{"id": "1"}, {"id": "2"}]), json!([{"id": "2"}, {"id": "1"}]), true),
            (json!([{"id": 7, "state": "active"}]), json!(7), true),
            (json!(["x.Sprint@3f[id=7,state=ACTIVE,name=S]"]), json!(7), true),
            (json!(["x.Sprint@3f[id=7,state=ACTIVE,name=S]"]), json!(8), false),
            (json!(3.0), json!(3), true),
            (Value::Null, json!([]), true),
            (json!({"type": "doc", "content": []}), json!({"type": "doc", "content": [{}]}), false),
        ] {
            assert_eq!(holds(&current, &wanted), same, "{current} {wanted}");
        }
        assert!(took_place(&json!(["a"]), &json!([{"add": "a"}, {"remove": "b"}])));
        assert!(!took_place(&json!(["a", "b"]), &json!([{"add": "a"}, {"remove": "b"}])));
        assert!(took_place(&Value::Null, &json!([{"set": {"none": true}}])));
    }
}
