//! Emulators of trackers for the demo, end-to-end tests and benches: they serve generated or
//! real data in the APIs' own shapes, hold state for writes, and go wrong on demand. Shapes and
//! rules follow the vendors' OpenAPI descriptions and documentation: GitHub at `/` and `/api/v3`,
//! Jira sites (Cloud and Data Center) at `/jira/<name>`, Asana at `/api/1.0`.

mod asana;
mod connection;
mod control;
mod dataset;
mod delivery;
mod faults;
pub mod generate;
mod github;
mod jira;
mod limits;
pub mod load;
mod requests;
mod timestamp;
mod transport;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use asana::generate::workspace as asana_workspace;
pub use asana::{AsanaField, AsanaProject, AsanaTask, AsanaUser, AsanaWorkspace};
pub use control::Control;
pub use dataset::Repository;
pub use faults::{FaultKind, FaultMatch, FaultRule};
pub use github::App;
pub use jira::{Deployment, JiraLogin, JiraSite, JiraSwitches, devlake, titanium};
pub use requests::{RequestRecord, Stats};

use connection::{ResetSwitch, ResettableListener};
use faults::Faults;
use limits::Limits;
use requests::Requests;
use world::World;

/// What to serve, and to whom.
#[derive(Debug, Default)]
pub struct SimulatorConfig {
    /// Port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// What is served. Names and ids must differ.
    pub repositories: Vec<Repository>,
    /// Who may read it. Empty: every token is good for everything.
    pub tokens: Vec<TokenGrant>,
    /// Every answer of the API waits this long.
    pub latency: Duration,
}

/// A token and what it opens.
#[derive(Clone)]
pub struct TokenGrant {
    /// Sent as `Authorization: Bearer <token>`.
    pub token: String,
    /// Whose it is: `GET /user` answers this login, and writes bear it.
    pub login: String,
    /// `owner/name` of what it sees; the rest is 404. `None` is all.
    pub repositories: Option<Vec<String>>,
}

impl std::fmt::Debug for TokenGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenGrant")
            .field("login", &self.login)
            .field("repositories", &self.repositories)
            .finish_non_exhaustive()
    }
}

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    control: Control,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Binds 127.0.0.1 and serves until stopped or dropped.
    ///
    /// # Errors
    /// When the port is taken or two repositories have the same name or id.
    pub async fn start(config: SimulatorConfig) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))
            .await
            .with_context(|| format!("cannot listen on port {}", config.port))?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            world: RwLock::new(World::new(config.repositories, config.tokens)?),
            jira: RwLock::default(),
            asana: Mutex::new(asana::AsanaWorld::new(Vec::new())),
            faults: Mutex::default(),
            limits: Mutex::default(),
            requests: Mutex::default(),
            latency: config.latency,
            stop: stop.clone(),
        });
        let app = Router::new()
            .nest(
                "/__control",
                control::routes().merge(jira::control_routes()).nest("/asana", asana::control_routes()),
            )
            .fallback(serve)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<ResetSwitch>();
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            // axum's accept loop retries on its own and never answers an error.
            let _ = axum::serve(ResettableListener(listener), app).with_graceful_shutdown(stopped).await;
        });
        Ok(Self { address, control: Control::new(shared), stop, serving: Some(serving) })
    }

    /// `http://127.0.0.1:<port>`: the API's base. Also served under `/api/v3`, as GitHub Enterprise does.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Faults, observation and changes behind the clients' back.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops listening and waits up to two seconds for answers under way.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(mut serving) = self.serving.take()
            && tokio::time::timeout(Duration::from_secs(2), &mut serving).await.is_err()
        {
            serving.abort();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Gives a request to the tracker whose path it has.
async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<ResetSwitch>,
    request: Request,
) -> Response {
    if request.uri().path().starts_with(asana::BASE) {
        return asana::serve(State(shared), ConnectInfo(switch), request).await;
    }
    match jira::target(&shared, request.uri().path()) {
        Some(target) => jira::serve(shared, switch, target, request).await,
        None => github::serve(State(shared), ConnectInfo(switch), request).await,
    }
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    world: RwLock<World>,
    jira: RwLock<Vec<JiraSite>>,
    asana: Mutex<asana::AsanaWorld>,
    faults: Mutex<Faults>,
    limits: Mutex<Limits>,
    requests: Mutex<Requests>,
    latency: Duration,
    stop: CancellationToken,
}

impl Shared {
    fn world(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn world_mut(&self) -> RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn asana_mut(&self) -> MutexGuard<'_, asana::AsanaWorld> {
        self.asana.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jira(&self) -> RwLockReadGuard<'_, Vec<JiraSite>> {
        self.jira.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn jira_mut(&self) -> RwLockWriteGuard<'_, Vec<JiraSite>> {
        self.jira.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
