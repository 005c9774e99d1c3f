//! Digests by which unchanged items are recognised.

use domain::record::ItemRecord;
use sha2::{Digest, Sha256};

/// Raised when what is stored of an object as received changes, so that unchanged objects are written anew.
const FORM: u8 = 2;
/// How many bytes say what was received; those behind them say how it is mapped.
pub(super) const RECEIVED_BYTES: i32 = 32;

/// A digest of the object as received, and behind it one of what it is mapped to. An item that is only mapped in another
/// way than before differs in the second part alone.
pub(super) fn of(item: &ItemRecord) -> Vec<u8> {
    let mut received = Sha256::new();
    received.update([FORM, u8::from(item.has_details)]);
    received.update(item.source_key.as_bytes());
    received.update(item.raw.get().as_bytes());
    // Named by their definitions, which are objects of their own.
    if item.custom_fields.as_object().is_some_and(|fields| !fields.is_empty()) {
        received.update(item.custom_fields.to_string().as_bytes());
    }
    let mut digest = received.finalize().to_vec();
    digest.extend_from_slice(&mapped(item));
    digest
}

/// A digest of what the mappings of an instance decide.
pub(super) fn mapped(item: &ItemRecord) -> [u8; 16] {
    let mut mapped = Sha256::new();
    for text in [
        item.status_norm.as_str(),
        &item.status_original,
        item.type_norm.as_str(),
        &item.type_original,
        item.priority_norm.as_str(),
        item.priority_original.as_deref().unwrap_or_default(),
    ] {
        mapped.update(text.as_bytes());
        mapped.update([0]);
    }
    for day in [item.start_on, item.due_on] {
        mapped.update(day.map_or_else(String::new, |day| day.to_string()).as_bytes());
        mapped.update([0]);
    }
    mapped.update(item.story_points.map_or([0xff; 8], f64::to_le_bytes));
    let whole: [u8; 32] = mapped.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}
