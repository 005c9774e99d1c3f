//! Custom fields: their names and types, and their values in a form that says what it means.
//!
//! Jira tells names and types beside a page, not in the issue. What an issue needs of them is noted in the kept object,
//! under a name that is ours, so that it can be mapped anew without asking Jira.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{FieldRole, Mappings};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::model::Issue;
use super::sprints;
use super::text::{is_document, value_markdown};

/// Where schemas say what a custom field is.
const SPRINT: &str = "com.pyxis.greenhopper.jira:gh-sprint";
const EPIC_LINK: &str = "com.pyxis.greenhopper.jira:gh-epic-link";
const STORY_POINTS: &str = "com.pyxis.greenhopper.jira:jsw-story-points";
/// Names of the number fields that hold story points where no schema says so.
const STORY_POINT_NAMES: [&str; 3] = ["story points", "story point estimate", "story point"];
/// The name of the day work begins, as Cloud has it in every site.
const START_DATE_NAME: &str = "start date";

/// A field's type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Schema {
    /// `number`, `array`, `option`, …
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    /// Of what, for arrays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<String>,
    /// Which app made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) custom: Option<String>,
}

/// What is noted beside a kept issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// Names of the custom fields that have a value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) names: BTreeMap<String, String>,
    /// Their types.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) schema: BTreeMap<String, Schema>,
    /// Where people open the site, when it is elsewhere than the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) site: Option<String>,
    /// The id of the epic, where the issue tells only its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epic_id: Option<String>,
}

/// Names and types of the fields of a page.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// By id; where two have the same name, with the id behind it.
    names: HashMap<String, String>,
    schema: HashMap<String, Schema>,
}

/// Names that are ours, for what Jira keeps in fields of its own.
const OWN_NAMES: [&str; 5] =
    ["Components", "Fix versions", "Affects versions", "Environment", "Security level"];

impl Fields {
    /// Reads `names` and `schema` of a page.
    pub(super) fn new(
        names: impl IntoIterator<Item = (String, String)>,
        schema: impl IntoIterator<Item = (String, Schema)>,
    ) -> Self {
        let names: HashMap<String, String> =
            names.into_iter().filter(|(id, _)| id.starts_with("customfield_")).collect();
        let mut count: HashMap<String, usize> =
            OWN_NAMES.iter().map(|name| (name.to_lowercase(), 1)).collect();
        for name in names.values() {
            *count.entry(name.trim().to_lowercase()).or_default() += 1;
        }
        let names = names
            .into_iter()
            .map(|(id, name)| {
                let name = name.trim();
                let unique = !name.is_empty() && count.get(&name.to_lowercase()) == Some(&1);
                let name = if unique { name.to_owned() } else { format!("{name} ({id})").trim().to_owned() };
                (id, name)
            })
            .collect();
        Self { names, schema: schema.into_iter().filter(|(id, _)| id.starts_with("customfield_")).collect() }
    }

    /// Whether Jira told both names and types.
    pub(super) fn is_told(&self) -> bool {
        !self.names.is_empty() && !self.schema.is_empty()
    }

    /// Whether it knows every custom field of the issue that has a value.
    pub(super) fn covers(&self, issue: &Issue<'_>) -> bool {
        custom_ids(issue).all(|id| self.names.contains_key(id))
    }

    /// From the definitions of `GET /field`.
    pub(super) fn of_definitions(definitions: &[Definition]) -> Self {
        Self::new(
            definitions.iter().map(|field| (field.id.clone(), field.name.clone())),
            definitions.iter().filter_map(|field| Some((field.id.clone(), field.schema.clone()?))),
        )
    }

    /// What an issue needs of it.
    pub(super) fn noted(&self, issue: &Issue<'_>) -> Noted {
        let mut noted = Noted::default();
        for id in custom_ids(issue) {
            if let Some(name) = self.names.get(id) {
                noted.names.insert(id.to_owned(), name.clone());
            }
            if let Some(schema) = self.schema.get(id) {
                noted.schema.insert(id.to_owned(), schema.clone());
            }
        }
        noted
    }
}

/// Custom fields of an issue that have a value.
fn custom_ids<'i>(issue: &'i Issue<'_>) -> impl Iterator<Item = &'i str> {
    issue
        .fields
        .iter()
        .map(|(id, value)| (id.borrow(), value))
        .filter(|(id, value): &(&str, _)| {
            id.starts_with("customfield_") && !matches!(value.get(), "null" | "[]" | "\"\"")
        })
        .map(|(id, _)| id)
}

