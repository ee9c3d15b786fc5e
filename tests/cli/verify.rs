//! `orders verify`: what is lost is named, on every pair of engines.

use orders::pipeline::time::now_us;
use orders::store::uid_digest;
use serde_json::json;
use support::kafka::RawRecord;
use support::process::Orders;
use support::{EmbeddedLog, Env, TIMEOUT, eventually_ok, for_each_engine, wait_until};

/// A pipeline of one partition on any pair of engines.
struct Pipeline {
    env: Env,
    /// Where the log is embedded and the store is not.
    log: Option<EmbeddedLog>,
}

#[derive(Clone, Copy)]
enum Engine {
    Server,
    File,
}

use Engine::{File, Server};

impl Pipeline {
    fn of(log: Engine, store: Engine) -> Pipeline {
        let mut env = match (log, store) {
            (File, File) => Env::embedded(),
            _ => Env::empty(),
        };
        let mut embedded = None;
        match (log, store) {
            (Server, File) => {
                env.db_url = format!("sqlite:{}", env.path().join("store.db").display());
            }
            (File, Server) => {
                env.brokers = "embedded".into();
                embedded = Some(EmbeddedLog::new(&env.path().join("orders-data/log")));
            }
            _ => {}
        }
        let env = env.prepared(1);
        Pipeline { env, log: embedded }
    }

    fn produce(&self, records: &[RawRecord]) {
        match &self.log {
            Some(log) => log.produce(&self.env.topic(), records),
            None => self.env.produce(records),
        };
    }

    /// Produces records and applies them, so that the position is at `end`.
    fn apply(&self, records: &[RawRecord], end: i64) {
        self.produce(records);
        let mut consumer = self.env.consumer();
        let mut db = self.env.db();
        eventually_ok("everything to be applied", TIMEOUT, || {
            let applied = db.applied();
            (applied == end).then_some(()).ok_or(applied)
        });
        consumer.stop();
    }

    fn verify(&self) -> Orders<'_> {
        self.env.orders(&["verify"])
    }

    /// Five records: three orders, one of them in two versions, and one that is no order.
    fn filled(&self) {
        let records = [
            RawRecord::version("a", 1),
            RawRecord::version("b", 1),
            RawRecord::new("x", "no JSON"),
            RawRecord::version("a", 2),
            RawRecord::version("c", 1),
        ];
        self.apply(&records, 5);
    }
}

for_each_engine! {
    [
        kafka_and_postgres => super::Pipeline::of(super::Server, super::Server),
        embedded => super::Pipeline::of(super::File, super::File),
        kafka_and_sqlite => super::Pipeline::of(super::Server, super::File),
        embedded_and_postgres => super::Pipeline::of(super::File, super::Server),
    ]
    [every_harm_to_the_store_is_found_and_named]
}

for_each_engine! {
    [
        servers => super::Pipeline::of(super::Server, super::Server),
        files => super::Pipeline::of(super::File, super::File),
    ]
    [
        what_was_erased_or_lies_in_a_gap_is_not_missing,
        a_pruned_dead_letter_excuses_its_own_record_alone,
        records_before_since_are_not_verified,
        a_row_that_names_no_record_and_a_position_past_the_end_are_reported,
    ]
}

fn every_harm_to_the_store_is_found_and_named(pipeline: &Pipeline) {
    pipeline.filled();
    let healthy = "5 records = 3 stored + 1 older versions + 1 dead letters + 0 in gaps + 0 erased; \
                   0 missing\n";
    assert_eq!(pipeline.verify().run().succeeds().stdout, healthy);

    // Not applied: the position is moved past it below.
    pipeline.produce(&[RawRecord::version("d", 1)]);
    let waiting = pipeline.verify().run().succeeds();
    waiting.prints(healthy, "1 more wait: they are not applied yet\n");
    pipeline.env.db().run(
        "DELETE FROM orders WHERE order_uid = 'b';
         DELETE FROM dead_letters;
         UPDATE orders SET source_offset = 0 WHERE order_uid = 'a';
         UPDATE log_positions SET next_offset = 6",
    );
    let found = pipeline.verify().run().exits(3);
    found.prints(
        "6 records = 2 stored + 0 older versions + 0 dead letters + 0 in gaps + 0 erased; \
         4 missing\n\
         record  order  missing                       next\n\
         0@1     b      not stored                    orders replay --from 0@1\n\
         0@2     -      no order, and no dead letter  orders replay --from 0@2\n\
         0@3     a      an older version is stored    orders replay --from 0@3\n\
         0@5     d      not stored                    orders replay --from 0@5\n",
        "",
    );
    let found = pipeline.verify().arg("--output").arg("json").run();
    let document = found.exits(3).json();
    let missing = json!({
        "partition": 0, "offset": 1, "order_uid": "b", "reason": "not stored",
        "fix": "orders replay --from 0@1",
    });
    assert_eq!(document["missing"][0], missing);
    assert_eq!(document["missing"].as_array().map(Vec::len), Some(4));
    for (key, number) in [
        ("records", 6),
        ("stored", 2),
        ("older_versions", 0),
        ("dead_letters", 0),
        ("in_gaps", 0),
        ("erased", 0),
        ("missing_count", 4),
        ("without_record_count", 0),
        ("waiting", 0),
    ] {
        assert_eq!(document[key], number, "{key}");
    }
}

