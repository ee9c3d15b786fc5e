//! Damaged batches: nothing is read past them and readiness fails, until they are repaired or an
//! operator accepts the gap; the other partitions continue.
//!
//! The bytes are changed in the log of a private broker, which sends them as they are.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use support::audit::audit_offsets;
use support::kafka::RawRecord;
use support::private::PrivateKafka;
use support::{Env, TIMEOUT, wait_until};

use super::{assert_all_stored, orders, to, versions};

/// The offsets of fields in a batch of Kafka's record format 2.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;

/// In place of a number: the last batch.
const LAST: usize = usize::MAX;

/// A changed batch in the log file of a partition.
struct Damage {
    file: PathBuf,
    start: usize,
    original: Vec<u8>,
}

impl Damage {
    /// Changes the n-th batch of a partition in place.
    fn apply(
        broker: &PrivateKafka,
        topic: &str,
        partition: i32,
        number: usize,
        change: fn(&mut [u8]),
    ) -> Damage {
        let folder = broker.data().join(format!("{topic}-{partition}"));
        let file = folder.join("00000000000000000000.log");
        let bytes = fs::read(&file).expect("the log can be read");
        let batches = batches(&bytes);
        let number = number.min(batches.len() - 1);
        let damage = Damage {
            file,
            start: batches[..number].iter().map(|batch| batch.len()).sum(),
            original: batches[number].to_vec(),
        };
        let mut batch = damage.original.clone();
        change(&mut batch);
        assert_ne!(batch, damage.original, "the batch is changed");
        damage.write(&batch);
        damage
    }

    fn repair(&self) {
        self.write(&self.original);
    }

    fn write(&self, batch: &[u8]) {
        let file = File::options().write(true).open(&self.file);
        let written = file.and_then(|file| file.write_all_at(batch, self.start as u64));
        written.expect("the log can be written");
    }
}

/// Splits the file of a log into its batches.
fn batches(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut batches = Vec::new();
    while let Some(length) = bytes.get(LENGTH..LENGTH + 4) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        let (batch, rest) = bytes.split_at(LENGTH + 4 + length as usize);
        batches.push(batch);
        bytes = rest;
    }
    batches
}

fn flip_a_bit_of_the_last_record(batch: &mut [u8]) {
    *batch.last_mut().expect("a batch is not empty") ^= 1;
}

/// Sets an unknown compression type, with a valid checksum.
fn set_an_unknown_codec(batch: &mut [u8]) {
    batch[ATTRIBUTES + 1] |= 7;
    let crc = crc32c(&batch[ATTRIBUTES..]);
    batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}

fn set_an_unknown_format(batch: &mut [u8]) {
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
fn a_damaged_batch_stops_only_its_partition_until_it_is_repaired() {
    let mut broker = PrivateKafka::start();
    let env = Env::on_kafka(&broker).prepared(3);
    let topic = env.topic();
    env.produce(&orders("read", 60, 1, 3));
    let mut consumer = env.consumer();
    env.wait_until_applied();
    assert_eq!(consumer.stop().code(), Some(0));

    // The last record applied of partition 0, and unread ones of partition 1.
    env.produce(&to(1, orders("one", 20, 1, 1)));
    env.produce(&to(2, orders("two", 20, 1, 1)));
    broker.stop();
    let damaged = [0, 1].map(|partition| {
        Damage::apply(
            &broker,
            &topic,
            partition,
            LAST,
            flip_a_bit_of_the_last_record,
        )
    });
    broker.restart();
    env.produce(&orders("later", 30, 1, 3));

    let consumer = env.consume().spawn();
    consumer.wait_until_unready("FAIL partition 0: a batch is corrupt");
    consumer.wait_until_unready("FAIL partition 1: a batch is corrupt");
    let mut db = env.db();
    let position = "SELECT next_offset FROM log_positions WHERE partition = 2";
    db.eventually(position, 50);
    env.produce(&to(2, orders("after", 10, 1, 1)));
    db.eventually(position, 60);
    let read = db.positions();
    assert_eq!(read[0], 20);
    assert!(read[1] < 40, "the last unread one is damaged");

    broker.stop();
    damaged.iter().for_each(Damage::repair);
    broker.restart();
    let groups = [
        ("read", 60),
        ("one", 20),
        ("two", 20),
        ("later", 30),
        ("after", 10),
    ];
    let groups = groups.map(|(prefix, count)| (prefix, count, 1));
    assert_all_stored(&env, &versions(&groups));
    consumer.wait_ready();
}

#[test]
fn nothing_is_read_past_a_damaged_batch_until_it_is_repaired_or_skipped() {
    let broker = PrivateKafka::start();
    let env = Env::on_kafka(&broker).prepared(4);
    let (kafka, topic, mut db) = (env.kafka(), env.topic(), env.db());
    for name in ["before", "damaged", "after"] {
        // All are acknowledged before the next ones are sent, so each is a batch of its own.
        env.produce(&orders(name, 4, 1, 4));
    }
    let damage = |partition, change| Damage::apply(&broker, &topic, partition, 1, change);
    let repairable = [
        damage(0, flip_a_bit_of_the_last_record),
        damage(1, set_an_unknown_codec),
    ];
    damage(2, set_an_unknown_format);

    let mut consumer = env.consume().spawn();
    wait_until("the positions at the damage", TIMEOUT, || {
        db.positions() == [1, 1, 1, 3]
    });
    consumer.wait_until_unready("a batch is corrupt, not reading past it");
    // The healthy partition continues, and does not hide the damage.
    for number in 1..=5 {
        kafka.produce(&topic, &[RawRecord::order(&format!("good-{number}")).to(3)]);
        wait_until(format!("{number} more records"), TIMEOUT, || {
            let check = consumer.failing_check("a batch is corrupt, not reading past it");
            assert!(check.is_some(), "{:?}", consumer.readiness());
            db.positions() == [1, 1, 1, 3 + number]
        });
    }
    assert_eq!(db.count("dead_letters") + db.count("log_gaps"), 0);

    repairable.iter().for_each(Damage::repair);
    // What cannot be repaired is deleted, and an operator accepts the gap.
    kafka.delete_records(&topic, 2, 2);
    wait_until("the repaired partitions", TIMEOUT, || {
        db.positions() == [3, 3, 1, 8]
    });
    let gap = format!("{topic}/2:1-1");
    consumer.wait_until_unready(&format!("orders gaps accept {gap}"));
    assert_eq!(consumer.stop().code(), Some(0));
    let _consumer = env.consume().arg("--accept-gap").arg(&gap).start();
    env.wait_until_applied();
    assert_eq!(db.count("orders"), 11 + 5);
    assert_eq!(
        db.text("SELECT from_offset, to_offset FROM log_gaps"),
        "1|2"
    );
    assert_eq!(db.count("dead_letters"), 0);
    audit_offsets(&env);
}
