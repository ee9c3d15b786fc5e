//! `orders migrate`: its output, its effect on a database, and when it refuses one.

use std::any::Any;
use std::fs::{self, File};

use rustix::fs::{FlockOperation, flock};
use support::on_both_engines;
use support::{Db, Engines, Env, required_variable};

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
        a_compatible_migration_of_a_newer_program_stops_nothing,
        a_history_without_marks_is_read_as_it_is,
    ]
}

/// The schema as go-orders makes it.
const GO_ORDERS: &str = include_str!("../../migrations/001_init.sql");

const GO_ORDERS_IN_A_FILE: &str = include_str!("../../migrations/sqlite/001_init.sql");

const FILES: [&str; 4] = [
    "001_init.sql",
    "002_exactly_once.sql",
    "003_operations.sql",
    "004_operator_indexes.sql",
];

const TABLES: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";

/// Nothing was written: no table, and where the database is a file, not even that.
fn assert_untouched(env: &Env) {
    if env.is_embedded() {
        assert!(!env.data_dir().exists());
    } else {
        assert_eq!(env.db().number(TABLES), 0);
    }
}

/// The lock that another `orders migrate` holds while it runs.
fn lock_of_another(env: &Env) -> Box<dyn Any> {
    if env.is_embedded() {
        fs::create_dir_all(env.data_dir()).expect("the folder is writable");
        let folder = File::open(env.data_dir()).expect("it was just created");
        flock(&folder, FlockOperation::LockExclusive).expect("it is free");
        return Box::new(folder);
    }
    let mut other = env.db();
    other.run("SELECT pg_advisory_lock(122537101324915)");
    Box::new(other)
}

/// The table of migrations, all in one state and without the time they were applied at.
fn table(state: &str) -> String {
    let width = FILES.map(str::len).into_iter().max().unwrap_or_default();
    let rows = FILES.map(|name| format!("{name:width$}  {state}\n"));
    format!(
        "{:width$}  state    applied at\n{}",
        "migration",
        rows.concat()
    )
}

/// The same text without the times.
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
    let applying = FILES.map(|name| format!("applying {name}\n")).concat();
    assert_eq!(first.stderr, applying);
    let second = env.orders(&["migrate"]).run().succeeds();
    second.prints(&first.stdout, "nothing to apply\n");
}

fn two_runs_at_once_both_succeed_and_apply_everything_once(engines: &Engines) {
    let env = engines.empty();
    let run = || env.orders(&["migrate", "--output", "json"]).spawn();
    let mut applied = Vec::new();
    for mut run in [run(), run()] {
        let report = run.finished().succeeds().json();
        assert_eq!(report["pending"], 0);
        applied.extend(report["applied_now"].as_array().expect("a list").clone());
    }
    assert_eq!(applied, FILES);
    let versions = env
        .db()
        .text("SELECT version FROM orders_migrations ORDER BY 1");
    assert_eq!(versions, "1\n2\n3\n4");
}

fn a_run_waits_for_another_one_and_logs_it(engines: &Engines) {
    let env = engines.empty();
    let other = lock_of_another(&env);
    let impatient = env.orders(&["migrate", "--wait", "1s"]).run().exits(4);
    let end_of_scheme = engines.select('@', ':');
    let named = env.db_url.rsplit_once(end_of_scheme);
    let (_, database) = named.expect("it is a URL");
    let expected = format!(
        "another `orders migrate` holds the lock: waiting for it to end\n\
         error: migrating the database `{database}`: another `orders migrate` still held the lock \
         after 1s\n\
         hint: wait for it to end, or give it longer with --wait\n"
    );
    impatient.prints("", &expected);

    let mut patient = env.orders(&["migrate"]).spawn();
    patient.wait_for_line("another `orders migrate` holds the lock: waiting for it to end");
    drop(other);
    patient.finished().succeeds();
    assert_eq!(env.db().count("orders_migrations"), FILES.len() as i64);
}

