//! Single flight, and no "not found" after the order came. Time is passed in.

use bytes::Bytes;

use super::*;
use crate::pipeline::lookup_protocol::LOOKUP_TTL;

fn entry() -> Arc<Entry> {
    Arc::new(Entry::new(Bytes::from_static(b"{}"), None, None))
}

fn join(lookups: &Lookups, now: Instant) -> Joined {
    lookups.join("a", now, true, || None)
}

/// A GET that has to send the lookup.
fn sending(joined: Joined) -> (watch::Receiver<Option<Completion>>, Uuid) {
    match joined {
        Joined::Waiting(LookupHandle {
            completion,
            to_send: Some(correlation_id),
        }) => (completion, correlation_id),
        _ => panic!("no lookup is to be sent"),
    }
}

/// A GET that waits for a lookup already sent.
fn waiting(joined: Joined) -> watch::Receiver<Option<Completion>> {
    match joined {
        Joined::Waiting(LookupHandle {
            completion,
            to_send: None,
        }) => completion,
        _ => panic!("another lookup is to be sent"),
    }
}

fn is_not_found(completion: &watch::Receiver<Option<Completion>>) -> bool {
    matches!(*completion.borrow(), Some(Completion::NotFound(_)))
}

fn is_found(completion: &watch::Receiver<Option<Completion>>) -> bool {
    matches!(*completion.borrow(), Some(Completion::Found(_)))
}

#[test]
fn many_gets_send_one_lookup_and_all_get_its_reply() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (first, correlation_id) = sending(join(&lookups, now));
    let second = waiting(join(&lookups, now));
    assert_eq!(lookups.pending(), 1);
    assert!(lookups.reply_found("a", correlation_id, entry));
    assert!(is_found(&first) && is_found(&second));
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn a_lookup_is_sent_again_every_half_second_under_the_same_id() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (_completion, correlation_id) = sending(join(&lookups, now));
    assert_eq!(lookups.resend("a", now + Duration::from_millis(499)), None);
    assert_eq!(
        lookups.resend("a", now + RESEND_INTERVAL),
        Some(correlation_id)
    );
    assert_eq!(lookups.resend("a", now + RESEND_INTERVAL), None);
}

#[test]
fn a_negative_reply_counts_only_for_the_lookup_that_is_pending() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (completion, correlation_id) = sending(join(&lookups, now));
    assert!(!lookups.reply_not_found("a", Uuid::new_v4(), NotFound::default(), true, now));
    assert!(!is_not_found(&completion));
    assert!(lookups.reply_not_found("a", correlation_id, NotFound::default(), true, now));
    assert!(is_not_found(&completion));
}

#[test]
fn a_miss_that_was_computed_before_the_order_came_is_not_answered_after_it() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (completion, correlation_id) = sending(join(&lookups, now));
    lookups.complete("a", &entry());
    assert!(is_found(&completion));
    let (later, _) = sending(join(&lookups, now));
    assert!(!lookups.reply_not_found("a", correlation_id, NotFound::default(), true, now));
    assert!(!is_not_found(&later));
}

#[test]
fn a_miss_of_a_request_sent_before_a_get_came_does_not_complete_that_get() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (early, first) = sending(join(&lookups, now));
    let mut late = waiting(join(&lookups, now));
    assert!(lookups.reply_not_found("a", first, NotFound::default(), true, now));
    assert!(is_not_found(&early) && !is_not_found(&late));
    // It is notified, and sends another request at once.
    assert!(late.has_changed().unwrap() && late.borrow_and_update().is_none());
    let second = lookups.resend("a", now).expect("it is sent again");
    assert!(!lookups.reply_not_found("a", first, NotFound::default(), true, now));
    assert!(lookups.reply_not_found("a", second, NotFound::default(), true, now));
    assert!(is_not_found(&late));
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn many_gets_of_an_unknown_uid_send_a_bounded_number_of_lookups() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (_early, mut correlation_id) = sending(join(&lookups, now));
    let mut sent = 1;
    let mut gets = Vec::new();
    loop {
        gets.push(waiting(join(&lookups, now)));
        assert!(lookups.reply_not_found("a", correlation_id, NotFound::default(), true, now));
        match lookups.resend("a", now) {
            Some(next) => correlation_id = next,
            None => break,
        }
        sent += 1;
    }
    assert_eq!(sent, MISSES_LOOKED_UP);
    assert!(gets.iter().all(is_not_found));
}

#[test]
fn a_lookup_that_was_never_sent_is_removed() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (_alone, correlation_id) = sending(join(&lookups, now));
    lookups.not_sent("a", correlation_id);
    assert_eq!(lookups.pending(), 0);

    let (_one, correlation_id) = sending(join(&lookups, now));
    let _other = waiting(join(&lookups, now));
    lookups.not_sent("a", correlation_id);
    assert_eq!(lookups.pending(), 1);
    assert!(lookups.resend("a", now).is_some());
}

