//! What the address makes of the tools: `/mcp?toolsets=core,agile&tools=jira_get_issue&read_only=true`. It opens sets that the
//! caller may have and does not have by itself, and takes away from the rest, so that a client can be given less than its
//! key.

use std::collections::BTreeSet;

use application::policy::JiraAccess;
use domain::{Invalid, Toolset};

use super::schemas::reading::GET_ISSUE;
use super::table::{self, Entry};

/// Names of the address's parameters.
const KNOWN: [&str; 3] = ["toolsets", "tools", "read_only"];
/// Of the transport for old clients, which has the address of its session extended.
const SESSION: &str = "sessionId";

/// What an address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Narrowed {
    toolsets: Option<BTreeSet<Toolset>>,
    tools: Option<BTreeSet<&'static str>>,
    read_only: bool,
}

impl Narrowed {
    /// Reads the query of an address. What is not known is refused: a misspelt bound must not be taken for none.
    pub(super) fn by(query: Option<&str>) -> Result<Self, Invalid> {
        let mut narrowed = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
            match name.as_ref() {
                "toolsets" => keep(&mut narrowed.toolsets, words.map(toolset).collect::<Result<_, _>>()?),
                "tools" => keep(&mut narrowed.tools, words.map(tool).collect::<Result<_, _>>()?),
                "read_only" => match value.as_ref() {
                    "true" => narrowed.read_only = true,
                    "false" => {}
                    _ => return Err(Invalid::one("/read_only", "must be true or false")),
                },
                SESSION => {}
                _ => {
                    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                    let message = "is not a parameter of this address";
                    return Err(Invalid::not_one_of(format!("/{name}"), message, KNOWN));
                }
            }
        }
        Ok(narrowed)
    }

    /// The sets that are open to a caller at this address.
    pub(super) fn open(&self, access: &JiraAccess) -> BTreeSet<Toolset> {
        access.open(self.toolsets.as_ref())
    }

    /// Whether a caller has a tool at this address.
    pub(super) fn allows(&self, tool: &Entry, access: &JiraAccess) -> bool {
        self.open(access).contains(&tool.set)
            && self.tools.as_ref().is_none_or(|tools| tools.contains(tool.name))
            && !(self.read_only && tool.writes())
            && access.allows(tool.name, tool.writes())
    }

    /// Whether a caller has the resources at this address: they belong to the set of changes and tell what
    /// `jira_get_issue` does, so that whatever takes one of these away takes them, too. They need no opening, as no
    /// conversation has to carry them.
    pub(super) fn allows_resources(&self, access: &JiraAccess) -> bool {
        let set = Toolset::JiraChanges;
        access.may_open().contains(&set)
            && self.toolsets.as_ref().is_none_or(|sets| sets.contains(&set))
            && self.tools.as_ref().is_none_or(|tools| tools.contains(GET_ISSUE))
            && access.allows(GET_ISSUE, false)
    }
}

/// Two bounds leave what both have.
fn keep<T: Ord + Copy>(bound: &mut Option<BTreeSet<T>>, these: BTreeSet<T>) {
    *bound = Some(match bound.take() {
        Some(before) => before.intersection(&these).copied().collect(),
        None => these,
    });
}

fn tool(name: &str) -> Result<&'static str, Invalid> {
    table::named(name).map(|tool| tool.name).ok_or_else(|| {
        Invalid::not_one_of("/tools", "names an unknown tool", table::all().into_iter().map(|tool| tool.name))
    })
}

