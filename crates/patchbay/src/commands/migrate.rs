//! `patchbay migrate`

use std::process::ExitCode;

use crate::cli::MigrateArgs;
use crate::config;
use crate::database::Database;

pub(crate) async fn run(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let master = config::master_key(&args.database)?;
    let database = Database::open(&args.database, &master).await?;
    for warning in database.migrate(&master).await? {
        eprintln!("warning: {warning}");
    }
    println!("The database schema is up to date.");
    database.close().await?;
    Ok(ExitCode::SUCCESS)
}
