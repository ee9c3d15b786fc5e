//! Splits a stream into orders, one at a time, in bounded memory.
//!
//! Reads one order over many lines, a JSON array of orders, concatenated orders, or one order a line
//! (NDJSON); the first line decides which. Reads brackets and quotes only: the API reports what is
//! wrong with an order. A malformed order spoils only its own line when lines are read, so files named
//! `*.ndjson` always are; otherwise an unclosed bracket includes everything after it.

use std::io::{self, BufRead, Chain, Cursor, Read};

use crate::order::MAX_DOCUMENT_BYTES;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One piece of the stream, with the line it starts at (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The text of one order.
    Document { line: u64, bytes: Vec<u8> },
    /// A part of the stream that cannot be an order, and why: a sentence.
    Malformed { line: u64, reason: String },
}

/// The pieces of a stream, in order.
pub struct Documents<R> {
    input: Chain<Cursor<Vec<u8>>, R>,
    layout: Layout,
    line: u64,
    /// Of the byte read last, from 1.
    column: u64,
    brackets: Brackets,
    /// The piece so far, without white space around it.
    piece: Vec<u8>,
    started_at: u64,
    is_too_long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One order a line.
    Lines,
    /// Orders over any number of lines, one after the other.
    Stream,
    /// Before the array's bracket.
    BeforeArray,
    /// After the bracket or after a comma; `true` when an order must follow.
    InArray { after_comma: bool },
    /// After the array.
    AfterArray,
    /// Nothing follows.
    End,
}

/// The nesting of the bytes read so far, without brackets in strings.
#[derive(Default)]
struct Brackets {
    depth: u32,
    in_text: bool,
    is_escaped: bool,
}

impl Brackets {
    fn push(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_text => self.is_escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_text
    }
}

