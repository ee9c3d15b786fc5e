//! kill -9 of both services at any moment: every promise holds afterwards.

use std::time::{Duration, Instant};

use support::audit::{audit, audit_answers};
use support::kafka::RawRecord;
use support::load_client::{LoadClients, Workload};
use support::private::free_port;
use support::{Db, Env, Process, eventually};

use super::RECOVERY;

const CLIENTS: u32 = 4;
const ORDERS: u32 = 20_000;

/// A pipeline under load, and whether it makes progress.
struct Load {
    clients: LoadClients,
    /// Records that are no orders, written by another program.
    poisoned: usize,
}

impl Load {
    fn start(env: &Env, authority: &str, orders: u32) -> Load {
        let workload = Workload::new(authority)
            .orders(orders / CLIENTS)
            .invalid_every(50);
        Load {
            clients: workload.start(env, CLIENTS),
            poisoned: 0,
        }
    }

    fn accepted(&self) -> usize {
        self.clients.accepted()
    }

    /// Waits until so many orders are accepted, with poison between them.
    fn wait_for(&mut self, env: &Env, orders: usize) {
        let waiting = Instant::now();
        let poison = [
            RawRecord::new("poison", "not an order"),
            RawRecord::new("poison", "{\"order_uid\":\"no-date\"}"),
            RawRecord {
                key: Some(b"poison".to_vec()),
                ..RawRecord::default()
            },
        ];
        let spread = (0..4).flat_map(|partition| poison.clone().map(|it| it.to(partition)));
        let (kafka, spread) = (env.kafka(), spread.collect::<Vec<_>>());
        loop {
            self.poisoned += kafka.produce(&env.topic(), &spread).len();
            let accepted = self.accepted();
            if accepted >= orders {
                return;
            }
            let waited = waiting.elapsed();
            assert!(waited < RECOVERY * 2, "{accepted} of {orders} orders");
        }
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
    /// clients stop meanwhile when they have reached `limit`: the next kill is to find them at work.
    fn wait_until_going(&self, env: &Env, mark: &Mark, limit: usize) {
        let mut db = env.db();
        let within = RECOVERY.saturating_sub(mark.at.elapsed());
        eventually("all to go again in time", within, || {
            let accepted = self.accepted();
            let accepts = accepted > mark.accepted;
            if accepts && accepted >= limit {
                self.clients.freeze();
            }
            (accepts && mark.is_passed_by(&positions(&mut db))).then_some(())
        });
        self.clients.thaw();
    }
}

struct Mark {
    at: Instant,
    accepted: usize,
    ends: Vec<i64>,
}

impl Mark {
    fn is_passed_by(&self, positions: &[i64]) -> bool {
        have_passed(positions, &self.ends)
    }
}

fn have_passed(positions: &[i64], ends: &[i64]) -> bool {
    let mut pairs = ends.iter().zip(positions);
    positions.len() == ends.len() && pairs.all(|(end, position)| end <= position)
}

/// The next offset of each partition.
fn positions(db: &mut Db) -> Vec<i64> {
    let rows = db.text("SELECT next_offset FROM log_positions ORDER BY partition");
    let rows = rows.lines().map(|row| row.parse().expect("an offset"));
    rows.collect()
}

fn finish_and_audit(env: &Env, load: Load, api: &Process) {
    let answers = load.clients.finish(RECOVERY * 4);
    env.wait_until_applied_within(RECOVERY * 2);
    audit(env, &answers);
    audit_answers(env, &api.url());
    let mut db = env.db();
    assert_eq!(db.count("dead_letters"), load.poisoned as i64);
    assert_eq!(db.text("SELECT * FROM log_gaps"), "");
}

#[test]
fn consumers_and_api_killed_within_twenty_thousand_orders_lose_and_duplicate_nothing() {
    let env = Env::with_partitions(4);
    let port = format!("127.0.0.1:{}", free_port());
    let serve = || env.serve_api().env("HTTP_ADDR", &port).spawn();
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
        load.wait_until_going(&env, &mark, (kill + 2) * step);
    }
    assert!(
        load.accepted() < ORDERS as usize,
        "the kills came among the orders"
    );
    finish_and_audit(&env, load, &api);
}

#[test]
fn an_api_killed_repeatedly_under_load_keeps_every_202() {
    let env = Env::with_partitions(2);
    let port = format!("127.0.0.1:{}", free_port());
    let _consumer = env.consumer();
    let clients = Workload::new(&port).invalid_every(20).start(&env, 4);
    // From its very first order on.
    for orders in [1, 2, 4, 8, 16, 32, 64, 128, 1, 256] {
        let mut api = env.serve_api().env("HTTP_ADDR", &port).spawn();
        clients.wait_for_more(orders);
        api.kill9();
    }
    let api = env.serve_api().env("HTTP_ADDR", &port).start();
    let answers = clients.stop(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &answers);
    audit_answers(&env, &api.url());
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
        load.wait_until_going(&env, &mark, (change + 2) * step);
    }
    assert!(
        load.accepted() < orders as usize,
        "the changes came among the orders"
    );
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
        // Two or three are there at any time; each third one that leaves is killed.
        let place = &mut consumers[turn / 2 % 3];
        match place.take() {
            Some(mut leaving) if turn % 3 == 0 => leaving.kill9(),
            Some(mut leaving) => assert_eq!(leaving.stop().code(), Some(0)),
            None => *place = Some(env.consume().spawn()),
        }
        eventually("the next turn", RECOVERY, || {
            let applied = positions(&mut db).iter().sum();
            if applied > stalled.1 {
                stalled = (Instant::now(), applied);
            }
            let still = stalled.0.elapsed();
            assert!(still < RECOVERY, "nothing was stored for {still:?}");
            (began.elapsed() >= Duration::from_secs(2)).then_some(())
        });
    }
    let answers = clients.stop(RECOVERY);
    env.wait_until_applied_within(RECOVERY);
    audit(&env, &answers);
    audit_answers(&env, &api.url());
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);
    for process in consumers.iter().flatten().chain([&api]) {
        process.assert_bounded();
    }
}

#[test]
fn services_killed_every_few_orders_under_load_lose_and_duplicate_nothing() {
    let env = Env::with_partitions(2);
    let port = format!("127.0.0.1:{}", free_port());
    let serve = || env.serve_api().env("HTTP_ADDR", &port).spawn();
    // Each in a group of its own: it need not wait until the group misses the one that was killed.
    let consume = |number: usize| {
        let group = format!("{}-{number}", env.group());
        env.consume().env("KAFKA_GROUP", group).spawn()
    };
    let (mut api, mut consumer) = (serve(), consume(0));
    let load = Load::start(&env, &port, 3_000);
    for kill in 0..16 {
        let accepted = load.accepted() + [1, 10, 40, 120][kill % 4];
        let before = env.kafka().ends(&env.topic());
        eventually("more orders to be accepted", RECOVERY, || {
            (load.accepted() >= accepted).then_some(())
        });
        api.kill9();
        if kill % 2 == 1 {
            let mut db = env.db();
            eventually("the consumer to be at work", RECOVERY, || {
                have_passed(&positions(&mut db), &before).then_some(())
            });
            consumer.kill9();
            consumer = consume(kill);
        }
        api = serve();
    }
    assert!(load.accepted() < 3_000, "the kills came among the orders");
    finish_and_audit(&env, load, &api);
}
