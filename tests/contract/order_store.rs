//! The guarantees of every store.

use std::thread;

use orders::store::{Applied, Change, LookupResult, StartDecision, StoreError};
use support::for_each_engine;
use support::orders::order_version;

use crate::contract::owner::{AMOUNTS, LOG, claim, commit_start, dead, hole, sourced, with_entry};
use crate::contract::stores::Database;

for_each_engine! {
    [
        postgres => super::Database::postgres(),
        sqlite => super::Database::sqlite(),
    ]
    [
        a_position_exists_from_the_first_start_decision_on,
        a_start_decision_written_twice_leaves_one_gap,
        a_start_decided_from_a_position_that_is_elsewhere_now_moves_nothing,
        a_batch_is_stored_with_its_position_or_not_at_all,
        a_batch_applied_twice_is_recognised,
        an_older_owner_is_fenced,
        an_older_offset_never_overwrites_a_newer_one,
        across_topic_incarnations_the_accept_time_decides,
        an_order_is_replaced_whole,
        a_rejected_order_becomes_a_dead_letter_and_the_others_are_stored,
        a_schema_that_rejects_valid_orders_stops_everything,
        dead_letters_and_gaps_are_stored_with_their_batch,
        a_record_accepted_before_an_erasure_does_not_bring_the_order_back,
        a_version_accepted_after_an_erasure_is_stored_although_an_erased_one_follows,
        a_dead_letter_of_an_erased_order_is_not_kept,
        an_erased_order_is_gone_and_its_earlier_records_stay_out,
        an_erasure_waits_for_a_batch_under_way,
    ]
}

fn a_position_exists_from_the_first_start_decision_on(subject: &Database) {
    let mut owner = subject.owner();
    assert_eq!((owner.position.epoch, owner.position.next_offset), (1, 0));
    assert_eq!(owner.position.last_applied, None);
    let found = owner.store.position(LOG, 0).expect("the store responds");
    assert_eq!(found.as_ref(), Some(&owner.position));
    let acquired = owner.store.acquire(&claim());
    assert_eq!(acquired.expect("the partition can be acquired"), found);
}

/// It is written again when the answer to its COMMIT was lost.
fn a_start_decision_written_twice_leaves_one_gap(subject: &Database) {
    let mut owner = subject.owner();
    for to in [None, Some(7)] {
        let decision = StartDecision {
            from: Some((1, 0)),
            topic_id: "topic-2".into(),
            epoch: 2,
            next_offset: 7,
            gap: Some(hole(5, to)),
        };
        for _ in 0..2 {
            let committed = owner.store.commit_start(&owner.claim, &decision);
            let position = committed.expect("the start can be committed");
            assert_eq!((position.epoch, position.next_offset), (2, 7));
        }
    }
    assert_eq!(
        subject
            .db()
            .text("SELECT epoch, from_offset, to_offset FROM log_gaps ORDER BY id"),
        "2|5|\n2|5|7"
    );
}

/// The database was restored, or an operator moved the position: what lies between was not decided about.
fn a_start_decided_from_a_position_that_is_elsewhere_now_moves_nothing(subject: &Database) {
    let mut owner = subject.owner();
    let mut decision = StartDecision {
        from: None,
        topic_id: "topic-2".into(),
        epoch: 2,
        next_offset: 9,
        gap: Some(hole(4, None)),
    };
    for from in [None, Some((1, 4)), Some((2, 0))] {
        decision.from = from;
        let committed = owner.store.commit_start(&owner.claim, &decision);
        let is_fenced = matches!(committed, Err(StoreError::Fenced(None)));
        assert!(is_fenced, "from {from:?}: {committed:?}");
    }
    let found = owner.store.position(LOG, 0).expect("the store responds");
    assert_eq!(found.as_ref(), Some(&owner.position));
    assert_eq!(subject.db().count("log_gaps"), 0);

    owner.claim.partition = 1;
    let committed = owner.store.commit_start(&owner.claim, &decision);
    let is_fenced = matches!(committed, Err(StoreError::Fenced(None)));
    assert!(is_fenced, "{committed:?}");
    let found = owner.store.position(LOG, 1).expect("the store responds");
    assert_eq!(found, None, "a position was made up");
}

