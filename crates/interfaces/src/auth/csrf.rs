//! Changes asked for by cookie: browsers send cookies along whoever wrote the page, so the page must show that it is
//! ours.

use http::header::ORIGIN;
use http::{HeaderMap, StatusCode};

use crate::problem::Problem;

const TOKEN: &str = "x-csrf-token";
const SITE: &str = "sec-fetch-site";

/// The origins of pages that may ask for changes: scheme, host and port, as browsers write them.
#[derive(Debug, Clone, Default)]
pub struct OwnOrigins(Vec<String>);

impl OwnOrigins {
    /// These origins, such as `https://patchbay.example.org` and `http://localhost:8080`.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        Self(origins.into_iter().collect())
    }

    fn hold(&self, origin: &str) -> bool {
        self.0.iter().any(|own| own == origin)
    }
}

/// Refuses unless what the browser says of the page fits, and the page sent along the token of the session.
pub(super) fn check(headers: &HeaderMap, pages: &OwnOrigins, token: &str) -> Result<(), Problem> {
    let site = one(headers, SITE)?;
    let origin = one(headers, ORIGIN.as_str())?;
    if site.is_none() && origin.is_none() {
        return Err(refused("the request does not say which page it comes from"));
    }
    if site.is_some_and(|site| site != "same-origin") || origin.is_some_and(|origin| !pages.hold(origin)) {
        return Err(refused("the request comes from a page of another site"));
    }
    match one(headers, TOKEN)? {
        Some(given) if same(given.as_bytes(), token.as_bytes()) => Ok(()),
        Some(_) => Err(refused("the X-CSRF-Token is not the one of this session")),
        None => Err(refused("the header X-CSRF-Token is missing")),
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(refused("a header that tells where the request comes from is damaged or there twice")),
    }
}

fn refused(why: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "cross_site", why).with_hint(
        "changes by cookie are taken from pages of this server only, with the header X-CSRF-Token from \
         GET /api/v1/me; programs send an API key instead of a cookie",
    )
}

/// Compares without telling by its duration where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y))) == 0
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    // Security requirement 61.
    #[test]
    fn only_our_own_pages_with_the_sessions_token_may_ask_for_changes() {
        let pages = OwnOrigins::new(["https://patchbay.example".to_owned()]);
        let passes = |list: &[(&'static str, &'static str)]| {
            let headers: HeaderMap = list
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            check(&headers, &pages, "token").is_ok()
        };
        let (own, same) = (("origin", "https://patchbay.example"), ("sec-fetch-site", "same-origin"));
        let token = ("x-csrf-token", "token");
        assert!(passes(&[own, same, token]));
        assert!(passes(&[own, token]));
        assert!(passes(&[same, token]));
        for bad in [
            vec![],
            vec![token],
            vec![own, same],
            vec![own, same, ("x-csrf-token", "Token")],
            vec![own, same, ("x-csrf-token", "")],
            vec![own, same, token, ("x-csrf-token", "token")],
            vec![("origin", "null"), token],
            vec![("origin", "http://patchbay.example"), token],
            vec![("origin", "https://patchbay.example:8443"), token],
            vec![("origin", "https://patchbay.example.evil.example"), token],
            vec![("origin", "https://evil.example"), same, token],
            vec![own, ("origin", "https://evil.example"), token],
            vec![own, ("sec-fetch-site", "cross-site"), token],
            vec![own, ("sec-fetch-site", "same-site"), token],
            vec![own, ("sec-fetch-site", "none"), token],
        ] {
            assert!(!passes(&bad), "{bad:?} passed");
        }
    }
}
