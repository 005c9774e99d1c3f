//! Whether an issue is what a restriction asks for.

use serde_json::Value;

use super::{Clause, Expr, Operand, Operator, Query};
use crate::jira::catalog::{Catalog, SPRINT};
use crate::jira::issue::{Issue, id_of};
use crate::jira::site::JiraSite;
use crate::jira::{text, time};

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) site: &'a JiraSite,
    /// The caller's account.
    pub(crate) account: &'a str,
    pub(crate) now: i64,
    /// How far the caller's zone is ahead of UTC.
    pub(crate) zone_minutes: i64,
}

impl Scope<'_> {
    /// A time: epoch milliseconds, a literal in the caller's zone, or a function.
    pub(crate) fn time(&self, operand: &Operand) -> Option<i64> {
        let day = 86_400_000;
        match operand {
            Operand::Number(ms) => Some(*ms),
            Operand::Text(text) => time::jql_literal(text, self.now, self.zone_minutes),
            Operand::Function(name) if name == "now" => Some(self.now),
            Operand::Function(name) if name == "startofday" => {
                let ahead = self.zone_minutes * 60_000;
                Some((self.now + ahead).div_euclid(day) * day - ahead)
            }
            _ => None,
        }
    }
}

const TIMES: [&str; 8] =
    ["updated", "updateddate", "created", "createddate", "resolved", "resolutiondate", "due", "duedate"];
const KEYS: [&str; 4] = ["key", "issuekey", "issue", "id"];

impl Query {
    /// Refuses fields, values and comparisons that Jira would refuse.
    pub(crate) fn check(&self, scope: &Scope<'_>) -> Result<(), String> {
        fn walk(expr: &Expr, scope: &Scope<'_>) -> Result<(), String> {
            match expr {
                Expr::And(parts) | Expr::Or(parts) => parts.iter().try_for_each(|part| walk(part, scope)),
                Expr::Not(inside) => walk(inside, scope),
                Expr::Clause(clause) => check(clause, scope),
            }
        }
        self.restriction.as_ref().map_or(Ok(()), |expr| walk(expr, scope))?;
        self.check_order(scope.site)
    }

    /// Whether the issue matches; `updated` is what the index knows of it.
    pub(crate) fn matches(&self, issue: &Issue, updated: i64, scope: &Scope<'_>) -> bool {
        self.restriction.as_ref().is_none_or(|expr| holds(expr, issue, updated, scope))
    }
}

fn check(clause: &Clause, scope: &Scope<'_>) -> Result<(), String> {
    let field = clause.field.as_str();
    let compares = matches!(
        clause.operator,
        Operator::Greater | Operator::GreaterOrEqual | Operator::Less | Operator::LessOrEqual
    );
    let searches = matches!(clause.operator, Operator::Contains | Operator::ContainsNot);
    if TIMES.contains(&field) {
        if searches {
            return Err(format!("The operator '~' is not supported by the '{field}' field."));
        }
        return clause.operands.iter().filter(|one| **one != Operand::Empty).try_for_each(|operand| {
            scope.time(operand).map(drop).ok_or_else(|| {
                format!(
                    "Date value '{}' for field '{field}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'.",
                    operand.text()
                )
            })
        });
    }
    if searches {
        return match field {
            "text" | "summary" | "description" | "comment" => Ok(()),
            _ if scope.site.catalog.fields.iter().any(|one| named(one, field)) => Ok(()),
            _ => Err(format!("The operator '~' is not supported by the '{field}' field.")),
        };
    }
    if KEYS.contains(&field) {
        if compares {
            return Ok(());
        }
        let unknown = clause.operands.iter().find(|one| scope.site.find(&one.text()).is_none());
        return match unknown {
            None => Ok(()),
            Some(one) => {
                Err(format!("An issue with key '{}' does not exist for field '{field}'.", one.text()))
            }
        };
    }
    if compares && !matches!(field, "priority" | "rank") && !field.starts_with("cf[") {
        return Err(format!("The operator is not supported by the '{field}' field: it has no order."));
    }
    let missing = |value: &Operand| {
        Err(format!("The value '{}' does not exist for the field '{field}'.", value.text()))
    };
    for operand in clause.operands.iter().filter(|one| **one != Operand::Empty) {
        let text = operand.text();
        let known = match field {
            "project" => scope.site.project(&text).is_some(),
            "status" | "issuetype" | "type" | "priority" | "resolution" => {
                let name = if field == "type" { "issuetype" } else { field };
                scope.site.catalog.of(name).is_some_and(|objects| Catalog::named(objects, &text).is_some())
                    || (field == "resolution" && text.eq_ignore_ascii_case("unresolved"))
            }
            "statuscategory" => true,
            "assignee" | "reporter" | "creator" => match operand {
                Operand::Function(name) => name == "currentuser",
                _ => person(scope.site, &text).is_some(),
            },
            "sprint" => {
                scope.site.sprints.keys().any(|id| id.to_string() == text)
                    || scope.site.sprints.values().any(|sprint| sprint["name"] == text.as_str())
                    || matches!(text.as_str(), "opensprints()" | "closedsprints()" | "futuresprints()")
            }
            "labels" | "component" | "fixversion" | "affectedversion" | "parent" => true,
            _ if field.starts_with("issue.property") => true,
            _ if scope.site.catalog.fields.iter().any(|one| named(one, field)) => true,
            _ => {
                return Err(format!(
                    "Field '{field}' does not exist or you do not have permission to view it."
                ));
            }
        };
        if !known {
            return missing(operand);
        }
    }
    Ok(())
}

