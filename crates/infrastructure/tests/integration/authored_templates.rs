//! Templates that tenants write, on a real database: proof, versions, publication, and what a hostile admin gets.

use crate::support;
use crate::template_attacks::ATTACKS;
use crate::template_data::{fill, texts};

use std::sync::Arc;

use application::Ctx;
use application::authored::{AuthoringParts, AuthoringService, TemplateDetail};
use application::ports::{
    AuthoredTemplateStore, Key, KeyStore, ListPage, NewKey, TemplateCatalog, TemplateProver, TemplateRunner,
    TemplateVersion, TenantStore,
};
use application::{Error, templates::TemplateService};
use domain::authored::TemplateState;
use domain::{Allowed, Grant, KeyId, KeyKind, Principal, Scope, Scopes};
use patchbay_infrastructure::clock::SystemClock;
use patchbay_infrastructure::postgres::{
    PgAccess, PgAuditLog, PgAuthoredTemplates, PgSync, PgTemplateProver, PgTemplateRunner, PgTemplates,
    PgTenants,
};
use serde_json::Map;
use support::TestDb;
use uuid::Uuid;

const OPEN_BUGS: &str = "/*
title = 'Open bugs'
description = 'Bugs that are not done.'
[[params]]
name = 'project'
type = 'text'
description = 'The project.'
*/
select w.source_key as source_key, w.title as title, w.updated_at as updated_at
from work_items w
where w.tenant_id = $1 and w.status <> 'done' and ($2 is null or w.project_key = $2)
order by w.updated_at desc";

struct Desk {
    test: TestDb,
    authoring: AuthoringService,
    templates: TemplateService,
    store: Arc<PgAuthoredTemplates>,
}

impl Desk {
    async fn new() -> Self {
        Self::with_ceiling(25).await
    }

    async fn with_ceiling(ceiling: i64) -> Self {
        let test = TestDb::new().await;
        // Brings the key of seals.
        let vault = Arc::new(test.vault().await);
        let store = Arc::new(PgAuthoredTemplates::new(test.db.clone(), test.audit()));
        let catalog: Arc<dyn TemplateCatalog> = Arc::new(PgTemplates::load(&test.db).await.unwrap());
        let runner: Arc<dyn TemplateRunner> = Arc::new(PgTemplateRunner::new(test.db.clone()));
        let clock = Arc::new(SystemClock);
        let authoring = AuthoringService::new(AuthoringParts {
            store: store.clone(),
            prover: Arc::new(PgTemplateProver::new(test.db.clone(), clock.clone())),
            catalog: catalog.clone(),
            runner: runner.clone(),
            audit: Arc::new(PgAuditLog::start(test.db.clone(), test.audit())),
            clock: clock.clone(),
            ceiling,
        });
        let sync = Arc::new(PgSync::new(test.db.clone(), test.audit()));
        let templates = TemplateService::new(catalog, store.clone(), runner, sync, vault, clock);
        Self { test, authoring, templates, store }
    }

