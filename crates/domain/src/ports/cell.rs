//! One job of one portfolio in one run, as grids and histories show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Fingerprint, JobName};
use crate::record::JobRecord;
use crate::words::{JobStatus, QualityFlag};

/// One job of one portfolio in one run, as a grid shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cell {
    /// The job.
    pub job: JobName,
    /// How it stands.
    pub status: JobStatus,
    /// The attempt that the record tells of.
    pub attempt: u32,
    /// How long it took.
    pub duration_seconds: Option<f64>,
    /// How good its data was.
    pub quality: Option<QualityFlag>,
    /// The cause, of a failure.
    pub fingerprint: Option<Fingerprint>,
    /// Those of its results in brief that [`KEY_FIGURES`] names, so that a history of them needs no result documents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
}

/// The results in brief (`job_metadata`) whose history pages show. Money is in the portfolio's currency, returns,
/// volatility, values at risk and coverages are shares of 1, `data_days` are trading days.
pub const KEY_FIGURES: [&str; 24] = [
    "cash_balance",
    "coverage",
    "daily_pnl",
    "daily_return",
    "delta_adjusted_leverage",
    "es_95",
    "gross",
    "historical_es_95",
    "historical_max_drawdown",
    "historical_var_95",
    "historical_var_99",
    "historical_volatility",
    "leverage",
    "market_beta",
    "market_coverage",
    "market_value",
    "max_drawdown",
    "net",
    "pnl_coverage",
    "total_value",
    "var_95",
    "var_99",
    "volatility",
    "worst_case_pnl",
];

/// The names under which a cell carries the days of data that were there and those that were asked for.
pub const DATA_DAYS: [&str; 2] = ["data_days", "required_days"];

impl Cell {
    /// Those results in brief of a record that [`KEY_FIGURES`] names.
    #[must_use]
    pub fn recorded_figures(record: &JobRecord) -> BTreeMap<String, f64> {
        let brief = |name: &&str| Some(((*name).to_owned(), record.job_metadata.get(*name)?.as_f64()?));
        KEY_FIGURES.iter().filter_map(brief).collect()
    }

    /// The cell of a record.
    #[must_use]
    pub fn of(record: &JobRecord) -> Self {
        let mut figures = Self::recorded_figures(record);
        if let Some(quality) = record.quality.as_ref().filter(|quality| quality.required_days > 0) {
            figures.extend(
                DATA_DAYS.map(str::to_owned).into_iter().zip([quality.data_days, quality.required_days].map(f64::from)),
            );
        }
        Self {
            job: record.job_name.clone(),
            status: record.status,
            attempt: record.attempt,
            duration_seconds: record.duration_seconds,
            quality: record.quality.as_ref().map(|quality| quality.flag),
            fingerprint: record.error.as_ref().map(|error| error.fingerprint.clone()),
            figures,
        }
    }
}
