//! What a tenant lets assistants do, whatever their keys say.

use std::collections::BTreeSet;

use crate::{Allowed, Invalid, Toolset};

/// The most tools or fields of one list.
pub const MOST_NAMED: usize = 100;
/// Characters of a field's id or name.
const FIELD: usize = 255;
/// What every answer is made of. Who must not see these is given fewer projects instead.
const NEVER_HIDDEN: [&str; 10] =
    ["id", "key", "issuekey", "project", "summary", "status", "issuetype", "issue type", "type", "updated"];

/// A tenant's bounds of the Jira server's live tools. The default bounds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JiraPolicy {
    /// Sets of tools that anybody may have.
    pub toolsets: Allowed<Toolset>,
    /// Tools that nobody has, by name.
    pub denied_tools: BTreeSet<String>,
    /// Whether nobody writes.
    pub read_only: bool,
    /// Fields that no answer shows and nobody writes or asks for, by id or by the name people see.
    pub hidden_fields: BTreeSet<String>,
}

impl JiraPolicy {
    /// Refuses what bounds nothing, or would leave no answer. `tools` are the names that there are.
    pub fn check(&self, tools: &[&str]) -> Result<(), Invalid> {
        let mut errors = Vec::new();
        let mut wrong = |invalid: Invalid| errors.extend(invalid.errors);
        for set in self.toolsets.as_list().into_iter().flatten().filter(|set| !Toolset::JIRA.contains(set)) {
            let message = format!("names `{set}`, which is no set of the Jira server");
            wrong(Invalid::not_one_of("/jira/toolsets", message, Toolset::JIRA.map(Toolset::as_str)));
        }
        for tool in self.denied_tools.iter().filter(|tool| !tools.contains(&tool.as_str())) {
            let tool: String = tool.chars().filter(|c| !c.is_control()).take(64).collect();
            let message = format!("names `{tool}`, which is no tool of the Jira server");
            wrong(Invalid::not_one_of("/jira/denied_tools", message, tools.iter().copied()));
        }
        for field in &self.hidden_fields {
            let name = field.trim().to_lowercase();
            if name.is_empty() || field.chars().count() > FIELD || field.chars().any(char::is_control) {
                let message = "must be ids or names of fields, of 1 to 255 characters";
                wrong(Invalid::one("/jira/hidden_fields", message));
            } else if NEVER_HIDDEN.contains(&name.as_str()) {
                let message = format!(
                    "names `{name}`, which is a part of every answer and cannot be hidden: narrow the projects of keys"
                );
                wrong(Invalid::one("/jira/hidden_fields", message));
            }
        }
        for (list, name) in
            [(self.denied_tools.len(), "denied_tools"), (self.hidden_fields.len(), "hidden_fields")]
        {
            if list > MOST_NAMED {
                wrong(Invalid::one(format!("/jira/{name}"), format!("has more than {MOST_NAMED} entries")));
            }
        }
        Invalid::collect(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldError;

    fn pointers(policy: &JiraPolicy) -> Vec<String> {
        let Err(invalid) = policy.check(&["jira_get_issue"]) else { return Vec::new() };
        invalid.errors.into_iter().map(|error: FieldError| error.pointer).collect()
    }

    fn names(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_bounds_nothing_or_leaves_no_answer_is_refused_where_it_stands() {
        assert_eq!(pointers(&JiraPolicy::default()), [] as [&str; 0]);
        let fine = JiraPolicy {
            toolsets: Allowed::Only([Toolset::JiraCore].into()),
            denied_tools: names(&["jira_get_issue"]),
            read_only: true,
            hidden_fields: names(&["customfield_1", "Salary"]),
        };
        assert_eq!(pointers(&fine), [] as [&str; 0]);
        let wrong = JiraPolicy {
            toolsets: Allowed::Only([Toolset::Sql].into()),
            denied_tools: names(&["jira_get_isue"]),
            read_only: false,
            hidden_fields: names(&[" Status ", "Salary", " "]),
        };
        let expected = ["/jira/toolsets", "/jira/denied_tools", "/jira/hidden_fields", "/jira/hidden_fields"];
        assert_eq!(pointers(&wrong), expected);
        let many = JiraPolicy {
            hidden_fields: (0..=MOST_NAMED).map(|n| format!("f{n}")).collect(),
            ..JiraPolicy::default()
        };
        assert_eq!(pointers(&many), ["/jira/hidden_fields"]);
    }
}
