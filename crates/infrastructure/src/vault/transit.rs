//! A wrapping key that never leaves its key service: Vault's transit engine, or whatever speaks its API.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::VaultError;
use super::envelope::{Wrapped, wrapped_by_service};
use super::key_wrapper::{KEK_ID_LEN, KekId, KeyWrapper};
use crate::egress::{EgressClient, EgressError, EgressPolicy, Response};

/// The waits before the second and the third attempt.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
const PATIENCE: Duration = Duration::from_secs(5);

/// What a request to the key service is authorised by.
#[derive(Debug, Clone)]
pub enum TransitToken {
    /// The token itself.
    Value(SecretString),
    /// A file with the token, read for each request, so that an agent may renew it.
    File(PathBuf),
}

/// Where the key is.
#[derive(Debug, Clone)]
pub struct TransitSettings {
    /// The key service: `https://vault.example:8200`.
    pub url: Url,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// The key's name there. Its type must take associated data: aes256-gcm96, which is the default.
    pub key: String,
    /// The right to encrypt and decrypt with it, and to make HMACs with it.
    pub token: TransitToken,
}

/// A key of a key service.
#[derive(Clone)]
pub struct TransitKey {
    http: EgressClient,
    /// With a slash at the end.
    engine: Url,
    settings: TransitSettings,
    id: KekId,
}