impl<R: BufRead> Documents<R> {
    /// Reads the first line. With `by_line` there is one order a line, whatever the first one holds.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn new(mut input: R, by_line: bool) -> io::Result<Documents<R>> {
        let mut head = Vec::new();
        // Blank lines are kept, so that lines are counted right.
        while head.iter().all(u8::is_ascii_whitespace) && head.len() < MAX_DOCUMENT_BYTES {
            let room = (MAX_DOCUMENT_BYTES - head.len()) as u64;
            if input.by_ref().take(room).read_until(b'\n', &mut head)? == 0 {
                break;
            }
            // The mark belongs to the file, not to its first order.
            if head.starts_with(BYTE_ORDER_MARK) {
                head.drain(..BYTE_ORDER_MARK.len());
            }
        }
        let layout = if by_line {
            Layout::Lines
        } else {
            layout_of(head.trim_ascii())
        };
        Ok(Documents {
            input: Cursor::new(head).chain(input),
            layout,
            line: 1,
            column: 0,
            brackets: Brackets::default(),
            piece: Vec::new(),
            started_at: 1,
            is_too_long: false,
        })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        while self.layout != Layout::End {
            let Some(&byte) = self.input.fill_buf()?.first() else {
                return Ok(self.end());
            };
            self.input.consume(1);
            self.column += 1;
            let piece = self.push(byte);
            if byte == b'\n' {
                self.line += 1;
                self.column = 0;
            }
            if piece.is_some() {
                return Ok(piece);
            }
        }
        Ok(None)
    }

    fn push(&mut self, byte: u8) -> Option<Piece> {
        match self.layout {
            Layout::Lines if byte == b'\n' => self.finish(),
            Layout::Lines => self.keep(byte),
            Layout::Stream => self.push_in_stream(byte),
            Layout::BeforeArray => {
                if byte == b'[' {
                    self.layout = Layout::InArray { after_comma: false };
                }
                None
            }
            Layout::InArray { after_comma } => self.push_in_array(byte, after_comma),
            Layout::AfterArray if byte.is_ascii_whitespace() => None,
            Layout::AfterArray => {
                self.layout = Layout::End;
                self.malformed("something follows the end of the array")
            }
            Layout::End => None,
        }
    }

    fn push_in_stream(&mut self, byte: u8) -> Option<Piece> {
        let is_bracketed = matches!(self.piece.first(), Some(b'{' | b'['));
        // A piece that does not start with a bracket ends with its line.
        if !self.piece.is_empty() && !is_bracketed && byte == b'\n' {
            self.brackets = Brackets::default();
            return self.finish();
        }
        self.brackets.push(byte);
        self.keep(byte);
        if matches!(byte, b'}' | b']') && is_bracketed && self.brackets.is_outside() {
            return self.finish();
        }
        None
    }

    fn push_in_array(&mut self, byte: u8, after_comma: bool) -> Option<Piece> {
        let ends = self.brackets.is_outside() && matches!(byte, b',' | b']');
        if !ends {
            self.brackets.push(byte);
            return self.keep(byte);
        }
        let is_missing = self.piece.is_empty() && (byte == b',' || after_comma);
        self.layout = match byte {
            b',' => Layout::InArray { after_comma: true },
            _ => Layout::AfterArray,
        };
        if is_missing {
            return self.malformed(match byte {
                b',' => "an order is missing before the comma",
                _ => "an order is missing after the last comma",
            });
        }
        self.finish()
    }

    /// The end of the stream: the current piece, then the missing bracket.
    fn end(&mut self) -> Option<Piece> {
        if let Some(piece) = self.finish() {
            return Some(piece);
        }
        let is_open = matches!(self.layout, Layout::InArray { .. });
        self.layout = Layout::End;
        if is_open {
            return self.malformed("the array of orders is not closed");
        }
        None
    }

    fn keep(&mut self, byte: u8) -> Option<Piece> {
        if self.piece.is_empty() {
            if byte.is_ascii_whitespace() {
                return None;
            }
            self.started_at = self.line;
        }
        if self.piece.len() < MAX_DOCUMENT_BYTES {
            self.piece.push(byte);
        } else if !byte.is_ascii_whitespace() {
            self.is_too_long = true;
        }
        None
    }

    /// Ends the current piece, if there is one.
    fn finish(&mut self) -> Option<Piece> {
        let mut bytes = std::mem::take(&mut self.piece);
        if std::mem::take(&mut self.is_too_long) {
            let reason = format!("the order is longer than {MAX_DOCUMENT_BYTES} bytes");
            return Some(Piece::Malformed {
                line: self.started_at,
                reason,
            });
        }
        bytes.truncate(bytes.trim_ascii_end().len());
        (!bytes.is_empty()).then_some(Piece::Document {
            line: self.started_at,
            bytes,
        })
    }

    fn malformed(&self, reason: &str) -> Option<Piece> {
        Some(Piece::Malformed {
            line: self.line,
            reason: format!("{reason} (column {})", self.column),
        })
    }
}

/// The layout that a first line (trimmed) belongs to.
fn layout_of(first_line: &[u8]) -> Layout {
    match first_line.first() {
        Some(b'[') => Layout::BeforeArray,
        Some(b'{') if is_one_object(first_line) => Layout::Lines,
        _ => Layout::Stream,
    }
}

