//! stdout and stderr that are never read or closed: no order waits for them.

use std::time::Duration;

use support::audit::audit;
use support::kafka::RawRecord;
use support::load_client::Workload;
use support::private::free_address;
use support::process::{Orders, Pipe};
use support::{Env, Process, TIMEOUT, eventually, http};

/// Starts a service whose output is not captured, with a known address of its operators' port.
fn start_silent(service: Orders<'_>, pipe: Pipe) -> Process {
    let admin = free_address();
    let service = service.env("ADMIN_ADDR", &admin);
    let process = service.stdout(pipe).stderr(pipe).spawn();
    eventually("a silent service to be ready", TIMEOUT, || {
        let answer = http::try_get(&format!("http://{admin}/readyz")).ok()?;
        (answer.status == 200).then_some(())
    });
    process
}

#[test]
fn services_with_blocked_or_closed_output_store_orders_and_stop_normally() {
    for pipe in [Pipe::Blocked, Pipe::Closed] {
        let env = Env::with_partitions(2);
        let authority = free_address();
        let api = env.serve_api().http_addr(&authority);
        let (api, consumer) = (start_silent(api, pipe), start_silent(env.consume(), pipe));
        let workload = Workload::new(&authority).orders(300).invalid_every(10);
        let answers = workload.start(&env, 1).finish(TIMEOUT);
        env.wait_until_applied();
        audit(&env, &answers);
        for mut service in [api, consumer] {
            service.stop_within(Duration::from_secs(10));
        }
    }
}

#[test]
fn a_consumer_with_blocked_output_exits_on_a_fatal_error() {
    let env = Env::ready();
    let mut first = start_silent(env.consume(), Pipe::Blocked);
    let _second = env.consume().env("KAFKA_GROUP", "other-group").start();
    let owner = "SELECT owner_group FROM log_positions";
    env.db().eventually(owner, "other-group");
    env.produce(&[RawRecord::order("uid")]);
    assert_eq!(first.wait_exit(TIMEOUT * 2).code(), Some(1));
}

#[test]
fn commands_with_a_closed_stdout_succeed_without_a_message() {
    let env = Env::ready();
    let (api, _consumer) = (env.api(), env.consumer());
    let url = api.url();
    api.accepts("uid");
    for words in [
        &["get", "--api-url", &url, "--wait", "10s", "uid"][..],
        &["get", "--api-url", &url, "--output", "json", "uid"],
        &["create-topics", "--partitions", "1"],
        &["migrate", "--status"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ] {
        let ran = env.orders(words).stdout(Pipe::Closed).run().succeeds();
        assert_eq!(ran.stderr, "", "orders {words:?}");
    }
}
