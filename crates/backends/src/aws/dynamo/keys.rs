//! The keys of the table, in one place. Times are UTC, as `2026-11-24T23:30:00.000000Z`, so that they sort as text.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use domain::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId, ScheduleName};
use domain::night::NightKey;
use domain::work_item::{ItemKey, Place};
use uuid::Uuid;

/// The attribute of the partition key.
pub(super) const PK: &str = "pk";
/// The attribute of the sort key.
pub(super) const SK: &str = "sk";

/// Partition of the runs of all time, newest last.
pub(super) const RUNS: &str = "RUNS";
/// Partition of the same runs by when they began.
pub(super) const STARTED: &str = "STARTED";
/// Partition of the runs of which something is left to be done.
pub(super) const ACTIVE: &str = "ACTIVE";
/// Partition of the alert books.
pub(super) const ALERTS: &str = "ALERTS";
/// Partition of the names of the night series.
pub(super) const NIGHT_SERIES: &str = "NIGHTS";
/// Partition of the chain of closed runs.
pub(super) const CHAIN: &str = "CHAIN";
/// Start of the sort key of a record.
pub(super) const RECORDS: &str = "RUN#";
/// Start of the sort key of a run that repeats another.
pub(super) const RERUNS: &str = "RERUN#";
/// Start of the sort key of a note on a run.
pub(super) const NOTES: &str = "NOTE#";
/// Sort key of a run.
pub(super) const META: &str = "META";
/// Sort key of a summary.
pub(super) const SUMMARY: &str = "SUMMARY";

