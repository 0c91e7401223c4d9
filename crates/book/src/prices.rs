//! Closes by symbol.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::issue::Issue;

/// One close.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PricePoint {
    /// The trading day.
    pub date: NaiveDate,
    /// The split-adjusted close, above 0.
    pub close: f64,
}

/// All closes of a book: for each symbol a series sorted by date, each date once, days without a session left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    pub(crate) series: BTreeMap<String, Vec<PricePoint>>,
    #[serde(with = "scoped_map")]
    pub(crate) issues: BTreeMap<String, Vec<Issue>>,
}

impl Prices {
    /// The symbols that have a close, sorted.
    pub fn symbols(&self) -> impl ExactSizeIterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The closes of a symbol, sorted by date.
    #[must_use]
    pub fn series(&self, symbol: &str) -> Option<&[PricePoint]> {
        self.series.get(symbol).map(Vec::as_slice)
    }

    /// The rows of a symbol that were left out because they are wrong. At most 20, then a count.
    #[must_use]
    pub fn issues(&self, symbol: &str) -> &[Issue] {
        self.issues.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// How many closes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.values().map(Vec::len).sum()
    }

    /// Whether there is no close at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds the closes of days that have none; those that are there stay.
    pub fn add_missing(&mut self, symbol: &str, points: &[PricePoint]) {
        let series = self.series.entry(symbol.to_owned()).or_default();
        let missing: Vec<PricePoint> = points
            .iter()
            .filter(|point| series.binary_search_by(|held| held.date.cmp(&point.date)).is_err())
            .copied()
            .collect();
        series.extend(missing);
        series.sort_by_key(|point| point.date);
        series.dedup_by_key(|point| point.date);
    }

    /// The newest day that has a close.
    #[must_use]
    pub fn last_date(&self) -> Option<NaiveDate> {
        self.series.values().filter_map(|series| series.last()).map(|point| point.date).max()
    }
}

mod scoped_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::issue::Issue;

    #[derive(Serialize)]
    struct Borrowed<'a>(#[serde(with = "crate::issue::scoped")] &'a Vec<Issue>);

    #[derive(Deserialize)]
    struct Owned(#[serde(with = "crate::issue::scoped")] Vec<Issue>);

    pub(super) fn serialize<S: Serializer>(
        issues: &BTreeMap<String, Vec<Issue>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(issues.iter().map(|(symbol, issues)| (symbol, Borrowed(issues))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<Issue>>, D::Error> {
        let issues = BTreeMap::<String, Owned>::deserialize(deserializer)?;
        Ok(issues.into_iter().map(|(symbol, Owned(issues))| (symbol, issues)).collect())
    }
}
