//! Serves a router on a listener: HTTP/1.1 and HTTP/2, with time-outs against slow clients and a graceful end.

mod threads;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::limits::TrustedProxies;
pub use threads::Threads;

/// How long a client may take for the head of a request.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of a request's head.
const MAX_HEADERS: usize = 16 * 1024;
/// The most connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 8_192;
/// What an HTTP/2 connection with prior knowledge begins with (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Fires when the server is asked to end; every request carries one as an extension, for answers that go on and on.
#[derive(Debug, Clone)]
pub struct Shutdown(pub CancellationToken);

/// Serves on these threads until `shutdown` fires, then takes no more connections and lets running requests finish for up
/// to `drain`.
pub async fn serve(
    threads: &Threads,
    listener: TcpListener,
    router: Router,
    proxies: TrustedProxies,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let router = router.layer(Extension(Shutdown(shutdown.clone())));
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        // Ended tasks are let go of as new ones come.
        while connections.try_join_next().is_some() {}
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors, most likely: they come back as connections end.
                tracing::warn!(%error, "A connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = FromClient { router: router.clone(), peer, proxies: proxies.clone() };
        let watcher = graceful.watcher();
        let stopping = shutdown.clone();
        let thread = threads.least_busy();
        let handle = thread.handle().clone();
        let serving = async move {
            let (_slot, _thread) = (slot, thread);
            // From here on this thread's runtime watches it.
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let http2 = tokio::select! {
                () = stopping.cancelled() => return,
                begun = tokio::time::timeout(HEADER_DEADLINE, speaks_http2(&stream)) => begun,
            };
            let Ok(Ok(http2)) = http2 else { return };
            let connection = builder(http2)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                .into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "A connection ended early");
            }
        };
        connections.spawn_on(serving, &handle);
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            drain_ms = drain.as_millis(),
            "Requests were still running at the end of the drain time"
        );
    }
    connections.shutdown().await;
    Ok(())
}

/// Notes on every request of a connection whose it is.
#[derive(Debug, Clone)]
struct FromClient {
    router: Router,
    peer: IpAddr,
    proxies: TrustedProxies,
}

impl<B> Service<http::Request<B>> for FromClient
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = <Router as Service<Request>>::Response;
    type Error = <Router as Service<Request>>::Error;
    type Future = <Router as Service<Request>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let client = self.proxies.client(self.peer, request.headers());
        request.extensions_mut().insert(client);
        self.router.call(request.map(Body::new))
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(std::net::TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream.into_std()?, peer.ip(), slot))
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Waits for the first bytes. Done here and not by hyper-util, whose detection of the version has no time-out.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut begin = [0u8; HTTP2_PREFACE.len()];
    loop {
        let n = stream.peek(&mut begin).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if n == HTTP2_PREFACE.len() || !HTTP2_PREFACE.starts_with(&begin[..n]) {
            return Ok(begin.starts_with(HTTP2_PREFACE));
        }
        // Peeking returns at once as long as anything is there, so wait for more by the clock.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn builder(http2: bool) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE).max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADERS as u32)
        .max_concurrent_streams(128)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    if http2 { builder.http2_only() } else { builder.http1_only() }
}
