//! Which tools of the Jira server a caller has: what the key, the tenant's policy and the installation allow together.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Grant, JiraPolicy, Scope, Toolset};

use crate::ports::{PolicyStore, ReplacedPolicy, TenantPolicy};
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
    policy: Arc<TenantPolicy>,
}

impl JiraAccess {
    /// What grant and policy leave of the installation's sets. Sets beside the core are open by themselves only to a key
    /// that names them; those of an admin can be opened by no other.
    pub fn new(grant: &Grant, installed: &BTreeSet<Toolset>, policy: Arc<TenantPolicy>) -> Self {
        let named = grant.toolsets.as_list();
        let may_open = installed.iter().copied().filter(|set| {
            let granted = match named {
                Some(named) => named.contains(set),
                None => *set != Toolset::JiraAdmin,
            };
            granted && policy.jira.toolsets.allows(set)
        });
        let may_open: BTreeSet<Toolset> = may_open.collect();
        let open = may_open.iter().copied().filter(|set| named.is_some() || *set == Toolset::JiraCore);
        Self { open: open.collect(), may_open, policy }
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
    pub fn allows(&self, tool: &str, writes: bool) -> bool {
        let denied = self.policy.jira.denied_tools.contains(tool);
        !denied && (!writes || !self.policy.jira.read_only)
    }

    /// The policy of the caller's tenant.
    pub fn policy(&self) -> &TenantPolicy {
        &self.policy
    }
}

/// Use cases of what may be used.
pub struct PolicyService {
    store: Arc<dyn PolicyStore>,
    installed: BTreeSet<Toolset>,
}

impl PolicyService {
    /// `installed`: the sets of the Jira server that the installation allows anybody.
    pub fn new(store: Arc<dyn PolicyStore>, installed: BTreeSet<Toolset>) -> Self {
        Self { store, installed }
    }

    /// What the caller has of the Jira server; changes of the policy show within 3 s.
    pub async fn jira(&self, ctx: &Ctx) -> Result<JiraAccess, Error> {
        let policy = self.store.current(ctx).await?;
        Ok(JiraAccess::new(&ctx.grant, &self.installed, policy))
    }

    /// The policy of the caller's tenant.
    pub async fn get(&self, ctx: &Ctx) -> Result<TenantPolicy, Error> {
        ctx.require(Scope::Admin)?;
        Ok(self.store.find(ctx).await?)
    }

    /// Replaces it as a whole. `tools` are the names of the tools that there are. With `if_version` only when nobody else
    /// has replaced it meanwhile.
    pub async fn replace(
        &self,
        ctx: &Ctx,
        jira: &JiraPolicy,
        tools: &[&str],
        if_version: Option<i32>,
    ) -> Result<TenantPolicy, Error> {
        ctx.require(Scope::Admin)?;
        ctx.require_unnarrowed()?;
        jira.check(tools)?;
        match self.store.replace(ctx, jira, if_version).await? {
            ReplacedPolicy::Stored(policy) => Ok(policy),
            ReplacedPolicy::Stale { version } => Err(Error::Conflict {
                what: format!("the policy has changed meanwhile: it has version {version}"),
                hint: "GET it again, apply the change to what it is now, and PUT with its version".into(),
            }),
        }
    }
}

impl std::fmt::Debug for PolicyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PolicyService")
    }
}

#[cfg(test)]
mod tests {
    use domain::Allowed;

    use super::*;

    fn access(grant: &[Toolset], policy: JiraPolicy) -> JiraAccess {
        let toolsets = match grant {
            [] => Allowed::All,
            named => Allowed::Only(named.iter().copied().collect()),
        };
        let policy = Arc::new(TenantPolicy { jira: policy, ..TenantPolicy::default() });
        JiraAccess::new(&Grant { toolsets, ..Grant::default() }, &usual_toolsets(), policy)
    }

    #[test]
    fn key_policy_and_installation_each_take_away() {
        let [core, agile, work] = [Toolset::JiraCore, Toolset::JiraAgile, Toolset::JiraWork];
        let free = access(&[], JiraPolicy::default());
        assert_eq!(free.open(None), [core].into());
        assert_eq!(free.may_open(), &usual_toolsets());
        assert_eq!(free.open(Some(&[agile, Toolset::JiraAdmin].into())), [agile].into());
        let policy = JiraPolicy { toolsets: Allowed::Only([core, work].into()), ..JiraPolicy::default() };
        assert_eq!(access(&[agile, work], policy).open(None), [work].into());
        let admin = access(&[Toolset::JiraAdmin], JiraPolicy::default());
        assert!(admin.open(None).is_empty(), "the installation has no set for admins");
    }

    #[test]
    fn a_policy_denies_tools_and_writes() {
        let policy = JiraPolicy {
            denied_tools: ["jira_find_users".to_owned()].into(),
            read_only: true,
            ..JiraPolicy::default()
        };
        let access = access(&[], policy);
        let allowed = [("jira_find_users", false), ("jira_get_issue", false), ("jira_add_comment", true)]
            .map(|(tool, writes)| access.allows(tool, writes));
        assert_eq!(allowed, [false, true, false]);
    }
}
