//! Signatures and hints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use domain::Hint;

use super::*;
use crate::egress::{EgressClient, EgressPolicy};

fn github() -> GitHub {
    GitHub::new(EgressClient::new(EgressPolicy::new(Vec::new())).unwrap())
}

fn sign(body: &[u8], secret: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn headers(signature: &str, event: &str) -> Vec<(String, String)> {
    [("x-hub-signature-256", signature), ("x-github-event", event), ("x-github-delivery", "72d3162e")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

fn receive(body: &[u8], headers: &[(String, String)], secrets: &[&str]) -> Result<Received, Refusal> {
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).to_owned().into()).collect();
    github().receive(&Delivery { headers, body }, &secrets)
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation>
#[test]
fn githubs_own_test_vector_is_right() {
    let signature = hex::decode("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17").unwrap();
    let secret = SecretString::from("It's a Secret to Everybody".to_owned());
    assert!(is_signed(b"Hello, World!", &signature, &secret));
    assert!(!is_signed(b"Hello, World?", &signature, &secret));
    assert!(!is_signed(b"Hello, World!", &signature[..31], &secret));
}

#[test]
fn only_what_is_signed_once_with_a_secret_that_holds_is_taken() {
    let body = br#"{"zen":"Design for failure."}"#;
    let good = headers(&sign(body, "new"), "ping");
    assert!(matches!(receive(body, &good, &["newer", "new"]), Ok(Received::Verified { .. })));
    assert_eq!(receive(body, &good, &["other"]).unwrap_err(), Refusal::Forged);
    assert_eq!(receive(body, &good, &[]).unwrap_err(), Refusal::Forged);
    assert_eq!(receive(b"{}", &good, &["new"]).unwrap_err(), Refusal::Forged);
    assert_eq!(receive(body, &good[1..], &["new"]).unwrap_err(), Refusal::Unsigned);
    let twice: Vec<_> = good.iter().cloned().chain([good[0].clone()]).collect();
    assert_eq!(receive(body, &twice, &["new"]).unwrap_err(), Refusal::Unsigned);
    for signature in ["sha1=00", "sha256=", "sha256=zz", &sign(body, "new")[7..]] {
        assert_eq!(receive(body, &headers(signature, "ping"), &["new"]).unwrap_err(), Refusal::Forged);
    }
    assert_eq!(receive(body, &good[..2], &["new"]).unwrap_err(), Refusal::Malformed);
    assert_eq!(
        receive(b"payload=%7B%7D", &headers(&sign(b"payload=%7B%7D", "n"), "issues"), &["n"]).unwrap_err(),
        Refusal::Malformed
    );
}

fn item(hint: &Hint) -> Option<(bool, &str)> {
    match hint {
        Hint::Item { source_id, key, .. } => Some((source_id.is_some(), key.as_deref()?)),
        _ => None,
    }
}

#[test]
fn a_deleted_comment_and_a_moved_issue_point_at_both() {
    let body = br#"{"action":"deleted","issue":{"id":1,"number":2},"comment":{"id":3},"repository":{"id":4,"full_name":"a/b"}}"#;
    let found = hints::read("issue_comment", body).unwrap();
    assert!(found.contains(&Hint::CommentGone { kind: "comment".into(), source_id: "3".into() }));
    assert!(found.contains(&Hint::Item {
        source_id: Some("1".into()),
        ref_key: Some("4#2".into()),
        key: Some("a/b#2".into())
    }));
    let body =
        br#"{"action":"transferred","issue":{"id":1,"number":2},"repository":{"id":4,"full_name":"a/b"},
        "changes":{"new_issue":{"id":9,"number":7},"new_repository":{"id":5,"full_name":"a/c"}}}"#;
    let found = hints::read("issues", body).unwrap();
    assert_eq!(found.iter().filter_map(item).map(|(_, key)| key).collect::<Vec<_>>(), ["a/b#2", "a/c#7"]);
    let body = br#"{"action":"sub_issue_added","sub_issue":{"id":1,"number":2},"sub_issue_repo":{"id":4,"full_name":"a/b"},
        "parent_issue":{"id":9,"number":7},"repository":{"id":5,"full_name":"a/c"}}"#;
    let found = hints::read("sub_issues", body).unwrap();
    assert_eq!(found.iter().filter_map(item).map(|(_, key)| key).collect::<Vec<_>>(), ["a/b#2", "a/c#7"]);
}

/// Every recorded delivery is read, and its hint is what its event says.
#[test]
fn every_recorded_delivery_leads_where_it_should() {
    let Some(folder) = recorded() else {
        eprintln!("skipped: the recorded deliveries are not there");
        return;
    };
    let mut counted: BTreeMap<String, (usize, usize, usize, usize)> = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let event = entry.unwrap().file_name().into_string().unwrap();
        for file in fs::read_dir(folder.join(&event)).unwrap() {
            let path = file.unwrap().path();
            let body = fs::read(&path).unwrap();
            let received = receive(&body, &headers(&sign(&body, "s"), &event), &["s"]);
            let Ok(Received::Verified { hints, event, .. }) = received else {
                panic!("{}: {received:?}", path.display())
            };
            let sum = counted.entry(event).or_default();
            sum.0 += 1;
            sum.1 += hints.iter().filter_map(item).filter(|(_, key)| key.contains('/')).count();
            sum.2 += hints.iter().filter(|hint| matches!(hint, Hint::CommentGone { .. })).count();
            sum.3 += hints.iter().filter(|hint| matches!(hint, Hint::Reference)).count();
        }
    }
    let found: Vec<_> = counted.iter().map(|(event, sums)| (event.as_str(), *sums)).collect();
    // Event: deliveries, and of their hints items, comments gone, and others.
    assert_eq!(
        found,
        [
            ("github_app_authorization", (1, 0, 0, 0)),
            ("installation", (6, 0, 0, 6)),
            ("installation_repositories", (2, 0, 0, 2)),
            ("issue_comment", (8, 8, 2, 0)),
            ("issues", (28, 30, 0, 0)),
            ("label", (5, 0, 0, 5)),
            ("milestone", (4, 0, 0, 4)),
            ("ping", (3, 0, 0, 0)),
            ("pull_request", (28, 28, 0, 0)),
            ("pull_request_review", (3, 3, 0, 0)),
            ("repository", (12, 0, 0, 12)),
        ]
    );
}

fn recorded() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3)?;
    let folder = above.join("shared/data/github/webhooks");
    folder.is_dir().then_some(folder)
}
