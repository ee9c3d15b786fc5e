//! Slow lines between all parts: every request is answered within its deadline, every order is
//! stored at last.

use std::time::{Duration, Instant};

use support::auditor::{Poster, Record, Task, audit, audit_answers};
use support::orders::order;
use support::private::PrivateKafka;
use support::proxy::{Mode, Proxy};
use support::{Env, Process, given, http};

use super::{Outcome, Posted, RECOVERY};

/// `LOOKUP_WAIT_MS` is 2 s; the rest is a loaded machine's.
const GET_DEADLINE: Duration = Duration::from_secs(5);

fn get(api: &Process, uid: &str) -> http::Response {
    let asked = Instant::now();
    let answer = http::get(&format!("{}/api/order/{uid}", api.url()));
    let took = asked.elapsed();
    assert!(took < GET_DEADLINE, "`{uid}` was answered after {took:?}");
    answer
}

#[test]
fn slow_lines_cost_time_but_no_deadline_and_no_order() {
    let (kafka, [to_api, to_consumer]) = PrivateKafka::behind_proxies("");
    let env = Env::on(&kafka.brokers(), &given("ORDERS_TEST_PG")).prepared(2);
    let (to_database, db_url) = Proxy::before_database(&env.db_url);
    let brokers = |proxy: &Proxy| proxy.address().to_string();
    let api = env.serve_api().env("KAFKA_BROKERS", brokers(&to_api));
    let consumer = env.consume().env("KAFKA_BROKERS", brokers(&to_consumer));
    let (mut api, mut consumer) = (api.start(), consumer.env("DB_URL", db_url).start());
    let all = [to_api, to_consumer, to_database];
    let set = |mode| all.iter().for_each(|proxy| proxy.set(mode));

    // A distant, narrow line.
    set(Mode::Slow(Duration::from_millis(30), 100_000));
    let posters = [0, 1, 2, 3].map(|number| {
        let task = Task {
            authority: api.url(),
            prefix: format!("poster{number}"),
            orders: 25,
            poison_every: 10,
        };
        Poster::start_reading(&env, &task, Duration::ZERO)
    });
    let absent = get(&api, "absent");
    assert!(matches!(absent.status, 202 | 404), "{}", absent.text());
    let records = posters
        .map(|poster| poster.finish(RECOVERY * 2))
        .into_iter();
    let record = records.reduce(Record::merge).expect("there were posters");
    env.wait_until_applied_within(RECOVERY * 2);
    audit(&env, &record);

    // One that carries less than is sent.
    set(Mode::Slow(Duration::from_millis(300), 3_000));
    let mut posted = Posted::default();
    posted.at_once(&api, "crawling", 40);
    let cached = get(&api, "poster0-0");
    assert_eq!(cached.status, 200, "{}", cached.text());
    let absent = get(&api, "absent-too");
    assert!(matches!(absent.status, 202 | 503), "{}", absent.text());

    set(Mode::Forward);
    api.wait_ready_within(RECOVERY);
    consumer.wait_ready_within(RECOVERY);
    posted.at_once(&api, "after", 20);
    assert_eq!(posted.count("after", Outcome::Accepted), 20);
    env.wait_until_applied_within(RECOVERY);
    posted.audit(&env);
    audit_answers(&env, &api.url());
    assert_eq!(get(&api, "after-0").json(), order("after-0"));
    assert_eq!(env.db().count("dead_letters"), 0);
    assert!(api.is_running() && consumer.is_running());
}
