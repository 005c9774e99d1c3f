//! `patchbay tenant`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use domain::Slug;
use infrastructure::postgres::{Db, PoolSizes};
use infrastructure::vault::{MasterKey, PgVault};

use crate::cli::{TenantArgs, TenantCommand};
use crate::database::Database;
use crate::{config, wire};

pub(crate) async fn run(args: TenantArgs) -> anyhow::Result<ExitCode> {
    let TenantCommand::Create(args) = args.command;
    let slug: Slug = args.slug.parse().context("the tenant cannot be created")?;
    let master = config::master_key(&args.database)?;
    let database = Database::open(&args.database, &master).await?;
    let db = database.connect(PoolSizes { app: 2, reader: 1, queue: 1 });
    prepare(&database, &db, &master).await?;
    let vault = Arc::new(PgVault::open(db.clone(), master).await?);
    let tenant = wire::access(&db, vault, "live").create_tenant(slug).await.map_err(explain)?;
    if args.json {
        println!("{}", serde_json::json!({"id": tenant.id, "slug": tenant.slug}));
    } else {
        println!("Tenant {} created with id {}.", tenant.slug, tenant.id);
        println!("Next: patchbay key create --tenant {} --scope admin", tenant.slug);
    }
    db.close().await;
    database.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// A private database is brought up to date by whoever opens it; any other is only checked.
pub(crate) async fn prepare(database: &Database, db: &Db, master: &MasterKey) -> anyhow::Result<()> {
    if database.private {
        database.migrate(master).await?;
        return Ok(());
    }
    database.check_schema(db).await
}

/// An application error with its hint, for the terminal.
pub(crate) fn explain(error: application::Error) -> anyhow::Error {
    match error {
        application::Error::Conflict { what, hint } => anyhow::anyhow!("{what}; {hint}"),
        other => anyhow::Error::new(other),
    }
}
