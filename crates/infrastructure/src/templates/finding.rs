//! What is wrong with a template, and where.

use std::fmt;
use std::ops::Range;

use sqlparser::tokenizer::Location;

/// A place in a file, counted from one as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The character in the line.
    pub column: u64,
}

impl Position {
    /// Of a byte of `text`; its end when there are fewer bytes.
    pub(super) fn of_byte(text: &str, byte: usize) -> Self {
        let mut end = byte.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() as u64 + 1, column: line.chars().count() as u64 + 1 }
    }

    /// As the parser says it; it knows no place for what it has made up itself.
    pub(super) fn of_parser(Location { line, column }: Location) -> Option<Self> {
        (line > 0).then_some(Self { line, column })
    }

    /// The place in a file of a place in a part of it that begins at `start`.
    pub(super) fn within(self, start: Self) -> Self {
        match self.line {
            1 => Self { line: start.line, column: start.column + self.column - 1 },
            line => Self { line: start.line + line - 1, column: self.column },
        }
    }
}

/// One reason why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where in the file, when it has a place.
    pub at: Option<Position>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Finding {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into() }
    }

    pub(super) fn at(mut self, at: Option<Position>) -> Self {
        self.at = at;
        self
    }

    /// At a stretch of bytes of `text`.
    pub(super) fn in_text(self, text: &str, bytes: Option<Range<usize>>) -> Self {
        self.at(bytes.map(|bytes| Position::of_byte(text, bytes.start)))
    }

    /// What was found in a part of a file that begins at `start`.
    pub(super) fn within(mut self, start: Position) -> Self {
        self.at = self.at.map(|at| at.within(start));
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.at {
            Some(Position { line, column }) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_part_is_counted_from_the_beginning_of_the_file() {
        let file = "/*\nüber = 1\n*/ select a\nfrom b";
        let start = Position::of_byte(file, file.find(" select").unwrap());
        assert_eq!(start, Position { line: 3, column: 3 });
        let of =
            |line, column| Finding::new("x").at(Some(Position { line, column })).within(start).at.unwrap();
        assert_eq!(of(1, 2), Position { line: 3, column: 4 });
        assert_eq!(of(2, 6), Position { line: 4, column: 6 });
        assert_eq!(Position::of_byte(file, file.find("= 1").unwrap()), Position { line: 2, column: 6 });
    }
}
