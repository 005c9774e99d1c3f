//! Columns of a template's answer.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The type of an output column, as far as a caller needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Text, also UUIDs.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// A day.
    Date,
    /// A moment, RFC 3339 in UTC.
    Timestamp,
    /// A list of texts.
    TextList,
}

impl ColumnType {
    /// All types.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Integer, Self::Number, Self::Boolean, Self::Date, Self::Timestamp, Self::TextList];

    /// Its name in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TextList => "text_list",
        }
    }

    /// JSON Schema of a nullable value of this type.
    pub fn json_schema(self) -> Value {
        match self {
            Self::Text => json!({"type": ["string", "null"]}),
            Self::Integer => json!({"type": ["integer", "null"]}),
            Self::Number => json!({"type": ["number", "null"]}),
            Self::Boolean => json!({"type": ["boolean", "null"]}),
            Self::Date => json!({"type": ["string", "null"], "format": "date"}),
            Self::Timestamp => json!({"type": ["string", "null"], "format": "date-time"}),
            Self::TextList => json!({"type": ["array", "null"], "items": {"type": "string"}}),
        }
    }
}

/// An output column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}