impl TransitKey {
    /// Checks the settings; asks nothing yet.
    pub fn new(settings: TransitSettings) -> Result<Self, VaultError> {
        let wrong = |what: String| VaultError::KeyServiceRefused(what);
        let loopback = match settings.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if settings.url.scheme() != "https" && !loopback {
            return Err(wrong(
                "PATCHBAY_TRANSIT_URL must begin with https://, except for an agent on this machine"
                    .to_owned(),
            ));
        }
        let named = |text: &str, slash: bool| {
            !text.is_empty()
                && !text.contains("..")
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b) || (slash && b == b'/'))
        };
        let mount = settings.mount.trim_matches('/').to_owned();
        if !named(&mount, true) || !named(&settings.key, false) {
            return Err(wrong(
                "PATCHBAY_TRANSIT_MOUNT and PATCHBAY_TRANSIT_KEY must be plain names: letters, digits, - _ and ."
                    .to_owned(),
            ));
        }
        let mut engine = settings.url.clone();
        engine.set_path(&format!("{}/v1/{mount}/", settings.url.path().trim_end_matches('/')));
        // Not of the address: that may change while the key stays.
        let digest = Sha256::new()
            .chain_update(b"patchbay transit key id v1\0")
            .chain_update(mount.as_bytes())
            .chain_update([0])
            .chain_update(settings.key.as_bytes())
            .finalize();
        let mut id = [0; KEK_ID_LEN];
        id.copy_from_slice(&digest[..KEK_ID_LEN]);
        // The operator names this address, so it may be a private one; whether http is fit was decided above.
        let anywhere = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a network"));
        let http = EgressClient::new(EgressPolicy::new(anywhere.to_vec()))
            .map_err(|error| wrong(format!("no client for the key service: {error}")))?;
        Ok(Self { http, engine, settings, id })
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        verb: &'static str,
        path: &str,
        body: &Value,
        what: &'static str,
    ) -> Result<A, VaultError> {
        let mut attempt = 0;
        loop {
            match self.try_ask(verb, path, body, what).await {
                Err(VaultError::KeyServiceAway(_)) if attempt < RETRY_AFTER.len() => {
                    tokio::time::sleep(RETRY_AFTER[attempt]).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn try_ask<A: DeserializeOwned>(
        &self,
        verb: &'static str,
        path: &str,
        body: &Value,
        what: &'static str,
    ) -> Result<A, VaultError> {
        #[derive(Deserialize)]
        struct Answer<A> {
            data: A,
        }
        let url = self.engine.join(path).map_err(|_| self.refused("has no address for this request"))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        headers.insert("x-vault-token", self.token().await?);
        let body = Bytes::from(body.to_string());
        let sent = self.http.send(Method::POST, &url, headers, Some(body));
        let response = match tokio::time::timeout(PATIENCE, sent).await {
            Err(_) | Ok(Err(EgressError::Timeout)) => {
                return Err(self.away(&format!("did not answer within {} s", PATIENCE.as_secs())));
            }
            Ok(Err(error @ (EgressError::Connect | EgressError::Truncated))) => {
                return Err(self.away(&error.to_string()));
            }
            Ok(Err(error)) => return Err(self.refused(&error.to_string())),
            Ok(Ok(response)) => response,
        };
        if response.status != StatusCode::OK {
            return Err(self.explain(verb, &response, what));
        }
        serde_json::from_slice::<Answer<A>>(&response.body)
            .map(|answer| answer.data)
            .map_err(|_| self.refused(&format!("answered {verb} in a form that transit does not have")))
    }

    /// The token as a header that shows nowhere.
    async fn token(&self) -> Result<HeaderValue, VaultError> {
        let text = match &self.settings.token {
            TransitToken::Value(token) => Zeroizing::new(token.expose_secret().to_owned()),
            TransitToken::File(path) => {
                Zeroizing::new(tokio::fs::read_to_string(path).await.map_err(|error| {
                    self.refused(&format!("cannot be asked: {} cannot be read ({error})", path.display()))
                })?)
            }
        };
        let mut header = HeaderValue::from_str(text.trim())
            .map_err(|_| self.refused("cannot be asked: the token holds line ends or signs"))?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// What a refusal means. Never repeats what the service wrote: that is somebody else's text.
    fn explain(&self, verb: &str, response: &Response, what: &'static str) -> VaultError {
        #[derive(Deserialize)]
        struct Refusal {
            errors: Vec<String>,
        }
        let said = serde_json::from_slice::<Refusal>(&response.body).map(|refusal| refusal.errors.join(" "));
        let says = |words: &str| said.as_ref().is_ok_and(|said| said.contains(words));
        let key = &self.settings.key;
        match response.status.as_u16() {
            503 => self.away("is sealed or in maintenance: unseal it"),
            429 | 500..=599 => self.away(&format!("answered {} to {verb}", response.status.as_u16())),
            403 => self.refused(&format!(
                "refuses the token: it has expired, or its policy does not allow update on {verb}/{key}"
            )),
            404 => self.refused("has no transit engine there: check PATCHBAY_TRANSIT_MOUNT"),
            400 if says("message authentication failed") => VaultError::Sealed(what),
            400 if says("too old") => self.refused(&format!(
                "does not {verb} with that version of {key} any more: lower its min_decryption_version, then rotate again"
            )),
            400 if says("key not found") => self.refused(&format!("has no key {key}: check PATCHBAY_TRANSIT_KEY")),
            400 if says("associated_data") => {
                self.refused(&format!("cannot bind data with {key}: make it of the type aes256-gcm96"))
            }
            other => self.refused(&format!("answered {other} to {verb}/{key}")),
        }
    }

    fn away(&self, why: &str) -> VaultError {
        VaultError::KeyServiceAway(format!("the key service at {} {why}", self.place()))
    }

    fn refused(&self, why: &str) -> VaultError {
        VaultError::KeyServiceRefused(format!("the key service at {} {why}", self.place()))
    }

    fn place(&self) -> String {
        self.settings.url.origin().ascii_serialization()
    }

    /// What a wrapping is bound to, in the form the service wants.
    fn bound(&self, purpose: &str) -> String {
        STANDARD.encode(format!("v1|{purpose}|{}", hex::encode(self.id)))
    }

    /// The key's version and the HMAC under it.
    async fn hmac(
        &self,
        input: &[u8],
        version: Option<u32>,
    ) -> Result<(u32, Zeroizing<Vec<u8>>), VaultError> {
        #[derive(Deserialize)]
        struct Data {
            hmac: String,
        }
        let body = json!({"input": STANDARD.encode(input), "key_version": version.unwrap_or(0)});
        let path = format!("hmac/{}/sha2-256", self.settings.key);
        let data: Data = self.ask("hmac", &path, &body, "password").await?;
        let hmac = Zeroizing::new(data.hmac);
        versioned(&hmac)
            .and_then(|(version, text)| Some((version, Zeroizing::new(STANDARD.decode(text).ok()?))))
            .ok_or_else(|| self.refused("answered hmac in a form that transit does not have"))
    }
}

/// `vault:v3:text` as `(3, "text")`.
fn versioned(text: &str) -> Option<(u32, &str)> {
    let (version, text) = text.strip_prefix("vault:v")?.split_once(':')?;
    Some((version.parse().ok()?, text))
}

#[async_trait]
impl KeyWrapper for TransitKey {
    fn id(&self) -> KekId {
        self.id
    }

    async fn current(&self) -> Result<String, VaultError> {
        let (version, _) = self.hmac(b"patchbay key version", None).await?;
        Ok(format!("{}:v{version}", hex::encode(self.id)))
    }

    async fn wrap(&self, purpose: &str, key: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
        #[derive(Deserialize)]
        struct Data {
            ciphertext: String,
        }
        let body = json!({"plaintext": STANDARD.encode(key), "associated_data": self.bound(purpose)});
        let path = format!("encrypt/{}", self.settings.key);
        let data: Data = self.ask("encrypt", &path, &body, "key").await?;
        if versioned(&data.ciphertext).is_none() {
            return Err(self.refused("answered encrypt in a form that transit does not have"));
        }
        Ok(wrapped_by_service(self.id, &data.ciphertext))
    }

    async fn unwrap(
        &self,
        purpose: &str,
        wrapped: &Wrapped<'_>,
        what: &'static str,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        #[derive(Deserialize)]
        struct Data {
            plaintext: String,
        }
        let malformed = || VaultError::Sealed(what);
        let ciphertext =
            wrapped.of_service().filter(|text| versioned(text).is_some()).ok_or_else(malformed)?;
        let body = json!({"ciphertext": ciphertext, "associated_data": self.bound(purpose)});
        let path = format!("decrypt/{}", self.settings.key);
        let data: Data = self.ask("decrypt", &path, &body, what).await?;
        let text = Zeroizing::new(data.plaintext);
        let plain = Zeroizing::new(STANDARD.decode(text.as_bytes()).map_err(|_| malformed())?);
        Ok(Zeroizing::new(plain.as_slice().try_into().map_err(|_| malformed())?))
    }

    async fn role_passwords(&self, role: &str) -> Result<Vec<SecretString>, VaultError> {
        let input = [b"patchbay role password v1\0", role.as_bytes(), b"\0"].concat();
        let (version, latest) = self.hmac(&input, None).await?;
        let mut passwords: Vec<SecretString> = vec![hex::encode(latest.as_slice()).into()];
        if version > 1 {
            // The one before: until the next migration or rotation the roles still have it. A key may forbid it.
            match self.hmac(&input, Some(version - 1)).await {
                Ok((_, before)) => passwords.push(hex::encode(before.as_slice()).into()),
                Err(VaultError::KeyServiceRefused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(passwords)
    }
}

impl fmt::Debug for TransitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransitKey({} at {})", self.settings.key, self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, mount: &str, key: &str) -> TransitSettings {
        let token = TransitToken::Value("hvs.secret".to_owned().into());
        TransitSettings { url: url.parse().unwrap(), mount: mount.into(), key: key.into(), token }
    }

    #[test]
    fn only_fit_addresses_and_names_are_taken() {
        for (url, mount, key) in [
            ("https://vault:8200", "transit", "patchbay"),
            ("https://10.0.0.7:8200/", "kv/transit/", "patchbay.prod"),
            ("http://127.0.0.1:8200", "transit", "patchbay"),
            ("http://localhost:8100", "transit", "patchbay"),
        ] {
            TransitKey::new(settings(url, mount, key)).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        for (url, mount, key) in [
            ("http://vault:8200", "transit", "patchbay"),
            ("http://10.0.0.7:8200", "transit", "patchbay"),
            ("https://vault:8200", "", "patchbay"),
            ("https://vault:8200", "../sys", "patchbay"),
            ("https://vault:8200", "transit", "a/b"),
            ("https://vault:8200", "transit", "a?b"),
        ] {
            TransitKey::new(settings(url, mount, key)).expect_err(url);
        }
    }

    // Security requirement 58.
    #[test]
    fn debug_shows_no_token() {
        let settings = settings("https://vault:8200", "transit", "patchbay");
        let shown = format!("{settings:?} {:?}", TransitKey::new(settings.clone()).unwrap());
        assert!(!shown.contains("hvs"), "{shown}");
    }
}
