//! The embedded engines on wrong paths: every error has the path and a hint.

use std::fs;

use support::Env;

/// A data folder whose place a file has.
fn occupied() -> Env {
    let env = Env::embedded();
    fs::write(env.data_dir(), "a file").expect("the folder is writable");
    env
}

#[test]
fn a_file_in_place_of_the_data_folder_is_an_error_with_path_and_flag() {
    let env = occupied();
    let folder = env.data_dir().display().to_string();
    let elsewhere = "--data-dir or ORDERS_DATA_DIR names another one";
    for command in ["create-topics", "up", "serve-api", "consume"] {
        let refused = env.orders(&[command]).run().exits(1);
        let error = format!("could not create the data folder `{folder}`: not a directory (");
        refused.reports(&error).reports(elsewhere);
    }
    let check = ["create-topics", "--check", "--wait", "0s"];
    let checked = env.orders(&check).run();
    checked.reports(&folder).reports(elsewhere);
    assert_eq!(fs::read(env.data_dir()).expect("it is there"), b"a file");
}

#[test]
fn a_folder_that_cannot_be_created_is_an_error_and_not_waited_for() {
    let env = Env::embedded();
    // Not even root can create folders there.
    let created = env
        .orders(&["create-topics"])
        .env("ORDERS_DATA_DIR", "/proc/orders")
        .run()
        .exits(1);
    created.reports("error: could not create the data folder `/proc/orders`: ");
    let migrated = env
        .orders(&["migrate"])
        .env("DB_URL", "sqlite:/proc/orders/store.db")
        .run()
        .exits(5);
    migrated
        .reports("could not create the folder for `/proc/orders/store.db`: ")
        .reports("DB_URL names another");
}

#[test]
fn a_store_path_that_cannot_be_a_file_is_an_error_at_once() {
    let env = occupied();
    fs::create_dir(env.path().join("folder.db")).expect("the folder is writable");
    for file in ["orders-data/store.db", "folder.db"] {
        let path = env.path().join(file).display().to_string();
        for args in [
            &["migrate"][..],
            &["migrate", "--status"],
            &["migrate", "--dry-run"],
        ] {
            let migrate = env.orders(args).env("DB_URL", format!("sqlite:{path}"));
            let refused = migrate.run().exits(1);
            let error = format!("error: connecting to the database `{path}`: ");
            assert!(refused.stderr.starts_with(&error), "{}", refused.stderr);
            refused.reports("DB_URL names another");
        }
    }
}

#[test]
fn a_store_is_created_only_at_the_path_of_its_url() {
    let env = Env::embedded();
    let absolute = env.path().join("deep/er/store.db");
    for (url, file) in [
        (format!("sqlite:{}", absolute.display()), absolute),
        ("sqlite:here.db".to_owned(), env.path().join("here.db")),
    ] {
        env.orders(&["migrate"]).env("DB_URL", url).run().succeeds();
        assert!(file.is_file(), "{}", file.display());
    }
    assert!(!env.data_dir().exists());
}

#[test]
fn a_consumer_on_a_file_that_is_no_database_waits_until_it_is_one() {
    let env = Env::embedded();
    env.orders(&["create-topics"]).run().succeeds();
    let store = env.data_dir().join("store.db");
    fs::write(&store, [b'x'; 5_000]).expect("the folder is writable");
    let consumer = env.consume().spawn();
    let line = consumer.wait_for_line("file is not a database");
    assert!(line.contains(&store.display().to_string()), "{line}");
    assert_eq!(consumer.readiness().0, 503);
    assert_eq!(fs::read(&store).expect("it is there"), [b'x'; 5_000]);

    fs::remove_file(&store).expect("the folder is writable");
    env.orders(&["migrate"]).run().succeeds();
    consumer.wait_ready();
}

#[test]
fn a_consumer_started_before_its_store_begins_when_it_exists() {
    let env = Env::embedded();
    env.orders(&["create-topics"]).run().succeeds();
    let consumer = env.consume().spawn();
    consumer.wait_for_line("4 migration(s) pending: run `orders migrate`");
    consumer.wait_until_unready("partition 0: being acquired");
    env.orders(&["migrate"]).run().succeeds();
    consumer.wait_ready();
}

#[test]
fn a_consumer_on_a_store_of_a_newer_version_reports_it() {
    let env = Env::embedded().prepared(1);
    env.db().run(
        "INSERT INTO orders_migrations (version, name, checksum) VALUES (999, '999_later.sql', 'x')",
    );
    let consumer = env.consume().spawn();
    consumer.wait_for_line("the database has migrations that this program does not know: update");
    assert_eq!(consumer.readiness().0, 503);
}
