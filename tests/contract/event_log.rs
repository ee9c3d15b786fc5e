//! What every event log promises.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use orders::event_log::{
    AppendError, Appended, Durability, Fetched, Followed, LogFault, Membership, MembershipEvent,
    NewRecord, ReadBack, Reader, Record,
};

use crate::contract::logs::{Subject, append, send};
use crate::env::PATIENCE;
use crate::env::engines::each_engine_keeps;

each_engine_keeps! {
    [kafka => super::Subject::kafka(), sqlite => super::Subject::sqlite()]
    [
        an_acknowledged_record_is_read_back_as_it_was,
        records_of_one_key_keep_their_order,
        ends_are_past_every_acknowledged_record,
        reading_past_the_end_says_where_the_end_is,
        a_topic_made_again_has_another_identity,
        creating_a_topic_that_exists_changes_nothing,
        a_missing_topic_is_said_to_be_missing,
        a_member_is_given_every_partition_and_reads_from_where_it_says,
        a_reader_says_once_that_it_reached_the_end,
        nothing_is_delivered_before_assign,
        a_reader_rings_when_records_begin_to_wait,
        an_offset_that_is_not_there_has_reading_begin_anew,
        two_clients_of_one_log_see_each_others_records,
        a_flush_waits_for_every_acknowledgement,
        a_record_that_is_too_large_is_refused_and_the_next_one_is_taken,
        the_settings_of_a_topic_are_told_as_they_were_asked_for,
        a_follower_starts_where_it_was_told_and_copies_only_what_is_not_known,
    ]
}

fn value(record: &Record) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap_or_default()).expect("the tests write text")
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
    let ack = subject
        .log
        .append(Durability::Durable, record)
        .expect("the record is taken");
    let at = ack.wait().expect("the record is acknowledged");
    assert_eq!(
        at,
        Appended {
            partition: 0,
            offset: Some(0)
        }
    );

    let ReadBack::Record(read) = subject
        .log
        .read_from(&topic, 0, 0)
        .expect("the log answers")
    else {
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
    let acks: Vec<_> = (0..100)
        .map(|number| {
            let text = number.to_string();
            let record = NewRecord {
                topic: &topic,
                key: b"one",
                value: Some(text.as_bytes()),
                headers: &[],
            };
            subject
                .log
                .append(Durability::Durable, record)
                .expect("the record is taken")
        })
        .collect();
    let places: Vec<Appended> = acks
        .into_iter()
        .map(|ack| ack.wait().expect("acknowledged"))
        .collect();
    let partition = places[0].partition;
    for (number, place) in (0..).zip(&places) {
        assert_eq!(
            *place,
            Appended {
                partition,
                offset: Some(number)
            }
        );
    }
}

fn ends_are_past_every_acknowledged_record(subject: &Subject) {
    let topic = subject.topic(3);
    let mut expected = vec![0; 3];
    for number in 0..20 {
        let at = subject.append(&topic, &format!("key-{number}"), "x");
        let partition = usize::try_from(at.partition).expect("a partition");
        expected[partition] = at.offset.expect("an offset") + 1;
        assert_eq!(
            subject.log.ends(&topic).expect("the log answers").highs,
            expected
        );
    }
    let state = subject.log.state(&topic).expect("the log answers");
    let ranges: Vec<(i64, i64)> = state
        .ranges
        .iter()
        .map(|range| (range.low, range.high))
        .collect();
    let whole: Vec<(i64, i64)> = expected.iter().map(|high| (0, *high)).collect();
    assert_eq!(ranges, whole);
    assert_eq!(
        state.topic_id,
        subject.log.ends(&topic).expect("the log answers").topic_id
    );
}

fn reading_past_the_end_says_where_the_end_is(subject: &Subject) {
    let topic = subject.topic(1);
    assert!(matches!(
        subject.log.read_from(&topic, 0, 0),
        Ok(ReadBack::End(0))
    ));
    subject.append(&topic, "key", "only");
    assert!(matches!(
        subject.log.read_from(&topic, 0, 1),
        Ok(ReadBack::End(1))
    ));
}

