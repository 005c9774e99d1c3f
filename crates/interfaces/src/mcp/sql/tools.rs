//! What each tool does, however it was called.

use std::sync::Arc;
use std::time::Instant;

use application::ports::ToolClass;
use application::templates::warnings;
use application::{Ctx, Error, Services};
use chrono::{DateTime, Utc};
use domain::template::Template;
use domain::{AuditEntry, Invalid, dictionary};
use http::StatusCode;
use rmcp::model::Tool;
use serde_json::{Map, Value, json};

use super::super::outcome::{self, Answer, Failure, ToolError};
use super::super::record;
use super::schemas::{
    self, EXPLAIN_TEMPLATE, FIXED, GET_DICTIONARY, GET_FRESHNESS, LIST_TEMPLATES, RUN_TEMPLATE,
};
use super::{answers, arguments};
use crate::problem::ErrorBody;

type Arguments = Map<String, Value>;

/// The tools of the SQL server.
#[derive(Debug)]
pub(super) struct SqlTools {
    pub(super) services: Services,
}

impl SqlTools {
    pub(super) fn new(services: Services) -> Self {
        Self { services }
    }

    /// The tools of this caller, by name.
    pub(super) async fn list(&self, ctx: &Ctx) -> Result<Vec<Tool>, Error> {
        Ok(schemas::tools(&self.services.templates.list(ctx).await?))
    }

