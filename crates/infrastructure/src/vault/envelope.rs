//! The stored form of a secret: `v1 | kek id | data key id | nonce | ciphertext | tag`, and the wrapping of keys.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use rand::Rng;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::VaultError;
use super::master_key::{KEK_ID_LEN, MasterKey};

const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const HEADER_LEN: usize = 1 + KEK_ID_LEN + 16;

/// The clear front of a sealed secret. All of it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The master key that wrapped the data key when this was sealed. After a rotation of the master key it
    /// tells only history, so nothing is looked up by it.
    kek: [u8; KEK_ID_LEN],
    /// The data key that opens the rest.
    pub(super) data_key: Uuid,
}

impl Header {
    pub(super) fn new(kek: [u8; KEK_ID_LEN], data_key: Uuid) -> Self {
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

/// Wraps a 32-byte key by the master key: `v1 | kek id | nonce | ciphertext | tag`, bound to what it is for.
pub(super) fn wrap(master: &MasterKey, purpose: &str, key: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
    let mut out = [&[VERSION], master.kek_id().as_slice()].concat();
    let bound = format!("v1|{purpose}|{}", master.id());
    out.extend(encrypt(master.wrapping_key(), bound.as_bytes(), key, "key")?);
    Ok(out)
}

/// Unwraps a key. Tells a wrong master key from a changed ciphertext.
pub(super) fn unwrap(
    master: &MasterKey,
    purpose: &str,
    wrapped: &[u8],
    what: &'static str,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let malformed = || VaultError::Sealed(what);
    let (front, body) = wrapped.split_at_checked(1 + KEK_ID_LEN).ok_or_else(malformed)?;
    if front[0] != VERSION {
        return Err(malformed());
    }
    if front[1..] != master.kek_id() {
        return Err(VaultError::WrongMasterKey { given: master.id(), stored: hex::encode(&front[1..]) });
    }
    let bound = format!("v1|{purpose}|{}", master.id());
    let plain = decrypt(master.wrapping_key(), bound.as_bytes(), body, what)?;
    Ok(Zeroizing::new(plain.as_slice().try_into().map_err(|_| malformed())?))
}

fn encrypt(key: &[u8; 32], aad: &[u8], plaintext: &[u8], what: &'static str) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0u8; NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    let ciphertext = Aes256Gcm::new(key.into())
        .encrypt(&nonce.into(), Payload { msg: plaintext, aad })
        .map_err(|_| VaultError::Sealed(what))?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

fn decrypt(
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

    // Security requirement 53.
    #[test]
    fn a_wrapped_key_opens_only_for_its_purpose_and_master_key() {
        let master = MasterKey::generate();
        let wrapped = wrap(&master, "dek|a", &KEY).unwrap();
        assert_eq!(*unwrap(&master, "dek|a", &wrapped, "key").unwrap(), KEY);
        assert!(matches!(unwrap(&master, "dek|b", &wrapped, "key"), Err(VaultError::Sealed(_))));
        let error = unwrap(&MasterKey::generate(), "dek|a", &wrapped, "key").unwrap_err();
        assert!(
            error.to_string().starts_with("the master key does not open this database's keys"),
            "{error}"
        );
    }

    #[test]
    fn the_same_text_is_never_sealed_to_the_same_bytes() {
        let header = Header::new([1; KEK_ID_LEN], Uuid::from_u128(1));
        let sealed = || seal(&KEY, &header, "place", b"token").unwrap();
        assert_ne!(sealed(), sealed());
    }
}
