//! Signing in with an OpenID provider: authorization code, PKCE, nonce, and every check on the ID token.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use application::ports::{BegunSignIn, Clock, Identity, IdentityError, IdentityProvider, ReturnedSignIn};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use futures::future::BoxFuture;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
    CoreIdTokenClaims, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
    CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
    CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AdditionalProviderMetadata, AsyncHttpClient, AuthType, AuthenticationFlow,
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, DiscoveryError, HttpRequest, HttpResponse,
    IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata,
    RedirectUrl, RequestTokenError, Scope, TokenResponse,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::MOST_BYTES;
use crate::egress::{EgressClient, EgressError};

/// How long the provider's description is used for sending people there; what they come back with is checked against
/// a fresh one.
const DESCRIBED_FOR: Duration = Duration::from_secs(10 * 60);
const SKEW: TimeDelta = TimeDelta::seconds(60);
/// Signatures with a public key only: with HS*, whoever knows the client's secret could make tokens.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What OpenID Connect Discovery does not have, and RFC 8414 and RFC 9207 add.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
struct Further {
    code_challenge_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

impl AdditionalProviderMetadata for Further {}

type Description = ProviderMetadata<
    Further,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Patchbay as the provider knows it.
#[derive(Debug, Clone)]
pub struct OidcClient {
    /// The provider, exactly as it names itself.
    pub issuer: String,
    /// The client's id there.
    pub id: String,
    /// The client's secret; `None` for a public client.
    pub secret: Option<SecretString>,
}

/// [`IdentityProvider`] over HTTP.
pub struct OidcProvider {
    http: Carrier,
    client: OidcClient,
    issuer_url: IssuerUrl,
    clock: Arc<dyn Clock>,
    description: RwLock<Option<(Arc<Description>, Instant)>>,
}

impl std::fmt::Debug for OidcProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OidcProvider({})", self.client.issuer)
    }
}

impl OidcProvider {
    /// A provider that is asked when somebody signs in. Fails when the issuer is no URL.
    pub fn new(
        http: EgressClient,
        client: OidcClient,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, url::ParseError> {
        let issuer_url = IssuerUrl::new(client.issuer.clone())?;
        Ok(Self { http: Carrier(http), client, issuer_url, clock, description: RwLock::default() })
    }

    /// The provider's description with its keys, at most this old.
    async fn describe(&self, at_most: Duration) -> Result<Arc<Description>, IdentityError> {
        let kept = self.description.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((description, at)) = kept
            && at.elapsed() < at_most
        {
            return Ok(description);
        }
        let description =
            Description::discover_async(self.issuer_url.clone(), &self.http).await.map_err(|error| {
                unavailable(match &error {
                    DiscoveryError::Request(error) => format!("{} {error}", self.client.issuer),
                    DiscoveryError::Response(status, ..) => {
                        format!("{} answers with status {}", self.client.issuer, status.as_u16())
                    }
                    DiscoveryError::Validation(_) => format!(
                        "{} describes another issuer; configure the issuer exactly as it names itself",
                        self.client.issuer
                    ),
                    _ => format!("{} does not describe an OpenID provider", self.client.issuer),
                })
            })?;
        let methods = &description.additional_metadata().code_challenge_methods_supported;
        if methods.as_ref().is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err(unavailable(format!("{} does not support PKCE with S256", self.client.issuer)));
        }
        let description = Arc::new(description);
        let entry = Some((description.clone(), Instant::now()));
        *self.description.write().unwrap_or_else(PoisonError::into_inner) = entry;
        Ok(description)
    }

