//! Databases that hold something else too: tables in another schema, tables and views of other
//! programs, other types, row-level security, a role without rights.

use support::kafka::RawRecord;
use support::on_both_engines;
use support::orders::order;
use support::private::PrivatePostgres;
use support::{Engines, Env};

on_both_engines! {
    [
        a_table_of_another_program_with_one_of_our_names_is_named_and_not_written,
        a_history_of_another_program_is_named,
    ]
}

/// The schema as go-orders makes it.
const GO_ORDERS: &str = include_str!("../../migrations/001_init.sql");

const TABLES_OF: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = ";

const LOOKS: [&[&str]; 3] = [
    &["migrate"],
    &["migrate", "--dry-run"],
    &["migrate", "--status"],
];

fn with_search_path(env: &Env, path: &str) -> String {
    format!("{}?options=-csearch_path%3D{path}", env.db_url)
}

fn records(name: &str, count: usize) -> Vec<RawRecord> {
    let record = |number| {
        let uid = format!("{name}-{number}");
        RawRecord::new(uid.as_str(), order(&uid).to_string())
    };
    (0..count).map(record).collect()
}

#[test]
fn tables_further_along_the_search_path_are_named_and_no_second_set_is_created() {
    let env = Env::empty();
    let mut db = env.db();
    db.run(GO_ORDERS);
    db.run("INSERT INTO orders (order_uid) VALUES ('kept'); CREATE SCHEMA shop");
    let url = with_search_path(&env, "shop%2Cpublic");
    for args in LOOKS {
        let refused = env.orders(args).env("DB_URL", &url).run().exits(1);
        refused
            .reports("its tables are in the schema `public`, and `shop` comes first")
            .reports("SET search_path = public");
    }
    assert_eq!(db.number(&format!("{TABLES_OF} 'shop'")), 0);
    assert_eq!(db.number(&format!("{TABLES_OF} 'public'")), 4);

    // The remedy.
    let url = with_search_path(&env, "public");
    env.orders(&["migrate"])
        .env("DB_URL", &url)
        .run()
        .succeeds();
    assert_eq!(db.number(&format!("{TABLES_OF} 'public'")), 10);
    assert_eq!(db.text("SELECT order_uid FROM orders"), "kept");

    // A service does not take them for its own either.
    let url = with_search_path(&env, "shop%2Cpublic");
    let consumer = env.consume().env("DB_URL", &url).spawn();
    consumer.wait_until_unready("its tables are in the schema `public`");
}

#[test]
fn every_table_is_created_and_used_in_the_current_schema() {
    let mut env = Env::empty();
    env.db().run("CREATE SCHEMA shop");
    env.db_url = with_search_path(&env, "shop%2Cpublic");
    let env = env.prepared(1);
    let mut db = env.db();
    assert_eq!(db.number(&format!("{TABLES_OF} 'shop'")), 10);
    assert_eq!(db.number(&format!("{TABLES_OF} 'public'")), 0);
    let (api, _consumer) = (env.api(), env.consumer());
    assert_eq!(api.post_order("one").status, 202);
    env.wait_until_applied();
    assert_eq!(db.text("SELECT order_uid FROM shop.orders"), "one");
    env.orders(&["migrate", "--status"]).run().succeeds();
}

#[test]
fn a_role_without_a_schema_is_told_so() {
    let env = Env::empty();
    let url = with_search_path(&env, "nowhere");
    for args in LOOKS {
        let refused = env.orders(args).env("DB_URL", &url).run().exits(1);
        refused.reports("has no schema for the tables");
    }
}

