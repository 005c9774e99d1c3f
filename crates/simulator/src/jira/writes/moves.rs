//! Issues moved by a task.
//! <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-bulk-operations/>

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Write;
use crate::jira::hooks::Event;
use crate::jira::issue::id_of;
use crate::jira::issues::visible;
use crate::jira::reply::Reply;

const MAPPING: [&str; 8] = [
    "inferClassificationDefaults",
    "inferFieldDefaults",
    "inferStatusDefaults",
    "inferSubtaskTypeDefault",
    "issueIdsOrKeys",
    "targetClassification",
    "targetMandatoryFields",
    "targetStatus",
];

fn refused(message: &str) -> Reply {
    Reply::new(StatusCode::BAD_REQUEST, json!({"errors": [{"message": message}]}).to_string())
}

/// One project and type, and what goes there.
struct Target {
    project: String,
    kind: String,
    issues: Vec<u64>,
}

/// `POST /bulk/issues/move`: Cloud only. The task is done when it was asked for once.
pub(super) fn move_issues(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.only(write.site.is_cloud())?;
    write.call.allow(&[])?;
    let body = write.call.object(Some(&["sendBulkNotification", "targetToSourcesMapping"]))?;
    let Some(mappings) = body.get("targetToSourcesMapping").and_then(Value::as_object) else {
        return Err(refused("targetToSourcesMapping is required"));
    };
    let targets: Vec<Target> =
        mappings.iter().map(|(name, mapping)| target(write, name, mapping)).collect::<Result<_, _>>()?;
    let mut moved = Vec::new();
    for Target { project, kind, issues } in targets {
        for id in issues {
            move_one(write, id, &project, Some(&kind))?;
            moved.push(id);
            let below: Vec<u64> = write
                .issue(id)?
                .array("subtasks")
                .iter()
                .filter_map(id_of)
                .filter_map(|id| id.parse().ok())
                .collect();
            for id in below {
                move_one(write, id, &project, None)?;
            }
        }
    }
    let task = write.site.new_id().to_string();
    let done = json!({"taskId": task, "status": "COMPLETE", "progressPercent": 100, "totalIssueCount": moved.len(),
        "processedAccessibleIssues": moved, "failedAccessibleIssues": {}, "invalidOrInaccessibleIssueCount": 0,
        "submittedBy": {"accountId": write.account}});
    write.site.tasks.insert(task.clone(), (done, 0));
    Ok(Reply::created(&json!({"taskId": task})))
}

fn target(write: &Write<'_>, name: &str, mapping: &Value) -> Result<Target, Reply> {
    let wrong = || refused("The targetToSourcesMapping is not valid");
    let mapping: &Map<String, Value> = mapping.as_object().ok_or_else(wrong)?;
    let known = |(name, value): (&String, &Value)| {
        MAPPING.contains(&name.as_str()) && (!name.starts_with("infer") || value.is_boolean())
    };
    let parts: Vec<&str> = name.split(',').collect();
    let ([project, kind], true) = (parts.as_slice(), mapping.iter().all(known)) else { return Err(wrong()) };
    let found = write.site.project(project).filter(|_| write.site.sees(write.call.login, project));
    let key = found.and_then(|project| project["key"].as_str()).ok_or_else(wrong)?;
    let kind =
        write.site.catalog.types.get(*kind).filter(|kind| kind["subtask"] != true).ok_or_else(wrong)?;
    let infers = |name: &str| mapping.get(name) == Some(&Value::Bool(true));
    if !infers("inferStatusDefaults") || !infers("inferFieldDefaults") {
        return Err(refused("The mapping of statuses and of mandatory fields is required"));
    }
    let named = mapping.get("issueIdsOrKeys").and_then(Value::as_array).ok_or_else(wrong)?;
    let id = |name: &Value| Some(visible(write.call, write.site, name.as_str()?).ok()?.id);
    let issues: Option<Vec<u64>> = named.iter().map(id).collect();
    let issues = issues.filter(|all| !all.is_empty());
    let issues = issues.ok_or_else(|| refused("Some of the issues in the issueIdsOrKeys are not valid"))?;
    Ok(Target { project: key.to_owned(), kind: id_of(kind).unwrap_or_default(), issues })
}

fn move_one(write: &mut Write<'_>, id: u64, project: &str, kind: Option<&str>) -> Result<(), Reply> {
    let before = write.issue(id)?.key.clone();
    let of = before.rsplit_once('-').map_or("", |(project, _)| project);
    let mut items = Vec::new();
    if of != project {
        let after = write.site.move_issue(&before, project).map_err(|error| refused(&error.to_string()))?;
        items.push(json!({"field": "Key", "fieldtype": "jira", "fromString": before, "toString": after}));
    }
    if let Some(kind) = kind {
        write.site.edit(id, |issue, _| {
            issue.fields.insert("issuetype".to_owned(), json!(kind));
        });
    }
    write.events.push(Event::updated(id, "issue_moved", items));
    Ok(())
}

/// `GET /bulk/queue/{taskId}`.
pub(super) fn progress(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.only(write.site.is_cloud())?;
    write.call.allow(&[])?;
    let task = write.part(2).to_owned();
    let Some((done, asked)) = write.site.tasks.get_mut(&task) else {
        return Err(Reply::bad_request("The task associated with this taskId is not a bulk operation task"));
    };
    *asked += 1;
    if *asked > 1 {
        return Ok(Reply::json(done));
    }
    let mut running = done.clone();
    running["status"] = json!("RUNNING");
    running["progressPercent"] = json!(0);
    running["processedAccessibleIssues"] = json!([]);
    Ok(Reply::json(&running))
}