fn a_batch_is_stored_with_its_position_or_not_at_all(subject: &Database) {
    let mut owner = subject.owner();
    let batch = owner.batch(vec![sourced("a", 1, 0, 1), sourced("b", 2, 1, 1)]);
    let applied = owner.apply(&batch).expect("the batch is stored");
    assert!(!applied.already_applied && applied.outdated == 0 && applied.rejected.is_empty());
    let position = owner.store.position(LOG, 0).expect("the store responds");
    let position = position.expect("there is a position");
    assert_eq!(position.next_offset, 2);
    assert_eq!(position.last_applied, batch.last_applied);
    assert_eq!(subject.db().text(AMOUNTS), "a|1\nb|2");

    // Without the table of items nothing of the batch is stored.
    subject.db().run("ALTER TABLE items RENAME TO elsewhere");
    let next = owner.batch(vec![sourced("c", 1, 2, 1)]);
    let error = owner.apply(&next).expect_err("there is no such table");
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
    assert_eq!(subject.db().text(AMOUNTS), "a|1\nb|2");
    assert_eq!(
        subject.db().text("SELECT next_offset FROM log_positions"),
        "2"
    );
}

fn a_batch_applied_twice_is_recognised(subject: &Database) {
    let mut owner = subject.owner();
    let batch = owner.batch(vec![sourced("a", 1, 0, 1)]);
    for already_applied in [false, true] {
        let applied = owner.apply(&batch).expect("the batch is stored");
        assert_eq!(applied.already_applied, already_applied);
    }
    assert_eq!(subject.db().count("items"), 2);
}

fn an_older_owner_is_fenced(subject: &Database) {
    let mut old = subject.owner();
    let newer = claim();
    old.store
        .acquire(&newer)
        .expect("the partition can be acquired");
    let batch = old.batch(vec![sourced("a", 1, 0, 1)]);
    let error = old
        .apply(&batch)
        .expect_err("another owner has acquired the partition");
    let StoreError::Fenced(Some(holder)) = error else {
        panic!("{error}")
    };
    assert_eq!(
        (holder.group.as_str(), holder.host.as_str()),
        ("group", "host")
    );
    assert_eq!(subject.db().count("orders"), 0);
    for (claim, is_fenced) in [(&old.claim, true), (&newer, false)] {
        let holder = old.store.holder(claim).expect("the store responds");
        assert_eq!(holder.is_some(), is_fenced);
    }
}

fn an_older_offset_never_overwrites_a_newer_one(subject: &Database) {
    let mut owner = subject.owner();
    owner.apply_orders(vec![sourced("a", 5, 9, 1)]);
    // A rewind: the same incarnation from the start, even with a later accept time.
    owner.position = commit_start(&mut *owner.store, &owner.claim, "topic-1", 1, 0);
    let replayed = owner.apply_orders(vec![sourced("a", 3, 4, 100)]);
    assert_eq!(replayed.outdated, 1);
    assert_eq!(subject.db().text(AMOUNTS), "a|5");
}

fn across_topic_incarnations_the_accept_time_decides(subject: &Database) {
    let mut owner = subject.owner();
    owner.apply_orders(vec![
        sourced("a", 5, 9, 50),
        sourced("b", 5, 10, 50),
        sourced("c", 5, 11, 50),
    ]);
    owner.position = commit_start(&mut *owner.store, &owner.claim, "topic-2", 2, 0);
    let recreated = owner.apply_orders(vec![
        sourced("a", 6, 0, 49),
        sourced("b", 6, 1, 50),
        sourced("c", 6, 2, 51),
    ]);
    assert_eq!(recreated.outdated, 1);
    assert_eq!(subject.db().text(AMOUNTS), "a|5\nb|6\nc|6");
}

fn an_order_is_replaced_whole(subject: &Database) {
    let mut owner = subject.owner();
    for version in 1..=4 {
        owner.apply_orders(vec![sourced("a", version, i64::from(version) - 1, 1)]);
    }
    let mut found = owner.store.lookup(LOG, &["a"]).expect("the store responds");
    let LookupResult::Stored(stored) = found.results.remove(0) else {
        panic!("the order is stored")
    };
    let encoded: serde_json::Value = serde_json::from_slice(&stored.order.encode()).expect("JSON");
    assert_eq!(encoded, order_version("a", 4));
    let source = stored.source.expect("it came from this incarnation");
    assert_eq!(source.to_string(), "topic-1/0/3");
    assert_eq!(stored.accepted_at_us, Some(1_000_000));
}

fn a_rejected_order_becomes_a_dead_letter_and_the_others_are_stored(subject: &Database) {
    subject.reject_entry("BAD");
    let mut owner = subject.owner();
    let orders = (0..100).map(|number| {
        let entry = if number == 57 { "BAD" } else { "GOOD" };
        with_entry(&format!("uid-{number:03}"), entry, number)
    });
    let applied = owner.apply_orders(orders.collect());
    let rejected: Vec<i64> = applied.rejected.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(rejected, [57]);
    let mut db = subject.db();
    assert_eq!(db.count("orders"), 99);
    assert_eq!(
        db.text("SELECT \"offset\", order_uid FROM dead_letters"),
        "57|uid-057"
    );
    assert_eq!(db.text("SELECT next_offset FROM log_positions"), "100");
}