/// Where an item of the table is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// The attributes of the key alone.
    pub(super) fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (PK.to_owned(), AttributeValue::S(self.pk.clone())),
            (SK.to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// An instant as the keys hold it.
pub(super) fn time_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The partition of a run.
pub(super) fn run_partition(run: RunId) -> String {
    format!("RUN#{run}")
}

fn bucket_partition(run: RunId, bucket: u32) -> String {
    format!("RUN#{run}#B#{bucket}")
}

/// A run with its alert.
pub(super) fn meta(run: RunId) -> Key {
    Key::new(run_partition(run), META)
}

/// The set of full buckets.
pub(super) fn root(run: RunId) -> Key {
    Key::new(run_partition(run), "ROOT")
}

/// The summary.
pub(super) fn summary(run: RunId) -> Key {
    Key::new(run_partition(run), SUMMARY)
}

/// A bucket of the manifest of a planner.
pub(super) fn manifest(run: RunId, epoch: u32, bucket: u32) -> Key {
    Key::new(bucket_partition(run, bucket), format!("MAN#{epoch}"))
}

/// The fold of a bucket.
pub(super) fn fold(run: RunId, bucket: u32) -> Key {
    Key::new(bucket_partition(run, bucket), "FOLD")
}

/// The partition of a portfolio.
pub(super) fn portfolio_partition(portfolio: &PortfolioId) -> String {
    format!("PF#{portfolio}")
}

/// A work item with its records. The slot of the run makes a portfolio's history one query, newest first.
pub(super) fn record(key: &ItemKey, scheduled_for: DateTime<Utc>) -> Key {
    Key::new(portfolio_partition(&key.portfolio), format!("{RECORDS}{}#{}", time_text(scheduled_for), key.run))
}

/// Start of the sort keys of work items of a run that no sealed manifest lists; of one bucket, or of all.
pub(super) fn strays(bucket: Option<u32>) -> String {
    bucket.map_or_else(|| "STRAY#".to_owned(), |bucket| format!("STRAY#{bucket:07}#"))
}

/// A work item that no sealed manifest lists.
pub(super) fn stray(key: &ItemKey, place: Place) -> Key {
    let sk = format!("{}{:07}#{}", strays(Some(place.bucket)), place.index, key.portfolio);
    Key::new(run_partition(key.run), sk)
}

/// A run in the list of all.
pub(super) fn listed(scheduled_for: DateTime<Utc>, run: RunId) -> Key {
    Key::new(RUNS, format!("{}#{run}", time_text(scheduled_for)))
}

/// The partition of the runs of a month of trading dates, `yyyy-mm`.
pub(super) fn month_partition(month: &str) -> String {
    format!("RUNS#{month}")
}

/// A run in the list of its month.
pub(super) fn of_month(as_of: NaiveDate, scheduled_for: DateTime<Utc>, run: RunId) -> Key {
    Key::new(month_partition(&as_of.format("%Y-%m").to_string()), format!("{}#{run}", time_text(scheduled_for)))
}

/// A run in the list of those that repeat another.
pub(super) fn rerun(origin: RunId, scheduled_for: DateTime<Utc>, run: RunId) -> Key {
    Key::new(run_partition(origin), format!("{RERUNS}{}#{run}", time_text(scheduled_for)))
}

/// A run in the list by start.
pub(super) fn started(started_at: DateTime<Utc>, run: RunId) -> Key {
    Key::new(STARTED, format!("{}#{run}", time_text(started_at)))
}

/// A run in the list of what is left to be done.
pub(super) fn active(run: RunId) -> Key {
    Key::new(ACTIVE, run.to_string())
}

/// The partition of the closed runs of a job.
pub(super) fn job_partition(job: &JobName) -> String {
    format!("JOB#{job}")
}

/// A closed run of a job.
pub(super) fn job_run(job: &JobName, scheduled_for: DateTime<Utc>, started_at: DateTime<Utc>, run: RunId) -> Key {
    Key::new(job_partition(job), format!("{}#{}#{run}", time_text(scheduled_for), time_text(started_at)))
}

/// The partition of the runs in which a cause was seen.
pub(super) fn cause_partition(cause: &Fingerprint) -> String {
    format!("CAUSE#{cause}")
}

/// A run in which a cause was seen.
pub(super) fn sighting(cause: &Fingerprint, started_at: DateTime<Utc>, run: RunId) -> Key {
    Key::new(cause_partition(cause), format!("{}#{run}", time_text(started_at)))
}

/// A dictionary of the records, for whoever reads the table without this program.
pub(super) fn dictionary(number: u32) -> Key {
    Key::new("DICTIONARY", number.to_string())
}

/// The partition of the nights of a series.
pub(super) fn night_partition(series: &ScheduleName) -> String {
    format!("NIGHTS#{series}")
}

/// The head of a night.
pub(super) fn night(night: &NightKey) -> Key {
    Key::new(night_partition(&night.series), night.as_of.to_string())
}

/// A document of a night.
pub(super) fn night_document(hash: &ContentHash) -> Key {
    Key::new(format!("NIGHTDOC#{hash}"), "DOC")
}

/// The name of a night series.
pub(super) fn night_series(series: &ScheduleName) -> Key {
    Key::new(NIGHT_SERIES, series.as_str())
}

/// A link of the chain of closed runs.
pub(super) fn link(number: u64) -> Key {
    Key::new(CHAIN, format!("{number:012}"))
}

/// The number of the link of a run.
pub(super) fn link_of_run(run: RunId) -> Key {
    Key::new(run_partition(run), "LINK")
}

/// The alert book of a schedule.
pub(super) fn alert_book(schedule: &ScheduleName) -> Key {
    Key::new(ALERTS, schedule.as_str())
}

/// A note on a run.
pub(super) fn note(run: RunId, id: Uuid) -> Key {
    Key::new(run_partition(run), format!("{NOTES}{id}"))
}

/// Start of the sort keys of what did not fit into an item, by the hash of its document.
pub(super) fn parts(of: &str, hash: &str) -> String {
    format!("PART#{of}#{}#", &hash[..hash.len().min(16)])
}

/// A part of a document.
pub(super) fn part(of: &Key, hash: &str, n: usize) -> Key {
    Key::new(of.pk.clone(), format!("{}{n:04}", parts(&of.sk, hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn keys_are_what_the_documentation_says() {
        let run = RunId(Uuid::from_u128(7));
        let slot = DateTime::from_timestamp(1_795_563_000, 0).unwrap();
        let item = ItemKey { run, portfolio: PortfolioId::new("p-1").unwrap() };
        let id = "00000000-0000-0000-0000-000000000007";
        let pairs = [
            (meta(run), format!("RUN#{id}"), "META".to_owned()),
            (fold(run, 3), format!("RUN#{id}#B#3"), "FOLD".into()),
            (manifest(run, 2, 3), format!("RUN#{id}#B#3"), "MAN#2".into()),
            (record(&item, slot), "PF#p-1".into(), format!("RUN#2026-11-24T23:30:00.000000Z#{id}")),
            (listed(slot, run), "RUNS".into(), format!("2026-11-24T23:30:00.000000Z#{id}")),
            (stray(&item, Place { bucket: 12, index: 5 }), format!("RUN#{id}"), "STRAY#0000012#0000005#p-1".into()),
        ];
        for (key, pk, sk) in pairs {
            assert_eq!((key.pk, key.sk), (pk, sk));
        }
    }

    #[test]
    fn sort_keys_of_one_partition_do_not_begin_alike() {
        let starts = [META, "ROOT", SUMMARY, RERUNS, &strays(None), RECORDS, "PART#"];
        for (n, one) in starts.iter().enumerate() {
            assert!(starts.iter().enumerate().all(|(m, other)| n == m || !other.starts_with(one)), "{one}");
        }
    }
}
