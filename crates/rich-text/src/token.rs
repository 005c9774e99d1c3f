//! Placeholders: `{{keep:panel info 3f2a91bc}}`, and `{{/keep:panel 3f2a91bc}}` where there is something inside.
//!
//! The last word is a fingerprint of what the placeholder stands for, so it stays the same while the rest of
//! the text changes, and finds its original wherever it is moved to. The words before it are for the reader.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::tree::TokenId;

const OPEN: &str = "{{keep:";
const CLOSE: &str = "{{/keep:";
const END: &str = "}}";
/// Longer placeholders are not looked for, so that a text full of beginnings is read in linear time.
const MAX_LENGTH: usize = 256;
const MAX_LABEL: usize = 80;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A node within a line.
    Inline,
    /// A formatting around some words.
    Mark,
    /// A block of its own.
    Block,
    /// A block with blocks inside.
    Group,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// The type in the tracker's format.
    pub(crate) name: String,
    label: String,
    id: String,
    /// What it stands for, as an index that the format gave out.
    pub(crate) original: usize,
}

/// The placeholders of one text.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    tokens: Vec<Token>,
    by_fingerprint: HashMap<u128, TokenId>,
    by_id: HashMap<String, TokenId>,
}

impl Tokens {
    /// A placeholder for an original; the same one for originals with equal fingerprints.
    pub(crate) fn add(
        &mut self,
        kind: TokenKind,
        name: &str,
        label: &str,
        fingerprint: u128,
        original: usize,
    ) -> TokenId {
        let fingerprint = fingerprint ^ (kind as u128);
        if let Some(&known) = self.by_fingerprint.get(&fingerprint) {
            return known;
        }
        let digits = format!("{fingerprint:032x}");
        // Two different originals with equal beginnings: the later one says more of its fingerprint.
        let id =
            [8, 16, 32].into_iter().map(|length| &digits[..length]).find(|id| !self.by_id.contains_key(*id));
        let id = id.unwrap_or(&digits).to_owned();
        let token = self.tokens.len();
        self.by_fingerprint.insert(fingerprint, token);
        self.by_id.insert(id.clone(), token);
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
        let name = if name.is_empty() { "node".to_owned() } else { name };
        self.tokens.push(Token { kind, name, label: readable(label), id, original });
        token
    }

    pub(crate) fn get(&self, token: TokenId) -> &Token {
        &self.tokens[token]
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn open(&self, token: TokenId) -> String {
        let Token { name, label, id, .. } = self.get(token);
        if label.is_empty() {
            format!("{OPEN}{name} {id}{END}")
        } else {
            format!("{OPEN}{name} {label} {id}{END}")
        }
    }

    pub(crate) fn close(&self, token: TokenId) -> String {
        let Token { name, id, .. } = self.get(token);
        format!("{CLOSE}{name} {id}{END}")
    }

    fn find(&self, inside: &str) -> Option<TokenId> {
        self.by_id.get(inside.rsplit(' ').next()?).copied()
    }
}

/// A piece of text: words, or a placeholder in them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Open(TokenId, &'a str),
    Close(TokenId, &'a str),
    /// It stands for nothing that is known.
    Unknown(&'a str),
}

/// Takes a text apart at its placeholders.
pub(crate) fn pieces<'a>(text: &'a str, tokens: &Tokens) -> Vec<Piece<'a>> {
    let mut found = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(at) = rest[from..].find("{{").map(|at| at + from) {
        let tail = &rest[at..];
        let (closes, skip) = if tail.starts_with(OPEN) {
            (false, OPEN.len())
        } else if tail.starts_with(CLOSE) {
            (true, CLOSE.len())
        } else {
            from = at + 1;
            continue;
        };
        let window = &tail[..floor(tail, MAX_LENGTH)];
        let Some(length) = window[skip..].find(END).map(|end| skip + end) else {
            from = at + skip;
            continue;
        };
        let whole = &tail[..length + END.len()];
        if at > 0 {
            found.push(Piece::Text(&rest[..at]));
        }
        found.push(match tokens.find(&tail[skip..length]) {
            Some(token) if closes => Piece::Close(token, whole),
            Some(token) => Piece::Open(token, whole),
            None => Piece::Unknown(whole),
        });
        rest = &tail[whole.len()..];
        from = 0;
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    found
}

/// Whether `text`, after one brace, makes a placeholder: then its first brace must be escaped.
pub(crate) fn begins_with_second_brace(text: &str) -> bool {
    text.starts_with(&OPEN[1..]) || text.starts_with(&CLOSE[1..])
}

/// The largest boundary of `text` that is not beyond `length`.
fn floor(text: &str, length: usize) -> usize {
    (0..=length.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A label without anything that Markdown or a placeholder could take for syntax.
fn readable(label: &str) -> String {
    let mut text = String::new();
    for character in label.chars() {
        let fine = character.is_alphanumeric() || "@.-:/?=%+,#'".contains(character) || !character.is_ascii();
        let fine = fine && !character.is_control() && !character.is_whitespace();
        if fine {
            text.push(character);
        } else if !text.ends_with(' ') && !text.is_empty() {
            text.push(' ');
        }
        if text.len() >= MAX_LABEL {
            text.push('…');
            break;
        }
    }
    text.trim().to_owned()
}

/// The 128-bit FNV-1a hash, over parts that cannot run into each other. See
/// <http://www.isthe.com/chongo/tech/comp/fnv/>. Ids made of it must not change between releases.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprint(u128);

impl Fingerprint {
    pub(crate) fn new(seed: &str) -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d).part(seed)
    }

    pub(crate) fn part(mut self, part: &str) -> Self {
        for byte in part.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        self
    }

    pub(crate) fn value(&self) -> u128 {
        self.0
    }

    /// A local id for a new node, in the shape of a UUID.
    pub(crate) fn local_id(&self) -> String {
        let digits = format!("{:032x}", self.0);
        let mut id = String::with_capacity(36);
        for (at, part) in [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().enumerate() {
            let _ = write!(id, "{}{}", if at == 0 { "" } else { "-" }, &digits[part]);
        }
        id
    }
}
