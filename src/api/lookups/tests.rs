//! Single flight, and that no "no" is told after the order came. Time is passed in.

use bytes::Bytes;

use super::*;
use crate::pipeline::lookup_protocol::LOOKUP_TTL;

fn entry() -> Arc<Entry> {
    Arc::new(Entry::new(Bytes::from_static(b"{}"), None, None))
}

fn join(lookups: &Lookups, now: Instant) -> Joined {
    lookups.join("a", now, true, || None)
}

fn asked(joined: Joined) -> (watch::Receiver<Option<Answer>>, Uuid) {
    match joined {
        Joined::Waiting {
            answer,
            ask: Some(correlation),
        } => (answer, correlation),
        _ => panic!("no lookup was to be sent"),
    }
}

/// Waits without having to ask.
fn waiting(joined: Joined) -> watch::Receiver<Option<Answer>> {
    match joined {
        Joined::Waiting { answer, ask: None } => answer,
        _ => panic!("it asked too"),
    }
}

fn is_absent(answer: &watch::Receiver<Option<Answer>>) -> bool {
    matches!(*answer.borrow(), Some(Answer::Absent(_)))
}

fn is_found(answer: &watch::Receiver<Option<Answer>>) -> bool {
    matches!(*answer.borrow(), Some(Answer::Found(_)))
}

fn no_such_order() -> NotFound {
    NotFound {
        dead_lettered: None,
    }
}

#[test]
fn many_that_wait_send_one_lookup_and_all_get_its_answer() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (first, correlation) = asked(join(&lookups, now));
    let second = waiting(join(&lookups, now));
    assert_eq!(lookups.pending(), 1);
    assert!(lookups.found("a", Some(correlation), entry));
    assert!(is_found(&first) && is_found(&second));
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn a_lookup_is_sent_again_every_half_second_under_the_same_id() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (_answer, correlation) = asked(join(&lookups, now));
    assert_eq!(
        lookups.ask_again("a", now + Duration::from_millis(499)),
        None
    );
    assert_eq!(lookups.ask_again("a", now + ASK_AGAIN), Some(correlation));
    assert_eq!(lookups.ask_again("a", now + ASK_AGAIN), None);
}

#[test]
fn a_negative_answer_counts_only_for_the_lookup_that_still_waits() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (answer, correlation) = asked(join(&lookups, now));
    assert!(!lookups.absent("a", Uuid::new_v4(), no_such_order(), true, now));
    assert!(!is_absent(&answer));
    assert!(lookups.absent("a", correlation, no_such_order(), true, now));
    assert!(is_absent(&answer));
}

#[test]
fn a_no_that_was_computed_before_the_order_came_is_never_told_after_it() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (answer, correlation) = asked(join(&lookups, now));
    lookups.arrived("a", &entry());
    assert!(is_found(&answer));
    let (later, _) = asked(join(&lookups, now));
    assert!(!lookups.absent("a", correlation, no_such_order(), true, now));
    assert!(!is_absent(&later));
}

#[test]
fn a_no_to_a_question_sent_before_a_get_came_is_not_told_to_that_get() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (early, first) = asked(join(&lookups, now));
    let mut late = waiting(join(&lookups, now));
    assert!(lookups.absent("a", first, no_such_order(), true, now));
    assert!(is_absent(&early) && !is_absent(&late));
    // It is woken, and asks at once under another id.
    assert!(late.has_changed().unwrap() && late.borrow_and_update().is_none());
    let second = lookups.ask_again("a", now).expect("it is sent again");
    assert!(!lookups.absent("a", first, no_such_order(), true, now));
    assert!(lookups.absent("a", second, no_such_order(), true, now));
    assert!(is_absent(&late));
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn a_crowd_that_hammers_an_unknown_uid_comes_to_an_end_of_questions() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (_early, mut correlation) = asked(join(&lookups, now));
    let mut questions = 1;
    let mut crowd = Vec::new();
    loop {
        crowd.push(waiting(join(&lookups, now)));
        assert!(lookups.absent("a", correlation, no_such_order(), true, now));
        match lookups.ask_again("a", now) {
            Some(next) => correlation = next,
            None => break,
        }
        questions += 1;
    }
    assert_eq!(questions, ASKED_ANEW);
    assert!(crowd.iter().all(is_absent));
}

