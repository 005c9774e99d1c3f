//! Texts there and back. One binary, as each one is linked with the whole product: a file more
//! costs no link more. A test's name begins with its file's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod adf_corpus;
mod adf_documents;
mod adf_examples;
mod asana_html;
mod support;
mod wiki_markup;
