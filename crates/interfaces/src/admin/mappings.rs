//! `/instances/{id}/mappings`: how an instance's own words are read.

use std::collections::BTreeMap;

use application::Services;
use application::mappings::{MappingDocument, StoredMappings, Warning};
use application::ports::{FoundWord, MappingPreview, NormChange, RoleChange};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{FieldRole, InstanceId, Mappings, PriorityNorm, StatusNorm, TypeNorm};
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::names::{FieldRoleName, PriorityName, StatusName, TypeName};
use super::openapi::{BodyFailures, ItemFailures};
use crate::auth::Caller;
use crate::extract::{Json, OptionalJson, Path};
use crate::problem::Problem;

/// How an instance's own words are read, where that is not the default. What is absent is read by default.
#[derive(Debug, Default, Deserialize, Serialize, Validate, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Mappings)]
pub(super) struct MappingsBody {
    /// By the tracker's status.
    #[schema(value_type = BTreeMap<String, StatusName>, example = json!({"In Review": "in_progress"}))]
    status: BTreeMap<String, StatusNorm>,
    /// By the tracker's reason for closing; wins over `status` for items that have one.
    #[schema(value_type = BTreeMap<String, StatusName>, example = json!({"Won't Do": "cancelled"}))]
    resolution: BTreeMap<String, StatusNorm>,
    /// By the tracker's type.
    #[schema(value_type = BTreeMap<String, TypeName>, example = json!({"Incident": "bug"}))]
    #[serde(rename = "type")]
    item_type: BTreeMap<String, TypeNorm>,
    /// By the tracker's priority.
    #[schema(value_type = BTreeMap<String, PriorityName>, example = json!({"P1": "urgent"}))]
    priority: BTreeMap<String, PriorityNorm>,
    /// What custom fields stand for, by their ids at the tracker. One field may have a role.
    #[schema(value_type = BTreeMap<String, FieldRoleName>, example = json!({"customfield_10016": "story_points"}))]
    fields: BTreeMap<String, FieldRole>,
}

impl From<MappingsBody> for Mappings {
    fn from(body: MappingsBody) -> Self {
        let MappingsBody { status, resolution, item_type, priority, fields } = body;
        Self { status, resolution, item_type, priority, fields }
    }
}

impl From<Mappings> for MappingsBody {
    fn from(mappings: Mappings) -> Self {
        let Mappings { status, resolution, item_type, priority, fields } = mappings;
        Self { status, resolution, item_type, priority, fields }
    }
}

/// A word of the tracker, as stored items have it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundWord)]
struct WordBody {
    original: String,
    /// Items that have it; 0 for one that is known from the history only.
    items: i64,
    /// What it means without mappings.
    default: Option<String>,
    /// What it means too without mappings, where more than the word decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_defaults: Vec<String>,
    /// What it is mapped to; `null` where the default holds.
    mapped: Option<&'static str>,
}

/// A custom field of the tracker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundField)]
struct FieldBody {
    id: String,
    name: String,
    /// The tracker's type.
    #[serde(rename = "type")]
    field_type: String,
    #[schema(value_type = Option<FieldRoleName>)]
    role: Option<&'static str>,
}

/// What mappings can be about: the words and fields of what is stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vocabulary)]
struct VocabularyBody {
    status: Vec<WordBody>,
    resolution: Vec<WordBody>,
    #[serde(rename = "type")]
    item_type: Vec<WordBody>,
    priority: Vec<WordBody>,
    fields: Vec<FieldBody>,
}

/// An instance's mappings and what they can be about.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MappingDocument)]
pub(super) struct DocumentBody {
    /// Goes up with each change.
    version: i32,
    mappings: MappingsBody,
    vocabulary: VocabularyBody,
}

fn words<N: Copy>(
    found: Vec<FoundWord>,
    mapped: &BTreeMap<String, N>,
    name: impl Fn(N) -> &'static str,
) -> Vec<WordBody> {
    let word = |word: FoundWord| {
        let mut defaults = word.defaults.into_iter();
        WordBody {
            mapped: mapped.get(&word.original).map(|norm| name(*norm)),
            original: word.original,
            items: word.items,
            default: defaults.next(),
            other_defaults: defaults.collect(),
        }
    };
    found.into_iter().map(word).collect()
}

impl From<MappingDocument> for DocumentBody {
    fn from(document: MappingDocument) -> Self {
        let MappingDocument { mappings, version, vocabulary } = document;
        let field = |field: application::ports::FoundField| FieldBody {
            role: mappings.fields.get(&field.source_id).map(|role| role.as_str()),
            id: field.source_id,
            name: field.name,
            field_type: field.field_type,
        };
        let vocabulary = VocabularyBody {
            status: words(vocabulary.status, &mappings.status, StatusNorm::as_str),
            resolution: words(vocabulary.resolution, &mappings.resolution, StatusNorm::as_str),
            item_type: words(vocabulary.item_type, &mappings.item_type, TypeNorm::as_str),
            priority: words(vocabulary.priority, &mappings.priority, PriorityNorm::as_str),
            fields: vocabulary.fields.into_iter().map(field).collect(),
        };
        Self { version, mappings: mappings.into(), vocabulary }
    }
}

/// Something that may be a mistake.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MappingWarning)]
struct WarningBody {
    /// JSON Pointer (RFC 6901) to it.
    pointer: String,
    message: String,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    near: Vec<String>,
}

