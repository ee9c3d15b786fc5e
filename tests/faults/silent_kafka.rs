//! GET while the broker holds its connections open and says nothing.

use std::time::Duration;

use support::orders::order;
use support::private::PrivateKafka;
use support::{Env, eventually, http};

#[test]
fn a_get_while_the_broker_is_frozen_says_that_it_cannot_know() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(1);
    let (api, _consumer) = (env.api(), env.consumer());
    assert_eq!(
        http::post(
            &format!("{}/orders", api.url()),
            order("cached").to_string()
        )
        .status,
        202
    );
    kafka.freeze();
    let cached = eventually("a marked hit", Duration::from_secs(30), || {
        let answer = http::get(&format!("{}/api/order/cached", api.url()));
        assert_eq!(answer.status, 200);
        let marked = answer
            .header("cache-status")
            .is_some_and(|status| status.contains("unverified"));
        marked.then_some(answer)
    });
    assert_eq!(cached.json(), order("cached"));
    let unknown = http::get(&format!("{}/api/order/never-heard-of", api.url()));
    assert!(
        matches!(unknown.status, 202 | 503),
        "{}: {}",
        unknown.status,
        unknown.text()
    );
    kafka.thaw();
}