/// Whether a line is one object from its first byte to its last.
fn is_one_object(line: &[u8]) -> bool {
    let mut brackets = Brackets::default();
    for (index, byte) in line.iter().enumerate() {
        brackets.push(*byte);
        if brackets.is_outside() {
            return index + 1 == line.len();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, by_line: bool) -> Vec<Piece> {
        let mut documents = Documents::new(text.as_bytes(), by_line).unwrap();
        std::iter::from_fn(|| documents.next_piece().unwrap()).collect()
    }

    fn document(line: u64, text: &str) -> Piece {
        Piece::Document {
            line,
            bytes: text.into(),
        }
    }

    fn malformed(line: u64, reason: &str) -> Piece {
        Piece::Malformed {
            line,
            reason: reason.into(),
        }
    }

    #[test]
    fn one_order_may_take_one_line_or_many() {
        let pretty = "{\n  \"a\": \"}\\\"]\",\n  \"b\": [\n    {}\n  ]\n}";
        assert_eq!(pieces(pretty, false), [document(1, pretty)]);
        let between = format!("\n\n{pretty}\n");
        assert_eq!(pieces(&between, false), [document(3, pretty)]);
        assert_eq!(pieces("{\"a\":1}", false), [document(1, "{\"a\":1}")]);
    }

    #[test]
    fn the_first_line_decides_whether_there_is_one_order_a_line() {
        let text = "{\"a\":1}\n\n  {\"a\":2}  \r\nbroken {\n{\"a\":3}";
        let expected = [
            document(1, "{\"a\":1}"),
            document(3, "{\"a\":2}"),
            document(4, "broken {"),
            document(5, "{\"a\":3}"),
        ];
        assert_eq!(pieces(text, false), expected);
    }

    #[test]
    fn a_malformed_first_order_spoils_only_its_line_when_lines_are_read() {
        let text = "{\"a\":\n{\"a\":2}\n";
        let lines = [document(1, "{\"a\":"), document(2, "{\"a\":2}")];
        assert_eq!(pieces(text, true), lines);
        assert_eq!(pieces(text, false), [document(1, "{\"a\":\n{\"a\":2}")]);
    }

    #[test]
    fn orders_may_follow_each_other_over_many_lines() {
        let text = "{\n\"a\":1}\n{\n\"a\":2} {}\nnonsense \"\n{}";
        let expected = [
            document(1, "{\n\"a\":1}"),
            document(3, "{\n\"a\":2}"),
            document(4, "{}"),
            document(5, "nonsense \""),
            document(6, "{}"),
        ];
        assert_eq!(pieces(text, false), expected);
        let two = [document(1, "{}"), document(1, "{}")];
        assert_eq!(pieces("{} {}", false), two);
    }

    #[test]
    fn an_array_holds_one_order_an_element() {
        let text = "[\n  {\"a\":\",]\"},\n  {\"b\":[1,2]}\n]\n";
        let expected = [document(2, "{\"a\":\",]\"}"), document(3, "{\"b\":[1,2]}")];
        assert_eq!(pieces(text, false), expected);
        let two = [document(1, "{}"), document(1, "7")];
        assert_eq!(pieces("[{},7]", false), two);
        assert_eq!(pieces(" [ ] ", false), []);
    }

    #[test]
    fn a_malformed_array_yields_its_orders_and_the_mistake() {
        let after_comma = "an order is missing after the last comma (column 1)";
        let before_comma = "an order is missing before the comma (column 2)";
        let open = |column| format!("the array of orders is not closed (column {column})");
        let after = "something follows the end of the array (column 6)";
        let order = || document(1, "{}");
        for (text, expected) in [
            ("[{},\n]", vec![order(), malformed(2, after_comma)]),
            ("[,{}]", vec![malformed(1, before_comma), order()]),
            ("[{}", vec![order(), malformed(1, &open(3))]),
            ("[", vec![malformed(1, &open(1))]),
            ("[{}] {} {}", vec![order(), malformed(1, after)]),
        ] {
            assert_eq!(pieces(text, false), expected, "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_order() {
        assert_eq!(pieces("\u{feff}{\n}", false), [document(1, "{\n}")]);
        assert_eq!(pieces("", false), []);
        assert_eq!(pieces("\u{feff} \n\n", false), []);
    }

    #[test]
    fn a_piece_beyond_the_limit_is_reported_and_skipped() {
        let long = "x".repeat(MAX_DOCUMENT_BYTES);
        let reason = "the order is longer than 1048576 bytes";
        let text = format!("{{}}\n{{\"a\":\"{long}\"}}\n{{}}");
        let expected = [document(1, "{}"), malformed(2, reason), document(3, "{}")];
        assert_eq!(pieces(&text, false), expected);
        let text = format!("[{{\"a\":\"{long}\"}},{{}}]");
        let expected = [malformed(1, reason), document(1, "{}")];
        assert_eq!(pieces(&text, false), expected);
        let padded = format!("{{}}{}", " ".repeat(2 * MAX_DOCUMENT_BYTES));
        assert_eq!(pieces(&padded, false), [document(1, "{}")]);
    }
}