impl From<Warning> for WarningBody {
    fn from(warning: Warning) -> Self {
        Self { pointer: warning.pointer, message: warning.message, near: warning.near }
    }
}

/// Mappings to be stored in the place of those that are there.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplaceMappings)]
pub(super) struct ReplaceBody {
    #[serde(default)]
    mappings: MappingsBody,
    /// The version these replace; when it is not the present one, somebody else was faster and nothing changes.
    version: Option<i32>,
}

/// Mappings were stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoredMappings)]
pub(super) struct StoredBody {
    version: i32,
    /// The run that maps anew what is stored. `null` while another run is unfinished: it starts by itself when that ends.
    run_id: Option<Uuid>,
    warnings: Vec<WarningBody>,
}

/// Mappings to try out.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreviewMappings)]
pub(super) struct PreviewRequest {
    #[serde(default)]
    mappings: MappingsBody,
}

/// Items whose value of a field would be another one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NormChange)]
struct ChangeBody {
    /// `status`, `type` or `priority`.
    #[schema(example = "status")]
    field: String,
    #[schema(example = "in_progress")]
    from: String,
    #[schema(example = "done")]
    to: String,
    #[schema(example = 314)]
    items: i64,
    /// Keys of those that changed last: at most 10.
    examples: Vec<String>,
}

impl From<NormChange> for ChangeBody {
    fn from(change: NormChange) -> Self {
        let NormChange { field, from, to, items, examples } = change;
        Self { field, from, to, items, examples }
    }
}

/// A custom field that would get or lose a role.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoleChange)]
struct RoleBody {
    /// Its id at the tracker.
    id: String,
    /// The role it would get; `null` when it would lose the one it has.
    #[schema(value_type = Option<FieldRoleName>)]
    role: Option<&'static str>,
    /// Items that have a value in it.
    items: i64,
    /// Keys of those that changed last: at most 10.
    examples: Vec<String>,
}

impl From<RoleChange> for RoleBody {
    fn from(change: RoleChange) -> Self {
        let RoleChange { source_id, role, items, examples } = change;
        Self { id: source_id, role: role.map(FieldRole::as_str), items, examples }
    }
}

/// What these mappings would change of what is stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MappingPreview)]
pub(super) struct PreviewBody {
    /// Items of which at least one value below would change.
    items: i64,
    /// Which values, the most frequent first.
    changes: Vec<ChangeBody>,
    /// Status changes in the history that would be read in another way.
    transitions: i64,
    /// Custom fields whose role would change. What becomes of their values is seen when the run maps them.
    fields: Vec<RoleBody>,
    warnings: Vec<WarningBody>,
}

impl PreviewBody {
    fn of(preview: MappingPreview, warnings: Vec<Warning>) -> Self {
        Self {
            items: preview.items,
            changes: preview.changes.into_iter().map(Into::into).collect(),
            transitions: preview.transitions,
            fields: preview.fields.into_iter().map(Into::into).collect(),
            warnings: warnings.into_iter().map(Into::into).collect(),
        }
    }
}

/// Reads an instance's mappings, with every word that stored items have and what it means.
#[utoipa::path(
    get, path = "/instances/{id}/mappings", operation_id = "get_mappings", tag = "instances", params(("id" = Uuid, Path)),
    responses((status = 200, body = DocumentBody), ItemFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<DocumentBody>, Problem> {
    Ok(Json(services.mappings.get(&ctx, id).await?.into()))
}

/// Replaces an instance's mappings as a whole. What is stored is mapped anew by a run, without asking the tracker.
#[utoipa::path(
    put, path = "/instances/{id}/mappings", operation_id = "replace_mappings", tag = "instances", params(("id" = Uuid, Path)),
    request_body = ReplaceBody,
    responses((status = 202, body = StoredBody, headers(("location" = String, description = "The run, when one was started"))), ItemFailures, BodyFailures)
)]
pub(super) async fn replace(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    Json(body): Json<ReplaceBody>,
) -> Result<Response, Problem> {
    let stored = services.mappings.replace(&ctx, id, &body.mappings.into(), body.version).await?;
    let StoredMappings { version, run, warnings } = stored;
    let warnings = warnings.into_iter().map(Into::into).collect();
    let answer = Json(StoredBody { version, run_id: run.map(|run| run.as_uuid()), warnings });
    Ok(match run {
        Some(run) => {
            (StatusCode::ACCEPTED, [(LOCATION, format!("/api/v1/runs/{run}"))], answer).into_response()
        }
        None => (StatusCode::ACCEPTED, answer).into_response(),
    })
}

/// Says what mappings would change of what is stored. Changes nothing.
#[utoipa::path(
    post, path = "/instances/{id}/mappings/preview", operation_id = "preview_mappings", tag = "instances", params(("id" = Uuid, Path)),
    request_body = PreviewRequest, responses((status = 200, body = PreviewBody), ItemFailures, BodyFailures)
)]
pub(super) async fn preview(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    OptionalJson(body): OptionalJson<PreviewRequest>,
) -> Result<Json<PreviewBody>, Problem> {
    let (preview, warnings) = services.mappings.preview(&ctx, id, &body.mappings.into()).await?;
    Ok(Json(PreviewBody::of(preview, warnings)))
}
