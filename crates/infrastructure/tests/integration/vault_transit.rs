//! A key service in the place of a master key.
//!
//! The service in this test is ours, written from the documentation of Vault's transit API: encrypt and decrypt with
//! real AES-256-GCM and associated data, HMACs, versions of a key, and the ways it refuses. No Vault was asked.
#![allow(clippy::disallowed_types, reason = "this server is not the product's")]

use crate::support;

use std::sync::{Arc, Mutex};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use application::ports::{MacPurpose, SecretRef, StoreError, Vault};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::InstanceId;
use hmac::{Hmac, Mac};
use patchbay_infrastructure::postgres::{RolePasswords, migrate};
use patchbay_infrastructure::vault::{
    MasterKeys, PgVault, TransitKey, TransitSettings, TransitToken, VaultError,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;
use support::{TestDb, master_key};
use uuid::Uuid;

const TOKEN: &str = "hvs.canary-token-0123456789";
const SECRET: &[u8] = b"ghp_canary-0123456789";

/// How the service answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Sealed,
    /// Sealed for this many requests, then well.
    SealedFor(u32),
    Garbled,
}

#[derive(Debug)]
struct Service {
    versions: Vec<[u8; 32]>,
    oldest_to_decrypt: usize,
    mood: Mood,
    token: String,
    requests: u32,
}

type Shared = Arc<Mutex<Service>>;

fn refusal(status: StatusCode, text: &str) -> (StatusCode, String) {
    // An echo of the token, as a careless proxy might make it.
    (status, json!({"errors": [format!("{text} {TOKEN}")]}).to_string())
}

async fn answer(
    State(service): State<Shared>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut service = service.lock().unwrap();
    service.requests += 1;
    match service.mood {
        Mood::Sealed => return refusal(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed"),
        Mood::SealedFor(left) => {
            service.mood = if left <= 1 { Mood::Well } else { Mood::SealedFor(left - 1) };
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed");
        }
        Mood::Garbled => return (StatusCode::OK, format!("{{\"data\": {{\"ciphertext\": \"{TOKEN}\"}}}}")),
        Mood::Well => {}
    }
    if headers.get("x-vault-token").is_none_or(|token| token != service.token.as_str()) {
        return refusal(StatusCode::FORBIDDEN, "permission denied");
    }
    let Some(path) = path.strip_prefix("transit/") else {
        return refusal(StatusCode::NOT_FOUND, "no handler for route");
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "failed to parse JSON input");
    };
    let bytes = |name: &str| STANDARD.decode(body[name].as_str().unwrap_or_default()).unwrap();
    let latest = service.versions.len();
    let data = match path {
        "encrypt/patchbay" => {
            let nonce: [u8; 12] = Uuid::new_v4().as_bytes()[..12].try_into().unwrap();
            let payload = Payload { msg: &bytes("plaintext"), aad: &bytes("associated_data") };
            let sealed =
                Aes256Gcm::new(&service.versions[latest - 1].into()).encrypt(&nonce.into(), payload).unwrap();
            let text = STANDARD.encode([nonce.as_slice(), &sealed].concat());
            json!({"ciphertext": format!("vault:v{latest}:{text}"), "key_version": latest})
        }
        "decrypt/patchbay" => {
            let text = body["ciphertext"].as_str().unwrap_or_default();
            let Some((version, text)) = text.strip_prefix("vault:v").and_then(|text| text.split_once(':'))
            else {
                return refusal(StatusCode::BAD_REQUEST, "invalid ciphertext: no prefix");
            };
            let version: usize = version.parse().unwrap();
            if version < service.oldest_to_decrypt {
                let text = "ciphertext or signature version is disallowed by policy (too old)";
                return refusal(StatusCode::BAD_REQUEST, text);
            }
            let sealed = STANDARD.decode(text).unwrap();
            let (nonce, sealed) = sealed.split_first_chunk::<12>().unwrap();
            let payload = Payload { msg: sealed, aad: &bytes("associated_data") };
            match Aes256Gcm::new(&service.versions[version - 1].into()).decrypt(nonce.into(), payload) {
                Ok(plain) => json!({"plaintext": STANDARD.encode(plain)}),
                Err(_) => return refusal(StatusCode::BAD_REQUEST, "cipher: message authentication failed"),
            }
        }
        "hmac/patchbay/sha2-256" => {
            let asked = usize::try_from(body["key_version"].as_u64().unwrap()).unwrap();
            let version = if asked == 0 { latest } else { asked };
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&service.versions[version - 1]).unwrap();
            mac.update(&bytes("input"));
            json!({"hmac": format!("vault:v{version}:{}", STANDARD.encode(mac.finalize().into_bytes()))})
        }
        _ => return refusal(StatusCode::BAD_REQUEST, "encryption key not found"),
    };
    (StatusCode::OK, json!({"request_id": Uuid::new_v4(), "data": data}).to_string())
}

