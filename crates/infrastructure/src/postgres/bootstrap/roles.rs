//! The roles and their passwords.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rand::{Rng, RngExt};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use super::BootstrapError;
use crate::vault::{MasterKeys, VaultError};

/// Passwords to set for the roles that log in; `None` leaves the role's as it is.
#[derive(Debug, Clone, Default)]
pub struct RolePasswords {
    /// Of `patchbay_app`.
    pub app: Option<SecretString>,
    /// Of `patchbay_reader`.
    pub reader: Option<SecretString>,
    /// Of `patchbay_queue`.
    pub queue: Option<SecretString>,
    /// Of `patchbay_author`.
    pub author: Option<SecretString>,
}

/// The roles that log in: of [`RolePasswords`] `app`, `reader`, `queue` and `author`.
pub(crate) const LOGINS: [&str; 4] = ["patchbay_app", "patchbay_reader", "patchbay_queue", "patchbay_author"];

impl RolePasswords {
    /// The passwords that every process with these master keys knows, so that nobody configures them. They follow the
    /// wrapping key; the others' are tried by processes that meet a refused login.
    pub async fn derived(master: &MasterKeys) -> Result<Self, VaultError> {
        let [app, reader, queue, author] = master.passwords_to_set(LOGINS).await?;
        Ok(Self { app: Some(app), reader: Some(reader), queue: Some(queue), author: Some(author) })
    }
}

/// Gives the roles these passwords, all in one moment. Those that are logged in stay so.
pub async fn set_passwords(
    admin: &PgConnectOptions,
    passwords: &RolePasswords,
) -> Result<(), BootstrapError> {
    let mut connection = PgConnection::connect_with(admin).await.map_err(BootstrapError::Connect)?;
    let mut attempt = 0;
    let set = loop {
        match try_set_passwords(&mut connection, passwords).await {
            Err(error) if attempt < COLLISIONS && is_collision(&error) => {
                attempt += 1;
                wait_a_little().await;
            }
            other => break other.map_err(BootstrapError::at("setting passwords of roles")),
        }
    };
    drop(connection.close().await);
    set
}

const COLLISIONS: u32 = 40;

/// Creates or corrects the roles. They are shared by all databases of the server, and two migrations of different
/// databases may collide on them: then it is done again.
pub(super) async fn create(
    connection: &mut PgConnection,
    passwords: &RolePasswords,
) -> Result<(), BootstrapError> {
    let mut attempt = 0;
    loop {
        match try_create(connection, passwords).await {
            Err(error) if attempt < COLLISIONS && is_collision(&error) => {
                attempt += 1;
                wait_a_little().await;
            }
            other => return other.map_err(BootstrapError::at("creating roles")),
        }
    }
}

async fn try_create(connection: &mut PgConnection, passwords: &RolePasswords) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(include_str!("roles.sql")).execute(&mut *connection).await?;
    try_set_passwords(connection, passwords).await
}

async fn try_set_passwords(
    connection: &mut PgConnection,
    passwords: &RolePasswords,
) -> Result<(), sqlx::Error> {
    // One message is one transaction: nobody meets a new password of one role and an old one of another.
    let statement: String = LOGINS
        .into_iter()
        .zip([&passwords.app, &passwords.reader, &passwords.queue, &passwords.author])
        .filter_map(|(role, password)| {
            let verifier = verifier(password.as_ref()?.expose_secret());
            Some(format!("alter role {role} password '{verifier}';"))
        })
        .collect();
    #[expect(clippy::disallowed_methods, reason = "constant names and base64")]
    let statement = sqlx::AssertSqlSafe(statement);
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}

async fn wait_a_little() {
    let wait = rand::rng().random_range(5..50);
    tokio::time::sleep(Duration::from_millis(wait)).await;
}

/// Somebody else created or changed the same role at the same moment.
fn is_collision(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| ["42710", "23505", "40P01", "40001"].contains(&code.as_ref()))
            || error.message().contains("tuple concurrently")
    })
}

/// What the server stores of a password (RFC 5803). Made here, so that the password never travels and never stands
/// in the server's log.
fn verifier(password: &str) -> String {
    let mut salt = [0u8; 16];
    rand::rng().fill_bytes(&mut salt);
    verifier_with(password, &salt)
}

fn verifier_with(password: &str, salt: &[u8; 16]) -> String {
    const ITERATIONS: u32 = 4096;
    // PBKDF2 with one block: its length is the hash's.
    let mut block = hmac(password.as_bytes(), &[salt.as_slice(), &1u32.to_be_bytes()].concat());
    let mut salted = block;
    for _ in 1..ITERATIONS {
        block = hmac(password.as_bytes(), &block);
        salted.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    )
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_is_the_one_a_server_makes_of_the_password_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        assert_eq!(
            verifier_with("pencil", &salt),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }
}