fn a_topic_made_again_has_another_identity(subject: &Subject) {
    let topic = subject.topic(1);
    let first = subject.log.state(&topic).expect("the log answers");
    assert!(first.topic_id.is_known());
    subject.delete_topic(&topic);
    subject.create(&topic, 1);
    let second = subject.until("the other identity", || {
        let state = subject.log.state(&topic).ok()?;
        state.topic_id.contradicts(&first.topic_id).then_some(state)
    });
    assert_eq!(second.log_id, first.log_id);
    let identity = subject.log.identity(&topic).expect("the log answers");
    assert_eq!(identity, second.topic_id);
}

fn creating_a_topic_that_exists_changes_nothing(subject: &Subject) {
    let topic = subject.topic(2);
    subject.append(&topic, "key", "kept");
    let before = subject.log.state(&topic).expect("the log answers");
    subject.create(&topic, 5);
    assert_eq!(subject.log.state(&topic).expect("the log answers"), before);
}

fn a_missing_topic_is_said_to_be_missing(subject: &Subject) {
    let error = subject
        .log
        .state("no-such-topic-anywhere")
        .expect_err("there is no such topic");
    assert!(error.missing, "{error}");
    let none = subject
        .log
        .describe(Some(&["no-such-topic-anywhere"]))
        .expect("the log answers");
    assert!(none.is_empty());
}

/// Polls until the group gave this member `count` partitions.
fn assigned(member: &mut dyn Membership, count: usize) -> Vec<i32> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(MembershipEvent::Assigned(mut partitions)) =
            member.poll(Duration::from_millis(100))
            && partitions.len() == count
        {
            partitions.sort_unstable();
            return partitions;
        }
    }
    panic!("the group did not give {count} partitions");
}

/// Reads until `count` records came; the member is polled as its thread would.
fn read(member: &mut dyn Membership, reader: &mut dyn Reader, count: usize) -> Vec<Record> {
    let (mut records, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while records.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} records came",
            records.len()
        );
        member.poll(Duration::ZERO);
        if let Fetched::Records(more) = reader.next(1000, 1 << 20, Duration::from_millis(50)) {
            records.extend(more);
        }
    }
    records
}

fn a_member_is_given_every_partition_and_reads_from_where_it_says(subject: &Subject) {
    let topic = subject.topic(2);
    for number in 0..40 {
        subject.append(&topic, &format!("key-{number}"), &number.to_string());
    }
    let ends = subject.log.ends(&topic).expect("the log answers").highs;
    let mut member = subject
        .log
        .join(&subject.group(), &topic)
        .expect("the group can be joined");
    assert_eq!(assigned(&mut *member, 2), [0, 1]);

    let mut readers = member
        .assign(&[(0, 3), (1, 0)])
        .expect("the partitions can be assigned");
    for (reader, start) in readers.iter_mut().zip([3, 0]) {
        let partition = reader.partition();
        let end = ends[usize::try_from(partition).expect("a partition")];
        let count = usize::try_from(end - start).expect("a count");
        let offsets: Vec<i64> = read(&mut *member, &mut **reader, count)
            .iter()
            .map(|record| record.offset)
            .collect();
        assert_eq!(
            offsets,
            (start..end).collect::<Vec<i64>>(),
            "partition {partition}"
        );
    }
}

fn a_reader_says_once_that_it_reached_the_end(subject: &Subject) {
    let topic = subject.topic(1);
    subject.append(&topic, "key", "first");
    let mut member = subject
        .log
        .join(&subject.group(), &topic)
        .expect("the group can be joined");
    assigned(&mut *member, 1);
    let mut readers = member
        .assign(&[(0, 0)])
        .expect("the partition can be assigned");
    let reader = &mut *readers[0];
    read(&mut *member, reader, 1);
    subject.until("the end", || {
        member.poll(Duration::ZERO);
        matches!(
            reader.next(10, 1000, Duration::from_millis(50)),
            Fetched::End
        )
        .then_some(())
    });
    assert!(matches!(
        reader.next(10, 1000, Duration::from_millis(300)),
        Fetched::Nothing
    ));
    subject.append(&topic, "key", "second");
    assert_eq!(value(&read(&mut *member, reader, 1)[0]), "second");
}

