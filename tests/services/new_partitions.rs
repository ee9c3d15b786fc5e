//! The topic of orders gets more partitions while both services run.

use support::audit::{audit_answers, audit_offsets};
use support::kafka::RawRecord;
use support::orders::{order, order_version};
use support::{Env, TIMEOUT, eventually};

use super::{Outcome, Posted};

#[test]
fn new_partitions_are_consumed_and_followed_from_their_first_record() {
    let env = Env::with_partitions(1);
    let often = "metadata=500ms";
    let api = env.serve_api().timeouts(often).start();
    let mut consumer = env.consume().timeouts(often).start();
    let (kafka, mut posted) = (env.kafka(), Posted::default());
    posted.at_once(&api, "old", 20);
    env.wait_until_applied();

    kafka.grow_topic(&env.topic(), 3);
    // Before anybody else knows of them; one is a newer version of what the API has in its cache.
    let newer = order_version("old-7", 2);
    let records = [
        RawRecord::new("first-1", order("first-1").to_string()).to(1),
        RawRecord::new("old-7", newer.to_string()).to(1),
        RawRecord::new("first-2", order("first-2").to_string()).to(2),
    ];
    kafka.produce(&env.topic(), &records);
    eventually("the newer version from a new partition", TIMEOUT, || {
        let answer = api.get_order("old-7");
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.json() == newer).then_some(())
    });
    env.wait_until_applied();
    let mut db = env.db();
    assert_eq!(
        db.text("SELECT partition, epoch, next_offset FROM log_positions ORDER BY 1"),
        "0|1|20\n1|1|2\n2|1|1"
    );
    assert_eq!(db.count("orders"), 22);

    // The API's own client writes to them, too.
    eventually("orders of the API in all partitions", TIMEOUT, || {
        let prefix = format!("round{}", posted.0.len());
        posted.at_once(&api, &prefix, 20);
        assert_eq!(posted.count(&prefix, Outcome::Accepted), 20);
        let ends = kafka.ends(&env.topic());
        (ends[1] > 2 && ends[2] > 1).then_some(())
    });
    env.wait_until_applied();
    posted.audit_keys(&env, |uid| uid != "old-7");
    audit_offsets(&env);
    audit_answers(&env, &api.url());
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);
    assert!(consumer.is_running());
}
