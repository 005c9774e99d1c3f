//! The key that wraps all others, and what is derived from it.

use std::fmt;

use async_trait::async_trait;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::Rng;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::VaultError;
use super::envelope::{Wrapped, decrypt, encrypt, wrapped_here};
use super::key_wrapper::{KEK_ID_LEN, KekId, KeyWrapper};

const HOW_TO_MAKE_ONE: &str = "make one with `openssl rand -base64 32`, keep it outside the database and its \
                               backups, and set PATCHBAY_MASTER_KEY or PATCHBAY_MASTER_KEY_FILE";

/// Why a text is no master key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// There is none.
    #[error("the master key is missing: {HOW_TO_MAKE_ONE}")]
    Missing,
    /// Not 32 bytes.
    #[error("the master key must be 32 bytes as base64 or hexadecimal: {HOW_TO_MAKE_ONE}")]
    Form,
    /// 32 bytes that somebody could guess.
    #[error("the master key is a placeholder or a pattern, not random bytes: {HOW_TO_MAKE_ONE}")]
    Weak,
}

/// The installation's master key.
///
/// It is used for nothing itself: the wrapping key and the passwords of the database roles are derived from it,
/// each for one purpose.
#[derive(Clone)]
pub struct MasterKey {
    secret: Zeroizing<[u8; 32]>,
    wrapping: Zeroizing<[u8; 32]>,
    id: KekId,
}

impl MasterKey {
    /// Reads a key: 32 bytes as base64 (either alphabet, with or without padding) or hexadecimal.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MasterKeyError::Missing);
        }
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        if ["changeme", "change-me", "change_me", "placeholder", "example", "password"]
            .iter()
            .any(|word| lower.contains(word))
        {
            return Err(MasterKeyError::Weak);
        }
        let secret = decode(text).ok_or(MasterKeyError::Form)?;
        if is_weak(&secret) {
            return Err(MasterKeyError::Weak);
        }
        Ok(Self::new(secret))
    }

    /// Makes a random key.
    pub fn generate() -> Self {
        let mut secret = Zeroizing::new([0u8; 32]);
        rand::rng().fill_bytes(secret.as_mut_slice());
        Self::new(secret)
    }

    fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        let digest = Sha256::new()
            .chain_update(b"patchbay master key id v1\0")
            .chain_update(secret.as_slice())
            .finalize();
        let mut id = [0u8; KEK_ID_LEN];
        id.copy_from_slice(&digest[..KEK_ID_LEN]);
        Self { wrapping: Zeroizing::new(super::hmac(&secret, &[b"patchbay wrapping key v1"])), secret, id }
    }

    /// The key as base64, to be kept in a file of mode 0600 (the demo does) and nowhere else.
    pub fn reveal(&self) -> SecretString {
        base64::engine::general_purpose::STANDARD.encode(self.secret.as_slice()).into()
    }

    /// Tells keys apart; says nothing about them.
    pub fn id(&self) -> String {
        hex::encode(self.id)
    }

    /// The password of a database role, so that nobody has to make up and configure one.
    pub fn role_password(&self, role: &str) -> String {
        hex::encode(super::hmac(&self.secret, &[b"patchbay role password v1", role.as_bytes()]))
    }

    /// What a wrapping is bound to.
    fn bound(&self, purpose: &str) -> String {
        format!("v1|{purpose}|{}", self.id())
    }
}

#[async_trait]
impl KeyWrapper for MasterKey {
    fn id(&self) -> KekId {
        self.id
    }

    async fn current(&self) -> Result<String, VaultError> {
        Ok(self.id())
    }

    async fn wrap(&self, purpose: &str, key: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
        let encrypted = encrypt(&self.wrapping, self.bound(purpose).as_bytes(), key, "key")?;
        Ok(wrapped_here(self.id, &encrypted))
    }

