//! The audit of the support crate finds what it is there to find.

use support::auditor::{Poster, Task, audit, poster};
use support::{Env, PATIENCE};

/// Not a test: the poster's process. In a usual run there is no task, and nothing happens.
#[test]
fn poster_process() {
    poster::work();
}

#[test]
fn the_audit_notices_what_is_missing_older_or_mixed() {
    let env = Env::ready();
    let (api, mut consumer) = (env.api(), env.consumer());
    let task = Task {
        authority: api.url(),
        prefix: "seen".into(),
        orders: 40,
        poison_every: 0,
    };
    let record = Poster::start(&env, &task).finish(PATIENCE);
    env.wait_until_applied();
    consumer.stop();
    audit(&env, &record);

    let mut db = env.db();
    let of = "WHERE order_uid = 'seen-0'";
    for (harm, cure) in [
        (
            format!("UPDATE payment SET amount = amount - 1 {of}"),
            format!("UPDATE payment SET amount = amount + 1 {of}"),
        ),
        (
            format!("UPDATE items SET track_number = track_number || 'x' {of}"),
            format!("UPDATE items SET track_number = rtrim(track_number, 'x') {of}"),
        ),
        (
            format!("UPDATE orders SET source_offset = source_offset - 1 {of}"),
            format!("UPDATE orders SET source_offset = source_offset + 1 {of}"),
        ),
        (format!("DELETE FROM orders {of}"), String::new()),
    ] {
        db.run(&harm);
        let audited = std::panic::catch_unwind(|| audit(&env, &record));
        assert!(audited.is_err(), "the audit is blind to {harm}");
        db.run(&cure);
    }
}
