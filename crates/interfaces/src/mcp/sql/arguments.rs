//! Arguments of the fixed tools, checked by hand: rmcp does not, and an assistant needs to be told what is wrong.

use application::Error;
use domain::{FieldError, Invalid};
use serde_json::{Map, Value};

use super::super::outcome::Failure;

/// Refuses names that are not among `known`.
pub(in super::super) fn only(arguments: &Map<String, Value>, known: &[&str]) -> Result<(), Failure> {
    let errors: Vec<FieldError> = arguments
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| FieldError {
            pointer: format!("/{name}"),
            message: "is not a parameter of this tool".into(),
            allowed: known.iter().map(|name| (*name).to_owned()).collect(),
        })
        .collect();
    Invalid::collect(errors).map_err(|invalid| Error::from(invalid).into())
}

/// A text of at most `max` characters.
pub(in super::super) fn text<'a>(
    arguments: &'a Map<String, Value>,
    name: &str,
    max: usize,
) -> Result<Option<&'a str>, Failure> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && text.chars().count() <= max => Ok(Some(text)),
        Some(_) => {
            Err(Failure::invalid(format!("/{name}"), format!("must be text of 1 to {max} characters")))
        }
    }
}

/// A whole number from 1 to `max`.
pub(in super::super) fn count(
    arguments: &Map<String, Value>,
    name: &str,
    max: u64,
) -> Result<Option<usize>, Failure> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|n| (1..=max).contains(n))
            .and_then(|n| usize::try_from(n).ok())
            .map(Some)
            .ok_or_else(|| {
                Failure::invalid(format!("/{name}"), format!("must be a whole number from 1 to {max}"))
            }),
    }
}

/// One of a few words.
pub(in super::super) fn word<'a>(
    arguments: &'a Map<String, Value>,
    name: &str,
    allowed: &[&str],
) -> Result<Option<&'a str>, Failure> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if allowed.contains(&text.as_str()) => Ok(Some(text)),
        Some(_) => {
            let message = format!("must be one of {}", allowed.join(", "));
            Err(Error::from(Invalid::not_one_of(format!("/{name}"), message, allowed.iter().copied())).into())
        }
    }
}
