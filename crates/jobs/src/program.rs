//! What a program of the user's own is asked, and what it answers: the documents of `docs/jobs.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use book::{AddedJob, Class, OptionTerms};
use chrono::NaiveDate;
use domain::ids::{JobName, PortfolioId, RunId};
use domain::readable_json::{MOST_NESTING, check_readable};
use domain::record::{JobError, JobOutput, Quality};
use domain::redact::{redact, redact_line};
use domain::words::{ErrorCategory, QualityFlag};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::registry::Outputs;
use crate::snapshot::{PinnedPortfolio, Snapshot};

/// The version of both documents. It grows when a field is renamed or goes; new fields do not change it.
const VERSION: u32 = 1;

/// Notes of an answer that are kept, and missing symbols.
const MOST_NOTES: usize = 20;
const MOST_SYMBOLS: usize = 50;

/// The most that `metadata` may take in a record, in bytes of JSON: what is larger belongs into `result`.
const MOST_METADATA: usize = 4 << 10;

/// The question to a program: everything that it may need to know of a portfolio, as of the date.
#[derive(Debug, Serialize)]
struct Question<'a> {
    version: u32,
    batch_run_id: RunId,
    job: &'a JobName,
    as_of: NaiveDate,
    portfolio: AskedPortfolio<'a>,
    /// Sessions up to `as_of`, oldest first.
    sessions: &'a [NaiveDate],
    /// A close for each of the sessions, null where there is none, by symbol.
    closes: BTreeMap<&'a str, Vec<Option<f64>>>,
    /// Results of the jobs that it needs, under the names that they have in the results document.
    results: BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct AskedPortfolio<'a> {
    id: &'a PortfolioId,
    name: &'a str,
    currency: &'a str,
    equity: Option<f64>,
    positions: Vec<AskedPosition<'a>>,
}

#[derive(Debug, Serialize)]
struct AskedPosition<'a> {
    symbol: &'a str,
    class: Class,
    quantity: f64,
    multiplier: f64,
    option: Option<&'a OptionTerms>,
    implied_vol: Option<f64>,
    mark: Option<f64>,
    sector: Option<&'a str>,
    lots: Vec<AskedLot>,
}

#[derive(Debug, Serialize)]
struct AskedLot {
    quantity: f64,
    entry_price: f64,
    entry_date: NaiveDate,
}

/// The question to the program of a job about a portfolio.
///
/// # Errors
/// A result that is no JSON; none is expected.
pub(crate) fn question(
    run: RunId,
    job: &AddedJob,
    snapshot: &Snapshot,
    portfolio: &PinnedPortfolio,
    earlier: &Outputs,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut symbols: BTreeSet<&str> = snapshot.settings.factors.iter().map(|factor| factor.proxy.as_str()).collect();
    let positions = portfolio.holdings.iter().map(|holding| {
        let instrument = &snapshot.instruments[holding.instrument];
        symbols.insert(&instrument.symbol);
        symbols.extend(instrument.option.as_ref().map(|terms| terms.underlying.as_str()));
        let lots = holding.lots.iter();
        AskedPosition {
            symbol: &instrument.symbol,
            class: instrument.class,
            quantity: holding.lots.iter().map(|lot| lot.0).sum(),
            multiplier: instrument.multiplier,
            option: instrument.option.as_ref(),
            implied_vol: instrument.implied_vol,
            mark: instrument.mark,
            sector: instrument.sector.as_deref(),
            lots: lots.map(|lot| AskedLot { quantity: lot.0, entry_price: lot.1, entry_date: lot.2 }).collect(),
        }
    });
    let positions = positions.collect();
    let closes = symbols.into_iter().filter_map(|symbol| {
        let closes = snapshot.closes_of(snapshot.symbol(symbol)?);
        Some((symbol, closes.iter().map(|close| close.is_finite().then_some(*close)).collect()))
    });
    let closes = closes.collect();
    let mut results = BTreeMap::new();
    for need in &job.needs {
        results.extend(earlier.parts_of(need)?);
    }
    serde_json::to_vec(&Question {
        version: VERSION,
        batch_run_id: run,
        job: &job.name,
        as_of: snapshot.as_of,
        portfolio: AskedPortfolio {
            id: &portfolio.id,
            name: &portfolio.name,
            currency: &portfolio.currency,
            equity: portfolio.equity,
            positions,
        },
        sessions: &snapshot.sessions,
        closes,
        results,
    })
}

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// It is none of the documents.
    #[error(
        "the program did not answer with the JSON that a job gives back (docs/jobs.md): {error}; it began with {begin:?}"
    )]
    NotOurs {
        /// Why.
        error: String,
        /// How it begins.
        begin: String,
    },
    /// It said nothing.
    #[error("the program ended well and answered nothing: write the JSON of docs/jobs.md to stdout")]
    Empty,
    /// Its brief is not brief.
    #[error(
        "`metadata` takes {0} bytes and may take {MOST_METADATA}: it is what stands in the record, in brief; the whole belongs into `result`"
    )]
    Metadata(usize),
    /// It holds what nobody could read back.
    #[error("the program answered with {part} that cannot be read back: {error}")]
    Unreadable {
        /// `a result` or `metadata`.
        part: &'static str,
        /// Why.
        error: String,
    },
    /// It is of another form.
    #[error("the program answered in version {0} of the document, and this release reads version {VERSION}")]
    Version(u32),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "version")]
    version: u32,
    status: Said,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    records_processed: Option<u64>,
    #[serde(default)]
    quality: Option<WrittenQuality>,
    #[serde(default)]
    metadata: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    transient: bool,
}

