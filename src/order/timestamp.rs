//! Moments to the microsecond, in UTC: read from RFC 3339, written back in one canonical form.
//!
//! Stricter than most parsers, because PostgreSQL, Go and serde must all agree on what was meant: a
//! zone is required, seconds end at 59, and the year stays within 0001-9999 before and after the
//! conversion to UTC. A fraction is cut to microseconds, which is what the store keeps. Calendar
//! arithmetic is jiff's; only the shape is checked here.

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use serde::{Serialize, Serializer};

const MICROS_PER_SECOND: i64 = 1_000_000;
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// A moment to the microsecond, in UTC. `None` only in rows that other programs wrote; an order
/// that was decoded always has one. Serialises as RFC 3339 in UTC, with a fraction only when it is
/// not zero, and `None` as "".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp(
    /// Microseconds since the Unix epoch.
    pub Option<i64>,
);

/// Why a text is not a [`Timestamp`]. Carries no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    #[error(
        "must be a date and time with a zone, as RFC 3339 writes it, for example \
         2021-11-26T06:22:19Z"
    )]
    Malformed,
    #[error("must be a day and a time of day that exist, with seconds from 00 to 59")]
    NotACalendarTime,
    #[error("must lie between the years 0001 and 9999 in UTC")]
    OutOfRange,
}

impl Timestamp {
    /// A moment given in microseconds since the epoch, as the store and the log give it. Whatever
    /// lies outside the years 0001-9999 (PostgreSQL's `infinity`, for one) reads as `None`, because
    /// RFC 3339 has no words for it.
    pub fn from_micros(micros: i64) -> Timestamp {
        Timestamp(civil(micros).map(|_| micros))
    }

    /// The moment with all six digits of its fraction, as in `2021-11-26T06:22:19.000000Z`: texts of
    /// this form are sorted by time. `None` where there is none to write.
    pub fn sortable(&self) -> Option<String> {
        let digits = self.digits()?;
        Some(String::from_utf8_lossy(&digits).into_owned())
    }

    /// Appends the canonical text: in UTC, with a fraction only when it is not zero; nothing for
    /// `None`.
    pub(super) fn write_to(&self, text: &mut Vec<u8>) {
        let Some(digits) = self.digits() else {
            return;
        };
        let (clock, fraction) = digits[..26].split_at(19);
        text.extend_from_slice(clock);
        let zeros = fraction.iter().rev().take_while(|digit| **digit == b'0');
        let kept = fraction.len() - zeros.count();
        if kept > 1 {
            text.extend_from_slice(&fraction[..kept]);
        }
        text.push(b'Z');
    }

    /// `YYYY-MM-DDTHH:MM:SS.ffffffZ`
    fn digits(&self) -> Option<[u8; 27]> {
        let utc = self.0.and_then(civil)?;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |at: std::ops::Range<usize>, mut number: i32| {
            for place in at.rev() {
                text[place] = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0..4, utc.year().into());
        put(5..7, utc.month().into());
        put(8..10, utc.day().into());
        put(11..13, utc.hour().into());
        put(14..16, utc.minute().into());
        put(17..19, utc.second().into());
        put(20..26, utc.subsec_nanosecond() / 1_000);
        Some(text)
    }

    /// Reads RFC 3339, strictly (see the module's head). A fraction is truncated to microseconds.
    pub fn parse(text: &str) -> Result<Timestamp, TimestampError> {
        use TimestampError::{Malformed, NotACalendarTime, OutOfRange};

        let parts = Parts::read(text.as_bytes()).ok_or(Malformed)?;
        if parts.year == 0 {
            return Err(OutOfRange);
        }
        // jiff reads second 60 as 59; here it is refused, since the store would turn it into the
        // next minute.
        if parts.second > 59 {
            return Err(NotACalendarTime);
        }
        let local = DateTime::new(
            parts.year,
            parts.month,
            parts.day,
            parts.hour,
            parts.minute,
            parts.second,
            0,
        )
        .map_err(|_| NotACalendarTime)?;
        let seconds = local.duration_since(EPOCH).as_secs() - parts.offset_seconds;
        let micros = seconds * MICROS_PER_SECOND + parts.micros;
        match civil(micros) {
            Some(_) => Ok(Timestamp(Some(micros))),
            None => Err(OutOfRange),
        }
    }
}

/// The UTC calendar time of a moment, when its year is one that RFC 3339 can write.
fn civil(micros: i64) -> Option<DateTime> {
    let utc = EPOCH
        .checked_add(SignedDuration::from_micros(micros))
        .ok()?;
    (1..=9999).contains(&utc.year()).then_some(utc)
}

/// The fields of an RFC 3339 text, not yet checked against the calendar.
struct Parts {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    micros: i64,
    offset_seconds: i64,
}

impl Parts {
    /// `None` when the shape is not `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`.
    fn read(text: &[u8]) -> Option<Parts> {
        let (clock, rest) = text.split_at_checked(19)?;
        let separators = [clock[4], clock[7], clock[10], clock[13], clock[16]];
        if !matches!(separators, [b'-', b'-', b'T' | b't', b':', b':']) {
            return None;
        }
        let (micros, zone) = fraction(rest)?;
        Some(Parts {
            year: i16::try_from(digits(&clock[..4])?).ok()?,
            month: two(&clock[5..7])?,
            day: two(&clock[8..10])?,
            hour: two(&clock[11..13])?,
            minute: two(&clock[14..16])?,
            second: two(&clock[17..19])?,
            micros,
            offset_seconds: offset(zone)?,
        })
    }
}

/// Splits `.123456789+03:00` into its microseconds and the zone. No fraction is zero.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after_point) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let length = after_point
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if length == 0 {
        return None;
    }
    let (given, zone) = after_point.split_at(length);
    let kept = &given[..length.min(6)];
    let missing = 6 - kept.len() as u32;
    Some((digits(kept)? * 10_i64.pow(missing), zone))
}

