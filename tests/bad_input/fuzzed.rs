//! The inputs that are kept of the fuzz targets, among them all that ever failed, through the same
//! checks.
//!
//! The unit tests read those of the `.env` file and of the database URL.

use orders::{order, pipeline};
use support::seeds::seeds;

#[path = "../../fuzz/src/checks.rs"]
mod checks;

fn check(target: &str, check: fn(&[u8])) {
    for (name, bytes) in seeds(target) {
        println!("{name}");
        check(&bytes);
    }
}

#[test]
fn no_document_that_fuzzing_found_is_read_in_two_ways() {
    check("order", checks::order);
}

#[test]
fn no_lookup_that_fuzzing_found_changes_a_reply() {
    check("lookup", checks::lookup);
}

#[test]
fn no_reply_that_fuzzing_found_is_about_another_order() {
    check("reply", checks::reply);
}
