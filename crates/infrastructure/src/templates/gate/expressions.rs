//! Expressions: values, operators, types and function calls.

use sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField,
    ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, Spanned,
    TimezoneInfo, UnaryOperator, Value, WindowSpec, WindowType,
};

use super::Gate;
use super::known::{FUNCTIONS, NOT_A_NAME, SYNTAX, is_relation};
use super::relations::qualified;

impl Gate {
    pub(super) fn expr(&mut self, expr: &mut Expr) {
        let around = self.at;
        self.look_at(expr.span());
        self.nested(|gate| gate.expr_here(expr));
        self.at = around;
    }

    fn exprs<'a>(&mut self, exprs: impl IntoIterator<Item = &'a mut Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn expr_here(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Identifier(ident) => self.column(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(idents) => self.column(idents),
            Expr::Value(value) => self.value(&value.value),
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner) => self.expr(inner),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.exprs([&mut **left, &mut **right]);
            }
            Expr::InList { expr, list, negated: _ } => {
                self.expr(expr);
                self.exprs(list);
            }
            Expr::InSubquery { expr, subquery, negated: _ } => {
                self.expr(expr);
                self.query(subquery);
            }
            Expr::Between { expr, negated: _, low, high } => {
                self.exprs([&mut **expr, &mut **low, &mut **high]);
            }
            Expr::BinaryOp { left, op, right } => {
                self.operator(op);
                self.exprs([&mut **left, &mut **right]);
            }
            Expr::UnaryOp { op, expr } => {
                let listed = matches!(op, UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not);
                self.needs(listed, "this unary operator");
                self.expr(expr);
            }
            Expr::Like { negated: _, any, expr, pattern, escape_char }
            | Expr::ILike { negated: _, any, expr, pattern, escape_char } => {
                self.needs(!*any && escape_char.is_none(), "LIKE ANY or ESCAPE");
                self.exprs([&mut **expr, &mut **pattern]);
            }
            Expr::AnyOp { left, compare_op, right, is_some: _ } => {
                self.needs(matches!(compare_op, BinaryOperator::Eq), "ANY with another operator than =");
                self.exprs([&mut **left, &mut **right]);
            }
            Expr::Cast { kind, expr, data_type, format } => {
                let plain = matches!(kind, CastKind::Cast | CastKind::DoubleColon) && format.is_none();
                self.needs(plain, "this kind of cast");
                self.data_type(data_type);
                self.expr(expr);
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let utc = matches!(&**time_zone, Expr::Value(value)
                    if value.value == Value::SingleQuotedString("UTC".into()));
                self.needs(utc, "AT TIME ZONE with another zone than 'UTC'");
                self.expr(timestamp);
            }
            Expr::Extract { field, syntax: _, expr } => {
                self.needs(!matches!(field, DateTimeField::Custom(_)), "this field in EXTRACT");
                self.expr(expr);
            }
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                let plain = matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime));
                self.needs(plain, "CEIL or FLOOR with a second argument");
                self.expr(expr);
            }
            Expr::Function(function) => self.function(function),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.exprs(operand.as_deref_mut());
                for CaseWhen { condition, result } in conditions {
                    self.exprs([condition, result]);
                }
                self.exprs(else_result.as_deref_mut());
            }
            Expr::Exists { subquery, negated: _ } | Expr::Subquery(subquery) => self.query(subquery),
            Expr::Array(Array { elem, named }) => {
                self.needs(*named, "an array without the word ARRAY");
                self.exprs(elem);
            }
            Expr::Interval(interval) => self.interval(interval),
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                self.refuse(format!("may not use this kind of expression: {text}"));
            }
        }
    }

    /// A column, perhaps with its table. `t.f` also calls a function `f` that takes a row, so only known names pass.
    fn column(&mut self, idents: &[Ident]) {
        if idents.len() > 2 {
            self.refuse("may not name a schema in front of a column");
        }
        for (i, ident) in idents.iter().enumerate() {
            let name = self.name(ident);
            let table = is_relation(&name) && i + 1 < idents.len();
            if NOT_A_NAME.contains(&name.as_str()) || !(table || self.columns.contains(&name)) {
                self.refuse(format!(
                    "may not use `{name}`: it is no column of a published view and no alias"
                ));
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Number(text, false) => self.needs(is_plain_number(text), "numbers of so many digits"),
            Value::Boolean(_) | Value::Null => {}
            Value::SingleQuotedString(text) => {
                self.needs(!text.contains(['\\', '\0']), "a backslash in a text");
            }
            Value::Placeholder(text) => {
                let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                match number.filter(|n| (1..=self.placeholders).contains(n)) {
                    Some(number) => {
                        self.used.insert(number);
                    }
                    None => self.refuse(format!("uses {text}, but has only $1 to ${}", self.placeholders)),
                }
            }
            _ => self.refuse("may only use plain numbers, 'texts', true, false and null"),
        }
    }

    fn operator(&mut self, op: &BinaryOperator) {
        use BinaryOperator as Op;
        let listed = matches!(
            op,
            Op::Plus
                | Op::Minus
                | Op::Multiply
                | Op::Divide
                | Op::Modulo
                | Op::StringConcat
                | Op::Gt
                | Op::Lt
                | Op::GtEq
                | Op::LtEq
                | Op::Eq
                | Op::NotEq
                | Op::And
                | Op::Or
                | Op::Arrow
                | Op::LongArrow
        );
        if !listed {
            self.refuse(format!("may not use the operator {op}"));
        }
    }

    fn data_type(&mut self, data_type: &DataType) {
        let listed = match data_type {
            DataType::Text
            | DataType::Uuid
            | DataType::Bool
            | DataType::Boolean
            | DataType::Date
            | DataType::DoublePrecision
            | DataType::Float8
            | DataType::Int(None)
            | DataType::Integer(None)
            | DataType::BigInt(None)
            | DataType::Numeric(ExactNumberInfo::None)
            | DataType::Interval { fields: None, precision: None }
            | DataType::Timestamp(None, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone | TimezoneInfo::None) => {
                true
            }
            DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)) => **element == DataType::Text,
            _ => false,
        };
        if !listed {
            self.refuse(format!("may not use the type {data_type}"));
        }
    }

    fn interval(&mut self, interval: &mut Interval) {
        let Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } =
            interval;
        let plain = leading_field.is_none()
            && leading_precision.is_none()
            && last_field.is_none()
            && fractional_seconds_precision.is_none()
            && matches!(**value, Expr::Value(_));
        self.needs(plain, "INTERVAL in another form than interval '1 day'");
        self.expr(value);
    }

    fn function(&mut self, function: &mut Function) {
        let Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment, over } =
            function;
        self.needs(
            !*uses_odbc_syntax && matches!(parameters, FunctionArguments::None) && null_treatment.is_none(),
            "this way to call a function",
        );
        self.function_name(name);
        match args {
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: _, args, clauses }) => {
                self.arguments(args);
                for clause in clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(order) => self.order(order),
                        _ => self.refuse("may not use this clause in a function call"),
                    }
                }
            }
            FunctionArguments::None => self.refuse("may not call a function without parentheses"),
            FunctionArguments::Subquery(_) => self.refuse("may not pass a bare query to a function"),
        }
        self.order(within_group);
        self.exprs(filter.as_deref_mut());
        match over {
            None => {}
            Some(WindowType::WindowSpec(WindowSpec {
                window_name,
                partition_by,
                order_by,
                window_frame,
            })) => {
                self.needs(window_name.is_none() && window_frame.is_none(), "window names or frames");
                self.exprs(partition_by);
                self.order(order_by);
            }
            Some(WindowType::NamedWindow(_)) => self.refuse("may not use a named window"),
        }
    }

    fn function_name(&mut self, name: &mut ObjectName) {
        match self.single(name) {
            Some(single) if SYNTAX.contains(&single.as_str()) => {}
            Some(single) if FUNCTIONS.contains(&single.as_str()) => *name = qualified("pg_catalog", &single),
            _ => self.refuse(format!("may not call the function `{name}`")),
        }
    }

    pub(super) fn arguments(&mut self, args: &mut [FunctionArg]) {
        for arg in args {
            let arg = match arg {
                FunctionArg::Unnamed(arg) => arg,
                FunctionArg::Named { name, arg, operator: FunctionArgOperator::RightArrow }
                | FunctionArg::ExprNamed {
                    name: Expr::Identifier(name),
                    arg,
                    operator: FunctionArgOperator::RightArrow,
                } => {
                    self.name(name);
                    arg
                }
                FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                    self.refuse("may only name an argument as name => value");
                    continue;
                }
            };
            match arg {
                FunctionArgExpr::Expr(expr) => self.expr(expr),
                // count(*)
                FunctionArgExpr::Wildcard => {}
                FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::WildcardWithOptions(_) => {
                    self.refuse("may not pass a whole row to a function");
                }
            }
        }
    }
}

/// Whether a number is short also when it is written out: `9e99999` takes up 100,000 digits, and a product of two of them
/// twice that.
fn is_plain_number(text: &str) -> bool {
    let exponent = text.split(['e', 'E']).nth(1).map(|exponent| exponent.trim_start_matches(['+', '-']));
    text.len() <= 40 && exponent.is_none_or(|exponent| exponent.len() <= 2)
}
