//! A full or nearly full disk: orders are refused, nothing is lost, and work continues when there is
//! space.

use support::audit::audit;
use support::disk::SmallDisk;
use support::load_client::Workload;
use support::private::free_port;
use support::{Env, Process, TIMEOUT, eventually};

use super::{RECOVERY, audit_all, start_clients};

const MIB: u64 = 1 << 20;

/// On a disk of 32 MiB; the log keeps a tenth of it.
fn on_a_small_disk() -> (SmallDisk, Env) {
    let disk = SmallDisk::mount(32);
    let env = Env::embedded_in(&disk.path().join("data"));
    (disk, env)
}

fn start_at(env: &Env, port: &str) -> Process {
    env.orders(&["up"]).env("HTTP_ADDR", port).spawn()
}

#[test]
fn orders_are_refused_before_the_disk_is_full_and_accepted_ones_are_stored_and_served() {
    let (disk, env) = on_a_small_disk();
    let port = format!("127.0.0.1:{}", free_port());
    let up = start_at(&env, &port);
    up.wait_ready();
    let clients = start_clients(&env, &port);
    clients.wait_for_more(50);
    disk.fill_except(8 * MIB);

    let said = up.wait_until_unready("make room");
    let folder = env.data_dir().display().to_string();
    assert!(said.contains(&folder), "{said}");
    let refused = eventually("a full disk is told", TIMEOUT, || {
        let answer = up.post_order("refused");
        (answer.status == 507).then_some(answer)
    });
    assert_eq!(refused.json()["outcome"], "not_accepted");
    assert_eq!(refused.header("retry-after"), Some("30"));
    // The reserve is for what was accepted.
    let promised = clients.wait_until_refused();
    env.wait_until_applied_within(RECOVERY);
    assert!(
        disk.free_bytes() > MIB / 4,
        "{} bytes are left",
        disk.free_bytes()
    );
    assert_eq!(up.get_order("client0-0").status, 200);
    assert_eq!(
        up.get_order("nobody").status,
        404,
        "lookups live on the reserve"
    );

    // Now another program fills the rest.
    disk.fill();
    assert_eq!(up.post_order("refused").status, 507);
    assert_eq!(up.get_order("client0-0").status, 200);
    assert_eq!(clients.accepted(), promised);
    disk.free();
    clients.wait_for_more(200);
    up.wait_ready_within(RECOVERY);
    audit_all(&env, clients, &up.url());
}

#[test]
fn a_disk_filled_to_the_last_byte_under_load_loses_no_order() {
    let (disk, env) = on_a_small_disk();
    let port = format!("127.0.0.1:{}", free_port());
    let up = start_at(&env, &port);
    let clients = start_clients(&env, &port);
    for _ in 0..3 {
        clients.wait_for_more(100);
        disk.fill();
        up.wait_until_unready("make room");
        assert_eq!(up.post_order("refused").status, 507);
        disk.free();
    }
    clients.wait_for_more(100);
    up.wait_ready_within(RECOVERY);
    audit_all(&env, clients, &up.url());
}

#[test]
fn a_service_killed_on_a_full_disk_starts_and_waits_for_space() {
    let (disk, env) = on_a_small_disk();
    let port = format!("127.0.0.1:{}", free_port());
    let mut up = start_at(&env, &port);
    let clients = start_clients(&env, &port);
    clients.wait_for_more(100);
    disk.fill();
    up.wait_until_unready("make room");
    up.kill9();
    for _ in 0..2 {
        let mut up = start_at(&env, &port);
        up.wait_for_line("make room");
        up.kill9();
    }
    let up = start_at(&env, &port);
    up.wait_for_line("make room");
    disk.free();
    clients.wait_for_more(100);
    up.wait_ready_within(RECOVERY);
    audit_all(&env, clients, &up.url());
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
            let said = consumer.wait_until_unready("make room");
            assert!(said.contains("store.db"), "{said}");
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
    assert_eq!(up.post_order("before").status, 202);
    env.wait_until_applied();
    disk.fill_except(MIB);
    eventually("a full disk is told", TIMEOUT, || {
        (up.post_order("refused").status == 507).then_some(())
    });
    let logs = std::fs::read_dir(env.data_dir().join("log")).expect("it is there");
    for file in logs {
        std::fs::remove_file(file.expect("it can be read").path()).expect("it can be removed");
    }
    up.wait_until_unready("run `orders create-topics`");
    disk.free();
    env.orders(&["create-topics"]).run().succeeds();
    eventually("orders to be accepted", RECOVERY, || {
        (up.post_order("after").status == 202).then_some(())
    });
    up.wait_ready_within(RECOVERY);
    let orders = "SELECT order_uid FROM orders ORDER BY 1";
    env.db().eventually(orders, "after\nbefore");
}