async fn serve() -> (Shared, String) {
    let service = Service {
        versions: vec![[41; 32]],
        oldest_to_decrypt: 1,
        mood: Mood::Well,
        token: TOKEN.to_owned(),
        requests: 0,
    };
    let shared = Arc::new(Mutex::new(service));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/{*path}", post(answer)).with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (shared, url)
}

fn transit(url: &str, mount: &str, key: &str, token: TransitToken) -> MasterKeys {
    let settings = TransitSettings { url: url.parse().unwrap(), mount: mount.into(), key: key.into(), token };
    MasterKeys::transit(TransitKey::new(settings).unwrap())
}

fn good(url: &str) -> MasterKeys {
    transit(url, "transit", "patchbay", TransitToken::Value(TOKEN.to_owned().into()))
}

fn place() -> SecretRef {
    SecretRef::InstanceCredential(InstanceId::new(Uuid::now_v7()))
}

async fn installed(keys: &MasterKeys) -> TestDb {
    let test = TestDb::empty().await;
    migrate(&test.urls.admin, &RolePasswords::default(), keys).await.unwrap();
    test
}

#[tokio::test]
async fn an_installation_lives_on_a_key_service_and_asks_it_rarely() {
    let (service, url) = serve().await;
    let test = installed(&good(&url)).await;
    let vault = PgVault::open(test.db.clone(), good(&url)).await.unwrap();
    let (ctx, place) = (test.ctx("alpha").await, place());
    let sealed = vault.seal(&ctx, place, SECRET).await.unwrap();
    let other = PgVault::open(test.db.clone(), good(&url)).await.unwrap();
    assert_eq!(other.open(&ctx, place, &sealed).await.unwrap().as_slice(), SECRET);
    let key = "A".repeat(32).into();
    assert_eq!(vault.mac(MacPurpose::ApiKey, &key), other.mac(MacPurpose::ApiKey, &key));

    let asked = service.lock().unwrap().requests;
    for _ in 0..50 {
        let sealed = vault.seal(&ctx, place, SECRET).await.unwrap();
        vault.open(&ctx, place, &sealed).await.unwrap();
    }
    assert_eq!(service.lock().unwrap().requests, asked, "unwrapped keys are remembered");
}

// Security requirement 53, with the service's own check of the associated data.
#[tokio::test]
async fn a_wrapped_key_moved_to_another_tenant_does_not_open() {
    let (_service, url) = serve().await;
    let test = installed(&good(&url)).await;
    let vault = PgVault::open(test.db.clone(), good(&url)).await.unwrap();
    let (alpha, beta, place) = (test.ctx("alpha").await, test.ctx("beta").await, place());
    vault.seal(&alpha, place, SECRET).await.unwrap();
    sqlx::query(
        "insert into tenant_data_keys (tenant_id, id, kek_id, wrapped)
         select $1, id, kek_id, wrapped from tenant_data_keys where tenant_id = $2",
    )
    .bind(beta.tenant.as_uuid())
    .bind(alpha.tenant.as_uuid())
    .execute(&mut test.admin().await)
    .await
    .unwrap();
    let error = vault.seal(&beta, place, SECRET).await.unwrap_err();
    assert!(format!("{error:?}").contains("Sealed"), "{error:?}");
}

// Security requirement 55.
#[tokio::test]
async fn another_version_of_the_services_key_is_rotated_to() {
    let (service, url) = serve().await;
    let test = installed(&good(&url)).await;
    let vault = PgVault::open(test.db.clone(), good(&url)).await.unwrap();
    let (ctx, place) = (test.ctx("alpha").await, place());
    let sealed = vault.seal(&ctx, place, SECRET).await.unwrap();
    service.lock().unwrap().versions.push([42; 32]);
    let status = vault.status().await.unwrap();
    assert!(status.current.ends_with(":v2"), "{status:?}");
    assert_eq!(status.left(), 3, "{status:?}");
    assert!(status.wrapped_by.iter().all(|by| by.opens && by.key.ends_with(":v1")), "{status:?}");

    let rotated = vault.rotate(&test.urls.admin, |_, _| ()).await.unwrap();
    assert_eq!((rotated.data_keys, rotated.deployment_secrets, rotated.left), (1, 2, 0), "{rotated:?}");
    service.lock().unwrap().oldest_to_decrypt = 2;
    let fresh = PgVault::open(test.db.clone(), good(&url)).await.unwrap();
    assert_eq!(fresh.open(&ctx, place, &sealed).await.unwrap().as_slice(), SECRET);

    service.lock().unwrap().oldest_to_decrypt = 3;
    let error = PgVault::open(test.db.clone(), good(&url)).await.unwrap_err().to_string();
    assert!(error.contains("lower its min_decryption_version"), "{error}");
}

