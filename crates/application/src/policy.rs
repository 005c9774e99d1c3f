//! Which tools of the Jira server a caller has: what the key, the tenant and the installation allow together.

use std::collections::BTreeSet;

use domain::{Grant, Toolset};

use crate::{Ctx, Error};

/// What the installation allows when nobody says otherwise: all but what an admin does.
pub fn usual_toolsets() -> BTreeSet<Toolset> {
    Toolset::JIRA.into_iter().filter(|set| *set != Toolset::JiraAdmin).collect()
}

/// What a caller has of the Jira server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JiraAccess {
    may_open: BTreeSet<Toolset>,
    open: BTreeSet<Toolset>,
}

impl JiraAccess {
    /// What a grant leaves of the installation's sets. Sets beside the core are open by themselves only to a key that names
    /// them; those of an admin can be opened by no other.
    pub fn new(grant: &Grant, installed: &BTreeSet<Toolset>) -> Self {
        let named = grant.toolsets.as_list();
        let may_open = installed.iter().copied().filter(|set| match named {
            Some(named) => named.contains(set),
            None => *set != Toolset::JiraAdmin,
        });
        let may_open: BTreeSet<Toolset> = may_open.collect();
        let open = may_open.iter().copied().filter(|set| named.is_some() || *set == Toolset::JiraCore);
        Self { open: open.collect(), may_open }
    }

    /// The sets that the caller may have.
    pub fn may_open(&self) -> &BTreeSet<Toolset> {
        &self.may_open
    }

    /// The sets that are open when the caller asks for these, or for none in particular.
    pub fn open(&self, asked: Option<&BTreeSet<Toolset>>) -> BTreeSet<Toolset> {
        match asked {
            Some(asked) => self.may_open.intersection(asked).copied().collect(),
            None => self.open.clone(),
        }
    }

    /// Whether a tool of an open set may be used.
    pub fn allows(&self, _tool: &str, _writes: bool) -> bool {
        true
    }
}

/// Use cases of what may be used.
#[derive(Debug)]
pub struct PolicyService {
    installed: BTreeSet<Toolset>,
}

impl PolicyService {
    /// `installed`: the sets of the Jira server that the installation allows anybody.
    pub fn new(installed: BTreeSet<Toolset>) -> Self {
        Self { installed }
    }

    /// What the caller has of the Jira server, at this moment.
    pub async fn jira(&self, ctx: &Ctx) -> Result<JiraAccess, Error> {
        Ok(JiraAccess::new(&ctx.grant, &self.installed))
    }
}
