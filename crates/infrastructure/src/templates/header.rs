//! The header of a template file: TOML in its first comment.

use std::ops::Range;

use domain::Scope;
use domain::template::{Binding, Claim, DEFAULT_COST, MAX_BYTES, MAX_COST, Page, Param, ParamType, SortKey};
use serde::Deserialize;
use serde_json::Value;

use super::Finding;
use toml::Spanned;

/// Longest text of a parameter that says nothing else.
const TEXT: usize = 200;
/// Longest time a template may ask for.
const LONGEST_MS: u64 = 20_000;
/// Most columns of a page key: each makes the condition of the next page longer.
const MOST_KEYS: usize = 8;
/// Most parameters. PostgreSQL takes 65,535 values; nobody fills in more than this.
const MOST_PARAMS: usize = 32;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    title: String,
    description: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default = "scope")]
    scope: Spanned<String>,
    #[serde(default = "default_limit")]
    default_limit: i64,
    #[serde(default = "max_limit")]
    max_limit: i64,
    #[serde(default = "max_bytes")]
    max_bytes: Spanned<usize>,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
    #[serde(default = "max_cost")]
    max_cost: Spanned<f64>,
    page: Option<Spanned<RawPage>>,
    #[serde(default)]
    params: Vec<Spanned<RawParam>>,
}

/// Something the file does not say has no place in it.
fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn scope() -> Spanned<String> {
    nowhere(Scope::McpSql.as_str().to_owned())
}

fn max_bytes() -> Spanned<usize> {
    nowhere(MAX_BYTES)
}

