//! The text effects, links and images of wiki markup.

use std::collections::HashMap;

use super::read::Reader;
use crate::token::TokenKind;
use crate::tree::{Inline, InlineKind, Mark, normal};

/// Effects within effects, and links' texts, that are looked into.
const MAX_DEPTH: usize = 10;

/// Reads a line, or several.
pub(super) fn read(text: &str, reader: &mut Reader<'_>) -> Vec<Inline> {
    let mut found = Vec::new();
    Scan { reader, out: &mut found, text, none: HashMap::new(), endless: HashMap::new(), line: 0..0 }.run(
        0,
        text.len(),
        &[],
        0,
    );
    normal(&found)
}

struct Scan<'s, 'r, 'a> {
    reader: &'r mut Reader<'a>,
    out: &'s mut Vec<Inline>,
    text: &'s str,
    /// From where on there is no such sign any more.
    none: HashMap<&'static str, usize>,
    /// Up to where no effect of this sign ends.
    endless: HashMap<char, usize>,
    /// The line that was looked at last.
    line: std::ops::Range<usize>,
}

/// The effects by their signs; cites have no Markdown.
const EFFECTS: [(char, Option<Mark>); 6] = [
    ('*', Some(Mark::Strong)),
    ('_', Some(Mark::Em)),
    ('-', Some(Mark::Strike)),
    ('+', Some(Mark::Underline)),
    ('^', Some(Mark::Sup)),
    ('~', Some(Mark::Sub)),
];

