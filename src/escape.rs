//! Foreign text made safe for terminals, logs and tables.

use std::borrow::Cow;

/// Whether a character could end a line or steer what shows it: control characters (U+0000-U+001F,
/// U+007F-U+009F), the line and paragraph separators, and the marks that change the direction of text
/// (the source of "Trojan Source", CVE-2021-42574).
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with unsafe characters as Rust escapes (`\n`, `\u{1b}`).
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_except(text, |_| false)
}

/// As [`escape`], with line feeds kept: for text of several lines.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_except(text, |character| character == '\n')
}

fn escape_except(text: &str, is_kept: fn(char) -> bool) -> Cow<'_, str> {
    let must_escape = |character: char| is_unsafe(character) && !is_kept(character);
    if !text.contains(must_escape) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if must_escape(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_could_forge_a_line_or_hide_itself_is_escaped() {
        let text = "a\nb\u{1b}[31m\u{9b}c\u{202e}d\u{2028}e\u{2066}";
        let expected = "a\\nb\\u{1b}[31m\\u{9b}c\\u{202e}d\\u{2028}e\\u{2066}";
        assert_eq!(escape(text), expected);
    }

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(escape("Кирьят \"Моцкин\""), Cow::Borrowed(_)));
    }

    #[test]
    fn line_feeds_are_kept_where_asked() {
        assert_eq!(escape_lines("a\nb\tc"), "a\nb\\tc");
    }
}
