use super::*;
use crate::egress::{EgressClient, EgressPolicy};

fn asana() -> Asana {
    Asana::new(EgressClient::new(EgressPolicy::default()).unwrap())
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    hex::encode(mac.chain_update(body).finalize().into_bytes())
}

fn receive(headers: &[(&str, &str)], body: &[u8], secrets: &[&str]) -> Result<Received, Refusal> {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    asana().receive(&Delivery { headers: &headers, body }, &secrets)
}

#[test]
fn a_delivery_is_taken_with_any_of_the_secrets_and_no_other() {
    let body = br#"{"events":[
        {"action":"changed","resource":{"gid":"22","resource_type":"task"},"parent":null},
        {"action":"added","resource":{"gid":"77","resource_type":"story"},"parent":{"gid":"22","resource_type":"task"}},
        {"action":"changed","resource":{"gid":"1","resource_type":"project"},"parent":null}]}"#;
    let signature = sign("second", body);
    let Ok(Received::Verified { delivery_id, event, hints }) =
        receive(&[(SIGNATURE, &signature)], body, &["first", "second"])
    else {
        panic!("refused")
    };
    assert_eq!(event, "project.changed,story.added,task.changed");
    let item = Hint::Item { source_id: Some("22".into()), ref_key: Some("22".into()), key: None };
    assert_eq!(hints, Hints::from([item, Hint::Reference]));
    assert_eq!(delivery_id.len(), 64);
    let mut changed = body.to_vec();
    changed.push(b' ');
    assert!(matches!(receive(&[(SIGNATURE, &signature)], &changed, &["second"]), Err(Refusal::Forged)));
    assert!(matches!(receive(&[(SIGNATURE, &signature)], body, &["first"]), Err(Refusal::Forged)));
    assert!(matches!(receive(&[(SIGNATURE, &signature)], body, &[]), Err(Refusal::Forged)));
    assert!(matches!(receive(&[(SIGNATURE, "zz")], body, &["second"]), Err(Refusal::Forged)));
    assert!(matches!(receive(&[], body, &["second"]), Err(Refusal::Unsigned)));
    let twice = [(SIGNATURE, signature.as_str()), (SIGNATURE, signature.as_str())];
    assert!(matches!(receive(&twice, body, &["second"]), Err(Refusal::Unsigned)));
}

#[test]
fn a_handshake_is_answered_with_its_secret_and_a_heartbeat_points_nowhere() {
    let Ok(Received::Handshake { secret, headers }) = receive(&[(SECRET, "b537207f")], b"{}", &[]) else {
        panic!("no handshake")
    };
    assert_eq!((secret.expose_secret(), headers), ("b537207f", vec![(SECRET, "b537207f".to_owned())]));
    assert!(matches!(receive(&[(SECRET, "a b\n")], b"", &[]), Err(Refusal::Malformed)));
    let body = br#"{"events":[]}"#;
    let Ok(Received::Verified { event, hints, .. }) = receive(&[(SIGNATURE, &sign("s", body))], body, &["s"])
    else {
        panic!("refused")
    };
    assert_eq!((event.as_str(), hints.len()), ("heartbeat", 0));
    assert!(matches!(receive(&[(SIGNATURE, &sign("s", b"[]"))], b"[]", &["s"]), Err(Refusal::Malformed)));
}
