//! Who may be asked for, and from which pages: `Host` and `Origin` of every request, before anything else is looked at.
//! Without it a page anywhere could reach a server on the user's own machine by a name it points there (DNS rebinding).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};
use url::{Origin, Url};

use super::McpConfig;
use crate::problem::Problem;

/// What is accepted.
#[derive(Debug, Clone)]
pub(super) struct Front {
    hosts: Arc<[String]>,
    origins: Arc<[Origin]>,
}

impl Front {
    pub(super) fn new(config: &McpConfig) -> Self {
        let origins = config.origins().iter().filter_map(|text| origin(text)).collect();
        Self { hosts: config.hosts().into(), origins }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = host(uri, headers)?;
        if !self.hosts.iter().any(|own| own.eq_ignore_ascii_case(&host)) {
            return Err(refused("forbidden_host", "the Host header names another host than this server's")
                .with_hint("use the server's own address; operators: set it with PATCHBAY_PUBLIC_URL"));
        }
        let mut values = headers.get_all(ORIGIN).iter();
        let Some(value) = values.next() else { return Ok(()) };
        if values.next().is_some() {
            return Err(refused("forbidden_origin", "there is more than one Origin header"));
        }
        let known = value.to_str().ok().and_then(origin).is_some_and(|origin| self.origins.contains(&origin));
        if known {
            return Ok(());
        }
        Err(refused("forbidden_origin", "pages of this origin may not call this server")
            .with_hint("operators: allow it, with scheme and port, in PATCHBAY_MCP_ALLOWED_ORIGINS"))
    }
}

/// 403 for other hosts and origins.
pub(super) async fn check(State(front): State<Front>, request: Request, next: Next) -> Response {
    match front.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// The host's name without its port: which port a proxy listens on says nothing.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(HOST).iter();
    let authority = match (values.next(), values.next()) {
        (None, _) => uri.authority().cloned(),
        (Some(value), None) => value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()),
        (Some(_), Some(_)) => None,
    };
    let authority = authority.filter(|authority| !authority.as_str().contains('@'));
    authority.map(|authority| authority.host().to_owned()).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_host",
            "the Host header is missing, damaged or there twice",
        )
    })
}

/// Scheme, host and port; `None` for `null` and for anything that is more than an origin.
fn origin(text: &str) -> Option<Origin> {
    let url = Url::parse(text).ok()?;
    let (_, rest) = text.split_once("://")?;
    let origin = url.origin();
    (origin.is_tuple() && !rest.contains(['/', '?', '#', '@'])).then_some(origin)
}

fn refused(code: &'static str, why: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, why)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn status(headers: &[(&'static str, &'static str)]) -> u16 {
        let config = McpConfig {
            public_url: "https://patchbay.example".parse().ok(),
            resource: "https://mcp.example:8443/mcp".parse().unwrap(),
            allowed_origins: vec!["https://console.example".into(), "http://localhost:3000".into()],
            sse: false,
            shutdown: CancellationToken::new(),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let uri = Uri::from_static("/tools/invoke");
        Front::new(&config).check(&uri, &map).map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    // Security requirement 28.
    #[test]
    fn only_own_hosts_and_listed_origins_pass() {
        for host in ["localhost", "127.0.0.1:8056", "[::1]:8056", "patchbay.example", "MCP.example:8443"] {
            assert_eq!(status(&[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.2", "patchbay.example."] {
            assert_eq!(status(&[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&[]), 400, "no host");
        assert_eq!(status(&[("host", "localhost"), ("host", "localhost")]), 400, "twice");
        assert_eq!(status(&[("host", "user@localhost")]), 400);
        for origin in [
            "https://console.example",
            "https://console.example:443",
            "http://localhost:3000",
            "https://patchbay.example",
            "https://mcp.example:8443",
        ] {
            assert_eq!(status(&[("host", "localhost"), ("origin", origin)]), 200, "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://console.example",
            "https://console.example:8443",
            "http://localhost",
            "http://localhost:3001",
            "https://mcp.example",
            "https://console.example/",
            "https://console.example@evil.example",
            "file://",
        ] {
            assert_eq!(status(&[("host", "localhost"), ("origin", origin)]), 403, "{origin}");
        }
        let own = ("origin", "https://console.example");
        assert_eq!(status(&[("host", "localhost"), own, own]), 403, "twice");
    }
}
