//! What is wrong with a book: one [`Issue`] a finding, collected for all files at once.

use domain::ids::PortfolioId;
pub(crate) use domain::redact::misleads as is_unprintable;
use serde::{Deserialize, Serialize};

/// How many characters of an offending text an issue shows.
const TEXT_CHARS: usize = 80;

/// One finding in a book: where it is, what stands there, and what is allowed instead.
///
/// As JSON it has exactly `file`, `line`, `column`, `text` and `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The file's name, relative to the book.
    pub file: String,
    /// The line, counted from 1 (the header is line 1); 0 if the finding is about the whole file.
    pub line: u64,
    /// The column's name; in `nightbook.toml` the path of the key; "" if there is none.
    pub column: String,
    /// The offending text, cut at 80 characters, control characters escaped.
    pub text: String,
    /// What is wrong and what is allowed.
    pub message: String,
    /// What the finding stops.
    #[serde(skip)]
    pub scope: Scope,
}

/// What a finding stops.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The file as a whole is unusable: a run stops before it starts.
    Book,
    /// This portfolio fails.
    Portfolio(PortfolioId),
    /// A price row of this symbol is left out; whoever holds the symbol is told.
    Symbol(String),
    /// The check fails; a run leaves the row out with a warning. Example: a position of an unknown portfolio.
    #[default]
    Orphan,
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.column.is_empty() || !self.text.is_empty() {
            f.write_str(":")?;
        }
        if !self.column.is_empty() {
            write!(f, " {}", self.column)?;
        }
        if !self.text.is_empty() {
            // The text is escaped already, so it gets quotes and nothing more; a text of TOML brings its own.
            let quote = if self.text.starts_with('"') { "" } else { "\"" };
            write!(f, " {quote}{}{quote}", self.text)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Makes any bytes fit to be shown: invalid UTF-8 replaced, control and direction characters escaped, cut at 80 characters.
pub(crate) fn shown(bytes: &[u8]) -> String {
    // Four bytes a character at most, so nothing beyond this can be shown; a megabyte is not decoded in vain.
    let head = &bytes[..bytes.len().min(TEXT_CHARS * 4 + 4)];
    let text = String::from_utf8_lossy(head);
    let mut out = String::with_capacity(TEXT_CHARS);
    for (count, c) in text.chars().enumerate() {
        if count == TEXT_CHARS {
            out.push('…');
            break;
        }
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A text as it can be shown whole.
fn printable(text: String) -> String {
    if !text.contains(is_unprintable) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Keeps the first findings of a file and counts the others, so that a wrong file of a million rows stays readable.
#[derive(Debug)]
pub(crate) struct Findings {
    file: String,
    limit: usize,
    kept: Vec<Issue>,
    more: u64,
    more_stops_the_book: bool,
    last_line_left_out: u64,
}

impl Findings {
    pub(crate) fn new(file: &str) -> Self {
        Self::with_limit(file, 1_000)
    }

    pub(crate) fn with_limit(file: &str, limit: usize) -> Self {
        Self {
            file: printable(file.to_owned()),
            limit,
            kept: Vec::new(),
            more: 0,
            more_stops_the_book: false,
            last_line_left_out: 0,
        }
    }

    pub(crate) fn push(&mut self, line: u64, column: &str, text: &[u8], message: impl Into<String>, scope: Scope) {
        let (file, column, text, message) = (self.file.clone(), column.to_owned(), shown(text), message.into());
        self.add(Issue { file, line, column, text, message, scope });
    }

    pub(crate) fn add(&mut self, mut issue: Issue) {
        // Files and columns have names that somebody else chose, and messages name other cells, files and keys.
        issue.file = printable(issue.file);
        issue.column = printable(issue.column);
        issue.message = printable(issue.message);
        if self.kept.len() < self.limit {
            self.kept.push(issue);
        } else {
            self.more += 1;
            self.more_stops_the_book |= issue.scope == Scope::Book;
            self.last_line_left_out = self.last_line_left_out.max(issue.line);
        }
    }

    /// Whether there is a finding that stops the run.
    pub(crate) fn stops_the_book(&self) -> bool {
        self.more_stops_the_book || self.kept.iter().any(|issue| issue.scope == Scope::Book)
    }

    /// The findings kept, by line, and, if some were left out, a last one that says how many.
    pub(crate) fn finish(self) -> Vec<Issue> {
        self.finish_as(Scope::Orphan)
    }

    /// The same, where those left out have this scope unless they stop the book.
    pub(crate) fn finish_as(mut self, scope: Scope) -> Vec<Issue> {
        // Within a line the order is that of the checks.
        self.kept.sort_by_key(|issue| issue.line);
        if self.more > 0 {
            let scope = if self.more_stops_the_book { Scope::Book } else { scope };
            self.kept.push(Issue {
                file: self.file,
                line: 0,
                column: String::new(),
                text: String::new(),
                message: format!("and {} more, the last on line {}", self.more, self.last_line_left_out),
                scope,
            });
        }
        self.kept
    }
}

/// Issues inside other data keep their scope when stored; only the list that `check` prints leaves it out.
pub(crate) mod scoped {
    use super::{Issue, Scope};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Scoped {
        file: String,
        line: u64,
        column: String,
        text: String,
        message: String,
        scope: Scope,
    }

    impl From<Issue> for Scoped {
        fn from(issue: Issue) -> Self {
            let Issue { file, line, column, text, message, scope } = issue;
            Self { file, line, column, text, message, scope }
        }
    }

    impl From<Scoped> for Issue {
        fn from(scoped: Scoped) -> Self {
            let Scoped { file, line, column, text, message, scope } = scoped;
            Self { file, line, column, text, message, scope }
        }
    }

    pub(crate) fn serialize<S: Serializer>(issues: &[Issue], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(issues.iter().map(|issue| Scoped::from(issue.clone())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Issue>, D::Error> {
        Ok(Vec::<Scoped>::deserialize(deserializer)?.into_iter().map(Issue::from).collect())
    }
}
