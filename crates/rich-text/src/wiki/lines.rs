//! What the lines of wiki markup begin.

/// What a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins<'a> {
    Blank,
    Heading(u8, &'a str),
    Quoted(&'a str),
    Rule,
    /// The markers and the text after them.
    Item(&'a str, &'a str),
    Row,
    Text,
}

pub(super) fn begins(line: &str) -> Begins<'_> {
    let line = line.trim_end();
    let text = line.trim_start();
    if text.is_empty() {
        return Begins::Blank;
    }
    let heading = text.strip_prefix('h').and_then(|rest| {
        let level = rest.bytes().next().filter(|level| (b'1'..=b'6').contains(level))?;
        let words = rest[1..].strip_prefix('.')?;
        (words.is_empty() || words.starts_with(' ')).then_some((level - b'0', words.trim()))
    });
    if let Some((level, words)) = heading {
        return Begins::Heading(level, words);
    }
    if let Some(words) = text.strip_prefix("bq. ") {
        return Begins::Quoted(words.trim());
    }
    if text.len() >= 4 && text.bytes().all(|byte| byte == b'-') {
        return Begins::Rule;
    }
    let markers = text.len() - text.trim_start_matches(['*', '#', '-']).len();
    if markers > 0 && text[markers..].starts_with([' ', '\t']) {
        let (markers, words) = text.split_at(markers);
        if !markers.contains('-') || markers == "-" {
            return Begins::Item(markers, words.trim());
        }
    }
    if text.starts_with('|') && text.len() > 1 { Begins::Row } else { Begins::Text }
}

/// The end of the line that holds `from`, without its line break.
pub(super) fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |at| from + at)
}

/// A block macro: `{code:java}`, its name and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Macro<'a> {
    pub(super) name: &'static str,
    pub(super) parameters: &'a str,
    /// The length of the whole tag.
    pub(super) length: usize,
}

/// The block macro that `text` begins with.
pub(super) fn block_macro(text: &str) -> Option<Macro<'_>> {
    ["code", "noformat", "quote", "panel"].into_iter().find_map(|name| {
        let rest = text.strip_prefix('{')?.strip_prefix(name)?;
        let end = rest.find(['}', '\n']).filter(|end| rest[*end..].starts_with('}'))?;
        let parameters = match rest.as_bytes().first()? {
            b'}' => "",
            b':' => &rest[1..end],
            _ => return None,
        };
        Some(Macro { name, parameters, length: 1 + name.len() + end + 1 })
    })
}

/// The cells of a row and whether it is of headings; `None` when it is not that simple.
pub(super) fn cells(line: &str) -> Option<(bool, Vec<&str>)> {
    let line = line.trim();
    let is_header = line.starts_with("||");
    let separator = if is_header { "||" } else { "|" };
    let inside = line.strip_prefix(separator)?;
    let inside = inside.strip_suffix(separator)?;
    let mut found = Vec::new();
    let (mut from, mut at, mut depth) = (0, 0, 0_u32);
    let bytes = inside.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                let double = bytes.get(at + 1) == Some(&b'|');
                if double != is_header {
                    return None;
                }
                found.push(inside[from..at].trim());
                at += separator.len() - 1;
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.push(inside.get(from..)?.trim());
    Some((is_header, found))
}