/// How far a zone is ahead of UTC, in seconds.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', h1, h2, b':', m1, m2] => (1, [*h1, *h2], [*m1, *m2]),
        [b'-', h1, h2, b':', m1, m2] => (-1, [*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (digits(&hours)?, digits(&minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn two(text: &[u8]) -> Option<i8> {
    i8::try_from(digits(text)?).ok()
}

/// A short run of decimal digits as a number.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + i64::from(byte - b'0'))
    })
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_is_printed_in_utc_with_a_fraction_only_when_there_is_one() {
        for (text, printed) in [
            ("2021-11-26T06:22:19Z", "2021-11-26T06:22:19Z"),
            ("2021-11-26t06:22:19z", "2021-11-26T06:22:19Z"),
            ("2021-11-26T06:22:19+03:00", "2021-11-26T03:22:19Z"),
            ("2021-11-26T06:22:19-00:00", "2021-11-26T06:22:19Z"),
            ("2021-12-31T23:30:00-01:45", "2022-01-01T01:15:00Z"),
            ("2021-11-26T06:22:19.000Z", "2021-11-26T06:22:19Z"),
            ("2021-11-26T06:22:19.5Z", "2021-11-26T06:22:19.5Z"),
            (
                "2021-11-26T06:22:19.123456789Z",
                "2021-11-26T06:22:19.123456Z",
            ),
            ("2021-11-26T06:22:19.0000009Z", "2021-11-26T06:22:19Z"),
            (
                "1969-12-31T23:59:59.9999999Z",
                "1969-12-31T23:59:59.999999Z",
            ),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            let parsed = Timestamp::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(parsed.to_string(), printed, "{text}");
            let sortable = parsed.sortable().unwrap();
            assert_eq!(sortable.len(), 27, "{sortable}");
            assert_eq!(Timestamp::parse(&sortable), Ok(parsed), "{sortable}");
            assert_eq!(
                Timestamp::parse(printed),
                Ok(parsed),
                "{text}: not canonical"
            );
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_for_the_right_reason() {
        use TimestampError::{Malformed, NotACalendarTime, OutOfRange};
        for (text, reason) in [
            ("", Malformed),
            ("infinity", Malformed),
            ("now", Malformed),
            ("epoch", Malformed),
            ("2021-11-26", Malformed),
            ("2021-11-26T06:22:19", Malformed),
            ("2021-11-26 06:22:19Z", Malformed),
            ("2021-11-26T06:22Z", Malformed),
            ("2021-11-26T06:22:19.Z", Malformed),
            ("2021-11-26T06:22:19,5Z", Malformed),
            ("2021-11-26T06:22:19+0300", Malformed),
            ("2021-11-26T06:22:19+24:00", Malformed),
            ("2021-11-26T06:22:19+03:60", Malformed),
            ("2021-11-26T06:22:19Z ", Malformed),
            ("+021-11-26T06:22:19Z", Malformed),
            ("10000-01-01T00:00:00Z", Malformed),
            ("2021-11-26T06:22:19é", Malformed),
            ("2021-02-30T00:00:00Z", NotACalendarTime),
            ("2021-13-01T00:00:00Z", NotACalendarTime),
            ("2021-00-01T00:00:00Z", NotACalendarTime),
            ("2023-02-29T00:00:00Z", NotACalendarTime),
            ("2021-11-26T24:00:00Z", NotACalendarTime),
            ("2021-11-26T06:60:00Z", NotACalendarTime),
            ("2016-12-31T23:59:60Z", NotACalendarTime),
            ("0000-01-01T00:00:00Z", OutOfRange),
            ("0001-01-01T00:00:00+00:01", OutOfRange),
            ("9999-12-31T23:59:59-00:01", OutOfRange),
        ] {
            assert_eq!(Timestamp::parse(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_moment_of_the_store_outside_the_years_of_rfc_3339_reads_as_none() {
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp(None));
        assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp(None));
        assert_eq!(Timestamp(Some(i64::MAX)).to_string(), "");
        assert_eq!(
            Timestamp::from_micros(0).to_string(),
            "1970-01-01T00:00:00Z"
        );
    }
}
