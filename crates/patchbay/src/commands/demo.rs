//! `patchbay demo`: simulated trackers, two tenants, finished backfills, everything served.

mod cast;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use application::keys::KeySpec;
use application::ports::ListPage;
use application::{Ctx, Services};
use domain::{Instance, InstancePatch, KeyKind, NewInstance, Quota, RunState, Scope, Scopes, Tenant};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use infrastructure::limiter::Limiter;
use infrastructure::postgres::PoolSizes;
use infrastructure::vault::{MasterKey, MasterKeys};
use private_postgres::{Durability, default_data_dir};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use cast::{CAST, Trackers};

use super::serve::{Serving, wire_options};
use super::tenant::explain;
use crate::cli::{DemoArgs, Part};
use crate::database::Database;
use crate::ready::{ReadyTenant, write_private};
use crate::telemetry::Telemetry;
use crate::wire::Wiring;

/// What a demonstration keeps for its next start.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    tenants: Vec<KeptTenant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptTenant {
    slug: String,
    id: String,
    admin_key: String,
    assistant_key: String,
    /// What the assistant's key may do.
    #[serde(default)]
    assistant_scopes: BTreeSet<String>,
}

/// What an assistant of the demonstration may do.
const ASSISTANT: [Scope; 2] = [Scope::McpJiraRead, Scope::McpSql];

pub(crate) async fn run(mut args: DemoArgs) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::install(true)?;
    crate::core_dumps::forbid();
    let dir = match args.data_dir.clone() {
        Some(dir) => dir,
        None => default_data_dir("demo")?,
    };
    if args.fresh && dir.exists() {
        forget(&dir)?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    println!("Patchbay demo. Its data is in {}; Ctrl-C stops it.", dir.display());

    let master = MasterKeys::local(master_key(&dir.join("master.key"))?);
    let database = Database::private(dir.join("postgres"), args.pg_bin.as_deref(), Durability::Safe).await?;
    database.migrate(&master).await?;
    // The simulated trackers are on this machine.
    args.listen.egress_allow.push("127.0.0.0/8".parse()?);
    // They may be asked as often as one likes: a minute of Asana's requests is not waited for at each start.
    args.listen.limits.limit_upstream.get_or_insert(Quota::per(60_000, 60, 10_000));
    let db = database.connect(PoolSizes::default());
    // One process, and nobody else: nothing to share limits with.
    let limiter = Limiter::in_process(args.listen.limits.replicas);
    let wiring = Wiring::new(db.clone(), master, wire_options(&args.listen, limiter, "demo")?).await?;
    let trackers = Trackers::start().await?;
    let kept = dir.join("tenants.json");
    let tenants = tenants(&wiring.services, &kept).await?;
    // Before a worker begins with what is due from last time, at addresses that were last time's.
    let connected = connect_all(&wiring.services, &tenants, &trackers).await?;
    let mut serving = Serving::start(&wiring, &args.listen, &PARTS, &telemetry).await?;
    tokio::select! {
        synced = sync(&wiring.services, connected) => synced?,
        () = super::serve::asked_to_end() => {
            println!("\nStopped before the backfill had ended; the next start goes on.");
            return Ok(ExitCode::SUCCESS);
        }
    }
    serving.ready.tenants = tenants.iter().map(|(_, ready)| ready.clone()).collect();
    if let Some(path) = &args.listen.ready_file {
        serving.ready.write(path)?;
    }
    introduce(&serving, &trackers);
    let outcome = serving.until_asked_to_end().await;
    println!("\nStopping.");
    trackers.simulator.stop().await;
    wiring.store_what_was_noted().await;
    db.close().await;
    database.close().await?;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// What a demonstration runs: everything.
const PARTS: [Part; 4] = [Part::Admin, Part::McpJira, Part::McpSql, Part::Worker];

/// Removes an earlier demonstration, and nothing that is not one.
fn forget(dir: &Path) -> anyhow::Result<()> {
    let is_demo = dir.join("master.key").is_file() || std::fs::read_dir(dir)?.next().is_none();
    if !is_demo {
        bail!("{} does not look like a demonstration's folder; remove it yourself", dir.display());
    }
    std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

/// The demonstration's own master key, made at its first start.
fn master_key(path: &Path) -> anyhow::Result<MasterKey> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return MasterKey::parse(text.trim()).with_context(|| format!("{} cannot be used", path.display()));
    }
    let key = MasterKey::generate();
    write_private(path, key.reveal().expose_secret().as_bytes())?;
    Ok(key)
}

