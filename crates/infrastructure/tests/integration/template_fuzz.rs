//! The check of templates under made-up and broken texts.
//!
//! `PATCHBAY_FUZZ_S` says for how many seconds it goes on (without it: a few thousand texts), `PATCHBAY_FUZZ_SEED` where
//! it begins. A failure prints the seed and the text.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use patchbay_infrastructure::templates::{BUILT_IN, FUNCTIONS, RELATIONS, check};
use sqlparser::ast::{Expr, ObjectName, Query, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Texts when no time is given.
const FEW: u64 = 3_000;

/// SplitMix64: small, and the same everywhere for a seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// What is put in where something is broken.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "(", ")", ",", ";", ".", "*", "'", "''", "\"", "$", "$1", "$2", "$99", "$$", "/*", "*/", "--", "\\", "\0", "é", "::", "::text",
    "::regclass", "::xml", "::text[]", "E'\\x41'", "U&\"a\"", "B'1'", "[1]", "[1:2]", "@>", "->", "->>", "#>>", "~", "||", "<", "=",
    " select ", " from ", " where ", " union all ", " with ", " recursive ", " lateral ", " join ", " on ", " natural ", " using ",
    " order by ", " limit ", " offset ", " fetch first 1 row only ", " for update ", " into x ", " values (1) ", " table x ",
    " tablesample system (1) ", " group by ", " rollup ", " grouping sets ", " having ", " over ", " window ", " filter ",
    " within group ", " distinct ", " all ", " any ", " exists ", " case ", " when ", " end ", " cast ", " extract ", " interval ",
    " at time zone ", " collate \"C\" ", " is not null ", " between ", " in ", " not ", " similar to ", " escape ", " as ",
    " set_config('app.current_tenant_id', 'x', true) ", " pg_sleep(1) ", " query_to_xml('select 1', true, true, '') ",
    " pg_catalog.", " public.", " published.", " information_schema.", " pg_temp.", " current_user ", " xmin ", " ctid ", " tableoid ",
    " work_items ", " transitions ", " pg_class ", " w ", " w.title ", " w.* ", " w.row_to_json ", " count(*) ", " count(w) ",
    " array_agg(", " string_agg(", " now() ", " generate_series(1, 10) ", " search_work_item_ids('x', 1) ", " array[1] ", " row(1) ",
    " true ", " null ", " 1 ", " 1e9 ", " 0x1F ", " insert into x ", " update x set ", " delete from ", " merge into ", " do ", " copy ",
    " explain ", " prepare ", " listen ", " operator(pg_catalog.+) ", " default ", " only ", " dual ", " qualify ", " pivot ", " top 1 ",
];

fn column(dice: &mut Dice) -> &'static str {
    dice.one(&[
        "w.id",
        "w.title",
        "w.status",
        "w.updated_at",
        "w.tenant_id",
        "title",
        "t.at",
        "w.labels",
        "n",
        "w.xmin",
        "w.custom_fields",
    ])
}

/// An expression as PostgreSQL and the parser may know it.
fn expression(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 {
        return match dice.below(5) {
            0 => column(dice).into(),
            1 => dice.one(&["1", "'x'", "null", "true", "2.5", "-3"]).into(),
            2 => dice.one(&["$1", "$2", "$2::text", "$3"]).into(),
            _ => column(dice).into(),
        };
    }
    let mut inner = || expression(dice, depth - 1);
    let (a, b, c) = (inner(), inner(), inner());
    match dice.below(16) {
        0 => format!(
            "({a} {} {b})",
            dice.one(&[
                "+", "-", "*", "/", "%", "||", "<", ">=", "=", "<>", "and", "or", "->", "->>", "@>", "~", "^"
            ])
        ),
        1 => format!(
            "{}({a}, {b})",
            dice.one(&[
                "coalesce",
                "nullif",
                "greatest",
                "left",
                "date_trunc",
                "set_config",
                "round",
                "pg_notify"
            ])
        ),
        2 => format!(
            "{}({a})",
            dice.one(&[
                "count",
                "sum",
                "max",
                "lower",
                "length",
                "pg_sleep",
                "row_to_json",
                "array_agg",
                "abs",
                "lo_create"
            ])
        ),
        3 => format!("case when {a} then {b} else {c} end"),
        4 => format!(
            "{a}::{}",
            dice.one(&[
                "text",
                "bigint",
                "date",
                "text[]",
                "regclass",
                "xml",
                "json",
                "uuid",
                "timestamptz",
                "name"
            ])
        ),
        5 => format!("cast({a} as {})", dice.one(&["text", "integer", "oid", "interval"])),
        6 => format!("({a} is {}null)", dice.one(&["", "not "])),
        7 => format!("{a} in ({b}, {c})"),
        8 => format!("{a} between {b} and {c}"),
        9 => format!("exists ({})", query(dice, depth - 1)),
        10 => format!("({})", query(dice, depth - 1)),
        11 => format!("{a} = any({b})"),
        12 => format!("count(*) filter (where {a}) over (partition by {b} order by {c})"),
        13 => format!("percentile_cont({a}) within group (order by {b})"),
        14 => format!("extract(epoch from {a})"),
        _ => {
            format!("{a} {} {b}", dice.one(&["like", "ilike", "not like", "similar to", "is distinct from"]))
        }
    }
}

