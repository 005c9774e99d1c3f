//! The header of a template file: TOML in its first comment.

use std::ops::Range;

use domain::template::{Param, ParamType};
use serde::Deserialize;
use serde_json::Value;

use super::Finding;
use toml::Spanned;

/// Longest text of a parameter that says nothing else.
const TEXT: usize = 200;
/// Longest time a template may ask for.
const LONGEST_MS: u64 = 20_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    title: String,
    description: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default = "default_limit")]
    default_limit: i64,
    #[serde(default = "max_limit")]
    max_limit: i64,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
    #[serde(default)]
    params: Vec<Spanned<RawParam>>,
}

const fn default_limit() -> i64 {
    50
}

const fn max_limit() -> i64 {
    500
}

const fn timeout_ms() -> u64 {
    5_000
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParam {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    description: String,
    #[serde(default)]
    required: bool,
    default: Option<Value>,
    max_length: Option<usize>,
    #[serde(default, rename = "enum")]
    allowed: Vec<String>,
    min: Option<i64>,
    max: Option<i64>,
}

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) tags: Vec<String>,
    pub(super) default_limit: i64,
    pub(super) max_limit: i64,
    pub(super) timeout_ms: u64,
    pub(super) params: Vec<Param>,
}

/// Splits a file into its header and its statement.
pub(super) fn read(text: &str) -> Result<(Header, &str), Vec<Finding>> {
    let refused = |message: String| vec![Finding::new(message)];
    let (toml, statement) = text
        .trim_start()
        .strip_prefix("/*")
        .and_then(|rest| rest.split_once("*/"))
        .ok_or_else(|| refused("must begin with a header: TOML between /* and */".into()))?;
    let start = text.len() - text.trim_start().len() + "/*".len();
    let place = |span: Range<usize>| Some(start + span.start..start + span.end);
    let raw: RawHeader = toml::from_str(toml).map_err(|error| {
        let message = format!("has a header that is not right: {}", error.message().replace('\n', "; "));
        vec![Finding::new(message).in_text(text, error.span().and_then(place))]
    })?;
    let mut findings = Vec::new();
    let mut refuse = |message: String| findings.push(Finding::new(message));
    if raw.title.trim().is_empty() || raw.description.trim().is_empty() {
        refuse("needs a title and a description".into());
    }
    if !(1..=raw.max_limit).contains(&raw.default_limit) || raw.max_limit > 1_000 {
        refuse("needs 1 <= default_limit <= max_limit <= 1000".into());
    }
    if !(100..=LONGEST_MS).contains(&raw.timeout_ms) {
        refuse(format!("needs a timeout_ms from 100 to {LONGEST_MS}"));
    }
    let mut params: Vec<Param> = Vec::with_capacity(raw.params.len());
    for param in raw.params {
        let span = param.span();
        let param = param.into_inner();
        let name = param.name.clone();
        let mut refuse =
            |message: String| findings.push(Finding::new(message).in_text(text, place(span.clone())));
        if params.iter().any(|known| known.name == name)
            || ["limit", "tenant_id", "properties"].contains(&&*name)
        {
            refuse(format!("may not have a parameter called `{name}` here"));
        }
        match param.read() {
            Ok(param) => params.push(param),
            Err(message) => refuse(format!("has a wrong parameter `{name}`: {message}")),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let RawHeader { title, description, tags, default_limit, max_limit, timeout_ms, .. } = raw;
    Ok((Header { title, description, tags, default_limit, max_limit, timeout_ms, params }, statement))
}

impl RawParam {
    fn read(self) -> Result<Param, String> {
        let text = self.kind == "text";
        let integer = self.kind == "integer";
        if !super::is_tool_name(&self.name) {
            return Err("a name has 1 to 32 characters of a-z, 0-9 and _, the first a letter".into());
        }
        if !text && (self.max_length.is_some() || !self.allowed.is_empty()) {
            return Err("max_length and enum are for text".into());
        }
        if !integer && (self.min.is_some() || self.max.is_some()) {
            return Err("min and max are for integer".into());
        }
        if self.required && self.default.is_some() {
            return Err("what is required has no default".into());
        }
        let kind = match self.kind.as_str() {
            "text" => ParamType::Text { max_length: self.max_length.unwrap_or(TEXT), allowed: self.allowed },
            "integer" => match (self.min, self.max) {
                (Some(min), Some(max)) if min <= max => ParamType::Integer { min, max },
                _ => return Err("an integer needs min and max".into()),
            },
            "boolean" => ParamType::Boolean,
            "date" => ParamType::Date,
            "timestamp" => ParamType::Timestamp,
            _ => return Err("the type is text, integer, boolean, date or timestamp".into()),
        };
        Ok(Param {
            name: self.name,
            description: self.description,
            kind,
            required: self.required,
            default: self.default,
        })
    }
}