    async fn version(&self, ctx: &Ctx, name: &str, source: &str) -> TemplateVersion {
        loop {
            match self.authoring.create(ctx, name, source).await {
                Ok(detail) => return shown(detail),
                // Planning took too long, on a machine that is busy: nothing was stored, and it may be tried again.
                Err(Error::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn publish(&self, ctx: &Ctx, name: &str, source: &str) {
        let version = self.version(ctx, name, source).await;
        let published = self.authoring.publish(ctx, name, version.summary.number, &Allowed::All).await;
        published.unwrap_or_else(|error| panic!("{error}: {:?}", version.report));
    }

    /// Titles that this caller gets from the template.
    async fn titles(&self, ctx: &Ctx, name: &str) -> Vec<String> {
        let answer =
            self.templates.run(ctx, name, &Map::new()).await.unwrap_or_else(|error| panic!("{error}"));
        texts(&answer.rows, "title")
    }
}

fn shown(detail: TemplateDetail) -> TemplateVersion {
    match detail {
        TemplateDetail::Authored { version, .. } => *version,
        TemplateDetail::Shipped(template) => panic!("{} is shipped", template.name),
    }
}

fn state(detail: &TemplateDetail) -> TemplateState {
    match detail {
        TemplateDetail::Authored { template, .. } => template.state(),
        TemplateDetail::Shipped(_) => TemplateState::Published,
    }
}

fn text(statement: &str) -> String {
    format!("/*\ntitle = 'T'\ndescription = 'D'\n*/\n{statement}")
}

fn as_key(ctx: &Ctx, id: KeyId) -> Ctx {
    Ctx { principal: Principal::Key { id, name: "k".into() }, ..ctx.clone() }
}

async fn key(test: &TestDb, ctx: &Ctx) -> KeyId {
    let id = KeyId::new(Uuid::now_v7());
    let key = new_key(id);
    PgAccess::new(test.db.clone(), test.audit()).insert(ctx, &key).await.unwrap();
    id
}

fn new_key(id: KeyId) -> NewKey {
    NewKey {
        id,
        public_id: id.as_uuid().simple().to_string(),
        mac: [0; 32],
        name: "k".into(),
        kind: KeyKind::Assistant,
        scopes: Scopes::new([Scope::McpSql]).unwrap(),
        grant: Grant::default(),
        user: None,
        created_at: chrono::DateTime::UNIX_EPOCH,
        expires_at: None,
    }
}

#[tokio::test]
async fn a_text_becomes_a_tool_by_proof_and_publication_and_stops_being_one_when_retired() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    fill(&desk.test, &alpha, 12, "alpha").await;
    let version = desk.version(&alpha, "open_bugs", OPEN_BUGS).await;
    let report = &version.report;
    assert!(report.passed() && version.summary.proved, "{report:?}");
    assert_eq!(version.statement.as_deref().map(|text| text.contains("published.work_items")), Some(true));
    let columns: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["source_key", "title", "updated_at"]);
    assert!(report.cost.unwrap() > 0.0 && report.cost.unwrap() < report.max_cost, "{report:?}");
    let probes: Vec<(u64, bool, u64)> =
        report.probes.iter().map(|probe| (probe.rows, probe.marked > 0, probe.foreign)).collect();
    assert_eq!(probes, [(2, true, 0), (4, true, 0)]);

    assert!(desk.templates.list(&alpha).await.unwrap().iter().all(|template| !template.authored));
    let tried = desk.authoring.attempt(&alpha, "open_bugs", None, &Map::new()).await.unwrap();
    assert_eq!(tried.rows.len(), 8);
    let detail = desk.authoring.publish(&alpha, "open_bugs", 1, &Allowed::All).await.unwrap();
    assert_eq!(state(&detail), TemplateState::Published);
    assert_eq!(desk.titles(&alpha, "open_bugs").await.len(), 8);
    assert!(desk.templates.list(&alpha).await.unwrap().iter().any(|template| template.name == "open_bugs"));

    let retired = desk.authoring.retire(&alpha, "open_bugs").await.unwrap();
    assert_eq!(state(&retired), TemplateState::Retired);
    let gone = desk.templates.get(&alpha, "open_bugs").await.unwrap_err().to_string();
    let unknown = desk.templates.get(&alpha, "never_was").await.unwrap_err().to_string();
    assert_eq!(gone.replace("open_bugs", "NAME"), unknown.replace("never_was", "NAME"));
    desk.authoring.retire(&alpha, "open_bugs").await.unwrap();
}

#[tokio::test]
async fn a_draft_keeps_its_findings_with_their_places_and_is_corrected_by_another_version() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    let bad = text("select w.title as title,\n  pg_sleep(1) as b\nfrom work_items w where w.tenant_id = $1");
    let draft = desk.version(&alpha, "mine", &bad).await;
    assert!(!draft.summary.proved);
    let finding = &draft.report.findings[0];
    assert_eq!((finding.line, finding.column), (Some(6), Some(3)), "{finding:?}");
    assert!(finding.message.contains("pg_sleep"), "{finding:?}");
    let refused = desk.authoring.publish(&alpha, "mine", 1, &Allowed::All).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid(invalid) if invalid.errors[0].message.contains("line 6")),
        "{refused}"
    );

    // What only the database can tell.
    let misfit = text("select w.title + 1 as title from work_items w where w.tenant_id = $1");
    let misfit = desk.version(&alpha, "mine", &misfit).await;
    assert!(misfit.report.findings[0].message.contains("operator does not exist"), "{:?}", misfit.report);
    let fails =
        text("select 1 / (length(w.title) - length(w.title)) as n from work_items w where w.tenant_id = $1");
    let fails = desk.version(&alpha, "mine", &fails).await;
    assert!(fails.report.findings[0].message.contains("division by zero"), "{:?}", fails.report);

    let good = text("select w.title as title from work_items w where w.tenant_id = $1");
    assert_eq!(desk.version(&alpha, "mine", &good).await.summary.number, 4);
    desk.authoring.publish(&alpha, "mine", 4, &Allowed::All).await.unwrap();
    // Rolling back to what never passed is not possible.
    assert!(desk.authoring.publish(&alpha, "mine", 2, &Allowed::All).await.is_err());
    assert!(desk.templates.get(&alpha, "mine").await.is_ok());
}

