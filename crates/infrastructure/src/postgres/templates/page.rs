//! Statements around a template's: one page of its rows, from where the last one ended.

use domain::template::{KeyType, KeyValue, Nulls, Page, SortKey};

/// The statement inside one that PostgreSQL only takes when the inner one is a plain query, and that ends after as many
/// rows as the parameter behind the arguments says. On lines of its own, so that no comment swallows what follows.
///
/// With a page, in its order; with `after`, whose values are bound behind the limit, only what comes after that row.
pub(super) fn statement(
    template: &str,
    arguments: usize,
    page: Option<&Page>,
    after: Option<&[KeyValue]>,
) -> String {
    let limit = arguments + 2;
    let mut text = format!("SELECT * FROM (\n{template}\n) AS q");
    if let Some(page) = page {
        if let Some(after) = after {
            let values: Vec<(&SortKey, &KeyValue, usize)> = page
                .keys
                .iter()
                .zip(after)
                .enumerate()
                .map(|(i, (key, value))| (key, value, limit + 1 + i))
                .collect();
            text.push_str(&format!(" WHERE {}", behind(&values)));
        }
        let order: Vec<String> = page.keys.iter().map(order).collect();
        text.push_str(&format!(" ORDER BY {}", order.join(", ")));
    }
    text.push_str(&format!(" LIMIT ${limit}"));
    text
}

fn order(key: &SortKey) -> String {
    let direction = if key.descending { "DESC" } else { "ASC" };
    let nulls = match key.nulls {
        // As indexes have it.
        Nulls::Never => "",
        Nulls::First => " NULLS FIRST",
        Nulls::Last => " NULLS LAST",
    };
    format!("q.{} {direction}{nulls}", key.column)
}

/// Whether a row comes after the one with these values.
///
/// Row comparison would be shorter, but knows neither mixed directions nor nulls. The first condition says again what
/// follows from the second where an index can begin a scan with it, and never with `OR` in it.
fn behind(values: &[(&SortKey, &KeyValue, usize)]) -> String {
    let Some(((key, value, number), rest)) = values.split_first() else { return "false".into() };
    let column = format!("q.{}", key.column);
    let Some(_) = value.text else {
        let equal = format!("{column} IS NULL");
        let later = match key.nulls {
            Nulls::First => format!("{column} IS NOT NULL"),
            Nulls::Last | Nulls::Never => "false".into(),
        };
        return either(later, &equal, rest);
    };
    // The type on the wire is text, whatever the column's: what is compared is what PostgreSQL once wrote.
    let given = format!("${number}::text::{}", database_type(value.kind));
    let (beyond, at_least) = if key.descending { ("<", "<=") } else { (">", ">=") };
    let later = match key.nulls {
        Nulls::Never | Nulls::First => format!("{column} {beyond} {given}"),
        Nulls::Last => format!("({column} {beyond} {given} OR {column} IS NULL)"),
    };
    let whole = either(later, &format!("{column} = {given}"), rest);
    match key.nulls {
        Nulls::Never | Nulls::First if !rest.is_empty() => format!("{column} {at_least} {given} AND {whole}"),
        Nulls::Never | Nulls::First | Nulls::Last => whole,
    }
}

/// Later in this column, or the same and later in the following ones.
fn either(later: String, equal: &str, rest: &[(&SortKey, &KeyValue, usize)]) -> String {
    if rest.is_empty() { later } else { format!("({later} OR ({equal} AND {}))", behind(rest)) }
}

const fn database_type(kind: KeyType) -> &'static str {
    match kind {
        KeyType::Text => "text",
        KeyType::Uuid => "uuid",
        KeyType::Integer => "bigint",
        KeyType::Number => "double precision",
        KeyType::Boolean => "boolean",
        KeyType::Date => "date",
        KeyType::Timestamp => "timestamptz",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_where_an_index_can() {
        let key = |text| SortKey::parse(text).unwrap();
        let page = Page { keys: vec![key("at desc"), key("id not null")], hidden: Vec::new() };
        let value = |kind, text: &str| KeyValue { kind, text: Some(text.into()) };
        let after = [value(KeyType::Timestamp, "t"), value(KeyType::Uuid, "u")];
        assert_eq!(
            statement("select 1", 2, Some(&page), Some(&after)),
            "SELECT * FROM (\nselect 1\n) AS q \
             WHERE q.at <= $5::text::timestamptz AND (q.at < $5::text::timestamptz \
             OR (q.at = $5::text::timestamptz AND q.id > $6::text::uuid)) \
             ORDER BY q.at DESC NULLS FIRST, q.id ASC LIMIT $4"
        );
        assert_eq!(statement("select 1", 0, None, None), "SELECT * FROM (\nselect 1\n) AS q LIMIT $2");
    }
}