#[test]
fn large_batches_are_stored_in_adopted_tables_with_narrower_types() {
    let env = Env::empty();
    let narrow = GO_ORDERS
        .replace("BIGINT", "INT")
        .replace("customer_id        TEXT", "customer_id        VARCHAR(40)");
    env.db().run(&narrow);
    let ran = env.orders(&["migrate"]).run().succeeds();
    ran.reports("the column `payment.amount` is `integer` and not `bigint`")
        .reports("ALTER TABLE payment ALTER COLUMN amount TYPE bigint")
        .reports("the column `orders.customer_id` is `character varying(40)` and not `text`");
    let env = env.prepared(1);
    let consumer = env.consumer();
    env.kafka().produce(&env.topic(), &records("few", 5));
    env.wait_until_applied();
    env.kafka().produce(&env.topic(), &records("many", 1_000));
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 1_005);
    assert_eq!(env.db().count("dead_letters"), 0);
    let said = consumer.lines();
    let said: Vec<_> = said
        .iter()
        .filter(|line| line.contains("without COPY"))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn large_batches_are_stored_under_row_level_security() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres).prepared(1);
    env.db().run(
        "CREATE ROLE app LOGIN;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
         ALTER TABLE items ENABLE ROW LEVEL SECURITY;
         CREATE POLICY all_rows ON items USING (true) WITH CHECK (true)",
    );
    let url = env.db_url.replace("postgres@", "app@");
    let consumer = env.consume().env("DB_URL", url).start();
    env.kafka().produce(&env.topic(), &records("few", 5));
    env.wait_until_applied();
    env.kafka().produce(&env.topic(), &records("many", 1_000));
    env.wait_until_applied();
    assert_eq!(env.db().count("orders"), 1_005);
    consumer.wait_for_line("without COPY: `items` has row-level security");
}

#[test]
fn a_column_that_takes_no_value_of_ours_is_not_adopted() {
    let env = Env::empty();
    let other = GO_ORDERS.replace("amount         BIGINT", "amount         JSONB");
    env.db().run(&other);
    for args in &LOOKS[..2] {
        let refused = env.orders(args).run().exits(1);
        refused.reports("the column `payment.amount` is `jsonb`, which takes no `bigint`");
    }
    assert_eq!(env.db().number(&format!("{TABLES_OF} 'public'")), 4);
}

#[test]
fn a_view_over_a_column_that_changes_is_named_by_a_dry_run_too() {
    let env = Env::empty();
    let mut db = env.db();
    db.run(GO_ORDERS);
    db.run("CREATE VIEW report AS SELECT id, name FROM items");
    for args in &LOOKS[..2] {
        let refused = env.orders(args).run().exits(1);
        refused
            .reports("view report depends on column \"id\"")
            .reports("drop what depends on it, run `orders migrate`, and create it again");
    }
    db.run("DROP VIEW report");
    let before = db.number(&format!("{TABLES_OF} 'public'"));
    env.orders(&["migrate", "--dry-run"]).run().succeeds();
    assert_eq!(db.number(&format!("{TABLES_OF} 'public'")), before);
    env.orders(&["migrate"]).run().succeeds();
    db.run("CREATE VIEW report AS SELECT id, name FROM items");
}

#[test]
fn a_dry_run_says_that_the_role_may_not_create_tables() {
    let postgres = PrivatePostgres::start();
    let env = Env::on_postgres(&postgres);
    env.db().run("CREATE ROLE reader LOGIN");
    let url = env.db_url.replace("postgres@", "reader@");
    for args in &LOOKS[..2] {
        let refused = env.orders(args).env("DB_URL", &url).run().exits(1);
        refused
            .reports("permission denied for schema public")
            .reports("migrate as the owner of the schema");
    }
}

fn a_table_of_another_program_with_one_of_our_names_is_named_and_not_written(engines: &Engines) {
    for table in ["log_positions", "dead_letters", "log_gaps"] {
        let env = engines.empty();
        std::fs::create_dir_all(env.data_dir()).expect("the folder is writable");
        env.db().run(&format!("CREATE TABLE {table} (wine INT)"));
        let text = format!(
            "there is a table `{table}` of another program, this program did not create it: use a \
             database of its own"
        );
        for args in &LOOKS[..2] {
            env.orders(args).run().exits(1).reports(&text);
        }
        assert_eq!(env.db().count(table), 0);
    }
    let env = engines.empty();
    std::fs::create_dir_all(env.data_dir()).expect("the folder is writable");
    env.db().run("CREATE VIEW orders AS SELECT 1 AS order_uid");
    let text = "there is a view `orders` that is not an order table, it is not a table";
    for args in &LOOKS[..2] {
        env.orders(args).run().exits(1).reports(text);
    }
}

fn a_history_of_another_program_is_named(engines: &Engines) {
    let env = engines.empty();
    std::fs::create_dir_all(env.data_dir()).expect("the folder is writable");
    env.db()
        .run("CREATE TABLE orders_migrations (id INT, version INT)");
    let text = "there is a table `orders_migrations` of another program, it has no column `name`";
    for args in LOOKS {
        env.orders(args).run().exits(1).reports(text);
    }
}
