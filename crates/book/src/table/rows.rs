//! CSV by the letter: RFC 4180 with `\n` or `\r\n`, and an error where other readers guess.
//!
//! A quote inside an unquoted field, text after a closing quote and a quote that is never closed are errors: guessing
//! shifts values into neighbouring columns or swallows rows, and a book with a row less looks like any other.

use crate::bytes::{Fault, FileBytes};
use crate::source::BookError;
use crate::value;

/// A field may have this many bytes.
const MAX_FIELD: usize = 64 << 10;
/// A line, or a row whose quoted fields span several, may have this many.
const MAX_ROW: usize = 1 << 20;
/// Read at a time.
const BLOCK: usize = 256 << 10;

const NEVER_CLOSED: &str = "the quote that begins this field is never closed; close it, and double quotes inside";
const TEXT_AFTER_QUOTE: &str = "text after a closing quote; quote the whole value, and double quotes inside";
const QUOTE_INSIDE: &str = "a quote inside an unquoted value; quote the whole value, and double quotes inside";

/// One row, its quotes resolved.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The line it begins on.
    pub(crate) line: u64,
    /// All fields, one after another.
    pub(super) bytes: Vec<u8>,
    /// Where each field begins and ends in `bytes`.
    pub(super) fields: Vec<(usize, usize)>,
    /// The row as it stands in the file, without the line end; empty if that is the same as `bytes`.
    raw: Vec<u8>,
}

