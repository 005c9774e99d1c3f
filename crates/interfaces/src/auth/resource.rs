//! A server as an OAuth 2.1 resource server: what it is called, and where its description stands (RFC 9728).

use domain::Scope;
use url::Url;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What access tokens must be made for, and what they may grant.
#[derive(Debug, Clone)]
pub struct ProtectedResource {
    /// The address as clients type it; a token's audience must equal it to the letter.
    pub url: Url,
    /// A name for people.
    pub name: &'static str,
    /// The scopes that the server's usual operations need.
    pub scopes: Vec<Scope>,
}

impl ProtectedResource {
    /// The path of its description: the well-known path with the resource's own behind it.
    pub fn metadata_path(&self) -> String {
        format!("{WELL_KNOWN}{}", self.url.path().trim_end_matches('/'))
    }

    /// The same description stands at the root, for clients that look there only.
    pub const fn root_metadata_path() -> &'static str {
        WELL_KNOWN
    }

    /// The address of its description.
    pub fn metadata_url(&self) -> String {
        let mut url = self.url.clone();
        url.set_path(&self.metadata_path());
        url.set_query(None);
        url.to_string()
    }

    /// The scopes as one text.
    pub fn scope_words(&self) -> String {
        self.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_stands_where_rfc_9728_puts_it() {
        for (url, expected) in [
            ("https://host.example/mcp", "https://host.example/.well-known/oauth-protected-resource/mcp"),
            (
                "https://host.example:8443/a/b",
                "https://host.example:8443/.well-known/oauth-protected-resource/a/b",
            ),
            ("https://host.example/", "https://host.example/.well-known/oauth-protected-resource"),
        ] {
            let resource =
                ProtectedResource { url: url.parse().unwrap(), name: "", scopes: vec![Scope::McpSql] };
            assert_eq!(resource.metadata_url(), expected);
        }
    }
}