fn holds(expr: &Expr, issue: &Issue, updated: i64, scope: &Scope<'_>) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(|part| holds(part, issue, updated, scope)),
        Expr::Or(parts) => parts.iter().any(|part| holds(part, issue, updated, scope)),
        Expr::Not(inside) => !holds(inside, issue, updated, scope),
        Expr::Clause(clause) => clause_holds(clause, issue, updated, scope),
    }
}

fn clause_holds(clause: &Clause, issue: &Issue, updated: i64, scope: &Scope<'_>) -> bool {
    let field = clause.field.as_str();
    if TIMES.contains(&field) {
        let own = match field {
            "updated" | "updateddate" => Some(updated),
            "created" | "createddate" => Some(issue.created),
            "resolved" | "resolutiondate" => issue.get("resolutiondate").as_str().and_then(time::parse),
            _ => issue.get("duedate").as_str().and_then(|text| time::jql_literal(text, scope.now, 0)),
        };
        return ordered(clause, own, |operand| scope.time(operand));
    }
    if KEYS.contains(&field) {
        let own = i64::try_from(issue.id).ok();
        let other = |operand: &Operand| {
            let found = scope.site.find(&operand.text()).map(|other| other.id);
            found.and_then(|id| i64::try_from(id).ok()).or(match operand {
                Operand::Number(number) => Some(*number),
                _ => None,
            })
        };
        return ordered(clause, own, other);
    }
    match clause.operator {
        Operator::Contains => mentions(issue, field, &operand_text(clause), scope),
        Operator::ContainsNot => !mentions(issue, field, &operand_text(clause), scope),
        Operator::Is | Operator::In => clause.operands.iter().any(|one| is(issue, field, one, scope)),
        // As in Jira, a field without value is found neither by = nor by !=.
        Operator::IsNot | Operator::NotIn => {
            let asks_empty = clause.operands.contains(&Operand::Empty);
            (asks_empty || !is(issue, field, &Operand::Empty, scope))
                && !clause.operands.iter().any(|one| is(issue, field, one, scope))
        }
        Operator::Greater | Operator::GreaterOrEqual | Operator::Less | Operator::LessOrEqual => {
            let own = custom_value(issue, field, scope).and_then(Value::as_f64);
            // Precise enough to compare estimates.
            #[expect(clippy::cast_possible_truncation, reason = "thousandths of a number that people typed")]
            let own = own.map(|number| (number * 1000.0) as i64);
            ordered(clause, own, |operand| match operand {
                Operand::Number(number) => number.checked_mul(1000),
                _ => None,
            })
        }
    }
}

