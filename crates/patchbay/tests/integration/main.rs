//! The assembled product, and its structure. One binary, as each one is linked with the whole product: a file more
//! costs no link more. A test's name begins with its file's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod access_tokens;
mod architecture;
mod id_tokens;
mod issuer;