#[test]
fn a_lookup_that_was_never_sent_does_not_keep_its_place() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (_alone, correlation) = asked(join(&lookups, now));
    lookups.not_sent("a", correlation);
    assert_eq!(lookups.pending(), 0);

    let (_one, correlation) = asked(join(&lookups, now));
    let _other = waiting(join(&lookups, now));
    lookups.not_sent("a", correlation);
    assert_eq!(lookups.pending(), 1);
    assert!(lookups.ask_again("a", now).is_some());
}

#[test]
fn what_enters_between_a_miss_and_the_wait_is_found() {
    let lookups = Lookups::default();
    let joined = lookups.join("a", Instant::now(), true, || Some(entry()));
    assert!(matches!(joined, Joined::Found(_)));
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn memory_answers_a_hammering_client_and_not_a_polling_one() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    for _ in 0..ASKED_ANEW {
        let (_, correlation) = asked(join(&lookups, now));
        assert!(lookups.absent("a", correlation, no_such_order(), true, now));
    }
    assert!(matches!(join(&lookups, now), Joined::Absent(_)));
    let not_live = lookups.join("a", now, false, || None);
    assert!(matches!(not_live, Joined::Waiting { .. }));
}

#[test]
fn a_remembered_miss_is_forgotten_after_a_second_and_when_the_order_comes() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let remember = || {
        while let Joined::Waiting {
            ask: Some(correlation),
            ..
        } = join(&lookups, now)
        {
            lookups.absent("a", correlation, no_such_order(), true, now);
        }
    };
    remember();
    lookups.arrived("a", &entry());
    assert!(matches!(join(&lookups, now), Joined::Waiting { .. }));
    lookups.arrived("a", &entry());
    remember();
    assert!(matches!(
        join(&lookups, now + ABSENT_TTL),
        Joined::Waiting { .. }
    ));
}

#[test]
fn an_answer_with_an_order_that_nobody_asked_for_does_not_enter() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    assert!(!lookups.found("a", None, || panic!("it was kept")));
    let (_answer, _) = asked(join(&lookups, now));
    assert!(!lookups.found("a", Some(Uuid::new_v4()), || panic!("it was kept")));
    assert!(lookups.found("a", None, entry));
}

#[test]
fn after_the_followers_began_anew_an_answer_on_its_way_does_not_count() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (answer, before) = asked(join(&lookups, now));
    lookups.acknowledged("a", before);
    assert!(lookups.is_queued("a"));
    lookups.renew();
    assert!(!lookups.is_queued("a"));
    assert!(!lookups.found("a", Some(before), || panic!("it was kept")));
    let after = lookups
        .ask_again("a", now)
        .expect("it is sent again at once");
    assert!(lookups.found("a", Some(after), entry));
    assert!(is_found(&answer));
}

#[test]
fn a_followed_record_that_cannot_be_kept_takes_back_every_no() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (answer, before) = asked(join(&lookups, now));
    lookups.doubt("a");
    assert!(!lookups.absent("a", before, no_such_order(), true, now));
    let after = lookups
        .ask_again("a", now)
        .expect("it is sent again at once");
    assert!(lookups.absent("a", after, no_such_order(), true, now));
    assert!(is_absent(&answer));
}

#[test]
fn a_lookup_outlives_its_waiters_by_thirty_seconds() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (answer, _) = asked(join(&lookups, now));
    drop(answer);
    lookups.sweep(now + Duration::from_secs(29));
    assert_eq!(lookups.pending(), 1);
    lookups.sweep(now + LOOKUP_TTL);
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn lookups_and_remembered_misses_are_bounded() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    for number in 0..MAX_PENDING {
        let joined = lookups.join(&number.to_string(), now, true, || None);
        assert!(matches!(joined, Joined::Waiting { .. }));
    }
    assert!(matches!(join(&lookups, now), Joined::Full));
    let mut shard = Shard::default();
    for number in 0..MAX_ABSENT / SHARDS {
        let slot = Slot::Absent {
            not_found: no_such_order(),
            until: now,
            misses: 1,
        };
        shard.insert(number.to_string().into(), slot);
    }
    assert!(!has_room_for_absent(
        &mut shard,
        now - Duration::from_millis(1)
    ));
    assert!(has_room_for_absent(&mut shard, now));
}
