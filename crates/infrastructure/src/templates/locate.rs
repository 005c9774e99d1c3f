//! Where in a template's file something of its statement stands.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

use super::{Position, header};

/// The place in the file of a character, counted from one, of the statement as it is run. That is rendered anew, with the
/// same names in the same order and schemas before some of them.
pub fn locate(text: &str, statement: &str, character: usize) -> Option<Position> {
    let (_, written) = header::read(text).ok()?;
    let run = names(statement)?;
    let at = |(_, place): &(String, Location)| place.line == 1 && place.column == character as u64;
    let mut found = run.iter().position(at)?;
    if ["pg_catalog", "published"].contains(&run[found].0.as_str()) {
        found += 1;
    }
    let (name, _) = run.get(found)?;
    let before = run[..found].iter().filter(|(other, _)| other == name).count();
    let (_, place) = names(written)?.into_iter().filter(|(other, _)| other == name).nth(before)?;
    let start = Position::of_byte(text, text.len() - written.len());
    Position::of_parser(place).map(|place| place.within(start))
}

fn names(sql: &str) -> Option<Vec<(String, Location)>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()?;
    let name = |token: sqlparser::tokenizer::TokenWithSpan| match token.token {
        Token::Word(word) => Some((word.value.to_ascii_lowercase(), token.span.start)),
        _ => None,
    };
    Some(tokens.into_iter().filter_map(name).collect())
}
