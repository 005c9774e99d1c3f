//! Where a delivery points.

use application::ports::Refusal;
use domain::{Hint, Hints};
use serde::Deserialize;
use serde_json::Value;

use super::super::model::text_or_number;

/// Event names that are stored are cut here.
const LONGEST_EVENT: usize = 80;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    webhook_event: String,
    #[serde(default)]
    issue: Option<Pointed>,
    #[serde(default)]
    comment: Option<Pointed>,
    #[serde(default)]
    worklog: Option<Worklog>,
    #[serde(default)]
    issue_link: Option<IssueLink>,
}

#[derive(Deserialize)]
struct Pointed {
    #[serde(default, deserialize_with = "text_or_number")]
    id: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Worklog {
    #[serde(default, deserialize_with = "text_or_number")]
    id: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    issue_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IssueLink {
    #[serde(default, deserialize_with = "text_or_number")]
    source_issue_id: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    destination_issue_id: Option<String>,
}

/// Reads what happened and where to look. Nothing in it is taken for the truth.
pub(super) fn read(body: &[u8]) -> Result<(String, Hints), Refusal> {
    // In two steps: what is strange in one part must not hide the others.
    let value: Value = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
    let payload = Payload::deserialize(&value).map_err(|_| Refusal::Malformed)?;
    let event: String =
        payload.webhook_event.chars().filter(|c| !c.is_control()).take(LONGEST_EVENT).collect();
    let mut hints = Hints::new();
    if let Some(issue) = payload.issue {
        hints.extend(item(issue.id, issue.key));
    }
    if let Some(worklog) = payload.worklog {
        if event == "worklog_deleted" {
            hints.extend(worklog.id.map(|source_id| Hint::WorklogGone { source_id }));
        }
        hints.extend(item(worklog.issue_id, None));
    }
    if event == "comment_deleted"
        && let Some(source_id) = payload.comment.and_then(|comment| comment.id)
    {
        hints.insert(Hint::CommentGone { kind: "comment".to_owned(), source_id });
    }
    if let Some(link) = payload.issue_link {
        hints.extend(item(link.source_issue_id, None));
        hints.extend(item(link.destination_issue_id, None));
    }
    if hints.is_empty() {
        // Sprints, boards, versions, projects, people: read by the next sync.
        hints.insert(Hint::Reference);
    }
    Ok((event, hints))
}

fn item(id: Option<String>, key: Option<String>) -> Option<Hint> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty() && text.len() <= 255);
    let (id, key) = (given(id), given(key));
    (id.is_some() || key.is_some()).then(|| Hint::Item { source_id: id.clone(), ref_key: id, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(json: &str) -> Vec<Hint> {
        read(json.as_bytes()).unwrap().1.into_iter().collect()
    }

    fn issue(id: &str, key: Option<&str>) -> Hint {
        item(Some(id.to_owned()), key.map(str::to_owned)).unwrap()
    }

    #[test]
    fn an_issue_is_pointed_at_by_id_and_key() {
        for event in ["jira:issue_created", "jira:issue_updated", "jira:issue_deleted", "comment_created"] {
            let json = format!(
                r#"{{"webhookEvent":"{event}","issue":{{"id":"10002","key":"ENG-1"}},"comment":{{"id":"7"}}}}"#
            );
            assert_eq!(hints(&json), [issue("10002", Some("ENG-1"))], "{event}");
        }
    }

    #[test]
    fn what_is_gone_is_named_beside_its_issue() {
        let comment = r#"{"webhookEvent":"comment_deleted","comment":{"id":"7"},"issue":{"id":10002}}"#;
        assert!(
            hints(comment).contains(&Hint::CommentGone { kind: "comment".into(), source_id: "7".into() })
        );
        assert!(hints(comment).contains(&issue("10002", None)));
        let worklog = r#"{"webhookEvent":"worklog_deleted","worklog":{"id":"9","issueId":"10002"}}"#;
        assert!(hints(worklog).contains(&Hint::WorklogGone { source_id: "9".into() }));
        assert!(hints(worklog).contains(&issue("10002", None)));
    }

    #[test]
    fn a_link_points_at_both_ends_and_a_sprint_at_the_next_sync() {
        let link = r#"{"webhookEvent":"issuelink_created","issueLink":{"id":1,"sourceIssueId":1,"destinationIssueId":2}}"#;
        assert_eq!(hints(link), [issue("1", None), issue("2", None)]);
        for event in ["sprint_closed", "board_updated", "jira:version_released", "user_created"] {
            assert_eq!(
                hints(&format!(r#"{{"webhookEvent":"{event}","sprint":{{"id":1}}}}"#)),
                [Hint::Reference]
            );
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for body in ["", "[]", "{}", r#"{"webhookEvent":7}"#, "payload=%7B%7D"] {
            assert_eq!(read(body.as_bytes()).unwrap_err(), Refusal::Malformed, "{body}");
        }
    }
}
