//! SQL templates that a tenant's admins write: their life, their versions, and the proof a version needs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::template::Column;
use crate::{Allowed, Invalid, KeyId, Principal};

/// The longest text of a template, in bytes.
pub const MOST_SOURCE: usize = 64 * 1024;
/// The most versions of one template.
pub const MOST_VERSIONS: i32 = 100;
/// The most templates of one tenant, whatever their state.
pub const MOST_TEMPLATES: i64 = 200;
/// The most findings that a report keeps.
pub const MOST_FINDINGS: usize = 50;

/// Checks a template's name, which is also the name of its tool.
///
/// Names that begin with `sql_` are those of the fixed tools.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let fits = (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with("sql_");
    if fits {
        return Ok(());
    }
    let message = "must be 1 to 32 characters of a-z, 0-9 and _, the first a letter, and not begin with sql_, which is the \
         beginning of the server's own tools";
    Err(Invalid::one("/name", message))
}

/// Where a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateState {
    /// Its newest version has not passed its proof.
    Draft,
    /// Its newest version has passed its proof, and none is published.
    Proved,
    /// One of its versions is a tool.
    Published,
    /// It was a tool, and is none any more.
    Retired,
}

impl TemplateState {
    /// All states, in the order of a template's life.
    pub const ALL: [Self; 4] = [Self::Draft, Self::Proved, Self::Published, Self::Retired];

    /// The served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Proved => "proved",
            Self::Published => "published",
            Self::Retired => "retired",
        }
    }
}

/// One reason why a version is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofFinding {
    /// The line in its text, from one, where it has a place.
    pub line: Option<u64>,
    /// The character in that line, from one.
    pub column: Option<u64>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ProofFinding {
    /// A finding without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { line: None, column: None, message: message.into() }
    }
}

/// What a version answered for one of the two tenants that exist for probing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRun {
    /// Rows.
    pub rows: u64,
    /// Values that name the tenant they are of.
    pub marked: u64,
    /// Values that name another tenant: anything but none refuses the version.
    pub foreign: u64,
}

/// What proving a version found. Stored with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProofReport {
    /// When it was proved.
    pub at: DateTime<Utc>,
    /// Why it is refused; nothing when it passed.
    pub findings: Vec<ProofFinding>,
    /// Its columns, as the database has them.
    pub columns: Vec<Column>,
    /// What the planner expects it to cost at worst with the tenant's data, to two digits, in PostgreSQL's units.
    pub cost: Option<f64>,
    /// The most it may cost.
    pub max_cost: f64,
    /// Its answers for the two tenants that exist for probing; none when it did not come so far.
    pub probes: Vec<ProbeRun>,
}

impl ProofReport {
    /// Whether the version may be published.
    pub fn passed(&self) -> bool {
        self.findings.is_empty() && self.probes.iter().all(|probe| probe.foreign == 0)
    }
}

/// A version without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSummary {
    /// Its number, from 1.
    pub number: i32,
    /// Whether it has passed its proof.
    pub proved: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
}

/// A template of a tenant, without the texts of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoredTemplate {
    /// Its name, also the tool's.
    pub name: String,
    /// The title that its newest version gives it, where that can be read.
    pub title: Option<String>,
    /// The number of its newest version.
    pub newest: i32,
    /// Whether that has passed its proof.
    pub newest_proved: bool,
    /// The version that is a tool.
    pub published: Option<i32>,
    /// The keys that have it as a tool.
    pub visible_to: Allowed<KeyId>,
    /// When it was retired, unless it was published again since.
    pub retired_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When anything about it changed last.
    pub updated_at: DateTime<Utc>,
    /// Who changed it last.
    pub updated_by: String,
}

impl AuthoredTemplate {
    /// Where it stands.
    pub fn state(&self) -> TemplateState {
        match (self.published, self.retired_at, self.newest_proved) {
            (Some(_), _, _) => TemplateState::Published,
            (None, Some(_), _) => TemplateState::Retired,
            (None, None, true) => TemplateState::Proved,
            (None, None, false) => TemplateState::Draft,
        }
    }
}

/// Whether a template that is visible to these keys is a tool of this principal. One that names keys is nobody else's,
/// people included.
pub fn is_visible(visible_to: &Allowed<KeyId>, principal: &Principal) -> bool {
    match (visible_to, principal) {
        (Allowed::All, _) | (Allowed::Only(_), Principal::System(_)) => true,
        (Allowed::Only(keys), Principal::Key { id, .. }) => keys.contains(id),
        (Allowed::Only(_), Principal::User { .. }) => false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::UserId;

    #[test]
    fn names_are_those_of_tools_and_leave_the_servers_own_alone() {
        for good in ["a", "open_bugs", "top10", &"a".repeat(32)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1st", "_x", "Open", "a-b", "sql_x", "a b", "ä", &"a".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_template_that_names_keys_is_a_tool_of_those_only() {
        let (mine, other) = (KeyId::new(Uuid::from_u128(1)), KeyId::new(Uuid::from_u128(2)));
        let key = |id| Principal::Key { id, name: "k".into() };
        let only = Allowed::Only([mine].into());
        assert!(is_visible(&only, &key(mine)) && !is_visible(&only, &key(other)));
        let person = Principal::User { id: UserId::new(Uuid::from_u128(1)), name: "p".into() };
        assert!(!is_visible(&only, &person) && is_visible(&Allowed::All, &person));
    }

    #[test]
    fn a_report_with_a_foreign_value_has_not_passed() {
        let probe = |foreign| ProbeRun { rows: 1, marked: 1, foreign };
        let report = |probes| ProofReport {
            at: DateTime::UNIX_EPOCH,
            findings: Vec::new(),
            columns: Vec::new(),
            cost: Some(1.0),
            max_cost: 2.0,
            probes,
        };
        assert!(report(vec![probe(0), probe(0)]).passed());
        assert!(!report(vec![probe(0), probe(1)]).passed());
    }
}
