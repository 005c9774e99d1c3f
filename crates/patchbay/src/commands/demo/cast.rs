//! The demonstration's tenants and their simulated trackers.

use std::time::Duration;

use domain::{Credential, NewInstance, SourceKind};
use serde_json::json;
use simulator::{Deployment, JiraLogin, Simulator, SimulatorConfig, TokenGrant, asana_workspace, generate};
use url::Url;

/// A tenant of the demonstration and what it works with.
pub(super) struct Cast {
    pub(super) slug: &'static str,
    /// GitHub: name, seed, number of issues and pull requests.
    pub(super) repositories: &'static [(&'static str, u64, usize)],
    /// A Jira site's projects: key, seed, number of issues.
    pub(super) projects: &'static [(&'static str, u64, usize)],
    /// An Asana workspace: name, seed, number of tasks.
    workspace: (&'static str, u64, usize),
}

pub(super) const CAST: [Cast; 2] = [
    Cast {
        slug: "acme",
        repositories: &[("acme/billing-service", 11, 240), ("acme/mobile-app", 12, 160)],
        projects: &[("BILL", 30, 180), ("APP", 31, 120)],
        workspace: ("Acme", 41, 60),
    },
    Cast {
        slug: "globex",
        repositories: &[("globex/warehouse-api", 21, 200)],
        projects: &[("WH", 32, 140)],
        workspace: ("Globex", 42, 40),
    },
];

/// The simulated trackers, and what of them must be known to connect to them.
pub(super) struct Trackers {
    pub(super) simulator: Simulator,
    /// Ids of the Asana workspaces, in the order of [`CAST`].
    workspaces: Vec<String>,
}

impl Trackers {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let repositories = CAST
            .iter()
            .flat_map(|cast| cast.repositories)
            .map(|(name, seed, items)| generate::repository(name, *seed, *items))
            .collect();
        let tokens = CAST
            .iter()
            .map(|cast| TokenGrant {
                token: token_of(cast.slug),
                login: format!("{}-sync", cast.slug),
                repositories: Some(cast.repositories.iter().map(|(name, ..)| (*name).to_owned()).collect()),
            })
            .collect();
        let latency = Duration::from_millis(2);
        let simulator = Simulator::start(SimulatorConfig { port: 0, repositories, tokens, latency }).await?;
        let mut workspaces = Vec::new();
        for cast in &CAST {
            let login = JiraLogin::new(Some(&account_of(cast.slug)), &token_of(cast.slug));
            let site = generate::jira(cast.slug, Deployment::Cloud, cast.projects).with_login(login);
            simulator.control().add_jira(site)?;
            let (name, seed, tasks) = cast.workspace;
            let workspace = asana_workspace(name, seed, tasks);
            workspaces.push(workspace.gid.clone());
            simulator.control().add_asana(workspace);
        }
        Ok(Self { simulator, workspaces })
    }

    /// The instances of a tenant.
    pub(super) fn connections(&self, index: usize) -> anyhow::Result<Vec<NewInstance>> {
        let cast = &CAST[index];
        let base = self.simulator.url();
        let token = || token_of(cast.slug).into();
        let instance = |source: &'static str,
                        name: &str,
                        path: &str,
                        credentials,
                        settings|
         -> anyhow::Result<NewInstance> {
            Ok(NewInstance {
                source: SourceKind::new(source),
                name: format!("{} on {name}", cast.slug),
                base_url: Some(Url::parse(&format!("{base}{path}"))?),
                credentials,
                settings,
            })
        };
        let repositories: Vec<&str> = cast.repositories.iter().map(|(name, ..)| *name).collect();
        let basic = Credential::Basic { email: account_of(cast.slug), token: token() };
        Ok(vec![
            instance(
                "github",
                "GitHub",
                "",
                Credential::Token { token: token() },
                json!({"repositories": repositories}),
            )?,
            instance("jira", "Jira", &format!("/jira/{}", cast.slug), basic, json!({}))?,
            instance(
                "asana",
                "Asana",
                "/api/1.0",
                Credential::Token { token: token() },
                json!({"workspaces": [self.workspaces[index]]}),
            )?,
        ])
    }
}

fn token_of(slug: &str) -> String {
    format!("simulated-token-of-{slug}")
}

fn account_of(slug: &str) -> String {
    format!("sync@{slug}.example")
}
