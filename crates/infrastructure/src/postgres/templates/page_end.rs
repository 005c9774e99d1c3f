//! Where a page ends, so that the next one begins with the row behind it.

use domain::template::{KeyValue, Page};
use tokio_postgres::Row;

use super::rows::{key_value, raw};
use crate::postgres::db::PipelineError;

/// Keeps the rows of a page until it is known where it ends.
///
/// The next page holds what comes after a row's values. Rows that have the same ones must therefore stand on one page:
/// when there is no room for the last of them, the page ends before the first.
#[derive(Debug)]
pub(super) struct PageEnd<'a> {
    page: &'a Page,
    rows: Vec<Row>,
    /// There is no place to go on from.
    stuck: bool,
}

impl<'a> PageEnd<'a> {
    pub(super) fn new(page: &'a Page) -> Self {
        Self { page, rows: Vec::new(), stuck: false }
    }

    /// This row is on the page, behind those taken before.
    pub(super) fn took(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// There is no room for this row. How many of those taken are on the page.
    pub(super) fn ends_before(&mut self, row: &Row) -> Result<usize, PipelineError> {
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
    pub(super) fn position(&self) -> Result<Option<Vec<KeyValue>>, PipelineError> {
        let last = self.rows.last().filter(|_| !self.stuck);
        last.map(|row| self.page.keys.iter().map(|key| key_value(row, &key.column)).collect()).transpose()
    }

    /// Compares values as they came: what differs there differs for PostgreSQL, but for a zero with a sign.
    fn same(&self, a: &Row, b: &Row) -> Result<bool, PipelineError> {
        for key in &self.page.keys {
            if raw(a, key.column.as_str())? != raw(b, key.column.as_str())? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
