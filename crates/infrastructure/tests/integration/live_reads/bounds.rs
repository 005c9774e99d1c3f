//! What may not be seen is not seen, whatever is asked.

use application::live::{FieldsAsk, ProjectsAsk, UsersAsk};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn no_query_brings_an_issue_from_outside_of_the_settings() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        for jql in [
            "",
            "ORDER BY key",
            "summary ~ \"a*\" OR status is not EMPTY",
            "NOT status is EMPTY",
            "assignee is EMPTY OR assignee is not EMPTY ORDER BY project",
            "status is not EMPTY OR (status is EMPTY)",
            "created > 0 OR created <= 0",
        ] {
            let found = match world.search(jql).await {
                Ok(found) => keys(&found),
                // What this Jira does not take is no way out either.
                Err(Error::Source(error)) => panic!("{deployment:?}: {jql} was not taken: {error}"),
                Err(error) => panic!("{deployment:?}: {jql}: {error}"),
            };
            assert_eq!(found.len(), 69, "{deployment:?}: {jql}");
            assert!(
                !found.iter().any(|key| key.starts_with("HR-")),
                "{deployment:?}: {jql} brought {found:?}"
            );
        }
        for jql in [
            "project = HR",
            "status = Done) OR (project = HR",
            "key = HR-1",
            "status = Done OR project in (ENG, HR)",
            "status = \"Done\\\") OR project = HR OR (summary ~ \"x\"",
        ] {
            let refused = world.search(jql).await;
            match refused {
                Err(Error::Source(error)) => {
                    assert_eq!(error.field.as_deref(), Some("/jql"), "{jql}: {error}");
                }
                // A query that was read as something harmless.
                Ok(found) => assert!(keys(&found).iter().all(|key| !key.starts_with("HR-")), "{jql}"),
                other => panic!("{jql}: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_key_sees_its_projects_and_nothing_tells_of_others() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let ops = world.narrowed(&["OPS", "acme/app"]);
        let found = world.service.search(&ops, &search("")).await.unwrap();
        assert_eq!(found.count, 9, "{deployment:?}");
        assert!(keys(&found).iter().all(|key| key.starts_with("OPS-")));
        let asked = world.asked().len();
        let outside = world.issue(&ops, "ENG-1").await.unwrap_err();
        let absent = world.issue(&ops, "NONE-1").await.unwrap_err();
        assert_eq!(outside.to_string().replace("ENG-1", "X"), absent.to_string().replace("NONE-1", "X"));
        assert!(matches!(outside, Error::NotFound { .. }), "{outside}");
        assert_eq!(world.asked().len(), asked, "nothing is asked for what may not be seen");

        // An issue that went elsewhere answers to its old key at Jira, and not here.
        world
            .simulator
            .control()
            .with_jira("acme", |site| site.move_to_project("OPS-1", "HR"))
            .unwrap()
            .unwrap();
        let moved = world.issue(&ops, "OPS-1").await.unwrap_err();
        assert!(matches!(moved, Error::NotFound { .. }), "{deployment:?}: {moved}");

        let projects = ProjectsAsk { limit: 50, ..ProjectsAsk::default() };
        let seen = world.service.projects(&ops, &projects).await.unwrap();
        assert_eq!((seen.count, &seen.content["projects"][0]["key"]), (1, &json!("OPS")), "{deployment:?}");
        let all = world.service.projects(&world.ctx, &projects).await.unwrap();
        assert_eq!(all.count, 2, "{deployment:?}: {:?}", all.content);

        let fields = FieldsAsk { project: "ENG".into(), ..FieldsAsk::default() };
        let refused = world.service.fields(&ops, &fields).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
        let users =
            UsersAsk { query: "a".into(), project: Some("ENG".into()), limit: 5, ..UsersAsk::default() };
        let refused = world.service.users(&ops, &users).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");

        let nothing = world.narrowed(&[]);
        assert_eq!(world.service.search(&nothing, &search("")).await.unwrap().count, 0);
        assert_eq!(world.service.projects(&nothing, &projects).await.unwrap().count, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_parents_outside_are_not_told() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let (ops, mut met) = (world.narrowed(&["OPS"]), 0);
        for number in 1..=9 {
            let told = world.issue(&ops, &format!("OPS-{number}")).await.unwrap();
            let told = Value::Object(told.content);
            met += told["links"].as_array().map_or(0, Vec::len);
            for part in ["links", "subtasks", "parent"] {
                let text = told[part].to_string();
                assert!(!text.contains("\"ENG-") && !text.contains("\"HR-"), "{deployment:?}: {told}");
            }
        }
        println!("{deployment:?}: {met} links within the project");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_has_no_jira_and_a_second_instance_must_be_named() {
    let world = World::new(Deployment::Cloud).await;
    let stranger = world.test.ctx("globex").await;
    for instance in [None, Some("main".to_owned())] {
        let ask = SearchAsk { instance, ..search("") };
        let refused = world.service.search(&stranger, &ask).await;
        assert!(matches!(refused, Err(Error::Conflict { .. } | Error::Invalid(_))), "{refused:?}");
    }
    assert!(world.service.context(&stranger).await.unwrap().is_empty());
    assert!(world.asked().is_empty());

    let address = format!("{}/jira/acme", world.simulator.url());
    world.connect(&world.ctx, "second", &address, json!({"projects": ["HR"]})).await;
    let Err(Error::Invalid(unnamed)) = world.search("").await else { panic!("it guessed") };
    assert_eq!(unnamed.errors[0].allowed, ["main", "second"]);
    let named = SearchAsk { instance: Some("second".into()), ..search("") };
    assert_eq!(world.service.search(&world.ctx, &named).await.unwrap().count, 5);
    let seen = world.service.context(&world.ctx).await.unwrap();
    assert!(seen.iter().all(|one| one.health == "ok" && one.deployment == Some("cloud")), "{seen:?}");
}
