//! The authorization matrix in memory: every route against every scope. `tests/e2e/tests/authorization.rs` goes on with
//! roles, other tenants, and the real database.

use domain::Scope;
use patchbay_interfaces::admin::openapi::description;
use patchbay_interfaces::admin::scoped::{OPEN, REQUIRED_SCOPE, SIGNED_IN};
use serde_json::{Value, json};

use super::{Api, Body};

struct Route {
    id: String,
    method: String,
    path: String,
    needs: String,
    security: Value,
}

fn routes() -> Vec<Route> {
    let described = serde_json::to_value(description()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            routes.push(Route {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                needs: operation[REQUIRED_SCOPE].as_str().unwrap_or_default().to_owned(),
                security: operation["security"].clone(),
            });
        }
    }
    assert!(routes.len() >= 21, "only {} operations are described", routes.len());
    routes
}

// Security requirement 63.
#[test]
fn every_route_declares_what_it_needs_and_the_description_tells_it() {
    for Route { method, path, needs, security, .. } in routes() {
        match needs.as_str() {
            OPEN => assert_eq!(security, json!([{}]), "{method} {path}"),
            SIGNED_IN => assert!(security[0]["api_key"] == json!([]), "{method} {path}: {security}"),
            scope => {
                assert!(scope.parse::<Scope>().is_ok(), "{method} {path} declares no scope, but {scope:?}");
                assert_eq!(security[0]["api_key"], json!([scope]), "{method} {path}");
            }
        }
        assert!(needs != OPEN || !path.starts_with("/api/"), "{method} {path} is open");
    }
}

// Security requirement 63.
#[test]
fn every_route_has_its_case_in_the_matrix_and_no_case_is_left_over() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/authorization.toml");
    let cases: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let cases = cases["routes"].as_table().unwrap();
    let routes = routes();
    for Route { id, method, path, .. } in &routes {
        assert!(
            cases.contains_key(id),
            "{method} {path} needs a case [routes.{id}] in tests/e2e/authorization.toml"
        );
    }
    for id in cases.keys() {
        assert!(routes.iter().any(|route| route.id == *id), "[routes.{id}] is a case of no route");
    }
}

// Security requirement 63.
#[tokio::test]
async fn no_scope_opens_a_route_that_needs_another() {
    let mut api = Api::new();
    let mut tried = 0;
    for held in Scope::ALL {
        api.key = api.world.key(&[held]);
        for Route { method, path, needs, .. } in routes() {
            let Ok(needed) = needs.parse::<Scope>() else { continue };
            let path = path.split('{').next().unwrap().to_owned()
                + &path.split_once('}').map_or(String::new(), |(_, rest)| format!("no-id{rest}"));
            let (response, answer) = api.send(api.request(&method, &path), Body::empty()).await;
            let refused = response.status() == 403;
            assert_ne!(refused, held.implies(needed), "{held} at {method} {path}: {answer}");
            if refused {
                assert_eq!(answer["code"], "forbidden", "{answer}");
                assert!(answer["detail"].as_str().unwrap().contains(needed.as_str()), "{answer}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 12 * 17, "only {tried} cells were tried");
}
