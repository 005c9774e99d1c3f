//! Any text is read or refused; what is read is what was written; and it finds what a plain comparison finds.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::jira::site::JiraSite;
use crate::{Deployment, generate};

static SITE: LazyLock<JiraSite> =
    LazyLock::new(|| generate::jira("acme", Deployment::Cloud, &[("ENG", 7, 40), ("OPS", 8, 12)]));

fn scope() -> Scope<'static> {
    Scope { site: &SITE, account: "nobody", now: 1_795_252_503_123, zone_minutes: 480 }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn written(expr: &Expr) -> String {
    let joined = |parts: &[Expr], word: &str| {
        let parts: Vec<String> = parts.iter().map(|part| format!("({})", written(part))).collect();
        parts.join(word)
    };
    match expr {
        Expr::And(parts) => joined(parts, " AND "),
        Expr::Or(parts) => joined(parts, " or "),
        Expr::Not(inside) => format!("NOT ({})", written(inside)),
        Expr::Clause(Clause { field, operator, operands }) => {
            let operands: Vec<String> = operands
                .iter()
                .map(|operand| match operand {
                    Operand::Text(text) => quoted(text),
                    Operand::Number(number) => number.to_string(),
                    Operand::Empty => "EMPTY".to_owned(),
                    Operand::Function(name) => format!("{name}()"),
                })
                .collect();
            let sign = match operator {
                Operator::Is => "=",
                Operator::IsNot => "is not",
                Operator::Greater => ">",
                Operator::GreaterOrEqual => ">=",
                Operator::Less => "<",
                Operator::LessOrEqual => "<=",
                Operator::Contains => "~",
                Operator::ContainsNot => "!~",
                Operator::In => "in",
                Operator::NotIn => "NOT IN",
            };
            let list = operands.join(" , ");
            match operator {
                Operator::In | Operator::NotIn => format!("{} {sign} ({list})", quoted(field)),
                _ => format!("{} {sign} {list}", quoted(field)),
            }
        }
    }
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        "\\PC{0,12}|[\"\\\\ \n\t]{1,5}".prop_map(Operand::Text),
        any::<i64>().prop_map(Operand::Number),
        Just(Operand::Empty),
        "[a-z]{3,12}"
            .prop_filter("a keyword", |name| name != "empty" && name != "null")
            .prop_map(Operand::Function),
    ]
}

fn clause() -> impl Strategy<Value = Expr> {
    let field = "[a-z][a-z0-9 .\\[\\]'-]{0,15}";
    let single = prop_oneof![
        Just(Operator::Is),
        Just(Operator::IsNot),
        Just(Operator::Greater),
        Just(Operator::GreaterOrEqual),
        Just(Operator::Less),
        Just(Operator::LessOrEqual),
        Just(Operator::Contains),
        Just(Operator::ContainsNot),
    ];
    let one = (single, operand()).prop_map(|(operator, operand)| (operator, vec![operand]));
    let list =
        (prop_oneof![Just(Operator::In), Just(Operator::NotIn)], prop::collection::vec(operand(), 1..4));
    (field, prop_oneof![one, list])
        .prop_map(|(field, (operator, operands))| Expr::Clause(Clause { field, operator, operands }))
}

fn expr() -> impl Strategy<Value = Expr> {
    clause().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|inside| Expr::Not(Box::new(inside))),
        ]
    })
}

/// A restriction that can be checked without reading it.
#[derive(Debug, Clone)]
enum Plain {
    And(Vec<Plain>),
    Or(Vec<Plain>),
    Not(Box<Plain>),
    Updated(&'static str, i64),
    Project(&'static str, &'static str),
    Keys(Vec<usize>),
}

fn plain() -> impl Strategy<Value = Plain> {
    let times: Vec<i64> = SITE.issues().map(|issue| issue.updated).collect();
    let count = times.len();
    let sign = prop_oneof![Just(">="), Just(">"), Just("<"), Just("<="), Just("="), Just("!=")];
    let leaf = prop_oneof![
        (sign, 0..count, -1_i64..2)
            .prop_map(move |(sign, of, beside)| Plain::Updated(sign, times[of] + beside)),
        (prop_oneof![Just("="), Just("!=")], prop_oneof![Just("ENG"), Just("ops")])
            .prop_map(|(sign, project)| Plain::Project(sign, project)),
        prop::collection::vec(0..count, 1..5).prop_map(Plain::Keys),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Plain::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Plain::Or),
            inner.prop_map(|inside| Plain::Not(Box::new(inside))),
        ]
    })
}

