//! Rows of PostgreSQL as JSON, within a number of bytes.

use application::ports::RowSet;
use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Timelike, Utc};
use domain::template::{Column, ColumnType, KeyType, KeyValue, Page};
use serde_json::{Map, Number, Value};
use sqlx::postgres::{PgRow, PgTypeInfo};
use sqlx::{Decode, Postgres, Row, Type, TypeInfo, ValueRef};

use super::page_end::PageEnd;

/// What a column of this database type is to a caller; `None` when callers cannot be given it.
pub(super) fn column_type(database: &PgTypeInfo) -> Option<ColumnType> {
    Some(match database.name() {
        "TEXT" | "VARCHAR" | "NAME" | "UUID" => ColumnType::Text,
        "INT2" | "INT4" | "INT8" => ColumnType::Integer,
        "FLOAT4" | "FLOAT8" => ColumnType::Number,
        "BOOL" => ColumnType::Boolean,
        "DATE" => ColumnType::Date,
        "TIMESTAMPTZ" => ColumnType::Timestamp,
        "TEXT[]" => ColumnType::TextList,
        _ => return None,
    })
}

/// Collects rows until there are enough of them, or of their bytes.
#[derive(Debug)]
pub(super) struct RowReader<'a> {
    columns: &'a [Column],
    limit: usize,
    max_bytes: usize,
    bytes_left: usize,
    rows: Vec<Map<String, Value>>,
    truncated: bool,
    pages: Option<PageEnd<'a>>,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(columns: &'a [Column], page: Option<&'a Page>, limit: usize, max_bytes: usize) -> Self {
        Self {
            columns,
            limit,
            max_bytes,
            bytes_left: max_bytes,
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
        let mut object = Map::new();
        let mut bytes = 3;
        for (i, column) in self.columns.iter().enumerate() {
            let Some(value) = value(&row, i, self.bytes_left)? else { return self.enough(&row) };
            bytes += column.name.len() + 4 + encoded_len(&value);
            object.insert(column.name.clone(), value);
        }
        if bytes > self.bytes_left {
            return self.enough(&row);
        }
        self.bytes_left -= bytes;
        if let Some(pages) = &mut self.pages {
            pages.took(row);
        }
        self.rows.push(object);
        Ok(true)
    }

    /// There is this row, which there is no room for.
    fn enough(&mut self, row: &PgRow) -> Result<bool, sqlx::Error> {
        self.truncated = true;
        if let Some(pages) = &mut self.pages {
            let kept = pages.ends_before(row)?;
            self.rows.truncate(kept);
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Result<RowSet, sqlx::Error> {
        let next = match &self.pages {
            Some(pages) if self.truncated => pages.position()?,
            _ => None,
        };
        Ok(RowSet {
            columns: self.columns.to_vec(),
            rows: self.rows,
            bytes: self.max_bytes - self.bytes_left,
            truncated: self.truncated,
            next,
        })
    }
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

/// `None` when it is longer than `most`: what nobody gets need not be read, however long it is.
fn value(row: &PgRow, i: usize, most: usize) -> Result<Option<Value>, sqlx::Error> {
    let raw = row.try_get_raw(i)?;
    if raw.is_null() {
        return Ok(Some(Value::Null));
    }
    if raw.as_bytes().map_err(sqlx::Error::Decode)?.len() > most {
        return Ok(None);
    }
    let database = raw.type_info();
    let name = database.name();
    Ok(Some(match name {
        "TEXT" | "VARCHAR" | "NAME" => Value::String(clean(get::<&str>(row, i)?)),
        "UUID" => Value::String(get::<uuid::Uuid>(row, i)?.to_string()),
        "INT2" => Value::from(get::<i16>(row, i)?),
        "INT4" => Value::from(get::<i32>(row, i)?),
        "INT8" => Value::from(get::<i64>(row, i)?),
        "FLOAT4" => number(f64::from(get::<f32>(row, i)?)),
        "FLOAT8" => number(get::<f64>(row, i)?),
        "BOOL" => Value::Bool(get::<bool>(row, i)?),
        "DATE" => Value::String(get::<NaiveDate>(row, i)?.to_string()),
        "TIMESTAMPTZ" => Value::String(timestamp(get::<DateTime<Utc>>(row, i)?)),
        "TEXT[]" => {
            let texts = get::<Vec<Option<String>>>(row, i)?;
            texts.into_iter().flatten().map(|text| Value::String(clean(&text))).collect()
        }
        other => return Err(sqlx::Error::Decode(format!("a column of type {other}").into())),
    }))
}

fn get<'r, T>(row: &'r PgRow, i: usize) -> Result<T, sqlx::Error>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get_unchecked(i)
}

/// JSON has no infinity and no "not a number".
fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// RFC 3339 in UTC. Whole seconds, which nearly all are, go the short way.
fn timestamp(at: DateTime<Utc>) -> String {
    let year = at.year();
    if at.nanosecond() != 0 || !(0..=9999).contains(&year) {
        return at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    }
    let mut text = *b"0000-00-00T00:00:00Z";
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
    text.iter().map(|&byte| char::from(byte)).collect()
}

/// Without control characters, which change what a terminal or an assistant takes the text for.
fn clean(text: &str) -> String {
    let unwanted = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.is_ascii() && !text.bytes().any(|b| unwanted(char::from(b))) {
        return text.to_owned();
    }
    text.chars().filter(|&c| !unwanted(c)).collect()
}

/// How long the value is as JSON.
fn encoded_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => {
            number.as_i64().map_or(18, |n| n.unsigned_abs().max(1).ilog10() as usize + 2)
        }
        Value::String(text) => {
            2 + text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | b'\n' | b'\t')).count()
        }
        Value::Array(values) => 2 + values.iter().map(|value| encoded_len(value) + 1).sum::<usize>(),
        Value::Object(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        for text in ["2026-11-21T09:05:07Z", "2026-11-21T09:05:07.250Z", "0999-01-01T00:00:00Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            assert_eq!(timestamp(at), text);
        }
    }

    #[test]
    fn control_characters_are_taken_out_but_not_line_ends_and_tabs() {
        assert_eq!(clean("a\u{1b}[31m\r\n\tb\u{85}é\u{7f}"), "a[31m\n\tbé");
        assert_eq!(clean("plain"), "plain");
    }

    #[test]
    fn the_counted_length_is_never_below_the_real_one() {
        for value in [
            Value::Null,
            Value::from(-1234),
            Value::from(0),
            Value::from(12.5),
            Value::from("a\"b\\c\nd\té"),
            serde_json::json!(["a", "b\""]),
            Value::Bool(false),
        ] {
            let real = serde_json::to_string(&value).unwrap().len();
            assert!(encoded_len(&value) >= real, "{value}: {real}");
        }
    }
}