    /// Calls a tool.
    pub(super) async fn call(&self, ctx: &Ctx, name: &str, arguments: Arguments) -> Result<Answer, Failure> {
        let fixed = FIXED.contains(&name);
        let found = if fixed { None } else { Some(self.services.templates.get(ctx, name).await) };
        // Names that tenants choose are as many as they like, and their own.
        let counted_as = match &found {
            None => name,
            Some(Ok(template)) if template.authored => "authored",
            Some(Ok(_)) => name,
            Some(Err(_)) => "unknown",
        };
        let entry = match &found {
            Some(Ok(_)) => record::template(name, &arguments),
            _ => self.entry(ctx, name, &arguments).await,
        };
        // On the heap: each that it is handed on to would copy it otherwise.
        let call = Box::pin(async {
            self.services.limits.count_tool(ctx, ToolClass::Read).await?;
            match found {
                Some(Ok(template)) => {
                    let answer = self.services.templates.run_this(ctx, template, &arguments).await?;
                    return Ok(answers::of_tool(answer, now()));
                }
                Some(Err(Error::NotFound { .. })) => return Err(Failure::UnknownTool(name.to_owned())),
                // Whether it is there is not known at the moment.
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
            match name {
                LIST_TEMPLATES => self.list_templates(ctx, &arguments).await,
                RUN_TEMPLATE => self.run_template(ctx, arguments).await,
                GET_FRESHNESS => self.get_freshness(ctx, &arguments).await,
                EXPLAIN_TEMPLATE => self.explain_template(ctx, arguments).await,
                GET_DICTIONARY => self.get_dictionary(ctx, &arguments),
                _ => Err(Failure::UnknownTool(name.to_owned())),
            }
        });
        outcome::run(&self.services.audit, ctx, counted_as, entry, call).await
    }

    /// What goes on the record of a call.
    async fn entry(&self, ctx: &Ctx, name: &str, arguments: &Arguments) -> AuditEntry {
        match name {
            RUN_TEMPLATE | EXPLAIN_TEMPLATE => {
                let template = arguments.get("name").and_then(Value::as_str).unwrap_or_default();
                let tool = if name == RUN_TEMPLATE { RUN_TEMPLATE } else { EXPLAIN_TEMPLATE };
                record::template(template, arguments).with("tool", tool)
            }
            name if self.services.templates.is_known(ctx, name).await => record::template(name, arguments),
            name => record::tool(name, arguments),
        }
    }

    async fn list_templates(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        arguments::only(given, &["query", "tag", "limit", "cursor"])?;
        let query = arguments::text(given, "query", 200)?.map(str::to_lowercase);
        let tag = arguments::text(given, "tag", 50)?;
        let limit = arguments::count(given, "limit", 100)?.unwrap_or(20);
        let after = arguments::text(given, "cursor", 100)?;
        let matches = |template: &&Arc<Template>| {
            let Template { name, title, description, tags, .. } = &***template;
            let text = format!("{name} {title} {description}").to_lowercase();
            query.as_deref().is_none_or(|query| query.split_whitespace().all(|word| text.contains(word)))
                && tag.is_none_or(|tag| tags.iter().any(|own| own == tag))
                && after.is_none_or(|after| name.as_str() > after)
        };
        let mine = self.services.templates.list(ctx).await?;
        let mut found: Vec<&Arc<Template>> = mine.iter().filter(matches).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next = more.then(|| found.last().map(|template| template.name.clone())).flatten();
        let line = format!("{} templates{}", found.len(), if more { "; there are more" } else { "" });
        let templates: Vec<Value> = found.into_iter().map(|template| answers::template(template)).collect();
        Ok(Answer {
            content: json!({"templates": templates, "next_cursor": next}),
            line,
            size: None,
            picture: None,
        })
    }

    async fn run_template(&self, ctx: &Ctx, mut given: Arguments) -> Result<Answer, Failure> {
        arguments::only(&given, &["name", "arguments", "limit", "cursor", "format"])?;
        let csv = arguments::word(&given, "format", &["rows", "csv"])? == Some("csv");
        let (name, mut inner) = self.named(ctx, &mut given).await?;
        for outside in ["limit", "cursor"] {
            let Some(value) = given.remove(outside).filter(|value| !value.is_null()) else { continue };
            if inner.contains_key(outside) {
                return Err(Failure::invalid(
                    format!("/{outside}"),
                    "stands here and in arguments: say it once",
                ));
            }
            inner.insert(outside.into(), value);
        }
        let begun = Instant::now();
        let answer = self.services.templates.run(ctx, &name, &inner).await.map_err(of_arguments)?;
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(answers::of_run(answer, csv, elapsed_ms, now()))
    }

    async fn explain_template(&self, ctx: &Ctx, mut given: Arguments) -> Result<Answer, Failure> {
        arguments::only(&given, &["name", "arguments"])?;
        let (name, inner) = self.named(ctx, &mut given).await?;
        let estimate = self.services.templates.explain(ctx, &name, &inner).await.map_err(of_arguments)?;
        let within_guard = estimate.is_within_guard();
        Ok(answers::of_estimate(&estimate, within_guard))
    }

    /// The template that is named among the arguments, and its own.
    async fn named(&self, ctx: &Ctx, given: &mut Arguments) -> Result<(String, Arguments), Failure> {
        let Some(name) = arguments::text(given, "name", 128)?.map(str::to_owned) else {
            return Err(Failure::invalid("/name", "is required"));
        };
        if let Err(error) = self.services.templates.get(ctx, &name).await {
            return Err(self.no_such_template(ctx, error).await);
        }
        match given.remove("arguments") {
            None | Some(Value::Null) => Ok((name, Map::new())),
            Some(Value::Object(inner)) => Ok((name, inner)),
            Some(_) => Err(Failure::invalid("/arguments", "must be an object")),
        }
    }

    pub(super) fn get_dictionary(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        arguments::only(given, &["table", "query"])?;
        self.services.templates.require(ctx)?;
        let wanted = arguments::text(given, "table", 63)?;
        let query = arguments::text(given, "query", 200)?;
        if wanted.is_some_and(|wanted| !dictionary::TABLES.iter().any(|table| table.name == wanted)) {
            let names = dictionary::TABLES.iter().map(|table| table.name);
            return Err(
                Error::from(Invalid::not_one_of("/table", "is not a table of the model", names)).into()
            );
        }
        let tables: Vec<Value> = dictionary::TABLES
            .iter()
            .filter(|table| wanted.is_none_or(|wanted| table.name == wanted))
            .filter_map(|table| answers::table(table, query))
            .collect();
        let line = format!("{} tables of the normalized model", tables.len());
        Ok(Answer { content: json!({"tables": tables}), line, size: None, picture: None })
    }

    async fn no_such_template(&self, ctx: &Ctx, error: Error) -> Failure {
        let Error::NotFound { .. } = error else { return error.into() };
        let names = self.services.templates.list(ctx).await.unwrap_or_default();
        let mut body = ErrorBody::new("not_found", "there is no template of that name")
            .with_hint("sql_list_templates lists them");
        body.field = Some("/name".into());
        body.allowed = names.iter().map(|template| template.name.clone()).collect();
        Failure::Tool(Box::new(ToolError::new(StatusCode::NOT_FOUND, body)))
    }

    async fn get_freshness(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        arguments::only(given, &["instance"])?;
        let wanted = arguments::text(given, "instance", 63)?;
        let freshness = self.services.templates.freshness(ctx).await?;
        let chosen: Vec<_> = freshness
            .iter()
            .filter(|(of, _)| wanted.is_none_or(|wanted| of.slug.as_str() == wanted))
            .collect();
        if wanted.is_some() && chosen.is_empty() {
            let slugs = freshness.iter().map(|(of, _)| of.slug.to_string());
            let invalid =
                Invalid::not_one_of("/instance", "is not the short name of a connected instance", slugs);
            return Err(Error::from(invalid).into());
        }
        let now = now();
        let line = format!("Freshness of {} instances", chosen.len());
        let warnings = warnings(&chosen.iter().map(|(of, _)| of.clone()).collect::<Vec<_>>(), now);
        let instances: Vec<Value> = chosen.into_iter().map(|of| answers::instance(of, now)).collect();
        Ok(Answer {
            content: json!({"instances": instances, "warnings": warnings}),
            line,
            size: None,
            picture: None,
        })
    }
}

/// A failure of a template whose arguments stand in `arguments`.
fn of_arguments(error: Error) -> Failure {
    match error {
        Error::Invalid(invalid) => Failure::from(Error::from(within_arguments(invalid))),
        error => error.into(),
    }
}

/// Points at the parameters where `sql_run_template` has them.
fn within_arguments(mut invalid: Invalid) -> Invalid {
    for error in &mut invalid.errors {
        if !["/limit", "/cursor"].contains(&error.pointer.as_str()) {
            error.pointer.insert_str(0, "/arguments");
        }
    }
    invalid
}

pub(in super::super) fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "tells readers how old data is; nothing is decided by it")]
    Utc::now()
}
