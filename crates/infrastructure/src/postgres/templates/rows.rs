//! Rows of PostgreSQL as JSON, within a number of bytes.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use application::ports::RowSet;
use application::text::{is_plain, json_array_len};
use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Timelike, Utc};
use domain::template::{Column, ColumnType, KeyType, KeyValue, Page};
use serde_json::{Number, Value};
use tokio_postgres::Row;
use tokio_postgres::row::RowIndex;
use tokio_postgres::types::{FromSql, Type};

use super::page_end::PageEnd;
use crate::postgres::db::PipelineError;

/// Why a value cannot be read.
type BoxError = Box<dyn Error + Send + Sync>;

/// Makes JSON of a value that is not null.
type Read = fn(&[u8]) -> Result<Value, BoxError>;

/// What a column of this database type is to a caller; `None` when callers cannot be given it.
pub(super) fn column_type(database: &Type) -> Option<ColumnType> {
    known(database).map(|(kind, _)| kind)
}

fn known(database: &Type) -> Option<(ColumnType, Read)> {
    Some(match *database {
        Type::TEXT | Type::VARCHAR | Type::NAME => (ColumnType::Text, text),
        Type::UUID => (ColumnType::Text, uuid),
        Type::INT2 => (ColumnType::Integer, whole::<i16>),
        Type::INT4 => (ColumnType::Integer, whole::<i32>),
        Type::INT8 => (ColumnType::Integer, whole::<i64>),
        Type::FLOAT4 => (ColumnType::Number, number::<f32>),
        Type::FLOAT8 => (ColumnType::Number, number::<f64>),
        Type::BOOL => (ColumnType::Boolean, boolean),
        Type::DATE => (ColumnType::Date, date),
        Type::TIMESTAMPTZ => (ColumnType::Timestamp, moment),
        Type::TEXT_ARRAY => (ColumnType::TextList, texts),
        _ => return None,
    })
}

/// A value as it came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// `None` where the value is null.
pub(super) fn raw<'a>(
    row: &'a Row,
    column: impl RowIndex + Display,
) -> Result<Option<Raw<'a>>, PipelineError> {
    row.try_get(column).map_err(PipelineError::Postgres)
}