fn operand_text(clause: &Clause) -> String {
    clause.operands.first().map(Operand::text).unwrap_or_default()
}

fn ordered(clause: &Clause, own: Option<i64>, of: impl Fn(&Operand) -> Option<i64>) -> bool {
    let first = || clause.operands.first().and_then(&of);
    let empty = clause.operands.contains(&Operand::Empty);
    match clause.operator {
        Operator::Is | Operator::In => {
            (empty && own.is_none())
                || own.is_some_and(|own| clause.operands.iter().any(|one| of(one) == Some(own)))
        }
        Operator::IsNot | Operator::NotIn => {
            own.is_some_and(|own| empty || clause.operands.iter().all(|one| of(one) != Some(own)))
        }
        Operator::Greater => own.zip(first()).is_some_and(|(own, other)| own > other),
        Operator::GreaterOrEqual => own.zip(first()).is_some_and(|(own, other)| own >= other),
        Operator::Less => own.zip(first()).is_some_and(|(own, other)| own < other),
        Operator::LessOrEqual => own.zip(first()).is_some_and(|(own, other)| own <= other),
        Operator::Contains | Operator::ContainsNot => false,
    }
}

fn is(issue: &Issue, field: &str, operand: &Operand, scope: &Scope<'_>) -> bool {
    let wanted = operand.text();
    let site = scope.site;
    let same = |text: &str| text.eq_ignore_ascii_case(&wanted);
    let field = match field {
        "type" => "issuetype",
        "fixversion" => "fixVersions",
        "affectedversion" => "versions",
        "component" => "components",
        other => other,
    };
    match field {
        "project" => {
            *operand != Operand::Empty
                && site.project(&wanted).and_then(|project| id_of(&project["id"]))
                    == issue.reference("project")
        }
        "status" | "issuetype" | "priority" | "resolution" => {
            let own = issue.reference(field);
            if *operand == Operand::Empty || same("unresolved") && field == "resolution" {
                return own.is_none();
            }
            let objects = site.catalog.of(field);
            own.is_some() && objects.and_then(|all| Catalog::named(all, &wanted)).and_then(id_of) == own
        }
        "statuscategory" => {
            let status = issue.reference("status").and_then(|id| site.catalog.statuses.get(&id));
            let category = status.map(|status| &status["statusCategory"]);
            category
                .is_some_and(|one| ["key", "name"].iter().any(|name| one[*name].as_str().is_some_and(same)))
        }
        "assignee" | "reporter" | "creator" => {
            let own = issue.reference(field);
            match operand {
                Operand::Empty => own.is_none(),
                Operand::Function(_) => own.as_deref() == Some(scope.account),
                _ => own.is_some() && person(site, &wanted) == own,
            }
        }
        "sprint" => {
            let rows = site.catalog.custom(SPRINT).map(|id| issue.array(id)).unwrap_or_default();
            let state = |wanted: &str| {
                rows.iter().any(|row| {
                    let id = id_of(row).and_then(|id| id.parse().ok());
                    id.and_then(|id: u64| site.sprints.get(&id))
                        .is_some_and(|sprint| sprint["state"] == wanted)
                })
            };
            match operand {
                Operand::Empty => rows.is_empty(),
                Operand::Function(name) if name == "opensprints" => state("active"),
                Operand::Function(name) if name == "closedsprints" => state("closed"),
                Operand::Function(_) => state("future"),
                _ => rows.iter().filter_map(id_of).any(|id| {
                    id == wanted
                        || id
                            .parse()
                            .ok()
                            .and_then(|id: u64| site.sprints.get(&id))
                            .is_some_and(|one| one["name"] == wanted.as_str())
                }),
            }
        }
        "labels" => {
            let labels = issue.array("labels");
            if *operand == Operand::Empty {
                labels.is_empty()
            } else {
                labels.iter().any(|label| label.as_str().is_some_and(same))
            }
        }
        "components" | "fixVersions" | "versions" => {
            let rows = issue.array(field);
            if *operand == Operand::Empty {
                return rows.is_empty();
            }
            rows.iter().any(|row| {
                id_of(row).as_deref() == Some(&wanted) || issue_name(row).is_some_and(|name| same(&name))
            })
        }
        "parent" => match operand {
            Operand::Empty => issue.reference("parent").is_none(),
            _ => {
                let parent = issue.reference("parent");
                parent.is_some() && site.find(&wanted).map(|found| found.id.to_string()) == parent
            }
        },
        property if property.starts_with("issue.property") => {
            let found = property_value(issue, property);
            match operand {
                Operand::Empty => found.is_none_or(Value::is_null),
                _ => found.is_some_and(|value| value.as_str().is_some_and(same) || *value == wanted),
            }
        }
        other => {
            let value = custom_value(issue, other, scope).unwrap_or(&Value::Null);
            match operand {
                Operand::Empty => value.is_null(),
                _ => {
                    value.as_str().is_some_and(same)
                        || issue_name(value).is_some_and(|name| same(&name))
                        || *value == wanted
                }
            }
        }
    }
}

