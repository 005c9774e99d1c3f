//! GitHub Apps: who signs with an app's key gets tokens of its installations.
//! <https://docs.github.com/rest/apps/apps>

use axum::http::{Method, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::reply::Reply;
use crate::TokenGrant;
use crate::timestamp::{iso, now_ms};
use crate::world::World;

/// An app and where it is installed.
#[derive(Debug, Clone)]
pub struct App {
    /// Its number, or client id.
    pub app_id: String,
    /// Its name in URLs.
    pub slug: String,
    /// What its signatures are checked with, PEM.
    pub public_key: String,
    /// Installation id and the account's login.
    pub installations: Vec<(u64, String)>,
    /// How long its tokens live.
    pub token_lifetime_s: i64,
}

#[derive(Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

/// The app that signed; GitHub refuses statements that live longer than ten minutes.
pub(super) fn authenticate(world: &World, token: &str) -> Result<App, Reply> {
    let refuse = |message: &str| Reply::error(StatusCode::UNAUTHORIZED, message);
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    for app in &world.extras.apps {
        let Ok(key) = DecodingKey::from_rsa_pem(app.public_key.as_bytes()) else { continue };
        let Ok(statement) = decode::<Claims>(token, &key, &validation) else { continue };
        let (claims, now) = (statement.claims, now_ms() / 1000);
        if claims.iss != app.app_id {
            return Err(refuse("'Issuer' claim ('iss') must be an Integer"));
        }
        if claims.iat > now + 5 || claims.exp <= now {
            return Err(refuse(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at \
                               which the assertion expires",
            ));
        }
        if claims.exp > now + 600 {
            return Err(refuse("'Expiration time' claim ('exp') is too far in the future"));
        }
        return Ok(app.clone());
    }
    Err(refuse("A JSON web token could not be decoded"))
}

pub(super) fn dispatch(call: &Call<'_>, app: &App, path: &[&str]) -> Result<Reply, Reply> {
    let permissions = json!({"issues": "write", "metadata": "read", "pull_requests": "write"});
    let installation = |(id, login): &(u64, String)| {
        json!({
            "id": id, "account": {"login": login, "id": id + 1000, "type": "Organization"}, "app_id": 1,
            "app_slug": app.slug, "target_id": id + 1000, "target_type": "Organization", "repository_selection": "all",
            "permissions": permissions, "events": ["issues"], "suspended_at": null, "suspended_by": null,
            "html_url": format!("https://github.com/organizations/{login}/settings/installations/{id}"),
            "access_tokens_url": format!("https://api.github.com/app/installations/{id}/access_tokens"),
            "repositories_url": "https://api.github.com/installation/repositories", "single_file_name": null,
            "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z"
        })
    };
    match (call.method.clone(), path) {
        (Method::GET, ["app"]) => Ok(Reply::json(&json!({
            "id": 1, "slug": app.slug, "client_id": app.app_id, "node_id": "A_1", "owner": {"login": "octo", "id": 1},
            "name": app.slug, "description": null, "external_url": "https://example.com",
            "html_url": format!("https://github.com/apps/{}", app.slug), "created_at": "2024-01-01T00:00:00Z",
            "updated_at": "2024-01-01T00:00:00Z", "permissions": permissions, "events": ["issues"],
            "installations_count": app.installations.len()
        }))),
        (Method::GET, ["app", "installations"]) => {
            let rows: Vec<&(u64, String)> = app.installations.iter().collect();
            Ok(call.page(&rows, |row, out| out.push_str(&installation(row).to_string())))
        }
        (Method::POST, ["app", "installations", id, "access_tokens"]) => {
            let known = app.installations.iter().find(|(known, _)| known.to_string() == **id);
            let (id, login) = known.ok_or_else(Reply::not_found)?;
            Ok(token(call, app, *id, login, &permissions))
        }
        _ => Err(Reply::not_found()),
    }
}

fn token(call: &Call<'_>, app: &App, id: u64, login: &str, permissions: &Value) -> Reply {
    let mut world = call.shared.world_mut();
    world.extras.issued += 1;
    // As long as the tokens that GitHub gives since 2026, which hold a signed statement.
    let token = format!("ghs_{}_{id}_{}_{}", app.app_id, world.extras.issued, "x".repeat(400));
    let prefix = format!("{}/", login.to_lowercase());
    let names = world
        .repositories()
        .map(|repository| repository.full_name.clone())
        .filter(|name| name.to_lowercase().starts_with(&prefix))
        .collect();
    let expires_ms = now_ms() + app.token_lifetime_s * 1000;
    world.any_token = false;
    world.extras.expiry_ms.insert(token.clone(), expires_ms);
    let grant =
        TokenGrant { token: token.clone(), login: format!("{}[bot]", app.slug), repositories: Some(names) };
    world.tokens.push(grant);
    let body = json!({
        "token": token, "expires_at": iso(expires_ms / 1000), "permissions": permissions, "repository_selection": "all"
    });
    Reply::new(StatusCode::CREATED, body.to_string())
}

/// `GET /installation/repositories`
pub(super) fn repositories(call: &Call<'_>) -> Reply {
    let world = call.shared.world();
    let seen: Vec<_> = world.repositories().filter(|repository| call.sees(repository)).collect();
    let mut reply = call.page(&seen, |repository, out| {
        repository.fragments.expand_into(&repository.object.to_string(), out);
    });
    reply.body = format!(r#"{{"total_count":{},"repositories":{}}}"#, seen.len(), reply.body);
    reply
}
