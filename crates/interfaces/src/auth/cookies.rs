//! The two cookies. `__Host-` makes browsers keep them to this very host, to `/` and to TLS (or localhost), so that no
//! other host, subdomains included, can set or read them.

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

/// A signed-in browser.
const SESSION: &str = "__Host-patchbay";
/// A browser with a sign-in under way.
const SIGN_IN: &str = "__Host-patchbay-sign-in";

/// The session cookie. An error when there are several: nobody can tell whose the request is.
pub(crate) fn session(headers: &HeaderMap) -> Result<Option<SecretString>, &'static str> {
    one(headers, SESSION)
}

/// The cookie of a sign-in under way.
pub(crate) fn sign_in(headers: &HeaderMap) -> Option<SecretString> {
    one(headers, SIGN_IN).ok().flatten()
}

/// Sets the session cookie.
pub(crate) fn set_session(cookie: &SecretString, lifetime: Duration) -> Option<HeaderValue> {
    set(SESSION, cookie.expose_secret(), lifetime)
}

/// Sets the cookie of a sign-in under way.
pub(crate) fn set_sign_in(cookie: &SecretString, lifetime: Duration) -> Option<HeaderValue> {
    set(SIGN_IN, cookie.expose_secret(), lifetime)
}

/// Removes the session cookie.
pub(crate) fn forget_session() -> Option<HeaderValue> {
    set(SESSION, "", Duration::ZERO)
}

/// Removes the cookie of a sign-in under way.
pub(crate) fn forget_sign_in() -> Option<HeaderValue> {
    set(SIGN_IN, "", Duration::ZERO)
}

/// Lax, not Strict: the return from the identity provider is a navigation from another site.
fn set(name: &str, value: &str, lifetime: Duration) -> Option<HeaderValue> {
    let seconds = lifetime.as_secs();
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn one(headers: &HeaderMap, wanted: &str) -> Result<Option<SecretString>, &'static str> {
    let mut found = None;
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    for (name, value) in lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
    {
        if name == wanted && found.replace(value).is_some() {
            return Err("there is more than one session cookie");
        }
    }
    Ok(found.map(|value| value.to_owned().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(line: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(line))])
    }

    // Security requirement 60.
    #[test]
    fn cookies_are_kept_to_this_host_and_from_scripts() {
        let secret = "abc".to_owned().into();
        for value in [set_session(&secret, Duration::from_secs(60)), set_sign_in(&secret, Duration::ZERO)] {
            let value = value.unwrap();
            let text = value.to_str().unwrap();
            assert!(text.starts_with("__Host-"), "{text}");
            for attribute in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
                assert!(text.contains(attribute), "{text} lacks {attribute}");
            }
            assert!(!text.to_ascii_lowercase().contains("domain"), "{text}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_only_once() {
        let found = |line| session(&cookies(line)).map(|found| found.map(|c| c.expose_secret().to_owned()));
        assert_eq!(found("a=b; __Host-patchbay=x; c=d").unwrap().as_deref(), Some("x"));
        assert_eq!(found("patchbay=x; __Host-patchbay-sign-in=y").unwrap(), None);
        assert!(found("__Host-patchbay=x; __Host-patchbay=y").is_err());
    }
}
