//! Any record of the reply topic is a reply or none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orders_fuzz::checks;

fuzz_target!(|bytes: &[u8]| checks::reply(bytes));
