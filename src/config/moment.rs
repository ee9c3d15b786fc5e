//! Moments of the operators' commands: `--since`, `--until`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::order::Timestamp;

/// Parses RFC 3339, a day such as `2026-11-27` (its begin in UTC), or how long ago, such as `-30s`,
/// `-15m`, `-1h` or `-7d`.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = now.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
    moment_at(text, now_us)
}

fn moment_at(text: &str, now_us: i64) -> Result<Timestamp, String> {
    let expected = || {
        format!("`{text}` is not a time such as 2026-11-27T08:00:00Z, 2026-11-27, -15m, -1h or -7d")
    };
    if let Some(ago) = text.strip_prefix('-') {
        let ago_us = microseconds(ago).ok_or_else(expected)?;
        let moment = Timestamp::from_micros(now_us.saturating_sub(ago_us));
        return moment.0.map(|_| moment).ok_or_else(expected);
    }
    let is_day = text.len() == "2026-11-27".len();
    let parsed = match is_day {
        true => Timestamp::parse(&format!("{text}T00:00:00Z")),
        false => Timestamp::parse(text),
    };
    parsed.map_err(|_| expected())
}

/// Reads a number with a unit.
fn microseconds(text: &str) -> Option<i64> {
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(seconds)?.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_day_or_how_long_ago() {
        let now = Timestamp::parse("2026-11-27T12:00:00Z").unwrap().0.unwrap();
        for (text, expected) in [
            ("2026-11-27T08:00:00Z", "2026-11-27T08:00:00Z"),
            ("2026-11-27T08:00:00.5+01:00", "2026-11-27T07:00:00.500000Z"),
            ("2026-11-27", "2026-11-27T00:00:00Z"),
            ("-30s", "2026-11-27T11:59:30Z"),
            ("-15m", "2026-11-27T11:45:00Z"),
            ("-1h", "2026-11-27T11:00:00Z"),
            ("-7d", "2026-11-20T12:00:00Z"),
            ("-0s", "2026-11-27T12:00:00Z"),
        ] {
            assert_eq!(moment_at(text, now).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn other_text_is_refused_and_never_counts_as_now() {
        let too_long = "-99999999999999999999d";
        for text in [
            "",
            "-",
            "1h",
            "-1",
            "-1w",
            "--1h",
            "2026-13-01",
            "yesterday",
            too_long,
        ] {
            let error = moment_at(text, 0).unwrap_err();
            assert!(
                error.starts_with(&format!("`{text}` is not a time")),
                "{error}"
            );
        }
        assert!(moment_at("-9000000d", 0).is_err());
    }
}
