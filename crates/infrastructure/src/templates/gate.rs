//! Decides whether a text is a harmless query, deny by default: what is not listed here is refused.
//!
//! The walk takes every node apart field by field, so a new field of the parser breaks the build rather
//! than slipping through. What comes out is the re-rendered statement: relations carry their schema, functions
//! theirs, and comments, quoting and odd spellings are gone. The database enforces the same again with rights,
//! row-level security and a read-only transaction; neither lock relies on the other.

mod expressions;
mod known;
mod relations;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{Ident, Query, Select, SelectItem, Statement, TableAlias, TableFactor, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Span;

use super::finding::{Finding, Position};
pub use known::{FUNCTIONS, RELATIONS};

/// Deepest nesting of queries and expressions.
const DEPTH: usize = 40;

/// Checks the statement of a template with `params` parameters beside the tenant, and renders it anew. Findings say where
/// in `text` they are.
///
/// A `paged` one has its order from its page key: PostgreSQL only flattens a query into the one that pages through it,
/// and so finds an index for both, when it has no order or limit of its own.
pub(super) fn render(text: &str, params: usize, paged: bool) -> Result<String, Vec<Finding>> {
    let refused = |message: String| vec![Finding::new(message)];
    let mut statements = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(DEPTH)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| vec![unreadable(&error.to_string())])?;
    let (Some(Statement::Query(mut query)), true) = (statements.pop(), statements.is_empty()) else {
        return Err(refused("must be exactly one SELECT, without a second statement".into()));
    };
    let mut gate = Gate::new(params);
    gate.declare(&query);
    gate.query(&mut query);
    if paged && (query.order_by.is_some() || query.limit_clause.is_some()) {
        gate.at = None;
        gate.refuse("has a page key, so it may not have an ORDER BY, LIMIT or OFFSET of its own at its end");
    }
    gate.finish();
    if !gate.findings.is_empty() {
        return Err(gate.findings);
    }
    let rendered = query.to_string();
    // What the parser does not read back as the same, it might have misread in the first place.
    let again = Parser::parse_sql(&PostgreSqlDialect {}, &rendered);
    if again.is_ok_and(|again| again.len() == 1 && again[0].to_string() == rendered) {
        Ok(rendered)
    } else {
        Err(refused("does not read back the same after rendering: write it more plainly".into()))
    }
}

/// What the parser says, with its place taken out of its words.
fn unreadable(said: &str) -> Finding {
    let (said, at) = match said.rsplit_once(" at Line: ") {
        Some((said, place)) => {
            let mut numbers = place.split(", Column: ").map(|number| number.trim().parse().ok());
            (said, numbers.next().flatten().zip(numbers.next().flatten()))
        }
        None => (said, None),
    };
    let said = said.trim_start_matches("sql parser error: ");
    Finding::new(format!("is not SQL that can be checked: {said}"))
        .at(at.map(|(line, column)| Position { line, column }))
}

/// The walk and what it found.
#[derive(Debug)]
struct Gate {
    findings: Vec<Finding>,
    /// Names of CTEs that are visible, innermost last.
    ctes: Vec<String>,
    /// Names a column reference may have: columns of the published views, and what the text declares.
    columns: BTreeSet<String>,
    /// Placeholders seen.
    used: BTreeSet<usize>,
    /// `$1` to this one exist.
    placeholders: usize,
    depth: usize,
    /// What is being looked at.
    at: Option<Position>,
}

impl Gate {
    fn new(params: usize) -> Self {
        let columns = RELATIONS.iter().flat_map(|(_, columns)| columns.iter().copied());
        Self {
            findings: Vec::new(),
            ctes: Vec::new(),
            columns: columns.map(str::to_owned).collect(),
            used: BTreeSet::new(),
            placeholders: params + 1,
            depth: 0,
            at: None,
        }
    }

    fn refuse(&mut self, message: impl Into<String>) {
        let message = message.into();
        if !self.findings.iter().any(|finding| finding.message == message) {
            self.findings.push(Finding::new(message).at(self.at));
        }
    }

    /// Remembers where the walk is; what has no place of its own has that of what it stands in.
    fn look_at(&mut self, span: Span) {
        self.at = Position::of_parser(span.start).or(self.at);
    }

    /// Refuses `what` unless it is `absent`.
    fn needs(&mut self, absent: bool, what: &str) {
        if !absent {
            self.refuse(format!("may not use {what}"));
        }
    }

    /// Runs `walk` one level deeper, unless that is too deep.
    fn nested(&mut self, walk: impl FnOnce(&mut Self)) {
        if self.depth >= DEPTH {
            self.refuse("is nested too deeply");
            return;
        }
        self.depth += 1;
        walk(self);
        self.depth -= 1;
    }

    /// A name in lower case. Quoted ones are refused, so what is read is what PostgreSQL reads.
    fn name(&mut self, ident: &Ident) -> String {
        self.look_at(ident.span);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if ident.quote_style.is_some() || ident.value.is_empty() || !ident.value.chars().all(plain) {
            self.refuse(format!("may not quote names or use other than ASCII letters in them: `{ident}`"));
        }
        ident.value.to_ascii_lowercase()
    }

    /// Learns the names the text gives to columns and tables, before references to them are checked.
    fn declare(&mut self, query: &Query) {
        struct Names(BTreeMap<String, Span>);
        impl Names {
            fn name(&mut self, ident: &Ident) {
                self.0.entry(ident.value.to_ascii_lowercase()).or_insert(ident.span);
            }

            fn alias(&mut self, alias: Option<&TableAlias>) {
                if let Some(alias) = alias {
                    self.name(&alias.name);
                    alias.columns.iter().for_each(|column| self.name(&column.name));
                }
            }
        }
        impl Visitor for Names {
            type Break = ();

            fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
                for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
                    self.alias(Some(&cte.alias));
                }
                ControlFlow::Continue(())
            }

            fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
                for item in &select.projection {
                    if let SelectItem::ExprWithAlias { alias, .. } = item {
                        self.name(alias);
                    }
                }
                ControlFlow::Continue(())
            }

            fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
                match factor {
                    TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => {
                        self.alias(alias.as_ref());
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            }
        }
        let mut names = Names(BTreeMap::new());
        let _ = query.visit(&mut names);
        for (name, span) in names.0 {
            self.look_at(span);
            if known::is_function(&name)
                || name.starts_with("pg_")
                || known::NOT_A_NAME.contains(&name.as_str())
            {
                self.refuse(format!("may not give the name `{name}`, which means something to PostgreSQL"));
            }
            self.columns.insert(name);
        }
    }

    /// What can only be said once everything was seen.
    fn finish(&mut self) {
        self.at = None;
        if !self.used.contains(&1) {
            self.refuse("must compare tenant_id with $1, the tenant");
        }
        for number in 2..=self.placeholders {
            if !self.used.contains(&number) {
                self.refuse(format!("never uses ${number}, the parameter number {}", number - 1));
            }
        }
    }
}
