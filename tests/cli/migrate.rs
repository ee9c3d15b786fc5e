//! `orders migrate`: what it says and does to a database, and when it refuses one.

use crate::env::{Db, Env, PATIENCE, Process, eventually, given};

/// The schema as go-orders makes it.
const GO_ORDERS: &str = include_str!("../../migrations/001_init.sql");

const FILES: [&str; 2] = ["001_init.sql", "002_exactly_once.sql"];

const TABLES: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";

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

#[test]
fn an_empty_database_gets_its_tables_and_a_second_run_has_nothing_to_do() {
    let env = Env::new();
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

#[test]
fn two_runs_at_once_both_succeed_and_apply_everything_once() {
    let env = Env::new();
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

#[test]
fn a_run_waits_for_another_one_and_says_so() {
    let env = Env::new();
    let mut other = env.db();
    // What another `orders migrate` holds while it is at work.
    other.run("SELECT pg_advisory_lock(122537101324915)");
    let impatient = env.orders(&["migrate", "--wait", "1s"]).run().exits(4);
    let (_, database) = env.db_url.rsplit_once('@').expect("the URL names a user");
    let said = format!(
        "another `orders migrate` holds the lock: waiting for it to end\n\
         error: migrating the database `{database}`: another `orders migrate` still held the lock \
         after 1s\n\
         hint: wait for it to end, or give it longer with --wait\n"
    );
    assert_eq!((impatient.stdout, impatient.stderr), (String::new(), said));

    let mut patient = env.orders(&["migrate"]).spawn();
    patient.wait_for_line("another `orders migrate` holds the lock: waiting for it to end");
    other.run("SELECT pg_advisory_unlock_all()");
    assert!(
        patient.wait_exit(PATIENCE).success(),
        "{:?}",
        patient.lines()
    );
    assert_eq!(env.db().count("orders_migrations"), 2);
}

#[test]
fn a_table_in_use_is_waited_for_without_holding_anything() {
    let env = Env::new();
    let mut db = env.db();
    db.run(GO_ORDERS);
    db.run("BEGIN; SELECT * FROM orders; SELECT * FROM items");
    let mut waiting = env.orders(&["migrate", "--wait", "60s"]).spawn();
    wait_for_said(
        &mut waiting,
        "002_exactly_once.sql must wait, a table is in use",
    );
    db.run("COMMIT");
    assert!(
        waiting.wait_exit(PATIENCE).success(),
        "{:?}",
        waiting.lines()
    );
    assert_eq!(env.db().count("orders_migrations"), 2);
}

#[test]
fn a_table_that_stays_in_use_is_4_and_changes_nothing() {
    let env = Env::new();
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
    let env = Env::new();
    let ran = env.orders(&["migrate", "-vv"]).run().succeeds();
    for text in ["INSERT INTO", "SELECT ", "parameters"] {
        assert!(!ran.stderr.contains(text), "{}", ran.stderr);
    }
}

fn wait_for_said(process: &mut Process, text: &str) {
    eventually(text, PATIENCE, || {
        assert!(process.is_running(), "{:?}", process.lines());
        let said = process.lines();
        said.iter().any(|line| line.contains(text)).then_some(())
    });
}

#[test]
fn a_file_checked_out_with_crlf_is_the_same_migration() {
    let env = Env::new();
    env.orders(&["migrate"]).run().succeeds();
    for (version, name) in FILES.iter().enumerate() {
        let path = format!("{}/migrations/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the migration is there");
        let with_crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
        let noted = env.db().text(&format!(
            "SELECT checksum FROM orders_migrations WHERE version = {}",
            version + 1
        ));
        assert_eq!(noted, orders::migrations::checksum(&with_crlf), "{name}");
    }
}

#[test]
fn a_file_that_was_applied_from_another_text_is_refused() {
    let env = Env::new();
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

#[test]
fn a_database_that_knows_more_is_left_alone() {
    let env = Env::new();
    env.orders(&["migrate"]).run().succeeds();
    env.db()
        .run("INSERT INTO orders_migrations VALUES (999, '999_later.sql', 'x')");
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text = "the database knows migration `999_later.sql`, which this program does not\n\
                hint: use the program that wrote it, or a newer one\n";
    assert!(refused.stderr.ends_with(text), "{}", refused.stderr);
    env.orders(&["migrate", "--status"]).run().exits(3);
}

#[test]
fn a_dry_run_writes_nothing_not_even_the_history() {
    let env = Env::new();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(dry.stdout, table("pending"));
    let said = "would apply 001_init.sql, 002_exactly_once.sql; nothing was written\n";
    assert_eq!(dry.stderr, said);
    assert_eq!(env.db().number(TABLES), 0);

    env.orders(&["migrate"]).run().succeeds();
    let dry = env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(dry.stderr, "nothing to apply\n");
}

#[test]
fn the_status_is_3_while_something_is_pending_and_then_0() {
    let env = Env::new();
    let pending = env.orders(&["migrate", "--status"]).run().exits(3);
    assert_eq!(
        (pending.stdout, pending.stderr),
        (table("pending"), String::new())
    );
    assert_eq!(env.db().number(TABLES), 0, "asking writes nothing");
    env.orders(&["migrate"]).run().succeeds();
    let done = env.orders(&["migrate", "--status"]).run().succeeds();
    assert_eq!(without_times(&done.stdout), table("applied"));
}

#[test]
fn a_database_in_another_encoding_is_refused_untouched() {
    let env = Env::new();
    let (_, name) = env
        .db_url
        .rsplit_once('/')
        .expect("the URL names a database");
    let mut server = Db::open(&given("ORDERS_TEST_PG"));
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

#[test]
fn another_programs_table_of_that_name_is_not_touched() {
    let env = Env::new();
    env.db().run("CREATE TABLE orders (id INT, wine TEXT)");
    let refused = env.orders(&["migrate"]).run().exits(1);
    let text = "there is a table `orders` that is not an order table, it has no column `order_uid`: \
                use a database of its own";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
    assert_eq!(env.db().number(TABLES), 1);
}

#[test]
fn no_message_about_a_database_holds_its_password() {
    let env = Env::new();
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
