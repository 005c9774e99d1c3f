//! SQL templates as a caller sees them: a name, typed parameters with limits, and typed columns.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value, json};

use crate::{FieldError, Invalid};

/// What values a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamType {
    /// Text of limited length, with the accepted values where they are few.
    Text {
        /// Most characters.
        max_length: usize,
        /// Accepted values; any when empty.
        allowed: Vec<String>,
    },
    /// A whole number in a range.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Yes or no.
    Boolean,
    /// A day, `2026-11-21`.
    Date,
    /// A moment, RFC 3339.
    Timestamp,
}

/// One parameter of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its name, snake_case.
    pub name: String,
    /// What it means, for the assistant.
    pub description: String,
    /// What it takes.
    pub kind: ParamType,
    /// Whether it must be given.
    pub required: bool,
    /// What holds when it is not given; SQL null when absent.
    pub default: Option<Value>,
}

/// A checked argument, in the order of the template's parameters. `None` is SQL null.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// For `text`.
    Text(Option<String>),
    /// For `bigint`.
    Integer(Option<i64>),
    /// For `boolean`.
    Boolean(Option<bool>),
    /// For `date`.
    Date(Option<NaiveDate>),
    /// For `timestamptz`.
    Timestamp(Option<DateTime<Utc>>),
}

/// The type of an output column, as far as a caller needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// An output column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
}

/// A published template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its name, also the tool's: snake_case, at most 32 characters.
    pub name: String,
    /// A title for people.
    pub title: String,
    /// What it answers and when to use it, for the assistant.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Its parameters, in the order of `$2`, `$3`, … (`$1` is the tenant).
    pub params: Vec<Param>,
    /// Rows when the caller says nothing.
    pub default_limit: i64,
    /// Most rows a caller may ask for.
    pub max_limit: i64,
    /// How long its statement may take, in milliseconds.
    pub timeout_ms: u64,
    /// Its columns, from the database.
    pub columns: Vec<Column>,
    /// The statement that is run: re-rendered from the parsed text, never the text as written.
    pub statement: String,
    /// A short digest of the statement; changes when it does.
    pub version: String,
}

impl Template {
    /// JSON Schema of the tool's arguments.
    ///
    /// Every listed tool costs an assistant context in each conversation, so it says what an assistant cannot know: not
    /// how long a text may be, which [`Template::bind`] tells when it matters, and nothing beside a list of values.
    pub fn input_schema(&self) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for param in &self.params {
            let mut schema = match &param.kind {
                ParamType::Text { allowed, .. } if !allowed.is_empty() => {
                    json!({"type": "string", "enum": allowed})
                }
                ParamType::Text { .. } => json!({"type": "string"}),
                ParamType::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
                ParamType::Boolean => json!({"type": "boolean"}),
                ParamType::Date => json!({"type": "string", "format": "date"}),
                ParamType::Timestamp => json!({"type": "string", "format": "date-time"}),
            };
            if schema.get("enum").is_none() {
                schema["description"] = Value::from(param.description.as_str());
            }
            if let Some(default) = &param.default {
                schema["default"] = default.clone();
            }
            if param.required {
                required.push(Value::from(param.name.as_str()));
            }
            properties.insert(param.name.clone(), schema);
        }
        properties.insert(
            "limit".into(),
            json!({"type": "integer", "minimum": 1, "maximum": self.max_limit, "default": self.default_limit}),
        );
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), properties.into());
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        schema.insert("additionalProperties".into(), false.into());
        schema
    }

    /// Checks arguments against the parameters and puts them in their order; also returns the row limit.
    ///
    /// Every broken rule is reported. Pointers are argument names: `/project`.
    pub fn bind(&self, arguments: &Map<String, Value>) -> Result<(Vec<Argument>, i64), Invalid> {
        let mut errors = Vec::new();
        for name in arguments.keys() {
            if name != "limit" && !self.params.iter().any(|param| &param.name == name) {
                errors.push(FieldError {
                    pointer: format!("/{name}"),
                    message: "is not a parameter of this template".into(),
                    allowed: self.params.iter().map(|p| p.name.clone()).chain(["limit".into()]).collect(),
                });
            }
        }
        let limit = match arguments.get("limit") {
            None | Some(Value::Null) => self.default_limit,
            Some(value) => match value.as_i64().filter(|n| (1..=self.max_limit).contains(n)) {
                Some(n) => n,
                None => {
                    let message = format!("must be a whole number from 1 to {}", self.max_limit);
                    errors.push(FieldError { pointer: "/limit".into(), message, allowed: Vec::new() });
                    self.default_limit
                }
            },
        };
        let mut bound = Vec::with_capacity(self.params.len());
        for param in &self.params {
            let given = arguments.get(&param.name).filter(|value| !value.is_null());
            if given.is_none() && param.required {
                errors.push(FieldError {
                    pointer: format!("/{}", param.name),
                    message: "is required".into(),
                    allowed: match &param.kind {
                        ParamType::Text { allowed, .. } => allowed.clone(),
                        _ => Vec::new(),
                    },
                });
                continue;
            }
            match param.check(given.or(param.default.as_ref())) {
                Ok(argument) => bound.push(argument),
                Err((message, allowed)) => {
                    errors.push(FieldError { pointer: format!("/{}", param.name), message, allowed });
                }
            }
        }
        Invalid::collect(errors)?;
        Ok((bound, limit))
    }
}

