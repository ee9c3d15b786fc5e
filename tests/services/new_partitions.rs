//! The topic of orders gets more partitions while both services run.

use support::audit::{audit_answers, audit_offsets};
use support::kafka::RawRecord;
use support::orders::order_version;
use support::{Env, TIMEOUT, wait_until};

use super::Posted;

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
    // Before the services know of them; one is a newer version of an order in the API's cache.
    let newer = order_version("old-7", 2);
    let records = [
        RawRecord::order("first-1").to(1),
        RawRecord::version("old-7", 2).to(1),
        RawRecord::order("first-2").to(2),
    ];
    env.produce(&records);
    wait_until("the newer version from a new partition", TIMEOUT, || {
        api.get_order("old-7").expect_status(200).json() == newer
    });
    env.wait_until_applied();
    let mut db = env.db();
    assert_eq!(
        db.text("SELECT partition, epoch, next_offset FROM log_positions ORDER BY 1"),
        "0|1|20\n1|1|2\n2|1|1"
    );
    assert_eq!(db.count("orders"), 22);

    // The API's producer writes to them, too.
    wait_until("orders of the API in all partitions", TIMEOUT, || {
        let prefix = format!("round{}", posted.0.len());
        posted.all_accepted(&api, &prefix, 20);
        let ends = kafka.ends(&env.topic());
        ends[1] > 2 && ends[2] > 1
    });
    env.wait_until_applied();
    posted.audit_keys(&env, |uid| uid != "old-7");
    audit_offsets(&env);
    audit_answers(&env, &api.url());
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);
    assert!(consumer.is_running());
}
