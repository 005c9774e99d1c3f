//! The SQL templates that are built in, and the check every template passes before it can be run.

mod finding;
mod fold;
mod gate;
mod header;
mod locate;

use domain::template::{Page, Template};
use sha2::{Digest, Sha256};

pub use finding::{Finding, Position};
pub(crate) use fold::fold;
pub use gate::{FUNCTIONS, RELATIONS};
pub use locate::locate;

/// The whitelist: what is not in this list is not a tool. Name, and text of `sql/templates/<name>.sql`.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("count_items_by", include_str!("../../../sql/templates/count_items_by.sql")),
    ("cycle_time_percentiles", include_str!("../../../sql/templates/cycle_time_percentiles.sql")),
    ("find_related_items", include_str!("../../../sql/templates/find_related_items.sql")),
    ("find_work_items", include_str!("../../../sql/templates/find_work_items.sql")),
    ("get_project_metrics", include_str!("../../../sql/templates/get_project_metrics.sql")),
    ("get_work_item_history", include_str!("../../../sql/templates/get_work_item_history.sql")),
    ("list_blocked_items", include_str!("../../../sql/templates/list_blocked_items.sql")),
    ("list_recent_changes", include_str!("../../../sql/templates/list_recent_changes.sql")),
    ("list_stale_items", include_str!("../../../sql/templates/list_stale_items.sql")),
    ("search_issues_by_project", include_str!("../../../sql/templates/search_issues_by_project.sql")),
    ("sprint_progress", include_str!("../../../sql/templates/sprint_progress.sql")),
    ("sync_errors", include_str!("../../../sql/templates/sync_errors.sql")),
    ("throughput_by_week", include_str!("../../../sql/templates/throughput_by_week.sql")),
    ("wip_by_assignee", include_str!("../../../sql/templates/wip_by_assignee.sql")),
];

/// Longest text of a template, in bytes. The longest that ships has 4 KiB.
const MAX_TEXT: usize = 64 * 1024;

/// Reads a template file and checks all that can be checked without a database: its name, its header, and that
/// its statement is one harmless query. The result has no columns yet; the database knows those.
///
/// Every reason to refuse is reported, as far as reading got.
pub fn check(name: &str, text: &str) -> Result<Template, Vec<Finding>> {
    if !is_tool_name(name) || name.starts_with("sql_") {
        let message = "needs a file name of 1 to 32 characters of a-z, 0-9 and _, the first a letter, and not beginning with sql_";
        return Err(vec![Finding::new(message)]);
    }
    if text.len() > MAX_TEXT {
        return Err(vec![Finding::new(format!("is longer than {} KiB: make it shorter", MAX_TEXT / 1024))]);
    }
    let (header, sql) = header::read(text)?;
    let start = Position::of_byte(text, text.len() - sql.len());
    let statement = gate::render(sql, header.params.len(), header.page.is_some())
        .map_err(|findings| findings.into_iter().map(|finding| finding.within(start)).collect::<Vec<_>>())?;
    let template = Template {
        name: name.to_owned(),
        title: header.title,
        description: header.description,
        tags: header.tags,
        scope: header.scope,
        version: version(&statement, header.page.as_ref()),
        params: header.params,
        default_limit: header.default_limit,
        max_limit: header.max_limit,
        max_bytes: header.max_bytes,
        timeout_ms: header.timeout_ms,
        max_cost: header.max_cost,
        page: header.page,
        columns: Default::default(),
        statement,
        authored: false,
    };
    for param in &template.params {
        let given = param.default.iter().map(|value| (param.name.clone(), value.clone())).collect();
        let of_this = |error: &domain::FieldError| error.pointer == format!("/{}", param.name);
        if param.default.is_some()
            && template.bind(&given).is_err_and(|invalid| invalid.errors.iter().any(of_this))
        {
            let message = format!("has a default for `{}` that the parameter does not take", param.name);
            return Err(vec![Finding::new(message)]);
        }
    }
    Ok(template)
}

/// A short digest of the statement and the order of its rows: changes when they do.
fn version(statement: &str, page: Option<&Page>) -> String {
    let order = page.map(|page| format!("\nORDER BY {}", page.words())).unwrap_or_default();
    hex::encode(&Sha256::digest(format!("{statement}{order}").as_bytes())[..6])
}