fn a_table_in_use_is_waited_for_without_holding_a_lock(engines: &Engines) {
    let env = engines.empty();
    fs::create_dir_all(env.data_dir()).expect("the folder is writable");
    env.db().run(engines.select(GO_ORDERS, GO_ORDERS_IN_A_FILE));
    let lock = env.db().lock_writers();
    let mut waiting = env.orders(&["migrate", "--wait", "60s"]).spawn();
    waiting.wait_for_line("must wait, a table is in use");
    drop(lock);
    waiting.finished().succeeds();
    assert_eq!(env.db().count("orders_migrations"), FILES.len() as i64);
}

#[test]
fn a_table_that_stays_in_use_is_4_and_changes_nothing() {
    let env = Env::empty();
    let mut db = env.db();
    db.run(GO_ORDERS);
    db.run("BEGIN; SELECT * FROM orders; SELECT * FROM items");
    let impatient = env.orders(&["migrate", "--wait", "1s"]).run().exits(4);
    impatient
        .reports("applying migration `002_exactly_once.sql`: the database is contended: ")
        .reports("\nhint: end what uses it, or try again later\n");
    assert_eq!(env.db().count("orders_migrations"), 1);
}

/// Building them concurrently takes a transaction and more for each, where nothing can be blocked.
#[test]
fn new_tables_get_their_indexes_in_one_transaction() {
    let env = Env::empty();
    env.orders(&["migrate"]).run().succeeds();
    let transactions =
        "SELECT count(*), count(DISTINCT i.xmin::text), count(DISTINCT m.xmin::text),
            bool_and(i.xmin = m.xmin)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid, orders_migrations m
        WHERE m.version = 4 AND c.relname IN ('dead_letters_open', 'dead_letters_key',
            'orders_accepted_at', 'orders_customer_id', 'orders_track_number')";
    assert_eq!(env.db().text(transactions), "5|1|1|t");
}

/// Its statements run one by one: what an interrupted run has built is built again.
#[test]
fn an_interrupted_build_of_indexes_is_repeated() {
    let env = Env::empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db().run(
        "INSERT INTO orders (order_uid) VALUES ('stored');
         DELETE FROM orders_migrations WHERE version = 4;
         DROP INDEX orders_track_number;
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_customer_id'::regclass",
    );
    let status = env.orders(&["migrate", "--status"]).run().exits(3);
    assert!(status.stdout.contains("004_operator_indexes.sql  pending"));
    env.orders(&["migrate"]).run().succeeds();
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(env.db().number(invalid), 0);
    let track = "SELECT count(*) FROM pg_class WHERE relname = 'orders_track_number'";
    assert_eq!(env.db().number(track), 1);
}

/// Orders are stored while the indexes of a large table are built.
#[test]
fn an_index_is_built_while_another_session_writes() {
    let env = Env::empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db()
        .run("DELETE FROM orders_migrations WHERE version = 4");
    let mut writer = env.db();
    writer.run("BEGIN; INSERT INTO orders (order_uid) VALUES ('open')");
    let mut migrating = env.orders(&["migrate"]).spawn();
    migrating.wait_for_line("applying 004_operator_indexes.sql");
    // It waits for the open transaction, and blocks neither that one nor others.
    env.db()
        .run("INSERT INTO orders (order_uid) VALUES ('another')");
    writer.run("INSERT INTO orders (order_uid) VALUES ('more'); COMMIT");
    migrating.finished().succeeds();
    assert_eq!(env.db().count("orders"), 3);
}

#[test]
fn no_verbosity_logs_the_statements_of_the_database() {
    let env = Env::empty();
    let ran = env.orders(&["migrate", "-vv"]).run().succeeds();
    for text in ["INSERT INTO", "SELECT ", "parameters"] {
        assert!(!ran.stderr.contains(text), "{}", ran.stderr);
    }
}

