//! Proving what a tenant's admin has written: checked, prepared and explained as the author role in the tenant's own
//! context, its cost held against the guard, and run for two tenants that exist for probing.

use std::sync::Arc;

use application::Ctx;
use application::ports::{Clock, Proved, StoreError, TemplateProver, TemplateRunner};
use async_trait::async_trait;
use domain::authored::{MOST_FINDINGS, ProbeRun, ProofFinding, ProofReport};
use domain::template::{Argument, Binding, Claim, Column, Param, ParamType, Template};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::OnceCell;

use super::estimate::{cost, plan_of};
use super::probes::{self, PROBES, PROJECT};
use super::prove::{Refusal, blames_the_text, columns};
use super::{Asked, PgTemplateRunner, What};
use crate::postgres::Db;
use crate::postgres::db::{PipelineError, store_error};
use crate::templates::{Finding, check};

/// The most that the planner may expect of a tenant's template, in PostgreSQL's units: about a sequential look at ten
/// million items.
const MAX_COST: f64 = 5_000_000.0;

/// [`TemplateProver`] over PostgreSQL.
pub struct PgTemplateProver {
    db: Db,
    runner: PgTemplateRunner,
    clock: Arc<dyn Clock>,
    /// The tenants for probing are there.
    seeded: OnceCell<()>,
}

impl PgTemplateProver {
    /// Proves over these connections.
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { runner: PgTemplateRunner::new(db.clone()), db, clock, seeded: OnceCell::new() }
    }

    /// Columns and worst cost, as the author role sees them in the tenant's context.
    async fn explain(&self, ctx: &Ctx, template: &Template) -> Result<(Vec<Column>, f64), Refusal> {
        let mut connection = self.db.author_connection(true).await.map_err(Refusal::Store)?;
        let result = match connection.begin(ctx, template.timeout_ms).await {
            Ok(mut tx) => examine(&mut tx, ctx, template).await,
            Err(error) => Err(Refusal::Driver(error)),
        };
        // The server answered, so the connection is good for the next.
        if !matches!(result, Err(Refusal::Driver(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)))) {
            connection.finish();
        }
        result
    }

    async fn probe(&self, template: &Template) -> Result<Vec<ProbeRun>, Refusal> {
        self.seeded.get_or_try_init(|| probes::seed(&self.db)).await.map_err(Refusal::Store)?;
        let arguments: Vec<Argument> = template.params.iter().map(for_probing).collect();
        let mut runs = Vec::with_capacity(PROBES.len());
        for probe in &PROBES {
            let answer = self.runner.run(&probe.ctx(), template, &arguments, template.max_limit).await;
            runs.push(probe.judge(&answer.map_err(of_probe)?));
        }
        Ok(runs)
    }

    async fn examine(
        &self,
        ctx: &Ctx,
        template: &mut Template,
        report: &mut ProofReport,
    ) -> Result<(), Refusal> {
        let (columns, cost) = self.explain(ctx, template).await?;
        template.columns = columns.as_slice().into();
        report.columns = columns;
        report.cost = Some(two_digits(cost));
        report.max_cost = template.max_cost.min(MAX_COST);
        if cost > report.max_cost {
            let most = report.max_cost;
            let reason = format!(
                "is expected to cost {:.0}, and may cost {most:.0}: compare tenant_id, project_key or updated_at \
                 with a parameter, so that an index serves it, or join fewer views",
                two_digits(cost)
            );
            return Err(Refusal::Reason(reason, None));
        }
        report.probes = self.probe(template).await?;
        let foreign: u64 = report.probes.iter().map(|probe| probe.foreign).sum();
        if foreign > 0 {
            let reason = format!(
                "showed {foreign} values of another tenant when it was run for two tenants that exist for probing"
            );
            return Err(Refusal::Reason(reason, None));
        }
        Ok(())
    }
}