impl Noted {
    fn custom(&self, id: &str) -> &str {
        self.schema.get(id).and_then(|schema| schema.custom.as_deref()).unwrap_or_default()
    }

    fn with_custom(&self, custom: &str) -> impl Iterator<Item = &str> {
        self.schema
            .iter()
            .filter(move |(_, schema)| schema.custom.as_deref() == Some(custom))
            .map(|(id, _)| id.as_str())
    }

    /// The object as received, with what was noted in it; unchanged when nothing was.
    pub(super) fn keep_with(&self, raw: &RawValue) -> Box<RawValue> {
        let noted = (self != &Self::default()).then(|| serde_json::to_string(self).ok()).flatten();
        let kept = noted.and_then(|noted| {
            let open = raw.get().trim_end().strip_suffix('}')?;
            RawValue::from_string(format!("{open},\"patchbay\":{noted}}}")).ok()
        });
        kept.unwrap_or_else(|| raw.to_owned())
    }

    /// The field that holds the sprints.
    pub(super) fn sprint_field(&self, mappings: &Mappings) -> Option<String> {
        mappings
            .field(FieldRole::Sprint)
            .map(str::to_owned)
            .or_else(|| self.with_custom(SPRINT).next().map(str::to_owned))
    }

    /// The key of the epic, as sites that have the old field tell it.
    pub(super) fn epic_key(&self, issue: &Issue<'_>) -> Option<String> {
        self.with_custom(EPIC_LINK).find_map(|id| issue.get::<String>(id)).filter(|key| key.contains('-'))
    }

    /// The size in story points: the mapped field, the team-managed projects' own, or a number field of that name.
    pub(super) fn story_points(&self, issue: &Issue<'_>, mappings: &Mappings) -> Option<f64> {
        let number = |id: &str| issue.get::<f64>(id).filter(|number| number.is_finite());
        if let Some(id) = mappings.field(FieldRole::StoryPoints) {
            return number(id);
        }
        self.with_custom(STORY_POINTS)
            .find_map(number)
            .or_else(|| STORY_POINT_NAMES.iter().find_map(|wanted| self.named(wanted).find_map(number)))
    }

    /// The day work begins, as text.
    pub(super) fn start_date(&self, issue: &Issue<'_>, mappings: &Mappings) -> Option<String> {
        match mappings.field(FieldRole::StartOn) {
            Some(id) => issue.get(id),
            None => self.named(START_DATE_NAME).find_map(|id| issue.get(id)),
        }
    }

    /// Ids of fields of a name, also where it is not the only one of that name.
    fn named<'n>(&'n self, wanted: &'n str) -> impl Iterator<Item = &'n str> {
        self.names.iter().filter_map(move |(id, name)| {
            let plain = name.strip_suffix(&format!(" ({id})")).unwrap_or(name);
            (plain.to_lowercase() == wanted).then_some(id.as_str())
        })
    }

    /// Every custom field that has a value, by name, and what Jira has fields of its own for and we do not.
    pub(super) fn values(&self, issue: &Issue<'_>) -> Value {
        let mut values = Map::new();
        for id in custom_ids(issue) {
            let Some(value) = issue.get::<Value>(id) else { continue };
            let name = self.names.get(id).map_or(id, String::as_str).to_owned();
            let value = if self.custom(id) == SPRINT { sprints::names(&value) } else { plain(value) };
            if !value.is_null() {
                values.insert(name, value);
            }
        }
        for (name, field) in
            OWN_NAMES.iter().zip(["components", "fixVersions", "versions", "environment", "security"])
        {
            let value = issue.get::<Value>(field).map(plain).unwrap_or_default();
            let several = value.as_array().map_or(0, Vec::len);
            // The only fix version is the item's milestone.
            let told = match field {
                "fixVersions" => several > 1,
                _ => several > 0 || value.as_str().is_some_and(|text| !text.is_empty()),
            };
            if told {
                values.insert((*name).to_owned(), value);
            }
        }
        Value::Object(values)
    }
}

/// The texts an option, a person, a version or a document stands for; other values stay as they are.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Array(values) => {
            let values: Vec<Value> = values.into_iter().map(plain).filter(|value| !value.is_null()).collect();
            if values.is_empty() { Value::Null } else { Value::Array(values) }
        }
        Value::Object(object) => of_object(object),
        other => other,
    }
}