    fn secret(&self) -> Option<ClientSecret> {
        self.client.secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().to_owned()))
    }

    /// RFC 9207: the answer must come from where the browser was sent.
    fn check_issuer(&self, description: &Description, told: Option<&str>) -> Result<(), IdentityError> {
        let promised = description.additional_metadata().authorization_response_iss_parameter_supported;
        match told {
            Some(issuer) if issuer == self.client.issuer => Ok(()),
            Some(_) => Err(refused("the answer came from another issuer")),
            None if promised == Some(true) => {
                Err(refused("the answer does not say which issuer it comes from"))
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl IdentityProvider for OidcProvider {
    fn issuer(&self) -> &str {
        &self.client.issuer
    }

    async fn begin(&self, redirect_uri: &Url, state: &SecretString) -> Result<BegunSignIn, IdentityError> {
        let description = self.describe(DESCRIBED_FOR).await?;
        let id = ClientId::new(self.client.id.clone());
        let client = CoreClient::from_provider_metadata((*description).clone(), id, None)
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = CsrfToken::new(state.expose_secret().to_owned());
        let (url, _, nonce) = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || state,
                Nonce::new_random,
            )
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        Ok(BegunSignIn {
            authorization_url: url,
            nonce: nonce.secret().clone(),
            pkce_verifier: verifier.secret().clone().into(),
        })
    }

    async fn finish(&self, redirect_uri: &Url, returned: ReturnedSignIn) -> Result<Identity, IdentityError> {
        // Afresh, so that keys that were changed since are known.
        let description = self.describe(Duration::ZERO).await?;
        self.check_issuer(&description, returned.issuer.as_deref())?;
        let id = ClientId::new(self.client.id.clone());
        let mut client = CoreClient::from_provider_metadata((*description).clone(), id, self.secret())
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
        let methods = description.token_endpoint_auth_methods_supported();
        let has = |method| methods.is_some_and(|methods| methods.contains(&method));
        if has(CoreClientAuthMethod::ClientSecretPost) && !has(CoreClientAuthMethod::ClientSecretBasic) {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        let response = client
            .exchange_code(AuthorizationCode::new(returned.code.expose_secret().to_owned()))
            .map_err(|_| unavailable("it has no token endpoint".into()))?
            .set_pkce_verifier(PkceCodeVerifier::new(returned.pkce_verifier.expose_secret().to_owned()))
            .request_async(&self.http)
            .await
            .map_err(|error| match error {
                // The provider's words stay out: they may repeat the code.
                RequestTokenError::ServerResponse(told) => {
                    tracing::warn!(oauth.error = %told.error(), "The identity provider refused a code");
                    refused("it refused the code; sign in again")
                }
                RequestTokenError::Request(error) => unavailable(format!("its token endpoint {error}")),
                RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                    unavailable("its token endpoint does not answer as one should".into())
                }
            })?;
        let Some(id_token) = response.id_token() else { return Err(refused("it gave no ID token")) };
        let now = self.clock.now();
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            // Expiry is compared without allowance, so our clock is put back by it.
            .set_time_fn(move || now - SKEW)
            .set_issue_time_verifier_fn(move |issued| match issued <= now + SKEW {
                true => Ok(()),
                false => Err("issued in the future".to_owned()),
            });
        let claims = id_token.claims(&verifier, &Nonce::new(returned.nonce)).map_err(|error| {
            tracing::warn!(%error, "An ID token was refused");
            refused("its ID token does not hold")
        })?;
        if claims.authorized_party().is_some_and(|party| party.as_str() != self.client.id) {
            return Err(refused("its ID token was made for another client"));
        }
        let mut person = person_of(&self.client.issuer, claims);
        if person.email.is_empty() {
            // Some providers put the address into the ID token only on request.
            let token = AccessToken::new(response.access_token().secret().clone());
            let info: CoreUserInfoClaims = client
                .user_info(token, Some(claims.subject().clone()))
                .map_err(|_| refused("it tells no e-mail address"))?
                .request_async(&self.http)
                .await
                .map_err(|_| refused("it tells no e-mail address"))?;
            person.email = info.email().map(|email| email.as_str().to_owned()).unwrap_or_default();
            person.email_verified = info.email_verified().unwrap_or(false);
            person.name = person.name.or_else(|| name_of(info.name()));
        }
        if !domain_like(&person.email) {
            return Err(refused("it tells no e-mail address; let it include the claim `email`"));
        }
        Ok(person)
    }

    async fn probe(&self) -> Result<(), IdentityError> {
        self.describe(Duration::ZERO).await.map(drop)
    }
}

fn person_of(issuer: &str, claims: &CoreIdTokenClaims) -> Identity {
    Identity {
        issuer: issuer.to_owned(),
        subject: claims.subject().as_str().to_owned(),
        email: claims.email().map(|email| email.as_str().to_owned()).unwrap_or_default(),
        email_verified: claims.email_verified().unwrap_or(false),
        name: name_of(claims.name()),
    }
}

fn name_of(name: Option<&openidconnect::LocalizedClaim<openidconnect::EndUserName>>) -> Option<String> {
    let name: String = name?.get(None)?.as_str().chars().filter(|c| !c.is_control()).take(200).collect();
    Some(name).filter(|name| !name.trim().is_empty())
}

/// Enough of an address to be one; whether it is the person's, the provider vouches for.
fn domain_like(email: &str) -> bool {
    email.len() <= 320
        && !email.chars().any(|c| c.is_control() || c.is_whitespace())
        && email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
}

/// Carries the crate's requests over our client.
struct Carrier(EgressClient);

impl<'c> AsyncHttpClient<'c> for Carrier {
    type Error = EgressError;
    type Future = BoxFuture<'c, Result<HttpResponse, EgressError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let url = Url::parse(&head.uri.to_string())
                .map_err(|_| EgressError::Internal("the address is not a URL".into()))?;
            let body = Some(Bytes::from(body)).filter(|body| !body.is_empty());
            let answer = self.0.send(head.method, &url, head.headers, body).await?;
            if answer.body.len() > MOST_BYTES {
                return Err(EgressError::TooLarge);
            }
            let mut response = HttpResponse::new(answer.body.into());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

fn unavailable(why: String) -> IdentityError {
    IdentityError::Unavailable(why)
}

fn refused(why: &str) -> IdentityError {
    IdentityError::Refused(why.to_owned())
}
