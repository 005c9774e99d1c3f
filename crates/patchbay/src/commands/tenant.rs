//! `patchbay tenant`: the life of tenants, for operators.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use application::ports::Deletion;
use application::tenants::{CarriedOutBy, TenantService};
use domain::{Slug, Tenant};
use futures::StreamExt;
use infrastructure::postgres::{Db, PoolSizes};
use infrastructure::vault::{MasterKeys, PgVault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::serve::asked_to_end;
use crate::cli::{
    DatabaseArgs, TenantArgs, TenantCommand, TenantCreateArgs, TenantDeleteArgs, TenantExportArgs,
    TenantListArgs, TenantNamedArgs,
};
use crate::database::Database;
use crate::{config, wire};

pub(crate) async fn run(args: TenantArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        TenantCommand::Create(args) => create(args).await,
        TenantCommand::List(args) => list(args).await,
        TenantCommand::Show(args) => show(args).await,
        TenantCommand::Suspend(args) => set_active(args, false).await,
        TenantCommand::Resume(args) => set_active(args, true).await,
        TenantCommand::Export(args) => export(args).await,
        TenantCommand::Delete(args) => delete(args).await,
    }
}

/// An opened installation.
struct Open {
    database: Database,
    db: Db,
    vault: Arc<PgVault>,
    tenants: TenantService,
}

impl Open {
    async fn new(args: &DatabaseArgs) -> anyhow::Result<Self> {
        let master = config::master_key(args)?;
        let database = Database::open(args, &master).await?;
        let db = database.connect(PoolSizes { app: 2, reader: 1, queue: 1 });
        prepare(&database, &db, &master).await?;
        let vault = Arc::new(PgVault::open(db.clone(), master).await?);
        let tenants = wire::tenants(&db, &vault);
        Ok(Self { database, db, vault, tenants })
    }

    async fn close(self) -> anyhow::Result<()> {
        self.db.close().await;
        self.database.close().await
    }
}

