//! Who the token belongs to, and which repositories it sees.

use application::ports::{ConnectionReport, ProjectRef, SourceError, SourceErrorKind};
use http::StatusCode;
use serde::de::IgnoredAny;

use super::api::{Answer, Api, answer, redirect, rows};
use super::malformed;
use super::model::{Repository, User};
use super::settings::Stream;

/// Signs in and looks at every selected repository.
pub(super) async fn test_connection(api: &Api<'_>) -> Result<ConnectionReport, SourceError> {
    let user = sign_in(api).await?;
    let header =
        |name: &str| user.as_ref().and_then(|answer| answer.header(name)).unwrap_or_default().to_owned();
    let account = match &user {
        Some(answer) => serde_json::from_str::<User<'_>>(&answer.text())
            .map(|user| user.login.to_string())
            .map_err(|_| not_github("answers, but not as GitHub's API does"))?,
        None => "an app installation".to_owned(),
    };
    let version = Some(header("x-github-enterprise-version")).filter(|version| !version.is_empty());
    let scopes = header("x-oauth-scopes")
        .split(',')
        .map(|scope| scope.trim().to_owned())
        .filter(|scope| !scope.is_empty())
        .collect();
    Ok(ConnectionReport {
        account,
        version,
        scopes,
        problems: problems(api).await?,
        ..ConnectionReport::default()
    })
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

async fn problems(api: &Api<'_>) -> Result<Vec<String>, SourceError> {
    let mut problems = Vec::new();
    let Some(names) = &api.settings.repositories else {
        if list_visible(api).await?.is_empty() {
            problems.push("the token sees no repository: give it access to those to be read".to_owned());
        }
        return Ok(problems);
    };
    for name in names {
        match repository(api, name).await {
            Ok(found) if found.has_issues == Some(false) && api.settings.reads(Stream::Issues) => {
                problems.push(format!("{name} has issues switched off: only its pull requests can be read"));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => {
                problems.push(format!("{name}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(problems)
}

/// The selected repositories, or all that the token sees.
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

struct FoundRepository {
    project: ProjectRef,
    has_issues: Option<bool>,
}

async fn repository(api: &Api<'_>, name: &str) -> Result<FoundRepository, SourceError> {
    let answer =
        api.get(&api.url(&format!("/repos/{name}"))?, None, &format!("the repository {name}")).await?;
    let text = answer.text();
    let repository: Repository<'_> = serde_json::from_str(&text)
        .map_err(|error| malformed(format!("GitHub's answer for {name} is not a repository ({error})")))?;
    Ok(FoundRepository { project: project(&repository), has_issues: repository.has_issues })
}

fn project(repository: &Repository<'_>) -> ProjectRef {
    ProjectRef { source_id: repository.id.to_string(), key: repository.full_name.to_string() }
}

async fn list_visible(api: &Api<'_>) -> Result<Vec<ProjectRef>, SourceError> {
    let what = "the token's repositories";
    let first = api.get(&api.url("/user/repos?per_page=100")?, None, what).await?;
    let mut projects: Vec<ProjectRef> = Vec::new();
    api.all_pages(first, what, |text| {
        for raw in rows(text)? {
            let repository: Repository<'_> = serde_json::from_str(raw.get()).map_err(|error| {
                malformed(format!("GitHub lists something that is not a repository ({error})"))
            })?;
            let found = project(&repository);
            if projects.iter().all(|known| known.source_id != found.source_id) {
                projects.push(found);
            }
        }
        Ok(())
    })
    .await?;
    Ok(projects)
}
