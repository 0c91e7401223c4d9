//! Prices from outside on one machine: the shelf is a file of the data folder.

use std::collections::BTreeMap;

use backends::local::LocalCloses;
use book::PricePoint;
use chrono::NaiveDate;
use domain::ports::StoreError;
use domain::record::JobError;
use domain::words::ErrorCategory;
use prices::{Asked, Shelf};

/// The shelf of a data folder.
pub(crate) struct FolderShelf(pub(crate) LocalCloses);

fn told(error: &StoreError) -> JobError {
    JobError::from_error(ErrorCategory::Transient, error)
}

impl Shelf for FolderShelf {
    fn read(
        &self,
        symbols: &[String],
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<(BTreeMap<String, Vec<PricePoint>>, Asked), JobError> {
        let (closes, asked) = self.0.read(symbols, from, to).map_err(|error| told(&error))?;
        let points = |series: Vec<(NaiveDate, f64)>| {
            series.into_iter().map(|(date, close)| PricePoint { date, close }).collect()
        };
        Ok((closes.into_iter().map(|(symbol, series)| (symbol, points(series))).collect(), asked))
    }

    fn add(
        &self,
        closes: &[(String, PricePoint)],
        symbols: &[String],
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<u64, JobError> {
        let rows: Vec<(&str, NaiveDate, f64)> =
            closes.iter().map(|(symbol, point)| (symbol.as_str(), point.date, point.close)).collect();
        self.0.add(&rows, symbols, from, to).map_err(|error| told(&error))
    }
}
