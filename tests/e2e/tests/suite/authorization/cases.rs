//! What there is to try: routes and tools as the running server describes them, with their cases.

use domain::Scope;
use patchbay_e2e::Api;
use serde::Deserialize;
use serde_json::{Value, json};

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    AnyKey,
    Scope(Scope),
}

impl Needs {
    fn parse(text: &str) -> Self {
        match text {
            "none" => Self::Nothing,
            "any" => Self::AnyKey,
            scope => Self::Scope(scope.parse().unwrap_or_else(|_| panic!("`{scope}` is no scope"))),
        }
    }

    /// Whether these scopes are enough.
    pub(crate) fn allow(self, held: &[Scope]) -> bool {
        match self {
            Self::Nothing => true,
            Self::AnyKey => !held.is_empty(),
            Self::Scope(needed) => held.iter().any(|scope| scope.implies(needed)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct File {
    routes: toml::Table,
    tools: toml::Table,
}

/// How a route is called; see authorization.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) ok: Vec<u16>,
    #[serde(default)]
    pub(crate) may_exceed: bool,
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) method: reqwest::Method,
    pub(crate) path: String,
    pub(crate) needs: Needs,
    pub(crate) case: Case,
}

#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// The address of its server.
    pub(crate) server: String,
    pub(crate) needs: Needs,
    /// Who is let in by its server.
    pub(crate) admits: Needs,
    pub(crate) arguments: Value,
    /// What plain HTTP answers to who may call it.
    pub(crate) ok: u16,
}

fn file() -> File {
    toml::from_str(include_str!("../../../authorization.toml")).expect("authorization.toml can be read")
}

/// Every operation of `/openapi.json`. Panics at one without a case.
pub(crate) async fn routes(api: &Api) -> Vec<Route> {
    let cases = file().routes;
    let described = api.get("/openapi.json").await.unwrap().body;
    let mut routes = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            let needs = operation["x-required-scope"].as_str();
            let needs = needs.unwrap_or_else(|| panic!("{method} {path} does not declare what it needs"));
            let case = cases.get(&name);
            let case = case.unwrap_or_else(|| panic!("{method} {path} has no case [routes.{name}]"));
            routes.push(Route {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                needs: Needs::parse(needs),
                case: case.clone().try_into().unwrap_or_else(|error| panic!("[routes.{name}]: {error}")),
                name,
            });
        }
    }
    routes
}

/// Every tool that an all-powerful key is shown by a server that asks for a scope. Panics at one without a case.
pub(crate) async fn tools(api: &Api, mcp_url: &str, scope: &str) -> Vec<Tool> {
    let cases = file().tools;
    let listed = api.rpc(mcp_url, "tools/list", &json!({})).await.unwrap().body;
    let tools = listed["result"]["tools"].as_array().expect("a list of tools").iter().map(|tool| {
        let name = tool["name"].as_str().unwrap().to_owned();
        // Without the scope of the server there is no list of its tools; those that write ask for more.
        let reads = tool["annotations"]["readOnlyHint"] == true;
        let needs = if reads { scope } else { "mcp:jira:write" };
        let case = cases.get(&name).unwrap_or_else(|| panic!("the tool {name} has no case [tools.{name}]"));
        let arguments = case["arguments"].as_str().unwrap();
        Tool {
            server: mcp_url.to_owned(),
            needs: Needs::parse(needs),
            admits: Needs::parse(scope),
            arguments: serde_json::from_str(arguments).unwrap(),
            ok: case.get("ok").map_or(200, |ok| ok.as_integer().unwrap().try_into().unwrap()),
            name,
        }
    });
    tools.collect()
}
