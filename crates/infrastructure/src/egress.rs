//! The one way out: an HTTP client that connects to public addresses and to what the operator allows, and to
//! nothing else. It follows no redirects, ignores proxy settings, and bounds time and size of every answer.

mod address;
mod lookup;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use reqwest::{Client, ClientBuilder};
use url::{Host, Url};

pub use lookup::{Lookup, SystemLookup};

use lookup::{GuardedResolver, NotAllowed};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(30);
/// How long an answer that is read as it comes may go on.
const LONGEST_STREAM: Duration = Duration::from_secs(24 * 3600);
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// Most that is set aside for a body before it has come.
const MAX_RESERVED_BYTES: usize = 1024 * 1024;
/// What is shorter is a word that a refusal may hold anyway.
const SHORTEST_SECRET: usize = 8;
const USER_AGENT: &str = concat!("patchbay/", env!("CARGO_PKG_VERSION"));

/// Where requests may go. One per deployment, never per tenant.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    allow: Arc<[IpNet]>,
    of_operator: bool,
}

impl EgressPolicy {
    /// Allows public addresses over HTTPS, and any address inside `allow` over HTTPS and HTTP.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into(), of_operator: false }
    }

    /// For addresses that only the operator configures: private ones may be called too, over HTTPS, and this very
    /// machine also over HTTP. Link-local addresses, where clouds keep their metadata, stay closed.
    pub fn of_operator() -> Self {
        Self { allow: Arc::default(), of_operator: true }
    }

    /// Whether a connection to this address may be made.
    pub fn allows(&self, address: IpAddr, encrypted: bool) -> bool {
        if self.of_operator
            && (address.to_canonical().is_loopback() || (encrypted && address::is_private(address)))
        {
            return true;
        }
        // 127.0.0.0/8 in the list also means ::ffff:127.0.0.1.
        self.allow.iter().any(|net| net.contains(&address) || net.contains(&address.to_canonical()))
            || (encrypted && address::is_public(address))
    }

    /// Checks what can be told from the URL alone: scheme, user, port, and an address given in figures.
    /// Names are checked when they are resolved, by the connection itself.
    pub fn check_url(&self, url: &Url) -> Result<(), EgressError> {
        let encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(EgressError::blocked(format!("the scheme {other} is not http or https"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::blocked("an address with a user name or password in it is not allowed"));
        }
        let port = url.port_or_known_default().unwrap_or(0);
        // Below 1024 live mail, remote shells and directories; a web server elsewhere has a high port.
        if port < 1024 && port != 80 && port != 443 {
            return Err(EgressError::blocked(format!("port {port} is not one a tracker answers on")));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) if !name.trim_matches('.').is_empty() => return Ok(()),
            _ => return Err(EgressError::blocked("the address names no host")),
        };
        if self.allows(literal, encrypted) { Ok(()) } else { Err(self.not_allowed(encrypted)) }
    }

    fn not_allowed(&self, encrypted: bool) -> EgressError {
        EgressError::blocked(match (self.of_operator, encrypted) {
            (true, true) => "the address is link-local or reserved, where requests are not allowed to go",
            (true, false) => "plain http is only allowed to this very machine; use https",
            (false, true) => {
                "the address is private or reserved, where requests are not allowed to go; an operator can allow it \
                 with PATCHBAY_EGRESS_ALLOW"
            }
            (false, false) => {
                "plain http is only allowed to addresses that an operator lists in PATCHBAY_EGRESS_ALLOW; use https"
            }
        })
    }
}

/// Why there is no answer. The texts are for people and name no resolved address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The guard does not let this request out.
    #[error("{0}")]
    Blocked(String),
    /// No answer within the deadline.
    #[error("did not answer within {} seconds", DEADLINE.as_secs())]
    Timeout,
    /// No connection: unknown name, refused, unreachable.
    #[error("cannot be reached: the name is unknown, or nothing answers there")]
    Connect,
    /// The connection ended before the answer was complete, or the answer is damaged.
    #[error("broke off before the answer was complete")]
    Truncated,
    /// The answer is larger than is read.
    #[error("answered with more than {} MiB", MAX_BODY_BYTES / 1024 / 1024)]
    TooLarge,
    /// The TLS handshake failed.
    #[error("cannot be trusted: {0}")]
    Tls(String),
    /// The client cannot be built, or the request has no valid form.
    #[error("cannot be asked: {0}")]
    Internal(String),
}

impl EgressError {
    fn blocked(message: impl Into<String>) -> Self {
        Self::Blocked(message.into())
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Bytes,
}

/// An answer that is read as it comes. Dropped, it closes its connection.
#[derive(Debug)]
pub struct OpenResponse {
    response: reqwest::Response,
    encrypted: bool,
    policy: EgressPolicy,
}

impl OpenResponse {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// What came next of its body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        self.response.chunk().await.map_err(|error| classify(&error, self.encrypted, &self.policy))
    }

