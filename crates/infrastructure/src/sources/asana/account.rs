//! Who the token belongs to, and which projects it sees.

use application::ports::{
    ConnectionReport, MissingScope, ProjectProbe, ProjectRef, SourceError, SourceErrorKind,
};
use serde::Deserialize;

use super::api::Api;
use super::model::{Named, Project};
use super::names::each;

/// Projects that a connection test looks at. Counting is dear to Asana's own limits.
const PROBED: usize = 20;
const LISTED: usize = 100;

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    num_tasks: Option<i64>,
}

/// Signs in and looks at what is selected.
pub(super) async fn test_connection(api: &Api<'_>) -> Result<ConnectionReport, SourceError> {
    let me: Named =
        api.get("/users/me", &[("opt_fields", "name")], "the token's account").await.map_err(not_asana)?;
    let mut report = ConnectionReport { account: me.name, ..ConnectionReport::default() };
    let (projects, problems) = selected(api).await?;
    report.problems = problems;
    report.project_count = i64::try_from(projects.len()).unwrap_or(i64::MAX);
    if projects.is_empty() && report.problems.is_empty() {
        report.problems.push("the token sees no project: invite its owner to those to be read".to_owned());
    }
    let (probes, failed) =
        each(projects.iter().take(PROBED).map(|project| probe(api, project)).collect()).await;
    if let Some(error) = failed {
        return Err(error);
    }
    let counted: Vec<i64> = probes.iter().filter_map(|probe| probe.items).collect();
    if let Ok(count) = i64::try_from(counted.len())
        && count > 0
    {
        // Subtasks are not counted, and read with the rest: each task costs a request for its stories.
        let items = counted.iter().sum::<i64>().saturating_mul(report.project_count) / count;
        report.estimated_items = Some(items);
        report.estimated_requests = Some(items + items / 100 + 4 * report.project_count);
    }
    for probe in probes.iter().filter(|probe| probe.problem.is_some()) {
        report.problems.push(format!("{}: {}", probe.name, probe.problem.as_deref().unwrap_or_default()));
    }
    let rest = projects.iter().skip(PROBED).take(LISTED - PROBED).map(|project| ProjectProbe {
        key: project.gid.clone(),
        name: project.name.clone(),
        items: None,
        problem: None,
    });
    report.projects = probes.into_iter().chain(rest).collect();
    scopes(api, &projects, &mut report).await?;
    Ok(report)
}

/// What every answer of Asana's API tells apart from other servers'.
fn not_asana(error: SourceError) -> SourceError {
    let other = match error.kind {
        SourceErrorKind::Malformed => true,
        SourceErrorKind::NotFound => true,
        SourceErrorKind::Rejected => error.upstream_status.is_some_and(|status| (300..400).contains(&status)),
        _ => false,
    };
    if !other {
        return error;
    }
    SourceError {
        field: Some("/base_url".into()),
        ..SourceError::new(
            SourceErrorKind::Rejected,
            "the base URL is not that of Asana's API, which is https://app.asana.com/api/1.0",
        )
    }
}

