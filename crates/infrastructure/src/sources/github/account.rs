//! Who signs in, which repositories they see, and what they may do there.

use application::ports::{
    ConnectionReport, MissingScope, ProjectProbe, ProjectRef, SourceError, SourceErrorKind,
};
use http::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::api::{Answer, Api, answer, redirect, rows};
use super::app::App;
use super::malformed;
use super::model::{Repository, User};
use super::settings::Stream;

/// Repositories that are told by name.
const TOLD: usize = 100;
/// Repositories whose items are counted, which takes three small requests each.
const COUNTED: usize = 20;

/// Signs in and looks at what is selected.
pub(super) async fn test_connection(api: &Api<'_>) -> Result<ConnectionReport, SourceError> {
    let mut report = match api.app() {
        Some(app) => sign_in_as_app(app).await?,
        None => sign_in_with_token(api).await?,
    };
    look_at_repositories(api, &mut report).await?;
    Ok(report)
}

async fn sign_in_with_token(api: &Api<'_>) -> Result<ConnectionReport, SourceError> {
    let user = sign_in(api).await?;
    let header = |name: &str| user.as_ref().and_then(|answer| answer.header(name));
    let account = match &user {
        Some(answer) => serde_json::from_str::<User<'_>>(&answer.text())
            .map(|user| user.login.to_string())
            .map_err(|_| not_github("answers, but not as GitHub's API does"))?,
        None => "an app installation".to_owned(),
    };
    // Only classic tokens tell their scopes.
    let told = header("x-oauth-scopes").map(|scopes| {
        scopes
            .split(',')
            .map(|scope| scope.trim().to_owned())
            .filter(|scope| !scope.is_empty())
            .collect::<Vec<_>>()
    });
    let version =
        header("x-github-enterprise-version").filter(|version| !version.is_empty()).map(str::to_owned);
    Ok(ConnectionReport {
        account,
        version,
        missing: told.as_ref().map(|scopes| missing_scopes(api, scopes)).unwrap_or_default(),
        scopes: told.unwrap_or_default(),
        ..ConnectionReport::default()
    })
}

/// What a classic token lacks. <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps>
fn missing_scopes(api: &Api<'_>, scopes: &[String]) -> Vec<MissingScope> {
    let has = |any: &[&str]| scopes.iter().any(|scope| any.contains(&scope.as_str()));
    let mut missing = Vec::new();
    let mut need = |present: bool, scope: &str, needed_for: &str| {
        if !present {
            missing.push(MissingScope { scope: scope.into(), needed_for: needed_for.into() });
        }
    };
    if has(&["public_repo"]) {
        need(has(&["repo"]), "repo", "reading and writing private repositories");
    } else {
        need(has(&["repo"]), "repo", "reading private repositories, and writing");
    }
    need(has(&["admin:repo_hook", "write:repo_hook"]), "admin:repo_hook", "setting up webhooks");
    if api.settings.reads(Stream::Boards) {
        need(has(&["read:project", "project"]), "read:project", "iterations of projects");
    }
    missing
}

async fn sign_in_as_app(app: &App<'_>) -> Result<ConnectionReport, SourceError> {
    let (described, headers) = app.describe().await?;
    let name = described["slug"].as_str().or(described["name"].as_str());
    let Some(name) = name else { return Err(not_github("answers, but not as GitHub's API does")) };
    let installations = app.installations().await?;
    let mut report = ConnectionReport {
        account: format!("the app {name}"),
        version: headers
            .get("x-github-enterprise-version")
            .and_then(|version| version.to_str().ok())
            .map(str::to_owned),
        ..ConnectionReport::default()
    };
    if installations.is_empty() {
        report
            .problems
            .push("the app is not installed anywhere: install it at the owner of the repositories".into());
    }
    for installation in installations.iter() {
        if installation.suspended {
            report.problems.push(format!("the app's installation at {} is suspended", installation.owner));
            continue;
        }
        for (permission, level) in &installation.permissions {
            let scope = format!("{}: {permission}:{}", installation.owner, level.as_str().unwrap_or("read"));
            report.scopes.push(scope);
        }
        let may = |permission: &str| installation.permissions.get(permission).and_then(Value::as_str);
        let mut need = |present: bool, scope: &str, needed_for: &str| {
            if !present {
                let scope = format!("{}: {scope}", installation.owner);
                report.missing.push(MissingScope { scope, needed_for: needed_for.into() });
            }
        };
        match may("issues") {
            Some("write") => {}
            Some(_) => need(false, "issues:write", "writing to issues"),
            None => need(false, "issues:read", "reading issues"),
        }
        need(may("pull_requests").is_some(), "pull_requests:read", "details and reviews of pull requests");
    }
    Ok(report)
}

