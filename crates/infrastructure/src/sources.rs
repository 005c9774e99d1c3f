//! Adapters to the trackers, one module each.

mod asana;
mod circle;
mod exchange;
mod github;
mod jira;
mod nearest;
mod oauth_refresh;
mod refusals;
mod repair;
mod sanitize;
mod settings_form;

use application::ports::Sources;

use crate::egress::EgressClient;

/// Every source this build knows.
pub fn registry(client: EgressClient) -> Sources {
    Sources::default()
        .with(asana::Asana::new(client.clone()))
        .with(github::GitHub::new(client.clone()))
        .with(jira::Jira::new(client))
}