/// Collects rows until there are enough of them, or of their bytes.
#[derive(Debug)]
pub(super) struct RowReader<'a> {
    columns: &'a Arc<[Column]>,
    /// One for each column; none before the first row.
    reads: Vec<Read>,
    limit: usize,
    max_bytes: usize,
    /// Of the rows as a JSON array.
    bytes: usize,
    rows: Vec<Vec<Value>>,
    truncated: bool,
    pages: Option<PageEnd<'a>>,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(
        columns: &'a Arc<[Column]>,
        page: Option<&'a Page>,
        limit: usize,
        max_bytes: usize,
    ) -> Self {
        Self {
            columns,
            reads: Vec::new(),
            limit,
            max_bytes,
            bytes: "[]".len(),
            rows: Vec::with_capacity(limit.min(64)),
            truncated: false,
            pages: page.map(PageEnd::new),
        }
    }

    /// Takes a row; false when no more are wanted.
    pub(super) fn push(&mut self, row: Row) -> Result<bool, PipelineError> {
        if self.rows.len() >= self.limit {
            return self.enough(&row);
        }
        if self.rows.is_empty() {
            self.reads = reads(&row, self.columns.len())?;
        }
        let left = self.max_bytes.saturating_sub(self.bytes);
        let mut values = Vec::with_capacity(self.reads.len());
        for (i, read) in self.reads.iter().enumerate() {
            values.push(match raw(&row, i)? {
                None => Value::Null,
                // What nobody gets need not be read, however long it is.
                Some(Raw(value)) if value.len() > left => return self.enough(&row),
                Some(Raw(value)) => read(value).map_err(PipelineError::Unreadable)?,
            });
        }
        let bytes = usize::from(!self.rows.is_empty()) + json_array_len(&values);
        if bytes > left {
            return self.enough(&row);
        }
        self.bytes += bytes;
        if let Some(pages) = &mut self.pages {
            pages.took(row);
        }
        self.rows.push(values);
        Ok(true)
    }

    /// There is this row, which there is no room for.
    fn enough(&mut self, row: &Row) -> Result<bool, PipelineError> {
        self.truncated = true;
        if let Some(pages) = &mut self.pages {
            // Never all of them: each that goes has a comma before it.
            let gone = self.rows.drain(pages.ends_before(row)?..);
            self.bytes -= gone.map(|values| 1 + json_array_len(&values)).sum::<usize>();
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Result<RowSet, PipelineError> {
        let next = match &self.pages {
            Some(pages) if self.truncated => pages.position()?,
            _ => None,
        };
        Ok(RowSet {
            columns: self.columns.clone(),
            rows: self.rows,
            bytes: self.bytes,
            truncated: self.truncated,
            next,
        })
    }
}

/// How the first columns of a statement are read.
fn reads(row: &Row, columns: usize) -> Result<Vec<Read>, PipelineError> {
    let found = row.columns().get(..columns).ok_or_else(|| unreadable("fewer columns than were proved"))?;
    let read = |column: &tokio_postgres::Column| {
        let unfit = || unreadable(format!("a column of type {}", column.type_()));
        known(column.type_()).map(|(_, read)| read).ok_or_else(unfit)
    };
    found.iter().map(read).collect()
}

fn unreadable(what: impl Into<BoxError>) -> PipelineError {
    PipelineError::Unreadable(what.into())
}

/// What a column of this database type is in the order of pages; `None` when rows cannot be ordered by it.
pub(super) fn key_type(database: &Type) -> Option<KeyType> {
    Some(match *database {
        Type::TEXT | Type::VARCHAR | Type::NAME => KeyType::Text,
        Type::UUID => KeyType::Uuid,
        Type::INT2 | Type::INT4 | Type::INT8 => KeyType::Integer,
        Type::FLOAT4 | Type::FLOAT8 => KeyType::Number,
        Type::BOOL => KeyType::Boolean,
        Type::DATE => KeyType::Date,
        Type::TIMESTAMPTZ => KeyType::Timestamp,
        _ => return None,
    })
}

/// The value of a column as PostgreSQL reads it back: nothing of it may be lost.
pub(super) fn key_value(row: &Row, column: &str) -> Result<KeyValue, PipelineError> {
    let known = row.columns().iter().find(|known| known.name() == column);
    let database = known.ok_or_else(|| unreadable(format!("no column {column}")))?.type_();
    let unfit = || unreadable(format!("pages in the order of a column of type {database}"));
    let kind = key_type(database).ok_or_else(unfit)?;
    let Some(Raw(value)) = raw(row, column)? else { return Ok(KeyValue { kind, text: None }) };
    let text = match *database {
        Type::UUID => read::<uuid::Uuid>(value)?.to_string(),
        Type::INT2 => read::<i16>(value)?.to_string(),
        Type::INT4 => read::<i32>(value)?.to_string(),
        Type::INT8 => read::<i64>(value)?.to_string(),
        Type::FLOAT4 => f64::from(read::<f32>(value)?).to_string(),
        Type::FLOAT8 => read::<f64>(value)?.to_string(),
        Type::BOOL => read::<bool>(value)?.to_string(),
        Type::DATE => read::<NaiveDate>(value)?.to_string(),
        Type::TIMESTAMPTZ => read::<DateTime<Utc>>(value)?.to_rfc3339_opts(SecondsFormat::Micros, true),
        _ => read::<&str>(value)?.to_owned(),
    };
    Ok(KeyValue { kind, text: Some(text) })
}

fn read<'a, T: FromSql<'a>>(value: &'a [u8]) -> Result<T, PipelineError> {
    decode(value).map_err(PipelineError::Unreadable)
}

/// What none of these types look at is given as their type.
fn decode<'a, T: FromSql<'a>>(value: &'a [u8]) -> Result<T, BoxError> {
    T::from_sql(&Type::UNKNOWN, value)
}

fn text(value: &[u8]) -> Result<Value, BoxError> {
    Ok(Value::String(clean(str::from_utf8(value)?)))
}

fn uuid(value: &[u8]) -> Result<Value, BoxError> {
    Ok(Value::String(decode::<uuid::Uuid>(value)?.to_string()))
}

fn whole<T: for<'r> FromSql<'r> + Into<i64>>(value: &[u8]) -> Result<Value, BoxError> {
    Ok(Value::from(decode::<T>(value)?.into()))
}

/// JSON has no infinity and no "not a number".
fn number<T: for<'r> FromSql<'r> + Into<f64>>(value: &[u8]) -> Result<Value, BoxError> {
    Ok(Number::from_f64(decode::<T>(value)?.into()).map_or(Value::Null, Value::Number))
}

fn boolean(value: &[u8]) -> Result<Value, BoxError> {
    Ok(Value::Bool(decode(value)?))
}

fn date(value: &[u8]) -> Result<Value, BoxError> {
    Ok(Value::String(decode::<NaiveDate>(value)?.to_string()))
}

fn moment(value: &[u8]) -> Result<Value, BoxError> {
    Ok(Value::String(timestamp(decode(value)?)))
}

fn texts(value: &[u8]) -> Result<Value, BoxError> {
    // The type tells what the elements are.
    let texts = Vec::<Option<&str>>::from_sql(&Type::TEXT_ARRAY, value)?;
    Ok(texts.into_iter().flatten().map(|text| Value::String(clean(text))).collect())
}

/// RFC 3339 in UTC, with as many thirds of a fraction as there are. Moments of our days, which nearly all are, go the
/// short way.
fn timestamp(at: DateTime<Utc>) -> String {
    let (year, nanos) = (at.year(), at.nanosecond());
    if nanos % 1_000 != 0 || nanos >= 1_000_000_000 || !(0..=9999).contains(&year) {
        return at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    }
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |at: usize, width: usize, mut n: u32| {
        for digit in text[at..at + width].iter_mut().rev() {
            // A digit is below 10.
            *digit = b'0' + (n % 10) as u8;
            n /= 10;
        }
    };
    put(0, 4, year.unsigned_abs());
    put(5, 2, at.month());
    put(8, 2, at.day());
    put(11, 2, at.hour());
    put(14, 2, at.minute());
    put(17, 2, at.second());
    put(20, 6, nanos / 1_000);
    let end = match nanos {
        0 => 19,
        _ if nanos % 1_000_000 == 0 => 23,
        _ => 26,
    };
    text[end] = b'Z';
    String::from_utf8_lossy(&text[..=end]).into_owned()
}

/// Without control characters, which change what a terminal or an assistant takes the text for.
fn clean(text: &str) -> String {
    let unwanted = |c: char| c.is_control() && c != '\n' && c != '\t';
    if is_plain(text) {
        return text.to_owned();
    }
    text.chars().filter(|&c| !unwanted(c)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        for text in ["2026-11-21T09:05:07Z", "2026-11-21T09:05:07.250Z", "0999-01-01T00:00:00Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            assert_eq!(timestamp(at), text);
        }
    }

    proptest! {
        #[test]
        fn moments_are_written_as_chrono_writes_them(micros in -70_000_000_000_000_000..260_000_000_000_000_000_i64,
                                                     unit in prop::sample::select(vec![1, 1_000, 1_000_000])) {
            let at = DateTime::from_timestamp_micros(micros / unit * unit).unwrap();
            prop_assert_eq!(timestamp(at), at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        }
    }

    #[test]
    fn control_characters_are_taken_out_but_not_line_ends_and_tabs() {
        assert_eq!(clean("a\u{1b}[31m\r\n\tb\u{85}é\u{7f}"), "a[31m\n\tbé");
        assert_eq!(clean("plain"), "plain");
    }
}