#[tokio::test]
async fn publishing_an_earlier_version_rolls_back() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    fill(&desk.test, &alpha, 3, "alpha").await;
    for words in ["'one'", "'two'"] {
        let source = text(&format!("select {words} as title from work_items w where w.tenant_id = $1"));
        desk.publish(&alpha, "words", &source).await;
    }
    assert_eq!(desk.titles(&alpha, "words").await, ["two"; 3]);
    desk.authoring.publish(&alpha, "words", 1, &Allowed::All).await.unwrap();
    assert_eq!(desk.titles(&alpha, "words").await, ["one"; 3]);
}

#[tokio::test]
async fn a_database_that_cannot_look_now_says_nothing_against_a_template() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    fill(&desk.test, &alpha, 3, "alpha").await;
    let source = "/*\ntitle = 'T'\ndescription = 'D'\ntimeout_ms = 100\n*/\n\
                  select w.title as title from work_items w where w.tenant_id = $1";
    desk.publish(&alpha, "held", source).await;
    // As a migration does, until its end.
    let mut admin = desk.test.admin().await;
    support::run(&mut admin, "begin; lock table work_items in access exclusive mode".into()).await;
    let proved = desk.authoring.prove(&alpha, "held", None).await;
    assert!(matches!(proved, Err(Error::Unavailable { .. })), "{proved:?}");
    let again = desk.authoring.publish(&alpha, "held", 1, &Allowed::All).await;
    assert!(matches!(again, Err(Error::Unavailable { .. })), "{again:?}");
    support::run(&mut admin, "rollback".into()).await;
    let detail = desk.authoring.get(&alpha, "held", None).await.unwrap();
    assert_eq!(state(&detail), TemplateState::Published);
    assert_eq!(desk.titles(&alpha, "held").await.len(), 3);
}

// Security requirement 3.4, with the tenant's own admin as the attacker.
#[tokio::test]
async fn every_attack_is_refused_as_a_draft_with_findings() {
    let desk = Desk::new().await;
    let (alpha, beta) = (desk.test.ctx("alpha").await, desk.test.ctx("beta").await);
    let prover = PgTemplateProver::new(desk.test.db.clone(), Arc::new(SystemClock));
    let mut passed = Vec::new();
    for (name, statement) in ATTACKS {
        let statement = statement.replace("{other}", &beta.tenant.to_string());
        let proved = prover.prove(&alpha, "attack", &text(&statement)).await.unwrap();
        if proved.report.passed() || proved.report.findings.is_empty() {
            passed.push(*name);
        }
    }
    assert!(passed.is_empty(), "{passed:?}");
}

