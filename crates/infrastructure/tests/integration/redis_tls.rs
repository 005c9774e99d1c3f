//! Redis over TLS: whom to trust, and what is said when nobody can be. Security requirement 35.

use std::process::Command;

use application::ports::{Decision, Limit, LimitKey, RateLimiter};
use domain::TenantId;
use patchbay_infrastructure::limiter::{Limiter, LimiterSettings, RedisAddress, RedisProblem};
use uuid::Uuid;

use crate::certificates::Certificates;
use crate::redis_server::RedisServer;

/// A server with a certificate, and its authority's.
struct Site {
    server: RedisServer,
    authority: Vec<u8>,
    /// An authority that has nothing to do with it.
    stranger: Vec<u8>,
    _made: Certificates,
}

/// `None`, with the reason printed, where the programs for it are missing.
async fn site() -> Option<Site> {
    // As the binary does when it starts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redis = std::env::var("PATCHBAY_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
    // It names the first flag that it does not know, and ends.
    let refused = Command::new(redis).args(["--tls-port", "0", "--no-such-flag", "0"]).output().ok()?;
    if String::from_utf8_lossy(&refused.stderr).contains(">>> 'tls-port") {
        println!("skipped: redis-server was built without TLS");
        return None;
    }
    let made = Certificates::make("DNS:localhost, IP:127.0.0.1")?;
    let file = |name: &str| made.file(name).to_str().unwrap().to_owned();
    let flags = [
        ("--port", "0".to_owned()),
        ("--tls-port", "$port".to_owned()),
        ("--tls-cert-file", file("server.pem")),
        ("--tls-key-file", file("server.key")),
        ("--tls-ca-cert-file", file("authority.pem")),
        ("--tls-auth-clients", "no".to_owned()),
    ];
    let mut all: Vec<String> = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    // A second address, which the certificate was not made for.
    all.extend(["--bind", "127.0.0.1", "127.0.0.2"].map(str::to_owned));
    let server = RedisServer::with(all).await;
    Some(Site {
        server,
        authority: made.read("authority.pem"),
        stranger: made.read("stranger.pem"),
        _made: made,
    })
}

fn at(site: &Site, host: &str) -> RedisAddress {
    RedisAddress::parse(&format!("rediss://{host}:{}", site.server.port()).into()).unwrap()
}

#[tokio::test]
async fn a_redis_over_tls_is_used_when_its_authority_is_named() {
    let Some(site) = site().await else { return };
    for host in ["127.0.0.1", "localhost"] {
        at(&site, host).trusting(&site.authority).unwrap().check().await.unwrap();
    }
    // Several authorities may stand in the file.
    let both = [site.stranger.as_slice(), &site.authority].concat();
    let address = at(&site, "localhost").trusting(&both).unwrap();
    let settings =
        LimiterSettings { command_timeout: std::time::Duration::from_secs(20), ..LimiterSettings::default() };
    let [one, two] = [
        Limiter::in_redis(address.clone(), settings.clone()).await,
        Limiter::in_redis(address, settings).await,
    ];
    let limit =
        Limit { key: LimitKey::Tenant(TenantId::new(Uuid::new_v4())), quota: "1/3600s:1".parse().unwrap() };
    let limits = [limit];
    assert!(matches!(one.take(&limits).await, Decision::Allowed(_)));
    assert!(matches!(two.take(&limits).await, Decision::Denied { .. }), "they do not count together");
}

#[tokio::test]
async fn a_redis_that_cannot_be_trusted_is_refused_with_what_to_do() {
    let Some(site) = site().await else { return };
    for (what, address) in [
        ("another authority", at(&site, "127.0.0.1").trusting(&site.stranger).unwrap()),
        ("the machine's authorities", at(&site, "127.0.0.1")),
        ("another name", at(&site, "127.0.0.2").trusting(&site.authority).unwrap()),
    ] {
        let problem = address.check().await.expect_err(what);
        assert!(matches!(problem, RedisProblem::Untrusted { .. }), "{what}: {problem:?}");
        let told = problem.to_string();
        assert!(told.contains("127.0.0.") && told.contains("PATCHBAY_REDIS_CA_FILE"), "{what}: {told}");
    }
    // Without TLS nothing is sent to it either.
    let plain: RedisAddress =
        RedisAddress::parse(&format!("redis://127.0.0.1:{}", site.server.port()).into()).unwrap();
    let problem = plain.check().await.unwrap_err();
    assert!(matches!(problem, RedisProblem::Unreachable { .. }), "{problem:?}");
}

#[test]
fn authorities_that_cannot_be_used_are_refused_before_anything_is_sent() {
    let tls = || RedisAddress::parse(&"rediss://:hunter2-secret@localhost:1".to_owned().into()).unwrap();
    let plain = RedisAddress::parse(&"redis://:hunter2-secret@localhost:1".to_owned().into()).unwrap();
    let damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (problem, why) in [
        (tls().trusting(b"").unwrap_err(), "there is no certificate"),
        (tls().trusting(b"not PEM").unwrap_err(), "there is no certificate"),
        (tls().trusting(damaged).unwrap_err(), "damaged"),
        (plain.trusting(damaged).unwrap_err(), "no TLS"),
    ] {
        let told = format!("{problem} {problem:?}");
        assert!(told.contains(why) && told.contains("rediss://"), "{told}");
        assert!(!told.contains("hunter2-secret"), "{told}");
    }
}