fn a_schema_that_rejects_valid_orders_stops_everything(subject: &Database) {
    subject.reject_entry("BAD");
    let mut owner = subject.owner();
    let orders = (0..100).map(|number| {
        let entry = if number % 2 == 0 { "BAD" } else { "GOOD" };
        with_entry(&format!("uid-{number:03}"), entry, number)
    });
    let batch = owner.batch(orders.collect());
    let error = owner
        .apply(&batch)
        .expect_err("that is a schema, not input");
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
    let mut db = subject.db();
    assert_eq!((db.count("orders"), db.count("dead_letters")), (0, 0));
    assert_eq!(db.text("SELECT next_offset FROM log_positions"), "0");
}

fn dead_letters_and_gaps_are_stored_with_their_batch(subject: &Database) {
    let mut owner = subject.owner();
    let mut batch = owner.batch(vec![sourced("a", 1, 4, 1)]);
    batch.dead_letters = vec![dead(0, None), dead(3, Some("d"))];
    batch.gaps = vec![hole(1, Some(3))];
    owner.apply(&batch).expect("the batch is stored");
    let mut db = subject.db();
    assert_eq!(
        db.text(
            "SELECT topic, partition, \"offset\", order_uid, payload, payload_bytes
             FROM dead_letters ORDER BY 3"
        ),
        "orders|0|0||\\x00ff726177|5\norders|0|3|d|\\x00ff726177|5"
    );
    assert_eq!(
        db.text("SELECT epoch, from_offset, to_offset, reason FROM log_gaps"),
        "1|1|3|a hole"
    );
}

/// Between the search for known uids and the INSERT, the uid is inserted: a unique violation.
#[test]
fn a_uid_that_another_session_inserts_at_the_same_time_is_overwritten() {
    let subject = Database::postgres();
    let mut owner = subject.owner();
    let batch = owner.batch(vec![sourced("a", 1, 0, 1), sourced("b", 1, 1, 1)]);
    let mut other = subject.db();
    other.run("BEGIN; INSERT INTO orders (order_uid) VALUES ('a')");
    let applying = thread::spawn(move || owner.apply(&batch));
    subject.db().eventually(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'orders' AND wait_event_type = 'Lock'",
        1,
    );
    other.run("COMMIT");
    let applied = applying.join().expect("the thread ends");
    assert_eq!(applied.expect("the batch is stored"), Applied::default());
    assert_eq!(subject.db().text(AMOUNTS), "a|1\nb|1");
}

