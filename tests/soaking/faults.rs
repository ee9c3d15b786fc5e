//! How each fault begins and ends. It is over when `inject` returns.

use std::thread::sleep;
use std::time::Duration;

use support::Process;
use support::proxy::{Mode, Proxy};

use crate::pipeline::Pipeline;
use crate::plan::Step;

pub fn inject(pipeline: &mut Pipeline, step: &Step) {
    let Step {
        lasts,
        mode,
        consumer,
        ..
    } = *step;
    match step.fault {
        "api-killed" => {
            pipeline.api.kill9();
            pipeline.serve();
        }
        "api-stopped" => {
            stop(&mut pipeline.api);
            sleep(lasts);
            pipeline.serve();
        }
        "api-frozen" => freeze(&pipeline.api, lasts),
        "consumer-killed" => {
            pipeline.consumers[consumer].kill9();
            pipeline.consume(consumer);
        }
        "consumer-stopped" => {
            stop(&mut pipeline.consumers[consumer]);
            sleep(lasts);
            pipeline.consume(consumer);
        }
        "consumer-frozen" => freeze(&pipeline.consumers[consumer], lasts),
        "consumer-joins" => {
            let mut third = pipeline.another_consumer();
            sleep(lasts);
            stop(&mut third);
        }
        "all-killed" => {
            pipeline.api.kill9();
            pipeline.consumers.iter_mut().for_each(Process::kill9);
            pipeline.serve();
            (0..2).for_each(|number| pipeline.consume(number));
        }
        "kafka-frozen" => {
            pipeline.kafka.freeze();
            sleep(lasts);
            pipeline.kafka.thaw();
        }
        "kafka-killed" => {
            pipeline.kafka.kill9();
            sleep(lasts);
            pipeline.kafka.restart();
        }
        "kafka-stopped" => {
            pipeline.kafka.stop();
            sleep(lasts);
            pipeline.kafka.restart();
        }
        "kafka-connection-of-api" => degrade(&pipeline.api_to_kafka, mode, lasts),
        "kafka-connection-of-consumers" => degrade(&pipeline.consumers_to_kafka, mode, lasts),
        "acknowledgement-lost" => drop_reply(&pipeline.api_to_kafka),
        "database-frozen" => {
            pipeline.postgres.freeze();
            sleep(lasts);
            pipeline.postgres.thaw();
        }
        "database-stopped" => {
            pipeline.postgres.stop_immediately();
            sleep(lasts);
            pipeline.postgres.restart();
        }
        "database-read-only" => read_only(pipeline, lasts),
        "database-connection" => degrade(&pipeline.consumers_to_database, mode, lasts),
        "sessions-terminated" => {
            for _ in 0..lasts.as_secs() {
                pipeline.env.db().terminate_sessions();
                sleep(Duration::from_secs(1));
            }
        }
        "table-locked" => {
            let mut db = pipeline.env.db();
            db.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
            sleep(lasts);
            db.run("COMMIT");
        }
        "commit-lost" => drop_reply(&pipeline.consumers_to_database),
        other => unreachable!("`{other}` is in the list of faults"),
    }
}

fn stop(service: &mut Process) {
    assert_eq!(service.stop().code(), Some(0), "a stopped service drains");
}

fn freeze(service: &Process, lasts: Duration) {
    service.freeze();
    sleep(lasts);
    service.thaw();
}

fn degrade(proxy: &Proxy, mode: Mode, lasts: Duration) {
    proxy.set(mode);
    sleep(lasts);
    proxy.set(Mode::Forward);
    // Bytes that were dropped are missing in the middle of their connections.
    if mode == Mode::BlackHole {
        proxy.close_connections();
    }
}

fn drop_reply(proxy: &Proxy) {
    proxy.drop_next_reply();
    proxy.wait_until_reply_is_dropped();
    proxy.close_connections();
}

fn read_only(pipeline: &mut Pipeline, lasts: Duration) {
    let mut db = pipeline.env.db();
    let database = db.text("SELECT current_database()");
    let alter = format!("ALTER DATABASE {database}");
    db.run(&format!("{alter} SET default_transaction_read_only = on"));
    pipeline.env.db().terminate_sessions();
    sleep(lasts);
    db.run(&format!("{alter} RESET default_transaction_read_only"));
}
