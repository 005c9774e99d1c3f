//! Where and how to connect, from sqlx's options: what is set for one way to the database holds for the other as well.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PipelineError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// As sqlx sends them with each connection.
const SESSION: &str = "-c TimeZone=UTC -c DateStyle=ISO,MDY -c extra_float_digits=2";

/// How to connect, and how to encrypt.
pub(super) fn config(options: &PgConnectOptions) -> Result<(Config, MakeRustlsConnect), PipelineError> {
    let mut config = Config::new();
    match options.get_socket() {
        Some(path) => config.host_path(path),
        None => config.host(options.get_host()),
    };
    config.port(options.get_port()).user(options.get_username());
    config.options(format!("{} {SESSION}", options.get_options().unwrap_or_default()));
    if let Some(name) = options.get_database() {
        config.dbname(name);
    }
    if let Some(name) = options.get_application_name() {
        config.application_name(name);
    }
    let mode = options.get_ssl_mode();
    config.ssl_mode(match mode {
        PgSslMode::Disable | PgSslMode::Allow => SslMode::Disable,
        PgSslMode::Prefer => SslMode::Prefer,
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => SslMode::Require,
    });
    // There is no other way to what these hold than their address, which must be one: names are replaced.
    let url = options.clone().host("localhost").username("role").database("database").to_url_lossy();
    if let Some(password) = url.password() {
        config.password(percent_encoding::percent_decode_str(password).collect::<Vec<u8>>());
    }
    let given = |name: &str| {
        let value = url.query_pairs().find(|(known, _)| known == name);
        value.map(|(_, value)| pem(&value)).transpose()
    };
    let (root, certificate, key) = (given("sslrootcert")?, given("sslcert")?, given("sslkey")?);
    let config_of_tls =
        client(mode, root.as_deref(), certificate.zip(key)).map_err(PipelineError::Address)?;
    Ok((config, MakeRustlsConnect::new(config_of_tls)))
}

/// A certificate or key: given as text, or the name of its file.
fn pem(given: &str) -> Result<Vec<u8>, PipelineError> {
    if given.starts_with("-----BEGIN") {
        return Ok(given.as_bytes().to_vec());
    }
    // This is how sqlx shows it.
    let file = given.strip_prefix("file: ").unwrap_or(given);
    std::fs::read(file).map_err(|error| PipelineError::Address(format!("{file}: {error}").into()))
}

/// Only `verify-ca` and `verify-full` look at the server's certificate, and only the latter at the name in it.
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>
fn client(
    mode: PgSslMode,
    root: Option<&[u8]>,
    own: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let known = |provider| -> Result<_, BoxError> {
        Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots(root)?), provider).build()?)
    };
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        PgSslMode::VerifyFull => known(provider)?,
        PgSslMode::VerifyCa => Arc::new(AnyName(known(provider)?)),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => {
            Arc::new(Anybody(provider))
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(match own {
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&key)?)?
        }
        None => builder.with_no_client_auth(),
    })
}

/// Whom certificates are believed from: the system's authorities, and the one that was named.
fn roots(named: Option<&[u8]>) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(known, "Authorities of this system for the database's certificate");
    for certificate in named.into_iter().flat_map(CertificateDer::pem_slice_iter) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

/// Encrypts towards whoever answers.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

/// Believes a certificate whatever name stands in it.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match self.0.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
