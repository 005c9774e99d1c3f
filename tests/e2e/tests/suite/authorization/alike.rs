//! A foreign id costs what an unknown one costs: the same statements in the same order, as many rows and bytes back. How long
//! that takes is a matter of the machine; that it is the same work is not.

use domain::Scope;
use patchbay_e2e::Statement;

use super::cases::{self, Needs, Route};
use super::world::{Caller, World};
use super::{Whose, anonymized, call};

/// What the server does besides (looking up the key again, writing the records of reads) may fall into any call: of so many
/// calls the one with the fewest statements has none of it.
const TRIES: usize = 5;

// Security requirement 9.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_id_is_answered_by_the_same_statements_as_an_unknown_one() {
    let world = World::overheard().await;
    let wiretap = world.wiretap.as_ref().unwrap();
    let routes = cases::routes(&world.own.api).await;
    let owner = Caller::with_key("the owner".into(), world.own.api.clone(), vec![Scope::Admin]);
    let (mut wrong, mut tried) = (Vec::new(), 0);
    // Routes for everybody know no tenants to tell apart.
    let of_tenants = |route: &&Route| route.case.id.is_some() && route.needs != Needs::Nothing;
    for route in routes.iter().filter(of_tenants) {
        let mut seen = Vec::new();
        for whose in [Whose::Foreign, Whose::Nobodys] {
            let mut least: Option<(Vec<Statement>, String)> = None;
            for _ in 0..TRIES {
                wiretap.take().await.unwrap();
                let (answer, id) = call(&world, &owner, route, whose).await;
                let mut statements = wiretap.take().await.unwrap();
                // A connection is given back while the next one is in use: when that is seen is chance.
                statements.sort_by_key(|statement| statement.text.ends_with("ROLLBACK"));
                assert_eq!(answer.status, 404, "{} {}: {answer:?}", route.method, route.path);
                if least.as_ref().is_none_or(|(least, _)| statements.len() < least.len()) {
                    least = Some((statements, anonymized(&answer, &id)));
                }
            }
            seen.push(least.unwrap());
        }
        let [(foreign, told), (unknown, told_of_unknown)] = &seen[..] else { panic!("two kinds of ids") };
        // Found out by asking, not by looking at the id.
        assert!(!unknown.is_empty(), "{} {} asked the database nothing", route.method, route.path);
        if foreign != unknown {
            wrong.push(format!(
                "{} {}: {foreign:#?} for a foreign id and {unknown:#?} for an unknown one",
                route.method, route.path
            ));
        }
        if told != told_of_unknown {
            wrong.push(format!("{} {}: {told} and {told_of_unknown}", route.method, route.path));
        }
        tried += 1;
        println!("{} {}: {} statements", route.method, route.path, unknown.len());
    }
    assert!(wrong.is_empty(), "{} routes tell them apart:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried >= 30, "only {tried} routes have an id");
    world.server.terminate().await.unwrap();
    world.patchbay.database.drop().await.unwrap();
}
