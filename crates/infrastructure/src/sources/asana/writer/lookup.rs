//! Names that people give, as gids. An unknown one is refused with what it may have been.

use application::ports::SourceError;
use chrono::{DateTime, NaiveDate};
use domain::FieldRole;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::super::nearest::nearest;
use super::super::api::Api;
use super::super::model::{Field, Named, Project};
use super::super::settings::is_gid;
use super::super::{account, reference};

/// What has a name and a gid.
trait Called {
    fn gid(&self) -> &str;
    fn name(&self) -> &str;
}

impl Called for Named {
    fn gid(&self) -> &str {
        &self.gid
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Called for Field {
    fn gid(&self) -> &str {
        &self.gid
    }
    fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Debug, Deserialize)]
struct User {
    gid: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

/// The one of that gid or name, in whatever case; refused when several are called so.
fn find<'n, T: Called>(field: &str, what: &str, wanted: &str, known: &'n [T]) -> Result<&'n T, SourceError> {
    let wanted = wanted.trim();
    if let Some(found) = known.iter().find(|one| one.gid() == wanted) {
        return Ok(found);
    }
    let exact: Vec<&T> = known.iter().filter(|one| one.name() == wanted).collect();
    let found = if exact.is_empty() {
        known.iter().filter(|one| one.name().to_lowercase() == wanted.to_lowercase()).collect()
    } else {
        exact
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(SourceError::unknown_value(
            field,
            format!("Asana knows no {what} \"{wanted}\" there"),
            nearest(wanted, known.iter().map(Called::name)),
        )),
        several => Err(SourceError::unknown_value(
            field,
            format!("Asana knows {} {what}s \"{wanted}\": give the gid of one", several.len()),
            several.iter().map(|one| one.gid().to_owned()).collect(),
        )),
    }
}

/// A project by gid or name, of those that are read.
pub(super) async fn project(api: &Api<'_>, wanted: &str) -> Result<Project, SourceError> {
    let wanted = wanted.trim();
    let selected = api.settings.projects.clone();
    if is_gid(wanted) && selected.is_none() {
        return account::project(api, wanted).await.map_err(|error| match error.upstream_status {
            Some(403 | 404) => SourceError { field: Some("/project".into()), ..error },
            _ => error,
        });
    }
    if is_gid(wanted) && selected.as_ref().is_some_and(|gids| gids.iter().any(|gid| gid == wanted)) {
        return account::project(api, wanted).await;
    }
    let all = account::projects(api).await?;
    let named: Vec<Named> =
        all.iter().map(|project| Named { gid: project.gid.clone(), name: project.name.clone() }).collect();
    let found = find("/project", "project that is read", wanted, &named)?.gid.clone();
    all.into_iter()
        .find(|project| project.gid == found)
        .ok_or_else(|| super::super::malformed("Asana's list of projects changed while it was read"))
}

/// The sections of a project.
pub(super) async fn sections(api: &Api<'_>, project: &str) -> Result<Vec<Named>, SourceError> {
    let what = format!("the sections of the project {project}");
    api.all(&format!("/projects/{project}/sections"), &[("opt_fields", "name")], &what).await
}

/// A section by name.
pub(super) async fn section(api: &Api<'_>, project: &str, wanted: &str) -> Result<Named, SourceError> {
    find("/section", "section", wanted, &sections(api, project).await?).cloned()
}

/// A tag by name.
pub(super) async fn tags(
    api: &Api<'_>,
    workspace: &str,
    wanted: &[String],
) -> Result<Vec<Named>, SourceError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let what = format!("the tags of the workspace {workspace}");
    let path = format!("/workspaces/{workspace}/tags");
    let all: Vec<Named> = api.all(&path, &[("opt_fields", "name")], &what).await?;
    wanted.iter().map(|name| find("/labels", "tag", name, &all).cloned()).collect()
}

/// A person by gid, e-mail address or name.
pub(super) async fn user(
    api: &Api<'_>,
    workspace: &str,
    wanted: &str,
    field: &str,
) -> Result<Named, SourceError> {
    let what = format!("the users of the workspace {workspace}");
    let all: Vec<User> =
        api.all("/users", &[("workspace", workspace), ("opt_fields", "email,name")], &what).await?;
    let by_mail = all
        .iter()
        .find(|user| user.email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(wanted.trim())));
    if let Some(user) = by_mail {
        return Ok(Named { gid: user.gid.clone(), name: user.name.clone().unwrap_or_default() });
    }
    let named: Vec<Named> =
        all.into_iter().map(|user| Named { gid: user.gid, name: user.name.unwrap_or_default() }).collect();
    find(field, "person", wanted, &named).cloned()
}

