//! The database over TLS: templates are run on connections of another driver than everything else, and both must believe,
//! and refuse, the same servers.
#![cfg(target_os = "linux")]

use std::str::FromStr;

use application::Ctx;
use application::ports::TemplateRunner;
use domain::{RequestId, TenantId};
use patchbay_infrastructure::postgres::{
    ConnectOptions, Db, DbUrls, PgTemplateRunner, PoolSizes, RolePasswords, create_database, migrate,
};
use patchbay_infrastructure::vault::{MasterKey, MasterKeys};
use private_postgres::{Cluster, Durability, Options, find_binaries};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::certificates::Certificates;
use crate::support::run;
use crate::template_data::raw;

/// Of all addresses of this machine two that nobody else is likely to listen on; the certificate is for the first.
const NAMED: &str = "127.0.0.77";
const UNNAMED: &str = "127.0.0.78";

#[tokio::test(flavor = "multi_thread")]
async fn both_drivers_believe_and_refuse_the_same_servers() {
    // As the binary does when it starts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(made) = Certificates::make(&format!("IP:{NAMED}")) else { return };
    let keys = MasterKeys::local(MasterKey::generate());
    let folder = tempfile::Builder::new().prefix("pb-tls-").tempdir_in("/tmp").unwrap();
    make_passable(folder.path());
    let data_dir = folder.path().join("postgres");
    let options = Options {
        data_dir: data_dir.clone(),
        binaries: find_binaries(None).unwrap(),
        durability: Durability::Fast,
        max_connections: 60,
        extra: vec![("listen_addresses".into(), format!("{NAMED},{UNNAMED}"))],
    };
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(options)).await.unwrap().unwrap();
    let admin = ConnectOptions::from_str(&cluster.url("postgres", "postgres")).unwrap();
    create_database(&admin, "patchbay").await.unwrap();
    let admin = admin.database("patchbay");
    let passwords = RolePasswords::derived(&keys).await.unwrap();
    migrate(&admin, &passwords, &keys).await.unwrap();
    // The server must own its key, so it writes it itself.
    let mut connection = PgConnection::connect_with(&admin).await.unwrap();
    let home = data_dir.join("cluster");
    for file in ["server.pem", "server.key"] {
        let (text, to) = (String::from_utf8(made.read(file)).unwrap(), home.join(file));
        let statement = format!(
            "copy (select unnest(string_to_array('{text}', E'\\n'))) to program 'umask 077; cat > {}'",
            to.display()
        );
        run(&mut connection, statement).await;
    }
    // Over the network with encryption and a password, or not at all.
    let rules = "local all postgres trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n";
    std::fs::write(home.join("pg_hba.conf"), rules).unwrap();
    for statement in [
        "alter system set ssl_cert_file = 'server.pem'",
        "alter system set ssl_key_file = 'server.key'",
        "alter system set ssl = on",
        "select pg_reload_conf()",
    ] {
        connection.execute(statement).await.unwrap();
    }
    // The reload takes a moment to be seen, by new sessions.
    let is_on = async || {
        let mut fresh = PgConnection::connect_with(&admin).await.unwrap();
        sqlx::query_scalar::<_, String>("select current_setting('ssl')").fetch_one(&mut fresh).await.unwrap()
    };
    while is_on().await != "on" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    let authority = made.file("authority.pem");
    let stranger = made.file("stranger.pem");
    let port = cluster.port();
    for (host, mode, root, let_in) in [
        (NAMED, "verify-full", Some(&authority), true),
        (NAMED, "verify-full", Some(&stranger), false),
        (NAMED, "verify-full", None, false),
        (UNNAMED, "verify-full", Some(&authority), false),
        (UNNAMED, "verify-ca", Some(&authority), true),
        (UNNAMED, "verify-ca", Some(&stranger), false),
        (UNNAMED, "require", None, true),
        (UNNAMED, "prefer", Some(&stranger), true),
        (NAMED, "disable", None, false),
    ] {
        let root = root.map(|file| format!("&sslrootcert={}", file.display())).unwrap_or_default();
        let url = format!("postgres://postgres@{host}:{port}/patchbay?sslmode={mode}{root}");
        let admin = ConnectOptions::from_str(&url).unwrap();
        let db = Db::connect(&DbUrls::with_keys(admin, &keys).await.unwrap(), PoolSizes::default());
        assert_eq!(db.ping().await.is_ok(), let_in, "everything else: {url}");
        let ctx = Ctx::system(TenantId::new(Uuid::nil()), "test", RequestId::new(Uuid::nil()));
        let template = raw("select 'let in'::text as x", &["x"], 5_000);
        let told = PgTemplateRunner::new(db.clone()).run(&ctx, &template, &[], 1).await;
        assert_eq!(told.is_ok(), let_in, "templates: {url}: {told:?}");
        if let Ok(told) = told {
            assert_eq!(told.rows[0][0], "let in", "{url}");
        }
        db.close().await;
    }
}

fn make_passable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
