//! JQL from outside: read as tokens, written anew, and put in brackets behind the projects that may be seen.
//!
//! What is sent is never the text as it came. Every token is one that Jira's own lexer reads the same way: words of plain
//! signs, strings in double quotes with no escapes but of quote and backslash. Brackets are balanced and `ORDER BY` stands
//! outside of them, so nothing in the text can end the brackets that are put around it
//! (<https://support.atlassian.com/jira-software-cloud/docs/jql-developer-status/>, "reserved characters").

use application::ports::{Bounds, HiddenFields, SourceError, SourceErrorKind};

use super::is_hidden_key;
use super::projects::Seen;

const MOST_CHARS: usize = 8_000;
const MOST_DEPTH: usize = 40;
/// As Jira takes it.
const MOST_ORDER: usize = 7;
const SIGNS: [&str; 11] = ["!=", "!~", ">=", "<=", "=", ">", "<", "~", "(", ")", ","];
/// Fields whose values are issues.
const ISSUE_FIELDS: [&str; 7] = ["key", "issue", "issuekey", "id", "parent", "epic link", "parentepic"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    /// Whether there was room before it.
    apart: bool,
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(text) if text.eq_ignore_ascii_case(word))
    }

    fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign(sign_of(sign))
    }

    fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(text) | Kind::Quoted(text) => Some(text),
            Kind::Sign(_) => None,
        }
    }
}

fn sign_of(sign: &str) -> &'static str {
    SIGNS.into_iter().find(|known| *known == sign).unwrap_or_default()
}

/// A search that was read.
#[derive(Debug)]
pub(super) struct Query {
    restriction: Vec<Token>,
    order: Vec<Token>,
}

fn refused(message: impl Into<String>) -> SourceError {
    SourceError {
        field: Some("/jql".into()),
        ..SourceError::new(SourceErrorKind::Rejected, format!("the JQL was not sent: {}", message.into()))
    }
}

