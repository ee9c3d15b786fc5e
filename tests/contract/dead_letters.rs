//! What every store does when operators resolve dead letters.

use std::ops::ControlFlow;
use std::thread;

use bytes::Bytes;
use orders::order::Timestamp;
use orders::store::operator::dead_letters::{
    DeadLetterFilter, DeadLetterState, Mode, Outcome, Resolution,
};
use orders::store::{Change, DeadLetter, OperatorStore, StoreError};
use support::for_each_engine;

use crate::contract::order_store::erase;
use crate::contract::owner::{AMOUNTS, Owner, dead, sourced, with_entry};
use crate::contract::stores::Database;

for_each_engine! {
    [
        postgres => super::Database::postgres(),
        sqlite => super::Database::sqlite(),
    ]
    [
        a_retried_dead_letter_is_stored_as_the_version_that_its_record_is,
        an_older_dead_letter_is_outdated_and_overwrites_nothing,
        a_dead_letter_of_an_erased_order_is_resolved_and_never_stored,
        an_order_that_the_database_rejects_leaves_its_dead_letter_open,
        a_dry_run_changes_nothing,
        two_operators_at_once_resolve_a_dead_letter_once,
        dead_letters_are_found_by_what_they_are,
        only_dead_letters_that_were_resolved_before_are_pruned,
    ]
}

const CHANGE: Change<'_> = Change {
    by: "me@here",
    why: "ticket 7",
};

const RESOLUTIONS: &str =
    "SELECT id, resolution, resolved_by, resolved_why FROM dead_letters ORDER BY id";

/// The owner of a partition with these dead letters.
fn with_letters(subject: &Database, letters: Vec<DeadLetter>) -> Owner {
    let mut owner = subject.owner();
    let mut batch = owner.batch(vec![]);
    batch.end = 10;
    batch.dead_letters = letters;
    owner.apply(&batch).expect("the batch is stored");
    owner
}

fn operator(subject: &Database) -> Box<dyn OperatorStore> {
    subject.engine.operator().expect("the database is there")
}

fn retry(subject: &Database, id: i64, version: u32, mode: Mode) -> Result<Outcome, StoreError> {
    let order = sourced("a", version, 0, 0).order;
    operator(subject).retry_dead_letter(id, &order, &CHANGE, mode)
}

fn resolved(resolution: Resolution) -> Outcome {
    Outcome::Resolved(resolution)
}

/// Accepted at so many seconds.
fn dead_at(offset: i64, accepted_s: i64) -> DeadLetter {
    DeadLetter {
        accepted_at_us: accepted_s * 1_000_000,
        ..dead(offset, Some("a"))
    }
}

/// A batch that replays the record would wait for the deletion, and insert the dead letter again as open.
#[test]
fn a_prune_waits_for_the_batch_that_is_under_way() {
    let subject = Database::postgres();
    let _owner = with_letters(&subject, vec![dead_at(5, 7)]);
    let discarded = operator(&subject).discard_dead_letter(1, &CHANGE, Mode::Commit);
    discarded.expect("it is discarded");
    let mut batch = subject.db();
    batch.run("BEGIN; UPDATE log_positions SET next_offset = next_offset");
    let mut pruning = operator(&subject);
    let before = Timestamp::parse("2999-01-01T00:00:00Z").expect("it is a time");
    let pruning = thread::spawn(move || pruning.prune_dead_letters(before, 10));
    subject.db().eventually(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'orders' AND wait_event_type = 'Lock'",
        1,
    );
    batch.run("COMMIT");
    let pruned = pruning.join().expect("the thread ends");
    assert_eq!(pruned.expect("it is pruned"), 1);
    assert_eq!(subject.db().count("dead_letters"), 0);
}

fn a_retried_dead_letter_is_stored_as_the_version_that_its_record_is(subject: &Database) {
    let mut owner = with_letters(subject, vec![dead_at(5, 7)]);
    // Another version of it, before and in another form: its parts are replaced.
    owner.apply_orders(vec![sourced("b", 1, 10, 10)]);
    let outcome = retry(subject, 1, 2, Mode::Commit);
    assert_eq!(
        outcome.expect("it is stored"),
        resolved(Resolution::Retried)
    );
    let mut db = subject.db();
    assert_eq!(db.text(AMOUNTS), "a|2\nb|1");
    let accepted_at = db.timestamp("accepted_at");
    let source = format!(
        "SELECT source_position, source_epoch, source_offset, {accepted_at} FROM orders
         WHERE order_uid = 'a'"
    );
    assert_eq!(db.text(&source), "1|1|5|1970-01-01T00:00:07.000000Z");
    assert_eq!(db.text(RESOLUTIONS), "1|retried|me@here|ticket 7");

    let again = retry(subject, 1, 3, Mode::Commit).expect("the store responds");
    assert_eq!(again, Outcome::AlreadyResolved("retried".into()));
    assert_eq!(db.text(AMOUNTS), "a|2\nb|1");
    let missing = retry(subject, 2, 3, Mode::Commit).expect("the store responds");
    assert_eq!(missing, Outcome::Missing);
    // A newer record overwrites it, as it would the record.
    owner.apply_orders(vec![sourced("a", 4, 11, 11)]);
    assert_eq!(db.text(AMOUNTS), "a|4\nb|1");
}

