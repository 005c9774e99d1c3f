//! What the planner expects of a template, without running it.

use application::Ctx;
use application::ports::Estimate;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::Asked;
use crate::postgres::db::TemplateConnection;

/// As the reader role, in the tenant's transaction: what it may not read it cannot ask about either.
pub(super) async fn ask(
    connection: &mut TemplateConnection,
    ctx: &Ctx,
    asked: &Asked<'_>,
) -> Result<Estimate, sqlx::Error> {
    let mut tx = connection.begin(ctx, asked.template.timeout_ms).await?;
    let plan = plan_of(&mut tx, ctx, asked).await?;
    let unreadable = || sqlx::Error::Decode("a plan without rows and cost".into());
    let root = plan.pointer("/0/Plan").ok_or_else(unreadable)?;
    let mut estimate = Estimate {
        rows: root.get("Plan Rows").and_then(Value::as_f64).ok_or_else(unreadable)?,
        cost: cost(&plan).ok_or_else(unreadable)?,
        indexes: Vec::new(),
        whole_tables: Vec::new(),
    };
    walk(root, &mut estimate);
    for names in [&mut estimate.indexes, &mut estimate.whole_tables] {
        names.sort();
        names.dedup();
    }
    Ok(estimate)
}

/// PostgreSQL's plan for a question, as it tells it.
pub(super) async fn plan_of(
    connection: &mut PgConnection,
    ctx: &Ctx,
    asked: &Asked<'_>,
) -> Result<Value, sqlx::Error> {
    #[expect(clippy::disallowed_methods, reason = "a template's statement passed the gate; values are bound")]
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {}", asked.statement()));
    // Not kept: it is not asked often, and would drive statements out that are.
    sqlx::query_with(explain, asked.bound(ctx)?).persistent(false).fetch_one(connection).await?.try_get(0)
}

/// What the whole plan is expected to cost.
pub(super) fn cost(plan: &Value) -> Option<f64> {
    plan.pointer("/0/Plan/Total Cost").and_then(Value::as_f64)
}

/// Collects the indexes that a plan uses, and the tables it reads from end to end. A plan is nested no deeper than the
/// statement, which the gate bounds, by a small factor.
fn walk(node: &Value, estimate: &mut Estimate) {
    let text = |name: &str| node.get(name).and_then(Value::as_str).map(str::to_owned);
    estimate.indexes.extend(text("Index Name"));
    if node.get("Node Type").and_then(Value::as_str) == Some("Seq Scan") {
        estimate.whole_tables.extend(text("Relation Name"));
    }
    for below in node.get("Plans").and_then(Value::as_array).into_iter().flatten() {
        walk(below, estimate);
    }
}
