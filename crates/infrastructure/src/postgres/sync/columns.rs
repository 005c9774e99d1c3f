//! Records as columns of values, one array each, so that a page takes one statement.

use domain::record::UserRef;

/// One value of each record.
pub(super) fn column<'a, R, T>(records: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    records.iter().map(of).collect()
}

/// A user's name.
pub(super) fn name(user: Option<&UserRef>) -> Option<&str> {
    user.map(|user| user.name.as_str())
}

/// A user's id at the source.
pub(super) fn id(user: Option<&UserRef>) -> Option<&str> {
    user.map(|user| user.source_id.as_str())
}