fn an_older_dead_letter_is_outdated_and_overwrites_nothing(subject: &Database) {
    let mut owner = with_letters(subject, vec![dead_at(5, 7), dead_at(6, 8)]);
    owner.apply_orders(vec![sourced("a", 9, 10, 1)]);
    let outcome = retry(subject, 2, 2, Mode::Commit).expect("the store responds");
    assert_eq!(outcome, resolved(Resolution::Outdated));
    assert_eq!(subject.db().text(AMOUNTS), "a|9");
    assert_eq!(
        subject.db().text(RESOLUTIONS),
        "1|||\n2|outdated|me@here|ticket 7"
    );
}

fn a_dead_letter_of_an_erased_order_is_resolved_and_never_stored(subject: &Database) {
    let of_key = DeadLetter {
        key: Some(Bytes::from_static(b"erased")),
        ..dead_at(6, 7)
    };
    with_letters(subject, vec![dead_at(5, 50), of_key, dead_at(7, 51)]);
    erase(subject, "a", 50_000_000);
    erase(subject, "erased", 50_000_000);
    for (id, expected) in [
        (1, Resolution::Erased),
        (2, Resolution::Erased),
        (3, Resolution::Retried),
    ] {
        assert_eq!(subject.db().count("orders"), 0);
        let outcome = retry(subject, id, 1, Mode::Commit).expect("the store responds");
        assert_eq!(outcome, resolved(expected));
    }
    assert_eq!(subject.db().text(AMOUNTS), "a|1");
}

fn an_order_that_the_database_rejects_leaves_its_dead_letter_open(subject: &Database) {
    with_letters(subject, vec![dead_at(5, 7)]);
    subject.reject_entry("bad");
    let order = with_entry("a", "bad", 0).order;
    let refused = operator(subject).retry_dead_letter(1, &order, &CHANGE, Mode::Commit);
    assert!(
        matches!(refused, Err(StoreError::Rejected(_))),
        "{refused:?}"
    );
    assert_eq!(subject.db().text(RESOLUTIONS), "1|||");
    let outcome = retry(subject, 1, 1, Mode::Commit).expect("the store responds");
    assert_eq!(outcome, resolved(Resolution::Retried));
}

fn a_dry_run_changes_nothing(subject: &Database) {
    with_letters(subject, vec![dead_at(5, 7)]);
    let outcome = retry(subject, 1, 1, Mode::DryRun).expect("the store responds");
    assert_eq!(outcome, resolved(Resolution::Retried));
    let mut store = operator(subject);
    let outcome = store.discard_dead_letter(1, &CHANGE, Mode::DryRun);
    assert_eq!(
        outcome.expect("the store responds"),
        resolved(Resolution::Discarded)
    );
    let mut db = subject.db();
    assert_eq!(
        (db.text(RESOLUTIONS), db.count("orders")),
        ("1|||".into(), 0)
    );
    let outcome = store.discard_dead_letter(1, &CHANGE, Mode::Commit);
    assert_eq!(
        outcome.expect("the store responds"),
        resolved(Resolution::Discarded)
    );
    assert_eq!(db.text(RESOLUTIONS), "1|discarded|me@here|ticket 7");
}

fn two_operators_at_once_resolve_a_dead_letter_once(subject: &Database) {
    with_letters(subject, (0..10).map(|offset| dead_at(offset, 7)).collect());
    let mut all = [Vec::new(), Vec::new()];
    thread::scope(|threads| {
        let mut runs = Vec::new();
        for _ in 0..2 {
            runs.push(threads.spawn(|| {
                let outcomes = (1..=10).map(|id| retry(subject, id, 1, Mode::Commit));
                outcomes.map(|it| it.expect("the store responds")).collect()
            }));
        }
        for (run, outcomes) in runs.into_iter().zip(&mut all) {
            *outcomes = run.join().expect("the thread ends");
        }
    });
    let [one, other] = all;
    for pair in one.into_iter().zip(other) {
        let is_resolved = |outcome: &Outcome| matches!(outcome, Outcome::Resolved(_));
        let (first, second) = match is_resolved(&pair.0) {
            true => pair,
            false => (pair.1, pair.0),
        };
        assert_eq!(first, resolved(Resolution::Retried));
        assert_eq!(second, Outcome::AlreadyResolved("retried".into()));
    }
}

