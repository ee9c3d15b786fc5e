//! kill -9 of both services at any moment: every promise holds afterwards.

use std::time::{Duration, Instant};

use support::audit::audit_all;
use support::kafka::malformed_records;
use support::load_client::{LoadClients, Workload};
use support::private::free_address;
use support::{Env, Process, wait_until};

use super::RECOVERY;

const CLIENTS: u32 = 4;
const ORDERS: u32 = 20_000;

/// Load clients, and another program that writes malformed records.
struct Load {
    clients: LoadClients,
    malformed: usize,
}

impl Load {
    fn start(env: &Env, authority: &str, orders: u32) -> Load {
        let workload = Workload::new(authority)
            .orders(orders / CLIENTS)
            .invalid_every(50);
        Load {
            clients: workload.start(env, CLIENTS),
            malformed: 0,
        }
    }

    fn accepted(&self) -> usize {
        self.clients.accepted()
    }

    /// Waits until so many orders are accepted, with malformed records between them.
    fn wait_for(&mut self, env: &Env, orders: usize) {
        let (kafka, records) = (env.kafka(), malformed_records(4));
        wait_until(format!("{orders} accepted orders"), RECOVERY * 2, || {
            self.malformed += kafka.produce(&env.topic(), &records).len();
            self.accepted() >= orders
        });
    }

    /// The progress right after a kill.
    fn mark(&self, env: &Env) -> Mark {
        Mark {
            at: Instant::now(),
            accepted: self.accepted(),
            ends: env.kafka().ends(&env.topic()),
        }
    }

    /// Waits until orders are accepted again, and stored up to where the log ended at the mark. The
    /// clients are frozen when they have reached `limit`, so that the next kill happens under load.
    fn wait_until_recovered(&self, env: &Env, mark: &Mark, limit: usize) {
        let mut db = env.db();
        let within = RECOVERY.saturating_sub(mark.at.elapsed());
        wait_until("orders to be accepted and stored again", within, || {
            let accepted = self.accepted();
            let accepts = accepted > mark.accepted;
            if accepts && accepted >= limit {
                self.clients.freeze();
            }
            accepts && db.has_applied(&mark.ends)
        });
        self.clients.thaw();
    }
}

struct Mark {
    at: Instant,
    accepted: usize,
    ends: Vec<i64>,
}

fn finish_and_audit(env: &Env, load: Load, api: &Process) {
    let answers = load.clients.finish(RECOVERY * 4);
    audit_all(env, &answers, api);
    let mut db = env.db();
    assert_eq!(db.count("dead_letters"), load.malformed as i64);
    assert_eq!(db.text("SELECT * FROM log_gaps"), "");
}

#[test]
fn consumers_and_api_killed_within_twenty_thousand_orders_lose_and_duplicate_nothing() {
    let env = Env::with_partitions(4);
    let port = free_address();
    let serve = || env.serve_api().http_addr(&port).spawn();
    let mut api = serve();
    api.wait_ready();
    let mut consumers = [env.consumer(), env.consumer()];
    let mut load = Load::start(&env, &port, ORDERS);
    let step = ORDERS as usize / 10;
    for kill in 0..8 {
        load.wait_for(&env, (kill + 1) * step);
        let mark = match kill % 4 {
            0 | 2 => {
                let killed = &mut consumers[kill / 2 % 2];
                killed.kill9();
                let mark = load.mark(&env);
                *killed = env.consume().spawn();
                mark
            }
            1 => {
                api.kill9();
                let mark = load.mark(&env);
                api = serve();
                mark
            }
            _ => {
                // All at once.
                api.kill9();
                consumers.iter_mut().for_each(Process::kill9);
                let mark = load.mark(&env);
                consumers = [env.consume().spawn(), env.consume().spawn()];
                api = serve();
                mark
            }
        };
        load.wait_until_recovered(&env, &mark, (kill + 2) * step);
    }
    assert!(load.accepted() < ORDERS as usize, "the load ended early");
    finish_and_audit(&env, load, &api);
}

