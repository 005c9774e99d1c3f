//! Text that must not be read as Markdown.

use super::Care;
use crate::token;

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) care: Care,
    /// In a table's cell or a heading: one line, whatever is in it.
    pub(super) one_line: bool,
    pub(super) in_cell: bool,
    pub(super) in_link: bool,
    /// Nothing stands before it on its line.
    pub(super) line_start: bool,
    /// Nothing comes after it in its block.
    pub(super) last: bool,
    pub(super) before_link: bool,
}

/// Writes `text` so that it is read as itself.
pub(super) fn escape(out: &mut String, text: &str, place: Place) {
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    let mut line_start = place.line_start;
    let mut in_number = 0;
    for (at, &(offset, character)) in characters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| characters[at].1);
        let after = characters.get(at + 1).map(|next| next.1);
        let numbered =
            line_start && character.is_ascii_digit() || in_number > 0 && character.is_ascii_digit();
        match character {
            '\n' => {
                let blank = |c: Option<char>| c.is_none_or(|c| c.is_whitespace());
                if place.one_line || place.care == Care::Strict || blank(before) || blank(after) {
                    out.push_str("&#10;");
                } else {
                    out.push('\n');
                    (line_start, in_number) = (true, 0);
                    continue;
                }
            }
            ' ' | '\t' | '\r' | '\u{b}' | '\u{c}' => {
                let at_edge = line_start
                    || place.last && after.is_none()
                    || place.in_cell && (at == 0 || after.is_none())
                    || before == Some('\n')
                    || after == Some('\n')
                    || character == ' ' && after == Some(' ') && ends_line(&characters[at..]);
                if at_edge || character != ' ' && (character != '\t' || place.care == Care::Strict) {
                    out.push_str(&format!("&#{};", u32::from(character)));
                } else {
                    out.push(character);
                }
            }
            _ if character.is_ascii_punctuation() => {
                let number_ends = in_number > 0 && matches!(character, '.' | ')');
                let escaped = place.care == Care::Strict
                    || number_ends
                    || is_syntax(character, before, after, &text[offset..], line_start, place);
                if escaped {
                    out.push('\\');
                }
                out.push(character);
            }
            _ => out.push(character),
        }
        in_number = if numbered { in_number + 1 } else { 0 };
        line_start = false;
    }
}

fn ends_line(rest: &[(usize, char)]) -> bool {
    rest.iter().map(|next| next.1).find(|c| *c != ' ').is_none_or(|c| c == '\n')
}

fn is_syntax(
    character: char,
    before: Option<char>,
    after: Option<char>,
    rest: &str,
    line_start: bool,
    place: Place,
) -> bool {
    match character {
        '`' | '*' | '[' | '~' => true,
        '\\' => after.is_none_or(|c| c.is_ascii_punctuation() || c == '\n'),
        '_' => !(before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)),
        ']' => place.in_link,
        '|' => place.in_cell,
        '<' => after.is_none_or(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')),
        '&' => is_entity(&rest[1..]),
        '!' => after.is_none() && place.before_link,
        // The second brace: an escaped first one would still leave the beginning in one piece.
        '{' => before == Some('{') && token::begins_with_second_brace(rest),
        '#' | '>' | '+' | '-' | '=' | ':' => line_start,
        _ => false,
    }
}

fn is_entity(rest: &str) -> bool {
    let name = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '#');
    name.is_some_and(|end| end > 0 && end <= 40 && rest[end..].starts_with(';'))
}
