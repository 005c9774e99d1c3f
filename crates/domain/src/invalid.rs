//! What is wrong with input, field by field.

use std::fmt;

use serde::Serialize;

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) to the field, for example `/settings/repositories/0`.
    pub pointer: String,
    /// What is wrong and what would be right, as a sentence part: "must be between 1 and 100".
    pub message: String,
    /// The values that would be accepted, where they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

/// Input that breaks a rule; lists every broken rule, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// At least one.
    pub errors: Vec<FieldError>,
}

impl Invalid {
    /// A single broken rule.
    pub fn one(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            errors: vec![FieldError {
                pointer: pointer.into(),
                message: message.into(),
                allowed: Vec::new(),
            }],
        }
    }

    /// A single broken rule with the values that would be accepted.
    pub fn not_one_of<T: Into<String>>(
        pointer: impl Into<String>,
        message: impl Into<String>,
        allowed: impl IntoIterator<Item = T>,
    ) -> Self {
        let allowed = allowed.into_iter().map(Into::into).collect();
        Self { errors: vec![FieldError { pointer: pointer.into(), message: message.into(), allowed }] }
    }

    /// `Ok` when nothing was collected.
    pub fn collect(errors: Vec<FieldError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self { errors }) }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(
                f,
                "{} {}",
                if error.pointer.is_empty() { "the input" } else { &error.pointer },
                error.message
            )?;
        }
        Ok(())
    }
}
