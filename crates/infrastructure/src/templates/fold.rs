//! Statements in which the question whether a parameter is null is answered already.
//!
//! Optional parameters read `$3 IS NULL OR status = $3`. A plan that is made once for all values has to serve both sides of
//! that `OR`, and finds no index for it; one made anew for each call takes longer to make than to run. With the question
//! answered, one plan serves all calls that leave the same parameters out.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Value, VisitMut, VisitorMut};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// The statement with `$n IS NULL` and `$n IS NOT NULL` as `true` or `false`; `nulls` begins with `$2`, which follows the
/// tenant. PostgreSQL leaves out what cannot be reached any more.
pub(crate) fn fold(statement: &str, nulls: &[bool]) -> String {
    // What the gate rendered reads back; anything else is run as it is.
    let Ok(mut parsed) = Parser::parse_sql(&PostgreSqlDialect {}, statement) else {
        return statement.to_owned();
    };
    let _ = parsed.visit(&mut Answer(nulls));
    parsed.first().map_or_else(|| statement.to_owned(), ToString::to_string)
}

struct Answer<'a>(&'a [bool]);

impl VisitorMut for Answer<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let (asked, wanted) = match expr {
            Expr::IsNull(asked) => (asked, true),
            Expr::IsNotNull(asked) => (asked, false),
            _ => return ControlFlow::Continue(()),
        };
        if let Some(&null) = parameter(asked).and_then(|number| self.0.get(number.checked_sub(2)?)) {
            *expr = Expr::value(Value::Boolean(null == wanted));
        }
        ControlFlow::Continue(())
    }
}

/// The number of the parameter that the expression is null with, and without it is not.
fn parameter(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => parameter(inner),
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) => text.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATEMENT: &str = "SELECT a FROM t WHERE t.tenant_id = $1 AND ($2::TEXT IS NULL OR a = $2::TEXT) AND \
                             (($3) IS NOT NULL AND EXISTS (SELECT b FROM u WHERE $3 IS NULL)) AND a <> '$2 IS NULL'";

    #[test]
    fn questions_for_null_are_answered_wherever_they_stand_and_nothing_else_is_touched() {
        assert_eq!(
            fold(STATEMENT, &[true, false]),
            "SELECT a FROM t WHERE t.tenant_id = $1 AND (true OR a = $2::TEXT) AND \
             (true AND EXISTS (SELECT b FROM u WHERE false)) AND a <> '$2 IS NULL'"
        );
        assert_eq!(
            fold(STATEMENT, &[false, true]),
            "SELECT a FROM t WHERE t.tenant_id = $1 AND (false OR a = $2::TEXT) AND \
             (false AND EXISTS (SELECT b FROM u WHERE true)) AND a <> '$2 IS NULL'"
        );
    }

    #[test]
    fn neither_the_tenant_nor_what_has_no_argument_is_answered_for() {
        let statement =
            "SELECT a FROM t WHERE $1 IS NULL OR $4 IS NULL OR $0 IS NULL OR coalesce($2, $3) IS NULL";
        assert_eq!(fold(statement, &[true, true]), statement);
    }

    #[test]
    fn what_does_not_read_back_stays_as_it_is() {
        assert_eq!(fold("select (", &[true]), "select (");
    }
}