/// `GET /user`; `None` when the token belongs to no user.
async fn sign_in(api: &Api<'_>) -> Result<Option<Answer>, SourceError> {
    let response = api.send(&api.url("/user")?, None).await?;
    if redirect(&response).is_some() {
        return Err(not_github("redirects elsewhere"));
    }
    let is_json = serde_json::from_slice::<IgnoredAny>(&response.body).is_ok();
    if !is_json && matches!(response.status, StatusCode::OK | StatusCode::NOT_FOUND) {
        return Err(not_github("answers with something that is not JSON"));
    }
    match answer(response, "the token's account") {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == SourceErrorKind::Forbidden && error.message.contains("integration") => {
            Ok(None)
        }
        Err(error) if error.kind == SourceErrorKind::NotFound => {
            Err(not_github("has no /user, which every GitHub API has"))
        }
        Err(error) => Err(error),
    }
}

fn not_github(how: &str) -> SourceError {
    SourceError {
        field: Some("/base_url".into()),
        ..SourceError::new(
            SourceErrorKind::Rejected,
            format!(
                "the base URL is not that of a GitHub API: it {how}. Use https://api.github.com, or \
                 https://<host>/api/v3 for GitHub Enterprise Server"
            ),
        )
    }
}

async fn look_at_repositories(api: &Api<'_>, report: &mut ConnectionReport) -> Result<(), SourceError> {
    let Some(names) = &api.settings.repositories else {
        let visible = list_visible(api).await?;
        if visible.is_empty() {
            report
                .problems
                .push("the token sees no repository: give it access to those to be read".to_owned());
        }
        report.project_count = count(visible.len());
        report.projects = visible.iter().take(TOLD).map(|project| probe(&project.key)).collect();
        return estimate(api, report).await;
    };
    report.project_count = count(names.len());
    for name in names {
        let mut probe = probe(name);
        match repository(api, name).await {
            Ok(found) => {
                probe.key.clone_from(&found.project.key);
                probe.name.clone_from(&found.project.key);
                if found.has_issues == Some(false) && api.settings.reads(Stream::Issues) {
                    let problem = "has issues switched off: only its pull requests can be read";
                    report.problems.push(format!("{name} {problem}"));
                    probe.problem = Some(problem.to_owned());
                }
                if found.may_push == Some(false) {
                    report.missing.push(MissingScope {
                        scope: format!("push access to {name}"),
                        needed_for: "setting labels, assignees, milestones and types there".to_owned(),
                    });
                }
            }
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => {
                report.problems.push(format!("{name}: {error}"));
                probe.problem = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        if report.projects.len() < TOLD {
            report.projects.push(probe);
        }
    }
    estimate(api, report).await
}

fn probe(name: &str) -> ProjectProbe {
    ProjectProbe { key: name.to_owned(), name: name.to_owned(), items: None, problem: None }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Counts what is in the first repositories, and from that guesses at all.
async fn estimate(api: &Api<'_>, report: &mut ConnectionReport) -> Result<(), SourceError> {
    let (mut repositories, mut items, mut requests) = (0, 0, 0);
    for probe in report.projects.iter_mut().filter(|probe| probe.problem.is_none()).take(COUNTED) {
        let Some(issues) = rows_of(api, &format!("/repos/{}/issues?state=all", probe.key)).await? else {
            continue;
        };
        probe.items = Some(issues);
        repositories += 1;
        items += issues;
        // The reference lists, and pages of a hundred.
        requests += 4 + issues / 100 + 1;
        if api.settings.reads(Stream::Comments) {
            let comments =
                rows_of(api, &format!("/repos/{}/issues/comments?sort=created", probe.key)).await?;
            requests += comments.unwrap_or(0) / 100 + 1;
        }
        if api.settings.reads(Stream::Details) {
            let pulls = rows_of(api, &format!("/repos/{}/pulls?state=all", probe.key)).await?;
            // A timeline each; a pull request also its details, reviews and comments on its lines.
            requests += issues + 3 * pulls.unwrap_or(0);
        }
    }
    if repositories > 0 {
        let readable = report.project_count - count(report.problems.len().min(report.projects.len()));
        let all = |counted: i64| counted.saturating_mul(readable.max(repositories)) / repositories;
        report.estimated_items = Some(all(items));
        report.estimated_requests = Some(all(requests));
    }
    Ok(())
}

/// How many rows a list has, by the number of its last page of one. `None` when it cannot be read.
async fn rows_of(api: &Api<'_>, path: &str) -> Result<Option<i64>, SourceError> {
    match api.get(&api.url(&format!("{path}&per_page=1"))?, None, "the number of items").await {
        Ok(answer) => Ok(match answer.links.pages() {
            Some(pages) => Some(pages),
            None => Some(count(rows(&answer.text())?.len())),
        }),
        Err(error)
            if matches!(
                error.kind,
                SourceErrorKind::NotFound | SourceErrorKind::Forbidden | SourceErrorKind::Gone
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The selected repositories, or all that are visible.
pub(super) async fn list_projects(api: &Api<'_>) -> Result<Vec<ProjectRef>, SourceError> {
    let Some(names) = &api.settings.repositories else { return list_visible(api).await };
    let mut projects: Vec<ProjectRef> = Vec::with_capacity(names.len());
    for name in names {
        let wanted = ProjectRef { source_id: String::new(), key: name.clone() };
        let found = repository(api, name).await.map_err(|error| api.blame_repository(error, &wanted))?;
        // An old and a new name of the same repository.
        if projects.iter().all(|project| project.source_id != found.project.source_id) {
            projects.push(found.project);
        }
    }
    Ok(projects)
}

pub(super) struct FoundRepository {
    pub(super) project: ProjectRef,
    has_issues: Option<bool>,
    may_push: Option<bool>,
}

pub(super) async fn repository(api: &Api<'_>, name: &str) -> Result<FoundRepository, SourceError> {
    let answer =
        api.get(&api.url(&format!("/repos/{name}"))?, None, &format!("the repository {name}")).await?;
    let text = answer.text();
    let repository: Repository<'_> = serde_json::from_str(&text)
        .map_err(|error| malformed(format!("GitHub's answer for {name} is not a repository ({error})")))?;
    Ok(FoundRepository {
        project: project(&repository),
        has_issues: repository.has_issues,
        may_push: repository.permissions.as_ref().and_then(|permissions| permissions.push),
    })
}

fn project(repository: &Repository<'_>) -> ProjectRef {
    ProjectRef { source_id: repository.id.to_string(), key: repository.full_name.to_string() }
}

/// An app sees the repositories of each of its installations.
#[derive(Deserialize)]
struct InstallationRepositories<'a> {
    #[serde(borrow)]
    repositories: Vec<&'a RawValue>,
}

async fn list_visible(api: &Api<'_>) -> Result<Vec<ProjectRef>, SourceError> {
    let mut projects: Vec<ProjectRef> = Vec::new();
    let Some(app) = api.app() else {
        let what = "the token's repositories";
        let first = api.get(&api.url("/user/repos?per_page=100")?, None, what).await?;
        api.all_pages(first, what, |text| add(&mut projects, &rows(text)?)).await?;
        return Ok(projects);
    };
    let installations = app.installations().await?;
    for installation in installations.iter().filter(|installation| !installation.suspended) {
        let what = format!("the repositories of the app's installation at {}", installation.owner);
        let url = api.url("/installation/repositories?per_page=100")?;
        let first = api.get_of(&installation.owner, &url, &what).await?;
        api.all_pages(first, &what, |text| {
            let page: InstallationRepositories<'_> = serde_json::from_str(text).map_err(|error| {
                malformed(format!("GitHub's answer for {what} has an unknown form ({error})"))
            })?;
            add(&mut projects, &page.repositories)
        })
        .await?;
    }
    Ok(projects)
}

fn add(projects: &mut Vec<ProjectRef>, page: &[&RawValue]) -> Result<(), SourceError> {
    for raw in page {
        let repository: Repository<'_> = serde_json::from_str(raw.get()).map_err(|error| {
            malformed(format!("GitHub lists something that is not a repository ({error})"))
        })?;
        let found = project(&repository);
        if projects.iter().all(|known| known.source_id != found.source_id) {
            projects.push(found);
        }
    }
    Ok(())
}
