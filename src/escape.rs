//! Escapes foreign text for terminals, logs and tables.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether a character could end a line or control a terminal: control characters (U+0000-U+001F,
/// U+007F-U+009F), the line and paragraph separators, and the marks that change the direction of text
/// (the source of "Trojan Source", CVE-2021-42574).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with unsafe characters as Rust escapes (`\n`, `\u{1b}`).
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_each(text, is_unsafe, rust_escape)
}

/// As [`escape`], with line feeds kept: for text of several lines.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    let is_escaped = |character| character != '\n' && is_unsafe(character);
    escape_each(text, is_escaped, rust_escape)
}

/// A JSON text with unsafe characters as `\uXXXX`. serde_json escapes U+0000-U+001F only; the others
/// stand inside strings, where the escape means the same.
pub fn escape_json(text: &str) -> Cow<'_, str> {
    escape_each(text, is_unsafe, json_escape)
}

/// As [`escape_json`], with line feeds kept: for documents of several lines, which have them between
/// values only.
pub fn escape_json_lines(text: &str) -> Cow<'_, str> {
    let is_escaped = |character| character != '\n' && is_unsafe(character);
    escape_each(text, is_escaped, json_escape)
}

/// A foreign text inside the message of a log line: as it is where it cannot be taken for more than one
/// word, otherwise quoted and escaped, so that it cannot forge a field.
pub struct LogValue<'a>(pub &'a str);

impl fmt::Display for LogValue<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        if !self.0.is_empty() && self.0.bytes().all(is_plain) {
            out.write_str(self.0)
        } else {
            write!(out, "{:?}", self.0)
        }
    }
}

fn rust_escape(escaped: &mut String, character: char) {
    escaped.extend(character.escape_default());
}

fn json_escape(escaped: &mut String, character: char) {
    let _ = write!(escaped, "\\u{:04x}", u32::from(character));
}

fn escape_each(
    text: &str,
    is_escaped: fn(char) -> bool,
    escape: fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            escape(&mut escaped, character);
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
    fn a_text_in_a_message_cannot_forge_a_field() {
        let written = |text| LogValue(text).to_string();
        assert_eq!(written("b563feb7b2b84b6test"), "b563feb7b2b84b6test");
        assert_eq!(written("a b=c"), "\"a b=c\"");
        assert_eq!(written("a\" level=ERROR"), "\"a\\\" level=ERROR\"");
        assert_eq!(written("a\u{202e}"), "\"a\\u{202e}\"");
        assert_eq!(written(""), "\"\"");
    }

    #[test]
    fn a_json_document_of_several_lines_keeps_its_meaning() {
        let value = serde_json::json!({"name": "a\u{202e}\u{2028}\u{9b}\n\u{1b}"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = escape_json_lines(&text);
        let is_raw = |it: char| it != '\n' && is_unsafe(it);
        assert!(!escaped.contains(is_raw), "{escaped}");
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, value);
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
