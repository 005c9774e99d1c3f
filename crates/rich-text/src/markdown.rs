//! Markdown (CommonMark with GitHub's tables, task lists and strikethrough) from the tree, and back.
//!
//! What is written is read again at once: a block that would not come back as it was is written more
//! carefully, and in the end as a placeholder. So nothing is lost by what the writer overlooks.

mod escape;
mod inlines;
mod read;
mod read_inlines;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

use crate::warning::{Warning, WarningKind};

/// How careful the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// As people write it.
    Plain,
    /// Tags for formatting, and every sign escaped.
    Strict,
}

/// Takes out characters that no tracker stores (PostgreSQL refuses NUL, and XML all of these).
pub(crate) fn storable(text: &str, warnings: &mut Vec<Warning>) -> String {
    let bad = |c: char| (c.is_control() && c < ' ' && !matches!(c, '\n' | '\t' | '\r')) || is_noncharacter(c);
    if !text.contains(bad) {
        return text.to_owned();
    }
    warn(warnings, WarningKind::InvalidCharacters, "a control character");
    text.replace(bad, "")
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Warnings about one text; what is wrong with it is clear by then.
const MAX_WARNINGS: usize = 100;

/// Adds a warning once.
pub(crate) fn warn(warnings: &mut Vec<Warning>, kind: WarningKind, what: &str) {
    if warnings.len() < MAX_WARNINGS && !warnings.iter().any(|known| known.kind == kind && known.what == what)
    {
        warnings.push(Warning::new(kind, what));
    }
}
