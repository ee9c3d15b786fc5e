//! How each fault begins and ends. It is over when `strike` returns.

use std::thread::sleep;
use std::time::Duration;

use support::proxy::{Mode, Proxy};
use support::{Process, eventually};

use crate::plan::Step;
use crate::world::World;

/// How long it may take until a reply is dropped: orders keep coming.
const PASSES_WITHIN: Duration = Duration::from_secs(30);

pub fn strike(world: &mut World, step: &Step) {
    let Step {
        lasts,
        line,
        victim,
        ..
    } = *step;
    match step.fault {
        "api-killed" => {
            world.api.kill9();
            world.serve();
        }
        "api-stopped" => {
            stop(&mut world.api);
            sleep(lasts);
            world.serve();
        }
        "api-frozen" => frozen(&world.api, lasts),
        "consumer-killed" => {
            world.consumers[victim].kill9();
            world.consume(victim);
        }
        "consumer-stopped" => {
            stop(&mut world.consumers[victim]);
            sleep(lasts);
            world.consume(victim);
        }
        "consumer-frozen" => frozen(&world.consumers[victim], lasts),
        "consumer-joins" => {
            let mut third = world.another_consumer();
            sleep(lasts);
            stop(&mut third);
        }
        "all-killed" => {
            world.api.kill9();
            world.consumers.iter_mut().for_each(Process::kill9);
            world.serve();
            (0..2).for_each(|consumer| world.consume(consumer));
        }
        "kafka-frozen" => {
            world.kafka.freeze();
            sleep(lasts);
            world.kafka.thaw();
        }
        "kafka-killed" => {
            world.kafka.kill9();
            sleep(lasts);
            world.kafka.restart();
        }
        "kafka-stopped" => {
            world.kafka.stop();
            sleep(lasts);
            world.kafka.restart();
        }
        "kafka-line-of-api" => bad_line(&world.api_to_kafka, line, lasts),
        "kafka-line-of-consumers" => bad_line(&world.consumers_to_kafka, line, lasts),
        "acknowledgement-lost" => drop_reply(&world.api_to_kafka, Proxy::drop_next_produce_reply),
        "database-frozen" => {
            world.postgres.freeze();
            sleep(lasts);
            world.postgres.thaw();
        }
        "database-stopped" => {
            world.postgres.stop_immediately();
            sleep(lasts);
            world.postgres.restart();
        }
        "database-read-only" => read_only(world, lasts),
        "database-line" => bad_line(&world.consumers_to_database, line, lasts),
        "sessions-terminated" => {
            for _ in 0..lasts.as_secs() {
                world.terminate_sessions();
                sleep(Duration::from_secs(1));
            }
        }
        "table-locked" => {
            let mut db = world.env.db();
            db.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
            sleep(lasts);
            db.run("COMMIT");
        }
        "commit-lost" => drop_reply(&world.consumers_to_database, Proxy::drop_next_commit_reply),
        other => unreachable!("`{other}` is in the list of faults"),
    }
}

fn stop(service: &mut Process) {
    assert_eq!(service.stop().code(), Some(0), "a stopped service drains");
}

fn frozen(service: &Process, lasts: Duration) {
    service.freeze();
    sleep(lasts);
    service.thaw();
}

fn bad_line(proxy: &Proxy, mode: Mode, lasts: Duration) {
    proxy.set(mode);
    sleep(lasts);
    proxy.set(Mode::Forward);
    // Bytes that were dropped are missing in the middle of their connections.
    if mode == Mode::BlackHole {
        proxy.close_connections();
    }
}

fn drop_reply(proxy: &Proxy, next: impl Fn(&Proxy)) {
    next(proxy);
    eventually("a reply to be dropped", PASSES_WITHIN, || {
        proxy.reply_is_dropped().then_some(())
    });
    proxy.close_connections();
}

fn read_only(world: &mut World, lasts: Duration) {
    let mut db = world.env.db();
    let database = db.text("SELECT current_database()");
    let setting = format!("ALTER DATABASE {database}");
    db.run(&format!("{setting} SET default_transaction_read_only = on"));
    world.terminate_sessions();
    sleep(lasts);
    db.run(&format!("{setting} RESET default_transaction_read_only"));
}
