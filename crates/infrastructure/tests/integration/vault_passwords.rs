//! The passwords of the database roles follow the master key. On a server that really asks for them: a cluster of the
//! test's own, with SCRAM for every role but its administrator.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use application::ports::{AccessStore, JobQueue};
use domain::Slug;
use patchbay_infrastructure::postgres::{
    AuditChain, ConnectOptions, Db, DbUrls, GraphileQueue, PgAccess, PoolSizes, QueueSettings, RolePasswords,
    SchemaState, create_database, migrate, schema_state, set_passwords,
};
use patchbay_infrastructure::vault::{MasterKey, MasterKeys, PgVault};
use private_postgres::{Cluster, Durability, Options, find_binaries};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use zeroize::Zeroizing;

const SMALL: PoolSizes = PoolSizes { app: 4, reader: 2, queue: 2 };

struct Server {
    admin: ConnectOptions,
    _cluster: Cluster,
    _folder: TempDir,
}

impl Server {
    /// A server that asks Patchbay's roles for passwords, with a migrated database.
    async fn start(keys: &MasterKeys) -> Self {
        // Outside of the user's own folders: as root the server runs as another user.
        let folder = tempfile::Builder::new().prefix("pb-scram-").tempdir_in("/tmp").unwrap();
        let data_dir = folder.path().join("postgres");
        make_passable(folder.path());
        let options = Options {
            data_dir: data_dir.clone(),
            binaries: find_binaries(None).unwrap(),
            durability: Durability::Fast,
            max_connections: 60,
            extra: Vec::new(),
        };
        let cluster = tokio::task::spawn_blocking(move || Cluster::start(options)).await.unwrap().unwrap();
        let admin = ConnectOptions::from_str(&cluster.url("postgres", "postgres")).unwrap();
        create_database(&admin, "patchbay").await.unwrap();
        let admin = admin.database("patchbay");
        std::fs::write(
            data_dir.join("cluster/pg_hba.conf"),
            "local all postgres trust\nlocal all all scram-sha-256\n",
        )
        .unwrap();
        let mut connection = PgConnection::connect_with(&admin).await.unwrap();
        sqlx::query("select pg_reload_conf()").execute(&mut connection).await.unwrap();
        migrate(&admin, &RolePasswords::derived(keys).await.unwrap(), keys).await.unwrap();
        let server = Self { admin, _cluster: cluster, _folder: folder };
        // The reload takes a moment to be seen.
        let stranger = server.admin.clone().username("patchbay_app").password("wrong");
        for _ in 0..500 {
            if PgConnection::connect_with(&stranger).await.is_err() {
                return server;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the server lets in whoever comes");
    }

    async fn db(&self, keys: &MasterKeys) -> Db {
        Db::connect(&DbUrls::with_keys(self.admin.clone(), keys).await.unwrap(), SMALL)
    }
}

#[cfg(unix)]
fn make_passable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Takes as many connections at once as the pool may have, so that it must open new ones.
async fn work(db: &Db) {
    let access = PgAccess::new(db.clone(), AuditChain::new(Zeroizing::new([9; 32])));
    let slug: Slug = "nobody".parse().unwrap();
    let all = (0..8).map(|_| access.find_tenant(&slug));
    for outcome in futures::future::join_all(all).await {
        assert!(outcome.expect("no login is refused").is_none());
    }
}

// Security requirement 55: of the two phases' processes none is refused while the passwords change under load.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_change_with_the_master_key_and_no_process_is_refused() {
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let before = MasterKeys::local(old.clone());
    let distributed = MasterKeys::local(old.clone()).accepting([new.clone()]);
    let switched = MasterKeys::local(new.clone()).accepting([old.clone()]);
    let server = Arc::new(Server::start(&before).await);

    let outsider = server.db(&MasterKeys::local(MasterKey::generate())).await;
    assert!(outsider.ping().await.is_err(), "a process without the key is let in");
    assert_eq!(schema_state(&outsider).await.unwrap(), SchemaState::LoginRefused);

    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = Vec::new();
    for keys in [distributed.clone(), switched.clone()] {
        let (server, stop, rounds) = (server.clone(), stop.clone(), rounds.clone());
        load.push(tokio::spawn(async move {
            let lasting = server.db(&keys).await;
            while !stop.load(Ordering::Relaxed) {
                // A process that has just started, and one that runs for long.
                let starting = server.db(&keys).await;
                work(&starting).await;
                starting.close().await;
                work(&lasting).await;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            lasting.close().await;
        }));
    }
    let until = async |count: u64| {
        while rounds.load(Ordering::Relaxed) < count {
            assert!(load.iter().all(|task| !task.is_finished()), "a process was refused");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    until(6).await;
    let operator = PgVault::open(server.db(&switched).await, &switched).await.unwrap();
    assert_eq!(operator.rotate(&server.admin, |_, _| ()).await.unwrap().left, 0);
    for keys in [&switched, &before, &switched] {
        set_passwords(&server.admin, &RolePasswords::derived(keys).await.unwrap()).await.unwrap();
        until(rounds.load(Ordering::Relaxed) + 6).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no login was refused");
    }

    let only_new = server.db(&MasterKeys::local(new)).await;
    work(&only_new).await;
    let only_old = server.db(&before).await;
    assert!(only_old.ping().await.is_err(), "the old key still logs in");
}

#[tokio::test]
async fn the_queues_pool_gets_the_new_password_when_the_process_looks() {
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let before = MasterKeys::local(old.clone());
    let server = Server::start(&before).await;
    let db = server.db(&MasterKeys::local(new).accepting([old])).await;
    let queue = GraphileQueue::new(db.clone(), QueueSettings::default());
    assert!(queue.stats().await.is_err(), "the queue's pool cannot try again by itself");
    assert!(db.check_passwords(db.password_changes()).await);
    queue.stats().await.expect("it has the other password now");
    assert!(!db.check_passwords(db.password_changes()).await, "nothing to change");
    db.close().await;
}
