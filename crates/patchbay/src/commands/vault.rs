//! `patchbay vault`: rotation, a look at the keys, and their destruction.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use domain::Slug;
use infrastructure::postgres::{Db, PoolSizes};
use infrastructure::vault::{DataKeysRotated, MasterKeys, PgVault, Rotated, TenantKeys, VaultStatus};
use serde_json::json;

use super::tenant::prepare;
use crate::cli::{DatabaseArgs, VaultArgs, VaultCommand, VaultRotateArgs, VaultShredArgs, VaultStatusArgs};
use crate::config;
use crate::database::Database;

pub(crate) async fn run(args: VaultArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        VaultCommand::Status(args) => status(args).await,
        VaultCommand::Rotate(args) if args.data_keys => rotate_data_keys(args).await,
        VaultCommand::Rotate(args) => rotate(args).await,
        VaultCommand::Shred(args) => shred(args).await,
    }
}

/// An opened vault and what it stands on.
struct Opened {
    database: Database,
    db: Db,
    master: MasterKeys,
    vault: PgVault,
}

impl Opened {
    async fn new(args: &DatabaseArgs) -> anyhow::Result<Self> {
        let master = config::master_key(args)?;
        let database = Database::open(args, &master).await?;
        let db = database.connect(PoolSizes { app: 2, reader: 1, queue: 1 });
        prepare(&database, &db, &master).await?;
        let vault = PgVault::open(db.clone(), &master).await?;
        Ok(Self { database, db, master, vault })
    }

    /// One tenant, or all.
    async fn tenants(&self, slug: Option<&str>) -> anyhow::Result<Vec<TenantKeys>> {
        let all = self.vault.tenants().await?;
        let Some(slug) = slug else { return Ok(all) };
        let slug: Slug = slug.parse().context("the tenant's slug is wrong")?;
        let found: Vec<TenantKeys> = all.into_iter().filter(|tenant| tenant.slug == slug.as_str()).collect();
        if found.is_empty() {
            bail!("there is no tenant {slug}; check the slug");
        }
        Ok(found)
    }

    async fn close(self) -> anyhow::Result<()> {
        self.db.close().await;
        self.database.close().await
    }
}

/// How often a long run says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Tells on standard error how far it is, now and then.
fn progress(what: &'static str) -> impl FnMut(usize, usize) + Send {
    let mut told = Instant::now();
    move |done, of| {
        if told.elapsed() >= TELL_EVERY {
            eprintln!("{what}: {done} of {of} tenants");
            told = Instant::now();
        }
    }
}

