//! A damaged batch on the disk of the broker: its partition stops before it and is unhealthy, and the
//! others continue.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use support::Env;
use support::kafka::RawRecord;
use support::private::PrivateKafka;

use super::{Expected, assert_all_stored, expect, orders};

#[test]
fn a_damaged_batch_stops_only_its_partition_until_it_is_repaired() {
    let mut broker = PrivateKafka::start();
    let env = Env::on_kafka(&broker).prepared(3);
    let (kafka, topic, mut expected) = (env.kafka(), env.topic(), Expected::new());
    kafka.produce(&topic, &orders("read", 60, 1, 3));
    expect(&mut expected, "read", 60, 1);
    let mut consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    // The last record applied of partition 0, and unread ones of partition 1.
    let [of_1, of_2] = ["one", "two"].map(|prefix| orders(prefix, 20, 1, 1));
    kafka.produce(&topic, &to(of_1, 1));
    kafka.produce(&topic, &to(of_2, 2));
    expect(&mut expected, "one", 20, 1);
    expect(&mut expected, "two", 20, 1);
    broker.stop();
    let damaged = [0, 1].map(|partition| Damage::do_to(&broker, &topic, partition));
    broker.restart();
    kafka.produce(&topic, &orders("later", 30, 1, 3));
    expect(&mut expected, "later", 30, 1);

    let consumer = env.consume().spawn();
    consumer.wait_until_unready("FAIL partition 0: a batch is corrupt");
    consumer.wait_until_unready("FAIL partition 1: a batch is corrupt");
    let mut db = env.db();
    let position = |partition: usize| {
        format!("SELECT next_offset FROM log_positions WHERE partition = {partition}")
    };
    db.eventually(&position(2), 50);
    kafka.produce(&topic, &to(orders("after", 10, 1, 1), 2));
    expect(&mut expected, "after", 10, 1);
    db.eventually(&position(2), 60);
    assert_eq!(db.text(&position(0)), "20");
    assert!(
        db.number(&position(1)) < 40,
        "the last unread one is damaged"
    );

    broker.stop();
    damaged.iter().for_each(Damage::mend);
    broker.restart();
    assert_all_stored(&env, &expected);
    consumer.wait_ready();
}

fn to(records: Vec<RawRecord>, partition: i32) -> Vec<RawRecord> {
    let moved = records.into_iter().map(|record| record.to(partition));
    moved.collect()
}

/// One byte of a log, turned round.
struct Damage {
    file: PathBuf,
    at: u64,
}

impl Damage {
    /// Damages the last record of a partition; the broker is stopped.
    fn do_to(broker: &PrivateKafka, topic: &str, partition: i32) -> Damage {
        let log = format!("{topic}-{partition}/00000000000000000000.log");
        let file = broker.data().join(log);
        let length = fs::metadata(&file).expect("the log is there").len();
        let damage = Damage {
            file,
            at: length - 1,
        };
        damage.turn();
        damage
    }

    fn mend(&self) {
        self.turn();
    }

    fn turn(&self) {
        let file = File::options().read(true).write(true).open(&self.file);
        let file = file.expect("the log can be written");
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.at).expect("it is there");
        file.write_all_at(&[!byte[0]], self.at)
            .expect("the log can be written");
    }
}
