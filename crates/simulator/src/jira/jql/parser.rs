//! `project = ENG AND (status in (Done, "In Review") OR NOT assignee is EMPTY) ORDER BY updated ASC, key`.

use super::lexer::{Token, tokens};
use super::{Clause, Expr, Operand, Operator, Query};

/// Deeper nesting is refused rather than followed.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Query, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    let restriction = match parser.peek_word("ORDER") || parser.rest().is_empty() {
        true => None,
        false => Some(parser.or()?),
    };
    let order = parser.order()?;
    match parser.rest().first() {
        None => Ok(Query { restriction, order }),
        Some(token) => Err(format!("Error in the JQL Query: Expecting operator but got '{}'.", show(token))),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

fn show(token: &Token) -> String {
    match token {
        Token::Word(text) | Token::Quoted(text) => text.clone(),
        Token::Sign(sign) => (*sign).to_owned(),
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [Token] {
        &self.tokens[self.at.min(self.tokens.len())..]
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(self.rest().first(), Some(Token::Word(text)) if text.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.at += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.rest().first(), Some(Token::Sign(text)) if *text == sign);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self, wanted: &str) -> Result<&'a Token, String> {
        let token = self.rest().first().ok_or_else(|| {
            format!("Error in the JQL Query: Expecting {wanted} before the end of the query.")
        })?;
        self.at += 1;
        Ok(token)
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut parts = vec![self.and()?];
        while self.take_word("OR") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut parts = vec![self.not()?];
        while self.take_word("AND") || self.take_sign("&") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expr::And))
    }

    fn not(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("Error in the JQL Query: The query is nested too deeply.".to_owned());
        }
        let parsed = if self.take_word("NOT") || self.take_sign("!") {
            Expr::Not(Box::new(self.not()?))
        } else if self.take_sign("(") {
            let inside = self.or()?;
            if !self.take_sign(")") {
                return Err("Error in the JQL Query: Expecting ')' to close the group.".to_owned());
            }
            inside
        } else {
            Expr::Clause(self.clause()?)
        };
        self.depth -= 1;
        Ok(parsed)
    }

    fn clause(&mut self) -> Result<Clause, String> {
        let field = match self.next("a field name")? {
            Token::Word(text) | Token::Quoted(text) => text.to_lowercase(),
            Token::Sign(sign) => {
                return Err(format!("Error in the JQL Query: Expecting field name but got '{sign}'."));
            }
        };
        let operator = self.operator(&field)?;
        let operands = match operator {
            Operator::In | Operator::NotIn => self.list(&field)?,
            _ => vec![self.operand(&field)?],
        };
        Ok(Clause { field, operator, operands })
    }

    fn operator(&mut self, field: &str) -> Result<Operator, String> {
        let wrong = |got: &str| {
            Err(format!(
                "Error in the JQL Query: Expecting operator but got '{got}'. The valid operators are '=', '!=', '<', '>', '<=', '>=', '~', '!~', 'IN', 'NOT IN', 'IS' and 'IS NOT'. (field '{field}')"
            ))
        };
        match self.next("an operator")? {
            Token::Sign("=") => Ok(Operator::Is),
            Token::Sign("!=") => Ok(Operator::IsNot),
            Token::Sign(">") => Ok(Operator::Greater),
            Token::Sign(">=") => Ok(Operator::GreaterOrEqual),
            Token::Sign("<") => Ok(Operator::Less),
            Token::Sign("<=") => Ok(Operator::LessOrEqual),
            Token::Sign("~") => Ok(Operator::Contains),
            Token::Sign("!~") => Ok(Operator::ContainsNot),
            Token::Word(word) if word.eq_ignore_ascii_case("in") => Ok(Operator::In),
            Token::Word(word) if word.eq_ignore_ascii_case("not") && self.take_word("in") => {
                Ok(Operator::NotIn)
            }
            Token::Word(word) if word.eq_ignore_ascii_case("is") => {
                Ok(if self.take_word("not") { Operator::IsNot } else { Operator::Is })
            }
            other => wrong(&show(other)),
        }
    }

    fn list(&mut self, field: &str) -> Result<Vec<Operand>, String> {
        if !self.take_sign("(") {
            return Err(format!("Error in the JQL Query: Expecting '(' after IN (field '{field}')."));
        }
        let mut operands = vec![self.operand(field)?];
        while self.take_sign(",") {
            operands.push(self.operand(field)?);
        }
        match self.take_sign(")") {
            true => Ok(operands),
            false => {
                Err(format!("Error in the JQL Query: Expecting ')' or ',' in the list of field '{field}'."))
            }
        }
    }

    fn operand(&mut self, field: &str) -> Result<Operand, String> {
        match self.next("a value")? {
            Token::Quoted(text) => Ok(Operand::Text(text.clone())),
            Token::Word(word) if word.eq_ignore_ascii_case("empty") || word.eq_ignore_ascii_case("null") => {
                Ok(Operand::Empty)
            }
            Token::Word(word) => {
                if self.take_sign("(") {
                    return match self.take_sign(")") {
                        true => Ok(Operand::Function(word.to_lowercase())),
                        false => Err(format!("Function '{word}' takes no argument here (field '{field}').")),
                    };
                }
                Ok(word.parse().map_or_else(|_| Operand::Text(word.clone()), Operand::Number))
            }
            Token::Sign(sign) => Err(format!(
                "Error in the JQL Query: Expecting either a value, list or function but got '{sign}'. (field '{field}')"
            )),
        }
    }

    fn order(&mut self) -> Result<Vec<(String, bool)>, String> {
        let mut order = Vec::new();
        if !self.take_word("ORDER") {
            return Ok(order);
        }
        if !self.take_word("BY") {
            return Err("Error in the JQL Query: Expecting 'BY' after ORDER.".to_owned());
        }
        loop {
            let field = match self.next("a field name")? {
                Token::Word(text) | Token::Quoted(text) => text.to_lowercase(),
                Token::Sign(sign) => {
                    return Err(format!("Error in the JQL Query: Expecting field name but got '{sign}'."));
                }
            };
            let descending = self.take_word("DESC");
            if !descending {
                self.take_word("ASC");
            }
            order.push((field, descending));
            if !self.take_sign(",") {
                return Ok(order);
            }
        }
    }
}

fn one_or(mut parts: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}
