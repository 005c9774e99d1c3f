//! What is wrong with the server, for `patchbay doctor` and start-up.

use std::fmt;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use super::BootstrapError;

/// The oldest major version the schema works on.
pub(super) const OLDEST_MAJOR: u32 = 15;

/// The minor releases of 14 May 2026, which closed eleven vulnerabilities of the server.
const PATCHED: [(u32, u32); 4] = [(15, 18), (16, 14), (17, 10), (18, 4)];

/// Something that should be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is so.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// A server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) major: u32,
    minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Looks at version, roles, row-level security and the reader's limits. Empty when all is well.
pub async fn check_server(options: &PgConnectOptions) -> Result<Vec<Finding>, BootstrapError> {
    let mut connection = PgConnection::connect_with(options).await.map_err(BootstrapError::Connect)?;
    let findings = findings(&mut connection).await;
    drop(connection.close().await);
    findings
}

pub(super) async fn findings(connection: &mut PgConnection) -> Result<Vec<Finding>, BootstrapError> {
    let mut findings: Vec<Finding> = outdated(server_version(connection).await?).into_iter().collect();
    for (sql, remedy) in CHECKS {
        let wrong: Vec<String> = sqlx::query_scalar(sql)
            .fetch_all(&mut *connection)
            .await
            .map_err(BootstrapError::at("checking the server"))?;
        findings.extend(wrong.into_iter().map(|what| Finding { what, remedy: (*remedy).to_owned() }));
    }
    Ok(findings)
}

pub(super) async fn server_version(connection: &mut PgConnection) -> Result<Version, BootstrapError> {
    let number: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer")
        .fetch_one(connection)
        .await
        .map_err(BootstrapError::at("reading the server's version"))?;
    let number = u32::try_from(number).unwrap_or(0);
    Ok(Version { major: number / 10_000, minor: number % 10_000 })
}

pub(super) async fn is_superuser(connection: &mut PgConnection) -> Result<bool, BootstrapError> {
    sqlx::query_scalar("select rolsuper from pg_catalog.pg_roles where rolname = current_user")
        .fetch_one(connection)
        .await
        .map_err(BootstrapError::at("looking at the administrator's rights"))
}

/// Security requirement 1.
fn outdated(version: Version) -> Option<Finding> {
    let (_, minor) = PATCHED.into_iter().find(|&(major, _)| major == version.major)?;
    (version.minor < minor).then(|| Finding {
        what: format!("PostgreSQL {version} lacks security fixes"),
        remedy: format!("upgrade to {}.{minor} or newer and restart the server", version.major),
    })
}

const MIGRATE_AS_SUPERUSER: &str = "run `patchbay migrate` with a superuser's address";

/// Each statement gives a line for everything that is not as it should be.
const CHECKS: [(&str, &str); 7] = [
    (
        "select format('the role %s does not exist', name)
         from unnest(array['patchbay_owner', 'patchbay_app', 'patchbay_sync', 'patchbay_reader', 'patchbay_author',
                           'patchbay_queue', 'patchbay_lookup', 'patchbay_backup']) name
         where not exists (select from pg_catalog.pg_roles where rolname = name)",
        "run `patchbay migrate`",
    ),
    (
        "select format('the role %s may bypass row-level security or act for the whole server', rolname)
         from pg_catalog.pg_roles
         where rolname in ('patchbay_owner', 'patchbay_app', 'patchbay_sync', 'patchbay_reader', 'patchbay_author',
                           'patchbay_queue')
           and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)",
        MIGRATE_AS_SUPERUSER,
    ),
    (
        "select format('the role %s has no %s', r.rolname, split_part(setting, '=', 1))
         from pg_catalog.pg_roles r,
              unnest(array['default_transaction_read_only=on', 'statement_timeout=5s', 'lock_timeout=500ms',
                           'idle_in_transaction_session_timeout=10s', 'temp_file_limit=64MB']) setting
         where r.rolname in ('patchbay_reader', 'patchbay_author')
           and not coalesce(r.rolconfig, '{}') @> array[setting]
         order by 1",
        MIGRATE_AS_SUPERUSER,
    ),
    (
        "select format('the role %s may call %s', r.rolname, p.oid::regprocedure)
         from pg_catalog.pg_proc p, pg_catalog.pg_roles r
         where r.rolname in ('patchbay_reader', 'patchbay_author') and p.pronamespace = 'pg_catalog'::regnamespace
           and p.proname in ('set_config', 'pg_advisory_lock', 'pg_notify', 'pg_sleep', 'query_to_xml', 'ts_stat',
                             'lo_create', 'pg_export_snapshot', 'pg_terminate_backend', 'pg_cancel_backend')
           and pg_catalog.has_function_privilege(r.oid, p.oid, 'execute')
         order by 1",
        MIGRATE_AS_SUPERUSER,
    ),
    (
        "select format('the role %s may %s', r.rolname, may)
         from pg_catalog.pg_roles r, lateral (values
             ('make temporary tables', pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'temporary')),
             ('see other sessions'' statements', pg_catalog.has_table_privilege(r.oid, 'pg_catalog.pg_stat_activity', 'select')),
             ('run DO blocks', pg_catalog.has_language_privilege(r.oid, 'plpgsql', 'usage'))
         ) rights (may, has)
         where r.rolname in ('patchbay_reader', 'patchbay_author') and has",
        MIGRATE_AS_SUPERUSER,
    ),
    (
        "select format('the table %s is not under forced row-level security', c.oid::regclass)
         from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not a.attisdropped
           and not (c.relrowsecurity and c.relforcerowsecurity)
         order by 1",
        "stop serving, and enable it as the table's migration did: somebody has changed the schema by hand",
    ),
    (
        "select format('the table %s lacks the second lock of templates that tenants write', c.oid::regclass)
         from pg_catalog.pg_class c, pg_catalog.pg_roles r
         where r.rolname = 'patchbay_author' and c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
           and pg_catalog.has_any_column_privilege(r.oid, c.oid, 'select')
           and not exists (
               select from pg_catalog.pg_policy p
               where p.polrelid = c.oid and p.polname = 'author_seal' and not p.polpermissive and p.polroles = array[r.oid])
         order by 1",
        "run `patchbay migrate`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_below_the_patched_minor_is_reported_with_the_one_to_upgrade_to() {
        let finding = outdated(Version { major: 16, minor: 13 }).unwrap();
        assert_eq!(
            finding.to_string(),
            "PostgreSQL 16.13 lacks security fixes: upgrade to 16.14 or newer and restart the server"
        );
        assert_eq!(outdated(Version { major: 16, minor: 14 }), None);
        assert_eq!(outdated(Version { major: 19, minor: 0 }), None);
    }
}
