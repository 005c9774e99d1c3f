//! The set `files`: reading what is attached to issues, and attaching.

use domain::Toolset;
use serde_json::json;

use super::super::table::{Described, Does, Entry};
use super::writing::{key, written};
use super::{answer, dry_run, once};

pub(in super::super) const GET_ATTACHMENT: &str = "jira_get_attachment";
pub(in super::super) const CREATE_UPLOAD: &str = "jira_create_upload";
pub(in super::super) const ATTACH_FILE: &str = "jira_attach_file";

pub(in super::super) const FORMS: [&str; 3] = ["link", "text", "image"];

pub(in super::super) const TOOLS: [Entry; 3] = [
    Entry {
        name: GET_ATTACHMENT,
        set: Toolset::JiraFiles,
        does: Does::Reads,
        takes_key: false,
        described: get_attachment,
    },
    Entry {
        name: CREATE_UPLOAD,
        set: Toolset::JiraFiles,
        does: Does::Adds,
        takes_key: false,
        described: create_upload,
    },
    Entry {
        name: ATTACH_FILE,
        set: Toolset::JiraFiles,
        does: Does::Adds,
        takes_key: true,
        described: attach_file,
    },
];

fn get_attachment() -> Described {
    Described {
        words: "Reads a file of an issue: its text (32 KiB at most), its picture (1 MiB), or a link to the whole that is good for 5 minutes without a key.",
        properties: json!({
            "key": key(),
            "attachment": {"type": "string", "description": "Id or file name; jira_get_issue lists attachments."},
            "as": {"type": "string", "enum": FORMS, "default": "link"},
        }),
        required: &["key", "attachment"],
        output: answer(
            json!({
                "key": {"type": "string"}, "attachment": {"type": "object", "required": ["id", "filename", "size"]},
                "url": {"type": "string"}, "expires_at": {"type": "string"}, "text": {"type": "string"},
                "image_type": {"type": "string"},
            }),
            &["key", "attachment"],
        ),
    }
}

fn create_upload() -> Described {
    Described {
        words: "Makes room for a file to be attached. Send it within 15 minutes as the body of a PUT to `url`, then call jira_attach_file.",
        properties: json!({
            "filename": {"type": "string", "description": "Without a path."},
            "size": {"type": "integer", "minimum": 1, "maximum": 10_485_760, "description": "Bytes."},
        }),
        required: &["filename", "size"],
        output: answer(
            json!({
                "upload_handle": {"type": "string"}, "url": {"type": "string"}, "expires_at": {"type": "string"},
                "filename": {"type": "string"}, "size": {"type": "integer"},
            }),
            &["upload_handle", "url", "expires_at"],
        ),
    }
}

fn attach_file() -> Described {
    let mut output = written();
    output["properties"]["attachment_id"] = json!({"type": "string"});
    Described {
        words: "Attaches a file that was sent to the link of jira_create_upload.",
        properties: json!({
            "key": key(),
            "upload_handle": {"type": "string"},
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["key", "upload_handle"],
        output,
    }
}
