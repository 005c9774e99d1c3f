//! Asana's objects as far as they are read. Beside ids and times everything may be missing or null.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `2026-11-21T09:15:03.123Z`.
pub(super) type Time = DateTime<Utc>;

/// A missing or null value as its empty one.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A number of parts; null, which is none of the numbers Asana promises, as one, so that the list itself is asked.
fn some_parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Option::deserialize(deserializer).map(|parts| parts.unwrap_or(1))
}

/// An object as others mention it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Named {
    pub(super) gid: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Membership {
    pub(super) project: Option<Named>,
    pub(super) section: Option<Named>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Task {
    pub(super) gid: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) resource_subtype: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) is_rendered_as_separator: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) completed: bool,
    pub(super) completed_at: Option<Time>,
    pub(super) created_at: Time,
    pub(super) created_by: Option<Named>,
    pub(super) modified_at: Time,
    pub(super) html_notes: Option<String>,
    pub(super) assignee: Option<Named>,
    pub(super) due_on: Option<NaiveDate>,
    pub(super) due_at: Option<Time>,
    pub(super) start_on: Option<NaiveDate>,
    pub(super) parent: Option<Named>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) num_subtasks: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) memberships: Vec<Membership>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tags: Vec<Named>,
    pub(super) dependencies: Option<Vec<Named>>,
    pub(super) dependents: Option<Vec<Named>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) custom_fields: Vec<FieldValue>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) permalink_url: String,
    pub(super) approval_status: Option<String>,
    pub(super) actual_time_minutes: Option<f64>,
    pub(super) custom_type: Option<Named>,
    pub(super) custom_type_status_option: Option<Named>,
    /// What was noted beside the object when it was kept; see [`super::normalize::kept`].
    #[serde(rename = "_patchbay")]
    pub(super) noted: Option<Noted>,
}

/// What an object does not tell by itself.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Noted {
    pub(super) project: Option<String>,
    pub(super) reporter: Option<String>,
}

/// The part of a task that says where it belongs.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TaskPlace {
    pub(super) gid: String,
    pub(super) parent: Option<Named>,
    #[serde(default, deserialize_with = "some_parts")]
    pub(super) num_subtasks: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) memberships: Vec<Membership>,
    pub(super) modified_at: Option<Time>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) resource_subtype: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) is_rendered_as_separator: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct DateValue {
    pub(super) date: Option<NaiveDate>,
    pub(super) date_time: Option<String>,
}

/// A custom field with its value on a task.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FieldValue {
    pub(super) gid: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    pub(super) resource_subtype: Option<String>,
    pub(super) enum_value: Option<Named>,
    pub(super) multi_enum_values: Option<Vec<Named>>,
    pub(super) number_value: Option<f64>,
    pub(super) text_value: Option<String>,
    pub(super) date_value: Option<DateValue>,
    pub(super) people_value: Option<Vec<Named>>,
    pub(super) reference_value: Option<Vec<Named>>,
    pub(super) display_value: Option<String>,
}

/// The definition of a custom field, as a project uses it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Field {
    pub(super) gid: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) resource_subtype: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) enum_options: Vec<EnumOption>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct FieldSetting {
    pub(super) custom_field: Field,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct EnumOption {
    pub(super) gid: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    pub(super) enabled: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Dates {
    pub(super) due_on: Option<NaiveDate>,
    pub(super) due_at: Option<Time>,
    pub(super) start_on: Option<NaiveDate>,
}

/// A comment or an entry of a task's history.
#[derive(Debug, Deserialize)]
pub(super) struct Story {
    pub(super) gid: String,
    pub(super) created_at: Time,
    pub(super) created_by: Option<Named>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) resource_subtype: String,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub(super) kind: String,
    pub(super) html_text: Option<String>,
    pub(super) text: Option<String>,
    pub(super) old_name: Option<String>,
    pub(super) new_name: Option<String>,
    pub(super) old_dates: Option<Dates>,
    pub(super) new_dates: Option<Dates>,
    pub(super) old_resource_subtype: Option<String>,
    pub(super) new_resource_subtype: Option<String>,
    pub(super) assignee: Option<Named>,
    pub(super) old_section: Option<Named>,
    pub(super) new_section: Option<Named>,
    pub(super) project: Option<Named>,
    pub(super) tag: Option<Named>,
    pub(super) task: Option<Named>,
    pub(super) dependency: Option<Named>,
    pub(super) custom_field: Option<Named>,
    pub(super) old_text_value: Option<String>,
    pub(super) new_text_value: Option<String>,
    pub(super) old_number_value: Option<f64>,
    pub(super) new_number_value: Option<f64>,
    pub(super) old_enum_value: Option<Named>,
    pub(super) new_enum_value: Option<Named>,
    pub(super) old_multi_enum_values: Option<Vec<Named>>,
    pub(super) new_multi_enum_values: Option<Vec<Named>>,
    pub(super) old_people_value: Option<Vec<Named>>,
    pub(super) new_people_value: Option<Vec<Named>>,
    // The specification calls these times of a task; a day alone is sent at times.
    pub(super) old_date_value: Option<Value>,
    pub(super) new_date_value: Option<Value>,
    pub(super) old_approval_status: Option<String>,
    pub(super) new_approval_status: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Project {
    pub(super) gid: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) archived: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) permalink_url: String,
    pub(super) workspace: Option<Named>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct EventResource {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) gid: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) resource_type: String,
}

/// What happened to something, in the event stream and in webhooks.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Event {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) action: String,
    pub(super) resource: Option<EventResource>,
    pub(super) parent: Option<EventResource>,
}

impl Event {
    /// The task it is about: itself, or the one its comment or history entry belongs to.
    pub(super) fn task(&self) -> Option<&str> {
        let is_task =
            |resource: &&EventResource| resource.resource_type == "task" && !resource.gid.is_empty();
        let own = self.resource.as_ref().filter(is_task);
        own.or_else(|| self.parent.as_ref().filter(is_task)).map(|resource| resource.gid.as_str())
    }
}