fn nothing_is_delivered_before_assign(subject: &Subject) {
    let topic = subject.topic(1);
    subject.append(&topic, "key", "first");
    let mut member = subject
        .log
        .join(&subject.group(), &topic)
        .expect("the group can be joined");
    assigned(&mut *member, 1);
    // A record through the main poll would be a fault.
    for _ in 0..10 {
        assert!(member.poll(Duration::from_millis(20)).is_none());
    }
    let mut readers = member
        .assign(&[(0, 0)])
        .expect("the partition can be assigned");
    assert_eq!(value(&read(&mut *member, &mut *readers[0], 1)[0]), "first");
}

fn a_reader_rings_when_records_begin_to_wait(subject: &Subject) {
    let topic = subject.topic(1);
    let mut member = subject
        .log
        .join(&subject.group(), &topic)
        .expect("the group can be joined");
    assigned(&mut *member, 1);
    let mut readers = member
        .assign(&[(0, 0)])
        .expect("the partition can be assigned");
    let reader = &mut *readers[0];
    let (bell, rung) = mpsc::channel();
    reader.on_ready(Box::new(move || {
        let _ = bell.send(());
    }));
    for number in 0..3 {
        subject.until("the end", || {
            let fetched = reader.next(10, 1000, Duration::from_millis(50));
            matches!(fetched, Fetched::End).then_some(())
        });
        while rung.try_recv().is_ok() {}
        let value = number.to_string();
        subject.append(&topic, "key", &value);
        // Nobody asks the reader meanwhile: the bell alone tells.
        subject.until("a ring that a record follows", || {
            rung.recv_timeout(PATIENCE).expect("the bell rings");
            match reader.next(10, 1000, Duration::ZERO) {
                Fetched::Records(records) => {
                    assert_eq!(self::value(&records[0]), value);
                    Some(())
                }
                _ => None,
            }
        });
    }
}

fn an_offset_that_is_not_there_has_reading_begin_anew(subject: &Subject) {
    let topic = subject.topic(1);
    subject.append(&topic, "key", "only");
    let mut member = subject
        .log
        .join(&subject.group(), &topic)
        .expect("the group can be joined");
    assigned(&mut *member, 1);
    let mut readers = member
        .assign(&[(0, 1000)])
        .expect("the partition can be assigned");
    subject.until("a fault that says so", || {
        member.poll(Duration::ZERO);
        match readers[0].next(10, 1000, Duration::from_millis(50)) {
            Fetched::Fault(LogFault::Reset(_)) => Some(()),
            Fetched::Records(records) => panic!("no such records: {records:?}"),
            _ => None,
        }
    });
}

fn two_clients_of_one_log_see_each_others_records(subject: &Subject) {
    let topic = subject.topic(1);
    let other = subject.another();
    let identity = subject.log.identity(&topic).expect("the log answers");
    assert_eq!(other.identity(&topic).expect("the log answers"), identity);
    let mut member = other
        .join(&subject.group(), &topic)
        .expect("the group can be joined");
    assigned(&mut *member, 1);
    let mut readers = member
        .assign(&[(0, 0)])
        .expect("the partition can be assigned");
    for number in 0..10 {
        let writer = if number % 2 == 0 {
            &subject.log
        } else {
            &other
        };
        let at = append(&**writer, &topic, "key", &number.to_string());
        assert_eq!(at.offset, Some(number));
        let read = read(&mut *member, &mut *readers[0], 1);
        assert_eq!(value(&read[0]), number.to_string());
    }
}

fn a_flush_waits_for_every_acknowledgement(subject: &Subject) {
    let topic = subject.topic(2);
    let acks: Vec<_> = (0..500)
        .map(|number| send(&*subject.log, &topic, &number.to_string(), "x"))
        .collect();
    subject.log.flush(PATIENCE);
    let after = Instant::now();
    for ack in acks {
        ack.wait().expect("the record is acknowledged");
    }
    assert!(after.elapsed() < Duration::from_secs(1), "they were there");
}

