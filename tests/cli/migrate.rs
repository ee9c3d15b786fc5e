//! `orders migrate`: its output, its effect on a database, and when it refuses one.

use std::any::Any;
use std::fs::{self, File};

use rustix::fs::{FlockOperation, flock};
use support::on_both_engines;
use support::{Db, Engines, Env, Process, TIMEOUT, eventually, required_variable};

on_both_engines! {
    [
        an_empty_database_is_migrated_and_a_second_run_has_nothing_to_do,
        two_runs_at_once_both_succeed_and_apply_everything_once,
        a_run_waits_for_another_one_and_logs_it,
        a_table_in_use_is_waited_for_without_holding_a_lock,
        a_migration_with_crlf_line_ends_is_the_same_migration,
        a_migration_applied_with_another_text_is_refused,
        a_database_with_newer_migrations_is_not_changed,
        a_dry_run_writes_nothing_not_even_the_history,
        the_status_is_3_while_something_is_pending_and_then_0,
        a_foreign_table_of_that_name_is_not_changed,
    ]
}

/// The schema as go-orders makes it.
const GO_ORDERS: &str = include_str!("../../migrations/001_init.sql");

const GO_ORDERS_IN_A_FILE: &str = include_str!("../../migrations/sqlite/001_init.sql");

const FILES: [&str; 2] = ["001_init.sql", "002_exactly_once.sql"];

const TABLES: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";

/// Nothing was written: no table, and where the database is a file, not even that.
fn assert_untouched(env: &Env) {
    if env.is_embedded() {
        assert!(!env.data_dir().exists());
    } else {
        assert_eq!(env.db().number(TABLES), 0);
    }
}

/// What another `orders migrate` holds while it is at work; dropping it gives it back.
fn lock_of_another(env: &Env) -> Box<dyn Any> {
    if env.is_embedded() {
        fs::create_dir_all(env.data_dir()).expect("the folder is writable");
        let folder = File::open(env.data_dir()).expect("it was just made");
        flock(&folder, FlockOperation::LockExclusive).expect("nobody has it");
        return Box::new(folder);
    }
    let mut other = env.db();
    other.run("SELECT pg_advisory_lock(122537101324915)");
    Box::new(other)
}

/// The table of migrations, all in one state and without the time they were applied at.
fn table(state: &str) -> String {
    let [first, second] = FILES;
    let width = second.len();
    format!(
        "{:width$}  state    applied at\n{first:width$}  {state}\n{second}  {state}\n",
        "migration"
    )
}

/// The same text with the times taken off.
fn without_times(table: &str) -> String {
    let untimed = |line: &str| {
        let end = line.find("  20").unwrap_or(line.len());
        format!("{}\n", &line[..end])
    };
    table.lines().map(untimed).collect()
}

fn an_empty_database_is_migrated_and_a_second_run_has_nothing_to_do(engines: &Engines) {
    let env = engines.empty();
    let first = env.orders(&["migrate"]).run().succeeds();
    assert_eq!(without_times(&first.stdout), table("applied"));
    assert_eq!(
        first.stderr,
        "applying 001_init.sql\napplying 002_exactly_once.sql\n"
    );
    let second = env.orders(&["migrate"]).run().succeeds();
    assert_eq!(second.stdout, first.stdout);
    assert_eq!(second.stderr, "nothing to apply\n");
}

fn two_runs_at_once_both_succeed_and_apply_everything_once(engines: &Engines) {
    let env = engines.empty();
    let runs: Vec<_> = std::thread::scope(|scope| {
        let run = || {
            env.orders(&["migrate", "--output", "json"])
                .run()
                .succeeds()
        };
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads
            .map(|thread| thread.join().expect("both runs end"))
            .into()
    });
    let mut applied = Vec::new();
    for run in &runs {
        assert_eq!(run.json()["pending"], 0);
        let names = run.json()["applied_now"]
            .as_array()
            .expect("a list")
            .clone();
        applied.extend(names);
    }
    assert_eq!(applied, FILES);
    let versions = env
        .db()
        .text("SELECT version FROM orders_migrations ORDER BY 1");
    assert_eq!(versions, "1\n2");
}

