//! A disk that reports errors: no 202 for an order that is not on it, nothing lost or duplicated, no wrong
//! answer, and recovery with the disk.

use support::failing_disk::{Call, Errno, FailingDisk};
use support::private::free_address;
use support::{Env, Process, wait_until};

use super::{RECOVERY, check_integrity, start_clients, stop_and_audit};

const ACQUISITIONS: &str = "orders_consumer_partition_acquisitions_total";

/// The faults, with the hint that each must cause.
const FAULTS: [(Call, Errno, &str); 4] = [
    (Call::Sync, Errno::Io, "check the disk"),
    (Call::Write, Errno::Io, "check the disk"),
    (Call::Write, Errno::NoSpace, "make room"),
    (Call::Sync, Errno::Io, "check the disk"),
];

/// `orders up` on a failing disk.
struct Setup {
    env: Env,
    disk: FailingDisk,
    port: String,
}

impl Setup {
    fn new() -> Setup {
        let env = Env::embedded();
        Setup {
            disk: FailingDisk::new(&env),
            port: free_address(),
            env,
        }
    }

    fn start(&self) -> Process {
        let up = self.env.orders(&["up"]).http_addr(&self.port);
        self.disk.attach(up).without_warm_up().spawn()
    }
}

#[test]
fn an_order_whose_write_or_fsync_fails_is_not_accepted_and_the_log_recovers_with_the_disk() {
    let setup = Setup::new();
    let mut up = setup.start();
    let clients = start_clients(&setup.env, &setup.port);
    for (call, errno, hint) in FAULTS {
        clients.wait_for_more(50);
        setup.disk.fail(&[(call, errno, "t-orders.db-wal")]);
        let report = up.wait_until_unready("t-orders.db");
        assert!(report.contains(hint), "{call:?} {errno:?}: {report}");
        let promised = clients.wait_until_refused();
        let status = if errno == Errno::Io { 503 } else { 507 };
        up.post_order("refused").expect_status(status);
        assert_eq!(clients.accepted(), promised, "{call:?} {errno:?}");
        if (call, errno) == (Call::Write, Errno::Io) {
            up.kill9();
            up = setup.start();
        }
        setup.disk.recover();
    }
    clients.wait_for_more(50);
    up.wait_ready_within(RECOVERY);
    stop_and_audit(&setup.env, clients, &up);
}

#[test]
fn a_log_that_cannot_be_checkpointed_loses_no_record() {
    let setup = Setup::new();
    let mut up = setup.start();
    let clients = start_clients(&setup.env, &setup.port);
    clients.wait_for_more(50);
    for call in [Call::Sync, Call::Write] {
        setup.disk.fail(&[
            (call, Errno::Io, "t-orders.db"),
            (Call::Sync, Errno::Io, "t-orders.db-wal"),
        ]);
        up.wait_until_unready("t-orders.db");
        // One file recovers before the other: its contents are not trusted yet.
        setup.disk.fail(&[(call, Errno::Io, "t-orders.db")]);
        let promised = clients.wait_until_refused();
        assert_eq!(up.post_order("refused").status, 503);
        assert_eq!(clients.accepted(), promised);
        if call == Call::Write {
            up.kill9();
            up = setup.start();
        }
        setup.disk.recover();
        clients.wait_for_more(50);
    }
    up.wait_ready_within(RECOVERY);
    stop_and_audit(&setup.env, clients, &up);
}

#[test]
fn a_store_on_a_failing_disk_waits_and_stores_each_order_once() {
    let setup = Setup::new();
    let mut up = setup.start();
    let clients = start_clients(&setup.env, &setup.port);
    for (number, (call, errno, hint)) in FAULTS.into_iter().enumerate() {
        clients.wait_for_more(50);
        setup.disk.fail(&[(call, errno, "store.db-wal")]);
        let report = up.wait_until_unready("store.db");
        assert!(report.contains(hint), "{call:?} {errno:?}: {report}");
        // The log is healthy, so orders are accepted.
        clients.wait_for_more(50);
        if number % 2 == 1 || call == Call::Sync {
            // Only reopening the file shows whether the last COMMIT is there.
            up.kill9();
            up = setup.start();
        }
        setup.disk.recover();
        up.wait_ready_within(RECOVERY);
        setup.env.wait_until_applied_within(RECOVERY);
    }
    stop_and_audit(&setup.env, clients, &up);
}

