//! `patchbay key`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use domain::{KeyKind, Scope, Scopes, Slug};
use infrastructure::postgres::PoolSizes;
use infrastructure::vault::PgVault;
use secrecy::ExposeSecret;

use super::tenant::{explain, prepare};
use crate::cli::{KeyArgs, KeyCommand};
use crate::database::Database;
use crate::{config, wire};

pub(crate) async fn run(args: KeyArgs) -> anyhow::Result<ExitCode> {
    let KeyCommand::Create(args) = args.command;
    let slug: Slug = args.tenant.parse().context("the tenant's slug is wrong")?;
    let scopes = Scopes::parse(args.scopes.iter().map(String::as_str)).map_err(|error| {
        let known = error.errors.first().map(|e| e.allowed.join(", ")).unwrap_or_default();
        anyhow::anyhow!("{error}; known are {known}")
    })?;
    let master = config::master_key(&args.database)?;
    let database = Database::open(&args.database, &master).await?;
    let db = database.connect(PoolSizes { app: 2, reader: 1, queue: 1 });
    prepare(&database, &db, &master).await?;
    let vault = Arc::new(PgVault::open(db.clone(), master).await?);
    let access = wire::access(&db, vault, "live");
    let tenant = access.get_tenant(&slug).await.map_err(explain)?;
    let ctx = access.operator(tenant.id);
    let kind = if scopes.allow(Scope::InstancesRead) { KeyKind::Person } else { KeyKind::Assistant };
    let created = access.create_key(&ctx, &args.name, kind, scopes, None).await.map_err(explain)?;
    if args.json {
        println!("{}", serde_json::json!({"id": created.id, "key": created.key.expose_secret()}));
    } else {
        println!("{}", created.key.expose_secret());
        eprintln!("This is the only time the key is shown. Its id is {}.", created.id);
    }
    db.close().await;
    database.close().await?;
    Ok(ExitCode::SUCCESS)
}