impl Plain {
    fn jql(&self) -> String {
        let joined = |parts: &[Self], word: &str| {
            parts.iter().map(|part| format!("({})", part.jql())).collect::<Vec<_>>().join(word)
        };
        match self {
            Self::And(parts) => joined(parts, " and "),
            Self::Or(parts) => joined(parts, " OR "),
            Self::Not(inside) => format!("not ({})", inside.jql()),
            Self::Updated(sign, ms) => format!("updated {sign} {ms}"),
            Self::Project(sign, project) => format!("project {sign} {project}"),
            Self::Keys(of) => {
                let all: Vec<&str> = SITE.issues().map(|issue| issue.key.as_str()).collect();
                format!("key in ({})", of.iter().map(|at| all[*at]).collect::<Vec<_>>().join(","))
            }
        }
    }

    fn holds(&self, at: usize, key: &str, updated: i64) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.holds(at, key, updated)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(at, key, updated)),
            Self::Not(inside) => !inside.holds(at, key, updated),
            Self::Updated(sign, ms) => match *sign {
                ">=" => updated >= *ms,
                ">" => updated > *ms,
                "<" => updated < *ms,
                "<=" => updated <= *ms,
                "=" => updated == *ms,
                _ => updated != *ms,
            },
            Self::Project(sign, project) => {
                key.starts_with(&format!("{}-", project.to_uppercase())) == (*sign == "=")
            }
            Self::Keys(of) => of.contains(&at),
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        if let Ok(query) = parse(&text) {
            let _ = query.check(&scope());
        }
    }

    #[test]
    fn any_row_of_words_and_signs_is_read_or_refused(
        words in prop::collection::vec(
            prop_oneof![
                "and|or|not|in|is|order|by|asc|desc|empty|project|updated|key|status|ENG|ENG-1|now",
                "[(),=<>~!&\"'-]|>=|<=|!=|!~",
                "-?[0-9]{1,25}[mhdw]?|\"-?[0-9]{1,20}[mhdw]\"|\"[0-9]{4}-[0-9]{2}-[0-9]{2}\"",
            ],
            0..24,
        ),
    ) {
        if let Ok(query) = parse(&words.join(" ")) {
            let scope = scope();
            // Also what Data Center is told not to check.
            let _ = query.check(&scope);
            for issue in SITE.issues().take(3) {
                let _ = query.matches(issue, issue.updated, &scope);
                let _ = query.place(issue, issue.updated);
            }
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(
        restriction in prop::option::of(expr()),
        order in prop::collection::vec(("[a-z][a-z ]{0,10}", any::<bool>()), 0..7),
    ) {
        let mut text = restriction.as_ref().map(written).unwrap_or_default();
        if !order.is_empty() {
            let fields: Vec<String> =
                order.iter().map(|(field, down)| format!("{} {}", quoted(field), if *down { "desc" } else { "ASC" })).collect();
            text.push_str(&format!(" order BY {}", fields.join(", ")));
        }
        prop_assert_eq!(parse(&text).map_err(|error| format!("{text}: {error}")), Ok(Query { restriction, order }));
    }

    #[test]
    fn a_search_finds_what_a_plain_comparison_finds(plain in plain()) {
        let (query, scope) = (parse(&plain.jql()).unwrap(), scope());
        prop_assert_eq!(query.check(&scope), Ok(()));
        for (at, issue) in SITE.issues().enumerate() {
            prop_assert_eq!(
                query.matches(issue, issue.updated, &scope),
                plain.holds(at, &issue.key, issue.updated),
                "{} and {}", plain.jql(), issue.key
            );
        }
    }
}