impl Query {
    /// Reads it; the error says what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        if text.chars().count() > MOST_CHARS {
            return Err(refused(format!("it is longer than {MOST_CHARS} characters")));
        }
        let mut restriction = tokens(text)?;
        let mut depth: usize = 0;
        let mut order_at = None;
        for (at, token) in restriction.iter().enumerate() {
            match token.kind {
                Kind::Sign("(") => depth += 1,
                Kind::Sign(")") => {
                    depth = depth.checked_sub(1).ok_or_else(|| refused("there is a `)` without its `(`"))?;
                }
                _ => {}
            }
            if depth > MOST_DEPTH {
                return Err(refused(format!("brackets stand in more than {MOST_DEPTH} others")));
            }
            if token.is_word("order") {
                if depth > 0 || order_at.is_some() {
                    return Err(refused(
                        "`ORDER BY` can stand only once, at the end and outside of brackets",
                    ));
                }
                order_at = Some(at);
            }
        }
        if depth > 0 {
            return Err(refused("there is a `(` without its `)`"));
        }
        let order = restriction.split_off(order_at.unwrap_or(restriction.len()));
        check_order(&order)?;
        Ok(Self { restriction, order })
    }

    /// Refuses to name what may not be seen, in the same words whether it exists or not.
    pub(super) fn check(&self, within: &Bounds, seen: &[Seen]) -> Result<(), SourceError> {
        let mut field = String::new();
        let mut calls = Vec::new();
        for (at, token) in self.restriction.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| self.restriction.get(at));
            match &token.kind {
                Kind::Sign("(") => calls.push(before.is_some_and(|before| {
                    matches!(before.kind, Kind::Word(_))
                        && !["in", "and", "or", "not"].iter().any(|word| before.is_word(word))
                })),
                Kind::Sign(")") => drop(calls.pop()),
                Kind::Sign(_) => {}
                Kind::Word(text) | Kind::Quoted(text) => {
                    if self.is_operated(at) {
                        field = text.trim().to_lowercase();
                        continue;
                    }
                    let in_call = calls.contains(&true);
                    let of_issue = in_call || ISSUE_FIELDS.contains(&field.as_str());
                    if of_issue && is_hidden_key(text, within) {
                        return Err(outside(&format!("the issue {}", text.trim()), seen));
                    }
                    let is_call = self.restriction.get(at + 1).is_some_and(|next| next.is_sign("("));
                    if field == "project" && !in_call && !is_call && !is_keyword(token) && !names(seen, text)
                    {
                        return Err(outside(&format!("the project {}", text.trim()), seen));
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses to name what the tenant's policy hides: what is found and in which order tells its values.
    pub(super) fn refuse_hidden(&self, hidden: &HiddenFields) -> Result<(), SourceError> {
        if hidden.is_empty() {
            return Ok(());
        }
        let fields = self.restriction.iter().enumerate().filter(|(at, _)| {
            let calls = self.restriction.get(at + 1).is_some_and(|next| next.is_sign("("));
            self.is_operated(*at) || calls
        });
        for token in fields.map(|(_, token)| token).chain(&self.order) {
            let Some(name) = token.text().map(str::trim) else { continue };
            // Cloud lets people write `"Salary[Number]"`.
            let plain = name.rsplit_once('[').map_or(name, |(plain, _)| plain);
            if hidden.has(name) || hidden.has(plain) {
                return Err(refused(format!("the field `{name}` is hidden by this tenant's policy")));
            }
            // These look into every field that holds text, and into whatever somebody saved.
            let all = ["text", "textfields", "filter", "savedfilter", "searchrequest", "request"];
            if all.iter().any(|all| name.eq_ignore_ascii_case(all)) {
                return Err(refused(format!(
                    "`{name}` may look into fields that this tenant's policy hides: name a field, such as summary"
                )));
            }
            if name.starts_with('[') || name.eq_ignore_ascii_case("cf") {
                return Err(refused("write a custom field's number without room before it: cf[10010]"));
            }
        }
        Ok(())
    }

    /// Whether an operator follows: then it is a field.
    fn is_operated(&self, at: usize) -> bool {
        let Some(next) = self.restriction.get(at + 1) else { return false };
        match &next.kind {
            Kind::Sign(sign) => !["(", ")", ","].contains(sign),
            Kind::Word(_) => {
                let operator = ["in", "not", "is", "was", "changed"].iter().any(|word| next.is_word(word));
                operator && !is_keyword(&self.restriction[at])
            }
            Kind::Quoted(_) => false,
        }
    }

    /// The text to be sent: within these projects, by their ids, where there are any bounds.
    pub(super) fn render(&self, projects: Option<&[Seen]>) -> String {
        let own = text(&self.restriction);
        let mut jql = match projects {
            // Jira takes no search without a restriction.
            None if own.is_empty() => "project is not EMPTY".to_owned(),
            None => own,
            Some(projects) => {
                let ids: Vec<&str> = projects.iter().map(|project| project.id.as_str()).collect();
                let bounds = format!("project in ({})", ids.join(", "));
                if own.is_empty() { bounds } else { format!("{bounds} AND ({own})") }
            }
        };
        jql.push(' ');
        if self.order.is_empty() {
            jql.push_str("ORDER BY updated DESC, key ASC");
        } else {
            jql.push_str(&text(&self.order));
            // Without a last word on the order, pages may overlap.
            let commas = self.order.iter().filter(|token| token.is_sign(",")).count();
            let by_key = ["key", "issuekey", "id", "issue"];
            if commas + 1 < MOST_ORDER && !self.order.iter().any(|t| by_key.iter().any(|key| t.is_word(key)))
            {
                jql.push_str(", key ASC");
            }
        }
        jql
    }
}

fn outside(what: &str, seen: &[Seen]) -> SourceError {
    let keys = seen.iter().take(20).map(|project| project.key.clone()).collect();
    SourceError::unknown_value(
        "/jql",
        format!("{what} does not exist among the projects that you may see"),
        keys,
    )
}

fn names(seen: &[Seen], text: &str) -> bool {
    let text = text.trim();
    seen.iter().any(|project| {
        project.id == text
            || project.key.eq_ignore_ascii_case(text)
            || project.name.eq_ignore_ascii_case(text)
    })
}

fn is_keyword(token: &Token) -> bool {
    const WORDS: [&str; 18] = [
        "and", "or", "not", "in", "is", "was", "changed", "empty", "null", "order", "by", "after", "before",
        "during", "on", "from", "to", "of",
    ];
    WORDS.iter().any(|word| token.is_word(word))
}

fn check_order(order: &[Token]) -> Result<(), SourceError> {
    let Some((_, rest)) = order.split_first() else { return Ok(()) };
    let wrong = || refused("after `ORDER BY` come up to 7 fields with ASC or DESC, divided by commas");
    let Some((by, fields)) = rest.split_first() else { return Err(wrong()) };
    let mut count = 0;
    for field in fields.split(|token| token.is_sign(",")) {
        count += 1;
        let well = match field {
            [name] => name.text().is_some() && !is_keyword(name),
            [name, way] => name.text().is_some() && (way.is_word("asc") || way.is_word("desc")),
            _ => false,
        };
        if !well || count > MOST_ORDER {
            return Err(wrong());
        }
    }
    if by.is_word("by") { Ok(()) } else { Err(wrong()) }
}

fn tokens(text: &str) -> Result<Vec<Token>, SourceError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let apart = trimmed.len() < rest.len();
        rest = trimmed;
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (kind, after) = if first == '"' || first == '\'' {
            let (inside, after) = quoted(&rest[1..], first)?;
            (Kind::Quoted(inside), after)
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Kind::Sign(sign), &rest[sign.len()..])
        } else {
            let end = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(refused(match first {
                    '!' => "write NOT instead of `!`".to_owned(),
                    '&' | '|' => "write AND and OR instead of signs".to_owned(),
                    c if c.is_control() || c.is_whitespace() => "it holds an invisible character".to_owned(),
                    c => format!("put the value that holds `{c}` in double quotes"),
                }));
            }
            (Kind::Word(rest[..end].to_owned()), &rest[end..])
        };
        tokens.push(Token { kind, apart });
        rest = after;
    }
}