fn a_migration_with_crlf_line_ends_is_the_same_migration(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    for (version, name) in FILES.iter().enumerate() {
        let folder = engines.select("migrations", "migrations/sqlite");
        let path = format!("{}/{folder}/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).expect("the migration is there");
        let with_crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
        let recorded = env.db().text(&format!(
            "SELECT checksum FROM orders_migrations WHERE version = {}",
            version + 1
        ));
        assert_eq!(recorded, orders::migrations::checksum(&with_crlf), "{name}");
    }
}

fn a_migration_applied_with_another_text_is_refused(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db()
        .run("UPDATE orders_migrations SET checksum = 'edited' WHERE version = 2");
    env.orders(&["migrate"]).run().exits(1).reports(
        "migration `002_exactly_once.sql` was applied from another text than this program has",
    );
    let status = ["migrate", "--status", "--output", "json"];
    let status = env.orders(&status).run().exits(3);
    assert_eq!(status.json()["migrations"][1]["state"], "diverged");
}

fn a_database_with_newer_migrations_is_not_changed(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db().run(
        "INSERT INTO orders_migrations (version, name, checksum)
              VALUES (999, '999_later.sql', 'x')",
    );
    env.orders(&["migrate"]).run().exits(1).reports(
        "the database knows migration `999_later.sql`, which this program does not\n\
         hint: use the program that wrote it, or a newer one\n",
    );
    env.orders(&["migrate", "--status"]).run().exits(3);
}

/// A rolling upgrade: the newer program has migrated, and this one is started again beside it.
fn a_compatible_migration_of_a_newer_program_stops_nothing(engines: &Engines) {
    let env = engines.ready();
    env.db().run(
        "INSERT INTO orders_migrations (version, name, checksum, compatible)
              VALUES (999, '999_later.sql', 'x', true)",
    );
    let ran = env.orders(&["migrate"]).run().succeeds();
    assert_eq!(ran.stderr, "nothing to apply\n");
    env.consumer().wait_ready();
}

/// The program of before wrote no mark of what is compatible.
fn a_history_without_marks_is_read_as_it_is(engines: &Engines) {
    let env = engines.empty();
    env.orders(&["migrate"]).run().succeeds();
    env.db()
        .run("ALTER TABLE orders_migrations DROP COLUMN compatible");
    env.orders(&["migrate", "--status"]).run().succeeds();
}

fn a_dry_run_writes_nothing_not_even_the_history(engines: &Engines) {
    let env = engines.empty();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    let report = format!("would apply {}; nothing was written\n", FILES.join(", "));
    dry.prints(&table("pending"), &report);
    assert_untouched(&env);

    env.orders(&["migrate"]).run().succeeds();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(dry.stderr, "nothing to apply\n");
}

fn the_status_is_3_while_something_is_pending_and_then_0(engines: &Engines) {
    let env = engines.empty();
    let pending = env.orders(&["migrate", "--status"]).run().exits(3);
    pending.prints(&table("pending"), "");
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
        env.orders(args).run().exits(1).reports(
            "its encoding is `LATIN1`, which cannot hold every order: create the database with \
             ENCODING 'UTF8'",
        );
    }
    assert_eq!(env.db().number(TABLES), 0);
}

fn a_foreign_table_of_that_name_is_not_changed(engines: &Engines) {
    let env = engines.empty();
    fs::create_dir_all(env.data_dir()).expect("the folder is writable");
    env.db().run("CREATE TABLE orders (id INT, wine TEXT)");
    env.orders(&["migrate"]).run().exits(1).reports(
        "there is a table `orders` that is not an order table, it has no column `order_uid`: use a \
         database of its own",
    );
    let tables = engines.select(TABLES, "SELECT count(*) FROM sqlite_schema");
    assert_eq!(env.db().number(tables), 1);
}

#[test]
fn no_message_about_a_database_contains_its_password() {
    let env = Env::empty();
    let server = env.db_url.replace("postgres@", "postgres:s3cr3t@");
    let unreachable = "postgresql://me:s3cr3t@127.0.0.1:1/orders".to_owned();
    let cases = [
        (unreachable.clone(), "0s", 5),
        (unreachable, "1s", 5),
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
            let ran = ran.reports("error: ");
            let printed = ran.stdout + &ran.stderr;
            assert!(!printed.contains("s3cr3t"), "{url}: {printed}");
        }
    }
}