#[async_trait]
impl TemplateProver for PgTemplateProver {
    async fn prove(&self, ctx: &Ctx, name: &str, source: &str) -> Result<Proved, StoreError> {
        // What is looked at here is the tenant's data as a whole, whoever of the tenant asks.
        let ctx = &Ctx { grant: Arc::default(), ..ctx.detached() };
        let mut report = ProofReport {
            at: self.clock.now(),
            findings: Vec::new(),
            columns: Vec::new(),
            cost: None,
            max_cost: MAX_COST,
            probes: Vec::new(),
        };
        let mut template = match check(name, source) {
            Ok(template) => Template { authored: true, ..template },
            Err(findings) => {
                report.findings = findings.into_iter().take(MOST_FINDINGS).map(finding).collect();
                return Ok(Proved { template: None, report });
            }
        };
        match self.examine(ctx, &mut template, &mut report).await {
            Ok(()) => {}
            Err(refusal) => report.findings.push(ProofFinding::new(reason(refusal)?)),
        }
        Ok(Proved { template: Some(template), report })
    }
}

impl std::fmt::Debug for PgTemplateProver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgTemplateProver")
    }
}

fn finding(finding: Finding) -> ProofFinding {
    ProofFinding {
        line: finding.at.map(|at| at.line),
        column: finding.at.map(|at| at.column),
        message: finding.message,
    }
}

/// What the author is told; an error when the text is not to blame.
fn reason(refusal: Refusal) -> Result<String, StoreError> {
    match refusal {
        Refusal::Reason(reason, _) => Ok(reason),
        Refusal::Store(StoreError::Timeout { limit_ms }) => {
            Ok(format!("took longer than its {limit_ms} ms for a tenant with five items"))
        }
        Refusal::Store(error) => Err(error),
        Refusal::Driver(error) => {
            let database = error.as_database_error();
            let code = database.and_then(|database| database.code()).unwrap_or_default();
            let message = database.map_or("", |database| database.message());
            match of_the_author(&code, message) {
                Some(reason) => Ok(reason),
                // While it was only planned: something else holds what it names.
                None if code == "57014" => Err(StoreError::Unavailable(Box::new(error))),
                None => Err(store_error(error)),
            }
        }
    }
}

/// What a failure of a probe's run says of the template.
fn of_probe(error: StoreError) -> Refusal {
    let said = match &error {
        StoreError::Internal(inside) | StoreError::Unavailable(inside) => {
            inside.downcast_ref::<PipelineError>().and_then(PipelineError::said)
        }
        _ => None,
    };
    match said.and_then(|(code, message)| of_the_author(code, message)) {
        Some(reason) => Refusal::Reason(reason, None),
        None => Refusal::Store(error),
    }
}

/// What the database said, when it is about the author's own text. In the tenant's context the statement is only planned,
/// and the probes' data is made up, so no value of anybody stands in it.
fn of_the_author(code: &str, message: &str) -> Option<String> {
    match code {
        "53400" => Some("needs more temporary space than it may have".to_owned()),
        code => blames_the_text(code).then(|| format!("does not fit the database: {message}")),
    }
}

async fn examine(
    connection: &mut PgConnection,
    ctx: &Ctx,
    template: &Template,
) -> Result<(Vec<Column>, f64), Refusal> {
    let least = low(&template.params);
    let asked =
        Asked { what: What::Estimate, template, arguments: &least, limit: template.max_limit, after: None };
    let columns = columns(connection, &asked.statement(), template).await?;
    let mut worst: f64 = 0.0;
    for arguments in [&least, &high(&template.params), &absent(&template.params)] {
        // A page from the middle is another statement than the first one.
        for after in [None, columns.middle.as_deref()] {
            let plan = plan_of(connection, ctx, &Asked { arguments, after, ..asked }).await?;
            let cost = cost(&plan);
            worst = worst
                .max(cost.ok_or_else(|| Refusal::Reason("PostgreSQL told no cost for it".into(), None))?);
        }
    }
    Ok((columns.shown, worst))
}

/// A text the parameter takes.
fn word(param: &Param, allowed: &[String], last: bool) -> String {
    let chosen = if last { allowed.last() } else { allowed.first() };
    let said = param.default.as_ref().and_then(Value::as_str);
    match (chosen, said) {
        (Some(chosen), _) => chosen.clone(),
        (None, Some(said)) => said.to_owned(),
        (None, None) if param.name.contains("project") => PROJECT.to_owned(),
        (None, None) => "probe".to_owned(),
    }
}