fn a_run_waits_for_another_one_and_logs_it(engines: &Engines) {
    let env = engines.empty();
    let other = lock_of_another(&env);
    let impatient = env.orders(&["migrate", "--wait", "1s"]).run().exits(4);
    let end_of_scheme = engines.select('@', ':');
    let named = env.db_url.rsplit_once(end_of_scheme);
    let (_, database) = named.expect("it is a URL");
    let said = format!(
        "another `orders migrate` holds the lock: waiting for it to end\n\
         error: migrating the database `{database}`: another `orders migrate` still held the lock \
         after 1s\n\
         hint: wait for it to end, or give it longer with --wait\n"
    );
    assert_eq!((impatient.stdout, impatient.stderr), (String::new(), said));

    let mut patient = env.orders(&["migrate"]).spawn();
    patient.wait_for_line("another `orders migrate` holds the lock: waiting for it to end");
    drop(other);
    assert!(
        patient.wait_exit(TIMEOUT).success(),
        "{:?}",
        patient.lines()
    );
    assert_eq!(env.db().count("orders_migrations"), 2);
}

fn a_table_in_use_is_waited_for_without_holding_a_lock(engines: &Engines) {
    let env = engines.empty();
    fs::create_dir_all(env.data_dir()).expect("the folder is writable");
    env.db().run(engines.select(GO_ORDERS, GO_ORDERS_IN_A_FILE));
    let lock = env.db().lock_writers();
    let mut waiting = env.orders(&["migrate", "--wait", "60s"]).spawn();
    wait_for_said(&mut waiting, "must wait, a table is in use");
    drop(lock);
    assert!(
        waiting.wait_exit(TIMEOUT).success(),
        "{:?}",
        waiting.lines()
    );
    assert_eq!(env.db().count("orders_migrations"), 2);
}

#[test]
fn a_table_that_stays_in_use_is_4_and_changes_nothing() {
    let env = Env::empty();
    let mut db = env.db();
    db.run(GO_ORDERS);
    db.run("BEGIN; SELECT * FROM orders; SELECT * FROM items");
    let impatient = env.orders(&["migrate", "--wait", "1s"]).run().exits(4);
    let error = "applying migration `002_exactly_once.sql`: the database is contended: ";
    assert!(impatient.stderr.contains(error), "{}", impatient.stderr);
    let hint = "hint: end what uses it, or try again later\n";
    assert!(impatient.stderr.ends_with(hint), "{}", impatient.stderr);
    assert_eq!(env.db().count("orders_migrations"), 1);
}

#[test]
fn no_verbosity_logs_the_statements_of_the_database() {
    let env = Env::empty();
    let ran = env.orders(&["migrate", "-vv"]).run().succeeds();
    for text in ["INSERT INTO", "SELECT ", "parameters"] {
        assert!(!ran.stderr.contains(text), "{}", ran.stderr);
    }
}

fn wait_for_said(process: &mut Process, text: &str) {
    eventually(text, TIMEOUT, || {
        assert!(process.is_running(), "{:?}", process.lines());
        let said = process.lines();
        said.iter().any(|line| line.contains(text)).then_some(())
    });
}

