//! What an authorization server says of itself (RFC 8414, OpenID Connect Discovery).

use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::MOST_BYTES;
use crate::egress::EgressClient;

/// The part of the description that checking tokens needs.
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
}

/// Where the keys of an issuer are. Asks both well-known addresses, and takes the first description that names exactly
/// this issuer.
pub(super) async fn jwks_uri(http: &EgressClient, issuer: &str) -> Result<Url, String> {
    let mut why = String::new();
    for address in addresses(issuer)? {
        match json::<Metadata>(http, &address).await {
            Ok(metadata) if metadata.issuer == issuer => return Ok(metadata.jwks_uri),
            Ok(_) => {
                why = format!(
                    "{address} describes another issuer; configure the issuer exactly as it names itself"
                );
            }
            Err(error) if why.is_empty() => why = error,
            Err(_) => {}
        }
    }
    Err(why)
}

/// OpenID Connect appends its path to the issuer's, RFC 8414 puts it before.
fn addresses(issuer: &str) -> Result<[Url; 2], String> {
    let wrong = |error| format!("the issuer is not a URL ({error})");
    let openid = Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')));
    let mut oauth = Url::parse(issuer).map_err(wrong)?;
    let path = format!("/.well-known/oauth-authorization-server{}", oauth.path().trim_end_matches('/'));
    oauth.set_path(&path);
    Ok([openid.map_err(wrong)?, oauth])
}

/// GETs a JSON document.
pub(super) async fn json<T: DeserializeOwned>(http: &EgressClient, url: &Url) -> Result<T, String> {
    let accept = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
    let answer = http.get(url, accept).await.map_err(|error| format!("{url} {error}"))?;
    if !answer.status.is_success() {
        return Err(format!("{url} answers with status {}", answer.status.as_u16()));
    }
    if answer.body.len() > MOST_BYTES {
        return Err(format!("{url} answers with more than {} KiB", MOST_BYTES / 1024));
    }
    serde_json::from_slice(&answer.body).map_err(|_| format!("{url} does not answer with the expected JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_well_known_addresses_are_asked() {
        for (issuer, openid, oauth) in [
            (
                "https://id.example",
                "https://id.example/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://id.example/realms/a",
                "https://id.example/realms/a/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server/realms/a",
            ),
            (
                "https://id.example/a/",
                "https://id.example/a/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server/a",
            ),
        ] {
            let found = addresses(issuer).unwrap();
            assert_eq!([found[0].as_str(), found[1].as_str()], [openid, oauth], "{issuer}");
        }
    }
}
