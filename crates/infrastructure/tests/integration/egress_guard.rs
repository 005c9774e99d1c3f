//! Security requirements 48 and 49: where the one HTTP client connects to, and where it does not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::routing::get;
use http::HeaderMap;
use ipnet::IpNet;
use patchbay_infrastructure::egress::{EgressClient, EgressError, EgressPolicy, Lookup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

/// URLs that no tenant may reach: an address in figures, in any notation, or something not to be asked at all.
const REFUSED: &[&str] = &[
    // Loopback and unspecified, in every notation that a browser or libc understands.
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.255.255.254/",
    "https://127.0.0.1./",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0177.0.0.01/",
    "https://%31%32%37.0.0.1/",
    "https://127。0。0。1/",
    "https://①②⑦.0.0.1/",
    "https://0.0.0.0/",
    "https://0/",
    "https://0.1.2.3/",
    "https://[::]/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[0000:0000::0001]:8443/",
    // Private, shared and link-local.
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://0x0a.1/",
    "https://167772161/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://3232235521/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://169.254.1.1/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[fe80::1]/",
    "https://[febf::1]/",
    "https://[fec0::1]/",
    // Cloud metadata and platform services.
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fd00:ec2::254]/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    // Documentation, benchmarking, protocol assignments, multicast, reserved, broadcast.
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://192.88.99.1/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[ff02::1]/",
    "https://[100::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[2001:2::1]/",
    "https://[2001:10::1]/",
    "https://[4000::1]/",
    // IPv4 inside IPv6: mapped, compatible, NAT64, 6to4, Teredo, ISATAP.
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::10.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:7f00:1::1]/",
    "https://[2606:4700::5efe:10.0.0.1]/",
    // Forms that smuggle another host in.
    "https://user@93.184.216.34/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com%40127.0.0.1/",
    "https://[fe80::1%25eth0]/",
    "https://[::1%25lo]/",
    "https://./",
    // Schemes and ports.
    "http://93.184.216.34/",
    "http://10.0.0.1/",
    "ftp://93.184.216.34/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "https://93.184.216.34:22/",
    "https://93.184.216.34:25/",
    "https://93.184.216.34:0/",
];

#[test]
fn requirement_49_private_and_reserved_addresses_in_any_notation_are_refused() {
    assert!(REFUSED.len() >= 60, "only {} cases", REFUSED.len());
    let policy = EgressPolicy::default();
    for text in REFUSED {
        // What the URL parser rejects never gets as far as the guard.
        let Ok(url) = Url::parse(text) else { continue };
        let refused = policy.check_url(&url);
        assert!(matches!(refused, Err(EgressError::Blocked(_))), "{text} (as {url}) gave {refused:?}");
    }
}

#[tokio::test]
async fn requirement_49_the_client_refuses_them_before_it_sends_anything() {
    let client = EgressClient::new(EgressPolicy::default()).unwrap();
    for text in REFUSED {
        let Ok(url) = Url::parse(text) else { continue };
        let refused = client.get(&url, HeaderMap::new()).await;
        assert!(matches!(refused, Err(EgressError::Blocked(_))), "{text} gave {refused:?}");
    }
}

#[test]
fn public_addresses_and_names_pass_over_https() {
    let policy = EgressPolicy::default();
    for text in [
        "https://api.github.com/",
        "https://93.184.216.34/",
        "https://github.example.com:8443/api/v3",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/",
        "https://[64:ff9b::93.184.216.34]/",
        "https://[::ffff:93.184.216.34]/",
        "https://172.32.0.1/",
        "https://100.128.0.1/",
        "https://bücher.example/",
        "https://api.github.com./",
    ] {
        policy.check_url(&Url::parse(text).unwrap()).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn only_the_operators_list_opens_private_addresses_and_plain_http() {
    let policy = EgressPolicy::new(vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()]);
    for open in [
        "http://10.1.2.3/",
        "https://10.1.2.3:8443/",
        "https://[::ffff:10.1.2.3]/",
        "http://[fd00:1::7]:3000/",
    ] {
        policy.check_url(&Url::parse(open).unwrap()).unwrap_or_else(|error| panic!("{open}: {error}"));
    }
    for closed in ["http://10.2.0.1/", "https://10.2.0.1/", "https://127.0.0.1/", "https://[fd00:2::7]/"] {
        assert!(policy.check_url(&Url::parse(closed).unwrap()).is_err(), "{closed}");
    }
}

/// Answers lookups from a list, the next one each time: what a rebinding name server does.
#[derive(Debug)]
struct Rebinding {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Lookup for Rebinding {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[n.min(self.answers.len() - 1)].clone())
    }
}

fn rebinding(answers: &[&[&str]]) -> Arc<Rebinding> {
    let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
    Arc::new(Rebinding { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0) })
}

#[tokio::test]
async fn requirement_49_a_name_that_resolves_to_private_addresses_is_refused_without_naming_them() {
    for answer in ["127.0.0.1", "169.254.169.254", "10.0.0.7", "::1", "fd00:ec2::254", "::ffff:10.0.0.7"] {
        let client = EgressClient::with_lookup(EgressPolicy::default(), rebinding(&[&[answer]])).unwrap();
        for url in ["https://metadata.example.com/", "https://cname.example.com./", "https://localhost/"] {
            let error = client.get(&Url::parse(url).unwrap(), HeaderMap::new()).await.unwrap_err();
            assert!(matches!(error, EgressError::Blocked(_)), "{url} at {answer} gave {error:?}");
            let text = error.to_string();
            assert!(text.contains("PATCHBAY_EGRESS_ALLOW") && !text.contains(answer), "{text}");
        }
    }
}