/// The selected projects that can be seen, and what is wrong with the others.
async fn selected(api: &Api<'_>) -> Result<(Vec<Project>, Vec<String>), SourceError> {
    let Some(gids) = &api.settings.projects else { return Ok((visible(api).await?, Vec::new())) };
    let (mut projects, mut problems) = (Vec::new(), Vec::new());
    let (read, failed) = each(gids.iter().map(|gid| try_project(api, gid)).collect()).await;
    if let Some(error) = failed {
        return Err(error);
    }
    for result in read {
        match result {
            Ok(project) => projects.push(project),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((projects, problems))
}

/// The project, or what is wrong with it.
async fn try_project(api: &Api<'_>, gid: &str) -> Result<Result<Project, String>, SourceError> {
    match project(api, gid).await {
        Ok(project) => Ok(Ok(project)),
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

async fn probe(api: &Api<'_>, project: &Project) -> Result<ProjectProbe, SourceError> {
    let gid = &project.gid;
    let what = format!("the task count of the project {gid}");
    let query = [("opt_fields", "num_tasks")];
    let counts = api.get::<Counts>(&format!("/projects/{gid}/task_counts"), &query, &what).await;
    let (items, problem) = match counts {
        Ok(counts) => (counts.num_tasks, None),
        Err(error) if matches!(error.upstream_status, Some(402..=404)) => (None, Some(error.to_string())),
        // The count has a limit of its own and is worth no wait.
        Err(error) if error.kind == SourceErrorKind::RateLimited => (None, None),
        Err(error) => return Err(error),
    };
    Ok(ProjectProbe { key: gid.clone(), name: project.name.clone(), items, problem })
}

/// What an OAuth token may do is told by trying. A personal token may do what its owner may.
async fn scopes(
    api: &Api<'_>,
    projects: &[Project],
    report: &mut ConnectionReport,
) -> Result<(), SourceError> {
    if !api.is_app() {
        report.scopes.push("default".to_owned());
        return Ok(());
    }
    report.scopes.push("users:read".to_owned());
    report.scopes.push("projects:read".to_owned());
    let Some(project) = projects.first() else { return Ok(()) };
    let tasks =
        api.list("/tasks", &[("project", project.gid.as_str())], None, "the tasks of a project").await;
    note(report, "tasks:read", "reading tasks", &tasks);
    if let Some(workspace) = &project.workspace {
        let query = [("workspace", workspace.gid.as_str())];
        let webhooks = api.list("/webhooks", &query, None, "the webhooks of a workspace").await;
        note(report, "webhooks:read", "being told of changes at once", &webhooks);
    }
    let Ok(tasks) = tasks else { return Ok(()) };
    if let Some(task) = tasks.rows.first().and_then(|row| serde_json::from_str::<Named>(row.get()).ok()) {
        let stories = api.list(&format!("/tasks/{}/stories", task.gid), &[], None, "a task's stories").await;
        note(report, "stories:read", "reading comments and history", &stories);
    }
    Ok(())
}

fn note<T>(report: &mut ConnectionReport, scope: &str, needed_for: &str, result: &Result<T, SourceError>) {
    match result {
        Ok(_) => report.scopes.push(scope.to_owned()),
        Err(error) if error.kind == SourceErrorKind::Forbidden => {
            report.missing.push(MissingScope { scope: scope.into(), needed_for: needed_for.into() });
        }
        Err(_) => {}
    }
}

/// The selected projects, or all that the token sees, as others refer to them.
pub(super) async fn list_projects(api: &Api<'_>) -> Result<Vec<ProjectRef>, SourceError> {
    let reference = |project: Project| ProjectRef { source_id: project.gid.clone(), key: project.gid };
    Ok(projects(api).await?.into_iter().map(reference).collect())
}

/// The selected projects, or all that the token sees.
pub(super) async fn projects(api: &Api<'_>) -> Result<Vec<Project>, SourceError> {
    match &api.settings.projects {
        None => visible(api).await,
        Some(gids) => {
            let (read, failed) = each(gids.iter().map(|gid| selected_project(api, gid)).collect()).await;
            failed.map_or(Ok(read), Err)
        }
    }
}

async fn selected_project(api: &Api<'_>, gid: &str) -> Result<Project, SourceError> {
    project(api, gid).await.map_err(|error| api.blame_project(error, gid))
}

pub(super) async fn project(api: &Api<'_>, gid: &str) -> Result<Project, SourceError> {
    let query = [("opt_fields", "archived,name,workspace")];
    api.get(&format!("/projects/{gid}"), &query, &format!("the project {gid}")).await
}

/// All projects of the workspaces, archived ones too.
async fn visible(api: &Api<'_>) -> Result<Vec<Project>, SourceError> {
    let mut projects: Vec<Project> = Vec::new();
    for workspace in workspaces(api).await? {
        let query = [("workspace", workspace.as_str()), ("opt_fields", "archived,name,workspace")];
        let what = format!("the projects of the workspace {workspace}");
        let found = api.all::<Project>("/projects", &query, &what).await.map_err(|error| {
            let selected = api.settings.workspaces.as_ref();
            let position = selected.and_then(|gids| gids.iter().position(|gid| *gid == workspace));
            match position {
                Some(i) if error.field.is_none() => {
                    SourceError { field: Some(format!("/settings/workspaces/{i}")), ..error }
                }
                _ => error,
            }
        })?;
        projects.extend(found);
    }
    Ok(projects)
}

/// The workspaces that are read: the selected ones, else those of the selected projects, else all.
pub(super) async fn workspaces(api: &Api<'_>) -> Result<Vec<String>, SourceError> {
    if let Some(gids) = &api.settings.workspaces {
        return Ok(gids.clone());
    }
    let all: Vec<Named> = api.all("/workspaces", &[("opt_fields", "name")], "the token's workspaces").await?;
    let all: Vec<String> = all.into_iter().map(|workspace| workspace.gid).collect();
    let Some(gids) = api.settings.projects.as_ref().filter(|_| all.len() > 1) else { return Ok(all) };
    let (projects, failed) = each(gids.iter().map(|gid| project(api, gid)).collect()).await;
    if let Some(error) = failed {
        return Err(error);
    }
    let used: Vec<String> = projects.into_iter().filter_map(|project| Some(project.workspace?.gid)).collect();
    Ok(all.into_iter().filter(|gid| used.contains(gid)).collect())
}
