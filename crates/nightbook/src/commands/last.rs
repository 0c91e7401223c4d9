//! `nightbook last JOB`: when it last succeeded.

use std::path::Path;
use std::process::ExitCode;

use domain::ids::{JobName, PortfolioId};
use domain::names;
use serde_json::json;

use crate::output::{Output, safe};
use crate::reading;

/// Runs the command.
pub(crate) async fn run(
    data: &Path,
    job: &JobName,
    portfolio: Option<&PortfolioId>,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let store = reading::open(data).await?.store;
    let store = store.as_ref();
    let record = store.last_success(job, portfolio).await?;
    if record.is_none() {
        names::require_job(store, job).await?;
        if let Some(portfolio) = portfolio {
            names::require_portfolio(store, portfolio).await?;
        }
    }
    if output.is_json() {
        output.json(&json!({ "job": job, "portfolio_id": portfolio, "last_success": record }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let of = portfolio.map_or_else(String::new, |id| format!(" for {id}"));
    match record {
        None => output.line(&format!("{job} has never succeeded{of}.")),
        Some(record) => {
            let as_of = store.run(record.batch_run_id).await?.map(|stored| stored.run.as_of.to_string());
            output.line(&format!(
                "{job} last succeeded{of} as of {}: {} ({}), completed {}, {:.3} s, attempt {}, run {}",
                as_of.unwrap_or_else(|| "an unknown date".into()),
                record.portfolio_id,
                safe(&record.portfolio_name),
                record.completed_at.map_or_else(|| "-".into(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string()),
                record.duration_seconds.unwrap_or_default(),
                record.attempt,
                record.batch_run_id
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
