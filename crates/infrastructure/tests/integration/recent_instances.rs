//! The kept list of instances, which live tools ask at every call.

use std::collections::BTreeSet;
use std::time::Duration;

use application::Ctx;
use application::ports::{InstanceStore, Sealed};
use chrono::DateTime;
use domain::{Allowed, Grant, Instance, InstanceId, InstanceStatus, SourceKind};
use patchbay_infrastructure::postgres::PgInstances;
use uuid::Uuid;

use crate::support::TestDb;

fn instance(slug: &str) -> Instance {
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: slug.parse().unwrap(),
        source: SourceKind::new("jira"),
        name: slug.into(),
        base_url: "https://tracker.example".parse().unwrap(),
        settings: serde_json::json!({}),
        status: InstanceStatus::Active,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

async fn names(instances: &PgInstances, ctx: &Ctx) -> Vec<String> {
    instances.recent(ctx).await.unwrap().iter().map(|instance| instance.name.clone()).collect()
}

#[tokio::test]
async fn each_caller_has_its_own_list_and_what_changes_shows_at_once_here_and_soon_elsewhere() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let here = PgInstances::new(test.db.clone(), test.audit());
    let elsewhere = PgInstances::new(test.db.clone(), test.audit());
    let (core, web) = (instance("core"), instance("web"));
    let narrowed = |only: BTreeSet<InstanceId>| Ctx {
        grant: Grant { instances: Allowed::Only(only), ..Grant::default() }.into(),
        ..alpha.clone()
    };
    let (only_core, none) = (narrowed([core.id].into()), narrowed(BTreeSet::new()));

    assert!(names(&here, &alpha).await.is_empty());
    for new in [&web, &core] {
        here.insert(&alpha, new, &Sealed(vec![])).await.unwrap();
    }
    for of_process in [&here, &elsewhere] {
        assert_eq!(names(of_process, &alpha).await, ["core", "web"]);
        assert_eq!(names(of_process, &only_core).await, ["core"]);
        assert!(names(of_process, &none).await.is_empty());
        assert!(names(of_process, &beta).await.is_empty());
    }

    let renamed = Instance { name: "kernel".into(), ..core.clone() };
    assert!(here.update(&alpha, &renamed, None).await.unwrap());
    assert_eq!(names(&here, &alpha).await, ["kernel", "web"]);
    assert_eq!(names(&here, &only_core).await, ["kernel"]);
    assert!(here.delete(&alpha, web.id).await.unwrap());
    assert_eq!(names(&here, &alpha).await, ["kernel"]);

    // What a list is kept for, with something to spare.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(names(&elsewhere, &alpha).await, ["kernel"]);
    assert_eq!(names(&elsewhere, &only_core).await, ["kernel"]);
}
