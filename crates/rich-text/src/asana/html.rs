//! Just enough of HTML to find Asana's tags and leave everything else as text.

use std::ops::Range;

/// Elements within elements; deeper tags are passed over, and their text is kept.
const MAX_DEPTH: usize = 40;
/// A tag that is longer is text.
const MAX_TAG: usize = 8_000;

#[derive(Debug)]
pub(super) enum Node<'a> {
    Text(Range<usize>),
    Element(Element<'a>),
}

#[derive(Debug)]
pub(super) struct Element<'a> {
    /// In small letters.
    pub(super) name: String,
    /// Everything after the name in the tag.
    pub(super) attributes: &'a str,
    /// From the beginning of its first tag to the end of its last.
    pub(super) place: Range<usize>,
    pub(super) children: Vec<Node<'a>>,
}

impl<'a> Element<'a> {
    /// An attribute's value, decoded.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        self.attributes().find(|(key, _)| *key == name).map(|(_, value)| decoded(value))
    }

    /// Names and values of the attributes, as they are written.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            rest = rest.trim_start();
            let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            let name = &rest[..end];
            rest = rest[end..].trim_start();
            let Some(after) = rest.strip_prefix('=').map(str::trim_start) else {
                return Some((name, ""));
            };
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (from, end) = match quote {
                Some(quote) => (1, after[1..].find(quote).map_or(after.len(), |end| end + 1)),
                None => (0, after.find(char::is_whitespace).unwrap_or(after.len())),
            };
            let value = &after[from..end];
            rest = after.get(end + from..).unwrap_or_default();
            Some((name, value))
        })
    }
}

/// The nodes of a text.
pub(super) fn parse(source: &str) -> Vec<Node<'_>> {
    let mut open: Vec<Element<'_>> = Vec::new();
    let mut roots: Vec<Node<'_>> = Vec::new();
    let mut text = 0;
    let mut at = 0;
    // The next end of a tag, so that it is looked for once.
    let mut closing = 0;
    while let Some(start) = source[at..].find('<').map(|found| at + found) {
        if closing <= start {
            closing = source[start..].find('>').map_or(usize::MAX, |end| start + end);
        }
        if closing == usize::MAX {
            break;
        }
        let Some((tag, end)) = tag(source, start, closing) else {
            at = start + 1;
            continue;
        };
        if text < start {
            push(&mut open, &mut roots, Node::Text(text..start));
        }
        (text, at) = (end, end);
        match tag {
            Tag::Open { name, attributes, empty } => {
                let element = Element { name, attributes, place: start..end, children: Vec::new() };
                if empty || matches!(element.name.as_str(), "br" | "hr" | "img") {
                    push(&mut open, &mut roots, Node::Element(element));
                } else if open.len() < MAX_DEPTH {
                    open.push(element);
                }
            }
            Tag::Close { name } => {
                let Some(depth) = open.iter().rposition(|element| element.name == name) else {
                    continue;
                };
                while open.len() > depth {
                    close(&mut open, &mut roots, end);
                }
            }
        }
    }
    if text < source.len() {
        push(&mut open, &mut roots, Node::Text(text..source.len()));
    }
    while !open.is_empty() {
        close(&mut open, &mut roots, source.len());
    }
    roots
}

fn push<'a>(open: &mut [Element<'a>], roots: &mut Vec<Node<'a>>, node: Node<'a>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(node),
        None => roots.push(node),
    }
}

fn close<'a>(open: &mut Vec<Element<'a>>, roots: &mut Vec<Node<'a>>, end: usize) {
    if let Some(mut element) = open.pop() {
        element.place.end = end;
        push(open, roots, Node::Element(element));
    }
}

enum Tag<'a> {
    Open { name: String, attributes: &'a str, empty: bool },
    Close { name: String },
}

fn tag(source: &str, start: usize, closing: usize) -> Option<(Tag<'_>, usize)> {
    let rest = &source[start + 1..closing];
    let closes = rest.starts_with('/');
    let name_at = usize::from(closes);
    if !rest[name_at..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let inside = &rest[name_at..];
    if inside.len() > MAX_TAG {
        return None;
    }
    let name_end = inside.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inside.len());
    let name = inside[..name_end].to_ascii_lowercase();
    let attributes = inside[name_end..].trim();
    let end = closing + 1;
    if closes {
        return Some((Tag::Close { name }, end));
    }
    let empty = attributes.ends_with('/');
    let attributes = attributes.strip_suffix('/').unwrap_or(attributes);
    Some((Tag::Open { name, attributes, empty }, end))
}

/// Text with its entities decoded.
pub(super) fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let character = end.and_then(|end| entity(&rest[1..end]).map(|character| (end, character)));
        match character {
            Some((end, character)) => {
                out.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Text that is no markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A value between double quotes.
pub(super) fn attribute(value: &str) -> String {
    escaped(value).replace('"', "&quot;")
}

/// A source's words without its tags.
pub(super) fn words(source: &str) -> String {
    let mut out = String::new();
    let nodes = parse(source);
    let mut waiting: Vec<&Node<'_>> = nodes.iter().rev().collect();
    while let Some(node) = waiting.pop() {
        match node {
            Node::Text(place) => {
                out.push_str(&decoded(&source[place.clone()]));
                out.push(' ');
            }
            Node::Element(element) => waiting.extend(element.children.iter().rev()),
        }
    }
    out
}