    async fn unwrap(
        &self,
        purpose: &str,
        wrapped: &Wrapped<'_>,
        what: &'static str,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let malformed = || VaultError::Sealed(what);
        let body = wrapped.local().ok_or_else(malformed)?;
        let plain = decrypt(&self.wrapping, self.bound(purpose).as_bytes(), body, what)?;
        Ok(Zeroizing::new(plain.as_slice().try_into().map_err(|_| malformed())?))
    }

    async fn role_passwords(&self, role: &str) -> Result<Vec<SecretString>, VaultError> {
        Ok(vec![self.role_password(role).into()])
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = if text.len() == 64 {
        Zeroizing::new(hex::decode(text).ok()?)
    } else {
        let standard = GeneralPurpose::new(&alphabet::STANDARD, lenient);
        let url_safe = GeneralPurpose::new(&alphabet::URL_SAFE, lenient);
        Zeroizing::new(standard.decode(text).or_else(|_| url_safe.decode(text)).ok()?)
    };
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

/// Whether no random generator would make these bytes: fewer than 20 different ones (30 are usual), a repeated
/// pattern, a plain sequence, or readable text. By chance each happens less than once in 10^12 keys.
fn is_weak(bytes: &[u8; 32]) -> bool {
    let mut seen = [false; 256];
    for &byte in bytes {
        seen[usize::from(byte)] = true;
    }
    let different = seen.iter().filter(|&&seen| seen).count();
    let repeats = (1..=16).any(|period| bytes.iter().zip(&bytes[period..]).all(|(a, b)| a == b));
    let step = bytes[1].wrapping_sub(bytes[0]);
    let counts = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let text = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    different < 20 || repeats || counts || text
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn base64(bytes: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    #[test]
    fn a_generated_key_reads_back_as_itself_in_every_accepted_form() {
        for _ in 0..200 {
            let key = MasterKey::generate();
            let text = key.reveal();
            let text = text.expose_secret();
            let hex = hex::encode(key.secret.as_slice());
            let url_safe = text.replace('+', "-").replace('/', "_");
            for form in
                [text, text.trim_end_matches('='), url_safe.as_str(), hex.as_str(), &format!(" {text}\n")]
            {
                assert_eq!(MasterKey::parse(form).unwrap().secret, key.secret);
            }
        }
    }

    // Security requirement 56.
    #[test]
    fn missing_short_and_placeholder_keys_are_refused_with_what_to_do() {
        let sequence: Vec<u8> = (0..32).collect();
        for bad in [
            String::new(),
            "  ".into(),
            "changeme".into(),
            "short".into(),
            "00".repeat(32),
            "0123456789abcdef".repeat(4),
            base64(&[0; 32]),
            base64(&[255; 32]),
            base64(&[1; 31]),
            base64(&[1; 33]),
            base64(&sequence),
            base64(b"0123456789abcdefghijklmnopqrstuv"),
            base64(b"this is my secret for patchbay!!"),
            "changeme".repeat(5) + "cha=",
            base64(&[[3, 141, 59, 26, 53, 58, 97, 93], [3, 141, 59, 26, 53, 58, 97, 93]].concat().repeat(2)),
        ] {
            let error = MasterKey::parse(&bad).expect_err(&bad);
            assert!(error.to_string().contains("openssl rand -base64 32"), "{error}");
            assert!(
                bad.trim().is_empty() || !error.to_string().contains(&bad),
                "the message repeats the key"
            );
        }
    }

    // Security requirement 58.
    #[test]
    fn debug_shows_the_id_only() {
        let key = MasterKey::generate();
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
    }

    #[test]
    fn each_role_and_each_master_key_has_its_own_password() {
        let (a, b) = (MasterKey::generate(), MasterKey::generate());
        assert_ne!(a.role_password("patchbay_app"), a.role_password("patchbay_reader"));
        assert_ne!(a.role_password("patchbay_app"), b.role_password("patchbay_app"));
    }
}