#[test]
fn an_api_killed_repeatedly_under_load_keeps_every_202() {
    let env = Env::with_partitions(2);
    let port = free_address();
    let _consumer = env.consumer();
    let clients = Workload::new(&port).invalid_every(20).start(&env, 4);
    // From its first order on.
    for orders in [1, 2, 4, 8, 16, 32, 64, 128, 1, 256] {
        let mut api = env.serve_api().http_addr(&port).spawn();
        clients.wait_for_more(orders);
        api.kill9();
    }
    let api = env.serve_api().http_addr(&port).start();
    audit_all(&env, &clients.stop(RECOVERY), &api);
    assert_eq!(env.db().count("dead_letters"), 0);
}

#[test]
fn consumers_that_join_and_leave_under_load_lose_and_duplicate_nothing() {
    let env = Env::with_partitions(4);
    let api = env.api();
    let mut consumers = vec![env.consumer()];
    let orders = 10_000;
    let mut load = Load::start(&env, &api.url(), orders);
    let step = orders as usize / 10;
    for change in 0..8 {
        load.wait_for(&env, (change + 1) * step);
        let mark = load.mark(&env);
        // Two, then one, then two again; the one that leaves is the older.
        if consumers.len() < 2 {
            consumers.push(env.consume().spawn());
        } else {
            let mut leaving = consumers.remove(0);
            assert_eq!(leaving.stop().code(), Some(0), "{:?}", leaving.lines());
        }
        load.wait_until_recovered(&env, &mark, (change + 2) * step);
    }
    assert!(load.accepted() < orders as usize, "the load ended early");
    finish_and_audit(&env, load, &api);
}

#[test]
fn rebalances_every_two_seconds_starve_no_partition_and_lose_nothing() {
    let env = Env::with_partitions(4);
    let api = env.api();
    let mut consumers = [env.consumer(), env.consumer(), env.consumer()].map(Some);
    let clients = Workload::new(&api.url())
        .invalid_every(50)
        .with_reads(Duration::from_millis(5))
        .start(&env, 4);
    let mut db = env.db();
    let mut stalled = (Instant::now(), 0);
    for turn in 0..7 {
        let began = Instant::now();
        // Two or three run at any time; every third one that leaves is killed.
        let slot = &mut consumers[turn / 2 % 3];
        match slot.take() {
            Some(mut leaving) if turn % 3 == 0 => leaving.kill9(),
            Some(mut leaving) => assert_eq!(leaving.stop().code(), Some(0)),
            None => *slot = Some(env.consume().spawn()),
        }
        wait_until("the next turn", RECOVERY, || {
            let applied = db.applied();
            if applied > stalled.1 {
                stalled = (Instant::now(), applied);
            }
            let idle = stalled.0.elapsed();
            assert!(idle < RECOVERY, "nothing was stored for {idle:?}");
            began.elapsed() >= Duration::from_secs(2)
        });
    }
    audit_all(&env, &clients.stop(RECOVERY), &api);
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);
    for process in consumers.iter().flatten().chain([&api]) {
        process.assert_bounded();
    }
}

#[test]
fn services_killed_every_few_orders_under_load_lose_and_duplicate_nothing() {
    let env = Env::with_partitions(2);
    let port = free_address();
    let serve = || env.serve_api().http_addr(&port).spawn();
    // Each in a group of its own: it need not wait for the session timeout of the one that was killed.
    let consume = |number: usize| {
        let group = format!("{}-{number}", env.group());
        env.consume().env("KAFKA_GROUP", group).spawn()
    };
    let (mut api, mut consumer) = (serve(), consume(0));
    let load = Load::start(&env, &port, 3_000);
    for kill in 0..16 {
        let accepted = load.accepted() + [1, 10, 40, 120][kill % 4];
        let before = env.kafka().ends(&env.topic());
        wait_until("more orders to be accepted", RECOVERY, || {
            load.accepted() >= accepted
        });
        api.kill9();
        if kill % 2 == 1 {
            let mut db = env.db();
            wait_until("the consumer to store orders", RECOVERY, || {
                db.has_applied(&before)
            });
            consumer.kill9();
            consumer = consume(kill);
        }
        api = serve();
    }
    assert!(load.accepted() < 3_000, "the load ended early");
    finish_and_audit(&env, load, &api);
}
