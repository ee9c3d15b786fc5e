//! The quick way from JSON to an order: what nearly every document is, in one pass over its bytes.
//!
//! Owns a reader that knows objects of known fields, arrays of them, texts and whole numbers, and
//! nothing else of JSON. It only ever says yes: an unknown or a repeated field, a null, a fraction, a
//! wrong type and broken JSON all give `None`, and the lenient pass alone decides what they mean, so
//! the two cannot disagree on what is refused. Written by hand because an order costs the API a third
//! of the processor time that serde's derived visitors took (benches/README.md has the figures).

use std::borrow::Cow;

use super::{HoldsText, MAX_ITEMS, OrderOf, Timestamp};

/// So many digits fit an `i64`, whatever they are.
const LONGEST_NUMBER: usize = 18;

/// Reads one order with nothing before or behind it but white space. `None`: not that simple.
pub(super) fn read<'d, T: HoldsText<'d>>(text: &'d str) -> Option<OrderOf<T>> {
    let mut json = Reader { text, at: 0 };
    let order = json.object()?;
    json.skip_space();
    (json.at == text.len()).then_some(order)
}

/// What is read from a JSON object.
pub(super) trait FromObject<'d>: Sized {
    fn read(json: &mut Reader<'d>) -> Option<Self>;
}

/// A document and how far it has been read.
pub(super) struct Reader<'d> {
    text: &'d str,
    at: usize,
}

