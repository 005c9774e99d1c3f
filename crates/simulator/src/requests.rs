//! What clients asked for: a bounded log and counters, so that tests can tell how a client behaved.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

const KEPT: usize = 200_000;

/// One request to the API, in order of arrival.
#[derive(Debug, Clone, Serialize)]
pub struct RequestRecord {
    /// Such as `GET`.
    pub method: String,
    /// As called, with `/api/v3` where the client uses it.
    pub path_and_query: String,
    /// The answer's status; 0 where none was sent (reset, or the client went away first).
    pub status: u16,
    /// Arrival, in milliseconds since 1970.
    pub at_ms: i64,
    /// SHA-256 of the `Authorization` header, first 16 hex digits; never the token itself.
    pub authorization_digest: Option<String>,
    /// It carried `If-None-Match` or `If-Modified-Since`.
    pub conditional: bool,
}

/// Counters since the start or the last reset.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// All requests to the API.
    pub requests: u64,
    /// Those answered 304.
    pub not_modified: u64,
    /// Requests that came after a refusal and before the time it announced.
    pub violations: u64,
    /// Requests by path, numbers replaced: `/repos/octo/app/issues/{n}/timeline`.
    pub by_path_prefix: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    log: VecDeque<RequestRecord>,
    first: u64,
    stats: Stats,
}

impl Requests {
    /// Notes an arrival; answers its ticket.
    pub(crate) fn begin(&mut self, record: RequestRecord, path: &str) -> u64 {
        self.stats.requests += 1;
        *self.stats.by_path_prefix.entry(pattern(path)).or_default() += 1;
        if self.log.len() == KEPT {
            self.log.pop_front();
            self.first += 1;
        }
        self.log.push_back(record);
        self.first + self.log.len() as u64 - 1
    }

    pub(crate) fn finish(&mut self, ticket: u64, status: u16) {
        let Some(index) = ticket.checked_sub(self.first).and_then(|index| usize::try_from(index).ok()) else {
            return;
        };
        if let Some(record) = self.log.get_mut(index) {
            record.status = status;
            self.stats.not_modified += u64::from(status == 304);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.first += self.log.len() as u64;
        self.log.clear();
        self.stats = Stats::default();
    }

    pub(crate) fn list(&self) -> Vec<RequestRecord> {
        self.log.iter().cloned().collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats.clone()
    }
}

fn pattern(path: &str) -> String {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    path.split('/').map(|part| if number(part) { "{n}" } else { part }).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RequestRecord {
        RequestRecord {
            method: "GET".into(),
            path_and_query: "/repos/o/r/issues/7/timeline?page=2".into(),
            status: 0,
            at_ms: 1,
            authorization_digest: None,
            conditional: true,
        }
    }

    #[test]
    fn the_log_is_bounded_and_late_answers_find_their_record() {
        let mut requests = Requests::default();
        let first = requests.begin(record(), "/repos/o/r/issues/7/timeline");
        for _ in 0..KEPT {
            requests.begin(record(), "/user");
        }
        requests.finish(first, 304);
        assert_eq!(requests.list().len(), KEPT);
        assert_eq!(requests.stats().not_modified, 0, "its record has left the log");
        assert_eq!(requests.stats().by_path_prefix["/repos/o/r/issues/{n}/timeline"], 1);
        requests.reset();
        assert_eq!(requests.stats().requests, 0);
    }
}
