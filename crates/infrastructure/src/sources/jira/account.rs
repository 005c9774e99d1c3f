//! Who the credential belongs to, what it may do, and which projects it sees.

use std::collections::HashSet;

use application::ports::{
    ConnectionReport, MissingScope, ProjectProbe, ProjectRef, SourceError, SourceErrorKind,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, segment};
use super::model::{Project, User};
use super::settings::Stream;
use super::walk;

/// Projects asked for in one page, and keys in one request.
const PAGE: usize = 50;
const MAX_PAGES: usize = 1_000;
/// Projects that a test tells of, and of which it counts the issues.
const PROBED: usize = 100;
const COUNTED: usize = 20;
const CONCURRENCY: usize = 4;

/// What is done with which permission.
const PERMISSIONS: [(&str, &str); 6] = [
    ("BROWSE_PROJECTS", "reading issues"),
    ("CREATE_ISSUES", "creating issues"),
    ("EDIT_ISSUES", "changing issues"),
    ("TRANSITION_ISSUES", "changing the status of issues"),
    ("ADD_COMMENTS", "commenting"),
    ("ADMINISTER", "registering webhooks"),
];

/// Signs in and looks at what is selected.
pub(super) async fn test_connection(api: &Api<'_>) -> Result<ConnectionReport, SourceError> {
    let user: User = api.get(&api.rest("/myself"), &[], "the account").await?.json("the account")?;
    let mut report = ConnectionReport {
        account: [user.email_address, user.display_name, user.name, user.account_id]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "unknown".into()),
        version: api.site.version.clone(),
        ..ConnectionReport::default()
    };
    permissions(api, &mut report).await?;
    agile(api, &mut report).await?;
    projects(api, &mut report).await?;
    Ok(report)
}

async fn permissions(api: &Api<'_>, report: &mut ConnectionReport) -> Result<(), SourceError> {
    let names: Vec<&str> = PERMISSIONS.iter().map(|(name, _)| *name).collect();
    let what = "the account's permissions";
    let answer: Value =
        api.get(&api.rest("/mypermissions"), &[("permissions", &names.join(","))], what).await?.json(what)?;
    for (name, needed_for) in PERMISSIONS {
        let has = answer.pointer(&format!("/permissions/{name}/havePermission")).and_then(Value::as_bool);
        match has {
            Some(true) => report.scopes.push(name.to_owned()),
            Some(false) => {
                report
                    .missing
                    .push(MissingScope { scope: name.to_owned(), needed_for: needed_for.to_owned() });
            }
            None => {}
        }
    }
    Ok(())
}

