//! The order in which a template's rows are paged through.

use serde::{Deserialize, Serialize};

/// What a template's pages are ordered by.
///
/// A page ends behind a row, and the next one begins with the first row that comes after it in this order. So rows that
/// come, go or change meanwhile move none of the others to another page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Output columns, the most significant first. Together they should tell any two rows apart: a page never ends
    /// between rows that they do not.
    pub keys: Vec<SortKey>,
    /// Those among them that callers are not shown: the last columns of the statement.
    pub hidden: Vec<String>,
}

/// One column of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// The output column.
    pub column: String,
    /// Largest first.
    pub descending: bool,
    /// Where rows without a value stand.
    pub nulls: Nulls,
}

/// Where rows without a value stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// There are none, so says the template.
    Never,
    /// In front.
    First,
    /// Behind.
    Last,
}

/// A type a value of the order can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// Text.
    Text,
    /// A UUID.
    Uuid,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// A day.
    Date,
    /// A moment.
    Timestamp,
}

/// The value a row has in one column of the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// Its type.
    #[serde(rename = "t")]
    pub kind: KeyType,
    /// It, as PostgreSQL reads it; `None` is SQL null.
    #[serde(rename = "v")]
    pub text: Option<String>,
}

impl SortKey {
    /// Reads `column [asc|desc] [not null | nulls first | nulls last]`. Without the last two words nulls stand where
    /// PostgreSQL puts them: behind when ascending, in front when descending.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace().peekable();
        let column = words.next()?.to_owned();
        let descending = match words.peek() {
            Some(&"asc") => words.next().is_none(),
            Some(&"desc") => words.next().is_some(),
            _ => false,
        };
        let nulls = match (words.next(), words.next(), words.next()) {
            (None, ..) if descending => Nulls::First,
            (None, ..) => Nulls::Last,
            (Some("not"), Some("null"), None) => Nulls::Never,
            (Some("nulls"), Some("first"), None) => Nulls::First,
            (Some("nulls"), Some("last"), None) => Nulls::Last,
            _ => return None,
        };
        Some(Self { column, descending, nulls })
    }
}

impl Page {
    /// The columns with their directions; another text for another order.
    pub fn words(&self) -> String {
        let word = |key: &SortKey| format!("{} {} {:?}", key.column, key.descending, key.nulls);
        self.keys.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_and_nulls_are_read_as_sql_writes_them() {
        for (text, descending, nulls) in [
            ("at", false, Nulls::Last),
            ("at asc", false, Nulls::Last),
            ("at desc", true, Nulls::First),
            ("at not null", false, Nulls::Never),
            ("at desc not null", true, Nulls::Never),
            ("at desc nulls last", true, Nulls::Last),
            ("at asc  nulls first", false, Nulls::First),
        ] {
            let expected = SortKey { column: "at".into(), descending, nulls };
            assert_eq!(SortKey::parse(text), Some(expected), "{text}");
        }
        for bad in ["", "at down", "at desc nulls", "at desc nulls last please", "at nulls"] {
            assert_eq!(SortKey::parse(bad), None, "{bad}");
        }
    }
}
