//! `patchbay audit`: looking the audit log through, and taking a copy of it.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use application::Ctx;
use application::audit::AuditService;
use application::ports::{AuditFilter, AuditVerdict, Ids};
use application::tenants::TenantService;
use domain::{AuditHead, RequestId, Slug, Tenant};
use futures::StreamExt;
use infrastructure::clock::SystemIds;
use infrastructure::postgres::{Db, PgAuditLog, PoolSizes};
use infrastructure::vault::PgVault;
use serde_json::json;

use super::tenant::{explain, prepare};
use crate::cli::{AuditArgs, AuditCommand, AuditExportArgs, AuditVerifyArgs, DatabaseArgs};
use crate::database::Database;
use crate::{config, wire};

pub(crate) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        AuditCommand::Verify(args) => verify(args).await,
        AuditCommand::Export(args) => export(args).await,
    }
}

/// An opened installation.
struct Open {
    database: Database,
    db: Db,
    tenants: TenantService,
    audit: AuditService,
}

impl Open {
    async fn new(args: &DatabaseArgs) -> anyhow::Result<Self> {
        let master = config::master_key(args)?;
        let database = Database::open(args, &master).await?;
        let db = database.connect(PoolSizes { app: 2, reader: 1, queue: 1 });
        prepare(&database, &db, &master).await?;
        let vault = Arc::new(PgVault::open(db.clone(), master).await?);
        let tenants = wire::tenants(&db, &vault);
        let audit = AuditService::new(Arc::new(PgAuditLog::start(db.clone(), vault.audit_chain())));
        Ok(Self { database, db, tenants, audit })
    }

    async fn tenant(&self, slug: &str) -> anyhow::Result<Tenant> {
        let slug: Slug = slug.parse().context("the tenant's slug is wrong")?;
        let all = self.tenants.list().await.map_err(explain)?;
        all.into_iter()
            .find(|tenant| tenant.slug == slug)
            .with_context(|| format!("the tenant {slug} was not found"))
    }

    async fn close(self) -> anyhow::Result<()> {
        self.db.close().await;
        self.database.close().await
    }
}

fn operator(tenant: &Tenant) -> Ctx {
    Ctx::system(tenant.id, "operator", RequestId::new(SystemIds.uuid()))
}

async fn verify(args: AuditVerifyArgs) -> anyhow::Result<ExitCode> {
    let expected: Option<AuditHead> =
        args.expect_head.as_deref().map(str::parse).transpose().context("--expect-head is wrong")?;
    let open = Open::new(&args.database).await?;
    let tenants = match &args.tenant {
        Some(slug) => vec![open.tenant(slug).await?],
        None => open.tenants.list().await.map_err(explain)?,
    };
    let mut sound = true;
    for tenant in &tenants {
        let verdict = open.audit.verify(&operator(tenant), expected.as_ref()).await.map_err(explain)?;
        sound &= verdict.broken.is_none();
        if args.json {
            println!("{}", as_json(tenant, &verdict));
        } else {
            println!("{}", as_text(tenant, &verdict));
        }
    }
    open.close().await?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(tenant: &Tenant, verdict: &AuditVerdict) -> serde_json::Value {
    json!({
        "tenant": tenant.slug,
        "ok": verdict.broken.is_none(),
        "records": verdict.records,
        "head": verdict.head.map(|head| head.to_string()),
        "broken": verdict.broken.as_ref().map(|(seq, why)| json!({"seq": seq, "why": why})),
    })
}

fn as_text(tenant: &Tenant, verdict: &AuditVerdict) -> String {
    match (&verdict.broken, &verdict.head) {
        (Some((seq, why)), _) => {
            format!(
                "{}: BROKEN at record {seq}: {why}; {} records before it hold",
                tenant.slug, verdict.records
            )
        }
        (None, Some(head)) => {
            format!("{}: {} records hold; the head is {head}", tenant.slug, verdict.records)
        }
        (None, None) => format!("{}: no records", tenant.slug),
    }
}

async fn export(args: AuditExportArgs) -> anyhow::Result<ExitCode> {
    let open = Open::new(&args.database).await?;
    let tenant = open.tenant(&args.tenant).await?;
    let export = open.audit.export(&operator(&tenant), AuditFilter::default()).await.map_err(explain)?;
    let mut lines = std::pin::pin!(interfaces::admin::audit::lines(export));
    let mut out = std::io::stdout().lock();
    while let Some(piece) = lines.next().await {
        let Ok(piece) = piece else {
            bail!(
                "the export broke off: the database failed; without a last line with the head it is not whole"
            )
        };
        out.write_all(&piece).context("the output cannot be written")?;
    }
    out.flush().context("the output cannot be written")?;
    open.close().await?;
    Ok(ExitCode::SUCCESS)
}
