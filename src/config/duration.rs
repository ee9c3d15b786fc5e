//! Durations with a unit, such as `500ms` or `2m`.

use std::time::Duration;

/// The longest duration: any clock can be increased by it without an overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses `500ms`, `30s`, `2m` or `1h`, up to a day; a number alone is in seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a duration such as 500ms, 30s, 2m or 1h");
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = number.parse().map_err(|_| expected())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    match milliseconds.map(Duration::from_millis) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err(format!("`{text}` is longer than a day")),
        None => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("2m", 120_000),
            ("0s", 0),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        let too_long = "99999999999999999999s";
        for text in ["", "s", "-1s", "1.5s", "1 s", "1d", "25h", too_long] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
