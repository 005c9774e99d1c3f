//! What issues refer to: statuses, types, priorities, resolutions, link types, fields and people.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::issue::id_of;

/// Objects by id.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) statuses: BTreeMap<String, Value>,
    pub(crate) types: BTreeMap<String, Value>,
    pub(crate) priorities: BTreeMap<String, Value>,
    pub(crate) resolutions: BTreeMap<String, Value>,
    pub(crate) link_types: BTreeMap<String, Value>,
    /// In the order of `GET /field`.
    pub(crate) fields: Vec<Value>,
    /// By account id, or by key on Data Center.
    pub(crate) users: BTreeMap<String, Value>,
}

/// `schema.custom` of the field that holds an issue's sprints.
pub(crate) const SPRINT: &str = "com.pyxis.greenhopper.jira:gh-sprint";
/// `schema.custom` of the field that holds an issue's epic, where `parent` does not.
pub(crate) const EPIC_LINK: &str = "com.pyxis.greenhopper.jira:gh-epic-link";
const CATEGORIES: [(u64, &str, &str, &str); 4] = [
    (1, "undefined", "medium-gray", "No Category"),
    (2, "new", "blue-gray", "To Do"),
    (4, "indeterminate", "yellow", "In Progress"),
    (3, "done", "green", "Done"),
];

impl Catalog {
    /// What every project of a generated site uses.
    pub(crate) fn standard(cloud: bool) -> Self {
        let mut catalog = Self { fields: fields(cloud), ..Self::default() };
        for (id, name, category) in [
            ("10000", "To Do", "new"),
            ("10001", "In Progress", "indeterminate"),
            ("10002", "In Review", "indeterminate"),
            ("10003", "Done", "done"),
        ] {
            catalog.statuses.insert(id.into(), status(id, name, category));
        }
        for (id, name, level) in [
            ("10001", "Epic", 1),
            ("10002", "Story", 0),
            ("10003", "Task", 0),
            ("10004", "Bug", 0),
            ("10005", "Sub-task", -1),
        ] {
            let mut kind = json!({"id": id, "name": name, "description": "", "subtask": level < 0});
            if cloud {
                kind["hierarchyLevel"] = json!(level);
            }
            catalog.types.insert(id.into(), kind);
        }
        for (id, name) in [("1", "Highest"), ("2", "High"), ("3", "Medium"), ("4", "Low"), ("5", "Lowest")] {
            catalog.priorities.insert(id.into(), json!({"id": id, "name": name}));
        }
        for (id, name) in
            [("10000", "Done"), ("10001", "Won't Do"), ("10002", "Duplicate"), ("10003", "Cannot Reproduce")]
        {
            catalog.resolutions.insert(id.into(), json!({"id": id, "name": name, "description": ""}));
        }
        for (id, name, inward, outward) in [
            ("10000", "Blocks", "is blocked by", "blocks"),
            ("10001", "Cloners", "is cloned by", "clones"),
            ("10002", "Duplicate", "is duplicated by", "duplicates"),
            ("10003", "Relates", "relates to", "relates to"),
        ] {
            let kind = json!({"id": id, "name": name, "inward": inward, "outward": outward});
            catalog.link_types.insert(id.into(), kind);
        }
        catalog
    }

    /// Notes an object of real data, if it is one and new.
    pub(crate) fn collect(&mut self, field: &str, value: &Value) {
        if !value.is_object() {
            return;
        }
        let Some(id) = id_of(value) else { return };
        let into = match field {
            "status" => &mut self.statuses,
            "issuetype" => &mut self.types,
            "priority" => &mut self.priorities,
            "resolution" => &mut self.resolutions,
            "linktype" => &mut self.link_types,
            "user" => &mut self.users,
            _ => return,
        };
        // On Data Center a user's key comes before everything else.
        let id = value["accountId"]
            .as_str()
            .or(value["key"].as_str().filter(|_| field == "user"))
            .map_or(id, str::to_owned);
        into.entry(id).or_insert_with(|| value.clone());
    }

    /// The objects a reference field can hold.
    pub(crate) fn of(&self, field: &str) -> Option<&BTreeMap<String, Value>> {
        Some(match field {
            "status" => &self.statuses,
            "issuetype" => &self.types,
            "priority" => &self.priorities,
            "resolution" => &self.resolutions,
            "assignee" | "reporter" | "creator" => &self.users,
            _ => return None,
        })
    }

    pub(crate) fn field(&self, id: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field["id"] == id)
    }

    /// The id of the custom field of a kind.
    pub(crate) fn custom(&self, kind: &str) -> Option<&str> {
        self.fields.iter().find(|field| field["schema"]["custom"] == kind)?["id"].as_str()
    }

    /// The object of an id or name.
    pub(crate) fn named<'a>(objects: &'a BTreeMap<String, Value>, wanted: &str) -> Option<&'a Value> {
        let by_name = || {
            objects
                .values()
                .find(|object| object["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
        };
        objects.get(wanted).or_else(by_name)
    }
}