#[tokio::test]
async fn two_tenants_with_a_template_of_the_same_name_do_not_meet() {
    let desk = Desk::new().await;
    let (alpha, beta) = (desk.test.ctx("alpha").await, desk.test.ctx("beta").await);
    fill(&desk.test, &alpha, 6, "alpha").await;
    fill(&desk.test, &beta, 6, "beta").await;
    let all = text("select w.title as title from work_items w where w.tenant_id = $1");
    let done = text("select w.title as title from work_items w where w.tenant_id = $1 and w.status = 'done'");
    desk.publish(&alpha, "items", &all).await;
    assert!(desk.templates.get(&beta, "items").await.is_err(), "the other tenant has no such tool");
    assert!(desk.authoring.get(&beta, "items", None).await.is_err());
    assert!(!desk.store.retire(&beta, "items").await.unwrap());
    desk.publish(&beta, "items", &done).await;
    let (own, theirs) = (desk.titles(&alpha, "items").await, desk.titles(&beta, "items").await);
    assert_eq!((own.len(), theirs.len()), (6, 2));
    assert!(
        own.iter().all(|title| title.starts_with("alpha"))
            && theirs.iter().all(|title| title.starts_with("beta"))
    );
    desk.authoring.retire(&beta, "items").await.unwrap();
    assert_eq!(desk.titles(&alpha, "items").await.len(), 6);
}

#[tokio::test]
async fn a_template_is_a_tool_of_the_keys_it_names_and_of_their_successors() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    let (first, other) = (key(&desk.test, &alpha).await, key(&desk.test, &alpha).await);
    desk.version(&alpha, "mine", OPEN_BUGS).await;
    let unknown = KeyId::new(Uuid::now_v7());
    let refused = desk.authoring.publish(&alpha, "mine", 1, &Allowed::Only([first, unknown].into())).await;
    assert!(refused.unwrap_err().to_string().contains(&unknown.to_string()));
    desk.authoring.publish(&alpha, "mine", 1, &Allowed::Only([first].into())).await.unwrap();
    assert!(desk.templates.get(&as_key(&alpha, first), "mine").await.is_ok());
    assert!(desk.templates.get(&as_key(&alpha, other), "mine").await.is_err());
    // Both lists narrow.
    let none = Grant { templates: Allowed::Only(["find_work_items".to_owned()].into()), ..Grant::default() };
    let narrowed = Ctx { grant: Arc::new(none), ..as_key(&alpha, first) };
    assert!(desk.templates.get(&narrowed, "mine").await.is_err());

    let next = KeyId::new(Uuid::now_v7());
    let keys = PgAccess::new(desk.test.db.clone(), desk.test.audit());
    let until = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    keys.rotate(&alpha, first, &new_key(next), until).await.unwrap();
    let store = PgAuthoredTemplates::new(desk.test.db.clone(), desk.test.audit());
    let published = store.published(&alpha).await.unwrap();
    assert_eq!(published[0].visible_to, Allowed::Only([first, next].into()));
    let kept: Option<Key> = keys.find(&alpha, next).await.unwrap();
    assert!(kept.is_some());
}

