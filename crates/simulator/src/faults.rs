//! Faults on demand: rules that say which request goes wrong, and how.
//! Each kind is a failure that a public connector has met on the real service.

use serde::{Deserialize, Serialize};

/// Which requests go wrong, and how.
///
/// As JSON: `{"match": {"path_contains": "/issues?", "nth": 3}, "kind": {"rate_limited": {"retry_after_s": 2}}}`,
/// kinds without fields as a string: `"kind": "truncated_body"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Which requests; all when left out.
    #[serde(rename = "match", default)]
    pub matching: FaultMatch,
    /// What happens to them.
    pub kind: FaultKind,
}

/// Which requests a rule concerns. Every field that is set must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultMatch {
    /// The path with its query holds this text.
    pub path_contains: Option<String>,
    /// The path starts with this text; `/api/v3` in front does not count.
    pub path_prefix: Option<String>,
    /// The method is this one.
    pub method: Option<String>,
    /// Fires from the nth matching request on (1 is the first).
    pub nth: Option<u32>,
    /// Fires after this many matching requests went well.
    pub after: Option<u32>,
    /// How many times it fires. Left out: once; kinds that damage an item: always.
    pub times: Option<u32>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// 429, and refusal of everything with that token until the time has passed.
    RateLimited {
        /// How long.
        retry_after_s: u64,
        /// `Retry-After` as an HTTP date, rounded up to the second.
        #[serde(default)]
        as_http_date: bool,
        /// No `Retry-After` at all; calls within the time are refused but are no violations.
        #[serde(default)]
        omit_header: bool,
    },
    /// 403 with `x-ratelimit-remaining: 0`, and refusal until `x-ratelimit-reset`.
    PrimaryExhausted {
        /// Seconds until the reset, from the next whole second.
        reset_in_s: u64,
    },
    /// 403 "You have exceeded a secondary rate limit". Without a time only this one request is refused.
    SecondaryLimit {
        /// `Retry-After` in seconds; refusal until then.
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// A status such as 502 or 503 with an HTML body, as a proxy answers.
    ServerError {
        /// 500 to 599.
        status: u16,
    },
    /// `Content-Length` of the whole body, half of it, then the connection closes.
    TruncatedBody,
    /// The connection is reset without an answer, and nothing was done.
    Reset,
    /// What was asked is done, and then the connection is reset instead of the answer.
    AnswerLost,
    /// What was asked is done, and answered with a status such as 502, as a proxy does that gave up waiting.
    ErrorAfter {
        /// 500 to 599.
        status: u16,
    },
    /// The answer waits.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// 401 though the token is good.
    UnauthorizedOnce,
    /// Just before the answer these items change, so that rows move between pages.
    RowsMove {
        /// `owner/name`.
        repository: String,
        /// The items that change, in this order.
        numbers: Vec<u64>,
    },
    /// The issue form of this item is broken: its number is text and `updated_at` is null.
    UnmappableItem {
        /// `owner/name`.
        repository: String,
        /// The item.
        number: u64,
    },
    /// The body of this item holds U+0000 and half of a surrogate pair.
    NullCharacter {
        /// `owner/name`.
        repository: String,
        /// The item.
        number: u64,
    },
    /// The page is empty and its `next` link leads to what it should have held.
    EmptyPageInMiddle,
    /// The page's token for the next page is the one it was asked with.
    RepeatedPageToken,
    /// The page token sent is refused as too old.
    ExpiredPageToken,
    /// 200 with an empty list that says it is complete, as after a lost permission.
    EmptyList,
    /// The access token is refused with this status, as Atlassian's gateway does: 401, 403 or 404.
    ExpiredToken {
        /// The status.
        status: u16,
    },
    /// The request is refused for want of permission.
    PermissionLost {
        /// 403, or 404 where the tracker does not tell.
        status: u16,
    },
    /// From this request on a project is not seen, by anybody.
    ProjectHidden {
        /// Its key.
        project: String,
    },
    /// The item's description is so long.
    LargeText {
        /// `owner/name`, or a project's key.
        repository: String,
        /// The item.
        number: u64,
        /// Bytes of text, about.
        bytes: usize,
    },
}

/// How an item is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Unmappable,
    NullCharacter,
    /// So many bytes.
    LargeText(usize),
}

/// An item that this answer may show damaged.
#[derive(Debug)]
pub(crate) struct DamagedItem {
    pub(crate) rule: u64,
    pub(crate) repository: String,
    pub(crate) number: u64,
    pub(crate) damage: Damage,
}

/// What a client gets in place of the answer to what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Reset,
    Status(u16),
}

/// What the rules make of one request.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Happens instead of the answer.
    pub(crate) instead: Option<FaultKind>,
    pub(crate) wait_ms: u64,
    pub(crate) moves: Vec<(String, Vec<u64>)>,
    pub(crate) truncated: bool,
    pub(crate) empty_page: bool,
    pub(crate) emptied: bool,
    pub(crate) repeated_token: bool,
    pub(crate) expired_token: bool,
    pub(crate) hidden: Vec<String>,
    /// What becomes of the answer once everything is done.
    pub(crate) lost: Option<Lost>,
    pub(crate) items: Vec<DamagedItem>,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
    last_id: u64,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    rule: FaultRule,
    seen: u32,
    fired: u32,
}

