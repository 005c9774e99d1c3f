//! A scope that only some tools need, told in HTTP's words to who can get a wider token: 403 with the scope in the challenge
//! (<https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization#scope-challenge-handling>). Who has a key
//! reads the tool's own answer, which says the same to an assistant; so does who has a role that no token goes beyond.

use std::sync::{Arc, OnceLock};

use application::Error;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use domain::{Scope, Scopes};
use rmcp::service::{RequestContext, RoleServer};

use super::outcome::{Answer, Failure};
use crate::auth::{Caller, Credential, Guard};

/// The scope that a call turned out to need; goes along with its request.
#[derive(Debug, Clone)]
pub(super) struct Needed {
    scope: Arc<OnceLock<Scope>>,
    /// The most that a token of this person can bring.
    most: Scopes,
}

impl Needed {
    /// Sends a note along with the request of a caller who can come back with more.
    pub(super) fn go_along(caller: &Caller, request: &mut Request) -> Option<Self> {
        let role = caller.role.filter(|_| matches!(*caller.credential, Credential::Token { .. }))?;
        let needed = Self { scope: Arc::default(), most: role.scopes() };
        request.extensions_mut().insert(needed.clone());
        Some(needed)
    }

    /// Notes what a call lacked.
    fn note(&self, outcome: &Result<Answer, Failure>) {
        if let Err(Failure::Tool(error)) = outcome
            && let Some(scope) = error.needed
            && self.most.allow(scope)
        {
            // The first stays: there is one call in a request.
            let _ = self.scope.set(scope);
        }
    }

    /// The answer, or in its place the one that asks for more.
    pub(super) fn instead_of(&self, response: Response, guard: &Guard) -> Response {
        match self.scope.get() {
            Some(&needed) => guard.refuse(Error::Forbidden { needed }).into_response(),
            None => response,
        }
    }
}

/// Notes what a call through MCP lacked.
pub(super) fn note(context: &RequestContext<RoleServer>, outcome: &Result<Answer, Failure>) {
    if let Some(parts) = context.extensions.get::<http::request::Parts>() {
        note_in(&parts.extensions, outcome);
    }
}

/// Notes what a call lacked with the request that it came in.
pub(super) fn note_in(request: &http::Extensions, outcome: &Result<Answer, Failure>) {
    if let Some(needed) = request.get::<Needed>() {
        needed.note(outcome);
    }
}
