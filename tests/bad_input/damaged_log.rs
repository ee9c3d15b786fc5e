//! Damaged batches: nothing is read past them and readiness fails, until they are repaired or an
//! operator accepts the gap.
//!
//! The bytes are changed in the log of a private broker, which sends them as they are.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use support::audit::audit_offsets;
use support::kafka::RawRecord;
use support::orders::order;
use support::private::PrivateKafka;
use support::{Env, TIMEOUT, eventually};

const POSITIONS: &str = "SELECT partition, next_offset FROM log_positions ORDER BY 1";

/// Where things lie in a batch of Kafka's second format.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;

/// The one file of a partition's log.
struct Segment(PathBuf);

impl Segment {
    fn of(broker: &PrivateKafka, topic: &str, partition: i32) -> Segment {
        let folder = broker.data().join(format!("{topic}-{partition}"));
        Segment(folder.join("00000000000000000000.log"))
    }

    /// Changes the n-th batch in place; gives back what stood there before, and where.
    fn spoil(&self, number: usize, change: impl FnOnce(&mut [u8])) -> (usize, Vec<u8>) {
        let bytes = fs::read(&self.0).expect("the log can be read");
        let (mut start, mut left) = (0, number);
        let length_at = |start: usize| {
            let field = &bytes[start + LENGTH..start + LENGTH + 4];
            let length = u32::from_be_bytes(field.try_into().expect("four bytes"));
            LENGTH + 4 + length as usize
        };
        while left > 0 {
            start += length_at(start);
            left -= 1;
        }
        let before = bytes[start..start + length_at(start)].to_vec();
        let mut batch = before.clone();
        change(&mut batch);
        assert_ne!(batch, before, "something is changed");
        self.write(start, &batch);
        (start, before)
    }

    fn write(&self, start: usize, bytes: &[u8]) {
        let file = File::options().write(true).open(&self.0);
        let file = file.expect("the log can be written");
        file.write_all_at(bytes, start as u64)
            .expect("the log can be written");
    }
}

/// One bit in the last record has turned.
fn turn_a_bit(batch: &mut [u8]) {
    *batch.last_mut().expect("a batch is not empty") ^= 1;
}

/// Intact, with an unknown compression type.
fn give_an_unknown_codec(batch: &mut [u8]) {
    batch[ATTRIBUTES + 1] |= 7;
    let crc = crc32c(&batch[ATTRIBUTES..]);
    batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}

/// Of a format that is not yet known.
fn give_an_unknown_format(batch: &mut [u8]) {
    batch[MAGIC] = 9;
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[test]
fn nothing_is_read_past_a_damaged_batch_until_it_is_repaired_or_skipped() {
    let broker = PrivateKafka::start();
    let env = Env::on_kafka(&broker).prepared(4);
    let (kafka, topic, mut db) = (env.kafka(), env.topic(), env.db());
    for name in ["before", "spoilt", "after"] {
        // All are acknowledged before the next ones are sent, so each is a batch of its own.
        let record = |partition| {
            let uid = format!("{name}-{partition}");
            RawRecord::new(uid.as_str(), order(&uid).to_string()).to(partition)
        };
        kafka.produce(&topic, &(0..4).map(record).collect::<Vec<_>>());
    }
    let segment = |partition| Segment::of(&broker, &topic, partition);
    let bit = segment(0).spoil(1, turn_a_bit);
    let codec = segment(1).spoil(1, give_an_unknown_codec);
    segment(2).spoil(1, give_an_unknown_format);

    let mut consumer = env.consume().spawn();
    db.eventually(POSITIONS, "0|1\n1|1\n2|1\n3|3");
    let is_told = |said: &str| said.contains("a batch is corrupt, not reading past it");
    eventually("the damage is told", TIMEOUT, || {
        is_told(&consumer.readiness().1).then_some(())
    });
    // The healthy partition continues, and does not hide the damage.
    let mut good = 0_i64;
    while good < 5 {
        let uid = format!("good-{good}");
        let record = RawRecord::new(uid.as_str(), order(&uid).to_string());
        kafka.produce(&topic, &[record.to(3)]);
        good += 1;
        let standing = format!("0|1\n1|1\n2|1\n3|{}", 3 + good);
        eventually(format!("{standing} and red"), TIMEOUT, || {
            let (status, said) = consumer.readiness();
            assert!(status == 503 && is_told(&said), "{status}: {said}");
            (db.text(POSITIONS) == standing).then_some(())
        });
    }
    let others = "SELECT count(*) FROM dead_letters UNION ALL SELECT count(*) FROM log_gaps";
    assert_eq!(db.text(others), "0\n0");

    segment(0).write(bit.0, &bit.1);
    segment(1).write(codec.0, &codec.1);
    // What cannot be repaired is deleted, and an operator accepts the gap.
    kafka.delete_records(&topic, 2, 2);
    db.eventually(POSITIONS, format!("0|3\n1|3\n2|1\n3|{}", 3 + good));
    let gap = format!("{topic}/2:1-1");
    eventually("the gap is told", TIMEOUT, || {
        consumer
            .readiness()
            .1
            .contains(&format!("--accept-gap {gap}"))
            .then_some(())
    });
    assert_eq!(consumer.stop().code(), Some(0));
    let _consumer = env.consume().arg("--accept-gap").arg(&gap).start();
    env.wait_until_applied();
    assert_eq!(db.count("orders"), 11 + good);
    assert_eq!(
        db.text("SELECT from_offset, to_offset FROM log_gaps"),
        "1|2"
    );
    assert_eq!(db.count("dead_letters"), 0);
    audit_offsets(&env);
}
