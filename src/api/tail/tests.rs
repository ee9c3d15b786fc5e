//! When an instance is live, and what it makes of every answer about the ends.

use super::*;

fn at(partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset::new(partition, offset)
}

fn ends(topic_id: &str, highs: &[i64]) -> TopicState {
    TopicState {
        log_id: "log".into(),
        topic_id: topic_id.into(),
        highs: highs.to_vec(),
    }
}

fn begun(highs: &[i64]) -> (Tail, Instant) {
    let (tail, now) = (Tail::new("orders"), Instant::now());
    tail.begin(&ends("t", highs), now);
    (tail, now)
}

fn ask(tail: &Tail, answer: TopicState, now: Instant) -> Vec<PartitionOffset> {
    tail.asked(&tail.snapshot().unwrap(), answer, now, now)
}

#[test]
fn it_is_live_once_the_ends_are_reached_and_for_three_seconds() {
    let (tail, now) = begun(&[5, 0]);
    assert!(!tail.is_live(now));
    ask(&tail, ends("t", &[6, 1]), now);
    tail.moved(at(0, 5), now);
    assert!(!tail.is_live(now));
    assert_eq!(tail.lag(), 1);
    tail.moved(at(1, 0), now);
    assert!(tail.is_live(now) && tail.is_live(now + Duration::from_millis(2_999)));
    assert!(!tail.is_live(now + FRESH));
}

#[test]
fn a_busy_log_does_not_make_it_doubt_itself() {
    let (tail, now) = begun(&[0]);
    ask(&tail, ends("t", &[0]), now);
    let later = now + Duration::from_secs(1);
    ask(&tail, ends("t", &[50]), later);
    assert!(tail.is_live(later));
    ask(&tail, ends("t", &[100]), later + Duration::from_secs(1));
    tail.moved(at(0, 49), later);
    assert!(
        tail.is_live(later + Duration::from_secs(2)),
        "the first unreached target counts"
    );
}

#[test]
fn trouble_ends_it_at_once_until_newly_asked_ends_are_reached() {
    let (tail, now) = begun(&[0]);
    ask(&tail, ends("t", &[0]), now);
    assert!(tail.recovered() && !tail.recovered());
    assert!(tail.troubled("no broker answers") && !tail.troubled("still none"));
    assert!(!tail.is_live(now) && !tail.recovered());
    ask(&tail, ends("t", &[0]), now);
    assert!(tail.is_live(now) && tail.recovered());
    assert_eq!(tail.trouble(), None);
}

#[test]
fn new_partitions_are_read_from_their_beginning_and_the_others_go_on() {
    let (tail, now) = begun(&[5]);
    tail.moved(at(0, 6), now);
    ask(&tail, ends("t", &[7, 3]), now);
    assert_eq!(tail.take_command(), Some(Command::Reassign));
    assert_eq!(tail.positions(), [at(0, 7), at(1, 0)]);
    assert!(!tail.is_live(now));
    assert_eq!(tail.covers(at(1, 0)), Some(1));
}

#[test]
fn another_log_under_the_same_name_is_noticed() {
    for other in [ends("u", &[9, 9]), ends("t", &[9]), ends("t", &[4, 9])] {
        let (tail, now) = begun(&[5, 5]);
        ask(&tail, other, now);
        assert_eq!(tail.take_command(), Some(Command::BeginAnew));
    }
    let (tail, now) = begun(&[5]);
    ask(&tail, ends("", &[5]), now);
    assert_eq!(tail.take_command(), None, "an unknown id is not compared");
}

#[test]
fn a_record_read_after_the_question_is_no_sign_of_another_log() {
    let (tail, now) = begun(&[5]);
    let before = tail.snapshot().unwrap();
    tail.moved(at(0, 7), now);
    tail.asked(&before, ends("t", &[6]), now, now);
    assert_eq!(tail.take_command(), None);
    assert!(tail.is_live(now));
}

#[test]
fn marks_of_transactions_are_passed_and_a_silent_client_is_assigned_again() {
    let (tail, now) = begun(&[5, 5]);
    assert!(ask(&tail, ends("t", &[5, 6]), now).is_empty());
    let later = now + STANDS_STILL;
    assert_eq!(ask(&tail, ends("t", &[5, 6]), later), [at(1, 5)]);
    tail.passed(at(1, 4), 6, later);
    assert!(!tail.is_live(later));
    assert!(tail.stalled(at(1, 5), later) && !tail.stalled(at(1, 4), later));
    assert_eq!(tail.take_command(), Some(Command::Reassign));
    tail.passed(at(1, 5), 6, later);
    assert!(tail.is_live(later));
}

#[test]
fn only_what_lies_beyond_the_start_is_covered() {
    let tail = Tail::new("orders");
    assert_eq!(tail.covers(at(0, 0)), None);
    let (tail, now) = begun(&[5]);
    assert_eq!(
        (
            tail.covers(at(0, 4)),
            tail.covers(at(0, 5)),
            tail.covers(at(1, 5))
        ),
        (None, Some(1), None)
    );
    tail.begin(&ends("t", &[9]), now);
    assert_eq!(
        (tail.covers(at(0, 5)), tail.covers(at(0, 9))),
        (None, Some(2))
    );
}