// Security requirement 55.
#[tokio::test]
async fn an_installation_moves_from_a_master_key_to_a_service_and_back() {
    let (_service, url) = serve().await;
    let settings = || TransitSettings {
        url: url.parse().unwrap(),
        mount: "transit".into(),
        key: "patchbay".into(),
        token: TransitToken::Value(TOKEN.to_owned().into()),
    };
    let key = || TransitKey::new(settings()).unwrap();
    let test = TestDb::new().await;
    let (ctx, place) = (test.ctx("alpha").await, place());
    let sealed = test.vault().await.seal(&ctx, place, SECRET).await.unwrap();
    let before = PgVault::open(test.db.clone(), MasterKeys::local(master_key()).accepting_transit(key()))
        .await
        .unwrap();
    let after = MasterKeys::transit(key()).accepting([master_key()]);
    let there = PgVault::open(test.db.clone(), &after)
        .await
        .unwrap()
        .rotate(&test.urls.admin, |_, _| ())
        .await
        .unwrap();
    assert_eq!((there.data_keys, there.deployment_secrets, there.left), (1, 2, 0), "{there:?}");
    for vault in [&before, &PgVault::open(test.db.clone(), good(&url)).await.unwrap()] {
        assert_eq!(vault.open(&ctx, place, &sealed).await.unwrap().as_slice(), SECRET);
    }
    PgVault::open(test.db.clone(), master_key())
        .await
        .expect_err("the master key alone is not enough any more");
    let back = before.rotate(&test.urls.admin, |_, _| ()).await.unwrap();
    assert_eq!((back.data_keys, back.deployment_secrets, back.left), (1, 2, 0), "{back:?}");
    assert_eq!(test.vault().await.open(&ctx, place, &sealed).await.unwrap().as_slice(), SECRET);
}

// Security requirements 57 and 58.
#[tokio::test]
async fn each_refusal_says_what_to_do_and_never_the_token() {
    let (service, url) = serve().await;
    let test = installed(&good(&url)).await;
    let token = || TransitToken::Value(TOKEN.to_owned().into());
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let stale = TransitToken::Value("hvs.expired-canary-token".to_owned().into());
    let no_file = TransitToken::File("/nonexistent/token".into());
    for (mood, keys, transient, says) in [
        (Mood::Sealed, good(&url), true, "is sealed or in maintenance: unseal it"),
        (Mood::Well, transit(&url, "transit", "patchbay", stale), false, "refuses the token"),
        (
            Mood::Well,
            transit(&url, "transit", "patchbay", no_file),
            false,
            "/nonexistent/token cannot be read",
        ),
        (Mood::Well, transit(&closed, "transit", "patchbay", token()), true, "cannot be reached"),
        (Mood::Well, transit(&url, "elsewhere", "patchbay", token()), false, "PATCHBAY_TRANSIT_MOUNT"),
        (Mood::Well, transit(&url, "transit", "other", token()), false, "check PATCHBAY_TRANSIT_KEY"),
        (Mood::Garbled, good(&url), false, "in a form that transit does not have"),
    ] {
        service.lock().unwrap().mood = mood;
        let error = keys.current().await.unwrap_err();
        let text = format!("{error} {error:?} {keys:?}");
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("canary"), "{text}");
        let stored: StoreError = error.into();
        assert_eq!(matches!(stored, StoreError::Unavailable(_)), transient, "{stored:?}");
    }
    service.lock().unwrap().mood = Mood::SealedFor(2);
    PgVault::open(test.db.clone(), good(&url)).await.expect("two refusals are got over");
    let wrong = PgVault::open(test.db.clone(), master_key()).await.unwrap_err();
    assert!(matches!(wrong, VaultError::WrongMasterKey { .. }), "{wrong:?}");
}

#[tokio::test]
async fn a_token_that_an_agent_renews_in_its_file_is_taken_up() {
    let (service, url) = serve().await;
    let file = std::env::temp_dir().join(format!("patchbay-token-{}", Uuid::new_v4().simple()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let keys = transit(&url, "transit", "patchbay", TransitToken::File(file.clone()));
    keys.current().await.unwrap();
    service.lock().unwrap().token = "hvs.next".to_owned();
    keys.current().await.expect_err("the old token is refused");
    std::fs::write(&file, "hvs.next\n").unwrap();
    keys.current().await.expect("the new token is read");
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn the_passwords_of_the_roles_follow_the_services_key() {
    let (service, url) = serve().await;
    let first = RolePasswords::derived(&good(&url)).await.unwrap();
    let again = RolePasswords::derived(&good(&url)).await.unwrap();
    let shown = |passwords: &RolePasswords| passwords.app.as_ref().unwrap().expose_secret().to_owned();
    assert_eq!(shown(&first), shown(&again), "every process has the same");
    assert_eq!(shown(&first).len(), 64);
    service.lock().unwrap().versions.push([42; 32]);
    assert_ne!(shown(&RolePasswords::derived(&good(&url)).await.unwrap()), shown(&first));
}
