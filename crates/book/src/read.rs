//! Reading a whole book.

use std::path::Path;

use serde::Serialize;

use crate::bytes::{Fault, FileBytes, Stamp, content_hash};
use crate::files::FileFacts;
use crate::issue::{Findings, Issue, Scope};
use crate::memory::Memory;
use crate::model::{Book, Portfolio};
use crate::portfolios::Portfolios;
use crate::positions::Held;
use crate::price_files::Collector;
use crate::prices::Prices;
use crate::settings::{RunSettings, Settings};
use crate::settings_file::{Named, ReadSettings};
use crate::source::{BookError, BookSource, FILES, FolderSource};
use crate::table::{Columns, Table};
use crate::{equity, portfolios, positions, price_files, settings_file, value};

/// `nightbook.toml` may have this many bytes.
const MAX_SETTINGS: usize = 1 << 20;

/// What came of reading a book.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The book; `None` exactly if an error has [`Scope::Book`].
    #[serde(skip)]
    pub book: Option<Book>,
    /// What is wrong: settings, portfolios, equity, positions, prices, and in each file by line.
    pub errors: Vec<Issue>,
    /// What is allowed but worth knowing, in the same order.
    pub warnings: Vec<Issue>,
}

/// What came of reading `nightbook.toml` alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettingsReading {
    /// The settings, the defaults where there is no file; `None` exactly if an error has [`Scope::Book`].
    #[serde(skip)]
    pub settings: Option<Settings>,
    /// What is wrong, by line.
    pub errors: Vec<Issue>,
    /// What is allowed but worth knowing.
    pub warnings: Vec<Issue>,
}

/// Reads the settings of a book without the rest of it, by the same rules.
///
/// # Errors
/// [`BookError`] if the source cannot be listed or the file cannot be read at all.
pub fn read_settings(source: &dyn BookSource) -> Result<SettingsReading, BookError> {
    let names = source.names()?;
    let mut reader = Reader::new(source, names);
    let ReadSettings { settings, .. } = reader.settings()?;
    let Reader { errors, warnings, .. } = reader;
    let usable = !errors.iter().any(|issue| issue.scope == Scope::Book);
    Ok(SettingsReading { settings: usable.then_some(settings), errors, warnings })
}

/// Reads the book in a folder.
///
/// # Errors
/// [`BookError`] if the folder or a file in it cannot be read at all.
pub fn read_folder(dir: &Path) -> Result<Reading, BookError> {
    read(&FolderSource::new(dir))
}

/// Reads a book from wherever it is.
///
/// The book's `content_hash` is SHA-256 over, for each file that belongs to it and in the order of the names: the length
/// of the name, the name, the length of the file (both as 64 bits, little endian) and the SHA-256 of its bytes as they are
/// stored. So a compressed book has another hash than the same book uncompressed, and other files in the folder have
/// no part in it.
///
/// # Errors
/// [`BookError`] if the source cannot be listed or a file of it cannot be read at all.
pub fn read(source: &dyn BookSource) -> Result<Reading, BookError> {
    let mut names = source.names()?;
    names.sort();
    names.dedup();
    let mut reader = Reader::new(source, names);

    let ReadSettings { settings, named } = reader.settings()?;
    reader.memory = Memory::new(settings.run.memory_limit_mib);
    let mut portfolios = reader.portfolios()?;
    reader.warn_about_mutes(&settings, &portfolios.list);
    reader.names_of_settings(&named, &portfolios);
    let (held, position_warnings) = reader.positions(&mut portfolios)?;
    let (prices, complete) = reader.prices(&settings)?;
    reader.check_coverage(&settings, &held, &prices, complete, position_warnings);
    reader.warn_about_other_files();

    let Reader { stamps, files, errors, warnings, .. } = reader;
    let usable = !errors.iter().any(|issue| issue.scope == Scope::Book);
    let book = usable.then(|| {
        let mut list = portfolios.list;
        list.sort_by(|a, b| a.id.cmp(&b.id));
        Book { settings, portfolios: list, prices, content_hash: content_hash(stamps), files }
    });
    Ok(Reading { book, errors, warnings })
}

