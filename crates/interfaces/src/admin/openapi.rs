//! The description of the API: OpenAPI 3.1, generated from the handlers and kept as `docs/openapi.json`.

use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi, PathsBuilder, Ref, RefOr, Required, Schema, SecurityRequirement};
use utoipa::{IntoResponses, OpenApi as _, PartialSchema as _, ToSchema as _};

use super::scoped::{self, operations};
use crate::health;
use crate::idempotency;
use crate::problem::{FieldErrorBody, ProblemBody};

macro_rules! failures {
    ($(#[$doc:meta])* $name:ident { $($status:literal: $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(IntoResponses)]
        #[expect(dead_code, reason = "describes answers; handlers make them as Problem")]
        pub(super) enum $name {
            $(
                #[response(status = $status, description = $text, content_type = "application/problem+json")]
                $variant(ProblemBody)
            ),+
        }
    };
}

failures!(
    /// What any request can fail with; added to every operation.
    Failures {
        401: Unauthenticated = "No key, or one that is unknown, expired or revoked",
        403: Forbidden = "The key lacks a scope; the text names it",
        429: TooMany = "A limit is used up, or the key has too many open streams; try again after Retry-After",
        500: Internal = "A fault of the service",
        503: Unavailable = "Overloaded or without its database; try again after Retry-After",
        504: Timeout = "Took longer than 30 seconds",
    }
);
failures!(
    /// Of a single thing.
    ItemFailures {
        404: NotFound = "Nothing of that id belongs to the tenant",
    }
);
failures!(
    /// Of a list.
    ListFailures {
        422: Invalid = "A parameter is unknown or wrong; errors names each and what is accepted",
    }
);
failures!(
    /// Of a request with a body.
    BodyFailures {
        400: Malformed = "The body is not JSON; the text says where",
        408: TooSlow = "The body did not arrive in time",
        409: Conflict = "In the way of something that exists",
        413: TooLarge = "The body is larger than 1 MiB",
        415: MediaType = "The body is not declared as JSON",
        422: Invalid = "A field is unknown or wrong; errors names each and what is accepted",
    }
);
failures!(
    /// Of a change without a body.
    ChangeFailures {
        409: Conflict = "In the way of something; the text says what",
    }
);
failures!(
    /// Of starting a run.
    StartFailures {
        409: Conflict = "The instance has an unfinished run (run_id), is paused, or needs new credentials",
    }
);

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Patchbay admin API", description = "Connects issue trackers to a tenant, syncs them, and serves the normalized data. Errors are application/problem+json (RFC 9457). Lists take `limit` and `cursor` and answer `{items, next_cursor}`."),
    tags(
        (name = "access", description = "Who the caller is; keys, members and invitations"),
        (name = "instances", description = "Connections to trackers"),
        (name = "runs", description = "Backfills and syncs"),
        (name = "webhooks", description = "What trackers tell of their own accord, as hints where to look"),
        (name = "work items", description = "The normalized data"),
        (name = "templates", description = "SQL templates: what assistants may ask the database"),
        (name = "audit", description = "What was done, by whom and when"),
        (name = "sign-in", description = "Signing in with a browser; its cookie then stands for the person on every route"),
        (name = "operations", description = "Health and metrics; no key needed"),
    ),
    paths(
        super::sign_in::login, super::sign_in::callback, super::sign_in::switch_tenant, super::sign_in::logout,
        health::livez, health::readyz, health::render, crate::webhooks::receive,
    )
)]
struct Base;

/// The whole description, as served.
pub fn description() -> OpenApi {
    complete(super::api_routes().split_for_parts().1)
}

/// The JSON of a description, as served and as kept in `docs/openapi.json`.
pub fn to_json(description: &OpenApi) -> String {
    // Strings, numbers and maps with text keys always serialize.
    description.to_pretty_json().map(|json| json + "\n").unwrap_or_default()
}

/// Whether no field of a JSON body has to be given, so that the whole of it may be left out.
fn needs_no_field(body: &RequestBody, components: Option<&Components>) -> bool {
    let Some(RefOr::T(content)) = body.content.get("application/json") else { return false };
    let Some(RefOr::Ref(Ref { ref_location, .. })) = &content.schema else { return false };
    let name = ref_location.rsplit('/').next().unwrap_or_default();
    let schema = components.and_then(|components| components.schemas.get(name));
    matches!(schema, Some(RefOr::T(Schema::Object(object))) if object.required.is_empty())
}

/// Puts the API's paths under their prefix and adds what is common to all.
pub(super) fn complete(api: OpenApi) -> OpenApi {
    let mut whole = Base::openapi();
    whole.info.license = None;
    whole.info.contact = None;
    let mut paths = PathsBuilder::new();
    for (path, mut item) in api.paths.paths {
        for operation in operations(&mut item) {
            operation.responses.responses.extend(Failures::responses());
        }
        if let Some(post) = &mut item.post {
            idempotency::describe(post);
            if let Some(RefOr::T(body)) = &mut post.request_body
                && needs_no_field(body, api.components.as_ref())
            {
                // `OptionalJson` takes it.
                body.required = Some(Required::False);
            }
        }
        paths = paths.path(format!("/api/v1{path}"), item);
    }
    scoped::declare_open(&mut whole.paths);
    for (path, item) in std::mem::take(&mut whole.paths.paths) {
        paths = paths.path(path, item);
    }
    whole.paths = paths.build();
    let components = whole.components.get_or_insert_default();
    components.schemas.extend(api.components.unwrap_or_default().schemas);
    components.schemas.insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    components.schemas.insert(FieldErrorBody::name().into_owned(), FieldErrorBody::schema());
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("pb_<env>_<id>_<secret>_<checksum>".into());
    bearer.description = Some("An API key of the tenant".into());
    components.security_schemes.insert("api_key".into(), SecurityScheme::Http(bearer).into());
    whole.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("api_key", [])]);
    whole
}
