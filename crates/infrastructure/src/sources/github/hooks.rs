//! GitHub's webhooks: one at each repository, set up with a token; an app has its own, for everywhere it is installed.
//! <https://docs.github.com/en/webhooks>
//!
//! GitHub sends a delivery once. Those that failed are asked for again when a registration is renewed, and whatever got
//! lost all the same, the next sync reads.

mod hints;
mod redeliver;

use application::ports::{
    Connection, Delivery, Received, Refusal, Registration, SourceError, SourceErrorKind, SourceWebhooks,
};
use async_trait::async_trait;
use domain::Credential;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::api::Api;
use super::write::Turn;
use super::{GitHub, account, malformed};

/// What a repository's webhook tells. <https://docs.github.com/en/webhooks/webhook-events-and-payloads>
const EVENTS: [&str; 10] = [
    "issues",
    "issue_comment",
    "issue_dependencies",
    "label",
    "milestone",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "repository",
    "sub_issues",
];

/// A webhook of a repository, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hook {
    repository: String,
    id: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Remote {
    #[serde(default)]
    hooks: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
struct HookAnswer {
    id: u64,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    config: HookConfig,
}

#[derive(Debug, Default, Deserialize)]
struct HookConfig {
    #[serde(default)]
    url: Option<String>,
}

#[async_trait]
impl SourceWebhooks for GitHub {
    fn registers(&self, credential: &Credential) -> bool {
        // An app's webhook belongs to the app, which other instances may share.
        matches!(credential, Credential::Token { .. })
    }

    fn steps(&self, connection: &Connection, target: &Url) -> Vec<String> {
        let enterprise = connection.base_url.host_str() != Some("api.github.com");
        let site = match (enterprise, connection.base_url.host_str()) {
            (true, Some(host)) => format!("https://{host}"),
            _ => "https://github.com".to_owned(),
        };
        let fields = [
            format!("enter {target} as \"Payload URL\" (\"Webhook URL\" of an app)"),
            "choose application/json as \"Content type\", where it is asked for".to_owned(),
            "enter the secret shown here as \"Secret\" (\"Webhook secret\" of an app)".to_owned(),
            "leave \"Enable SSL verification\" on".to_owned(),
        ];
        let events = "Issues, Issue comments, Issue dependencies, Labels, Milestones, Pull requests, Pull request \
                      reviews, Pull request review comments, Repositories, Sub issues";
        let mut steps = Vec::new();
        if matches!(connection.credential, Credential::GithubApp { .. }) {
            steps.push(format!("open {site}/settings/apps (or the organization's settings, \"Developer settings\", \"GitHub Apps\") and \"Edit\" the app"));
            steps.push("under \"General\", \"Webhook\", tick \"Active\"".to_owned());
            steps.extend(fields.into_iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, step)| step));
            steps.push("choose \"Save changes\"".to_owned());
            steps.push(format!(
                "under \"Permissions & events\", give \"Issues\" and \"Pull requests\" at least \"Read-only\", and below \
                 \"Subscribe to events\" tick {events}; choose \"Save changes\""
            ));
            steps.push(
                "have an owner of each organization accept the changed permissions, when GitHub asks for it"
                    .to_owned(),
            );
        } else {
            steps.push(format!(
                "open {site}/<owner>/<repository>/settings/hooks of each repository, or \
                 {site}/organizations/<organization>/settings/hooks for all of an organization's, and choose \"Add webhook\""
            ));
            steps.extend(fields);
            steps.push(format!(
                "choose \"Let me select individual events\", untick \"Pushes\" and tick {events}"
            ));
            steps.push(
                "leave \"Active\" ticked and choose \"Add webhook\"; GitHub sends a ping at once".to_owned(),
            );
        }
        steps
    }

    async fn register(
        &self,
        connection: &Connection,
        target: &Url,
        secret: &SecretString,
        previous: Option<&Registration>,
    ) -> Result<Registration, SourceError> {
        let api = Api::new(self, connection)?;
        let mut hooks = Vec::new();
        for project in account::list_projects(&api).await? {
            // A turn each, so that people's writes go between.
            let mut turn = self.pace.turn(connection.instance).await?;
            let id = set_up(&api, &mut turn, &project.key, target, secret).await?;
            hooks.push(Hook { repository: project.key, id });
        }
        // Those of repositories that are not selected any more.
        for gone in previous.map(remote).unwrap_or_default().hooks {
            if hooks.iter().all(|hook: &Hook| hook.id != gone.id) {
                let mut turn = self.pace.turn(connection.instance).await?;
                remove(&api, &mut turn, &gone).await?;
            }
        }
        Ok(Registration { remote: kept(&hooks), expires_at: None })
    }

    async fn renew(
        &self,
        connection: &Connection,
        target: &Url,
        registration: &Registration,
    ) -> Result<Registration, SourceError> {
        let api = Api::new(self, connection)?;
        let hooks = remote(registration).hooks;
        for hook in &hooks {
            let mut turn = self.pace.turn(connection.instance).await?;
            let what = what(&hook.repository);
            let path = format!("/repos/{}/hooks/{}", hook.repository, hook.id);
            let found =
                api.get(&api.url(&path)?, None, &what).await.map_err(|error| permission(error, &what))?;
            let found: HookAnswer = serde_json::from_str(&found.text()).map_err(|error| {
                malformed(format!("GitHub's answer for {what} is not a webhook ({error})"))
            })?;
            let lacks = EVENTS.iter().any(|event| !found.events.iter().any(|known| known == event));
            if found.config.url.as_deref() != Some(target.as_str()) {
                return Err(SourceError::new(
                    SourceErrorKind::NotFound,
                    format!("{what} leads elsewhere now: set the webhooks up again"),
                ));
            }
            if !found.active || lacks {
                let body = json!({"active": true, "add_events": EVENTS});
                turn.change(&api, Method::PATCH, &api.url(&path)?, Some(&body), &what).await?;
            }
            redeliver::failed(&api, &mut turn, &hook.repository, hook.id).await?;
        }
        Ok(Registration { remote: kept(&hooks), expires_at: None })
    }

    async fn unregister(
        &self,
        connection: &Connection,
        registration: &Registration,
    ) -> Result<(), SourceError> {
        let api = Api::new(self, connection)?;
        for hook in remote(registration).hooks {
            let mut turn = self.pace.turn(connection.instance).await?;
            remove(&api, &mut turn, &hook).await?;
        }
        Ok(())
    }

    fn receive(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<Received, Refusal> {
        let signature = delivery.header("x-hub-signature-256").ok_or(Refusal::Unsigned)?;
        let signature = signature.strip_prefix("sha256=").ok_or(Refusal::Forged)?;
        let signature = hex::decode(signature).map_err(|_| Refusal::Forged)?;
        // Every secret is tried, so that the time tells nothing of which was right.
        let mut right = false;
        for secret in secrets {
            right |= is_signed(delivery.body, &signature, secret);
        }
        if !right {
            return Err(Refusal::Forged);
        }
        let delivery_id = delivery.header("x-github-delivery").filter(|id| !id.is_empty() && id.len() <= 200);
        let event = delivery.header("x-github-event").filter(|event| !event.is_empty() && event.len() <= 100);
        let (Some(delivery_id), Some(event)) = (delivery_id, event) else { return Err(Refusal::Malformed) };
        let hints = hints::read(event, delivery.body).map_err(|_| Refusal::Malformed)?;
        Ok(Received::Verified { delivery_id: delivery_id.to_owned(), event: event.to_owned(), hints })
    }
}

