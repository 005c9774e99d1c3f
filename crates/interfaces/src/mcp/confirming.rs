//! Asking a person before a call goes on. The answer asks, and the client makes the same call again with what the person said
//! (<https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr>). Nothing is kept between the two calls:
//! what the first one found goes along as the request's state, which is whatever a client makes of it until its seal is
//! looked at.

use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ElicitRequest, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationSchema, InputRequest, InputRequests, InputRequiredResult, ProtocolVersion,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;

/// The one question of a call.
const QUESTION: &str = "confirm";

/// What a call needs a person for.
#[derive(Debug)]
pub(super) struct Question {
    /// What they are asked.
    pub(super) message: String,
    /// What they tick.
    pub(super) tick: &'static str,
    /// What comes back with the answer.
    pub(super) state: String,
}

/// What a client can ask, and what a person has said.
#[derive(Debug, Default)]
pub(super) struct Confirming {
    able: bool,
    said: Option<(String, bool)>,
}

impl Confirming {
    /// What a call of MCP brings along. Clients of earlier revisions would have to be asked on a stream of a session, and
    /// there are none here.
    pub(super) fn of(context: &RequestContext<RoleServer>, request: &CallToolRequestParams) -> Self {
        let recent =
            context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        let able = recent && context.client_capabilities().is_some_and(|client| shows_forms(&client));
        let answer = request.input_responses.as_ref().and_then(|answers| answers.get(QUESTION));
        let said = request.request_state.clone().zip(answer.and_then(agreed));
        Self { able, said: said.filter(|_| able) }
    }

    /// Whether the client can ask a person.
    pub(super) fn able(&self) -> bool {
        self.able
    }

    /// What a person said, with the state that came back with it.
    pub(super) fn said(&self) -> Option<(&str, bool)> {
        self.said.as_ref().map(|(state, yes)| (state.as_str(), *yes))
    }
}

/// Who declares elicitation without saying which shows forms.
fn shows_forms(client: &ClientCapabilities) -> bool {
    client
        .elicitation
        .as_ref()
        .is_some_and(|elicitation| elicitation.form.is_some() || elicitation.url.is_none())
}

/// Whether it is a yes; `None` when it is no answer.
fn agreed(answer: &Value) -> Option<bool> {
    let answer: ElicitResult = serde_json::from_value(answer.clone()).ok()?;
    let ticked =
        answer.content.as_ref().and_then(|content| content.get(QUESTION)) == Some(&Value::Bool(true));
    Some(answer.action == ElicitationAction::Accept && ticked)
}

/// As an answer of the protocol.
pub(super) fn asking(question: Question) -> Result<InputRequiredResult, &'static str> {
    let tick = question.tick;
    let schema =
        ElicitationSchema::builder().required_bool_property(QUESTION, |property| property.title(tick));
    let params = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.message,
        requested_schema: schema.build()?,
    };
    let request = InputRequest::Elicitation(ElicitRequest::new(params));
    let requests = InputRequests::from([(QUESTION.to_owned(), request)]);
    Ok(InputRequiredResult::new(Some(requests), Some(question.state)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_tick_that_was_sent_off_is_a_yes() {
        for (answer, said) in [
            (json!({"action": "accept", "content": {"confirm": true}}), Some(true)),
            (json!({"action": "accept", "content": {"confirm": false}}), Some(false)),
            (json!({"action": "accept", "content": {"confirm": "true"}}), Some(false)),
            (json!({"action": "accept"}), Some(false)),
            (json!({"action": "decline", "content": {"confirm": true}}), Some(false)),
            (json!({"action": "cancel"}), Some(false)),
            (json!({"action": "yes"}), None),
            (json!(true), None),
        ] {
            assert_eq!(agreed(&answer), said, "{answer}");
        }
    }

    #[test]
    fn a_client_that_shows_no_forms_is_not_asked() {
        for (declared, able) in [
            (json!({"elicitation": {}}), true),
            (json!({"elicitation": {"form": {}, "url": {}}}), true),
            (json!({"elicitation": {"url": {}}}), false),
            (json!({}), false),
        ] {
            let client: ClientCapabilities = serde_json::from_value(declared.clone()).unwrap();
            assert_eq!(shows_forms(&client), able, "{declared}");
        }
    }

    #[test]
    fn a_question_is_an_elicitation_with_one_thing_to_tick() {
        let question = Question { message: "Delete ENG-1?".into(), tick: "Delete it", state: "s".into() };
        let told = serde_json::to_value(asking(question).unwrap()).unwrap();
        assert_eq!((&told["resultType"], &told["requestState"]), (&json!("input_required"), &json!("s")));
        let asked = &told["inputRequests"]["confirm"];
        assert_eq!(asked["method"], "elicitation/create", "{told}");
        assert_eq!(asked["params"]["message"], "Delete ENG-1?", "{told}");
        let schema = &asked["params"]["requestedSchema"];
        assert_eq!(schema["required"], json!(["confirm"]), "{told}");
        assert_eq!(
            schema["properties"]["confirm"],
            json!({"type": "boolean", "title": "Delete it"}),
            "{told}"
        );
    }
}
