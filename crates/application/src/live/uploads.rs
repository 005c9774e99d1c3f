//! Files on their way to an issue: announced, sent by a link, and attached. No model types a file's bytes, and no path of
//! anybody's machine is named.

use std::sync::Arc;

use chrono::{SecondsFormat, TimeDelta};
use domain::{Cursor, FileContent, InstanceId, Invalid, NewAttachment, Scope};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::warn;
use uuid::Uuid;

use super::answer::{Draft, LiveAnswer};
use super::cursor::Question;
use super::links::{FileLink, LinkTo, SignedLink};
use super::writes::WriteAsk;
use super::{LiveService, hide};
use crate::item_writes::ItemWriteService;
use crate::ports::{ItemWrite, NewUpload, Receipt, Upload};
use crate::sign_in::hex;
use crate::{Ctx, Error};

/// The most bytes of a file. Jira Cloud takes more, but a file stands in memory while it is sent on.
pub const MOST_OF_A_FILE: u64 = 10 * 1024 * 1024;
/// The most bytes of the files that a tenant has on their way.
const MOST_OF_A_TENANT: u64 = 10 * MOST_OF_A_FILE;
/// How long a file can be sent, and attached after it was sent.
const OPEN_FOR: TimeDelta = TimeDelta::minutes(15);
/// How long a repeated call is told what was attached: as long as outcomes of writes are kept.
const REMEMBERED_FOR: TimeDelta = TimeDelta::hours(24);
/// Characters of a file's name.
const MOST_NAME: usize = 255;
const BYTES: usize = 4 * 1024;

/// A file that is to be sent.
#[derive(Debug, Clone, Default)]
pub struct UploadAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// The file's name.
    pub filename: String,
    /// Its bytes.
    pub size: u64,
}

/// Room for a file.
#[derive(Debug)]
pub struct UploadTold {
    /// Its handle, and until when it is there.
    pub answer: LiveAnswer,
    /// Where the file is sent to.
    pub link: Option<SignedLink>,
}

/// A file that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its upload.
    pub id: Uuid,
    /// Its name.
    pub filename: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub digest: String,
}

/// A file that is to be attached.
#[derive(Debug, Clone, Default)]
pub struct AttachAsk {
    /// The instance's short name; the upload knows it.
    pub instance: Option<String>,
    /// The key.
    pub key: String,
    /// What was told when the file was announced.
    pub handle: String,
    /// What the call is recognised by when it is repeated.
    pub once: String,
    /// Only say what it would do.
    pub rehearse: bool,
}

