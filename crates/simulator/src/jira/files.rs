//! Files of issues, and where their content is.

use anyhow::Context as _;
use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::{Call, Kind};
use super::issue::id_of;
use super::render::View;
use super::reply::Reply;
use super::search::sees;
use super::site::JiraSite;
use super::time;

/// Jira's own, unless a switch says otherwise.
const UPLOAD_LIMIT: u64 = 10 * 1024 * 1024;

pub(super) fn upload_limit(site: &JiraSite) -> u64 {
    site.switches.upload_limit.unwrap_or(UPLOAD_LIMIT)
}

/// `GET /attachment/meta`.
pub(super) fn meta(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[])?;
    Ok(Reply::json(&json!({"enabled": true, "uploadLimit": upload_limit(site)})))
}

/// `GET /attachment/content/{id}`: a redirection to where the file is stored, unless that is not wanted.
pub(super) fn content(call: &Call<'_>, site: &JiraSite, id: &str) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[("redirect", Kind::Flag)])?;
    let reply = file(call, site, id, None)?;
    match call.text("redirect") {
        Some("false") => Ok(reply),
        _ => Ok(Reply::new(StatusCode::SEE_OTHER, String::new())
            .header("location", format!("https://api.media.atlassian.com/file/{id}/binary?token=t"))),
    }
}

/// `GET /secure/attachment/{id}/{name}`, where Data Center has its files.
pub(super) fn page(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(!site.is_cloud() && call.method == Method::GET)?;
    match call.parts().as_slice() {
        ["attachment", id, name] => file(call, site, id, Some(name)),
        _ => Err(Reply::no_resource()),
    }
}

fn file(call: &Call<'_>, site: &JiraSite, id: &str, name: Option<&str>) -> Result<Reply, Reply> {
    let gone =
        || Reply::error(StatusCode::NOT_FOUND, &format!("The attachment with id '{id}' does not exist"));
    let issues = site.issues().filter(|issue| sees(call, site, issue));
    let mut rows = issues.flat_map(|issue| issue.array("attachment"));
    let row = rows.find(|row| row["id"] == id).ok_or_else(gone)?;
    let filename = row["filename"].as_str().unwrap_or_default();
    if name.is_some_and(|name| name != filename) {
        return Err(gone());
    }
    let content = id.parse().ok().and_then(|id: u64| site.files.get(&id)).ok_or_else(gone)?;
    Ok(Reply::file(filename, content.clone()))
}

/// A file as an issue shows it.
pub(super) fn shown(view: &View<'_>, row: &Value) -> Value {
    let mut row = row.clone();
    let id = id_of(&row["id"]).unwrap_or_default();
    if let Some(author) = row["author"].as_str().map(str::to_owned) {
        row["author"] = view.user(&author);
    }
    let name: String =
        url::form_urlencoded::byte_serialize(row["filename"].as_str().unwrap_or_default().as_bytes())
            .collect();
    row["self"] = json!(view.url(&format!("attachment/{id}")));
    row["content"] = json!(match view.site.is_cloud() {
        true => view.url(&format!("attachment/content/{id}")),
        false => format!("{}/secure/attachment/{id}/{}", view.base, name.replace('+', "%20")),
    });
    row
}

/// By the name, as Jira does where the type is told to be any.
fn mime_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end.to_lowercase()).as_deref() {
        Some("txt" | "log") => "text/plain",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("html") => "text/html",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}

impl JiraSite {
    /// Keeps a file's content; what an issue holds of it, and its entry in the changelog.
    pub(super) fn new_file(&mut self, author: &str, name: &str, content: Bytes) -> (Value, Value) {
        let (id, at) = (self.new_id(), self.tick());
        let row = json!({
            "id": id.to_string(), "filename": name, "author": author, "created": time::iso(at),
            "size": content.len(), "mimeType": mime_type(name)
        });
        let item = json!({
            "field": "Attachment", "fieldtype": "jira", "fieldId": "attachment", "from": null, "fromString": null,
            "to": id.to_string(), "toString": name
        });
        self.files.insert(id, content);
        (row, item)
    }

    /// Attaches a file to an issue, in the name of the site's last account; answers its id.
    ///
    /// # Errors
    /// When there is no such issue.
    pub fn attach_file(
        &mut self,
        key: &str,
        name: &str,
        content: impl Into<Bytes>,
    ) -> anyhow::Result<String> {
        let id = self.find(key).with_context(|| format!("there is no issue {key}"))?.id;
        let author = self.catalog.users.keys().next_back().cloned().unwrap_or_default();
        let (row, _) = self.new_file(&author, name, content.into());
        let file = id_of(&row["id"]).unwrap_or_default();
        self.edit(id, |issue, _| {
            let rows = issue.fields.entry("attachment").or_insert_with(|| json!([]));
            rows.as_array_mut().into_iter().for_each(|rows| rows.push(row.clone()));
        });
        Ok(file)
    }

    /// Takes a file away from an issue.
    ///
    /// # Errors
    /// When there is no such issue.
    pub fn detach_file(&mut self, key: &str, file: &str) -> anyhow::Result<()> {
        let id = self.find(key).with_context(|| format!("there is no issue {key}"))?.id;
        self.edit(id, |issue, _| {
            let rows = issue.fields.get_mut("attachment").and_then(Value::as_array_mut);
            rows.into_iter().for_each(|rows| rows.retain(|row| row["id"] != file));
        });
        if let Ok(file) = file.parse::<u64>() {
            self.files.remove(&file);
        }
        Ok(())
    }
}
