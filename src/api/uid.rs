//! The order uid in a path.
//!
//! Owns percent-decoding and the bounds of what may be looked up. `%2F` is a character of the uid
//! while a literal `/` begins another segment, so the raw path is split first and decoded after.

use percent_encoding::percent_decode_str;

/// Rows that other programs wrote may have any uid; this is the longest that is looked up.
const MAX_BYTES: usize = 512;

/// The uid that a path segment names, or what is wrong with it.
pub fn decode(segment: &str) -> Result<String, &'static str> {
    // A malformed escape would be decoded as it is.
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !segment.split('%').skip(1).all(is_escape) {
        return Err("a `%` must be followed by two hexadecimal digits");
    }
    let bytes: Vec<u8> = percent_decode_str(segment).collect();
    if bytes.len() > MAX_BYTES {
        return Err("it must be at most 512 bytes");
    }
    let uid = String::from_utf8(bytes).map_err(|_| "it must be UTF-8")?;
    if uid.chars().any(char::is_control) {
        return Err("it must not have control characters");
    }
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_character_is_part_of_the_uid() {
        for (segment, uid) in [
            ("b563feb7b2b84b6test", "b563feb7b2b84b6test"),
            ("a%2Fb%2fc", "a/b/c"),
            ("%3F%23%25+", "?#%+"),
            ("%D0%B7%D0%B0", "за"),
            ("%2e%2e", ".."),
        ] {
            assert_eq!(decode(segment).as_deref(), Ok(uid));
        }
    }

    #[test]
    fn what_cannot_be_a_uid_is_refused() {
        for segment in [
            "%", "%4", "%zz", "a%", "%ff", "%c3%28", "%00", "a%0Ab", "%7F", "%c2%85",
        ] {
            assert!(decode(segment).is_err(), "{segment}");
        }
    }

    #[test]
    fn it_may_have_512_bytes_once_decoded() {
        assert!(decode(&"%61".repeat(512)).is_ok());
        assert!(decode(&"a".repeat(513)).is_err());
    }
}