fn max_cost() -> Spanned<f64> {
    nowhere(DEFAULT_COST)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPage {
    key: Vec<String>,
    #[serde(default)]
    hidden: Vec<String>,
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
    binding: Option<String>,
    claim: Option<String>,
    value: Option<Value>,
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
    pub(super) scope: Scope,
    pub(super) default_limit: i64,
    pub(super) max_limit: i64,
    pub(super) max_bytes: usize,
    pub(super) timeout_ms: u64,
    pub(super) max_cost: f64,
    pub(super) page: Option<Page>,
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
    let mut refuse =
        |span: Range<usize>, message: String| findings.push(Finding::new(message).in_text(text, place(span)));
    let scope = raw.scope.get_ref().parse().unwrap_or_else(|_| {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        refuse(raw.scope.span(), format!("needs a scope that there is: {known}"));
        Scope::McpSql
    });
    if !(1_024..=MAX_BYTES).contains(raw.max_bytes.get_ref()) {
        refuse(raw.max_bytes.span(), format!("needs a max_bytes from 1024 to {MAX_BYTES}"));
    }
    if !(1.0..=MAX_COST).contains(raw.max_cost.get_ref()) {
        refuse(raw.max_cost.span(), format!("needs a max_cost from 1 to {MAX_COST}"));
    }
    let page = raw.page.and_then(|page| {
        let span = page.span();
        page.into_inner().read().map_err(|message| refuse(span, message)).ok()
    });
    if let Some(beyond) = raw.params.get(MOST_PARAMS) {
        let message = format!("may have {MOST_PARAMS} parameters, not {}", raw.params.len());
        // Not even looked at: each is compared with the others.
        return Err(vec![Finding::new(message).in_text(text, place(beyond.span()))]);
    }
    let mut params: Vec<Param> = Vec::with_capacity(raw.params.len());
    for param in raw.params {
        let span = param.span();
        let param = param.into_inner();
        let name = param.name.clone();
        let mut refuse =
            |message: String| findings.push(Finding::new(message).in_text(text, place(span.clone())));
        if params.iter().any(|known| known.name == name)
            || ["limit", "cursor", "tenant_id", "properties"].contains(&&*name)
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
    let (max_bytes, max_cost) = (raw.max_bytes.into_inner(), raw.max_cost.into_inner());
    let RawHeader { title, description, tags, default_limit, max_limit, timeout_ms, .. } = raw;
    let header = Header {
        title,
        description,
        tags,
        scope,
        default_limit,
        max_limit,
        max_bytes,
        timeout_ms,
        max_cost,
        page,
        params,
    };
    Ok((header, statement))
}

impl RawPage {
    fn read(self) -> Result<Page, String> {
        let mut keys: Vec<SortKey> = Vec::with_capacity(self.key.len());
        for text in &self.key {
            let key = SortKey::parse(text).filter(|key| {
                super::is_tool_name(&key.column) && !keys.iter().any(|known| known.column == key.column)
            });
            keys.push(key.ok_or_else(|| {
                format!(
                    "has a wrong page key `{text}`: say an output column once, then perhaps asc or desc, then \
                     perhaps not null, nulls first or nulls last"
                )
            })?);
        }
        if !(1..=MOST_KEYS).contains(&keys.len()) {
            return Err(format!("needs a page key of 1 to {MOST_KEYS} columns"));
        }
        match self.hidden.iter().find(|hidden| !keys.iter().any(|key| key.column == **hidden)) {
            Some(hidden) => Err(format!("may only hide columns of the page key, and `{hidden}` is none")),
            None => Ok(Page { keys, hidden: self.hidden }),
        }
    }
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
        let binding = self.binding()?;
        if !matches!(binding, Binding::Model) && (self.required || self.default.is_some()) {
            return Err("required and default are for what the model gives".into());
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
            "text_list" => ParamType::TextList,
            _ => return Err("the type is text, integer, boolean, date or timestamp".into()),
        };
        let param = Param {
            name: self.name,
            description: self.description,
            kind,
            binding,
            required: self.required,
            default: self.default,
        };
        match &param.binding {
            Binding::Constant(value) => match param.check(Some(value)) {
                Ok(_) => Ok(param),
                Err((message, _)) => Err(format!("its value {message}")),
            },
            Binding::Claim(claim) if claim.is_list() == (param.kind == ParamType::TextList) => Ok(param),
            Binding::Claim(claim) => {
                let kind = if claim.is_list() { "text_list" } else { "text" };
                Err(format!("the claim {} has the type {kind}", claim.as_str()))
            }
            Binding::Model if param.kind == ParamType::TextList => {
                Err("a text_list comes from a claim: binding = \"grant\"".into())
            }
            Binding::Model => Ok(param),
        }
    }

    /// Who gives the value, and nothing said that belongs to another way.
    fn binding(&self) -> Result<Binding, String> {
        match (self.binding.as_deref().unwrap_or("model"), &self.claim, &self.value) {
            ("model", None, None) => Ok(Binding::Model),
            ("grant", Some(claim), None) => {
                let known = Claim::ALL.into_iter().find(|known| known.as_str() == claim);
                known.map(Binding::Claim).ok_or_else(|| {
                    let known = Claim::ALL.map(Claim::as_str).join(", ");
                    format!("the claim is one of {known}")
                })
            }
            ("constant", None, Some(value)) => Ok(Binding::Constant(value.clone())),
            _ => Err("binding is \"model\" (the caller gives it), \"grant\" with a claim, or \"constant\" \
                      with a value"
                .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(header: &str) -> String {
        let text = format!("/*\ntitle = 'T'\ndescription = 'D'\n{header}\n*/ select 1");
        let findings = read(&text).map(|_| ()).unwrap_err();
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_rule_of_the_header_is_told_where_it_is_broken() {
        for (header, expected, place) in [
            ("max_bytes = 300000", "max_bytes from 1024 to 262144", "(line 4, column 13)"),
            ("max_cost = 1e12", "max_cost from 1 to", "(line 4, column 12)"),
            ("scope = 'mcp:all'", "a scope that there is: admin", "(line 4, column 9)"),
            ("[page]\nkey = ['at sideways']", "wrong page key `at sideways`", "(line 4, column 1)"),
            ("[page]\nkey = []", "a page key of 1 to 8 columns", "(line 4, column 1)"),
            ("[page]\nkey = ['at', 'at desc']", "wrong page key `at desc`", "(line 4, column 1)"),
            ("[page]\nkey = ['at']\nhidden = ['id']", "`id` is none", "(line 4, column 1)"),
        ] {
            let said = refused(header);
            assert!(said.contains(expected) && said.ends_with(place), "{header}: {said}");
        }
    }

    #[test]
    fn a_parameter_is_bound_in_one_way() {
        let param = |kind: &str, rest: &str| {
            format!("[[params]]\nname = 'p'\ntype = '{kind}'\ndescription = 'd'\n{rest}")
        };
        let whole = |kind: &str, rest: &str| {
            let text = format!("/*\ntitle = 'T'\ndescription = 'D'\n{}\n*/ select 1", param(kind, rest));
            read(&text).map(|(header, _)| header.params[0].binding.clone()).unwrap()
        };
        assert_eq!(whole("text", ""), Binding::Model);
        assert_eq!(
            whole("text_list", "binding = 'grant'\nclaim = 'projects'"),
            Binding::Claim(Claim::Projects)
        );
        assert_eq!(whole("text", "binding = 'constant'\nvalue = 'x'"), Binding::Constant("x".into()));
        for (kind, rest, expected) in [
            ("text", "binding = 'caller'", "binding is \"model\""),
            ("text", "claim = 'projects'", "binding is \"model\""),
            ("text", "binding = 'grant'\nclaim = 'email'", "one of principal, user, instances, projects"),
            ("text", "binding = 'grant'\nclaim = 'projects'", "has the type text_list"),
            ("text", "binding = 'constant'\nvalue = 5", "its value must be text"),
            ("text", "binding = 'constant'\nvalue = 'x'\nrequired = true", "what the model gives"),
            ("text_list", "", "comes from a claim"),
        ] {
            let said = refused(&param(kind, rest));
            assert!(said.contains(expected), "{kind} {rest}: {said}");
        }
    }
}