/// The custom fields of a project.
pub(super) async fn fields(api: &Api<'_>, project: &str) -> Result<Vec<Field>, SourceError> {
    let settings = reference::field_settings(api, project).await?;
    Ok(settings.into_iter().map(|setting| setting.custom_field).collect())
}

/// The field that keeps the priority: the one with that role, or one that is called so.
pub(super) fn priority_field<'f>(api: &Api<'_>, known: &'f [Field]) -> Result<&'f Field, SourceError> {
    let role = api.mappings().field(FieldRole::Priority);
    let found = match role {
        Some(gid) => known.iter().find(|field| field.gid == gid),
        None => known.iter().find(|field| field.name.trim().eq_ignore_ascii_case("priority")),
    };
    found.ok_or_else(|| {
        SourceError::unknown_value(
            "/priority",
            "the project has no field for the priority: give one that role in the instance's mappings",
            known
                .iter()
                .filter(|field| field.resource_subtype == "enum")
                .map(|field| field.name.clone())
                .collect(),
        )
    })
}

/// Values by gid, as Asana takes them.
pub(super) async fn values(
    api: &Api<'_>,
    workspace: &str,
    known: &[Field],
    wanted: impl IntoIterator<Item = (&String, &Value)>,
) -> Result<Map<String, Value>, SourceError> {
    let mut values = Map::new();
    for (name, value) in wanted {
        let pointer = format!("/fields/{}", name.replace('~', "~0").replace('/', "~1"));
        let field = find(&pointer, "custom field", name, known)?;
        values.insert(field.gid.clone(), self::value(api, workspace, field, value, &pointer).await?);
    }
    Ok(values)
}

/// One value as Asana takes it.
pub(super) async fn value(
    api: &Api<'_>,
    workspace: &str,
    field: &Field,
    value: &Value,
    pointer: &str,
) -> Result<Value, SourceError> {
    let wrong = |form: &str| {
        SourceError::unknown_value(pointer, format!("the field \"{}\" takes {form}", field.name), Vec::new())
    };
    let texts = |value: &Value| -> Option<Vec<String>> {
        match value {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(all) => all.iter().map(|one| Some(one.as_str()?.to_owned())).collect(),
            _ => None,
        }
    };
    if value.is_null() {
        let list = matches!(field.resource_subtype.as_str(), "multi_enum" | "people");
        return Ok(if list { json!([]) } else { Value::Null });
    }
    match field.resource_subtype.as_str() {
        "enum" => {
            let name = value.as_str().ok_or_else(|| wrong("one of its options by name"))?;
            Ok(json!(option(field, name, pointer)?))
        }
        "multi_enum" => {
            let names = texts(value).ok_or_else(|| wrong("a list of its options by name"))?;
            let gids: Result<Vec<_>, _> = names.iter().map(|name| option(field, name, pointer)).collect();
            Ok(json!(gids?))
        }
        "number" => match value {
            Value::Number(_) => Ok(value.clone()),
            Value::String(text) => text
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map(|number| json!(number))
                .ok_or_else(|| wrong("a number")),
            _ => Err(wrong("a number")),
        },
        "text" => value.as_str().map(|text| json!(text)).ok_or_else(|| wrong("text")),
        "date" => {
            let text = value.as_str().ok_or_else(|| wrong("a day such as 2026-11-30"))?;
            if text.parse::<NaiveDate>().is_ok() {
                return Ok(json!({"date": text}));
            }
            DateTime::parse_from_rfc3339(text)
                .map(|_| json!({"date_time": text}))
                .map_err(|_| wrong("a day such as 2026-11-30, or a time with its zone"))
        }
        "people" => {
            let names = texts(value).ok_or_else(|| wrong("a list of people"))?;
            let mut gids = Vec::with_capacity(names.len());
            for name in &names {
                gids.push(user(api, workspace, name, pointer).await?.gid);
            }
            Ok(json!(gids))
        }
        other => Err(SourceError::unknown_value(
            pointer,
            format!("the field \"{}\" cannot be written: its kind is {other}", field.name),
            Vec::new(),
        )),
    }
}

fn option(field: &Field, name: &str, pointer: &str) -> Result<String, SourceError> {
    let options: Vec<Named> = field
        .enum_options
        .iter()
        .filter(|option| option.enabled != Some(false))
        .map(|option| Named { gid: option.gid.clone(), name: option.name.clone() })
        .collect();
    find(pointer, "option", name, &options).map(|option| option.gid.clone())
}
