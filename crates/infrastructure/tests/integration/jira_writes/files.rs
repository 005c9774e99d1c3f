//! Files attached to issues, and read again.

use application::ports::{Bounds, ItemWrite, LiveFileAsk, LiveFiles, Look, SourceErrorKind};
use domain::{FileContent, NewAttachment};
use futures::TryStreamExt;
use simulator::{FaultKind, FaultMatch, FaultRule};
use uuid::{NoContext, Timestamp, Uuid};

use super::{BOTH, Tracker, found, marker};

fn file(name: &str, content: &[u8]) -> NewAttachment {
    NewAttachment {
        upload: Uuid::now_v7(),
        filename: name.into(),
        size: content.len() as u64,
        // A line that no content here holds.
        digest: "c0ffee".repeat(10),
        content: Some(FileContent::new(content.to_vec())),
    }
}

impl Tracker {
    fn files(&self) -> &dyn LiveFiles {
        self.adapter.live().and_then(|reader| reader.files()).expect("Jira gives files")
    }

    async fn content(&self, key: &str, file: &str) -> Vec<u8> {
        let within = Bounds::default();
        let ask = LiveFileAsk { key, file, within: &within };
        let found = self.files().find(&self.connection, &ask).await.unwrap();
        let bytes = self.files().open(&self.connection, &found.file).await.unwrap();
        bytes.try_collect::<Vec<_>>().await.unwrap().concat()
    }

    fn lose_the_next_answer(&self) {
        let matching = FaultMatch {
            method: Some("POST".into()),
            path_contains: Some("/attachments".into()),
            ..FaultMatch::default()
        };
        self.simulator.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
    }
}

#[tokio::test]
async fn a_file_is_attached_as_it_is_and_read_again_whatever_it_is_called() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Has files").await;
        let content = b"\0\r\n--patchbay\r\n\xff".repeat(1_000);
        for name in ["plain.txt", "Grüße, \"Teil\" 2 + 50%.pdf"] {
            let (file, marker) = (file(name, &content), marker());
            let write = ItemWrite::Attach(key.clone(), file.clone());
            assert_eq!(tracker.look(write.clone(), &marker).await, Look::Absent, "{deployment:?}");
            let before = tracker.changes().len();
            let told = tracker.writer().rehearse(&tracker.connection, &write).await.unwrap();
            assert_eq!(tracker.changes().len(), before, "{deployment:?}: a rehearsal attached it");
            let attached = tracker.writer().attach_file(&tracker.connection, &key, &file).await.unwrap();
            assert_eq!(attached.changed, told.changed, "{deployment:?}");
            let id = attached.attachment_id.clone().expect("its id is told");
            assert_eq!(tracker.content(&key, &id).await, content, "{deployment:?}");
            assert_eq!(tracker.content(&key, name).await, content, "{deployment:?}");
            let same = found(tracker.look(write, &marker).await);
            assert_eq!(same["attachment_id"].as_str(), Some(id.as_str()), "{deployment:?}");
        }
    }
}

#[tokio::test]
async fn a_lost_attachment_is_known_by_name_size_author_and_time() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Has files").await;
        let (report, early) = (file("report.txt", b"some bytes"), marker());
        let write = |file: &NewAttachment| ItemWrite::Attach(key.clone(), file.clone());
        // Somebody else's of the same name and size is not it.
        let attach = |content: &'static [u8]| {
            tracker
                .simulator
                .control()
                .with_jira("acme", |site| site.attach_file(&key, "report.txt", content))
        };
        attach(b"same bytes").unwrap().unwrap();
        assert_eq!(tracker.look(write(&report), &early).await, Look::Absent, "{deployment:?}");

        tracker.lose_the_next_answer();
        let lost = tracker.writer().attach_file(&tracker.connection, &key, &report).await.unwrap_err();
        assert!(lost.kind.is_transient(), "{lost:?}");
        found(tracker.look(write(&report), &early).await);
        let other = file("report.txt", b"other length");
        assert_eq!(tracker.look(write(&other), &early).await, Look::Absent, "{deployment:?}");
        // One that was meant after the file came may have been it only if clocks differ: nobody knows.
        let (seconds, _) = Uuid::now_v7().get_timestamp().unwrap().to_unix();
        let in_a_minute = Timestamp::from_unix(NoContext, seconds + 60, 0);
        let late = format!("patchbay-{}", Uuid::new_v7(in_a_minute).simple());
        assert_eq!(tracker.look(write(&report), &late).await, Look::Unsure, "{deployment:?}");
        assert_eq!(tracker.look(write(&report), "no-time").await, Look::Unsure, "{deployment:?}");
    }
}

#[tokio::test]
async fn what_jira_does_not_take_is_refused_and_named() {
    for deployment in BOTH {
        let tracker = Tracker::start(deployment).await;
        let key = tracker.make("Has files").await;
        tracker
            .simulator
            .control()
            .with_jira("acme", |site| site.switches_mut().upload_limit = Some(5))
            .unwrap();
        let large = file("large.bin", b"123456");
        let write = ItemWrite::Attach(key.clone(), large.clone());
        for refused in [
            tracker.writer().rehearse(&tracker.connection, &write).await.unwrap_err(),
            tracker.writer().attach_file(&tracker.connection, &key, &large).await.unwrap_err(),
        ] {
            assert_eq!(refused.kind, SourceErrorKind::Rejected, "{deployment:?}: {refused}");
        }
        let used = NewAttachment { content: None, ..large };
        let refused = tracker.writer().attach_file(&tracker.connection, &key, &used).await.unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("/upload_handle"), "{refused}");
        let gone = tracker.writer().attach_file(&tracker.connection, "ENG-99999", &file("a", b"1")).await;
        assert_eq!(gone.unwrap_err().kind, SourceErrorKind::NotFound, "{deployment:?}");

        let within = Bounds::new(Some(["OPS".to_owned()].into()));
        let ask = LiveFileAsk { key: &key, file: "large.bin", within: &within };
        let outside = tracker.files().find(&tracker.connection, &ask).await.unwrap_err();
        assert_eq!(outside.kind, SourceErrorKind::NotFound);
    }
}