/// What words are made of, and Jira reads as nothing else.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '[' | ']' | '+' | '#' | '@' | '*')
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), SourceError> {
    let mut inside = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == quote {
            return Ok((inside, rest));
        }
        let read = if c == '\\' {
            let (read, after) = escaped(rest)?;
            rest = after;
            read
        } else {
            c
        };
        if read.is_control() && !matches!(read, '\n' | '\r' | '\t') {
            return Err(refused("a string holds a control character"));
        }
        inside.push(read);
    }
    Err(refused("a string has no closing quote"))
}

fn escaped(text: &str) -> Result<(char, &str), SourceError> {
    let wrong = || {
        refused("a string holds a backslash before something else than a quote, n, r, t, u or a backslash")
    };
    let c = text.chars().next().ok_or_else(wrong)?;
    let rest = &text[c.len_utf8()..];
    let read = match c {
        '\\' | '"' | '\'' | ' ' => c,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let digits = rest.get(..4).ok_or_else(wrong)?;
            let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or_else(wrong)?;
            return Ok((code, &rest[4..]));
        }
        _ => return Err(wrong()),
    };
    Ok((read, rest))
}

fn text(tokens: &[Token]) -> String {
    let mut text = String::new();
    let mut before: Option<&Token> = None;
    for token in tokens {
        let words = token.text().is_some() && before.is_some_and(|before| before.text().is_some());
        if before.is_some() && (token.apart || words) {
            text.push(' ');
        }
        match &token.kind {
            Kind::Word(word) => text.push_str(word),
            Kind::Sign(sign) => text.push_str(sign),
            Kind::Quoted(inside) => {
                text.push('"');
                for c in inside.chars() {
                    match c {
                        '"' => text.push_str("\\\""),
                        '\\' => text.push_str("\\\\"),
                        '\n' => text.push_str("\\n"),
                        '\r' => text.push_str("\\r"),
                        '\t' => text.push_str("\\t"),
                        c => text.push(c),
                    }
                }
                text.push('"');
            }
        }
        before = Some(token);
    }
    text
}

#[cfg(test)]
mod tests;
