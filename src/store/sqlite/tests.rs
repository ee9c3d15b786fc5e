//! Tests of this engine alone: a file that is missing, replaced, truncated or locked. And that
//! every order is read back unchanged.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use support::replayable;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::migrations;
use crate::order::Order;
use crate::order::properties::order;
use crate::store::{Dialect, LookupResult, SourcedOrder};

const LOG: &str = "log";

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data/store.db");
    (folder, file)
}

fn migrate(file: &Path) -> usize {
    let mut schema = SqliteEngine::new(file).schema().unwrap();
    migrations::run(&mut *schema, Duration::from_secs(10), &|_| {})
        .unwrap()
        .len()
}

/// A migrated file whose partition 0 is acquired.
struct World {
    _folder: TempDir,
    file: PathBuf,
    store: Box<dyn OrderStore>,
    claim: Claim,
    position: Position,
}

impl World {
    fn new() -> World {
        let (folder, file) = folder();
        migrate(&file);
        let mut store = SqliteEngine::new(&file).connect().unwrap();
        let claim = Claim {
            log_id: LOG.into(),
            partition: 0,
            owner: Uuid::new_v4(),
            group: "group".into(),
            host: "host".into(),
        };
        let decision = StartDecision {
            from: None,
            topic_id: "topic".into(),
            epoch: 1,
            next_offset: 0,
            gap: None,
        };
        let position = store.commit_start(&claim, &decision).unwrap();
        World {
            _folder: folder,
            file,
            store,
            claim,
            position,
        }
    }

    fn batch(&self, orders: Vec<Order>) -> Batch {
        let start = self.position.next_offset;
        let sourced = (start..).zip(orders).map(|(offset, order)| SourcedOrder {
            order,
            offset,
            accepted_at_us: 1,
            supersedes: false,
        });
        let orders: Vec<SourcedOrder> = sourced.collect();
        Batch {
            position_id: self.position.id,
            owner: self.claim.owner,
            epoch: 1,
            topic: "orders".into(),
            partition: 0,
            start,
            end: start + orders.len() as i64,
            last_applied: None,
            orders,
            dead_letters: Vec::new(),
            gaps: Vec::new(),
        }
    }

    fn apply(&mut self, orders: Vec<Order>) -> Result<Applied, StoreError> {
        let batch = self.batch(orders);
        let applied = self.store.apply(&batch, &mut RejectionWindow::default())?;
        self.position.next_offset = batch.end;
        Ok(applied)
    }
}

fn named(uid: &str) -> Order {
    Order {
        order_uid: uid.into(),
        date_created: Timestamp(Some(0)),
        ..Order::default()
    }
}

#[test]
fn every_order_is_read_back_unchanged() {
    let world = std::cell::RefCell::new(World::new());
    replayable::check(300, order(), |order| {
        let mut world = world.borrow_mut();
        world.apply(vec![order.clone()]).unwrap();
        let uid = order.order_uid.as_str();
        let mut found = world.store.lookup(LOG, &[uid]).unwrap().results;
        let Some(LookupResult::Stored(stored)) = found.pop() else {
            panic!("the order is stored")
        };
        assert_eq!(stored.order, order);
    });
}

/// How many migrations there are.
const ALL: usize = 4;

#[test]
fn a_missing_file_is_created_by_migrate_only() {
    let (_folder, file) = folder();
    let engine = SqliteEngine::new(&file);
    let mut store = engine.connect().unwrap();
    assert_eq!(store.applied_migrations().unwrap(), []);
    let error = store.lookup(LOG, &["a"]).unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
    assert!(error.to_string().contains("run `orders migrate`"));

    let mut schema = engine.schema().unwrap();
    assert_eq!(
        migrations::dry_run(&mut *schema, Duration::ZERO, &|_| {})
            .unwrap()
            .len(),
        ALL
    );
    assert!(!file.exists() && !file.parent().unwrap().exists());
    assert_eq!((migrate(&file), migrate(&file)), (ALL, 0));
    let mut store = engine.connect().unwrap();
    let state = migrations::state(&store.applied_migrations().unwrap());
    assert_eq!(state, migrations::SchemaState::Current);
}

#[test]
fn only_its_user_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let file = world.file.with_file_name(name);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn one_migration_runs_at_a_time() {
    let (_folder, file) = folder();
    let engine = SqliteEngine::new(&file);
    let (mut first, mut second) = (engine.schema().unwrap(), engine.schema().unwrap());
    assert!(first.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    drop(first);
    assert!(second.try_lock().unwrap());
}

#[test]
fn the_next_call_detects_a_deleted_or_replaced_file() {
    let mut world = World::new();
    world.apply(vec![named("a")]).unwrap();
    let other = World::new();
    drop(other.store);
    fs::rename(&other.file, &world.file).unwrap();
    let error = world.apply(vec![named("b")]).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    fs::remove_file(&world.file).unwrap();
    let error = world.store.ping().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

#[test]
fn the_error_names_a_truncated_file() {
    let mut world = World::new();
    let orders = (0..500).map(|number| named(&format!("uid-{number}")));
    world.apply(orders.collect()).unwrap();
    drop(world.store);
    let length = fs::metadata(&world.file).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&world.file)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let opened = SqliteEngine::new(&world.file).connect();
    let error = opened
        .and_then(|mut store| store.lookup(LOG, &["uid-499", "uid-1"]).map(|_| ()))
        .unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("store.db"), "{text}");
    assert!(text.contains("restore a backup"), "{text}");
}