impl LiveService {
    /// Makes room for a file, for a quarter of an hour.
    pub async fn create_upload(&self, ctx: &Ctx, ask: &UploadAsk) -> Result<UploadTold, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let filename = filename(&ask.filename)?;
        if !(1..=MOST_OF_A_FILE).contains(&ask.size) {
            let message = format!("must be the file's bytes, from 1 to {MOST_OF_A_FILE}");
            return Err(Invalid::one("/size", message).into());
        }
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        hide::refuse_files(target.within.hidden())?;
        let now = self.parts.clock.now();
        let upload = NewUpload {
            id: self.parts.ids.uuid(),
            instance: target.instance.id,
            filename,
            size: ask.size,
            expires_at: now + OPEN_FOR,
        };
        if !self.parts.uploads.insert(ctx, &upload, MOST_OF_A_TENANT).await? {
            return Err(Error::Conflict {
                what: format!("the tenant has files of {MOST_OF_A_TENANT} bytes on their way already"),
                hint: "attach what was sent, or wait: each is forgotten after 15 minutes".into(),
            });
        }
        let handle = self.cursors.seal_until(ctx, question(), &position(upload.id), now + REMEMBERED_FOR);
        let link = self.links.sign(ctx, upload.instance, LinkTo::Upload(upload.id), now, OPEN_FOR);
        let mut draft = Draft::new();
        draft.whole(
            &json!({"upload_handle": handle, "filename": upload.filename, "size": upload.size}),
            BYTES,
        );
        draft.put("expires_at", upload.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true));
        Ok(UploadTold { answer: draft.finish(&target, now), link })
    }

    /// How many bytes the link's file must have, for the caller on whose behalf the link was made.
    pub async fn announced(&self, ctx: &Ctx, link: &FileLink) -> Result<u64, Error> {
        Ok(self.open_upload(ctx, link).await?.size)
    }

    /// Keeps a file that was sent by a link. Sent again, the same is kept once.
    pub async fn receive(&self, ctx: &Ctx, link: &FileLink, content: Vec<u8>) -> Result<Received, Error> {
        let Upload { id, filename, size, .. } = self.open_upload(ctx, link).await?;
        if content.len() as u64 != size {
            let message = format!(
                "the body has {} bytes, and {size} were announced: send the whole file, or announce it anew",
                content.len()
            );
            return Err(Invalid::one("", message).into());
        }
        let digest = hex(&Sha256::digest(&content));
        let until = self.parts.clock.now() + OPEN_FOR;
        let content = FileContent::new(content);
        match self.parts.uploads.receive(ctx, id, &content, &digest, until).await? {
            Receipt::Kept => Ok(Received { id, filename, size, digest }),
            Receipt::Taken => Err(Error::Conflict {
                what: "another file was sent by this link before".into(),
                hint: "announce this one by itself with jira_create_upload".into(),
            }),
            Receipt::Gone => Err(gone()),
        }
    }

    /// Attaches a file that was sent to an issue, once.
    pub async fn attach_file(
        &self,
        ctx: &Ctx,
        writes: &Arc<ItemWriteService>,
        ask: &AttachAsk,
    ) -> Result<LiveAnswer, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let upload = self.upload(ctx, &ask.handle).await?;
        let Some(digest) = upload.digest else {
            let message =
                "is of a file that was not sent yet: send it with PUT to the link of jira_create_upload";
            return Err(Invalid::one("/upload_handle", message).into());
        };
        let instances = self.instances(ctx).await?;
        let instance = instances.into_iter().find(|instance| instance.id == upload.instance);
        let instance = instance.ok_or_else(unknown)?.slug.to_string();
        if ask.instance.as_ref().is_some_and(|named| *named != instance) {
            let message = "is not the one that the upload was made for";
            return Err(Invalid::not_one_of("/instance", message, [instance]).into());
        }
        let until = self.parts.clock.now() + OPEN_FOR;
        let file = NewAttachment {
            upload: upload.id,
            filename: upload.filename,
            size: upload.size,
            digest,
            content: self.parts.uploads.content(ctx, upload.id, until).await?,
        };
        let write = WriteAsk {
            instance: Some(instance),
            write: ItemWrite::Attach(ask.key.clone(), file),
            key: ask.once.clone(),
            rehearse: ask.rehearse,
        };
        let answer = self.write(ctx, writes, &write).await?;
        if !ask.rehearse {
            let until = self.parts.clock.now() + REMEMBERED_FOR;
            if let Err(error) = self.parts.uploads.attached(ctx, upload.id, until).await {
                warn!(%error, "A file that was attached is kept until it expires");
            }
        }
        Ok(answer)
    }

    /// Removes uploads that have expired, of all tenants, some at a time; how many it was. For workers.
    pub async fn prune_uploads(&self) -> Result<u64, Error> {
        Ok(self.parts.uploads.prune().await?)
    }

    /// The caller's upload behind a handle. The same words whatever is wrong with it, so that trying teaches nothing.
    async fn upload(&self, ctx: &Ctx, handle: &str) -> Result<Upload, Error> {
        let now = self.parts.clock.now();
        let position = self.cursors.read(ctx, question(), handle, now).ok_or_else(unknown)?;
        let id = position.0.as_str().and_then(|id| Uuid::try_parse(id).ok()).ok_or_else(unknown)?;
        self.parts.uploads.find(ctx, id).await?.ok_or_else(unknown)
    }

    async fn open_upload(&self, ctx: &Ctx, link: &FileLink) -> Result<Upload, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let LinkTo::Upload(id) = link.to else { return Err(gone()) };
        let target = self.target_of(ctx, link.instance).await?;
        hide::refuse_files(target.within.hidden())?;
        self.parts.uploads.find(ctx, id).await?.ok_or_else(gone)
    }
}

fn unknown() -> Error {
    let message = "is not of this caller, or has expired: announce the file anew with jira_create_upload";
    Invalid::one("/upload_handle", message).into()
}

fn gone() -> Error {
    Error::not_found("the upload that this link led to")
}

/// A name that means the same file to everybody: no path, and nothing that cannot be seen.
fn filename(given: &str) -> Result<String, Error> {
    let name = given.trim();
    let fits = (1..=MOST_NAME).contains(&name.chars().count()) && !matches!(name, "." | "..");
    let mut cleaned = Value::from(name);
    let hidden = super::clean::clean(&mut cleaned);
    if !fits || hidden || name.contains(['/', '\\', '\n', '\t']) {
        let message = format!(
            "must be a file's name of 1 to {MOST_NAME} characters, without a path and invisible characters"
        );
        return Err(Invalid::one("/filename", message).into());
    }
    Ok(name.to_owned())
}

/// What a handle belongs to. The upload knows its instance.
fn question() -> Question<'static> {
    Question { instance: InstanceId::new(Uuid::nil()), tool: "upload", asked: "" }
}

fn position(upload: Uuid) -> Cursor {
    Cursor(Value::String(upload.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path_and_hides_nothing() {
        assert_eq!(filename(" Grüße, Teil 2.pdf ").unwrap(), "Grüße, Teil 2.pdf");
        for wrong in ["", " ", ".", "..", "a/b", "a\\b", "a\nb", "photo\u{202e}gpj.exe", &"x".repeat(256)] {
            assert!(filename(wrong).is_err(), "{wrong:?}");
        }
    }
}
