//! A CSV file with a header line: which columns it has, and its rows.

mod rows;
#[cfg(test)]
mod tests;

pub(crate) use self::rows::Row;
use self::rows::{Malformed, Splitter, Step};
use crate::bytes::{FileBytes, Stamp};
use crate::issue::{Findings, Scope};
use crate::source::{BookError, BookSource};
use crate::value;

/// A header may name this many columns: each is compared with those that are known.
const MAX_COLUMNS: usize = 1_000;

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
                table.splitter.consume(3, 0);
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
                let message = if line == 0 { message } else { format!("in the header: {message}") };
                errors.push(line, "", &text, message, Scope::Book);
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

    /// Whether the last line that was read has a line end. True for an empty file.
    pub(crate) fn ends_with_line(&self) -> bool {
        self.splitter.ends_with_line
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
