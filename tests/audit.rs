//! The audit reports what it is there to find.

use support::audit::audit;
use support::load_client::{self, Workload};
use support::{Env, TIMEOUT};

/// Not a test: the process of a load client. It returns at once where no client was requested.
#[test]
fn client_process() {
    load_client::run_if_requested();
}

#[test]
fn the_audit_reports_missing_older_and_mixed_orders() {
    let env = Env::ready();
    let (api, mut consumer) = (env.api(), env.consumer());
    let workload = Workload::new(&api.url()).orders(40);
    let answers = workload.start(&env, 1).finish(TIMEOUT);
    env.wait_until_applied();
    consumer.stop();
    audit(&env, &answers);

    let mut db = env.db();
    let of = "WHERE order_uid = 'client0-0'";
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
        let audited = std::panic::catch_unwind(|| audit(&env, &answers));
        assert!(audited.is_err(), "the audit does not report {harm}");
        db.run(&cure);
    }
}
