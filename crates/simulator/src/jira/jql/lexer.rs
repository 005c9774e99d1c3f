//! Words, strings and signs.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word that was not quoted; keywords are such.
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

const SIGNS: [&str; 13] = ["!=", ">=", "<=", "!~", "=", ">", "<", "~", "(", ")", ",", "!", "&"];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            let (quoted, after) = quoted(&rest[1..], first).ok_or_else(|| {
                "Error in the JQL Query: The quoted string has not been completed.".to_owned()
            })?;
            tokens.push(Token::Quoted(quoted));
            rest = after.trim_start();
            continue;
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = rest[sign.len()..].trim_start();
            continue;
        }
        if matches!(first, ';' | '|' | '{' | '}' | '?' | '$' | '^' | '%') {
            return Err(format!(
                "Error in the JQL Query: The character '{first}' is a reserved JQL character. You must enclose it in a string or use the escape instead."
            ));
        }
        let end =
            rest.find(|c: char| c.is_whitespace() || "=!<>~(),\"'&|;".contains(c)).unwrap_or(rest.len());
        tokens.push(Token::Word(rest[..end].to_owned()));
        rest = rest[end..].trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
            c if c == quote => return Some((out, &text[at + c.len_utf8()..])),
            c => out.push(c),
        }
    }
    None
}
