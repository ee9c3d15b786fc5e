//! The guarantees of every event log.

use std::time::{Duration, Instant};

use orders::event_log::{
    Ack, AppendError, Appended, Durability, LogError, NewRecord, OffsetRange, ReadBack,
};
use orders::pipeline::PartitionOffset;
use support::TIMEOUT;
use support::for_each_engine;

use crate::contract::logs::{Subject, send};

for_each_engine! {
    [kafka => super::Subject::kafka(), sqlite => super::Subject::sqlite()]
    [
        an_acknowledged_record_is_read_back_as_it_was,
        records_of_one_key_keep_their_order,
        ends_are_past_every_acknowledged_record,
        reading_past_the_end_returns_the_end,
        a_recreated_topic_has_another_id,
        creating_a_topic_that_exists_changes_nothing,
        a_missing_topic_or_partition_is_not_found,
        a_flush_waits_for_every_acknowledgement,
        a_record_that_is_too_large_is_refused_and_the_next_one_is_accepted,
        the_settings_of_a_topic_are_reported_as_requested,
    ]
}

fn an_acknowledged_record_is_read_back_as_it_was(subject: &Subject) {
    let topic = subject.topic(1);
    let headers: [(&str, &[u8]); 2] = [("accepted-at", b"1234567"), ("other", b"\x00\xff")];
    let record = NewRecord {
        topic: &topic,
        key: b"key",
        value: None,
        headers: &headers,
    };
    let ack = subject.log.append(Durability::Durable, record);
    let appended = ack.and_then(Ack::wait).expect("the record is acknowledged");
    let (partition, offset) = (0, Some(0));
    assert_eq!(appended, Appended { partition, offset });

    let read = subject.log.read_from(&topic, PartitionOffset::new(0, 0));
    let ReadBack::Record(read) = read.expect("the log responds") else {
        panic!("the record is not there")
    };
    assert_eq!((read.partition, read.offset), (0, 0));
    assert_eq!(read.key.as_deref(), Some(&b"key"[..]));
    assert_eq!(read.value, None);
    assert_eq!(read.header("other"), Some(&b"\x00\xff"[..]));
    assert_eq!(read.accepted_at_us(), 1_234_567);
    assert!(read.timestamp_ms > 0);
}

fn records_of_one_key_keep_their_order(subject: &Subject) {
    let topic = subject.topic(4);
    let acks: Vec<Ack> = (0..100)
        .map(|number| send(&*subject.log, &topic, "one", &number.to_string()))
        .collect();
    let appended: Vec<Appended> = acks
        .into_iter()
        .map(|ack| ack.wait().expect("the record is acknowledged"))
        .collect();
    let partition = appended[0].partition;
    for (number, appended) in (0..).zip(appended) {
        let offset = Some(number);
        assert_eq!(appended, Appended { partition, offset });
    }
}

fn ends_are_past_every_acknowledged_record(subject: &Subject) {
    let topic = subject.topic(3);
    let mut expected = vec![0; 3];
    for number in 0..20 {
        let at = subject.append(&topic, &format!("key-{number}"), "x");
        let partition = usize::try_from(at.partition).expect("a partition");
        expected[partition] = at.offset.expect("an offset") + 1;
        assert_eq!(subject.state(&topic).highs, expected);
    }
    for (partition, high) in (0..).zip(expected) {
        let range = subject.log.range(&topic, partition);
        let whole = OffsetRange { low: 0, high };
        assert_eq!(range.expect("the log responds"), whole);
    }
}

fn reading_past_the_end_returns_the_end(subject: &Subject) {
    let topic = subject.topic(1);
    for end in 0..2 {
        let read = subject.log.read_from(&topic, PartitionOffset::new(0, end));
        assert!(matches!(read, Ok(ReadBack::End(at)) if at == end));
        subject.append(&topic, "key", "value");
    }
}

fn a_recreated_topic_has_another_id(subject: &Subject) {
    let topic = subject.topic(1);
    let first = subject.state(&topic);
    assert!(first.topic_id.is_known());
    subject.delete_topic(&topic);
    subject.create(&topic, 1);
    let second = subject.until("the other identity", || {
        let state = subject.log.topic(&topic).ok()?;
        state.topic_id.contradicts(&first.topic_id).then_some(state)
    });
    assert_eq!(second.log_id, first.log_id);
    let identity = subject.log.topic_id(&topic).expect("the log responds");
    assert_eq!(identity, second.topic_id);
}

fn creating_a_topic_that_exists_changes_nothing(subject: &Subject) {
    let topic = subject.topic(2);
    subject.append(&topic, "key", "kept");
    let before = subject.state(&topic);
    subject.create(&topic, 5);
    assert_eq!(subject.state(&topic), before);
}

fn a_missing_topic_or_partition_is_not_found(subject: &Subject) {
    let name = "no-such-topic-anywhere";
    let topic = subject.log.topic(name).map(drop);
    let topic_id = subject.log.topic_id(name).map(drop);
    let range = subject.log.range(name, 0).map(drop);
    let partition = subject.log.range(&subject.topic(2), 2).map(drop);
    for result in [topic, topic_id, range, partition] {
        let error = result.expect_err("there is no such topic");
        assert!(matches!(error, LogError::NotFound(_)), "{error}");
    }
    let described = subject.admin.describe(Some(&[name]));
    assert!(described.expect("the log responds").is_empty());
}

fn a_flush_waits_for_every_acknowledgement(subject: &Subject) {
    let topic = subject.topic(2);
    let acks: Vec<_> = (0..500)
        .map(|number| send(&*subject.log, &topic, &number.to_string(), "x"))
        .collect();
    subject.log.flush(TIMEOUT);
    let after = Instant::now();
    for ack in acks {
        ack.wait().expect("the record is acknowledged");
    }
    assert!(
        after.elapsed() < Duration::from_secs(1),
        "an ack came later"
    );
}

fn a_record_that_is_too_large_is_refused_and_the_next_one_is_accepted(subject: &Subject) {
    let topic = subject.topic(1);
    let large = vec![b'x'; 20 << 20];
    let record = NewRecord {
        topic: &topic,
        key: b"key",
        value: Some(&large),
        headers: &[],
    };
    let refused = subject.log.append(Durability::Durable, record);
    let refused = refused.and_then(Ack::wait);
    assert!(
        matches!(refused, Err(AppendError::TooLarge(_))),
        "{refused:?}"
    );
    let next = subject.append(&topic, "key", "small");
    assert_eq!(next.offset, Some(0));
}

fn the_settings_of_a_topic_are_reported_as_requested(subject: &Subject) {
    let topic = format!("{}-settings", subject.group());
    let settings = [("cleanup.policy", "delete"), ("retention.ms", "3600000")];
    subject.create_with(&topic, 2, &settings);
    let described = subject.until("the topic is described", || {
        let mut described = subject.admin.describe(Some(&[&topic])).ok()?;
        described.pop()
    });
    assert_eq!(
        (described.ranges.len(), described.replication_factor),
        (2, 1)
    );
    for (key, wanted) in settings {
        assert_eq!(described.settings[key], wanted, "{key}");
    }
    let all = subject.admin.describe(None).expect("the log responds");
    assert!(all.iter().any(|found| found.name == topic));
}