async fn create(args: TenantCreateArgs) -> anyhow::Result<ExitCode> {
    let slug: Slug = args.slug.parse().context("the tenant cannot be created")?;
    let open = Open::new(&args.database).await?;
    let identities = wire::Identities::new(&open.db, open.vault.clone(), "live", None);
    let tenant = identities.access.create_tenant(slug).await.map_err(explain)?;
    if args.json {
        println!("{}", json!({"id": tenant.id, "slug": tenant.slug}));
    } else {
        println!("Tenant {} created with id {}.", tenant.slug, tenant.id);
        println!("Next: patchbay key create --tenant {} --scope admin", tenant.slug);
    }
    open.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: TenantListArgs) -> anyhow::Result<ExitCode> {
    let open = Open::new(&args.database).await?;
    let tenants = open.tenants.list().await.map_err(explain)?;
    if args.json {
        println!("{}", Value::from_iter(tenants.iter().map(described)));
    } else {
        for tenant in &tenants {
            println!("{}  {:<10}  {}", tenant.id, tenant.status.as_str(), tenant.slug);
        }
    }
    open.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn show(args: TenantNamedArgs) -> anyhow::Result<ExitCode> {
    let slug: Slug = args.slug.parse().context("there is no such tenant")?;
    let open = Open::new(&args.database).await?;
    let deletion = open.tenants.deletion_of(&slug).await.map_err(explain)?;
    match open.tenants.operator(&slug).await {
        Ok((_, tenant)) => {
            // An earlier tenant of the same slug is another matter.
            let deletion = deletion.filter(|deletion| deletion.tenant == tenant.id);
            if args.json {
                let mut shown = described(&tenant);
                shown["deletion"] = deletion.as_ref().map_or(Value::Null, proof);
                println!("{shown}");
            } else {
                println!("Tenant {} ({}): {}", tenant.slug, tenant.id, tenant.status.as_str());
                println!("Created {}, strict audit: {}", tenant.created_at, tenant.strict_audit);
                deletion.iter().for_each(print_deletion);
            }
        }
        Err(application::Error::NotFound { .. }) if deletion.is_some() => {
            if let Some(deletion) = &deletion {
                if args.json {
                    let status = if deletion.finished_at.is_some() { "deleted" } else { "deleting" };
                    println!("{}", json!({"slug": slug, "status": status, "deletion": proof(deletion)}));
                } else {
                    print_deletion(deletion);
                }
            }
        }
        Err(error) => return Err(explain(error)),
    }
    open.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn set_active(args: TenantNamedArgs, active: bool) -> anyhow::Result<ExitCode> {
    let slug: Slug = args.slug.parse().context("there is no such tenant")?;
    let open = Open::new(&args.database).await?;
    let tenant = if active { open.tenants.resume(&slug).await } else { open.tenants.suspend(&slug).await }
        .map_err(explain)?;
    if args.json {
        println!("{}", described(&tenant));
    } else if active {
        println!("Tenant {slug} is active; its runs go on.");
    } else {
        println!("Tenant {slug} is suspended: every process refuses it within 5 seconds, and its runs wait.");
    }
    open.close().await?;
    Ok(ExitCode::SUCCESS)
}

async fn export(args: TenantExportArgs) -> anyhow::Result<ExitCode> {
    let slug: Slug = args.slug.parse().context("there is no such tenant")?;
    let open = Open::new(&args.database).await?;
    let (ctx, _) = open.tenants.operator(&slug).await.map_err(explain)?;
    let mut to: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(private_file(path)?),
        None => Box::new(std::io::stdout()),
    };
    let mut lines = open.tenants.export(&ctx).await.map_err(explain)?;
    let mut buffer = Vec::with_capacity(1 << 16);
    while let Some(line) = lines.next().await {
        buffer.extend_from_slice(line.map_err(|error| explain(error.into()))?.as_bytes());
        buffer.push(b'\n');
        if buffer.len() >= 1 << 16 {
            to.write_all(&buffer).context("the export cannot be written")?;
            buffer.clear();
        }
    }
    to.write_all(&buffer).and_then(|()| to.flush()).context("the export cannot be written")?;
    open.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// A new file that only its owner can read.
fn private_file(path: &std::path::Path) -> anyhow::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be made; name a file that does not exist", path.display()))
}

async fn delete(args: TenantDeleteArgs) -> anyhow::Result<ExitCode> {
    let slug: Slug = args.slug.parse().context("there is no such tenant")?;
    let open = Open::new(&args.database).await?;
    let (ctx, _) = open.tenants.operator(&slug).await.map_err(explain)?;
    let by = if args.background { CarriedOutBy::Worker } else { CarriedOutBy::Caller };
    let mut deletion = open.tenants.delete(&ctx, &args.confirm, by).await.map_err(explain)?;
    if !args.background {
        let stop = CancellationToken::new();
        tokio::select! {
            done = open.tenants.carry_out(deletion.id, &stop) => deletion = done.map_err(explain)?,
            () = asked_to_end() => eprintln!("Interrupted; a worker goes on with it."),
        }
    }
    if args.json {
        println!("{}", proof(&deletion));
    } else {
        print_deletion(&deletion);
    }
    open.close().await?;
    let done = args.background || deletion.finished_at.is_some();
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn described(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id, "slug": tenant.slug, "status": tenant.status.as_str(),
        "strict_audit": tenant.strict_audit, "created_at": tenant.created_at,
    })
}

fn proof(deletion: &Deletion) -> Value {
    json!({
        "id": deletion.id, "tenant": deletion.tenant, "slug": deletion.slug,
        "requested_by": deletion.requested_by, "requested_at": deletion.requested_at,
        "finished_at": deletion.finished_at, "removed": deletion.removed, "residue": deletion.residue,
    })
}

fn print_deletion(deletion: &Deletion) {
    let removed: i64 = deletion.removed.values().sum();
    println!("Deletion {} of {}, asked for at {}", deletion.id, deletion.slug, deletion.requested_at);
    println!("{removed} rows removed, of {} tables", deletion.removed.len());
    match (&deletion.residue, deletion.finished_at) {
        (Some(residue), Some(finished_at)) => {
            println!("Finished at {finished_at}: {} places looked at, no row was found", residue.len());
        }
        (Some(residue), None) => {
            let left = residue.iter().filter(|&(_, &rows)| rows > 0);
            let left: Vec<String> = left.map(|(place, rows)| format!("{rows} in {place}")).collect();
            println!("Not finished: {} were left when last looked at; a worker goes on", left.join(", "));
        }
        (None, _) => println!("Not finished; a worker goes on"),
    }
}

/// A private database is brought up to date by whoever opens it; any other is only checked.
pub(crate) async fn prepare(database: &Database, db: &Db, master: &MasterKeys) -> anyhow::Result<()> {
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
