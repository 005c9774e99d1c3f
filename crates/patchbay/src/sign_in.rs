//! The OpenID provider people sign in with, and the authorization server whose access tokens are taken.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, bail};
use application::ports::{Clock, IdentityProvider, TokenVerifier};
use infrastructure::clock::SystemClock;
use infrastructure::egress::{EgressClient, EgressPolicy};
use infrastructure::identity::{AccessTokens, Jwks, OidcClient, OidcProvider};
use url::Url;

use crate::cli::SignInArgs;
use crate::config;

/// What is configured of the two.
#[derive(Clone, Default)]
pub(crate) struct SignIn {
    pub(crate) provider: Option<Arc<dyn IdentityProvider>>,
    pub(crate) tokens: Option<Arc<dyn TokenVerifier>>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignIn")
    }
}

impl SignIn {
    /// Reads the configuration. Nobody is asked yet: an identity provider that is away stops no start.
    pub(crate) fn new(args: &SignInArgs) -> anyhow::Result<Self> {
        let secret =
            config::given(args.oidc_client_secret.as_ref(), args.oidc_client_secret_file.as_deref())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = EgressClient::new(EgressPolicy::of_operator())?;
        let provider: Option<Arc<dyn IdentityProvider>> = match (&args.oidc_issuer, &args.oidc_client_id) {
            (Some(issuer), Some(id)) => {
                check(issuer, "PATCHBAY_OIDC_ISSUER")?;
                let client = OidcClient { issuer: issuer.clone(), id: id.clone(), secret };
                Some(Arc::new(OidcProvider::new(http.clone(), client, clock.clone())?))
            }
            (None, None) if secret.is_none() => None,
            (Some(_), None) => bail!(
                "PATCHBAY_OIDC_ISSUER is set without PATCHBAY_OIDC_CLIENT_ID: register Patchbay at the provider and \
                 set the client's id"
            ),
            (None, _) => bail!(
                "PATCHBAY_OIDC_CLIENT_ID or PATCHBAY_OIDC_CLIENT_SECRET is set without PATCHBAY_OIDC_ISSUER: set the \
                 provider's issuer, exactly as it names itself"
            ),
        };
        let issuer = args.oauth_issuer.as_ref().or(args.oidc_issuer.as_ref());
        let tokens = match issuer {
            Some(issuer) => {
                check(issuer, "PATCHBAY_OAUTH_ISSUER")?;
                let tokens = AccessTokens::new(Jwks::new(http, issuer), clock);
                Some(Arc::new(tokens) as Arc<dyn TokenVerifier>)
            }
            None => None,
        };
        Ok(Self { provider, tokens })
    }

    /// Asks both, for `patchbay doctor`.
    pub(crate) async fn probe(&self) -> Vec<(&'static str, anyhow::Result<()>)> {
        let mut findings = Vec::new();
        if let Some(provider) = &self.provider {
            findings.push(("OpenID provider", provider.probe().await.map_err(anyhow::Error::new)));
        }
        if let Some(tokens) = &self.tokens {
            findings.push(("authorization server", tokens.probe().await.map_err(anyhow::Error::new)));
        }
        findings
    }
}

/// What every issuer must be; the rest shows when it is asked.
fn check(issuer: &str, name: &str) -> anyhow::Result<()> {
    let url = Url::parse(issuer).with_context(|| format!("{name} is not a URL"))?;
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        bail!("{name} must be the issuer's plain URL, without user, query and fragment");
    }
    let policy = EgressPolicy::of_operator();
    policy.check_url(&url).with_context(|| format!("{name} cannot be used"))
}