#[test]
fn a_table_of_another_program_is_not_adopted() {
    let (_folder, file) = folder();
    fs::create_dir(file.parent().unwrap()).unwrap();
    Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE items (a)")
        .unwrap();
    let mut schema = SqliteEngine::new(&file).schema().unwrap();
    let error = migrations::run(&mut *schema, Duration::ZERO, &|_| {}).unwrap_err();
    assert!(
        format!("{error:#}").contains("a table `items` that is not an order table"),
        "{error:#}"
    );
}

#[test]
fn tables_created_by_a_shell_are_adopted_with_their_rows() {
    let (_folder, file) = folder();
    fs::create_dir(file.parent().unwrap()).unwrap();
    let init = migrations::files(Dialect::Sqlite)[0].sql;
    let shell = Connection::open(&file).unwrap();
    shell.execute_batch(init).unwrap();
    shell
        .execute_batch("INSERT INTO orders (order_uid, date_created) VALUES ('a', 'some day')")
        .unwrap();
    assert_eq!(migrate(&file), ALL);
    let mut store = SqliteEngine::new(&file).connect().unwrap();
    let mut found = store.lookup(LOG, &["a"]).unwrap().results;
    let Some(LookupResult::Stored(stored)) = found.pop() else {
        panic!("the row is there")
    };
    assert_eq!(stored.order.date_created, Timestamp(None));
    assert_eq!((stored.source, stored.accepted_at_us), (None, None));
}

#[test]
fn a_unique_violation_is_misconfigured_and_a_trigger_that_aborts_rejects_the_order() {
    let mut world = World::new();
    let other = Connection::open(&world.file).unwrap();
    other
        .execute_batch("CREATE UNIQUE INDEX one_track ON orders (track_number)")
        .unwrap();
    let error = world.apply(vec![named("a"), named("b")]).unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
    other
        .execute_batch(
            "DROP INDEX one_track;
             CREATE TRIGGER no_b BEFORE INSERT ON items WHEN NEW.order_uid = 'b'
             BEGIN SELECT RAISE(ABORT, 'no items for b'); END",
        )
        .unwrap();
    let mut b = named("b");
    b.items = vec![crate::order::Item::default()];
    let applied = world.apply(vec![named("a"), b, named("c")]).unwrap();
    assert_eq!(applied.rejected.len(), 1);
    assert!(applied.rejected[0].1.contains("no items for b"));
    // Rolling back to the savepoint removed its rows.
    let count = |sql| other.query_row(sql, [], |row| row.get(0));
    assert_eq!(count("SELECT count(*) FROM orders"), Ok(2));
    assert_eq!(count("SELECT count(*) FROM delivery"), Ok(2));
}

#[test]
fn a_trigger_that_ends_the_transaction_stores_nothing() {
    let mut world = World::new();
    let other = Connection::open(&world.file).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER no_b BEFORE INSERT ON orders WHEN NEW.order_uid = 'b'
             BEGIN SELECT RAISE(ROLLBACK, 'no b'); END",
        )
        .unwrap();
    let error = world.apply(vec![named("a"), named("b"), named("c")]);
    let error = error.unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
    let count = other.query_row("SELECT count(*) FROM orders", [], |row| row.get(0));
    assert_eq!(count, Ok(0));
    let position = world.store.position(LOG, 0).unwrap().unwrap();
    assert_eq!(position.next_offset, 0);
}

#[test]
fn a_writer_that_finds_the_file_locked_is_contended() {
    let mut world = World::new();
    let other = Connection::open(&world.file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = world.apply(vec![named("a")]).unwrap_err();
    assert!(matches!(error, StoreError::Contended(_)), "{error}");
    // Readers are not blocked.
    world.store.ping().unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.apply(vec![named("a")]).unwrap(), Applied::default());
}

fn guarded(world: &World) -> Arc<GuardedFile> {
    Arc::new(GuardedFile::new(world.file.clone(), ""))
}

fn names(world: &World) -> Vec<String> {
    let folder = fs::read_dir(world.file.parent().unwrap()).unwrap();
    let mut names: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("export"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_leaves_no_file_and_removes_those_of_killed_exports() {
    let mut world = World::new();
    world.apply(vec![named("a")]).unwrap();
    let number = Uuid::new_v4().simple();
    let stale = format!("store.db.export-{number}");
    let file = world.file.with_file_name(&stale);
    fs::write(&file, "half of it").unwrap();
    let foreign = world.file.with_file_name("store.db.export-of-mine");
    fs::write(&foreign, "a file of the user").unwrap();
    let first = snapshot::SqliteSnapshot::create(&guarded(&world)).unwrap();
    assert_eq!(names(&world), ["store.db.export-of-mine"]);
    // A copy that another export is writing.
    fs::write(&file, "half of it").unwrap();
    let writer = fs::File::open(&file).unwrap();
    rustix::fs::flock(&writer, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut second = snapshot::SqliteSnapshot::create(&guarded(&world)).unwrap();
    assert_eq!(names(&world), [stale.as_str(), "store.db.export-of-mine"]);
    drop(first);
    assert_eq!(second.counts().unwrap(), (1, 0));
}

#[test]
fn the_error_of_a_snapshot_of_a_missing_file_names_migrate() {
    let (_folder, file) = folder();
    let error = SqliteEngine::new(&file).snapshot().err().unwrap();
    assert!(error.to_string().contains("run `orders migrate`"));
}