impl Scan<'_, '_, '_> {
    fn run(&mut self, from: usize, to: usize, marks: &[Mark], depth: usize) {
        let text = self.text;
        let (mut at, mut plain) = (from, String::new());
        while at < to {
            let rest = &text[at..to];
            let Some(character) = rest.chars().next() else { break };
            let taken = match character {
                '\\' if rest.starts_with("\\\\") => {
                    self.flush(&mut plain, marks);
                    self.out.push(Inline::new(InlineKind::Break, Vec::new()));
                    let rest = &rest[2..];
                    2 + usize::from(rest.starts_with('\n'))
                }
                '\\' => match rest[1..].chars().next() {
                    Some(next) if next.is_ascii_punctuation() => {
                        plain.push(next);
                        1 + next.len_utf8()
                    }
                    _ => 0,
                },
                '&' => match entity(rest) {
                    Some((length, decoded)) => {
                        plain.push(decoded);
                        length
                    }
                    None => 0,
                },
                _ if depth >= MAX_DEPTH => 0,
                '{' => self.brace(at, to, marks, depth, &mut plain),
                '[' => self.link(at, to, marks, depth, &mut plain),
                '!' => self.image(at, to, marks, &mut plain),
                '?' if rest.starts_with("??") => self.cite(at, to, marks, depth, &mut plain),
                _ => self.effect(at, from, to, character, marks, depth, &mut plain),
            };
            if taken == 0 {
                plain.push(character);
                at += character.len_utf8();
            } else {
                at += taken;
            }
        }
        self.flush(&mut plain, marks);
    }

    fn flush(&mut self, plain: &mut String, marks: &[Mark]) {
        if !plain.is_empty() {
            self.out.push(Inline::new(InlineKind::Text(std::mem::take(plain)), marks.to_vec()));
        }
    }

    fn inside(&mut self, from: usize, to: usize, marks: &[Mark], mark: Mark, depth: usize) {
        let mut marks = marks.to_vec();
        marks.push(mark);
        marks.sort();
        marks.dedup();
        self.run(from, to, &marks, depth + 1);
    }

    /// Where `sign` is next, between two places.
    fn find(&mut self, sign: &'static str, from: usize, to: usize) -> Option<usize> {
        if self.none.get(sign).is_some_and(|none| from >= *none) {
            return None;
        }
        let found = self.text[from..to].find(sign).map(|at| from + at);
        if found.is_none() && to == self.text.len() {
            self.none.insert(sign, from);
        }
        found
    }

    /// The end of the line at a place; the line is remembered.
    fn line_end(&mut self, at: usize) -> usize {
        if !self.line.contains(&at) {
            self.line = at..self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
        }
        self.line.end
    }

    fn brace(&mut self, at: usize, to: usize, marks: &[Mark], depth: usize, plain: &mut String) -> usize {
        let text = self.text;
        let rest = &text[at..to];
        if rest.starts_with("{{") && !rest.starts_with("{{{") {
            let Some(end) = self.find("}}", at + 2, to).filter(|end| !text[at + 2..*end].contains('\n'))
            else {
                return 0;
            };
            let code = &text[at + 2..end];
            if code.trim().is_empty() {
                return 0;
            }
            self.flush(plain, marks);
            let mut marks = marks.to_vec();
            marks.push(Mark::Code);
            self.out.push(Inline::new(InlineKind::Text(unescaped(code)), marks));
            return end + 2 - at;
        }
        for (sign, mark) in EFFECTS {
            let tag: &'static str = tag_of(sign);
            if let (true, Some(mark)) = (rest.starts_with(tag), mark) {
                let Some(end) = self.find(tag, at + 3, to).filter(|end| *end > at + 3) else {
                    return 0;
                };
                self.flush(plain, marks);
                self.inside(at + 3, end, marks, mark, depth);
                return end + 3 - at;
            }
        }
        let Some(color) = rest.strip_prefix("{color:") else {
            return 0;
        };
        let Some(name) =
            color.find('}').map(|end| &color[..end]).filter(|name| name.len() <= 32 && !name.contains('\n'))
        else {
            return 0;
        };
        let start = at + "{color:}".len() + name.len();
        let Some(end) = self.find("{color}", start, to) else {
            return 0;
        };
        self.flush(plain, marks);
        let token = self.reader.keep(TokenKind::Mark, "color", name, &format!("{{color:{name}}}"), "{color}");
        self.inside(start, end, marks, Mark::Kept(token), depth);
        end + "{color}".len() - at
    }

    fn cite(&mut self, at: usize, to: usize, marks: &[Mark], depth: usize, plain: &mut String) -> usize {
        let found =
            self.find("??", at + 2, to).filter(|end| *end > at + 2 && !self.text[at..*end].contains('\n'));
        let Some(end) = found else {
            return 0;
        };
        self.flush(plain, marks);
        let token = self.reader.keep(TokenKind::Mark, "cite", "", "??", "??");
        self.inside(at + 2, end, marks, Mark::Kept(token), depth);
        end + 2 - at
    }

    fn link(&mut self, at: usize, to: usize, marks: &[Mark], depth: usize, plain: &mut String) -> usize {
        let text = self.text;
        let Some(end) = closing_bracket(&text[at + 1..to]).map(|end| at + 1 + end) else {
            return 0;
        };
        let inside = &text[at + 1..end];
        let kept = match inside.chars().next() {
            Some('~') if inside.len() > 1 => Some("mention"),
            Some('^') if inside.len() > 1 => Some("attachment"),
            _ => None,
        };
        if let Some(name) = kept {
            self.flush(plain, marks);
            let whole = &text[at..=end];
            let token = self.reader.keep(TokenKind::Inline, name, &inside[1..], whole, "");
            self.out.push(Inline::new(InlineKind::Kept(token), Vec::new()));
            return end + 1 - at;
        }
        let (words, target) = match unescaped_bar(inside) {
            Some(bar) => (Some(&inside[..bar]), &inside[bar + 1..]),
            None => (None, inside),
        };
        let (href, title) = match target.split_once('|') {
            Some((href, title)) if words.is_some() => (href, title),
            _ => (target, ""),
        };
        let in_link = marks.iter().any(|mark| matches!(mark, Mark::Link { .. }));
        if in_link || !is_target(href, words.is_some()) || words.is_some_and(|words| words.trim().is_empty())
        {
            return 0;
        }
        self.flush(plain, marks);
        let mark = Mark::Link { href: unescaped(href), title: title.to_owned() };
        match words {
            Some(words) => self.inside(at + 1, at + 1 + words.len(), marks, mark, depth),
            None => {
                let mut marks = marks.to_vec();
                marks.push(mark);
                marks.sort();
                self.out.push(Inline::new(InlineKind::Text(unescaped(href)), marks));
            }
        }
        end + 1 - at
    }

    fn image(&mut self, at: usize, to: usize, marks: &[Mark], plain: &mut String) -> usize {
        let text = self.text;
        let Some(end) = self.find("!", at + 1, to).filter(|end| end - at <= 1_000) else {
            return 0;
        };
        let inside = &text[at + 1..end];
        let (file, parameters) =
            inside.split_once('|').map_or((inside, None), |(file, rest)| (file, Some(rest)));
        let is_file = file.rsplit_once('.').is_some_and(|(name, ending)| {
            !name.is_empty()
                && (2..=5).contains(&ending.len())
                && ending.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        let is_url = file.starts_with("http://") || file.starts_with("https://");
        let spaced = inside.starts_with(char::is_whitespace) || inside.ends_with(char::is_whitespace);
        if spaced || inside.contains('\n') || !(is_file || is_url) {
            return 0;
        }
        self.flush(plain, marks);
        let alt = parameters
            .map_or(Some(""), |parameters| parameters.strip_prefix("alt="))
            .filter(|alt| !alt.contains([',', '|', '=']));
        if let (true, Some(alt)) = (is_url, alt) {
            let kind = InlineKind::Image { url: unescaped(file), alt: alt.to_owned() };
            self.out.push(Inline::new(kind, Vec::new()));
        } else {
            let token = self.reader.keep(TokenKind::Inline, "image", file, &text[at..=end], "");
            self.out.push(Inline::new(InlineKind::Kept(token), Vec::new()));
        }
        end + 1 - at
    }

    #[expect(clippy::too_many_arguments, reason = "a place in a text, and the state around it")]
    fn effect(
        &mut self,
        at: usize,
        from: usize,
        to: usize,
        character: char,
        marks: &[Mark],
        depth: usize,
        plain: &mut String,
    ) -> usize {
        let Some((_, Some(mark))) = EFFECTS.iter().find(|(sign, _)| *sign == character) else {
            return 0;
        };
        let text = self.text;
        let before = text[from..at].chars().next_back();
        let after = text[at + 1..to].chars().next();
        let opens = before.is_none_or(|c| !c.is_alphanumeric() && c != character && c != '\\')
            && after.is_some_and(|c| !c.is_whitespace() && c != character);
        let sign = sign_of(character);
        if !opens {
            return 0;
        }
        if self.endless.get(&character).is_some_and(|end| at < *end) {
            return 0;
        }
        let line = self.line_end(at).min(to);
        let mut search = at + 1;
        while let Some(end) = text[search..line].find(sign).map(|end| search + end) {
            let inner = text[at + 1..end].chars().next_back();
            let next = text[end + 1..to].chars().next();
            let closes = inner.is_some_and(|c| !c.is_whitespace() && c != '\\' && c != character)
                && next.is_none_or(|c| !c.is_alphanumeric() && c != character);
            if closes {
                self.flush(plain, marks);
                self.inside(at + 1, end, marks, mark.clone(), depth);
                return end + 1 - at;
            }
            search = end + 1;
        }
        self.endless.insert(character, line);
        0
    }
}

fn tag_of(sign: char) -> &'static str {
    match sign {
        '*' => "{*}",
        '_' => "{_}",
        '-' => "{-}",
        '+' => "{+}",
        '^' => "{^}",
        _ => "{~}",
    }
}

