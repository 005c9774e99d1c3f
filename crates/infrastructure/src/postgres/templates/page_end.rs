//! Where a page ends, so that the next one begins with the row behind it.

use domain::template::{KeyValue, Page};
use sqlx::postgres::PgRow;
use sqlx::{Row, ValueRef};

use super::rows::key_value;

/// Keeps the rows of a page until it is known where it ends.
///
/// The next page holds what comes after a row's values. Rows that have the same ones must therefore stand on one page:
/// when there is no room for the last of them, the page ends before the first.
#[derive(Debug)]
pub(super) struct PageEnd<'a> {
    page: &'a Page,
    rows: Vec<PgRow>,
    /// There is no place to go on from.
    stuck: bool,
}

impl<'a> PageEnd<'a> {
    pub(super) fn new(page: &'a Page) -> Self {
        Self { page, rows: Vec::new(), stuck: false }
    }

    /// This row is on the page, behind those taken before.
    pub(super) fn took(&mut self, row: PgRow) {
        self.rows.push(row);
    }

    /// There is no room for this row. How many of those taken are on the page.
    pub(super) fn ends_before(&mut self, row: &PgRow) -> Result<usize, sqlx::Error> {
        let mut kept = self.rows.len();
        while let Some(last) = kept.checked_sub(1)
            && self.same(&self.rows[last], row)?
        {
            kept = last;
        }
        if kept == 0 {
            // All are alike: nothing is gained by leaving any out.
            self.stuck = true;
            return Ok(self.rows.len());
        }
        self.rows.truncate(kept);
        Ok(kept)
    }

    /// The values of the last row on the page; `None` when no other page can follow.
    pub(super) fn position(&self) -> Result<Option<Vec<KeyValue>>, sqlx::Error> {
        let last = self.rows.last().filter(|_| !self.stuck);
        last.map(|row| self.page.keys.iter().map(|key| key_value(row, &key.column)).collect()).transpose()
    }

    /// Compares values as they came: what differs there differs for PostgreSQL, but for a zero with a sign.
    fn same(&self, a: &PgRow, b: &PgRow) -> Result<bool, sqlx::Error> {
        for key in &self.page.keys {
            let (a, b) = (a.try_get_raw(key.column.as_str())?, b.try_get_raw(key.column.as_str())?);
            if a.is_null() || b.is_null() {
                if a.is_null() != b.is_null() {
                    return Ok(false);
                }
            } else if a.as_bytes().map_err(sqlx::Error::Decode)?
                != b.as_bytes().map_err(sqlx::Error::Decode)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
