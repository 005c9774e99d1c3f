//! `patchbay key`

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, bail};
use application::Ctx;
use application::keys::{CreatedKey, KeySpec};
use application::ports::{InstanceStore, Key, ListPage};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Allowed, Grant, InstanceId, KeyKind, Scope, Scopes};
use infrastructure::postgres::PgInstances;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::operator::Operator;
use super::tenant::explain;
use crate::cli::{
    InstanceName, KeyArgs, KeyCommand, KeyCreateArgs, KeyListArgs, KeyRevokeArgs, KeyRotateArgs,
};

pub(crate) async fn run(args: KeyArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        KeyCommand::Create(args) => create(*args).await,
        KeyCommand::List(args) => list(args).await,
        KeyCommand::Revoke(args) => revoke(args).await,
        KeyCommand::Rotate(args) => rotate(args).await,
    }
}

async fn create(args: KeyCreateArgs) -> anyhow::Result<ExitCode> {
    let scopes = Scopes::parse(args.scopes.iter().map(String::as_str)).map_err(|error| {
        let known = error.errors.first().map(|e| e.allowed.join(", ")).unwrap_or_default();
        anyhow::anyhow!("{error}; known are {known}")
    })?;
    let operator = Operator::open(&args.database, &args.tenant, None).await?;
    let kind = args.kind.unwrap_or(if scopes.allow(Scope::InstancesRead) {
        KeyKind::Person
    } else {
        KeyKind::Assistant
    });
    let grant = Grant {
        instances: Allowed::from_list(instances(&operator, &args.instances).await?),
        projects_read: Allowed::from_list(given(args.projects)),
        projects_write: Allowed::from_list(given(args.write_projects)),
        templates: Allowed::from_list(given(args.templates)),
        toolsets: Allowed::from_list(given(args.toolsets)),
    };
    let expires_at = match args.expires_in {
        Some(time) => Some(now() + TimeDelta::from_std(time).context("--expires-in is too long")?),
        None => None,
    };
    let spec = KeySpec { grant, expires_at, ..KeySpec::new(args.name, kind, scopes) };
    let created = operator.identities.keys.create(&operator.ctx, spec).await.map_err(explain)?;
    show(&created, args.json);
    operator.close().await
}

async fn list(args: KeyListArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open(&args.database, &args.tenant, None).await?;
    let (now, mut page) = (now(), ListPage { limit: 200, cursor: None });
    loop {
        let keys = operator.identities.keys.list(&operator.ctx, &page).await.map_err(explain)?;
        for key in keys.items.iter().filter(|key| args.all || key.is_active(now)) {
            if args.json {
                println!("{}", line(key, now));
            } else {
                let end =
                    key.expires_at.map_or("does not expire".to_owned(), |at| format!("until {}", when(at)));
                let used =
                    key.last_used_at.map_or("never used".to_owned(), |at| format!("used {}", when(at)));
                let state = if key.is_active(now) { "" } else { ", ended" };
                println!(
                    "{}  {}  {}  [{}]  {end}, {used}{state}",
                    key.id,
                    key.name,
                    key.kind.as_str(),
                    key.scopes.names().join(" ")
                );
            }
        }
        if keys.next.is_none() {
            break;
        }
        page.cursor = keys.next;
    }
    operator.close().await
}

async fn revoke(args: KeyRevokeArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open(&args.database, &args.tenant, None).await?;
    operator.identities.keys.revoke(&operator.ctx, args.id).await.map_err(explain)?;
    if args.json {
        println!("{}", json!({"id": args.id, "revoked": true}));
    } else {
        println!("Key {} is revoked: every process refuses it within 5 seconds.", args.id);
    }
    operator.close().await
}

async fn rotate(args: KeyRotateArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open(&args.database, &args.tenant, None).await?;
    let keys = &operator.identities.keys;
    let created = keys.rotate(&operator.ctx, args.id, Some(args.overlap)).await.map_err(explain)?;
    show(&created, args.json);
    if !args.json {
        eprintln!("Key {} goes on working for {} s.", args.id, args.overlap.as_secs());
    }
    operator.close().await
}

fn show(created: &CreatedKey, as_json: bool) {
    let text = created.text.expose_secret();
    if as_json {
        println!("{}", json!({"id": created.key.id, "key": text}));
    } else {
        println!("{text}");
        eprintln!("This is the only time the key is shown. Its id is {}.", created.key.id);
    }
}

fn line(key: &Key, now: DateTime<Utc>) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "kind": key.kind,
        "scopes": key.scopes.names(),
        "active": key.is_active(now),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "rotated_from": key.rotated_from,
    })
}

/// A list that was given; none stands for all.
fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

async fn instances(operator: &Operator, names: &[String]) -> anyhow::Result<Option<BTreeSet<InstanceId>>> {
    if names.is_empty() {
        return Ok(None);
    }
    let known = all_instances(operator, &operator.ctx).await?;
    let mut listed = BTreeSet::new();
    for name in names {
        let found = match InstanceName::from(name.as_str()) {
            InstanceName::Id(id) => known.iter().find(|(known, _)| *known == id),
            InstanceName::Slug(slug) => known.iter().find(|(_, known)| *known == slug),
        };
        match found {
            Some((id, _)) => listed.insert(*id),
            None => bail!("the tenant has no instance {name}"),
        };
    }
    Ok(Some(listed))
}

async fn all_instances(operator: &Operator, ctx: &Ctx) -> anyhow::Result<Vec<(InstanceId, String)>> {
    let store = PgInstances::new(operator.db.clone(), operator.audit.clone());
    let (mut all, mut page) = (Vec::new(), ListPage { limit: 200, cursor: None });
    loop {
        let listing = store.list(ctx, &page).await?;
        all.extend(listing.items.into_iter().map(|instance| (instance.id, instance.slug.to_string())));
        if listing.next.is_none() {
            return Ok(all);
        }
        page.cursor = listing.next;
    }
}

/// A moment for people, to the minute.
pub(super) fn when(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "a command is as far outside as the clock")]
    Utc::now()
}
