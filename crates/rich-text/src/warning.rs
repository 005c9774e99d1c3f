use std::fmt;

/// Something a conversion could not say in the other format, or changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Warning {
    /// What kind of thing happened.
    pub kind: WarningKind,
    /// What it happened to: a type of node, a placeholder, a formatting.
    pub what: String,
}

/// The kinds of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WarningKind {
    /// Shown as a placeholder; kept as long as the placeholder stays in the text.
    Placeholder,
    /// Not shown; kept as long as the block it belongs to stays in the text.
    Hidden,
    /// Its placeholder was taken out of the text, so it was removed.
    Removed,
    /// A placeholder that stands for nothing in the original; it was kept as plain text.
    MissingOriginal,
    /// The tracker's format cannot say it; its text was kept, its form was not.
    Simplified,
    /// Characters that no tracker or database stores (such as NUL) were taken out.
    InvalidCharacters,
    /// Nested deeper than is converted; shown flat or as a placeholder.
    TooDeep,
}

impl Warning {
    pub(crate) fn new(kind: WarningKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// Whether the text that was asked for could not be written as asked.
    pub fn is_loss(&self) -> bool {
        matches!(
            self.kind,
            WarningKind::MissingOriginal
                | WarningKind::Simplified
                | WarningKind::InvalidCharacters
                | WarningKind::TooDeep
        )
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match self.kind {
            WarningKind::Placeholder => {
                write!(f, "{what} is shown as a placeholder; keep the placeholder to keep it")
            }
            WarningKind::Hidden => write!(f, "{what} is not shown, and kept with its block"),
            WarningKind::Removed => write!(f, "{what} was removed, because its placeholder was"),
            WarningKind::MissingOriginal => {
                write!(f, "{what} stands for nothing in the original and was kept as plain text")
            }
            WarningKind::Simplified => {
                write!(f, "{what} cannot be said in the tracker's format; its text was kept without the form")
            }
            WarningKind::InvalidCharacters => write!(f, "{what} cannot be stored and was taken out"),
            WarningKind::TooDeep => write!(f, "{what} is nested too deeply and was made flat"),
        }
    }
}
