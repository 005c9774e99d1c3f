//! Files of issues, and files on their way to one.

use application::live::{FileAsk, FileForm, LinkTo, MOST_IMAGE, MOST_OF_A_FILE, MOST_TEXT, UploadAsk};
use application::ports::UploadStore;
use domain::{JiraPolicy, KeyId, Principal};
use futures::TryStreamExt;
use patchbay_infrastructure::postgres::PgUploads;

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand so on";

impl World {
    fn attach(&self, key: &str, name: &str, content: &[u8]) -> String {
        let content = content.to_vec();
        self.simulator
            .control()
            .with_jira("acme", |site| site.attach_file(key, name, content))
            .unwrap()
            .unwrap()
    }

    /// The caller as the holder of a key, on whose behalf links are made.
    fn holder(&self, id: u128) -> Ctx {
        let principal = Principal::Key { id: KeyId::new(Uuid::from_u128(id)), name: "k".into() };
        Ctx { principal, ..self.ctx.clone() }
    }
}

fn file(key: &str, file: &str, form: FileForm) -> FileAsk {
    FileAsk { key: key.into(), file: file.into(), form, ..FileAsk::default() }
}

fn pointer(error: &Error) -> String {
    match error {
        Error::Invalid(invalid) => invalid.errors[0].pointer.clone(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_told_as_what_it_is_and_no_more_of_it_than_fits() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        world.attach("ENG-7", "short.log", "Grüße\u{202e} \u{0}".trim_end_matches('\0').as_bytes());
        world.attach("ENG-7", "long.log", "line\n".repeat(100_000).as_bytes());
        world.attach("ENG-7", "photo.txt", PNG);
        world.attach("ENG-7", "fake.png", b"<script>alert(1)</script>");
        world.attach("ENG-7", "large.png", &[PNG, &vec![0; MOST_IMAGE]].concat());
        let told = async |name, form| world.service.file(&world.ctx, &file("ENG-7", name, form)).await;

        let short = told("short.log", FileForm::Text).await.unwrap().answer;
        assert_eq!(short.content["text"], "Grüße ", "{deployment:?}: {short:?}");
        assert!(short.content["warnings"].to_string().contains("invisible"), "{short:?}");
        let long = told("long.log", FileForm::Text).await.unwrap().answer;
        assert_eq!(long.content["text"].as_str().map(str::len), Some(MOST_TEXT));
        assert!(
            long.truncated && long.content["cut"].to_string().contains("of 500000 bytes"),
            "{:?}",
            long.content["cut"]
        );

        let photo = told("photo.txt", FileForm::Image).await.unwrap();
        let image = photo.image.expect("it is a picture by its content");
        assert_eq!((image.mime_type, &image.bytes[..]), ("image/png", PNG));
        for (name, form) in
            [("photo.txt", FileForm::Text), ("fake.png", FileForm::Image), ("large.png", FileForm::Image)]
        {
            let refused = told(name, form).await.unwrap_err();
            assert_eq!(pointer(&refused), "/as", "{deployment:?}: {name}: {refused}");
        }
        let unknown = told("none.log", FileForm::Text).await.unwrap_err();
        let Error::Source(unknown) = unknown else { panic!("{unknown}") };
        assert!(unknown.allowed.contains(&"short.log".to_owned()), "{unknown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_a_file_as_long_as_its_caller_may_have_it() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let content = b"all of it\n".repeat(50_000);
        let id = world.attach("ENG-7", "whole.bin", &content);
        world.attach("HR-1", "secret.txt", b"secret");
        let caller = world.holder(7);
        let told = world.service.file(&caller, &file("ENG-7", &id, FileForm::Link)).await.unwrap();
        assert!(!Value::Object(told.answer.content.clone()).to_string().contains("/jira/acme"), "{told:?}");
        let signed = told.link.expect("a key's holder gets a link");
        let link = world.service.read_link(&signed.token).expect("it is good");
        assert_eq!(link.to, LinkTo::File { key: "ENG-7".into(), id: id.clone() });
        let download = world.service.download(&caller, &link).await.unwrap();
        let bytes = download.bytes.try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!((bytes.len(), download.found.file.size), (content.len(), content.len() as u64));
        assert!(bytes == content, "{deployment:?}");

        // Narrowed since, and what was never to be seen.
        let narrowed = world.narrowed(&["OPS"]);
        let refused = world.service.download(&narrowed, &link).await.unwrap_err();
        assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
        for key in ["HR-1", "ENG-99999"] {
            let outside =
                world.service.file(&caller, &file(key, "secret.txt", FileForm::Link)).await.unwrap_err();
            assert!(matches!(outside, Error::NotFound { .. }), "{key}: {outside}");
        }
        let foreign = world.test.ctx("globex").await;
        assert!(world.service.download(&foreign, &link).await.is_err(), "another tenant followed it");

        // Moved out of sight, and hidden since.
        world
            .simulator
            .control()
            .with_jira("acme", |site| site.move_to_project("ENG-7", "HR"))
            .unwrap()
            .unwrap();
        let moved = world.service.download(&caller, &link).await.unwrap_err();
        assert!(matches!(moved, Error::NotFound { .. }), "{moved}");
        world
            .simulator
            .control()
            .with_jira("acme", |site| site.move_to_project("ENG-7", "OPS"))
            .unwrap()
            .unwrap();
        assert!(world.service.download(&caller, &link).await.is_ok(), "{deployment:?}");
        let policy = JiraPolicy { hidden_fields: ["attachment".to_owned()].into(), ..JiraPolicy::default() };
        application::ports::PolicyStore::replace(&*world.policies, &world.ctx, &policy, None).await.unwrap();
        let hidden = world.service.download(&caller, &link).await.unwrap_err();
        assert_eq!(pointer(&hidden), "/attachment");
        for form in [FileForm::Link, FileForm::Text, FileForm::Image] {
            let hidden = world.service.file(&caller, &file("ENG-7", &id, form)).await.unwrap_err();
            assert_eq!(pointer(&hidden), "/attachment", "{form:?}");
        }
        let upload = UploadAsk { filename: "a.txt".into(), size: 1, ..UploadAsk::default() };
        assert_eq!(pointer(&world.service.create_upload(&caller, &upload).await.unwrap_err()), "/attachment");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_its_callers_own_as_large_as_announced_and_bounded_for_the_tenant() {
    let world = World::new(Deployment::Cloud).await;
    let caller = world.holder(7);
    let announce = |size| UploadAsk { filename: "a.bin".into(), size, ..UploadAsk::default() };
    for (size, name) in [(0, "a.bin"), (MOST_OF_A_FILE + 1, "a.bin"), (1, "../a.bin")] {
        let ask = UploadAsk { filename: name.into(), size, ..UploadAsk::default() };
        assert!(world.service.create_upload(&caller, &ask).await.is_err(), "{size} {name}");
    }
    let told = world.service.create_upload(&caller, &announce(3)).await.unwrap();
    let link = world.service.read_link(&told.link.unwrap().token).unwrap();
    assert_eq!(world.service.announced(&caller, &link).await.unwrap(), 3);
    let short = world.service.receive(&caller, &link, b"ab".to_vec()).await.unwrap_err();
    assert!(matches!(short, Error::Invalid(_)), "{short}");
    let received = world.service.receive(&caller, &link, b"abc".to_vec()).await.unwrap();
    assert_eq!(received.digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(world.service.receive(&caller, &link, b"abc".to_vec()).await.unwrap(), received);
    let other = world.service.receive(&caller, &link, b"abd".to_vec()).await.unwrap_err();
    assert!(matches!(other, Error::Conflict { .. }), "{other}");
    for stranger in
        [world.holder(8), Ctx { principal: caller.principal.clone(), ..world.test.ctx("globex").await }]
    {
        assert!(world.service.receive(&stranger, &link, b"abc".to_vec()).await.is_err());
    }

    // Room for ten of the largest, for the tenant as a whole; each tenant has its own.
    let uploads = PgUploads::new(world.test.db.clone());
    let mut taken = 0;
    let refused = loop {
        match world.service.create_upload(&world.holder(taken), &announce(MOST_OF_A_FILE)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    assert_eq!(taken, 9, "and the small one");
    // What expires makes room, and a worker removes it of every tenant.
    let expire = "update uploads set expires_at = now() - interval '1 s'";
    crate::support::run(&mut world.test.admin().await, expire.to_owned()).await;
    assert_eq!(uploads.find(&caller, received.id).await.unwrap(), None);
    assert_eq!(uploads.prune().await.unwrap(), 10);
    assert_eq!(uploads.prune().await.unwrap(), 0);
    assert!(world.service.create_upload(&caller, &announce(MOST_OF_A_FILE)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn room_for_files_is_not_given_twice_to_callers_that_ask_at_once() {
    let world = World::new(Deployment::Cloud).await;
    let large = UploadAsk { filename: "a.bin".into(), size: MOST_OF_A_FILE, ..UploadAsk::default() };
    let callers: Vec<Ctx> = (0..16).map(|at| world.holder(at)).collect();
    let asked = callers.iter().map(|caller| world.service.create_upload(caller, &large));
    let given = futures::future::join_all(asked).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(given, 10);
}
