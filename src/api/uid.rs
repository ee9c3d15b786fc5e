//! The order uid in a path.
//!
//! Owns percent-decoding and the bounds of what may be looked up. `%2F` is a character of the uid
//! while a literal `/` begins another segment, so the raw path is split first and decoded after.

/// Rows that other programs wrote may have any uid; this is the longest that is looked up.
const MAX_BYTES: usize = 512;

/// The uid that a path segment names, or what is wrong with it.
pub fn decode(segment: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let [high, low, after @ ..] = after else {
            return Err("a `%` must be followed by two hexadecimal digits");
        };
        let digits = (
            char::from(*high).to_digit(16),
            char::from(*low).to_digit(16),
        );
        let (Some(high), Some(low)) = digits else {
            return Err("a `%` must be followed by two hexadecimal digits");
        };
        bytes.push((high * 16 + low) as u8);
        rest = after;
    }
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
