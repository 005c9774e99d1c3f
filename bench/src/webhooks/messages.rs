//! Deliveries as trackers send them: one for each item, signed once, under as many ids as are asked for.

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::http;
use crate::tape::Tape;

/// Whose form a delivery has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    GitHub,
    Jira,
}

/// An instance's address, and what is sent there.
#[derive(Debug)]
pub(super) struct Target {
    form: Form,
    path: String,
    /// Bodies with their signatures.
    signed: Vec<(String, String)>,
}

impl Target {
    /// `set_up` is what the product answered when its webhook was set up. Jira's secret is told there; GitHub's was given
    /// to the tracker.
    pub(super) fn new(form: Form, set_up: &Value, tape: &Tape) -> Result<Self> {
        let url = set_up["url"].as_str().context("no address for deliveries was told")?;
        let behind = url.split_once("//").map_or(url, |(_, rest)| rest);
        let (_, path) = behind.split_once('/').context("an address without path")?;
        let secret = match form {
            Form::Jira => set_up["secret"].as_str().map(str::to_owned),
            Form::GitHub => given(tape, url),
        };
        let secret = secret.context("no secret was told")?;
        let bodies = bodies(form, tape)?;
        let mut signed = Vec::with_capacity(bodies.len());
        for body in bodies {
            let signature = sign(&body, &secret)?;
            signed.push((body, signature));
        }
        Ok(Self { form, path: format!("/{path}"), signed })
    }

    /// A delivery about the item that belongs to the number.
    pub(super) fn request(&self, host: &str, number: u64, name: &str) -> Vec<u8> {
        // A multiplier spreads neighbours over the items, as a tracker's people do.
        let item = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let (body, signature) = &self.signed[usize::try_from(item).unwrap_or(0) % self.signed.len()];
        let headers = match self.form {
            Form::GitHub => format!(
                "x-github-event: issues\r\nx-github-delivery: {name}\r\nx-hub-signature-256: {signature}\r\n\
                 user-agent: GitHub-Hookshot/bench\r\ncontent-type: application/json\r\n"
            ),
            Form::Jira => format!(
                "x-atlassian-webhook-identifier: {name}\r\nx-hub-signature: {signature}\r\n\
                 user-agent: Atlassian Webhook HTTP Client\r\ncontent-type: application/json\r\n"
            ),
        };
        http::request("POST", host, &self.path, &headers, body)
    }
}

/// What a tracker calls a delivery.
pub(super) fn name(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// The secret in the request that made the webhook at the tracker.
fn given(tape: &Tape, url: &str) -> Option<String> {
    let made = tape.made();
    made.iter().rev().find_map(|one| {
        let body: Value = serde_json::from_str(&one.body).ok()?;
        let config = &body["config"];
        (config["url"] == url).then(|| config["secret"].as_str().map(str::to_owned))?
    })
}

fn sign(body: &str, secret: &str) -> Result<String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).context("a secret that cannot sign")?;
    let digest = mac.chain_update(body).finalize().into_bytes();
    Ok(digest.iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// From the pages that the backfill read.
fn bodies(form: Form, tape: &Tape) -> Result<Vec<String>> {
    let repository = match form {
        Form::GitHub => repository(tape)?,
        Form::Jira => Value::Null,
    };
    let mut bodies = Vec::new();
    for one in tape.asked() {
        let (list, wanted) = match form {
            Form::GitHub => ("", one.kind == "/repos/acme/app/issues"),
            Form::Jira => ("/issues", one.kind.ends_with("/search/jql")),
        };
        if !wanted {
            continue;
        }
        let page = tape.page(&one)?;
        for item in page.pointer(list).and_then(Value::as_array).into_iter().flatten() {
            let body = match form {
                Form::GitHub => json!({
                    "action": "edited", "issue": item, "changes": {}, "sender": item["user"],
                    "repository": {"id": repository, "full_name": "acme/app", "name": "app"},
                }),
                Form::Jira => json!({
                    "timestamp": 1_767_600_000_000_u64, "webhookEvent": "jira:issue_updated",
                    "issue_event_type_name": "issue_generic", "issue": item, "user": item["fields"]["reporter"],
                }),
            };
            bodies.push(body.to_string());
        }
    }
    ensure!(!bodies.is_empty(), "the backfill read no items");
    Ok(bodies)
}

fn repository(tape: &Tape) -> Result<Value> {
    let asked = tape.asked();
    let one =
        asked.iter().find(|one| one.kind == "/repos/acme/app").context("the repository was not read")?;
    Ok(tape.page(one)?["id"].clone())
}
