//! Reading every log: by members of a group, and by followers.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use orders::event_log::{
    EventLog, Fetched, Followed, LogFault, Membership, MembershipEvent, Reader,
};
use orders::pipeline::{PartitionOffset, Record};
use support::TIMEOUT;
use support::for_each_engine;

use crate::contract::logs::{Subject, append, value};

for_each_engine! {
    [kafka => super::Subject::kafka(), sqlite => super::Subject::sqlite()]
    [
        a_member_is_assigned_every_partition_and_reads_from_its_start_offsets,
        a_reader_reports_the_end_once,
        nothing_is_delivered_before_assign,
        a_reader_notifies_when_records_begin_to_wait,
        a_missing_offset_is_reported_as_a_reset,
        two_clients_of_one_log_see_each_others_records,
        a_follower_starts_at_its_offsets_and_copies_only_unknown_records,
    ]
}

/// Joins the subject's group and waits until the partitions `0..count` are assigned.
fn join(subject: &Subject, log: &dyn EventLog, topic: &str, count: i32) -> Box<dyn Membership> {
    let joined = log.join(&subject.group(), topic);
    let mut member = joined.expect("the group can be joined");
    let all: Vec<i32> = (0..count).collect();
    subject.until("every partition is assigned", || {
        let event = member.poll(Duration::from_millis(100))?;
        let MembershipEvent::Assigned(mut partitions) = event else {
            return None;
        };
        partitions.sort_unstable();
        (partitions == all).then_some(())
    });
    member
}

/// Reads the partitions from these offsets.
fn assign(member: &mut dyn Membership, starts: &[i64]) -> Vec<Box<dyn Reader>> {
    let starts: Vec<PartitionOffset> = (0..)
        .zip(starts)
        .map(|(partition, offset)| PartitionOffset::new(partition, *offset))
        .collect();
    let readers = member.assign(&starts);
    readers.expect("the partitions can be assigned")
}

/// A member that reads a topic's only partition from this offset.
fn reading(subject: &Subject, topic: &str, start: i64) -> (Box<dyn Membership>, Box<dyn Reader>) {
    let mut member = join(subject, &*subject.log, topic, 1);
    let reader = assign(&mut *member, &[start]).remove(0);
    (member, reader)
}

