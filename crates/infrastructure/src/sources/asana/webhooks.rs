//! Asana's webhooks: one for each project, because tasks' events reach no higher. Each has its own secret, which Asana
//! tells in a handshake during the call that makes it. <https://developers.asana.com/docs/webhooks-guide>

use std::collections::BTreeSet;

use application::ports::{
    Connection, Delivery, Received, Refusal, Registration, SourceError, SourceErrorKind, SourceWebhooks,
};
use async_trait::async_trait;
use domain::{Credential, Hint, Hints};
use futures::{StreamExt, TryStreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::api::Api;
use super::model::{Event, Named};
use super::{Asana, account, errors, rejected};

/// Most projects that webhooks are made for: each has a secret that deliveries are tried with.
const MOST_PROJECTS: usize = 150;
/// Handshakes under way at once.
const CONCURRENCY: usize = 3;
const SECRET: &str = "x-hook-secret";
const SIGNATURE: &str = "x-hook-signature";

/// What [`Registration::remote`] holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Remote {
    webhooks: Vec<Made>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Made {
    gid: String,
    project: String,
}

/// A webhook as Asana lists it.
#[derive(Debug, Deserialize)]
struct Listed {
    gid: String,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    resource: Option<Named>,
}

impl Listed {
    fn project(&self) -> Option<&str> {
        self.resource.as_ref().map(|resource| resource.gid.as_str())
    }
}

#[derive(Deserialize)]
struct Body {
    events: Vec<Event>,
}

#[async_trait]
impl SourceWebhooks for Asana {
    fn registers(&self, credential: &Credential) -> bool {
        matches!(credential, Credential::Token { .. } | Credential::OAuth(_))
    }

    fn steps(&self, connection: &Connection, target: &Url) -> Vec<String> {
        let base = connection.base_url.as_str().trim_end_matches('/');
        vec![
            "Asana has no page for webhooks: they are made by its API, best by Patchbay itself.".to_owned(),
            "To make one by hand, create a personal access token in Asana under Settings > Apps > Manage developer \
             apps."
                .to_owned(),
            format!(
                "For each project, POST {base}/webhooks with the body \
                 {{\"data\":{{\"resource\":\"<the project's gid>\",\"target\":\"{target}\"}}}} and that token as bearer."
            ),
            "Asana tells Patchbay the secret during that call; nothing is to be copied.".to_owned(),
        ]
    }

    async fn register(
        &self,
        connection: &Connection,
        target: &Url,
        _secret: &SecretString,
        previous: Option<&Registration>,
    ) -> Result<Registration, SourceError> {
        let api = self.api(connection)?;
        let wanted = projects(&api).await?;
        let known: BTreeSet<String> = remote(previous).webhooks.into_iter().map(|made| made.gid).collect();
        let (mut kept, mut stale) = (Vec::new(), Vec::new());
        for listed in listed(&api, target).await? {
            let project = listed.project().filter(|project| wanted.iter().any(|gid| gid == project));
            match project {
                // Of one that is not ours to remember, the secret is not known either.
                Some(project)
                    if known.contains(&listed.gid)
                        && listed.active != Some(false)
                        && kept.iter().all(|made: &Made| made.project != project) =>
                {
                    kept.push(Made { project: project.to_owned(), gid: listed.gid });
                }
                _ => stale.push(listed.gid),
            }
        }
        for gid in stale {
            delete(&api, &gid).await?;
        }
        let missing: Vec<&String> =
            wanted.iter().filter(|gid| kept.iter().all(|made| made.project != **gid)).collect();
        let making: Vec<_> = missing.into_iter().map(|project| make(&api, project, target)).collect();
        let made: Vec<Made> = stream::iter(making).buffer_unordered(CONCURRENCY).try_collect().await?;
        kept.extend(made);
        kept.sort_by(|a, b| a.project.cmp(&b.project));
        Ok(Registration { remote: json!(Remote { webhooks: kept }), expires_at: None })
    }

    /// A webhook that is missing, or that Asana gave up, is [`SourceErrorKind::NotFound`]: register again.
    async fn renew(
        &self,
        connection: &Connection,
        target: &Url,
        registration: &Registration,
    ) -> Result<Registration, SourceError> {
        let api = self.api(connection)?;
        let listed = listed(&api, target).await?;
        let made = remote(Some(registration)).webhooks;
        let alive = |gid: &str| {
            made.iter().find(|made| made.project == gid).is_some_and(|made| {
                listed.iter().any(|listed| listed.gid == made.gid && listed.active != Some(false))
            })
        };
        let lost: Vec<String> = projects(&api).await?.into_iter().filter(|gid| !alive(gid)).collect();
        if lost.is_empty() {
            return Ok(registration.clone());
        }
        Err(SourceError::new(
            SourceErrorKind::NotFound,
            format!(
                "{} of Asana's webhooks are gone or inactive, that of the project {} among them",
                lost.len(),
                lost[0]
            ),
        ))
    }

    async fn unregister(
        &self,
        connection: &Connection,
        registration: &Registration,
    ) -> Result<(), SourceError> {
        let api = self.api(connection)?;
        for made in remote(Some(registration)).webhooks {
            delete(&api, &made.gid).await?;
        }
        Ok(())
    }

    fn receive(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<Received, Refusal> {
        if let Some(secret) = delivery.header(SECRET) {
            let plain = !secret.is_empty()
                && secret.len() <= 256
                && secret.bytes().all(|byte| byte.is_ascii_graphic());
            return if plain {
                Ok(Received::Handshake {
                    secret: secret.to_owned().into(),
                    headers: vec![("x-hook-secret", secret.to_owned())],
                })
            } else {
                Err(Refusal::Malformed)
            };
        }
        let signature = delivery.header(SIGNATURE).ok_or(Refusal::Unsigned)?;
        let signature = hex::decode(signature.trim()).map_err(|_| Refusal::Forged)?;
        let signed = secrets.iter().any(|secret| {
            Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
                .is_ok_and(|mac| mac.chain_update(delivery.body).verify_slice(&signature).is_ok())
        });
        if !signed {
            return Err(Refusal::Forged);
        }
        let body: Body = serde_json::from_slice(delivery.body).map_err(|_| Refusal::Malformed)?;
        let hints: Hints = body.events.iter().map(hint).collect();
        Ok(Received::Verified {
            // Asana names no delivery; the times of its events tell one from another.
            delivery_id: hex::encode(Sha256::digest(delivery.body)),
            event: if body.events.is_empty() { "heartbeat".to_owned() } else { event(&body.events) },
            hints,
        })
    }
}

fn hint(event: &Event) -> Hint {
    match event.task() {
        Some(gid) => Hint::Item { source_id: Some(gid.to_owned()), ref_key: Some(gid.to_owned()), key: None },
        None => Hint::Reference,
    }
}

/// What happened, each once: `task.changed`, `story.added`.
fn event(events: &[Event]) -> String {
    let names: BTreeSet<String> = events
        .iter()
        .map(|event| {
            let kind = event.resource.as_ref().map_or("resource", |resource| resource.resource_type.as_str());
            let plain =
                |text: &str| text.chars().filter(char::is_ascii_alphanumeric).take(24).collect::<String>();
            format!("{}.{}", plain(kind), plain(&event.action))
        })
        .take(100)
        .collect();
    names.into_iter().take(4).collect::<Vec<_>>().join(",")
}

fn remote(registration: Option<&Registration>) -> Remote {
    registration.and_then(|registration| Remote::deserialize(&registration.remote).ok()).unwrap_or_default()
}

async fn projects(api: &Api<'_>) -> Result<Vec<String>, SourceError> {
    let projects = account::list_projects(api).await?;
    if projects.len() > MOST_PROJECTS {
        return Err(SourceError {
            field: Some("/settings/projects".into()),
            ..rejected(format!(
                "webhooks can be made for {MOST_PROJECTS} projects, and the token sees {}: name those to be read in \
                 the settings",
                projects.len()
            ))
        });
    }
    Ok(projects.into_iter().map(|project| project.source_id).collect())
}

/// The webhooks of this token that lead to the target.
async fn listed(api: &Api<'_>, target: &Url) -> Result<Vec<Listed>, SourceError> {
    let mut found = Vec::new();
    for workspace in account::workspaces(api).await? {
        let query = [("workspace", workspace.as_str()), ("opt_fields", "active,resource,target")];
        let what = format!("the webhooks of the workspace {workspace}");
        found.extend(api.all::<Listed>("/webhooks", &query, &what).await?);
    }
    found.retain(|listed| listed.target.as_deref() == Some(target.as_str()));
    Ok(found)
}

async fn make(api: &Api<'_>, project: &str, target: &Url) -> Result<Made, SourceError> {
    let data = json!({
        "resource": project,
        "target": target.as_str(),
        "filters": [{"resource_type": "task"}, {"resource_type": "story"}, {"resource_type": "project"}],
    });
    let what = format!("the webhook of the project {project}");
    let made: Named = api.write(Method::POST, "/webhooks", &[], data, &what).await.map_err(|error| {
        if error.kind == SourceErrorKind::Rejected {
            let hint = "Asana must reach this installation by https under its public address while the webhook is made";
            SourceError { message: format!("{error}. {hint}"), ..error }
        } else {
            error
        }
    })?;
    Ok(Made { gid: made.gid, project: project.to_owned() })
}

async fn delete(api: &Api<'_>, gid: &str) -> Result<(), SourceError> {
    let response = api.send(Method::DELETE, &format!("/webhooks/{gid}"), &[], None).await?;
    match response.status {
        StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
        status => {
            Err(errors::from_answer(status, &response.headers, &response.body, &format!("the webhook {gid}")))
        }
    }
}

#[cfg(test)]
mod tests;
