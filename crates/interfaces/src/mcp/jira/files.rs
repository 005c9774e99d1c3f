//! The set `files`: what is attached to issues, and attaching. A file's bytes go by links of our own, over plain HTTP.

pub(super) mod links;

use application::Ctx;
use application::live::{AttachAsk, FileAsk, FileForm, FileTold, SignedLink, UploadAsk, UploadTold};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::outcome::{Answer, Failure, Picture};
use super::arguments::{flag, issue_key, needed, once, only, word};
use super::schemas::files::{ATTACH_FILE, CREATE_UPLOAD, FORMS, GET_ATTACHMENT};
use super::tools::{CURSOR, FIELD, JiraTools, failure, instance, told};
use super::writes;

type Arguments = Map<String, Value>;

impl JiraTools {
    pub(super) async fn files(&self, ctx: &Ctx, name: &str, given: &Arguments) -> Result<Answer, Failure> {
        match name {
            GET_ATTACHMENT => self.get_attachment(ctx, given).await,
            CREATE_UPLOAD => self.create_upload(ctx, given).await,
            ATTACH_FILE => self.attach_file(ctx, given).await,
            _ => Err(Failure::UnknownTool(name.to_owned())),
        }
    }

    async fn get_attachment(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["key", "attachment", "as", "instance"])?;
        let ask = FileAsk {
            instance: instance(given)?,
            key: issue_key(given)?,
            file: needed(given, "attachment", FIELD)?,
            form: match word(given, "as", &FORMS)? {
                Some("text") => FileForm::Text,
                Some("image") => FileForm::Image,
                _ => FileForm::Link,
            },
        };
        let FileTold { answer, link, image } = self.services.live.file(ctx, &ask).await.map_err(failure)?;
        let mut answer = told(answer, "files");
        self.add_link(&mut answer.content, link);
        answer.picture =
            image.map(|image| Picture { mime_type: image.mime_type, data: STANDARD.encode(&image.bytes) });
        Ok(answer)
    }

    async fn create_upload(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["filename", "size", "instance"])?;
        let size = match given.get("size") {
            None | Some(Value::Null) => return Err(Failure::invalid("/size", "is required")),
            Some(size) => size.as_u64(),
        };
        let ask = UploadAsk {
            instance: instance(given)?,
            filename: needed(given, "filename", FIELD)?,
            size: size.ok_or_else(|| Failure::invalid("/size", "must be a whole number of bytes"))?,
        };
        let UploadTold { answer, link } =
            self.services.live.create_upload(ctx, &ask).await.map_err(failure)?;
        let line = format!(
            "room for a file at {}: PUT it to url before expires_at, then call jira_attach_file",
            answer.instance
        );
        let mut content = Value::Object(answer.content);
        self.add_link(&mut content, link);
        Ok(Answer { content, line, size: None, picture: None })
    }

    async fn attach_file(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["key", "upload_handle", "idempotency_key", "dry_run", "instance"])?;
        let ask = AttachAsk {
            instance: instance(given)?,
            key: issue_key(given)?,
            handle: needed(given, "upload_handle", CURSOR)?,
            // Who names no key is told this one when the outcome is open.
            once: once(given)?.unwrap_or_else(|| Uuid::new_v4().to_string()),
            rehearse: flag(given, "dry_run")?,
        };
        match self.services.live.attach_file(ctx, &self.services.item_writes, &ask).await {
            Ok(answer) => Ok(writes::told(answer, ask.rehearse)),
            Err(error) => Err(writes::refused(error, &ask.once, ask.rehearse, |pointer| pointer)),
        }
    }

    fn add_link(&self, content: &mut Value, link: Option<SignedLink>) {
        if let Some(SignedLink { token, expires_at }) = link {
            content["url"] = links::address(&self.links, &token).into();
            content["expires_at"] = expires_at.to_rfc3339_opts(SecondsFormat::Secs, true).into();
        }
    }
}
