//! A full or nearly full disk: orders are refused, nothing is lost, and work continues when there is
//! space.

use support::audit::audit;
use support::disk::SmallDisk;
use support::load_client::Workload;
use support::private::free_address;
use support::{Env, TIMEOUT, eventually, wait_until};

use super::{RECOVERY, start_clients, stop_and_audit, up_under_load, wait_until_accepted};

const MIB: u64 = 1 << 20;

/// On a disk of 32 MiB; the log keeps a tenth of it.
fn on_a_small_disk() -> (SmallDisk, Env) {
    let disk = SmallDisk::mount(32);
    let env = Env::embedded_in(&disk.path().join("data"));
    (disk, env)
}

#[test]
fn orders_are_refused_before_the_disk_is_full_and_accepted_ones_are_stored_and_served() {
    let (disk, env) = on_a_small_disk();
    let (up, clients) = up_under_load(&env);
    clients.wait_for_more(50);
    disk.fill_except(8 * MIB);

    let report = up.wait_until_unready("make room");
    let folder = env.data_dir().display().to_string();
    assert!(report.contains(&folder), "{report}");
    let refused = eventually("the full disk to be reported", TIMEOUT, || {
        let answer = up.post_order("refused");
        (answer.status == 507).then_some(answer)
    });
    assert_eq!(refused.json()["outcome"], "not_accepted");
    assert_eq!(refused.header("retry-after"), Some("30"));
    // The reserve is for accepted orders.
    let promised = clients.wait_until_refused();
    env.wait_until_applied_within(RECOVERY);
    let left = disk.free_bytes();
    assert!(left > MIB / 4, "{left} bytes are left");
    up.get_order("client0-0").expect_status(200);
    // Lookups use the reserve.
    up.get_order("nobody").expect_status(404);

    // Now another program fills the rest.
    disk.fill();
    up.post_order("refused").expect_status(507);
    up.get_order("client0-0").expect_status(200);
    assert_eq!(clients.accepted(), promised);
    disk.free();
    clients.wait_for_more(200);
    up.wait_ready_within(RECOVERY);
    stop_and_audit(&env, clients, &up);
}

#[test]
fn a_disk_filled_to_the_last_byte_under_load_loses_no_order() {
    let (disk, env) = on_a_small_disk();
    let (up, clients) = up_under_load(&env);
    for _ in 0..3 {
        clients.wait_for_more(100);
        disk.fill();
        up.wait_until_unready("make room");
        up.post_order("refused").expect_status(507);
        disk.free();
    }
    clients.wait_for_more(100);
    up.wait_ready_within(RECOVERY);
    stop_and_audit(&env, clients, &up);
}

#[test]
fn a_service_killed_on_a_full_disk_starts_and_waits_for_space() {
    let (disk, env) = on_a_small_disk();
    let port = free_address();
    let start = || env.orders(&["up"]).http_addr(&port).spawn();
    let mut up = start();
    let clients = start_clients(&env, &port);
    clients.wait_for_more(100);
    disk.fill();
    up.wait_until_unready("make room");
    up.kill9();
    for _ in 0..2 {
        let mut up = start();
        up.wait_for_line("make room");
        up.kill9();
    }
    let up = start();
    up.wait_for_line("make room");
    disk.free();
    clients.wait_for_more(100);
    up.wait_ready_within(RECOVERY);
    stop_and_audit(&env, clients, &up);
}

#[test]
fn a_consumer_on_a_full_disk_waits_and_stores_everything_when_there_is_space() {
    // Without space for the WAL, and with space for the WAL but not for orders.
    for left in [0, 200 << 10] {
        let (disk, env) = on_a_small_disk();
        let env = env.prepared(1);
        let api = env.api();
        let workload = Workload::new(&api.url()).orders(400);
        let answers = workload.start(&env, 1).finish(TIMEOUT);
        disk.fill_except(left);
        let mut consumer = env.consume().spawn();
        for _ in 0..2 {
            let report = consumer.wait_until_unready("make room");
            assert!(report.contains("store.db"), "{report}");
            consumer.kill9();
            consumer = env.consume().spawn();
        }
        consumer.wait_until_unready("make room");
        disk.free();
        consumer.wait_ready_within(RECOVERY);
        env.wait_until_applied_within(RECOVERY);
        audit(&env, &answers);
    }
}

/// Deleting the log itself to free space leads to a new log that works.
#[test]
fn a_log_recreated_while_the_disk_was_full_accepts_orders() {
    let (disk, env) = on_a_small_disk();
    let up = env.up();
    up.accepts("before");
    env.wait_until_applied();
    disk.fill_except(MIB);
    wait_until("the full disk to be reported", TIMEOUT, || {
        up.post_order("refused").status == 507
    });
    let logs = std::fs::read_dir(env.data_dir().join("log")).expect("it exists");
    for file in logs {
        std::fs::remove_file(file.expect("it can be read").path()).expect("it can be removed");
    }
    up.wait_until_unready("run `orders create-topics`");
    disk.free();
    env.orders(&["create-topics"]).run().succeeds();
    wait_until_accepted(&up, "after");
    up.wait_ready_within(RECOVERY);
    let orders = "SELECT order_uid FROM orders ORDER BY 1";
    env.db().eventually(orders, "after\nbefore");
}