#[test]
fn an_order_that_enters_between_a_miss_and_the_wait_is_found() {
    let lookups = Lookups::default();
    let joined = lookups.join("a", Instant::now(), true, || Some(entry()));
    assert!(matches!(joined, Joined::Found(_)));
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn a_remembered_miss_is_answered_to_a_flood_and_not_to_a_polling_client() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    for _ in 0..MISSES_LOOKED_UP {
        let (_, correlation_id) = sending(join(&lookups, now));
        assert!(lookups.reply_not_found("a", correlation_id, NotFound::default(), true, now));
    }
    assert!(matches!(join(&lookups, now), Joined::NotFound(_)));
    let not_live = lookups.join("a", now, false, || None);
    assert!(matches!(not_live, Joined::Waiting(_)));
}

#[test]
fn a_remembered_miss_is_forgotten_after_a_second_and_when_the_order_comes() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let remember = || {
        while let Joined::Waiting(LookupHandle {
            to_send: Some(correlation_id),
            ..
        }) = join(&lookups, now)
        {
            lookups.reply_not_found("a", correlation_id, NotFound::default(), true, now);
        }
    };
    remember();
    lookups.complete("a", &entry());
    assert!(matches!(join(&lookups, now), Joined::Waiting(_)));
    lookups.complete("a", &entry());
    remember();
    assert!(matches!(
        join(&lookups, now + NOT_FOUND_TTL),
        Joined::Waiting(_)
    ));
}

#[test]
fn a_reply_to_another_request_does_not_enter_the_cache() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    assert!(!lookups.reply_found("a", Uuid::new_v4(), || panic!("it was kept")));
    let (_completion, _) = sending(join(&lookups, now));
    assert!(!lookups.reply_found("a", Uuid::new_v4(), || panic!("it was kept")));
}

#[test]
fn a_reply_to_no_known_request_completes_only_the_gets_that_wait() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    assert!(!lookups.reply_unverified("a", entry()));
    let (completion, correlation_id) = sending(join(&lookups, now));
    assert!(lookups.reply_unverified("a", entry()));
    let is_unverified = matches!(*completion.borrow(), Some(Completion::Unverified(_)));
    assert!(is_unverified);
    assert!(!lookups.reply_found("a", correlation_id, || panic!("it was kept")));
    // No GET waits any more: the lookup goes on, for the reply that belongs to it.
    let (completion, correlation_id) = sending(join(&lookups, now));
    drop(completion);
    assert!(!lookups.reply_unverified("a", entry()));
    assert!(lookups.reply_found("a", correlation_id, entry));
}

#[test]
fn a_reply_to_a_request_before_a_restart_of_the_follower_does_not_count() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (completion, before) = sending(join(&lookups, now));
    lookups.acknowledged("a", before);
    assert!(lookups.is_queued("a"));
    lookups.renew();
    assert!(!lookups.is_queued("a"));
    assert!(!lookups.reply_found("a", before, || panic!("it was kept")));
    let after = lookups.resend("a", now).expect("it is sent again at once");
    assert!(lookups.reply_found("a", after, entry));
    assert!(is_found(&completion));
}

#[test]
fn a_followed_record_that_cannot_be_kept_invalidates_every_miss() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (completion, before) = sending(join(&lookups, now));
    lookups.invalidate("a");
    assert!(!lookups.reply_not_found("a", before, NotFound::default(), true, now));
    let after = lookups.resend("a", now).expect("it is sent again at once");
    assert!(lookups.reply_not_found("a", after, NotFound::default(), true, now));
    assert!(is_not_found(&completion));
}

#[test]
fn a_lookup_outlives_its_gets_by_thirty_seconds() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    let (completion, _) = sending(join(&lookups, now));
    drop(completion);
    lookups.expire(now + Duration::from_secs(29));
    assert_eq!(lookups.pending(), 1);
    lookups.expire(now + LOOKUP_TTL);
    assert_eq!(lookups.pending(), 0);
}

#[test]
fn lookups_and_remembered_misses_are_bounded() {
    let (lookups, now) = (Lookups::default(), Instant::now());
    for number in 0..MAX_PENDING {
        let joined = lookups.join(&number.to_string(), now, true, || None);
        assert!(matches!(joined, Joined::Waiting(_)));
    }
    assert!(matches!(join(&lookups, now), Joined::Full));
    let mut shard = Shard::default();
    for number in 0..MAX_NOT_FOUND / SHARDS {
        let miss = Miss {
            not_found: NotFound::default(),
            misses: 1,
            until: now,
        };
        shard.misses.insert(number.to_string().into(), miss);
    }
    assert!(!shard.may_remember(now - Duration::from_millis(1)));
    assert!(shard.may_remember(now));
}
