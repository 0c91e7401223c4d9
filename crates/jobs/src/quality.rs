//! Data quality: how good the data under a result was, by one rule for all jobs.

use std::collections::BTreeSet;

use domain::record::{JobOutput, Quality};
use domain::words::QualityFlag;
use serde_json::Value;

/// Symbols that a record lists at most.
const SYMBOLS: usize = 50;
/// Notes that a record holds at most.
const NOTES: usize = 20;

/// Collects what a job finds, and judges it at the end.
#[derive(Debug, Clone)]
pub(crate) struct Findings {
    required_days: u32,
    data_days: Option<u32>,
    processed: u32,
    total: u32,
    limited: bool,
    days_limit: bool,
    nothing_usable: bool,
    missing: BTreeSet<String>,
    notes: Vec<String>,
}

impl Findings {
    /// Nothing found yet; a result asks for this many days.
    pub(crate) fn new(required_days: u32) -> Self {
        Self {
            required_days,
            data_days: None,
            processed: 0,
            total: 0,
            limited: false,
            days_limit: true,
            nothing_usable: false,
            missing: BTreeSet::new(),
            notes: Vec::new(),
        }
    }

    /// A position that goes into the result, with its days of data.
    pub(crate) fn used(&mut self, days: u32) {
        self.total += 1;
        self.processed += 1;
        self.days(days);
    }

    /// A position that goes into the result and needs no days of data.
    pub(crate) fn used_as_it_is(&mut self) {
        self.total += 1;
        self.processed += 1;
    }

    /// A position that could have gone into the result.
    pub(crate) fn left_out(&mut self, symbol: &str) {
        self.total += 1;
        self.missing.insert(symbol.to_owned());
    }

    /// Days of data that stand for no position of their own.
    pub(crate) fn days(&mut self, days: u32) {
        self.data_days = Some(self.data_days.map_or(days, |least| least.min(days)));
    }

    /// Fewer days than required do not limit the quality: a coverage judges it.
    pub(crate) fn judged_by_coverage(&mut self) {
        self.days_limit = false;
    }

    /// A sentence for the reader that takes nothing from the quality.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A sentence that does.
    pub(crate) fn limit(&mut self, note: impl Into<String>) {
        self.limited = true;
        self.note(note);
    }

    /// A sentence that says why nothing was usable.
    pub(crate) fn nothing(&mut self, note: impl Into<String>) {
        self.nothing_usable = true;
        self.note(note);
    }

    /// Positions left out so far.
    pub(crate) fn missing(&self) -> &BTreeSet<String> {
        &self.missing
    }

    /// The judgement: `failed` when nothing was usable, `limited` when something was left out or has fewer days than
    /// asked for, else `full`; a portfolio without any position that needs data is `full`.
    pub(crate) fn finish(self) -> Quality {
        let vacuous = self.missing.is_empty() && !self.nothing_usable;
        let data_days = self.data_days.unwrap_or(if vacuous { self.required_days } else { 0 });
        let too_few_days = self.days_limit && data_days < self.required_days;
        let flag = if self.nothing_usable || (self.total > 0 && self.processed == 0) {
            QualityFlag::Failed
        } else if self.limited || self.processed < self.total || too_few_days {
            QualityFlag::Limited
        } else {
            QualityFlag::Full
        };
        let mut notes = self.notes;
        if notes.len() > NOTES {
            let more = notes.len() - (NOTES - 1);
            notes.truncate(NOTES - 1);
            notes.push(format!("and {more} more"));
        }
        Quality {
            flag,
            data_days,
            required_days: self.required_days,
            positions_processed: self.processed,
            positions_total: self.total,
            symbols_missing: self.missing.into_iter().take(SYMBOLS).collect(),
            notes,
        }
    }
}

/// The output of a job for its record: what was processed, how good the data was, the results in brief.
pub(crate) fn brief<const N: usize>(records: usize, quality: Quality, metadata: [(&str, Value); N]) -> JobOutput {
    JobOutput {
        records_processed: records as u64,
        quality: Some(quality),
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_follows_from_what_was_found() {
        let with = |act: fn(&mut Findings)| {
            let mut findings = Findings::new(90);
            act(&mut findings);
            findings.finish()
        };
        assert_eq!(with(|_| {}).flag, QualityFlag::Full);
        assert_eq!(with(|f| f.used(90)).flag, QualityFlag::Full);
        assert_eq!(with(|f| f.used(89)).flag, QualityFlag::Limited);
        assert_eq!(
            with(|f| {
                f.used(89);
                f.judged_by_coverage();
            })
            .flag,
            QualityFlag::Full
        );
        let mixed = with(|f| {
            f.used(90);
            f.left_out("XYZ");
        });
        assert_eq!((mixed.flag, mixed.positions_processed, mixed.positions_total), (QualityFlag::Limited, 1, 2));
        assert_eq!(mixed.symbols_missing, ["XYZ"]);
        assert_eq!(with(|f| f.left_out("XYZ")).flag, QualityFlag::Failed);
        assert_eq!(with(|f| f.nothing("no prices")).flag, QualityFlag::Failed);
        let noted = with(|f| (0..40).for_each(|n| f.note(n.to_string())));
        assert_eq!((noted.flag, noted.notes.len()), (QualityFlag::Full, NOTES));
        assert_eq!(noted.notes[NOTES - 1], "and 21 more");
    }
}