/// What a parameter is whoever asks: a constant, or what is known of a caller that is narrowed to nothing.
fn fixed(param: &Param) -> Option<Argument> {
    match &param.binding {
        Binding::Model => None,
        Binding::Constant(value) => Some(read(&param.kind, Some(value))),
        Binding::Claim(claim) if claim.is_list() => Some(Argument::TextList(None)),
        Binding::Claim(claim) => {
            Some(Argument::Text(matches!(claim, Claim::Principal).then(|| "probe".to_owned())))
        }
    }
}

/// The least of everything.
fn low(params: &[Param]) -> Vec<Argument> {
    params.iter().map(|param| fixed(param).unwrap_or_else(|| least(param))).collect()
}

fn least(param: &Param) -> Argument {
    match &param.kind {
        ParamType::Text { allowed, .. } => Argument::Text(Some(word(param, allowed, false))),
        ParamType::Integer { min, .. } => Argument::Integer(Some(*min)),
        ParamType::Boolean => Argument::Boolean(Some(false)),
        ParamType::Date => Argument::Date(Some(chrono::NaiveDate::default())),
        ParamType::Timestamp => Argument::Timestamp(Some(chrono::DateTime::default())),
        ParamType::TextList => Argument::TextList(None),
    }
}

/// The most of everything.
fn high(params: &[Param]) -> Vec<Argument> {
    params.iter().map(|param| fixed(param).unwrap_or_else(|| most(param))).collect()
}

fn most(param: &Param) -> Argument {
    match &param.kind {
        ParamType::Text { allowed, .. } => Argument::Text(Some(word(param, allowed, true))),
        ParamType::Integer { max, .. } => Argument::Integer(Some(*max)),
        ParamType::Boolean => Argument::Boolean(Some(true)),
        ParamType::Date => Argument::Date(chrono::NaiveDate::from_ymd_opt(2100, 1, 1)),
        ParamType::Timestamp => {
            let day = chrono::NaiveDate::from_ymd_opt(2100, 1, 1).unwrap_or_default();
            Argument::Timestamp(Some(day.and_time(chrono::NaiveTime::MIN).and_utc()))
        }
        ParamType::TextList => Argument::TextList(None),
    }
}

/// Nothing where nothing need be given, so that optional conditions fall away.
fn absent(params: &[Param]) -> Vec<Argument> {
    params.iter().map(for_probing).collect()
}

/// What finds most of the probes' data: optional conditions fall away unless they have a default.
fn for_probing(param: &Param) -> Argument {
    match fixed(param) {
        Some(fixed) => fixed,
        None if param.required => least(param),
        None => read(&param.kind, param.default.as_ref()),
    }
}

/// A value that passed the check of the template's header.
fn read(kind: &ParamType, value: Option<&Value>) -> Argument {
    let text = || value.and_then(Value::as_str);
    match kind {
        ParamType::Text { .. } => Argument::Text(text().map(str::to_owned)),
        ParamType::Integer { .. } => Argument::Integer(value.and_then(Value::as_i64)),
        ParamType::Boolean => Argument::Boolean(value.and_then(Value::as_bool)),
        ParamType::Date => Argument::Date(text().and_then(|day| day.parse().ok())),
        ParamType::Timestamp => Argument::Timestamp(text().and_then(|at| at.parse().ok())),
        ParamType::TextList => Argument::TextList(None),
    }
}

/// To two digits: how large other tenants' tables are is nobody's business.
fn two_digits(cost: f64) -> f64 {
    if !cost.is_finite() || cost < 1.0 {
        return cost.max(0.0).ceil();
    }
    let unit = 10_f64.powi((cost.log10().floor() as i32 - 1).max(0));
    (cost / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_told_to_two_digits() {
        for (cost, told) in [(0.0, 0.0), (0.29, 1.0), (8.17, 8.0), (1_234.5, 1_200.0), (98_765.0, 99_000.0)] {
            assert!((two_digits(cost) - told).abs() < 1e-6, "{cost}: {}", two_digits(cost));
        }
    }
}
