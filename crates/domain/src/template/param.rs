//! Parameters of a template: what they take, and who gives them.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

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
    /// A list of texts. Never asked for: only a [`Claim`] is one.
    TextList,
}

/// Who gives a parameter its value.
#[derive(Debug, Clone, PartialEq)]
pub enum Binding {
    /// Whoever calls the template.
    Model,
    /// The server, from what it knows of the caller. Nobody can give another.
    Claim(Claim),
    /// The template itself.
    Constant(Value),
}

/// What a template may be told about its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Who calls: the id of the key or of the person.
    Principal,
    /// The person's id; null for a key.
    User,
    /// The ids of the instances the caller is narrowed to; null when to none.
    Instances,
    /// The keys of the projects the caller is narrowed to; null when to none.
    Projects,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Principal, Self::User, Self::Instances, Self::Projects];

    /// Its name in a template.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::User => "user",
            Self::Instances => "instances",
            Self::Projects => "projects",
        }
    }

    /// Whether it is a list of texts rather than one.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Instances | Self::Projects)
    }
}

/// A caller's claims, in the words of [`Claim`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// See [`Claim::Principal`].
    pub principal: Option<String>,
    /// See [`Claim::User`].
    pub user: Option<String>,
    /// See [`Claim::Instances`].
    pub instances: Option<Vec<String>>,
    /// See [`Claim::Projects`].
    pub projects: Option<Vec<String>>,
}

impl Claims {
    fn argument(&self, claim: Claim) -> Argument {
        match claim {
            Claim::Principal => Argument::Text(self.principal.clone()),
            Claim::User => Argument::Text(self.user.clone()),
            Claim::Instances => Argument::TextList(self.instances.clone()),
            Claim::Projects => Argument::TextList(self.projects.clone()),
        }
    }
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
    /// Who gives it.
    pub binding: Binding,
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
    /// For `text[]`.
    TextList(Option<Vec<String>>),
}

impl Argument {
    /// Whether it was left out, and has no default.
    pub fn is_null(&self) -> bool {
        match self {
            Self::Text(value) => value.is_none(),
            Self::Integer(value) => value.is_none(),
            Self::Boolean(value) => value.is_none(),
            Self::Date(value) => value.is_none(),
            Self::Timestamp(value) => value.is_none(),
            Self::TextList(value) => value.is_none(),
        }
    }
}

/// What is wrong with a value, and the accepted ones where they are few.
type Wrong = (String, Vec<String>);

impl Param {
    /// Whether the caller gives it, and so is told of it.
    pub fn is_asked(&self) -> bool {
        self.binding == Binding::Model
    }

    /// JSON Schema of its values, with description and default.
    pub(super) fn json_schema(&self) -> Value {
        let mut schema = match &self.kind {
            ParamType::Text { allowed, .. } if !allowed.is_empty() => {
                json!({"type": "string", "enum": allowed})
            }
            ParamType::Text { .. } => json!({"type": "string"}),
            ParamType::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
            ParamType::Boolean => json!({"type": "boolean"}),
            ParamType::Date => json!({"type": "string", "format": "date"}),
            ParamType::Timestamp => json!({"type": "string", "format": "date-time"}),
            ParamType::TextList => json!({"type": "array", "items": {"type": "string"}}),
        };
        if schema.get("enum").is_none() {
            schema["description"] = Value::from(self.description.as_str());
        }
        if let Some(default) = &self.default {
            schema["default"] = default.clone();
        }
        schema
    }

    /// The value it has in a call that gave `given`.
    pub(super) fn bind(&self, given: Option<&Value>, claims: &Claims) -> Result<Argument, Wrong> {
        match &self.binding {
            Binding::Claim(claim) => Ok(claims.argument(*claim)),
            Binding::Constant(value) => self.check(Some(value)),
            Binding::Model => {
                let given = given.filter(|value| !value.is_null());
                if given.is_none() && self.required {
                    let allowed = match &self.kind {
                        ParamType::Text { allowed, .. } => allowed.clone(),
                        _ => Vec::new(),
                    };
                    return Err(("is required".into(), allowed));
                }
                self.check(given.or(self.default.as_ref()))
            }
        }
    }

    /// Reads a value; the error says what it must be.
    pub fn check(&self, value: Option<&Value>) -> Result<Argument, (String, Vec<String>)> {
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
            ParamType::TextList => match value {
                None => Ok(Argument::TextList(None)),
                Some(_) => Err(wrong("cannot be given")),
            },
        }
    }
}
