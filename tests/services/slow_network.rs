//! Slow connections between all parts: every request is answered within its deadline, and every order is
//! stored.

use std::time::Duration;

use support::audit::{audit, audit_answers};
use support::load_client::Workload;
use support::orders::order;
use support::private::PrivateKafka;
use support::proxy::{Mode, Proxy};
use support::{Env, Process, http, returns_within};

use super::{Posted, RECOVERY};

/// `LOOKUP_WAIT_MS` is 2 s; the rest is a loaded machine's.
const GET_DEADLINE: Duration = Duration::from_secs(5);

fn get(api: &Process, uid: &str) -> http::Response {
    returns_within(GET_DEADLINE, || api.get_order(uid))
}

#[test]
fn slow_connections_miss_no_deadline_and_lose_no_order() {
    let (kafka, [to_api, to_consumer]) = PrivateKafka::behind_proxies("");
    let env = Env::on_kafka(&kafka).prepared(2);
    let (to_database, db_url) = Proxy::before_database(&env.db_url);
    let brokers = |proxy: &Proxy| proxy.address().to_string();
    let api = env.serve_api().env("KAFKA_BROKERS", brokers(&to_api));
    let consumer = env.consume().env("KAFKA_BROKERS", brokers(&to_consumer));
    let (mut api, mut consumer) = (api.start(), consumer.env("DB_URL", db_url).start());
    let all = [to_api, to_consumer, to_database];
    let set = |mode| all.iter().for_each(|proxy| proxy.set(mode));

    // High latency and low bandwidth.
    set(Mode::Slow(Duration::from_millis(30), 100_000));
    let clients = Workload::new(&api.url())
        .orders(25)
        .invalid_every(10)
        .with_reads(Duration::ZERO)
        .start(&env, 4);
    let absent = get(&api, "absent");
    assert!(matches!(absent.status, 202 | 404), "{}", absent.text());
    let answers = clients.finish(RECOVERY * 2);
    env.wait_until_applied_within(RECOVERY * 2);
    audit(&env, &answers);

    // Less bandwidth than the load needs.
    set(Mode::Slow(Duration::from_millis(300), 3_000));
    let mut posted = Posted::default();
    posted.at_once(&api, "slow", 40);
    get(&api, "client0-0").expect_status(200);
    let absent = get(&api, "absent-too");
    assert!(matches!(absent.status, 202 | 503), "{}", absent.text());

    set(Mode::Forward);
    api.wait_ready_within(RECOVERY);
    consumer.wait_ready_within(RECOVERY);
    posted.all_accepted(&api, "after", 20);
    env.wait_until_applied_within(RECOVERY);
    posted.audit(&env);
    audit_answers(&env, &api.url());
    assert_eq!(get(&api, "after-0").json(), order("after-0"));
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(api.is_running() && consumer.is_running());
}