impl Faults {
    pub(crate) fn add(&mut self, rule: FaultRule) -> u64 {
        self.last_id += 1;
        self.armed.push(Armed { id: self.last_id, rule, seen: 0, fired: 0 });
        self.last_id
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// Counts the request against every rule it matches and says what happens to it.
    pub(crate) fn on_request(&mut self, method: &str, path: &str, path_and_query: &str) -> Effects {
        let mut effects = Effects::default();
        for armed in &mut self.armed {
            if !armed.rule.matching.covers(method, path, path_and_query) {
                continue;
            }
            if let Some((repository, number, damage)) = armed.rule.kind.damage() {
                let repository = repository.to_owned();
                effects.items.push(DamagedItem { rule: armed.id, repository, number, damage });
                continue;
            }
            // One request is spoilt by one rule; a second one waits for the next request.
            if (effects.instead.is_some() && armed.rule.kind.is_instead()) || !armed.fires() {
                continue;
            }
            match armed.rule.kind.clone() {
                FaultKind::Slow { ms } => effects.wait_ms += ms,
                FaultKind::RowsMove { repository, numbers } => effects.moves.push((repository, numbers)),
                FaultKind::TruncatedBody => effects.truncated = true,
                FaultKind::EmptyPageInMiddle => effects.empty_page = true,
                FaultKind::EmptyList => effects.emptied = true,
                FaultKind::RepeatedPageToken => effects.repeated_token = true,
                FaultKind::ExpiredPageToken => effects.expired_token = true,
                FaultKind::ProjectHidden { project } => effects.hidden.push(project),
                FaultKind::AnswerLost => effects.lost = Some(Lost::Reset),
                FaultKind::ErrorAfter { status } => effects.lost = Some(Lost::Status(status)),
                kind => effects.instead = Some(kind),
            }
        }
        effects
    }

    /// Counts an item against its rule; true when it is to be damaged now.
    pub(crate) fn on_item(&mut self, rule: u64) -> bool {
        self.armed.iter_mut().find(|armed| armed.id == rule).is_some_and(Armed::fires)
    }
}

impl Armed {
    fn fires(&mut self) -> bool {
        self.seen += 1;
        let FaultMatch { nth, after, times, .. } = self.rule.matching;
        let times = times.unwrap_or(if self.rule.kind.damage().is_some() { u32::MAX } else { 1 });
        let first = nth.unwrap_or(1).max(after.unwrap_or(0).saturating_add(1));
        let fires = self.seen >= first && self.fired < times;
        self.fired += u32::from(fires);
        fires
    }
}

impl FaultMatch {
    fn covers(&self, method: &str, path: &str, path_and_query: &str) -> bool {
        let holds = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(test);
        holds(&self.method, &|wanted| wanted.eq_ignore_ascii_case(method))
            && holds(&self.path_prefix, &|wanted| path.starts_with(wanted))
            && holds(&self.path_contains, &|wanted| path_and_query.contains(wanted))
    }
}

impl FaultKind {
    fn damage(&self) -> Option<(&str, u64, Damage)> {
        match self {
            Self::UnmappableItem { repository, number } => Some((repository, *number, Damage::Unmappable)),
            Self::NullCharacter { repository, number } => Some((repository, *number, Damage::NullCharacter)),
            Self::LargeText { repository, number, bytes } => {
                Some((repository, *number, Damage::LargeText(*bytes)))
            }
            _ => None,
        }
    }

    fn is_instead(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::PrimaryExhausted { .. }
                | Self::SecondaryLimit { .. }
                | Self::ServerError { .. }
                | Self::Reset
                | Self::UnauthorizedOnce
                | Self::ExpiredToken { .. }
                | Self::PermissionLost { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> FaultRule {
        serde_json::from_str(json).unwrap()
    }

    fn fired(faults: &mut Faults, requests: usize) -> Vec<bool> {
        (0..requests).map(|_| faults.on_request("GET", "/a", "/a?page=1").truncated).collect()
    }

    #[test]
    fn a_rule_fires_once_on_the_nth_matching_request() {
        let mut faults = Faults::default();
        faults.add(rule(r#"{"match":{"path_contains":"page=1","nth":3},"kind":"truncated_body"}"#));
        assert!(!faults.on_request("GET", "/a", "/a?page=2").truncated);
        assert_eq!(fired(&mut faults, 5), [false, false, true, false, false]);
    }

    #[test]
    fn a_burst_fires_as_many_times_as_told_after_some_good_answers() {
        let mut faults = Faults::default();
        faults.add(rule(r#"{"match":{"after":1,"times":2,"method":"get"},"kind":"truncated_body"}"#));
        assert_eq!(fired(&mut faults, 4), [false, true, true, false]);
    }

    #[test]
    fn two_rules_for_one_request_do_not_swallow_each_other() {
        let mut faults = Faults::default();
        faults.add(rule(r#"{"kind":"reset"}"#));
        faults.add(rule(r#"{"kind":{"server_error":{"status":502}}}"#));
        let mut next = || faults.on_request("GET", "/a", "/a").instead;
        assert_eq!(next(), Some(FaultKind::Reset));
        assert_eq!(next(), Some(FaultKind::ServerError { status: 502 }));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_misspelt_rule_is_refused() {
        assert!(serde_json::from_str::<FaultRule>(r#"{"matches":{},"kind":"reset"}"#).is_err());
        assert!(serde_json::from_str::<FaultRule>(r#"{"kind":{"slow":{"seconds":1}}}"#).is_err());
    }
}
