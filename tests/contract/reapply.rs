//! What every store does when a record is applied again.

use orders::pipeline::{PartitionOffset, TopicId};
use orders::store::Change;
use orders::store::operator::dead_letters::Mode;
use orders::store::operator::reapply::{DecodedRecord, Reapplied};
use support::for_each_engine;

use crate::contract::order_store::erase;
use crate::contract::owner::{AMOUNTS, LOG, sourced};
use crate::contract::stores::Database;

for_each_engine! {
    [
        postgres => super::Database::postgres(),
        sqlite => super::Database::sqlite(),
    ]
    [
        a_record_applied_again_overwrites_no_newer_version,
        a_record_at_the_position_or_of_another_topic_is_left_to_the_consumer,
        a_record_of_an_erased_order_is_not_applied_again,
    ]
}

const CHANGE: Change<'_> = Change {
    by: "me@here",
    why: "ticket 7",
};

const TRACE: &str = "SELECT next_offset, moved_by, moved_why FROM log_positions";

/// Version `version` of the order `a`, from an offset.
fn reapply(subject: &Database, topic_id: &str, version: u32, offset: i64, mode: Mode) -> Reapplied {
    let order = sourced("a", version, 0, 0).order;
    let record = DecodedRecord {
        log_id: LOG,
        topic_id: &TopicId::from(topic_id),
        topic: "orders",
        at: PartitionOffset::new(0, offset),
        accepted_at_us: offset * 1_000_000,
        order: &order,
    };
    let mut operator = subject.engine.operator().expect("the database is there");
    let reapplied = operator.reapply(&record, &CHANGE, mode);
    reapplied.expect("the database has applied it")
}

fn a_record_applied_again_overwrites_no_newer_version(subject: &Database) {
    let mut owner = subject.owner();
    owner.apply_orders(vec![sourced("a", 2, 5, 5)]);
    let older = reapply(subject, "topic-1", 1, 3, Mode::Commit);
    assert_eq!(older, Reapplied::Outdated);
    assert_eq!(subject.db().text(AMOUNTS), "a|2");
    assert_eq!(subject.db().text(TRACE), "6||");

    subject.db().run("DELETE FROM payment");
    let dry = reapply(subject, "topic-1", 2, 5, Mode::DryRun);
    assert_eq!(dry, Reapplied::Stored);
    assert_eq!(subject.db().text("SELECT count(*) FROM payment"), "0");
    let same = reapply(subject, "topic-1", 2, 5, Mode::Commit);
    assert_eq!(same, Reapplied::Stored);
    assert_eq!(subject.db().text(AMOUNTS), "a|2");
    assert_eq!(subject.db().text(TRACE), "6|me@here|ticket 7");
    // The owner goes on: its position has not moved.
    owner.apply_orders(vec![sourced("a", 3, 6, 6)]);
    assert_eq!(subject.db().text(AMOUNTS), "a|3");
}

fn a_record_at_the_position_or_of_another_topic_is_left_to_the_consumer(subject: &Database) {
    let mut owner = subject.owner();
    owner.apply_orders(vec![sourced("b", 1, 5, 5)]);
    for (topic_id, offset) in [("topic-1", 6), ("topic-1", 7), ("topic-2", 1)] {
        let reapplied = reapply(subject, topic_id, 1, offset, Mode::Commit);
        assert_eq!(reapplied, Reapplied::Waiting, "{topic_id} {offset}");
    }
    assert_eq!(subject.db().text("SELECT order_uid FROM orders"), "b");
    assert_eq!(subject.db().text(TRACE), "6||");
}

fn a_record_of_an_erased_order_is_not_applied_again(subject: &Database) {
    let mut owner = subject.owner();
    owner.apply_orders(vec![sourced("a", 1, 5, 5)]);
    erase(subject, "a", 5_000_000);
    for table in ["items", "payment", "delivery", "orders"] {
        subject.db().run(&format!("DELETE FROM {table}"));
    }
    let reapplied = reapply(subject, "topic-1", 1, 5, Mode::Commit);
    assert_eq!(reapplied, Reapplied::Erased);
    assert_eq!(subject.db().text("SELECT count(*) FROM orders"), "0");
}
