//! People's identities: an OpenID provider to sign in with, and an authorization server whose access tokens are checked.
//! Both are configured by the operator; nothing here is a tenant's.

mod jwks;
mod metadata;
mod provider;
mod tokens;

pub use jwks::{Jwks, KeyAges};
pub use provider::{OidcClient, OidcProvider};
pub use tokens::AccessTokens;

/// The most bytes that are read of a description, a set of keys or an answer of a token endpoint.
const MOST_BYTES: usize = 512 * 1024;
