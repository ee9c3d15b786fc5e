//! Any bytes are decoded as an order or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orders_fuzz::checks;

fuzz_target!(|bytes: &[u8]| checks::order(bytes));
