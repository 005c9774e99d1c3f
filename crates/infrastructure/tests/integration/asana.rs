//! Asana's adapter against the simulated Asana: what it reads is what is there, whatever goes wrong on the way.

mod faults;
mod reading;
mod state;
mod webhooks;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use application::ports::{Connection, SourceAdapter};
use domain::{Credential, InstanceId, Mappings, OAuthGrant, SourceKind};
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::sources;
use serde_json::{Value, json};
use simulator::{
    AsanaWorkspace, FaultKind, FaultMatch, FaultRule, Simulator, SimulatorConfig, TokenGrant, asana_workspace,
};
use state::State;
use url::Url;
use uuid::Uuid;

const TOKEN: &str = "1/1200000000000001:abcdef";
const APP_TOKEN: &str = "oauth-1/1200000000000001:abcdef";

fn asana() -> Arc<dyn SourceAdapter> {
    let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let registry = sources::registry(EgressClient::new(policy).unwrap());
    registry.get(&SourceKind::new("asana")).unwrap().clone()
}

fn connection(simulator: &Simulator, settings: Value) -> Connection {
    Connection {
        instance: InstanceId::new(Uuid::nil()),
        base_url: Url::parse(&format!("{}/api/1.0", simulator.url())).unwrap(),
        credential: Credential::Token { token: TOKEN.to_owned().into() },
        settings,
        mappings: Arc::new(Mappings::default()),
        requests: AtomicI64::new(0),
    }
}

fn app(connection: Connection) -> Connection {
    let grant = OAuthGrant {
        access_token: APP_TOKEN.to_owned().into(),
        refresh_token: None,
        expires_at: None,
        client_id: "1".into(),
        client_secret: None,
        token_url: None,
    };
    Connection { credential: Credential::OAuth(Box::new(grant)), ..connection }
}

/// A workspace of some hundred tasks with parts, and a connection to all of it.
async fn simulated() -> (Simulator, Connection) {
    let grant =
        |token: &str| TokenGrant { token: token.into(), login: "Aiko Tanabe".into(), repositories: None };
    let config =
        SimulatorConfig { tokens: vec![grant(TOKEN), grant(APP_TOKEN)], ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    simulator.control().add_asana(asana_workspace("Northwind", 7, 420));
    let connection = connection(&simulator, json!({}));
    (simulator, connection)
}

fn world(simulator: &Simulator) -> AsanaWorkspace {
    simulator.control().asana().remove(0)
}

fn fault(simulator: &Simulator, path: &str, nth: u32, kind: FaultKind) {
    let matching = FaultMatch { path_contains: Some(path.into()), nth: Some(nth), ..FaultMatch::default() };
    simulator.control().add_fault(FaultRule { matching, kind });
}

/// A task that is part of another, whose own project is this.
fn subtask(world: &AsanaWorkspace) -> String {
    world.tasks.values().find(|task| task.parent.is_some()).unwrap().gid.clone()
}

async fn synced(connection: &Connection) -> State {
    let mut state = State::default();
    state.sync(connection, false).await.unwrap();
    state
}
