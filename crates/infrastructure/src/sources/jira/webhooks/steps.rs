//! What an admin does in Jira.

use application::ports::Connection;
use url::Url;

use super::super::settings::Settings;

/// Step by step, for Cloud and Data Center, whose menus have the same names.
pub(super) fn of(connection: &Connection, target: &Url) -> Vec<String> {
    let base = connection.base_url.as_str().trim_end_matches('/');
    let gateway = connection.base_url.host_str() == Some("api.atlassian.com");
    let page = if gateway {
        "Settings > System > WebHooks (in the address bar: /plugins/servlet/webhooks behind your site)"
            .to_owned()
    } else {
        format!("Settings > System > WebHooks: {base}/plugins/servlet/webhooks")
    };
    vec![
        format!("Sign in to Jira as a Jira administrator and open {page}"),
        "Choose \"Create a WebHook\", enter the name \"Patchbay\", and leave its status at Enabled.".to_owned(),
        format!("URL: {target}"),
        "Secret: paste the secret that is shown here once. Do not let Jira generate another. If the form has no field \
         \"Secret\", this version of Jira cannot sign what it sends and Patchbay refuses it: do without the webhook, \
         the instance is kept up to date by its schedule."
            .to_owned(),
        format!("Issue related events, JQL: {}", jql(connection)),
        "Check all boxes of Issue (created, updated, deleted), Comment, Worklog and Issue link; under \"Project \
         related events\" all boxes of Version; under \"Jira Software related events\" all boxes of Sprint and Board."
            .to_owned(),
        "Leave \"Exclude body\" unchecked.".to_owned(),
        "Choose \"Create\". The next change of an issue is shown here as the last delivery.".to_owned(),
    ]
}

fn jql(connection: &Connection) -> String {
    match Settings::stored(&connection.settings).projects {
        Some(keys) if !keys.is_empty() => {
            let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
            format!("project in ({})", keys.join(", "))
        }
        _ => "leave empty, for all projects".to_owned(),
    }
}