fn source(dice: &mut Dice, depth: usize) -> String {
    match dice.below(8) {
        0 if depth > 0 => format!("({}) w", query(dice, depth - 1)),
        1 if depth > 0 => format!("work_items w left join lateral ({}) n on true", query(dice, depth - 1)),
        2 => "search_work_item_ids($2::text, 10) as n(id)".into(),
        3 => "work_items w join transitions t on t.item_ref_key = w.ref_key".into(),
        4 => dice
            .one(&[
                "pg_class w",
                "public.work_items w",
                "generate_series(1, 2) w",
                "x w",
                "sprints w",
                "only work_items w",
            ])
            .into(),
        _ => "work_items w".into(),
    }
}

fn query(dice: &mut Dice, depth: usize) -> String {
    let columns: Vec<String> = (0..=dice.below(2))
        .map(|i| format!("{} as c{i}", expression(dice, dice.0 as usize % (depth + 1))))
        .collect();
    let mut text = format!(
        "select {}{} from {} where w.tenant_id = $1",
        dice.one(&["", "", "", "distinct ", "distinct on (w.id) "]),
        columns.join(", "),
        source(dice, depth)
    );
    if dice.below(2) == 0 {
        text.push_str(&format!(" and {}", expression(dice, depth)));
    }
    if dice.below(4) == 0 {
        text.push_str(&format!(" group by {}", column(dice)));
    }
    if depth > 0 && dice.below(5) == 0 {
        text = format!(
            "{text} {} {}",
            dice.one(&["union", "union all", "intersect", "except"]),
            query(dice, depth - 1)
        );
    }
    if depth > 0 && dice.below(5) == 0 {
        let inner = query(dice, depth - 1);
        text =
            format!("with {}x as ({inner}) {text}", dice.one(&["", "", "recursive ", "x as (select 1), "]));
    }
    if dice.below(4) == 0 {
        text.push_str(&format!(
            " order by {} {}",
            column(dice),
            dice.one(&["", "desc", "nulls last", "using <"])
        ));
    }
    if dice.below(5) == 0 {
        text.push_str(dice.one(&[" limit 5", " limit $2", " offset 1", " for update", " limit all"]));
    }
    text
}

/// A file: one that ships, broken in some places, or a statement made up.
fn file(dice: &mut Dice) -> String {
    let params = "[[params]]\nname = 'p'\ntype = 'text'\ndescription = 'd'\n";
    let mut text = match dice.below(3) {
        0 => {
            let statement = query(dice, 1 + dice.0 as usize % 3);
            let used = if statement.contains("$2") { params } else { "" };
            return format!("/*\ntitle = 'T'\ndescription = 'D'\n{used}*/ {statement}");
        }
        1 => {
            let statement = query(dice, 2);
            format!("/*\ntitle = 'T'\ndescription = 'D'\n{params}*/ {statement}")
        }
        _ => BUILT_IN[dice.below(BUILT_IN.len())].1.to_owned(),
    };
    for _ in 0..=dice.below(3) {
        let mut at = dice.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let mut end = (at + dice.below(12)).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let end = end.max(at);
        match dice.below(5) {
            0 => text.replace_range(at..end, ""),
            1 => text.insert_str(at, dice.one(PIECES)),
            2 => text.replace_range(at..end, dice.one(PIECES)),
            3 => {
                let piece = text[at..end].to_owned();
                text.insert_str(end, &piece);
            }
            _ => {
                let other = BUILT_IN[dice.below(BUILT_IN.len())].1;
                let words: Vec<&str> = other.split_inclusive(' ').collect();
                let word = dice.below(words.len());
                let piece = words[word..(word + 1 + dice.below(6)).min(words.len())].concat();
                text.insert_str(at, &piece);
            }
        }
    }
    text
}

