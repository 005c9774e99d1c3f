//! Where a browser goes after a sign-in: a path of this server, so that the sign-in cannot be used to send people away.

use domain::Invalid;

const MOST: usize = 512;

/// A path of this server, with its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// Accepts what every browser takes for a path: it begins with exactly one slash and holds no backslash and nothing
    /// but visible ASCII.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let local = text.starts_with('/')
            && !text[1..].starts_with('/')
            && text.len() <= MOST
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if local {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::one(
                "/return_to",
                "must be a path of this server: beginning with one slash, visible ASCII, at most 512 characters",
            ))
        }
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ReturnTo {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_taken() {
        for ok in ["/", "/docs", "/console/items?status=todo&x=%2F%2Fevil", "/a//b"] {
            let url = url::Url::parse("http://localhost:8080/auth/callback").unwrap().join(ok).unwrap();
            assert_eq!(url.host_str(), Some("localhost"), "{ok}");
            assert!(ReturnTo::parse(ok).is_ok(), "{ok} was refused");
        }
        let long = format!("/{}", "a".repeat(MOST));
        for bad in [
            "",
            "docs",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/a b",
            "/a\r\nSet-Cookie: x",
            "/ü",
            "javascript:alert(1)",
            &long,
        ] {
            assert!(ReturnTo::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
