//! `patchbay template`: proving template files.

use std::path::Path;
use std::process::ExitCode;

use domain::template::Template;
use infrastructure::postgres::{Db, PoolSizes, Proof, RefusedTemplate, prove};
use infrastructure::templates::{self, Finding};
use serde_json::{Value, json};

use super::tenant::prepare;
use crate::cli::{TemplateArgs, TemplateCheckArgs, TemplateCommand};
use crate::config;
use crate::database::Database;

/// The largest file that is read as a template.
const MAX_BYTES: u64 = 256 * 1024;

pub(crate) async fn run(args: TemplateArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        // One is for findings.
        TemplateCommand::Check(args) => Ok(check(args).await.unwrap_or_else(|error| {
            eprintln!("patchbay: the templates were not checked: {error:#}");
            ExitCode::from(2)
        })),
    }
}

/// What came of one file.
struct Verdict {
    file: String,
    result: Result<Passed, Vec<Finding>>,
}

struct Passed {
    template: Template,
    /// Unknown without a database.
    cost: Option<f64>,
}

async fn check(args: TemplateCheckArgs) -> anyhow::Result<ExitCode> {
    let opened = if args.without_database {
        None
    } else {
        let master = config::master_key(&args.database)?;
        let database = Database::open(&args.database, &master).await?;
        let db = database.connect(PoolSizes { app: 1, reader: 1, queue: 1 });
        prepare(&database, &db, &master).await?;
        Some((database, db))
    };
    let mut healthy = true;
    for path in &args.files {
        let result = examine(path, opened.as_ref().map(|(_, db)| db)).await?;
        healthy &= result.is_ok();
        let verdict = Verdict { file: path.display().to_string(), result };
        if args.json {
            println!("{}", verdict.to_json());
        } else {
            verdict.print();
        }
    }
    if let Some((database, db)) = opened {
        db.close().await;
        database.close().await?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An error when the database cannot be asked; findings when the file is to blame.
async fn examine(path: &Path, db: Option<&Db>) -> anyhow::Result<Result<Passed, Vec<Finding>>> {
    let found = |message: String| Ok(Err(vec![Finding { at: None, message }]));
    let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
        return found("needs a file name of plain letters".into());
    };
    let text = match read(path).await {
        Ok(text) => text,
        Err(error) => return found(format!("cannot be read: {error}")),
    };
    let template = match templates::check(name, &text) {
        Ok(template) => template,
        Err(findings) => return Ok(Err(findings)),
    };
    let Some(db) = db else { return Ok(Ok(Passed { template, cost: None })) };
    let statement = template.statement.clone();
    match prove(db, template).await {
        Ok(Proof { template, cost }) => Ok(Ok(Passed { template, cost: Some(cost) })),
        Err(RefusedTemplate::Schema { reason, character, .. }) => {
            let at = character.and_then(|character| templates::locate(&text, &statement, character));
            Ok(Err(vec![Finding { at, message: format!("does not fit the database: {reason}") }]))
        }
        Err(error) => Err(error.into()),
    }
}

async fn read(path: &Path) -> std::io::Result<String> {
    if tokio::fs::metadata(path).await?.len() > MAX_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {} KiB", MAX_BYTES / 1024)));
    }
    tokio::fs::read_to_string(path).await
}

impl Verdict {
    fn print(&self) {
        match &self.result {
            Ok(Passed { template, cost }) => {
                let params: Vec<&str> = template.params.iter().map(|param| param.name.as_str()).collect();
                let columns: Vec<String> = template
                    .columns
                    .iter()
                    .map(|column| format!("{} {}", column.name, column.kind.as_str()))
                    .collect();
                println!("{}: ok, version {}", self.file, template.version);
                println!("  parameters: {}", params.join(", "));
                if let Some(cost) = cost {
                    println!("  columns: {}", columns.join(", "));
                    println!("  planner's cost: {cost:.0}");
                }
            }
            Err(findings) => {
                for finding in findings {
                    match finding.at {
                        Some(at) => println!("{}:{}:{}: {}", self.file, at.line, at.column, finding.message),
                        None => println!("{}: {}", self.file, finding.message),
                    }
                }
            }
        }
    }

    fn to_json(&self) -> Value {
        match &self.result {
            Ok(Passed { template, cost }) => json!({
                "file": self.file, "ok": true, "name": template.name, "version": template.version, "cost": cost,
                "findings": [], "params": template.input_schema(),
                "columns": template.columns.iter()
                    .map(|column| json!({"name": column.name, "type": column.kind.as_str()}))
                    .collect::<Vec<_>>(),
            }),
            Err(findings) => json!({
                "file": self.file, "ok": false,
                "findings": findings.iter()
                    .map(|finding| json!({
                        "line": finding.at.map(|at| at.line), "column": finding.at.map(|at| at.column),
                        "message": finding.message,
                    }))
                    .collect::<Vec<_>>(),
            }),
        }
    }
}
