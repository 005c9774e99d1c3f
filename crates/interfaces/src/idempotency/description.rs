//! How `Idempotency-Key` stands in the description of the API.

use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required, ResponseBuilder};

use crate::problem::ProblemBody;

const KEY: &str = "Makes the request safe to repeat: sent again by the same caller with the same content within 24 hours, \
    it has no second effect and gets the kept answer, with `Idempotency-Replayed: true`. Kept are answers that \
    another try would not change: 2xx, 403, 404 and 409. A refused body (400, 413, 415, 422) leaves the key free for \
    the corrected one.";

const FAILURES: [(&str, &str); 3] = [
    ("400", "Idempotency-Key is not one text of 1 to 255 visible ASCII characters"),
    ("409", "A request with this Idempotency-Key is being served: send it again after Retry-After"),
    ("422", "The Idempotency-Key was used for another request"),
];

/// Adds header, answers and replays to a POST.
pub(crate) fn describe(operation: &mut Operation) {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"));
    operation.parameters.get_or_insert_default().push(
        ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(KEY))
            .schema(Some(text.build()))
            .build()
            .into(),
    );
    let responses = &mut operation.responses.responses;
    for (status, text) in FAILURES {
        if let Some(RefOr::T(known)) = responses.get_mut(status) {
            known.description = format!("{}. {text}", known.description.trim_end_matches('.'));
            continue;
        }
        let problem = Ref::from_schema_name(ProblemBody::name());
        let response = ResponseBuilder::new()
            .description(text)
            .content("application/problem+json", Content::new(Some(problem)))
            .build();
        responses.insert(status.to_owned(), response.into());
    }
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.starts_with('2')
        {
            let replayed = HeaderBuilder::new()
                .description(Some("`true` when the answer was kept from an earlier request"))
                .schema(Some(String::schema()))
                .build();
            response.headers.insert("Idempotency-Replayed".into(), replayed.into());
        }
    }
}
