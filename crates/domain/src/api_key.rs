//! API keys: `pb_<env>_<public id>_<secret>_<crc>`.
//!
//! The prefix lets secret scanners find a leaked key, the checksum lets them drop false positives without
//! a lookup (the reasoning of GitHub's token format). The secret has 32 base62 characters, about 190 bits,
//! so one keyed hash is enough to store it by.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PUBLIC_ID_LEN: usize = 12;
const SECRET_LEN: usize = 32;
const CRC_LEN: usize = 6;

/// How many random bytes [`ApiKey::generate`] needs.
pub const RANDOM_BYTES: usize = (PUBLIC_ID_LEN + SECRET_LEN) * 2;

/// A well-formed API key. Whether it is known and valid is for the store to say.
#[derive(Clone)]
pub struct ApiKey {
    env: String,
    public_id: String,
    secret: SecretString,
}

/// Why a text is no API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    /// Not of the form at all.
    #[error("is not of the form pb_<env>_<id>_<secret>_<checksum>")]
    Shape,
    /// Of the form, but a character was lost or changed.
    #[error("has a wrong checksum: it was cut off or mistyped")]
    Checksum,
}

impl ApiKey {
    /// Makes a key from random bytes. `env` is a short lower-case word such as `live` or `demo`.
    pub fn generate(env: &str, random: &[u8; RANDOM_BYTES]) -> Self {
        let text: String = random
            .chunks_exact(2)
            // 16 bits modulo 62: the bias is below 0.1 %.
            .map(|pair| {
                char::from(ALPHABET[usize::from(u16::from_le_bytes([pair[0], pair[1]])) % ALPHABET.len()])
            })
            .collect();
        let (public_id, secret) = text.split_at(PUBLIC_ID_LEN);
        Self { env: env.to_owned(), public_id: public_id.to_owned(), secret: secret.to_owned().into() }
    }

    /// Reads a key and checks its checksum.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let mut parts = text.split('_');
        let (Some("pb"), Some(env), Some(public_id), Some(secret), Some(crc), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedKey::Shape);
        };
        let base62 = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let env_ok = (1..=12).contains(&env.len())
            && env.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !env_ok
            || !base62(public_id, PUBLIC_ID_LEN)
            || !base62(secret, SECRET_LEN)
            || !base62(crc, CRC_LEN)
        {
            return Err(MalformedKey::Shape);
        }
        if checksum(env, public_id, secret) != crc {
            return Err(MalformedKey::Checksum);
        }
        Ok(Self { env: env.to_owned(), public_id: public_id.to_owned(), secret: secret.to_owned().into() })
    }

    /// The part that may be shown and logged; unique.
    pub fn public_id(&self) -> &str {
        &self.public_id
    }

    /// The secret part, for hashing.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// The whole key. To be shown once, to the one who made it.
    pub fn reveal(&self) -> SecretString {
        let secret = self.secret.expose_secret();
        let crc = checksum(&self.env, &self.public_id, secret);
        format!("pb_{}_{}_{secret}_{crc}", self.env, self.public_id).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.public_id)
    }
}

fn checksum(env: &str, public_id: &str, secret: &str) -> String {
    let mut crc = crc32fast::hash(format!("{env}_{public_id}_{secret}").as_bytes());
    let mut out = [b'0'; CRC_LEN];
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(crc % 62) as usize];
        crc /= 62;
    }
    out.iter().map(|&b| char::from(b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ApiKey {
        let mut random = [0u8; RANDOM_BYTES];
        for (i, byte) in random.iter_mut().enumerate() {
            *byte = (i * 37 % 251) as u8;
        }
        ApiKey::generate("test", &random)
    }

    #[test]
    fn a_generated_key_parses_to_itself() {
        let text = key().reveal();
        let parsed = ApiKey::parse(text.expose_secret()).unwrap();
        assert_eq!(parsed.public_id(), key().public_id());
        assert_eq!(parsed.secret().expose_secret(), key().secret().expose_secret());
    }

    #[test]
    fn any_single_changed_character_is_refused() {
        let text = key().reveal().expose_secret().to_owned();
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] = if bytes[i] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(ApiKey::parse(&changed).is_err(), "accepted with character {i} changed");
        }
    }

    #[test]
    fn debug_does_not_print_the_secret() {
        let printed = format!("{:?}", key());
        assert!(!printed.contains(key().secret().expose_secret()));
    }
}
