//! The part of JQL that connectors use. What is not understood is refused, naming the field.
//! <https://support.atlassian.com/jira-software-cloud/docs/jql-fields/>

mod lexer;
mod matching;
mod order;
mod parser;

pub(crate) use matching::Scope;
pub(crate) use order::SortKey;

/// A search: a restriction, perhaps none, and an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) restriction: Option<Expr>,
    /// The field and whether it is descending.
    pub(crate) order: Vec<(String, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Clause(Clause),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    /// In small letters.
    pub(crate) field: String,
    pub(crate) operator: Operator,
    pub(crate) operands: Vec<Operand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Is,
    IsNot,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Contains,
    ContainsNot,
    In,
    NotIn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operand {
    Text(String),
    Number(i64),
    Empty,
    /// `currentUser()`, `now()` and the like.
    Function(String),
}

impl Operand {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Empty => "EMPTY".to_owned(),
            Self::Function(name) => format!("{name}()"),
        }
    }
}

/// At most so many fields may order a search.
const MAX_ORDER: usize = 7;

/// Reads a query; the error is Jira's sentence about it.
pub(crate) fn parse(text: &str) -> Result<Query, String> {
    let query = parser::parse(text)?;
    if query.order.len() > MAX_ORDER {
        return Err(format!("The query has more than {MAX_ORDER} fields in its ORDER BY clause."));
    }
    Ok(query)
}

impl Query {
    /// The earliest `updated` that can match, where the restriction says so.
    pub(crate) fn updated_from(&self, scope: &Scope<'_>) -> Option<i64> {
        fn of(expr: &Expr, scope: &Scope<'_>) -> Option<i64> {
            match expr {
                Expr::And(parts) => parts.iter().filter_map(|part| of(part, scope)).max(),
                Expr::Clause(clause)
                    if matches!(clause.field.as_str(), "updated" | "updateddate")
                        && matches!(clause.operator, Operator::Greater | Operator::GreaterOrEqual) =>
                {
                    scope.time(clause.operands.first()?)
                }
                _ => None,
            }
        }
        of(self.restriction.as_ref()?, scope)
    }
}

impl Query {
    /// The fields of the restriction.
    pub(crate) fn fields(&self) -> Vec<&str> {
        fn walk<'q>(expr: &'q Expr, fields: &mut Vec<&'q str>) {
            match expr {
                Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| walk(part, fields)),
                Expr::Not(inside) => walk(inside, fields),
                Expr::Clause(clause) => fields.push(&clause.field),
            }
        }
        let mut fields = Vec::new();
        self.restriction.iter().for_each(|expr| walk(expr, &mut fields));
        fields
    }
}

#[cfg(test)]
mod tests;
