//! Markdown and the rich text of trackers, both ways, without loss.
//!
//! Everything that reads and writes texts in Patchbay speaks Markdown; the trackers speak the Atlassian
//! Document Format ([`adf`]), Jira's wiki markup ([`wiki`]) and Asana's HTML ([`asana`]). What Markdown cannot
//! say stands in it as a placeholder, `{{keep:mention @Ann 3f2a91bc}}`, and is put back by an edit from the
//! original it came from. The crate does no I/O.

pub mod adf;
pub mod asana;
mod markdown;
mod merge;
mod token;
mod tree;
mod usage;
mod warning;
pub mod wiki;

pub use warning::{Warning, WarningKind};

/// A text of a tracker, as Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text. What Markdown cannot say stands in it as placeholders.
    pub markdown: String,
    /// What a reader does not see, or sees only as a placeholder.
    pub warnings: Vec<Warning>,
}

/// A text for a tracker, made from Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited<T> {
    /// The text as the tracker takes it.
    pub value: T,
    /// What the tracker's format cannot say, what was removed, and which placeholders have no original.
    pub warnings: Vec<Warning>,
}