/// The names in a statement that are not listed.
#[derive(Debug, Default)]
struct Names {
    ctes: BTreeSet<String>,
    unlisted: Vec<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.extend(ctes.map(|cte| cte.alias.name.value.to_ascii_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let text = name.to_string();
        let listed = text
            .strip_prefix("published.")
            .is_some_and(|view| RELATIONS.iter().any(|(name, _)| *name == view))
            || text == "public.search_work_item_ids"
            || self.ctes.contains(&text.to_ascii_lowercase());
        if !listed {
            self.unlisted.push(text);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let text = function.name.to_string();
            let syntax =
                ["coalesce", "greatest", "least", "nullif"].contains(&text.to_ascii_lowercase().as_str());
            let listed = text.strip_prefix("pg_catalog.").is_some_and(|name| FUNCTIONS.contains(&name));
            if !listed && !syntax {
                self.unlisted.push(text);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Checks one text; whether it was accepted.
fn one(text: &str) -> Result<bool, String> {
    let Ok(template) = check("t", text) else { return Ok(false) };
    let statement = &template.statement;
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, statement)
        .map_err(|error| format!("is not read back: {error}"))?;
    if parsed.len() != 1 || parsed[0].to_string() != *statement {
        return Err(format!("is read back as something else: {statement}"));
    }
    let mut names = Names::default();
    let _ = parsed.visit(&mut names);
    if !names.unlisted.is_empty() {
        return Err(format!("names {:?}: {statement}", names.unlisted));
    }
    // Written again without the schemas it was given, it comes out as it is. Texts in quotes are left alone: where one
    // holds a schema's name, nothing can be said this way.
    let quoted = statement.split('\'').skip(1).step_by(2).any(|quoted| quoted.contains('.'));
    if !quoted {
        let (header, _) = text.split_once("*/").unwrap_or_default();
        let bare = ["published.", "pg_catalog.", "public."]
            .iter()
            .fold(statement.clone(), |text, schema| text.replace(schema, ""));
        match check("t", &format!("{header}*/ {bare}")) {
            Ok(again) if again.statement == *statement => {}
            Ok(again) => return Err(format!("is rendered to {statement}, and that to {}", again.statement)),
            Err(findings) => {
                return Err(format!("is rendered to {statement}, which is refused: {findings:?}"));
            }
        }
    }
    Ok(true)
}

#[test]
fn no_text_breaks_the_check_and_what_passes_names_nothing_unlisted() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let budget = setting("PATCHBAY_FUZZ_S").map(Duration::from_secs);
    // Without a seed of its own a long run looks elsewhere each time; a short one is the same everywhere.
    let seed = setting("PATCHBAY_FUZZ_SEED")
        .unwrap_or_else(|| budget.map_or(1, |_| std::hash::RandomState::new().build_hasher().finish()));
    let (begun, mut tried, mut accepted) = (Instant::now(), 0, 0);
    while budget.map_or(tried < FEW, |budget| begun.elapsed() < budget) {
        let here = seed.wrapping_add(tried);
        let text = file(&mut Dice(here));
        match catch_unwind(AssertUnwindSafe(|| one(&text))) {
            Ok(Ok(passed)) => accepted += u64::from(passed),
            Ok(Err(why)) => panic!("PATCHBAY_FUZZ_SEED={here}: it {why}\n--- of:\n{text}"),
            Err(_) => panic!("PATCHBAY_FUZZ_SEED={here}: the check panicked at:\n{text}"),
        }
        tried += 1;
    }
    println!("seed {seed}: {tried} texts in {:?}, {accepted} accepted", begun.elapsed());
    assert!(accepted * 100 > tried, "hardly anything was accepted: {accepted} of {tried}");
}
