//! GitHub at full depth against the simulator: writes, apps, items by themselves, relations, projects and webhooks.

mod apps;
mod boards;
mod emulate;
mod items;
mod webhooks;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use application::ports::{Connection, SourceAdapter, SourceError, SourceErrorKind};
use domain::{Credential, InstanceId, SourceKind};
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::sources;
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant};
use url::Url;
use uuid::Uuid;

const REPOSITORY: &str = "acme/app";
const TOKEN: &str = "github_pat_test";

fn github() -> Arc<dyn SourceAdapter> {
    let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let registry = sources::registry(EgressClient::new(policy).unwrap());
    registry.get(&SourceKind::new("github")).unwrap().clone()
}

fn connection(base_url: &str, credential: Credential, settings: Value) -> Connection {
    Connection {
        instance: InstanceId::new(Uuid::now_v7()),
        base_url: Url::parse(base_url).unwrap(),
        credential,
        settings,
        mappings: Arc::default(),
        requests: AtomicI64::new(0),
    }
}

fn token(token: &str) -> Credential {
    Credential::Token { token: token.to_owned().into() }
}

/// Two repositories of an organization and one of another, and a connection to the first.
async fn simulated() -> (Simulator, Connection) {
    let repositories = vec![
        simulator::generate::repository(REPOSITORY, 7, 40),
        simulator::generate::repository("acme/other", 8, 5),
        simulator::generate::repository("umbrella/lab", 9, 5),
    ];
    let grant = TokenGrant { token: TOKEN.into(), login: "ann".into(), repositories: None };
    let config = SimulatorConfig { repositories, tokens: vec![grant], ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let connection =
        connection(&simulator.url(), token(TOKEN), json!({"repositories": [REPOSITORY, "acme/other"]}));
    (simulator, connection)
}

/// A marker as an intent makes it.
fn marker() -> String {
    format!("patchbay-{}", Uuid::now_v7().simple())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(
    result: Result<T, SourceError>,
    kind: SourceErrorKind,
    field: &str,
) -> SourceError {
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind, error.field.as_deref()),
        (kind, Some(field).filter(|field| !field.is_empty())),
        "{error}"
    );
    error
}
