//! `nightbook export RUN`: the job records, for other programs.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use app::all_records;
use domain::record::JobRecord;
use domain::redact::misleads;

use crate::cli::ExportFormat;
use crate::output::{printable_json, stdout};
use crate::reading::{self, Records};
use crate::site_settings::SiteSettings;

/// Runs the command.
pub(crate) async fn run(data: &Path, run: &str, format: ExportFormat) -> anyhow::Result<ExitCode> {
    let Records { store, nights, .. } = reading::open(data).await?;
    let store = store.as_ref();
    let stored = reading::find(store, &nights, data, run, None).await?;
    let records = all_records(store, &stored).await?;
    let namespace = match format {
        ExportFormat::Openlineage => namespace(data).await?,
        ExportFormat::Jsonl | ExportFormat::Csv => String::new(),
    };
    let mut out = std::io::BufWriter::new(stdout());
    match format {
        ExportFormat::Jsonl => {
            for record in &records {
                writeln!(out, "{}", printable_json(&serde_json::to_string(record)?))?;
            }
            out.flush()?;
        }
        ExportFormat::Csv => write_csv(out, &records)?,
        ExportFormat::Openlineage => {
            for event in lineage::events(&stored, &records, &namespace) {
                writeln!(out, "{}", printable_json(&serde_json::to_string(&event)?))?;
            }
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The namespace of the events, from the settings that are kept with the records.
async fn namespace(data: &Path) -> anyhow::Result<String> {
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(data) {
        let kept = crate::cloud::Cloud::connect(table).await?.kept().await?;
        return Ok(kept.settings.lineage.namespace);
    }
    Ok(SiteSettings::kept(data).lineage().namespace.clone())
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
        let cells = [
            record.batch_run_id.to_string(),
            record.portfolio_id.to_string(),
            record.portfolio_name.clone(),
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
            error.map(|error| error.message.clone()).unwrap_or_default(),
            because.map(|because| because.job.to_string()).unwrap_or_default(),
            because.map(|because| because.reason.clone()).unwrap_or_default(),
            record.quality.as_ref().map(|quality| quality.flag.to_string()).unwrap_or_default(),
        ];
        csv.write_record(cells.map(|cell| cell_text(&cell)))?;
    }
    csv.flush()?;
    Ok(())
}

/// A cell that a spreadsheet shows and does not compute: what it would take for a formula gets an apostrophe before
/// it, as OWASP advises; a number stays a number. What a terminal would obey is made visible.
fn cell_text(text: &str) -> String {
    let starts = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    let number = text.parse::<f64>().is_ok_and(f64::is_finite);
    let apostrophe = if text.starts_with(starts) && !number { "'" } else { "" };
    let mut out = apostrophe.to_owned();
    for c in text.chars() {
        if misleads(c) && c != '\n' {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (text, cell) in [
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
            ("-A1", "'-A1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\\u{9}=1"),
            ("\r=1", "'\\u{d}=1"),
            ("\n=1", "'\n=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("-inf", "'-inf"),
            ("-1.5", "-1.5"),
            ("+7", "+7"),
            ("Income", "Income"),
            ("", ""),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(cell_text(text), cell, "{text:?}");
        }
    }
}
