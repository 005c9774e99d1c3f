//! The table of the tools: what each is called, which set it belongs to, and what it does to Jira. Lists, bounds and hints
//! are made of it.
//!
//! A set stands in files of its own: its rows and schemas in `schemas/<set>.rs`, what its tools do in `<set>.rs`. It is added
//! with a line in [`SETS`] and one in `JiraTools::call`.

use std::borrow::Cow;
use std::sync::Arc;

use domain::Toolset;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::schemas::{admin, agile, bulk, changes, files, reading, work, writing};

/// The sets.
const SETS: [&[Entry]; 8] = [
    &reading::TOOLS,
    &writing::TOOLS,
    &admin::TOOLS,
    &agile::TOOLS,
    &bulk::TOOLS,
    &changes::TOOLS,
    &files::TOOLS,
    &work::TOOLS,
];

/// What a tool does to Jira, as clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// Only looks.
    Reads,
    /// Makes something each time it is called.
    Adds,
    /// Changes what is there; twice is the same as once. Jira keeps the history.
    Changes,
    /// Takes something away for good.
    Removes,
}

/// A tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) set: Toolset,
    pub(super) does: Does,
    /// Whether it takes an idempotency key.
    pub(super) takes_key: bool,
    /// Its words and schemas.
    pub(super) described: fn() -> Described,
}

/// What a tool is listed with.
pub(super) struct Described {
    pub(super) words: &'static str,
    /// Arguments, without `instance`.
    pub(super) properties: Value,
    pub(super) required: &'static [&'static str],
    /// The schema of its answer.
    pub(super) output: Value,
}

/// Every tool there is, by name, as they are listed.
pub(super) fn all() -> Vec<&'static Entry> {
    let mut all: Vec<&Entry> = SETS.into_iter().flatten().collect();
    all.sort_by_key(|tool| tool.name);
    all
}

/// The tool of this name.
pub(super) fn named(name: &str) -> Option<&'static Entry> {
    SETS.into_iter().flatten().find(|tool| tool.name == name)
}

impl Entry {
    /// Whether it changes something.
    pub(super) fn writes(&self) -> bool {
        self.does != Does::Reads
    }

    /// As it is listed. With one instance nobody needs to name it.
    pub(super) fn listed(&self, several_instances: bool) -> Tool {
        let Described { words, mut properties, required, output } = (self.described)();
        if several_instances && self.name != reading::GET_CONTEXT {
            properties["instance"] =
                json!({"type": "string", "description": "Instance slug.", "x-mcp-header": "Instance"});
        }
        let mut input = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !required.is_empty() {
            input["required"] = json!(required);
        }
        Tool::new_with_raw(self.name, Some(Cow::Borrowed(words)), Arc::new(into_object(input)))
            .with_raw_output_schema(Arc::new(into_object(output)))
            .with_annotations(self.annotations())
    }

    fn annotations(&self) -> ToolAnnotations {
        let writing = || ToolAnnotations::new().read_only(false);
        match self.does {
            Does::Reads => ToolAnnotations::new().read_only(true),
            Does::Adds => writing().destructive(false),
            Does::Changes => writing().destructive(false).idempotent(true),
            Does::Removes => writing().destructive(true).idempotent(true),
        }
    }
}

fn into_object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        // Every schema here is written as an object.
        _ => JsonObject::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_short_and_of_this_server_and_only_what_writes_takes_a_key() {
        let all = all();
        assert_eq!(all.iter().map(|tool| tool.name).collect::<BTreeSet<_>>().len(), all.len());
        for tool in all {
            assert!(tool.name.starts_with("jira_") && tool.name.len() <= 32, "{}", tool.name);
            assert!(Toolset::JIRA.contains(&tool.set), "{}", tool.name);
            assert!(tool.writes() || !tool.takes_key, "{}", tool.name);
            let listed = tool.listed(true);
            let takes = listed.input_schema["properties"].get("idempotency_key").is_some();
            assert_eq!(takes, tool.takes_key, "{}", tool.name);
        }
    }
}
