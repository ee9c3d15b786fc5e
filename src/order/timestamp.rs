//! Timestamps to the microsecond, in UTC: read from RFC 3339, written back in one canonical form.
//!
//! jiff parses, calculates and formats. The shape is checked before, because PostgreSQL, Go and
//! serde must all read the same time: a zone is required, seconds end at 59, and the year stays
//! within 0001-9999 before and after the conversion to UTC. A fraction is truncated to
//! microseconds, which is what the store keeps.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::ops::RangeInclusive;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

use super::Text;

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// jiff reads fractions of at most so many digits.
const MAX_FRACTION: usize = 9;

/// A time to the microsecond, in UTC. `None` only in rows that other programs wrote; a decoded
/// order always has one. Serialises as RFC 3339 in UTC, with a fraction only when it is not zero,
/// and `None` as "".
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
    /// The microseconds of the years 0001 to 9999.
    pub const MICROS: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

    /// The time so many microseconds after the epoch. Outside the years 0001-9999 (PostgreSQL's
    /// `infinity`, for one) it is `None`, because RFC 3339 cannot write it.
    pub fn from_micros(micros: i64) -> Timestamp {
        Timestamp(Some(micros).filter(|micros| Timestamp::MICROS.contains(micros)))
    }

    /// Formats with all six digits of the fraction, as in `2021-11-26T06:22:19.000000Z`: such texts
    /// sort by time. `None` for `None`.
    pub fn sortable(&self) -> Option<String> {
        self.civil().map(|utc| format!("{utc:.6}Z"))
    }

    /// Appends the canonical text: in UTC, with a fraction only when it is not zero; nothing for
    /// `None`.
    pub(super) fn write_to(&self, text: &mut Vec<u8>) {
        write!(text, "{self}").expect("writing to a Vec cannot fail");
    }

    /// Reads RFC 3339, strictly (see the module's head). A fraction is truncated to microseconds.
    pub fn parse(text: &str) -> Result<Timestamp, TimestampError> {
        use TimestampError::{Malformed, NotACalendarTime, OutOfRange};

        let Shape {
            clock,
            fraction,
            zone,
        } = Shape::of(text).ok_or(Malformed)?;
        if clock.starts_with("0000") {
            return Err(OutOfRange);
        }
        // jiff reads second 60 as 59; here it is refused, since the store would turn it into the
        // next minute.
        if clock.ends_with("60") {
            return Err(NotACalendarTime);
        }
        let text = match fraction.get(..MAX_FRACTION) {
            Some(digits) => Cow::Owned(format!("{clock}.{digits}{zone}")),
            None => Cow::Borrowed(text),
        };
        let pieces = Pieces::parse(&*text).map_err(|_| NotACalendarTime)?;
        let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else {
            return Err(Malformed);
        };
        let nanos = time.subsec_nanosecond();
        let local = pieces.date().to_datetime(time).duration_since(EPOCH);
        let seconds = (local - SignedDuration::from_nanos(nanos.into())).as_secs();
        let micros = (seconds - i64::from(offset.seconds())) * 1_000_000 + i64::from(nanos / 1_000);
        match Timestamp::from_micros(micros) {
            Timestamp(None) => Err(OutOfRange),
            timestamp => Ok(timestamp),
        }
    }

    /// The UTC calendar time, where RFC 3339 can write it.
    fn civil(self) -> Option<DateTime> {
        let micros = self.0.filter(|micros| Timestamp::MICROS.contains(micros))?;
        EPOCH.checked_add(SignedDuration::from_micros(micros)).ok()
    }
}

/// The parts of `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`, not yet checked against the calendar.
struct Shape<'t> {
    clock: &'t str,
    /// The digits after the point; "" where there is none.
    fraction: &'t str,
    zone: &'t str,
}

impl<'t> Shape<'t> {
    fn of(text: &'t str) -> Option<Shape<'t>> {
        let (clock, rest) = text.split_at_checked(19)?;
        if !matches_pattern(clock, "0000-00-00T00:00:00") {
            return None;
        }
        let (fraction, zone) = match rest.strip_prefix('.') {
            None => ("", rest),
            Some(rest) => match rest.find(|c: char| !c.is_ascii_digit())? {
                0 => return None,
                digits => rest.split_at(digits),
            },
        };
        let is_zone = match zone.strip_prefix(['+', '-']) {
            Some(offset) => {
                matches_pattern(offset, "00:00") && offset <= "23:59" && &offset[3..] <= "59"
            }
            None => zone.eq_ignore_ascii_case("Z"),
        };
        is_zone.then_some(Shape {
            clock,
            fraction,
            zone,
        })
    }
}

/// Whether a text matches a pattern in which `0` is any digit and letters are of either case.
fn matches_pattern(text: &str, pattern: &str) -> bool {
    let generalise = |byte: u8| match byte {
        b'0'..=b'9' => b'0',
        byte => byte.to_ascii_uppercase(),
    };
    text.bytes().map(generalise).eq(pattern.bytes())
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.civil() {
            Some(utc) => write!(f, "{utc}Z"),
            None => Ok(()),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// "" is none.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = Text::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Timestamp(None));
        }
        Timestamp::parse(&text).map_err(D::Error::custom)
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
    fn a_malformed_text_is_refused_for_the_right_reason() {
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
    fn a_stored_timestamp_outside_the_years_of_rfc_3339_reads_as_none() {
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp(None));
        assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp(None));
        assert_eq!(Timestamp(Some(i64::MAX)).to_string(), "");
        assert_eq!(
            Timestamp::from_micros(0).to_string(),
            "1970-01-01T00:00:00Z"
        );
    }
}
