//! Renewal of OAuth 2.0 grants: Atlassian's for Cloud, which rotates the refresh token with every use, and a Data
//! Center's own.

use application::ports::SourceError;
use domain::{Credential, OAuthGrant};
use url::Url;

use super::super::oauth_refresh::{Form, TokenEndpoint, renew};
use super::malformed;
use crate::egress::EgressClient;

/// <https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/#use-a-refresh-token-to-get-another-access-token-and-refresh-token-pair>
const CLOUD: &str = "https://auth.atlassian.com/oauth/token";

/// A new credential; `None` when this one has nothing to renew.
pub(super) async fn renew_credential(
    client: &EgressClient,
    credential: &Credential,
) -> Result<Option<Credential>, SourceError> {
    let Credential::OAuth(grant) = credential else { return Ok(None) };
    let url = match &grant.token_url {
        Some(url) => url.clone(),
        None => Url::parse(CLOUD).map_err(|_| malformed("Atlassian's token endpoint has no address"))?,
    };
    renew(client, TokenEndpoint { tracker: "Jira", form: form(&url), url }, grant).await
}

/// Whether a grant is of Atlassian's authorization server.
pub(super) fn is_cloud(grant: &OAuthGrant) -> bool {
    grant.token_url.as_ref().is_none_or(|url| form(url) == Form::Json)
}

/// Atlassian's authorization server takes JSON at `/oauth/token`; a Data Center's takes what RFC 6749 says, at
/// `/rest/oauth2/latest/token`.
fn form(url: &Url) -> Form {
    if url.path() == "/oauth/token" { Form::Json } else { Form::UrlEncoded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_takes_json_and_data_center_a_form() {
        assert_eq!(form(&Url::parse(CLOUD).unwrap()), Form::Json);
        let own = Url::parse("https://jira.acme.test/jira/rest/oauth2/latest/token").unwrap();
        assert_eq!(form(&own), Form::UrlEncoded);
    }
}
