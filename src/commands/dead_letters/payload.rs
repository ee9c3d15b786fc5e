//! The payload of a dead letter, for people: no byte of it reaches a terminal as it is.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::escape::escape;
use crate::order::{Document, Fault};
use crate::store::StoredDeadLetter;
use crate::store::operator::dead_letters::FoundDeadLetter;

/// Bytes as text: what is not UTF-8 as `\xff`, what could control a terminal escaped.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The SHA-256 of the whole payload, in hex.
pub(super) fn digest(letter: &StoredDeadLetter) -> String {
    let digest = match &letter.payload_sha256 {
        Some(digest) => digest.clone(),
        None => Sha256::digest(letter.payload.as_deref().unwrap_or_default()).to_vec(),
    };
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The payload in lines, with the faults beside their values, then those that have no line.
pub(super) fn shown(found: &FoundDeadLetter, faults: &[Fault], reveal: bool) -> String {
    let payload = found.letter.payload.as_deref().unwrap_or_default();
    let head = match found.is_head() {
        true => format!("the first {} bytes of the payload:\n", payload.len()),
        false => String::new(),
    };
    let mut pointed = Vec::new();
    let mut shown = match Document::read(payload) {
        Some(document) => {
            let mut lines = String::new();
            for line in document.lines(faults, reveal) {
                lines.push_str(&escape(&line.text));
                for fault in line.faults {
                    lines.push_str(&format!("   <-- {fault}"));
                    pointed.push(fault);
                }
                lines.push('\n');
            }
            lines
        }
        None if reveal => raw(payload),
        None => "the payload is not JSON: --reveal shows it\n".to_owned(),
    };
    for fault in faults.iter().filter(|it| !pointed.contains(&it.message)) {
        shown.push_str(&format!("fault: {fault}\n"));
    }
    format!("{head}{shown}")
}

/// Bytes that are no JSON, line by line, with a mark under the place where they stop being it.
fn raw(payload: &[u8]) -> String {
    let place = place(payload);
    let mut shown = String::new();
    for (number, line) in (1..).zip(payload.split(|byte| *byte == b'\n')) {
        shown.push_str(&text(line));
        shown.push('\n');
        if let Some((_, column)) = place.filter(|(at, _)| *at == number) {
            let before = text(&line[..column.min(line.len())]).chars().count();
            shown.push_str(&format!("{}^\n", " ".repeat(before)));
        }
    }
    shown
}

/// The line, from 1, and the column, from 0, where the bytes stop being JSON.
fn place(payload: &[u8]) -> Option<(usize, usize)> {
    let end = match std::str::from_utf8(payload) {
        Ok(text) => {
            let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
            return Some((error.line(), error.column().saturating_sub(1)));
        }
        Err(error) => error.valid_up_to(),
    };
    let before = &payload[..end];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    Some((line, end - start.map_or(0, |at| at + 1)))
}

/// As JSON: the document, masked unless `reveal`; a text where it is not JSON and revealed; else null.
pub(super) fn document(found: &FoundDeadLetter, reveal: bool) -> Value {
    let payload = found.letter.payload.as_deref().unwrap_or_default();
    match Document::read(payload) {
        Some(document) => {
            let lines = document.lines(&[], reveal).into_iter();
            let text: String = lines.map(|line| line.text).collect();
            serde_json::from_str(&text).unwrap_or_default()
        }
        None if reveal && !payload.is_empty() => text(payload).into(),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_shown_as_it_is_when_it_could_control_a_terminal() {
        assert_eq!(
            text(b"a\x1b[31m\xff\xc3\xa9\r"),
            "a\\u{1b}[31m\\xff\u{e9}\\r"
        );
    }

    #[test]
    fn the_place_where_bytes_stop_being_json_is_marked() {
        assert_eq!(raw(b"{\n \"a\": x}\n"), "{\n \"a\": x}\n      ^\n\n");
        assert_eq!(raw(b"{\"a\":\xff}"), "{\"a\":\\xff}\n     ^\n");
        assert_eq!(raw(b"{\"a\":"), "{\"a\":\n    ^\n");
    }
}
