//! A disk that reports errors: no 202 for an order that is not on it, nothing lost or duplicated, no wrong
//! answer, and recovery with the disk.

use support::failing_disk::{Call, Errno, FailingDisk};
use support::private::free_port;
use support::process::metric;
use support::{Env, Process, eventually};

use super::{RECOVERY, audit_all, check_integrity, start_clients};

/// `orders up` on a failing disk.
struct World {
    env: Env,
    disk: FailingDisk,
    port: String,
}

impl World {
    fn new() -> World {
        let env = Env::embedded();
        World {
            disk: FailingDisk::new(&env),
            port: format!("127.0.0.1:{}", free_port()),
            env,
        }
    }

    fn start(&self) -> Process {
        let up = self.env.orders(&["up"]).env("HTTP_ADDR", &self.port);
        self.disk.attach(up).env("CACHE_LOAD_LIMIT", "0").spawn()
    }
}

#[test]
fn an_order_whose_write_or_fsync_fails_is_not_accepted_and_the_log_recovers_with_the_disk() {
    let world = World::new();
    let mut up = world.start();
    let clients = start_clients(&world.env, &world.port);
    for (call, errno) in [
        (Call::Sync, Errno::Io),
        (Call::Write, Errno::Io),
        (Call::Write, Errno::NoSpace),
        (Call::Sync, Errno::Io),
    ] {
        clients.wait_for_more(50);
        world.disk.fail(&[(call, errno, "t-orders.db-wal")]);
        let said = up.wait_until_unready("t-orders.db");
        let remedy = match errno {
            Errno::Io => "check the disk",
            Errno::NoSpace => "make room",
        };
        assert!(said.contains(remedy), "{call:?} {errno:?}: {said}");
        let promised = clients.wait_until_refused();
        let refused = up.post_order("refused");
        let status = if errno == Errno::Io { 503 } else { 507 };
        assert_eq!(refused.status, status, "{}", refused.text());
        assert_eq!(clients.accepted(), promised, "{call:?} {errno:?}");
        if (call, errno) == (Call::Write, Errno::Io) {
            up.kill9();
            up = world.start();
        }
        world.disk.recover();
    }
    clients.wait_for_more(50);
    up.wait_ready_within(RECOVERY);
    audit_all(&world.env, clients, &up.url());
}

#[test]
fn a_log_that_cannot_be_checkpointed_loses_no_record() {
    let world = World::new();
    let mut up = world.start();
    let clients = start_clients(&world.env, &world.port);
    clients.wait_for_more(50);
    for call in [Call::Sync, Call::Write] {
        world.disk.fail(&[
            (call, Errno::Io, "t-orders.db"),
            (Call::Sync, Errno::Io, "t-orders.db-wal"),
        ]);
        up.wait_until_unready("t-orders.db");
        // One file recovers before the other: its contents are not trusted yet.
        world.disk.fail(&[(call, Errno::Io, "t-orders.db")]);
        let promised = clients.wait_until_refused();
        assert_eq!(up.post_order("refused").status, 503);
        assert_eq!(clients.accepted(), promised);
        if call == Call::Write {
            up.kill9();
            up = world.start();
        }
        world.disk.recover();
        clients.wait_for_more(50);
    }
    up.wait_ready_within(RECOVERY);
    audit_all(&world.env, clients, &up.url());
}

#[test]
fn a_store_on_a_failing_disk_waits_and_stores_each_order_once() {
    let world = World::new();
    let mut up = world.start();
    let clients = start_clients(&world.env, &world.port);
    for (number, (call, errno)) in [
        (Call::Sync, Errno::Io),
        (Call::Write, Errno::Io),
        (Call::Write, Errno::NoSpace),
        (Call::Sync, Errno::Io),
    ]
    .into_iter()
    .enumerate()
    {
        clients.wait_for_more(50);
        world.disk.fail(&[(call, errno, "store.db-wal")]);
        let said = up.wait_until_unready("store.db");
        let remedy = match errno {
            Errno::Io => "check the disk",
            Errno::NoSpace => "make room",
        };
        assert!(said.contains(remedy), "{call:?} {errno:?}: {said}");
        // The log is healthy, so orders are accepted.
        clients.wait_for_more(50);
        if number % 2 == 1 || call == Call::Sync {
            // Only reopening the file shows whether the last COMMIT is there.
            up.kill9();
            up = world.start();
        }
        world.disk.recover();
        up.wait_ready_within(RECOVERY);
        world.env.wait_until_applied_within(RECOVERY);
    }
    audit_all(&world.env, clients, &up.url());
}