/// Compares in constant time.
fn is_signed(body: &[u8], signature: &[u8], secret: &SecretString) -> bool {
    Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .map(|mac| mac.chain_update(body))
        .is_ok_and(|mac| mac.verify_slice(signature).is_ok())
}

fn what(repository: &str) -> String {
    format!("the webhook of {repository}")
}

fn remote(registration: &Registration) -> Remote {
    Remote::deserialize(&registration.remote).unwrap_or_default()
}

fn kept(hooks: &[Hook]) -> Value {
    json!({"hooks": hooks})
}

/// A token without the permission finds no webhooks.
fn permission(error: SourceError, what: &str) -> SourceError {
    match error.kind {
        SourceErrorKind::NotFound | SourceErrorKind::Forbidden => SourceError {
            message: format!(
                "GitHub does not let the token manage {what}: it needs the scope admin:repo_hook, or the repository \
                 permission \"Webhooks: Read and write\"; or set the webhook up by hand"
            ),
            kind: SourceErrorKind::Forbidden,
            ..error
        },
        _ => error,
    }
}

/// Makes the webhook of a repository, or takes over the one that leads to the same place.
async fn set_up(
    api: &Api<'_>,
    turn: &mut Turn,
    repository: &str,
    target: &Url,
    secret: &SecretString,
) -> Result<u64, SourceError> {
    let what = what(repository);
    let path = format!("/repos/{repository}/hooks");
    let list = api.get(&api.url(&format!("{path}?per_page=100"))?, None, &what).await;
    let list = list.map_err(|error| permission(error, &what))?;
    let mut same = None;
    api.all_pages(list, &what, |text| {
        let page: Vec<HookAnswer> = serde_json::from_str(text)
            .map_err(|error| malformed(format!("GitHub's list of webhooks has an unknown form ({error})")))?;
        same = same.or_else(|| {
            page.iter().find(|hook| hook.config.url.as_deref() == Some(target.as_str())).map(|hook| hook.id)
        });
        Ok(())
    })
    .await?;
    let config = json!({
        "url": target.as_str(), "content_type": "json", "insecure_ssl": "0", "secret": secret.expose_secret()
    });
    let mut body = json!({"active": true, "events": EVENTS, "config": config});
    let (method, url) = match same {
        Some(id) => (Method::PATCH, api.url(&format!("{path}/{id}"))?),
        None => {
            body["name"] = json!("web");
            (Method::POST, api.url(&path)?)
        }
    };
    let answer = turn.change(api, method, &url, Some(&body), &what).await;
    let answer = answer.map_err(|error| permission(error, &what))?;
    let hook: HookAnswer = serde_json::from_str(&answer.text())
        .map_err(|error| malformed(format!("GitHub's answer for {what} is not a webhook ({error})")))?;
    Ok(hook.id)
}

async fn remove(api: &Api<'_>, turn: &mut Turn, hook: &Hook) -> Result<(), SourceError> {
    let what = what(&hook.repository);
    let url = api.url(&format!("/repos/{}/hooks/{}", hook.repository, hook.id))?;
    match turn.change(api, Method::DELETE, &url, None, &what).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => Ok(()),
        Err(error) => Err(permission(error, &what)),
    }
}

#[cfg(test)]
mod tests;