fn is_tool_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "/*\ntitle = 'T'\ndescription = 'D'\n*/\n";

    fn rendered(statement: &str) -> Result<String, String> {
        check("t", &format!("{HEADER}{statement}"))
            .map(|template| template.statement)
            .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn every_built_in_template_passes_the_check_and_they_stand_in_order() {
        for (name, text) in BUILT_IN {
            let checked = check(name, text);
            assert!(checked.is_ok(), "{name}: {checked:?}");
        }
        assert!(BUILT_IN.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn what_is_run_is_rendered_anew_with_schemas() {
        let text = "SELECT count(*) AS n /* hi */ FROM Work_Items w -- there\n WHERE w.tenant_id = $1";
        let expected = "SELECT pg_catalog.count(*) AS n FROM published.work_items w WHERE w.tenant_id = $1";
        assert_eq!(rendered(text).unwrap(), expected);
    }

    #[test]
    fn a_function_in_the_notation_of_a_column_is_refused() {
        let text = "select w.row_to_json from work_items w where w.tenant_id = $1";
        assert!(rendered(text).unwrap_err().contains("row_to_json"));
    }

    #[test]
    fn every_finding_is_reported() {
        let text = "select pg_sleep(1) as a, xmin from pg_class for update";
        let message = rendered(text).unwrap_err();
        for part in ["pg_sleep", "xmin", "pg_class", "FOR UPDATE", "$1"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }

    #[test]
    fn a_parameter_without_use_and_a_placeholder_without_parameter_are_named() {
        let unused = "/*\ntitle = 'T'\ndescription = 'D'\n[[params]]\nname = 'a'\ntype = 'text'\ndescription = 'a'\n*/";
        let unused = format!("{unused} select id from work_items where tenant_id = $1");
        assert!(check("t", &unused).unwrap_err()[0].message.contains("never uses $2"));
        let beyond = rendered("select id from work_items where tenant_id = $1 and title = $2");
        assert!(beyond.unwrap_err().contains("only $1 to $1"));
    }

    /// Line and column of the first finding.
    fn place(text: &str) -> (u64, u64) {
        let findings = check("t", text).unwrap_err();
        let at = findings[0].at.unwrap_or_else(|| panic!("{findings:?} have no place"));
        (at.line, at.column)
    }

    #[test]
    fn findings_are_placed_by_line_and_character_of_the_file() {
        let param = "[[params]]\nname = 'limit'\ntype = 'text'\ndescription = 'x'\n";
        for (text, expected) in [
            // The header: a wrong type, an unknown word, TOML that is none, a parameter as a whole.
            ("/*\ntitle = 'T'\ndescription = 'D'\nmax_limit = 'many'\n*/ select 1".to_owned(), (4, 13)),
            ("/*\ntitle = 'T'\ndescription = 'D'\nlimt = 3\n*/ select 1".to_owned(), (4, 1)),
            ("/*\ntitle = 'T'\ndescription = \n*/ select 1".to_owned(), (3, 15)),
            (format!("/*\ntitle = 'T'\ndescription = 'D'\n{param}*/ select 1"), (4, 1)),
            // The parser, on the line where the header ends and on a later one.
            (format!("{}selec 1", HEADER.trim_end()), (4, 3)),
            (format!("{HEADER}select w.title as a\nform work_items w"), (6, 1)),
            // The gate, behind a character of more than one byte.
            (
                format!(
                    "{HEADER}select 'é' as a, pg_sleep(1) as b\nfrom work_items w where w.tenant_id = $1"
                ),
                (5, 18),
            ),
            (
                format!(
                    "{HEADER}select w.title as a,\n       w.nope as b from work_items w where w.tenant_id = $1"
                ),
                (6, 10),
            ),
            (format!("{HEADER}select w.title as a from pg_class w where w.tenant_id = $1"), (5, 26)),
        ] {
            assert_eq!(place(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_database_points_at_is_found_in_the_file() {
        let text = format!(
            "{HEADER}select count(*) as n, -- w.day\n  max(w.title) as day\nfrom work_items w\nwhere w.tenant_id = $1 and w.day > now()"
        );
        let statement = check("t", &text).unwrap().statement;
        let at = |part: &str| {
            let place = locate(&text, &statement, statement.find(part).unwrap() + 1).unwrap();
            (place.line, place.column)
        };
        assert_eq!(at("w.day"), (8, 28));
        assert_eq!(at("w.title"), (6, 7));
        assert_eq!(at("pg_catalog.now"), (8, 36));
        assert_eq!(at("published.work_items"), (7, 6));
        assert_eq!(locate(&text, &statement, 10_000), None);
    }
}
