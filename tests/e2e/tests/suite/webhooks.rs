//! Webhooks through the running product: it sets them up where it can and says what to do where it cannot, a change at
//! the tracker arrives without a poll, nothing that is not signed or comes twice does anything, and what goes takes its
//! webhooks along.

mod asana;
mod github;
mod jira;

use std::time::Duration;

use patchbay_e2e::{Api, Patchbay, Relay, Started};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::Simulator;

const TOKEN: &str = "1/1200000000000001:e2e-token";
const STORED: &str = "select count(*) from webhook_deliveries";
const OPEN: &str = "select count(*) from webhook_deliveries where applied_at is null";
const RUNS: &str = "select count(*) from sync_runs";

/// The product behind a relay that stands at its public address.
struct Running {
    patchbay: Patchbay,
    started: Started,
    relay: Relay,
    api: Api,
}

impl Running {
    async fn start() -> Self {
        let relay = Relay::listen().await.unwrap();
        let patchbay = Patchbay::install().await.unwrap();
        patchbay.tenant("acme").await.unwrap();
        let key = patchbay.key("acme", "admin").await.unwrap();
        let settings = [("PATCHBAY_PUBLIC_URL", relay.url())];
        let started = patchbay.serve_with("admin,worker", &settings).await.unwrap();
        relay.lead_to(started.admin_url.as_deref().unwrap()).unwrap();
        let api = started.api(&key).unwrap();
        Self { patchbay, started, relay, api }
    }

    /// Connects an instance, reads it as a whole, and lets nothing be read by the clock from then on.
    async fn connect(&self, source: &str, base_url: &str, credentials: Value, settings: Value) -> String {
        let body = json!({"source": source, "name": source, "base_url": base_url, "credentials": credentials,
            "settings": settings});
        let created = self.api.post("/api/v1/instances", &body).await.unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        let instance = created.body["id"].as_str().unwrap().to_owned();
        let seldom = json!({"interval_s": 86_400, "reconcile_at": null, "jitter_percent": 0});
        let path = format!("/api/v1/instances/{instance}/schedule");
        let scheduled = self.api.send(Method::PUT, &path, Some(&seldom)).await.unwrap();
        assert_eq!(scheduled.status, 200, "{scheduled:?}");
        self.api.run_to(&instance, "backfill", "succeeded").await.unwrap();
        instance
    }

    async fn set_up(&self, instance: &str) -> Value {
        let answer = self.api.post(&webhook(instance), &json!({})).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    async fn status(&self, instance: &str) -> Value {
        self.api.get(&webhook(instance)).await.unwrap().body
    }

    async fn take_away(&self, instance: &str) {
        let answer = self.api.send(Method::DELETE, &webhook(instance), None).await.unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(self.status(instance).await["state"], "none");
    }

    async fn count(&self, sql: &'static str) -> i64 {
        self.patchbay.database.count(sql).await.unwrap()
    }

    /// Waits until the number is this one; a minute and a half at most.
    async fn wait_for(&self, sql: &'static str, wanted: i64) {
        let mut last = -1;
        for _ in 0..1_800 {
            last = self.count(sql).await;
            if last == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let logs = self.patchbay.logs().unwrap_or_default();
        let tail: Vec<&str> = logs.lines().rev().take(15).collect();
        panic!("{sql}: {last} and not {wanted}\n{tail:#?}");
    }

    /// Waits until the number is greater than this; a minute and a half at most.
    async fn wait_for_more(&self, sql: &'static str, than: i64) {
        for _ in 0..1_800 {
            if self.count(sql).await > than {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sql}: still {than}");
    }

    /// The last delivery whose head holds this text.
    fn delivery(&self, head: &str) -> Vec<u8> {
        let seen = self.relay.seen();
        let found = seen.iter().rev().find(|raw| text(raw).contains(head));
        found.unwrap_or_else(|| panic!("no delivery with {head}")).clone()
    }

    /// Sends deliveries that are not the tracker's, and one that is, again: nothing of it is stored.
    async fn refuses_what_is_not_the_trackers(&self, genuine: &[u8], signature: &str) {
        let before = self.count(STORED).await;
        assert_eq!(self.relay.send(genuine).await.unwrap(), 200, "a repeated delivery is answered well");
        let unsigned = without(genuine, signature);
        assert_eq!(self.relay.send(&unsigned).await.unwrap(), 401, "unsigned");
        let forged = with_wrong(genuine, signature);
        assert_eq!(self.relay.send(&forged).await.unwrap(), 401, "wrongly signed");
        let lost = text(genuine).replacen("/webhooks/", "/webhooks/x", 1).into_bytes();
        assert_eq!(self.relay.send(&lost).await.unwrap(), 404, "another source");
        let stranger = text(genuine).replacen(" HTTP/1.1", "0 HTTP/1.1", 1).into_bytes();
        assert_eq!(self.relay.send(&stranger).await.unwrap(), 404, "another token");
        assert_eq!(self.count(STORED).await, before, "something was stored");
    }

    async fn end(self) {
        assert_eq!(self.started.terminate().await.unwrap(), Some(0));
        self.patchbay.database.drop().await.unwrap();
    }
}

fn webhook(instance: &str) -> String {
    format!("/api/v1/instances/{instance}/webhook")
}

fn text(raw: &[u8]) -> String {
    String::from_utf8(raw.to_vec()).unwrap()
}

/// The request without this header.
fn without(raw: &[u8], header: &str) -> Vec<u8> {
    let raw = text(raw);
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let wanted = |line: &&str| !line.to_lowercase().starts_with(&format!("{header}:"));
    let kept: Vec<&str> = head.split("\r\n").filter(wanted).collect();
    assert!(kept.len() < head.split("\r\n").count(), "there is no {header}");
    format!("{}\r\n\r\n{body}", kept.join("\r\n")).into_bytes()
}

/// The request with the last character but one of this header exchanged.
fn with_wrong(raw: &[u8], header: &str) -> Vec<u8> {
    let raw = text(raw);
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let spoil = |line: &str| {
        if !line.to_lowercase().starts_with(&format!("{header}:")) {
            return line.to_owned();
        }
        let at = line.len() - 2;
        let other = if &line[at..=at] == "0" { "1" } else { "0" };
        format!("{}{other}{}", &line[..at], &line[at + 1..])
    };
    let lines: Vec<String> = head.split("\r\n").map(spoil).collect();
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

/// Somebody at the tracker.
struct Person(Api);

impl Person {
    fn at(tracker: &Simulator, path: &str) -> Self {
        Self(Api::new(&format!("{}{path}", tracker.url()), TOKEN).unwrap())
    }

    async fn does(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.0.send(method.clone(), path, Some(&body)).await.unwrap();
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.body
    }
}
