//! The stored form of a secret: `v1 | kek id | data key id | nonce | ciphertext | tag`, and the wrapping of keys.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use rand::Rng;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::VaultError;
use super::key_wrapper::{KEK_ID_LEN, KekId};

const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const HEADER_LEN: usize = 1 + KEK_ID_LEN + 16;

/// The clear front of a sealed secret. All of it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The master key that wrapped the data key when this was sealed. After a rotation of the master key it
    /// tells only history, so nothing is looked up by it.
    kek: KekId,
    /// The data key that opens the rest.
    pub(super) data_key: Uuid,
}

impl Header {
    pub(super) fn new(kek: KekId, data_key: Uuid) -> Self {
        Self { kek, data_key }
    }

    /// Takes a sealed secret apart into header and the rest.
    pub(super) fn split(sealed: &[u8]) -> Result<(Self, &[u8]), VaultError> {
        let malformed = || VaultError::Sealed("secret");
        let (front, body) = sealed.split_at_checked(HEADER_LEN).ok_or_else(malformed)?;
        if front[0] != VERSION {
            return Err(malformed());
        }
        let kek = front[1..=KEK_ID_LEN].try_into().map_err(|_| malformed())?;
        let data_key = Uuid::from_slice(&front[1 + KEK_ID_LEN..]).map_err(|_| malformed())?;
        Ok((Self { kek, data_key }, body))
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&[VERSION], self.kek.as_slice(), self.data_key.as_bytes()].concat()
    }

    fn associated_data(&self, bound: &str) -> Vec<u8> {
        format!("v1|{bound}|{}|{}", self.data_key, hex::encode(self.kek)).into_bytes()
    }
}

/// Encrypts a field under a data key.
pub(super) fn seal(
    key: &[u8; 32],
    header: &Header,
    bound: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let mut out = header.to_bytes();
    out.extend(encrypt(key, &header.associated_data(bound), plaintext, "secret")?);
    Ok(out)
}

/// Decrypts what stands behind the header.
pub(super) fn open(
    key: &[u8; 32],
    header: &Header,
    bound: &str,
    body: &[u8],
    what: &'static str,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    decrypt(key, &header.associated_data(bound), body, what)
}

/// A wrapped key, taken apart: `version | kek id | rest`.
///
/// Version 1 was wrapped by a key of this process, and the rest is `nonce | ciphertext | tag`. Version 2 was wrapped by
/// a key service, and the rest is what the service answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrapped<'a> {
    version: u8,
    /// The key that wrapped it.
    pub(super) kek: KekId,
    rest: &'a [u8],
}

const BY_SERVICE: u8 = 2;

impl<'a> Wrapped<'a> {
    /// `None` when it has no such form.
    pub(super) fn split(bytes: &'a [u8]) -> Option<Self> {
        let (&version, bytes) = bytes.split_first()?;
        let (kek, rest) = bytes.split_first_chunk::<KEK_ID_LEN>()?;
        (version == VERSION || version == BY_SERVICE).then_some(Self { version, kek: *kek, rest })
    }

    /// `nonce | ciphertext | tag`, when a key of a process wrapped it.
    pub(super) fn local(&self) -> Option<&'a [u8]> {
        (self.version == VERSION).then_some(self.rest)
    }

    /// What the key service answered, when it wrapped it.
    pub(super) fn of_service(&self) -> Option<&'a str> {
        (self.version == BY_SERVICE).then(|| std::str::from_utf8(self.rest).ok()).flatten()
    }

    /// What wrapped it, as it is stored beside it and shown: the key's id, and the version of a service's key.
    pub(super) fn by(&self) -> String {
        let version = self.of_service().and_then(|text| text.strip_prefix("vault:")?.split(':').next());
        match version {
            Some(version) => format!("{}:{version}", hex::encode(self.kek)),
            None => hex::encode(self.kek),
        }
    }
}

/// What wrapped this; for the column beside it.
pub(super) fn wrapped_by(wrapped: &[u8]) -> Result<String, VaultError> {
    Wrapped::split(wrapped).map(|wrapped| wrapped.by()).ok_or(VaultError::Sealed("key"))
}

/// Puts the front before what a key of this process has encrypted.
pub(super) fn wrapped_here(kek: KekId, rest: &[u8]) -> Vec<u8> {
    [&[VERSION], kek.as_slice(), rest].concat()
}

/// Puts the front before what a key service has answered.
pub(super) fn wrapped_by_service(kek: KekId, answer: &str) -> Vec<u8> {
    [&[BY_SERVICE], kek.as_slice(), answer.as_bytes()].concat()
}

pub(super) fn encrypt(
    key: &[u8; 32],
    aad: &[u8],
    plaintext: &[u8],
    what: &'static str,
) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0u8; NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    let ciphertext = Aes256Gcm::new(key.into())
        .encrypt(&nonce.into(), Payload { msg: plaintext, aad })
        .map_err(|_| VaultError::Sealed(what))?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

pub(super) fn decrypt(
    key: &[u8; 32],
    aad: &[u8],
    body: &[u8],
    what: &'static str,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let refused = || VaultError::Sealed(what);
    let (nonce, ciphertext) = body.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
    Aes256Gcm::new(key.into())
        .decrypt(nonce.into(), Payload { msg: ciphertext, aad })
        .map(Zeroizing::new)
        .map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_sealed_secret_opens_with_the_same_key_header_and_place() {
        let header = Header::new([1; KEK_ID_LEN], Uuid::from_u128(1));
        let sealed = seal(&KEY, &header, "t|credentials|i|sealed", b"token").unwrap();
        let (found, body) = Header::split(&sealed).unwrap();
        assert_eq!(found, header);
        let opened = open(&KEY, &found, "t|credentials|i|sealed", body, "secret").unwrap();
        assert_eq!(opened.as_slice(), b"token");
    }

    // Security requirement 53.
    #[test]
    fn every_flipped_bit_and_every_cut_of_a_sealed_secret_is_refused() {
        let header = Header::new([1; KEK_ID_LEN], Uuid::from_u128(1));
        let sealed = seal(&KEY, &header, "place", b"token").unwrap();
        let opens = |bytes: &[u8]| {
            Header::split(bytes).and_then(|(header, body)| open(&KEY, &header, "place", body, "secret"))
        };
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[index] ^= 1 << bit;
                assert!(opens(&changed).is_err(), "opened with bit {bit} of byte {index} flipped");
            }
            assert!(opens(&sealed[..index]).is_err(), "opened when cut to {index} bytes");
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_to_the_same_bytes() {
        let header = Header::new([1; KEK_ID_LEN], Uuid::from_u128(1));
        let sealed = || seal(&KEY, &header, "place", b"token").unwrap();
        assert_ne!(sealed(), sealed());
    }
}