impl Row {
    fn clear(&mut self, line: u64) {
        self.line = line;
        self.bytes.clear();
        self.fields.clear();
        self.raw.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field without spaces around it; empty if the row or the table has no such field.
    pub(crate) fn field(&self, at: Option<usize>) -> &[u8] {
        match at.and_then(|at| self.fields.get(at)) {
            Some(&(from, to)) => trimmed(&self.bytes[from..to]),
            None => &[],
        }
    }

    /// The row as it stands in the file.
    pub(crate) fn raw(&self) -> &[u8] {
        if self.raw.is_empty() { &self.bytes } else { &self.raw }
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let space = |b: &u8| matches!(b, b' ' | b'\t');
    let from = bytes.iter().position(|b| !space(b)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|b| !space(b)).map_or(from, |last| last + 1);
    &bytes[from..to]
}

/// What is wrong with the form of a row.
pub(super) struct Malformed {
    pub(super) line: u64,
    pub(super) field: Option<usize>,
    pub(super) text: Vec<u8>,
    pub(super) message: String,
}

/// What comes next in a file.
pub(super) enum Step {
    Row,
    Malformed(Malformed),
    End,
}

/// Splits a file into rows.
pub(super) struct Splitter {
    pub(super) file: FileBytes,
    buffer: Vec<u8>,
    /// What is not yet consumed: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// No more bytes come.
    dry: bool,
    /// The number of the line that `start` is on.
    line: u64,
    /// A fault of the content, to be reported after the rows before it.
    broken: Option<String>,
    /// Whether no line without a line end was met so far: only the last one can have none.
    pub(super) ends_with_line: bool,
}

impl Splitter {
    pub(super) fn new(file: FileBytes) -> Self {
        Self { file, buffer: vec![0; BLOCK], start: 0, end: 0, dry: false, line: 1, broken: None, ends_with_line: true }
    }

    /// The bytes that are read and not yet consumed.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Gets more bytes behind those that wait; `false` if none come.
    pub(super) fn more(&mut self) -> Result<bool, BookError> {
        if self.dry {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.file.fill(&mut self.buffer[self.end..]) {
            Ok(0) => self.dry = true,
            Ok(count) => self.end += count,
            Err(Fault::System(error)) => return Err(error),
            Err(Fault::Content(message)) => {
                self.broken = Some(message);
                self.dry = true;
            }
        }
        Ok(!self.dry)
    }

    /// How long the line is that begins `from` bytes after the start, without its `\n`; `None` if there is no `\n` within
    /// the permitted length. At the end of the file a line needs no `\n`: the second value tells whether it has one.
    fn line_length(&mut self, from: usize) -> Result<Option<(usize, bool)>, BookError> {
        let mut seen = from;
        loop {
            if let Some(at) = self.waiting()[seen..].iter().position(|b| *b == b'\n') {
                return Ok(Some((seen + at - from, true)));
            }
            seen = self.waiting().len();
            if seen > MAX_ROW {
                return Ok(None);
            }
            if !self.more()? {
                self.ends_with_line &= seen == from;
                return Ok(Some((seen - from, false)));
            }
        }
    }

    /// Takes so many bytes, in which so many lines end.
    pub(super) fn consume(&mut self, count: usize, lines: u64) {
        self.start = (self.start + count).min(self.end);
        self.line += lines;
    }

    /// Drops everything up to and including the next `\n`.
    fn skip_line(&mut self) -> Result<(), BookError> {
        loop {
            if let Some(at) = self.waiting().iter().position(|b| *b == b'\n') {
                self.consume(at + 1, 1);
                return Ok(());
            }
            self.start = self.end;
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// The next row that is not blank.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<Step, BookError> {
        loop {
            let line = self.line;
            let Some((length, ended)) = self.line_length(0)? else {
                let text = self.waiting()[..400.min(self.waiting().len())].to_vec();
                self.skip_line()?;
                let message = format!("a line may have {} bytes at most", value::grouped(MAX_ROW as u64));
                return Ok(Step::Malformed(Malformed { line, field: None, text, message }));
            };
            if length == 0 && !ended {
                return Ok(match self.broken.take() {
                    Some(message) => {
                        Step::Malformed(Malformed { line: line - 1, field: None, text: Vec::new(), message })
                    }
                    None => Step::End,
                });
            }
            let whole = length + usize::from(ended);
            if !ended && self.broken.is_some() {
                // Half a line before the break is no row.
                self.consume(whole, 1);
                continue;
            }
            let content = without_cr(&self.waiting()[..length]);
            if content.iter().all(|b| matches!(b, b' ' | b'\t')) {
                self.consume(whole, 1);
                continue;
            }
            row.clear(line);
            if content.contains(&b'"') {
                return self.quoted(row, length, ended);
            }
            let content_length = content.len();
            row.bytes.extend_from_slice(&self.buffer[self.start..self.start + content_length]);
            let mut from = 0;
            for (at, b) in row.bytes.iter().enumerate() {
                if *b == b',' {
                    row.fields.push((from, at));
                    from = at + 1;
                }
            }
            row.fields.push((from, row.bytes.len()));
            self.consume(whole, 1);
            return Ok(checked(row));
        }
    }

    /// A row that has quotes; it may go on over several lines.
    fn quoted(&mut self, row: &mut Row, first_length: usize, first_ended: bool) -> Result<Step, BookError> {
        let first_line = self.line;
        let first = first_length + usize::from(first_ended);
        let (mut at, mut length, mut ended, mut lines) = (0, first_length, first_ended, 1);
        let mut field_start = 0;
        let malformed = |this: &mut Self, row: &Row, line: u64, message: &str| {
            // From the next line on: the rows after a wrong one are read as if it had not been there.
            let text = this.waiting()[..first_length.min(400)].to_vec();
            this.consume(first, 1);
            let message = message.to_owned();
            Ok(Step::Malformed(Malformed { line, field: Some(row.fields.len()), text, message }))
        };
        loop {
            // At the beginning of a field.
            let quote = self.waiting().get(at) == Some(&b'"') && at < length;
            if quote {
                at += 1;
                loop {
                    if at < length {
                        let b = self.waiting()[at];
                        at += 1;
                        if b != b'"' {
                            row.bytes.push(b);
                        } else if at < length && self.waiting()[at] == b'"' {
                            row.bytes.push(b'"');
                            at += 1;
                        } else {
                            break;
                        }
                        continue;
                    }
                    // The line ends inside the quotes: the value goes on, if the file does.
                    let next = if ended && length < MAX_ROW { self.line_length(length + 1)? } else { None };
                    let Some((next_length, next_ended)) = next.filter(|next| *next != (0, false)) else {
                        return malformed(self, row, first_line, NEVER_CLOSED);
                    };
                    row.bytes.push(b'\n');
                    at = length + 1;
                    length = at + next_length;
                    ended = next_ended;
                    lines += 1;
                }
                let rest = without_cr(&self.waiting()[..length]).len();
                if at < rest && self.waiting()[at] != b',' {
                    return malformed(self, row, first_line + lines - 1, TEXT_AFTER_QUOTE);
                }
            } else {
                let rest = without_cr(&self.waiting()[..length]).len();
                while at < rest && self.waiting()[at] != b',' {
                    let b = self.waiting()[at];
                    if b == b'"' {
                        return malformed(self, row, first_line + lines - 1, QUOTE_INSIDE);
                    }
                    row.bytes.push(b);
                    at += 1;
                }
            }
            row.fields.push((field_start, row.bytes.len()));
            field_start = row.bytes.len();
            let rest = without_cr(&self.waiting()[..length]).len();
            if at >= rest {
                let raw = self.start..self.start + rest;
                row.raw.extend_from_slice(&self.buffer[raw]);
                self.consume(length + usize::from(ended), lines);
                return Ok(checked(row));
            }
            at += 1;
        }
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Encoding and length of the fields of a row.
fn checked(row: &Row) -> Step {
    let clean = row.bytes.is_ascii() && !row.bytes.contains(&0) && row.bytes.len() <= MAX_FIELD;
    if clean {
        return Step::Row;
    }
    for (field, &(from, to)) in row.fields.iter().enumerate() {
        let bytes = &row.bytes[from..to];
        let (line_in_field, message) = if bytes.len() > MAX_FIELD {
            (0, format!("a value may have {} bytes at most", value::grouped(MAX_FIELD as u64)))
        } else if let Some(at) = bytes.iter().position(|b| *b == 0) {
            (newlines(&bytes[..at]), "a NUL byte is no text; save the file as UTF-8 (not UTF-16)".to_owned())
        } else if let Err(error) = std::str::from_utf8(bytes) {
            let at = error.valid_up_to();
            (newlines(&bytes[..at]), "not UTF-8; save the file with the encoding UTF-8".to_owned())
        } else {
            continue;
        };
        let line = row.line + newlines(&row.bytes[..from]) + line_in_field;
        return Step::Malformed(Malformed { line, field: Some(field), text: bytes.to_vec(), message });
    }
    Step::Row
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}
