//! CSV by the letter: RFC 4180 with `\n` or `\r\n`, and an error where other readers guess.
//!
//! A quote inside an unquoted field, text after a closing quote and a quote that is never closed are errors: guessing
//! shifts values into neighbouring columns or swallows rows, and a book with a row less looks like any other.

use crate::bytes::{Fault, FileBytes, Stamp};
use crate::issue::{Findings, Scope};
use crate::source::{BookError, BookSource};
use crate::value;

/// A field may have this many bytes.
const MAX_FIELD: usize = 64 << 10;
/// A line, or a row whose quoted fields span several, may have this many.
const MAX_ROW: usize = 1 << 20;
/// A header may name this many columns: each is compared with those that are known.
const MAX_COLUMNS: usize = 1_000;
/// Read at a time.
const BLOCK: usize = 256 << 10;

/// One row, its quotes resolved.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The line it begins on.
    pub(crate) line: u64,
    /// All fields, one after another.
    bytes: Vec<u8>,
    /// Where each field begins and ends in `bytes`.
    fields: Vec<(usize, usize)>,
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
struct Malformed {
    line: u64,
    field: Option<usize>,
    text: Vec<u8>,
    message: String,
}

enum Step {
    Row,
    Malformed(Malformed),
    End,
}

/// Splits a file into rows.
struct Splitter {
    file: FileBytes,
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
}

impl Splitter {
    fn new(file: FileBytes) -> Self {
        Self { file, buffer: vec![0; BLOCK], start: 0, end: 0, dry: false, line: 1, broken: None }
    }

    fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Gets more bytes behind those that wait; `false` if none come.
    fn more(&mut self) -> Result<bool, BookError> {
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
                return Ok(Some((seen - from, false)));
            }
        }
    }

    fn consume(&mut self, count: usize, lines: u64) {
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
    fn next(&mut self, row: &mut Row) -> Result<Step, BookError> {
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
        let malformed = |this: &mut Self, row: &Row, line: u64, message: String| {
            // From the next line on: the rows after a wrong one are read as if it had not been there.
            let text = this.waiting()[..first_length.min(400)].to_vec();
            this.consume(first, 1);
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
                        let message =
                            "the quote that begins this field is never closed; close it, and double quotes inside"
                                .to_owned();
                        return malformed(self, row, first_line, message);
                    };
                    row.bytes.push(b'\n');
                    at = length + 1;
                    length = at + next_length;
                    ended = next_ended;
                    lines += 1;
                }
                let rest = without_cr(&self.waiting()[..length]).len();
                if at < rest && self.waiting()[at] != b',' {
                    let message =
                        "text after a closing quote; quote the whole value, and double quotes inside".to_owned();
                    return malformed(self, row, first_line + lines - 1, message);
                }
            } else {
                let rest = without_cr(&self.waiting()[..length]).len();
                while at < rest && self.waiting()[at] != b',' {
                    let b = self.waiting()[at];
                    if b == b'"' {
                        let message =
                            "a quote inside an unquoted value; quote the whole value, and double quotes inside"
                                .to_owned();
                        return malformed(self, row, first_line + lines - 1, message);
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

/// The columns of a kind of file.
pub(crate) struct Columns {
    pub(crate) required: &'static [&'static str],
    pub(crate) optional: &'static [&'static str],
}

/// A file with a header line, and where its known columns stand.
pub(crate) struct Table {
    splitter: Splitter,
    header: Vec<String>,
    /// For each known column, first the required ones: where it stands.
    places: Vec<Option<usize>>,
    stopped: bool,
    was_open: bool,
}

impl Table {
    /// Opens a file and reads its header. A header that does not do ends the table before its first row.
    pub(crate) fn open(
        source: &dyn BookSource,
        name: &str,
        columns: &Columns,
        errors: &mut Findings,
        warnings: &mut Findings,
    ) -> Result<Self, BookError> {
        let mut splitter = Splitter::new(FileBytes::open(source, name)?);
        while splitter.waiting().len() < 4 && splitter.more()? {}
        let mut table = Self { splitter, header: Vec::new(), places: Vec::new(), stopped: true, was_open: false };
        let complaint = match table.splitter.waiting() {
            [0xef, 0xbb, 0xbf, ..] => {
                table.splitter.start += 3;
                None
            }
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("the file is UTF-16; save it with the encoding UTF-8"),
            [0x1f, 0x8b, ..] => Some("the file is compressed; give it a name that ends in .csv.gz"),
            [b'P', b'K', 3, 4] => Some("the file is a spreadsheet or an archive; export it as CSV, encoding UTF-8"),
            _ => None,
        };
        if let Some(message) = complaint {
            errors.push(1, "", &[], message, Scope::Book);
            return Ok(table);
        }
        let mut row = Row::default();
        match table.splitter.next(&mut row)? {
            Step::Row => table.read_header(&row, columns, errors, warnings),
            Step::Malformed(Malformed { line, text, message, .. }) => {
                errors.push(line, "", &text, format!("in the header: {message}"), Scope::Book);
            }
            Step::End => {
                let message =
                    format!("the file is empty; its first line must be the header: {}", columns.required.join(","));
                errors.push(0, "", &[], message, Scope::Book);
            }
        }
        Ok(table)
    }

    fn read_header(&mut self, row: &Row, columns: &Columns, errors: &mut Findings, warnings: &mut Findings) {
        let line = row.line;
        if row.len() > MAX_COLUMNS {
            let message = format!(
                "the header has {} columns, allowed are {}; the columns needed are {}",
                value::grouped(row.len() as u64),
                value::grouped(MAX_COLUMNS as u64),
                columns.required.join(", ")
            );
            errors.push(line, "", row.raw(), message, Scope::Book);
            return;
        }
        self.header = (0..row.len()).map(|at| String::from_utf8_lossy(row.field(Some(at))).into_owned()).collect();
        let known = || columns.required.iter().chain(columns.optional).copied();
        let mut usable = true;
        let mut taken = vec![false; self.header.len()];
        for name in known() {
            let mut places = (0..self.header.len()).filter(|at| self.header[*at] == name);
            let place = places.next();
            if places.next().is_some() {
                errors.push(line, name, name.as_bytes(), "the header names this column twice", Scope::Book);
                usable = false;
            }
            for (at, header) in self.header.iter().enumerate() {
                taken[at] |= header == name;
            }
            self.places.push(place);
        }
        let free = |taken: &[bool]| -> Vec<usize> { (0..taken.len()).filter(|at| !taken[*at]).collect() };
        for (name, place) in columns.required.iter().zip(&self.places) {
            if place.is_some() {
                continue;
            }
            usable = false;
            let others: Vec<&str> = free(&taken).into_iter().map(|at| self.header[at].as_str()).collect();
            let meant = others.iter().find(|other| value::nearest(other, known()) == Some(name));
            let message = match meant {
                Some(other) => format!(
                    "the column `{name}` is missing; the header has `{}`: write it exactly as `{name}`",
                    crate::issue::shown(other.as_bytes())
                ),
                None => {
                    format!("the column `{name}` is missing; the header must name {}", columns.required.join(", "))
                }
            };
            errors.push(line, name, row.raw(), message, Scope::Book);
        }
        for at in free(&taken) {
            let name = &self.header[at];
            let message = if name.is_empty() {
                format!("column {} has no name and is left out", at + 1)
            } else {
                let missing = known().zip(&self.places).filter(|(_, place)| place.is_none()).map(|(name, _)| name);
                format!("unknown column, left out{}", value::hint(name, missing))
            };
            let name = crate::issue::shown(name.as_bytes());
            warnings.push(line, &name, self.header[at].as_bytes(), message, Scope::Orphan);
        }
        self.stopped = !usable;
        self.was_open = usable;
    }

    /// Where the known column number `at` stands.
    pub(crate) fn place(&self, at: usize) -> Option<usize> {
        self.places.get(at).copied().flatten()
    }

    /// Whether the header does, so that there are rows to read.
    pub(crate) fn was_open(&self) -> bool {
        self.was_open
    }

    /// How many fields each row must have.
    pub(crate) fn width(&self) -> usize {
        self.header.len()
    }

    /// The next row; `false` at the end. What is wrong with the form of a row is reported, and the row left out.
    pub(crate) fn next(&mut self, row: &mut Row, errors: &mut Findings) -> Result<bool, BookError> {
        while !self.stopped {
            match self.splitter.next(row)? {
                Step::Row => return Ok(true),
                Step::End => self.stopped = true,
                Step::Malformed(Malformed { line, field, text, message }) => {
                    let column = field.and_then(|field| self.header.get(field)).map_or("", String::as_str);
                    let column = crate::issue::shown(column.as_bytes());
                    errors.push(line, &column, &text, message, Scope::Book);
                }
            }
        }
        Ok(false)
    }

    /// What to say about a row that has not as many fields as the header.
    pub(crate) fn width_complaint(&self, row: &Row) -> String {
        format!(
            "the row has {} fields and the header {}; give each column one value, and quote a value that contains a comma",
            row.len(),
            self.width()
        )
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &str {
        self.splitter.file.name()
    }

    /// Reads what is left for the hash.
    pub(crate) fn finish(self) -> Result<Stamp, BookError> {
        self.splitter.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemorySource;
    use proptest::prelude::*;

    const ANY: Columns = Columns { required: &["a", "b", "c"], optional: &[] };

    /// The fields of each row with its line, and the errors as "line:column:message".
    fn split(content: &[u8]) -> (Vec<(u64, Vec<String>)>, Vec<String>) {
        let mut source = MemorySource::default();
        source.insert("t.csv", content);
        let (mut errors, mut warnings) = (Findings::new("t.csv"), Findings::new("t.csv"));
        let mut table = Table::open(&source, "t.csv", &ANY, &mut errors, &mut warnings).unwrap();
        let (mut row, mut rows) = (Row::default(), Vec::new());
        while table.next(&mut row, &mut errors).unwrap() {
            let field = |&(from, to): &(usize, usize)| String::from_utf8(row.bytes[from..to].to_vec()).unwrap();
            rows.push((row.line, row.fields.iter().map(field).collect()));
        }
        let errors = errors.finish().into_iter().map(|e| format!("{}:{}:{}", e.line, e.column, e.message)).collect();
        (rows, errors)
    }

    fn fields(row: [&str; 3]) -> Vec<String> {
        row.map(str::to_owned).to_vec()
    }

    #[test]
    fn rows_keep_their_line_over_blank_lines_and_quoted_line_ends() {
        let (rows, errors) = split(b"\xef\xbb\xbfa,b,c\r\n1,2,3\r\n\r\n  \n\"x\ny\",\"q\"\"q\",\"\"\n4,,6");
        assert_eq!(errors, [""; 0]);
        assert_eq!(
            rows,
            [(2, fields(["1", "2", "3"])), (5, fields(["x\ny", "q\"q", ""])), (7, fields(["4", "", "6"]))]
        );
    }

    #[test]
    fn wrong_quoting_is_an_error_and_the_next_line_is_read() {
        for (line, column, complaint) in [
            ("1,x\"y,3", "b", "a quote inside an unquoted value"),
            ("1,\"x\"y,3", "b", "text after a closing quote"),
            ("1,\"x\" ,3", "b", "text after a closing quote"),
            ("1, \"x\",3", "b", "a quote inside an unquoted value"),
            ("1,2,\"x", "c", "the quote that begins this field is never closed"),
        ] {
            let (rows, errors) = split(format!("a,b,c\n{line}\n7,8,9\n").as_bytes());
            assert_eq!(errors.len(), 1, "{line}: {errors:?}");
            assert!(errors[0].starts_with(&format!("2:{column}:{complaint}")), "{line}: {errors:?}");
            assert_eq!(rows, [(3, fields(["7", "8", "9"]))], "{line}");
        }
    }

    #[test]
    fn what_is_no_text_is_named_with_its_line_and_column() {
        let (rows, errors) = split(b"a,b,c\n1,\xff,3\n4,5,6\n7,8,\0\n");
        assert_eq!(rows, [(3, fields(["4", "5", "6"]))]);
        assert!(errors[0].starts_with("2:b:not UTF-8"), "{errors:?}");
        assert!(errors[1].starts_with("4:c:a NUL byte"), "{errors:?}");
    }

    #[test]
    fn long_fields_and_lines_are_refused_and_left_behind() {
        let content = format!("a,b,c\n1,{},3\n4,{},6\n7,8,9\n", "x".repeat(70_000), "y".repeat(3 << 20));
        let (rows, errors) = split(content.as_bytes());
        assert_eq!(rows, [(4, fields(["7", "8", "9"]))]);
        assert_eq!(errors.len(), 2);
        assert!(errors[0].starts_with("2:b:a value may have 65,536 bytes"), "{errors:?}");
        assert!(errors[1].starts_with("3::a line may have 1,048,576 bytes"), "{errors:?}");
    }

    #[test]
    fn a_header_that_does_not_do_says_why() {
        let first = |content: &[u8]| split(content).1.join(" | ");
        assert!(first(b"").contains("the file is empty"));
        assert!(first(b"\n\n").contains("the file is empty"));
        assert!(first(b"a,b\n").contains("the column `c` is missing"));
        assert!(first(b"a,b,C\n").contains("has `C`: write it exactly as `c`"));
        assert!(first(b"a,b,c,a\n").contains("names this column twice"));
        assert!(first(b"a,\"b,c\n").contains("in the header: the quote"));
        assert!(first(b"\xff\xfea\0,\0").contains("UTF-16"));
        assert!(first(b"\x1f\x8b\x08\0").contains(".csv.gz"));
        assert!(first("a,".repeat(1_000).as_bytes()).contains("the header has 1,001 columns, allowed are 1,000"));
        assert!(first(b"PK\x03\x04").contains("export it as CSV"));
    }

    proptest! {
        #[test]
        fn what_another_writer_wrote_is_read_back(
            rows in proptest::collection::vec(proptest::array::uniform3("[a-z\",\n ]{0,6}"), 0..20),
            crlf in any::<bool>(),
        ) {
            let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().terminator(end).from_writer(Vec::new());
            writer.write_record(["a", "b", "c"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let (ours, errors) = split(&writer.into_inner().unwrap());
            prop_assert_eq!(errors, Vec::<String>::new());
            let ours: Vec<Vec<String>> = ours.into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(ours, rows.into_iter().map(|row| row.to_vec()).collect::<Vec<_>>());
        }

        #[test]
        fn where_there_are_no_errors_the_csv_crate_agrees(content in "([a,]{0,6}\n?|\"[a,]{0,3}(\"\")?\"[,\n]|[a\",\n]{0,4}){0,6}") {
            let content = format!("a,b,c\n{content}");
            let (ours, errors) = split(content.as_bytes());
            if !errors.is_empty() {
                return Ok(());
            }
            let theirs: Vec<Vec<String>> = csv::ReaderBuilder::new()
                .flexible(true)
                .from_reader(content.as_bytes())
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            let ours: Vec<Vec<String>> = ours.into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}
