//! Where a page ends, so that the next one begins with the row behind it.

use domain::template::{KeyValue, Page};
use sqlx::postgres::PgRow;
use sqlx::{Row, ValueRef};

use super::rows::key_value;

/// Follows the rows of a page.
///
/// The next page holds what comes after a row's values. Rows that have the same ones must therefore stand on one page:
/// when there is no room for the last of them, the page ends before the first.
#[derive(Debug)]
pub(super) struct PageEnd<'a> {
    page: &'a Page,
    /// The row taken last.
    last: Option<PgRow>,
    /// The first of the rows that have the same values as the last.
    group: usize,
    /// The row before that one.
    before: Option<PgRow>,
    /// Whether the page ends behind `before` rather than behind `last`.
    early: bool,
}

impl<'a> PageEnd<'a> {
    pub(super) fn new(page: &'a Page) -> Self {
        Self { page, last: None, group: 0, before: None, early: false }
    }

    /// This row is on the page, behind `count` others.
    pub(super) fn took(&mut self, row: PgRow, count: usize) -> Result<(), sqlx::Error> {
        if let Some(last) = &self.last
            && !self.same(last, &row)?
        {
            self.group = count;
            self.before = self.last.take();
        }
        self.last = Some(row);
        Ok(())
    }

    /// This row is not on the page. How many of the `count` others are.
    pub(super) fn ends_before(&mut self, row: &PgRow, count: usize) -> Result<usize, sqlx::Error> {
        match &self.last {
            Some(last) if self.same(last, row)? => {
                self.early = true;
                // When all of them are alike there is no place to go on from, and nothing gained by leaving any out.
                Ok(if self.before.is_some() { self.group } else { count })
            }
            _ => Ok(count),
        }
    }

    /// The values of the last row on the page; `None` when no other page can follow.
    pub(super) fn position(&self) -> Result<Option<Vec<KeyValue>>, sqlx::Error> {
        let row = if self.early { &self.before } else { &self.last };
        row.as_ref()
            .map(|row| self.page.keys.iter().map(|key| key_value(row, &key.column)).collect())
            .transpose()
    }

    fn same(&self, a: &PgRow, b: &PgRow) -> Result<bool, sqlx::Error> {
        for key in &self.page.keys {
            let (a, b) = (a.try_get_raw(key.column.as_str())?, b.try_get_raw(key.column.as_str())?);
            if a.is_null() != b.is_null() {
                return Ok(false);
            }
            if !a.is_null()
                && a.as_bytes().map_err(sqlx::Error::Decode)? != b.as_bytes().map_err(sqlx::Error::Decode)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