/// Boards need scopes of their own, and a site without Jira Software has none.
async fn agile(api: &Api<'_>, report: &mut ConnectionReport) -> Result<(), SourceError> {
    if !api.settings.reads(Stream::Boards) {
        return Ok(());
    }
    match api.get("/rest/agile/1.0/board", &[("maxResults", "1")], "the boards").await {
        Ok(_) => Ok(()),
        Err(error) if error.kind == SourceErrorKind::Forbidden => {
            report.missing.push(MissingScope {
                scope: "read:board-scope:jira-software, read:sprint:jira-software".into(),
                needed_for: "reading boards and sprints".into(),
            });
            report.problems.push(
                "boards and sprints cannot be read: give the token their scopes, or leave the stream `boards` out"
                    .into(),
            );
            Ok(())
        }
        Err(error) if error.kind == SourceErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn projects(api: &Api<'_>, report: &mut ConnectionReport) -> Result<(), SourceError> {
    let mut seen = Vec::new();
    match &api.settings.projects {
        None => seen = visible(api, &[]).await?,
        Some(keys) => {
            let found = by_keys(api, keys).await?;
            for (key, found) in keys.iter().zip(found) {
                match found {
                    Ok(project) => seen.push(project),
                    Err(error) => {
                        report.problems.push(error.message.clone());
                        report.projects.push(ProjectProbe {
                            key: key.clone(),
                            name: key.clone(),
                            items: None,
                            problem: Some(error.message),
                        });
                    }
                }
            }
        }
    }
    if seen.is_empty() && report.projects.is_empty() {
        report
            .problems
            .push("the account sees no project: give it the permission to browse those to be read".into());
    }
    report.project_count = i64::try_from(seen.len()).unwrap_or(i64::MAX);
    let queries: Vec<String> =
        seen.iter().take(COUNTED).map(|project| format!("project = {}", project.id)).collect();
    let counts: Vec<Option<i64>> = stream::iter(queries)
        .map(|jql| async move { walk::count(api, &jql).await })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let total = if seen.len() <= COUNTED {
        counts.iter().copied().sum::<Option<i64>>()
    } else {
        total(api, &seen).await?
    };
    let probes = seen.iter().enumerate().map(|(i, project)| ProjectProbe {
        key: project.key.clone(),
        name: project.name.clone().unwrap_or_else(|| project.key.clone()),
        items: counts.get(i).copied().flatten(),
        problem: None,
    });
    report.projects.extend(probes.take(PROBED.saturating_sub(report.projects.len())));
    report.estimated_items = total;
    // A page of a hundred issues, then what hangs on them: on Cloud a page or two of changes for 250, and lists of those
    // that have many. And some for each project.
    report.estimated_requests = total.map(|items| {
        let pages = (items + 99) / 100;
        let details = if api.is_cloud() { (pages + 1) / 2 } else { pages };
        pages + details + report.project_count * 5 + 10
    });
    Ok(())
}

async fn total(api: &Api<'_>, projects: &[Project]) -> Result<Option<i64>, SourceError> {
    let mut total = Some(0_i64);
    for some in projects.chunks(500) {
        let ids: Vec<&str> = some.iter().map(|project| project.id.as_str()).collect();
        let count = walk::count(api, &format!("project in ({})", ids.join(", "))).await?;
        total = total.zip(count).map(|(total, count)| total.saturating_add(count));
    }
    Ok(total)
}

/// The selected projects, or all that the account sees.
pub(super) async fn list_projects(api: &Api<'_>) -> Result<Vec<ProjectRef>, SourceError> {
    let projects = match &api.settings.projects {
        None => visible(api, &[]).await?,
        Some(keys) => by_keys(api, keys).await?.into_iter().collect::<Result<_, _>>()?,
    };
    let mut refs: Vec<ProjectRef> = Vec::with_capacity(projects.len());
    for project in projects {
        // An old and a new key of the same project.
        if refs.iter().all(|known| known.source_id != project.id) {
            refs.push(ProjectRef { source_id: project.id, key: project.key });
        }
    }
    Ok(refs)
}

/// Ids of the projects of these keys that the account sees.
pub(super) async fn selected_ids(api: &Api<'_>, keys: &[String]) -> Result<HashSet<String>, SourceError> {
    Ok(by_keys(api, keys).await?.into_iter().flatten().map(|project| project.id).collect())
}

/// The projects of these keys, each found or with what is wrong with it.
async fn by_keys(api: &Api<'_>, keys: &[String]) -> Result<Vec<Result<Project, SourceError>>, SourceError> {
    let mut listed = Vec::new();
    for some in keys.chunks(PAGE) {
        listed.extend(visible(api, some).await?);
    }
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let position = listed.iter().position(|project| project.key.eq_ignore_ascii_case(key));
        found.push(match position {
            Some(position) => Ok(listed.swap_remove(position)),
            // A key the project had before, or an archived project.
            None => one(api, key).await,
        });
    }
    for error in found.iter().filter_map(|found| found.as_ref().err()) {
        if !matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) {
            return Err(error.clone());
        }
    }
    Ok(found)
}

async fn one(api: &Api<'_>, key: &str) -> Result<Project, SourceError> {
    let what = format!("the project {key}");
    match api.get(&api.rest(&format!("/project/{}", segment(key))), &[], &what).await {
        Ok(answer) => answer.json(&what),
        Err(error) => {
            Err(api.blame_project(error, &ProjectRef { source_id: String::new(), key: key.to_owned() }))
        }
    }
}

/// The projects the account sees; of these keys only, where some are given.
async fn visible(api: &Api<'_>, keys: &[String]) -> Result<Vec<Project>, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        #[serde(default)]
        values: Vec<Project>,
        #[serde(default)]
        is_last: Option<bool>,
    }
    let what = "the projects";
    if !api.is_cloud() {
        // Data Center knows no pages of projects.
        return api.get(&api.rest("/project"), &[], what).await?.json(what);
    }
    let mut projects: Vec<Project> = Vec::new();
    let (size, mut start) = (PAGE.to_string(), 0);
    for _ in 0..MAX_PAGES {
        let from = start.to_string();
        let mut query = vec![("startAt", from.as_str()), ("maxResults", &size), ("orderBy", "key")];
        query.extend(keys.iter().map(|key| ("keys", key.as_str())));
        let page: Listed = api.get(&api.rest("/project/search"), &query, what).await?.json(what)?;
        start += page.values.len();
        let empty = page.values.is_empty();
        projects.extend(page.values);
        if empty || page.is_last != Some(false) {
            return Ok(projects);
        }
    }
    Err(super::malformed("Jira's list of projects does not end"))
}
