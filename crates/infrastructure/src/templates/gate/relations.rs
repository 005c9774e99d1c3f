//! Queries and where their rows come from.

use sqlparser::ast::{
    Distinct, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName,
    ObjectNamePart, Offset, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select,
    SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableAlias, TableFactor,
    TableWithJoins,
};

use super::Gate;
use super::known::{TABLE_FUNCTION, is_relation};

impl Gate {
    pub(super) fn query(&mut self, query: &mut Query) {
        self.nested(|gate| gate.query_here(query));
    }

    fn query_here(&mut self, query: &mut Query) {
        self.look_at(query.span());
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        self.needs(fetch.is_none(), "FETCH: say LIMIT");
        self.needs(locks.is_empty(), "FOR UPDATE or FOR SHARE");
        self.needs(
            for_clause.is_none()
                && settings.is_none()
                && format_clause.is_none()
                && pipe_operators.is_empty(),
            "clauses that PostgreSQL does not have",
        );
        let visible = self.ctes.len();
        if let Some(with) = with {
            self.needs(!with.recursive, "WITH RECURSIVE");
            for cte in &mut with.cte_tables {
                self.needs(cte.from.is_none(), "FROM in WITH");
                self.alias(&cte.alias);
                let name = cte.alias.name.value.to_ascii_lowercase();
                if is_relation(&name) || self.ctes.contains(&name) {
                    self.refuse(format!("may not name a WITH query like a table or another: `{name}`"));
                }
                self.query(&mut cte.query);
                self.ctes.push(name);
            }
        }
        self.body(body);
        if let Some(OrderBy { kind, interpolate }) = order_by {
            self.needs(interpolate.is_none(), "INTERPOLATE");
            match kind {
                OrderByKind::Expressions(order) => self.order(order),
                OrderByKind::All(_) => self.refuse("may not use ORDER BY ALL"),
            }
        }
        match limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                self.needs(limit_by.is_empty(), "LIMIT BY");
                if let Some(limit) = limit {
                    self.expr(limit);
                }
                if let Some(Offset { value, rows: _ }) = offset {
                    self.expr(value);
                }
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => self.refuse("may not use LIMIT with a comma"),
        }
        self.ctes.truncate(visible);
    }

    fn body(&mut self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, op, set_quantifier, right } => self.nested(|gate| {
                gate.needs(!matches!(op, SetOperator::Minus), "MINUS");
                gate.needs(
                    matches!(
                        set_quantifier,
                        SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None
                    ),
                    "BY NAME",
                );
                gate.body(left);
                gate.body(right);
            }),
            SetExpr::Values(_) | SetExpr::Table(_) => self.refuse("may not use VALUES or TABLE"),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.refuse("may only read: no INSERT, UPDATE, DELETE or MERGE");
            }
        }
    }

    fn select(&mut self, select: &mut Select) {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        self.needs(into.is_none(), "SELECT INTO");
        self.needs(
            optimizer_hints.is_empty()
                && select_modifiers.is_none()
                && top.is_none()
                && exclude.is_none()
                && lateral_views.is_empty()
                && prewhere.is_none()
                && connect_by.is_empty()
                && cluster_by.is_empty()
                && distribute_by.is_empty()
                && sort_by.is_empty()
                && qualify.is_none()
                && value_table_mode.is_none()
                && matches!(flavor, SelectFlavor::Standard),
            "clauses that PostgreSQL does not have",
        );
        self.needs(named_window.is_empty(), "WINDOW: write it after OVER");
        self.needs(!projection.is_empty(), "SELECT without columns");
        if let Some(Distinct::On(exprs)) = distinct {
            exprs.iter_mut().for_each(|expr| self.expr(expr));
        }
        for table in from {
            self.table(table);
        }
        for item in projection {
            self.look_at(item.span());
            match item {
                SelectItem::UnnamedExpr(expr) => self.expr(expr),
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.name(alias);
                    self.expr(expr);
                }
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                    self.refuse("may not use *: name the columns");
                }
                SelectItem::ExprWithAliases { .. } => self.refuse("may not give one value several names"),
            }
        }
        if let Some(selection) = selection {
            self.expr(selection);
        }
        match group_by {
            GroupByExpr::Expressions(exprs, modifiers) => {
                self.needs(modifiers.is_empty(), "GROUP BY modifiers");
                exprs.iter_mut().for_each(|expr| self.expr(expr));
            }
            GroupByExpr::All(_) => self.refuse("may not use GROUP BY ALL"),
        }
        if let Some(having) = having {
            self.expr(having);
        }
    }

    pub(super) fn order(&mut self, order: &mut [OrderByExpr]) {
        for OrderByExpr { expr, options: OrderByOptions { sort, nulls_first: _ }, with_fill } in order {
            self.needs(with_fill.is_none(), "WITH FILL");
            self.needs(!matches!(sort, Some(OrderBySort::Using(_))), "ORDER BY USING");
            self.expr(expr);
        }
    }

    fn table(&mut self, TableWithJoins { relation, joins }: &mut TableWithJoins) {
        self.nested(|gate| gate.factor(relation));
        for Join { relation, global, join_operator } in joins {
            self.needs(!*global, "GLOBAL JOIN");
            self.nested(|gate| gate.factor(relation));
            match join_operator {
                JoinOperator::Join(on)
                | JoinOperator::Inner(on)
                | JoinOperator::Left(on)
                | JoinOperator::LeftOuter(on)
                | JoinOperator::Right(on)
                | JoinOperator::RightOuter(on)
                | JoinOperator::FullOuter(on)
                | JoinOperator::CrossJoin(on) => match on {
                    JoinConstraint::On(expr) => self.expr(expr),
                    JoinConstraint::None => {}
                    JoinConstraint::Using(_) | JoinConstraint::Natural => {
                        self.refuse("may not use USING or NATURAL: say ON");
                    }
                },
                _ => self.refuse("may only use inner, left, right, full and cross joins"),
            }
        }
    }

    fn factor(&mut self, factor: &mut TableFactor) {
        self.look_at(factor.span());
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                self.needs(sample.is_none(), "TABLESAMPLE");
                self.needs(
                    with_hints.is_empty()
                        && version.is_none()
                        && !*with_ordinality
                        && partitions.is_empty()
                        && json_path.is_none()
                        && index_hints.is_empty(),
                    "anything behind a table but its alias",
                );
                if let Some(alias) = alias {
                    self.alias(alias);
                }
                let Some(call) = args else { return self.relation(name) };
                self.needs(call.settings.is_none(), "SETTINGS");
                if self.single(name).as_deref() == Some(TABLE_FUNCTION) {
                    *name = qualified("public", TABLE_FUNCTION);
                    self.arguments(&mut call.args);
                } else {
                    self.refuse(format!("may not use the function `{name}` as a table"));
                }
            }
            TableFactor::Derived { lateral: _, subquery, alias, sample } => {
                self.needs(sample.is_none(), "TABLESAMPLE");
                if let Some(alias) = alias {
                    self.alias(alias);
                }
                self.query(subquery);
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.needs(alias.is_none(), "an alias on a join");
                self.table(table_with_joins);
            }
            _ => self.refuse("may only read from published views, WITH queries and sub-selects"),
        }
    }

    fn relation(&mut self, name: &mut ObjectName) {
        let Some(single) = self.single(name) else {
            return self.refuse(format!("may not read `{name}`: name a published view, without its schema"));
        };
        if self.ctes.contains(&single) {
            return;
        }
        if is_relation(&single) {
            *name = qualified("published", &single);
        } else {
            self.refuse(format!("may not read `{single}`: it is not a published view"));
        }
    }

    fn alias(&mut self, TableAlias { explicit: _, name, columns, at }: &TableAlias) {
        self.needs(at.is_none(), "AT in an alias");
        self.name(name);
        for column in columns {
            self.name(&column.name);
            self.needs(column.data_type.is_none(), "types in an alias");
        }
    }

    /// The name in lower case when it has one part, without quotes.
    pub(super) fn single(&mut self, name: &ObjectName) -> Option<String> {
        match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => Some(self.name(ident)),
            _ => None,
        }
    }
}

pub(super) fn qualified(schema: &str, name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::new(schema), Ident::new(name)])
}
