//! What an assistant can read beside calling tools: the words of the model, the catalogue of templates, and how fresh the
//! data is.

use application::ports::ToolClass;
use application::{Ctx, Error};
use domain::template::Template;
use rmcp::model::{Resource, ResourceTemplate, SubscriptionFilter};
use serde_json::{Map, Value, json};

use super::super::listen::{Sight, digest};
use super::super::outcome::{self, Answer, Failure};
use super::super::shell::{JSON, MOST_SUBSCRIBED, MOST_URI, no_such_resource};
use super::super::{record, telemetry};
use super::answers;
use super::tools::{SqlTools, now};

/// Comes with the installation, so that there are no changes of it to tell.
const DICTIONARY: &str = "patchbay://dictionary";
const TEMPLATES: &str = "patchbay://templates";
const FRESHNESS: &str = "patchbay://freshness";
/// What all resources of one template begin with.
const TEMPLATE: &str = "patchbay://templates/";

/// The address of any of them, with its variable.
pub(super) const TEMPLATE_URI: &str = "patchbay://templates/{name}";

/// By address, so that the order stays.
pub(super) fn list() -> Vec<Resource> {
    vec![
        Resource::new(DICTIONARY, "dictionary")
            .with_title("Dictionary")
            .with_description("What the tables and columns of the normalized model mean.")
            .with_mime_type(JSON),
        Resource::new(FRESHNESS, "freshness")
            .with_title("Freshness of the data")
            .with_description(
                "For each connected tracker: up to when its changes are here, and whether a sync fails.",
            )
            .with_mime_type(JSON),
        Resource::new(TEMPLATES, "templates")
            .with_title("Query templates")
            .with_description("The ready-made queries: name, title, purpose and tags of each.")
            .with_mime_type(JSON),
    ]
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(TEMPLATE_URI, "template")
            .with_title("A query template")
            .with_description("One ready-made query with its parameters, limits and columns.")
            .with_mime_type(JSON),
    ]
}

/// Those that can be subscribed to, whether they exist or not.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = requested.clone();
    if let Some(uris) = &mut accepted.resource_subscriptions {
        uris.retain(|uri| {
            uri.len() <= MOST_URI && (uri == TEMPLATES || uri == FRESHNESS || uri.starts_with(TEMPLATE))
        });
        uris.truncate(MOST_SUBSCRIBED);
    }
    accepted
}

impl SqlTools {
    /// Reads a resource: JSON. The same failure whether there is none or it is not this caller's.
    pub(super) async fn read(&self, ctx: &Ctx, uri: &str) -> Result<Value, Failure> {
        telemetry::reads_resource(uri);
        let shown: String = uri.chars().take(MOST_URI).collect();
        let read = outcome::kept(&self.services.audit, ctx, record::resource(&shown), async {
            self.services.limits.count_tool(ctx, ToolClass::Read).await?;
            let content = match uri {
                DICTIONARY => self.get_dictionary(ctx, &Map::new())?.content,
                TEMPLATES => {
                    let templates = self.services.templates.list(ctx).await?;
                    json!({"templates": templates.iter().map(|template| summary(template)).collect::<Vec<_>>()})
                }
                FRESHNESS => {
                    let (freshness, now) = (self.services.templates.freshness(ctx).await?, now());
                    json!({"instances": freshness.iter().map(|of| answers::instance(of, now)).collect::<Vec<_>>()})
                }
                uri => {
                    let name = uri.strip_prefix(TEMPLATE).ok_or_else(no_such_resource)?;
                    let template =
                        self.services.templates.get(ctx, name).await.map_err(|error| match error {
                            Error::NotFound { .. } => no_such_resource(),
                            error => error.into(),
                        })?;
                    answers::template(&template)
                }
            };
            Ok(Answer { content, line: String::new(), size: None, picture: None })
        });
        Ok(read.await?.content)
    }

    /// What the caller has now, for telling when it changes.
    pub(super) async fn sight(&self, ctx: &Ctx) -> Result<Sight, Error> {
        let templates = self.services.templates.list(ctx).await?;
        let all: Vec<(&str, &str)> =
            templates.iter().map(|template| (template.name.as_str(), template.version.as_str())).collect();
        let mut sight = Sight { lists: digest(&all), ..Sight::default() };
        sight.resources.insert(TEMPLATES.to_owned(), sight.lists);
        for (name, version) in all {
            sight.resources.insert(format!("{TEMPLATE}{name}"), digest(&version));
        }
        let freshness = self.services.templates.cached_freshness(ctx).await?;
        let states: Vec<_> = freshness
            .iter()
            .map(|of| (of.slug.as_str(), of.synced_at, of.backfilled_at, answers::state(of)))
            .collect();
        sight.resources.insert(FRESHNESS.to_owned(), digest(&states));
        Ok(sight)
    }

    /// Names of this caller's templates that begin so.
    pub(super) async fn template_names(&self, ctx: &Ctx, begin: &str) -> Result<Vec<String>, Error> {
        let mine = self.services.templates.list(ctx).await?;
        Ok(mine
            .iter()
            .filter(|template| template.name.starts_with(begin))
            .map(|template| template.name.clone())
            .collect())
    }
}

fn summary(template: &Template) -> Value {
    json!({
        "name": template.name,
        "title": template.title,
        "description": template.description,
        "tags": template.tags,
        "uri": format!("{TEMPLATE}{}", template.name),
    })
}
