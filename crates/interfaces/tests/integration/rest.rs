//! The admin server as a client meets it: statuses, problem bodies, limits, events and the description.

mod api;
mod audit;
mod authorization;
mod events;
mod idempotency;
mod keys;
mod limits;
mod mappings;
mod openapi;
mod policy;
mod schedules;
mod sessions;
mod slow_clients;
mod templates;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use application::Services;
use application::testing::Memory;
use axum::Router;
use axum::body::Body;
use domain::Scope;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use patchbay_interfaces::admin::AdminConfig;
use patchbay_interfaces::server::{Threads, serve};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

fn app(world: &Arc<Memory>) -> Router {
    app_of(world.services())
}

fn app_of(services: Services) -> Router {
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let config = AdminConfig {
        public_url: "https://patchbay.example".parse().unwrap(),
        origins: Vec::new(),
        webhook_body: 1024 * 1024,
    };
    patchbay_interfaces::admin::router(services, metrics, &config)
}

/// A server with an all-powerful key.
struct Api {
    world: Arc<Memory>,
    router: Router,
    key: String,
}

impl Api {
    fn new() -> Self {
        let world = Memory::new();
        let router = app(&world);
        let key = world.key(&[Scope::Admin]);
        Self { world, router, key }
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> (Response<()>, Value) {
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        (Response::from_parts(parts, ()), json)
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", self.key))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (response, json) = self.send(self.request("GET", path), Body::empty()).await;
        (response.status(), json)
    }

    async fn post(&self, path: &str, json: &str) -> (StatusCode, Value) {
        let request = self.request("POST", path).header("content-type", "application/json");
        let (response, json) = self.send(request, json.to_owned()).await;
        (response.status(), json)
    }
}

/// The server on a socket of its own.
struct Served {
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn new(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (stop, proxies) = (shutdown.clone(), patchbay_interfaces::limits::TrustedProxies::default());
        let task = tokio::spawn(async move {
            let threads = Threads::start()?;
            serve(&threads, listener, router, proxies, stop, Duration::from_secs(5)).await
        });
        Self { address, shutdown, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}