fn a_migration_with_crlf_line_ends_is_the_same_migration(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    for (version, name) in FILES.iter().enumerate() {
        let folder = engines.select("migrations", "migrations/sqlite");
        let path = format!("{}/{folder}/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).expect("the migration is there");
        let with_crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
        let noted = env.db().text(&format!(
            "SELECT checksum FROM orders_migrations WHERE version = {}",
            version + 1
        ));
        assert_eq!(noted, orders::migrations::checksum(&with_crlf), "{name}");
    }
}

fn a_migration_applied_with_another_text_is_refused(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db()
        .run("UPDATE orders_migrations SET checksum = 'edited' WHERE version = 2");
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text =
        "migration `002_exactly_once.sql` was applied from another text than this program has";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
    let status = env
        .orders(&["migrate", "--status", "--output", "json"])
        .run()
        .exits(3);
    assert_eq!(status.json()["migrations"][1]["state"], "diverged");
}

fn a_database_with_newer_migrations_is_not_changed(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db().run(
        "INSERT INTO orders_migrations (version, name, checksum)
              VALUES (999, '999_later.sql', 'x')",
    );
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text = "the database knows migration `999_later.sql`, which this program does not\n\
                hint: use the program that wrote it, or a newer one\n";
    assert!(refused.stderr.ends_with(text), "{}", refused.stderr);
    env.orders(&["migrate", "--status"]).run().exits(3);
}

fn a_dry_run_writes_nothing_not_even_the_history(engines: &Engines) {
    let env = engines.empty();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(dry.stdout, table("pending"));
    let said = "would apply 001_init.sql, 002_exactly_once.sql; nothing was written\n";
    assert_eq!(dry.stderr, said);
    assert_untouched(&env);

    env.orders(&["migrate"]).run().succeeds();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(dry.stderr, "nothing to apply\n");
}

fn the_status_is_3_while_something_is_pending_and_then_0(engines: &Engines) {
    let env = engines.empty();
    let pending = env.orders(&["migrate", "--status"]).run().exits(3);
    assert_eq!(
        (pending.stdout, pending.stderr),
        (table("pending"), String::new())
    );
    assert_untouched(&env);
    env.orders(&["migrate"]).run().succeeds();
    let done = env.orders(&["migrate", "--status"]).run().succeeds();
    assert_eq!(without_times(&done.stdout), table("applied"));
}

#[test]
fn a_database_in_another_encoding_is_refused_and_not_changed() {
    let env = Env::empty();
    let (_, name) = env
        .db_url
        .rsplit_once('/')
        .expect("the URL names a database");
    let mut server = Db::open(&required_variable("ORDERS_TEST_PG"));
    server.run(&format!("DROP DATABASE {name}"));
    server.run(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    ));
    for args in [&["migrate"][..], &["migrate", "--dry-run"]] {
        let refused = env.orders(args).run().exits(1);
        let text = "its encoding is `LATIN1`, which cannot hold every order: create the database \
                    with ENCODING 'UTF8'";
        assert!(refused.stderr.contains(text), "{}", refused.stderr);
    }
    assert_eq!(env.db().number(TABLES), 0);
}

fn a_foreign_table_of_that_name_is_not_changed(engines: &Engines) {
    let env = engines.empty();
    fs::create_dir_all(env.data_dir()).expect("the folder is writable");
    env.db().run("CREATE TABLE orders (id INT, wine TEXT)");
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text = "there is a table `orders` that is not an order table, it has no column `order_uid`: \
                use a database of its own";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
    let tables = engines.select(TABLES, "SELECT count(*) FROM sqlite_schema");
    assert_eq!(env.db().number(tables), 1);
}

#[test]
fn no_message_about_a_database_contains_its_password() {
    let env = Env::empty();
    let server = env.db_url.replace("postgres@", "postgres:s3cr3t@");
    let away = "postgresql://me:s3cr3t@127.0.0.1:1/orders".to_owned();
    let cases = [
        (away.clone(), "0s", 5),
        (away, "1s", 5),
        (format!("{server}_absent"), "0s", 1),
        (format!("{server}?sslmode=require"), "0s", 1),
        (format!("{server}?sslmode=nonsense"), "0s", 2),
        (format!("{server}?nonsense=1"), "0s", 2),
        (server.replace("127.0.0.1:", "127.0.0.1:x"), "0s", 2),
    ];
    for (url, wait, code) in cases {
        for format in ["table", "json"] {
            let args = ["migrate", "--wait", wait, "--output", format, "-v"];
            let ran = env.orders(&args).env("DB_URL", &url).run().exits(code);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!said.contains("s3cr3t"), "{url}: {said}");
            assert!(said.contains("error: "), "{url}: {said}");
        }
    }
}
