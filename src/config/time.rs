//! Times on the command line: RFC 3339, a day, or how long ago.

use crate::order::Timestamp;
use crate::pipeline::time::now_us;

/// Parses `2026-11-27T10:00:00Z` (RFC 3339), `2026-11-27` (its start in UTC) or `-90s`, `-15m`, `-1h`,
/// `-7d` (so long before now).
///
/// The argument needs `allow_hyphen_values`.
pub fn time(text: &str) -> Result<Timestamp, String> {
    relative_to(text, now_us())
}

fn relative_to(text: &str, now_us: i64) -> Result<Timestamp, String> {
    let parsed = match text.strip_prefix('-') {
        Some(age) => age_us(age).and_then(|age_us| now_us.checked_sub(age_us)),
        None if text.len() == "2026-11-27".len() => parse(&format!("{text}T00:00:00Z")),
        None => parse(text),
    };
    // The store has no times of other years.
    let parsed = parsed.map(Timestamp::from_micros);
    parsed.filter(|time| time.0.is_some()).ok_or_else(|| {
        format!("`{text}` is not a time such as 2026-11-27T10:00:00Z, 2026-11-27, -15m, -1h or -7d")
    })
}

fn parse(text: &str) -> Option<i64> {
    Timestamp::parse(text).ok()?.0
}

fn age_us(age: &str) -> Option<i64> {
    let (number, unit) = age.split_at_checked(age.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| is_number)?;
    number.checked_mul(seconds)?.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_or_a_day_or_an_age() {
        let Timestamp(Some(now)) = Timestamp::parse("2026-11-28T12:00:00.5Z").unwrap() else {
            panic!("it is a time")
        };
        for (text, expected) in [
            ("2026-11-27T10:00:00+02:00", "2026-11-27T08:00:00Z"),
            ("2026-11-27", "2026-11-27T00:00:00Z"),
            ("-90s", "2026-11-28T11:58:30.5Z"),
            ("-15m", "2026-11-28T11:45:00.5Z"),
            ("-1h", "2026-11-28T11:00:00.5Z"),
            ("-7d", "2026-11-21T12:00:00.5Z"),
            ("-0s", "2026-11-28T12:00:00.5Z"),
        ] {
            let parsed = relative_to(text, now).map(|time| time.to_string());
            assert_eq!(parsed.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused_with_examples() {
        let too_long = format!("-{}d", i64::MAX);
        for text in [
            "",
            "-",
            "-1",
            "-h",
            "--1h",
            "-+1h",
            "-1.5h",
            "1h",
            "-1é",
            "-4000000d",
            "2026-11-31",
            "2026-11-27 10:00:00Z",
            "2026-11-27T10:00:00",
            "now",
            "éééééééééé",
            &too_long,
        ] {
            let refused = time(text).unwrap_err();
            assert!(refused.ends_with("2026-11-27, -15m, -1h or -7d"), "{text}");
        }
    }
}