/// Reads until `count` records came; the member is polled as its thread would.
fn read(member: &mut dyn Membership, reader: &mut dyn Reader, count: usize) -> Vec<Record> {
    let (mut records, deadline) = (Vec::new(), Instant::now() + TIMEOUT);
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

fn until_the_end(subject: &Subject, member: &mut dyn Membership, reader: &mut dyn Reader) {
    subject.until("the end", || {
        member.poll(Duration::ZERO);
        let fetched = reader.next(10, 1000, Duration::from_millis(50));
        matches!(fetched, Fetched::End).then_some(())
    });
}

fn a_member_is_assigned_every_partition_and_reads_from_its_start_offsets(subject: &Subject) {
    let topic = subject.topic(2);
    for number in 0..40 {
        subject.append(&topic, &format!("key-{number}"), &number.to_string());
    }
    let ends = subject.state(&topic).highs;
    let mut member = join(subject, &*subject.log, &topic, 2);
    let mut readers = assign(&mut *member, &[3, 0]);
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

fn a_reader_reports_the_end_once(subject: &Subject) {
    let topic = subject.topic(1);
    subject.append(&topic, "key", "first");
    let (mut member, mut reader) = reading(subject, &topic, 0);
    read(&mut *member, &mut *reader, 1);
    until_the_end(subject, &mut *member, &mut *reader);
    assert!(matches!(
        reader.next(10, 1000, Duration::from_millis(300)),
        Fetched::Nothing
    ));
    subject.append(&topic, "key", "second");
    let records = read(&mut *member, &mut *reader, 1);
    assert_eq!(value(&records[0]), "second");
}

fn nothing_is_delivered_before_assign(subject: &Subject) {
    let topic = subject.topic(1);
    subject.append(&topic, "key", "first");
    let mut member = join(subject, &*subject.log, &topic, 1);
    // A record through the main poll would be a fault.
    for _ in 0..10 {
        assert!(member.poll(Duration::from_millis(20)).is_none());
    }
    let mut readers = assign(&mut *member, &[0]);
    assert_eq!(value(&read(&mut *member, &mut *readers[0], 1)[0]), "first");
}

fn a_reader_notifies_when_records_begin_to_wait(subject: &Subject) {
    let topic = subject.topic(1);
    let (mut member, mut reader) = reading(subject, &topic, 0);
    let (sender, notified) = mpsc::channel();
    reader.on_ready(Box::new(move || {
        let _ = sender.send(());
    }));
    for number in 0..3 {
        until_the_end(subject, &mut *member, &mut *reader);
        while notified.try_recv().is_ok() {}
        let value = number.to_string();
        subject.append(&topic, "key", &value);
        // The reader is not polled meanwhile.
        subject.until("a notification that a record follows", || {
            notified.recv_timeout(TIMEOUT).expect("the reader notifies");
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

fn a_missing_offset_is_reported_as_a_reset(subject: &Subject) {
    let topic = subject.topic(1);
    subject.append(&topic, "key", "only");
    let (mut member, mut reader) = reading(subject, &topic, 1000);
    subject.until("a reset fault", || {
        member.poll(Duration::ZERO);
        match reader.next(10, 1000, Duration::from_millis(50)) {
            Fetched::Fault(LogFault::Reset(_)) => Some(()),
            Fetched::Records(records) => panic!("no such records: {records:?}"),
            _ => None,
        }
    });
}

fn two_clients_of_one_log_see_each_others_records(subject: &Subject) {
    let topic = subject.topic(1);
    let other = subject.another();
    let identity = subject.log.topic_id(&topic).expect("the log responds");
    assert_eq!(other.topic_id(&topic).expect("the log responds"), identity);
    let mut member = join(subject, &*other, &topic, 1);
    let mut readers = assign(&mut *member, &[0]);
    for number in 0..10 {
        let writer = [&subject.log, &other][usize::from(number % 2 != 0)];
        let at = append(&**writer, &topic, "key", &number.to_string());
        assert_eq!(at.offset, Some(number));
        let read = read(&mut *member, &mut *readers[0], 1);
        assert_eq!(value(&read[0]), number.to_string());
    }
}

fn a_follower_starts_at_its_offsets_and_copies_only_unknown_records(subject: &Subject) {
    let topic = subject.topic(1);
    for number in 0..5 {
        subject.append(&topic, "key", &number.to_string());
    }
    let (start, interval) = (PartitionOffset::new(0, 3), Duration::from_millis(10));
    let follower = subject.log.follow(&topic, &[start], interval);
    let mut follower = follower.expect("the topic can be followed");
    let mut seen = Vec::new();
    let (mut ended, deadline) = (false, Instant::now() + TIMEOUT);
    while !ended || seen.len() < 3 {
        assert!(Instant::now() < deadline, "ended: {ended}, seen: {seen:?}");
        let knows =
            |at: PartitionOffset, key: &[u8]| at == PartitionOffset::new(0, 4) && key == b"key";
        match follower.next(Duration::from_millis(50), &knows) {
            Some(Followed::Record(record)) => seen.push(value(&record).to_owned()),
            Some(Followed::Known(_)) => seen.push("known".into()),
            Some(Followed::End(0)) if !ended => {
                ended = true;
                subject.append(&topic, "key", "new");
            }
            _ => {}
        }
    }
    assert_eq!(seen, ["3", "known", "new"]);
}

/// The guarantee of logs with consumer groups.
mod groups {
    use super::*;

    for_each_engine! {
        [kafka => crate::contract::logs::Subject::kafka()]
        [two_members_share_the_partitions]
    }

    fn two_members_share_the_partitions(subject: &Subject) {
        let topic = subject.topic(4);
        let mut first = join(subject, &*subject.log, &topic, 4);
        assign(&mut *first, &[0; 4]);
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
