//! When a follower is live, and what follows from the ends it is given.

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

fn started(highs: &[i64]) -> (FollowerProgress, Instant) {
    let (progress, now) = (FollowerProgress::new("orders"), Instant::now());
    progress.start(&ends("t", highs), now);
    (progress, now)
}

fn receive(progress: &FollowerProgress, ends: TopicState, now: Instant) -> Vec<PartitionOffset> {
    progress.ends_received(&progress.snapshot().unwrap(), ends, now, now)
}

#[test]
fn it_is_live_once_the_ends_are_reached_and_for_three_seconds() {
    let (progress, now) = started(&[5, 0]);
    assert!(!progress.is_live(now));
    receive(&progress, ends("t", &[6, 1]), now);
    progress.advanced(at(0, 5), now);
    assert!(!progress.is_live(now));
    assert_eq!(progress.lag(), 1);
    progress.advanced(at(1, 0), now);
    assert!(progress.is_live(now) && progress.is_live(now + Duration::from_millis(2_999)));
    assert!(!progress.is_live(now + MAX_ENDS_AGE));
}

#[test]
fn it_stays_live_while_the_ends_of_a_busy_log_move() {
    let (progress, now) = started(&[0]);
    receive(&progress, ends("t", &[0]), now);
    let later = now + Duration::from_secs(1);
    receive(&progress, ends("t", &[50]), later);
    assert!(progress.is_live(later));
    receive(&progress, ends("t", &[100]), later + Duration::from_secs(1));
    progress.advanced(at(0, 49), later);
    assert!(
        progress.is_live(later + Duration::from_secs(2)),
        "the first unreached target counts"
    );
}

#[test]
fn a_failure_ends_it_until_newly_queried_ends_are_reached() {
    let (progress, now) = started(&[0]);
    receive(&progress, ends("t", &[0]), now);
    assert!(progress.recovered() && !progress.recovered());
    assert!(progress.failed("no broker answers") && !progress.failed("still none"));
    assert!(!progress.is_live(now) && !progress.recovered());
    receive(&progress, ends("t", &[0]), now);
    assert!(progress.is_live(now) && progress.recovered());
    assert_eq!(progress.failure(), None);
}

#[test]
fn new_partitions_are_read_from_their_start_and_the_others_continue() {
    let (progress, now) = started(&[5]);
    progress.advanced(at(0, 6), now);
    receive(&progress, ends("t", &[7, 3]), now);
    assert_eq!(progress.take_command(), Some(Command::Reassign));
    assert_eq!(progress.positions(), [at(0, 7), at(1, 0)]);
    assert!(!progress.is_live(now));
    assert_eq!(progress.covers(at(1, 0)), Some(1));
}

#[test]
fn another_log_under_the_same_name_is_detected() {
    for other in [ends("u", &[9, 9]), ends("t", &[9]), ends("t", &[4, 9])] {
        let (progress, now) = started(&[5, 5]);
        receive(&progress, other, now);
        assert_eq!(progress.take_command(), Some(Command::Restart));
    }
    let (progress, now) = started(&[5]);
    receive(&progress, ends("", &[5]), now);
    assert_eq!(
        progress.take_command(),
        None,
        "an unknown id is not compared"
    );
}

#[test]
fn a_record_read_after_the_query_does_not_mean_another_log() {
    let (progress, now) = started(&[5]);
    let before = progress.snapshot().unwrap();
    progress.advanced(at(0, 7), now);
    progress.ends_received(&before, ends("t", &[6]), now, now);
    assert_eq!(progress.take_command(), None);
    assert!(progress.is_live(now));
}

#[test]
fn transaction_markers_are_skipped_and_a_stalled_client_is_assigned_again() {
    let (progress, now) = started(&[5, 5]);
    assert!(receive(&progress, ends("t", &[5, 6]), now).is_empty());
    let later = now + STALL_TIMEOUT;
    assert_eq!(receive(&progress, ends("t", &[5, 6]), later), [at(1, 5)]);
    progress.skipped(at(1, 4), 6, later);
    assert!(!progress.is_live(later));
    assert!(progress.stalled(at(1, 5), later) && !progress.stalled(at(1, 4), later));
    assert_eq!(progress.take_command(), Some(Command::Reassign));
    progress.skipped(at(1, 5), 6, later);
    assert!(progress.is_live(later));
}

#[test]
fn only_records_beyond_the_start_are_covered() {
    let progress = FollowerProgress::new("orders");
    assert_eq!(progress.covers(at(0, 0)), None);
    let (progress, now) = started(&[5]);
    assert_eq!(
        (
            progress.covers(at(0, 4)),
            progress.covers(at(0, 5)),
            progress.covers(at(1, 5))
        ),
        (None, Some(1), None)
    );
    progress.start(&ends("t", &[9]), now);
    assert_eq!(
        (progress.covers(at(0, 5)), progress.covers(at(0, 9))),
        (None, Some(2))
    );
}