/// The order of the uid was erased: this is what `orders erase` writes.
pub fn erase(subject: &Database, uid: &str, until_us: i64) {
    let digest: String = orders::store::uid_digest(uid.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let until = orders::order::Timestamp::from_micros(until_us);
    let (hex, until) = (subject.hex(&digest), until.sortable().expect("in range"));
    subject.db().run(&format!(
        "INSERT INTO erasures (uid_sha256, erased_until, erased_by, why)
             VALUES ({hex}, '{until}', 'test', 'test');
         UPDATE log_positions SET has_erasures = true"
    ));
}

fn a_record_accepted_before_an_erasure_does_not_bring_the_order_back(subject: &Database) {
    let mut owner = subject.owner();
    erase(subject, "a", 50_000_000);
    let applied = owner.apply_orders(vec![sourced("a", 1, 0, 50), sourced("b", 1, 1, 50)]);
    assert_eq!((applied.erased, applied.outdated), (1, 0));
    assert_eq!(subject.db().text(AMOUNTS), "b|1");
    let applied = owner.apply_orders(vec![sourced("a", 2, 2, 51)]);
    assert_eq!(applied.erased, 0);
    assert_eq!(subject.db().text(AMOUNTS), "a|2\nb|1");
}

/// The newest version of a batch was accepted before the erasure, an older one after it, by another API
/// with another clock: the order that came after the erasure must not be lost with the other.
fn a_version_accepted_after_an_erasure_is_stored_although_an_erased_one_follows(
    subject: &Database,
) {
    let mut owner = subject.owner();
    erase(subject, "a", 50_000_000);
    let mut erased = sourced("a", 2, 1, 49);
    erased.supersedes = true;
    let batch = owner.batch(vec![erased]);
    let error = owner.apply(&batch).expect_err("smaller batches are needed");
    assert!(matches!(error, StoreError::Rejected(_)), "{error}");
    owner.apply_orders(vec![sourced("a", 1, 0, 51)]);
    let applied = owner.apply_orders(vec![sourced("a", 2, 1, 49)]);
    assert_eq!(applied.erased, 1);
    assert_eq!(subject.db().text(AMOUNTS), "a|1");
}

fn a_dead_letter_of_an_erased_order_is_not_kept(subject: &Database) {
    let mut owner = subject.owner();
    erase(subject, "a", 50_000_000);
    let mut batch = owner.batch(vec![]);
    batch.dead_letters = vec![dead(0, Some("a")), dead(1, Some("b"))];
    for letter in &mut batch.dead_letters {
        letter.accepted_at_us = 50_000_000;
    }
    batch.end = batch.start + 2;
    let applied = owner.apply(&batch).expect("the batch is stored");
    assert_eq!(applied.erased, 1);
    assert_eq!(subject.db().text("SELECT order_uid FROM dead_letters"), "b");
}

fn an_erased_order_is_gone_and_its_earlier_records_stay_out(subject: &Database) {
    let mut owner = subject.owner();
    owner.apply_orders(vec![sourced("a", 1, 0, 1), sourced("b", 1, 1, 1)]);
    let mut batch = owner.batch(vec![]);
    batch.dead_letters = vec![dead(2, Some("a")), dead(3, None), dead(4, Some("b"))];
    batch.dead_letters[1].key = Some("a".into());
    batch.end = batch.start + 3;
    owner.apply(&batch).expect("the batch is stored");

    let mut operator = subject.engine.operator().expect("the database is there");
    assert_eq!(operator.erased_until("a").expect("it responds"), None);
    let change = Change {
        by: "someone@here",
        why: "ticket 7",
    };
    let erased = operator.erase("a", &change).expect("it can be erased");
    assert!(erased.was_stored);
    assert_eq!(erased.dead_letters, 2);
    let mut db = subject.db();
    assert_eq!(db.text(AMOUNTS), "b|1");
    for table in ["orders", "delivery", "payment"] {
        assert_eq!(db.count(table), 1, "{table}");
    }
    let traces = "SELECT key, payload, order_uid, reason, resolution, resolved_by, resolved_why
        FROM dead_letters WHERE \"offset\" < 4 ORDER BY id";
    let trace = "|||erased|erased|someone@here|ticket 7";
    assert_eq!(db.text(traces), format!("{trace}\n{trace}"));
    let markers = "SELECT erased_by, why FROM erasures";
    assert_eq!(db.text(markers), "someone@here|ticket 7");
    let until = operator.erased_until("a").expect("it responds");
    assert_eq!(until, Some(erased.erased_until));

    // A record that was accepted before, by an API that was slow.
    let late = owner.apply_orders(vec![sourced("a", 2, 5, 100)]);
    assert_eq!(late.erased, 1);
    assert_eq!(subject.db().text(AMOUNTS), "b|1");
    // Erasing again, what is gone, is no error.
    let again = operator.erase("a", &change).expect("it can be erased");
    assert!(!again.was_stored && again.erased_until.0 >= erased.erased_until.0);
}

/// The order that an erasure does not see yet is in a batch that has not been committed.
fn an_erasure_waits_for_a_batch_under_way(subject: &Database) {
    let mut owner = subject.owner();
    let lock = subject.db().lock_writers();
    let batch = owner.batch(vec![sourced("a", 1, 0, 1), sourced("b", 1, 1, 1)]);
    let engine = &subject.engine;
    let change = Change {
        by: "someone@here",
        why: "",
    };
    thread::scope(|scope| {
        let applying = scope.spawn(|| {
            loop {
                match owner.apply(&batch) {
                    Err(StoreError::Contended(_)) => {}
                    applied => break applied.expect("the batch is stored"),
                }
            }
        });
        let erasing = scope.spawn(|| {
            let mut operator = engine.operator().expect("the database is there");
            loop {
                match operator.erase("a", &change) {
                    Err(StoreError::Contended(_)) => {}
                    erased => break erased.expect("it can be erased"),
                }
            }
        });
        drop(lock);
        let (applied, erased) = (applying.join(), erasing.join());
        let (applied, erased) = (applied.expect("no panic"), erased.expect("no panic"));
        // Either the batch came first and its order was erased, or it has passed its record.
        assert_eq!(applied.erased, usize::from(!erased.was_stored));
    });
    assert_eq!(subject.db().text(AMOUNTS), "b|1");
}