#[test]
fn a_store_that_cannot_be_checkpointed_continues_and_reports_it() {
    let setup = Setup::new();
    let up = setup.start();
    up.wait_ready();
    setup.disk.fail(&[
        (Call::Sync, Errno::Io, "store.db"),
        (Call::Write, Errno::Io, "store.db"),
    ]);
    let acquisitions = up.metric(ACQUISITIONS);
    up.accepts("a");
    let report = up.wait_until_unready("store.db");
    assert!(report.contains("check the disk"), "{report}");
    up.accepts("b");
    let orders = "SELECT order_uid FROM orders ORDER BY 1";
    setup.env.db().eventually(orders, "a\nb");
    setup.disk.recover();
    up.wait_ready_within(RECOVERY);
    let wal = setup.env.data_dir().join("store.db-wal");
    wait_until("the WAL to be emptied", RECOVERY, || {
        std::fs::metadata(&wal).is_ok_and(|file| file.len() == 0)
    });
    // No partition was acquired again.
    assert_eq!(up.metric(ACQUISITIONS), acquisitions);
    check_integrity(setup.env.data_dir());
}

#[test]
fn an_unreadable_store_is_never_a_404_for_a_stored_order() {
    let setup = Setup::new();
    let up = setup.start();
    let clients = start_clients(&setup.env, &setup.port);
    clients.wait_for_more(200);
    let answers = clients.stop(RECOVERY);
    let uids: Vec<&str> = answers.accepted().into_keys().collect();
    setup.env.wait_until_applied_within(RECOVERY);
    drop(up);
    // The caches of API and SQLite are empty.
    let up = setup.start();
    up.wait_ready_within(RECOVERY);
    let failing = [
        (Call::Read, Errno::Io, "store.db"),
        (Call::Read, Errno::Io, "store.db-wal"),
    ];
    // Before the connection for lookups is open, and while it is in use.
    for uids in uids.chunks(6).take(2) {
        let (later, uids) = uids.split_last().expect("six uids");
        setup.disk.fail(&failing);
        for uid in uids {
            let answer = up.get_order(uid);
            let status = answer.status;
            assert!(matches!(status, 200 | 202 | 503), "{}", answer.text());
        }
        setup.disk.recover();
        wait_until("a lookup to be answered", RECOVERY, || {
            up.get_order(later).status == 200
        });
    }
    setup.disk.fail(&failing);
    let report = up.wait_until_unready("store.db");
    // SQLite reports some failed reads as damage.
    let hints = ["check the disk", "check whether its disk reports errors"];
    assert!(hints.iter().any(|hint| report.contains(hint)), "{report}");
    setup.disk.recover();
    up.wait_ready_within(RECOVERY);
    for uid in &uids[..5] {
        wait_until(format!("`{uid}`"), RECOVERY, || {
            let answer = up.get_order(uid);
            assert_ne!(answer.status, 404);
            answer.status == 200
        });
    }
}

#[test]
fn an_unreadable_log_is_waited_for_and_nothing_is_skipped() {
    let setup = Setup::new();
    let mut up = setup.start();
    let clients = start_clients(&setup.env, &setup.port);
    for file in ["t-orders.db", "t-orders.db-wal"] {
        clients.wait_for_more(100);
        // While it runs, and before it starts.
        for killed in [false, true] {
            let mark = if killed { 0 } else { up.mark() };
            setup.disk.fail(&[(Call::Read, Errno::Io, file)]);
            if killed {
                up.kill9();
                up = setup.start();
            }
            up.wait_for_line_after(mark, "t-orders.db`: ", RECOVERY);
            setup.disk.recover();
            clients.wait_for_more(20);
            up.wait_ready_within(RECOVERY);
        }
    }
    stop_and_audit(&setup.env, clients, &up);
}