/// `issue.property[key].path.to.value`.
fn property_value<'a>(issue: &'a Issue, field: &str) -> Option<&'a Value> {
    let (key, path) = field.strip_prefix("issue.property[")?.split_once(']')?;
    let value = issue.properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?.1;
    path.split('.').filter(|part| !part.is_empty()).try_fold(value, |value, part| {
        value.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(part)).map(|(_, value)| value)
    })
}

fn custom_value<'a>(issue: &'a Issue, field: &str, scope: &Scope<'_>) -> Option<&'a Value> {
    let definition = scope.site.catalog.fields.iter().find(|one| named(one, field))?;
    issue.fields.get(definition["id"].as_str()?)
}

/// Whether JQL calls the field so.
fn named(definition: &Value, field: &str) -> bool {
    let is = |value: &Value| value.as_str().is_some_and(|name| name.eq_ignore_ascii_case(field));
    is(&definition["id"])
        || is(&definition["name"])
        || definition["clauseNames"].as_array().is_some_and(|names| names.iter().any(is))
}

/// The id of an account that is named by id, key, user name, e-mail address or display name.
fn person(site: &JiraSite, wanted: &str) -> Option<String> {
    if site.catalog.users.contains_key(wanted) {
        return Some(wanted.to_owned());
    }
    let names = ["name", "key", "emailAddress", "displayName"];
    let found = site.catalog.users.iter().find(|(_, user)| {
        names.iter().any(|name| user[*name].as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted)))
    });
    found.map(|(id, _)| id.clone())
}

/// Every word of the search begins a word of the text. Wildcards at the end are what words are anyway.
fn mentions(issue: &Issue, field: &str, wanted: &str, scope: &Scope<'_>) -> bool {
    let plain = |value: &Value| match value {
        Value::Object(_) => text::to_plain(value),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let mut hay = match field {
        "summary" | "description" => plain(issue.get(field)),
        "text" => format!("{} {}", plain(issue.get("summary")), plain(issue.get("description"))),
        "comment" => String::new(),
        other => custom_value(issue, other, scope).map(plain).unwrap_or_default(),
    };
    if matches!(field, "text" | "comment") {
        for comment in &issue.comments {
            hay.push(' ');
            hay.push_str(&plain(&comment.value["body"]));
        }
    }
    let hay = hay.to_lowercase();
    let words: Vec<&str> = hay.split(|c: char| !c.is_alphanumeric()).collect();
    let wanted = wanted.to_lowercase();
    wanted
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .all(|word| words.iter().any(|known| known.starts_with(word)))
}

/// The name of a reference's object.
pub(super) fn issue_name(value: &Value) -> Option<String> {
    match value {
        Value::Object(object) => ["name", "displayName", "value", "key", "id"]
            .iter()
            .find_map(|name| object.get(*name).and_then(Value::as_str))
            .map(str::to_owned),
        other => id_of(other),
    }
}
