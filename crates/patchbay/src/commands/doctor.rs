//! `patchbay doctor`: every finding with what to do.

use std::process::ExitCode;

use anyhow::bail;
use application::ports::Clock;
use chrono::TimeDelta;
use infrastructure::clock::SystemClock;
use infrastructure::postgres::PoolSizes;
use infrastructure::vault::PgVault;
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::config;
use crate::database::Database;
use crate::limits;
use crate::sign_in::SignIn;

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<String>,
}

fn finding(check: &'static str, result: anyhow::Result<()>) -> Finding {
    let what_to_do = result.err().map(|error| format!("{error:#}"));
    Finding { check, ok: what_to_do.is_none(), what_to_do }
}

pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = examine(&args).await;
    findings.extend(redis(&args).await);
    let healthy = findings.iter().all(|finding| finding.ok);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            match &finding.what_to_do {
                None => println!("ok    {}", finding.check),
                Some(what) => println!("FAIL  {}: {what}", finding.check),
            }
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let mut findings = examine_database(args).await;
    match SignIn::new(&args.sign_in) {
        Ok(sign_in) => {
            let asked = sign_in.probe().await;
            findings.extend(asked.into_iter().map(|(check, result)| finding(check, result)));
        }
        Err(error) => findings.push(finding("sign-in", Err(error))),
    }
    findings
}

async fn examine_database(args: &DoctorArgs) -> Vec<Finding> {
    let master = match config::master_key(&args.database) {
        Ok(master) => master,
        Err(error) => return vec![finding("master key", Err(error))],
    };
    let mut findings = vec![finding("master key", Ok(()))];
    let database = match Database::open(&args.database, &master).await {
        Ok(database) => database,
        Err(error) => {
            findings.push(finding("database", Err(error)));
            return findings;
        }
    };
    match infrastructure::postgres::check_server(&database.urls.admin).await {
        Ok(problems) if problems.is_empty() => findings.push(finding("database server", Ok(()))),
        Ok(problems) => {
            findings.extend(
                problems.into_iter().map(|p| finding("database server", Err(anyhow::anyhow!("{p}")))),
            );
        }
        Err(error) => {
            findings.push(finding(
                "database server",
                Err(anyhow::Error::new(error).context("cannot be examined")),
            ));
            return findings;
        }
    }
    let db = database.connect(PoolSizes { app: 2, reader: 1, queue: 1 });
    let schema = database.check_schema(&db).await;
    let usable = schema.is_ok();
    findings.push(finding("schema", schema));
    if usable {
        findings.push(finding("application role", db.ping().await.map_err(anyhow::Error::new)));
        match PgVault::open(db.clone(), master).await {
            Ok(vault) => {
                findings.push(finding("master key opens the vault", Ok(())));
                findings.push(finding("vault", examine_vault(&vault).await));
            }
            Err(error) => findings.push(finding("master key opens the vault", Err(error.into()))),
        }
        findings.push(finding(
            "SQL templates",
            infrastructure::postgres::PgTemplates::load(&db).await.map(drop).map_err(anyhow::Error::new),
        ));
    }
    db.close().await;
    if let Err(error) = database.close().await {
        findings.push(finding("private database", Err(error)));
    }
    findings
}

/// Nothing when no Redis is configured.
async fn redis(args: &DoctorArgs) -> Option<Finding> {
    let result = match limits::redis_address(&args.redis) {
        Ok(None) => return None,
        Ok(Some(address)) => address.check().await.map_err(anyhow::Error::new),
        Err(error) => Err(error),
    };
    Some(finding("Redis", result))
}

/// A data key that has sealed for so long is due: docs/key-rotation.md says why.
const DATA_KEY_DUE: TimeDelta = TimeDelta::days(365);

/// Whether every key opens, and nothing is left half done.
async fn examine_vault(vault: &PgVault) -> anyhow::Result<()> {
    let status = vault.status().await?;
    let mut to_do = Vec::new();
    let foreign: Vec<&str> =
        status.wrapped_by.iter().filter(|by| !by.opens).map(|by| by.key.as_str()).collect();
    if !foreign.is_empty() {
        to_do.push(format!(
            "keys are wrapped by {}, which is not among the given: list it in PATCHBAY_MASTER_KEYS_ACCEPTED",
            foreign.join(", ")
        ));
    }
    if status.left() > 0 {
        to_do.push(format!("{} keys are under another key: run `patchbay vault rotate`", status.left()));
    }
    let now = SystemClock.now();
    if status.oldest_retired.is_some_and(|at| now - at > TimeDelta::days(1)) && status.retired > 0 {
        to_do.push(format!(
            "{} retired data keys are left: run `patchbay vault rotate --data-keys` to finish their rotation",
            status.retired
        ));
    }
    if status.oldest_current.is_some_and(|at| now - at > DATA_KEY_DUE) {
        to_do.push("a data key is older than a year: run `patchbay vault rotate --data-keys`".to_owned());
    }
    if to_do.is_empty() { Ok(()) } else { bail!("{}", to_do.join("; ")) }
}