pub(crate) fn status(id: &str, name: &str, category: &str) -> Value {
    json!({"id": id, "name": name, "description": "", "statusCategory": category_object(category)})
}

pub(crate) fn category_object(key: &str) -> Value {
    let (id, key, color, name) =
        CATEGORIES.into_iter().find(|(_, known, ..)| *known == key).unwrap_or(CATEGORIES[0]);
    json!({"id": id, "key": key, "colorName": color, "name": name})
}

pub(crate) fn categories() -> Vec<Value> {
    CATEGORIES.iter().map(|(_, key, ..)| category_object(key)).collect()
}

/// Jira's own fields, and believable custom ones.
fn fields(cloud: bool) -> Vec<Value> {
    let mut all = system_fields();
    let kind = |name: &str| format!("com.atlassian.jira.plugin.system.customfieldtypes:{name}");
    let (sprint, epic, points) = if cloud { (10020, 10014, 10016) } else { (10104, 10100, 10106) };
    for (number, name, kind, schema, items) in [
        (sprint, "Sprint", SPRINT.to_owned(), "array", Some("json")),
        (epic, "Epic Link", EPIC_LINK.to_owned(), "any", None),
        (points, "Story Points", kind("float"), "number", None),
        (10_030, "Team", kind("select"), "option", None),
        (10_031, "Severity", kind("select"), "option", None),
        (10_032, "Customers", kind("multiselect"), "array", Some("option")),
        (10_033, "Release notes", kind("textarea"), "string", None),
        (10_034, "Target date", kind("datepicker"), "date", None),
        (10_035, "Reviewer", kind("userpicker"), "user", None),
        (10_036, "Runbook", kind("url"), "string", None),
        (10_037, "Root cause", kind("textfield"), "string", None),
        (10_038, "Reviewed at", kind("datetime"), "datetime", None),
    ] {
        all.push(custom_field(number, name, &kind, schema, items));
    }
    all
}

pub(crate) fn custom_field(number: u64, name: &str, kind: &str, schema: &str, items: Option<&str>) -> Value {
    let id = format!("customfield_{number}");
    let mut shape = json!({"type": schema, "custom": kind, "customId": number});
    if let Some(items) = items {
        shape["items"] = json!(items);
    }
    json!({
        "id": id, "key": id, "name": name, "untranslatedName": name, "custom": true, "orderable": true,
        "navigable": true, "searchable": true, "clauseNames": [format!("cf[{number}]"), name], "schema": shape
    })
}

pub(crate) fn system_fields() -> Vec<Value> {
    [
        ("summary", "Summary", "string", None),
        ("issuetype", "Issue Type", "issuetype", None),
        ("status", "Status", "status", None),
        ("project", "Project", "project", None),
        ("description", "Description", "string", None),
        ("environment", "Environment", "string", None),
        ("assignee", "Assignee", "user", None),
        ("reporter", "Reporter", "user", None),
        ("creator", "Creator", "user", None),
        ("priority", "Priority", "priority", None),
        ("resolution", "Resolution", "resolution", None),
        ("resolutiondate", "Resolved", "datetime", None),
        ("created", "Created", "datetime", None),
        ("updated", "Updated", "datetime", None),
        ("duedate", "Due date", "date", None),
        ("labels", "Labels", "array", Some("string")),
        ("components", "Components", "array", Some("component")),
        ("fixVersions", "Fix versions", "array", Some("version")),
        ("versions", "Affects versions", "array", Some("version")),
        ("issuelinks", "Linked Issues", "array", Some("issuelinks")),
        ("subtasks", "Sub-tasks", "array", Some("issuelinks")),
        ("parent", "Parent", "issuelink", None),
        ("attachment", "Attachment", "array", Some("attachment")),
        ("comment", "Comment", "comments-page", None),
        ("worklog", "Log Work", "array", Some("worklog")),
        ("timetracking", "Time tracking", "timetracking", None),
        ("timeoriginalestimate", "Original estimate", "number", None),
        ("timeestimate", "Remaining Estimate", "number", None),
        ("timespent", "Time Spent", "number", None),
        ("statuscategorychangedate", "Status Category Changed", "datetime", None),
    ]
    .into_iter()
    .map(|(id, name, kind, items)| {
        let mut shape = json!({"type": kind, "system": id});
        if let Some(items) = items {
            shape["items"] = json!(items);
        }
        json!({
            "id": id, "key": id, "name": name, "custom": false, "orderable": true, "navigable": true,
            "searchable": true, "clauseNames": [id], "schema": shape
        })
    })
    .collect()
}
