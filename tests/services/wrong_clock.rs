//! The clocks of the API and of the broker differ by more than the topic allows.

use support::Env;

const SETTING: &str = "message.timestamp.before.max.ms";

#[test]
fn an_api_whose_every_post_is_refused_for_its_clock_says_so_until_one_is_accepted() {
    let env = Env::ready();
    let api = env.serve_api().start();
    api.accepts("before");
    // To the broker a record is always a little old.
    env.kafka().configure_topic(&env.topic(), SETTING, "0");
    support::wait_until("an order to be refused", support::TIMEOUT, || {
        let refused = api.post_order("refused");
        refused.status == 503 && refused.json()["outcome"] == "not_accepted"
    });
    api.wait_until_unready("clock: the log refuses the record's timestamp: this host's clock");

    let any = i64::MAX.to_string();
    env.kafka().configure_topic(&env.topic(), SETTING, &any);
    support::wait_until("an order to be accepted", support::TIMEOUT, || {
        api.post_order("after").status == 202
    });
    api.wait_ready();
}
