//! SQL templates as a caller sees them: a name, typed parameters with limits, and typed columns.

mod column;
mod page;
mod param;

use std::sync::Arc;

use serde_json::{Map, Value, json};

pub use column::{Column, ColumnType};
pub use page::{KeyType, KeyValue, Nulls, Page, SortKey};
pub use param::{Argument, Binding, Claim, Claims, Param, ParamType};

use crate::{FieldError, Invalid, Scope};

/// Most bytes of rows in one answer, as JSON: what holds unless a template says less.
pub const MAX_BYTES: usize = 256 * 1024;
/// What the planner may expect a template to cost unless it says otherwise, in PostgreSQL's units.
pub const DEFAULT_COST: f64 = 1_000_000.0;
/// The most a template may ask for.
pub const MAX_COST: f64 = 20_000_000.0;
/// The longest a cursor gets.
pub const MAX_CURSOR: usize = 4_096;

/// Where in its arguments a caller says how much and where from.
const LIMIT: &str = "limit";
const CURSOR: &str = "cursor";

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
    /// What a caller must hold to see and run it, beside the server's own scope.
    pub scope: Scope,
    /// Its parameters, in the order of `$2`, `$3`, … (`$1` is the tenant).
    pub params: Vec<Param>,
    /// Rows when the caller says nothing.
    pub default_limit: i64,
    /// Most rows a caller may ask for.
    pub max_limit: i64,
    /// Most bytes of rows in one answer, as JSON.
    pub max_bytes: usize,
    /// How long its statement may take, in milliseconds.
    pub timeout_ms: u64,
    /// What the planner may expect it to cost when it is published, in PostgreSQL's units.
    pub max_cost: f64,
    /// How its rows are paged through; `None` when one page has to do.
    pub page: Option<Page>,
    /// Its columns, from the database. Without those that are hidden.
    pub columns: Arc<[Column]>,
    /// The statement that is run: re-rendered from the parsed text, never the text as written.
    pub statement: String,
    /// A short digest of the statement; changes when it does.
    pub version: String,
    /// Written by an admin of the tenant: it runs on a login of its own, behind a second lock.
    pub authored: bool,
}

impl Template {
    /// JSON Schema of the tool's arguments.
    ///
    /// Every listed tool costs an assistant context in each conversation, so it says what an assistant cannot know: not
    /// how long a text may be, which [`Template::bind`] tells when it matters, and nothing beside a list of values.
    pub fn input_schema(&self) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for param in self.params.iter().filter(|param| param.is_asked()) {
            if param.required {
                required.push(Value::from(param.name.as_str()));
            }
            properties.insert(param.name.clone(), param.json_schema());
        }
        properties.insert(
            LIMIT.into(),
            json!({"type": "integer", "maximum": self.max_limit, "default": self.default_limit}),
        );
        if self.page.is_some() {
            properties.insert(CURSOR.into(), json!({"type": "string"}));
        }
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), properties.into());
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        schema.insert("additionalProperties".into(), false.into());
        schema
    }

    /// Checks arguments as [`Self::bind_for`] does, for a caller nothing is known of.
    pub fn bind(&self, arguments: &Map<String, Value>) -> Result<(Vec<Argument>, i64), Invalid> {
        self.bind_for(arguments, &Claims::default())
    }

    /// Checks arguments against the parameters and puts them in their order; also returns the row limit.
    ///
    /// Every broken rule is reported. Pointers are argument names: `/project`. What is not asked for cannot be given.
    pub fn bind_for(
        &self,
        arguments: &Map<String, Value>,
        claims: &Claims,
    ) -> Result<(Vec<Argument>, i64), Invalid> {
        let mut errors = Vec::new();
        let mut asked: Vec<&str> =
            self.params.iter().filter(|param| param.is_asked()).map(|param| param.name.as_str()).collect();
        asked.push(LIMIT);
        if self.page.is_some() {
            asked.push(CURSOR);
        }
        for name in arguments.keys().filter(|name| !asked.contains(&name.as_str())) {
            errors.push(FieldError {
                pointer: format!("/{name}"),
                message: "is not a parameter of this template".into(),
                allowed: asked.iter().map(|name| (*name).to_owned()).collect(),
            });
        }
        let limit = match arguments.get(LIMIT) {
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
            match param.bind(arguments.get(&param.name), claims) {
                Ok(argument) => bound.push(argument),
                Err((message, allowed)) => {
                    errors.push(FieldError { pointer: format!("/{}", param.name), message, allowed });
                }
            }
        }
        Invalid::collect(errors)?;
        Ok((bound, limit))
    }

    /// The cursor among the arguments, if one is given.
    pub fn cursor<'a>(&self, arguments: &'a Map<String, Value>) -> Result<Option<&'a str>, Invalid> {
        match arguments.get(CURSOR).filter(|value| self.page.is_some() && !value.is_null()) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= MAX_CURSOR => Ok(Some(text)),
            Some(_) => Err(Invalid::one("/cursor", "must be next_cursor of the answer before")),
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
            scope: Scope::McpSql,
            params: vec![
                Param {
                    name: "project".into(),
                    description: "p".into(),
                    kind: ParamType::Text { max_length: 5, allowed: Vec::new() },
                    binding: Binding::Model,
                    required: true,
                    default: None,
                },
                Param {
                    name: "days".into(),
                    description: "d".into(),
                    kind: ParamType::Integer { min: 1, max: 90 },
                    binding: Binding::Model,
                    required: false,
                    default: Some(json!(30)),
                },
            ],
            default_limit: 50,
            max_limit: 500,
            max_bytes: MAX_BYTES,
            timeout_ms: 5_000,
            max_cost: DEFAULT_COST,
            page: None,
            columns: [].into(),
            statement: String::new(),
            version: String::new(),
            authored: false,
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

    #[test]
    fn what_is_not_asked_for_is_neither_listed_nor_taken() {
        let mut template = template();
        template.params[1].binding = Binding::Constant(json!(7));
        template.params.push(Param {
            name: "mine".into(),
            description: "m".into(),
            kind: ParamType::TextList,
            binding: Binding::Claim(Claim::Projects),
            required: false,
            default: None,
        });
        let listed = template.input_schema();
        let names: Vec<&String> = listed["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["limit", "project"]);
        let claims = Claims { projects: Some(vec!["core".into()]), ..Claims::default() };
        let (bound, _) = template.bind_for(&args(&json!({"project": "core"})), &claims).unwrap();
        assert_eq!(bound[1..], [Argument::Integer(Some(7)), Argument::TextList(Some(vec!["core".into()]))]);
        for given in [json!({"project": "a", "days": 8}), json!({"project": "a", "mine": ["b"]})] {
            let errors = template.bind_for(&args(&given), &claims).unwrap_err().errors;
            assert_eq!(errors[0].message, "is not a parameter of this template");
            assert_eq!(errors[0].allowed, ["project", "limit"]);
        }
    }

    #[test]
    fn a_cursor_is_taken_where_there_are_pages_only() {
        let mut template = template();
        let given = args(&json!({"project": "a", "cursor": "x"}));
        assert!(template.bind(&given).is_err());
        assert_eq!(template.cursor(&given).unwrap(), None);
        let key = SortKey::parse("id not null").unwrap();
        template.page = Some(Page { keys: vec![key], hidden: Vec::new() });
        assert!(template.bind(&given).is_ok());
        assert_eq!(template.cursor(&given).unwrap(), Some("x"));
        assert!(template.cursor(&args(&json!({"cursor": 5}))).is_err());
    }
}
