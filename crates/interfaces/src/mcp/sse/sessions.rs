//! Sessions of the HTTP+SSE transport: whose they are, how many there may be, and what is going on in them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use application::Ctx;
use domain::TenantId;
use http::StatusCode;
use rmcp::model::ClientJsonRpcMessage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::problem::Problem;

/// The most sessions of one key or person at once.
const MAX_OF_PRINCIPAL: usize = 8;
/// The most sessions of a process.
const MAX_SESSIONS: usize = 1_000;
/// The most requests of a session at once. Their POSTs are answered before they are done, so nothing else bounds them.
const MAX_CALLS: usize = 16;

/// The open sessions of a process.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<HashMap<Uuid, Session>>>);

/// How to speak to an open session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    tenant: TenantId,
    principal: Option<Uuid>,
    inbox: mpsc::Sender<ClientJsonRpcMessage>,
    calls: Arc<Semaphore>,
}

/// A place for one request of a session, free again when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Call {
    _place: Arc<OwnedSemaphorePermit>,
}

/// A session as its stream has it; dropping it forgets the session.
#[derive(Debug)]
pub(super) struct OpenSession {
    sessions: Sessions,
    pub(super) id: Uuid,
}

impl Sessions {
    /// A session of this caller, under an id that cannot be guessed. 429 when there are too many.
    pub(super) fn open(
        &self,
        ctx: &Ctx,
        inbox: mpsc::Sender<ClientJsonRpcMessage>,
    ) -> Result<OpenSession, Problem> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = sessions.values().filter(|session| session.is_of(ctx)).count();
        if own >= MAX_OF_PRINCIPAL {
            return Err(too_many(format!("the caller has {MAX_OF_PRINCIPAL} open sessions already")));
        }
        if sessions.len() >= MAX_SESSIONS {
            return Err(too_many("there are too many open sessions".to_owned()));
        }
        let id = Uuid::new_v4();
        let (tenant, principal) = (ctx.tenant, ctx.principal.id());
        sessions.insert(id, Session { tenant, principal, inbox, calls: Arc::new(Semaphore::new(MAX_CALLS)) });
        Ok(OpenSession { sessions: self.clone(), id })
    }

    /// `None` as well when it is another caller's.
    pub(super) fn find(&self, id: Uuid, ctx: &Ctx) -> Option<Session> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&id).filter(|session| session.is_of(ctx)).cloned()
    }
}

impl Session {
    fn is_of(&self, ctx: &Ctx) -> bool {
        self.tenant == ctx.tenant && self.principal == ctx.principal.id()
    }

    /// A place for a request. 429 when as many are being served as may be.
    pub(super) fn begin_call(&self) -> Result<Call, Problem> {
        let place = self.calls.clone().try_acquire_owned();
        let place = place.map_err(|_| too_many(format!("the session has {MAX_CALLS} requests under way")))?;
        Ok(Call { _place: Arc::new(place) })
    }

    /// Hands a message to the session. False when it has ended.
    pub(super) async fn send(&self, message: ClientJsonRpcMessage) -> bool {
        self.inbox.send(message).await.is_ok()
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

fn too_many(why: String) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", why)
        .with_hint("close a session or wait for an answer, or use the endpoint /mcp, which needs no session")
        .with_retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use domain::{KeyId, Principal, RequestId, Scope, Scopes};

    use super::*;

    fn of(tenant: u128, key: u128) -> Ctx {
        let principal = Principal::Key { id: KeyId::new(Uuid::from_u128(key)), name: "k".into() };
        let scopes = Scopes::new([Scope::McpSql]).unwrap();
        Ctx::new(TenantId::new(Uuid::from_u128(tenant)), principal, scopes, RequestId::new(Uuid::nil()))
    }

    #[test]
    fn a_session_is_found_by_its_own_caller_only_and_gives_its_place_back() {
        let sessions = Sessions::default();
        let (inbox, _kept) = mpsc::channel(1);
        let mut open: Vec<_> =
            (0..MAX_OF_PRINCIPAL).map(|_| sessions.open(&of(1, 1), inbox.clone()).unwrap()).collect();
        assert!(sessions.open(&of(1, 1), inbox.clone()).is_err(), "one more than there may be");
        let other = sessions.open(&of(1, 2), inbox.clone()).unwrap();
        assert!(sessions.find(other.id, &of(1, 2)).is_some());
        for stranger in [of(1, 1), of(2, 2)] {
            assert!(sessions.find(other.id, &stranger).is_none());
        }
        let ended = open.pop().unwrap().id;
        assert!(sessions.find(ended, &of(1, 1)).is_none());
        assert!(sessions.open(&of(1, 1), inbox).is_ok());
    }

    #[test]
    fn requests_under_way_are_bounded_and_end_with_their_last_holder() {
        let sessions = Sessions::default();
        let (inbox, _kept) = mpsc::channel(1);
        let open = sessions.open(&of(1, 1), inbox).unwrap();
        let session = sessions.find(open.id, &of(1, 1)).unwrap();
        let mut calls: Vec<_> = (0..MAX_CALLS).map(|_| session.begin_call().unwrap()).collect();
        let copy = calls[0].clone();
        assert!(session.begin_call().is_err());
        calls.remove(0);
        assert!(session.begin_call().is_err(), "a copy still holds the place");
        drop(copy);
        assert!(session.begin_call().is_ok());
    }
}
