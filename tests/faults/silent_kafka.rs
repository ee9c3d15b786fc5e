//! GET while the broker keeps its connections open and does not respond.

use std::time::Duration;

use support::orders::order;
use support::private::PrivateKafka;
use support::{Env, eventually};

#[test]
fn a_get_while_the_broker_is_frozen_is_marked_unverified() {
    let kafka = PrivateKafka::start();
    let env = Env::on_kafka(&kafka).prepared(1);
    let (api, _consumer) = (env.api(), env.consumer());
    assert_eq!(api.post_order("cached").status, 202);
    kafka.freeze();
    let cached = eventually("a marked hit", Duration::from_secs(30), || {
        let answer = api.get_order("cached");
        assert_eq!(answer.status, 200);
        let marked = answer
            .header("cache-status")
            .is_some_and(|status| status.contains("unverified"));
        marked.then_some(answer)
    });
    assert_eq!(cached.json(), order("cached"));
    let unknown = api.get_order("never-heard-of");
    assert!(
        matches!(unknown.status, 202 | 503),
        "{}: {}",
        unknown.status,
        unknown.text()
    );
    kafka.thaw();
}
