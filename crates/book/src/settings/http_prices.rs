//! `[prices]`: a source of closes beside the files of the book.

use serde::{Deserialize, Serialize};

/// `[prices]` with `source = "http"`: where closes come from that the book does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPriceSettings {
    /// The address, with `{symbol}` or `{symbols}`, `{from}` and `{to}` (or `{from_compact}`, `{to_compact}`: without
    /// dashes), and perhaps `{key}`.
    pub url: String,
    /// A header with the key, for example `Authorization: Bearer {key}`. Default: none.
    pub header: Option<String>,
    /// The environment variable that holds the key. Default: none.
    pub key_env: Option<String>,
    /// The form of the answer. Default `csv`.
    pub form: AnswerForm,
    /// Of a JSON answer: where the list of days is, names with dots between. Default: the answer itself.
    pub rows_path: String,
    /// The column or name of the date; `@key` where the dates are the names. Default `date`.
    pub date_field: String,
    /// The column or name of the split-adjusted close. Default `close`.
    pub close_field: String,
    /// The column or name of the symbol; needed for more than one symbol a request. Default: none.
    pub symbol_field: Option<String>,
    /// Symbols in one request. Default 1, and 50 with `{symbols}`.
    pub batch_size: u32,
    /// Requests a minute at most. Default 60.
    pub requests_per_minute: u32,
    /// What one request may take. Default 20.
    pub timeout_seconds: u32,
    /// What all of them may take. Default 900.
    pub total_seconds: u32,
}

impl Default for HttpPriceSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            header: None,
            key_env: None,
            form: AnswerForm::Csv,
            rows_path: String::new(),
            date_field: "date".to_owned(),
            close_field: "close".to_owned(),
            symbol_field: None,
            batch_size: 1,
            requests_per_minute: 60,
            timeout_seconds: 20,
            total_seconds: 900,
        }
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerForm {
    /// A table with a header line.
    Csv,
    /// JSON.
    Json,
}