struct Reader<'s> {
    source: &'s dyn BookSource,
    /// Sorted.
    names: Vec<String>,
    stamps: Vec<Stamp>,
    memory: Memory,
    files: FileFacts,
    errors: Vec<Issue>,
    warnings: Vec<Issue>,
}

impl<'s> Reader<'s> {
    fn new(source: &'s dyn BookSource, names: Vec<String>) -> Self {
        let (stamps, files) = (Vec::new(), FileFacts::default());
        let memory = Memory::new(RunSettings::default().memory_limit_mib);
        Self { source, names, stamps, memory, files, errors: Vec::new(), warnings: Vec::new() }
    }
}

impl Reader<'_> {
    /// Ends a table: what identifies the file, and how it ends.
    fn finish(&mut self, table: Table) -> Result<(), BookError> {
        if !table.ends_with_line() {
            self.files.without_line_end.push(table.name().to_owned());
        }
        self.stamps.push(table.finish()?);
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|other| other == name)
    }

    fn book_error(&mut self, file: &str, message: String) {
        let mut findings = Findings::new(file);
        findings.push(0, "", &[], message, Scope::Book);
        self.errors.extend(findings.finish());
    }

    /// The file of this name, compressed or not. Both at once is an error, and the plain one is read to find more.
    fn pick(&mut self, name: &str, columns: &Columns) -> Option<String> {
        let packed = format!("{name}.gz");
        match (self.has(name), self.has(&packed)) {
            (true, true) => {
                let message = format!("both {name} and {packed} are there, and only one can be meant; remove one");
                self.book_error(&packed, message);
                Some(name.to_owned())
            }
            (true, false) => Some(name.to_owned()),
            (false, true) => Some(packed),
            (false, false) => {
                let near = value::hint(name, self.names.iter().map(String::as_str));
                let message =
                    format!("the file is missing{near}; its first line must name {}", columns.required.join(", "));
                self.book_error(name, message);
                None
            }
        }
    }

    fn settings(&mut self) -> Result<ReadSettings, BookError> {
        let name = settings_file::FILE;
        if !self.has(name) {
            return Ok(ReadSettings::default());
        }
        let (mut errors, mut warnings) = (Findings::new(name), Findings::new(name));
        let mut file = FileBytes::open(self.source, name)?;
        let mut content = Vec::new();
        let mut block = vec![0; 64 << 10];
        let too_long = loop {
            match file.fill(&mut block) {
                Ok(0) => break false,
                Ok(count) => content.extend_from_slice(&block[..count]),
                Err(Fault::System(error)) => return Err(error),
                Err(Fault::Content(message)) => {
                    errors.push(0, "", &[], message, Scope::Book);
                    break false;
                }
            }
            if content.len() > MAX_SETTINGS {
                break true;
            }
        };
        self.stamps.push(file.finish()?);
        let read = if too_long {
            let message = format!("the file may have {} bytes at most", value::grouped(MAX_SETTINGS as u64));
            errors.push(0, "", &[], message, Scope::Book);
            ReadSettings::default()
        } else {
            settings_file::read(&content, &mut errors, &mut warnings)
        };
        self.errors.extend(errors.finish());
        self.warnings.extend(warnings.finish());
        Ok(read)
    }

    /// Reports portfolios and tags that the settings name and `portfolios.csv` does not have, among the other errors of the
    /// settings. A run goes on without them.
    fn names_of_settings(&mut self, named: &[Named], portfolios: &Portfolios) {
        if !portfolios.known || named.is_empty() {
            return;
        }
        let mut errors = Findings::new(settings_file::FILE);
        for name in named {
            if let Some(complaint) = name.what.complaint(&portfolios.list) {
                let message = format!("{complaint} (column {})", name.column);
                errors.push(name.line, &name.key, name.text.as_bytes(), message, Scope::Orphan);
            }
        }
        let of_settings = self.errors.iter().take_while(|issue| issue.file == settings_file::FILE).count();
        self.errors.splice(of_settings..of_settings, errors.finish());
        let end = self.errors.iter().take_while(|issue| issue.file == settings_file::FILE).count();
        self.errors[..end].sort_by_key(|issue| issue.line);
    }

    fn portfolios(&mut self) -> Result<Portfolios, BookError> {
        let Some(name) = self.pick("portfolios.csv", &portfolios::COLUMNS) else { return Ok(Portfolios::default()) };
        let (mut errors, mut warnings) = (Findings::new(&name), Findings::new(&name));
        let mut table = Table::open(self.source, &name, &portfolios::COLUMNS, &mut errors, &mut warnings)?;
        let mut found = portfolios::read(&mut table, &mut self.memory, &mut errors, &mut warnings)?;
        self.finish(table)?;
        self.errors.extend(errors.finish());
        self.equity(&mut found)?;
        portfolios::warn_about_equity(&found, &mut warnings);
        self.warnings.extend(warnings.finish());
        Ok(found)
    }

    /// The equity by date, where the book has it.
    fn equity(&mut self, portfolios: &mut Portfolios) -> Result<(), BookError> {
        if self.memory.is_exceeded() || !self.has("equity.csv") && !self.has("equity.csv.gz") {
            return Ok(());
        }
        let Some(name) = self.pick("equity.csv", &equity::COLUMNS) else { return Ok(()) };
        let (mut errors, mut warnings) = (Findings::new(&name), Findings::new(&name));
        let mut table = Table::open(self.source, &name, &equity::COLUMNS, &mut errors, &mut warnings)?;
        equity::read(&mut table, portfolios, &mut errors)?;
        self.finish(table)?;
        self.errors.extend(errors.finish());
        self.warnings.extend(warnings.finish());
        Ok(())
    }

    /// The warnings are handed back: those about prices still come to them.
    fn positions(&mut self, portfolios: &mut Portfolios) -> Result<(Held, Findings), BookError> {
        let nothing = || Ok((Held::new(), Findings::new("positions.csv")));
        if self.memory.is_exceeded() {
            return nothing();
        }
        let Some(name) = self.pick("positions.csv", &positions::COLUMNS) else { return nothing() };
        let (mut errors, mut warnings) = (Findings::new(&name), Findings::new(&name));
        let mut table = Table::open(self.source, &name, &positions::COLUMNS, &mut errors, &mut warnings)?;
        let held =
            positions::read(&mut table, portfolios, &mut self.files, &mut self.memory, &mut errors, &mut warnings)?;
        self.finish(table)?;
        self.errors.extend(errors.finish());
        Ok((held, warnings))
    }

    /// All prices, and whether every file of them could be read.
    fn prices(&mut self, settings: &Settings) -> Result<(Prices, bool), BookError> {
        if self.memory.is_exceeded() {
            return Ok((Prices::default(), false));
        }
        let is_table = |name: &str| name.ends_with(".csv") || name.ends_with(".csv.gz");
        let parts: Vec<String> =
            self.names.iter().filter(|name| name.starts_with("prices/") && is_table(name)).cloned().collect();
        let single = self.has("prices.csv") || self.has("prices.csv.gz");
        let mut complete = true;
        let files = match (single, parts.is_empty()) {
            (true, false) => {
                complete = false;
                let message = "both prices.csv and files in prices/ are there, and only one can be meant; remove one";
                self.book_error("prices.csv", message.to_owned());
                self.pick("prices.csv", &price_files::COLUMNS).into_iter().chain(parts).collect()
            }
            (true, true) => self.pick("prices.csv", &price_files::COLUMNS).into_iter().collect(),
            (false, false) => parts,
            // All of them come from outside.
            (false, true) if settings.http_prices.is_some() => return Ok((Prices::default(), false)),
            (false, true) => {
                let near = value::hint("prices.csv", self.names.iter().map(String::as_str));
                let message = format!(
                    "there is neither prices.csv nor a .csv file in prices/{near}; its first line must name {}",
                    price_files::COLUMNS.required.join(", ")
                );
                self.book_error("prices.csv", message);
                return Ok((Prices::default(), false));
            }
        };
        for name in files.iter().filter(|name| name.ends_with(".gz")) {
            let plain = name.trim_end_matches(".gz");
            if plain.starts_with("prices/") && files.iter().any(|other| other == plain) {
                self.book_error(
                    name,
                    format!("both {plain} and {name} are there, and only one can be meant; remove one"),
                );
            }
        }
        let mut collector = Collector::new(settings.schedule.clone());
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for name in &files {
            let (mut file_errors, mut file_warnings) = (Findings::new(name), Findings::new(name));
            let mut table =
                Table::open(self.source, name, &price_files::COLUMNS, &mut file_errors, &mut file_warnings)?;
            collector.read(&mut table, &mut self.memory, &mut file_errors, &mut file_warnings)?;
            self.finish(table)?;
            errors.push(file_errors);
            warnings.push(file_warnings);
        }
        let prices = collector.finish(&mut errors);
        complete &= !errors.iter().any(Findings::stops_the_book);
        self.errors.extend(errors.into_iter().flat_map(Findings::finish));
        self.warnings.extend(warnings.into_iter().flat_map(Findings::finish));
        Ok((prices, complete))
    }

    /// Warns about mutes of portfolios that the book does not have: most likely misspelt.
    fn warn_about_mutes(&mut self, settings: &Settings, portfolios: &[Portfolio]) {
        let mut findings = Findings::new(settings_file::FILE);
        for id in settings.alerts.rules.mutes.iter().filter_map(|mute| mute.portfolio.as_ref()) {
            if !portfolios.iter().any(|portfolio| portfolio.id == *id) {
                let message = "portfolios.csv has no such portfolio, so that the mute has no effect on its runs";
                findings.push(0, "alerts.mute", id.as_str().as_bytes(), message, Scope::Orphan);
            }
        }
        self.warnings.extend(findings.finish());
    }

    /// Warns about held symbols and proxies that have no price at all.
    fn check_coverage(
        &mut self,
        settings: &Settings,
        held: &Held,
        prices: &Prices,
        complete: bool,
        mut position_warnings: Findings,
    ) {
        let mut file_warnings = Vec::new();
        if complete {
            let mut missing: Vec<(&String, &u64)> =
                held.iter().filter(|(symbol, _)| prices.series(symbol).is_none()).collect();
            missing.sort_by_key(|(symbol, line)| (**line, symbol.as_str()));
            for (symbol, line) in missing {
                let message = "no price of this symbol in the book; give it a mark, or a class other than public";
                position_warnings.push(*line, "symbol", symbol.as_bytes(), message, Scope::Orphan);
            }
            let mut proxies = Findings::new(settings_file::FILE);
            for factor in settings.factors.iter().filter(|factor| prices.series(&factor.proxy).is_none()) {
                let name = crate::issue::shown(factor.name.as_bytes());
                let message = format!("no price of this proxy in the book: the factor `{name}` is left out");
                proxies.push(0, "factors", factor.proxy.as_bytes(), message, Scope::Orphan);
            }
            file_warnings = proxies.finish();
        }
        // In the order of the files: settings, portfolios, equity, positions, prices.
        let rank = |issue: &Issue| match issue.file.as_str() {
            settings_file::FILE => 0,
            name if name.starts_with("portfolios.csv") => 1,
            name if name.starts_with("equity.csv") => 2,
            name if name.starts_with("positions.csv") => 3,
            _ => 4,
        };
        self.warnings.extend(file_warnings);
        self.warnings.extend(position_warnings.finish());
        self.warnings.sort_by_key(rank);
    }

    /// A file that looks like a part of a book and is none is most likely misspelt.
    fn warn_about_other_files(&mut self) {
        let ours = FILES;
        let mut findings = Vec::new();
        for name in &self.names {
            let read = self.stamps.iter().any(|stamp| stamp.name == *name)
                || ours.iter().any(|ours| name.strip_suffix(".gz").unwrap_or(name) == *ours);
            let lower = name.to_ascii_lowercase();
            let looks_it = [".csv", ".csv.gz", ".toml"].iter().any(|end| lower.ends_with(end));
            if read || !looks_it {
                continue;
            }
            let mut other = Findings::new(&crate::issue::shown(name.as_bytes()));
            let near = value::hint(name.trim_end_matches(".gz"), ours);
            other.push(0, "", &[], format!("not a file of a book, so not read{near}"), Scope::Orphan);
            findings.extend(other.finish());
        }
        let more = findings.len().saturating_sub(100);
        self.warnings.extend(findings.into_iter().take(100));
        if more > 0 {
            tracing::warn!(more, "more files in the book's folder that were not read");
        }
    }
}
