//! `patchbay doctor`: every finding with what to do.

use std::process::ExitCode;

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
        findings.push(finding(
            "master key opens the vault",
            PgVault::open(db.clone(), master).await.map(drop).map_err(anyhow::Error::new),
        ));
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