fn what_was_erased_or_lies_in_a_gap_is_not_missing(pipeline: &Pipeline) {
    pipeline.filled();
    let mut db = pipeline.env.db();
    let digest: String = uid_digest(b"a")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let digest = match &db {
        support::Db::Postgres(_) => format!("'\\x{digest}'"),
        support::Db::Sqlite(_) => format!("x'{digest}'"),
    };
    db.run(&format!(
        "DELETE FROM orders WHERE order_uid IN ('a', 'b');
         DELETE FROM dead_letters;
         INSERT INTO erasures (uid_sha256, erased_until, erased_by, why)
         VALUES ({digest}, '9999-01-01T00:00:00.000000Z', 'me', 'GDPR-1');
         INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
         SELECT id, epoch, 1, 3, 'accepted' FROM log_positions"
    ));
    let verified = pipeline.verify().run().succeeds();
    let sum = "5 records = 1 stored + 0 older versions + 0 dead letters + 2 in gaps + 2 erased; \
               0 missing\n";
    assert_eq!(verified.stdout, sum);
    // A gap of unknown extent is of an earlier incarnation, and excuses nothing.
    db.run("UPDATE log_gaps SET to_offset = NULL");
    let verified = pipeline.verify().run().exits(3);
    assert!(
        verified.stdout.contains("; 2 missing\n"),
        "{}",
        verified.stdout
    );
}

fn a_pruned_dead_letter_excuses_its_own_record_alone(pipeline: &Pipeline) {
    pipeline.filled();
    pipeline.apply(&[RawRecord::new("y", "no JSON")], 6);
    for change in [
        "discard 1 --why known --yes",
        "prune --resolved-before 2999-01-01 --yes",
    ] {
        let change: Vec<&str> = change.split_whitespace().collect();
        let letters = [&["dead-letters"], &change[..]].concat();
        pipeline.env.orders(&letters).run().succeeds();
    }
    pipeline.env.db().run("DELETE FROM dead_letters");
    pipeline.verify().run().exits(3).prints(
        "6 records = 3 stored + 1 older versions + 1 dead letters + 0 in gaps + 0 erased; \
         1 missing\n\
         record  order  missing                       next\n\
         0@5     -      no order, and no dead letter  orders replay --from 0@5\n",
        "",
    );
}

fn records_before_since_are_not_verified(pipeline: &Pipeline) {
    pipeline.apply(&[RawRecord::version("a", 1), RawRecord::version("b", 1)], 2);
    let between_us = now_us() + 1_000;
    wait_until("the next millisecond", TIMEOUT, || now_us() > between_us);
    pipeline.apply(&[RawRecord::version("b", 2), RawRecord::version("c", 1)], 4);
    pipeline
        .env
        .db()
        .run("DELETE FROM orders WHERE order_uid = 'a'");
    let since = |since: &str| pipeline.verify().arg("--since").arg(since).run();
    let all = "0 in gaps + 0 erased; 1 missing";
    assert!(since("-1h").exits(3).stdout.contains(all));
    let expected = "2 records = 2 stored + 0 older versions + 0 dead letters + 0 in gaps + 0 erased; \
                    0 missing\n";
    let between = orders::order::Timestamp::from_micros(between_us).to_string();
    assert_eq!(since(&between).succeeds().stdout, expected);
}

fn a_row_that_names_no_record_and_a_position_past_the_end_are_reported(pipeline: &Pipeline) {
    pipeline.filled();
    let mut db = pipeline.env.db();
    db.run(
        "UPDATE orders SET source_offset = 4 WHERE order_uid = 'b';
         UPDATE log_positions SET next_offset = 9",
    );
    let found = pipeline.verify().run().exits(3);
    found.prints(
        "5 records = 2 stored + 2 older versions + 1 dead letters + 0 in gaps + 0 erased; \
         0 missing\n\
         record  order  stored                                                    next\n\
         0@4     b      from this record, which is not there or of another order  orders trace b\n\
         partition  wrong                                   next\n\
         0          its position 9 is past the log's end 5  orders replay --from 0@0\n",
        "",
    );
}

#[test]
fn a_part_that_is_away_is_5_within_two_seconds() {
    let env = Env::ready();
    let nowhere = "postgresql://me@127.0.0.1:1/orders";
    for (variable, value, reason) in [
        ("KAFKA_BROKERS", "127.0.0.1:1", "no response from Kafka"),
        ("DB_URL", nowhere, "no response from the database"),
    ] {
        let began = std::time::Instant::now();
        let verify = env.orders(&["verify"]).env(variable, value);
        verify.run().exits(5).reports(reason);
        assert!(began.elapsed().as_millis() < 2_500, "{:?}", began.elapsed());
    }
}