fn of_object(object: Map<String, Value>) -> Value {
    let value = Value::Object(object);
    if is_document(&value) {
        return value_markdown(&value).map_or(Value::Null, Value::String);
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(chosen) = text("value") {
        // The second choice of a cascading list hangs on the first.
        let child = value.get("child").and_then(|child| child.get("value")).and_then(Value::as_str);
        return Value::String(child.map_or_else(|| chosen.clone(), |child| format!("{chosen} / {child}")));
    }
    match text("displayName").or_else(|| text("name")).or_else(|| text("key")) {
        Some(text) => Value::String(text),
        None => value,
    }
}

/// Ids of custom fields that are of this kind, among the definitions of `GET /field`.
pub(super) fn sprint_fields(definitions: &[Definition]) -> BTreeSet<String> {
    definitions
        .iter()
        .filter(|field| field.schema.as_ref().is_some_and(|schema| schema.custom.as_deref() == Some(SPRINT)))
        .map(|field| field.id.clone())
        .collect()
}

/// A field's definition.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definition {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) custom: bool,
    #[serde(default)]
    pub(super) schema: Option<Schema>,
    /// What searches call it: `cf[10010]`.
    #[serde(default)]
    pub(super) clause_names: Vec<String>,
}

impl Definition {
    /// Its type in words: `number`, `array of option`.
    pub(super) fn field_type(&self) -> String {
        match &self.schema {
            Some(Schema { kind, items: Some(items), .. }) => format!("{kind} of {items}"),
            Some(schema) if !schema.kind.is_empty() => schema.kind.clone(),
            _ => "unknown".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUE: &str = r#"{"id":"1","key":"ENG-1","fields":{
        "customfield_1":3.5,"customfield_2":{"value":"Red","child":{"value":"Dark"}},"customfield_3":null,
        "customfield_4":[{"displayName":"Ann"},{"displayName":"Bo"}],"customfield_5":"x","customfield_6":[],
        "customfield_7":{"type":"doc","version":1,"content":[{"type":"paragraph","content":[{"type":"text","text":"hi"}]}]},
        "customfield_8":{"odd":1},
        "components":[{"id":"1","name":"API"}],"fixVersions":[{"name":"1.0"}],"versions":[{"name":"0.9"}]}}"#;

    fn fields() -> Fields {
        let names = [
            ("1", "Story Points"),
            ("2", "Colour"),
            ("3", "None"),
            ("4", "Team"),
            ("5", "team "),
            ("7", "Note"),
        ];
        Fields::new(
            names.map(|(id, name)| (format!("customfield_{id}"), name.to_owned())),
            [("customfield_2".to_owned(), Schema { kind: "option".into(), ..Schema::default() })],
        )
    }

    #[test]
    fn values_go_by_name_and_say_what_they_mean() {
        let issue: Issue<'_> = serde_json::from_str(ISSUE).unwrap();
        let noted = fields().noted(&issue);
        let values = noted.values(&issue);
        assert_eq!(
            values,
            json!({
                "Story Points": 3.5, "Colour": "Red / Dark", "Team (customfield_4)": ["Ann", "Bo"],
                "team (customfield_5)": "x", "Note": values["Note"], "customfield_8": {"odd": 1},
                "Components": ["API"], "Affects versions": ["0.9"],
            })
        );
        assert_eq!(noted.story_points(&issue, &Mappings::default()), Some(3.5));
    }

    #[test]
    fn the_mapped_field_is_the_only_one_for_its_role() {
        let issue: Issue<'_> = serde_json::from_str(ISSUE).unwrap();
        let mut mappings = Mappings::default();
        mappings.fields.insert("customfield_9".into(), FieldRole::StoryPoints);
        assert_eq!(fields().noted(&issue).story_points(&issue, &mappings), None);
    }

    #[test]
    fn what_is_noted_is_found_again_in_the_kept_object() {
        let raw = RawValue::from_string(ISSUE.to_owned()).unwrap();
        let issue: Issue<'_> = serde_json::from_str(raw.get()).unwrap();
        let noted = fields().noted(&issue);
        let kept = noted.keep_with(&raw);
        let again: Issue<'_> = serde_json::from_str(kept.get()).unwrap();
        assert_eq!(again.patchbay, Some(noted));
        assert_eq!(Noted::default().keep_with(&raw).get(), ISSUE);
    }
}