#[test]
fn a_store_that_cannot_be_checkpointed_continues_and_reports_it() {
    let world = World::new();
    let up = world.start();
    up.wait_ready();
    world.disk.fail(&[
        (Call::Sync, Errno::Io, "store.db"),
        (Call::Write, Errno::Io, "store.db"),
    ]);
    let acquisitions = metric(&up, "orders_consumer_partition_acquisitions_total");
    assert_eq!(up.post_order("a").status, 202);
    let said = up.wait_until_unready("store.db");
    assert!(said.contains("check the disk"), "{said}");
    assert_eq!(up.post_order("b").status, 202);
    let orders = "SELECT order_uid FROM orders ORDER BY 1";
    world.env.db().eventually(orders, "a\nb");
    world.disk.recover();
    up.wait_ready_within(RECOVERY);
    let wal = world.env.data_dir().join("store.db-wal");
    eventually("the WAL to be emptied", RECOVERY, || {
        (std::fs::metadata(&wal).ok()?.len() == 0).then_some(())
    });
    // No partition was acquired again for that.
    assert_eq!(
        metric(&up, "orders_consumer_partition_acquisitions_total"),
        acquisitions
    );
    check_integrity(world.env.data_dir());
}

#[test]
fn an_unreadable_store_is_never_a_404_for_a_stored_order() {
    let world = World::new();
    let up = world.start();
    let clients = start_clients(&world.env, &world.port);
    clients.wait_for_more(200);
    let answers = clients.stop(RECOVERY);
    let uids: Vec<&str> = answers.accepted().into_keys().collect();
    world.env.wait_until_applied_within(RECOVERY);
    drop(up);
    // The caches of API and SQLite are empty.
    let up = world.start();
    up.wait_ready_within(RECOVERY);
    let failing = [
        (Call::Read, Errno::Io, "store.db"),
        (Call::Read, Errno::Io, "store.db-wal"),
    ];
    // Before the connection for lookups is open, and while it is in use.
    for uids in uids.chunks(6).take(2) {
        let (later, uids) = uids.split_last().expect("six uids");
        world.disk.fail(&failing);
        for uid in uids {
            let answer = up.get_order(uid);
            let status = answer.status;
            assert!(matches!(status, 200 | 202 | 503), "{}", answer.text());
        }
        world.disk.recover();
        eventually("a lookup to be answered", RECOVERY, || {
            (up.get_order(later).status == 200).then_some(())
        });
    }
    world.disk.fail(&failing);
    let said = up.wait_until_unready("store.db");
    // SQLite takes some reads that fail for damage.
    let is_told = ["check the disk", "check whether its disk reports errors"];
    assert!(is_told.iter().any(|it| said.contains(it)), "{said}");
    world.disk.recover();
    up.wait_ready_within(RECOVERY);
    for uid in &uids[..5] {
        eventually(format!("`{uid}`"), RECOVERY, || {
            let answer = up.get_order(uid);
            assert_ne!(answer.status, 404);
            (answer.status == 200).then_some(())
        });
    }
}

#[test]
fn an_unreadable_log_is_waited_for_and_nothing_is_skipped() {
    let world = World::new();
    let mut up = world.start();
    let clients = start_clients(&world.env, &world.port);
    for file in ["t-orders.db", "t-orders.db-wal"] {
        clients.wait_for_more(100);
        // In the middle of work, and before it begins.
        for killed in [false, true] {
            let mark = if killed { 0 } else { up.mark() };
            world.disk.fail(&[(Call::Read, Errno::Io, file)]);
            if killed {
                up.kill9();
                up = world.start();
            }
            up.wait_for_line_after(mark, "t-orders.db`: ", RECOVERY);
            world.disk.recover();
            clients.wait_for_more(20);
            up.wait_ready_within(RECOVERY);
        }
    }
    audit_all(&world.env, clients, &up.url());
}
