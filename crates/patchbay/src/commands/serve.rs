//! `patchbay serve`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use application::policy::usual_toolsets;
use application::ports::{JobHandler, RateLimiter};
use infrastructure::postgres::PoolSizes;
use interfaces::admin::AdminConfig;
use interfaces::limits::TrustedProxies;
use interfaces::mcp::McpConfig;
use interfaces::server::Threads;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;
use url::Url;

use super::tenant::prepare;
use super::ticks;
use crate::cli::{ListenArgs, Part, ServeArgs, Switch};
use crate::config;
use crate::database::Database;
use crate::limits;
use crate::ready::Ready;
use crate::sign_in::SignIn;
use crate::telemetry::Telemetry;
use crate::wire::{WireOptions, Wiring};

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::install(false)?;
    crate::core_dumps::forbid();
    let master = config::master_key(&args.database)?;
    let database = Database::open(&args.database, &master).await?;
    if args.migrate {
        for warning in database.migrate(&master).await? {
            tracing::warn!("{warning}");
        }
    }
    let workers = u32::from(args.listen.worker_concurrency);
    let reader = u32::from(args.listen.template_connections);
    let db = database.connect(PoolSizes { app: 16 + 2 * workers, reader, queue: 4 });
    prepare(&database, &db, &master).await?;
    let limiter = limits::limiter(&args.redis, &args.listen.limits).await?;
    let mut options = wire_options(&args.listen, limiter, "live")?;
    options.answers_in_redis = limits::answers_in_redis(&args.redis)?;
    let wiring = Wiring::new(db.clone(), master, options).await?;
    let mut serving = Serving::start(&wiring, &args.listen, &args.only, &telemetry).await?;
    if let Some(path) = &args.listen.ready_file {
        serving.ready.write(path)?;
    }
    info!(
        admin_url = serving.ready.admin_url,
        mcp_jira_url = serving.ready.mcp_jira_url,
        mcp_sql_url = serving.ready.mcp_sql_url,
        parts = ?args.only,
        "Patchbay is ready"
    );
    let outcome = serving.until_asked_to_end().await;
    wiring.store_what_was_noted().await;
    db.close().await;
    database.close().await?;
    outcome.map(|()| ExitCode::SUCCESS)
}

pub(crate) fn wire_options(
    listen: &ListenArgs,
    limiter: Arc<dyn RateLimiter>,
    key_env: &'static str,
) -> anyhow::Result<WireOptions> {
    Ok(WireOptions {
        egress_allow: listen.egress_allow.clone(),
        job_dead_after: Duration::from_secs(u64::from(listen.job_dead_after_s)),
        key_env,
        public_url: listen.public_url.clone(),
        limiter,
        quotas: listen.limits.quotas(),
        audit_reads: listen.audit_reads == Switch::On,
        answers_in_redis: None,
        sign_in: SignIn::new(&listen.sign_in)?,
        worker_slots: usize::from(listen.worker_concurrency),
        short_templates: listen.short_templates,
        published_templates: listen.published_templates.into(),
        jira_toolsets: match &listen.jira_toolsets {
            Some(named) => named.iter().copied().collect(),
            None => usual_toolsets(),
        },
    })
}

/// How often pools and queue are looked at for `/metrics`.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// Running servers and workers.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) ready: Ready,
    stop: CancellationToken,
    grace: Duration,
    tasks: JoinSet<anyhow::Result<()>>,
    /// Until the pools are closed: connections to the database are watched by the thread that opened them.
    threads: Arc<Threads>,
}

impl Serving {
    /// Binds the addresses and starts the parts. Once this returns, everything answers.
    pub(crate) async fn start(
        wiring: &Wiring,
        listen: &ListenArgs,
        parts: &[Part],
        telemetry: &Telemetry,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let grace = Duration::from_secs(u64::from(listen.shutdown_grace_s));
        let threads = Arc::new(Threads::start().context("the threads that serve cannot be started")?);
        let mut serving =
            Self { ready: Ready::default(), stop: stop.clone(), grace, tasks: JoinSet::new(), threads };
        // Bind all before serving any: a taken port stops the start, not half of it.
        let admin = match parts.contains(&Part::Admin) {
            true => Some(bind(listen.admin_addr, "the admin API", "--admin-addr").await?),
            false => None,
        };
        let mcp_jira = match parts.contains(&Part::McpJira) {
            true => Some(bind(listen.mcp_jira_addr, "the MCP server of Jira", "--mcp-jira-addr").await?),
            false => None,
        };
        let mcp_sql = match parts.contains(&Part::McpSql) {
            true => {
                Some(bind(listen.mcp_sql_addr, "the MCP server of SQL templates", "--mcp-sql-addr").await?)
            }
            false => None,
        };
        let proxies = listen.limits.trusted_proxies();
        if let Some((listener, address)) = admin {
            serving.ready.admin_url = Some(format!("http://{address}"));
            let config = AdminConfig {
                public_url: listen.public_url.clone().unwrap_or(own_url(address, "")?),
                origins: own_origins(address).to_vec(),
                webhook_body: usize::from(listen.webhook_max_body_mb) * 1024 * 1024,
            };
            let router =
                interfaces::admin::router(wiring.services.clone(), telemetry.metrics.clone(), &config);
            serving.spawn_server(listener, router, proxies.clone());
        }
        if let Some((listener, address)) = mcp_jira {
            serving.ready.mcp_jira_url = Some(format!("http://{address}/mcp"));
            let config = mcp_config(listen, address, listen.mcp_jira_url.as_ref(), &stop)?;
            let router = interfaces::mcp::jira::router(&wiring.services, &config);
            serving.spawn_server(listener, router, proxies.clone());
            serving.tasks.spawn(ticks::store_noticed(wiring.services.clone(), stop.clone()));
        }
        if let Some((listener, address)) = mcp_sql {
            serving.ready.mcp_sql_url = Some(format!("http://{address}/mcp"));
            let config = mcp_config(listen, address, listen.mcp_sql_url.as_ref(), &stop)?;
            let router = interfaces::mcp::sql::router(&wiring.services, &config);
            serving.spawn_server(listener, router, proxies);
        }
        if parts.contains(&Part::Worker) {
            let (queue, stop) = (wiring.queue.clone(), stop.clone());
            let handler: Arc<dyn JobHandler> = wiring.jobs.clone();
            let concurrency = usize::from(listen.worker_concurrency);
            serving.tasks.spawn(ticks::tick(wiring.services.clone(), stop.clone()));
            let (watched, watch_until) = (queue.clone(), stop.clone());
            let slots = wiring.jobs.slots();
            serving.tasks.spawn(async move {
                slots.watch(watched, watch_until).await;
                Ok(())
            });
            serving.tasks.spawn(async move {
                queue.run_worker(handler, concurrency, grace, stop).await.context("the worker stopped")
            });
        }
        serving.tasks.spawn(measure(wiring.clone(), telemetry.metrics.clone(), stop));
        Ok(serving)
    }