fn a_record_that_is_too_large_is_refused_and_the_next_one_is_taken(subject: &Subject) {
    let topic = subject.topic(1);
    let large = vec![b'x'; 20 << 20];
    let record = NewRecord {
        topic: &topic,
        key: b"key",
        value: Some(&large),
        headers: &[],
    };
    let refused = subject.log.append(Durability::Durable, record);
    let refused = refused.and_then(orders::event_log::Ack::wait);
    assert!(
        matches!(refused, Err(AppendError::TooLarge(_))),
        "{refused:?}"
    );
    let next = subject.append(&topic, "key", "small");
    assert_eq!(next.offset, Some(0));
}

fn the_settings_of_a_topic_are_told_as_they_were_asked_for(subject: &Subject) {
    let topic = format!("{}-settings", subject.group());
    let settings = [("cleanup.policy", "delete"), ("retention.ms", "3600000")];
    subject.create_with(&topic, 2, &settings);
    let described = subject.until("the topic is told of", || {
        let mut described = subject.log.describe(Some(&[&topic])).ok()?;
        described.pop()
    });
    assert_eq!(
        (described.ranges.len(), described.replication_factor),
        (2, 1)
    );
    for (key, wanted) in settings {
        assert_eq!(described.settings[key], wanted, "{key}");
    }
    let all = subject.log.describe(None).expect("the log answers");
    assert!(all.iter().any(|found| found.name == topic));
}

fn a_follower_starts_where_it_was_told_and_copies_only_what_is_not_known(subject: &Subject) {
    let topic = subject.topic(1);
    for number in 0..5 {
        subject.append(&topic, "key", &number.to_string());
    }
    let mut follower = subject
        .log
        .follow(&topic, &[(0, 3)], Duration::from_millis(10))
        .expect("the topic can be followed");
    let mut seen = Vec::new();
    let (mut ended, deadline) = (false, Instant::now() + PATIENCE);
    while !ended || seen.len() < 3 {
        assert!(Instant::now() < deadline, "ended: {ended}, seen: {seen:?}");
        let knows =
            |partition: i32, offset: i64, key: &[u8]| (partition, offset, key) == (0, 4, b"key");
        match follower.next(Duration::from_millis(50), &knows) {
            Some(Followed::Record(record)) => seen.push(value(&record).to_owned()),
            Some(Followed::Known { .. }) => seen.push("known".into()),
            Some(Followed::End(0)) if !ended => {
                ended = true;
                subject.append(&topic, "key", "new");
            }
            _ => {}
        }
    }
    assert_eq!(seen, ["3", "known", "new"]);
}

/// What only a log with consumer groups promises.
mod groups {
    use super::*;

    each_engine_keeps! {
        [kafka => crate::contract::logs::Subject::kafka()]
        [two_members_share_the_partitions]
    }

    fn two_members_share_the_partitions(subject: &Subject) {
        let topic = subject.topic(4);
        let mut first = subject
            .log
            .join(&subject.group(), &topic)
            .expect("the group can be joined");
        assert_eq!(assigned(&mut *first, 4), [0, 1, 2, 3]);
        first
            .assign(&[(0, 0), (1, 0), (2, 0), (3, 0)])
            .expect("the partitions can be assigned");
        let mut second = subject
            .log
            .join(&subject.group(), &topic)
            .expect("the group can be joined");
        let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
        subject.until("two partitions each", || {
            if let Some(MembershipEvent::Assigned(partitions)) =
                first.poll(Duration::from_millis(20))
            {
                of_first = partitions;
            }
            if let Some(MembershipEvent::Assigned(partitions)) =
                second.poll(Duration::from_millis(20))
            {
                of_second = partitions;
            }
            (of_first.len() == 2 && of_second.len() == 2).then_some(())
        });
        of_first.extend(&of_second);
        of_first.sort_unstable();
        assert_eq!(of_first, [0, 1, 2, 3]);
    }
}