    /// The rest of its body.
    pub async fn rest(mut self) -> Result<Bytes, EgressError> {
        // Growing copies what is there already, page after page; what is announced is believed up to a point only.
        let announced = self.response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = BytesMut::with_capacity(announced.unwrap_or_default().min(MAX_RESERVED_BYTES));
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(EgressError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// The HTTP client with the guard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EgressClient {
    policy: EgressPolicy,
    // One per scheme, because a resolver is told the name but not the scheme it is resolved for.
    encrypted: Result<Client, EgressError>,
    plain: Client,
}

impl EgressClient {
    /// A client that resolves names as the system does.
    pub fn new(policy: EgressPolicy) -> Result<Self, EgressError> {
        Self::with_lookup(policy, Arc::new(SystemLookup))
    }

    /// A client that resolves names with `lookup`.
    pub fn with_lookup(policy: EgressPolicy, lookup: Arc<dyn Lookup>) -> Result<Self, EgressError> {
        // Fails when there is one already, which then is the one to use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = |lookup, encrypted| {
            base_builder().dns_resolver(GuardedResolver { policy: policy.clone(), lookup, encrypted })
        };
        // A machine without CA certificates can still reach the allowed plain addresses.
        let encrypted = builder(lookup.clone(), true).https_only(true).build().map_err(|error| {
            EgressError::Tls(format!("TLS cannot be set up ({}); install ca-certificates", innermost(&error)))
        });
        let no_tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let plain = builder(lookup, false)
            .tls_backend_preconfigured(no_tls)
            .build()
            .map_err(|error| EgressError::Internal(innermost(&error)))?;
        Ok(Self { policy, encrypted, plain })
    }

    /// Sends one GET and reads the whole answer.
    pub async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Response, EgressError> {
        self.send(Method::GET, url, headers, None).await
    }

    /// Sends one request whose answer may go on for as long as the other side likes, and reads only its head.
    pub async fn open(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<OpenResponse, EgressError> {
        self.policy.check_url(url)?;
        let encrypted = url.scheme() == "https";
        let client = if encrypted { self.encrypted.as_ref().map_err(Clone::clone)? } else { &self.plain };
        let request = client.request(method, url.clone()).headers(headers).timeout(LONGEST_STREAM).body(body);
        let response = request.send().await.map_err(|error| classify(&error, encrypted, &self.policy))?;
        Ok(OpenResponse { response, encrypted, policy: self.policy.clone() })
    }

    /// Sends one request, with a body or without, and reads the whole answer.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Response, EgressError> {
        self.policy.check_url(url)?;
        let encrypted = url.scheme() == "https";
        let client = if encrypted { self.encrypted.as_ref().map_err(Clone::clone)? } else { &self.plain };
        let sent = headers.get(http::header::AUTHORIZATION).cloned();
        let mut request = client.request(method, url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let classify = |error: reqwest::Error| classify(&error, encrypted, &self.policy);
        let mut response = request.send().await.map_err(classify)?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(classify)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(EgressError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let body = body.freeze();
        let refused = status.is_client_error() || status.is_server_error();
        let body = if refused { without_credential(body, sent.as_ref()) } else { body };
        Ok(Response { status, headers, body })
    }
}

/// A refusal without the credential it was sent: servers, and proxies before them, repeat the request in their words at
/// times, and those are shown to people.
fn without_credential(body: Bytes, sent: Option<&HeaderValue>) -> Bytes {
    let Some((_, secret)) = sent.and_then(|value| value.to_str().ok()?.split_once(' ')) else { return body };
    let password = STANDARD.decode(secret).ok().and_then(|pair| String::from_utf8(pair).ok());
    let password = password.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    let told: Vec<&str> = [Some(secret), password]
        .into_iter()
        .flatten()
        .filter(|secret| secret.len() >= SHORTEST_SECRET && text.contains(secret))
        .collect();
    if told.is_empty() {
        return body;
    }
    told.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***")).into()
}

#[expect(clippy::disallowed_methods, reason = "this is the client with the egress guard")]
fn base_builder() -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .gzip(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(DEADLINE)
}

fn classify(error: &reqwest::Error, encrypted: bool, policy: &EgressPolicy) -> EgressError {
    if find::<NotAllowed>(error).is_some() {
        return policy.not_allowed(encrypted);
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return EgressError::Tls(format!("the TLS connection failed ({tls})"));
    }
    if error.is_timeout() {
        return EgressError::Timeout;
    }
    if error.is_connect() {
        return EgressError::Connect;
    }
    if error.is_builder() {
        return EgressError::Internal("the request has no valid form".into());
    }
    EgressError::Truncated
}

/// The first cause of this type. `io::Error` hides the error it wraps from `source`.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