fn dead_letters_are_found_by_what_they_are(subject: &Database) {
    let letter = |offset, uid, key: &'static [u8], reason: &str| DeadLetter {
        key: Some(Bytes::from_static(key)),
        reason: reason.into(),
        ..dead(offset, uid)
    };
    let letters = vec![
        letter(0, Some("a"), b"a", "one"),
        letter(1, None, b"\xff", "two"),
        letter(2, None, b"a", "two"),
    ];
    with_letters(subject, letters);
    subject.db().run(
        "UPDATE dead_letters SET dead_at = '2026-11-27T00:00:00.000000Z' WHERE id = 1;
         UPDATE dead_letters SET resolution = 'discarded', resolved_at = dead_at WHERE id = 3",
    );
    let mut store = operator(subject);
    let day = Timestamp::parse("2026-11-27T12:00:00Z").ok();
    let all = DeadLetterFilter {
        state: DeadLetterState::All,
        ..DeadLetterFilter::default()
    };
    let of_state = |state| DeadLetterFilter {
        state,
        ..all.clone()
    };
    let cases = [
        (all.clone(), vec![1, 2, 3]),
        (DeadLetterFilter::default(), vec![1, 2]),
        (of_state(DeadLetterState::Resolved), vec![3]),
        (
            DeadLetterFilter {
                since: day,
                ..all.clone()
            },
            vec![2, 3],
        ),
        (
            DeadLetterFilter {
                until: day,
                ..all.clone()
            },
            vec![1],
        ),
        (
            DeadLetterFilter {
                order_uid: Some("a".into()),
                ..all.clone()
            },
            vec![1],
        ),
        (
            DeadLetterFilter {
                key: Some(b"a".to_vec()),
                ..all.clone()
            },
            vec![1, 3],
        ),
        (
            DeadLetterFilter {
                key: Some(b"\xff".to_vec()),
                ..all.clone()
            },
            vec![2],
        ),
        (
            DeadLetterFilter {
                partition: Some(0),
                ..all.clone()
            },
            vec![1, 2, 3],
        ),
        (
            DeadLetterFilter {
                partition: Some(1),
                ..all.clone()
            },
            vec![],
        ),
    ];
    for (filter, expected) in cases {
        let found = store
            .dead_letters(&filter, 0, 10)
            .expect("the store responds");
        let ids: Vec<i64> = found.iter().map(|letter| letter.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
        let mut reasons = Vec::new();
        let visited = store.for_each_reason(&filter, &mut |found| {
            reasons.push(found.id);
            ControlFlow::Continue(())
        });
        visited.expect("the store responds");
        reasons.sort_unstable();
        assert_eq!(reasons, expected, "{filter:?}");
    }
    let page = store.dead_letters(&all, 1, 1).expect("the store responds");
    assert_eq!((page.len(), page[0].id), (1, 2));
    assert_eq!(store.open_dead_letters().expect("the store responds").0, 2);
    let found = store.dead_letter(3).expect("the store responds");
    let found = found.expect("it is there");
    assert_eq!(found.letter.key.as_deref(), Some(&b"a"[..]));
    assert_eq!(
        found.resolved.expect("it is resolved").resolution,
        "discarded"
    );
    assert_eq!(store.dead_letter(4).expect("the store responds"), None);
}

fn only_dead_letters_that_were_resolved_before_are_pruned(subject: &Database) {
    with_letters(subject, (0..4).map(|offset| dead_at(offset, 7)).collect());
    subject.db().run(
        "UPDATE dead_letters SET resolution = 'discarded',
             resolved_at = '2026-11-27T00:00:00.000000Z' WHERE id < 3;
         UPDATE dead_letters SET resolution = 'retried',
             resolved_at = '2026-11-28T00:00:00.000000Z' WHERE id = 3",
    );
    let mut store = operator(subject);
    let before = Timestamp::parse("2026-11-28T00:00:00Z").expect("it is a time");
    let count = store.count_resolved_before(before);
    assert_eq!(count.expect("the store responds"), 2);
    for expected in [1, 1, 0] {
        let pruned = store.prune_dead_letters(before, 1);
        assert_eq!(pruned.expect("the store responds"), expected);
    }
    assert_eq!(
        subject.db().text("SELECT id FROM dead_letters ORDER BY id"),
        "3\n4"
    );
}