fn sign_of(sign: char) -> &'static str {
    match sign {
        '*' => "*",
        '_' => "_",
        '-' => "-",
        '+' => "+",
        '^' => "^",
        _ => "~",
    }
}

/// The character of a numeric entity, and the entity's length.
fn entity(text: &str) -> Option<(usize, char)> {
    let digits = text.strip_prefix("&#")?;
    let end = digits.find(';').filter(|end| (1..=7).contains(end))?;
    let decoded =
        char::from_u32(digits[..end].parse().ok()?).filter(|c| *c >= ' ' || matches!(c, '\n' | '\t'))?;
    Some((end + 3, decoded))
}

fn closing_bracket(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().take(2_000) {
        match character {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => return None,
            ']' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescaped_bar(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, character)| {
        let found = character == '|' && !escaped;
        escaped = character == '\\' && !escaped;
        found.then_some(at)
    })
}

/// Whether a link leads anywhere: `[INFO]` in a log does not.
fn is_target(href: &str, named: bool) -> bool {
    let scheme = ["http://", "https://", "ftp://", "mailto:", "file:", "#", "//", "www."];
    !href.is_empty()
        && !href.contains(char::is_whitespace)
        && (scheme.iter().any(|scheme| href.starts_with(scheme)) || named && !href.contains('|'))
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(next) if character == '\\' && next.is_ascii_punctuation() => {
                out.push(*next);
                characters.next();
            }
            _ => out.push(character),
        }
    }
    out
}
