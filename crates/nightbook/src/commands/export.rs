//! `nightbook export RUN`: the job records, for other programs.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use domain::record::JobRecord;

use crate::cli::ExportFormat;
use crate::commands::show::all_records;
use crate::reading;

/// Runs the command.
pub(crate) async fn run(data: &Path, run: &str, format: ExportFormat) -> anyhow::Result<ExitCode> {
    let store = reading::open(data)?;
    let stored = reading::find(&store, run).await?;
    let records = all_records(&store, &stored).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match format {
        ExportFormat::Jsonl => {
            for record in &records {
                serde_json::to_writer(&mut out, record)?;
                writeln!(out)?;
            }
            out.flush()?;
        }
        ExportFormat::Csv => write_csv(out, &records)?,
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [&str; 17] = [
    "batch_run_id",
    "portfolio_id",
    "portfolio_name",
    "job_name",
    "job_type",
    "status",
    "attempt",
    "started_at",
    "completed_at",
    "duration_seconds",
    "records_processed",
    "error_category",
    "error_fingerprint",
    "error_message",
    "skipped_because_job",
    "skipped_because_reason",
    "quality_flag",
];

fn write_csv(out: impl std::io::Write, records: &[JobRecord]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS)?;
    for record in records {
        let error = record.error.as_ref();
        let because = record.skipped_because.as_ref();
        let time = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.to_rfc3339()).unwrap_or_default();
        csv.write_record([
            record.batch_run_id.to_string(),
            record.portfolio_id.to_string(),
            no_formula(&record.portfolio_name),
            record.job_name.to_string(),
            record.job_type.to_string(),
            record.status.to_string(),
            record.attempt.to_string(),
            time(record.started_at),
            time(record.completed_at),
            record.duration_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
            record.records_processed.to_string(),
            error.map(|error| error.category.to_string()).unwrap_or_default(),
            error.map(|error| error.fingerprint.to_string()).unwrap_or_default(),
            error.map(|error| no_formula(&error.message)).unwrap_or_default(),
            because.map(|because| because.job.to_string()).unwrap_or_default(),
            because.map(|because| no_formula(&because.reason)).unwrap_or_default(),
            record.quality.as_ref().map(|quality| quality.flag.to_string()).unwrap_or_default(),
        ])?;
    }
    csv.flush()?;
    Ok(())
}

/// A text that a spreadsheet would take for a formula gets an apostrophe before it.
fn no_formula(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_formula() {
        assert_eq!(no_formula("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(no_formula("Income"), "Income");
    }
}
