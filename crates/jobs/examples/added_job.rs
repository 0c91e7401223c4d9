//! A job that Nightbook does not have: how the cost of a portfolio is spread over sectors. CONTRIBUTING.md quotes it.
#![allow(clippy::doc_lazy_continuation)]

use std::collections::BTreeMap;
use std::sync::Arc;

use book::Portfolio;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::JobName;
use domain::job::JobSpec;
use domain::job_context::JobContext;
use domain::ports::Clock;
use domain::record::{JobError, JobOutput, Quality};
use domain::words::{ErrorCategory, JobType, QualityFlag};

/// 1. What the run stores of the job: its name, its family, what it needs, how long it may take.
fn spec() -> Result<JobSpec, Box<dyn std::error::Error>> {
    Ok(JobSpec {
        name: JobName::new("sector_concentration")?,
        job_type: JobType::RiskMetrics,
        critical: false,
        needs: vec![JobName::new("position_values_update")?],
        run_level: false,
        time_limit_seconds: 30,
    })
}

/// 2. The work: a function of its inputs. It says how far it is, chooses the category of its errors, and says what it
/// left out.
fn sector_concentration(portfolio: &Portfolio, as_of: NaiveDate, context: &JobContext) -> Result<JobOutput, JobError> {
    let lots: Vec<_> = portfolio.positions.iter().filter(|lot| lot.is_active(as_of)).collect();
    let mut sectors: BTreeMap<&str, f64> = BTreeMap::new();
    let mut left_out = Vec::new();
    for (done, lot) in lots.iter().enumerate() {
        context.progress(done as u64, lots.len() as u64, || lot.symbol.clone())?;
        match &lot.sector {
            Some(sector) => {
                *sectors.entry(sector).or_default() += (lot.quantity * lot.multiplier * lot.entry_price).abs()
            }
            None => left_out.push(lot.symbol.clone()),
        }
    }
    let total: f64 = sectors.values().sum();
    if total == 0.0 {
        let message = format!("no position of {} has a sector: fill in the column `sector`", portfolio.id);
        return Err(JobError::new(ErrorCategory::Permanent, message));
    }
    let index: f64 = sectors.values().map(|cost| (cost / total).powi(2)).sum();
    let quality = Quality {
        flag: if left_out.is_empty() { QualityFlag::Full } else { QualityFlag::Limited },
        data_days: 0,
        required_days: 0,
        positions_processed: (lots.len() - left_out.len()) as u32,
        positions_total: lots.len() as u32,
        symbols_missing: left_out,
        notes: Vec::new(),
    };
    let metadata = [("sectors", sectors.len().into()), ("herfindahl_index", index.into())];
    Ok(JobOutput {
        records_processed: lots.len() as u64,
        quality: Some(quality),
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    })
}

/// Time stands still here; a run has a real clock.
struct Stopped(DateTime<Utc>);

impl Clock for Stopped {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// 3. The work on a small book.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut source = book::MemorySource::new(BTreeMap::new());
    source.insert("portfolios.csv", "portfolio_id,name,equity\na,A,1000\n");
    source.insert(
        "positions.csv",
        "portfolio_id,symbol,quantity,entry_price,entry_date,sector\n\
         a,AAPL,3,100,2024-01-02,Technology\na,XOM,1,100,2024-01-02,Energy\na,F,1,10,2024-01-02,\n",
    );
    source.insert("prices.csv", "date,symbol,close\n2024-01-02,AAPL,100\n");
    let book = book::read(&source)?.book.ok_or("the book cannot be used")?;
    let as_of = NaiveDate::from_ymd_opt(2024, 1, 3).ok_or("no such date")?;
    let context = JobContext::new(Arc::new(Stopped(DateTime::UNIX_EPOCH)));
    let output = sector_concentration(&book.portfolios[0], as_of, &context)?;

    assert_eq!(output.metadata["herfindahl_index"], 0.625);
    let quality = output.quality.ok_or("it has a quality")?;
    assert_eq!((quality.flag, quality.symbols_missing), (QualityFlag::Limited, vec!["F".to_owned()]));
    assert_eq!(spec()?.name.as_str(), "sector_concentration");
    Ok(())
}