/// The two tenants and their keys: those of an earlier start, or new ones.
async fn tenants(services: &Services, kept: &PathBuf) -> anyhow::Result<Vec<(Ctx, ReadyTenant)>> {
    let earlier: Vec<KeptTenant> = match std::fs::read_to_string(kept) {
        Ok(text) => serde_json::from_str::<Kept>(&text).map(|kept| kept.tenants).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let assistant_scopes: BTreeSet<String> =
        ASSISTANT.iter().map(|scope| scope.as_str().to_owned()).collect();
    let mut all = Vec::new();
    let mut kept_tenants = Vec::new();
    for cast in &CAST {
        let tenant = tenant(services, cast.slug).await?;
        let ctx = services.access.operator(tenant.id);
        let earlier = earlier.iter().find(|kept| kept.id == tenant.id.to_string());
        let admin_key = match earlier {
            Some(kept) => kept.admin_key.clone(),
            None => reveal(new_key(services, &ctx, "demo admin", KeyKind::Person, &[Scope::Admin]).await?),
        };
        let assistant_key = match earlier {
            Some(kept) if kept.assistant_scopes == assistant_scopes => kept.assistant_key.clone(),
            // Another version's key may do less than what is shown now.
            _ => reveal(new_key(services, &ctx, "demo assistant", KeyKind::Assistant, &ASSISTANT).await?),
        };
        let ready =
            ReadyTenant { slug: cast.slug.to_owned(), id: tenant.id.to_string(), admin_key, assistant_key };
        kept_tenants.push(KeptTenant {
            slug: ready.slug.clone(),
            id: ready.id.clone(),
            admin_key: ready.admin_key.clone(),
            assistant_key: ready.assistant_key.clone(),
            assistant_scopes: assistant_scopes.clone(),
        });
        all.push((ctx, ready));
    }
    write_private(kept, &serde_json::to_vec_pretty(&Kept { tenants: kept_tenants })?)?;
    Ok(all)
}

async fn tenant(services: &Services, slug: &str) -> anyhow::Result<Tenant> {
    let slug = slug.parse()?;
    match services.access.get_tenant(&slug).await {
        Ok(tenant) => Ok(tenant),
        Err(application::Error::NotFound { .. }) => {
            services.access.create_tenant(slug).await.map_err(explain)
        }
        Err(error) => Err(explain(error)),
    }
}

async fn new_key(
    services: &Services,
    ctx: &Ctx,
    name: &str,
    kind: KeyKind,
    scopes: &[Scope],
) -> anyhow::Result<SecretString> {
    let spec = KeySpec::new(name, kind, Scopes::new(scopes.iter().copied())?);
    let created = services.keys.create(ctx, spec).await.map_err(explain)?;
    Ok(created.text)
}

#[expect(clippy::needless_pass_by_value, reason = "the secret ends here")]
fn reveal(key: SecretString) -> String {
    key.expose_secret().to_owned()
}

/// Connects each tenant to its simulated trackers: the instances, and whether they are new.
async fn connect_all(
    services: &Services,
    tenants: &[(Ctx, ReadyTenant)],
    trackers: &Trackers,
) -> anyhow::Result<Vec<(Ctx, Instance, bool)>> {
    let mut connected = Vec::new();
    for (index, (ctx, _)) in tenants.iter().enumerate() {
        let page = ListPage { limit: 100, cursor: None };
        let known = services.instances.list(ctx, &page).await.map_err(explain)?.items;
        for connection in trackers.connections(index)? {
            let (instance, new) = connect(services, ctx, &known, connection).await?;
            connected.push((ctx.clone(), instance, new));
        }
    }
    Ok(connected)
}

/// Reads all of them, with a bar each.
async fn sync(services: &Services, connected: Vec<(Ctx, Instance, bool)>) -> anyhow::Result<()> {
    let bars = MultiProgress::new();
    let mut reading = JoinSet::new();
    for (ctx, instance, new) in connected {
        let bar = bars.add(ProgressBar::new(0));
        bar.set_style(
            ProgressStyle::with_template("{prefix:>18} [{bar:30}] {pos}/{len} {msg}")?.progress_chars("=> "),
        );
        bar.set_prefix(instance.name.clone());
        reading.spawn(read(services.clone(), ctx, instance, new, bar));
    }
    while let Some(done) = reading.join_next().await {
        done??;
    }
    Ok(())
}

/// The instance, and whether it is new.
async fn connect(
    services: &Services,
    ctx: &Ctx,
    known: &[Instance],
    connection: NewInstance,
) -> anyhow::Result<(Instance, bool)> {
    if let Some(instance) = known.iter().find(|instance| instance.name == connection.name) {
        // The simulated trackers have another port each time.
        let patch = InstancePatch {
            base_url: connection.base_url,
            credentials: Some(connection.credentials),
            ..Default::default()
        };
        let known = services.instances.update(ctx, instance.id, patch).await.map_err(explain)?;
        return Ok((known, false));
    }
    Ok((services.instances.create(ctx, connection).await.map_err(explain)?, true))
}

async fn read(
    services: Services,
    ctx: Ctx,
    instance: Instance,
    new: bool,
    bar: ProgressBar,
) -> anyhow::Result<()> {
    let started = match new {
        true => services.sync.start_backfill(&ctx, instance.id).await,
        false => services.sync.start_sync(&ctx, instance.id).await,
    };
    let run = match started {
        Ok(run) | Err(application::Error::RunActive { run }) => run,
        Err(error) => return Err(explain(error)),
    };
    loop {
        let now = services.sync.get_run(&ctx, run).await.map_err(explain)?;
        bar.set_length(u64::try_from(now.estimate.unwrap_or(now.done)).unwrap_or(0));
        bar.set_position(u64::try_from(now.done).unwrap_or(0));
        bar.set_message(now.stream.as_ref().map(ToString::to_string).unwrap_or_default());
        if now.state.is_final() {
            bar.finish_with_message(format!("{} items", now.counts.upserted + now.counts.unchanged));
            return match now.state {
                RunState::Succeeded | RunState::Partial => Ok(()),
                _ => bail!(
                    "the sync of {} ended as {}: {}",
                    instance.name,
                    now.state.as_str(),
                    now.error.map_or_else(String::new, |error| error.hint)
                ),
            };
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says what is there and how to use it.
fn introduce(serving: &Serving, trackers: &Trackers) {
    let ready = &serving.ready;
    let admin = ready.admin_url.as_deref().unwrap_or_default();
    let mcp = ready.mcp_sql_url.as_deref().unwrap_or_default();
    let jira = ready.mcp_jira_url.as_deref().unwrap_or_default();
    println!(
        "\nEverything is up.\n  admin API   {admin}/api/v1   (browse it at {admin}/docs)\n  MCP (Jira)  {jira}\n  MCP (SQL)   {mcp}"
    );
    let url = trackers.simulator.url();
    println!(
        "  simulated GitHub   {url}\n  simulated Jira     {url}/jira/{{{}}}\n  simulated Asana    {url}/api/1.0",
        CAST.map(|cast| cast.slug).join(",")
    );
    for (tenant, cast) in ready.tenants.iter().zip(&CAST) {
        let names: Vec<&str> =
            cast.repositories.iter().chain(cast.projects).map(|(name, ..)| *name).collect();
        println!("\nTenant {} ({})", tenant.slug, names.join(", "));
        println!("  admin key       {}\n  assistant key   {}", tenant.admin_key, tenant.assistant_key);
    }
    let Some(first) = ready.tenants.first() else { return };
    let server = |url: &str| {
        json!({"type": "http", "url": url,
               "headers": {"Authorization": format!("Bearer {}", first.assistant_key)}})
    };
    let entry = json!({"mcpServers": {"patchbay-jira": server(jira), "patchbay-sql": server(mcp)}});
    println!("\nFor your MCP client:\n{entry:#}");
    println!(
        "\nThen ask: \"Which pull requests of acme/billing-service are still open, and how long do ours take to be done?\""
    );
    println!(
        "Or without a client:\n  curl -s {admin}/api/v1/work-items?limit=3 -H 'Authorization: Bearer {}'",
        first.admin_key
    );
}
