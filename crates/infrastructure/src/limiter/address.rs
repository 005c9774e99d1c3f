//! Where Redis is, whom to trust there, and what can be wrong with it.

use std::error::Error as _;
use std::sync::Arc;
use std::{fmt, io};

use redis::{Client, ConnectionAddr, RedisError, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use super::shared::{CONNECT_TIMEOUT, Shared};

/// Where Redis is. Shows and tells no password.
#[derive(Clone)]
pub struct RedisAddress {
    client: Client,
}

/// What is wrong with Redis, in words that hold no password.
#[derive(Debug, thiserror::Error)]
pub enum RedisProblem {
    /// The address cannot be one.
    #[error(
        "the address of Redis is not of the form redis://user:password@host:port/number, or rediss:// for TLS"
    )]
    Address,
    /// The certificates to trust cannot be read.
    #[error(
        "the certificates to trust Redis by cannot be used: {why}; PATCHBAY_REDIS_CA_FILE names a file with certificates in \
         PEM, and goes with an address that begins with rediss://"
    )]
    Authority {
        /// What is wrong.
        why: &'static str,
    },
    /// It shows a certificate that is not to be trusted, or none.
    #[error(
        "Redis at {at} cannot be trusted: {why}; name a file with the certificate of the authority that signed Redis's in \
         PATCHBAY_REDIS_CA_FILE, and use the host name in the address that the certificate was made for"
    )]
    Untrusted {
        /// Host and port.
        at: String,
        /// In the words of TLS.
        why: String,
    },
    /// It answers, and refuses: the password is wrong, or the user may not do what is needed.
    #[error(
        "Redis at {at} refuses: {why}; check the user and password in the address, and that the user may run scripts"
    )]
    Refused {
        /// Host and port.
        at: String,
        /// In its words.
        why: String,
    },
    /// It does not answer, or not in time.
    #[error("Redis at {at} does not answer: {why}; check that it runs and can be reached")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What happened.
        why: String,
    },
}

impl RedisAddress {
    /// Reads an address, such as `rediss://user:password@redis.example.org:6380/0`.
    pub fn parse(url: &SecretString) -> Result<Self, RedisProblem> {
        // The error may quote what it was given.
        Client::open(url.expose_secret()).map(|client| Self { client }).map_err(|_| RedisProblem::Address)
    }

    /// Trusts certificates signed by these authorities (PEM), and no longer those the machine trusts.
    pub fn trusting(self, authorities: &[u8]) -> Result<Self, RedisProblem> {
        let connection = self.client.get_connection_info().clone();
        if !matches!(connection.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(RedisProblem::Authority { why: "the address asks for no TLS" });
        }
        if CertificateDer::pem_slice_iter(authorities).next().is_none() {
            return Err(RedisProblem::Authority { why: "there is no certificate" });
        }
        let trust = TlsCertificates { client_tls: None, root_cert: Some(authorities.to_vec()) };
        Client::build_with_tls(connection, trust)
            .map(|client| Self { client })
            .map_err(|_| RedisProblem::Authority { why: "one of them is damaged" })
    }

    /// Connects and counts once.
    pub async fn check(&self) -> Result<(), RedisProblem> {
        let shared = Shared::new(self.clone(), CONNECT_TIMEOUT);
        shared.connect().await
    }

    /// For other uses of the same server.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn problem(&self, error: &RedisError) -> RedisProblem {
        let at = self.to_string();
        if let Some(tls) = of_tls(error) {
            let why = tls.to_string();
            return match tls {
                rustls::Error::InvalidCertificate(_) => RedisProblem::Untrusted { at, why },
                _ => RedisProblem::Unreachable { at, why: format!("TLS failed, {why}") },
            };
        }
        let refused = error.code().is_some() || error.kind() == redis::ErrorKind::AuthenticationFailed;
        let passing =
            matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY"));
        let why = match (error.code(), error.is_timeout(), error.is_connection_refusal()) {
            (Some(code), ..) => code.to_owned(),
            (None, true, _) => "it took too long".to_owned(),
            (None, _, true) => "the connection was refused".to_owned(),
            (None, ..) => error.category().to_owned(),
        };
        if refused && !passing {
            RedisProblem::Refused { at, why }
        } else {
            RedisProblem::Unreachable { at, why }
        }
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.client.get_connection_info().addr())
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

/// What TLS says of a failure, when it is of TLS: within an error of I/O, as that is what connecting gives.
fn of_tls(error: &RedisError) -> Option<&rustls::Error> {
    let cause = error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    match cause.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref()?.downcast_ref(),
        None => cause.downcast_ref(),
    }
}