#[tokio::test]
async fn requirement_49_a_rebinding_name_is_resolved_once_and_connected_to_what_was_checked() {
    let (address, hits) = serve(Router::new().route("/", get(|| async { "secret" }))).await;
    // The allowed address answers nothing; the second answer would lead to the server.
    let lookup = rebinding(&[&["127.9.9.9"], &["127.0.0.1"]]);
    let policy = EgressPolicy::new(vec!["127.9.9.9/32".parse().unwrap()]);
    let client = EgressClient::with_lookup(policy, lookup.clone()).unwrap();
    let url = Url::parse(&format!("http://rebind.example.com:{}/", address.port())).unwrap();
    let first = client.get(&url, HeaderMap::new()).await;
    assert!(first.is_err(), "{first:?}");
    assert_eq!(lookup.asked.load(Ordering::SeqCst), 1);
    let second = client.get(&url, HeaderMap::new()).await;
    assert!(matches!(second, Err(EgressError::Blocked(_))), "{second:?}");
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_ones_are_tried() {
    let (address, _) = serve(Router::new().route("/", get(|| async { "ok" }))).await;
    let policy = EgressPolicy::new(vec!["127.0.0.1/32".parse().unwrap()]);
    let client = EgressClient::with_lookup(policy, rebinding(&[&["10.0.0.1", "127.0.0.1"]])).unwrap();
    let url = Url::parse(&format!("http://mixed.example.com:{}/", address.port())).unwrap();
    assert_eq!(client.get(&url, HeaderMap::new()).await.unwrap().body, "ok");
}

#[tokio::test]
async fn requirement_48_redirects_are_handed_back_and_not_followed() {
    let to_metadata = || async { (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/")], "") };
    let (address, hits) = serve(Router::new().route("/", get(to_metadata))).await;
    let response = loopback().get(&at(address, "/"), HeaderMap::new()).await.unwrap();
    assert_eq!(response.status, StatusCode::FOUND);
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn requirement_48_an_answer_above_32_mib_is_cut_off() {
    let endless = || async {
        let chunk = bytes::Bytes::from(vec![b' '; 1024 * 1024]);
        Body::from_stream(futures::stream::repeat_with(move || Ok::<_, io::Error>(chunk.clone())))
    };
    let (address, _) = serve(Router::new().route("/", get(endless))).await;
    let error = loopback().get(&at(address, "/"), HeaderMap::new()).await.unwrap_err();
    assert_eq!(error, EgressError::TooLarge);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_from_one_that_never_came() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[{").await.unwrap();
    });
    let error = loopback().get(&at(address, "/"), HeaderMap::new()).await.unwrap_err();
    assert_eq!(error, EgressError::Truncated);
    server.await.unwrap();
    let error = loopback().get(&at(address, "/"), HeaderMap::new()).await.unwrap_err();
    assert_eq!(error, EgressError::Connect);
}

#[tokio::test]
async fn requirement_50_a_server_without_a_trusted_certificate_is_not_talked_to() {
    let (address, hits) = serve(Router::new().route("/", get(|| async { "ok" }))).await;
    let url = Url::parse(&format!("https://{address}/")).unwrap();
    let error = loopback().get(&url, HeaderMap::new()).await.unwrap_err();
    assert!(matches!(error, EgressError::Tls(_)), "{error:?}");
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

fn loopback() -> EgressClient {
    let net: IpNet = "127.0.0.0/8".parse().unwrap();
    EgressClient::new(EgressPolicy::new(vec![net])).unwrap()
}

fn at(address: SocketAddr, path: &str) -> Url {
    Url::parse(&format!("http://{address}{path}")).unwrap()
}

/// Serves on loopback and counts requests.
async fn serve(app: Router) -> (SocketAddr, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = hits.clone();
    let app = app.layer(axum::middleware::map_request(move |request: axum::extract::Request| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { request }
    }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, hits)
}

// Security requirement 48.
#[test]
fn what_the_operator_configures_may_be_private_but_never_link_local() {
    let policy = EgressPolicy::of_operator();
    let allowed = |url: &str| policy.check_url(&url.parse().unwrap()).is_ok();
    for url in [
        "https://1.1.1.1/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.1.1:8443/",
        "https://100.64.0.1/",
        "https://[fd12::1]/",
        "https://127.0.0.1/",
        "http://127.0.0.1:8080/",
        "http://[::1]:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
    ] {
        assert!(allowed(url), "{url} is refused");
    }
    for url in [
        "http://10.1.2.3/",
        "http://1.1.1.1/",
        "https://169.254.169.254/",
        "http://169.254.169.254/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "https://168.63.129.16/",
        "https://0.0.0.0/",
        "http://0.0.0.0:8080/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://192.0.2.1/",
        "ftp://127.0.0.1/",
        "https://user:password@10.1.2.3/",
    ] {
        assert!(!allowed(url), "{url} is allowed");
    }
}
