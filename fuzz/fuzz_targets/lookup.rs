//! Any record of the lookup topic is a request or none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orders_fuzz::checks;

fuzz_target!(|bytes: &[u8]| checks::lookup(bytes));