    fn spawn_server(&mut self, listener: TcpListener, router: axum::Router, proxies: TrustedProxies) {
        let (threads, stop, grace) = (self.threads.clone(), self.stop.clone(), self.grace);
        self.tasks.spawn(async move {
            interfaces::server::serve(&threads, listener, router, proxies, stop, grace)
                .await
                .context("a server stopped")
        });
    }

    /// Serves until SIGINT or SIGTERM, or until a part fails; then lets running work finish.
    pub(crate) async fn until_asked_to_end(&mut self) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = asked_to_end() => None,
            Some(ended) = self.tasks.join_next() => Some(ended),
        };
        info!(grace_s = self.grace.as_secs(), "Stopping");
        self.stop.cancel();
        let rest = async {
            let mut outcome = Ok(());
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended.map_err(anyhow::Error::from).and_then(|ended| ended) {
                    outcome = Err(error);
                }
            }
            outcome
        };
        let outcome =
            tokio::time::timeout(self.grace + Duration::from_secs(5), rest).await.unwrap_or_else(|_| {
                Err(anyhow::anyhow!("some work did not end in time; it goes on at the next start"))
            });
        match failed {
            Some(ended) => ended?.and(Err(anyhow::anyhow!("a part of the platform ended by itself"))),
            None => outcome,
        }
    }
}

/// Keeps the gauges of pools and queue up to date.
async fn measure(wiring: Wiring, metrics: PrometheusHandle, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        // A rotation of the master key gives the database roles other passwords.
        wiring.db.check_passwords(0).await;
        for (pool, (open, idle)) in ["app", "reader"].into_iter().zip(wiring.db.pool_usage()) {
            metrics::gauge!("db_pool_connections", "pool" => pool, "state" => "open").set(open);
            metrics::gauge!("db_pool_connections", "pool" => pool, "state" => "idle")
                .set(u32::try_from(idle)?);
        }
        if let Ok(jobs) = wiring.queue.stats().await {
            for (state, count) in
                [("ready", jobs.ready), ("scheduled", jobs.scheduled), ("running", jobs.running)]
            {
                metrics::gauge!("job_queue_jobs", "state" => state)
                    .set(i32::try_from(count).unwrap_or(i32::MAX));
            }
        }
        for (source, lag) in wiring.services.schedules.longest_lags().await.unwrap_or_default() {
            metrics::gauge!(interfaces::metrics::SYNC_LAG, "source" => source).set(lag.as_secs_f64());
        }
        metrics.run_upkeep();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(MEASURE_EVERY) => {}
        }
    }
}

/// What an MCP server must know of where it stands. `typed` is the address that clients type for it.
fn mcp_config(
    listen: &ListenArgs,
    address: SocketAddr,
    typed: Option<&Url>,
    stop: &CancellationToken,
) -> anyhow::Result<McpConfig> {
    Ok(McpConfig {
        public_url: listen.public_url.clone(),
        resource: typed.cloned().map_or_else(|| own_url(address, "mcp"), Ok)?,
        allowed_origins: allowed_origins(address, listen),
        sse: listen.mcp_sse == Switch::On,
        shutdown: stop.clone(),
    })
}

/// Browsers may call from the server's own address, from the public one, and from what the operator names.
fn allowed_origins(address: SocketAddr, listen: &ListenArgs) -> Vec<String> {
    let public = listen.public_url.as_ref().map(|url| url.origin().ascii_serialization());
    own_origins(address).into_iter().chain(public).chain(listen.mcp_allowed_origins.clone()).collect()
}

fn own_origins(address: SocketAddr) -> [String; 2] {
    [format!("http://{address}"), format!("http://localhost:{}", address.port())]
}

/// The address of a server that nobody gave a public one. On this very machine it is called localhost, which browsers
/// trust with cookies without TLS.
fn own_url(address: SocketAddr, path: &str) -> anyhow::Result<Url> {
    let url = match address.ip().is_loopback() && path.is_empty() {
        true => format!("http://localhost:{}/", address.port()),
        false => format!("http://{address}/{path}"),
    };
    Ok(url.parse()?)
}

async fn bind(address: SocketAddr, what: &str, flag: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("{what} cannot listen on {address}; choose another address with {flag}, or port 0 for any free one")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// SIGINT or SIGTERM.
pub(crate) async fn asked_to_end() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
