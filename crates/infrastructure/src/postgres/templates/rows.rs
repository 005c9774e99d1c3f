//! Rows of PostgreSQL as JSON, within a number of bytes.

use std::sync::Arc;

use application::ports::RowSet;
use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Timelike, Utc};
use domain::template::{Column, ColumnType, KeyType, KeyValue, Page};
use serde_json::{Number, Value};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgTypeInfo, PgValueRef};
use sqlx::{Column as _, Decode, Postgres, Row, TypeInfo, ValueRef};

use super::page_end::PageEnd;

/// Makes JSON of a value that is not null.
type Read = fn(PgValueRef<'_>) -> Result<Value, BoxDynError>;

/// What a column of this database type is to a caller; `None` when callers cannot be given it.
pub(super) fn column_type(database: &PgTypeInfo) -> Option<ColumnType> {
    known(database).map(|(kind, _)| kind)
}

fn known(database: &PgTypeInfo) -> Option<(ColumnType, Read)> {
    Some(match database.name() {
        "TEXT" | "VARCHAR" | "NAME" => (ColumnType::Text, text),
        "UUID" => (ColumnType::Text, uuid),
        "INT2" => (ColumnType::Integer, whole::<i16>),
        "INT4" => (ColumnType::Integer, whole::<i32>),
        "INT8" => (ColumnType::Integer, whole::<i64>),
        "FLOAT4" => (ColumnType::Number, number::<f32>),
        "FLOAT8" => (ColumnType::Number, number::<f64>),
        "BOOL" => (ColumnType::Boolean, boolean),
        "DATE" => (ColumnType::Date, date),
        "TIMESTAMPTZ" => (ColumnType::Timestamp, moment),
        "TEXT[]" => (ColumnType::TextList, texts),
        _ => return None,
    })
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
    pub(super) fn push(&mut self, row: PgRow) -> Result<bool, sqlx::Error> {
        if self.rows.len() >= self.limit {
            return self.enough(&row);
        }
        if self.rows.is_empty() {
            self.reads = reads(&row, self.columns.len())?;
        }
        let left = self.max_bytes.saturating_sub(self.bytes);
        let mut values = Vec::with_capacity(self.reads.len());
        for (i, read) in self.reads.iter().enumerate() {
            let raw = row.try_get_raw(i)?;
            values.push(match raw.is_null() {
                true => Value::Null,
                // What nobody gets need not be read, however long it is.
                false if raw.as_bytes().map_err(sqlx::Error::Decode)?.len() > left => {
                    return self.enough(&row);
                }
                false => read(raw).map_err(sqlx::Error::Decode)?,
            });
        }
        let bytes = usize::from(!self.rows.is_empty()) + array_len(&values);
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
    fn enough(&mut self, row: &PgRow) -> Result<bool, sqlx::Error> {
        self.truncated = true;
        if let Some(pages) = &mut self.pages {
            // Never all of them: each that goes has a comma before it.
            let gone = self.rows.drain(pages.ends_before(row)?..);
            self.bytes -= gone.map(|values| 1 + array_len(&values)).sum::<usize>();
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Result<RowSet, sqlx::Error> {
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
fn reads(row: &PgRow, columns: usize) -> Result<Vec<Read>, sqlx::Error> {
    let read = |i| {
        let database = row.try_column(i)?.type_info();
        let unfit = || sqlx::Error::Decode(format!("a column of type {}", database.name()).into());
        known(database).map(|(_, read)| read).ok_or_else(unfit)
    };
    (0..columns).map(read).collect()
}

/// What a column of this database type is in the order of pages; `None` when rows cannot be ordered by it.
pub(super) fn key_type(database: &PgTypeInfo) -> Option<KeyType> {
    Some(match database.name() {
        "TEXT" | "VARCHAR" | "NAME" => KeyType::Text,
        "UUID" => KeyType::Uuid,
        "INT2" | "INT4" | "INT8" => KeyType::Integer,
        "FLOAT4" | "FLOAT8" => KeyType::Number,
        "BOOL" => KeyType::Boolean,
        "DATE" => KeyType::Date,
        "TIMESTAMPTZ" => KeyType::Timestamp,
        _ => return None,
    })
}

/// The value of a column as PostgreSQL reads it back: nothing of it may be lost.
pub(super) fn key_value(row: &PgRow, column: &str) -> Result<KeyValue, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    let database = raw.type_info();
    let name = database.name();
    let unfit = || sqlx::Error::Decode(format!("pages in the order of a column of type {name}").into());
    let kind = key_type(&database).ok_or_else(unfit)?;
    if raw.is_null() {
        return Ok(KeyValue { kind, text: None });
    }
    let text = match kind {
        KeyType::Text => row.try_get_unchecked::<String, _>(column)?,
        KeyType::Uuid => row.try_get_unchecked::<uuid::Uuid, _>(column)?.to_string(),
        KeyType::Integer => match name {
            "INT2" => row.try_get_unchecked::<i16, _>(column)?.to_string(),
            "INT4" => row.try_get_unchecked::<i32, _>(column)?.to_string(),
            _ => row.try_get_unchecked::<i64, _>(column)?.to_string(),
        },
        KeyType::Number => match name {
            "FLOAT4" => f64::from(row.try_get_unchecked::<f32, _>(column)?).to_string(),
            _ => row.try_get_unchecked::<f64, _>(column)?.to_string(),
        },
        KeyType::Boolean => row.try_get_unchecked::<bool, _>(column)?.to_string(),
        KeyType::Date => row.try_get_unchecked::<NaiveDate, _>(column)?.to_string(),
        KeyType::Timestamp => {
            let at = row.try_get_unchecked::<DateTime<Utc>, _>(column)?;
            at.to_rfc3339_opts(SecondsFormat::Micros, true)
        }
    };
    Ok(KeyValue { kind, text: Some(text) })
}

fn text(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    Ok(Value::String(clean(Decode::<Postgres>::decode(raw)?)))
}

fn uuid(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    let id: uuid::Uuid = Decode::<Postgres>::decode(raw)?;
    Ok(Value::String(id.to_string()))
}

fn whole<T: for<'r> Decode<'r, Postgres> + Into<i64>>(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    Ok(Value::from(T::decode(raw)?.into()))
}

/// JSON has no infinity and no "not a number".
fn number<T: for<'r> Decode<'r, Postgres> + Into<f64>>(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    Ok(Number::from_f64(T::decode(raw)?.into()).map_or(Value::Null, Value::Number))
}

fn boolean(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    Ok(Value::Bool(Decode::<Postgres>::decode(raw)?))
}

fn date(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    let day: NaiveDate = Decode::<Postgres>::decode(raw)?;
    Ok(Value::String(day.to_string()))
}

fn moment(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    Ok(Value::String(timestamp(Decode::<Postgres>::decode(raw)?)))
}

fn texts(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    let texts: Vec<Option<String>> = Decode::<Postgres>::decode(raw)?;
    Ok(texts.into_iter().flatten().map(|text| Value::String(clean(&text))).collect())
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
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t')) {
        return text.to_owned();
    }
    text.chars().filter(|&c| !unwanted(c)).collect()
}

/// How long the value is as JSON.
fn encoded_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => match number.as_i64() {
            Some(n) => n.unsigned_abs().max(1).ilog10() as usize + 1 + usize::from(n < 0),
            None => number.to_string().len(),
        },
        Value::String(text) => {
            2 + text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | b'\n' | b'\t')).count()
        }
        Value::Array(values) => array_len(values),
        // No column has one.
        Value::Object(_) => 0,
    }
}

/// How long the values are as a JSON array: brackets, commas and what stands between them.
fn array_len(values: &[Value]) -> usize {
    2 + values.len().saturating_sub(1) + values.iter().map(encoded_len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
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

    proptest! {
        #[test]
        fn the_counted_length_is_that_of_what_is_sent(
            texts in vec(any::<String>(), 0..4),
            wholes in vec(any::<i64>(), 0..4),
            numbers in vec(any::<f64>(), 0..4),
            yes in any::<bool>(),
        ) {
            let list: Value = texts.iter().map(|text| clean(text)).collect();
            let mut row = vec![Value::Null, yes.into(), list];
            row.extend(texts.iter().map(|text| Value::String(clean(text))));
            row.extend(wholes.into_iter().map(Value::from));
            row.extend(numbers.into_iter().map(Value::from));
            prop_assert_eq!(array_len(&row), serde_json::to_string(&row).unwrap().len());
        }
    }

    #[test]
    fn the_ends_of_whole_numbers_are_counted_as_they_are_written() {
        for n in [0, 9, 10, -1, -10, i64::MAX, i64::MIN] {
            assert_eq!(encoded_len(&n.into()), n.to_string().len());
        }
    }
}