impl<'d> Reader<'d> {
    /// Calls `member` with each key of an object, to read its value. A key with an escape is none
    /// that is known.
    pub(super) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &'d str) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.has(b'}') {
            return Some(());
        }
        loop {
            let key = self.plain()?;
            self.expect(b':')?;
            member(self, key)?;
            if !self.has(b',') {
                return self.expect(b'}');
            }
        }
    }

    pub(super) fn object<O: FromObject<'d>>(&mut self) -> Option<O> {
        O::read(self)
    }

    /// At most [`MAX_ITEMS`] objects; null is none (Go writes a nil slice so).
    pub(super) fn objects<O: FromObject<'d>>(&mut self) -> Option<Vec<O>> {
        let mut objects = Vec::new();
        if self.has(b'n') {
            return self.rest("ull").map(|()| objects);
        }
        self.expect(b'[')?;
        if self.has(b']') {
            return Some(objects);
        }
        while objects.len() < MAX_ITEMS {
            objects.push(self.object()?);
            if !self.has(b',') {
                return self.expect(b']').map(|()| objects);
            }
        }
        None
    }

    pub(super) fn text<T: HoldsText<'d>>(&mut self) -> Option<T> {
        self.string().map(T::from)
    }

    /// "" is none.
    pub(super) fn timestamp(&mut self) -> Option<Timestamp> {
        match &*self.string()? {
            "" => Some(Timestamp(None)),
            text => Timestamp::parse(text).ok(),
        }
    }

    /// A whole number of at most [`LONGEST_NUMBER`] digits.
    pub(super) fn number<N: TryFrom<i64>>(&mut self) -> Option<N> {
        let is_negative = self.has(b'-');
        let rest = self.text.as_bytes().get(self.at..)?;
        let digit = |at: usize| rest.get(at).filter(|byte| byte.is_ascii_digit());
        let (mut number, mut digits) = (0, 0);
        while digits < LONGEST_NUMBER
            && let Some(byte) = digit(digits)
        {
            number = number * 10 + i64::from(byte - b'0');
            digits += 1;
        }
        // A leading zero is no JSON, `-0` and a space behind the sign have meanings of their own.
        let is_odd = digits == 0 || (rest[0] == b'0' && (digits > 1 || is_negative));
        if is_odd || digit(digits).is_some() {
            return None;
        }
        self.at += digits;
        N::try_from(if is_negative { -number } else { number }).ok()
    }

    /// A text, borrowed unless it has escapes.
    fn string(&mut self) -> Option<Cow<'d, str>> {
        let start = self.at;
        match self.plain() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => {
                self.at = start;
                self.escaped().map(Cow::Owned)
            }
        }
    }

    /// A text without escapes.
    #[inline]
    fn plain(&mut self) -> Option<&'d str> {
        self.expect(b'"')?;
        let (bytes, start) = (self.text.as_bytes(), self.at);
        let end = first_special(bytes, start)?;
        if bytes[end] != b'"' {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    /// A text with escapes: its end is looked for here, the rest is serde_json's to read.
    #[cold]
    fn escaped(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let (bytes, start) = (self.text.as_bytes(), self.at);
        let mut end = first_special(bytes, start)?;
        while bytes[end] == b'\\' {
            end = first_special(bytes, end + 2)?;
        }
        self.at = end + 1;
        serde_json::from_str(self.text.get(start - 1..=end)?).ok()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.has(byte).then_some(())
    }

    /// Takes the next byte behind white space if it is this one.
    #[inline]
    fn has(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn rest(&mut self, word: &str) -> Option<()> {
        let is_next = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        is_next.then_some(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }
}

/// Where, at `from` or behind it, the first byte is that a JSON text cannot hold as it is: a quote, a
/// backslash or a control character.
pub(super) fn first_special(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    // Eight bytes at a time: each subtraction below sets the high bit of a byte that is sought. It
    // may also set that of bytes above such a one, so only the lowest is looked at.
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        let control = word.wrapping_sub(each(b' '));
        let quote = (word ^ each(b'"')).wrapping_sub(each(1));
        let backslash = (word ^ each(b'\\')).wrapping_sub(each(1));
        let found = (control | quote | backslash) & !word & each(0x80);
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let is_special = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    let rest = bytes.get(at..)?;
    rest.iter().position(is_special).map(|index| at + index)
}

/// Eight times the same byte.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Order;

    fn entry(json: &str) -> Option<String> {
        let order: Order = read(&format!(r#"{{"entry":{json}}}"#))?;
        Some(order.entry)
    }

    fn amount(json: &str) -> Option<i64> {
        let order: Order = read(&format!(r#"{{"payment":{{"amount":{json}}}}}"#))?;
        Some(order.payment.amount)
    }

    #[test]
    fn a_text_ends_at_its_own_quote_wherever_that_stands() {
        for length in 0..40 {
            let plain = "é".repeat(length / 2) + &"x".repeat(length % 2);
            let text = Some(plain.clone());
            assert_eq!(entry(&format!("\"{plain}\"")), text);
            let escaped = entry(&format!(r#""{plain}\"{plain}\\""#));
            assert_eq!(escaped, Some(format!("{plain}\"{plain}\\")));
            assert_eq!(entry(&format!("\"{plain}\n\"")), None);
            assert_eq!(entry(&format!("\"{plain}")), None);
            assert_eq!(entry(&format!("\"{plain}\\")), None);
        }
    }

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for byte in 0..=u8::MAX {
            let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
            for place in 0..20 {
                let mut bytes = [0xa2; 20];
                bytes[place] = byte;
                let found = is_special.then_some(place);
                assert_eq!(first_special(&bytes, 0), found, "{byte} at {place}");
                assert_eq!(first_special(&bytes, place + 1), None);
            }
        }
    }

    #[test]
    fn a_whole_number_is_taken_and_whatever_else_is_left_to_the_lenient_pass() {
        assert_eq!(amount("0"), Some(0));
        assert_eq!(amount("-7 "), Some(-7));
        assert_eq!(amount("999999999999999999"), Some(999_999_999_999_999_999));
        for other in [
            "-0",
            "- 7",
            "00",
            "01",
            "-01",
            "1.0",
            "1e3",
            "+1",
            "",
            "-",
            "null",
            "\"1\"",
            "0x1",
            "1000000000000000000",
            "99999999999999999999999999999999999999",
        ] {
            assert_eq!(amount(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_not_that_simple_is_left_to_the_lenient_pass() {
        assert!(read::<String>(r#" { "items" : [ { } , { } ] , "delivery" : { } } "#).is_some());
        assert!(read::<String>(r#"{"items":null}"#).is_some());
        for other in [
            r#"{"items":nul}"#,
            r#"{"items":[{},]}"#,
            r#"{"items":[null]}"#,
            r#"{"entry":"a",}"#,
            r#"{"entry":"a","entry":"a"}"#,
            r#"{"\u0065ntry":"a"}"#,
            r#"{"entry":null}"#,
            r#"{"entry":"\ud800"}"#,
            r#"{"unknown":1}"#,
            r#"{"delivery":[]}"#,
            r#"{}x"#,
            r#"{}{}"#,
            "[]",
            "{",
            "",
        ] {
            assert!(read::<String>(other).is_none(), "{other}");
        }
    }
}
