//! What a database URL says: passwords with the signs of a URL, password files, several hosts.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::orders::order;
use support::private::PrivatePostgres;
use support::{Db, Env, TIMEOUT, eventually};

const TABLES: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";

/// The server's host and port, and the database.
fn parts(url: &str) -> (&str, &str) {
    let (server, database) = url.rsplit_once('/').expect("the URL has a database");
    let (_, address) = server.rsplit_once('@').expect("the URL has a user");
    (address, database)
}

/// A server that accepts connections and is silent, and the number of those that it accepted.
fn silent_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    thread::spawn(move || {
        let mut open = Vec::new();
        for connection in listener.incoming() {
            open.push(connection);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, accepted)
}

#[test]
fn a_question_mark_in_a_password_does_not_turn_sslmode_off() {
    let env = Env::empty();
    let url = env.db_url.replace("postgres@", "postgres:p?x@");
    let refused = env
        .orders(&["migrate", "--wait", "0s"])
        .env("DB_URL", format!("{url}?sslmode=require"))
        .run()
        .exits(1);
    let reason = "server does not support TLS";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    assert_eq!(env.db().number(TABLES), 0);
}

#[test]
fn no_piece_of_a_password_is_repeated_whatever_signs_it_has() {
    let env = Env::empty();
    let urls = [
        "postgresql://u:a@s3cr3t@127.0.0.1/d",
        "postgresql://u:a/s3cr3t@127.0.0.1/d",
        "postgresql://u:1/s3cr3t@127.0.0.1/d?sslmode=disable",
        "postgresql://u:a@b?s3cr3t@127.0.0.1/d",
        "postgresql://u:a@b?s3cr3t=1@127.0.0.1/d",
        "postgresql://u:s3cr3t%@127.0.0.1/d",
        "postgresql://u:s3cr3t",
        "postgresql://127.0.0.1/d?password=a=s3cr3t",
        "postgresql://127.0.0.1?user=u&password=a@s3cr3t",
        "postgresql://127.0.0.1/d?sslmode=s3cr3t",
    ];
    for url in urls {
        for command in ["migrate", "export", "consume", "serve-api", "up"] {
            for format in ["table", "json"] {
                let refused = env
                    .orders(&[command, "--output", format])
                    .env("DB_URL", url)
                    .run()
                    .exits(2);
                let said = format!("{}{}", refused.stdout, refused.stderr);
                assert!(!said.contains("s3cr3t"), "{command} {url}: {said}");
                assert!(
                    said.contains("`DB_URL` cannot be used: "),
                    "{command} {url}: {said}"
                );
            }
        }
    }
    let refused = env.orders(&["migrate", "--db-url", urls[0]]).run().exits(2);
    assert!(
        refused.stderr.contains("`--db-url` cannot be used"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("write `@` as %40"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("s3cr3t"), "{}", refused.stderr);
}

#[test]
fn the_password_comes_from_the_url_else_the_variable_else_the_password_file() {
    let postgres = PrivatePostgres::start();
    Db::open(&postgres.url()).run(r"CREATE ROLE shop LOGIN SUPERUSER PASSWORD 's3:cr\et?'");
    postgres.require_password("shop");
    let env = Env::on_postgres(&postgres);
    let (address, database) = parts(&env.db_url);
    let status = |url: &str, variables: &[(&str, &str)]| {
        let mut command = env.orders(&["migrate", "--status", "--wait", "0s"]);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        let ran = command.env("DB_URL", url).run();
        assert!(!ran.stderr.contains(r"cr\et"), "{}", ran.stderr);
        (ran.code(), ran.stderr)
    };
    // `--status` of an empty database is 3: it was connected to.
    let connected = (Some(3), String::new());
    let url = format!("postgresql://shop@{address}/{database}");
    let with_password = format!(r"postgresql://shop:s3:cr\et?@{address}/{database}");

    let (code, said) = status(&url, &[]);
    assert!(
        code == Some(1) && said.contains("password missing"),
        "{said}"
    );
    assert_eq!(
        status(&with_password, &[("PGPASSWORD", "wrong")]),
        connected
    );
    assert_eq!(status(&url, &[("PGPASSWORD", r"s3:cr\et?")]), connected);
    let from_variables = format!("postgresql://{address}");
    let variables = [
        ("PGUSER", "shop"),
        ("PGDATABASE", database),
        ("PGPASSWORD", r"s3:cr\et?"),
    ];
    assert_eq!(status(&from_variables, &variables), connected);

    let (host, port) = address.split_once(':').expect("it has a port");
    let entries = format!(
        "{host}:1:*:shop:another\n{host}:{port}:{database}:shop:s3\\:cr\\\\et?\n*:*:*:*:wrong\n"
    );
    let write = |name: &str, mode: u32| {
        let file = env.path().join(name);
        fs::write(&file, &entries).expect("the folder is writable");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("it is there");
        file.display().to_string()
    };
    write(".pgpass", 0o600);
    assert_eq!(status(&url, &[]), connected);
    let (code, said) = status(&url, &[("PGPASSWORD", "wrong")]);
    let refused = "password authentication failed";
    assert!(code == Some(1) && said.contains(refused), "{said}");
    write(".pgpass", 0o644);
    let (code, said) = status(&url, &[]);
    assert!(code == Some(1) && said.contains("chmod 600"), "{said}");
    let other = write("other", 0o600);
    assert_eq!(status(&url, &[("PGPASSFILE", &other)]), connected);
    let named = format!("{url}?passfile={other}");
    assert_eq!(status(&named, &[]), connected);
}

#[test]
fn a_silent_first_host_does_not_keep_the_second_from_being_used() {
    let env = Env::empty();
    let (silent, accepted) = silent_server();
    let (address, database) = parts(&env.db_url);
    let url = format!("postgresql://postgres@{silent},{address}/{database}?connect_timeout=2");
    env.orders(&["migrate"])
        .env("DB_URL", &url)
        .run()
        .succeeds();
    assert!(
        accepted.load(Ordering::SeqCst) > 0,
        "the first host was tried"
    );

    let env = env.prepared(1);
    let mut consumer = env.consume().env("DB_URL", url.clone()).start();
    let api = env.api();
    assert_eq!(api.post(order("one").to_string()).status, 202);
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 1);
    consumer.stop_within(TIMEOUT);
}

#[test]
fn attempts_at_silent_hosts_leave_no_threads_and_no_descriptors_behind() {
    let env = Env::ready();
    let ((first, accepted), (second, _)) = (silent_server(), silent_server());
    let (_, database) = parts(&env.db_url);
    let mut consumer = env
        .consume()
        .env(
            "DB_URL",
            format!("postgresql://postgres@{first},{second}/{database}"),
        )
        .timeouts("handshake=100ms")
        .spawn();
    let reason = consumer.wait_until_unready("it does not respond within");
    assert!(
        reason.contains(&first) && reason.contains(&second),
        "{reason}"
    );
    let wait_for = |attempts: usize| {
        eventually(format!("{attempts} attempts"), TIMEOUT, || {
            (accepted.load(Ordering::SeqCst) >= attempts).then_some(())
        });
        (consumer.descriptors(), consumer.threads())
    };
    let (descriptors, threads) = wait_for(6);
    // Each of the threads that need the database has at most one attempt under way.
    let (later_descriptors, later_threads) = wait_for(24);
    assert!(
        later_descriptors <= descriptors + 12,
        "{descriptors}, then {later_descriptors}"
    );
    assert!(
        later_threads <= threads + 4,
        "{threads}, then {later_threads}"
    );
    assert!(consumer.is_running());
}

#[test]
fn target_session_attrs_passes_over_a_server_that_takes_no_writes() {
    let read_only = PrivatePostgres::start();
    let env = Env::empty();
    let (address, database) = parts(&env.db_url);
    let mut first = Db::open(&read_only.url());
    first.run(&format!("CREATE DATABASE {database}"));
    first.run("ALTER SYSTEM SET default_transaction_read_only = on");
    first.run("SELECT pg_reload_conf()");
    eventually("the setting to count", TIMEOUT, || {
        let setting = Db::open(&read_only.url()).text("SHOW transaction_read_only");
        (setting == "on").then_some(())
    });
    let url = read_only.url();
    let (first, _) = parts(&url);
    for attributes in ["read-write", "primary"] {
        let url = format!(
            "postgresql://postgres@{first},{address}/{database}?target_session_attrs={attributes}"
        );
        env.orders(&["migrate"]).env("DB_URL", url).run().succeeds();
    }
    assert_eq!(env.db().count("orders_migrations"), 4);
}
