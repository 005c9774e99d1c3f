//! What the address narrows the tools to: `/mcp?toolsets=core&tools=jira_get_issue&read_only=true`. It only takes away from
//! what the caller may do, so that a client can be given less than its key.

use std::collections::BTreeSet;
use std::str::FromStr;

use domain::{Invalid, Toolset};

use super::schemas::{self, ALL};

/// Names of the address's parameters.
const KNOWN: [&str; 3] = ["toolsets", "tools", "read_only"];
/// Of the transport for old clients, which has the address of its session extended.
const SESSION: &str = "sessionId";

/// The tools that are left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Narrowed {
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
                "toolsets" => {
                    let sets = words.map(toolset).collect::<Result<BTreeSet<_>, _>>()?;
                    let core = sets.contains(&Toolset::JiraCore);
                    narrowed.keep(ALL.into_iter().filter(|_| core).collect());
                }
                "tools" => narrowed.keep(words.map(tool).collect::<Result<_, _>>()?),
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

    fn keep(&mut self, these: BTreeSet<&'static str>) {
        self.tools = Some(match self.tools.take() {
            Some(before) => before.intersection(&these).copied().collect(),
            None => these,
        });
    }

    /// Whether a tool is left.
    pub(super) fn allows(&self, name: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(name))
            && !(self.read_only && schemas::writes(name))
    }
}

fn tool(name: &str) -> Result<&'static str, Invalid> {
    ALL.into_iter()
        .find(|tool| *tool == name)
        .ok_or_else(|| Invalid::not_one_of("/tools", "names an unknown tool", ALL))
}

/// By its name in keys, or without the server's.
fn toolset(name: &str) -> Result<Toolset, Invalid> {
    Toolset::from_str(name).or_else(|_| Toolset::from_str(&format!("jira_{name}"))).map_err(|_| {
        Invalid::not_one_of("/toolsets", "names an unknown set of tools", Toolset::ALL.map(Toolset::as_str))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(query: &str) -> Vec<&'static str> {
        let narrowed = Narrowed::by(Some(query)).unwrap();
        ALL.into_iter().filter(|tool| narrowed.allows(tool)).collect()
    }

    #[test]
    fn an_address_only_takes_away() {
        assert_eq!(Narrowed::by(None).unwrap(), Narrowed::default());
        assert_eq!(left("sessionId=1&read_only=false"), ALL);
        assert_eq!(left("toolsets=core,agile"), ALL);
        assert_eq!(left("read_only=true").len(), 7);
        assert_eq!(left("toolsets=jira_agile"), [] as [&str; 0]);
        let two = left("tools=jira_get_issue,jira_add_comment");
        assert_eq!(two, ["jira_add_comment", "jira_get_issue"]);
        assert_eq!(left("tools=jira_get_issue,jira_add_comment&read_only=true"), ["jira_get_issue"]);
        assert_eq!(left("tools=jira_get_issue&tools=jira_add_comment"), [] as [&str; 0]);
        assert_eq!(left("tools="), [] as [&str; 0]);
    }

    #[test]
    fn what_is_misspelt_is_refused_and_not_taken_for_no_bound() {
        for (query, field) in [
            ("readonly=true", "/readonly"),
            ("read_only=yes", "/read_only"),
            ("tools=jira_get_isue", "/tools"),
            ("toolsets=cor", "/toolsets"),
        ] {
            assert_eq!(Narrowed::by(Some(query)).unwrap_err().errors[0].pointer, field);
        }
    }
}
