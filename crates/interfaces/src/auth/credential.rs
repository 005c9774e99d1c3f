//! What a caller presents.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::SecretString;

use super::cookies;

/// Names the tenant for people who belong to several, beside an access token.
pub const TENANT_HEADER: &str = "patchbay-tenant";
const MOST_SLUG: usize = 63;

/// What a caller presents.
#[derive(Debug)]
pub enum Credential {
    /// An API key.
    Key(SecretString),
    /// An access token of the authorization server.
    Token {
        /// The token.
        token: SecretString,
        /// The tenant it is to be used in.
        tenant: Option<String>,
    },
    /// The cookie of a signed-in browser.
    Session(SecretString),
}

impl Credential {
    /// Reads the headers, or says what is wrong with them. A cookie counts only without `Authorization`.
    pub(super) fn of(headers: &HeaderMap, sessions: bool) -> Result<Self, &'static str> {
        if sessions && !headers.contains_key(AUTHORIZATION) {
            return match cookies::session(headers)? {
                Some(cookie) => Ok(Self::Session(cookie)),
                None => Err("an API key, an access token or a session is needed"),
            };
        }
        let token = bearer(headers)?;
        // By its first characters: a mangled key is told so, and not called a bad token.
        if token.starts_with("pb_") {
            return Ok(Self::Key(token.into()));
        }
        Ok(Self::Token { token: token.into(), tenant: tenant(headers)? })
    }

    /// `key`, `token` or `session`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Token { .. } => "token",
            Self::Session(_) => "session",
        }
    }
}

/// The token of `Authorization: Bearer`, or what is wrong with the header.
fn bearer(headers: &HeaderMap) -> Result<String, &'static str> {
    const FORM: &str = "the Authorization header is not of the form `Bearer <API key or access token>`";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or("an API key or an access token is needed")?;
    if values.next().is_some() {
        return Err("there is more than one Authorization header");
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(FORM)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(FORM);
    }
    Ok(token.trim().to_owned())
}

fn tenant(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("there is more than one Patchbay-Tenant header");
    }
    let slug = value.to_str().ok().filter(|slug| slug.len() <= MOST_SLUG);
    slug.map(|slug| Some(slug.to_owned())).ok_or("the Patchbay-Tenant header is not a tenant's short name")
}

/// Whether a query string holds something that belongs into a header.
pub(super) fn holds_token(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        matches!(name.as_ref(), "access_token" | "token" | "api_key" | "apikey" | "key" | "authorization")
            || domain::ApiKey::parse(&value).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for ok in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(bearer(&headers(ok)).unwrap(), "abc", "{ok}");
        }
        for bad in ["abc", "Basic abc", "Bearer ", "Bearer"] {
            assert!(bearer(&headers(bad)).is_err(), "{bad} was accepted");
        }
        assert!(bearer(&HeaderMap::new()).is_err());
    }

    #[test]
    fn two_authorization_headers_are_refused() {
        let mut two = headers("Bearer abc");
        two.append(AUTHORIZATION, HeaderValue::from_static("Bearer def"));
        assert!(bearer(&two).is_err());
    }

    #[test]
    fn a_token_in_the_query_is_recognised_by_name() {
        assert!(holds_token("limit=1&access_token=x"));
        assert!(!holds_token("limit=1&label=token"));
    }

    #[test]
    fn a_cookie_counts_only_where_sessions_do_and_only_without_authorization() {
        let mut both = headers("Bearer pb_x");
        both.insert("cookie", HeaderValue::from_static("__Host-patchbay=abc"));
        assert!(matches!(Credential::of(&both, true), Ok(Credential::Key(_))));
        both.remove(AUTHORIZATION);
        assert!(matches!(Credential::of(&both, true), Ok(Credential::Session(_))));
        assert!(Credential::of(&both, false).is_err(), "an MCP server takes no cookie");
    }
}