#[tokio::test]
async fn names_of_shipped_templates_and_of_fixed_tools_are_taken_and_a_tenant_has_a_ceiling() {
    let desk = Desk::with_ceiling(2).await;
    let alpha = desk.test.ctx("alpha").await;
    let shadow = desk.authoring.create(&alpha, "find_work_items", OPEN_BUGS).await;
    assert!(matches!(shadow, Err(Error::Conflict { .. })), "{shadow:?}");
    for bad in ["sql_run_template", "Open", "x".repeat(33).as_str()] {
        assert!(
            matches!(desk.authoring.create(&alpha, bad, OPEN_BUGS).await, Err(Error::Invalid(_))),
            "{bad}"
        );
    }
    for name in ["one", "two", "three", "four"] {
        desk.version(&alpha, name, OPEN_BUGS).await;
    }
    // At once, so that none counts before another is there.
    let publish = |name: &'static str| desk.authoring.publish(&alpha, name, 1, &Allowed::All);
    let outcomes = futures::future::join_all(["one", "two", "three", "four"].map(publish)).await;
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Conflict { .. }))).count();
    assert_eq!((outcomes.iter().filter(|outcome| outcome.is_ok()).count(), refused), (2, 2), "{outcomes:?}");
    let published = desk.store.published(&alpha).await.unwrap();
    desk.authoring.retire(&alpha, &published[0].template.name).await.unwrap();
    let next = ["one", "two", "three", "four"]
        .into_iter()
        .find(|name| published.iter().all(|one| one.template.name != *name))
        .unwrap();
    desk.authoring.publish(&alpha, next, 1, &Allowed::All).await.unwrap();
}

#[tokio::test]
async fn what_would_cost_too_much_with_the_tenants_data_is_refused() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    fill(&desk.test, &alpha, 20_000, "alpha").await;
    let cross = text(
        "select a.title as title from work_items a, work_items b where a.tenant_id = $1 and b.tenant_id = $1 \
         and a.title <> b.title order by b.title",
    );
    let refused = desk.version(&alpha, "cross", &cross).await;
    assert!(refused.report.findings[0].message.contains("may cost"), "{:?}", refused.report);
    assert!(refused.report.probes.is_empty(), "it was not run");
}

#[tokio::test]
async fn the_tenants_for_probing_have_rows_in_every_view_and_are_on_no_list() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    desk.version(&alpha, "mine", OPEN_BUGS).await;
    let mut admin = desk.test.admin().await;
    let views: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
         where c.relnamespace = 'published'::regnamespace and c.relkind = 'v' order by 1",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    for view in views {
        #[expect(clippy::disallowed_methods, reason = "a name from the catalog")]
        let statement = sqlx::AssertSqlSafe(format!(
            "select count(distinct tenant_id) from {view} where tenant_id in (select id from tenants where status = 'probe')"
        ));
        let tenants: i64 = sqlx::query_scalar(statement).fetch_one(&mut admin).await.unwrap();
        assert_eq!(tenants, 2, "{view} has no rows of the tenants for probing");
    }
    let tenants = PgTenants::new(desk.test.db.clone(), desk.test.audit());
    let listed: Vec<String> =
        tenants.list().await.unwrap().iter().map(|tenant| tenant.slug.to_string()).collect();
    assert_eq!(listed, ["alpha"]);
    assert!(tenants.by_slug(&"patchbay-probe-1".parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_narrowed_key_manages_no_templates_and_reading_is_not_writing() {
    let desk = Desk::new().await;
    let alpha = desk.test.ctx("alpha").await;
    let narrow = Grant { templates: Allowed::Only(["mine".to_owned()].into()), ..Grant::default() };
    let narrowed = Ctx { grant: Arc::new(narrow), ..alpha.clone() };
    assert!(matches!(desk.authoring.create(&narrowed, "mine", OPEN_BUGS).await, Err(Error::Exceeds { .. })));
    let reads = Ctx { scopes: Scopes::new([Scope::TemplatesRead]).unwrap(), ..alpha.clone() };
    assert!(matches!(desk.authoring.create(&reads, "mine", OPEN_BUGS).await, Err(Error::Forbidden { .. })));
    let page = ListPage { limit: 3, cursor: None };
    let first = desk.authoring.list(&reads, &page).await.unwrap();
    let second = desk.authoring.list(&reads, &ListPage { limit: 200, cursor: first.next }).await.unwrap();
    let names: Vec<&str> = first.items.iter().chain(&second.items).map(|listed| listed.name()).collect();
    assert!(
        names.is_sorted() && names.len() == patchbay_infrastructure::templates::BUILT_IN.len(),
        "{names:?}"
    );
}
