//! Files attached to issues.

use application::ports::{Look, SourceError};
use bytes::Bytes;
use domain::{ChangedField, NewAttachment, WrittenItem};
use http::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api::{Api, segment};
use super::super::malformed;
use super::super::model::{Attachment, User};
use super::issue::{Issue, finish};
use super::look::{found, marked};
use super::{Mode, rejected, send};

/// What Jira says of attachments altogether.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    upload_limit: Option<u64>,
}

/// Attaches a file, in one request.
pub(super) async fn attach(
    api: &Api<'_>,
    key: &str,
    file: &NewAttachment,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let issue = Issue::read(api, key, &[]).await?;
    issue.require_selected(api)?;
    let Some(content) = &file.content else {
        let message = "is of a file that was attached already: announce it anew with jira_create_upload";
        return Err(rejected("/upload_handle", message));
    };
    let change = ChangedField {
        field: "attachments".to_owned(),
        from: Value::Null,
        to: json!({"filename": file.filename, "size": file.size}),
    };
    if mode == Mode::Rehearse {
        require_taken(api, file).await?;
        return Ok(WrittenItem { changed: vec![change], ..issue.written(api) });
    }
    let form = Form::of(&file.filename, content.as_bytes(), &file.digest)?;
    let path = api.rest(&format!("/issue/{}/attachments", segment(&issue.key)));
    let what = format!("a file for {}", issue.key);
    let answer = api.send_form(&path, form.content_type, form.body).await?;
    // Jira's word for the file in refusals.
    let pointers = [("file".to_owned(), "/upload_handle".to_owned())].into();
    let answer = send::checked(api, answer, &pointers, &what).await?;
    let made: Vec<Attachment> = serde_json::from_slice(&answer.body).map_err(|error| {
        malformed(format!("Jira's answer for an attachment is not what it should be ({error})"))
    })?;
    let id = made.into_iter().next().and_then(|file| file.id);
    let id = id.ok_or_else(|| malformed("Jira's answer for an attachment names no file".to_owned()))?;
    let told = finish(api, &issue.key, &[], Some(&issue), &issue.id, Vec::new()).await;
    Ok(WrittenItem { attachment_id: Some(id), changed: vec![change], ..told })
}

/// Refuses what Jira would not take.
async fn require_taken(api: &Api<'_>, file: &NewAttachment) -> Result<(), SourceError> {
    let what = "the settings of attachments";
    let settings: Settings = api.get(&api.rest("/attachment/meta"), &[], what).await?.json(what)?;
    if settings.enabled == Some(false) {
        return Err(rejected(
            "/upload_handle",
            "cannot be attached: attachments are switched off in this Jira",
        ));
    }
    match settings.upload_limit.filter(|limit| file.size > *limit) {
        Some(limit) => {
            Err(rejected("/upload_handle", format!("is larger than the {limit} bytes that this Jira takes")))
        }
        None => Ok(()),
    }
}

/// A file as a form of one field, as browsers send it (RFC 7578). Jira wants it to be called `file`.
struct Form {
    content_type: HeaderValue,
    body: Bytes,
}

impl Form {
    /// `digest` makes a line that the file does not hold.
    fn of(filename: &str, content: &[u8], digest: &str) -> Result<Self, SourceError> {
        let boundary = format!("patchbay-{digest}");
        let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"))
            .map_err(|_| malformed("the file's digest is none".to_owned()))?;
        let name = filename.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let mut body = Vec::with_capacity(head.len() + content.len() + boundary.len() + 8);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Ok(Self { content_type, body: body.into() })
    }
}

/// Whether the file was attached. Attachments carry no marker: it is one of the account's own, of this name and size, from
/// when the write was meant on. One from shortly before may be it as well, as clocks differ, or one that somebody had
/// attached by another call.
pub(super) async fn look(
    api: &Api<'_>,
    key: &str,
    file: &NewAttachment,
    marker: &str,
) -> Result<Look, SourceError> {
    let (Some(meant), Some(since)) = (marked::meant_at(marker), marked::since(marker)) else {
        return Ok(Look::Unsure);
    };
    let issue = Issue::read(api, key, &["attachment"]).await?;
    let files: Vec<Attachment> = match issue.field("attachment") {
        Value::Null => Vec::new(),
        files => serde_json::from_value(files.clone()).map_err(|error| {
            malformed(format!("the files of {key} are not what they should be ({error})"))
        })?,
    };
    let alike: Vec<Attachment> = files
        .into_iter()
        .filter(|one| {
            one.filename == file.filename
                && one.size.and_then(|size| u64::try_from(size).ok()) == Some(file.size)
        })
        .filter(|one| one.created.as_ref().is_none_or(|at| at.0 >= since))
        .collect();
    if alike.is_empty() {
        return Ok(Look::Absent);
    }
    let own: User = api.get(&api.rest("/myself"), &[], "the account").await?.json("the account")?;
    let mut perhaps = false;
    for one in alike {
        match (&one.author, &one.created) {
            (Some(author), _) if !author.is(&own) => {}
            (Some(_), Some(at)) if at.0 >= meant => {
                return found(WrittenItem { attachment_id: one.id, ..issue.written(api) });
            }
            _ => perhaps = true,
        }
    }
    Ok(if perhaps { Look::Unsure } else { Look::Absent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sent_as_one_field_and_its_name_ends_nothing() {
        let form = Form::of("a\"; name=\"x.txt", b"some\r\nbytes\0", "c0ffee").unwrap();
        assert_eq!(form.content_type, "multipart/form-data; boundary=patchbay-c0ffee");
        assert_eq!(
            form.body,
            "--patchbay-c0ffee\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"a%22; name=%22x.txt\"\r\nContent-Type: application/octet-stream\r\n\r\n\
             some\r\nbytes\0\r\n--patchbay-c0ffee--\r\n"
        );
    }
}