async fn status(args: VaultStatusArgs) -> anyhow::Result<ExitCode> {
    let opened = Opened::new(&args.database).await?;
    let status = opened.vault.status().await?;
    if args.json {
        println!("{}", as_json(&status));
    } else {
        print_status(&status);
    }
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(status: &VaultStatus) -> serde_json::Value {
    let wrapped_by: Vec<_> = status
        .wrapped_by
        .iter()
        .map(|by| json!({"key": by.key, "data_keys": by.data_keys, "secrets": by.secrets, "opens": by.opens}))
        .collect();
    json!({
        "current": status.current,
        "accepted": status.accepted,
        "wrapped_by": wrapped_by,
        "left": status.left(),
        "retired_data_keys": status.retired,
        "oldest_retired": status.oldest_retired.map(|at| at.to_rfc3339()),
        "oldest_current": status.oldest_current.map(|at| at.to_rfc3339()),
    })
}

fn print_status(status: &VaultStatus) {
    println!("Wrapping with {}; opening with {}.", status.current, status.accepted.join(", "));
    for by in &status.wrapped_by {
        let note = match (by.opens, by.key == status.current) {
            (false, _) => "  NOT AMONG THE GIVEN KEYS",
            (true, false) => "  to be rotated",
            (true, true) => "",
        };
        println!(
            "  {}: {} data keys, {} secrets of the installation{note}",
            by.key, by.data_keys, by.secrets
        );
    }
    if let Some(oldest) = status.oldest_current {
        println!("The oldest data key in use was made on {}.", oldest.date_naive());
    }
    if status.retired > 0 {
        println!(
            "{} retired data keys: `patchbay vault rotate --data-keys` finishes their rotation.",
            status.retired
        );
    }
    if status.left() > 0 {
        println!("{} keys are under another key: `patchbay vault rotate` wraps them anew.", status.left());
    }
}

async fn rotate(args: VaultRotateArgs) -> anyhow::Result<ExitCode> {
    let opened = Opened::new(&args.database).await?;
    let rotated = if args.dry_run {
        let status = opened.vault.status().await?;
        Rotated { left: status.left(), current: status.current, ..Rotated::default() }
    } else {
        let rotated = opened.vault.rotate(&opened.database.urls.admin, progress("Rotating")).await?;
        // Processes that hold both keys follow when the server refuses the old password.
        opened.database.set_passwords(&opened.master).await?;
        rotated
    };
    if args.json {
        println!(
            "{}",
            json!({
                "dry_run": args.dry_run, "current": rotated.current, "tenants": rotated.tenants,
                "data_keys": rotated.data_keys, "secrets": rotated.deployment_secrets, "left": rotated.left,
            })
        );
    } else if args.dry_run {
        println!("{} keys would be wrapped by {}.", rotated.left, rotated.current);
    } else {
        println!(
            "{} data keys of {} tenants and {} secrets of the installation are now wrapped by {}.",
            rotated.data_keys, rotated.tenants, rotated.deployment_secrets, rotated.current
        );
    }
    opened.close().await?;
    if !args.dry_run && rotated.left > 0 {
        eprintln!(
            "{} keys are under another key: some process still wraps with it. Give every process the new key as its \
             master key, then run this again; until then keep the old key.",
            rotated.left
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate_data_keys(args: VaultRotateArgs) -> anyhow::Result<ExitCode> {
    let opened = Opened::new(&args.database).await?;
    let tenants = opened.tenants(args.tenant.as_deref()).await?;
    let rotated = if args.dry_run {
        let status = opened.vault.status().await?;
        DataKeysRotated { tenants: tenants.len(), waiting: status.retired, ..DataKeysRotated::default() }
    } else {
        opened.vault.rotate_data_keys(&tenants, !args.no_wait, progress("Sealing anew")).await?
    };
    if args.json {
        println!(
            "{}",
            json!({
                "dry_run": args.dry_run, "tenants": rotated.tenants, "new_keys": rotated.new_keys,
                "resealed": rotated.resealed, "unopenable": rotated.unopenable, "removed": rotated.removed,
                "waiting": rotated.waiting,
            })
        );
    } else if args.dry_run {
        println!(
            "{} tenants would get new data keys; {} retired keys of earlier rotations wait.",
            rotated.tenants, rotated.waiting
        );
    } else {
        println!(
            "{} of {} tenants have new data keys; {} secrets were sealed anew; {} retired keys were removed.",
            rotated.new_keys, rotated.tenants, rotated.resealed, rotated.removed
        );
        if rotated.waiting > 0 {
            println!("{} retired keys stay for now: run this again in six minutes.", rotated.waiting);
        }
    }
    opened.close().await?;
    if rotated.unopenable > 0 {
        eprintln!(
            "{} stored secrets do not open, see the log; their instances must be connected anew.",
            rotated.unopenable
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn shred(args: VaultShredArgs) -> anyhow::Result<ExitCode> {
    if args.tenant != args.confirm {
        bail!(
            "--confirm must repeat the slug of --tenant: what is shredded cannot be opened again by anybody"
        );
    }
    let opened = Opened::new(&args.database).await?;
    let tenants = opened.tenants(Some(&args.tenant)).await?;
    let mut keys = 0;
    for tenant in &tenants {
        keys += opened.vault.shred(&tenant.ctx()).await?;
    }
    if args.json {
        println!("{}", json!({"tenant": args.tenant, "data_keys": keys}));
    } else {
        println!(
            "{keys} data keys of {} are destroyed. Running processes forget them within five minutes. Backups of the \
             table tenant_data_keys still hold them, wrapped: see docs/key-rotation.md.",
            args.tenant
        );
    }
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}
