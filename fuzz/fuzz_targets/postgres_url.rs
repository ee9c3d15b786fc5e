//! A database URL is read or refused; a refusal repeats no part of it, which may be a password.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orders_fuzz::url_error;

const SECRET: &str = "s3cr3t";

fuzz_target!(|text: &str| {
    let secret = text.contains(SECRET);
    for url in [format!("postgresql://{text}"), text.to_owned()] {
        if let Some(error) = url_error(&url) {
            assert!(!(secret && error.contains(SECRET)), "{error}");
            assert!(!error.contains(char::is_control), "{error}");
            assert!(error.len() < 1_000, "{error}");
        }
    }
    // The secret at each place where something begins or ends.
    for (at, _) in text.match_indices([':', '@', '/', '?', '=', '&', ',', '[', '%']) {
        let (before, after) = text.split_at(at);
        let url = format!("postgresql://{before}{SECRET}{after}");
        let error = url_error(&url).unwrap_or_default();
        assert!(!error.contains(SECRET), "{url}: {error}");
    }
});
