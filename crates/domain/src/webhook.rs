//! What a tracker tells of its own accord. It is a hint where to look, never taken for the truth.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a delivery points at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Hint {
    /// An item that is new, changed or gone: read it.
    Item {
        /// What [`crate::record::ItemRecord::source_id`] is, where told.
        source_id: Option<String>,
        /// What its `ref_key` is, where told.
        ref_key: Option<String>,
        /// Its key, where told: `ENG-42`, `owner/repo#12`.
        key: Option<String>,
    },
    /// A worklog that the tracker says is gone.
    WorklogGone {
        /// The source's id.
        source_id: String,
    },
    /// A comment that the tracker says is gone.
    CommentGone {
        /// What [`crate::record::CommentRecord::kind`] is.
        kind: String,
        /// The source's id.
        source_id: String,
    },
    /// Something else of a project, a board or a sprint: the next sync reads it, and should come soon.
    Reference,
}

/// Distinct hints.
pub type Hints = BTreeSet<Hint>;
