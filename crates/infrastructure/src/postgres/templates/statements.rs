//! The statements that templates are run with.

use std::sync::Arc;

use domain::template::{Argument, KeyValue, Template};
use moka::sync::Cache;

use super::page;
use crate::templates::fold;

/// Most statements that are kept, of some kilobytes each: a few for each template that is built in.
const KEPT: u64 = 1_000;

/// The statement that is run for a page: `$1` is the tenant, then come the arguments, the most rows, and the values that
/// the page comes after.
///
/// Of what is built in, it is one for each set of arguments that are left out, so that PostgreSQL can keep its plan. What
/// tenants write is planned anew for each call.
pub fn template_statement(template: &Template, arguments: &[Argument], after: Option<&[KeyValue]>) -> String {
    let of = |text: &str| page::statement(text, arguments.len(), template.page.as_ref(), after);
    if template.authored {
        return of(&template.statement);
    }
    let nulls: Vec<bool> = arguments.iter().map(Argument::is_null).collect();
    of(&fold(&template.statement, &nulls))
}

/// Those of what is built in, made once.
#[derive(Debug)]
pub(super) struct Statements(Cache<Key, Arc<str>>);

/// All that a statement depends on.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Of the statement and its order.
    version: String,
    statement: String,
    nulls: Vec<bool>,
    /// Which values of the last row were null.
    after: Option<Vec<bool>>,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self(Cache::new(KEPT))
    }

    pub(super) fn get(
        &self,
        template: &Template,
        arguments: &[Argument],
        after: Option<&[KeyValue]>,
    ) -> Arc<str> {
        let make = || template_statement(template, arguments, after).into();
        if template.authored {
            return make();
        }
        let key = Key {
            version: template.version.clone(),
            statement: template.statement.clone(),
            nulls: arguments.iter().map(Argument::is_null).collect(),
            after: after.map(|values| values.iter().map(|value| value.text.is_none()).collect()),
        };
        self.0.get_with(key, make)
    }
}