fn toolset(name: &str) -> Result<Toolset, Invalid> {
    Toolset::of_jira(name).ok_or_else(|| {
        let known = Toolset::JIRA.map(Toolset::as_str);
        Invalid::not_one_of("/toolsets", "names an unknown set of tools", known)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use application::ports::TenantPolicy;
    use domain::{Allowed, Grant, JiraPolicy};

    use super::*;

    fn left_under(policy: JiraPolicy, grant: &Grant, query: &str) -> Vec<&'static str> {
        let policy = Arc::new(TenantPolicy { jira: policy, ..TenantPolicy::default() });
        let access = JiraAccess::new(grant, &Toolset::JIRA.into(), policy);
        let narrowed = Narrowed::by(Some(query)).unwrap();
        table::all().into_iter().filter(|tool| narrowed.allows(tool, &access)).map(|tool| tool.name).collect()
    }

    fn left_to(grant: &Grant, query: &str) -> Vec<&'static str> {
        left_under(JiraPolicy::default(), grant, query)
    }

    fn left(query: &str) -> Vec<&'static str> {
        left_to(&Grant::default(), query)
    }

    fn of(set: Toolset) -> Vec<&'static str> {
        table::all().into_iter().filter(|tool| tool.set == set).map(|tool| tool.name).collect()
    }

    #[test]
    fn without_a_word_there_is_the_core_and_an_address_takes_away() {
        assert_eq!(Narrowed::by(None).unwrap(), Narrowed::default());
        assert_eq!(left("sessionId=1&read_only=false"), of(Toolset::JiraCore));
        assert_eq!(left("read_only=true").len(), 7);
        let two = left("tools=jira_get_issue,jira_add_comment");
        assert_eq!(two, ["jira_add_comment", "jira_get_issue"]);
        assert_eq!(left("tools=jira_get_issue,jira_add_comment&read_only=true"), ["jira_get_issue"]);
        assert_eq!(left("tools=jira_get_issue&tools=jira_add_comment"), [] as [&str; 0]);
        assert_eq!(left("tools="), [] as [&str; 0]);
        assert_eq!(left("toolsets="), [] as [&str; 0]);
    }

    #[test]
    fn an_address_opens_what_the_key_may_have_and_no_more() {
        let only = |sets: &[Toolset]| Grant {
            toolsets: Allowed::Only(sets.iter().copied().collect()),
            ..Grant::default()
        };
        assert_eq!(left("toolsets=core,work").len(), left("").len() + of(Toolset::JiraWork).len());
        assert_eq!(left("toolsets=jira_work"), of(Toolset::JiraWork));
        assert_eq!(
            left("toolsets=jira_admin"),
            [] as [&str; 0],
            "an admin's tools are for keys that name them"
        );
        let named = only(&[Toolset::JiraAgile]);
        assert_eq!(left_to(&named, ""), of(Toolset::JiraAgile), "what a key names needs no opening");
        assert_eq!(left_to(&named, "toolsets=core"), [] as [&str; 0]);
        assert_eq!(left_to(&only(&[Toolset::JiraAdmin]), ""), of(Toolset::JiraAdmin));
        assert_eq!(left_to(&only(&[Toolset::Sql]), "toolsets=core"), [] as [&str; 0]);
    }

    #[test]
    fn no_address_opens_what_the_policy_takes_away() {
        let policy = JiraPolicy {
            toolsets: Allowed::Only([Toolset::JiraCore].into()),
            denied_tools: ["jira_find_users".to_owned()].into(),
            read_only: true,
            ..JiraPolicy::default()
        };
        let left = left_under(policy, &Grant::default(), "toolsets=core,agile,changes&read_only=false");
        assert_eq!(left.len(), 6, "{left:?}");
        assert!(!left.contains(&"jira_find_users") && !left.contains(&"jira_create_issue"));
    }

    #[test]
    fn whatever_takes_their_set_or_reading_an_issue_away_takes_the_resources() {
        let reach = |policy: JiraPolicy, grant: &Grant, query: &str| {
            let policy = Arc::new(TenantPolicy { jira: policy, ..TenantPolicy::default() });
            let access = JiraAccess::new(grant, &Toolset::JIRA.into(), policy);
            Narrowed::by(Some(query)).unwrap().allows_resources(&access)
        };
        let named = |set| Grant { toolsets: Allowed::Only([set].into()), ..Grant::default() };
        let (free, all) = (JiraPolicy::default(), Grant::default());
        assert!(reach(free.clone(), &all, ""));
        assert!(reach(free.clone(), &all, "read_only=true&tools=jira_get_issue&toolsets=changes"));
        assert!(reach(free.clone(), &named(Toolset::JiraChanges), ""));
        assert!(!reach(free.clone(), &named(Toolset::JiraCore), "toolsets=core,changes"));
        assert!(!reach(free.clone(), &all, "toolsets=core"));
        assert!(!reach(free, &all, "tools=jira_add_comment"));
        let denied =
            JiraPolicy { denied_tools: ["jira_get_issue".to_owned()].into(), ..JiraPolicy::default() };
        assert!(!reach(denied, &all, ""));
        let core = Allowed::Only([Toolset::JiraCore].into());
        assert!(!reach(JiraPolicy { toolsets: core, ..JiraPolicy::default() }, &all, ""));
    }

    #[test]
    fn what_is_misspelt_is_refused_and_not_taken_for_no_bound() {
        for (query, field) in [
            ("readonly=true", "/readonly"),
            ("read_only=yes", "/read_only"),
            ("tools=jira_get_isue", "/tools"),
            ("toolsets=cor", "/toolsets"),
            ("toolsets=sql", "/toolsets"),
        ] {
            assert_eq!(Narrowed::by(Some(query)).unwrap_err().errors[0].pointer, field);
        }
    }
}