impl Param {
    fn check(&self, value: Option<&Value>) -> Result<Argument, (String, Vec<String>)> {
        let wrong = |message: &str| (message.to_owned(), Vec::new());
        match &self.kind {
            ParamType::Text { max_length, allowed } => {
                let Some(value) = value else { return Ok(Argument::Text(None)) };
                let text = value.as_str().ok_or_else(|| wrong("must be text"))?;
                if !allowed.is_empty() && !allowed.iter().any(|a| a == text) {
                    return Err((format!("must be one of {}", allowed.join(", ")), allowed.clone()));
                }
                if text.is_empty() || text.chars().count() > *max_length || text.contains('\0') {
                    return Err(wrong(&format!("must have 1 to {max_length} characters, none of them NUL")));
                }
                Ok(Argument::Text(Some(text.to_owned())))
            }
            ParamType::Integer { min, max } => {
                let Some(value) = value else { return Ok(Argument::Integer(None)) };
                match value.as_i64().filter(|n| (min..=max).contains(&n)) {
                    Some(n) => Ok(Argument::Integer(Some(n))),
                    None => Err(wrong(&format!("must be a whole number from {min} to {max}"))),
                }
            }
            ParamType::Boolean => match value {
                None => Ok(Argument::Boolean(None)),
                Some(value) => value
                    .as_bool()
                    .map(|b| Argument::Boolean(Some(b)))
                    .ok_or_else(|| wrong("must be true or false")),
            },
            ParamType::Date => match value {
                None => Ok(Argument::Date(None)),
                Some(value) => value
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .map(|day| Argument::Date(Some(day)))
                    .ok_or_else(|| wrong("must be a day such as 2026-11-21")),
            },
            ParamType::Timestamp => match value {
                None => Ok(Argument::Timestamp(None)),
                Some(value) => value
                    .as_str()
                    .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
                    .map(|at| Argument::Timestamp(Some(at.with_timezone(&Utc))))
                    .ok_or_else(|| wrong("must be a moment in RFC 3339 form such as 2026-11-21T09:00:00Z")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        Template {
            name: "t".into(),
            title: "T".into(),
            description: "d".into(),
            tags: Vec::new(),
            params: vec![
                Param {
                    name: "project".into(),
                    description: "p".into(),
                    kind: ParamType::Text { max_length: 5, allowed: Vec::new() },
                    required: true,
                    default: None,
                },
                Param {
                    name: "days".into(),
                    description: "d".into(),
                    kind: ParamType::Integer { min: 1, max: 90 },
                    required: false,
                    default: Some(json!(30)),
                },
            ],
            default_limit: 50,
            max_limit: 500,
            timeout_ms: 5_000,
            columns: Vec::new(),
            statement: String::new(),
            version: String::new(),
        }
    }

    fn args(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn defaults_fill_what_is_not_given() {
        let (bound, limit) = template().bind(&args(&json!({"project": "core"}))).unwrap();
        assert_eq!(bound, [Argument::Text(Some("core".into())), Argument::Integer(Some(30))]);
        assert_eq!(limit, 50);
    }

    #[test]
    fn every_broken_rule_is_reported_at_once() {
        let errors = template()
            .bind(&args(&json!({"project": "too long", "days": 91, "limit": 0, "tenant_id": "x"})))
            .unwrap_err()
            .errors;
        let pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/tenant_id", "/limit", "/project", "/days"]);
    }

    #[test]
    fn a_missing_required_parameter_is_named() {
        assert_eq!(template().bind(&Map::new()).unwrap_err().errors[0].message, "is required");
    }
}