const fn version() -> u32 {
    VERSION
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Said {
    Success,
    Failed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuality {
    flag: QualityFlag,
    #[serde(default)]
    data_days: u32,
    #[serde(default)]
    required_days: u32,
    #[serde(default)]
    positions_processed: u32,
    #[serde(default)]
    positions_total: u32,
    #[serde(default)]
    symbols_missing: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
}

/// The answer of a program that says it succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its part of the results document.
    pub(crate) result: Option<Arc<RawValue>>,
    /// What goes into the record.
    pub(crate) output: JobOutput,
}

impl Answer {
    /// Reads an answer: what it gives back, or the failure that it reports.
    ///
    /// # Errors
    /// [`AnswerError`] where it is no answer at all.
    pub(crate) fn read(bytes: &[u8]) -> Result<Result<Self, JobError>, AnswerError> {
        if bytes.trim_ascii().is_empty() {
            return Err(AnswerError::Empty);
        }
        let written: Written = serde_json::from_slice(bytes).map_err(|error| AnswerError::NotOurs {
            error: error.to_string(),
            begin: String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned(),
        })?;
        if written.version != VERSION {
            return Err(AnswerError::Version(written.version));
        }
        if written.status == Said::Failed {
            let category = if written.transient { ErrorCategory::Transient } else { ErrorCategory::Permanent };
            let message = written.message.filter(|message| !message.trim().is_empty());
            return Ok(Err(JobError::new(
                category,
                message.unwrap_or_else(|| "the program says that it failed, and not why".to_owned()),
            )));
        }
        let readable = |part, json: &str| {
            check_readable(json.as_bytes(), MOST_NESTING)
                .map_err(|error| AnswerError::Unreadable { part, error: error.to_string() })
        };
        if let Some(result) = &written.result {
            readable("a result", result.get())?;
        }
        let mut metadata = written.metadata;
        if let Some(message) = written.message {
            metadata.insert("message".to_owned(), message.into());
        }
        let json = serde_json::to_string(&metadata).unwrap_or_default();
        if json.len() > MOST_METADATA {
            return Err(AnswerError::Metadata(json.len()));
        }
        readable("metadata", &json)?;
        metadata.values_mut().for_each(mask);
        let quality = written.quality.map(|mut quality| {
            quality.symbols_missing.sort();
            quality.symbols_missing.truncate(MOST_SYMBOLS);
            quality.notes.truncate(MOST_NOTES);
            Quality {
                flag: quality.flag,
                data_days: quality.data_days,
                required_days: quality.required_days,
                positions_processed: quality.positions_processed,
                positions_total: quality.positions_total,
                symbols_missing: quality.symbols_missing,
                notes: quality.notes.iter().map(|note| redact_line(note)).collect(),
            }
        });
        let output = JobOutput { records_processed: written.records_processed.unwrap_or_default(), quality, metadata };
        Ok(Ok(Self { result: written.result.map(Arc::from), output }))
    }
}

/// Masks secrets in every text of a value.
fn mask(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = redact(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(mask),
        serde_json::Value::Object(entries) => entries.values_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(text: &str) -> String {
        Answer::read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_answer_is_read() {
        let text = r#"{"status": "success", "result": {"days": [1.5, null]}, "records_processed": 4, "message": "fine",
            "quality": {"flag": "limited", "notes": ["thin"]}, "metadata": {"top": "AAPL"}}"#;
        let answer = Answer::read(text.as_bytes()).unwrap().unwrap();
        assert_eq!(answer.result.unwrap().get(), r#"{"days": [1.5, null]}"#);
        assert_eq!(answer.output.records_processed, 4);
        assert_eq!(answer.output.quality.unwrap().flag, QualityFlag::Limited);
        assert_eq!(answer.output.metadata["message"], "fine");
    }

    #[test]
    fn a_failure_is_told_in_its_own_words() {
        let error = |text: &str| Answer::read(text.as_bytes()).unwrap().unwrap_err();
        let told = error(r#"{"status": "failed", "message": "no rates", "transient": true}"#);
        assert_eq!((told.category, &told.message[..]), (ErrorCategory::Transient, "no rates"));
        assert_eq!(error(r#"{"status": "failed"}"#).category, ErrorCategory::Permanent);
    }

    #[test]
    fn what_is_no_answer_says_why_and_how_it_begins() {
        assert!(failed(" \n").contains("answered nothing"));
        assert!(failed("Traceback").contains("it began with \"Traceback\""));
        assert!(failed(r#"{"status": "success", "result": NaN}"#).contains("docs/jobs.md"));
        assert!(failed(r#"{"status": "success"} and more"#).contains("trailing"));
        assert!(failed(r#"{"status": "success", "#).contains("EOF"));
        assert!(failed(r#"{"status": "done"}"#).contains("success"));
        assert!(failed(r#"{"status": "success", "results": 1}"#).contains("results"));
        assert!(failed(r#"{"status": "success", "version": 2}"#).contains("version 2"));
        let long = format!(r#"{{"status": "success", "metadata": {{"a": "{}"}}}}"#, "x".repeat(5_000));
        assert!(failed(&long).contains("`metadata` takes"));
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        for (result, why) in
            [("{\"a\":1e999}", "out of range"), ("[\"\\ud800\"]", "hex escape"), (&deep[..], "more than 100 levels")]
        {
            let said = failed(&format!(r#"{{"status": "success", "result": {result}}}"#));
            assert!(said.contains("a result that cannot be read back") && said.contains(why), "{said}");
        }
        let said = failed(&format!(r#"{{"status": "success", "metadata": {{"a": {deep}}}}}"#));
        assert!(said.contains("metadata that cannot be read back"), "{said}");
        let bytes = Answer::read(b"\xff\xfe{}").unwrap_err().to_string();
        assert!(bytes.contains("docs/jobs.md"), "{bytes}");
    }
}
