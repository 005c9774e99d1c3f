//! Who may write where: scopes, instances, projects, and the instance's own settings.

use std::collections::BTreeSet;

use application::ports::SourceErrorKind;
use domain::{Allowed, Grant, ItemPatch, Principal, ProjectKey, Role, Scopes};

use super::*;

fn only(keys: &[&str]) -> Allowed<ProjectKey> {
    Allowed::from_list(Some(keys.iter().map(|key| key.parse::<ProjectKey>().unwrap())))
}

impl World {
    fn narrowed(&self, grant: Grant) -> Ctx {
        Ctx { grant: Arc::new(grant), ..self.ctx.clone() }
    }

    /// Requests that change something.
    fn changes(&self) -> usize {
        let read = |path: &str| path.contains("/search") || path.contains("bulkfetch");
        let sent = self.simulator.control().requests();
        sent.iter().filter(|one| one.method != "GET" && !read(&one.path_and_query)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_some_projects_writes_to_these_only_and_what_it_wrote_is_stored() {
    for kind in ALL {
        let world = World::new(kind).await;
        let mut elsewhere = world.new_item("Elsewhere");
        elsewhere.project.clone_from(&world.other);
        let foreign = world.write(ItemWrite::Create(elsewhere.clone()), "made").await.unwrap().item.key;

        let (own, other) = (only(&[&world.project]), only(&[&world.other]));
        let bound = world.narrowed(Grant {
            projects_write: own.clone(),
            projects_read: own.clone(),
            ..Grant::default()
        });
        let made = world.write_as(&bound, ItemWrite::Create(world.new_item("Mine")), "mine").await.unwrap();
        assert!(made.stored, "{kind:?}: what a key of few projects writes is not stored");
        assert_eq!(world.stored(TITLE, &made.item.key).await, "Mine");
        let comment = |key: &str| ItemWrite::Comment(key.into(), World::comment("Here"));
        let commented = world.write_as(&bound, comment(&made.item.key), "here").await.unwrap();
        assert!(commented.stored, "{kind:?}");

        world.simulator.control().reset_requests();
        let patch = ItemPatch { title: Some("Taken".into()), ..ItemPatch::default() };
        let absent = match kind {
            Kind::GitHub => "acme/other#99999",
            Kind::Cloud | Kind::DataCenter => "OPS-99999",
            Kind::Asana => "1299999999999999",
        };
        let unwritable = world.narrowed(Grant {
            projects_write: other.clone(),
            projects_read: own.clone(),
            ..Grant::default()
        });
        let nothing =
            world.narrowed(Grant { projects_write: Allowed::Only(BTreeSet::new()), ..Grant::default() });
        // Who may read only some projects writes to no other, though no list of projects to write bounds it.
        let reads_own = world.narrowed(Grant { projects_read: own.clone(), ..Grant::default() });
        for (ctx, write) in [
            (&reads_own, ItemWrite::Create(elsewhere.clone())),
            (&reads_own, comment(&foreign)),
            (&bound, ItemWrite::Create(elsewhere.clone())),
            (&bound, ItemWrite::Update(foreign.clone(), patch.clone())),
            (&bound, ItemWrite::Transition(foreign.clone(), world.close())),
            (&bound, comment(&foreign)),
            // What is not there is answered like what may not be seen.
            (&bound, comment(absent)),
            (&unwritable, comment(&foreign)),
            (&unwritable, comment(&made.item.key)),
            (&nothing, comment(&made.item.key)),
        ] {
            let refused = world.write_as(ctx, write.clone(), "refused").await;
            assert!(matches!(refused, Err(Error::Exceeds { .. })), "{kind:?}, {write:?}: {refused:?}");
        }
        assert_eq!(world.changes(), 0, "{kind:?}: something was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_instance_or_tenant_or_without_the_scope_writes_nothing() {
    let world = World::new(Kind::Cloud).await;
    let write = || ItemWrite::Create(world.new_item("No"));
    let elsewhere = Allowed::Only([InstanceId::new(Uuid::now_v7())].into());
    let bound = world.narrowed(Grant { instances: elsewhere, ..Grant::default() });
    let stranger = world.test.ctx("globex").await;
    for ctx in [&bound, &stranger] {
        let refused = world.write_as(ctx, write(), "k").await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    }
    let viewer: Scopes = Role::Viewer.scopes();
    let reader = Ctx { scopes: viewer, principal: Principal::System("reader"), ..world.ctx.clone() };
    let refused = world.write_as(&reader, write(), "k").await;
    assert!(matches!(refused, Err(Error::Forbidden { needed: Scope::McpJiraWrite })), "{refused:?}");
    assert_eq!(world.simulator.control().stats().requests, 0);
    let own = Allowed::Only([world.instance.id].into());
    let bound = world.narrowed(Grant { instances: own, ..Grant::default() });
    assert!(world.write_as(&bound, write(), "k").await.unwrap().stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_the_settings_leave_out_is_not_written_to() {
    for kind in ALL {
        let world = World::new(kind).await;
        let mut outside = world.new_item("No");
        outside.project.clone_from(&world.outside);
        let error = source_error(world.write(ItemWrite::Create(outside), "create").await);
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (SourceErrorKind::Rejected, Some("/project")),
            "{error}"
        );
        let key = match kind {
            Kind::GitHub => format!("{}#1", world.outside),
            Kind::Cloud | Kind::DataCenter => "HR-1".to_owned(),
            Kind::Asana => {
                let workspace = world.simulator.control().asana().remove(0);
                let project = workspace.projects.iter().find(|project| project.gid == world.outside).unwrap();
                let inside = |gid: &&String| workspace.tasks[*gid].memberships.len() == 1;
                project.tasks.iter().find(inside).unwrap().clone()
            }
        };
        let patch = ItemPatch { title: Some("No".into()), ..ItemPatch::default() };
        for write in [
            ItemWrite::Update(key.clone(), patch),
            ItemWrite::Transition(key.clone(), world.close()),
            ItemWrite::Comment(key.clone(), World::comment("No")),
        ] {
            let error = source_error(world.write(write.clone(), "outside").await);
            let refused = matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Rejected);
            assert!(refused, "{kind:?}, {write:?}: {error:?}");
        }
        assert_eq!(world.changes(), 0, "{kind:?}: something was sent");
        assert_eq!(world.number("select count(*) from work_items").await, 0);
    }
}
